--- Further convolutions: ConvTranspose2d, StandardizedConv2d, DepthwiseSeparable.

local F = require "texres.nn.functional"
local activation = require "texres.nn.activation"
local arguments = require "texres.nn.arguments"
local container = require "texres.nn.container"
local conv = require "texres.nn.conv"
local core = require "texres.core"
local initialize = require "texres.nn.initialize"
local module = require "texres.nn.module"
local norm = require "texres.nn.norm"
local onnx_window = require "texres.onnx.window"
local option = require "texres.options"
local raise = require "texres.raise"

--- ConvTranspose2d(c_in, c_out, kernel, {stride=1, padding=0, output_padding=0, bias=true}): what a convolution of
-- these settings does to a gradient on its way back: images {N,H,W,c_in} to {N,P,Q,c_out}, P = (H - 1) stride -
-- 2 padding + kernel + output_padding.
--
-- weight {R,S,c_out,c_in}, that of the convolution; it starts He-normal (its fan out), the bias at zero.
-- kernel and stride: a number or {rows, columns}. Computed as a convolution of the image with zeros between its pixels.
local ConvTranspose2d = module.register("ConvTranspose2d", module.Module "ConvTranspose2d")

local KNOWN = {
  stride = option.any(1), padding = option.integer(0, "[0, inf)"), output_padding = option.integer(0, "[0, inf)"),
  bias = option.switch(true),
}

function ConvTranspose2d:init(c_in, c_out, kernel, options)
  c_in = option.check("ConvTranspose2d", "c_in", c_in, option.COUNT)
  c_out = option.check("ConvTranspose2d", "c_out", c_out, option.COUNT)
  local rows, columns = arguments.pair("ConvTranspose2d", "kernel", kernel)
  options = option.read("ConvTranspose2d", options, KNOWN)
  local stride_rows, stride_columns = arguments.pair("ConvTranspose2d", "stride", options.stride)
  if options.padding >= math.min(rows, columns) then
    raise("ConvTranspose2d: padding %d is not less than the kernel {%d,%d}", options.padding, rows, columns)
  end
  if options.output_padding >= math.max(2, stride_rows, stride_columns) then
    raise("ConvTranspose2d: output_padding %d is not less than the stride", options.output_padding)
  end
  self.weight = module.Parameter(initialize.kaiming_normal(core.zeros(rows, columns, c_out, c_in)))
  if options.bias then self.bias = module.Parameter(core.zeros(c_out)) end
  self.stride, self.padding, self.output_padding = options.stride, options.padding, options.output_padding
end

function ConvTranspose2d:constructor_arguments()
  if not rawget(self, "weight") then return self._arguments end -- it was taken away
  local rows, columns, c_out, c_in = self.weight:size()
  local now = { stride = self.stride, padding = self.padding, output_padding = self.output_padding,
    bias = rawget(self, "bias") ~= nil }
  return module.with_options(now, option.read("ConvTranspose2d", nil, KNOWN), c_in, c_out,
    rows == columns and rows or { rows, columns })
end

-- {N,H,W,C} with stride - 1 zeros behind each row and column but the last, and `more` behind these.
local function spread(x, by_rows, by_columns, more)
  local n, h, w, c = x:size()
  local function zeros(...) return core.zeros({ ... }, { dtype = x.dtype }) end
  if by_columns > 1 then
    x = core.cat({ x:reshape(n, h, w, 1, c), zeros(n, h, w, by_columns - 1, c) }, 4):reshape(n, h, w * by_columns, c)
    x = x:slice(3, 1, (w - 1) * by_columns + 1)
  end
  w = x:size(3)
  if by_rows > 1 then
    x = core.cat({ x:reshape(n, h, 1, w, c), zeros(n, h, by_rows - 1, w, c) }, 3):reshape(n, h * by_rows, w, c)
    x = x:slice(2, 1, (h - 1) * by_rows + 1)
  end
  if more == 0 then return x end
  x = core.cat({ x, zeros(n, x:size(2), more, c) }, 3)
  return core.cat({ x, zeros(n, more, x:size(3), c) }, 2)
end

-- n, n - 1, ..., 1
local function backwards(n)
  local list = {}
  for i = 1, n do list[i] = n + 1 - i end
  return core.tensor(list, { dtype = "i64" })
end

function ConvTranspose2d:forward(x)
  local rows, columns, _, c_in = self.weight:size()
  if x:dim() ~= 4 or x:size(4) ~= c_in then
    raise("ConvTranspose2d: x is %s, wanted images {N,H,W,%d}", module.shape_text(x:shape()), c_in)
  end
  local by_rows, by_columns = arguments.pair("ConvTranspose2d", "stride", self.stride)
  local turned = self.weight:index_select(1, backwards(rows)):index_select(2, backwards(columns)):transpose(3, 4)
  local top, left = rows - 1 - self.padding, columns - 1 - self.padding
  return F.conv2d(spread(x, by_rows, by_columns, self.output_padding), turned:contiguous(), {
    padding = { top, top, left, left }, bias = rawget(self, "bias"),
  })
end

function ConvTranspose2d:multiply_adds(input, _)
  return input:numel() // self.weight:size(4) * self.weight:numel()
end

function ConvTranspose2d.weight_count(c_in, c_out, kernel) return conv.Conv2d.weight_count(c_in, c_out, kernel) end

function ConvTranspose2d:to_onnx(graph, x)
  local rows, columns = self.weight:size()
  local weight = graph:constant(self, "weight", self.weight:permute(4, 3, 1, 2)) -- {c_in,c_out,R,S}
  local bias = rawget(self, "bias") and graph:constant(self, "bias", self.bias)
  local attributes = onnx_window({ rows, columns }, self.stride, self.padding)
  attributes.output_padding = { self.output_padding, self.output_padding }
  return graph:node("ConvTranspose", { graph:channels_first(x), weight, bias }, attributes,
    { channels_first = true, dims = 4 })
end

--- StandardizedConv2d(c_in, c_out, kernel, options of Conv2d): a convolution whose weight is used with mean 0 and
-- deviation 1 over the inputs of each output, (w - mean) / sqrt(var + 1e-5): weight standardization, for GroupNorm and
-- small batches. Qiao et al., "Micro-batch training with batch-channel normalization and weight standardization", 2019.
local StandardizedConv2d = module.register("StandardizedConv2d", module.Module("StandardizedConv2d", conv.Conv2d))

local EPS = 1e-5

local function standardized(weight)
  local over = { 1, 2, 3 }
  local centred = weight - weight:mean(over, true)
  return centred / (centred:pow(2):mean(over, true) + EPS):sqrt()
end

function StandardizedConv2d:forward(x)
  return F.conv2d(x, standardized(self.weight), {
    stride = self.stride, padding = self.padding, dilation = self.dilation, groups = self.groups,
    bias = rawget(self, "bias"),
  })
end

function StandardizedConv2d:to_onnx(graph, x)
  local rows, columns = self.weight:size()
  local weight = core.no_grad(standardized, self.weight):permute(4, 3, 1, 2)
  local bias = rawget(self, "bias") and graph:constant(self, "bias", self.bias)
  local attributes = onnx_window({ rows, columns }, self.stride, self.padding, self.dilation)
  attributes.group = self.groups
  return graph:node("Conv", { graph:channels_first(x), graph:constant(self, "weight", weight), bias }, attributes,
    { channels_first = true, dims = 4 })
end

--- DepthwiseSeparable(c_in, c_out, {kernel=3, stride=1}): a convolution of each channel by itself and one of 1x1 over
-- all of them, each with batch norm and ReLU: about kernel^2 times fewer products than a convolution of both. Items
-- `depthwise`, `norm1`, `pointwise`, `norm2`. Howard et al., "MobileNets", 2017.
local DepthwiseSeparable = module.register("DepthwiseSeparable",
  module.Module("DepthwiseSeparable", container.Sequential))

local SEPARABLE = { kernel = option.integer(3, "[1, inf)"), stride = option.integer(1, "[1, inf)") }

function DepthwiseSeparable:init(c_in, c_out, options)
  local o = option.read("DepthwiseSeparable", options, SEPARABLE)
  container.Sequential.init(self, {
    { depthwise = conv.Conv2d(c_in, c_in, o.kernel, { stride = o.stride, padding = o.kernel // 2, groups = c_in,
      bias = false }) },
    { norm1 = norm.BatchNorm(c_in) }, activation.ReLU(),
    { pointwise = conv.Conv2d(c_in, c_out, 1, { bias = false }) }, { norm2 = norm.BatchNorm(c_out) }, activation.ReLU(),
  })
  rawset(self, "_separable", { c_in, c_out, o, n = 3 })
end

function DepthwiseSeparable:constructor_arguments() return self._separable end

return {
  ConvTranspose2d = ConvTranspose2d, StandardizedConv2d = StandardizedConv2d, DepthwiseSeparable = DepthwiseSeparable,
}
