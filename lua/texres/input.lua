--- What a model takes: the size of its images, what their pixels are worth, how they are normalized, and the classes
-- that it tells apart. It is learned from the training set once, belongs to the model, stands in its files, and is what
-- training, evaluation, prediction and export ask. Fields, any of which a file may lack:
--
--     input           {H, W, C}
--     window          {H, W} of larger images, of which the model is given the middle; nil: there are none
--     classes         list of names; the model's output k belongs to classes[k]
--     normalization   { mean =, std = }, numbers or lists per channel: the model is given (pixel - mean) / std
--     white           the pixel value that means white: 1 for images in 0..1, 255 for images in 0..255; false where
--                     pixels have no such range, as after a standardization of one's own
--     integers        what integers of the training were multiplied by, where their values told it (csrc/data/scale.h)
--     temperature     what logits are divided by before softmax, so that probabilities are calibrated; nil: 1
--     operating_point the defect score from which on pieces are rejected: see texres.metrics.operating_point
--     novelty         how unlike the training images is unknown: see texres.novelty
--
-- The last three are chosen on images that the weights were not trained on, and belong to these weights: a training
-- begins without them.
--
-- Pixels of another range are converted: a model that was trained on 0..1 is given 0..255 divided by 255, and the other
-- way round. Where only one side has a range, nothing can be converted, and the images are refused. Bytes or the
-- smallest and largest pixel tell white (texres.data.ranges). Where the images of a set seem to have another range
-- than those of the training, as dark ones of a larger set may, all images of its source are asked. Integers that their
-- values would have divided by less than those of the training are divided by as much. A model that was trained on
-- bytes with a `scale` of one's own, so that its white is none of the usual ones (give or take 2 %), is not given
-- floats: it takes bytes.

local core = require "texres.core"
local classes = require "texres.classes"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local module = require "texres.nn.module"
local operating_point = require "texres.metrics.operating_point"
local shape_text = module.shape_text
local ranges = require "texres.data.ranges"

local Input = {}
Input.__index = Input

--- The input of a model that has none yet, or that of a file: a table with the fields above. Files that do not say
-- what white is come from images in 0..1.
local function new(fields)
  local white = fields.white
  if white == nil then white = 1 end
  return setmetatable({
    input = fields.input, window = fields.window, classes = fields.classes, normalization = fields.normalization,
    white = white,
    integers = fields.integers, temperature = fields.temperature,
    operating_point = fields.operating_point and operating_point.of(fields.operating_point),
    novelty = fields.novelty,
  }, Input)
end

-- -- what pixels are worth --------------------------------------------------------------------------------------------

local WEAK = { __mode = "k" }
local whites = setmetatable({}, WEAK) -- of sets, whose pixels were looked through
local together = setmetatable({}, WEAK) -- the same for each `share`: what one process knows the others may not

--- {H,W,C} of a set's images: of its source, or, where a script brings a set of its own kind, of the first image.
local function size_of(set)
  local source = set.source
  if source then return { source.height, source.width, source.channels } end
  return assert(set:get(1)):shape()
end

local function same_size(a, b) return a[1] == b[1] and a[2] == b[2] and a[3] == b[3] end

--- What white is in the pixels of a set where its type tells it, as that of most bytes does.
local function white_by_type(set) return set.source and ranges.white_of_bytes(set.source) end

--- The same of any set: else by its statistics, which are taken where they are not given; nil and a message when they
-- can't be. `share` (optional): of processes that read the set together.
local function white_of_set(set, statistics, share)
  local of_bytes = white_by_type(set)
  if of_bytes then return of_bytes end
  local known = whites
  if share then
    together[share] = together[share] or {}
    known = together[share]
  end
  if known[set] == nil then
    local message
    if not statistics then statistics, message = set:statistics(share) end
    if not statistics then return nil, message end
    known[set] = ranges.white_of_statistics(statistics)
    whites[set] = known[set]
  end
  return known[set]
end

--- What white is in the pixels of a set that this model is given; nil and a message when they can't be read.
local function white_for(self, set)
  local own, message = white_of_set(set)
  if own == nil then return nil, message end
  if own == self.white or not set.source then return own end
  local of_all = ranges.white_of_source(set.source)
  if of_all == nil then return own end
  return of_all
end

--- What integers, which were multiplied by `guessed`, are to be multiplied by to be worth what they were in training.
local function integer_factor(self, guessed)
  return guessed and self.integers and self.integers < guessed and self.integers / guessed or 1
end

local function white_text(white)
  return white and plain.format("the range 0..%.6g", white) or "no range that begins at 0"
end

--- What pixels with that white are to be multiplied by for this model. `known`: whether white is known, not told by
-- the pixels themselves.
local function factor(self, white, known, what)
  if (white == false) ~= (self.white == false) then
    raise("%s: its pixels have %s, those of the training had %s: convert them as they were converted for the training",
      what, white_text(white), white_text(self.white))
  end
  if not white then return 1 end
  local own = known and self.white or ranges.white_of_floats(self.white)
  if not own then
    raise("%s: its pixels are floats, which don't tell whether they have the range of the training, 0..%.6g (a `scale` "
      .. "of its own): give bytes, or train with the usual scale", what, self.white)
  end
  return own / white
end

--- Raises for what is no data set, or an empty one.
local function check_set(set, what)
  if type(set) ~= "table" or not set.loader then raise("%s is %s, wanted a data set", what, option.shown(set)) end
  if #set == 0 then raise("%s is empty", what) end
end

--- What can be read of a set where `bad` is "skip", and the positions of that; else the set. One of the script's own
-- kind leaves nothing out. `share` (optional): of processes that read the set together.
local function readable(set, bad, share)
  if bad ~= "skip" or type(set) ~= "table" or not set.readable then return set end
  return set:readable(share)
end

-- -- learning ---------------------------------------------------------------------------------------------------------

local MEAN = option.numbers(nil, "(-inf, inf)")
local STD = option.numbers(nil, "(0, inf)")

local function per_channel(name, value, rule, channels)
  value = option.check("Trainer", "normalize." .. name, value, rule)
  if type(value) == "number" then return value end
  local list = core.is_tensor(value) and value:totable() or value
  if #list ~= channels then
    raise("Trainer: normalize.%s has %d numbers, the images have %d channels", name, #list, channels)
  end
  return table.move(list, 1, #list, 1, {})
end

-- Mean and deviation as a set's statistics tell them; raises for a channel that is the same everywhere.
local function normalization_of(statistics)
  for c, std in ipairs(statistics.std) do
    if std == 0 then
      raise("Trainer: channel %d is %s in all pixels of the training set: leave it out, or say normalize = false", c,
        statistics.mean[c])
    end
  end
  return { mean = statistics.mean, std = statistics.std }
end

-- As a script gives them, in pixels of the set.
local function given_normalization(normalize, channels)
  option.read("Trainer: normalize", normalize, { mean = MEAN, std = STD })
  return {
    mean = per_channel("mean", normalize.mean, MEAN, channels), std = per_channel("std", normalize.std, STD, channels),
  }
end

--- Learns what a training set says. `normalize`: true takes mean and deviation of the set, { mean =, std = } (in pixels
-- of this set) those, false none. Raises when a picture can't be read. All pixels are read once, where they have to be;
-- `share` (optional): of processes that do so together.
local function learn(set, normalize, share)
  local image, message = set:get(1)
  if not image then raise("Trainer: %s", message) end
  local statistics
  if normalize == true then
    statistics, message = set:statistics(share)
    if not statistics then raise("Trainer: %s", message) end
  end
  local white
  white, message = white_of_set(set, statistics, share)
  if white == nil then raise("Trainer: %s", message) end
  return new {
    input = image:shape(), classes = set.classes, white = white, integers = set.source and set.source.guessed,
    normalization = statistics and normalization_of(statistics)
      or normalize and given_normalization(normalize, image:size(3)) or nil,
  }
end

-- -- images and sets for a model --------------------------------------------------------------------------------------

--- A number, or a list of numbers, divided by another number.
local function divided(value, by)
  if type(value) == "number" then return value / by end
  local list = {}
  for c, number in ipairs(value) do list[c] = number / by end
  return list
end

--- Whether a set has images of as many channels and the model's classes: in whatever order, or only some of them where
-- the model still tells all of them apart (its last layer may have been replaced). Then it can be trained further on
-- the set as what it is. A model that names no classes, such as one with imported weights, takes those of any set.
function Input:suits(set, model)
  if not self.input or self.input[3] ~= size_of(set)[3] then return false end
  if not self.classes then return self.normalization ~= nil end
  return classes.positions(self.classes, set.classes) ~= nil
    and (#self.classes == #set.classes
      or module.try_on_zeros(model, { 1, table.unpack(self.input) }):size(-1) == #self.classes)
end

--- The same for a model that was trained through a window of `side` pixels (texres.data.augment): it is given that
-- much of the images, in evaluation and prediction of their middle. nil: it is given all of them.
function Input:through_window(side)
  local h, w, c = table.unpack(self.input)
  if not side or (side == h and side == w) then return self end
  local smaller = self:with(self)
  smaller.input, smaller.window = { side, side, c }, { h, w }
  return smaller
end

--- Whether images of that size are what the model takes, all of them or their middle.
function Input:takes(h, w)
  local size, window = self.input, self.window
  return size[1] == h and size[2] == w or window ~= nil and window[1] == h and window[2] == w
end

--- The same without what belongs to the weights.
function Input:bare()
  if not self.temperature and not self.operating_point and not self.novelty then return self end
  return self:with {}
end

--- The same without classes and what belongs to the weights: size, range and normalization, for a model whose last
-- layer is new. The first training set names the classes.
function Input:unnamed()
  local same = self:with {}
  same.classes = nil
  return same
end

--- The same with another temperature, operating point and novelty.
function Input:with(chosen)
  return new {
    input = self.input, window = self.window, classes = self.classes, normalization = self.normalization,
    white = self.white, integers = self.integers, temperature = chosen.temperature,
    operating_point = chosen.operating_point, novelty = chosen.novelty,
  }
end

--- The same for a model that tells other classes apart.
function Input:for_classes(names)
  local other = self:with {}
  other.classes = table.move(names, 1, #names, 1, {})
  return other
end

--- Logits as softmax is to have them.
function Input:tempered(logits) return self.temperature and logits * (1 / self.temperature) or logits end

--- The same for images of the size of a set's, and integers as that has them where they are divided by more; with the
-- set's classes where there were none.
function Input:adapted(set)
  local size, integers = size_of(set), set.source and set.source.guessed
  if integers and self.integers then integers = math.min(integers, self.integers) end
  integers = integers or self.integers
  if self.classes and same_size(self.input, size) and integers == self.integers then return self end
  return new {
    input = size, classes = self.classes or set.classes, normalization = self.normalization, white = self.white,
    integers = integers,
  }
end

--- The set with the model's classes, in the model's order: it may list them in another one, or only some of them.
-- Raises when it has others, or images of another size.
function Input:fit(set, what)
  check_set(set, what)
  local size = size_of(set)
  if self.input and not (size[3] == self.input[3] and self:takes(size[1], size[2])) then
    raise("%s: the images are %s, the model takes %s: open the set with `size` and `channels`, or use set:map",
      what, shape_text(size), shape_text(self.input))
  end
  if not self.classes then return set end
  local same, message = classes.arrange(set, self.classes)
  if not same then raise("%s: %s", what, message) end
  return same
end

-- The augmentation that makes images of a set the model's size: that asked for, which may have a window of its own, or
-- with the window in their middle.
local function augment_of(self, set, augment, what)
  local side = augment and core.augment(augment):window()
  if side and self.input and side ~= self.input[1] then
    raise("%s: the window of %d pixels is not the model's size, %s", what, side, shape_text(self.input))
  end
  if side or not self.input or same_size(self.input, size_of(set)) then return augment end
  local list = table.move(augment or {}, 1, #(augment or {}), 1, {})
  list[#list + 1] = { "window", self.input[1], random = false }
  return list
end

--- A loader of the set as the model wants it; `options` are those of set:loader, except scale, mean and std. Pixels
-- that have a range are brought to 0..1 before they are augmented, so that an augmentation does the same in any.
function Input:loader(set, options, what)
  set = self:fit(set, what)
  local white, message = white_for(self, set)
  if white == nil then raise("%s: %s", what, message) end
  local scale = factor(self, white, white_by_type(set) ~= nil, what)
    * integer_factor(self, set.source and set.source.guessed) / (self.white or 1)
  local normalization = self:normalization_of_unit() or {}
  local all = { scale = scale ~= 1 and scale or nil, mean = normalization.mean, std = normalization.std }
  if scale ~= 1 and not set.source then -- a set of the script's own kind need not know a scale
    all = { mean = divided(normalization.mean or 0, scale), std = divided(normalization.std or 1, scale) }
  end
  for _, name in ipairs { "scale", "mean", "std" } do
    if options[name] ~= nil then raise("%s: %s is the model's own: it can't be given", what, name) end
  end
  for name, value in pairs(options) do all[name] = value end
  all.augment = augment_of(self, set, options.augment, what)
  return set:loader(all), set
end

--- A picture of a file as this model takes it, {H,W,C}: gray or RGB, and resized where it has another size; bytes, or
-- floats in 0..1 of one with 16 bits. With it, where it was resized, its own size {H,W}. Nil and a message where it
-- can't be read.
function Input:read(path)
  local size, window = self.input, self.window
  local image, message = core.load_image(path, { channels = size and size[3] })
  if not image or not size or self:takes(image:size(1), image:size(2)) then return image, message end
  local side, other = table.unpack(window or size)
  local resized
  resized, message = core.load_image(path, { channels = size[3], size = { side, other } })
  if not resized then return nil, message end
  return resized, { image:size(1), image:size(2) }
end

local function as_row(value) return type(value) == "table" and core.tensor(value) or core.tensor { value } end

--- A batch {N,H,W,C} as the model wants it, f32; integers are worth what they are in data sets. `white` (optional):
-- what white is in these pixels, where they may be too dark to tell it.
function Input:batch(batch, what, white)
  local h, w = batch:size(2), batch:size(3)
  if self.window and self.window[1] == h and self.window[2] == w then
    local side = self.input[1]
    local top, left = (h - side + 1) // 2, (w - side + 1) // 2 -- as the transform "window" has it
    batch = batch:slice(2, top + 1, top + side):slice(3, left + 1, left + side)
  end
  local times, pixels = 1
  if white then
    pixels, times = batch:to "f32", factor(self, white, true, what)
  elseif batch.dtype == "u8" or batch.dtype == "i64" then
    local source, message = core.source(batch)
    if not source then raise("%s: %s", what, message) end
    pixels, times = source:images(), factor(self, 1, true, what) * integer_factor(self, source.guessed)
  else
    pixels = batch:to "f32"
    local tells = self.white and batch:numel() > 0 -- for a model without a range one image alone tells none
    if tells then
      times = factor(self, ranges.white_of_range(pixels:min():item(), pixels:max():item()), false, what)
    end
  end
  if times ~= 1 then pixels = pixels * times end
  local normalization = self.normalization
  if not normalization then return pixels end
  return (pixels - as_row(normalization.mean)) * (1 / as_row(normalization.std))
end

--- Mean and deviation for images in 0..1 where they have a range, which is what a file for other programs takes.
function Input:normalization_of_unit()
  local white, normalization = self.white or 1, self.normalization
  if white == 1 then return normalization end
  normalization = normalization or { mean = 0, std = 1 }
  return { mean = divided(normalization.mean, white), std = divided(normalization.std, white) }
end

--- The options of texres.onnx.export for images of this shape {H,W,C}; `chosen`: its pixels and outputs.
function Input:for_onnx(shape, chosen)
  if chosen.pixels == "u8" and not self.white then
    raise "export_onnx: the pixels of the training had no range that begins at 0: what bytes are worth is not known"
  end
  return {
    input = shape, normalization = self:normalization_of_unit(), classes = self.classes, pixels = chosen.pixels,
    outputs = chosen.outputs, temperature = self.temperature,
  }
end

-- -- the model's own --------------------------------------------------------------------------------------------------

--- The input that belongs to a model, nil when it has none; and the call that gives it one.
local function of(model) return rawget(model, "_input") end
local function give(model, input) rawset(model, "_input", input) end

local FIELDS = {
  "input", "window", "classes", "normalization", "white", "integers", "temperature", "operating_point", "novelty",
}

--- The fields for a file or a classifier of this model: those given, else the model's own. Any may be missing.
local function fields(model, given)
  local own, all = of(model) or {}, {}
  for _, name in ipairs(FIELDS) do
    all[name] = given[name]
    if all[name] == nil then all[name] = own[name] end
  end
  return all
end

return {
  new = new, fields = fields, check_set = check_set, readable = readable, learn = learn, of = of, give = give,
  white_of_set = white_of_set,
}
