--- Batch normalization.

local F = require "texres.nn.functional"
local core = require "texres.core"
local option = require "texres.options"
local module = require "texres.nn.module"

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
  local options = module.changed_options(self, option.read("BatchNorm", nil, KNOWN))
  return { self.gamma:numel(), options, n = options and 2 or 1 }
end

--- Batch norm and what follows it in one pass over memory, as texres.nn.conv has it.
local function run(self, x, after, residual)
  return F.batch_norm(x, self.gamma, self.beta, {
    running_mean = self.running_mean, running_var = self.running_var, training = self.training,
    momentum = self.momentum, eps = self.eps,
    relu = after.relu, residual = residual, residual_last = after.residual_last,
  })
end

local NOTHING = {}

function BatchNorm:forward(x) return run(self, x, NOTHING) end

return { BatchNorm = BatchNorm, run = run }
