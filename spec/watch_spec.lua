--- Looking into a network while it works: net:watch, net:features, and what a trainer notes of its layers.
local tr = require "texres"
local plan = require "texres.nn.plan"

local nn = tr.nn

--- Two convolutions that a plan joins with what follows them, inside of containers.
local function network()
  tr.manual_seed(3)
  return nn.Sequential {
    { stem = nn.Sequential { nn.Conv2d(1, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4), nn.ReLU() } },
    { block = nn.Residual {
      nn.Conv2d(4, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4),
      activation = nn.ReLU(), shortcut = nn.Identity(),
    } },
    { pool = nn.GlobalAvgPool() }, { fc = nn.Linear(4, 2) },
  }
end

local function same(a, b) return tr.allclose(a, b, 0, 0) end

--- The names that a hook is called with in a pass.
local function names_seen(net, x, options)
  local seen = {}
  local _ <close> = net:watch(function(name) seen[#seen + 1] = name end, options)
  net(x)
  return table.concat(seen, " ")
end

describe("net:watch", function()
  local x = tr.randn { 3, 5, 5, 1 }

  it("shows each layer with what goes in and out, containers and the whole after what is in them", function()
    local net = network()
    assert.equal("stem.1 stem.2 stem.3 stem block.1 block.2 block.shortcut block.activation block pool fc ",
      names_seen(net, x))
    local given = {}
    local _ <close> = net:watch(function(name, m, inputs, outputs) given[name] = { m, inputs, outputs } end)
    local y = net(x)
    assert.equal(y, given[""][3][1])
    assert.equal(x, given["stem.1"][2][1])
    assert.equal(net.stem[2], given["stem.2"][1])
    assert.equal(given["stem.2"][3][1], given["stem.3"][2][1])
    assert.is_true(same(given["stem.2"][3][1]:relu(), given["stem.3"][3][1]))
    assert.is_true(same(given.pool[3][1]:matmul(net.fc.weight) + net.fc.bias, y))
  end)

  it("takes apart what is watched alone, and only while it is", function()
    local net = network():eval()
    local before, steps = net(x), #net:plan().steps
    local function steps_with(name)
      local m = net
      for key in name:gmatch "[^.]+" do m = m[math.tointeger(tonumber(key)) or key] end
      local _ <close> = m:watch(function() end)
      return #net:plan().steps
    end
    assert.equal(4, steps)
    assert.equal(5, steps_with "stem.1") -- Conv2d | BatchNorm ReLU
    assert.equal(6, steps_with "stem.2") -- Conv2d | BatchNorm | ReLU
    assert.equal(4, steps_with "stem")
    assert.equal(4, steps_with "fc")
    assert.equal(steps, #net:plan().steps)
    assert.is_true(same(before, net(x)))
  end)

  it("sees the layers that it names, in the first of every so many passes", function()
    local net = network()
    assert.equal("block", names_seen(net, x, { layers = "block" }))
    assert.equal("stem.2 fc", names_seen(net, x, { layers = { "fc", "stem.2" } }))
    assert.equal("block.shortcut", names_seen(net, x, { layers = "block.shortcut" }))
    local count = 0
    local hook = net:watch(function() count = count + 1 end, { layers = "fc", every = 3 })
    for _ = 1, 7 do net(x) end
    assert.equal(3, count)
    assert.equal("watch of fc, every 3 passes, after 7", tostring(hook))
    hook:close()
    hook:close()
    net(x)
    assert.equal(3, count)
  end)

  it("changes no bit in the passes that it leaves out", function()
    local net = network():eval()
    local before = net(x)
    local _ <close> = net:watch(function() end, { every = 2 })
    assert.is_true(tr.allclose(before, net(x), 1e-5, 1e-6))
    assert.is_true(same(before, net(x)))
  end)

  it("works for layers inside of a plan, and for several hooks at once", function()
    local net, seen = network(), {}
    local function note(where) return function(name) seen[#seen + 1] = where .. ":" .. name end end
    net:watch(note "net", { layers = "fc" })
    net.stem[2]:watch(note "norm")
    net.stem:watch(note "stem", { layers = { "1", "" } })
    net:watch(note "again", { layers = { "fc" } })
    net(x)
    assert.equal("stem:1 norm: stem: net:fc again:fc", table.concat(seen, " "))
  end)

  it("is not called by trials of the library, nor by what the function calls itself", function()
    local net, count = network(), 0
    local _ <close> = net:watch(function()
      count = count + 1
      net(x)
    end, { layers = "fc" })
    net:summary { 1, 5, 5, 1 }
    net:profile(x)
    net:clone()(x)
    assert.equal(0, count)
    net(x)
    assert.equal(1, count)
  end)

  it("goes on after an error of the function, which is told with its place", function()
    local net, fail = network(), true
    local _ <close> = net:watch(function() if fail then error("mine", 0) end end, { layers = "stem" })
    assert.error_matches(function() net(x) end, "mine")
    fail = false
    assert.equal("fc", names_seen(net, x, { layers = "fc" }))
    assert.is_false(require("texres.nn.module").has_watcher())
  end)

  it("follows a layer that is put in the place of another", function()
    local net, seen = network(), nil
    local _ <close> = net:watch(function(_, m) seen = m end, { layers = "fc" })
    net.fc = nn.Linear(4, 3)
    net(x)
    assert.equal(net.fc, seen)
  end)

  it("says what is wrong", function()
    local net = network()
    for message, call in pairs {
      ["watch: expected a function%(name, module, inputs, outputs%), got nil"] = function() net:watch() end,
      ['watch: there is no layer "stm", did you mean stem%?; print%(net%) shows them'] = function()
        net:watch(print, { layers = "stm" })
      end,
      ["watch: layers is 3, wanted a layer's name or a list of them"] = function()
        net:watch(print, { layers = { 3 } })
      end,
      ["watch: layers: the list of layers is empty"] = function() net:watch(print, { layers = {} }) end,
      ["watch: every is 0, wanted a whole number of at least 1"] = function() net:watch(print, { every = 0 }) end,
      ["features: expected an input for the module, got nil"] = function() net:features(nil, "fc") end,
      ["features: expected the name of a layer, or a list of them"] = function() net:features(x) end,
      ['features: there is no layer "nothing"'] = function() net:features(x, "nothing") end,
    } do
      assert.error_matches(call, message)
    end
  end)
end)

describe("net:features", function()
  it("gives what a layer gave, with its graph", function()
    local net, x = network():eval(), tr.randn { 2, 5, 5, 1 }
    local map = net:features(x, "block")
    assert.is_true(same(map, net.block(net.stem(x))))
    assert.is_true(map.requires_grad)
    local both = net:features(x, { "stem", "block" })
    assert.is_true(same(both.block, map))
    assert.is_true(same(both.stem, net.stem(x)))
    assert.is_true(same(net:features(x, ""), net(x)))
    assert.is_true(tr.allclose(net:features(x, "block.2"), net.block[2](net.block[1](both.stem)), 1e-5, 1e-6))
    assert.is_false(tr.no_grad(net.features, net, x, "fc").requires_grad)
    assert.is_true(plan.is_planned(net.block))
  end)

  it("finds shared layers under each of their names, and says which was not called", function()
    local layer = nn.Linear(2, 2)
    local net = nn.Sequential { { a = layer }, { b = layer } }
    local x = tr.randn { 3, 2 }
    local both = net:features(x, { "a", "b" })
    assert.is_true(same(both.a, net(x)) and same(both.b, net(x)))
    local idle = nn.Module {
      used = nn.Linear(2, 2), spare = nn.Linear(2, 2), forward = function(self, v) return self.used(v) end,
    }
    assert.error_matches(function() idle:features(x, "spare") end, 'the layer "spare" was not called in this pass')
  end)
end)
