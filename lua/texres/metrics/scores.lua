--- Figures of a result that take the scores of each image: losses of probabilities, calibration, curves, thresholds.
-- They are methods of what evaluate() returns (texres.metrics):
--
--     result:top_k(2)                             share of the images whose class is among the 2 likeliest
--     result:log_loss(), result:brier()           proper scores of the probabilities
--     result:calibration { bins = 15 }            { error =, bins = { { low, high, images, confidence, accuracy } } }
--     result:temperature()                        what logits are to be divided by to be calibrated
--     result:logits(), result:temper(1.3)         these logits; probabilities of the logits divided by a number
--     result:roc "hole", result:roc "defect"      curves with areas, see texres.metrics.curve
--     result:precision_recall "hole"
--     result:operating_point { false_reject = 0.02 }
--
-- "defect" stands for all classes but the good one; its score is 1 - p(good). Where a class is named so, "defect" is
-- that class, and nil (no class) stands for all but the good one.

local classes = require "texres.classes"
local cover = require "texres.metrics.cover"
local operating_point = require "texres.metrics.operating_point"
local option = require "texres.options"
local raise = require "texres.raise"

local scores = {}

--- Raises where a result does not know what each image was given.
function scores:check_scores(what)
  if not self.scores then
    raise("%s: the result does not know what each image was given: take one of evaluate()", what)
  end
end

--- How many images have no prediction: their probabilities are not numbers.
function scores:unpredicted()
  local sum = 0
  for _, count in ipairs(self.invalid) do sum = sum + count end
  return sum
end

local function check_finite(self, what)
  self:check_scores(what)
  if self:unpredicted() > 0 then
    raise("%s: some images have no prediction: their probabilities are not numbers (result.invalid)", what)
  end
end

--- The predicted class of each image, a list; false where its probabilities are not numbers.
function scores:predictions()
  self:check_scores "predictions"
  local list, sums = self.scores:argmax(2):totable(), self.scores:sum(2):totable()
  for i, sum in ipairs(sums) do
    if sum ~= sum then list[i] = false end
  end
  return list
end

-- The probability that each image was given of its own class, f64 {N}.
local function of_truth(self)
  return self.scores:to("f64"):gather(2, self.labels:unsqueeze(2)):squeeze(2)
end

local LEAST = 0x1p-23 -- the least probability that counts, f32's epsilon, as in scikit-learn

-- -log p(truth) of each image, f64 {N}.
local function losses(self)
  check_finite(self, "log_loss")
  return -of_truth(self):clamp(LEAST, 1 - LEAST):log()
end

-- The sum over the classes of (p - truth)^2 of each image, f64 {N}.
local function squares(self)
  check_finite(self, "brier")
  local truth = self.labels:one_hot(#self.classes):to "f64"
  return ((self.scores:to "f64" - truth) ^ 2):sum(2)
end

--- The mean of -log p(truth), over the images; a probability below 1.2e-7 counts as that, as in scikit-learn.
function scores:log_loss() return losses(self):mean():item() end

--- The mean over the images of the sum over the classes of (p - truth)^2, 0 to 2. G. Brier, 1950.
function scores:brier() return squares(self):mean():item() end

--- -log p(truth) of each image, a list in the order of the set.
function scores:losses_of_images() return losses(self):totable() end

--- The sum over the classes of (p - truth)^2 of each image, a list in the order of the set.
function scores:brier_of_images() return squares(self):totable() end

--- The share of the images whose class is among the k likeliest. A tie goes to the class that stands first.
function scores:top_k(k)
  check_finite(self, "top_k")
  k = option.check("top_k", "k", k, option.COUNT)
  if k >= #self.classes then return 1 end
  local _, likeliest = self.scores:topk(k, 2)
  local hits = likeliest:eq(self.labels:unsqueeze(2)):to("i64"):sum(2)
  return hits:to("f64"):mean():item()
end

local BINS = { bins = option.integer(15, "[1, 1000]") }

--- How well confidences keep their promise: images are put into bins of equal width by the probability of their
-- prediction; `error` is the mean distance between that and the share that is right, weighted by images ("expected
-- calibration error", Guo et al., "On calibration of modern neural networks", 2017). Each of `bins` has low, high,
-- images, confidence (mean) and accuracy; empty ones are left out.
function scores:calibration(options)
  check_finite(self, "calibration")
  local o = option.read("calibration", options, BINS)
  local confidence, predicted, labels = self.scores:max(2):totable(), self:predictions(), self.labels:totable()
  local bins = {}
  for i, p in ipairs(confidence) do
    local b = math.min(o.bins, math.max(1, math.ceil(p * o.bins)))
    local bin = bins[b] or { low = (b - 1) / o.bins, high = b / o.bins, images = 0, confidence = 0, accuracy = 0 }
    bins[b], bin.images, bin.confidence = bin, bin.images + 1, bin.confidence + p
    if predicted[i] == labels[i] then bin.accuracy = bin.accuracy + 1 end
  end
  local list, sum = {}, 0
  for b = 1, o.bins do
    local bin = bins[b]
    if bin then
      sum = sum + math.abs(bin.accuracy - bin.confidence)
      bin.confidence, bin.accuracy = bin.confidence / bin.images, bin.accuracy / bin.images
      list[#list + 1] = bin
    end
  end
  return { error = sum / #labels, bins = list }
end

--- The logits that gave the scores, but for a constant of each image: f64 {N,K}.
function scores:logits()
  self:check_scores "logits"
  return self.scores:to("f64"):clamp(1e-45, 1):log()
end

--- The temperature T for which softmax(logits / T) has the least log loss on these images, between 0.05 and 20: above 1
-- for a network that is too sure of itself. Measure it on images that the network was not trained on. (Guo et al.)
function scores:temperature()
  check_finite(self, "temperature")
  local logits = self:logits()
  local function loss(log_t)
    local scaled = logits * math.exp(-log_t)
    local truth = scaled:gather(2, self.labels:unsqueeze(2)):squeeze(2)
    return (scaled:logsumexp(2) - truth):mean():item()
  end
  local low, high, golden = math.log(0.05), math.log(20), (math.sqrt(5) - 1) / 2
  local a, b = high - golden * (high - low), low + golden * (high - low)
  local at_a, at_b = loss(a), loss(b)
  while high - low > 1e-6 do -- golden section: the loss has one minimum over 1 / T
    if at_a < at_b then
      high, b, at_b = b, a, at_a
      a = high - golden * (high - low)
      at_a = loss(a)
    else
      low, a, at_a = a, b, at_b
      b = low + golden * (high - low)
      at_b = loss(b)
    end
  end
  return math.exp(0.5 * (low + high))
end

local TEMPERATURE = option.number(nil, "(0, inf)")

--- Makes the scores those of the logits divided by a temperature; what was counted, and the loss, stays.
function scores:temper(temperature)
  self:check_scores "temper"
  option.check("temper", "the temperature", temperature, TEMPERATURE)
  self.scores = (self:logits() / temperature):softmax(2):to "f32"
end

-- -- one class against the others -------------------------------------------------------------------------------------

local GOOD = option.text(classes.GOOD)

--- The number of the class that means no defect; raises where there is none of that name.
function scores:good_class(good, what)
  good = option.check(what or "good_class", "good", good == nil and GOOD.default or good, GOOD)
  return classes.find(self.classes, good)
    or raise("%s: no class is named '%s': say which one means no defect with good = NAME (classes: %s)",
      what or "good_class", good, table.concat(self.classes, ", "))
end

--- How each image stands to a class, or to "defect": scores f64 {N} and whether it belongs to it, a list.
function scores:against(class, good, what)
  check_finite(self, what)
  local labels, belongs = self.labels:totable(), {}
  local number = classes.find(self.classes, class) or self.classes[class] and class
  if number then
    for i, label in ipairs(labels) do belongs[i] = label == number end
    return self.scores:select(2, number):to "f64", belongs
  end
  if class ~= "defect" and class ~= nil then
    raise("%s: %s is no class: give one of %s, or 'defect'", what, option.shown(class),
      table.concat(self.classes, ", "))
  end
  number = self:good_class(good, what)
  for i, label in ipairs(labels) do belongs[i] = label ~= number end
  return 1 - self.scores:select(2, number):to "f64", belongs
end

local CURVE = { good = option.text() }

--- The receiver operating characteristic of a class against the others, or of "defect" (by default) against the class
-- `good`: { points = { { false_positives =, true_positives =, threshold = } }, area = }, see texres.metrics.curve.
function scores:roc(class, options)
  local o = option.read("roc", options, CURVE)
  local values, belongs = self:against(class, o.good, "roc")
  return require("texres.metrics.curve").roc(values, belongs, self.groups)
end

--- Precision over recall of a class against the others, or of "defect" (by default), all but the class `good`: { points
-- = { { recall =, precision =, threshold = } }, area = }, the area being the average precision.
function scores:precision_recall(class, options)
  local o = option.read("precision_recall", options, CURVE)
  local values, belongs = self:against(class, o.good, "precision_recall")
  return require("texres.metrics.curve").precision_recall(values, belongs)
end

--- An operating point chosen on these images: see texres.metrics.operating_point, which has the options
-- { false_reject = 0.02 }, { escape = 0.01 } or { cost = { false_reject = 1, escape = 40 }, prevalence = 0.03 }; ask,
-- good, level.
function scores:operating_point(options) return operating_point.choose(self, options) end

--- What an operating point does to these images: { false_reject =, escape = } of { value, low, high }, and asked, the
-- share that a person is asked about.
function scores:at_operating_point(point)
  if not operating_point.fits(point, self.classes) then
    raise("at_operating_point: %s is no operating point for the classes %s", option.shown(point),
      table.concat(self.classes, ", "))
  end
  return operating_point.apply(point, self)
end

--- What becomes of each image: a list of "accept", "reject" or "ask" by an operating point, or without one (nil)
-- "reject" wherever the likeliest class is not the good one; a list of defect scores, 1 - p(good), NaN where there is
-- no prediction; and the number of the good class.
function scores:decisions(point, good)
  self:check_scores "decisions"
  local number, list, values = self:good_class(point and point.good or good, "decisions"), {}, {}
  local predicted = self:predictions()
  for i, p in ipairs(self.scores:to("f64"):select(2, number):totable()) do
    values[i] = 1 - p
    list[i] = point and operating_point.verdict(point, values[i]) or predicted[i] == number and "accept" or "reject"
  end
  return list, values, number
end

--- How well defects are found by how much of the image they cover, of a set with masks: see texres.metrics.cover.
scores.by_cover = cover.rows
scores.has_masks = cover.has_masks

return scores
