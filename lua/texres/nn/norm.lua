--- Normalization: BatchNorm, GroupNorm, LayerNorm, ImageStandardization.

local F = require "texres.nn.functional"
local arguments = require "texres.nn.arguments"
local core = require "texres.core"
local option = require "texres.options"
local module = require "texres.nn.module"
local protect = require "texres.protect"
local raise = require "texres.raise"

--- BatchNorm(channels, {eps=1e-5, momentum=0.1}): (x - mean) / sqrt(var + eps) * gamma + beta for each channel.
--
-- The last dimension of x holds the channels: {N,H,W,C} or {N,C}. In training the statistics are those of the batch,
-- and running ones are kept (variance unbiased); in evaluation the running ones are used. Ioffe, Szegedy, 2015.
local BatchNorm = module.register("BatchNorm", module.Module "BatchNorm")
BatchNorm.keeps_nothing = true

local KNOWN = { eps = option.number(1e-5, "[0, 1]"), momentum = option.number(0.1, "[0, 1]") }

function BatchNorm:init(channels, options)
  channels = option.check("BatchNorm", "channels", channels, option.COUNT)
  options = option.read("BatchNorm", options, KNOWN)
  self.eps, self.momentum = options.eps, options.momentum
  self.gamma = module.Parameter(core.ones(channels))
  self.beta = module.Parameter(core.zeros(channels))
  self.running_mean = core.zeros(channels)
  self.running_var = core.ones(channels)
end

function BatchNorm:constructor_arguments()
  if not rawget(self, "gamma") then return self._arguments end -- it was taken away
  return module.with_options(self, option.read("BatchNorm", nil, KNOWN), self.gamma:numel())
end

local statistics_of -- what gives mean and variance of more than this batch; nil: nothing does

--- Calls f(...), and meanwhile source(layer, x) for each batch norm in training: mean and variance {C} of the whole of
-- which x is a part, with a gradient. The source moves the running statistics.
local function with_statistics(source, f, ...)
  local before = statistics_of
  return protect.between(function() statistics_of = source end, function() statistics_of = before end, f, ...)
end

--- Whether a batch norm is not of its own input alone.
local function is_joint(self) return statistics_of ~= nil and self.training end

--- Batch norm by statistics that have a gradient. It normalizes by their values, and gamma and beta bring the gradient:
-- they are multiplied by 1, and have 0 added, that depend on the statistics.
local function run_jointly(self, x, after, residual)
  local mean, var = statistics_of(self, x)
  local of_mean, of_var = mean:detach(), var:detach()
  local scale = (var + self.eps) ^ -0.5
  local factor = scale / scale:detach()
  return F.batch_norm(x, self.gamma * factor, self.beta - (mean - of_mean) * (self.gamma * scale):detach(), {
    running_mean = of_mean, running_var = of_var, training = false, eps = self.eps,
    relu = after.relu, residual = residual, residual_last = after.residual_last,
  })
end

--- Batch norm and what follows it in one pass over memory, as texres.nn.conv has it.
local function run(self, x, after, residual)
  if is_joint(self) then return run_jointly(self, x, after, residual) end
  return F.batch_norm(x, self.gamma, self.beta, {
    running_mean = self.running_mean, running_var = self.running_var, training = self.training,
    momentum = self.momentum, eps = self.eps,
    relu = after.relu, residual = residual, residual_last = after.residual_last,
  })
end

local NOTHING = {}

function BatchNorm:forward(x) return run(self, x, NOTHING) end

-- One tensor of them: they may be tied among themselves.
function BatchNorm.weight_count(channels) return channels end

function BatchNorm:to_onnx(graph, x)
  if x.dims == 4 then
    x = graph:channels_first(x)
  elseif x.dims ~= 2 then
    raise("onnx: batch norm of a value with %d dimensions", x.dims)
  end
  local inputs = { x }
  for _, name in ipairs { "gamma", "beta", "running_mean", "running_var" } do
    inputs[#inputs + 1] = graph:constant(self, name, self[name])
  end
  return graph:node("BatchNormalization", inputs, { epsilon = self.eps + 0.0 }, x)
end

--- GroupNorm(groups, channels, {eps=1e-5}): every image normalized by itself, over groups of its channels, then times
-- gamma plus beta for each channel.
--
-- The last dimension of x holds the channels. The batch does not matter: training and evaluation are the same, and
-- batches may be small. Wu, He, "Group normalization", 2018.
local GroupNorm = module.register("GroupNorm", module.Module "GroupNorm")
GroupNorm.keeps_nothing = true

local EPS = { eps = option.number(1e-5, "[0, 1]") }

function GroupNorm:init(groups, channels, options)
  groups = option.check("GroupNorm", "groups", groups, option.COUNT)
  channels = option.check("GroupNorm", "channels", channels, option.COUNT)
  if channels % groups ~= 0 then raise("GroupNorm: %d groups do not divide %d channels", groups, channels) end
  self.groups, self.eps = groups, option.read("GroupNorm", options, EPS).eps
  self.gamma = module.Parameter(core.ones(channels))
  self.beta = module.Parameter(core.zeros(channels))
end

function GroupNorm:constructor_arguments()
  if not rawget(self, "gamma") then return self._arguments end -- it was taken away
  return module.with_options(self, option.read("GroupNorm", nil, EPS), self.groups, self.gamma:numel())
end

function GroupNorm:forward(x)
  return F.group_norm(x, self.gamma, self.beta, self.groups, { eps = self.eps })
end

function GroupNorm.weight_count(_, channels) return channels end

-- Operator set 17 has no group norm: images are cut into groups, each of which is an instance by itself.
function GroupNorm:to_onnx(graph, x)
  if x.dims ~= 4 then raise("onnx: group norm of a value with %d dimensions", x.dims) end
  x = graph:channels_first(x)
  local cut = { dims = 3 }
  local groups = graph:node("Reshape", { x, graph:integers { 0, self.groups, -1 } }, {}, cut)
  local ones, zeros = graph:numbers(self.groups, 1), graph:numbers(self.groups, 0)
  local y = graph:node("InstanceNormalization", { groups, ones, zeros }, { epsilon = self.eps + 0.0 }, cut)
  y = graph:node("Reshape", { y, graph:node("Shape", { x }, {}, { dims = 1 }) }, {}, x)
  y = graph:node("Mul", { y, graph:constant(self, "gamma", self.gamma:reshape(-1, 1, 1)) }, {}, x)
  return graph:node("Add", { y, graph:constant(self, "beta", self.beta:reshape(-1, 1, 1)) }, {}, x)
end

--- LayerNorm(channels, {eps=1e-5}): each row of the last dimension, {...,C}, normalized by itself, times gamma plus
-- beta.
--
-- The batch does not matter: training and evaluation are the same. Ba, Kiros, Hinton, "Layer normalization", 2016.
local LayerNorm = module.register("LayerNorm", module.Module "LayerNorm")
LayerNorm.keeps_nothing = true

function LayerNorm:init(channels, options)
  channels = option.check("LayerNorm", "channels", channels, option.COUNT)
  self.eps = option.read("LayerNorm", options, EPS).eps
  self.gamma = module.Parameter(core.ones(channels))
  self.beta = module.Parameter(core.zeros(channels))
end

function LayerNorm:constructor_arguments()
  if not rawget(self, "gamma") then return self._arguments end -- it was taken away
  return module.with_options(self, option.read("LayerNorm", nil, EPS), self.gamma:numel())
end

function LayerNorm:forward(x)
  local channels = self.gamma:numel()
  if not core.is_tensor(x) or x:dim() == 0 or x:size(-1) ~= channels then
    arguments.refuse("LayerNorm", x, ("{...,%d}"):format(channels))
  end
  return F.layer_norm(x, self.gamma, self.beta, { eps = self.eps })
end

function LayerNorm.weight_count(channels) return channels end

function LayerNorm:to_onnx(graph, x)
  x = graph:channels_last(x)
  return graph:node("LayerNormalization", {
    x, graph:constant(self, "gamma", self.gamma), graph:constant(self, "beta", self.beta),
  }, { axis = -1, epsilon = self.eps + 0.0 }, x)
end

--- ImageStandardization({eps=1e-5}): every image {H,W,C} of {N,H,W,C} less its mean, divided by sqrt(var + eps) of all
-- of its values; at the front of a network it takes away what differs in light and contrast between images.
local ImageStandardization = module.register("ImageStandardization", module.Module "ImageStandardization")
ImageStandardization.keeps_nothing = true

function ImageStandardization:init(options) self.eps = option.read("ImageStandardization", options, EPS).eps end

function ImageStandardization:constructor_arguments() return module.with_options(self, { eps = 1e-5 }) end

function ImageStandardization:forward(x)
  arguments.images("ImageStandardization", x)
  local dtype = { dtype = x.dtype }
  return F.group_norm(x, core.ones({ x:size(4) }, dtype), core.zeros({ x:size(4) }, dtype), 1, { eps = self.eps })
end

function ImageStandardization:to_onnx(graph, x) -- as a group norm of one group, without factors
  x = graph:channels_first(x)
  local flat = graph:node("Reshape", { x, graph:integers { 0, 1, -1 } }, {}, { dims = 3 })
  local y = graph:node("InstanceNormalization", { flat, graph:floats { 1 }, graph:floats { 0 } },
    { epsilon = self.eps + 0.0 }, flat)
  return graph:node("Reshape", { y, graph:node("Shape", { x }, {}, { dims = 1 }) }, {}, x)
end

return { BatchNorm = BatchNorm, GroupNorm = GroupNorm, ImageStandardization = ImageStandardization,
  LayerNorm = LayerNorm, run = run, is_joint = is_joint, with_statistics = with_statistics }
