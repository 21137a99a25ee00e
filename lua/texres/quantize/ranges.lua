--- What range the values of a network have, found on images: from which number to which a byte has to reach.
--
--     minmax       from the smallest to the largest that was seen
--     percentile   without the share 1 - `percentile` at each end
--     mse          the range, from that of minmax down to a fifth of it, in which the mean squared error of bytes is
--                  least
--
-- The last two look at a sample of each value, spread evenly. What the network is given has its whole range with each
-- method: a defect may be a few bright pixels; where all images hold pixels of 8 bits, bytes are these pixels. All
-- ranges hold 0, so that padding is exact, and the others reach further than what was seen by the share `margin`:
-- values of new images do, too. What a convolution or dense layer gives as one pixel has five margins.

local core = require "texres.core"
local lowered = require "texres.lowered"
local rounding = require "texres.quantize.rounding"
local weights = require "texres.quantize.weights"

local ranges = {}

local SAMPLE = 1 << 15 -- elements that are kept of a value of one batch
local FEW = 5 -- margins of what a layer gives where there is one pixel: few values were seen
local NEARLY = 0.01 -- of a step: how far f32 may put a pixel off
local CANDIDATES, LEAST = 33, 0.2 -- ranges that mse tries, and the smallest as a share of the whole

-- So many elements of a tensor, spread evenly over pixels and channels.
local function sample_of(y, batch)
  local flat = y:reshape(-1)
  local step = (flat:numel() + SAMPLE - 1) // SAMPLE | 1 -- odd: it meets every channel
  local first = 1 + batch % math.min(step, flat:numel())
  return flat:slice(1, first, -1, step):contiguous()
end

local function note(seen, y, batch, with_samples)
  seen.low = math.min(seen.low or 0, y:min():item())
  seen.high = math.max(seen.high or 0, y:max():item())
  if with_samples then table.insert(seen.samples, sample_of(y, batch)) end
end

-- The sum of each channel, for means, and the largest magnitude.
local function add_channels(seen, y)
  local channels = y:size(-1)
  local reach = y:reshape(-1, channels):abs():max(1):to "f64"
  seen.reach = seen.reach and core.maximum(seen.reach, reach) or reach
  local sum = y:reshape(-1, channels):to("f64"):sum(1)
  seen.sum = seen.sum and seen.sum + sum or sum
  seen.count = (seen.count or 0) + y:numel() // channels
end

--- How bytes stand for such a range: a number that f32 can hold, and the byte of 0.
function ranges.bytes(low, high)
  local scale = string.unpack("<f", string.pack("<f", (high - low) / 255))
  if scale == 0 then return 1.0, 0 end
  return scale, math.max(0, math.min(255, math.floor(-low / scale + 0.5)))
end

-- Whether all of x are pixels 0, 1, ... 255 as the model is given them.
local function are_pixels(x, pixels)
  local number = (x - pixels.black) / pixels.step
  local whole = number:round()
  return (number - whole):abs():max():item() < NEARLY and whole:min():item() >= 0 and whole:max():item() <= 255
end

local CHOOSE = {}

function CHOOSE.minmax(seen) return seen.low, seen.high end

function CHOOSE.percentile(seen, o)
  local sorted = core.cat(seen.samples, 1):sort()
  local n = sorted:numel()
  local function at(share) return sorted:select(1, 1 + math.floor(share * (n - 1) + 0.5)):item() end
  return math.min(0, at(1 - o.percentile)), math.max(0, at(o.percentile))
end

local function squared_error(x, low, high)
  local scale, zero = ranges.bytes(low, high)
  local there = ((x * (1 / scale) + zero):round():clamp { min = 0, max = 255 } - zero) * scale
  return (there - x):pow(2):mean():item()
end

function CHOOSE.mse(seen)
  local x, best, share = core.cat(seen.samples, 1), math.huge, 1
  for i = 0, CANDIDATES - 1 do
    local part = 1 - (1 - LEAST) * i / (CANDIDATES - 1)
    local error = squared_error(x, part * seen.low, part * seen.high)
    if error < best then best, share = error, part end
  end
  return share * seen.low, share * seen.high
end

ranges.METHODS = { "minmax", "percentile", "mse" }

-- The range of the pixels 0 to 255, and how much less bytes in that range are worth than what they stand for: the byte
-- of 0 is a whole number.
local function of_pixels(pixels)
  local low, high = pixels.black, pixels.black + 255 * pixels.step
  local scale, zero = ranges.bytes(low, high)
  return { low, high, less = low + zero * scale }
end

-- How much further the range of a value reaches than what was seen.
local function margin_of(seen, o)
  return seen.is_vector and math.max(o.margin, math.min(1, FEW * o.margin)) or o.margin
end

--- Runs a lowered network on batches and finds the range of each value: { [value] = { low, high, mean = {C} f64 } },
-- and `inputs`, what texres.quantize.rounding has gathered for each step whose weights it rounds. `batches`: a function
-- that gives the next batch, f32, or nil; `o`: method, percentile, margin, rounding; `pixels`: { black =, step = }, if
-- the model is given black + step * pixel for pixels of 8 bits.
function ranges.find(program, batches, o, pixels)
  local seen, inputs, batch = {}, {}, 0
  for value = 1, #program.shapes do seen[value] = { samples = {} } end
  for x in batches do
    batch = batch + 1
    local function look(value, y)
      note(seen[value], y, batch, o.method ~= "minmax")
      add_channels(seen[value], y)
    end
    look(1, x)
    pixels = pixels and are_pixels(x, pixels) and pixels
    lowered.run(program, x, function(step, values, y)
      look(step.output, y)
      seen[step.output].is_vector = step.weight and y:numel() == y:size(1) * y:size(-1)
      if o.rounding == "fitted" and weights.can_be_fitted(step) then
        inputs[step] = inputs[step] or {}
        rounding.gather(inputs[step], step, values[step.input])
      end
    end)
  end
  local found = { inputs = inputs }
  for value, own in ipairs(seen) do
    local low, high = CHOOSE[value == 1 and "minmax" or o.method](own, o)
    local margin = margin_of(own, o)
    found[value] = { low * (1 + margin), high * (1 + margin), mean = own.sum / own.count, reach = own.reach }
  end
  if pixels and pixels.black <= 0 then
    local range = of_pixels(pixels)
    range.mean, found[1] = found[1].mean, range
  end
  return found
end

return ranges
