--- Plans: lua/texres/nn/plan.lua, and the containers that run by them.

local tr = require "texres"
local module = require "texres.nn.module"
local nn = tr.nn

local function conv(c, k) return nn.Conv2d(c, k, 3, { padding = 1, bias = false }) end

--- The steps of a plan as text, one per line: "Conv2d BatchNorm ReLU <- 1".
local function steps_of(net)
  local lines = {}
  for line in tostring(net:plan()):gmatch "[^\n]+" do
    if line:find "^%d" then
      lines[#lines + 1] = line:gsub("^%d+%s+", ""):gsub("%s%s+", " | ")
    end
  end
  return table.concat(lines, "\n")
end

--- What the container gives, and what its modules give when each is called by itself.
local function both_ways(net, x)
  return net(x), module.watch(function() end, function() return net:clone()(x) end)
end

local function check_agreement(net, x)
  net:train(false)
  local y, z = both_ways(net, x)
  assert.is_true(tr.allclose(y, z, 1e-5, 1e-5))
end

local function message_of(fn) return select(2, pcall(fn)) end

describe("a plan", function()
  local x = tr.randn(2, 8, 8, 4)

  it("joins what follows a convolution or a batch norm, into containers inside and out of them", function()
    local net = nn.Sequential {
      conv(4, 4), nn.Sequential { nn.BatchNorm(4), nn.Identity(), nn.ReLU() },
      nn.Residual { nn.Sequential { conv(4, 4), nn.BatchNorm(4), nn.ReLU() } },
      nn.Residual { conv(4, 4), nn.BatchNorm(4), activation = nn.ReLU() },
      nn.Residual { nn.BatchNorm(4), shortcut = nn.Sequential { nn.Conv2d(4, 4, 1) }, activation = nn.Tanh() },
      nn.Conv2d(4, 4, 1), nn.BatchNorm(4),
    }
    assert.equal(table.concat({
      "1 2.1 2.3 | Conv2d BatchNorm ReLU | 1",
      "3.1.1 3.1.2 3.1.3 | Conv2d BatchNorm ReLU + | 2 2",
      "4.1 4.2 4.activation | Conv2d BatchNorm + ReLU | 3 3",
      "5.shortcut.1 | Conv2d(4, 4, 1) | 4",
      "5.1 | BatchNorm + | 4 5",
      "5.activation | Tanh() | 6",
      "6 | Conv2d(4, 4, 1) | 7", -- its bias stands between both
      "7 | BatchNorm(4) | 8",
    }, "\n"), steps_of(net))
    check_agreement(net, x)
  end)

  it("joins nothing that is read twice", function()
    local shared = conv(4, 4)
    local net = nn.Sequential {
      nn.Residual { nn.Sequential { conv(4, 4) }, nn.Residual { nn.BatchNorm(4), nn.ReLU() } },
      nn.Concat { nn.ReLU(), nn.BatchNorm(4), nn.Sequential {} }, nn.Conv2d(12, 4, 1), shared, shared,
      nn.Concat { shared, nn.BatchNorm(4) },
    }
    assert.equal(table.concat({
      "1.1.1 | Conv2d(4, 4, 3, {bias=false, padding=1}) | 1",
      "1.2.1 1.2.2 | BatchNorm ReLU + | 2 2",
      "+ | 3 1",
      "2.1 | ReLU() | 4",
      "2.2 | BatchNorm(4) | 4",
      "cat | 5 6 4",
      "3 | Conv2d(12, 4, 1) | 7",
      "4 | Conv2d(4, 4, 3, {bias=false, padding=1}) | 8",
      "4 | Conv2d(4, 4, 3, {bias=false, padding=1}) | 9",
      "4 | Conv2d(4, 4, 3, {bias=false, padding=1}) | 10",
      "6.2 | BatchNorm(4) | 10",
      "cat | 11 12",
    }, "\n"), steps_of(net))
    check_agreement(net, x)
  end)

  it("is made anew when an item is replaced, appended, or gets a forward of its own", function()
    local net = nn.Sequential { conv(4, 4), nn.BatchNorm(4), nn.Residual { nn.Sequential { conv(4, 4) } } }
    net:eval()
    local function same_as_apart() check_agreement(net, x) end
    assert.is_true(rawequal(net:plan(), net:plan()))
    same_as_apart()
    local changes = {
      function() net[2] = nn.ReLU() end,
      function() net[3][1][1] = nn.Conv2d(4, 4, 1) end,
      function() net[3].activation = nn.ReLU() end,
      function() net[3].shortcut = nn.Sequential { nn.BatchNorm(4) } end,
      function() net[3][1]:append(nn.Tanh()) end,
      function() net:append(nn.GlobalAvgPool()) end,
      function() rawset(net[1], "forward", function(_, images) return images * 2 end) end,
      function() rawset(net[3], "forward", function(_, images) return images + 1 end) end,
      function() net[1].forward = nil end,
      function() net[1].bias = nn.Parameter(tr.ones(4)) end,
    }
    for i, change in ipairs(changes) do
      local before = net:plan()
      change()
      assert.is_false(rawequal(before, net:plan()), "change " .. i)
      same_as_apart()
    end
  end)

  it("is not shared by a copy", function()
    local net = nn.Sequential { conv(4, 4), nn.ReLU() }
    local before = net(x)
    local copy = net:clone()
    copy[1].weight:detach():fill(0)
    assert.is_true(tr.allclose(net(x), before, 0))
    assert.equal(0, copy(x):abs():max():item())
  end)

  it("holds containers of one's own, which say what they do", function()
    local Twice = nn.Module("Twice", nn.Sequential)
    function Twice:trace(tracer, value)
      for _ = 1, 2 do value = nn.Sequential.trace(self, tracer, value) end
      return value
    end
    local net = nn.Sequential { Twice { conv(4, 4), nn.ReLU() } }
    assert.equal("1.1 1.2 | Conv2d ReLU | 1\n1.1 1.2 | Conv2d ReLU | 2", steps_of(net))
    check_agreement(net, x)
  end)

  it("says what trace wants where it is called by hand", function()
    for _, net in ipairs { nn.Sequential {}, nn.Residual {}, nn.Concat {} } do
      assert.matches("trace: tracer is 3, wanted a tracer", message_of(function() net:trace(3) end))
    end
  end)

  it("refuses what is no tensor where values are added or joined, in every place", function()
    local function nothing() end
    for i = 1, 3 do
      local items = { nn.ReLU(), nn.ReLU(), nn.ReLU() }
      items[i] = nothing
      local concat, message = nn.Concat(items), "in Concat: Concat: item " .. i .. " gave nil, wanted a tensor"
      assert.matches(message, message_of(function() concat(x) end))
    end
    local body, shortcut = nn.Residual { nothing }, nn.Residual { nn.ReLU(), shortcut = nothing }
    assert.matches("Residual: the items gave nil, wanted a tensor", message_of(function() body(x) end))
    assert.matches("Residual: the shortcut gave nil, wanted a tensor", message_of(function() shortcut(x) end))
  end)

  it("refuses an item that was replaced by what is no module", function()
    for _, other in ipairs { 3, "ReLU", function(images) return images end, { forward = function() end } } do
      local net, message = nn.Sequential { nn.ReLU() }, "Sequential: item 1 is a " .. type(other) .. ", wanted a module"
      net[1] = other
      assert.matches(message, message_of(function() net(x) end))
    end
  end)

  it("refuses a trace that gives no number of a value", function()
    local Own = nn.Module("Own", nn.Sequential)
    local traces = {
      function() return nil end,
      function(self, tracer) return tracer:item(self, 1, 9) end,
      function(self, tracer, value) return tracer:sum(self, value, x) end,
      function(self, tracer, value) return tracer:cat(self, { value, 0 }) end,
    }
    for i, shown in ipairs { "nil", "9", "a tensor", "0" } do
      Own.trace = traces[i]
      local net = Own { nn.ReLU() }
      local message = message_of(function() net(x) end)
      assert.matches("Own: trace gives " .. shown .. " where the number of a value is wanted", message)
    end
  end)

  it("says what is wrong where it happens", function()
    local net = nn.Sequential { name = "net", nn.Sequential { conv(4, 4), nn.BatchNorm(5) } }
    assert.matches("in net%[1%]%[1%]: conv2d_batch_norm: gamma is {5}", message_of(function() net(x) end))
    net[1][2] = nil
    assert.matches("item 2 was taken away", message_of(function() net(x) end))
    local round = nn.Sequential { conv(4, 4) }
    round:append(round)
    assert.matches("Sequential contains itself", message_of(function() round(x) end))
    local residual = nn.Sequential { name = "net", nn.Residual { nn.Sequential { nn.Conv2d(4, 8, 1), nn.ReLU() } } }
    assert.matches("in net%[1%]: Residual: the body gives {2,8,8,8}", message_of(function() residual(x) end))
  end)
end)
