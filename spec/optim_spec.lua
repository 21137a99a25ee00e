--- Optimizers against PyTorch's, groups, state, clipping, schedules.
local tr = require "texres"
local json = require "texres.json"
local safetensors = require "texres.safetensors"
local optim = tr.optim

local function parameter(t)
  local p = t:clone()
  p.requires_grad = true
  return p
end

describe("optimizers", function()
  it("read the list of a group once: it may give another one when it is read again", function()
    local given, asked = parameter(tr.zeros(2)), 0
    local group = setmetatable({}, { __index = function(_, key)
      if key ~= "params" then return nil end
      asked = asked + 1
      return asked == 1 and { given } or asked
    end })
    assert.is_true(rawequal(given, optim.AdamW({ group }).groups[1].params[1]))
  end)

  local want, metadata = assert(safetensors.load "spec/fixtures/optim.safetensors")
  local cases = json.decode(metadata.cases)

  local function run(params, optimizer, first, last)
    for s = first, last do
      for i, p in ipairs(params) do p.grad = want[("gradient.%d.%d"):format(s, i)] end
      optimizer:step()
    end
  end

  local function start() return { parameter(want["parameter.1"]), parameter(want["parameter.2"]) } end

  for name, case in pairs(cases) do
    it("equal PyTorch's to f32 rounding: " .. name, function()
      local params = start()
      run(params, optim[case[1]](params, case[2]), 1, 10)
      for i, p in ipairs(params) do
        assert.is_true(tr.allclose(p, want[("result.%s.%d"):format(name, i)], 2e-6, 1e-6), "parameter " .. i)
      end
    end)

    it("go on exactly from a saved state: " .. name, function()
      local whole, halves = start(), start()
      run(whole, optim[case[1]](whole, case[2]), 1, 10)
      local a = optim[case[1]](halves, case[2])
      run(halves, a, 1, 4)
      local saved = a:state_dict()
      local resumed = { parameter(halves[1]:detach()), parameter(halves[2]:detach()) }
      run(halves, a, 5, 6) -- does not change the saved state, which is a copy
      local b = optim[case[1]](resumed, { lr = 99 }):load_state_dict(saved)
      run(resumed, b, 5, 10)
      for i = 1, 2 do assert.is_true(tr.allclose(whole[i], resumed[i], 0), "parameter " .. i) end
    end)
  end

  it("work in f64", function()
    local p = tr.ones({ 3 }, { dtype = "f64", requires_grad = true })
    local optimizer = optim.Adam({ p }, { lr = 0.1 })
    for _ = 1, 200 do
      optimizer:zero_grad()
      local loss = (p * p):sum()
      loss:backward()
      optimizer:step()
    end
    assert.is_true(p:abs():max():item() < 1e-2)
  end)

  it("treat groups with their own options", function()
    local a, b = parameter(tr.ones(2)), parameter(tr.ones(2))
    local optimizer = optim.SGD({ { params = { a } }, { params = { b }, lr = 0.5 } }, { lr = 0.1 })
    a.grad, b.grad = tr.ones(2), tr.ones(2)
    optimizer:step()
    assert.is_true(tr.allclose(a, tr.full({ 2 }, 0.9)) and tr.allclose(b, tr.full({ 2 }, 0.5)))
    optimizer:set_lr(0.2)
    assert.equal(1, optimizer.groups[2].lr)
    assert.equal(0.2, optimizer:lr())
    optimizer:zero_grad()
    assert.is_nil(a.grad)
    optimizer:step() -- without gradients nothing happens
    assert.is_true(tr.allclose(b, tr.full({ 2 }, 0.5)))
  end)

  it("take a module for its parameters", function()
    local net = tr.nn.Sequential { tr.nn.Linear(2, 2), tr.nn.Linear(2, 1) }
    assert.equal(4, #optim.Adam(net):parameters())
  end)

  it("refuse nonsense", function()
    local p = parameter(tr.ones(2))
    for text, call in pairs {
      ["Adam: no parameters"] = function() optim.Adam {} end,
      ["Adam: params is 3, wanted a list of parameters or of groups"] = function() optim.Adam(3) end,
      ["Adam: parameter 2 is given twice"] = function() optim.Adam { p, p } end,
      ["Adam: parameter 1 is i64"] = function() optim.Adam { tr.zeros({ 1 }, { dtype = "i64" }) } end,
      ["Adam: unknown option 'momentum'; there are beta1"] = function() optim.Adam({ p }, { momentum = 1 }) end,
      ["SGD: lr is %-1"] = function() optim.SGD({ p }, { lr = -1 }) end,
      ["SGD: nesterov needs a momentum"] = function() optim.SGD({ p }, { nesterov = true }) end,
      ["clip_grad_norm: max is nil"] = function() optim.clip_grad_norm({ p }) end,
      ["SGD: load_state_dict: the state is that of Adam"] = function()
        optim.SGD({ p }):load_state_dict(optim.Adam({ p }):state_dict())
      end,
      ["SGD: load_state_dict: 1 parameters in group 1 here, 2"] = function()
        optim.SGD({ p }):load_state_dict(optim.SGD({ p, tr.ones(1) }):state_dict())
      end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("optim_spec.lua:%d+: " .. text, message)
    end
  end)

  it("take all that they are given: names and holes in a list are refused", function()
    local p, q = parameter(tr.ones(2)), parameter(tr.ones(2))
    for _, list in ipairs {
      { p, bias = q }, { p, nil, q }, { weight = p, bias = q }, { { params = { p, bias = q } } },
      { { params = { p } }, head = { params = { q } } }, { { params = { p } }, nil, { params = { q } } },
    } do
      assert.error_matches(function() optim.SGD(list, { lr = 1 }) end, "SGD: .* a list with")
    end
    assert.equal(2, #optim.SGD(table.pack(p, q)):parameters())
  end)

  it("refuse what is computed anew each time, as no step would train it", function()
    local p = parameter(tr.ones(2))
    assert.error_matches(function() optim.SGD { p, p * 2 } end, "SGD: parameter 2 is what mul gave")
    optim.SGD { p, (p * 2):detach() }
  end)

  it("take no eps that is zero or infinite in f32: the first makes NaN where a gradient is 0", function()
    local p = parameter(tr.zeros(1))
    for _, eps in ipairs { 0, 1e-50, 1e39, math.huge, 0 / 0 } do
      assert.error_matches(function() optim.Adam({ p }, { eps = eps }) end, "Adam: eps is .*, wanted a number from")
    end
    p.grad = tr.zeros(1)
    optim.Adam({ p }, { eps = 1e-30 }):step()
    assert.equal(0, p:item())
  end)

  it("clip the norm of all gradients together", function()
    local a, b = parameter(tr.ones(1)), parameter(tr.ones(2))
    a.grad, b.grad = tr.tensor { 3 }, tr.tensor { 0, 4 }
    assert.near(5, optim.clip_grad_norm({ a, b }, 10), 1e-6)
    assert.equal(3, a.grad:item())
    assert.near(5, optim.clip_grad_norm({ a, b }, 1), 1e-6)
    assert.is_true(tr.allclose(b.grad, tr.tensor { 0, 0.8 }, 1e-5))
    assert.near(1, optim.clip_grad_norm({ a, b }, 1), 1e-5)
  end)

  it("clips a gradient that two parameters share once", function()
    local a, b = tr.zeros(2, { requires_grad = true }), tr.zeros(2, { requires_grad = true })
    a.grad = tr.tensor { 3, 4 }
    b.grad = a.grad
    assert.near(math.sqrt(50), optim.clip_grad_norm({ a, b }, 1), 1e-5)
    assert.near(1, optim.clip_grad_norm({ a, b }, 1), 1e-5)
  end)

  it("refuses rates and decays that f32 has no room for", function()
    local p = tr.zeros(2, { requires_grad = true })
    for _, name in ipairs { "lr", "weight_decay" } do
      for _, kind in ipairs { "SGD", "Adam", "AdamW" } do
        assert.error_matches(function() optim[kind]({ p }, { [name] = 1e39 }) end,
          ("%s: %s is 1e%%+39, wanted a number from 0 to 1e30"):format(kind, name))
      end
    end
    assert.error_matches(function() optim.schedule.cosine { lr = 1e39 } end, "cosine: lr is 1e%+39")
  end)
end)

describe("a step", function()
  it("refuses parameters and state whose elements share memory, and changes nothing", function()
    local core = require "texres.core"
    local shared = tr.zeros(1, 3):expand(2, 3)
    shared.requires_grad = true
    shared.grad = tr.ones(2, 3)
    for _, class in ipairs { optim.SGD, optim.Adam } do
      local optimizer = class({ shared }, { lr = 1 })
      assert.error_matches(function() optimizer:step() end, "_step: this tensor {2,3} was expanded")
    end
    assert.equal(0, shared:detach():sum():item())
    local p = tr.zeros(2, 3)
    p.grad = tr.ones(2, 3)
    local state = tr.zeros(1, 3):expand(2, 3)
    local function steps()
      return function() core.optimizer.sgd_step({ p }, { state }, { lr = 1, momentum = 0.5, first = true }) end,
        function() core.optimizer.adam_step({ p }, { tr.zeros(2, 3) }, { state }, { lr = 1 }) end
    end
    for _, step in ipairs { steps() } do assert.error_matches(step, "was expanded") end
    assert.error_matches(function() core.optimizer.adam_step({ p }, {}, {}, {}) end,
      "adam_step: 1 parameters, but argument 2 has 0 tensors")
    assert.error_matches(function() core.optimizer.adam_step({ p }, 5, 5, {}) end, "adam_step: .* be a list, got 5")
    assert.equal(0, p:sum():item())
  end)

  it("follows a gradient that was spread over the elements", function()
    local p = tr.zeros(3, { requires_grad = true })
    p:sum():backward()
    local norm = optim.clip_grad_norm({ p }, 1)
    assert.is_true(math.abs(norm - math.sqrt(3)) < 1e-6)
    assert.is_true(tr.allclose(p.grad, tr.full({ 3 }, 1 / math.sqrt(3))))
  end)
end)

describe("gradients are clipped", function()
  local function made()
    local linear = tr.nn.Linear(2, 1)
    linear.weight.grad, linear.bias.grad = tr.full({ 2, 1 }, 3), tr.full({ 1 }, 4)
    return linear
  end

  it("of a module, an optimizer, a list, a tensor alone", function()
    local norm = math.sqrt(9 + 9 + 16)
    for _, as in ipairs {
      function(m) return m end, function(m) return m:parameters() end, function(m) return optim.SGD(m) end,
    } do
      local linear = made()
      assert.near(norm, optim.clip_grad_norm(as(linear), 1), 1e-5)
      assert.near(1, optim.clip_grad_norm(linear, 1), 1e-4)
      assert.near(4 / norm, linear.bias.grad:item(), 1e-5)
    end
    assert.near(4, optim.clip_grad_norm(made().bias, 1), 1e-6)
  end)

  it("where some have none, and refuse where none has one, as what it gives is not 0 then", function()
    local linear = made()
    linear.weight.grad = nil
    assert.near(4, optim.clip_grad_norm(linear, 1), 1e-6)
    linear.bias.grad = nil
    for _, what in ipairs { linear, {}, linear:parameters() } do
      assert.error_matches(function() optim.clip_grad_norm(what, 1) end, "none of the %d parameters has a gradient")
    end
    for _, what in ipairs { 3, "x", { 3 }, { {} }, function() end } do
      assert.error_matches(function() optim.clip_grad_norm(what, 1) end, "clip_grad_norm: .*, %a+ ")
    end
    assert.error_matches(function() optim.clip_grad_norm(made(), 0 / 0) end, "max is nan")
  end)

  it("of all that are given, each once: names and holes in the list are refused", function()
    local linear = made()
    local weight, bias = linear.weight, linear.bias
    for _, list in ipairs {
      { weight, bias = bias }, { weight, nil, bias }, linear:state_dict(), { params = { bias } },
    } do
      assert.error_matches(function() optim.clip_grad_norm(list, 1) end, "clip_grad_norm: .* a list with")
    end
    assert.error_matches(function() optim.clip_grad_norm({ bias, weight, bias }, 1) end, "parameter 3 is given twice")
    assert.same({ 3, 4 }, { weight.grad:max():item(), bias.grad:item() })
    assert.near(math.sqrt(34), optim.clip_grad_norm(table.pack(weight, bias), 1), 1e-5)
  end)

  it("but not by a norm that is not finite", function()
    for _, bad in ipairs { 0 / 0, math.huge } do
      local linear = made()
      linear.bias.grad = tr.full({ 1 }, bad)
      assert.error_matches(function() optim.clip_grad_norm(linear, 1) end, "the norm of the gradients is %a+")
      assert.equal(3, linear.weight.grad:max():item())
      local norm = optim.clip_grad_norm(linear, math.huge)
      assert.is_true(norm - norm ~= 0)
    end
  end)
end)

describe("groups", function()
  local function two(first, second)
    local a, b = parameter(tr.ones(1)), parameter(tr.ones(1))
    local o = optim.SGD({ { params = { a }, lr = first }, { params = { b }, lr = second } }, { lr = 0.1 })
    return o, function()
      a.grad, b.grad = tr.ones(1), tr.ones(1)
      o:step()
      return a:item(), b:item()
    end
  end

  it("names what is no step of a schedule", function()
    local s = tr.optim.schedule.cosine { lr = 1 }
    for _, bad in ipairs { false, "1", 0 / 0, -1, {}, tr.ones(1) } do
      assert.matches("cosine: step is .*, wanted a finite number", select(2, pcall(s.lr, s, bad, 10)))
      assert.matches("cosine: total is .*, wanted a finite number", select(2, pcall(s.lr, s, 1, bad)))
    end
  end)

  it("with lr = 0 stay frozen under set_lr, also the first", function()
    local o, step = two(0, nil)
    assert.equal(0.1, o:lr())
    o:set_lr(0.5)
    assert.same({ 1, 0.5 }, { step() })
    o, step = two(nil, 0)
    o:set_lr(0.5)
    assert.equal(0.5, o:lr())
    assert.same({ 0.5, 1 }, { step() })
    o, step = two(0, 0)
    o:set_lr(0.5)
    assert.same({ 0.5, 0.5 }, { step() })
  end)

  it("keep what was changed by hand: the rates that stand there when set_lr is called are the ratios", function()
    local o, step = two()
    o.groups[1].lr = 0 -- frozen
    assert.equal(0.1, o:lr())
    assert.same({ 0, 1 }, o:lr_ratios())
    o:set_lr(0.5)
    assert.same({ 1, 0.5 }, { step() })
    o.groups[1].lr = 0.25 -- and no longer
    o:set_lr(0.5)
    assert.same({ 0.5, 1 }, { o.groups[1].lr, o.groups[2].lr })
    o:set_lr(0)
    o:set_lr(0.25)
    assert.same({ 0.25, 0.5 }, { o.groups[1].lr, o.groups[2].lr })
    o.groups[2].lr = 0
    local again = two():load_state_dict(o:state_dict())
    again:set_lr(1)
    assert.same({ 1, 0 }, { again.groups[1].lr, again.groups[2].lr })
    o.groups[1].lr = 0 / 0
    assert.error_matches(function() o:set_lr(1) end, "SGD: groups%[1%].lr is nan")
  end)

  it("that were changed are checked by the next step, before any parameter moves", function()
    for name, value in pairs { lr = 0 / 0, momentum = -1, weight_decay = math.huge, nesterov = 1, dampening = "x" } do
      local o, step = two()
      o.groups[2][name] = value
      assert.error_matches(step, "SGD: groups%[2%]." .. name .. " is ")
      assert.same({ 1, 1 }, { o.groups[1].params[1]:item(), o.groups[2].params[1]:item() })
    end
    local o, step = two()
    o.groups[1].lr = nil
    assert.error_matches(step, "SGD: groups%[1%].lr is nil")
    assert.error_matches(function() o:set_lr(0 / 0) end, "SGD: lr is nan")
  end)
end)

describe("schedules", function()
  local schedule = optim.schedule

  it("one_cycle equals PyTorch's OneCycleLR", function()
    local _, metadata = safetensors.load "spec/fixtures/optim.safetensors"
    local s = schedule.one_cycle { lr = 0.5 }
    for step, rate in ipairs(json.decode(metadata.schedule)) do assert.near(rate, s:lr(step, 20), 1e-9) end
  end)

  it("step, cosine, constant, warmup", function()
    local s = schedule.step { lr = 1, every = 2, gamma = 0.5 }
    assert.same({ 1, 1, 0.5, 0.5, 0.25 }, { s:lr(1, 9), s:lr(2, 9), s:lr(3, 9), s:lr(4, 9), s:lr(5, 9) })
    s = schedule.step { lr = 1, at = { 0.5 } }
    assert.same({ 1, 0.1 }, { s:lr(5, 10), s:lr(6, 10) })
    s = schedule.cosine { lr = 1, min = 0.2 }
    assert.near(1, s:lr(1, 11), 1e-12)
    assert.near(0.6, s:lr(6, 11), 1e-12)
    assert.near(0.2, s:lr(11, 11), 1e-12)
    s = schedule.constant { lr = 1, warmup = 3 }
    assert.same({ 0.25, 0.5, 0.75, 1 }, { s:lr(1, 9), s:lr(2, 9), s:lr(3, 9), s:lr(4, 9) })
    assert.near(1, schedule.cosine { lr = 1, warmup = 3 }:lr(4, 10), 1e-12)
  end)

  it("go down from the rate that they are given, and end", function()
    assert.error_matches(function() schedule.cosine { lr = 0.1, min = 1 } end, "cosine: min is 1, more than lr")
    assert.error_matches(function() schedule.make({ "cosine", min = 0.01 }, 1e-3) end, "min is 0.01, more than lr")
    assert.error_matches(function() schedule.one_cycle { divide = 0.5 } end, "one_cycle: divide is 0.5, wanted a")
    for _, name in ipairs { "constant", "step", "cosine", "one_cycle" } do
      local s = schedule[name] { lr = 1 }
      assert.is_true(s:lr(10, 10) <= 1)
      assert.error_matches(function() s:lr(11, 10) end, name .. ": step is 11 of 10")
      assert.error_matches(function() return s.optons end, "a schedule has no optons; did you mean options%?")
    end
  end)

  it("are made from a table", function()
    assert.equal(0.3, schedule.make({ "constant" }, 0.3):lr(1, 1))
    assert.equal(0.3, schedule.make(nil, 0.3):lr(1, 1))
    local s = schedule.make { "cosine", lr = 1 }
    assert.equal(s, schedule.make(s, 5))
    assert.error_matches(function() schedule.make { "cosin" } end,
      'schedule: name is "cosin", wanted "constant" or "cosine"')
    assert.error_matches(function() schedule.make({ "cosine", mini = 1 }, 1) end,
      "cosine: unknown option 'mini'; did you mean min%?")
  end)
end)
