--- A trained network in 8 bits, without training it again: classifier:quantize, texres quantize.
--
-- The network is lowered to a list of steps (texres.lower), batch norm folded. Images show what range each value has
-- (texres.quantize.ranges); channels that are small are made larger (texres.quantize.units); weights are rounded with a
-- scale of their own for each output channel, by what they are multiplied with (texres.quantize.rounding), those of 3x3
-- convolutions after a Winograd transformation, in 16 bits (texres.quantize.weights). What runs is a
-- texres.nn.quantized.
--
-- Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018;
-- Nagel et al., "A white paper on neural network quantization", 2021.

local build = require "texres.quantize.build"
local core = require "texres.core"
local input = require "texres.input"
local lower = require "texres.lower"
local option = require "texres.options"
local quantized = require "texres.nn.quantized"
local raise = require "texres.raise"
local ranges = require "texres.quantize.ranges"

local quantize = {}

--- The options of classifier:quantize.
quantize.KNOWN = {
  method = option.choice("minmax", ranges.METHODS), -- how ranges are found: minmax, percentile, mse
  images = option.integer(512, "[1, inf)"), -- that are looked at, spread evenly over the set
  margin = option.number(0.1, "[0, 1]"), -- how much further ranges reach than what was seen
  percentile = option.number(0.9999, "(0.5, 1]"), -- of the method of that name: the share of values that is kept
  bias_correction = option.switch(true), -- shift outputs by what the rounding of weights takes from them on average
  rounding = option.choice("fitted", { "fitted", "nearest" }), -- of weights: see texres.quantize.rounding
  batch = option.integer(32, "[1, inf)"), -- images at a time
}

-- So many positions of n, spread evenly.
local function spread(n, count)
  local list = {}
  for i = 1, math.min(n, count) do list[i] = 1 + (i - 1) * n // math.min(n, count) end
  return list
end

-- A number, or that of a list in which all are the same; else nil.
local function same_number(value)
  if type(value) == "number" then return value end
  for _, other in ipairs(value) do
    if other ~= value[1] then return nil end
  end
  return value[1]
end

-- The next batch of the set's images as the model takes them, each time it is called.
local function batches_of(model, set, o)
  set = input.readable(set, "error")
  input.check_set(set, "quantize: the set")
  if set.subset and #set > o.images then set = set:subset(spread(#set, o.images)) end
  local batches = input.of(model):loader(set, { batch = o.batch }, "quantize: the set"):batches(1)
  return function()
    local images = batches()
    return images and images:to "f32"
  end
end

-- What the model is given for pixels of 8 bits, where it is the same in all channels: black + step * pixel.
local function pixels_of(takes)
  local normalization = takes.normalization or { mean = 0, std = 1 }
  local mean, std = same_number(normalization.mean), same_number(normalization.std)
  if takes.white and mean and std then return { black = -mean / std, step = takes.white / 255 / std } end
end

-- Raises where a value of the network was not finite on the images.
local function check_finite(found, where)
  for _, range in ipairs(found) do
    local sum = range.mean:sum():item()
    if sum - sum ~= 0 then raise("%s: the network makes numbers of these images that are not finite", where) end
  end
end

--- The model of a classifier in 8 bits; `where`: who asks, for messages.
function quantize.model(model, set, o, where)
  local takes = input.of(model)
  if not takes.input then raise("%s: the model does not tell the size of its images", where) end
  for _, m in ipairs(model:modules()) do
    if getmetatable(m) == quantized.Quantized then raise("%s: the model is quantized already", where) end
  end
  return core.no_grad(function()
    local program = lower(model:clone():to "f32", takes.input)
    local found = ranges.find(program, batches_of(model, set, o), o, pixels_of(takes))
    check_finite(found, where)
    local sections, tensors, items = build.build(program, found, o)
    if not sections then raise("%s: no convolution and no dense layer of this model can be done in 8 bits", where) end
    local made = quantized.of(o.method, sections, tensors, items)
    rawset(made, "name", rawget(model, "name"))
    input.give(made, takes:with { temperature = takes.temperature, operating_point = takes.operating_point })
    return made
  end)
end

return quantize
