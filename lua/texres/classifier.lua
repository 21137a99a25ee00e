--- A trained model in use: texres.load(path) reads a checkpoint and returns a classifier.
--
--     local clf = assert(tr.load "best.safetensors")
--     local answer = clf:predict(image)
--         --> { class = "hole", label = 3, probability = 0.93, probabilities = {...} }; with an operating point also
--         --  verdict ("accept", "reject" or "ask") and defect_score, after fit_novelty also novelty and unknown
--
-- Images are {H,W,C} or {H,W}, a batch {N,H,W,C}, of integers or floats; they are brought to the range of the pixels in
-- training (texres.input says how) and normalized as in training.

local classes = require "texres.classes"
local core = require "texres.core"
local evaluate = require "texres.evaluate"
local functional = require "texres.nn.functional"
local input = require "texres.input"
local listing = require "texres.listing"
local novelty = require "texres.novelty"
local option = require "texres.options"
local operating_point = require "texres.metrics.operating_point"
local plain = require "texres.plain"
local raise = require "texres.raise"
local checkpoint = require "texres.checkpoint"
local module = require "texres.nn.module"
local strict = require "texres.strict"
local views = require "texres.views"

local Classifier = strict.class("a classifier", {}, {
  "classes", "input", "extra", "normalization", "novelty", "operating_point",
})

--- A classifier around a model: {model=, classes=, normalization=, input=, white=} as in a checkpoint; what is left out
-- is the model's own. The model is copied, and batch norm folded where that is possible (see texres.nn.fuse): to train
-- one further as it was trained, read it with texres.checkpoint.load.
local function new(contents)
  local model = contents.model:clone():eval()
  if model.fuse then model:fuse() end
  local takes = input.new(input.fields(model, contents))
  input.give(model, takes)
  return setmetatable({
    classes = takes.classes, input = takes.input, normalization = takes.normalization, extra = contents.extra,
    operating_point = takes.operating_point, novelty = takes.novelty, model = model, models = { model },
  }, Classifier)
end

local function is(value) return getmetatable(value) == Classifier end

-- What a classifier takes: "64x64x1, the middle of 96x96"; nil where its file does not say.
local function size_text(one)
  if not one.input then return nil end
  local window = input.of(one.model).window
  return module.shape_text(one.input) .. (window and ", the middle of " .. module.shape_text(window) or "")
end

-- What makes two classifiers differ that are to judge the same image; nil where nothing does.
local function difference(one, first)
  local a, b = one.classes or {}, first.classes or {}
  if #a ~= #b then return ("has %d classes, the first %d"):format(#a, #b) end
  for c, name in ipairs(a) do
    if name ~= b[c] then return ("has '%s' as class %d, the first '%s'"):format(name, c, b[c]) end
  end
  local takes, wanted = size_text(one), size_text(first)
  if takes and wanted and takes ~= wanted then return ("takes images %s, the first %s"):format(takes, wanted) end
end

--- Several classifiers of the same classes and size of images as one, which averages their probabilities:
-- texres.Ensemble { first, second, ... }. It has no operating point until it is given one, and no novelty.
local function ensemble(list)
  if type(list) ~= "table" or #list == 0 then raise "Ensemble: a list of classifiers is wanted" end
  local first, models = list[1], {}
  for i, one in ipairs(list) do
    if not is(one) then
      raise("Ensemble: item %d is %s, wanted a classifier, as texres.load gives it", i, option.shown(one))
    end
    local differs = difference(one, first)
    if differs then raise("Ensemble: item %d %s", i, differs) end
    table.move(one.models, 1, #one.models, #models + 1, models)
  end
  return setmetatable({
    classes = first.classes, input = first.input, normalization = first.normalization, model = first.model,
    models = models,
  }, Classifier)
end

--- Gives it an operating point, as result:operating_point chooses one: predictions then have a verdict. nil takes it
-- away. trainer's option operating_point writes one into the model's file.
function Classifier:set_operating_point(point)
  if point ~= nil and not operating_point.fits(point, self.classes) then
    raise("set_operating_point: %s is no operating point for the classes %s", option.shown(point),
      table.concat(self.classes or {}, ", "))
  end
  self.operating_point = point and operating_point.of(point)
end

--- Makes its probabilities those of the logits divided by a temperature, beside that which it has: calibrated ones by
-- clf:temper(clf:evaluate(val):temperature()). An operating point is of the scores before, and is taken away.
function Classifier:temper(temperature)
  temperature = option.check("temper", "the temperature", temperature, option.number(nil, "(0, inf)"))
  if #self.models > 1 then raise "temper: an ensemble has no logits of its own: temper its members" end
  local takes = input.of(self.model)
  input.give(self.model, takes:with {
    temperature = (takes.temperature or 1) * temperature, novelty = takes.novelty,
  })
  self.operating_point = nil
end

--- Learns how unlike anything that it was trained on an image may be (texres.novelty): predictions then have
-- novelty, the larger the less known, and unknown, whether that is out of range. `set`: what the model was trained on,
-- or a part of it.
-- @tparam Set set
-- @tparam table options calibrate: a set of known classes that it was not trained on, on which the threshold is chosen,
-- with each of its groups left out in turn where it knows them;
-- false_alarms (0.01): share of them that may be unknown; layer: whose input is looked at (default: the last dense
-- layer); batch (128); bad ("error"), or "skip"
-- @return what was fitted, which print() shows: threshold, false_alarms { value =, low =, high = }, ...; it stands in
-- the field novelty, too, and is taken away by putting nil there
function Classifier:fit_novelty(set, options)
  if #self.models > 1 then raise "fit_novelty: an ensemble has no features of its own: fit its members" end
  self.novelty = novelty.fit(self.model, set, options)
  return self.novelty
end

local MEASURED = { batch = novelty.KNOWN.batch, bad = novelty.KNOWN.bad }

--- How unlike anything that it was trained on the images of a set are, whatever their classes: a list, as predict
-- tells it. {batch=128}: images at a time; {bad="skip"}: those that can't be read are left out.
function Classifier:novelty_of(set, options)
  options = option.read("novelty_of", options, MEASURED)
  if not self.novelty then raise "novelty_of: nothing is fitted: classifier:fit_novelty(train, { calibrate = val })" end
  input.check_set(set, "novelty_of: the set")
  set = input.readable(set, options.bad)
  local label = {}
  for i = 1, #set do label[i] = 1 end
  return novelty.of_set(self.novelty, self.model, set:with_labels(label, self.classes), options.batch,
    "novelty_of: the set")
end

--- Writes it as a checkpoint, which texres.load reads back: the same predictions, with the operating point, the novelty
-- and the temperature that it has now. Batch norm stays folded. The file is replaced as a whole. True, or nil and a
-- message.
function Classifier:save(path)
  option.check("save", "the path", path, option.PATH)
  if #self.models > 1 then raise "save: an ensemble is not one network: save its members" end
  local takes = input.of(self.model)
  input.give(self.model, takes:with {
    temperature = takes.temperature, operating_point = self.operating_point, novelty = self.novelty,
  })
  return checkpoint.save(path, { model = self.model, extra = self.extra })
end

-- The image or images as a batch {N,H,W,C}, and whether it was one image.
local function as_batch(image)
  local n = option.check("predict", "the image", image, option.TENSOR):dim()
  if n == 2 then return image:reshape(1, image:size(1), image:size(2), 1), true end
  if n == 3 then return image:unsqueeze(1), true end
  if n == 4 then return image, false end
  raise("predict: images are {H,W}, {H,W,C} or {N,H,W,C}, got %s", module.shape_text(image:shape()))
end

local function check_size(takes, batch, any_size)
  local want, shape = takes.input, batch:shape()
  if not want then return end
  local got = module.shape_text { shape[2], shape[3], shape[4] }
  if shape[4] ~= want[3] then
    raise("predict: the image is %s, the model wants %d channels", got, want[3])
  end
  if not any_size and not takes:takes(shape[2], shape[3]) then
    raise("predict: the image is %s, the model was trained on %s: resize it, or pass {any_size=true}", got,
      module.shape_text(want))
  end
end

-- -- for people -------------------------------------------------------------------------------------------------------

local MOST = 4 -- classes of a prediction that are shown

-- A prediction's classes by falling probability: "hole 93.1 %, good 5.2 %, oil 1.7 %".
local function prediction_text(prediction, names)
  local order, parts = {}, {}
  for i in ipairs(prediction.probabilities) do order[i] = i end
  local function more(a, b)
    local p, q = prediction.probabilities[a], prediction.probabilities[b]
    return p > q or (p == q and a < b)
  end
  table.sort(order, more)
  for k = 1, math.min(MOST, #order) do
    local name = names and names[order[k]] or ("class %d"):format(order[k])
    parts[k] = ("%s %s"):format(plain.visible_name(name), plain.percent(prediction.probabilities[order[k]]))
  end
  if prediction.unknown then parts[1] = plain.format("unknown (novelty %.3g): %s", prediction.novelty, parts[1]) end
  if prediction.verdict then
    parts[1] = plain.format("%s (defect score %.2f): %s", prediction.verdict, prediction.defect_score, parts[1])
  end
  return table.concat(parts, ", ") .. (#order > MOST and ", ..." or "")
end

-- Metatables that make a prediction, and a list of them, show themselves; otherwise they stay plain tables.
local function kinds_of(names)
  local function one(prediction) return prediction_text(prediction, names) end
  local function all(list)
    local rows = listing(#list, function(i) return ("%4d  %s"):format(i, one(list[i])) end, " ...")
    table.insert(rows, 1, ("predictions of %d image%s"):format(#list, #list == 1 and "" or "s"))
    return table.concat(rows, "\n")
  end
  return { __tostring = one }, { __tostring = all }
end

--- Its classes, what it takes, and its model.
function Classifier:__tostring()
  local lines = {}
  if self.classes then
    local names = listing(#self.classes, function(c) return plain.visible_name(self.classes[c]) end, "...")
    lines[1] = ("classifier of %d classes: %s"):format(#self.classes, table.concat(names, ", "))
  else
    lines[1] = "classifier without class names"
  end
  if self.input then lines[#lines + 1] = "  images  " .. table.concat(self.input, " x ") end
  lines[#lines + 1] = ("  model   %s, %s parameters"):format(
    rawget(self.model, "name") or getmetatable(self.model).__name, plain.grouped(self.model:num_parameters()))
  if #self.models > 1 then
    lines[#lines + 1] = ("  together %d models, whose probabilities are averaged"):format(#self.models)
  end
  if self.operating_point then
    lines[#lines + 1] = "  " .. tostring(self.operating_point):gsub("\n", "\n  ")
  end
  if self.novelty then lines[#lines + 1] = "  " .. tostring(self.novelty):gsub("\n", "\n  ") end
  return table.concat(lines, "\n")
end

-- -- predicting -------------------------------------------------------------------------------------------------------

-- Probabilities that are not numbers name no class: comparisons with NaN would leave the first one.
local function answer(self, probabilities, index, distance)
  local best = 1
  if self.classes and #self.classes ~= #probabilities then
    raise("predict: the model gives %d numbers, but there are %d class names", #probabilities, #self.classes)
  end
  if probabilities[1] ~= probabilities[1] then
    raise("predict: the probabilities of image %d are not numbers: look for pixels or weights that are NaN or infinite",
      index)
  end
  for i, p in ipairs(probabilities) do
    if p > probabilities[best] then best = i end
  end
  local class = self.classes and self.classes[best] or tostring(best)
  local prediction = { class = class, label = best, probability = probabilities[best], probabilities = probabilities }
  local point = self.operating_point
  local good = point and classes.find(self.classes, point.good)
  if good then
    prediction.defect_score = 1 - probabilities[good]
    prediction.verdict = operating_point.verdict(point, prediction.defect_score)
  end
  if distance then prediction.novelty, prediction.unknown = distance, self.novelty:is_unknown(distance) end
  return prediction
end

-- The probabilities of a batch, a list for each image, and how far the images are, where that is known.
local function judge(self, pixels_of, count)
  if not self.novelty then return evaluate.probabilities(self.models, pixels_of, count):totable(), {} end
  local probabilities, distances = self.novelty:beside(self.model, evaluate.probabilities, self.models, pixels_of,
    count)
  return probabilities:totable(), distances:totable()
end

local KNOWN = {
  any_size = option.switch(false), white = option.number(nil, "(0, inf)"), views = views.COUNT,
}

--- What an image shows: {class=, label=, probability=, probabilities=}; for a batch a list of these; print() shows the
-- likeliest classes. {any_size=true} lets images of other sizes than those of the training through. {white=255} says
-- what white is in the pixels, which an image that is nearly black does not tell; by default their type or largest
-- value says it (texres.input). {views=8} averages the probabilities over the image turned and mirrored (4: mirrored);
-- by default as many views are taken as the operating point was chosen with.
-- With an operating point, predictions also have defect_score (1 - p(good)) and verdict: "accept", "reject" or "ask".
-- After fit_novelty they have novelty, how far the image, as it stands, is from what was trained on, and unknown.
function Classifier:predict(image, options)
  options = option.read("predict", options, KNOWN)
  local batch, single = as_batch(image)
  for _, model in ipairs(self.models) do check_size(input.of(model), batch, options.any_size) end
  local function pixels_of(model) return input.of(model):batch(batch, "predict", options.white) end
  local count = views.count(options.views, self.operating_point)
  local rows, distances = core.no_grad(judge, self, pixels_of, count)
  local one, all = kinds_of(self.classes)
  if single then return setmetatable(answer(self, rows[1], 1, distances[1]), one) end
  for i, row in ipairs(rows) do rows[i] = setmetatable(answer(self, row, i, distances[i]), one) end
  return setmetatable(rows, all)
end

--- What pictures in files show, in a loop: see texres.predict, which has the options batch (32) and views.
--
--     for answer in classifier:predict_files { "new/", "one.png" } do print(answer.path, answer) end
function Classifier:predict_files(paths, options) return require("texres.predict").files(self, paths, options) end

local BATCH = {
  batch = option.integer(128, "[1, inf)"), views = views.COUNT, bad = option.choice("error", { "error", "skip" }),
}

--- How well it does on a set: metrics as those of Trainer:evaluate, the loss being cross-entropy. {batch=128}: images
-- at a time; {views=8}: as in predict; {bad="skip"}: images that can't be read are left out, as by a loader. Sets with
-- the same classes in another order are counted by name; others, and other sizes, are refused.
function Classifier:evaluate(set, options)
  options = option.read("evaluate", options, BATCH)
  local loss = functional.cross_entropy
  return (evaluate.run(self.models, input.readable(set, options.bad), {
    batch = options.batch, views = views.count(options.views, self.operating_point), loss = loss, bad = options.bad,
    what = "evaluate: the set",
  }))
end

--- A set from a path as this classifier takes it: pictures of other sizes are resized, and made gray or RGB. The
-- other options are those of texres.data.open. Nil and a message where it can't be read.
function Classifier:open(path, options)
  local data = require "texres.data"
  local given, takes = option.without(option.given("open", options), "bad"), input.of(self.model)
  local pictures = { channels = takes.input and takes.input[3], bad = options and options.bad, cache = false }
  given.pictures = pictures
  local set, message = data.open(path, given)
  local side = takes.window or takes.input
  if not side or set and takes:takes(set.source.height, set.source.width) then return set, message end
  pictures.size = { side[1], side[2] }
  return data.open(path, given)
end

--- Scans an image larger than those of the training, a picture's file, or a strip in pieces from a function: where is
-- what. Options and result: see texres.scan.
--
--     print(classifier:scan("roll.png", { step = 16, mm_per_pixel = 0.1 }))
function Classifier:scan(image, options) return require("texres.scan").scan(self, image, options) end

--- The threshold that gives scans of good cloth so many false alarms an image: { threshold =, unknown = (the same of
-- novelty, after fit_novelty), false_alarms = per image of those given, images = how many }; images: a list of tensors
-- and pictures' files. Options: see texres.scan.
--
--     local chosen = assert(clf:scan_threshold({ "good/1.png", "good/2.png" }, { false_alarms = 0.5, step = 16 }))
--     clf:scan("roll.png", { threshold = chosen.threshold, unknown = chosen.unknown, step = 16 })
function Classifier:scan_threshold(images, options)
  return require("texres.scan").scan_threshold(self, images, options)
end

--- A scanner, for images one after the other (frame) and endless strips in pieces (push, finish): see texres.scan.
function Classifier:scanner(options) return require("texres.scan").scanner(self, options) end

--- A loader of the set as the model wants it; options are those of set:loader, except scale, mean and std.
function Classifier:loader(set, options)
  return (input.of(self.model):loader(set, option.given("loader", options), "loader: the set"))
end

--- The same classifier with its network in 8 bits, for faster inference: a new one, whose save, predict and evaluate
-- are as before. Images of the set, such as a part of the training set, show what ranges the values have; their labels
-- are not looked at. Options:
--
--     method            how ranges are found: "minmax" (default), "percentile" or "mse": see texres.quantize.ranges
--     images            512; so many are looked at, spread evenly over the set
--     margin            0.1; how much further ranges reach than what was seen: values of new images do, too
--     percentile        0.9999; the share of values that the method of that name keeps
--     rounding          of weights: "fitted" (default), up or down so that the images' sums change least, or "nearest"
--     bias_correction   true; shift outputs by what the rounding of weights takes from them on average
--     batch             32; images at a time
--
-- The temperature and the operating point are kept: the scores change little, but look at them again on images of your
-- own (texres eval). What fit_novelty has learned is not: the features that it looks at are no longer there. Layers
-- that are not known as integers stay in f32.
function Classifier:quantize(set, options)
  if #self.models > 1 then raise "quantize: an ensemble is not one network: quantize its members" end
  local quantize = require "texres.quantize"
  local o = option.read("quantize", options, quantize.KNOWN)
  return new { model = quantize.model(self.model, set, o, "quantize"), extra = self.extra,
    operating_point = self.operating_point }
end

local EXPORT = {
  pixels = option.choice("f32", { "f32", "u8" }), outputs = option.choice("logits", { "logits", "probabilities" }),
}

--- Writes the model as ONNX, with its normalization, input shape and classes: see texres.onnx. The file takes floats in
-- 0..1 (what the training took, where that had no such range), or with {pixels="u8"} bytes; it gives logits, or with
-- {outputs="probabilities"} what predict gives, by its temperature. True, or nil and a message.
function Classifier:export_onnx(path, options)
  if #self.models > 1 then raise "export_onnx: an ensemble is not one network: export its members" end
  local o = option.read("export_onnx", options, EXPORT)
  return require("texres.onnx").export(path, self.model, input.of(self.model):for_onnx(self.input, o))
end

--- Writes it as one C99 file that needs nothing but <stdint.h> and <math.h>: see texres.export.c, which has the options
-- prefix, images, operating_point and note. True, or nil and a message; raises for a layer that such a file can't hold.
function Classifier:export_c(path, options) return require("texres.export.c").export(path, self, options) end

--- Writes it as one module of pure Lua 5.4, for hosts without a compiler: see texres.export.lua, which has the options
-- images, operating_point and note. True, or nil and a message; raises for a layer that such a file can't hold.
function Classifier:export_lua(path, options) return require("texres.export.lua").export(path, self, options) end

--- Reads a checkpoint; a classifier, or nil and a message when the file is missing, damaged or none. `model`: a module
-- to load into, for one whose class no file can name; by default it is built as the file says. `options`: {max_bytes=}:
-- the largest header that is read (default: 16 MiB).
-- @treturn Classifier | nil, message
local function load(path, model, options)
  local contents, problem = checkpoint.load(path, model, options)
  if not contents then return nil, problem end
  return new(contents)
end

return { new = new, load = load, is = is, ensemble = ensemble }
