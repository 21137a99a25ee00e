--- What the operators of ONNX are in texres: operators.Conv(import, node) adds the layer, and returns its output.
--
-- A value is a table
--
--     { id =, dims =, order =, channels =, step = }
--
-- with the number of the value, the dimensions that it has in the file, and how ours have to do with them. `order`:
--
--     "first"    {N,C,H,W} there, {N,H,W,C} here
--     "pooled"   {N,C,1,1} there, {N,C} here
--     "blocks"   {N,C*H*W} there, {N,H*W*C} here: what a Flatten made; the next dense layer has its rows sorted anew
--     "same"     the same here and there
--
-- `channels` is their number where it is known, `step` what made it, `raw` whether it is the input still. A value may
-- wait for what follows, before which it is no value of ours: `waits` names what it is so far, `of` is the value that
-- it is of, and `what` tells more.

local core = require "texres.core"
local means = require "texres.onnx.means"
local module = require "texres.nn.module"
local nn = require "texres.nn"
local plain = require "texres.plain"

local operators = {}

local EXACT = "%.7g" -- what f32 knows of a number: 0.1 is 0.1 again

local function rounded(value) return plain.number(plain.format(EXACT, value)) end

local function near(value, wanted) return value ~= nil and math.abs(value - wanted) < 1e-6 end

-- -- numbers and axes -------------------------------------------------------------------------------------------------

-- The whole numbers of a constant input, nil where there is none.
local function whole_numbers(self, node, i)
  local t = self:constant(node, i)
  if not t then return nil end
  if t.dtype ~= "i64" or t:numel() > 64 then self:fail(node, "input %d is no short list of whole numbers", i) end
  return t:reshape(-1):totable()
end

-- The numbers of an attribute, or of the input in whose place it stands in newer files.
local function axes_of(self, node, i, dims)
  local axes = node.attributes.axes or (node.inputs[i] and whole_numbers(self, node, i))
  local set = {}
  if node.operator == "Unsqueeze" then dims = dims + #(axes or {}) end -- they count the new dimensions
  for k, axis in ipairs(axes or {}) do axes[k] = axis < 0 and axis + dims or axis end
  for _, axis in ipairs(axes or {}) do set[axis] = true end
  return axes, set
end

-- A constant with one number; nil for others.
local function one_number(t) return t and t:numel() == 1 and t.dtype == "f32" and t:reshape(-1):totable()[1] or nil end

-- A constant as one number per channel of x: {n} in the last place here, nil where it is none.
local function per_channel(x, t)
  local n = t:numel()
  if n ~= x.channels then return nil end
  local from_end = x.order == "first" and 3 or 1
  if x.order == "pooled" or x.order == "blocks" or t:dim() < from_end or t:size(-from_end) ~= n then return nil end
  return t:reshape(-1)
end

local function parameter(t) return module.Parameter(t:contiguous()) end

-- -- windows ----------------------------------------------------------------------------------------------------------

local function collapsed(list)
  for _, value in ipairs(list) do
    if value ~= list[1] then return list end
  end
  return list[1]
end

-- The padding in our words; `more` is that of a Pad before.
local function padding_of(self, node, more)
  local how, pads = node.attributes.auto_pad or "NOTSET", node.attributes.pads or { 0, 0, 0, 0 }
  if how == "NOTSET" or how == "" then
    if #pads ~= 4 then self:fail(node, "it has %d paddings, wanted those of rows and columns", #pads) end
    local sum = { pads[1], pads[3], pads[2], pads[4] }
    for i, side in ipairs(more or {}) do sum[i] = sum[i] + side end
    return collapsed(sum)
  end
  if more then self:fail(node, "a Pad before the padding %s", how) end
  if how == "VALID" then return 0 end
  if how == "SAME_UPPER" then return "same" end
  self:fail(node, "the padding %s is not known", how)
end

local function pair_of(self, node, name)
  local list = node.attributes[name] or { 1, 1 }
  if #list ~= 2 then self:fail(node, "%s are of %d dimensions, wanted rows and columns", name, #list) end
  return collapsed(list)
end

local function pooling_options(self, node)
  if (node.attributes.ceil_mode or 0) ~= 0 then self:fail(node, "ceil_mode is not known") end
  if pair_of(self, node, "dilations") ~= 1 then self:fail(node, "a pooling with dilations is not known") end
  local kernel, stride = pair_of(self, node, "kernel_shape"), pair_of(self, node, "strides")
  return kernel, { stride = stride, padding = padding_of(self, node) }
end

-- -- convolution and dense layers -------------------------------------------------------------------------------------

local function set_bias(self, node, layer, i, n)
  local bias = node.inputs[i] and self:constant(node, i)
  if not bias then return end
  if bias:numel() ~= n then self:fail(node, "its bias has %d numbers, wanted %d", bias:numel(), n) end
  layer.bias = parameter(bias:reshape(-1))
end

-- A dense layer of a weight {n_in,n_out}; the rows of one that follows a Flatten come in the order of the file.
local function dense(self, node, x, weight)
  local n_in, n_out = weight:size()
  if x.order == "blocks" then
    if not x.channels or n_in % x.channels ~= 0 then
      self:fail(node, "what follows the Flatten has %d rows, which are no multiple of the channels", n_in)
    end
    weight = weight:reshape(x.channels, n_in // x.channels, n_out):permute(2, 1, 3):reshape(n_in, n_out)
  end
  local layer = nn.Linear(n_in, n_out, { bias = false })
  layer.weight = parameter(weight)
  local y = self:item(node, layer, x, { channels = n_out, order = x.order == "pooled" and "pooled" or "same" }, 2)
  return y, layer, n_out
end

function operators.Conv(self, node)
  local x, pad = self:value(node, 1, "Pad")
  local weight = self:weight(node, 2, 4)
  local k, c, rows, columns = weight:size()
  local groups, stride = node.attributes.group or 1, pair_of(self, node, "strides")
  local padding = padding_of(self, node, pad)
  local layer, y
  if x.order == "pooled" and rows * columns == 1 and padding == 0 and groups == 1 then
    y, layer = dense(self, node, x, weight:reshape(k, c):permute(2, 1))
  else
    self:want(node, x, "first")
    if groups < 1 or k % groups ~= 0 then self:fail(node, "%d groups of %d channels", groups, k) end
    layer = nn.Conv2d(c * groups, k, collapsed { rows, columns }, {
      stride = stride, padding = padding, dilation = pair_of(self, node, "dilations"), groups = groups, bias = false,
    })
    layer.weight = parameter(weight:permute(3, 4, 2, 1))
    y = self:item(node, layer, x, { channels = k }, 2)
  end
  set_bias(self, node, layer, 3, k)
  return y
end

function operators.Gemm(self, node)
  local x, a = self:value(node, 1), node.attributes
  if x.dims ~= 2 or (a.transA or 0) ~= 0 or (a.alpha or 1) ~= 1 or (a.beta or 1) ~= 1 then
    self:fail(node, "only x w + b of {N,C} is known")
  end
  local weight = self:weight(node, 2, 2)
  local y, layer, n_out = dense(self, node, x, (a.transB or 0) ~= 0 and weight:permute(2, 1) or weight)
  set_bias(self, node, layer, 3, n_out)
  return y
end

local LONGEST = 2048 -- pixels: the means of a line are computed with a matrix of as many rows and columns

-- An adaptive pooling as we write it: images by a constant, of which the means of columns are made, then a constant by
-- that, of which those of rows are.
local function means_of(self, node, i)
  local t = self:weight(node, i, 2)
  if i == 2 then t = t:transpose(1, 2) end
  local out, size = t:size()
  if out > size or size > LONGEST or not core.allclose(t, means(size, out), 0, 1e-6) then
    self:fail(node, "a product with images is not known, but for means of rows and columns")
  end
  return out
end

function operators.MatMul(self, node)
  if self:is_constant(node, 1) then
    local x, columns = self:value(node, 2, "means of columns")
    if not columns then self:fail(node, "its first input is a constant") end
    return self:item(node, nn.AdaptiveAvgPool2d { means_of(self, node, 1), columns }, x)
  end
  local x = self:value(node, 1)
  if x.order == "first" then
    return { waits = "means of columns", what = means_of(self, node, 2), of = x, dims = 4 }
  end
  if x.order == "pooled" then self:fail(node, "a product with images is not known") end
  return (dense(self, node, x, self:weight(node, 2, 2)))
end

-- An adaptive pooling as PyTorch writes it where its windows overlap, all of one size: a Transpose to {H,W,N,C},
-- GatherND of the pixels of each window, to {P,R,Q,S,N,C}, a Transpose to {N,C,P,R,Q,S}, and the mean over R and S.
local WINDOWS_FROM, WINDOWS_TO = "2 3 0 1", "4 5 0 1 2 3"

-- Whether windows that begin at `first`, each `long` pixels, are those of an adaptive pooling of `size` pixels.
local function are_adaptive(first, long, size)
  for p, at in ipairs(first) do
    local out = #first
    if at ~= (p - 1) * size // out or at + long ~= (p * size + out - 1) // out then return false end
  end
  return true
end

-- Indices {P,R,Q,S,2} of pixels as {rows, columns} of windows; nil where they are of no adaptive pooling.
local function windows_of(index)
  if index.dtype ~= "i64" or index:dim() ~= 5 or index:size(5) ~= 2 or index:numel() == 0 then return nil end
  local out, windows = {}, index:shape()
  for axis = 1, 2 do
    local at = index:select(5, axis):to "f64"
    local line = (axis == 1 and at:select(4, 1):select(3, 1) or at:select(2, 1):select(1, 1)):contiguous()
    local long, first = windows[2 * axis], line:select(2, 1):contiguous():totable()
    local grid = core.arange(0, long - 1):to("f64") + line:select(2, 1):contiguous():reshape(-1, 1)
    grid = axis == 1 and grid:reshape(#first, long, 1, 1) or grid:reshape(1, 1, #first, long)
    if not are_adaptive(first, long, first[#first] + long) or (at - grid):abs():max():item() ~= 0 then return nil end
    out[axis] = #first
  end
  return out
end

function operators.GatherND(self, node)
  local x, images = self:value(node, 1, "Transpose to {H,W,N,C}")
  local out = images and (node.attributes.batch_dims or 0) == 0 and windows_of(self:constant(node, 2))
  if not out then self:fail(node, "only the windows of an adaptive pooling, all of one size, are known") end
  return { waits = "list of windows", what = out, of = x, dims = 6 }
end

-- What a Transpose on the way to such a pooling makes; nil for others.
local function towards_windows(x, order)
  if order == WINDOWS_FROM and x.order == "first" then
    return { waits = "Transpose to {H,W,N,C}", what = true, of = x, dims = 4 }
  end
  if order == WINDOWS_TO and x.waits == "list of windows" then
    return { waits = "set of windows", what = x.what, of = x.of, dims = 6 }
  end
end

-- The mean over the pixels of each window.
local function mean_of_windows(self, node)
  local x, out = self:value(node, 1, "set of windows")
  local _, set = axes_of(self, node, 2, 6)
  if not set[3] or not set[5] or (node.attributes.keepdims or 1) ~= 0 then
    self:fail(node, "only the mean over the pixels of windows is known")
  end
  return self:item(node, nn.AdaptiveAvgPool2d(collapsed(out)), x)
end

function operators.ConvTranspose(self, node)
  local x = self:want(node, self:value(node, 1), "first")
  local weight, a = self:weight(node, 2, 4), node.attributes
  local c_in, k, rows, columns = weight:size()
  local groups, more = a.group or 1, collapsed(a.output_padding or { 0, 0 })
  if a.output_shape or padding_of(self, node) == "same" then
    self:fail(node, "an output of this size is not known; give paddings as numbers")
  end
  local layer = nn.ConvTranspose2d(c_in, k * groups, collapsed { rows, columns }, {
    stride = pair_of(self, node, "strides"), padding = padding_of(self, node), output_padding = more,
    dilation = pair_of(self, node, "dilations"), groups = groups, bias = false,
  })
  layer.weight = parameter(weight:permute(3, 4, 2, 1))
  set_bias(self, node, layer, 3, k * groups)
  return self:item(node, layer, x, { channels = k * groups }, 2)
end

-- A factor that is a whole number of rows and of columns.
local function factors_of(self, node)
  local scales = node.inputs[3] and self:constant(node, 3)
  local list = scales and scales:numel() == 4 and scales:reshape(-1):totable() or {}
  local rows, columns = math.tointeger(list[3]), math.tointeger(list[4])
  if list[1] ~= 1 or list[2] ~= 1 or not rows or not columns or rows < 1 or columns < 1 then
    self:fail(node, "only whole factors of rows and columns are known")
  end
  return collapsed { rows, columns }
end

function operators.Resize(self, node)
  local x, a = self:want(node, self:value(node, 1), "first"), node.attributes
  local mode, where = a.mode or "nearest", a.coordinate_transformation_mode or "half_pixel"
  local nearest = mode == "nearest" and where == "asymmetric" and a.nearest_mode == "floor"
  local linear = mode == "linear" and (where == "half_pixel" or where == "pytorch_half_pixel")
  if not nearest and not linear then self:fail(node, "the mode %s with %s is not known", mode, where) end
  return self:item(node, nn.Upsample(factors_of(self, node), { mode = linear and "bilinear" or "nearest" }), x)
end

-- -- norms ------------------------------------------------------------------------------------------------------------

function operators.BatchNormalization(self, node)
  local x, a = self:value(node, 1), node.attributes
  if (a.training_mode or 0) ~= 0 then self:fail(node, "it is written for training; export it in evaluation") end
  if x.order == "blocks" or (x.dims == 4 and x.order == "same") then
    self:fail(node, "its channels are not the last dimension")
  end
  local layer
  for i, name in ipairs { "gamma", "beta", "running_mean", "running_var" } do
    local t = self:weight(node, i + 1, 1)
    layer = layer or nn.BatchNorm(t:numel(), {
      eps = rounded(a.epsilon or 1e-5), momentum = rounded(1 - rounded(a.momentum or 0.9)),
    })
    if t:numel() ~= layer.gamma:numel() then self:fail(node, "%s has %d numbers", name, t:numel()) end
    layer[name] = i <= 2 and parameter(t) or t
  end
  return self:item(node, layer, x, { channels = layer.gamma:numel() }, 2)
end

-- Of images it is a group norm with a group for each channel; of a Reshape to groups, and back, one of these groups.
function operators.InstanceNormalization(self, node)
  local x, groups = self:value(node, 1, "groups")
  local scale, bias = self:weight(node, 2, 1), self:weight(node, 3, 1)
  self:want(node, x, "first")
  if scale:numel() ~= (groups or x.channels) or bias:numel() ~= scale:numel() then
    self:fail(node, "its scale and bias are not one number for each channel")
  end
  local layer = nn.GroupNorm(groups or x.channels, x.channels, { eps = rounded(node.attributes.epsilon or 1e-5) })
  if not groups then
    layer.gamma, layer.beta = parameter(scale), parameter(bias)
    return self:item(node, layer, x, {}, 2)
  end
  local range = scale:min():item() == 1 and scale:max():item() == 1 and bias:abs():max():item() == 0
  if not range then self:fail(node, "the groups have a scale of their own") end
  return { waits = "norm of groups", what = layer, of = x, dims = 3 }
end

function operators.LayerNormalization(self, node)
  local x, a = self:value(node, 1), node.attributes
  local last = (a.axis or -1) == -1 or a.axis == x.dims - 1
  local gamma, beta = self:weight(node, 2, 1), node.inputs[3] and self:weight(node, 3, 1)
  if not last or x.order == "first" or x.order == "blocks" or not beta or beta:numel() ~= gamma:numel() then
    self:fail(node, "only one over the last dimension, with scale and bias, is known")
  end
  local layer = nn.LayerNorm(gamma:numel(), { eps = rounded(a.epsilon or 1e-5) })
  layer.gamma, layer.beta = parameter(gamma), parameter(beta)
  return self:item(node, layer, x, { channels = gamma:numel() }, 2)
end

-- -- pooling ----------------------------------------------------------------------------------------------------------

function operators.MaxPool(self, node)
  local x = self:want(node, self:value(node, 1), "first")
  local kernel, options = pooling_options(self, node)
  return self:item(node, nn.MaxPool2d(kernel, options), x)
end

function operators.AveragePool(self, node)
  local x = self:want(node, self:value(node, 1), "first")
  local kernel, options = pooling_options(self, node)
  options.count_include_pad = (node.attributes.count_include_pad or 0) ~= 0 or options.padding == 0
  return self:item(node, nn.AvgPool2d(kernel, options), x)
end

local function global(class)
  return function(self, node)
    local x = self:value(node, 1)
    if x.order == "pooled" then return x end
    return self:item(node, class(), self:want(node, x, "first"), { order = "pooled" })
  end
end
operators.GlobalAveragePool, operators.GlobalMaxPool = global(nn.GlobalAvgPool), global(nn.GlobalMaxPool)

-- The mean or the largest value over rows and columns.
local function reduce(pool)
  return function(self, node)
    if self:any(node, 1).waits and pool == operators.GlobalAveragePool then return mean_of_windows(self, node) end
    local axes, set = axes_of(self, node, 2, 4)
    if not axes or #axes ~= 2 or not set[2] or not set[3] then
      self:fail(node, "only one over rows and columns is known")
    end
    local y = pool(self, node)
    return (node.attributes.keepdims or 1) ~= 0 and y or self:same(y, { order = "same", dims = 2 })
  end
end
operators.ReduceMean, operators.ReduceMax = reduce(operators.GlobalAveragePool), reduce(operators.GlobalMaxPool)

-- -- activations ------------------------------------------------------------------------------------------------------

local function elementwise(class)
  return function(self, node) return self:item(node, class(), (self:value(node, 1))) end
end
for name, class in pairs { Relu = nn.ReLU, Sigmoid = nn.Sigmoid, Tanh = nn.Tanh, Softplus = nn.Softplus,
  HardSwish = nn.Hardswish } do
  operators[name] = elementwise(class)
end

local function with_factor(class, default)
  return function(self, node)
    return self:item(node, class(rounded(node.attributes.alpha or default)), (self:value(node, 1)))
  end
end
operators.LeakyRelu, operators.Elu = with_factor(nn.LeakyReLU, 0.01), with_factor(nn.ELU, 1)

function operators.Gelu(self, node)
  if (node.attributes.approximate or "none") ~= "none" then self:fail(node, "the approximation is not known") end
  return self:item(node, nn.GELU(), (self:value(node, 1)))
end

function operators.HardSigmoid(self, node)
  if not near(node.attributes.alpha, 1 / 6) or not near(node.attributes.beta or 0.5, 0.5) then
    self:fail(node, "only that of hard_swish is known")
  end
  return { waits = "HardSigmoid", of = self:value(node, 1) }
end

-- Logits {N,C} times a number above 0, of which a Softmax makes probabilities: `what` is one divided by it.
local function tempered(x, number)
  if x.dims ~= 2 or not number or number <= 0 then return nil end
  return { waits = "logits / temperature", of = x, what = rounded(1 / number) }
end

-- Logits are what models give here: one at the end is told apart, elsewhere it is not known.
function operators.Softmax(self, node)
  local x, temperature = self:value(node, 1, "logits / temperature")
  local axis = node.attributes.axis or 1 -- in newer files -1, which is the same of {N,C}
  if (x.dims ~= 2 and x.order ~= "pooled") or (axis ~= 1 and axis ~= 1 - x.dims) then
    self:fail(node, "only one over the channels of {N,C} is known")
  end
  return { waits = "Softmax", of = x, what = temperature }
end

-- -- sums, products ---------------------------------------------------------------------------------------------------

-- The steps of GELU as they are written out, x (1 + erf(x / sqrt 2)) / 2, from one to the next.
local function gelu_step(self, node, values, number)
  local a = values[1]
  if number and near(number, math.sqrt(0.5)) and not a.waits then return { waits = "x / sqrt 2", of = a } end
  if number and near(number, 0.5) and a.waits == "x (1 + erf)" then return self:item(node, nn.GELU(), a.of) end
  for i, other in ipairs(values) do
    local x = values[3 - i]
    if other.waits == "1 + erf" and x and not x.waits and x.id == other.of.id then
      return { waits = "x (1 + erf)", of = x }
    end
  end
end

function operators.Erf(self, node)
  local x = self:any(node, 1)
  if x.waits ~= "x / sqrt 2" then self:fail(node, "only that of GELU is known") end
  return { waits = "erf", of = x.of }
end

-- What stands behind a value: its items, from the last back, while they are of these classes.
local function made_by(self, x, classes)
  local items, id = {}, x.id
  for i, class in ipairs(classes) do
    local step = self:maker(id)
    if not step or getmetatable(step.item) ~= class then return nil end
    items[i], id = step.item, step.input
  end
  return items, id
end

local EXCITATION = { nn.Sigmoid, nn.Linear, nn.ReLU, nn.Linear, nn.GlobalAvgPool }

-- x times what squeezing and exciting made of it, for a `scale` that is pooled.
local function squeeze_excitation(self, node, x, scale)
  local items, id = made_by(self, scale, EXCITATION)
  if not items or id ~= x.id then return nil end
  local excite, squeeze = items[2], items[4]
  local channels, few = squeeze.weight:size()
  local layer = nn.SqueezeExcitation(channels, { reduction = math.max(1, channels // few) })
  if layer.squeeze.weight:size(2) ~= few or not rawget(squeeze, "bias") or not rawget(excite, "bias") then
    self:fail(node, "a squeeze and excitation from %d to %d channels is not known", channels, few)
  end
  layer.squeeze, layer.excite = squeeze, excite
  return self:item(node, layer, x)
end

-- Layers that make of {N,1,1,C} what they make of {N,C}.
local OF_CHANNELS = {}
for _, name in ipairs { "Linear", "BatchNorm", "LayerNorm", "Dropout", "ReLU", "Sigmoid", "Tanh", "SiLU", "GELU",
  "LeakyReLU", "ELU", "Hardswish", "Softplus" } do
  OF_CHANNELS[nn[name]] = true
end

-- A value of each channel, {N,C} here, as an image of one pixel: its layers follow a pooling that keeps rows and
-- columns. Nil for one that is no mean, or that more than layers made.
local function as_pixel(self, node, y)
  local items, step = {}, self:maker(y.id)
  while step and OF_CHANNELS[getmetatable(step.item)] do
    table.insert(items, 1, step.item)
    step = self:maker(step.input)
  end
  if not step or getmetatable(step.item) ~= nn.GlobalAvgPool then return nil end
  local pixel = self:item(node, nn.AdaptiveAvgPool2d(1), { id = step.input, dims = 4, order = "first" })
  for _, item in ipairs(items) do pixel = self:item(node, item, pixel) end
  return self:same(pixel, { channels = y.channels })
end

-- The scale or shift of a group norm that has none yet.
local function into_group_norm(self, node, x, t, name)
  local layer = x.step and x.step.item
  local channel = layer and (x.bare == "both" or x.bare == name) and per_channel(x, t)
  if not channel or not self:only_reader(node) then return nil end
  layer[name] = parameter(channel)
  return self:same(x, { step = x.step, bare = name == "gamma" and "beta" })
end

-- A bias that was written as a sum.
local function into_bias(self, node, x, t)
  local layer = x.step and x.step.item
  local class = getmetatable(layer)
  if (class ~= nn.Conv2d and class ~= nn.Linear) or rawget(layer, "bias") or not self:only_reader(node) then
    return nil
  end
  local channel = per_channel(x, t)
  if not channel then return nil end
  layer.bias = parameter(channel)
  return x
end

-- The operands: the values among them, and the constant with its place.
local function operands(self, node)
  local values, constant, place = {}, nil, nil
  for i = 1, 2 do
    if self:is_constant(node, i) then
      constant, place = self:constant(node, i), i
    else
      values[#values + 1] = self:any(node, i)
    end
  end
  if #values == 0 then self:fail(node, "nothing in it comes from the images") end
  return values, constant, place
end

local function unknown_constant(self, node)
  self:fail(node, "a constant here is not known: neither normalization of the input nor part of a layer")
end

-- Takes a sum or product of the input for its normalization: (x - mean) / std.
local function normalized(self, node, x, t, how)
  if not self:is_input(node, x) then return nil end
  local numbers = one_number(t) or (per_channel(x, t) and t:reshape(-1):totable())
  if not numbers then unknown_constant(self, node) end
  self:normalize(how, numbers)
  return x
end

-- Raises unless two values are of the same shape, as far as it is known; a value may have `one_channel` for all.
local function check_alike(self, node, x, y, what, one_channel)
  self:ready(node, x)
  self:ready(node, y)
  local fits = not x.channels or not y.channels or x.channels == y.channels
    or one_channel and x.order ~= "blocks" and (x.channels == 1 or y.channels == 1)
  if x.order ~= y.order or x.dims ~= y.dims or not fits then
    self:fail(node, "%s of values of different shapes is not known", what)
  end
end

function operators.Add(self, node)
  local values, constant = operands(self, node)
  local x = values[1]
  if constant then
    if x.waits == "erf" and near(one_number(constant), 1) then return { waits = "1 + erf", of = x.of } end
    self:ready(node, x)
    return normalized(self, node, x, constant, "add") or into_group_norm(self, node, x, constant, "beta")
      or into_bias(self, node, x, constant) or unknown_constant(self, node)
  end
  check_alike(self, node, x, values[2], "a sum")
  return self:sum(x, values[2])
end

function operators.Sub(self, node)
  local values, constant, place = operands(self, node)
  local x, y = self:ready(node, values[1]), values[2]
  if y then
    check_alike(self, node, x, y, "a difference")
    return self:join("subtract", values, { dims = x.dims, order = x.order, channels = x.channels or y.channels })
  end
  return place == 2 and normalized(self, node, x, constant, "subtract")
    or self:fail(node, "only that of a normalization of the input is known, and of two values")
end

function operators.Mul(self, node)
  local values, constant = operands(self, node)
  local found = gelu_step(self, node, values, one_number(constant))
  if found then return found end
  local x, y = values[1], values[2]
  if constant then
    self:ready(node, x)
    return normalized(self, node, x, constant, "multiply") or into_group_norm(self, node, x, constant, "gamma")
      or tempered(x, one_number(constant)) or unknown_constant(self, node)
  end
  if x.waits then x, y = y, x end
  if y.waits == "HardSigmoid" and y.of.id == x.id then return self:item(node, nn.Hardswish(), x) end
  self:ready(node, x)
  self:ready(node, y)
  if x.order == "pooled" then x, y = y, x end
  local function gated(a, b)
    local items, id = made_by(self, b, { nn.Sigmoid })
    return items and id == a.id
  end
  if gated(x, y) or gated(y, x) then return self:item(node, nn.SiLU(), gated(x, y) and x or y) end
  local excited = y.order == "pooled" and squeeze_excitation(self, node, x, y)
  if excited then return excited end
  if y.order == "pooled" and x.order == "first" then y = as_pixel(self, node, y) or y end
  check_alike(self, node, x, y, "a product", true)
  local channels = x.channels and y.channels and math.max(x.channels, y.channels)
  return self:join("multiply", { x, y }, { dims = x.dims, order = x.order, channels = channels })
end

function operators.Div(self, node)
  local values, constant, place = operands(self, node)
  local x, number = values[1], one_number(constant)
  if place == 2 and number and number ~= 0 then
    local found = gelu_step(self, node, values, 1 / number)
    if found then return found end
  end
  self:ready(node, x)
  return constant and place == 2 and normalized(self, node, x, constant, "divide")
    or place == 2 and number ~= 0 and tempered(x, number and 1 / number)
    or self:fail(node, "only that of a normalization of the input is known")
end

-- -- shapes -----------------------------------------------------------------------------------------------------------
--
-- What is computed of sizes has `sizes`: numbers, false for one that may be any, "N" for the first, that of the batch.

function operators.Shape(self, node)
  local x = self:any(node, 1)
  local sizes = { "N" }
  for i = 2, x.dims do sizes[i] = false end
  return { waits = "Shape", sizes = sizes }
end

function operators.Gather(self, node)
  local x, index = self:any(node, 1), whole_numbers(self, node, 2)
  if not x.sizes or not index or #index ~= 1 then self:fail(node, "only one of a shape is known") end
  local place = index[1] < 0 and index[1] + #x.sizes or index[1]
  return { waits = "Shape", sizes = { x.sizes[place + 1] } }
end

-- The sizes that an input holds, constant or computed; nil where it is another.
local function sizes_of(self, node, i)
  if self:is_constant(node, i) then return whole_numbers(self, node, i) end
  return self:any(node, i).sizes
end

local function concat_sizes(self, node)
  local all = {}
  for i = 1, #node.inputs do
    for _, size in ipairs(sizes_of(self, node, i) or {}) do all[#all + 1] = size end
  end
  return { waits = "Shape", sizes = all }
end

function operators.Concat(self, node)
  for i = 1, #node.inputs do
    if not self:is_constant(node, i) and self:any(node, i).sizes then return concat_sizes(self, node) end
  end
  local values, channels = {}, 0
  for i = 1, #node.inputs do
    local x = self:value(node, i)
    values[i], channels = x, x.channels and channels and channels + x.channels
    if x.order == "blocks" or x.order ~= values[1].order or x.dims ~= values[1].dims then
      self:fail(node, "values of different shapes beside each other are not known")
    end
  end
  local x = values[1]
  local wanted, axis = (x.order == "same") and x.dims - 1 or 1, node.attributes.axis
  if axis ~= wanted and axis ~= wanted - x.dims then self:fail(node, "only one of channels is known") end
  return self:join("cat", values, { order = x.order, dims = x.dims, channels = channels })
end

-- {N,...} as {N, the rest}.
local function flattened(self, node, x)
  if x.dims == 2 then return x end
  if x.order == "pooled" then return self:same(x, { order = "same", dims = 2 }) end
  local order = x.order == "first" and "blocks" or "same"
  return self:item(node, nn.Flatten(), x, { order = order, dims = 2, channels = order == "blocks" and x.channels })
end

function operators.Flatten(self, node)
  if (node.attributes.axis or 1) ~= 1 then self:fail(node, "only one to {N,C} is known") end
  return flattened(self, node, (self:value(node, 1)))
end

-- Whether n numbers of each image are not the C ones that x has.
local function is_regrouped(x, n)
  local is_vector = x.order == "pooled" or (x.order == "same" and x.dims == 2)
  return is_vector and x.channels and math.type(n) == "integer" and n > 0 and n ~= x.channels
end

function operators.Reshape(self, node)
  local x = self:any(node, 1)
  local sizes = sizes_of(self, node, 2)
  if not sizes then self:fail(node, "the shape is not known") end
  if x.waits == "norm of groups" then
    if #sizes ~= 4 or (sizes[2] and sizes[2] ~= x.of.channels) then self:fail(node, "the groups do not end") end
    return self:item(node, x.what, x.of, { bare = "both" })
  end
  self:ready(node, x)
  local batch = self.batch and sizes[1] == self.batch
  local is_batch = batch or sizes[1] == "N" or sizes[1] == 0 or sizes[1] == -1
  if #sizes == 3 and is_batch and x.order == "first" and x.channels and math.type(sizes[2]) == "integer"
    and sizes[2] > 0 and x.channels % sizes[2] == 0 then
    return { waits = "groups", what = sizes[2], of = x, dims = 3 }
  end
  if #sizes == 4 and is_batch and x.dims == 2 and x.order == "same" and sizes[3] == 1 and sizes[4] == 1 then
    return self:same(x, { order = "pooled", dims = 4 })
  end
  if #sizes ~= 2 or not is_batch or is_regrouped(x, sizes[2]) then self:fail(node, "only one to {N,C} is known") end
  return flattened(self, node, x)
end

function operators.Squeeze(self, node)
  local x = self:value(node, 1)
  local axes, set = axes_of(self, node, 2, 4)
  if x.order ~= "pooled" or not axes or #axes ~= 2 or not set[2] or not set[3] then
    self:fail(node, "only that of rows and columns after a global pooling is known")
  end
  return flattened(self, node, x)
end

function operators.Unsqueeze(self, node)
  local x = self:any(node, 1)
  if x.sizes then return x end
  local axes, set = axes_of(self, node, 2, 2)
  if self:ready(node, x).dims ~= 2 or x.order ~= "same" or not axes or #axes ~= 2 or not set[2] or not set[3] then
    self:fail(node, "only that of {N,C} to {N,C,1,1} is known")
  end
  return self:same(x, { order = "pooled", dims = 4 })
end

function operators.Transpose(self, node)
  local order = table.concat(node.attributes.perm or {}, " ")
  local waiting = towards_windows(self:any(node, 1), order)
  if waiting then return waiting end
  local x = self:value(node, 1)
  if order == "0 2 3 1" and x.order == "first" then return self:same(x, { order = "same" }) end
  if order == "0 2 3 1" and x.order == "pooled" and x.step and getmetatable(x.step.item) == nn.GlobalAvgPool
    and self:only_reader(node) then
    x.step.item = nn.AdaptiveAvgPool2d(1) -- whose output has rows and columns
    return self:same(x, { order = "same", dims = 4 })
  end
  if order == "0 3 1 2" and x.order == "same" and x.dims == 4 then return self:same(x, { order = "first" }) end
  self:fail(node, "only one between {N,C,H,W} and {N,H,W,C} is known")
end

-- What a Pad adds in front of all dimensions and behind; newer files may tell which ones it is about. Nil where that is
-- not known.
local function pads_of(self, node)
  local pads, axes = node.attributes.pads or whole_numbers(self, node, 2), axes_of(self, node, 4, 4)
  if not axes or not pads then return pads end
  local all = { 0, 0, 0, 0, 0, 0, 0, 0 }
  for k, axis in ipairs(axes) do
    if axis < 0 or axis > 3 or #pads ~= 2 * #axes then return nil end
    all[axis + 1], all[axis + 5] = pads[k], pads[k + #axes]
  end
  return all
end

-- Rows and columns of zeros, which the next convolution takes for its padding, or channels of them.
function operators.Pad(self, node)
  local x = self:want(node, self:value(node, 1), "first")
  local pads = pads_of(self, node)
  local fill = node.attributes.value or (node.inputs[3] and one_number(self:constant(node, 3)))
  if (node.attributes.mode or "constant") ~= "constant" or (fill or 0) ~= 0 or not pads or #pads ~= 8 then
    self:fail(node, "only one with zeros is known")
  end
  for _, side in ipairs(pads) do
    if side < 0 then self:fail(node, "it cuts off") end
  end
  if pads[1] + pads[2] + pads[5] > 0 then self:fail(node, "only one of rows, columns or channels behind is known") end
  local image = { pads[3], pads[7], pads[4], pads[8] }
  local has_image = image[1] + image[2] + image[3] + image[4] > 0
  if pads[6] == 0 then return has_image and { waits = "Pad", what = image, of = x } or x end
  if has_image or not x.channels then self:fail(node, "only one of rows and columns, or of channels, is known") end
  return self:item(node, nn.PadShortcut(x.channels, x.channels + pads[6]), x, { channels = x.channels + pads[6] })
end

-- -- constants --------------------------------------------------------------------------------------------------------

--- What an operator makes of a constant, a tensor.
operators.of_constants = {
  Identity = function(self, node) return self:constant(node, 1) end,
  Transpose = function(self, node)
    local t, order = self:constant(node, 1), {}
    for i = 1, t:dim() do order[i] = node.attributes.perm and (node.attributes.perm[i] or 0) + 1 or t:dim() + 1 - i end
    return t:permute(table.unpack(order)):contiguous()
  end,
  Unsqueeze = function(self, node)
    local t = self:constant(node, 1)
    local axes, set = axes_of(self, node, 2, t:dim())
    if not axes or #axes > 4 then self:fail(node, "its axes are not known") end
    local shape, own, k = {}, t:shape(), 0
    for i = 1, t:dim() + #axes do
      if not set[i - 1] then k = k + 1 end
      shape[i] = set[i - 1] and 1 or own[k]
    end
    return t:reshape(shape)
  end,
}

function operators.Identity(self, node)
  local x = self:any(node, 1)
  return x.waits and x or self:same(x, {})
end

function operators.Cast(self, node)
  local x = self:any(node, 1)
  if not x.sizes and node.attributes.to ~= 1 then self:fail(node, "only one to floats is known") end
  return (x.waits or self:is_input(node, x)) and x or self:same(x, {})
end

function operators.Dropout(self, node)
  local ratio = node.attributes.ratio or (node.inputs[2] ~= nil and one_number(self:constant(node, 2)))
  return self:item(node, nn.Dropout(rounded(ratio or 0.5)), (self:value(node, 1)))
end

return operators
