--- The operating point: the defect score from which on a piece is rejected, chosen on images that the network was not
-- trained on, and what it costs.
--
--     local point = trainer.validation:operating_point { false_reject = 0.02 }   -- of good pieces, at most
--     local point = trainer.validation:operating_point { escape = 0.01 }         -- of defects, at most
--     local point = trainer.validation:operating_point { cost = { false_reject = 1, escape = 40 }, prevalence = 0.03 }
--     print(point)
--
-- The defect score of an image is 1 - p(good). A point is plain data, which stands in the model's file:
--
--     threshold       an image with at least this score is rejected, where there is no band
--     good            the name of the class that means no defect
--     false_reject    { value =, low =, high = }: share of the good images that are rejected
--     escape          the same: share of the defects that pass
--     images          { good =, defect = }: of how many that was measured
--     groups          of how many groups (photographs, rolls) these are; nil where none are known
--     rule            what was asked for
--     pooled          true where the scores are of several networks, as a cross-validation has them
--     views           over how many views of an image its score is the mean (texres.views); nil: 1. A classifier with
--                     this point takes as many
--     band            { low =, high =, share = }: scores from low to high are for a person to look at; nil: none are
--     warning         a text where the images are too few to promise what was asked for, else nil
--
-- Limits are those of texres.metrics.counted. A budget is kept on the images that the point is chosen on. On others the
-- share lies around it, above as often as below, and where there is no warning hardly above twice as much: in simulated
-- sets 2 % chosen on 500 good images came to more than 2 % of new ones in 56 of 100 cases, to more than 4 % in less
-- than one. Of few groups whose images are alike, a warning may be missing: with 16 groups one unwarned point of seven
-- was above 4 %, with 30 one of twenty. Ask for half of what may be. The point of the least cost seems cheaper than it
-- is: by a quarter on 30 good images and 30 defects, by 16 % on 100 of each, by 6 % on 500 and 200. A point belongs to
-- the scores that it was chosen on: for predict with views, or an ensemble, choose it on what evaluate gives with the
-- same views, and the same members.

local binomial = require "texres.metrics.binomial"
local bootstrap = require "texres.metrics.bootstrap"
local classes = require "texres.classes"
local counted = require "texres.metrics.counted"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"

local operating_point = {}

local SHARE = option.number(nil, "[0, 1]")
local COST = { false_reject = option.number(1, "[0, inf)"), escape = option.number(1, "[0, inf)") }
--- The options, by name.
operating_point.KNOWN = {
  false_reject = SHARE, escape = SHARE, cost = option.table(), -- one of these
  prevalence = option.number(nil, "(0, 1)"), -- share of defects at the line, for cost; by default that of the images
  ask = option.number(nil, "(0, 1)"), -- share of the images that a person may be asked about
  good = option.text(), -- the class that means no defect, by default classes.GOOD
  level = option.number(0.95, "(0, 1)"), -- of the limits
}

-- -- counting at a threshold ------------------------------------------------------------------------------------------

--- Scores from the lowest on, in step with whether the image is a defect and what group it is of.
local function sorted_images(result, good, what)
  local scores, defect = result:against(nil, good, what) -- a class may be named "defect"
  local values, order = scores:sort(1)
  local images = { score = values:totable(), defect = {}, group = result.groups and {}, goods = 0, defects = 0 }
  for place, i in ipairs(order:totable()) do
    images.defect[place] = defect[i]
    if images.group then images.group[place] = result.groups[i] end
    if defect[i] then images.defects = images.defects + 1 else images.goods = images.goods + 1 end
  end
  if images.goods == 0 or images.defects == 0 then
    raise("%s: there are %d good images and %d defects: some of both are needed", what, images.goods, images.defects)
  end
  return images
end

--- Every place at which the images can be cut: from place i on they are rejected. Calls visit(i, good ones rejected,
-- defects that pass).
local function each_cut(images, visit)
  local rejected, passed, n = images.goods, 0, #images.score
  for i = 1, n + 1 do
    if images.score[i] ~= images.score[i - 1] or i == 1 then visit(i, rejected, passed) end
    if i <= n then
      if images.defect[i] then passed = passed + 1 else rejected = rejected - 1 end
    end
  end
end

local ACCEPT_ALL = 2 -- a threshold that no score reaches

--- A threshold between the images on both sides of a cut.
local function threshold_at(images, i)
  local below, above = images.score[i - 1], images.score[i]
  if not below then return 0.5 * above end
  return above and 0.5 * (below + above) or (below < 1 and 0.5 * (below + 1) or ACCEPT_ALL)
end

--- The share of the defects, or else of the good images, that lie on one side of a threshold, with its limits.
local function share_of(images, defects, is_on_side, level)
  local hits, groups = {}, images.group and {}
  for i, score in ipairs(images.score) do
    if images.defect[i] == defects then
      hits[#hits + 1] = is_on_side(score)
      if groups then groups[#hits] = images.group[i] end
    end
  end
  return (counted.share(hits, groups, level))
end

--- What a point does to the images of a result: { false_reject =, escape = } of { value, low, high }, and asked, a
-- share; `level` of the limits: 0.95. Images between the limits of the band are asked about, and neither
-- rejected nor passed.
function operating_point.apply(point, result, level)
  local images = sorted_images(result, point.good, "operating_point")
  local low, high = point.threshold, point.threshold
  if point.band then low, high = point.band.low, point.band.high end
  local asked = 0
  for _, score in ipairs(images.score) do asked = asked + (score >= low and score < high and 1 or 0) end
  return {
    false_reject = share_of(images, false, function(score) return score >= high end, level or 0.95),
    escape = share_of(images, true, function(score) return score < low end, level or 0.95),
    asked = asked / #images.score,
  }
end

-- -- choosing ---------------------------------------------------------------------------------------------------------

--- What a piece costs on average where these shares are rejected and pass.
local function cost_of(o, images, false_reject, escape)
  local prevalence = o.prevalence or images.defects / (images.goods + images.defects)
  return (1 - prevalence) * false_reject * o.cost.false_reject + prevalence * escape * o.cost.escape
end

--- The cut that the rule asks for.
local function choose(images, o)
  local best, least
  each_cut(images, function(i, rejected, passed)
    local false_reject, escape = rejected / images.goods, passed / images.defects
    if o.false_reject then
      if not best and false_reject <= o.false_reject then best = i end
    elseif o.escape then
      if escape <= o.escape then best = i end
    else
      local cost = cost_of(o, images, false_reject, escape)
      if not least or cost < least then best, least = i, cost end
    end
  end)
  return best
end

--- The scores between which a person is asked: those of the images nearest to the cut, half on either side.
local function band_around(images, cut, share)
  local wanted, n = math.floor(share * #images.score), #images.score
  local low, high = math.max(1, cut - wanted // 2), math.min(n + 1, cut + (wanted + 1) // 2)
  while low > 1 and images.score[low] == images.score[low - 1] do low = low + 1 end
  while high <= n and high > 1 and images.score[high] == images.score[high - 1] do high = high - 1 end
  if low >= high then return nil end
  return { low = threshold_at(images, low), high = threshold_at(images, high), share = (high - low) / n }
end

--- The fewest images of which the budget can be promised within twice itself.
local function images_needed(budget, level)
  local n = math.ceil(1 / budget)
  while select(2, binomial.interval(math.floor(budget * n), n, level)) > 2 * budget do n = math.ceil(n * 1.1) end
  return n
end

--- A share in words; a limit that is zero but for rounding as zero.
local function percent(share) return plain.format("%.3g %%", share < 1e-6 and 0 or 100 * share) end

--- What has to be said of a budget that rests on too few images; nil when there are enough.
local function warning_of(name, what, budget, share, level)
  local of = share.groups and ("%d %s images of %d group%s"):format(share.images, what, share.groups,
    share.groups == 1 and "" or "s")
    or ("%d %s images"):format(share.images, what)
  if share.high <= 2 * budget then return nil end
  local wanted = budget > 0 and ("It takes about %d independent ones"):format(images_needed(budget, level))
    or "No number of them can"
  return ("%s cannot promise a %s of %s: up to %s would surprise nobody. %s."):format(of, name, percent(budget),
    percent(share.high), wanted)
end

--- What has to be said of a cost that may be far more: than was counted, and by a tenth of what it costs to accept all
-- or to reject all.
local function warning_of_cost(o, images, found)
  local counted_cost = cost_of(o, images, found.false_reject.value, found.escape.value)
  local most = cost_of(o, images, found.false_reject.high, found.escape.high)
  local blind = math.min(cost_of(o, images, 0, 1), cost_of(o, images, 1, 0))
  if most - counted_cost <= math.max(counted_cost, 0.1 * blind) then return nil end
  return plain.format("%d good images and %d defects%s cannot promise a cost: up to %.3g for each piece would surprise "
    .. "nobody, where %.3g was counted.", images.goods, images.defects,
    found.false_reject.groups and " in their groups" or "", most, counted_cost)
end

--- The defect score from which on images are rejected: those in doubt are not.
function operating_point.rejects_from(point) return point.band and point.band.high or point.threshold end

local meta = {}

--- A point in words.
function meta.__tostring(point)
  local function share(s) return ("%s (%s to %s)"):format(percent(s.value), percent(s.low), percent(s.high)) end
  local lines = {
    plain.format("operating point: reject from a defect score of %.4g on", operating_point.rejects_from(point)),
    "  good pieces rejected  " .. share(point.false_reject),
    "  defects that pass     " .. share(point.escape),
    ("  measured on           %d good images, %d defects"):format(point.images.good, point.images.defect),
  }
  if point.views then lines[#lines + 1] = ("  score                 mean over %d views"):format(point.views) end
  if point.band then
    lines[#lines + 1] = plain.format("  ask a person          from %.4g to %.4g, %s of the images", point.band.low,
      point.band.high, percent(point.band.share))
  end
  for _, rule in ipairs(type(point.rule) == "table" and { "false_reject", "escape" } or {}) do
    local budget = point.rule[rule]
    if budget and not point.warning and point[rule].high > budget then
      lines[#lines + 1] = ("  asked for             at most %s; on other pieces up to %s would surprise nobody"):format(
        percent(budget), percent(point[rule].high))
    end
  end
  if point.pooled then
    lines[#lines + 1] = "  chosen on pooled scores of several networks, each of images that it had not seen:\n"
      .. "  scores of one network may lie elsewhere, choose again on its own validation images"
  end
  if point.warning then lines[#lines + 1] = "  " .. plain.visible(point.warning) end
  return table.concat(lines, "\n")
end

--- A point from a file as one that prints.
function operating_point.of(data) return setmetatable(data, meta) end

--- The same point, marked as one that was chosen elsewhere and given to the weights, which no option takes from them.
function operating_point.given(point)
  local same = { given = true }
  for name, value in pairs(point) do same[name] = value end
  return operating_point.of(same)
end

--- The options of choose, read and checked.
function operating_point.check(options)
  local o = option.read("operating_point", options, operating_point.KNOWN)
  local rules = (o.false_reject and 1 or 0) + (o.escape and 1 or 0) + (o.cost and 1 or 0)
  if rules ~= 1 then
    raise "operating_point: say one of false_reject = SHARE, escape = SHARE, cost = { false_reject =, escape = }"
  end
  if o.cost then
    o.cost = option.read("operating_point: cost", o.cost, COST)
    if o.cost.false_reject == 0 and o.cost.escape == 0 then
      raise "operating_point: cost: both mistakes cost nothing: say what one costs in terms of the other"
    end
  elseif o.prevalence then
    raise "operating_point: prevalence weighs cost = {...}; a budget is a share of the good pieces or of the defects"
  end
  return o
end

--- Raises where a set that is to choose a point has no good images, or no defects. `options`: checked ones; `what`:
-- who asks, and of which images.
function operating_point.check_set(set, options, what)
  local good, goods, defects = options.good or classes.GOOD, 0, 0
  local number = classes.find(set.classes, good)
  for _, label in ipairs(set.label) do
    if label == number then goods = goods + 1 else defects = defects + 1 end
  end
  if goods == 0 or defects == 0 then
    raise("%s %d are of the class '%s' and %d of others: some of both are needed (good = NAME says which class means "
      .. "no defect)", what, goods, good, defects)
  end
end

--- What was measured of the same images by several networks: the mean of each, limits too, as they are no more images.
local function mean_of(shares)
  local mean = { value = 0, low = 0, high = 0, images = shares[1].images, groups = shares[1].groups }
  for _, share in ipairs(shares) do
    for _, name in ipairs { "value", "low", "high" } do mean[name] = mean[name] + share[name] / #shares end
  end
  return mean
end

--- Chooses a point on a result. `results` (optional): those of several networks on the same images, of which it is the
-- joined one; what the point costs is then the mean over them.
function operating_point.choose(result, options, results)
  local o = operating_point.check(options)
  local good = result.classes[result:good_class(o.good, "operating_point")]
  local images = sorted_images(result, good, "operating_point")
  local cut = choose(images, o)
  local point = {
    threshold = threshold_at(images, cut), good = good, band = o.ask and band_around(images, cut, o.ask),
    rule = { false_reject = o.false_reject, escape = o.escape, cost = o.cost, prevalence = o.prevalence, ask = o.ask },
    pooled = results and true or nil, views = result.views and result.views > 1 and result.views or nil,
  }
  local rejects, escapes = {}, {}
  for i, one in ipairs(results or { result }) do
    local found = operating_point.apply(point, one, o.level)
    rejects[i], escapes[i] = found.false_reject, found.escape
  end
  point.false_reject, point.escape = mean_of(rejects), mean_of(escapes)
  point.images = { good = point.false_reject.images, defect = point.escape.images }
  local first = results and results[1] or result
  point.groups = first.groups and select(2, bootstrap.units(first.images, first.groups))
  if o.false_reject then
    point.warning = warning_of("false reject rate", "good", o.false_reject, point.false_reject, o.level)
  elseif o.escape then
    point.warning = warning_of("rate of escapes", "defect", o.escape, point.escape, o.level)
  else
    point.warning = warning_of_cost(o, { goods = point.images.good, defects = point.images.defect }, point)
  end
  if o.ask and not point.band then
    local missing = plain.format("There is no score between which a person would be asked about %s of %d images: that "
      .. "is less than one, or the scores at the threshold are equal.", percent(o.ask), #images.score)
    point.warning = point.warning and point.warning .. " " .. missing or missing
  end
  return operating_point.of(point)
end

-- -- using ------------------------------------------------------------------------------------------------------------

--- "accept", "reject" or "ask" for a defect score; one that is NaN is never accepted.
function operating_point.verdict(point, score)
  local band = point.band
  if band and not (score < band.low or score >= band.high) then return "ask" end
  return score < (band and band.low or point.threshold) and "accept" or "reject"
end

local function is_share(value) return type(value) == "number" and value >= 0 and value <= ACCEPT_ALL end

local function is_band(value)
  return type(value) == "table" and is_share(value.low) and is_share(value.high) and is_share(value.share)
    and value.low < value.high
end

local function is_count(value) return math.type(value) == "integer" and value >= 0 end

--- Whether a value is a point for a model of classes of these `names`; of nil for any.
function operating_point.fits(value, names)
  if type(value) ~= "table" or not is_share(value.threshold) then return false end
  if value.band ~= nil and value.band ~= false and not is_band(value.band) then return false end
  if value.views ~= nil and value.views ~= 4 and value.views ~= 8 then return false end
  for _, name in ipairs { "false_reject", "escape" } do
    local share = value[name]
    if type(share) ~= "table" or not (is_share(share.value) and is_share(share.low) and is_share(share.high)) then
      return false
    end
  end
  if type(value.images) ~= "table" or not is_count(value.images.good) or not is_count(value.images.defect)
    or (value.warning ~= nil and type(value.warning) ~= "string") then
    return false
  end
  return type(value.good) == "string" and (not names or classes.find(names, value.good) ~= nil)
end

return operating_point
