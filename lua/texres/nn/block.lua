--- Parts of residual blocks: SqueezeExcitation, StochasticDepth, PadShortcut.

local F = require "texres.nn.functional"
local arguments = require "texres.nn.arguments"
local core = require "texres.core"
local linear = require "texres.nn.linear"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"

--- SqueezeExcitation(channels, {reduction=16}): images {N,H,W,C} with each channel scaled by a number in 0..1, which
-- two dense layers, `squeeze` to channels // reduction (at least 1) and `excite` back, make of the means of all
-- channels: x * sigmoid(excite(relu(squeeze(mean of x)))). Hu, Shen, Sun, "Squeeze-and-excitation networks", 2018.
local SqueezeExcitation = module.register("SqueezeExcitation", module.Module "SqueezeExcitation")

local REDUCTION = { reduction = option.integer(16, "[1, inf)") }

function SqueezeExcitation:init(channels, options)
  channels = option.check("SqueezeExcitation", "channels", channels, option.COUNT)
  local few = math.max(1, channels // option.read("SqueezeExcitation", options, REDUCTION).reduction)
  self.squeeze, self.excite = linear.Linear(channels, few), linear.Linear(few, channels)
end

function SqueezeExcitation:forward(x)
  local scale = F.sigmoid(self.excite(F.relu(self.squeeze(F.global_avg_pool(x)))))
  return x * scale:reshape(x:size(1), 1, 1, x:size(4))
end

function SqueezeExcitation:to_onnx(graph, x)
  x = graph:channels_first(x)
  local mean = graph:node("GlobalAveragePool", { x }, {}, x)
  local y = graph:node("Flatten", { mean }, { axis = 1 }, { dims = 2 })
  y = graph:module(self.squeeze, y)
  y = graph:module(self.excite, graph:node("Relu", { y }, {}, y))
  y = graph:node("Sigmoid", { y }, {}, y)
  y = graph:node("Unsqueeze", { y, graph:integers { 2, 3 } }, {}, x)
  return graph:node("Mul", { x, y }, {}, x)
end

--- StochasticDepth(p=0.5): in training each image {...} of {N,...} is set to zero with probability p, and the others
-- are scaled by 1/(1-p): at the end of a Residual's body, the block is left out for these images. Huang, Sun, Liu,
-- Sedra, Weinberger, "Deep networks with stochastic depth", 2016; later blocks have a larger p there.
local StochasticDepth = module.register("StochasticDepth", module.Module "StochasticDepth")

local PROBABILITY = option.number(nil, "[0, 1]")

function StochasticDepth:init(p) self.p = option.check("StochasticDepth", "p", p or 0.5, PROBABILITY) end

function StochasticDepth:constructor_arguments() return { self.p, n = 1 } end

function StochasticDepth:forward(x)
  if not core.is_tensor(x) or x:dim() == 0 then arguments.refuse("StochasticDepth", x, "{N,...}") end
  if not self.training or self.p == 0 then return x end
  local shape = { x:size(1) }
  for d = 2, x:dim() do shape[d] = 1 end
  return x * F.dropout(core.ones(shape, { dtype = x.dtype }), self.p, { training = true })
end

function StochasticDepth:to_onnx(_, x) return x end -- luacheck: no self

--- PadShortcut(c_in, c_out, {stride=1}): images {N,H,W,c_in} to {N,P,Q,c_out}: every stride-th row and column, and
-- zeros for the channels beyond c_in. The shortcut without parameters of He, Zhang, Ren, Sun, 2016 (option A).
local PadShortcut = module.register("PadShortcut", module.Module "PadShortcut")

local STRIDE = { stride = option.integer(1, "[1, inf)") }

function PadShortcut:init(c_in, c_out, options)
  self.c_in = option.check("PadShortcut", "c_in", c_in, option.COUNT)
  self.c_out = option.check("PadShortcut", "c_out", c_out, option.COUNT)
  self.stride = option.read("PadShortcut", options, STRIDE).stride
  if self.c_out < self.c_in then raise("PadShortcut: %d channels do not go into %d", self.c_in, self.c_out) end
end

function PadShortcut:constructor_arguments()
  return module.with_options(self, { stride = 1 }, self.c_in, self.c_out)
end

function PadShortcut:forward(x)
  arguments.images("PadShortcut", x, self.c_in)
  if self.stride > 1 then x = x:slice(2, 1, -1, self.stride):slice(3, 1, -1, self.stride) end
  if self.c_out == self.c_in then return x end
  local n, rows, columns = x:size()
  return core.cat({ x, core.zeros({ n, rows, columns, self.c_out - self.c_in }, { dtype = x.dtype }) }, 4)
end

function PadShortcut:to_onnx(graph, x)
  x = graph:channels_first(x)
  if self.stride > 1 then
    x = graph:node("MaxPool", { x }, { kernel_shape = { 1, 1 }, strides = { self.stride, self.stride } }, x)
  end
  if self.c_out == self.c_in then return x end
  return graph:node("Pad", { x, graph:integers { 0, 0, 0, 0, 0, self.c_out - self.c_in, 0, 0 } }, {}, x)
end

return { SqueezeExcitation = SqueezeExcitation, StochasticDepth = StochasticDepth, PadShortcut = PadShortcut }
