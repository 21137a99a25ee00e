--- From which heat on a cell is hot, chosen on pictures of good cloth: each defect that is told there is a false alarm.
--
-- A threshold that suits single patches gives a large picture many, as it has thousands of cells; so a scan has one of
-- its own. What lies beside the good cloth at the line, such as a selvage, belongs on these pictures. The budget is
-- kept on them; others have about as many, above as often as below. After fit_novelty, the same is chosen for novelty:
-- how far from all that was trained on a cell without a known defect may be.

local alarm_threshold = require("texres.metrics.masks").alarm_threshold
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"

local Threshold = strict.class("a threshold of scans", {}, { "unknown" })

--- The threshold, how many false alarms a picture has, and of how many pictures that was measured.
function Threshold:__tostring()
  return plain.format("threshold %.6g%s\n  false alarms  %.2f a picture, of %d picture%s", self.threshold,
    self.unknown and plain.format("\nunknown %.6g", self.unknown) or "", self.false_alarms, self.images,
    self.images == 1 and "" or "s")
end

local threshold = {}

--- How many false alarms a picture may have, as an option.
threshold.FALSE_ALARMS = option.number(1, "[0, inf)")

--- The highest value of all maps.
local function highest_of(maps)
  local highest = 0
  for _, map in ipairs(maps) do highest = math.max(highest, map:max():item()) end
  return highest
end

local BEYOND = 1.05 -- times the farthest cell of good cloth, where even that is one too many

--- The novelty of the same kind; cells that are hot at `heat` count as near.
local function unknown_from(results, heat, options)
  local maps = {}
  for i, result in ipairs(results) do maps[i] = result.novelty * result.heat:lt(heat):to "f32" end
  local value = alarm_threshold(maps, options)
  return value < math.huge and value or BEYOND * highest_of(maps)
end

--- The lowest threshold that gives scans of good cloth at most so many false alarms each, in the mean, regions of
-- `least` cells and more: { threshold =, unknown = (the same of novelty; nil where none was fitted), false_alarms =,
-- images = }. Where even the hottest cell is one too many, it lies half-way between that cell and 1; nil and a message
-- where it is 1. results: { heat =, novelty = }, as scans give them.
function threshold.choose(results, false_alarms, least)
  if #results == 0 then raise "scan_threshold: no picture of good cloth was given" end
  local maps, options = {}, { false_alarms = false_alarms, least = least }
  for i, result in ipairs(results) do maps[i] = result.heat end
  local value, found = alarm_threshold(maps, options)
  if value == math.huge then
    local hottest = highest_of(maps)
    if hottest >= 1 then
      return nil, "no threshold gives so few false alarms: there are cells with a defect score of 1; what is on the "
        .. "pictures of good cloth is unlike that of the training, or no cloth"
    end
    value = (hottest + 1) / 2
  end
  local unknown = results[1].novelty and unknown_from(results, value, options)
  return setmetatable({ threshold = value, unknown = unknown, false_alarms = found, images = #maps }, Threshold)
end

return threshold
