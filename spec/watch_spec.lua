--- Looking into a network while it works: net:watch, net:features, and what a trainer notes of its layers.
local tr = require "texres"
local diagnosis = require "texres.trainer.diagnosis"
local json = require "texres.json"
local plan = require "texres.nn.plan"
local support = require "spec.support"

local nn, F = tr.nn, tr.nn.functional

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
    assert.is_false(require("texres.nn.module").has_keeper())
  end)

  it("ends in the middle of a pass where its function closes it", function()
    local net, seen = network(), {}
    local hook
    hook = net:watch(function(name)
      seen[#seen + 1] = name
      if #seen == 2 then hook:close() end
    end)
    net(x)
    net(x)
    assert.same({ "stem.1", "stem.2" }, seen)
  end)

  it("is stepped through by a coroutine, and goes on where that one was given up", function()
    local net = network()
    local step = coroutine.wrap(function()
      local _ <close> = net:watch(coroutine.yield, { layers = { "stem", "fc" } })
      net(x)
    end)
    assert.equal("stem", (step()))
    assert.equal("pool fc", names_seen(network(), x, { layers = { "pool", "fc" } }))
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

-- -- what a trainer watches -------------------------------------------------------------------------------------------

--- Two classes of small noisy images that differ in brightness.
local function toy(count, change)
  tr.manual_seed(1)
  local labels = {}
  for i = 1, count do labels[i] = i % 2 + 1 end
  local images = tr.randn(count, 4, 4, 1) + (tr.tensor(labels):to "f32" - 1.5):reshape(count, 1, 1, 1)
  if change then change(images) end
  return tr.data.tensors {
    images = images, labels = tr.tensor(labels, { dtype = "i64" }), classes = { "good", "bright" },
  }
end

local function trainer_of(changes)
  local o = { model = network(), optimizer = { "sgd", lr = 0.1, momentum = 0.9 }, epochs = 3, batch = 8, seed = 5,
    normalize = false, quiet = true }
  for name, value in pairs(changes or {}) do o[name] = value end
  return tr.Trainer(o)
end

local function weights_of(model)
  local all = {}
  for name, t in pairs(model:state_dict()) do all[name] = t:flatten():totable() end
  return all
end

local function by_name(layers)
  local rows = {}
  for _, row in ipairs(layers) do rows[row.name] = row end
  return rows
end

local function close(wanted, got) assert.is_true(math.abs(wanted - got) <= 1e-5 * math.abs(wanted) + 1e-9) end

--- The norm of several tensors as one vector.
local function norm(...)
  local sum = 0
  for _, t in ipairs { ... } do sum = sum + (t:to "f64" * t:to "f64"):sum():item() end
  return sum ^ 0.5
end

--- Calls f() and returns the warnings meanwhile.
local function warnings(f)
  local kept, list = tr.warn, {}
  tr.warn = function(message) list[#list + 1] = message end
  local ok, message = pcall(f)
  tr.warn = kept
  return list, not ok and message or nil
end

describe("a trainer's watch", function()
  local train = toy(44)

  it("has the norms of weights, gradients and changes, activations and dead channels", function()
    local trainer = trainer_of { epochs = 1, batch = 44, watch = { every = 1 }, optimizer = { "sgd", lr = 0.1 } }
    local net = trainer.model:clone()
    tr.no_grad(function() net.stem[2].beta:slice(1, 1, 2):fill(-100) end) -- two of four channels behind it are dead
    trainer.model:load_state_dict(net:state_dict())
    local order = train:loader({ batch = 44, shuffle = true, seed = 5 }):order(1)
    local images, labels = train:subset(order):images(), train:subset(order):labels()
    net:train()
    local y = net(images)
    F.cross_entropy(y, labels):backward()
    local stem = tr.no_grad(function() return net.stem[2](net.stem[1](images)):relu() end)
    trainer:fit(train)
    local entry = trainer.watched[1]
    assert.same({ 1, 1, 2 }, { entry.step, entry.epoch, #trainer.watched })
    local names = {}
    for i, row in ipairs(entry.layers) do names[i] = row.name .. " " .. row.kind end
    assert.equal("stem.1 Conv2d, stem.2 BatchNorm, block.1 Conv2d, block.2 BatchNorm, fc Linear",
      table.concat(names, ", "))
    local rows = by_name(entry.layers)
    for name, m in pairs { ["stem.1"] = net.stem[1], ["stem.2"] = net.stem[2], fc = net.fc } do
      local parameters, gradients = m:parameters(), {}
      for i, p in ipairs(parameters) do gradients[i], parameters[i] = p.grad, p:detach() end
      close(norm(table.unpack(parameters)), rows[name].weight)
      close(norm(table.unpack(gradients)), rows[name].gradient)
      assert.is_true(math.abs(0.1 * norm(table.unpack(gradients)) - rows[name].update) < 1e-4)
    end
    close(norm(stem) / stem:numel() ^ 0.5, rows["stem.2"].activation)
    close(rows["stem.2"].activation, rows["stem.1"].activation) -- they are one step
    close(norm(y:detach()) / y:numel() ^ 0.5, rows.fc.activation)
    assert.equal(0.5, rows["stem.2"].dead)
    assert.is_nil(rows["stem.1"].dead)
    assert.is_nil(rows.fc.dead)
  end)

  it("finds the layer before a ReLU in a forward of one's own, and ReLUs before an added residual", function()
    tr.manual_seed(1)
    local own = nn.Module {
      a = nn.Linear(16, 4), relu = nn.ReLU(), b = nn.Linear(4, 4), last = nn.ReLU(), c = nn.Linear(4, 2),
      forward = function(self, x)
        local h = self.relu(self.a(x:reshape(x:size(1), 16)))
        return self.c(self.last(h - self.b(h) * 0 - 1e6))
      end,
    }
    local trainer = trainer_of { model = own, epochs = 1 }
    trainer:fit(train)
    local rows = by_name(trainer.watched[1].layers)
    assert.is_true(rows.a.dead < 1)
    assert.is_nil(rows.b.dead)
    assert.same({ name = "last", kind = "ReLU", activation = 0.0, dead = 1.0 }, rows.last)
    local net = nn.Sequential { nn.Conv2d(1, 1, 1), nn.Residual { nn.Conv2d(1, 1, 1, { bias = false }), nn.BatchNorm(1),
      nn.ReLU() }, nn.GlobalAvgPool(), nn.Linear(1, 2) }
    tr.no_grad(function() net[2][2].beta:fill(-100) end)
    trainer = trainer_of { model = net, epochs = 1 }
    trainer:fit(train)
    assert.equal(1, by_name(trainer.watched[1].layers)["2.2"].dead)
  end)

  it("counts the images of a step together, also behind a ReLU that serves layers and sums alike", function()
    local function rows_with(batch, accumulate)
      tr.manual_seed(1)
      local own = nn.Module {
        a = nn.Linear(16, 12), b = nn.Linear(12, 12), relu = nn.ReLU(), c = nn.Linear(12, 2),
        forward = function(self, x)
          local h = self.relu(self.a(x:reshape(x:size(1), 16)) - 3) -- a sum first
          return self.c(self.relu(self.b(self.relu(self.b(h)))))
        end,
      }
      local trainer = trainer_of { model = own, epochs = 1, batch = batch, accumulate = accumulate }
      trainer:fit(train)
      return by_name(trainer.watched[1].layers)
    end
    local together, apart = rows_with(44, 1), rows_with(4, 11)
    assert.is_true(together.b.dead < 1 and together.relu.dead > 0)
    assert.is_nil(together.a.dead)
    for name, row in pairs(together) do
      for key, value in pairs(row) do
        if type(value) == "number" then close(value, apart[name][key]) else assert.equal(value, apart[name][key]) end
      end
    end
  end)

  it("looks every so many steps, and has histograms at the end of each epoch", function()
    local trainer = trainer_of { watch = { every = 4 } }
    trainer:fit(train)
    local steps = {}
    for i, entry in ipairs(trainer.watched) do
      steps[i] = (entry.end_of_epoch and "end" or "step") .. entry.step .. "/" .. entry.epoch
    end
    assert.equal("step1/1 step5/1 end6/1 step9/2 end12/2 step13/3 step17/3 end18/3", table.concat(steps, " "))
    local last = trainer.watched[#trainer.watched]
    for _, row in ipairs(last.layers) do
      local sum = 0
      for _, n in ipairs(row.histogram.counts) do sum = sum + n end
      assert.equal(32, #row.histogram.counts)
      local m = trainer.model
      for key in row.name:gmatch "[^.]+" do m = m[math.tointeger(tonumber(key)) or key] end
      assert.equal(m:num_parameters(), sum)
      if row.name == "block.1" then
        local w = trainer.model.block[1].weight:detach():flatten()
        assert.equal(w:min():item(), row.histogram.low)
        local edge = row.histogram.low + (row.histogram.high - row.histogram.low) / 4
        local below = 0
        for i = 1, 8 do below = below + row.histogram.counts[i] end
        assert.equal(w:lt(edge):sum():item(), below)
      end
    end
    local without = trainer_of { watch = false }
    without:fit(train)
    assert.same({}, without.watched)
    for message, value in pairs {
      ["watch is 3, wanted true, false or { every = 50 }"] = 3, ["watch: every is 0"] = { every = 0 },
    } do
      assert.error_matches(function() trainer_of { watch = value } end, message)
    end
  end)

  it("changes no bit of the training", function()
    for _, changes in ipairs { {}, { accumulate = 2, clip_grad_norm = 0.1, ema = 0.9 } } do
      local function weights(watch)
        changes.watch, changes.model = watch, network()
        local trainer = trainer_of(changes)
        trainer:fit(train, train)
        return weights_of(trainer.model)
      end
      assert.same(weights(false), weights { every = 1 })
    end
  end)

  it("is in a file, which a resumed run goes on with from its step", function()
    local whole, cut = support.folder(), support.folder()
    trainer_of({ dir = whole, watch = { every = 2 } }):fit(train)
    local options = { dir = cut, watch = { every = 2 }, resume = true, epochs = 3 }
    for event in trainer_of(options):run(train) do
      if event.kind == "step" and event.step == 8 then break end
    end
    local path = cut .. "/watch.jsonl"
    local text = support.read_file(path)
    local ahead = json.encode { step = 9, epoch = 2, layers = {} }
    support.write_file(path, text .. ahead .. "\n" .. text:sub(1, 30)) -- as after a kill between two snapshots
    options.model = network()
    local resumed = trainer_of(options)
    resumed:fit(train)
    assert.equal(support.read_file(whole .. "/watch.jsonl"), support.read_file(path))
    local count = 0
    for line in io.lines(path) do
      count = count + 1
      assert.same(json.decode(line), resumed.watched[count])
    end
    assert.equal(#resumed.watched, count)
    resumed:fit(train, nil, { fresh = true })
    assert.equal(1, resumed.watched[1].step)
    assert.equal(count, #resumed.watched)
  end)
end)

describe("what a trainer finds wrong with the layers", function()
  local train = toy(44)

  --- The kinds and layers that are found in entries of these gradients, which are given one after the other.
  local function found(...)
    local trainer = { watched = {}, findings = {} }
    local entries = { ... }
    local told = warnings(function()
      for i, row in ipairs(entries) do
        local layers = {}
        for k, layer in ipairs(row) do
          layers[k] = { name = "l" .. k, kind = "Linear", weight = 1, gradient = layer[1], dead = layer[2] }
        end
        trainer.watched[i] = { step = i, epoch = 1, layers = layers }
        diagnosis.judge(trainer)
      end
    end)
    local kinds = {}
    for i, finding in ipairs(trainer.findings) do
      kinds[i] = ("%s %s %d"):format(finding.kind, finding.layer, finding.step)
      assert.equal(("Trainer: step %d: %s"):format(finding.step, finding.text), told[i])
    end
    assert.equal(#kinds, #told)
    return table.concat(kinds, ", ")
  end

  it("tells each once, when it is seen twice in a row", function()
    local fine, low, high = { { 1 }, { 1 } }, { { 1e-5 }, { 1 } }, { { 1e5 }, { 1 } }
    assert.equal("", found(fine, fine, fine))
    assert.equal("", found(low, fine, low))
    assert.equal("vanishing l1 2", found(low, low, low, low))
    assert.equal("exploding l1 2", found(high, high, fine, high, high))
    assert.equal("exploding l2 5", found(fine, fine, fine, { { 1 }, { 2000 } }, { { 1 }, { 3000 } }))
    assert.equal("dead l2 3", found(fine, { { 1 }, { 1, 0.5 } }, { { 1 }, { 1, 0.75 } }, { { 1 }, { 1, 1 } }))
    assert.equal("", found({ { 1 }, { 1, 0.49 } }, { { 1 }, { 1, 0.49 } }))
    assert.equal("not finite l2 1", found({ { 1 }, { 0 / 0 } }, { { 1 }, { math.huge } }))
  end)

  --- Ten layers with sigmoids between them.
  local function sigmoids()
    tr.manual_seed(2)
    local items = { nn.Flatten(), nn.Linear(16, 4) }
    for _ = 1, 8 do
      items[#items + 1] = nn.Sigmoid()
      items[#items + 1] = nn.Linear(4, 4)
    end
    items[#items + 1] = nn.Linear(4, 2)
    return nn.Sequential(items)
  end

  it("finds the gradient of a deep network of sigmoids vanishing, and says what helps", function()
    local trainer = trainer_of { model = sigmoids(), watch = { every = 1 }, epochs = 1 }
    local told = warnings(function() trainer:fit(train) end)
    assert.equal(1, #told)
    assert.matches("^Trainer: step 2: the gradient vanishes: relative to its weights, that of 2 is %S+ times that of "
      .. "19%. Batch norm, residual connections", told[1])
    assert.equal("vanishing", trainer.findings[1].kind)
  end)

  it("has what was found before a resume, and does not say it again", function()
    local options = { model = sigmoids(), watch = { every = 1 }, epochs = 2, dir = support.folder(), resume = true }
    local first = trainer_of(options)
    warnings(function()
      for event in first:run(train) do
        if event.kind == "step" and event.step == 7 then break end
      end
    end)
    options.model = sigmoids()
    local second = trainer_of(options)
    assert.same({}, (warnings(function() second:fit(train) end)))
    assert.same(first.findings, second.findings)
    assert.equal(1, #second.findings)
  end)

  it("names layer, step and image where something is not a number", function()
    local set = toy(44, function(images) images:slice(1, 17, 17):fill(1e30) end)
    local net = nn.Sequential { nn.Flatten(), { a = nn.Linear(16, 4) }, nn.ReLU(), { b = nn.Linear(4, 2) } }
    tr.no_grad(function()
      net.a.weight:fill(1e9)
      net.b.weight:fill(1)
    end)
    local trainer = trainer_of { model = net, optimizer = { "sgd", lr = 0 }, accumulate = 2 }
    local _, message = warnings(function() trainer:fit(set) end)
    local order, at = set:loader({ batch = 8, shuffle = true, seed = 5 }):order(1), nil
    for i, position in ipairs(order) do at = position == 17 and i or at end
    local batch = (at + 7) // 8
    assert.matches(("the loss is %%a+ in epoch 1, batch %d %%(step %d, learning rate 0%%)%%. The first layer whose "
      .. "output is not finite is a %%(Linear%%(16, 4%%)%%), for image 17 of the training set%%. A lower"):format(batch,
      (batch + 1) // 2), message)
    local f = trainer.findings[#trainer.findings]
    assert.same({ "not finite", "a", (batch + 1) // 2, 1 }, { f.kind, f.layer, f.step, f.epoch })
  end)
end)
