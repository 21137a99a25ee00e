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

--- ConvTranspose2d(c_in, c_out, kernel, {stride=1, padding=0, output_padding=0, dilation=1, groups=1, bias=true}).
--
-- Images {N,H,W,C} to {N,P,Q,K}, P = (H - 1) * stride + dilation * (R - 1) + 1 - top - bottom + output_padding: every
-- pixel adds its window to the output, as in the gradient of a convolution. Weight {R,S,K/groups,C}, bias {K};
-- `padding`, which is cut off: a number or {top, bottom, left, right}; output_padding, a number or {rows, columns},
-- adds rows below and columns on the right, fewer than the stride. The weight starts He-normal, the bias at zero.
local ConvTranspose2d = module.register("ConvTranspose2d", module.Module "ConvTranspose2d")
ConvTranspose2d.keeps_nothing = true

local TRANSPOSED = {
  stride = option.any(1), padding = option.any(0), output_padding = option.any(0),
  dilation = option.any(1), groups = option.integer(1, "[1, inf)"), bias = option.switch(true),
}

function ConvTranspose2d:init(c_in, c_out, kernel, options)
  c_in = option.check("ConvTranspose2d", "c_in", c_in, option.COUNT)
  c_out = option.check("ConvTranspose2d", "c_out", c_out, option.COUNT)
  options = option.read("ConvTranspose2d", options, TRANSPOSED)
  local rows, columns = arguments.pair("ConvTranspose2d", "kernel", kernel)
  local stride = { arguments.pair("ConvTranspose2d", "stride", options.stride) }
  arguments.pair("ConvTranspose2d", "dilation", options.dilation)
  arguments.padding("ConvTranspose2d", options.padding, nil, true)
  for i, more in ipairs { arguments.pair("ConvTranspose2d", "output_padding", options.output_padding, option.INDEX) } do
    if more >= stride[i] then
      raise("ConvTranspose2d: output_padding %d is not less than the stride %d", more, stride[i])
    end
  end
  local groups = options.groups
  if c_in % groups ~= 0 or c_out % groups ~= 0 then
    raise("ConvTranspose2d: %d groups do not divide %d input and %d output channels", groups, c_in, c_out)
  end
  self.weight = module.Parameter(initialize.kaiming_normal(core.zeros(rows, columns, c_out // groups, c_in)))
  if options.bias then self.bias = module.Parameter(core.zeros(c_out)) end
  self.stride, self.padding, self.dilation, self.groups = options.stride, options.padding, options.dilation, groups
  self.output_padding = options.output_padding
end

function ConvTranspose2d:constructor_arguments()
  if not rawget(self, "weight") then return self._arguments end -- it was taken away
  local rows, columns, k, c_in = self.weight:size()
  local now = { stride = self.stride, padding = self.padding, output_padding = self.output_padding,
    dilation = self.dilation, groups = self.groups, bias = rawget(self, "bias") ~= nil }
  return module.with_options(now, option.read("ConvTranspose2d", nil, TRANSPOSED), c_in, k * self.groups,
    rows == columns and rows or { rows, columns })
end

function ConvTranspose2d:forward(x)
  return F.conv_transpose2d(x, self.weight, {
    bias = rawget(self, "bias"), stride = self.stride, padding = self.padding, dilation = self.dilation,
    groups = self.groups, output_padding = self.output_padding,
  })
end

ConvTranspose2d.weight_count = conv.Conv2d.weight_count

function ConvTranspose2d:multiply_adds(input)
  local c = self.weight:size(4)
  return input:numel() // c * self.weight:numel()
end

function ConvTranspose2d:to_onnx(graph, x)
  local rows, columns = self.weight:size()
  local weight = graph:constant(self, "weight", self.weight:permute(4, 3, 1, 2)) -- {C,K,R,S}
  local bias = rawget(self, "bias") and graph:constant(self, "bias", self.bias)
  local attributes = onnx_window({ rows, columns }, self.stride, self.padding, self.dilation)
  attributes.group = self.groups
  attributes.output_padding = { arguments.pair("ConvTranspose2d", "output_padding", self.output_padding, option.INDEX) }
  return graph:node("ConvTranspose", { graph:channels_first(x), weight, bias }, attributes,
    { channels_first = true, dims = 4 })
end

--- StandardizedConv2d(c_in, c_out, kernel, options of Conv2d): a convolution whose weight is used with mean 0 and
-- deviation 1 over the inputs of each output, of which there are at least 2, (w - mean) / sqrt(var + 1e-5): weight
-- standardization, for GroupNorm and small batches. Qiao et al., "Micro-batch training with batch-channel
-- normalization and weight standardization", 2019.
local StandardizedConv2d = module.register("StandardizedConv2d", module.Module("StandardizedConv2d", conv.Conv2d))

local EPS = 1e-5

function StandardizedConv2d:init(c_in, c_out, kernel, options)
  conv.Conv2d.init(self, c_in, c_out, kernel, options)
  if self.weight:numel() == c_out then
    raise "StandardizedConv2d: each output has one input: its weight would always be 0"
  end
end

local function standardized(weight)
  local over = { 1, 2, 3 }
  local centred = weight - weight:mean(over, true)
  return centred / (centred:pow(2):mean(over, true) + EPS):sqrt()
end

StandardizedConv2d.constructor_arguments = conv.Conv2d.constructor_arguments

function StandardizedConv2d:forward(x)
  return F.conv2d(x, standardized(self.weight), {
    stride = self.stride, padding = self.padding, dilation = self.dilation, groups = self.groups,
    bias = rawget(self, "bias"),
  })
end

function StandardizedConv2d:to_onnx(graph, x)
  return conv.write(self, graph, x, core.no_grad(standardized, self.weight))
end

local SEPARABLE = { kernel = option.integer(3, "[1, inf)"), stride = option.integer(1, "[1, inf)") }

--- DepthwiseSeparable(c_in, c_out, {kernel=3, stride=1}): A Sequential of a convolution of each channel by itself and
-- one of 1x1 over all of them, each with batch norm and ReLU: about kernel^2 times fewer products than a convolution of
-- both. The kernel is odd. Items `depthwise`, `norm1`, `pointwise`, `norm2`. Howard et al., "MobileNets", 2017.
local function depthwise_separable(c_in, c_out, options)
  c_in = option.check("DepthwiseSeparable", "c_in", c_in, option.COUNT)
  c_out = option.check("DepthwiseSeparable", "c_out", c_out, option.COUNT)
  local o = option.read("DepthwiseSeparable", options, SEPARABLE)
  if o.kernel % 2 == 0 then raise("DepthwiseSeparable: kernel is %d, wanted an odd number", o.kernel) end
  return container.Sequential {
    name = "DepthwiseSeparable",
    { depthwise = conv.Conv2d(c_in, c_in, o.kernel, { stride = o.stride, padding = o.kernel // 2, groups = c_in,
      bias = false }) },
    { norm1 = norm.BatchNorm(c_in) }, activation.ReLU(),
    { pointwise = conv.Conv2d(c_in, c_out, 1, { bias = false }) }, { norm2 = norm.BatchNorm(c_out) }, activation.ReLU(),
  }
end

return {
  ConvTranspose2d = ConvTranspose2d, StandardizedConv2d = StandardizedConv2d,
  depthwise_separable = depthwise_separable, standardized = standardized,
}
