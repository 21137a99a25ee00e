--- From which heat on a cell is hot, chosen on pictures of good cloth: each defect that is told there is a false alarm.
--
-- A threshold that suits single patches gives a large picture many, as it has thousands of cells; so a scan has one of
-- its own. What lies beside the good cloth at the line, such as a selvage, belongs on these pictures. The budget is
-- kept on them; others have about as many, above as often as below.

local alarm_threshold = require("texres.metrics.masks").alarm_threshold
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"

local Threshold = strict.class("a threshold of scans", {}, {})

--- The threshold, how many false alarms a picture has, and of how many pictures that was measured.
function Threshold:__tostring()
  return plain.format("threshold %.6g\n  false alarms  %.2f a picture, of %d picture%s", self.threshold,
    self.false_alarms, self.images, self.images == 1 and "" or "s")
end

local threshold = {}

--- How many false alarms a picture may have, as an option.
threshold.FALSE_ALARMS = option.number(1, "[0, inf)")

--- The highest heat of all maps.
local function hottest_of(maps)
  local hottest = 0
  for _, map in ipairs(maps) do hottest = math.max(hottest, map:max():item()) end
  return hottest
end

--- The lowest threshold that gives maps of heat of good cloth at most so many false alarms each, in the mean, regions
-- of `least` cells and more: { threshold =, false_alarms =, images = }. Where even the hottest cell is one too many, it
-- lies half-way between that cell and 1; nil and a message where it is 1.
function threshold.choose(maps, false_alarms, least)
  if #maps == 0 then raise "scan_threshold: no picture of good cloth was given" end
  local value, found = alarm_threshold(maps, { false_alarms = false_alarms, least = least })
  if value == math.huge then
    local hottest = hottest_of(maps)
    if hottest >= 1 then
      return nil, "no threshold gives so few false alarms: there are cells with a defect score of 1; what is on the "
        .. "pictures of good cloth is unlike that of the training, or no cloth"
    end
    value = (hottest + 1) / 2
  end
  return setmetatable({ threshold = value, false_alarms = found, images = #maps }, Threshold)
end

return threshold
