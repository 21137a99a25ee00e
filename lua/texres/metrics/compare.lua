--- Two results on the same images: is one better?
--
--     print(texres.compare(first:evaluate(test), second:evaluate(test)))
--
-- McNemar's test (exact) asks whether the images that only one of them got right could be split so by chance; it takes
-- images for independent. Where there are groups, the same is asked of them: were the results exchanged in some groups
-- by tossing a coin for each, how often would the difference be as large? (R. Fisher's randomization test, exact; with
-- one image to a group it is McNemar's.) Fewer than six groups can't show anything so. The bootstrap draws images, or
-- whole groups, and tells limits of the difference of the accuracies. Only where all speak against chance is one called
-- better: of a few images that all point one way the bootstrap is too sure, and of many images of few groups McNemar's
-- test is.

local binomial = require "texres.metrics.binomial"
local bootstrap = require "texres.metrics.bootstrap"
local core = require "texres.core"
local plain = require "texres.plain"
local raise = require "texres.raise"
local same_classes = require("texres.classes").same
local strict = require "texres.strict"

local Comparison = strict.class("a comparison", {}, { "p_groups" })

--- How often groups, each of which is better by so many images (a list of integers), add up to so large a difference
-- when a coin says for each which result is the better one.
local function chance_by_group(better)
  local chances, sum = core.ones(1, { dtype = "f64" }), 0 -- of 0, 1, ... images on the side of the second result
  for _, images in ipairs(better) do
    sum = sum + images
    local moved = images ~= 0 and core.zeros(math.abs(images), { dtype = "f64" })
    if moved then chances = (core.cat({ chances, moved }, 1) + core.cat({ moved, chances }, 1)) / 2 end
  end
  local most = chances:numel() - 1
  local differences = (2 * core.arange(0, most, { dtype = "f64" }) - most):abs()
  return math.min(1, (chances * differences:ge(math.abs(sum)):to "f64"):sum():item())
end

function Comparison:__tostring()
  return table.concat({
    ("accuracy %s and %s: a difference of %s points (%s to %s)"):format(plain.percent(self.accuracy[1]),
      plain.percent(self.accuracy[2]), plain.points(self.difference), plain.points(self.low),
      plain.points(self.high)),
    ("  of %d images: both right %d, only the first %d, only the second %d, neither %d"):format(self.images, self.both,
      self.only_first, self.only_second, self.neither),
    plain.format("  McNemar's test: p = %.3g", self.p)
      .. (self.p_groups and plain.format("; by group: p = %.3g", self.p_groups) or ""),
    "  " .. self.verdict,
  }, "\n")
end

-- The source and the position in it of each image of a result.
local function origins(result)
  local sources, positions = {}, {}
  for _, set in ipairs(result.sets) do
    for _, position in ipairs(set.index) do
      sources[#sources + 1], positions[#positions + 1] = set.source, position
    end
  end
  return sources, positions
end

-- An image with mean 0 and deviation 1, so that its range of values does not matter; nil where it has no deviation.
local function standard(set, i)
  local image = set:get(i)
  if not image then return nil end
  image = image:to "f64"
  local centred = image - image:mean():item()
  local deviation = (centred * centred):mean():item() ^ 0.5
  return deviation > 1e-9 and centred / deviation or nil
end

local LOOKS = 16 -- images that are looked at where two results are of sets that were opened apart

-- Whether image i of two sets may be the same. Where they have other sizes or channels, that can't be told.
local function may_be_same(one, other, i)
  local first, second = standard(one, i), standard(other, i)
  if not first or not second then return true end
  if table.concat(first:shape(), " ") ~= table.concat(second:shape(), " ") then return true end
  return (first - second):abs():max():item() < 0.1
end

-- Whether two results with the same labels may be of the same images: those of one source stand there side by side, of
-- others a few are looked at.
local function same_images(a, b)
  if not a.sets or not b.sets then return true end
  local source_a, at_a = origins(a)
  local source_b, at_b = origins(b)
  local apart = {}
  for i, source in ipairs(source_a) do
    if source ~= source_b[i] then
      apart[#apart + 1] = i
    elseif at_a[i] ~= at_b[i] then
      return false
    end
  end
  if #apart == 0 or #a.sets > 1 or #b.sets > 1 then return true end
  for look = 1, math.min(LOOKS, #apart) do
    local i = apart[(look - 1) * #apart // math.min(LOOKS, #apart) + 1]
    if not may_be_same(a.sets[1], b.sets[1], i) then return false end
  end
  return true
end

local OTHERS = "compare: the two results are of other images, or in another order: evaluate both on the same set"

local function check(a, b)
  for _, result in ipairs { a, b } do
    if type(result) ~= "table" or not result.check_scores then
      raise "compare: two results of evaluate() are wanted"
    end
    result:check_scores "compare"
  end
  if not same_classes(a.classes, b.classes) then
    raise "compare: the two results have other classes, or in another order"
  end
  if a.images ~= b.images or table.concat(a.labels:totable(), " ") ~= table.concat(b.labels:totable(), " ") then
    raise(OTHERS)
  end
  if not same_images(a, b) then raise(OTHERS) end
end

--- Compares two results of the same images: difference of the accuracies (second less first), low, high (limits at
-- `level`), p (McNemar), p_groups (the same by group, where there are groups), both, only_first, only_second, neither
-- (images), verdict (a sentence). Options: level (0.95), samples (1000), seed (1). Sources: Q. McNemar, 1947; R.
-- Fisher, "The Design of Experiments", 1935; paired bootstrap as in Efron and Tibshirani, 1993.
return function(a, b, options)
  local o = bootstrap.options("compare", options)
  check(a, b)
  local first, second, labels = a:predictions(), b:predictions(), a.labels:totable()
  local groups = a.groups or b.groups
  bootstrap.check("compare", select(2, bootstrap.units(#labels, groups)))
  local counts, gains = { both = 0, only_first = 0, only_second = 0, neither = 0 }, {}
  for i, label in ipairs(labels) do
    local one, two = first[i] == label, second[i] == label
    local name = one and (two and "both" or "only_first") or two and "only_second" or "neither"
    counts[name] = counts[name] + 1
    gains[i] = (two and 1 or 0) - (one and 1 or 0)
  end
  local differences, units, kind = bootstrap.means(gains, groups, o)
  local low, high = bootstrap.percentiles(differences, bootstrap.tail(o.level, units))
  local c = setmetatable(counts, Comparison)
  c.images, c.accuracy, c.low, c.high, c.units, c.kind = #labels, { a.accuracy, b.accuracy }, low, high, units, kind
  c.difference = (c.only_second - c.only_first) / #labels
  c.p = binomial.fair(c.only_first, c.only_first + c.only_second)
  if kind == "groups" then
    local better, unit = {}, bootstrap.units(#labels, groups)
    for i, gain in ipairs(gains) do better[unit[i]] = (better[unit[i]] or 0) + gain end
    c.p_groups = chance_by_group(better)
  end
  local of = kind == "groups" and ("%d images of %d groups"):format(#labels, units) or ("%d images"):format(#labels)
  local p = math.max(c.p, c.p_groups or 0)
  if (low > 0 or high < 0) and p < 1 - o.level then
    c.verdict = ("the %s is better: %s show it"):format(low > 0 and "second" or "first", of)
  else
    c.verdict = ("no difference that %s could show"):format(of)
  end
  return c
end
