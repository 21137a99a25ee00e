--- Optimizers, learning rate schedules, gradient clipping.

local core = require "texres.core"
local option = require "texres.options"
local adam = require "texres.optim.adam"
local strict = require "texres.strict"

local optim = {
  SGD = require "texres.optim.sgd",
  Adam = adam.Adam,
  AdamW = adam.AdamW,
  schedule = require "texres.optim.schedule",
}

local MAX = option.number(nil, "[0, inf]")

--- Scales the gradients of a list of parameters so that their norm, taken together, is at most `max`. Returns the norm
-- before.
function optim.clip_grad_norm(parameters, max)
  option.check("clip_grad_norm", "max", max, MAX)
  local norm = core.optimizer.gradient_norm(parameters)
  if norm > max then core.optimizer.scale_gradients(parameters, max / (norm + 1e-6)) end
  return norm
end

strict.table("texres.optim.schedule", optim.schedule)
return strict.table("texres.optim", optim)
