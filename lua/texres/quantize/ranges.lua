--- What range the values of a network have, found on images: from which number to which a byte has to reach.
--
--     minmax       from the smallest to the largest that was seen
--     percentile   without the share 1 - `percentile` at each end
--     mse          the range, from that of minmax down to a fifth of it, in which the mean squared error of bytes is
--                  least
--
-- The last two look at a sample of each value, spread evenly. What the network is given has its whole range with each
-- method: a defect may be a few bright pixels. All ranges hold 0, so that padding is exact, and reach further than what
-- was seen by the share `margin`: values of new images do, too.

local core = require "texres.core"
local lowered = require "texres.lowered"

local ranges = {}

local SAMPLE = 1 << 15 -- elements that are kept of a value of one batch
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

-- The sum of each channel, for means.
local function add_channels(seen, y)
  local channels = y:size(-1)
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

--- Runs a lowered network on batches and finds the range of each value: { [value] = { low, high, mean = {C} f64 } }.
-- `batches`: a function that gives the next batch, f32, or nil; `o`: method, percentile, margin.
function ranges.find(program, batches, o)
  local seen, batch = {}, 0
  for value = 1, #program.shapes do seen[value] = { samples = {} } end
  for x in batches do
    batch = batch + 1
    local function look(value, y)
      note(seen[value], y, batch, o.method ~= "minmax")
      add_channels(seen[value], y)
    end
    look(1, x)
    lowered.run(program, x, function(step, _, y) look(step.output, y) end)
  end
  local found = {}
  for value, own in ipairs(seen) do
    local low, high = CHOOSE[value == 1 and "minmax" or o.method](own, o)
    found[value] = { low * (1 + o.margin), high * (1 + o.margin), mean = own.sum / own.count }
  end
  return found
end

return ranges
