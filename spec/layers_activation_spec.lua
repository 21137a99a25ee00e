--- Activation functions, softmax, linear and dropout: csrc/autograd/{relu,leaky_relu,silu,softplus,gelu,
-- elu,hard_swish,softmax,log_softmax,linear,dropout}.c
local tr = require "texres"
local naive = require "spec.naive"
local F = tr.nn.functional

local f64 = { dtype = "f64" }

local function erf(x) -- Taylor series: good to f64 for the |x| <= 3 used here
  local sum, term, n = x, x, 0
  repeat
    n = n + 1
    term = -term * x * x / n
    sum = sum + term / (2 * n + 1)
  until math.abs(term) < 1e-18
  return 2 / math.sqrt(math.pi) * sum
end

local function tanh(x)
  local e = math.exp(2 * x)
  return (e - 1) / (e + 1)
end

local activations = {
  { "relu", nil, function(x) return math.max(x, 0) end },
  { "leaky_relu", nil, function(x) return x > 0 and x or 0.01 * x end },
  { "leaky_relu", { slope = 0.3 }, function(x) return x > 0 and x or 0.3 * x end },
  { "silu", nil, function(x) return x / (1 + math.exp(-x)) end },
  { "softplus", nil, function(x) return math.max(x, 0) + math.log(1 + math.exp(-math.abs(x))) end },
  { "elu", nil, function(x) return x > 0 and x or math.exp(x) - 1 end },
  { "elu", { alpha = 0.3 }, function(x) return x > 0 and x or 0.3 * (math.exp(x) - 1) end },
  { "hard_swish", nil, function(x) return x * math.min(math.max(x + 3, 0), 6) / 6 end },
  { "gelu", nil, function(x) return x / 2 * (1 + erf(x / math.sqrt(2))) end },
  { "gelu", { approximate = "none" }, function(x) return x / 2 * (1 + erf(x / math.sqrt(2))) end },
  { "gelu", { approximate = "tanh" }, function(x)
    return x / 2 * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ^ 3)))
  end },
}

describe("an activation function", function()
  for _, row in ipairs(activations) do
    local name, options, f = table.unpack(row)
    it(name .. " follows its definition at any length", function()
      for _, n in ipairs { 0, 1, 3, 7, 8, 9, 15, 16, 17, 33, 64, 1000 } do
        local x = naive.random({ n }, n + 1, -4, 4)
        local expected = naive.map(f, x)
        naive.check(F[name](naive.tensor(x), options), expected, 1e-12, "f64")
        naive.check(F[name](naive.tensor(x, "f32"), options), expected, 1e-6, "f32")
      end
      local x = naive.random({ 3, 4, 5 }, 1)
      naive.check(F[name](naive.strided(naive.tensor(x)), options), naive.map(f, x), 1e-12)
    end)

    it(name .. " has the gradient that differences show, in f32 as in f64", function()
      local function call(x) return F[name](x, options) end
      local ok, report = tr.gradcheck(call, { tr.randn({ 5, 7 }, f64) * 2 })
      assert.is_true(ok, report)
      for _, n in ipairs { 1, 7, 16, 17, 100 } do
        local grad = {}
        for _, dtype in ipairs { "f64", "f32" } do
          local x = naive.tensor(naive.random({ n }, 1, -5, 5), dtype)
          x.requires_grad = true
          call(x):backward(naive.tensor(naive.random({ n }, 2), dtype))
          grad[dtype] = x.grad
        end
        naive.check(grad.f32, naive.of(grad.f64), 3e-6)
      end
    end)

    it(name .. " keeps a NaN, has its limits at infinity, and refuses integers", function()
      for _, dtype in ipairs { "f32", "f64" } do
        local y = F[name](tr.tensor({ 0 / 0, math.huge, 100, -100 }, { dtype = dtype }), options):totable()
        assert.is_true(y[1] ~= y[1])
        assert.equal(math.huge, y[2])
        assert.equal(100, y[3])
        assert.is_true(math.abs(y[4] - (name:find "elu$" and name ~= "gelu" and f(-100) or 0)) < 1e-5)
      end
      assert.error_matches(function() F[name](tr.zeros({ 2, 3 }, { dtype = "i64" })) end,
        name .. ": x is i64 {2,3}: f32 or f64 is needed")
    end)
  end
end)

describe("hard_swish", function()
  it("is 0 at -inf, where a product would be NaN, and takes the outer slope where two meet", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local x = tr.tensor({ -math.huge, -3, 3 }, { dtype = dtype })
      x.requires_grad = true
      local y = F.hard_swish(x)
      y:sum():backward()
      assert.same({ 0, 0, 3 }, y:totable())
      assert.same({ 0, 0, 1 }, x.grad:totable())
    end
  end)
end)

describe("a gradient", function()
  -- Functions write gradients over those they come from, but only where nobody else holds them.
  it("that a user gives stays as it is", function()
    local x, dy = tr.randn(4, 3), tr.randn(4, 3)
    x.requires_grad = true
    local before = dy:clone()
    F.relu(x):backward(dy)
    F.batch_norm(x, tr.ones(3), tr.zeros(3), { training = true }):backward(dy)
    assert.is_true(tr.allclose(dy, before, 0))
  end)

  it("that goes to several functions reaches all of them", function()
    local function f(x)
      local y = F.relu(x * 2)
      local z = F.batch_norm(x, tr.ones({ 3 }, f64), tr.zeros({ 3 }, f64), { training = true, relu = true })
      return (y + z + F.batch_norm(y, tr.ones({ 3 }, f64), tr.zeros({ 3 }, f64), {
        training = true, residual = z, relu = true, residual_last = true,
      })):pow(2)
    end
    local ok, report = tr.gradcheck(f, { tr.randn({ 6, 3 }, f64) })
    assert.is_true(ok, report)
  end)
end)

describe("softmax and log_softmax", function()
  local function rows(x, logarithm)
    return naive.build(x.shape, function(i)
      local top, sum = -math.huge, 0
      for j = 1, x.shape[2] do top = math.max(top, naive.get(x, { i[1], j })) end
      for j = 1, x.shape[2] do sum = sum + math.exp(naive.get(x, { i[1], j }) - top) end
      local apart = naive.get(x, i) - top
      return logarithm and apart - math.log(sum) or math.exp(apart) / sum
    end)
  end

  for name, logarithm in pairs { softmax = false, log_softmax = true } do
    it(name .. " follows its definition for any length of row", function()
      for _, n in ipairs { 1, 3, 6, 7, 8, 15, 16, 17, 31, 33, 64, 150 } do
        local x = naive.random({ 3, n }, n, -5, 5)
        naive.check(F[name](naive.tensor(x)), rows(x, logarithm), 1e-12)
        naive.check(F[name](naive.tensor(x, "f32")), rows(x, logarithm), 2e-6)
        naive.check(tr[name](naive.tensor(x):transpose(1, 2), 1):transpose(1, 2), rows(x, logarithm), 1e-12)
      end
    end)

    it(name .. " has the gradient that differences show, along any dimension", function()
      for _, dim in ipairs { 1, 2, 3, -1 } do
        local ok, report = tr.gradcheck(function(x) return x[name](x, dim) end, { tr.randn({ 3, 4, 5 }, f64) })
        assert.is_true(ok, report)
      end
      for _, n in ipairs { 1, 6, 16, 17, 100 } do
        local grad = {}
        for _, dtype in ipairs { "f64", "f32" } do
          local x = naive.tensor(naive.random({ 4, n }, 1, -5, 5), dtype)
          x.requires_grad = true
          F[name](x):backward(naive.tensor(naive.random({ 4, n }, 2), dtype))
          grad[dtype] = x.grad
        end
        naive.check(grad.f32, naive.of(grad.f64), 1e-5)
      end
    end)

    it(name .. " never overflows, keeps a NaN, and takes tensors without elements", function()
      for _, dtype in ipairs { "f32", "f64" } do
        local y = F[name](tr.tensor({ { 1e4, -1e4, 1e4 }, { 0, 0 / 0, 0 }, { -math.huge, 0, 0 } }, { dtype = dtype }))
        local first, middle, last = table.unpack(y:totable())
        local half = logarithm and -math.log(2) or 0.5
        assert.is_true(math.abs(first[1] - half) < 1e-6 and math.abs(last[2] - half) < 1e-6)
        for _, v in ipairs(middle) do assert.is_true(v ~= v) end
      end
      assert.same({ 0, 3 }, F[name](tr.zeros(0, 3)):shape())
      assert.same({ 3, 0 }, F[name](tr.zeros(3, 0)):shape())
      assert.error_matches(function() F[name](tr.zeros({ 2 }, { dtype = "u8" })) end, name .. ": x is u8 {2}")
      assert.error_matches(function() F[name](tr.zeros(2, 3), 3) end, name .. ": .*3")
    end)
  end
end)

describe("linear", function()
  it("multiplies rows by w and adds b", function()
    local x, w, b = naive.random({ 4, 3 }, 1), naive.random({ 3, 5 }, 2), naive.random({ 5 }, 3)
    local expected = naive.build({ 4, 5 }, function(i)
      local s = b[i[2]]
      for k = 1, 3 do s = s + naive.get(x, { i[1], k }) * naive.get(w, { k, i[2] }) end
      return s
    end)
    for dtype, tolerance in pairs { f64 = 1e-12, f32 = 1e-6 } do
      local tx, tw, tb = naive.tensor(x, dtype), naive.tensor(w, dtype), naive.tensor(b, dtype)
      naive.check(F.linear(tx, tw, tb), expected, tolerance)
      naive.check(F.linear(naive.strided(tx), naive.strided(tw), naive.strided(tb)), expected, tolerance)
      naive.check(F.linear(tx, tw) + tb, expected, tolerance)
      naive.check(F.linear(tx:reshape(2, 2, 3), tw, tb):reshape(4, 5), expected, tolerance)
      assert.same({ 5 }, F.linear(tx[1], tw, tb):shape())
    end
  end)

  it("has the gradients that differences show", function()
    for _, shape in ipairs { { 4, 3 }, { 2, 3, 3 }, { 3 } } do
      local ok, report = tr.gradcheck(F.linear, { tr.randn(shape, f64), tr.randn({ 3, 5 }, f64), tr.randn({ 5 }, f64) })
      assert.is_true(ok, report)
      ok, report = tr.gradcheck(F.linear, { tr.randn(shape, f64), tr.randn({ 3, 5 }, f64) })
      assert.is_true(ok, report)
    end
  end)

  it("takes no rows and no features", function()
    assert.same({ 0, 5 }, F.linear(tr.zeros(0, 3), tr.zeros(3, 5), tr.zeros(5)):shape())
    assert.is_true(tr.allclose(F.linear(tr.zeros(2, 0), tr.zeros(0, 5), tr.ones(5)), tr.ones(2, 5)))
    assert.is_true(tr.allclose(F.linear(tr.zeros(2, 0), tr.zeros(0, 5)), tr.zeros(2, 5)))
  end)

  it("says what does not fit", function()
    local w = tr.zeros(3, 5)
    assert.error_matches(function() F.linear(tr.zeros(2, 4), w) end,
      "linear: x {2,4} has 4 features in its last dimension, w {3,5} wants 3")
    assert.error_matches(function() F.linear(tr.zeros(2, 3), w, tr.zeros(4)) end, "linear: b is {4}, but there are 5")
    assert.error_matches(function() F.linear(tr.zeros(2, 3), tr.zeros(3)) end, "linear: w is {3}: {in,out} is needed")
    assert.error_matches(function() F.linear(tr.zeros({ 2, 3 }, f64), w) end, "linear: w is f32, x is f64")
    assert.error_matches(function() F.linear(tr.zeros({ 2, 3 }, { dtype = "u8" }), w) end, "linear: x is u8 {2,3}")
  end)
end)

describe("dropout", function()
  it("keeps about 1 - p of the elements and scales them", function()
    for _, dtype in ipairs { "f32", "f64" } do
      for _, p in ipairs { 0.1, 0.5, 0.9 } do
        tr.manual_seed(3)
        local y = F.dropout(tr.ones({ 100000 }, { dtype = dtype }), p)
        local kept = (y:ne(0)):sum():item()
        assert.is_true(math.abs(kept / 100000 - (1 - p)) < 0.01, kept)
        assert.is_true(math.abs(y:max():item() - 1 / (1 - p)) < 1e-5)
        assert.is_true(math.abs(y:mean():item() - 1) < 0.03)
      end
    end
  end)

  it("makes the same decisions again in backward, and for f32 as for f64, whatever the length", function()
    for _, n in ipairs { 0, 1, 7, 16, 63, 64, 65, 130, 40000 } do
      local x = tr.ones(n)
      x.requires_grad = true
      tr.manual_seed(4)
      local y = F.dropout(x, 0.4)
      y:sum():backward()
      assert.is_true(tr.allclose(x.grad, y, 0))
      tr.manual_seed(4)
      assert.is_true(tr.allclose(F.dropout(tr.ones({ n }, f64), 0.4):to "f32", y))
    end
    local ok, report = tr.gradcheck(function(x) return F.dropout(x, 0.5) end, { tr.randn({ 5, 20 }, f64) })
    assert.is_true(ok, report)
  end)

  it("draws anew at every call, and the same on any number of threads", function()
    local x, threads = tr.ones(100000), tr.num_threads()
    tr.manual_seed(1)
    local first, second = F.dropout(x, 0.5), F.dropout(x, 0.5)
    assert.is_false(tr.allclose(first, second))
    for _, n in ipairs { 1, 2, 8 } do
      tr.set_num_threads(n)
      tr.manual_seed(1)
      assert.is_true(tr.allclose(F.dropout(x, 0.5), first, 0))
    end
    tr.set_num_threads(threads)
  end)

  it("is the identity in evaluation and for p = 0", function()
    local x = tr.randn(4, 5)
    x.requires_grad = true
    assert.is_true(tr.allclose(F.dropout(x, 0.5, { training = false }), x, 0))
    local y = F.dropout(x, 0)
    y:sum():backward()
    assert.is_true(tr.allclose(x.grad, tr.ones(4, 5), 0))
  end)

  it("leaves nothing for p = 1, in both ways", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local x = tr.tensor({ 1, -2, math.huge }, { dtype = dtype })
      x.requires_grad = true
      local y = F.dropout(x:reshape(3, 1):expand(3, 100), 1)
      y:sum():backward()
      assert.equal(0, y:abs():sum():item())
      assert.is_true(tr.allclose(x.grad, tr.zeros({ 3 }, { dtype = dtype }), 0, 0))
    end
  end)

  it("says what does not fit", function()
    for _, p in ipairs { -0.1, 1.001, 2 } do
      assert.error_matches(function() F.dropout(tr.ones(3), p) end, "dropout: p is .*: a probability from 0 to 1")
    end
    assert.error_matches(function() F.dropout(tr.ones(3), 0 / 0) end, "dropout: p is NaN")
    assert.error_matches(function() F.leaky_relu(tr.ones(3), { slope = 0 / 0 }) end, "leaky_relu: slope is NaN")
    assert.error_matches(function() F.elu(tr.ones(3), { alpha = 0 / 0 }) end, "elu: alpha is NaN")
    assert.error_matches(function() F.dropout(tr.ones({ 3 }, { dtype = "i64" }), 0.5) end, "dropout: x is i64 {3}")
  end)
end)
