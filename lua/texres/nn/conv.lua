--- Convolution.

local F = require "texres.nn.functional"
local core = require "texres.core"
local raise = require "texres.raise"
local arguments = require "texres.nn.arguments"
local batch_norm = require "texres.nn.norm"
local option = require "texres.options"
local initialize = require "texres.nn.initialize"
local module = require "texres.nn.module"
local onnx_window = require "texres.onnx.window"

--- Conv2d(c_in, c_out, kernel, {stride=1, padding=0, dilation=1, groups=1, bias=true}).
--
-- Images {N,H,W,C} to {N,P,Q,K}; weight {R,S,C/groups,K}, bias {K}. `kernel`, stride and dilation: a number or
-- {rows, columns}; padding: a number, {top, bottom, left, right}, "same" or "valid". The weight starts He-normal (fan
-- out), the bias at zero.
local Conv2d = module.register("Conv2d", module.Module "Conv2d")
Conv2d.keeps_nothing = true

local KNOWN = {
  stride = option.any(1), padding = option.any(0), dilation = option.any(1), groups = option.integer(1, "[1, inf)"),
  bias = option.switch(true),
}

function Conv2d:init(c_in, c_out, kernel, options)
  local who = getmetatable(self).__name -- of a class made of this one, too
  c_in = option.check(who, "c_in", c_in, option.COUNT)
  c_out = option.check(who, "c_out", c_out, option.COUNT)
  options = option.read(who, options, KNOWN)
  local rows, columns = arguments.pair(who, "kernel", kernel)
  arguments.pair(who, "stride", options.stride)
  arguments.pair(who, "dilation", options.dilation)
  arguments.padding(who, options.padding)
  local groups = options.groups
  if c_in % groups ~= 0 or c_out % groups ~= 0 then
    raise("%s: %d groups do not divide %d input and %d output channels", who, groups, c_in, c_out)
  end
  self.weight = module.Parameter(initialize.kaiming_normal(core.zeros(rows, columns, c_in // groups, c_out)))
  if options.bias then self.bias = module.Parameter(core.zeros(c_out)) end
  self.stride, self.padding, self.dilation, self.groups = options.stride, options.padding, options.dilation, groups
end

function Conv2d:constructor_arguments()
  if not rawget(self, "weight") then return self._arguments end -- it was taken away
  local rows, columns, c_in, c_out = self.weight:size()
  local now = { stride = self.stride, padding = self.padding, dilation = self.dilation, groups = self.groups,
    bias = rawget(self, "bias") ~= nil }
  return module.with_options(now, option.read("Conv2d", nil, KNOWN), c_in * self.groups, c_out,
    rows == columns and rows or { rows, columns })
end

local NOTHING = {}

--- Convolution and what follows it in one pass over memory: `after` is a table {norm = BatchNorm, relu = true,
-- residual_last = true}, all of which may be missing; the residual, a tensor or nil, is added before the ReLU, or with
-- residual_last after it. For plans; a bias and a norm don't go together.
local function run(self, x, after, residual)
  local norm = after.norm
  if norm and batch_norm.is_joint(norm) then
    return batch_norm.run(norm, run(self, x, NOTHING), after, residual)
  end
  local options = {
    stride = self.stride, padding = self.padding, dilation = self.dilation, groups = self.groups,
    relu = after.relu, residual = residual, residual_last = after.residual_last,
  }
  if not norm then
    options.bias = rawget(self, "bias")
    return F.conv2d(x, self.weight, options)
  end
  options.running_mean, options.running_var, options.training = norm.running_mean, norm.running_var, norm.training
  options.momentum, options.eps = norm.momentum, norm.eps
  return F.conv2d_batch_norm(x, self.weight, norm.gamma, norm.beta, options)
end

function Conv2d:forward(x) return run(self, x, NOTHING) end

local function pair(value)
  if type(value) == "table" then return value[1], value[2] end
  return value, value
end

-- Output positions along one side.
local function positions(size, kernel, stride, dilation, padding)
  if padding == "same" then return (size + stride - 1) // stride end
  return (size + padding - dilation * (kernel - 1) - 1) // stride + 1
end

local SHAPE = option.kind("{N,H,W,C}", "table")

--- The shape {N,P,Q,K} of the output for an input of this shape; nil for an input that does not fit the layer.
function Conv2d:output_shape(shape)
  option.check("Conv2d: output_shape", "shape", shape, SHAPE)
  if #shape ~= 4 or shape[4] ~= self.weight:size(3) * self.groups then return nil end
  local stride_h, stride_w = pair(self.stride)
  local dilation_h, dilation_w = pair(self.dilation)
  local pad_h, pad_w = self.padding, self.padding
  if type(pad_h) == "number" then
    pad_h, pad_w = 2 * pad_h, 2 * pad_w
  elseif type(pad_h) == "table" then
    pad_h, pad_w = pad_h[1] + pad_h[2], pad_h[3] + pad_h[4]
  elseif pad_h == "valid" then
    pad_h, pad_w = 0, 0
  end
  local rows, columns, _, k = self.weight:size()
  return {
    shape[1], positions(shape[2], rows, stride_h, dilation_h, pad_h),
    positions(shape[3], columns, stride_w, dilation_w, pad_w), k,
  }
end

--- The window that an output looks through, for receptive fields: {rows, columns} from its first to its last, and its
-- steps.
function Conv2d:window()
  local rows, columns = self.weight:size()
  local dilation_h, dilation_w = pair(self.dilation)
  return { dilation_h * (rows - 1) + 1, dilation_w * (columns - 1) + 1 }, { pair(self.stride) }
end

function Conv2d:algorithm(x)
  return core.conv2d_plan(x, self.weight, {
    stride = self.stride, padding = self.padding, dilation = self.dilation, groups = self.groups,
  }).forward.algorithm
end

--- For checkpoints, before a layer is built: its weights at least, from the arguments of its constructor as data.
function Conv2d.weight_count(c_in, c_out, kernel, options)
  local rows, columns = kernel, kernel
  if type(kernel) == "table" then rows, columns = kernel["1"] or kernel[1], kernel["2"] or kernel[2] end
  return c_in * 1.0 * c_out * rows * columns / (options and options.groups or 1)
end

function Conv2d:multiply_adds(_, output)
  local k = self.weight:size(4)
  return output:numel() // k * self.weight:numel()
end

--- Writes a convolution of this layer's settings with `weight` {R,S,C,K}, its own or what it makes of it.
local function write(self, graph, x, weight)
  local rows, columns = weight:size()
  weight = graph:constant(self, "weight", weight:permute(4, 3, 1, 2)) -- {K,C,R,S}
  local bias = rawget(self, "bias") and graph:constant(self, "bias", self.bias)
  local attributes = onnx_window({ rows, columns }, self.stride, self.padding, self.dilation,
    graph:input_shape(self))
  attributes.group = self.groups
  return graph:node("Conv", { graph:channels_first(x), weight, bias }, attributes, { channels_first = true, dims = 4 })
end

function Conv2d:to_onnx(graph, x) return write(self, graph, x, self.weight) end

return { Conv2d = Conv2d, run = run, write = write }
