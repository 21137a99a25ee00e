--- To which whole numbers weights are rounded: up or down, whatever changes the sums least.
--
-- A sum is w^T x, its error e^T x with e what rounding changes, and the mean square of that e^T H e, H = mean of x x^T.
-- As neighbouring pixels are alike, errors of one sign add up: rounding each weight to the nearest number is not best.
-- Weights are looked at in turn, and each is rounded anew so that it makes up for the errors of the others.
--
-- Behdin et al., "QuantEase: optimization-based quantization for language models", 2023.

local core = require "texres.core"

local rounding = {}

local LARGEST = 127
local MOST_TAPS = 1152 -- of larger layers the errors are small already, and H takes long
local ROWS = 2048 -- of a batch
local PASSES = 4
local DAMPING = 0.01 -- share of the mean of the diagonal: images of others differ

-- x {N,H,W,C} with zeros around it.
local function padded(x, padding)
  local top, bottom, left, right = table.unpack(padding)
  local n, h, w, c = x:size()
  x = core.cat({ core.zeros(n, top, w, c), x, core.zeros(n, bottom, w, c) }, 2)
  return core.cat({ core.zeros(n, h + top + bottom, left, c), x, core.zeros(n, h + top + bottom, right, c) }, 3)
end

-- What each weight of a convolution {R,S,C,K} is multiplied by for some of the outputs, {rows, R * S * C}.
local function patches_of(step, x)
  x = padded(x, step.padding)
  local n, h, w, c = x:size()
  local r, s = step.weight:size()
  local stride, dilation = step.stride, step.dilation
  local down = (h - dilation[1] * (r - 1) - 1) // stride[1] -- outputs below the first
  local across = (w - dilation[2] * (s - 1) - 1) // stride[2]
  local every, taps = (n * (down + 1) * (across + 1) + ROWS - 1) // ROWS | 1, {}
  for i = 1, r * s do
    local top, left = 1 + dilation[1] * ((i - 1) // s), 1 + dilation[2] * ((i - 1) % s)
    local own = x:slice(2, top, top + down * stride[1], stride[1]):slice(3, left, left + across * stride[2], stride[2])
    taps[i] = own:reshape(-1, c):slice(1, 1, -1, every)
  end
  return core.cat(taps, 2)
end

--- Whether it knows the inputs of a convolution or dense layer, and not too many.
function rounding.is_for(step)
  local w = step.weight
  local is_known = step.op == "linear" or step.op == "conv" and step.groups == 1
  return is_known and w:numel() // w:size(-1) <= MOST_TAPS
end

local function plus(a, b) return a and a + b or b end

--- Adds to `seen`, first an empty table, what is needed of a step's input x, f32.
function rounding.gather(seen, step, x)
  local rows = step.op == "linear" and x or patches_of(step, x)
  seen.products = plus(seen.products, rows:permute(2, 1):contiguous():matmul(rows):to "f64")
  seen.sum = plus(seen.sum, rows:to("f64"):sum(1))
  seen.count = (seen.count or 0) + rows:size(1)
end

--- The same of inputs whose channels have such units {C}; nil: as they are.
function rounding.in_units(seen, unit)
  if not unit then return seen end
  local n = seen.sum:numel()
  local each = (core.ones({ n // unit:numel(), 1 }, { dtype = "f64" }) * unit):reshape(n)
  return { products = seen.products / each / each:reshape(n, 1), sum = seen.sum / each, count = seen.count }
end

local function at(t, i) return t:slice(1, i, i) end

-- The diagonal of H, with the damping, as a list.
local function diagonal_of(h, damping)
  local list, mean = {}, 0
  for i = 1, h:size(1) do
    list[i] = h:select(1, i):select(1, i):item()
    mean = mean + list[i] / h:size(1)
  end
  for i, value in ipairs(list) do list[i] = value + damping * mean end
  return list, damping * mean
end

--- Whole numbers {n,K} for weights w {n,K}, both f64, with a scale {K} for each column.
function rounding.whole(w, scale, seen)
  local h = seen.products / seen.count
  local diagonal, damping = diagonal_of(h, DAMPING)
  local whole = (w / scale):round()
  local lost = whole * scale - w
  for _ = 1, damping > 0 and PASSES or 0 do
    for i, curve in ipairs(diagonal) do
      local own, error = at(whole, i), at(lost, i)
      local slope = at(h, i):matmul(lost) + error * damping
      local new = (own - slope / (scale * curve)):round():clamp { min = -LARGEST, max = LARGEST }
      error:copy_from(error + (new - own) * scale)
      own:copy_from(new)
    end
  end
  return whole
end

--- What a weight of which this is lost takes from each output on average.
function rounding.mean_error(lost, seen)
  local n = seen.sum:numel()
  return (seen.sum / seen.count):reshape(1, n):matmul(lost:reshape(n, -1)):reshape(-1)
end

return rounding
