--- Known unknowns: how unlike anything that a network was trained on an image is.
--
--     clf:fit_novelty(train, { calibrate = val, false_alarms = 0.01 })
--     local answer = clf:predict(image)      -- answer.novelty; answer.unknown: whether that is out of range
--     clf:save "best.safetensors"            -- with what was fitted
--
-- A network gives every image one of its classes, also a piece with a defect that nobody has shown to it. What its last
-- dense layer is given (its features) still tells such images apart, better or worse: they lie far from those of all
-- classes, or between two of them. Features are brought to unit length, and each class gets a normal distribution of
-- them, all with one covariance (gaussians.lua). Of the distance a from the nearest (K. Lee and others, "A simple
-- unified framework for detecting out-of-distribution samples and adversarial attacks", 2018) and b from the
-- next, the novelty is a (a / b)^2: the distance, the less it counts the more clearly an image belongs to one class.
-- Cloth that was not seen in training is far from all classes with its known defects, too; undecided it is less often.
--
-- Don't expect too much. Of real defects that were left out of training, on photographs that the network had not seen,
-- it tells stains of colour, threads and metal from what was known in three or four of five pairs, cuts and holes
-- little better than chance: bench/novelty.lua measures it, bench/README.md has the figures, and what else was tried.
--
-- An image is unknown where its novelty is above the threshold, which is chosen on images that the network was not
-- trained on: of them a given share may be, the false alarms. Images of one group (a roll, a photograph) are alike, so
-- that a new group may give more: where the set knows its groups, each is left out in turn, and the highest of the
-- thresholds is taken. Cloth of another kind gives more alarms all the same: choose the threshold on many pieces of the
-- line at which the network works.
--
-- What is fitted belongs to the weights, as an operating point does: it stands in the model's input (texres.input) and
-- in its file, and a further training begins without it.

local core = require "texres.core"
local counted = require "texres.metrics.counted"
local gaussians = require "texres.gaussians"
local head = require "texres.nn.head"
local input = require "texres.input"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local Linear = require("texres.nn.linear").Linear
local Quantized = require("texres.nn.quantized").Quantized
local strict = require "texres.strict"

local Novelty = strict.class("a novelty", {}, {})

-- -- features ---------------------------------------------------------------------------------------------------------

--- Features as rows {N,D} of unit length, f32; maps {N,H,W,C} as their means.
local function as_rows(features)
  if features:dim() == 4 then features = features:mean { 2, 3 } end
  if features:dim() ~= 2 then
    raise("novelty: the layer is given %s, wanted features {N,D} or maps {N,H,W,C}",
      module.shape_text(features:shape()))
  end
  features = features:to "f32"
  return features / features:norm(2, true):clamp { min = 1e-12 }
end

--- What f(...) returns, and what the layer was given in its first call meanwhile, as rows. A dense layer is a step of
-- its own in the plans of containers, which stay as they are; others may be joined with their neighbours there.
local function watched(layer, f, ...)
  local rows
  local function look(m, _, inputs)
    if m == layer and not rows then rows = as_rows(inputs[1]) end
  end
  local planned = getmetatable(layer) == Linear
  local result = module.with_watcher({
    fn = look, planned = planned, layers = { [layer] = true }, keeps_nothing = true,
  }, f, ...)
  return result, rows or raise "novelty: the network does not call the layer whose features are taken"
end

--- The novelty of rows of unit length, f32 {N}. Of one class it is the distance itself.
local function of_rows(fitted, rows)
  local near, second = gaussians.distances(fitted, rows)
  return second and near * (near / second:clamp { min = 1e-12 }) ^ 2 or near
end

--- How unlike all that was trained on features are, f32 {N}: of what the layer `layer` (a name) is given, {N,D} or maps
-- {N,H,W,C}, which are averaged.
function Novelty:of(features) return of_rows(self, as_rows(features)) end

--- What f(...) returns, which calls the model with images, and their novelty (the first batch of them), f32 {N}.
function Novelty:beside(model, f, ...)
  local layer = module.layers_named(model, { self.layer }, "novelty")[1]
  local result, rows = watched(layer, f, ...)
  return result, of_rows(self, rows)
end

--- Whether an image of that novelty is unknown.
function Novelty:is_unknown(value) return value > self.threshold end

--- What it was fitted on, and how often it is wrong.
function Novelty:__tostring()
  local alarms = self.false_alarms
  return table.concat({
    plain.format("novelty: unknown beyond %.4g", self.threshold),
    plain.format("  features              %d, given to %s, of %d images", self.centre:numel(),
      plain.visible(self.layer), self.images),
    plain.format("  false alarms          %.3g %% (%.3g %% to %.3g %%) of %d images%s", 100 * alarms.value,
      100 * alarms.low, 100 * alarms.high, alarms.images,
      alarms.groups and (" of %d groups"):format(alarms.groups) or ""),
  }, "\n")
end

-- -- fitting ----------------------------------------------------------------------------------------------------------

--- Calls visit(rows, labels) for the batches of a set: what the layer is given for the images, i64 {N}.
local function each_batch(model, layer, set, batch, visit, what)
  local loader, dtype = input.of(model):loader(set, { batch = batch }, what), module.float_dtype(model)
  model:eval()
  core.no_grad(function()
    for images, labels in loader:batches(1) do
      local _, rows = watched(layer, model, images:to(dtype))
      visit(rows, labels)
    end
  end)
end

--- The layer of that name, or the last dense one, and its name.
local function layer_of(model, name)
  if name then return module.layers_named(model, { name }, "fit_novelty")[1], name end
  for _, m in ipairs(model:modules()) do
    if getmetatable(m) == Quantized then
      raise("fit_novelty: the features of a network in 8 bits can't be looked at: fit the one in f32 that it was "
        .. "made of")
    end
  end
  local layer, own = head.last_dense(model)
  if not layer then raise "fit_novelty: the network has no dense layer: name one to look at, { layer = ... }" end
  return layer, own
end

--- What the features of a set's images tell: see gaussians.
local function fit_on(model, layer, set, batch)
  local sums
  each_batch(model, layer, set, batch, function(rows, labels)
    if not rows:all_finite() then
      raise "fit_novelty: features are not numbers: look for pixels or weights that are NaN or infinite"
    end
    sums = sums or gaussians.sums(rows:size(2), #input.of(model).classes)
    sums:add(rows, labels)
  end, "fit_novelty: the training set")
  return sums:fit()
end

--- The least threshold that at most a share of the values is above: in the middle between two of them. `values`: the
-- largest first; those of `group` (optional) are left out.
local function threshold_without(group, values, groups, share)
  local allowed, above, last = #values, nil, nil
  for i = 1, group and #values or 0 do allowed = allowed - (groups[i] == group and 1 or 0) end
  allowed = math.floor(share * allowed + 1e-9)
  for i, value in ipairs(values) do
    if not group or groups[i] ~= group then
      if last and value < last then above = last end -- those that are as large are all known, or all above
      if allowed == 0 then return above and 0.5 * (value + above) or value end
      last, allowed = value, allowed - 1
    end
  end
  return 0
end

--- The same of values in any order; where they have groups, the highest that is found without one of these.
local function threshold_of(values, share, groups)
  local order, sorted, own = {}, {}, groups and {}
  for i = 1, #values do order[i] = i end
  table.sort(order, function(a, b) return values[a] > values[b] end)
  for k, i in ipairs(order) do
    sorted[k] = values[i]
    if own then own[k] = groups[i] end
  end
  local highest, seen = threshold_without(nil, sorted, nil, share), {}
  for _, group in ipairs(own or {}) do
    if not seen[group] then
      seen[group], highest = true, math.max(highest, threshold_without(group, sorted, own, share))
    end
  end
  return highest
end

local novelty = {}

--- The options of fit, by name.
novelty.KNOWN = {
  calibrate = option.kind("a data set", function(value) return type(value) == "table" and value.loader ~= nil end),
  false_alarms = option.number(0.01, "(0, 1)"), -- share of the images of `calibrate` that may be unknown
  layer = option.text(), -- whose input the features are; by default the last dense layer
  batch = option.integer(128, "[1, inf)"), -- images at a time
  bad = option.choice("error", { "error", "skip" }), -- what becomes of pictures that can't be read
}

--- Chooses the threshold of what was fitted, on the novelty of images. `groups`: theirs, or nil.
function novelty.calibrate(self, values, share, groups)
  self.threshold, self.rate = threshold_of(values, share, groups), share
  local hits = {}
  for i, value in ipairs(values) do hits[i] = self:is_unknown(value) end
  self.false_alarms = counted.share(hits, groups)
end

--- The novelty of the images of a set, a list. `model`: in evaluation mode; `batch`: images at a time.
function novelty.of_set(self, model, set, batch, what)
  local layer, list = module.layers_named(model, { self.layer }, "novelty")[1], {}
  each_batch(model, layer, set, batch, function(rows)
    for _, value in ipairs(of_rows(self, rows):totable()) do list[#list + 1] = value end
  end, what)
  return list
end

--- Fits what classifier:fit_novelty says, to a model with an input (texres.input), which stays as it is.
function novelty.fit(model, set, options)
  local o = option.read("fit_novelty", options, novelty.KNOWN)
  option.check("fit_novelty", "calibrate", o.calibrate, novelty.KNOWN.calibrate)
  local takes = input.of(model)
  if not takes or not takes.classes then raise "fit_novelty: the model has no classes yet: train it" end
  input.check_set(set, "fit_novelty: the training set")
  local layer, name = layer_of(model, o.layer)
  local self = fit_on(model, layer, input.readable(set, o.bad), o.batch)
  self.layer = name
  setmetatable(self, Novelty)
  local known = input.readable(o.calibrate, o.bad)
  local values = novelty.of_set(self, model, known, o.batch, "fit_novelty: calibrate")
  novelty.calibrate(self, values, o.false_alarms, known.group and known.meta[known.group])
  return self
end

-- -- in files ---------------------------------------------------------------------------------------------------------

local TENSORS = { "centre", "whitening", "means" }

local function is_share(value) return type(value) == "number" and value >= 0 and value <= 1 end
local function is_count(value) return math.type(value) == "integer" and value >= 1 end

local function are_alarms(value)
  return type(value) == "table" and is_share(value.value) and is_share(value.low) and is_share(value.high)
    and is_count(value.images) and (value.groups == nil or is_count(value.groups))
end

-- What stands beside the tensors, each with what it has to be.
local FIELDS = {
  layer = function(value) return type(value) == "string" end,
  threshold = function(value) return type(value) == "number" and value >= 0 and value < math.huge end,
  rate = is_share, shrinkage = is_share, images = is_count, false_alarms = are_alarms,
}

--- Whether a value is what fit gives.
function novelty.is(value) return getmetatable(value) == Novelty end

--- Whether it is of a layer that the model has.
function novelty.is_of(self, model)
  for name in model:named_modules() do
    if name == self.layer then return true end
  end
  return false
end

--- What is written of it: a table for JSON, and one of tensors by name.
function novelty.describe(self)
  local data, tensors = {}, {}
  for name in pairs(FIELDS) do data[name] = self[name] end
  for _, name in ipairs(TENSORS) do tensors[name] = self[name] end
  return data, tensors
end

local function are_fitting(tensors)
  for _, name in ipairs(TENSORS) do
    local t = tensors[name]
    if not t or t.dtype ~= "f32" or not t:all_finite() then return false end
  end
  local centre, whitening, means = tensors.centre, tensors.whitening, tensors.means
  if centre:dim() ~= 1 or whitening:dim() ~= 2 or means:dim() ~= 2 or means:size(1) == 0 then return false end
  local d = centre:size(1)
  return d > 0 and whitening:size(1) == d and whitening:size(2) == d and means:size(2) == d
end

--- The same from a file; nil and a message where that is damaged.
function novelty.of(data, tensors)
  if type(data) ~= "table" then return nil, "novelty is not an object" end
  local self = {}
  for name, fits in pairs(FIELDS) do
    if not fits(data[name]) then return nil, ("novelty.%s is not what it has to be"):format(name) end
    self[name] = data[name]
  end
  if not are_fitting(tensors) then return nil, "the tensors of novelty are missing, or don't fit each other" end
  for _, name in ipairs(TENSORS) do self[name] = tensors[name] end
  return setmetatable(self, Novelty)
end

return novelty
