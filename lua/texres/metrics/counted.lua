--- A share that was counted, such as that of the good pieces that are rejected, and how sure it is.
--
--     local rejected, count = counted.share(hits, groups, 0.95)
--         --> { value = 0.02, low = 0.002, high = 0.07, images = 100, groups = 12 }, 2
--
-- Limits are exact binomial ones (Clopper and Pearson); where images come in groups (photographs, rolls), also those of
-- the bootstrap over groups, whichever reach further.

local binomial = require "texres.metrics.binomial"
local bootstrap = require "texres.metrics.bootstrap"

local counted = {}

-- The limits that the bootstrap over groups gives; nil where there is only one; and how many there are.
local function limits_by_group(hits, groups, level)
  local _, units = bootstrap.units(#hits, groups)
  if units < 2 then return nil, nil, units end
  local numbers = {}
  for i, hit in ipairs(hits) do numbers[i] = hit and 1 or 0 end
  local shares = bootstrap.means(numbers, groups, bootstrap.options "share")
  local low, high = bootstrap.percentiles(shares, level)
  return low, high, units
end

--- The share of true ones in a list of booleans, one for each image, with its limits; and how many they are. `groups`
-- (optional): the group of each image; `level` of the limits: 0.95. NaN, between 0 and 1, of no image.
function counted.share(hits, groups, level)
  local count = 0
  level = level or 0.95
  for _, hit in ipairs(hits) do count = count + (hit and 1 or 0) end
  local found = { value = #hits > 0 and count / #hits or 0 / 0, images = #hits }
  found.low, found.high = binomial.interval(count, #hits, level)
  if groups then
    local low, high
    low, high, found.groups = limits_by_group(hits, groups, level)
    found.low, found.high = math.min(found.low, low or found.low), math.max(found.high, high or found.high)
  end
  return found, count
end

return counted
