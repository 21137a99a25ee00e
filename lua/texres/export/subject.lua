--- What is exported: a classifier as a flat list of steps, with all that a file of its own has to hold.

local core = require "texres.core"
local classes = require "texres.classes"
local Quantized = require("texres.nn.quantized").Quantized
local fabric = require "texres.data.fabric"
local input = require "texres.input"
local lower = require "texres.lower"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"

local subject = {}

local IMAGES = option.kind("bytes {N,H,W,C} or a data set", function(value)
  return core.is_tensor(value) and value.dtype == "u8" or type(value) == "table" and value.loader ~= nil
end)

--- Options that every format has.
subject.KNOWN = {
  images = IMAGES, -- of the self-test: bytes, or a set, of which the first image of each class is taken (of 16 at the
  -- most); by default three of synthetic fabric
  operating_point = option.switch(true), -- whether it is taken along, where there is one
  note = option.text(), -- a line for the head of the file: which run the network is of
}

-- -- what a byte is worth ---------------------------------------------------------------------------------------------

--- What the model is given for each byte: a table {channel = {[0..255] = value}}, computed as predict does.
local function values_of_bytes(takes, channels)
  local bytes = core.arange(0, 255):reshape(1, 1, 256, 1):to "u8"
  local columns = {}
  for c = 1, channels do columns[c] = bytes end
  local rows = takes:batch(core.cat(columns, 4), "export"):reshape(256, channels):totable()
  local values = {}
  for c = 1, channels do
    values[c] = {}
    for byte = 0, 255 do values[c][byte] = rows[byte + 1][c] end
  end
  return values
end

local function per_channel(value, channels)
  if type(value) == "table" then return value end
  local list = {}
  for c = 1, channels do list[c] = value end
  return list
end

-- (byte * scale - mean) * factor is what the model is given.
local function normalization_of(takes, channels)
  local own, factors = takes.normalization or { mean = 0, std = 1 }, {}
  for c, std in ipairs(per_channel(own.std, channels)) do factors[c] = 1 / std end
  return { scale = takes.white / 255, mean = per_channel(own.mean, channels), factor = factors }
end

-- -- images of the self-test ------------------------------------------------------------------------------------------

local LEAST = 8 -- pixels, of a side of a synthetic fabric

-- Three cloths, good and with defects.
local function synthetic(shape)
  local h, w, c = table.unpack(shape)
  local set = fabric { count = 3, size = { math.max(h, LEAST), math.max(w, LEAST) }, seed = 1, sources = 3 }
  local images, channels = (set.source:images() * 255):round():to "u8", {}
  for i = 1, c do channels[i] = images:slice(2, 1, h):slice(3, 1, w) end
  return core.cat(channels, 4)
end

local MOST = 16 -- images of a set

-- The positions of the first image of each class.
local function first_of_each(set)
  local of_class, list = {}, {}
  for i, label in ipairs(set.label) do of_class[label] = of_class[label] or i end
  for class = 1, #set.classes do
    if of_class[class] and #list < MOST then list[#list + 1] = of_class[class] end
  end
  return list
end

-- The first image of each class of a set, as bytes: what the model is given, brought back.
local function of_set(takes, set, where)
  set = takes:fit(set, where .. ": images")
  set = set:subset(first_of_each(set))
  local n = normalization_of(takes, takes.input[3])
  local next_batch = takes:loader(set, { batch = #set }, where .. ": images"):batches(1)
  local values = next_batch()
  values = (values / core.tensor(n.factor) + core.tensor(n.mean)) / n.scale
  return values:clamp({ min = 0, max = 255 }):round():to "u8"
end

-- Bytes {N,H,W,C}, and where they are from, in words.
local function test_images(images, takes, where)
  local shape = takes.input
  if not images then return synthetic(shape), "of synthetic fabric, not of the cloth that it was trained on" end
  if not core.is_tensor(images) then
    local name = images.origin and images.origin:match "([^/]+)/*$"
    return of_set(takes, images, where), name and "of " .. name or "of a data set"
  end
  local got = images:shape()
  if #got ~= 4 or got[1] == 0 or got[2] ~= shape[1] or got[3] ~= shape[2] or got[4] ~= shape[3] then
    raise("%s: images are %s, wanted {N,%s}", where, module.shape_text(got), table.concat(shape, ","))
  end
  return images, "that were given"
end

--- The bytes of each image, its logits and what predict says of it.
local function tests_of(classifier, images, where)
  local model, list = classifier.model, {}
  local pixels = images:reshape(images:size(1), -1):to("f32"):totable()
  local logits = core.no_grad(function()
    return model(input.of(model):batch(images, where):to(module.float_dtype(model)))
  end):totable()
  for i, row in ipairs(pixels) do
    local bytes = {}
    for p, value in ipairs(row) do bytes[p] = math.tointeger(value) end
    list[i] = { bytes = bytes, logits = logits[i], answer = classifier:predict(images:select(1, i)) }
  end
  return list
end

-- -- the whole --------------------------------------------------------------------------------------------------------

local function point_of(classifier, wanted, where)
  local point = wanted and classifier.operating_point
  if not point then return nil end
  if point.views then
    raise("%s: the operating point belongs to the mean over %d views of an image, the file looks at one: choose a "
      .. "point with views = 1, or say operating_point = false", where, point.views)
  end
  return { threshold = point.threshold, band = point.band, good = classes.find(classifier.classes, point.good) }
end

local function names_of(classifier, count)
  if classifier.classes then return classifier.classes end
  local names = {}
  for k = 1, count do names[k] = ("%d"):format(k) end
  return names
end

-- The description and the tensors of a network in 8 bits; nil for one in f32.
local function quantized_of(model, where)
  if getmetatable(model) ~= Quantized then return nil end
  local sections = model._description.sections
  for _, section in ipairs(sections) do
    local step = section.floats and section.steps[1]
    if step then
      raise("%s: the network has a step in f32, %s, which no section in 8 bits can take: export the network "
        .. "in f32", where, step.item and model.items[step.item]:describe() or step.op)
    end
  end
  if #sections ~= 1 then raise("%s: the network has %d sections, wanted one in 8 bits", where, #sections) end
  core.quantized_program(sections[1], model.tensors[1]) -- or the description is refused: it may be of a file
  return { section = sections[1], tensors = model.tensors[1] }
end

local function check_layers(program, model, where)
  local names = {}
  for name, m in model:named_modules() do names[m] = name end
  for _, step in ipairs(program.steps) do
    if step.op == "module" then
      raise("%s: the layer %s (%s) is none that the file can hold: convolutions, dense layers, batch norm, pooling, "
        .. "activations, sums, products and concatenations are", where, names[step.item] or "?",
        step.item:describe())
    end
  end
end

local function check_scores(scores, class_names, where)
  if #scores ~= 1 or class_names and scores[1] ~= #class_names then
    raise("%s: the network gives {N,%s}, wanted a score for each class%s", where, table.concat(scores, ","),
      class_names and (", {N,%d}"):format(#class_names) or "")
  end
end

--- How many elements a value has.
function subject.count(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

--- What of a classifier a file holds: { program = as texres.lower gives it, or quantized = { section =, tensors = },
-- input = {H,W,C}, classes =, normalization = { scale =, mean =, factor = }, values_of_bytes =, temperature =, point =,
-- tests =, tests_from = a text, model =, note = }. `o`: the options, read.
function subject.of(classifier, o, where)
  if #classifier.models > 1 then raise("%s: an ensemble is not one network: export its members", where) end
  local model, takes = classifier.model, input.of(classifier.model)
  local shape = takes.input
  if not shape then raise("%s: the model does not tell the size of its images", where) end
  if not takes.white then
    raise("%s: the pixels of the training had no range that begins at 0, so that bytes are worth nothing to the model",
      where)
  end
  local quantized = quantized_of(model, where)
  local program = not quantized and lower(model, shape)
  if program then check_layers(program, model, where) end
  check_scores(program and program.shapes[program.output]
    or quantized.section.values[quantized.section.output].shape, classifier.classes, where)
  local images, images_from = test_images(o.images, takes, where)
  local tests = tests_of(classifier, images, where)
  return {
    program = program, quantized = quantized, input = shape, window = takes.window,
    classes = names_of(classifier, #tests[1].logits),
    normalization = normalization_of(takes, shape[3]), values_of_bytes = values_of_bytes(takes, shape[3]),
    temperature = takes.temperature or 1, point = point_of(classifier, o.operating_point, where), tests = tests,
    tests_from = ("%d image%s %s"):format(#tests, #tests > 1 and "s" or "", images_from), model = model, note = o.note,
  }
end

return subject
