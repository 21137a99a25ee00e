--- Known unknowns: how unlike anything that a network was trained on an image is.
--
--     clf:fit_novelty(train, { calibrate = val, false_alarms = 0.01 })
--     local answer = clf:predict(image)      -- answer.novelty, a distance; answer.unknown: whether it is out of range
--     clf:save "best.safetensors"            -- with what was fitted
--
-- A network gives every image one of its classes, also a piece with a defect that nobody has shown to it. What its last
-- dense layer is given (its features) still tells such images apart, better or worse: they lie far from those of all
-- classes. Features are brought to unit length, and each class gets a normal distribution of them, all with one
-- covariance (gaussians.lua); the novelty of an image is the distance from the nearest (K. Lee and others, "A simple
-- unified framework for detecting out-of-distribution samples and adversarial attacks", 2018). Unit length made it
-- better throughout; distances relative to one distribution of all images (J. Ren and others, "A simple fix to
-- Mahalanobis distance for improving near-OOD detection", 2021) came to the same on average, at twice the size.
--
-- Don't expect too much. Of real defects that were left out of training, on photographs that the network had not seen,
-- it told stains of colour well from what was known (where the largest probability told nothing), cuts and holes hardly
-- better than chance: bench/novelty.lua measures it, bench/README.md has the figures.
--
-- An image is unknown where it is farther than the threshold, which is chosen on images that the network was not
-- trained on: of them a given share may be, the false alarms. Cloth of another kind than theirs is new, too, and gives
-- more alarms: choose the threshold on pieces of the line at which the network works.
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

--- How far features are from all that was trained on, f32 {N}: of what the layer `layer` (a name) is given, {N,D} or
-- maps {N,H,W,C}, which are averaged.
function Novelty:of(features) return gaussians.distances(self, as_rows(features)) end

--- What f(...) returns, which calls the model with images, and how far they are (the first batch of them), f32 {N}.
function Novelty:beside(model, f, ...)
  local layer = module.layers_named(model, { self.layer }, "novelty")[1]
  local result, rows = watched(layer, f, ...)
  return result, gaussians.distances(self, rows)
end

--- Whether an image that is so far is unknown.
function Novelty:is_unknown(distance) return distance > self.threshold end

--- What it was fitted on, and how often it is wrong.
function Novelty:__tostring()
  local alarms = self.false_alarms
  return table.concat({
    plain.format("novelty: unknown beyond a distance of %.4g", self.threshold),
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

--- The least threshold that at most such a share of the distances is above: in the middle between two of them.
local function threshold_for(distances, share)
  local sorted = table.move(distances, 1, #distances, 1, {})
  table.sort(sorted)
  local last = #sorted - math.floor(share * #sorted + 1e-9) -- of those that are known
  if last == 0 then return 0 end
  while sorted[last + 1] == sorted[last] do last = last + 1 end -- those that are as far are so many alarms more
  return sorted[last + 1] and 0.5 * (sorted[last] + sorted[last + 1]) or sorted[last]
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

--- Chooses the threshold of what was fitted, on these distances. `groups`: of their images, or nil.
function novelty.calibrate(self, distances, share, groups)
  self.threshold, self.rate = threshold_for(distances, share), share
  local hits = {}
  for i, distance in ipairs(distances) do hits[i] = self:is_unknown(distance) end
  self.false_alarms = counted.share(hits, groups)
end

--- How far the images of a set are, a list. `model`: in evaluation mode; `batch`: images at a time.
function novelty.distances(self, model, set, batch, what)
  local layer, list = module.layers_named(model, { self.layer }, "novelty")[1], {}
  each_batch(model, layer, set, batch, function(rows)
    for _, distance in ipairs(gaussians.distances(self, rows):totable()) do list[#list + 1] = distance end
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
  local distances = novelty.distances(self, model, known, o.batch, "fit_novelty: calibrate")
  novelty.calibrate(self, distances, o.false_alarms, known.group and known.meta[known.group])
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
