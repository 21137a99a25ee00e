--- A network as a flat list of steps over values {H,W,C}: what is quantized and exported is this list.
--
--     local program = lower(model, { 64, 64, 1 })
--
--     { input = {64,64,1}, output = 3, shapes = { {64,64,1}, {32,32,8}, {8} }, steps = {
--       { op = "conv", input = 1, output = 2, weight = {3,3,1,8}, bias = {8}, stride = {2,2}, padding = {0,1,0,1},
--         dilation = {1,1}, groups = 1, relu = true },
--       { op = "global_avg_pool", input = 2, output = 3 } } }
--
-- It does what the network does in evaluation, for images of that size. Values are numbered, the input is 1, and each
-- step makes the next one. Weights are f32 and may be the network's own. The steps:
--
--     conv             weight {R,S,C/groups,K}, bias {K} or nil, stride {rows, columns}, padding {top, bottom, left,
--                      right}, dilation, groups; relu; residual, a value that is added before the ReLU, or with
--                      residual_last after it
--     linear           weight {C,K}, bias {K} or nil; relu
--     scale            factor {C} and shift {C}, which no convolution takes; relu, residual, residual_last
--     activation       kind: relu, sigmoid, tanh, silu, gelu, softplus, hard_swish, leaky_relu, elu; slope of the last
--                      two
--     max_pool         kernel {rows, columns}, stride, padding
--     avg_pool         the same, and count_include_pad
--     global_avg_pool  {C}, with keeps_dimensions {1,1,C}; global_max_pool too
--     flatten
--     add              inputs {a, b}; relu
--     cat              inputs, along the channels
--     multiply         inputs {a, b}; sizes of 1 are broadcast
--     subtract         inputs {a, b}; the same
--     module           item: whatever else, which is called
--
-- Batch norm becomes part of the convolution or dense layer before it, where nothing else reads what lies between; a
-- dense layer on pixels is a convolution of 1x1, so is PadShortcut, and SqueezeExcitation is taken apart.

local core = require "texres.core"
local lowered = require "texres.lowered"
local module = require "texres.nn.module"
local nn = require "texres.nn"
local plan = require "texres.nn.plan"
local raise = require "texres.raise"
local standardized = require("texres.nn.conv_more").standardized

local Lowering = {}
Lowering.__index = Lowering

--- Adds a step, and tries it on zeros: returns the number of its value.
function Lowering:add(step)
  step.output = #self.values + 1
  self.values[step.output] = lowered.step(step, self.values)
  self.steps[#self.steps + 1] = step
  return step.output
end

--- The shape {H,W,C} or {F} of a value.
function Lowering:shape(value)
  local shape = self.values[value]:shape()
  table.remove(shape, 1)
  return shape
end

-- -- windows ----------------------------------------------------------------------------------------------------------

local function pair(value)
  if type(value) == "table" then return { value[1], value[2] } end
  return { value, value }
end

-- Padding {before, behind} along an axis of `size` pixels, as far as windows look into it.
local function along_axis(size, reach, stride, padding, before, behind)
  local count
  if padding == "same" then
    count = (size + stride - 1) // stride
    before = math.max(0, (count - 1) * stride + reach - size) // 2
  else
    count = (size + before + behind - reach) // stride + 1
  end
  return before, math.max(0, (count - 1) * stride + reach - size - before)
end

-- The padding {top, bottom, left, right} of windows on images {H,W,C}, in numbers.
local function padding_of(shape, kernel, stride, dilation, padding)
  local sides = { 0, 0, 0, 0 }
  if type(padding) == "number" then
    sides = { padding, padding, padding, padding }
  elseif type(padding) == "table" then
    sides = padding
  end
  local list = {}
  for axis = 1, 2 do
    local reach = dilation[axis] * (kernel[axis] - 1) + 1
    list[2 * axis - 1], list[2 * axis] = along_axis(shape[axis], reach, stride[axis], padding, sides[2 * axis - 1],
      sides[2 * axis])
  end
  return list
end

-- -- layers -----------------------------------------------------------------------------------------------------------

local function f32(t) return t and t:detach():to "f32" end

local LAYERS = {} -- class -> function(lowering, layer, x), which returns the number of a value, or nil: call it

local function conv(lowering, layer, x, weight)
  local stride, dilation = pair(layer.stride), pair(layer.dilation)
  local kernel = { weight:size(1), weight:size(2) }
  return lowering:add {
    op = "conv", input = x, weight = f32(weight), bias = f32(rawget(layer, "bias")), stride = stride,
    padding = padding_of(lowering:shape(x), kernel, stride, dilation, layer.padding), dilation = dilation,
    groups = layer.groups,
  }
end

-- A convolution of 1x1.
local function pointwise(lowering, x, weight, bias, stride)
  return lowering:add {
    op = "conv", input = x, weight = weight:reshape(1, 1, weight:size(1), weight:size(2)), bias = bias,
    stride = pair(stride or 1), padding = { 0, 0, 0, 0 }, dilation = { 1, 1 }, groups = 1,
  }
end

LAYERS[nn.Conv2d] = function(lowering, layer, x) return conv(lowering, layer, x, layer.weight) end

LAYERS[nn.StandardizedConv2d] = function(lowering, layer, x)
  return conv(lowering, layer, x, standardized(layer.weight:detach()))
end

LAYERS[nn.Linear] = function(lowering, layer, x)
  local weight, bias, dimensions = f32(layer.weight), f32(rawget(layer, "bias")), #lowering:shape(x)
  if dimensions == 3 then return pointwise(lowering, x, weight, bias) end
  if dimensions == 1 then return lowering:add { op = "linear", input = x, weight = weight, bias = bias } end
end

LAYERS[nn.BatchNorm] = function(lowering, layer, x)
  local shape = lowering:shape(x)
  for _, name in ipairs { "gamma", "beta", "running_mean", "running_var" } do
    local t = rawget(layer, name)
    if not core.is_tensor(t) or t:numel() ~= shape[#shape] then return nil end
  end
  local factor = layer.gamma:detach() / (layer.running_var + layer.eps):sqrt()
  local shift = layer.beta:detach() - layer.running_mean * factor
  return lowering:add { op = "scale", input = x, factor = f32(factor), shift = f32(shift) }
end

for name, kind in pairs {
  ReLU = "relu", Sigmoid = "sigmoid", Tanh = "tanh", SiLU = "silu", GELU = "gelu", Softplus = "softplus",
  Hardswish = "hard_swish", LeakyReLU = "leaky_relu", ELU = "elu",
} do
  LAYERS[nn[name]] = function(lowering, layer, x)
    return lowering:add {
      op = "activation", kind = kind, slope = rawget(layer, "slope") or rawget(layer, "alpha"), input = x,
    }
  end
end

local function pool(op)
  return function(lowering, layer, x)
    local kernel, stride = pair(layer.kernel), pair(layer.stride)
    local step = { op = op, input = x, kernel = kernel, stride = stride }
    step.padding = padding_of(lowering:shape(x), kernel, stride, { 1, 1 }, layer.padding)
    if op == "avg_pool" then step.count_include_pad = layer.count_include_pad end
    return lowering:add(step)
  end
end

LAYERS[nn.MaxPool2d], LAYERS[nn.AvgPool2d] = pool "max_pool", pool "avg_pool"

LAYERS[nn.GlobalAvgPool] = function(lowering, _, x) return lowering:add { op = "global_avg_pool", input = x } end

LAYERS[nn.GlobalMaxPool] = function(lowering, _, x) return lowering:add { op = "global_max_pool", input = x } end

-- Windows of one size are a pooling.
LAYERS[nn.AdaptiveAvgPool2d] = function(lowering, layer, x)
  local size, shape = pair(layer.size), lowering:shape(x)
  if size[1] == 1 and size[2] == 1 then
    return lowering:add { op = "global_avg_pool", input = x, keeps_dimensions = true }
  end
  if shape[1] % size[1] ~= 0 or shape[2] % size[2] ~= 0 then return nil end
  local window = { shape[1] // size[1], shape[2] // size[2] }
  return lowering:add {
    op = "avg_pool", input = x, kernel = window, stride = window, padding = { 0, 0, 0, 0 }, count_include_pad = true,
  }
end

LAYERS[nn.Flatten] = function(lowering, _, x)
  if #lowering:shape(x) == 1 then return x end
  return lowering:add { op = "flatten", input = x }
end

local function nothing(_, _, x) return x end

LAYERS[nn.Identity], LAYERS[nn.Dropout], LAYERS[nn.StochasticDepth] = nothing, nothing, nothing

LAYERS[nn.SqueezeExcitation] = function(lowering, layer, x)
  local y = lowering:add { op = "global_avg_pool", input = x, keeps_dimensions = true }
  for _, part in ipairs { { layer.squeeze, "relu" }, { layer.excite, "sigmoid" } } do
    y = lowering:add { op = "activation", kind = part[2], input = lowering:layer(part[1], y) }
  end
  return lowering:add { op = "multiply", inputs = { x, y } }
end

-- Ones from each channel to the same.
LAYERS[nn.PadShortcut] = function(lowering, layer, x)
  local weight = core.eye(layer.c_out, layer.c_out):slice(1, 1, layer.c_in):contiguous()
  return pointwise(lowering, x, weight, nil, layer.stride)
end

--- What a layer makes of value x; one that is not known, or has a forward of its own, is called.
function Lowering:layer(layer, x)
  local known = LAYERS[getmetatable(layer)]
  return known and module.is_plain(layer, getmetatable(layer)) and known(self, layer, x)
    or self:add { op = "module", item = layer, input = x }
end

-- -- several values as one --------------------------------------------------------------------------------------------

function Lowering:join(how, inputs)
  if #inputs == 1 then return inputs[1] end
  local dimensions = #self:shape(inputs[1])
  for _, value in ipairs(inputs) do
    if #self:shape(value) ~= dimensions then
      raise("lower: %s of values with %d and %d dimensions", how, dimensions, #self:shape(value))
    end
  end
  if how ~= "multiply" then return self:add { op = how, inputs = inputs } end
  local product = inputs[1]
  for i = 2, #inputs do product = self:add { op = how, inputs = { product, inputs[i] } } end
  return product
end

--- The steps that plan.trace gives.
local function add_traced(lowering, traced)
  local number = { 1 }
  for _, step in ipairs(traced.steps) do
    local value
    if step.item then
      value = lowering:layer(step.item, number[step.input])
    elseif step.sum then
      value = lowering:join("add", { number[step.input], number[step.residual] })
    else
      local inputs = {}
      for i, input in ipairs(step.inputs) do inputs[i] = number[input] end
      value = lowering:join(step.how, inputs)
    end
    number[step.output] = value
  end
  return number[traced.output]
end

-- -- steps that become one --------------------------------------------------------------------------------------------
--
-- A step takes over the one that follows it, where nothing else reads what lies between: a batch norm into a weight, a
-- sum, a ReLU. The step stands where the last of them stood, as all that it reads has been made there.

--- reader[value]: the step that reads it, where there is only one and it reads it once; the output has no reader.
local function only_readers(lowering)
  local reader, count = {}, { [lowering.output] = 1 }
  for _, step in ipairs(lowering.steps) do
    for _, value in ipairs(lowered.reads(step)) do
      reader[value], count[value] = step, (count[value] or 0) + 1
    end
  end
  for value, n in pairs(count) do
    if n > 1 or value == lowering.output then reader[value] = nil end
  end
  return reader
end

local HAS_WEIGHT, TAKES_SUM, TAKES_RELU = { conv = true, linear = true }, { conv = true, scale = true },
  { conv = true, linear = true, scale = true, add = true }

-- The factor and shift of a batch norm, in the weight and bias of what runs before it.
local function take_scale(step, scale)
  if not HAS_WEIGHT[step.op] or step.relu or step.residual or scale.op ~= "scale" then return false end
  step.weight = step.weight * scale.factor -- which has the output channels last
  step.bias = step.bias and step.bias * scale.factor + scale.shift or scale.shift
  return true
end

local function take_sum(step, add)
  if not TAKES_SUM[step.op] or step.residual or add.op ~= "add" then return false end
  step.residual = add.inputs[1] == step.output and add.inputs[2] or add.inputs[1]
  step.residual_last = step.relu
  return true
end

local function take_relu(step, activation)
  if not TAKES_RELU[step.op] or step.relu or activation.kind ~= "relu" then return false end
  step.relu = true
  return true
end

local TAKE = { take_scale, take_sum, take_relu }

--- Has a step take over its only reader, as long as it can; returns the last one, whose place it takes.
local function merge(step, reader, gone)
  local last = step
  while true do
    local following, taken = reader[step.output], false
    if following and gone[following] then following = nil end -- a sum that the step of its other value has taken
    for _, take in ipairs(TAKE) do taken = taken or following ~= nil and take(step, following) end
    if not taken then return last end
    gone[following], step.output, last = true, following.output, following
  end
end

local function merge_all(lowering)
  local reader, gone, instead = only_readers(lowering), {}, {}
  for _, step in ipairs(lowering.steps) do
    if not gone[step] then
      local last = merge(step, reader, gone)
      if last ~= step then instead[last], instead[step] = step, false end
    end
  end
  local steps = {}
  for _, step in ipairs(lowering.steps) do
    local one = instead[step]
    if one == nil and not gone[step] then one = step end
    if one then steps[#steps + 1] = one end
  end
  return steps
end

-- -- the whole --------------------------------------------------------------------------------------------------------

--- The program with values numbered as their steps come.
local function numbered(lowering, steps)
  local number, shapes = { 1 }, { lowering:shape(1) }
  for i, step in ipairs(steps) do
    shapes[i + 1], number[step.output] = lowering:shape(step.output), i + 1
    step.input, step.residual, step.output = number[step.input], number[step.residual], i + 1
    for k, value in ipairs(step.inputs or {}) do step.inputs[k] = number[value] end
  end
  return { input = shapes[1], output = number[lowering.output], shapes = shapes, steps = steps }
end

--- The program of a model, which is in evaluation, for images {H,W,C}. Raises where values are joined that have other
-- numbers of dimensions.
return function(model, input)
  return module.in_eval(model, module.unseen, core.no_grad, function()
    local lowering = setmetatable({ values = { core.zeros { 1, table.unpack(input) } }, steps = {} }, Lowering)
    if plan.is_planned(model) then
      lowering.output = add_traced(lowering, plan.trace(model, plan.is_planned))
    else
      lowering.output = lowering:layer(model, 1)
    end
    return numbered(lowering, merge_all(lowering))
  end)
end
