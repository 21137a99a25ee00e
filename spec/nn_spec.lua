--- Modules: discovery, names, state, clones, containers, error paths, training.
local tr = require "texres"
local support = require "spec.support"
local module = require "texres.nn.module"
local nn = tr.nn
local F = nn.functional

local function names(iterate, net)
  local list = {}
  for name in iterate(net) do list[#list + 1] = name end
  return table.concat(list, " ")
end

-- This script's current line, as it stands in errors.
local function here() return debug.getinfo(2, "S").short_src:gsub("%p", "%%%0") .. ":%d+: " end

local function message_of(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return message
end

describe("a module", function()
  it("finds parameters and buffers of a class in the order of assignment", function()
    local Net = nn.Module "Net"
    function Net:init(width)
      self.stem = nn.Conv2d(1, width, 3)
      self.norm = nn.BatchNorm(width)
      self.stage = { nn.Linear(2, 3), { inner = nn.Linear(3, 4, { bias = false }) } }
      self.alpha = nn.Parameter(tr.ones(width))
      self.offset = tr.zeros(2)
      self.depth = 3
      self._cache = tr.zeros(9)
    end
    local net = Net(4)
    assert.equal("stem.weight stem.bias norm.gamma norm.beta stage.1.weight stage.1.bias stage.2.inner.weight alpha",
      names(net.named_parameters, net))
    assert.equal("norm.running_mean norm.running_var offset", names(net.named_buffers, net))
    assert.equal(" stem norm stage.1 stage.2.inner", names(net.named_modules, net))
    assert.equal(4 * 9 + 4 + 8 + 9 + 12 + 4, net:num_parameters())
  end)

  it("is made from a table with forward", function()
    local net = nn.Module {
      b = nn.Linear(3, 2), a = nn.Linear(4, 3),
      forward = function(self, x) return self.b(self.a(x)) end,
    }
    assert.equal("a.weight a.bias b.weight b.bias", names(net.named_parameters, net))
    assert.same({ 5, 2 }, net(tr.randn(5, 4)):shape())
    net.c = nn.Linear(1, 1)
    assert.matches("b.bias c.weight c.bias$", names(net.named_parameters, net))
  end)

  it("keeps a frozen parameter a parameter", function()
    local layer = nn.Linear(2, 2)
    layer.weight.requires_grad = false
    assert.equal("weight bias", names(layer.named_parameters, layer))
    assert.equal("", names(layer.named_buffers, layer))
  end)

  it("counts shared parameters once", function()
    local tied = nn.Linear(3, 3)
    local net = nn.Sequential { tied, nn.ReLU(), tied }
    assert.equal(12, net:num_parameters())
    local twin = net:clone()
    assert.equal(twin[1], twin[3])
    assert.equal(12, twin:num_parameters())
  end)

  it("switches between training and evaluation everywhere", function()
    local net = nn.Sequential { nn.Residual { nn.BatchNorm(2) }, nn.Dropout(0.5) }
    net:eval()
    for _, m in ipairs(net:modules()) do assert.is_false(m.training) end
    local x = tr.randn(3, 2)
    assert.is_true(tr.allclose(net(x), net(x), 0))
    net:train()
    for _, m in ipairs(net:modules()) do assert.is_true(m.training) end
  end)

  it("applies a function to children first", function()
    local order = {}
    local net = nn.Sequential { nn.ReLU(), nn.Sequential { nn.Identity() } }
    assert.equal(net, net:apply(function(m) order[#order + 1] = getmetatable(m).__name end))
    assert.same({ "Identity", "Sequential", "ReLU", "Sequential" }, order)
  end)

  it("clears gradients", function()
    local layer = nn.Linear(2, 1)
    layer(tr.ones(1, 2)):sum():backward()
    assert.is_not_nil(layer.weight.grad)
    layer:zero_grad()
    assert.is_nil(layer.weight.grad)
  end)

  it("converts to f64", function()
    local net = nn.Sequential { nn.Linear(2, 3), nn.BatchNorm(3) }
    net:to "f64"
    for _, t in pairs(net:state_dict()) do assert.equal("f64", t.dtype) end
    for _, p in ipairs(net:parameters()) do assert.is_true(p.requires_grad) end
    assert.equal("f64", net(tr.randn({ 4, 2 }, { dtype = "f64" })).dtype)
  end)

  it("prints its structure", function()
    local text = tostring(nn.Sequential { nn.Conv2d(1, 8, 3, { padding = 1 }), nn.Residual { nn.ReLU() } })
    assert.matches("1: Conv2d%(1, 8, 3, {padding=1}%)", text)
    assert.matches("\n  2: Residual\n    1: ReLU%(%)", text)
  end)

  it("refuses what is no module", function()
    assert.matches(here() .. "nn.Module: the argument is 3, wanted a table with",
      message_of(function() nn.Module(3) end))
    assert.matches("metatable", message_of(function() nn.Module(setmetatable({ forward = print }, {})) end))
    assert.matches("Sequential: item 2 is a number", message_of(function() nn.Sequential { nn.ReLU(), 3 } end))
    assert.matches("Lambda: fn is 5, wanted a function", message_of(function() nn.Lambda(5) end))
    local Empty = nn.Module "Empty"
    assert.matches(here() .. "in Empty: Empty has no forward: write function Empty:forward%(x%)",
      message_of(function() Empty()(tr.ones(1)) end))
    assert.matches("train: on is 0, wanted true or false", message_of(function() nn.ReLU():train(0) end))
    assert.matches("from_config: the arguments of Linear are no table",
      message_of(nn.from_config, { module = "Linear", arguments = 5 }))
  end)
end)

describe("state", function()
  it("is not loaded into elements that share memory", function()
    local layer = nn.Linear(3, 2)
    layer.weight = tr.zeros(1, 2):expand(3, 2)
    assert.error_matches(function() layer:load_state_dict(nn.Linear(3, 2):state_dict()) end, "was expanded")
  end)

  local function network()
    return nn.Sequential { { conv = nn.Conv2d(1, 2, 3, { bias = false }) }, { norm = nn.BatchNorm(2) }, nn.ReLU() }
  end

  it("travels from one module to another", function()
    local a, b = network(), network()
    a(tr.randn(2, 5, 5, 1)) -- moves the running statistics
    assert.is_false(tr.allclose(a.conv.weight, b.conv.weight))
    assert.equal(b, b:load_state_dict(a:state_dict()))
    for name, t in pairs(a:state_dict()) do assert.is_true(tr.allclose(t, b:state_dict()[name], 0), name) end
    assert.is_false(a:state_dict()["conv.weight"].requires_grad)
  end)

  it("must fit: all that is wrong is listed", function()
    local state = network():state_dict()
    state["conv.weight"] = tr.zeros(1, 1, 1, 2)
    state["norm.gamma"] = nil
    state["norm.gama"] = tr.zeros(2)
    local target = network()
    local before = target.norm.beta:clone()
    state["norm.beta"] = before + 1
    local text = message_of(function() target:load_state_dict(state) end)
    assert.matches(here() .. "load_state_dict: the state does not fit Sequential: ", text)
    assert.matches("missing norm.gamma; unexpected norm.gama; ", text)
    assert.matches("conv.weight is {3,3,1,2} here, {1,1,1,2} in the state", text, 1, true)
    assert.is_true(tr.allclose(target.norm.beta, before, 0), "nothing is copied then")
  end)

  it("is saved and loaded as safetensors", function()
    local path = support.folder() .. "/net.safetensors"
    local a, b = network(), network()
    assert.is_true(a:save(path, { note = "x" }))
    assert.is_true(b:load(path))
    assert.is_true(tr.allclose(a.conv.weight, b.conv.weight, 0))
    local none, problem = nn.Linear(1, 1):load(path)
    assert.is_nil(none)
    assert.matches(path, problem, 1, true)
    assert.matches("missing bias, weight", problem, 1, true)
    none, problem = b:load(path .. "x")
    assert.is_nil(none)
    assert.matches(path .. "x", problem, 1, true)
  end)

  it("is loaded in part where that is asked for, and says which part", function()
    local path = support.folder() .. "/net.safetensors"
    local a, b = network(), nn.Sequential {
      { conv = nn.Conv2d(1, 2, 3) }, { norm = nn.BatchNorm(2) }, { fc = nn.Linear(2, 3) },
    }
    local state = a:state_dict()
    state["norm.gamma"], state["norm.beta"] = tr.zeros(5), nil
    state.odd = tr.zeros(1)
    assert(require("texres.safetensors").save(path, state))
    local bias = b.fc.bias:totable()
    local fitted = assert(b:load(path, { strict = false }))
    assert.same({
      fitted = { "conv.weight", "norm.running_mean", "norm.running_var" },
      missing = { "conv.bias", "fc.bias", "fc.weight", "norm.beta" },
      different = { "norm.gamma is {2} here, {5} in the state" }, left_over = { "odd" },
    }, { fitted = fitted.fitted, missing = fitted.missing, different = fitted.different, left_over = fitted.left_over })
    assert.equal("3 of the model's 8 tensors fitted\n  missing   conv.bias, fc.bias, fc.weight, norm.beta\n"
      .. "  different norm.gamma is {2} here, {5} in the state\n  left over odd", tostring(fitted))
    assert.is_true(tr.allclose(a.conv.weight, b.conv.weight, 0))
    assert.same(bias, b.fc.bias:totable())
    local none, problem = nn.Linear(1, 1):load(path, { strict = false })
    assert.is_nil(none)
    assert.matches(path .. ": nothing of the state fits Linear: missing bias, weight; unexpected", problem, 1, true)
  end)

  it("is loaded under other names, and in other layouts", function()
    local path = support.folder() .. "/net.safetensors"
    local a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    local turned = a.weight:permute(2, 1)
    assert(require("texres.safetensors").save(path, { w = turned, bias = a.bias, steps = tr.ones(1) }))
    local function map(name, t)
      if name == "w" then return "weight", t:permute(2, 1) end
      return name ~= "steps" and name or nil
    end
    assert.is_true(b:load(path, { map = map }))
    assert.same({ a.weight:totable(), a.bias:totable() }, { b.weight:totable(), b.bias:totable() })
    local fitted = assert(nn.Linear(3, 2):load(path, { map = map, strict = false }))
    assert.same({ "steps" }, fitted.left_over)
    assert.same({ "bias" }, nn.Linear(3, 2):load(path, { map = { w = "weights" }, strict = false }).fitted)
    local none, problem = b:load(path, { map = { w = "bias" } })
    assert.is_nil(none)
    assert.matches("map calls two tensors bias, the second is w", problem, 1, true)
    assert.error_matches(function() b:load(path, { map = 5 }) end, "map is 5, wanted a function%(name, tensor%)")
    assert.is_nil(b:load(path, { map = { w = false, steps = false } })) -- the weight is missing
    assert.same({ "bias" }, b:load(path, { map = { w = false, steps = "w" }, strict = false }).fitted)
    for message, wrong in pairs {
      ["map calls bias 7, wanted a text"] = { bias = 7 },
      ["map calls bias true, wanted a text"] = function() return true end,
      ["map gives 5 for bias, wanted a tensor"] = function(name) return name, 5 end,
    } do
      assert.error_matches(function() b:load(path, { map = wrong, strict = false }) end, "load: " .. message)
    end
  end)

  it("of a clone is its own", function()
    local a = network()
    local b = a:clone()
    tr.no_grad(function() b.conv.weight:fill(7) end)
    b.norm.running_mean:fill(3)
    assert.is_false(tr.allclose(a.conv.weight, b.conv.weight))
    assert.equal(0, a.norm.running_mean:sum():item())
    assert.is_true(b.conv.weight.requires_grad)
    b.extra = nn.ReLU()
    assert.is_nil(rawget(a, "extra"))
    assert.equal(4, #b:modules() - 1)
    assert.equal(3, #a:modules() - 1)
  end)
end)

describe("containers", function()
  it("Sequential takes functions, named items and later changes", function()
    local net = nn.Sequential { name = "small", { first = nn.Linear(2, 3) }, F.relu }
    net.first = nn.Linear(2, 4)
    net[2] = nn.Tanh()
    net:append(nn.Linear(4, 1), "last")
    assert.equal(3, #net)
    assert.same({ 4, 1 }, net(tr.randn(4, 2)):shape())
    assert.equal("first.weight first.bias last.weight last.bias", names(net.named_parameters, net))
  end)

  it("take no item at a position that they would not call", function()
    local net = nn.Sequential { nn.Linear(2, 2), { relu = nn.ReLU() } }
    for _, position in ipairs { 0, 2, 3, 5 } do
      assert.matches(here() .. "Sequential: there is no item " .. position .. " to replace; append%(module%) adds one",
        message_of(function() net[position] = nn.ReLU() end))
    end
    net[1] = nil
    net[1] = nn.Linear(2, 3)
    assert.same({ 1, 3 }, net(tr.ones(1, 2)):shape())
    net[1] = 5
    assert.matches(here() .. "in Sequential: Sequential: item 1 is a number, wanted a module",
      message_of(function() net(tr.ones(1, 2)) end))
  end)

  it("Residual is body + shortcut", function()
    local body = nn.Linear(3, 3)
    local x = tr.randn(2, 3)
    assert.is_true(tr.allclose(nn.Residual { body }(x), body(x) + x, 0))
    local short = nn.Linear(3, 3)
    assert.is_true(tr.allclose(nn.Residual { body, shortcut = short, activation = nn.ReLU() }(x),
      F.relu(body(x) + short(x)), 0))
  end)

  it("Residual cuts a path in backward only, and says so", function()
    local function conv(stride) return nn.Conv2d(2, 2, 3, { stride = stride, padding = 1 }) end
    local net = nn.Sequential {
      nn.Residual { conv(1), nn.BatchNorm(2), nn.ReLU(), conv(1), activation = nn.ReLU() },
      nn.Residual { conv(2), shortcut = nn.Sequential { conv(2) } },
    }
    local x = tr.randn { 2, 6, 6, 2 }
    x.requires_grad = true
    local function pass(skip, body)
      for _, block in net:items() do block.grad_skip, block.grad_body = skip, body end
      net:zero_grad()
      x.grad = nil
      local y = net(x)
      y:sum():backward()
      return y, x.grad
    end
    local second = net[2]
    local y = pass(true, true)
    local gradients = { second[1].weight.grad:clone(), second.shortcut[1].weight.grad:clone() }
    for _, paths in ipairs { { true, false }, { false, true }, { false, false } } do
      local again, gradient = pass(paths[1], paths[2])
      assert.is_true(tr.allclose(again, y, 0))
      assert.is_true(tr.allclose(second[1].weight.grad, gradients[1]), "the layers inside learn as before")
      assert.is_true(tr.allclose(second.shortcut[1].weight.grad, gradients[2]))
      assert.equal(paths[1] or paths[2], gradient ~= nil)
    end
    local one = nn.Residual { conv(1), nn.Tanh(), conv(1) }
    local function gradient_of(skip, body)
      one.grad_skip, one.grad_body = skip, body
      x.grad = nil
      one(x):sum():backward()
      return x.grad
    end
    local all = gradient_of(true, true)
    assert.is_true(tr.allclose(gradient_of(true, false), tr.ones_like(x)))
    assert.is_true(tr.allclose(gradient_of(false, true) + 1, all))
    local rebuilt = nn.from_config(nn.Sequential { nn.Residual { nn.ReLU(), grad_skip = false } }:config())
    assert.is_false(rebuilt[1].grad_skip)
    assert.is_true(rebuilt[1].grad_body)
    assert.matches("Residual (no gradient by the skip)", tostring(rebuilt), 1, true)
    assert.matches("grad_body is 1, wanted true or false", message_of(function()
      nn.Residual { nn.ReLU(), grad_body = 1 }
    end))
  end)

  it("Residual with a cut path is read, told and exported as one without", function()
    local function conv(c_in, c_out, kernel, stride)
      return nn.Conv2d(c_in, c_out, kernel, { stride = stride, padding = kernel // 2, bias = false })
    end
    local function build(skip, body, checkpoint)
      tr.manual_seed(1)
      return nn.Sequential {
        conv(1, 4, 3, 1), nn.BatchNorm(4), nn.ReLU(),
        nn.Residual {
          conv(4, 4, 3, 1), nn.BatchNorm(4), nn.ReLU(), conv(4, 4, 3, 1), grad_skip = skip, grad_body = body,
        },
        nn.Residual {
          nn.BatchNorm(4), nn.ReLU(), conv(4, 8, 3, 2), shortcut = nn.Sequential { conv(4, 8, 1, 2), nn.BatchNorm(8) },
          activation = nn.ReLU(), grad_skip = skip, grad_body = body,
        },
        nn.GlobalAvgPool(), nn.Linear(8, 6), checkpoint = checkpoint,
      }
    end
    local function told(net)
      local layers, path = {}, support.folder() .. "/net"
      local costs, hook = net:costs { 2, 8, 8, 1 }, net:watch(function(name) layers[#layers + 1] = name end)
      net(tr.ones(2, 8, 8, 1))
      hook:close()
      local parts = { net:summary { 2, 8, 8, 1 }, tostring(net:check { 2, 8, 8, 1 }), table.concat(layers, " "),
        tostring(#costs.rows), tostring(costs.bytes) }
      for _, write in ipairs {
        function() return net:draw(path .. ".svg", { 2, 8, 8, 1 }) end,
        function() return net:draw(path .. ".dot", { 2, 8, 8, 1 }) end,
        function() return net:export_onnx(path .. ".onnx", { input = { 8, 8, 1 } }) end,
      } do assert.is_true(write()) end
      for _, ending in ipairs { ".svg", ".dot", ".onnx" } do parts[#parts + 1] = support.read_file(path .. ending) end
      return (table.concat(parts, "\n"):gsub(" %(no gradient by the %a+%)", ""))
    end
    local function gradients(net)
      net(tr.randn { 2, 8, 8, 1 }):sum():backward()
      local list = {}
      for name, p in net:named_parameters() do list[name] = p.grad and p.grad:totable() or "none" end
      return list
    end
    local whole = told(build(true, true))
    for _, paths in ipairs { { false, true }, { true, false } } do
      assert.equal(whole, told(build(paths[1], paths[2])))
      local kept = gradients(build(paths[1], paths[2]))
      for _, size in ipairs { true, 1, 3 } do assert.same(kept, gradients(build(paths[1], paths[2], size))) end
    end
    local findings = build(false, false):check { 2, 8, 8, 1 }
    assert.equal("unreached", findings[1].kind)
    assert.matches("no gradient reaches 1.weight: .* the path to it is cut", findings[1].text)
    assert.equal(1, findings.coverage)
    assert.matches("cut", tostring(build(false, true):plan()))
  end)

  it("Residual says which projection is missing", function()
    local net = nn.Residual { nn.Conv2d(4, 8, 3, { stride = 2, padding = 1 }) }
    local text = message_of(function() net(tr.zeros(1, 8, 8, 4)) end)
    assert.matches("Residual: the body gives {1,4,4,8}, the shortcut {1,8,8,4}", text, 1, true)
    assert.matches("shortcut = nn.Conv2d(4, 8, 1, {stride=2, bias=false})", text, 1, true)
    net.shortcut = nn.Conv2d(4, 8, 1, { stride = 2, bias = false })
    assert.same({ 1, 4, 4, 8 }, net(tr.zeros(1, 8, 8, 4)):shape())
    text = message_of(function() nn.Residual { nn.Conv2d(4, 4, 3) }(tr.zeros(1, 8, 8, 4)) end)
    assert.matches("gives {1,6,6,4}, the shortcut {1,8,8,4}; do the body's convolutions lack padding?", text, 1, true)
    text = message_of(function() nn.Residual { nn.Linear(3, 2) }(tr.zeros(1, 3)) end)
    assert.matches("shortcut = nn.Linear(3, 2)", text, 1, true)
  end)

  -- The same network twice: once as it runs, once with every module called by itself.
  local function compare(build, x, relative)
    tr.manual_seed(9)
    local fused = build()
    for _, m in ipairs(fused:modules()) do
      if m.running_var then
        m.gamma:detach():uniform(0.5, 1.5)
        m.beta:detach():normal()
      end
    end
    local plain = fused:clone()
    for _, training in ipairs { true, false } do
      fused:train(training)
      plain:train(training)
      local y = fused(x)
      local z = module.watch(function() end, function() return plain(x) end)
      assert.is_true(tr.allclose(y, z, relative, relative))
      local silent = tr.no_grad(fused, x)
      if not training then assert.is_true(tr.allclose(silent, z, relative, relative)) end
      y:pow(2):mean():backward()
      z:pow(2):mean():backward()
      local wanted = plain:parameters()
      for i, p in ipairs(fused:parameters()) do
        local scale = wanted[i].grad:abs():max():item() + 1
        assert.is_true(tr.allclose(p.grad, wanted[i].grad, relative, 10 * relative * scale), i)
      end
      if training then tr.no_grad(plain, x) end -- as the silent call above: running statistics have moved twice
      local state = fused:state_dict()
      for name, t in pairs(plain:state_dict()) do
        assert.is_true(tr.allclose(state[name], t, relative, relative), name)
      end
    end
    return fused
  end

  local function dense()
    return nn.Sequential {
      nn.Linear(3, 5), nn.BatchNorm(5), nn.ReLU(),
      nn.Residual {
        nn.Linear(5, 5), nn.BatchNorm(5), nn.ReLU(), nn.Linear(5, 5), nn.BatchNorm(5), activation = nn.ReLU(),
      },
      nn.Residual { nn.Linear(5, 5), nn.BatchNorm(5) }, nn.BatchNorm(5),
      nn.Residual { nn.Sequential { nn.Linear(5, 5), nn.BatchNorm(5), nn.ReLU() } },
      nn.Residual { nn.Linear(5, 5), nn.Sequential { nn.BatchNorm(5), nn.ReLU() }, activation = nn.Tanh() },
      nn.Residual { nn.Sequential { nn.Sequential {} }, shortcut = nn.Sequential { nn.BatchNorm(5), nn.ReLU() } },
    }
  end

  local function images()
    local function conv(c, k, stride) return nn.Conv2d(c, k, 3, { stride = stride, padding = 1, bias = false }) end
    return nn.Sequential {
      conv(3, 4, 1), nn.BatchNorm(4), nn.ReLU(),
      nn.Residual {
        conv(4, 8, 2), nn.BatchNorm(8), nn.ReLU(), conv(8, 8, 1), nn.BatchNorm(8),
        shortcut = nn.Sequential { nn.Conv2d(4, 8, 1, { stride = 2, bias = false }), nn.BatchNorm(8) },
        activation = nn.ReLU(),
      },
      nn.Residual { conv(8, 8, 1), nn.BatchNorm(8) },
      nn.Residual { conv(8, 8, 1), nn.BatchNorm(8), nn.ReLU() },
      nn.Residual { conv(8, 8, 1), nn.BatchNorm(8), activation = nn.Tanh() },
      nn.Residual { nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Identity(), nn.Conv2d(8, 8, 3, { padding = 1 }), nn.Identity() },
      nn.Residual { nn.Conv2d(8, 8, 1, { bias = false }), activation = nn.ReLU() },
      nn.Conv2d(8, 8, 1), nn.BatchNorm(8),
    }
  end

  it("do convolution, batch norm, sum and ReLU together with the same results", function()
    compare(function() return dense():to "f64" end, tr.randn({ 7, 3 }, { dtype = "f64" }), 1e-10)
    compare(function() return images():to "f64" end, tr.randn({ 2, 5, 6, 3 }, { dtype = "f64" }), 1e-10)
    compare(images, tr.randn(4, 9, 10, 3), 1e-4)
  end)

  it("have the gradient of what they do together", function()
    local x = tr.randn({ 2, 4, 3, 3 }, { dtype = "f64" })
    for _, training in ipairs { true, false } do
      local net = images():to("f64"):train(training)
      assert(tr.gradcheck(function(t) return (net(t) ^ 2):mean() end, { x }))
    end
  end)

  it("fold batch norm for inference", function()
    local function outputs(net, x)
      local y = tr.no_grad(net:eval(), x)
      return y, tr.no_grad(net:clone():fuse(), x)
    end
    for _, case in ipairs { { images(), tr.randn(4, 9, 10, 3) }, { dense(), tr.randn(5, 3) } } do
      local net, x = table.unpack(case)
      for _ = 1, 3 do net(x) end
      local y, z = outputs(net, x)
      assert.is_true(tr.allclose(y, z, 1e-4, 1e-4))
      local before = net:num_parameters()
      local fused = net:clone():fuse()
      assert.equal(before, net:num_parameters(), "the original is as it was")
      assert.is_false(fused.training)
      local norms = 0
      for _, m in ipairs(fused:modules()) do norms = norms + (m.running_var and 1 or 0) end
      assert.equal(x:dim() == 2 and 2 or 0, norms) -- two of dense() follow no layer that could take them in
      local twin = nn.from_config(fused:config()):eval()
      twin:load_state_dict(fused:state_dict())
      assert.is_true(tr.allclose(tr.no_grad(twin, x), z, 0))
    end
    local tied = nn.Linear(2, 2)
    local net = nn.Sequential { tied, nn.BatchNorm(2), tied, nn.BatchNorm(2) }
    net(tr.randn(5, 2))
    local y, z = outputs(net, tr.randn(5, 2))
    assert.is_true(tr.allclose(y, z, 0), "a layer in two places is left alone")
  end)

  it("give activations back at once, but only their own", function()
    local x = tr.randn(4, 32, 32, 3)
    local net = images() -- its activations: 2 of 64 kB, 16 of 32 kB
    collectgarbage()
    collectgarbage "stop"
    local before = tr.live_bytes()
    local y = net(x)
    y:sum():backward()
    y:free()
    local left = tr.live_bytes() - before
    collectgarbage "restart"
    assert.is_true(left < 30000, left .. " bytes wait for the collector")

    local seen = {}
    local function spy(t)
      seen[#seen + 1] = t
      return t
    end
    net = nn.Sequential {
      spy, nn.ReLU(), spy, nn.Identity(), nn.Residual { nn.Identity(), spy, nn.Tanh() }, nn.Tanh(), spy,
    }
    y = net(x)
    for i, t in ipairs(seen) do assert.equal(x:numel(), t:numel(), i) end
    assert.equal(seen[1], x)
    assert.equal(seen[4], y)
    local identity = nn.Residual { nn.Identity(), shortcut = nn.Identity() }
    assert.is_true(tr.allclose(identity(x), x * 2, 0))
    assert.equal(x:numel(), x:numel())
    local Own = nn.Module("Own", nn.ReLU) -- keeps its input
    function Own:forward(t)
      self._kept = t
      return F.relu(t)
    end
    net = nn.Sequential { nn.Tanh(), Own(), nn.Tanh() }
    net(x)
    assert.equal(x:numel(), net[2]._kept:numel())
  end)

  it("call a module that stands where ReLU or BatchNorm stood", function()
    local net = images()
    local x = tr.randn(2, 5, 6, 3)
    local y = net(x)
    net[3] = nn.Module { forward = function(_, t) return t * 2 end }
    assert.is_false(tr.allclose(net(x), y))
    local calls = 0
    rawset(net[2], "forward", function(_, t)
      calls = calls + 1
      return t
    end)
    net(x)
    assert.equal(1, calls)
  end)

  it("name an item that was taken away, and keep names of methods free", function()
    local x = tr.ones(1, 2)
    for _, class in ipairs { nn.Sequential, nn.Residual, nn.Concat } do
      local net = class { nn.ReLU(), { second = nn.ReLU() }, nn.ReLU() }
      net.second = nil
      assert.matches(here() .. "in %a+: %a+: item second was taken away", message_of(function() net(x) end))
      assert.matches("the name eval is taken", message_of(class, { { eval = nn.ReLU() } }))
      assert.matches("the name second is taken",
        message_of(class, { { second = nn.ReLU() }, { second = nn.ReLU() } }))
    end
  end)

  it("take no item under the name of an option, which would be both", function()
    for class, options in pairs {
      [nn.Sequential] = { "name", "checkpoint" }, [nn.Residual] = { "name", "shortcut", "activation" },
      [nn.Concat] = { "name" },
    } do
      for _, name in ipairs(options) do
        local taken = "the name " .. name .. " is taken"
        assert.matches(taken, message_of(class, { { [name] = nn.Tanh() } }))
        assert.matches(taken, message_of(class { nn.ReLU() }.append, class { nn.ReLU() }, nn.Tanh(), name))
      end
    end
  end)

  it("Conv2d knows the shape of its output", function()
    local x = tr.zeros(2, 11, 8, 2)
    for _, options in ipairs {
      {}, { stride = 2 }, { stride = { 2, 3 }, padding = 1 }, { padding = { 1, 2, 0, 3 } },
      { padding = "same", stride = 2 }, { padding = "valid", dilation = 2 }, { padding = "same", dilation = { 1, 2 } },
    } do
      local conv = nn.Conv2d(2, 3, { 3, 2 }, options)
      assert.same(conv(x):shape(), conv:output_shape(x:shape()))
    end
  end)

  it("Concat joins channels", function()
    local a, b = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 5, 1)
    local x = tr.randn(1, 4, 4, 2)
    local y = nn.Concat { a, b }(x)
    assert.same({ 1, 4, 4, 8 }, y:shape())
    assert.is_true(tr.allclose(y:slice(4, 4, 8), b(x), 0))
  end)
end)

describe("errors", function()
  it("say where in the network, and blame the user's line", function()
    local net = nn.Sequential {
      name = "resnet", { stem = nn.Identity() },
      { stage2 = nn.Sequential { nn.Residual { { conv1 = nn.Conv2d(4, 16, 3) } } } },
    }
    local text = message_of(function() net(tr.zeros(8, 64, 64, 3)) end)
    assert.matches("^" .. here() .. "in resnet.stage2%[1%].conv1: conv2d: ", text)
    assert.matches("{8,64,64,3}", text, 1, true)
    -- and the next call starts afresh
    text = message_of(function() net.stage2(tr.zeros(8, 64, 64, 3)) end)
    assert.matches("^" .. here() .. "in Sequential%[1%].conv1: ", text)
  end)

  it("in a user's forward point there", function()
    local net = nn.Sequential { nn.Module { forward = function(_, x)
      return x + tr.zeros(7)
    end } }
    local line = debug.getinfo(1, "l").currentline - 2
    local text = message_of(function() net(tr.zeros(4)) end)
    assert.matches(":" .. line .. ": in Sequential[1]: ", text, 1, true)
  end)

  it("that are no text pass unchanged", function()
    local thrown = { code = 7 }
    local net = nn.Sequential { function() error(thrown) end }
    assert.equal(thrown, message_of(function() net(1) end))
    assert.equal(thrown, message_of(function() tr.no_grad(net, 1) end))
  end)

  -- A network whose middle part does `middle(self, x)` before it fails in its head.
  local function failing(middle)
    return nn.Sequential {
      name = "net", { mid = nn.Module { conv = nn.Conv2d(9, 2, 3), forward = middle } }, { head = nn.Linear(3, 3) },
    }
  end

  it("say where also after some were caught in forward", function()
    local caught
    local net = failing(function(self, x)
      for _ = 1, 3 do caught = message_of(self.conv, x) end
      return x
    end)
    for _ = 1, 2 do
      assert.matches(here() .. "in net.head: linear: ", message_of(function() net(tr.zeros(2, 5)) end))
      assert.matches("conv2d: ", caught, 1, true)
      assert.matches(here() .. "in Linear: linear: ", message_of(function() net.head(tr.zeros(2, 5)) end))
    end
  end)

  it("say where also when forward runs coroutines, and leaves some unfinished", function()
    local net = failing(function(_, x)
      local inner = coroutine.wrap(function(t)
        coroutine.yield(nn.Identity()(t))
        error "not reached"
      end)
      return inner(x)
    end)
    for _ = 1, 2 do
      assert.matches(here() .. "in net.head: linear: ", message_of(function() net(tr.zeros(2, 5)) end))
    end
    net = failing(function(self, x) return coroutine.wrap(function() return (self.conv(x)) end)() end)
    assert.matches("in net.mid: .*in Conv2d: conv2d: ", message_of(function() net(tr.zeros(1, 5, 5, 2)) end))
  end)

  it("say where also when a forward yields, and is never resumed", function()
    local net = failing(function(_, x)
      coroutine.yield()
      return x
    end)
    local kept = {}
    for i = 1, 3 do
      kept[i] = coroutine.create(function() return (net(tr.zeros(2, 5))) end)
      assert(coroutine.resume(kept[i]))
      assert.matches("^" .. here() .. "in Linear: linear: ", message_of(function() net.head(tr.zeros(2, 5)) end))
    end
    for i = 1, 2 do
      local ok, message = coroutine.resume(kept[i])
      assert.is_false(ok)
      assert.matches("in net.head: linear: ", message, 1, true)
    end
    assert.matches("^" .. here() .. "in Linear: linear: ", message_of(function() net.head(tr.zeros(2, 5)) end))
  end)

  it("of an endless recursion are told at once", function()
    local net = nn.Module { forward = function(self, x) return self(x) + 1 end }
    assert.matches("in Module: stack overflow", message_of(function() net(1) end), 1, true)
  end)

  it("name wrong options and counts", function()
    assert.matches(here() .. "Conv2d: unknown option 'strid'; did you mean stride%? There are bias, dilation, groups",
      message_of(function() nn.Conv2d(1, 2, 3, { strid = 2 }) end))
    assert.matches("Conv2d: c_in is 0, wanted a whole number", message_of(function() nn.Conv2d(0, 2, 3) end))
    assert.matches("Conv2d: 2 groups do not divide 3 input",
      message_of(function() nn.Conv2d(3, 2, 3, { groups = 2 }) end))
    assert.matches("Linear: n_out is nil", message_of(function() nn.Linear(3) end))
    assert.matches("Dropout: p is 2", message_of(function() nn.Dropout(2) end))
    assert.matches("Residual: no option short", message_of(function() nn.Residual { nn.ReLU(), short = nn.ReLU() } end))
  end)
end)

describe("constructors", function()
  local nan = 0 / 0

  it("refuse what no layer can be made of, and say so at once", function()
    for _, case in ipairs {
      { "Conv2d: c_out is 2.5, wanted a whole number of at least 1", nn.Conv2d, 1, 2.5, 3 },
      { "Conv2d: c_in is \"1\", wanted", nn.Conv2d, "1", 2, 3 },
      { "Conv2d: kernel is 0, wanted", nn.Conv2d, 1, 2, 0 },
      { "Conv2d: kernel is nil, wanted", nn.Conv2d, 1, 2 },
      { "Conv2d: kernel is {3}, wanted a number or {rows, columns}", nn.Conv2d, 1, 2, { 3 } },
      { "Conv2d: kernel is {3, 3, 3}, wanted", nn.Conv2d, 1, 2, { 3, 3, 3 } },
      { "Conv2d: kernel, columns is 0, wanted", nn.Conv2d, 1, 2, { 3, 0 } },
      { "Conv2d: stride is 0, wanted", nn.Conv2d, 1, 2, 3, { stride = 0 } },
      { "Conv2d: stride is 1.5, wanted", nn.Conv2d, 1, 2, 3, { stride = 1.5 } },
      { "Conv2d: stride is \"a\", wanted", nn.Conv2d, 1, 2, 3, { stride = "a" } },
      { "Conv2d: dilation is -1, wanted", nn.Conv2d, 1, 2, 3, { dilation = -1 } },
      { "Conv2d: padding is -1, wanted whole numbers of at least 0", nn.Conv2d, 1, 2, 3, { padding = -1 } },
      { "Conv2d: padding is {1, 2}, wanted", nn.Conv2d, 1, 2, 3, { padding = { 1, 2 } } },
      { "Conv2d: padding is {1, 2, 3, 0.5}, wanted", nn.Conv2d, 1, 2, 3, { padding = { 1, 2, 3, 0.5 } } },
      { "Conv2d: padding is \"full\", wanted", nn.Conv2d, 1, 2, 3, { padding = "full" } },
      { "Conv2d: groups is 0, wanted", nn.Conv2d, 1, 2, 3, { groups = 0 } },
      { "Conv2d: bias is \"no\", wanted true or false", nn.Conv2d, 1, 2, 3, { bias = "no" } },
      { "Conv2d: argument 5 is a number, it takes 4", nn.Conv2d, 1, 2, 3, {}, 1 },
      { "Linear: bias is 3, wanted true or false", nn.Linear, 1, 1, { bias = 3 } },
      { "Linear: n_in is -1, wanted", nn.Linear, -1, 1 },
      { "BatchNorm: eps is nan, wanted", nn.BatchNorm, 2, { eps = nan } },
      { "BatchNorm: momentum is 2, wanted", nn.BatchNorm, 2, { momentum = 2 } },
      { "MaxPool2d: kernel is nil, wanted", nn.MaxPool2d },
      { "MaxPool2d: stride is 0, wanted", nn.MaxPool2d, 2, { stride = 0 } },
      { "MaxPool2d: padding 2 is not less than the window {2, 2}", nn.MaxPool2d, 2, { padding = 2 } },
      { "AvgPool2d: padding {0, 0, 0, 1} is not less than", nn.AvgPool2d, { 2, 1 }, { padding = { 0, 0, 0, 1 } } },
      { "AvgPool2d: count_include_pad is 1, wanted true", nn.AvgPool2d, 2, { count_include_pad = 1 } },
      { "Dropout: p is nan, wanted a number from 0 to 1", nn.Dropout, nan },
      { "Dropout: argument 2 is a table, it takes 1", nn.Dropout, 0.5, { inplace = true } },
      { "LeakyReLU: slope is \"x\", wanted", nn.LeakyReLU, "x" },
      { "ELU: alpha is inf, wanted a number from -1e3 to 1e3", nn.ELU, math.huge },
      { "ELU: argument 2 is a boolean, it takes 1", nn.ELU, 1, true },
      { "Hardswish: argument 1 is a boolean, it takes 0", nn.Hardswish, true },
      { "ReLU: argument 1 is a boolean, it takes 0", nn.ReLU, true },
      { "Flatten: argument 1 is a number, it takes 0", nn.Flatten, 2 },
      { "Sequential: item 1 is the class ReLU, wanted an object: call it", nn.Sequential, { nn.ReLU } },
      { "Sequential: name is 3, wanted a text", nn.Sequential, { name = 3 } },
      { "nn.Module: the base of X is 3, wanted a class", nn.Module, "X", 3 },
      { "nn.register: X is nil, wanted a class or a function", nn.register, "X" },
      { "constant: t is nil, wanted a tensor", nn.init.zeros, nil },
      { "xavier_normal: t is 3, wanted a tensor", nn.init.xavier_normal, 3 },
      { "kaiming_normal: options come as a table", nn.init.kaiming_normal, tr.ones(2, 2), "fan_in" },
      { "cifar_resnet: residual is 0, wanted true or false", tr.models.cifar_resnet, { residual = 0 } },
    } do
      local want = case[1]:gsub("%p", "%%%0")
      local message = message_of(function() return (case[2](table.unpack(case, 3, 7))) end)
      assert.matches("^" .. here() .. want, message)
    end
  end)

  it("take what lies at the edges", function()
    local x = tr.ones(4)
    x.requires_grad = true
    for _, dtype in ipairs { "f32", "f64" } do
      local y = nn.Dropout(1)(x:to(dtype))
      y:sum():backward()
      assert.same({ 0, 0, 0, 0 }, y:totable())
      assert.same({ 0, 0, 0, 0 }, x.grad:totable())
    end
    assert.same({ 1, 1, 1, 1 }, nn.Dropout(1):eval()(x):totable())
    assert.same({ 1, 1, 1, 1 }, nn.Dropout(0)(x):totable())
    assert.same({ -2, 2 }, nn.LeakyReLU(-1)(tr.tensor { 2, 2 }):mul(tr.tensor { -1, 1 }):totable())
    local norm = nn.BatchNorm(1, { eps = 0, momentum = 1 })
    assert.is_true(tr.allclose(norm(tr.tensor { { 1 }, { 3 } }), tr.tensor { { -1 }, { 1 } }))
    assert.equal(2, norm.running_mean:item())
    assert.same({ 1, 1, 1, 2 }, nn.Conv2d(2.0, 2, { 1, 3 }, { padding = { 0, 0, 1, 1 } })(tr.ones(1, 1, 1, 2)):shape())
    assert.same({ 1, 1, 1, 1 }, nn.MaxPool2d(1)(tr.ones(1, 1, 1, 1)):shape())
  end)
end)

describe("initialization", function()
  before_each(function() tr.manual_seed(3) end)

  local function deviation(t) return t:std():item() end

  it("has the stated variances", function()
    local w = tr.zeros(3, 3, 32, 64)
    assert.near(math.sqrt(2 / (9 * 64)), deviation(nn.init.kaiming_normal(w)), 2e-3)
    assert.near(math.sqrt(2 / (9 * 32)), deviation(nn.init.kaiming_normal(w, { mode = "fan_in" })), 2e-3)
    assert.near(math.sqrt(2 / (9 * 32)), deviation(nn.init.kaiming_uniform(w)), 2e-3)
    assert.near(math.sqrt(2 / (9 * 96)), deviation(nn.init.xavier_normal(w)), 2e-3)
    assert.near(math.sqrt(2 / (9 * 96)), deviation(nn.init.xavier_uniform(w)), 2e-3)
    assert.near(0.5, deviation(nn.init.normal(w, 3, 0.5)), 1e-2)
    assert.near(3, w:mean():item(), 1e-2)
    local lin = nn.Linear(100, 200).weight
    assert.is_true(lin:abs():max():item() <= 0.1 and deviation(lin) > 0.05)
  end)

  it("makes orthonormal rows or columns", function()
    for _, shape in ipairs { { 3, 7 }, { 7, 3 }, { 2, 2, 2, 5 } } do
      local w = nn.init.orthogonal(tr.zeros(shape), 2):reshape(-1, shape[#shape])
      local small = w:size(1) < w:size(2) and w or w:transpose(1, 2)
      assert.is_true(tr.allclose(small:matmul(small:transpose(1, 2)), tr.eye(small:size(1)) * 4, 1e-5, 1e-5))
    end
  end)

  it("fills parameters in place and returns them", function()
    local layer = nn.Linear(3, 2)
    local w = layer.weight
    assert.equal(w, nn.init.constant(w, 2))
    assert.equal(12, w:sum():item())
    assert.equal(6, nn.init.ones(w):sum():item())
    assert.equal(0, nn.init.zeros(w):sum():item())
    assert.matches("kaiming_normal: a tensor of at least 2", message_of(nn.init.kaiming_normal, layer.bias))
    assert.matches("mode is", message_of(nn.init.kaiming_normal, w, { mode = "fan" }))
  end)
end)

describe("architecture as data", function()
  it("rebuilds every built-in module", function()
    local net = nn.Sequential {
      name = "all",
      { conv = nn.Conv2d(2, 4, { 3, 1 }, { padding = { 1, 1, 0, 0 }, groups = 2 }) },
      nn.BatchNorm(4, { momentum = 0.2 }), nn.GroupNorm(2, 4, { eps = 0.1 }),
      nn.LeakyReLU(0.2), nn.Softplus(), nn.SiLU(), nn.GELU(), nn.Tanh(), nn.Sigmoid(), nn.ELU(0.3), nn.Hardswish(),
      nn.MaxPool2d(2), nn.AvgPool2d(2, { stride = 1, padding = 1, count_include_pad = false }),
      nn.Concat { nn.Identity(), nn.Residual { nn.Conv2d(4, 4, 1), shortcut = nn.Identity(), activation = nn.ReLU() } },
      nn.Dropout(0.1), nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, nn.Flatten(),
      nn.Linear(16, 3, { bias = false }),
    }
    local json = require "texres.json"
    local twin = nn.from_config(json.decode(json.encode(net:config())))
    assert.equal(tostring(net), tostring(twin))
    twin:load_state_dict(net:state_dict())
    net:eval()
    twin:eval()
    local x = tr.randn(2, 8, 8, 2)
    assert.is_true(tr.allclose(net(x), twin(x), 0))
  end)

  it("knows a user's class by its registered name", function()
    local Net = nn.Module "SpecNet"
    function Net:init(width, options)
      self.fc = nn.Linear(width, options.out)
    end
    function Net:forward(x) return self.fc(x) end
    assert.matches("SpecNet is not registered", message_of(function() Net(2, { out = 3 }):config() end))
    nn.register("SpecNet", Net)
    local twin = nn.from_config(nn.Sequential { Net(2, { out = 3 }) }:config())
    assert.same({ 1, 3 }, twin(tr.ones(1, 2)):shape())
  end)

  it("refuses what is not data", function()
    assert.matches("Lambda", message_of(function() nn.Sequential { F.relu }:config() end))
    assert.matches("no module is registered as Nothing", message_of(nn.from_config, { module = "Nothing" }))
    assert.matches("not the description", message_of(nn.from_config, 3))
  end)
end)

describe("summary and profile", function()
  local net = nn.Sequential {
    { conv = nn.Conv2d(1, 8, 3, { padding = 1 }) }, nn.ReLU(), nn.Flatten(), nn.Linear(128, 2),
  }

  it("lists layers, shapes, parameters, multiply-adds", function()
    local text = net:summary { 2, 4, 4, 1 }
    assert.matches("conv%s+Conv2d%(1, 8, 3, {padding=1}%)%s+{2,4,4,8}%s+80%s+2,304", text)
    assert.matches("4%s+Linear%(128, 2%)%s+{2,2}%s+258%s+512", text)
    assert.matches("total%s+Sequential%s+338%s+2,816", text)
    assert.is_true(net.training)
    assert.matches("in Sequential.conv: conv2d", message_of(function() net:summary { 2, 4, 4, 3 } end))
  end)

  it("measures every layer forward and backward", function()
    local x = tr.randn(2, 4, 4, 1)
    local rows = net:profile(x, { backward = true, repeats = 2 })
    assert.equal(3, #rows, "convolution and ReLU are one step")
    local share = 0
    for _, row in ipairs(rows) do
      assert.is_true(row.seconds > 0)
      share = share + row.share
    end
    assert.near(1, share, 1e-9)
    assert.is_true(rows[1].backward_seconds > 0 and rows[1].gflops > 0)
    assert.matches("conv 2%s+Conv2d ReLU%s+%l+", tostring(rows))
    assert.is_string(rows[1].algorithm)
    assert.is_nil(net.conv.weight.grad)
    assert.is_nil(net:profile(x)[1].backward_seconds)
  end)
end)

describe("training", function()
  local function small()
    tr.manual_seed(5)
    local net = nn.Sequential {
      nn.Conv2d(1, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4), nn.ReLU(),
      nn.Residual { nn.Conv2d(4, 4, 3, { padding = 1 }), nn.ReLU() }, nn.GlobalAvgPool(), nn.Linear(4, 3),
    }
    return net, tr.randn(6, 8, 8, 1), tr.tensor({ 1, 2, 3, 1, 2, 3 }, { dtype = "i64" })
  end

  local function step(net, optimizer, x, labels)
    local loss = F.cross_entropy(net(x), labels)
    optimizer:zero_grad()
    loss:backward()
    optimizer:step()
    return loss:item()
  end

  it("gives the same bits with 1, 2, 3 and 8 threads, and again", function()
    local threads = tr.num_threads()
    finally(function() tr.set_num_threads(threads) end)
    local function train(n)
      tr.set_num_threads(n)
      tr.manual_seed(5)
      local net = tr.models.textile { width = 16 }
      local x, labels = tr.rand(6, 64, 64, 1), tr.tensor({ 1, 2, 3, 4, 5, 6 }, { dtype = "i64" })
      local optimizer = tr.optim.AdamW(net, { lr = 0.01 })
      for _ = 1, 20 do step(net, optimizer, x, labels) end
      return net:state_dict()
    end
    local first = train(1)
    for _, n in ipairs { 1, 2, 3, 8 } do
      local again = train(n)
      for name, t in pairs(first) do
        assert.is_true(tr.allclose(t, again[name], 0), ("%s, %d threads"):format(name, n))
      end
    end
  end)

  it("keeps memory flat over 1,000 steps", function()
    local net, x, labels = small()
    local optimizer = tr.optim.SGD(net:parameters(), { lr = 0.05, momentum = 0.9 })
    local first
    for _ = 1, 20 do first = first or step(net, optimizer, x, labels) end
    local function settled()
      collectgarbage()
      collectgarbage()
      return tr.live_bytes(), collectgarbage "count"
    end
    local bytes, lua = settled()
    local last
    for _ = 1, 1000 do last = step(net, optimizer, x, labels) end
    local bytes_after, lua_after = settled()
    assert.is_true(last < first)
    assert.equal(bytes, bytes_after)
    assert.is_true(lua_after < lua + 64, lua_after - lua)
  end)
end)

describe("nonsense in the place of arguments", function()
  it("is refused in the words of the function that was called", function()
    local circle = {}
    circle[1] = circle
    local net = tr.nn.Sequential { tr.nn.Linear(3, 2) }
    local schedule = tr.optim.schedule.cosine { lr = 1 }
    local set = tr.data.tensors { images = tr.rand(2, 2, 2), labels = { 1, 1 } }
    for _, bad in ipairs { 3, true, "x", print, circle, io.stdout, coroutine.create(print) } do
      for name, use in pairs {
        Function = function() tr.Function(bad) end, clip_grad_norm = function() tr.optim.clip_grad_norm(bad, 1) end,
        profile = function() net:profile(bad) end, cosine = function() schedule:lr(bad ~= 3 and bad or -1, 10) end,
        save_npy = function() set:save_npy(bad ~= "x" and bad or {}) end,
        ["Dropout"] = function() tr.nn.Dropout(bad == true and bad or { bad }) end,
      } do
        local ok, message = pcall(use)
        assert.is_false(ok, name)
        assert.matches(name .. ": ", message, 1, true)
        assert.is_nil(tostring(message):find "lua/texres/", name .. ": " .. tostring(message))
      end
      assert.same({ 1, 2 }, net(tr.ones(1, 3), bad):shape())
    end
    net[circle] = tr.ones(1) -- no name: no part of the module
    assert.equal(2, #net:parameters())
  end)
end)
