--- Saved models come back as they were: layers used twice, tied weights, dtypes, what was changed later; and what can't
-- come back is told. lua/texres/nn/{architecture,state}.lua, lua/texres/checkpoint.lua
local tr = require "texres"
local checkpoint = require "texres.checkpoint"
local json = require "texres.json"
local safetensors = require "texres.safetensors"
local support = require "spec.support"
local nn = tr.nn

local path
before_each(function() path = support.folder() .. "/net.safetensors" end)

-- The model as it comes back from a file; it must give the same bits for x.
local function come_back(net, x)
  assert(tr.save(path, { model = net }))
  local twin = assert(checkpoint.load(path)).model
  assert.is_true(tr.allclose(tr.no_grad(net:eval(), x), tr.no_grad(twin, x), 0, 0))
  assert.equal(net:num_parameters(), twin:num_parameters())
  assert.is_true(net:clone():load(path))
  assert(tr.load(path))
  return twin
end

-- The warnings of fn(...).
local function warnings_of(fn, ...)
  local list, before = {}, tr.warn
  tr.warn = function(message) list[#list + 1] = message end
  local ok, problem = pcall(fn, ...)
  tr.warn = before
  assert(ok, problem)
  return list
end

describe("a layer used twice", function()
  local x = tr.randn(4, 3)

  it("is one layer again", function()
    local layer, relu = nn.Linear(3, 3), nn.ReLU()
    local twin = come_back(nn.Sequential { layer, relu, layer, relu }, x)
    assert.equal(twin[1], twin[3])
    assert.equal(twin[2], twin[4])
    assert.equal(2, #nn.from_config(nn.Sequential { layer, layer }:config()):parameters())
  end)

  it("may be used many times", function()
    local layer, items = nn.Linear(3, 3), {}
    for i = 1, 100 do items[i] = layer end
    local twin = come_back(nn.Sequential(items), x * 0.1)
    assert.equal(twin[1], twin[100])
    tr.nn.functional.mse_loss(twin:train()(x), x):backward() -- weights from a file can be trained
    local before = twin[1].weight:detach():clone()
    tr.optim.SGD(twin, { lr = 0.1 }):step()
    assert.is_false(tr.allclose(before, twin[100].weight, 0, 0))
  end)

  it("stands in several containers, or as a shortcut that came later", function()
    local block = nn.Sequential { nn.Linear(3, 3, { bias = false }), nn.BatchNorm(3) }
    local twin = come_back(nn.Sequential { block, nn.Residual { block, block[1], shortcut = block[1] }, block }, x)
    assert.equal(twin[1], twin[3])
    assert.equal(twin[1][1], twin[2].shortcut)
    local net = nn.Residual { nn.Linear(3, 3) }
    net.shortcut = nn.Linear(3, 3)
    net:append(net.shortcut) -- first named shortcut here, 2 in the twin
    twin = come_back(net, x)
    assert.equal(twin.shortcut, twin[2])
    twin = come_back(nn.Concat { net, net }, x)
    assert.equal(twin[1], twin[2])
  end)

  it("says when it is saved that it is used too often to be rebuilt", function()
    local layer, layers = nn.Linear(2000, 2000), {}
    for i = 1, 17 do layers[i] = layer end -- more than 2^26 weights to be built, of which the file has a 17th
    local warnings = warnings_of(tr.save, path, { model = nn.Sequential(layers) })
    assert.equal(1, #warnings)
    assert.matches("used again so often that they have 68000000 weights to be built, where the file has 4002000",
      warnings[1], 1, true)
    assert.matches("build the model in the script", warnings[1], 1, true)
    local none, message = tr.load(path)
    assert.is_nil(none)
    assert.matches("build the model in the script", message, 1, true)
    assert(tr.load(path, nn.Sequential(layers)))
    layers[17] = nil
    assert.same({}, warnings_of(tr.save, path, { model = nn.Sequential(layers) }))
    assert(tr.load(path))
  end)

  it("stands in a user's class", function()
    local Loop = nn.register("SpecLoop", nn.Module "SpecLoop")
    function Loop:init(n)
      self.stages = { nn.Linear(n, n) }
      self.stages[2] = self.stages[1]
    end
    function Loop:forward(t) return self.stages[2](self.stages[1](t)) end
    local twin = come_back(Loop(3), x)
    assert.equal(twin.stages[1], twin.stages[2])
  end)

  it("is tied by its weight alone", function()
    local a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    local twin = come_back(nn.Sequential { a, nn.Tanh(), b }, x)
    assert.equal(twin[1].weight, twin[3].weight)
    assert.are_not.equal(twin[1].bias, twin[3].bias)
    assert.is_true(twin[1].weight.requires_grad)
    local norm = nn.BatchNorm(3)
    norm.beta, norm.running_mean = norm.gamma, norm.running_var
    twin = come_back(nn.Sequential { norm }, x)
    assert.equal(twin[1].gamma, twin[1].beta)
  end)

  it("is found in files of before, where there is only one that it can be", function()
    local function write(net) -- as they were: no `tied`
      assert(tr.save(path, { model = net }))
      local tensors, metadata = safetensors.load(path)
      local info = json.decode(metadata.texres)
      info.architecture.tied = nil
      metadata.texres = json.encode(info)
      assert(safetensors.save(path, tensors, metadata))
    end
    local layer = nn.Linear(3, 3)
    local net = nn.Sequential { layer, nn.ReLU(), layer, nn.Linear(3, 2) }
    write(net)
    local twin = assert(checkpoint.load(path)).model
    assert.equal(twin[1].weight, twin[3].weight)
    assert.is_true(tr.allclose(net(x), twin(x), 0, 0))
    net = nn.Sequential { layer, nn.Linear(3, 3), layer }
    write(net)
    local none, message = checkpoint.load(path)
    assert.is_nil(none)
    assert.matches("missing 3.bias, 3.weight; build the model in the script", message, 1, true)
    assert(checkpoint.load(path, net))
  end)

  it("takes a state under any of its names, and none that contradicts itself", function()
    local layer = nn.Linear(3, 3)
    local net, apart = nn.Sequential { layer, layer }, nn.Sequential { nn.Linear(3, 3), nn.Linear(3, 3) }
    local state = apart:state_dict()
    assert.error_matches(function() net:load_state_dict(state) end, "1.weight and 2.weight are one tensor here")
    state["2.weight"], state["2.bias"] = state["1.weight"], state["1.bias"]
    net:load_state_dict(state)
    state["1.weight"], state["1.bias"] = nil, nil
    net:load_state_dict(state)
    assert.is_true(tr.allclose(net[2].weight, apart[1].weight, 0, 0))
    state["3.bias"] = state["2.bias"]
    assert.error_matches(function() net:load_state_dict(state) end, "unexpected 3.bias")
  end)
end)

describe("a description in a file", function()
  local layer = nn.Linear(2, 2)
  local net = nn.Sequential { layer, nn.ReLU(), layer, nn.Linear(2, 2) }

  -- The message of loading a file of net that was changed by change(description, tensors).
  local function load_changed(change)
    assert(tr.save(path, { model = net }))
    local tensors, metadata = safetensors.load(path)
    local info = json.decode(metadata.texres)
    change(info.architecture, tensors)
    metadata = { texres = json.encode(info) }
    assert(safetensors.save(path, tensors, metadata))
    local none, message = checkpoint.load(path)
    assert.is_nil(none)
    assert.matches(path, message, 1, true)
    return message
  end

  it("that ties what is no pair is refused", function()
    for _, case in ipairs {
      { 3, "what is tied is no table" }, { { ["1"] = "2" }, "1 and 2 are said to be one, but are not of one kind" },
      { { ["1.weight"] = "1" }, "not of one kind" }, { { ["1"] = "" }, "not of one kind" },
      { { ["3.weight"] = "1.bias" }, "not of one kind" }, { { ["3"] = {} }, "but there is no" },
      { { ["3"] = "9" }, "there is no 9" }, { { ["9"] = "3" }, "there is no 9" }, { {}, "missing 3.bias, 3.weight" },
      { { ["3"] = "4", ["4"] = "1" }, "are one tensor here" },
    } do
      assert.matches(case[2], load_changed(function(description) description.tied = case[1] end), 1, true)
    end
  end)

  it("does not get weights that are integers, nor two for one", function()
    for _, dtype in ipairs { "i64", "u8" } do
      assert.matches("1.weight is f32 here, " .. dtype .. " in the state", load_changed(function(_, tensors)
        tensors["1.weight"] = tr.ones({ 2, 2 }, { dtype = dtype })
      end), 1, true)
    end
    assert.matches("1.weight and 3.weight are one tensor here", load_changed(function(_, tensors)
      tensors["3.weight"] = tr.ones(2, 2)
    end), 1, true)
  end)

  it("names classes of texres by their own names", function()
    assert.error_matches(function() nn.register("Linear", nn.Module("Linear", nn.Linear)) end,
      "nn.register: Linear is a class of texres; take another name")
    assert.equal(nn.Linear, nn.register("Linear", nn.Linear))
  end)

  it("prints where an attribute leads back", function()
    local chain = nn.Sequential { nn.ReLU() }
    chain[1].parent = chain
    assert.equal("Sequential\n  1: ReLU\n    parent: Sequential", tostring(chain))
  end)
end)

describe("dtypes of a saved model", function()
  it("are those that it had, also mixed", function()
    local net = tr.models.textile { width = 2 }:to "f64"
    local twin = come_back(net, tr.randn({ 1, 16, 16, 1 }, { dtype = "f64" }))
    for name, t in pairs(twin:state_dict()) do assert.equal("f64", t.dtype, name) end
    assert(assert(tr.load(path)):predict(tr.rand(16, 16, 1)).probability > 0)
    local mixed = nn.Sequential { nn.Linear(2, 2), nn.Linear(2, 2) }
    mixed[2]:to "f64"
    assert(tr.save(path, { model = mixed }))
    twin = assert(checkpoint.load(path)).model
    assert.equal("f32", twin[1].weight.dtype)
    assert.equal("f64", twin[2].bias.dtype)
    assert.is_true(twin[2].bias.requires_grad)
  end)

  it("are f32 or f64", function()
    assert.error_matches(function() nn.Linear(1, 1):to "i64" end, 'to: dtype is "i64", wanted "f32" or "f64"')
  end)
end)

describe("a class derived from a layer or container", function()
  it("is made again by the arguments of its own init", function()
    local Wide = nn.register("SpecWide", nn.Module("SpecWide", nn.Conv2d))
    function Wide:init(width, bias) nn.Conv2d.init(self, width, 2 * width, 3, { padding = 1, bias = bias }) end
    local Block = nn.register("SpecBlock", nn.Module("SpecBlock", nn.Sequential))
    function Block:init(width) nn.Sequential.init(self, { Wide(width, false), nn.BatchNorm(2 * width), nn.ReLU() }) end
    local Named = nn.register("SpecNamed", nn.Module("SpecNamed", Block)) -- the init of its base
    local twin = come_back(nn.Sequential { Block(1), Named(2) }, tr.randn(2, 4, 4, 1))
    assert.equal(Named, getmetatable(twin[2]))
    assert.equal("SpecWide(2, false)", twin[2][1]:describe())
  end)
end)

describe("what was changed after it was made", function()
  it("is saved as it is now", function()
    local net = nn.Sequential {
      nn.Conv2d(1, 2, 3), nn.BatchNorm(2), nn.LeakyReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Dropout(0.5),
    }
    net[1].stride, net[1].padding, net[2].eps, net[3].slope = 2, { 1, 0, 1, 0 }, 0.25, 0.3
    net[4].stride, net[5].count_include_pad, net[5].padding, net[6].p = 1, false, 1, 0.25
    local twin = come_back(net, tr.randn(2, 16, 16, 1))
    assert.equal(tostring(net), tostring(twin))
    assert.equal(0.25, twin[6].p)
  end)

  it("is told where a layer lacks its weight", function()
    for name, layer in pairs { weight = nn.Conv2d(1, 2, 3), bias = nn.Linear(2, 3), gamma = nn.BatchNorm(2) } do
      layer[name] = nil
      if name == "bias" then
        come_back(layer, tr.ones(1, 2)) -- that is a layer, too
      else
        assert.equal(1, #warnings_of(tr.save, path, { model = layer }))
        assert.equal(name == "weight" and "Conv2d(1, 2, 3)" or "BatchNorm(2)", tostring(layer))
      end
    end
  end)

  it("is told where it does not follow from the arguments of a class", function()
    local Net = nn.register("SpecChanged", nn.Module "SpecChanged")
    function Net:init(n)
      self.fc = nn.Linear(n, n)
      self.act = nn.ReLU()
    end
    function Net:forward(x) return self.act(self.fc(x)) end
    for _, change in ipairs {
      function(net) net.fc = nn.Linear(3, 5) end, function(net) net.act = nn.Tanh() end,
      function(net) net.act = nil end, function(net) net.more = nn.ReLU() end,
      function(net) rawset(net.fc, "forward", function(_, x) return x end) end,
    } do
      local net = Net(3)
      change(net)
      local list = warnings_of(tr.save, path, { model = net })
      assert.equal(1, #list)
      assert.matches("SpecChanged was changed after it was made", list[1], 1, true)
      assert.is_nil((checkpoint.load(path)))
      assert(checkpoint.load(path, net))
    end
  end)
end)

describe("what cannot be rebuilt", function()
  it("is a container in containers that stand again and again in others", function()
    local net = nn.ReLU()
    for _ = 1, 40 do net = nn.Sequential { net, net } end
    assert.error_matches(function() net:config() end, "config: there are more than 65536 modules to describe")
  end)

  local unregistered = nn.Module "SpecUnregistered"
  function unregistered.forward(_, x) return x end
  local impostor = nn.Module("Linear", nn.Linear)
  function impostor.forward(_, x) return x end

  it("is saved with a warning that says what to do", function()
    for reason, net in pairs {
      ["a plain function (Lambda) cannot be written"] = nn.Sequential { nn.Linear(2, 2), function(x) return x end },
      ["Module has a forward of its own"] = nn.Sequential { nn.Module { forward = function(_, x) return x end } },
      ["SpecUnregistered is not registered; see nn.register"] = unregistered(),
      ["nn.register has another class of that name"] = impostor(2, 2),
    } do
      local list = warnings_of(function()
        assert.is_true(tr.save(path, { model = net }))
        assert.is_true(tr.save(path, { model = net }))
      end)
      assert.equal(1, #list, "once for a model and a file")
      assert.matches(path .. ": saved without architecture", list[1], 1, true)
      assert.matches(reason, list[1], 1, true)
      assert.matches("call texres.load(path, model)", list[1], 1, true)
      local none, message = tr.load(path)
      assert.is_nil(none)
      assert.matches("build the model in the script", message, 1, true)
      assert(tr.load(path, net))
    end
    assert.same({}, warnings_of(tr.save, path, { model = tr.models.textile { width = 2 } }))
  end)

  it("is not a model whose config() fails: that error is the user's to see", function()
    local Broken = nn.register("SpecBroken", nn.Module "SpecBroken")
    function Broken.forward(_, x) return x end
    function Broken.config() error "boom" end
    assert.error_matches(function() tr.save(path, { model = Broken() }) end, "boom")
    assert.error_matches(function() tr.save(path, { model = nn.Sequential { Broken() } }) end, "boom")
    assert.is_false(support.exists(path))
    local Own = nn.register("SpecOwnConfig", nn.Module "SpecOwnConfig")
    function Own:init(n) self.config = { n = n } end -- a user's data
    function Own.forward(_, x) return x * 2 end
    come_back(Own(3), tr.ones(2))
  end)

  it("leaves random numbers alone", function()
    local Drawing = nn.register("SpecDrawing", nn.Module "SpecDrawing")
    function Drawing:init() self.noise = tr.randn(3) end
    function Drawing:forward(x) return x + self.noise end
    local net = Drawing()
    tr.manual_seed(5)
    local want = tr.rand(1):item()
    tr.manual_seed(5)
    come_back(net, tr.ones(3))
    assert.equal(want, tr.rand(1):item())
  end)
end)
