--- Batch, group and layer norm: csrc/autograd/{batch,group,layer}_norm.c, csrc/passes/{,group_,layer_}norm.c, and their
-- kernels on channels and rows.
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
  it("reads running statistics whose elements share memory, and does not write to them", function()
    local x, gamma, beta = tr.rand(4, 3), tr.ones(3), tr.zeros(3)
    local shared = { running_mean = tr.zeros(1):expand(3), running_var = tr.ones(1):expand(3), eps = 0 }
    assert.is_true(tr.allclose(x, F.batch_norm(x, gamma, beta, shared)))
    shared.training = true
    assert.error_matches(function() F.batch_norm(x, gamma, beta, shared) end, "batch_norm: this tensor {3} was")
    shared.running_mean = tr.zeros(3)
    assert.error_matches(function() F.batch_norm(x, gamma, beta, shared) end, "batch_norm: this tensor {3} was")
    assert.same({ 0, 0, 0 }, shared.running_mean:totable())
  end)

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

  -- Everything that can follow the normalization, with the same from functions of its own.
  local function each_ending(f)
    for _, training in ipairs { true, false } do
      for _, relu in ipairs { false, true } do
        for _, ending in ipairs { "alone", "residual first", "residual last" } do
          local residual_last = ending == "residual last"
          local function finish(z, residual)
            if ending == "residual first" then z = z + residual end
            if relu then z = F.relu(z) end
            return residual_last and z + residual or z
          end
          f({ training = training, relu = relu, residual_last = residual_last }, ending ~= "alone", finish)
        end
      end
    end
  end

  it("adds a residual and takes ReLU in the same pass, in both orders", function()
    each_ending(function(options, with_residual, finish)
      for _, c in ipairs { 1, 3, 16, 17, 64, 65 } do
        local grads = {}
        for _, fused in ipairs { true, false } do
          tr.manual_seed(c)
          local x, gamma, beta, residual = tr.randn(7, 2, c), tr.randn(c), tr.randn(c), tr.randn(7, 2, c)
          for _, t in ipairs { x, gamma, beta, residual } do t.requires_grad = true end
          options.running_mean, options.running_var = tr.zeros(c), tr.ones(c)
          options.residual = fused and with_residual and residual or nil
          local y
          if fused then
            y = F.batch_norm(x, gamma, beta, options)
          else
            local plain = { training = options.training, running_mean = options.running_mean,
              running_var = options.running_var }
            y = finish(F.batch_norm(x, gamma, beta, plain), residual)
          end
          y:backward(tr.randn(7, 2, c))
          grads[#grads + 1] = { y, x.grad, gamma.grad, beta.grad, with_residual and residual.grad or y }
        end
        for i = 1, 5 do assert.is_true(tr.allclose(grads[1][i], grads[2][i], 1e-5, 1e-5), ("result %d"):format(i)) end
      end
    end)
  end)

  it("has the gradients that differences show with a residual and ReLU, also behind a convolution", function()
    local mean, variance = tr.randn({ 3 }, f64), tr.rand({ 3 }, f64) + 0.5
    each_ending(function(options, with_residual)
      options.running_mean, options.running_var = mean, variance
      local x, w = tr.randn({ 1, 4, 3, 2 }, f64), tr.randn({ 3, 3, 2, 3 }, f64)
      local gamma, beta, residual = tr.randn({ 3 }, f64), tr.randn({ 3 }, f64), tr.randn({ 1, 4, 3, 3 }, f64)
      local function with(more, r)
        local all = { residual = with_residual and r or nil }
        for key, value in pairs(options) do all[key] = value end
        for key, value in pairs(more) do all[key] = value end
        return all
      end
      local ok, report = tr.gradcheck(function(z, g, b, r) return F.batch_norm(z, g, b, with({}, r)) + 0 * r end,
        { residual * 2, gamma, beta, residual })
      assert.is_true(ok, report)
      ok, report = tr.gradcheck(function(i, v, g, b, r)
        return F.conv2d_batch_norm(i, v, g, b, with({ padding = 1 }, r)) + 0 * r
      end, { x, w, gamma, beta, residual })
      assert.is_true(ok, report)
      ok, report = tr.gradcheck(function(i, v, b, r)
        return F.conv2d(i, v, { bias = b, padding = 1, relu = options.relu, residual_last = options.residual_last,
          residual = with_residual and r or nil }) + 0 * r
      end, { x, w, beta, residual })
      assert.is_true(ok, report)
    end)
  end)

  it("gives behind a convolution what conv2d, batch_norm, relu and + give, recorded or not", function()
    each_ending(function(options, with_residual, finish)
      tr.manual_seed(2)
      local x, w = tr.randn(2, 9, 7, 5), tr.randn(3, 3, 5, 19)
      local gamma, beta, residual = tr.randn(19), tr.randn(19), tr.randn(2, 9, 7, 19)
      options.running_mean, options.running_var = tr.randn(19), tr.rand(19) + 0.5
      local z = F.conv2d(x, w, { padding = 1 })
      local plain = finish(F.batch_norm(z, gamma, beta, {
        training = options.training, running_mean = options.running_mean:clone(),
        running_var = options.running_var:clone(),
      }), residual)
      options.residual, options.padding = with_residual and residual or nil, 1
      local fused = tr.no_grad(function() return F.conv2d_batch_norm(x, w, gamma, beta, options) end)
      assert.is_true(tr.allclose(fused, plain, 1e-4, 1e-4))
      w.requires_grad = true
      assert.is_true(tr.allclose(F.conv2d_batch_norm(x, w, gamma, beta, options), plain, 1e-4, 1e-4))
      local folded = F.conv2d(x, w, {
        bias = beta, padding = 1, relu = options.relu, residual_last = options.residual_last,
          residual = options.residual,
      })
      assert.is_true(tr.allclose(folded, finish(z + beta, residual), 1e-4, 1e-4))
    end)
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
    assert.matches("batch_norm: eps is %-1: 0 or more is needed", message(x, one, one, { training = true, eps = -1 }))
    assert.matches("batch_norm: momentum is 7: 0 to 1 is needed",
      message(x, one, one, { training = true, momentum = 7 }))
  end)
end)

describe("group_norm", function()
  -- As the formula has it: x a naive {n,pixels,c}.
  local function expected(x, gamma, beta, groups, eps)
    local n, pixels, c = table.unpack(x.shape)
    local width, y = c // groups, { shape = x.shape }
    for image = 1, n do
      for first = 1, c, width do
        local sum, square, count = 0, 0, pixels * width
        local function each(fn)
          for p = 1, pixels do
            local before = ((image - 1) * pixels + p - 1) * c
            for j = first, first + width - 1 do fn(x[before + j], before + j, j) end
          end
        end
        each(function(value) sum = sum + value end)
        each(function(value) square = square + (value - sum / count) ^ 2 end)
        each(function(value, i, j)
          y[i] = (value - sum / count) / math.sqrt(square / count + eps) * gamma[j] + beta[j]
        end)
      end
    end
    return y
  end

  it("normalizes every image by itself, for any width and number of groups", function()
    for _, case in ipairs { { 1, 1 }, { 2, 1 }, { 6, 3 }, { 6, 6 }, { 16, 4 }, { 33, 11 }, { 64, 8 }, { 130, 2 } } do
      local c, groups = table.unpack(case)
      local x = naive.random({ 3, 10, c }, c, -1, 5)
      local gamma, beta = naive.random({ c }, 1), naive.random({ c }, 2)
      local wanted = expected(x, gamma, beta, groups, 1e-3)
      for dtype, error in pairs { f64 = 1e-12, f32 = 2e-5 } do
        local y = F.group_norm(naive.tensor(x, dtype), naive.tensor(gamma, dtype), naive.tensor(beta, dtype), groups,
          { eps = 1e-3 })
        naive.check(y, wanted, error, dtype)
      end
    end
  end)

  it("has the gradients that differences show, in f32 as in f64", function()
    for _, groups in ipairs { 1, 2, 4 } do
      local function call(x, gamma, beta) return F.group_norm(x, gamma, beta, groups, { eps = 0.01 }) end
      local inputs = { tr.randn({ 3, 2, 3, 4 }, f64) * 2 + 1, tr.randn({ 4 }, f64), tr.randn({ 4 }, f64) }
      local ok, report = tr.gradcheck(call, inputs)
      assert.is_true(ok, report)
      local singles, dy = {}, tr.randn({ 3, 2, 3, 4 }, f64)
      for i, t in ipairs(inputs) do
        t.grad, singles[i] = nil, t:detach():to "f32"
        t.requires_grad, singles[i].requires_grad = true, true
      end
      call(table.unpack(inputs)):backward(dy)
      call(table.unpack(singles)):backward(dy:to "f32")
      for i, t in ipairs(inputs) do assert.is_true(tr.allclose(singles[i].grad:to "f64", t.grad, 1e-4, 1e-5), i) end
    end
  end)

  it("keeps its digits where the mean is large", function()
    local x = tr.randn(2, 8, 8, 4)
    local y = F.group_norm(x, tr.ones(4), tr.zeros(4), 2)
    assert.is_true(tr.allclose(F.group_norm(x + 1000, tr.ones(4), tr.zeros(4), 2), y, 1e-3, 1e-3))
  end)

  it("takes features and empty batches, and says what is wrong", function()
    local one, zero = tr.ones(4), tr.zeros(4)
    assert.same({ 5, 4 }, F.group_norm(tr.rand(5, 4), one, zero, 2):shape())
    local x = tr.zeros(0, 3, 3, 4)
    x.requires_grad, one.requires_grad = true, true
    F.group_norm(x, one, zero, 2):sum():backward()
    assert.same({ 0, 0, 0, 0 }, one.grad:totable())
    assert.error_matches(function() F.group_norm(tr.rand(2, 4), one, zero, 3) end,
      "group_norm: 3 groups do not divide the 4 channels of x {2,4}")
    assert.error_matches(function() F.group_norm(tr.rand(2, 5), one, zero, 1) end, "gamma is {4}, but there are 5")
    assert.error_matches(function() F.group_norm(tr.rand(4), one, zero, 1) end, "{N,C} or {N,...,C} is needed")
    assert.error_matches(function() tr.nn.GroupNorm(3, 4) end, "GroupNorm: 3 groups do not divide 4 channels")
  end)
end)

describe("layer_norm", function()
  -- As the formula has it: x a naive {rows,c}.
  local function expected(x, gamma, beta, eps)
    local rows, c = table.unpack(x.shape)
    local y = { shape = x.shape }
    for row = 0, rows - 1 do
      local mean, variance = 0, 0
      for j = 1, c do mean = mean + x[row * c + j] / c end
      for j = 1, c do variance = variance + (x[row * c + j] - mean) ^ 2 / c end
      for j = 1, c do
        y[row * c + j] = (x[row * c + j] - mean) / math.sqrt(variance + eps) * gamma[j] + beta[j]
      end
    end
    return y
  end

  it("normalizes every row by itself, and has the gradients that differences show, in f32 as in f64", function()
    for _, c in ipairs { 1, 2, 3, 7, 16, 17, 33, 64, 130 } do
      local x, gamma, beta = naive.random({ 5, c }, c, -1, 5), naive.random({ c }, 1), naive.random({ c }, 2)
      local wanted, gradients = expected(x, gamma, beta, 1e-2), {}
      local function call(...)
        local a, b, d = ...
        return F.layer_norm(a, b, d, { eps = 1e-2 })
      end
      for dtype, error in pairs { f64 = 1e-12, f32 = 2e-6 } do
        local inputs = { naive.tensor(x, dtype), naive.tensor(gamma, dtype), naive.tensor(beta, dtype) }
        for _, t in ipairs(inputs) do t.requires_grad = true end
        local y = call(table.unpack(inputs))
        naive.check(y, wanted, error, dtype)
        y:backward(naive.tensor(naive.random({ 5, c }, 3), dtype))
        gradients[dtype] = { inputs[1].grad, inputs[2].grad, inputs[3].grad }
      end
      for i = 1, 3 do naive.check(gradients.f32[i], naive.of(gradients.f64[i]), 1e-5) end
      local ok, report = tr.gradcheck(call, { naive.tensor(x), naive.tensor(gamma), naive.tensor(beta) })
      assert.is_true(ok, report)
    end
  end)

  it("adds up the gradients of many rows, of gamma and beta alone, too", function()
    local x, dy = tr.randn({ 3, 1400, 5 }, f64) * 2 + 1, tr.randn({ 3, 1400, 5 }, f64)
    local gamma, beta = tr.ones({ 5 }, f64), tr.zeros({ 5 }, f64)
    gamma.requires_grad, beta.requires_grad = true, true
    F.layer_norm(x, gamma, beta):backward(dy)
    local xhat = F.layer_norm(x, tr.ones({ 5 }, f64), tr.zeros({ 5 }, f64))
    assert.is_true(tr.allclose(gamma.grad, (xhat * dy):sum { 1, 2 }, 1e-10))
    assert.is_true(tr.allclose(beta.grad, dy:sum { 1, 2 }, 1e-10))
  end)

  it("keeps its digits where the mean is large: a flat row is beta", function()
    for _, c in ipairs { 1, 3, 16, 33, 130 } do
      local x, one, zero = tr.randn(6, c) + 1e4, tr.ones(c), tr.zeros(c)
      local exact = F.layer_norm(x:to "f64", one:to "f64", zero:to "f64")
      assert.is_true(tr.allclose(F.layer_norm(x, one, zero):to "f64", exact, 1e-5, 1e-5))
      for _, value in ipairs { 1e6, -3e30, 0 } do
        local flat = tr.full({ 2, c }, value)
        flat.requires_grad = true
        local y = F.layer_norm(flat, one, zero + 0.5)
        y:sum():backward()
        assert.equal(2 * c, y:eq(0.5):sum():item())
        assert.equal(2 * c, flat.grad:eq(0):sum():item())
      end
    end
  end)

  it("keeps what is not finite to its row", function()
    for _, value in ipairs { math.huge, 0 / 0 } do
      local x = tr.randn(3, 5)
      x[2][4] = value
      local y = F.layer_norm(x, tr.ones(5), tr.zeros(5))
      assert.equal(5, y:ne(y):sum():item())
      assert.equal(5, y[2]:ne(y[2]):sum():item())
    end
  end)

  it("takes empty batches, and says what is wrong", function()
    local one, zero = tr.ones(4), tr.zeros(4)
    assert.same({ 4 }, F.layer_norm(tr.rand(4), one, zero):shape())
    local x = tr.zeros(0, 3, 3, 4)
    x.requires_grad, one.requires_grad = true, true
    F.layer_norm(x, one, zero):sum():backward()
    assert.same({ 0, 3, 3, 4 }, x.grad:shape())
    assert.same({ 0, 0, 0, 0 }, one.grad:totable())
    assert.same({ 2, 0 }, F.layer_norm(tr.zeros(2, 0), tr.zeros(0), tr.zeros(0)):shape())
    local function message(pattern, ...)
      local arguments = table.pack(...)
      assert.error_matches(function() F.layer_norm(table.unpack(arguments)) end, "layer_norm: " .. pattern)
    end
    message("gamma is {4}, but there are 5", tr.rand(2, 5), one, zero)
    message("x is u8 {2,4}: f32 or f64 is needed", tr.zeros({ 2, 4 }, { dtype = "u8" }), one, zero)
    message("gamma is f32, x is f64", tr.zeros({ 2, 4 }, f64), one, zero)
    message("x is {}: {...,C} is needed", tr.tensor(3), one, zero)
    message("eps is %-1: 0 or more is needed", tr.rand(2, 4), one, zero, { eps = -1 })
  end)
end)
