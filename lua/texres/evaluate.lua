--- How well a model does on a set: one way for trainers and classifiers.

local core = require "texres.core"
local input = require "texres.input"
local metrics = require "texres.metrics"
local module = require "texres.nn.module"
local objective = require "texres.trainer.objective"

local evaluate = {}

--- Makes a result one of these images: it keeps what each of them was given, see texres.metrics.
-- @param scores f32 {N,K}, probabilities in the order of the set
function evaluate.keep(result, set, scores)
  result.scores, result.labels = scores, core.tensor(set.label, { dtype = "i64" })
  result.groups = set.group and set.meta[set.group]
  return result
end

--- The metrics (texres.metrics) of a model on a set, read as the model's input says; leaves it in evaluation mode.
-- @param model a module with an input
-- @param set its classes and sizes must fit the model's
-- @tparam table options batch; loss(logits, labels), as objective.loss makes it; what: who asks, for messages
function evaluate.run(model, set, options)
  local takes = input.of(model)
  local loader, same = takes:loader(set, { batch = options.batch }, options.what)
  local counter, dtype, scores = metrics.Counter(same.classes), module.float_dtype(model), {}
  model:eval()
  core.no_grad(function()
    for images, labels in loader:batches(1) do
      local logits = model(images:to(dtype))
      counter:add(logits, labels)
      scores[#scores + 1] = logits:softmax(2):to "f32"
      counter:add_loss(select(2, objective.mixed(options.loss, logits, labels)))
    end
  end)
  return evaluate.keep(counter:result(), same, core.cat(scores, 1))
end

return evaluate
