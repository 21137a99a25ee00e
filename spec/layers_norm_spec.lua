--- Batch norm: csrc/autograd/batch_norm.c, csrc/tensor/norm.c, the kernels on channels.
local tr = require "texres"
local naive = require "spec.naive"
local F = tr.nn.functional

local f64 = { dtype = "f64" }
local widths = { 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 130, 1030 } -- around and far above the kernels' vectors

-- Mean and biased variance of every channel of a naive {rows,c}.
local function moments(x)
  local rows, c = x.shape[1], x.shape[2]
  local mean, variance = { shape = { c } }, { shape = { c } }
  for j = 1, c do
    local sum, square = 0, 0
    for i = 1, rows do sum = sum + naive.get(x, { i, j }) end
    mean[j] = sum / rows
    for i = 1, rows do square = square + (naive.get(x, { i, j }) - mean[j]) ^ 2 end
    variance[j] = square / rows
  end
  return mean, variance
end

local function normalized(x, gamma, beta, mean, variance, eps)
  return naive.build(x.shape, function(i)
    local j = i[2]
    return (naive.get(x, i) - mean[j]) / math.sqrt(variance[j] + eps) * gamma[j] + beta[j]
  end)
end

describe("batch_norm", function()
  it("normalizes by the batch in training, for any width", function()
    for _, c in ipairs(widths) do
      for _, rows in ipairs { 4, 19, 200 } do -- with two rows close to each other, f32 loses digits
        if rows * c < 10000 then
          local x, gamma, beta = naive.random({ rows, c }, c), naive.random({ c }, 2), naive.random({ c }, 3)
          local mean, variance = moments(x)
          local expected = normalized(x, gamma, beta, mean, variance, 1e-5)
          for dtype, tolerance in pairs { f64 = 1e-11, f32 = 2e-5 } do
            local y = F.batch_norm(naive.tensor(x, dtype), naive.tensor(gamma, dtype), naive.tensor(beta, dtype),
              { training = true })
            naive.check(y, expected, tolerance, ("%s {%d,%d}"):format(dtype, rows, c))
          end
        end
      end
    end
  end)

  it("lets the running statistics follow, the variance unbiased, and uses them in evaluation", function()
    local x, gamma, beta = naive.random({ 12, 5 }, 1), naive.random({ 5 }, 2), naive.random({ 5 }, 3)
    local mean, variance = moments(x)
    for _, dtype in ipairs { "f32", "f64" } do
      local running_mean, running_var = tr.full({ 5 }, 0.5, { dtype = dtype }), tr.full({ 5 }, 2, { dtype = dtype })
      local t = { naive.tensor(x, dtype), naive.tensor(gamma, dtype), naive.tensor(beta, dtype) }
      local options = { running_mean = running_mean, running_var = running_var, momentum = 0.3, eps = 0.1 }
      options.training = true
      F.batch_norm(t[1], t[2], t[3], options)
      naive.check(running_mean, naive.map(function(m) return 0.7 * 0.5 + 0.3 * m end, mean), 1e-6)
      naive.check(running_var, naive.map(function(v) return 0.7 * 2 + 0.3 * v * 12 / 11 end, variance), 1e-6)

      options.training = false
      local before = running_mean:clone()
      local y = F.batch_norm(t[1], t[2], t[3], options)
      naive.check(y, normalized(x, gamma, beta, naive.of(running_mean), naive.of(running_var), 0.1), 1e-5)
      assert.is_true(tr.allclose(before, running_mean, 0))
    end
  end)

  it("keeps the variance where the mean is large", function()
    local x = tr.randn(4000, 3) + 10000
    local y = F.batch_norm(x, tr.ones(3), tr.zeros(3), { training = true })
    assert.is_true(tr.allclose(y:var(1), tr.ones(3), 1e-2), tostring(y:var(1)))
    local mean, variance = tr.zeros(3), tr.zeros(3)
    F.batch_norm(x, tr.ones(3), tr.zeros(3),
      { training = true, momentum = 1, running_mean = mean, running_var = variance })
    assert.is_true(tr.allclose(variance, (x:to "f64"):var(1):to "f32", 1e-5))
    assert.is_true(tr.allclose(mean, (x:to "f64"):mean(1):to "f32", 1e-7))
  end)

  it("has the gradients that differences show, with batch and running statistics", function()
    local mean, variance = tr.randn({ 3 }, f64), tr.rand({ 3 }, f64) + 0.5
    for _, shape in ipairs { { 5, 3 }, { 2, 3, 2, 3 } } do
      local inputs = { tr.randn(shape, f64), tr.randn({ 3 }, f64), tr.randn({ 3 }, f64) }
      for _, options in ipairs {
        { training = true }, { running_mean = mean, running_var = variance }, { training = true, eps = 0.5 },
      } do
        local ok, report = tr.gradcheck(function(x, g, b) return F.batch_norm(x, g, b, options) end, inputs)
        assert.is_true(ok, report)
      end
    end
  end)

  it("has in f32 the gradients of f64, for any width", function()
    for _, c in ipairs(widths) do
      for _, training in ipairs { true, false } do
        local grads = {}
        for _, dtype in ipairs { "f64", "f32" } do
          local x = naive.tensor(naive.random({ 37, c }, 1), dtype)
          local gamma, beta = naive.tensor(naive.random({ c }, 2), dtype), naive.tensor(naive.random({ c }, 3), dtype)
          x.requires_grad, gamma.requires_grad, beta.requires_grad = true, true, true
          local y = F.batch_norm(x, gamma, beta, {
            training = training, running_mean = tr.zeros({ c }, { dtype = dtype }),
            running_var = tr.ones({ c }, { dtype = dtype }),
          })
          y:backward(naive.tensor(naive.random({ 37, c }, 4), dtype))
          grads[dtype] = { x.grad, gamma.grad, beta.grad }
        end
        for i = 1, 3 do
          naive.check(grads.f32[i], naive.of(grads.f64[i]), 2e-5, ("gradient %d, %d channels"):format(i, c))
        end
      end
    end
  end)

  it("takes any strides", function()
    local x, g, b = tr.randn({ 4, 5, 3 }, f64), tr.randn({ 3 }, f64), tr.randn({ 3 }, f64)
    local y = F.batch_norm(x, g, b, { training = true })
    local again = F.batch_norm(naive.strided(x), naive.strided(g), naive.strided(b), { training = true })
    assert.is_true(tr.allclose(y, again, 0))
  end)

  it("gives the same bits on any number of threads", function()
    local threads, first = tr.num_threads(), nil
    for _, n in ipairs { 1, 2, 3, 8 } do
      tr.set_num_threads(n)
      tr.manual_seed(5)
      local x, gamma, beta = tr.randn(3, 40, 41, 17), tr.randn(17), tr.randn(17)
      x.requires_grad, gamma.requires_grad = true, true
      local y = F.batch_norm(x, gamma, beta, { training = true })
      y:backward(tr.randn(3, 40, 41, 17))
      local results = { y, x.grad, gamma.grad }
      first = first or results
      for i = 1, 3 do assert.is_true(tr.allclose(results[i], first[i], 0), ("%d threads, result %d"):format(n, i)) end
    end
    tr.set_num_threads(threads)
  end)

  it("takes batches without rows", function()
    local x, g = tr.zeros(0, 4, 4, 3), tr.ones(3)
    x.requires_grad, g.requires_grad = true, true
    local mean, variance = tr.zeros(3), tr.ones(3)
    local y = F.batch_norm(x, g, tr.zeros(3), { training = true, running_mean = mean, running_var = variance })
    assert.same({ 0, 4, 4, 3 }, y:shape())
    assert.same({ 1, 1, 1 }, variance:totable())
    y:sum():backward()
    assert.same({ 0, 0, 0 }, g.grad:totable())
  end)

  it("says what does not fit", function()
    local x, one = tr.randn(2, 4, 4, 3), tr.ones(3)
    local function message(...)
      local ok, text = pcall(F.batch_norm, ...)
      assert.is_false(ok)
      return text
    end
    assert.matches("batch_norm: gamma is {4}, but there are 3 channels .*x {2,4,4,3}",
      message(x, tr.ones(4), one, { training = true }))
    local training = { training = true }
    assert.matches("batch_norm: {1,3} has one value per channel", message(tr.ones(1, 3), one, one, training))
    assert.matches("batch_norm: without training=true, running_mean and running_var are needed", message(x, one, one))
    assert.matches("batch_norm: x is u8 {2,3}", message(tr.zeros({ 2, 3 }, { dtype = "u8" }), one, one, training))
    assert.matches("batch_norm: x is {3}", message(one, one, one, { training = true }))
    assert.matches("batch_norm: beta is f64, x is f32", message(x, one, tr.ones({ 3 }, f64), { training = true }))
    assert.matches("batch_norm: running_mean and running_var come together",
      message(x, one, one, { training = true, running_mean = one }))
  end)
end)
