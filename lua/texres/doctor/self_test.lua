--- Two seconds of work: whether the kernels of this processor give what plain loops give, and how fast they are.

local core = require "texres.core"
local F = require "texres.nn.functional"
local protect = require "texres.protect"

local self_test = {}

-- -- correctness ------------------------------------------------------------------------------------------------------

-- Values spread over -1..1, the same in any type, without the generator of random numbers.
local function spread(dtype, ...)
  local sizes, count = { ... }, 1
  for _, size in ipairs(sizes) do count = count * size end
  return ((core.arange(1, count):to "f64" * 0.618034) % 2 - 1):to("f32"):to(dtype):view(sizes)
end

local function conv(sizes, weights, options)
  return function(dtype)
    return function(x, w) return F.conv2d(x, w, options) end, spread(dtype, table.unpack(sizes)),
      spread(dtype, table.unpack(weights))
  end
end

local function of_images(f)
  return function(dtype) return f, spread(dtype, 2, 14, 14, 24) end
end

-- What each algorithm and kernel of a network does: function(dtype) that gives a function and what it takes.
self_test.CASES = {
  { "convolution 3x3", conv({ 2, 17, 19, 32 }, { 3, 3, 32, 48 }, { padding = 1 }) },
  { "convolution 1x1", conv({ 2, 14, 14, 64 }, { 1, 1, 64, 40 }, {}) },
  { "convolution 5x5, stride 2", conv({ 2, 21, 21, 9 }, { 5, 5, 9, 24 }, { stride = 2, padding = 2 }) },
  { "depthwise convolution", conv({ 2, 16, 16, 24 }, { 3, 3, 1, 24 }, { padding = 1, groups = 24 }) },
  { "matrix product", function(dtype) return core.matmul, spread(dtype, 65, 130), spread(dtype, 130, 70) end },
  { "small matrix product", function(dtype) return core.matmul, spread(dtype, 3, 20), spread(dtype, 20, 7) end },
  { "batch norm", of_images(function(x)
    local ones = core.ones({ 24 }, { dtype = x.dtype })
    return F.batch_norm(x, ones, ones * 0.1, { training = true })
  end) },
  { "max pooling", of_images(function(x) return F.max_pool2d(x, 3, { stride = 2, padding = 1 }) end) },
  { "mean pooling", of_images(F.global_avg_pool) },
  { "ReLU", of_images(F.relu) },
  { "SiLU", of_images(F.silu) },
  { "softmax", of_images(F.softmax) },
  { "sum", of_images(function(x) return x:sum(2) end) },
}

-- What a case gives, and the gradients of what it takes, in a list.
local function results(case, dtype)
  local f, x, w = case(dtype)
  local inputs = { x, w }
  for _, t in ipairs(inputs) do t.requires_grad = true end
  local y = f(x, w)
  local gradient = spread(dtype, table.unpack(y:shape()))
  y:backward(gradient * gradient) -- one like x itself would be 0 behind a norm
  local found = { y:detach() }
  for i, t in ipairs(inputs) do found[i + 1] = t.grad end
  return found
end

-- The largest difference of a tensor from what is right, as a share of the largest value there.
local function difference(found, right)
  local wrong = (found:to "f64" - right):abs():max():item()
  return wrong / math.max(right:abs():max():item(), 1e-30)
end

--- How far f32 is off f64, which takes the plain loops: the worst share, and the name of its case. What is no number is
-- off by infinity.
function self_test.errors(cases)
  local worst, name = 0, cases[1][1]
  for _, case in ipairs(cases) do
    local right = results(case[2], "f64")
    for i, found in ipairs(results(case[2], "f32")) do
      local off = difference(found, right[i])
      if off ~= off then off = math.huge end
      if off > worst then worst, name = off, case[1] end
    end
  end
  return worst, name
end

local function with_threads(threads, f, ...)
  local before = core.num_threads()
  return protect.between(function() core.set_num_threads(threads) end,
    function() core.set_num_threads(before) end, f, ...)
end

--- Whether one thread and `threads` of them give the same bits.
function self_test.same_bits(threads)
  for _, case in ipairs(self_test.CASES) do
    local alone = with_threads(1, results, case[2], "f32")
    for i, found in ipairs(with_threads(threads, results, case[2], "f32")) do
      if found:eq(alone[i]):min():item() == 0 then return false end
    end
  end
  return true
end

-- -- speed ------------------------------------------------------------------------------------------------------------

-- The best rate of f(), which does so many operations, that is met in so many seconds.
local function best_rate(seconds, operations, f)
  local best, stop = 0, core.clock() + seconds
  repeat
    local began = core.clock()
    f()
    best = math.max(best, operations / (core.clock() - began))
  until core.clock() > stop
  return best
end

local function peak(seconds)
  local best, stop = 0, core.clock() + seconds
  repeat best = math.max(best, core.fma_peak()) until core.clock() > stop
  return best
end

local function conv_rate(seconds)
  local x, w = spread("f32", 16, 32, 32, 64), spread("f32", 3, 3, 64, 64)
  return best_rate(seconds, 2.0 * 16 * 32 * 32 * 9 * 64 * 64, function() F.conv2d(x, w, { padding = 1 }):free() end)
end

--- Floating-point operations a second: { one = , all = (multiply-adds in registers with one thread and with all,
-- what a product could do at best), convolution = (a 3x3 convolution of 64 channels with all, counted as if done
-- directly: Winograd's method takes fewer, so this may be more than the best) }.
function self_test.speed(threads, seconds)
  return core.no_grad(function()
    return {
      one = with_threads(1, peak, seconds / 4), all = with_threads(threads, peak, seconds / 4),
      convolution = with_threads(threads, conv_rate, seconds / 2),
    }
  end)
end

return self_test
