--- Curves of a score that is to tell images that belong to something from those that do not: ROC, precision and recall.
--
--     local c = curve.roc(scores, belongs)      -- f64 {N}, a list of N booleans
--     c.area                                    -- 0.5: as good as chance
--     c.points[i]                               -- { false_positives =, true_positives =, threshold = }
--     c:interval { level = 0.95 }               -- limits of the area, by the bootstrap over groups or images
--
-- An image is taken for one that belongs where its score is at least the threshold. Points go from the highest
-- threshold to the lowest, one for each score that occurs. Terms as in T. Fawcett, "An introduction to ROC analysis",
-- 2006; the numbers are those of scikit-learn's roc_curve, roc_auc_score, precision_recall_curve and
-- average_precision_score.

local bootstrap = require "texres.metrics.bootstrap"
local core = require "texres.core"
local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"

local curve = {}

local Curve = strict.class("a curve", {}, { "groups" })

function Curve:__tostring() return plain.format("%s of %d points, area %.4f", self.kind, #self.points, self.area) end

--- Calls step(hits, misses, score) after each different score, from the highest on: how many of those at least as high
-- belong, and how many don't. Returns both totals; raises where one is 0.
local function walk(scores, belongs, step, what)
  local sorted, order = scores:sort(1, { descending = true })
  sorted, order = sorted:totable(), order:totable()
  local hits, misses = 0, 0
  for place, i in ipairs(order) do
    if belongs[i] then hits = hits + 1 else misses = misses + 1 end
    if sorted[place + 1] ~= sorted[place] then step(hits, misses, sorted[place]) end
  end
  if hits == 0 or (misses == 0 and what == "roc") then
    raise("%s: all images are on one side: %d belong, %d do not", what, hits, misses)
  end
  return hits, misses
end

--- The ROC of scores, f64 {N}.
function curve.roc(scores, belongs, groups)
  local points = { { false_positives = 0, true_positives = 0, threshold = math.huge } }
  local hits, misses = walk(scores, belongs, function(h, m, score)
    points[#points + 1] = { false_positives = m, true_positives = h, threshold = score }
  end, "roc")
  local area = 0
  for i, point in ipairs(points) do
    point.false_positives, point.true_positives = point.false_positives / misses, point.true_positives / hits
    local last = points[i - 1]
    if last then
      area = area + (point.false_positives - last.false_positives) * (point.true_positives + last.true_positives) / 2
    end
  end
  return setmetatable({
    kind = "ROC", points = points, area = area, scores = scores, belongs = belongs, groups = groups,
  }, Curve)
end

--- Precision and recall of scores, f64 {N}; area is the average precision, the mean of the precisions weighted by the
-- steps of recall.
function curve.precision_recall(scores, belongs)
  local points, area, last = {}, 0, 0
  local hits = walk(scores, belongs, function(h, m, score)
    points[#points + 1] = { recall = h, precision = h / (h + m), threshold = score }
  end, "precision_recall")
  for _, point in ipairs(points) do
    point.recall = point.recall / hits
    area = area + (point.recall - last) * point.precision
    last = point.recall
  end
  return setmetatable({ kind = "precision over recall", points = points, area = area }, Curve)
end

--- Limits of the area of a ROC by the bootstrap: low, high, how many of what were drawn. A draw in which one side is
-- missing has no area and is left out. Options: level (0.95), samples (1000), seed (1).
function Curve:interval(options)
  local o = bootstrap.options("interval", options)
  if self.kind ~= "ROC" then raise("interval: a curve of %s has none", self.kind) end
  local unit, units, kind = bootstrap.units(#self.belongs, self.groups)
  bootstrap.check("interval", units, kind)
  local sorted, order = self.scores:sort(1)
  sorted = sorted:totable()
  local unit_of, hit, first, last = {}, {}, {}, {}
  for place, i in ipairs(order:totable()) do
    unit_of[place], hit[place] = unit[i], self.belongs[i] and 1 or 0
    first[place] = sorted[place] == sorted[place - 1] and first[place - 1] or place
  end
  for place = #sorted, 1, -1 do last[place] = sorted[place] == sorted[place + 1] and last[place + 1] or place end
  local function index(list) return core.tensor(list, { dtype = "i64" }) end
  unit_of, first, last = index(unit_of), index(first), index(last)
  hit = core.tensor(hit, { dtype = "f64" })
  local areas = {}
  for draws in bootstrap.blocks(units, o) do
    -- of each image that belongs: those that don't with a lower score, and half of those with the same
    local weight = draws:index_select(2, unit_of)
    local belongs, others = weight * hit, weight * (1 - hit)
    local upto = others:cumsum(2)
    local below = (upto - others):index_select(2, first) + upto:index_select(2, last)
    local area = (belongs * below):sum(2) * 0.5 / (belongs:sum(2) * others:sum(2))
    for _, value in ipairs(area:totable()) do areas[#areas + 1] = value end
  end
  local low, high = bootstrap.percentiles(areas, bootstrap.tail(o.level, units))
  return low, high, units, kind
end

return curve
