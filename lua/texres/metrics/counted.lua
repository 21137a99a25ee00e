--- A share that was counted, such as that of the good pieces that are rejected, and how sure it is.
--
--     local rejected, count = counted.share(hits, groups, 0.95)
--         --> { value = 0.02, low = 0.002, high = 0.07, images = 100, groups = 12 }, 2
--
-- Limits are exact binomial ones (Clopper and Pearson). Where images come in groups (photographs, rolls), they are
-- those of fewer images: of as many independent ones as tell the share with the variance that it has between groups (E.
-- Korn and B. Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
-- from survey data", 1998). Groups that all agree, because there were no hits or nothing else, do not tell that
-- variance: each counts as one image then. One group says nothing about another.

local binomial = require "texres.metrics.binomial"
local bootstrap = require "texres.metrics.bootstrap"

local counted = {}

-- How many independent images those of groups are worth, and how many groups there are.
local function worth(hits, count, groups, level)
  local unit, units = bootstrap.units(#hits, groups)
  if units < 2 or count == 0 or count == #hits then return units < 2 and 0 or units, units end
  local apart, share, squares = {}, count / #hits, 0 -- hits of each group less those that its images should have
  for u = 1, units do apart[u] = 0 end
  for i, hit in ipairs(hits) do apart[unit[i]] = apart[unit[i]] + (hit and 1 or 0) - share end
  for _, difference in ipairs(apart) do squares = squares + difference ^ 2 end
  local effect = units / (units - 1) * squares / (#hits * share * (1 - share))
  local tail = (1 - level) / 2
  local known = binomial.t_quantile(tail, #hits - 1) / binomial.t_quantile(tail, units - 1)
  return #hits / math.max(1, effect) * known ^ 2, units
end

--- The share of true ones in a list of booleans, one for each image, with its limits; and how many they are. `groups`
-- (optional): the group of each image; `level` of the limits: 0.95. NaN, between 0 and 1, of no image.
function counted.share(hits, groups, level)
  local count = 0
  level = level or 0.95
  for _, hit in ipairs(hits) do count = count + (hit and 1 or 0) end
  local found = { value = #hits > 0 and count / #hits or 0 / 0, images = #hits }
  local images = #hits
  if groups then images, found.groups = worth(hits, count, groups, level) end
  found.low, found.high = binomial.interval(images * (count > 0 and found.value or 0), images, level)
  return found, count
end

--- The same of the images of a result that is_wanted(label, i) is true of: hits are those that is_hit(i) is true of.
function counted.of_result(result, is_wanted, is_hit)
  local hits, groups = {}, result.groups and {}
  for i, label in ipairs(result.labels:totable()) do
    if is_wanted(label, i) then
      hits[#hits + 1] = is_hit(i)
      if groups then groups[#hits] = result.groups[i] end
    end
  end
  return counted.share(hits, groups)
end

return counted
