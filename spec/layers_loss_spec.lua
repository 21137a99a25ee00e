--- Losses: csrc/autograd/{cross_entropy,nll_loss,focal_loss,mse_loss,smooth_l1_loss,l1_loss,bce_with_logits,
-- dice_loss}.c
local tr = require "texres"
local naive = require "spec.naive"
local F = tr.nn.functional

local f64, i64 = { dtype = "f64" }, { dtype = "i64" }

-- log softmax of row i of a naive {rows,c}.
local function log_softmax(x, i)
  local c, top, sum, result = x.shape[2], -math.huge, 0, {}
  for j = 1, c do top = math.max(top, naive.get(x, { i, j })) end
  for j = 1, c do sum = sum + math.exp(naive.get(x, { i, j }) - top) end
  for j = 1, c do result[j] = naive.get(x, { i, j }) - top - math.log(sum) end
  return result
end

-- The formulas of csrc/autograd/class_loss.h, row by row; o: weight, smoothing, gamma, normalized, reduction, ignore.
local function class_loss(x, labels, o)
  local losses, divisor, total, c = { shape = { #labels } }, 0, 0, x.shape[2]
  for i, label in ipairs(labels) do
    local lp = log_softmax(x, i)
    if o.normalized then
      for j = 1, c do lp[j] = naive.get(x, { i, j }) end
    end
    local function w(j) return o.weight and o.weight[j] or 1 end
    local s = o.smoothing or 0
    local loss = -(1 - s) * w(label) * lp[label]
    for j = 1, c do loss = loss - s / c * w(j) * lp[j] end
    if o.gamma then loss = loss * (1 - math.exp(lp[label])) ^ o.gamma end
    if label == o.ignore then loss = 0 else divisor = divisor + (o.gamma and 1 or w(label)) end
    losses[i], total = loss, total + loss
  end
  if o.reduction == "none" then return losses end
  return { shape = {}, o.reduction == "sum" and total or total / divisor }
end

local labels_of = { 2, 1, 5, 3, 3, 4, 5, 1, 1 }

local function scores_and_labels(c, seed)
  local labels = {}
  for i, label in ipairs(labels_of) do labels[i] = (label - 1) % c + 1 end
  return naive.random({ #labels, c }, seed, -4, 4), labels
end

local function each_option(f)
  for _, reduction in ipairs { "mean", "sum", "none" } do
    for _, weighted in ipairs { false, true } do
      for _, ignore in ipairs { false, 3 } do f(reduction, weighted, ignore or nil) end
    end
  end
end

describe("cross_entropy", function()
  it("follows its formula under every option, for any number of classes", function()
    for _, c in ipairs { 1, 3, 7, 15, 16, 17, 33, 64, 100 } do
      local x, labels = scores_and_labels(c, c)
      local weight = naive.random({ c }, 3, 0.2, 2)
      each_option(function(reduction, weighted, ignore)
        for _, smoothing in ipairs { 0, 0.3 } do
          local expected = class_loss(x, labels,
            { weight = weighted and weight, smoothing = smoothing, reduction = reduction, ignore = ignore })
          for dtype, tolerance in pairs { f64 = 1e-12, f32 = 5e-6 } do
            local y = F.cross_entropy(naive.tensor(x, dtype), tr.tensor(labels, i64), {
              weight = weighted and naive.tensor(weight, dtype) or nil, label_smoothing = smoothing,
              reduction = reduction, ignore_index = ignore,
            })
            assert.equal(dtype, y.dtype)
            naive.check(y, expected, tolerance, ("%d classes %s"):format(c, reduction))
          end
        end
      end)
    end
  end)

  it("has the gradient that differences show under every option", function()
    local x, labels = scores_and_labels(5, 1)
    local weight = tr.rand({ 5 }, f64) + 0.2
    each_option(function(reduction, weighted, ignore)
      for _, smoothing in ipairs { 0, 0.3 } do
        local options = { weight = weighted and weight or nil, label_smoothing = smoothing, reduction = reduction,
          ignore_index = ignore }
        local ok, report = tr.gradcheck(function(t)
          return F.cross_entropy(t, tr.tensor(labels, i64), options)
        end, { naive.tensor(x) })
        assert.is_true(ok, report)
      end
    end)
  end)

  it("has in f32 the gradient of f64", function()
    for _, c in ipairs { 1, 6, 15, 16, 17, 100 } do
      local x, labels = scores_and_labels(c, c)
      local grad = {}
      for _, dtype in ipairs { "f64", "f32" } do
        local t = naive.tensor(x, dtype)
        t.requires_grad = true
        F.cross_entropy(t, tr.tensor(labels, i64), { label_smoothing = 0.1 }):backward()
        grad[dtype] = t.grad
      end
      naive.check(grad.f32, naive.of(grad.f64), 1e-6)
    end
  end)

  it("takes one label per pixel", function()
    local x = tr.randn({ 2, 3, 4, 5 }, f64)
    local labels = tr.tensor({ 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5 }, i64)
    local flat = F.cross_entropy(x:reshape(24, 5), labels)
    assert.is_true(tr.allclose(F.cross_entropy(x, labels:reshape(2, 3, 4)), flat, 1e-14))
    assert.same({ 2, 3, 4 }, F.cross_entropy(x, labels:reshape(2, 3, 4), { reduction = "none" }):shape())
    assert.is_true(tr.allclose(F.cross_entropy(naive.strided(x), labels:reshape(2, 3, 4)), flat, 1e-14))
  end)

  it("stays finite for large scores", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local x = tr.tensor({ { 1e4, -1e4, 0 }, { -3e38, 3e38, 0 }, { 1e30, 1e30, 1e30 } }, { dtype = dtype })
      x.requires_grad = true
      local y = F.cross_entropy(x, tr.tensor({ 1, 2, 3 }, i64))
      assert.is_true(math.abs(y:item() - math.log(3) / 3) < 1e-6, y:item())
      y:backward()
      for _, row in ipairs(x.grad:totable()) do
        for _, v in ipairs(row) do assert.is_true(v == v and math.abs(v) <= 1) end
      end
    end
  end)

  it("gives the same bits on any number of threads", function()
    local threads, first = tr.num_threads(), nil
    for _, n in ipairs { 1, 2, 8 } do
      tr.set_num_threads(n)
      tr.manual_seed(1)
      local x = tr.randn(20000, 6)
      x.requires_grad = true
      local y = F.cross_entropy(x, x:detach():argmax(2))
      y:backward()
      first = first or { y, x.grad }
      assert.is_true(tr.allclose(y, first[1], 0) and tr.allclose(x.grad, first[2], 0))
    end
    tr.set_num_threads(threads)
  end)

  it("sums nothing to 0 and has no mean of nothing", function()
    local x, labels = tr.zeros(0, 6), tr.zeros({ 0 }, i64)
    x.requires_grad = true
    local mean = F.cross_entropy(x, labels):item()
    assert.is_true(mean ~= mean)
    local y = F.cross_entropy(x, labels, { reduction = "sum" })
    assert.equal(0, y:item())
    y:backward()
    assert.same({ 0, 6 }, x.grad:shape())
    assert.same({ 0 }, F.cross_entropy(x, labels, { reduction = "none" }):shape())
  end)

  it("says what does not fit", function()
    local x = tr.zeros(4, 6)
    local function message(...)
      local ok, text = pcall(F.cross_entropy, ...)
      assert.is_false(ok)
      return text
    end
    assert.matches("cross_entropy: label 0 at position 3: classes are 1..6", message(x, tr.tensor({ 1, 2, 0, 6 }, i64)))
    assert.matches("cross_entropy: label 7 at position 4: classes are 1..6", message(x, tr.tensor({ 1, 2, 3, 7 }, i64)))
    assert.matches("cross_entropy: label %-9223372036854775808 at position 1",
      message(x, tr.tensor({ math.mininteger, 2, 3, 6 }, i64)))
    assert.matches("cross_entropy: label %-1 at", message(x, tr.tensor({ 1, -1, 3, 6 }, i64), { ignore_index = -2 }))
    assert.matches("cross_entropy: labels are {3}, scores {4,6}", message(x, tr.tensor({ 1, 2, 3 }, i64)))
    assert.matches("cross_entropy: labels are f32: class numbers must be i64", message(x, tr.ones(4)))
    assert.matches("cross_entropy: logits is i64", message(tr.zeros({ 4, 6 }, i64), tr.ones({ 4 }, i64)))
    assert.matches("cross_entropy: weight is {5}, but there are 6 classes",
      message(x, tr.ones({ 4 }, i64), { weight = tr.ones(5) }))
    for shown, weight in pairs { ["%-1"] = -1, nan = 0 / 0, inf = math.huge } do
      local weights = tr.ones(x:size(-1))
      weights[2] = weight
      assert.matches("cross_entropy: the weight of class 2 is " .. shown .. ": finite numbers of at least 0",
        message(x, tr.ones({ 4 }, i64), { weight = weights }))
    end
    for _, name in ipairs { "cross_entropy", "focal_loss" } do
      local option = name == "focal_loss" and "alpha" or "weight"
      local ok, problem = pcall(F[name], x, tr.ones({ 4 }, i64), { [option] = tr.zeros(x:size(-1)) })
      assert.is_false(ok)
      assert.matches(name .. ": the weights of all classes are 0: one has to count", problem, 1, true)
    end
    assert.matches("cross_entropy: label_smoothing is 2", message(x, tr.ones({ 4 }, i64), { label_smoothing = 2 }))
    assert.matches("cross_entropy: scores are {4,0}", message(tr.zeros(4, 0), tr.ones({ 4 }, i64)))
    assert.matches("cross_entropy: reduction", message(x, tr.ones({ 4 }, i64), { reduction = "median" }))
  end)
end)

describe("nll_loss", function()
  it("follows its formula and has the gradient that differences show", function()
    local x, labels = scores_and_labels(5, 1)
    local weight = naive.random({ 5 }, 3, 0.2, 2)
    each_option(function(reduction, weighted, ignore)
      local expected = class_loss(x, labels,
        { normalized = true, weight = weighted and weight, reduction = reduction, ignore = ignore })
      for dtype, tolerance in pairs { f64 = 1e-12, f32 = 2e-6 } do
        local options = { weight = weighted and naive.tensor(weight, dtype) or nil, reduction = reduction,
          ignore_index = ignore }
        local function f(t) return F.nll_loss(t, tr.tensor(labels, i64), options) end
        naive.check(f(naive.tensor(x, dtype)), expected, tolerance)
        if dtype == "f64" then
          local ok, report = tr.gradcheck(f, { naive.tensor(x) })
          assert.is_true(ok, report)
        end
      end
    end)
  end)

  it("is cross_entropy after log_softmax", function()
    local x, labels = tr.randn({ 8, 6 }, f64), tr.tensor({ 1, 2, 3, 4, 5, 6, 1, 1 }, i64)
    assert.is_true(tr.allclose(F.nll_loss(F.log_softmax(x), labels), F.cross_entropy(x, labels), 1e-13))
    assert.error_matches(function() F.nll_loss(x, labels * 2) end, "nll_loss: label 8 at position 4: classes are 1..6")
  end)
end)

describe("focal_loss", function()
  it("follows its formula and has the gradient that differences show", function()
    local x, labels = scores_and_labels(5, 1)
    local alpha = naive.random({ 5 }, 3, 0.2, 2)
    each_option(function(reduction, weighted, ignore)
      for _, gamma in ipairs { 0, 0.5, 1, 2 } do
        local expected = class_loss(x, labels,
          { gamma = gamma, weight = weighted and alpha, reduction = reduction, ignore = ignore })
        for dtype, tolerance in pairs { f64 = 1e-12, f32 = 5e-6 } do
          local options = { gamma = gamma, alpha = weighted and naive.tensor(alpha, dtype) or nil,
            reduction = reduction, ignore_index = ignore }
          local function f(t) return F.focal_loss(t, tr.tensor(labels, i64), options) end
          naive.check(f(naive.tensor(x, dtype)), expected, tolerance)
          if dtype == "f64" then
            local ok, report = tr.gradcheck(f, { naive.tensor(x) })
            assert.is_true(ok, report)
          end
        end
      end
    end)
  end)

  it("is finite for sure answers, and refuses a negative gamma", function()
    local x = tr.tensor({ { 200, -200 }, { -200, 200 } })
    x.requires_grad = true
    local y = F.focal_loss(x, tr.tensor({ 1, 1 }, i64), { gamma = 0.5 })
    assert.is_true(math.abs(y:item() - 200) < 1e-3)
    y:backward()
    for _, v in ipairs(x.grad:reshape(-1):totable()) do assert.is_true(v == v and math.abs(v) < 1) end
    local labels = tr.tensor({ 1, 3 }, i64)
    assert.error_matches(function() F.focal_loss(x, labels, { gamma = -1 }) end, "focal_loss: gamma is %-1")
    assert.error_matches(function() F.focal_loss(x, labels, { gamma = math.huge }) end, "focal_loss: gamma is inf")
    assert.error_matches(function() F.focal_loss(x, labels) end, "focal_loss: label 3 at position 2")
  end)
end)

describe("mse_loss", function()
  it("follows its formula and has the gradients that differences show", function()
    for _, n in ipairs { 1, 3, 16, 17, 100 } do
      local x, target = naive.random({ 2, n }, 1), naive.random({ 2, n }, 2)
      local squares, sum = naive.map(function(a, b) return (a - b) ^ 2 end, x, target), 0
      for i = 1, 2 * n do sum = sum + squares[i] end
      local expected = { none = squares, sum = { shape = {}, sum }, mean = { shape = {}, sum / (2 * n) } }
      for reduction, value in pairs(expected) do
        local function f(a, b) return F.mse_loss(a, b, { reduction = reduction }) end
        naive.check(f(naive.tensor(x), naive.tensor(target)), value, 1e-12, reduction)
        naive.check(f(naive.tensor(x, "f32"), naive.strided(naive.tensor(target, "f32"))), value, 1e-6, reduction)
        local ok, report = tr.gradcheck(f, { naive.tensor(x), naive.tensor(target) })
        assert.is_true(ok, report)
      end
    end
  end)

  it("says what does not fit", function()
    assert.error_matches(function() F.mse_loss(tr.zeros(2, 3), tr.zeros(3)) end, "mse_loss: x is {2,3}, target {3}")
    assert.error_matches(function() F.mse_loss(tr.zeros(3), tr.zeros({ 3 }, f64)) end, "target is f64, x is f32")
    assert.error_matches(function() F.mse_loss(tr.zeros({ 3 }, i64), tr.zeros(3)) end, "mse_loss: x is i64 {3}")
    assert.equal(0, F.mse_loss(tr.zeros(0), tr.zeros(0), { reduction = "sum" }):item())
  end)
end)

describe("smooth_l1_loss", function()
  it("follows its formula and has the gradients that differences show", function()
    for _, beta in ipairs { 0.25, 1, 3 } do
      local function one(a, b)
        local d = math.abs(a - b)
        return d < beta and d * d / (2 * beta) or d - beta / 2
      end
      for _, n in ipairs { 1, 3, 16, 17, 100 } do
        local x, target = naive.random({ 2, n }, 1, -2, 2), naive.random({ 2, n }, 2, -2, 2)
        local values, sum = naive.map(one, x, target), 0
        for i = 1, 2 * n do sum = sum + values[i] end
        local expected = { none = values, sum = { shape = {}, sum }, mean = { shape = {}, sum / (2 * n) } }
        for reduction, value in pairs(expected) do
          local function f(a, b) return F.smooth_l1_loss(a, b, { beta = beta, reduction = reduction }) end
          local gradient = {}
          for dtype, tolerance in pairs { f64 = 1e-12, f32 = 1e-6 } do
            local a, b = naive.tensor(x, dtype), naive.tensor(target, dtype)
            a.requires_grad, b.requires_grad = true, true
            local y = f(a, b)
            naive.check(y, value, tolerance, reduction)
            y:sum():backward()
            gradient[dtype] = a.grad
            assert.is_true(tr.allclose(b.grad, -a.grad, 0, 0))
          end
          naive.check(gradient.f32, naive.of(gradient.f64), 1e-6)
          local ok, report = tr.gradcheck(f, { naive.tensor(x), naive.tensor(target) })
          assert.is_true(ok, report)
        end
      end
    end
  end)

  it("is the absolute difference where beta is 0 or f32 rounds it to 0, and keeps a NaN", function()
    for dtype, beta in pairs { f64 = 0, f32 = 1e-60 } do
      local x = tr.tensor({ 2, 0, -3, 0 / 0 }, { dtype = dtype })
      x.requires_grad = true
      local y = F.smooth_l1_loss(x, tr.zeros({ 4 }, { dtype = dtype }), { beta = beta, reduction = "none" })
      y:sum():backward()
      local values, gradient = y:totable(), x.grad:totable()
      assert.is_true(values[4] ~= values[4] and gradient[4] ~= gradient[4])
      values[4], gradient[4] = nil, nil
      assert.same({ 2, 0, 3 }, values)
      assert.same({ 1, 0, -1 }, gradient)
    end
  end)

  it("says what does not fit", function()
    local function message(pattern, ...)
      local arguments = table.pack(...)
      assert.error_matches(function() F.smooth_l1_loss(table.unpack(arguments)) end, pattern)
    end
    message("smooth_l1_loss: x is {2,3}, target {3}: the same shape", tr.zeros(2, 3), tr.zeros(3))
    message("smooth_l1_loss: target is f64, x is f32", tr.zeros(3), tr.zeros({ 3 }, f64))
    message("smooth_l1_loss: x is i64 {3}", tr.zeros({ 3 }, i64), tr.zeros(3))
    for _, beta in ipairs { -1, math.huge, 1e39 } do
      message("smooth_l1_loss: beta is .*: a finite number of 0 or more", tr.zeros(3), tr.zeros(3), { beta = beta })
    end
    message("smooth_l1_loss: beta is NaN", tr.zeros(3), tr.zeros(3), { beta = 0 / 0 })
    assert.equal(0, F.smooth_l1_loss(tr.zeros(0), tr.zeros(0), { reduction = "sum" }):item())
  end)
end)

--- Checks values by a formula for an element or a list of rows, and gradients by differences, for each reduction.
local function check_loss(f, x, target, values, options)
  local sum = 0
  for i = 1, #values do sum = sum + values[i] end
  local expected = { none = values, sum = { shape = {}, sum }, mean = { shape = {}, sum / #values } }
  for reduction, value in pairs(expected) do
    local given = { reduction = reduction }
    for name, option in pairs(options or {}) do given[name] = option end
    local function loss(a, b) return f(a, b, given) end
    naive.check(loss(naive.tensor(x, "f32"), naive.tensor(target, "f32")), value, 1e-5, reduction)
    naive.check(loss(naive.tensor(x), naive.tensor(target)), value, 1e-12, reduction)
    local ok, report = tr.gradcheck(loss, { naive.tensor(x), naive.tensor(target) })
    assert.is_true(ok, report)
  end
end

describe("l1_loss", function()
  it("follows its formula and has the gradients that differences show", function()
    for _, n in ipairs { 1, 3, 17 } do
      local x, target = naive.random({ 2, n }, 1, -2, 2), naive.random({ 2, n }, 2, -2, 2)
      check_loss(F.l1_loss, x, target, naive.map(function(a, b) return math.abs(a - b) end, x, target))
    end
  end)
end)

describe("bce_with_logits", function()
  it("follows its formula and has the gradients that differences show", function()
    for _, weight in ipairs { 1, 0.25, 3 } do
      local x, target = naive.random({ 2, 17 }, 1, -4, 4), naive.random({ 2, 17 }, 2, 0, 1)
      local values = naive.map(function(a, t)
        local p = 1 / (1 + math.exp(-a))
        return -(weight * t * math.log(p) + (1 - t) * math.log(1 - p))
      end, x, target)
      check_loss(F.bce_with_logits, x, target, values, { pos_weight = weight })
    end
  end)

  it("neither overflows nor loses what is small", function()
    local x = tr.tensor({ 1000, -1000, 30, -30 }, { dtype = "f64" })
    local y = F.bce_with_logits(x, tr.tensor({ 0, 1, 1, 0 }, { dtype = "f64" }), { reduction = "none" }):totable()
    assert.same({ 1000, 1000 }, { y[1], y[2] })
    assert.near(math.exp(-30), y[3], 1e-15)
    for target, sign in pairs { [0] = -1, [1] = 1 } do -- in f32, too, on either side
      local logits = tr.tensor({ 20 * sign, 40 * sign }, { requires_grad = true })
      local small = F.bce_with_logits(logits, tr.zeros(2) + target, { reduction = "none" })
      small:sum():backward()
      for i, logit in ipairs { 20, 40 } do
        assert.near(1, small[i]:item() / math.exp(-logit), 1e-5)
        assert.near(-sign, logits.grad[i]:item() / math.exp(-logit), 1e-5)
      end
      local wrong = tr.tensor({ -sign * math.huge }, { requires_grad = true })
      assert.is_true(F.bce_with_logits(wrong, tr.tensor { 0.5 }):item() == math.huge)
    end
    assert.error_matches(function() F.bce_with_logits(x, x, { pos_weight = -1 }) end, "pos_weight is %-1: a finite")
  end)
end)

describe("dice_loss", function()
  it("follows its formula and has the gradients that differences show", function()
    for _, smooth in ipairs { 1, 0.1 } do
      local x, target = naive.random({ 3, 2, 5 }, 1, 0, 1), naive.random({ 3, 2, 5 }, 2, 0, 1)
      local values = { shape = { 3 } }
      for image = 1, 3 do
        local both, all = 0, 0
        for i = 10 * image - 9, 10 * image do both, all = both + x[i] * target[i], all + x[i] + target[i] end
        values[image] = 1 - (2 * both + smooth) / (all + smooth)
      end
      check_loss(F.dice_loss, x, target, values, { smooth = smooth })
    end
  end)

  it("is 0 for what is hit exactly, and says what does not fit", function()
    local mask = tr.tensor { { 1, 0, 1 }, { 0, 0, 0 } }
    assert.equal(0, F.dice_loss(mask, mask):item())
    for smooth, dtype in pairs { [0] = "f64", [1e-60] = "f32" } do -- which is 0 there
      local x = tr.tensor({ { 0, 0 }, { 0, 0.5 }, { 0, 0 } }, { dtype = dtype, requires_grad = true })
      local target = tr.tensor({ { 0, 0 }, { 0, 0 }, { 1, 0 } }, { dtype = dtype })
      local y = F.dice_loss(x, target, { smooth = smooth, reduction = "none" })
      y:sum():backward()
      assert.same({ 0, 1, 1 }, y:totable())
      assert.same({ { 0, 0 }, { 0, 0 }, { -2, 0 } }, x.grad:totable())
    end
    assert.error_matches(function() F.dice_loss(tr.ones(3), tr.ones(3)) end, "x is {3}: {N,...} is needed")
    assert.error_matches(function() F.dice_loss(mask, mask, { smooth = -1 }) end, "smooth is %-1: a finite")
  end)
end)
