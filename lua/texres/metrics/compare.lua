--- Two results on the same images: is one better?
--
--     print(texres.compare(first:evaluate(test), second:evaluate(test)))
--
-- McNemar's test (exact) asks whether the images that only one of them got right could be split so by chance; it takes
-- images for independent. The bootstrap draws images, or whole groups where there are groups, and tells limits of the
-- difference of the accuracies. Only where both speak against chance is one called better: of a few images that all
-- point one way the bootstrap is too sure, and of many images of few groups McNemar's test is.

local binomial = require "texres.metrics.binomial"
local bootstrap = require "texres.metrics.bootstrap"
local plain = require "texres.plain"
local raise = require "texres.raise"
local same_classes = require("texres.classes").same
local strict = require "texres.strict"

local Comparison = strict.class("a comparison", {}, {})

local function percent(x) return plain.format("%+.1f", 100 * x) end

function Comparison:__tostring()
  return table.concat({
    plain.format("accuracy %.1f %% and %.1f %%: a difference of %s points (%s to %s)", 100 * self.accuracy[1],
      100 * self.accuracy[2], percent(self.difference), percent(self.low), percent(self.high)),
    ("  of %d images: both right %d, only the first %d, only the second %d, neither %d"):format(self.images, self.both,
      self.only_first, self.only_second, self.neither),
    plain.format("  McNemar's test: p = %.3g", self.p),
    "  " .. self.verdict,
  }, "\n")
end

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
    raise "compare: the two results are of other images: evaluate both on the same set"
  end
end

--- Compares two results of the same images: difference of the accuracies (second less first), low, high (limits at
-- `level`), p (McNemar), both, only_first, only_second, neither (images), verdict (a sentence). Options: level (0.95),
-- samples (1000), seed (1). Sources: Q. McNemar, 1947; paired bootstrap as in Efron and Tibshirani, 1993.
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
  local low, high = bootstrap.percentiles(differences, o.level)
  local c = setmetatable(counts, Comparison)
  c.images, c.accuracy, c.low, c.high, c.units, c.kind = #labels, { a.accuracy, b.accuracy }, low, high, units, kind
  c.difference = (c.only_second - c.only_first) / #labels
  c.p = binomial.fair(c.only_first, c.only_first + c.only_second)
  local of = kind == "groups" and ("%d images of %d groups"):format(#labels, units) or ("%d images"):format(#labels)
  if (low > 0 or high < 0) and c.p < 1 - o.level then
    c.verdict = ("the %s is better: %s show it"):format(low > 0 and "second" or "first", of)
  else
    c.verdict = ("no difference that %s could show"):format(of)
  end
  return c
end
