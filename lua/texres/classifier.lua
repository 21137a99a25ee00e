--- A trained model in use: texres.load(path) reads a checkpoint and returns a classifier.
--
--     local clf = assert(tr.load "best.safetensors")
--     local answer = clf:predict(image)             --> { class = "hole", label = 3, probability = 0.93, probabilities
-- = {...} }
--
-- Images are {H,W,C} or {H,W}, a batch {N,H,W,C}; u8, or floats in 0..1. They are normalized as in training.

local core = require "texres.core"
local option = require "texres.options"
local raise = require "texres.raise"
local checkpoint = require "texres.checkpoint"
local module = require "texres.nn.module"
local strict = require "texres.strict"

local Classifier = strict.class("a classifier", {}, { "classes", "input", "extra", "normalization" })

-- Numbers to a tensor that broadcasts over channels.
local function per_channel(value, preset)
  if value == nil then value = preset end
  return type(value) == "table" and core.tensor(value) or core.tensor { value }
end

--- A classifier around a model: {model=, classes=, normalization=, input=} as in a checkpoint. The model is copied.
local function new(contents)
  local model = contents.model:clone():eval()
  if model.fuse then model:fuse() end
  local normalization = contents.normalization or {}
  return setmetatable({
    classes = contents.classes, input = contents.input, extra = contents.extra, model = model,
    normalization = contents.normalization,
    _mean = per_channel(normalization.mean, 0), _scale = 1 / per_channel(normalization.std, 1),
  }, Classifier)
end

-- The image or images as a batch {N,H,W,C}, and whether it was one image.
local function as_batch(image)
  if not core.is_tensor(image) then raise("predict: expected an image (a tensor), got %s", type(image)) end
  local n = image:dim()
  if n == 2 then return image:reshape(1, image:size(1), image:size(2), 1), true end
  if n == 3 then return image:unsqueeze(1), true end
  if n == 4 then return image, false end
  raise("predict: images are {H,W}, {H,W,C} or {N,H,W,C}, got %s", module.shape_text(image:shape()))
end

local function check_size(self, batch, any_size)
  local want, shape = self.input, batch:shape()
  if not want then return end
  local got = module.shape_text { shape[2], shape[3], shape[4] }
  if shape[4] ~= want[3] then
    raise("predict: the image is %s, the model wants %d channels", got, want[3])
  end
  if not any_size and (shape[2] ~= want[1] or shape[3] ~= want[2]) then
    raise("predict: the image is %s, the model was trained on %s: resize it, or pass {any_size=true}", got,
      module.shape_text(want))
  end
end

-- Integers mean 0..255.
local function normalize(self, batch)
  local float = batch:to "f32"
  if batch.dtype == "u8" or batch.dtype == "i64" then float = float * (1 / 255) end
  return ((float - self._mean) * self._scale):to(module.float_dtype(self.model))
end

-- Probabilities that are not numbers name no class: comparisons with NaN would leave the first one.
local function answer(self, probabilities, index)
  local best = 1
  if probabilities[1] ~= probabilities[1] then
    raise("predict: the probabilities of image %d are not numbers: look for pixels or weights that are NaN or infinite",
      index)
  end
  for i, p in ipairs(probabilities) do
    if p > probabilities[best] then best = i end
  end
  local class = self.classes and self.classes[best] or tostring(best)
  return { class = class, label = best, probability = probabilities[best], probabilities = probabilities }
end

local KNOWN = { any_size = option.switch(false) }

--- What an image shows: {class=, label=, probability=, probabilities=}; for a batch a list of these. {any_size=true}
-- lets images of other sizes than those of the training through.
function Classifier:predict(image, options)
  options = option.read("predict", options, KNOWN)
  local batch, single = as_batch(image)
  check_size(self, batch, options.any_size)
  local rows = core.no_grad(function()
    return self.model(normalize(self, batch)):softmax(-1):totable()
  end)
  if single then return answer(self, rows[1], 1) end
  for i, row in ipairs(rows) do rows[i] = answer(self, row, i) end
  return rows
end

--- Writes the model as ONNX, with its normalization, input shape and classes: see texres.onnx. The file takes floats in
-- 0..1. True, or nil and a message.
function Classifier:export_onnx(path)
  return require("texres.onnx").export(path, self.model, {
    input = self.input, normalization = self.normalization, classes = self.classes,
  })
end

--- Reads a checkpoint; a classifier, or nil and a message. `model` and `options`: see checkpoint.load.
local function load(path, model, options)
  local contents, problem = checkpoint.load(path, model, options)
  if not contents then return nil, problem end
  return new(contents)
end

return { new = new, load = load }
