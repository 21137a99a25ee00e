--- Why a loss is not a number: finds the first layer whose output is not finite.

local core = require "texres.core"
local nn_module = require "texres.nn.module"
local raise = require "texres.raise"

local diagnosis = {}

local function all_finite(values)
  for i = 1, values.n do
    if core.is_tensor(values[i]) and not values[i]:all_finite() then return false end
  end
  return true
end

--- Runs the model again and tells which layer first gave a value that is not finite, as text for a message.
function diagnosis.explain(model, images)
  if not images:all_finite() then return "The images of this batch are not finite" end
  for name, parameter in model:named_parameters() do
    if not parameter:all_finite() then
      return ("The parameter %s is not finite since the step before"):format(name)
    end
  end
  local culprit
  core.no_grad(nn_module.watch, function(module, _, _, outputs)
    if not culprit and not all_finite(outputs) then culprit = module end
  end, function() model(images) end)
  if not culprit then return "Every layer's output is finite, so the loss function itself overflowed" end
  for name, module in model:named_modules() do
    if module == culprit then
      local place = name ~= "" and name or "the model itself"
      return ("The first layer whose output is not finite is %s (%s)"):format(place, module:describe())
    end
  end
end

--- Raises the message that ends a training.
function diagnosis.stop(trainer, images, value)
  raise("Trainer: the loss is %s in epoch %d, batch %d (learning rate %.3g). %s. "
    .. "A lower learning rate or clip_grad_norm may help.", value ~= value and "nan" or "infinite", trainer.pass.epoch,
    trainer.pass.batch + 1, trainer.optimizer:lr(), diagnosis.explain(trainer.model, images))
end

return diagnosis
