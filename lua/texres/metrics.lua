--- How well a classifier does: accuracy, the confusion matrix, precision, recall and F1 of each class.
--
--     local result = trainer:evaluate(test)           -- or classifier:evaluate(test), or trainer.validation
--     print(result)
--     result:interval "accuracy"                      -- limits of a figure, by groups where there are groups
--     result:operating_point { false_reject = 0.02 }  -- and curves, calibration, ...: see texres.metrics.scores
--     print(texres.compare(result, another))          -- of the same images: is one better?
--
-- Results are made by counting:
--
--     local counter = metrics.Counter(classes)        -- classes: a list of names
--     counter:add(logits, labels)                     -- {N,K} and {N}, as often as there are batches
--     print(counter:result())
--
-- For one class, precision is the share of right ones among the images that were given this class, recall the share of
-- its own images that were found, and F1 their harmonic mean; a share of nothing counts as 0. Their means are taken
-- over the classes that occur, as a truth or as a prediction, as scikit-learn does. Terms as in Sokolova and Lapalme,
-- "A systematic analysis of performance measures for classification tasks", 2009.
--
-- The loss of a set is the one that the set would have as a single batch, however it was cut into batches: the sum of
-- its images' losses, divided by the sum of their weights where the loss is a mean (see texres.trainer.objective).
--
-- An image whose probabilities are not numbers (logits with NaN or +inf) has no prediction. It is an image that was not
-- found: it lowers accuracy and the recall of its class, and is counted in `invalid`.

local bootstrap = require "texres.metrics.bootstrap"
local confusions = require "texres.metrics.confusions"
local core = require "texres.core"
local counted = require "texres.metrics.counted"
local masks = require "texres.metrics.masks"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local same_classes = require("texres.classes").same
local strict = require "texres.strict"
local terminal = require "texres.terminal"

local metrics = {}

--- How well maps of heat agree with masks: see texres.metrics.masks.
metrics.pixel_auroc, metrics.aupro, metrics.defect_recall = masks.pixel_auroc, masks.aupro, masks.defect_recall
metrics.alarm_threshold = masks.alarm_threshold

-- -- counting --------------------------------------------------------------------------------------------------------

local Counter = {}
Counter.__index = Counter

--- A counter of predictions over `classes`, a list of names.
function metrics.Counter(classes)
  local counts, invalid = {}, {}
  for truth = 1, #classes do
    counts[truth], invalid[truth] = {}, 0
    for predicted = 1, #classes do counts[truth][predicted] = 0 end
  end
  return setmetatable({
    classes = classes,
    counts = counts, -- [truth][prediction]
    invalid = invalid, -- [truth]: images without a prediction
    images = 0, right = 0,
    loss_sum = 0, loss_weight = 0, -- what the sum is divided by; false: nothing, the loss is a sum
  }, Counter)
end

--- Counts a batch: logits {N,K} (the largest is the prediction), labels {N}; `loss` is its mean loss over the images,
-- for which add_loss need not be called then.
function Counter:add(logits, labels, loss)
  local n = labels:numel()
  if n == 0 then return end
  local columns, k = logits:size(2), #self.classes
  if columns ~= k then raise("metrics: the model gives %d numbers for an image, there are %d classes", columns, k) end
  local predicted, truth = logits:argmax(2):totable(), labels:totable()
  local sums = core.no_grad(function() return logits:softmax(2):sum(2):totable() end)
  for i = 1, n do
    local row = self.counts[truth[i]]
    if not row then raise("metrics: label %s: there are %d classes", truth[i], k) end
    if sums[i] ~= sums[i] then
      self.invalid[truth[i]] = self.invalid[truth[i]] + 1
    else
      row[predicted[i]] = row[predicted[i]] + 1
      if truth[i] == predicted[i] then self.right = self.right + 1 end
    end
  end
  self.images = self.images + n
  if loss then self:add_loss(loss * n, n) end
end

function Counter:__tostring() return tostring(self:result()) end

--- Adds the losses of a batch: their sum, and the sum of their weights, which is what the mean over the set is divided
-- by; a weight of false says that the loss of the set is no mean but the sum.
function Counter:add_loss(sum, weight)
  self.loss_sum = self.loss_sum + sum
  self.loss_weight = weight and self.loss_weight + weight
end

--- The loss so far, NaN where nothing counted.
function Counter:loss()
  if not self.loss_weight then return self.loss_sum end
  return self.loss_sum / self.loss_weight
end

--- What a counter has counted, or a result holds, as plain data; from_data makes it a counter again.
function metrics.to_data(source)
  local counts = source.counts or source.confusion:totable()
  local sum, weight = source.loss_sum, source.loss_weight
  if getmetatable(source) ~= Counter then sum, weight = source.loss, false end
  return { counts = counts, invalid = source.invalid, loss_sum = sum, loss_weight = weight }
end

--- A counter from what to_data gave; `classes` is the list of their names.
function metrics.from_data(data, classes)
  local counter = metrics.Counter(classes)
  counter.counts, counter.invalid = data.counts, data.invalid
  for truth, row in ipairs(data.counts) do
    counter.images = counter.images + data.invalid[truth]
    for predicted, count in ipairs(row) do
      counter.images = counter.images + count
      if truth == predicted then counter.right = counter.right + count end
    end
  end
  counter.loss_sum, counter.loss_weight = data.loss_sum, data.loss_weight
  if data.loss_weight == nil then counter.loss_weight = counter.images end -- older files: each image weighs 1
  return counter
end

-- -- the result ------------------------------------------------------------------------------------------------------

local function share(part, whole) return whole > 0 and part / whole or 0 end

--- Every figure that follows from counts alone: counts[truth][prediction], invalid[truth], names of classes.
local function figures(counts, invalid, classes)
  local k, per_class, occurring, found, images, right = #classes, {}, 0, 0, 0, 0
  local macro, weighted = { precision = 0, recall = 0, f1 = 0 }, { precision = 0, recall = 0, f1 = 0 }
  local balanced = 0
  for c = 1, k do
    local given, support, hits = 0, invalid[c], counts[c][c]
    for i = 1, k do given, support = given + counts[i][c], support + counts[c][i] end
    local precision, recall = share(hits, given), share(hits, support)
    local one = {
      class = classes[c], precision = precision, recall = recall, support = support,
      f1 = share(2 * precision * recall, precision + recall),
    }
    per_class[c], images, right = one, images + support, right + hits
    if given + support > 0 then occurring = occurring + 1 end
    if support > 0 then found, balanced = found + 1, balanced + recall end
    for name in pairs(macro) do
      macro[name], weighted[name] = macro[name] + one[name], weighted[name] + support * one[name]
    end
  end
  for name in pairs(macro) do
    macro[name], weighted[name] = share(macro[name], occurring), share(weighted[name], images)
  end
  return {
    accuracy = images > 0 and right / images or 0 / 0, images = images, classes = classes, per_class = per_class,
    macro = macro, weighted = weighted, balanced_accuracy = found > 0 and balanced / found or 0 / 0,
  }
end

local Result = strict.class("a result", {}, { "scores", "labels", "groups", "sets", "views", "draws" })
for name, method in pairs(require "texres.metrics.scores") do Result[name] = method end

--- What was counted, as numbers:
-- `accuracy` and `loss` (NaN without images; the loss also where none was given), `images`, `classes`, `confusion` (i64
-- {K,K}: rows are the truth, columns the prediction), `invalid` (a list: images of each class without a prediction),
-- `per_class` (a list of {class, precision, recall, f1, support}), `macro` (their unweighted mean over the classes that
-- occur), `weighted` (their mean weighted by support), `balanced_accuracy` (the mean recall of the classes that have
-- images). print() shows it. A result of evaluate() also has what each image was given, in the order of the set:
-- `scores` (probabilities, f32 {N,K}), `labels` (i64 {N}) and, where the set has groups, `groups` (a list: the group
-- of each image); from these come its curves, intervals and operating point: see texres.metrics.scores. `sets` is a
-- list of the sets, one behind the other, whose images these are.
function Counter:result()
  local result = figures(self.counts, self.invalid, self.classes)
  result.loss = self:loss()
  result.confusion = core.tensor(self.counts, { dtype = "i64" })
  result.invalid = table.move(self.invalid, 1, #self.classes, 1, {})
  return setmetatable(result, Result)
end

-- Figures with an interval, by name: what a draw of the counts has of it; or the mean of what, for each image.
local OF_COUNTS = {
  balanced_accuracy = function(draw) return draw.balanced_accuracy end,
  macro_f1 = function(draw) return draw.macro.f1 end,
  weighted_f1 = function(draw) return draw.weighted.f1 end,
}
local OF_IMAGES = { log_loss = "losses_of_images", brier = "brier_of_images" }

local function names_of_figures()
  local names = { accuracy = true }
  for name in pairs(OF_COUNTS) do names[name] = true end
  for name in pairs(OF_IMAGES) do names[name] = true end
  return table.concat(plain.names(names), ", ")
end

--- Limits of a figure of a result: low, high, and of how many what they were told. Those of the accuracy, a share that
-- is counted, are of texres.metrics.counted and ask for no draws; those of others are by the bootstrap
-- (texres.metrics.bootstrap, which says how far they can be trusted).
--
--     local low, high, units, kind = result:interval "accuracy"          --> 0.71, 0.83, 16, "groups"
--     result:interval("balanced_accuracy", { level = 0.9, samples = 2000, seed = 2 })
--     result:interval "macro_f1"                                         -- weighted_f1, log_loss, brier
--     result:interval(function(r) return r.per_class[4].recall end)
--
-- The function is given a draw of the result with the figures that follow from counts: accuracy, balanced_accuracy,
-- per_class, macro, weighted, images. Nil where the figure stands in no draw. Raises where there are fewer than two
-- groups (or images). The area under a ROC has limits of its own: see texres.metrics.curve.
function Result:interval(figure, options)
  local o = bootstrap.options("interval", options)
  if figure == "accuracy" then return self:_interval_of_accuracy(o) end
  if OF_IMAGES[figure] then return self:_interval_of_mean(self[OF_IMAGES[figure]](self), o) end
  local of = OF_COUNTS[figure] or figure
  if type(of) == "string" then
    raise("interval: %s is no figure with an interval: %s or a function(draw)", option.shown(figure),
      names_of_figures())
  end
  if type(of) ~= "function" then
    raise("interval: the figure is %s, wanted a name or a function", option.shown(figure))
  end
  local values, draws = {}, self:_draws(o)
  for i, draw in ipairs(draws) do values[i] = of(draw) end
  local low, high = bootstrap.percentiles(values, bootstrap.tail(o.level, draws.units))
  return low, high, draws.units, draws.kind
end

--- The same of the mean of a number that each image has, a list.
function Result:_interval_of_mean(values, o)
  local _, count, what = bootstrap.units(#values, self.groups)
  bootstrap.check("interval", count, what)
  local means, units, kind = bootstrap.means(values, self.groups, o)
  local low, high = bootstrap.percentiles(means, bootstrap.tail(o.level, units))
  return low, high, units, kind
end

--- Limits of the accuracy for pages and tables, as texres.metrics.counted has them (with few groups the bootstrap alone
-- may be far too sure), over how many what; nothing where the result does not know what each image was given, or where
-- all are of one group.
function Result:limits()
  if not self.scores or select(2, bootstrap.units(self.images, self.groups)) < 2 then return nil end
  local hits, predicted = {}, self:predictions()
  for i, label in ipairs(self.labels:totable()) do hits[i] = predicted[i] == label end
  local right = counted.share(hits, self.groups)
  return right.low, right.high, right.groups or self.images, self.groups and "groups" or "images"
end

--- Makes a result one of these images: it keeps what each of them was given.
-- @param scores f32 {N,K}, probabilities in the order of the set
-- @param views over how many views they are means; nil: 1
function metrics.keep(result, set, scores, views)
  result.scores, result.views, result.labels = scores, views or 1, core.tensor(set.label, { dtype = "i64" })
  result.groups, result.sets = set.group and set.meta[set.group], { set }
  return result
end

--- The result of scores that were kept: probabilities f32 {N,K} of the images of a set, in its order, their loss, and
-- over how many views they are means.
function metrics.of_scores(scores, set, loss, views)
  local counter = metrics.Counter(set.classes)
  counter:add(scores, core.tensor(set.label, { dtype = "i64" })) -- whose largest is that of the logits
  counter:add_loss(loss, false)
  return metrics.keep(counter:result(), set, scores, views)
end

--- One result of several, such as those of the folds of a cross-validation: all their images, one behind the other.
-- They must have the same classes; groups are kept where all have them. The loss is the mean over the images.
function metrics.join(results)
  local first = results[1]
  if not first then raise "metrics.join: there are no results to join" end
  local counter = metrics.Counter(first.classes)
  local scores, labels, groups, sets = {}, {}, {}, {}
  for r, result in ipairs(results) do
    if not same_classes(result.classes, first.classes) then
      raise("metrics.join: result %d has other classes than the first, or in another order", r)
    end
    local counts = result.confusion:totable()
    for truth, row in ipairs(counter.counts) do
      for predicted in ipairs(row) do row[predicted] = row[predicted] + counts[truth][predicted] end
      counter.right = counter.right + counts[truth][truth]
      counter.invalid[truth] = counter.invalid[truth] + result.invalid[truth]
    end
    counter.images = counter.images + result.images
    counter:add_loss(result.loss * result.images, result.images)
    scores[r], labels[r] = result.scores, result.labels
    groups = groups and result.groups and table.move(result.groups, 1, #result.groups, #groups + 1, groups)
    sets = sets and result.sets and table.move(result.sets, 1, #result.sets, #sets + 1, sets)
  end
  local joined = counter:result()
  if #scores == #results then
    joined.views = first.views
    for _, result in ipairs(results) do
      if result.views ~= first.views then joined.views = nil end
    end
    joined.scores, joined.labels, joined.groups = core.cat(scores, 1), core.cat(labels, 1), groups
    joined.sets = sets
  end
  return joined
end

function Result:_interval_of_accuracy(o)
  self:check_scores "interval"
  local hits, labels = self:predictions(), self.labels:totable()
  local _, units, kind = bootstrap.units(#labels, self.groups)
  bootstrap.check("interval", units, kind)
  for i, predicted in ipairs(hits) do hits[i] = predicted == labels[i] end
  local found = counted.share(hits, self.groups, o.level)
  return found.low, found.high, units, kind
end

--- The share of the images of class number `class` that were found, with its limits: see texres.metrics.counted.
function Result:recall(class)
  self:check_scores "recall"
  local hits, groups, predicted = {}, self.groups and {}, self:predictions()
  for i, label in ipairs(self.labels:totable()) do
    if label == class then
      hits[#hits + 1] = predicted[i] == label
      if groups then groups[#hits] = self.groups[i] end
    end
  end
  return (counted.share(hits, groups))
end

--- Draws of the counts, as figures; the last ones are kept, as a report asks for many figures of them.
function Result:_draws(o)
  local key = ("%d %d"):format(o.samples, o.seed)
  if self.draws and self.draws.key == key then return self.draws end
  self:check_scores "interval"
  local k, cells, labels = #self.classes, self:predictions(), self.labels:totable()
  local unit, units, kind = bootstrap.units(#labels, self.groups)
  bootstrap.check("interval", units, kind)
  local width, rows, row_of = k * (k + 1) -- a cell for each truth and prediction, the last one: none
  for i, predicted in ipairs(cells) do cells[i] = (labels[i] - 1) * (k + 1) + (predicted or k + 1) end
  if self.groups then
    local sums = {}
    row_of = {}
    for u = 1, units do
      sums[u], row_of[u] = {}, u
      for c = 1, width do sums[u][c] = 0 end
    end
    for i, cell in ipairs(cells) do sums[unit[i]][cell] = sums[unit[i]][cell] + 1 end
    rows = core.tensor(sums, { dtype = "f64" })
  else
    rows, row_of = core.eye(width, { dtype = "f64" }), cells
  end
  local draws = { key = key, units = units, kind = kind }
  for s, row in ipairs(bootstrap.sums(rows, row_of, o):totable()) do
    local counts, invalid = {}, {}
    for truth = 1, k do
      local first = (truth - 1) * (k + 1)
      counts[truth], invalid[truth] = table.move(row, first + 1, first + k, 1, {}), row[first + k + 1]
    end
    draws[s] = figures(counts, invalid, self.classes)
  end
  self.draws = draws
  return draws
end

-- -- for people ------------------------------------------------------------------------------------------------------

local function longest(names, least)
  for _, name in ipairs(names) do least = math.max(least, utf8.len(name) or #name) end
  return least
end

local function pad(name, width) return name .. (" "):rep(width - (utf8.len(name) or #name)) end

--- The lines of the table of classes; `names` are padded to `width`.
local function class_lines(self, names, width)
  local lines = { ("%s  precision  recall     F1  images"):format(pad("class", width)) }
  local function add(name, values, support)
    lines[#lines + 1] = plain.format("%s  %9.3f  %6.3f  %5.3f  %6d", pad(name, width), values.precision, values.recall,
      values.f1, support)
  end
  for c, values in ipairs(self.per_class) do add(names[c], values, values.support) end
  add("   mean", self.macro, self.images)
  return lines
end

--- Those of the confusion matrix, whose columns are numbered as its rows are. `paint(colour, text)` colours cells:
-- right ones, those that hold a tenth of their row or more, and empty ones.
local function confusion_lines(self, names, width, paint)
  local counts, digits, heads = self.confusion:totable(), #tostring(#self.classes), {}
  for _, row in ipairs(counts) do
    for _, count in ipairs(row) do digits = math.max(digits, #tostring(count)) end
  end
  local function cell(value) return ("%" .. digits + 2 .. "d"):format(value) end
  for c = 1, #self.classes do heads[c] = cell(c) end
  local lines = { pad("truth \\ prediction", width) .. table.concat(heads) }
  for truth, row in ipairs(counts) do
    local cells = {}
    for predicted, count in ipairs(row) do
      local colour = count == 0 and "dim" or predicted == truth and "green"
        or count >= 0.1 * self.per_class[truth].support and "red" or nil
      cells[predicted] = colour and paint(colour, cell(count)) or cell(count)
    end
    lines[#lines + 1] = pad(names[truth], width) .. table.concat(cells)
  end
  return lines
end

local LISTED = 20

-- The same of many classes: what is confused most often.
local function often_lines(self, names, width)
  local lines = { pad("truth", width) .. "  " .. pad("prediction", width) .. "  images" }
  for _, pair in ipairs(confusions.list(self, LISTED)) do
    lines[#lines + 1] = ("%s  %s  %6d"):format(pad(names[pair.truth], width), pad(names[pair.predicted], width),
      pair.count)
  end
  return lines
end

local function as_text(self, paint)
  local names, invalid = {}, self:unpredicted()
  for c, name in ipairs(self.classes) do names[c] = ("%2d "):format(c) .. plain.short(plain.visible_name(name)) end
  local width = longest(names, #"truth \\ prediction")
  local lines = class_lines(self, names, width)
  table.insert(lines, 1, plain.format("accuracy %s of %d images, loss %.4f\n", plain.percent(self.accuracy),
    self.images, self.loss))
  if invalid > 0 then
    lines[#lines + 1] = ("%d of the images have no prediction: their probabilities are not numbers"):format(invalid)
  end
  local confused = #self.classes > confusions.MOST and often_lines(self, names, width)
    or confusion_lines(self, names, width, paint)
  return table.concat(lines, "\n") .. "\n\n" .. table.concat(confused, "\n")
end

function Result:__tostring() return as_text(self, function(_, text) return text end) end

--- Prints it to a stream (standard output), in colours where that is a terminal which has them.
function Result:show(stream)
  stream = stream or io.stdout
  local can = terminal.abilities(core.process.columns(stream), os.getenv)
  stream:write(as_text(self, function(colour, text) return terminal.paint(can, colour, text) end), "\n")
end

return metrics
