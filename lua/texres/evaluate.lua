--- How well a model, or several together, do on a set: one way for trainers and classifiers.

local core = require "texres.core"
local input = require "texres.input"
local metrics = require "texres.metrics"
local module = require "texres.nn.module"
local objective = require "texres.trainer.objective"
local views = require "texres.views"

local evaluate = {}

-- The logits of a batch, the mean of the probabilities of its views being taken where there are several.
local function logits_of(model, takes, images, count)
  if count == 1 then return takes:tempered(model(images)) end
  local sum
  for _, view in ipairs(views.of(images, count)) do
    local p = takes:tempered(model(view)):softmax(2)
    sum = sum and sum + p or p
  end
  return (sum / count):log()
end

-- The logits of all batches of a set by one model, and the set with the model's classes.
local function all_logits(model, set, options)
  local takes, dtype, list = input.of(model), module.float_dtype(model), {}
  local loader, same = takes:loader(set, { batch = options.batch }, options.what)
  model:eval()
  core.no_grad(function()
    for images in loader:batches(1) do
      list[#list + 1] = logits_of(model, takes, images:to(dtype), options.views or 1)
    end
  end)
  return list, same
end

-- The same by the mean of the probabilities of several models.
local function mean_logits(models, set, options)
  local mean, same = all_logits(models[1], set, options)
  if #models == 1 then return mean, same end
  for m = 1, #models do
    for b, logits in ipairs(m == 1 and mean or all_logits(models[m], set, options)) do
      local p = logits:softmax(2):to "f32"
      mean[b] = m == 1 and p or mean[b] + p
    end
  end
  for b, sum in ipairs(mean) do mean[b] = (sum / #models):log() end
  return mean, same
end

--- The metrics (texres.metrics) of models on a set, read as each model's input says; leaves them in evaluation mode.
-- @param models a list of modules with an input; of several, the probabilities are averaged
-- @param set its classes and sizes must fit the models'
-- @tparam table options batch; loss(logits, labels), as objective.loss makes it; views: 1, 4 or 8 (texres.views), whose
-- probabilities are averaged; what: who asks, for messages
function evaluate.run(models, set, options)
  local logits, same = mean_logits(models, set, options)
  local counter, scores, at = metrics.Counter(same.classes), {}, 0
  core.no_grad(function()
    for b, batch in ipairs(logits) do
      local n = batch:size(1)
      local labels = core.tensor(table.move(same.label, at + 1, at + n, 1, {}), { dtype = "i64" })
      counter:add(batch, labels)
      counter:add_loss(select(2, objective.mixed(options.loss, batch, labels)))
      scores[b], at = batch:softmax(2):to "f32", at + n
    end
  end)
  return metrics.keep(counter:result(), same, core.cat(scores, 1))
end

--- The probabilities {N,K} of a batch of images that are brought to what the model takes.
function evaluate.probabilities(model, images, count)
  local takes = input.of(model)
  return logits_of(model, takes, images:to(module.float_dtype(model)), count or 1):softmax(2)
end

return evaluate
