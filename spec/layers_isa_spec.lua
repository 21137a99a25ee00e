--- Every instruction set this machine has gives what the reference kernels give, for the layer functions.
local tr = require "texres"
local support = require "spec.support"

-- Runs in a process of its own; prints numbers, one a line.
local script = [[
  local tr = require "texres"
  local F = tr.nn.functional
  local function show(t)
    for _, v in ipairs(t:reshape(-1):totable()) do print(("%.9g"):format(v)) end
  end
  local function both(x, f)
    x.requires_grad = true
    local y = f(x)
    local weights = tr.arange(1, y:numel()):to "f32":reshape(y:shape()):mul(0.7):mod(3)
    show(y)
    y:backward(weights)
    show(x.grad)
  end
  print(tr.isa())
  for _, c in ipairs { 1, 3, 7, 16, 17, 33, 64 } do
    local n = 6 * c
    local x = ((tr.arange(1, n):to "f32" * 0.37) % 2.3 - 1.1):reshape(1, 3, 2, c)
    local labels = tr.arange(0, 5):to "i64":reshape(1, 3, 2) % c + 1
    both(x:clone(), function(t) return F.batch_norm(t, tr.ones(c), tr.zeros(c), { training = true, eps = 0.1 }) end)
    both(x:clone(), function(t)
      return F.batch_norm(t, tr.ones(c), tr.full({ c }, 0.3), { training = true, eps = 0.1, relu = true, residual = x })
    end)
    both(x:clone(), function(t)
      return F.batch_norm(x, tr.ones(c), tr.zeros(c),
        { training = true, eps = 0.1, relu = true, residual = t, residual_last = true })
    end)
    both(x:clone(), function(t) return F.max_pool2d(t, 2, { stride = 1, padding = 1 }) end)
    both(x:clone(), function(t) return F.avg_pool2d(t, 2, { stride = 1, padding = 1, count_include_pad = false }) end)
    both(x:clone(), F.global_avg_pool)
    both(x:clone(), F.softmax)
    both(x:clone(), F.log_softmax)
    both(x:clone(), function(t) return F.cross_entropy(t, labels, { label_smoothing = 0.1, reduction = "none" }) end)
    both(x:clone(), function(t) return F.mse_loss(t, tr.ones(1, 3, 2, c)) end)
    both(x:clone(), function(t) return F.smooth_l1_loss(t, tr.ones(1, 3, 2, c), { beta = 0.5 }) end)
    both(x:clone(), function(t) tr.manual_seed(c); return F.dropout(t, 0.3) end)
    both(x:clone(), F.relu)
    both(x:clone(), F.leaky_relu)
    both(x:clone(), F.silu)
    both(x:clone(), F.softplus)
    both(x:clone(), F.elu)
    both(x:clone(), function(t) return F.hard_swish(t * 4) end) -- beyond both bends
    for groups = 1, c > 4 and 3 or 1, 2 do
      if c % groups == 0 then
        both(x:clone(), function(t) return F.group_norm(t, tr.ones(c), tr.zeros(c), groups, { eps = 0.1 }) end)
      end
    end
    both(x:clone(), function(t) return F.layer_norm(t, tr.ones(c) * 2, tr.ones(c), { eps = 0.1 }) end)
    both(x:clone(), F.gelu)
    both(x:clone(), function(t) return F.gelu(t, { approximate = "tanh" }) end)
  end
]]

local function run(isa)
  local ok, output = support.run_lua(script, { env = { TEXRES_ISA = isa } })
  if not ok then return nil, output end
  local name, rest = output:match "^(%S+)\n(.*)$"
  assert.equal(isa, name)
  local numbers = {}
  for line in rest:gmatch "[^\n]+" do numbers[#numbers + 1] = assert(tonumber(line), line) end
  return numbers
end

describe("the layer functions", function()
  local reference

  for _, isa in ipairs { "avx2", "avx512", "neon" } do
    it("agree between ref and " .. isa, function()
      local numbers, output = run(isa)
      if numbers == nil then
        assert.matches("TEXRES_ISA", output) -- refused, not crashed
        return pending(isa .. " is not on this machine")
      end
      reference = reference or run "ref"
      assert.equal(#reference, #numbers)
      assert.is_true(#numbers > 10000)
      for i, v in ipairs(numbers) do
        local apart = math.abs(v - reference[i])
        local near = apart <= 2e-5 * math.max(1, math.abs(reference[i]))
        assert.is_true(near, ("number %d: %g, %g"):format(i, v, reference[i]))
      end
    end)
  end

  it("run on one of them here", function() assert.is_string(tr.isa()) end)
end)
