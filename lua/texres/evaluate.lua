--- How well a model does on a set: one way for trainers and classifiers.

local core = require "texres.core"
local input = require "texres.input"
local metrics = require "texres.metrics"
local module = require "texres.nn.module"
local objective = require "texres.trainer.objective"

--- The metrics (texres.metrics) of a model on a set, read as the model's input says; leaves it in evaluation mode.
-- @param model a module with an input
-- @param set its classes and sizes must fit the model's
-- @tparam table options batch; loss(logits, labels), as objective.loss makes it; what: who asks, for messages
return function(model, set, options)
  local takes = input.of(model)
  local loader, same = takes:loader(set, { batch = options.batch }, options.what)
  local counter, dtype = metrics.Counter(same.classes), module.float_dtype(model)
  model:eval()
  core.no_grad(function()
    for images, labels in loader:batches(1) do
      local logits = model(images:to(dtype))
      counter:add(logits, labels)
      counter:add_loss(select(2, objective.mixed(options.loss, logits, labels)))
    end
  end)
  return counter:result()
end
