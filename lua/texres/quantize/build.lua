--- The steps of a lowered network as steps over bytes: what texres.nn.quantized runs.
--
-- The steps are cut into sections, each of which reads one value and gives one: from where no other value is needed
-- further on to the next such place. Sections whose steps are all known as integers become one quantized section, what
-- lies between them stays f32.

local core = require "texres.core"
local lowered = require "texres.lowered"
local ranges = require "texres.quantize.ranges"
local rounding = require "texres.quantize.rounding"
local units = require "texres.quantize.units"
local weights = require "texres.quantize.weights"

local build = {}

local function f32(t) return t:to "f32" end

-- -- sections ---------------------------------------------------------------------------------------------------------

local function same_shape(a, b) return table.concat(a, " ") == table.concat(b, " ") end

-- Whether {1,1,C} is all that is broadcast of b to a.
local function is_factor_of(b, a) return #a == 3 and #b == 3 and b[1] == 1 and b[2] == 1 and b[3] == a[3] end

local function is_image(shapes, step) return #shapes[step.input] == 3 end

local function fits(step)
  local w = step.weight
  return weights.fits_direct(w:numel() // w:size(-1))
end

-- Whether a step is known as integers, by its op.
local KNOWN = { max_pool = is_image, avg_pool = is_image, global_avg_pool = is_image, global_max_pool = is_image }

function KNOWN.conv(_, step) return fits(step) end

function KNOWN.linear(_, step) return fits(step) end

KNOWN.scale = is_image

function KNOWN.activation() return true end

function KNOWN.flatten() return true end

function KNOWN.cat() return true end

function KNOWN.add(shapes, step) return same_shape(shapes[step.inputs[1]], shapes[step.inputs[2]]) end

KNOWN.subtract = KNOWN.add

function KNOWN.multiply(shapes, step)
  local a, b = shapes[step.inputs[1]], shapes[step.inputs[2]]
  return same_shape(a, b) or is_factor_of(a, b) or is_factor_of(b, a)
end

local HAS_PRODUCTS = { conv = true, linear = true }

-- The steps from `first` to `last`, which read nothing of before but `input`, and whether they may be quantized.
local function atom(program, first, last, input)
  local one = { input = input, output = last and program.steps[last].output, steps = {}, known = true }
  for i = first, last do
    local step = program.steps[i]
    one.steps[#one.steps + 1] = step
    one.known = one.known and KNOWN[step.op] ~= nil and KNOWN[step.op](program.shapes, step)
    one.products = one.products or HAS_PRODUCTS[step.op]
  end
  return one
end

--- The smallest sections, one after the other.
local function atoms_of(program)
  local last_use = { [program.output] = #program.steps + 1 }
  for i, step in ipairs(program.steps) do
    for _, value in ipairs(lowered.reads(step)) do last_use[value] = math.max(last_use[value] or 0, i) end
  end
  local atoms, first, input = {}, 1, 1
  for i, step in ipairs(program.steps) do
    local live = 0
    for value = 1, step.output do
      if (last_use[value] or 0) > i then live = live + 1 end
    end
    if live == 1 and (last_use[step.output] or 0) > i then
      atoms[#atoms + 1] = atom(program, first, i, input)
      first, input = i + 1, step.output
    end
  end
  return atoms
end

-- Neighbours of one kind as one.
local function joined(atoms)
  local sections = {}
  for _, one in ipairs(atoms) do
    local before = sections[#sections]
    if before and before.known == one.known then
      table.move(one.steps, 1, #one.steps, #before.steps + 1, before.steps)
      before.output, before.products = one.output, before.products or one.products
    else
      sections[#sections + 1] = one
    end
  end
  return sections
end

--- The sections of a program: a list of { input =, output =, steps =, known = whether as integers }. One without
-- products is not worth it.
local function sections_of(program)
  local sections = joined(atoms_of(program))
  for _, one in ipairs(sections) do one.known = one.known and one.products end
  return joined(sections)
end

-- -- a quantized section ----------------------------------------------------------------------------------------------

local Section = {}
Section.__index = Section

local function copy(list) return table.move(list, 1, #list, 1, {}) end

-- Notes a value of the section for `value` of the program: bytes of this range.
function Section:bytes(value, scale, zero, shape)
  local values = self.description.values
  values[#values + 1] = { scale = scale, zero = zero, shape = copy(shape or self.program.shapes[value]) }
  if value then self.number[value] = #values end
  return #values
end

function Section:bytes_in_range(value)
  local like = self.joined_by[value] or value
  local range = self.ranges[like]
  local stretch = units.stretch(self.unit[like], range.reach)
  local scale, zero = ranges.bytes(range[1] * stretch, range[2] * stretch)
  return self:bytes(value, scale, zero)
end

-- The same bytes as those of another value.
function Section:bytes_like(value, other)
  local own = self:value(other)
  return self:bytes(value, own.scale, own.zero)
end

--- A value of the program as it is here.
function Section:value(value) return self.description.values[self.number[value]] end

function Section:add(step, tensors)
  local steps = self.description.steps
  steps[#steps + 1] = step
  for name, t in pairs(tensors or {}) do self.tensors[("step.%d.%s"):format(#steps, name)] = t end
end

-- What a weight of which this is lost takes from each output on average, the means of the input being such.
local function mean_error(step, lost, mean)
  local k = lost:size(-1)
  if step.groups and step.groups > 1 then
    local per, sums = lost:size(3), {}
    local by_tap = lost:reshape(-1, per, k):sum(1) -- {C/groups, K}
    for g = 1, step.groups do
      local from = (g - 1) * (k // step.groups)
      local own = mean:slice(1, (g - 1) * per + 1, g * per):reshape(1, per)
      sums[g] = own:matmul(by_tap:slice(2, from + 1, from + k // step.groups):contiguous()):reshape(-1)
    end
    return core.cat(sums, 1)
  end
  local c = mean:numel()
  return mean:reshape(1, c):matmul(lost:reshape(-1, c, k):sum(1):contiguous()):reshape(-1)
end

-- What a weight of which this is lost takes from the outputs of a step on average, by what is known of its inputs.
function Section:mean_error(step, lost)
  local inputs = self.ranges.inputs[step]
  if inputs then return rounding.mean_error(lost, inputs) end
  return mean_error(step, lost, self.ranges[step.input].mean)
end

-- A weight {...,C,K} for bytes of such units, to values of such units; nil: without.
local function between(weight, from, to)
  local w = weight:to "f64"
  if from then w = w * from:reshape(-1, 1) end
  return to and w / to or w
end

-- What it is worth without these units.
local function without(worth, from, to)
  if from then worth = worth / from:reshape(-1, 1) end
  return to and worth * to or worth
end

local function plus(bias, error) return bias and bias + error or error end

-- The tensors of a convolution or dense layer whose sums become values of scale `out`.
function Section:products(step, method, out)
  local scale_in, bias = self:value(step.input).scale, step.bias and step.bias:to "f64"
  local from, to = self.unit[step.input], self.unit[step.output]
  local inputs, less = self.ranges.inputs[step], self.ranges[step.input].less
  local bytes, scale, worth = weights[method](between(step.weight, from, to),
    inputs and rounding.in_units(inputs, from))
  worth = worth and without(worth, from, to)
  if worth and self.options.bias_correction then
    bias = plus(bias, self:mean_error(step, step.weight:to "f64" - worth))
  end
  if less then
    bias = plus(bias, mean_error(step, worth or step.weight:to "f64", self.ranges[step.input].mean * 0 + less))
  end
  if bias and to then bias = bias / to end
  local k = scale:size(-1)
  return {
    weight = bytes, factor = f32(scale * (scale_in / out)),
    shift = bias and f32(bias * (1 / out)) or core.zeros(k),
  }
end

local EMIT = {} -- op -> function(section, step, is_last)

function EMIT.conv(section, step)
  local w, method = step.weight, weights.method(step)
  local output = section:bytes_in_range(step.output)
  section:add({
    op = "conv", input = section.number[step.input], output = output, kernel = { w:size(1), w:size(2) },
    channels = { w:size(3) * step.groups, w:size(4) }, stride = copy(step.stride), padding = copy(step.padding),
    dilation = copy(step.dilation), groups = step.groups, relu = step.relu or false,
    residual = section.number[step.residual], residual_last = step.residual_last or false, method = method,
  }, section:products(step, method, section:value(step.output).scale))
end

-- A convolution of each channel by itself.
function EMIT.scale(section, step)
  EMIT.conv(section, {
    input = step.input, output = step.output, weight = step.factor:reshape(1, 1, 1, -1), bias = step.shift,
    stride = { 1, 1 }, padding = { 0, 0, 0, 0 }, dilation = { 1, 1 }, groups = step.factor:numel(), relu = step.relu,
    residual = step.residual, residual_last = step.residual_last,
  })
end

-- Where it is the last, what it gives are floats.
function EMIT.linear(section, step, is_last)
  local floats, values = is_last, section.description.values
  local tensors
  if floats then
    values[#values + 1] = { shape = copy(section.program.shapes[step.output]) }
    section.number[step.output] = #values
    tensors = section:products(step, "direct", 1)
  else
    section:bytes_in_range(step.output)
    tensors = section:products(step, "direct", section:value(step.output).scale)
  end
  section:add({
    op = "linear", input = section.number[step.input], output = section.number[step.output],
    channels = { step.weight:size() }, relu = step.relu or false, floats = floats,
  }, tensors)
end

-- Table 256 bytes: what the activation makes of each.
function EMIT.activation(section, step)
  local own = section:value(step.input)
  local output = section:bytes_in_range(step.output)
  local to = section:value(step.output)
  local x = (core.arange(0, 255):to "f64" - own.zero) * own.scale
  local y = lowered.step({ op = "activation", kind = step.kind, slope = step.slope, input = 1 }, { x })
  local bytes = (y * (1 / to.scale) + to.zero):round():clamp { min = 0, max = 255 }:to "u8"
  section:add({ op = "lookup", input = section.number[step.input], output = output }, { table = bytes })
end

function EMIT.max_pool(section, step)
  section:add {
    op = "max_pool", input = section.number[step.input], output = section:bytes_like(step.output, step.input),
    kernel = copy(step.kernel), stride = copy(step.stride), padding = copy(step.padding),
  }
end

function EMIT.avg_pool(section, step)
  section:add {
    op = "avg_pool", input = section.number[step.input], output = section:bytes_in_range(step.output),
    kernel = copy(step.kernel), stride = copy(step.stride), padding = copy(step.padding),
    count_include_pad = step.count_include_pad,
  }
end

function EMIT.global_avg_pool(section, step)
  section:add {
    op = "global_avg_pool", input = section.number[step.input], output = section:bytes_in_range(step.output),
  }
end

function EMIT.global_max_pool(section, step)
  section:add {
    op = "global_max_pool", input = section.number[step.input], output = section:bytes_like(step.output, step.input),
  }
end

function EMIT.flatten(section, step)
  section:add {
    op = "flatten", input = section.number[step.input], output = section:bytes_like(step.output, step.input),
  }
end

local function numbers(section, list)
  local inputs = {}
  for i, value in ipairs(list) do inputs[i] = section.number[value] end
  return inputs
end

for _, op in ipairs { "add", "subtract", "cat" } do
  EMIT[op] = function(section, step)
    section:add {
      op = op, inputs = numbers(section, step.inputs), output = section:bytes_in_range(step.output),
      relu = op ~= "cat" and (step.relu or false) or nil,
    }
  end
end

-- The larger one first.
function EMIT.multiply(section, step)
  local shapes, a, b = section.program.shapes, step.inputs[1], step.inputs[2]
  if not same_shape(shapes[a], shapes[b]) and is_factor_of(shapes[a], shapes[b]) then a, b = b, a end
  section:add { op = "multiply", inputs = numbers(section, { a, b }), output = section:bytes_in_range(step.output) }
end

-- Values that only a concatenation reads -> what that gives: they have its range, so that their bytes are copied.
local function joined_by(steps)
  local by, readers = {}, {}
  for _, step in ipairs(steps) do
    for _, value in ipairs(lowered.reads(step)) do
      readers[value] = (readers[value] or 0) + 1
      by[value] = step.op == "cat" and step.output or nil
    end
  end
  for value, count in pairs(readers) do
    if count > 1 then by[value] = nil end
  end
  return by
end

local function quantized(program, one, found, o)
  local description = { input = copy(program.shapes[one.input]), values = {}, steps = {} }
  local section = setmetatable({
    program = program, ranges = found, options = o, description = description, tensors = {}, number = {},
    joined_by = joined_by(one.steps), unit = units.of(one, found, program.shapes),
  }, Section)
  description.values[1] = { shape = copy(program.shapes[one.input]) }
  local first = section:bytes_in_range(one.input)
  section:add { op = "quantize", input = 1, output = first }
  for _, step in ipairs(one.steps) do EMIT[step.op](section, step, step.output == one.output) end
  local last = section.number[one.output]
  if description.values[last].scale then
    description.values[last + 1] = { shape = copy(program.shapes[one.output]) }
    section:add { op = "dequantize", input = last, output = last + 1 }
    last = last + 1
  end
  description.output = last
  return description, section.tensors
end

-- -- a section in f32 -------------------------------------------------------------------------------------------------

local TENSORS = { weight = true, bias = true, factor = true, shift = true }

-- Its steps as data, tensors apart; modules that it calls are added to `items` and named by their place there.
local function floating(one, items)
  local description, tensors, number = { floats = true, steps = {} }, {}, { [one.input] = 1 }
  for i, step in ipairs(one.steps) do
    local data = { shapes = {} }
    for key, value in pairs(step) do
      if TENSORS[key] then
        tensors[("step.%d.%s"):format(i, key)] = value
        data.shapes[key] = value:shape()
      elseif key == "item" then
        items[#items + 1] = value
        data.item = #items
      elseif key == "inputs" then
        data.inputs = {}
        for k, input in ipairs(value) do data.inputs[k] = number[input] end
      else
        data[key] = type(value) == "table" and copy(value) or value
      end
    end
    number[step.output] = i + 1
    data.input, data.residual, data.output = number[step.input], number[step.residual], i + 1
    description.steps[i] = data
  end
  description.output = number[one.output]
  return description, tensors
end

--- A program, and the ranges of its values, as sections: a list of descriptions, a list of tables of their tensors by
-- name, and a list of the modules that sections in f32 call. Nil where no section can be quantized.
function build.build(program, found, o)
  local descriptions, tensors, items, any = {}, {}, {}, false
  for i, one in ipairs(sections_of(program)) do
    if one.known then
      descriptions[i], tensors[i] = quantized(program, one, found, o)
      any = true
    else
      descriptions[i], tensors[i] = floating(one, items)
    end
  end
  if any then return descriptions, tensors, items end
end

return build
