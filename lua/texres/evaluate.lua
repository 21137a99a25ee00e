--- How well a model, or several together, do on a set: one way for trainers and classifiers.

local core = require "texres.core"
local input = require "texres.input"
local metrics = require "texres.metrics"
local module = require "texres.nn.module"
local objective = require "texres.trainer.objective"
local option = require "texres.options"
local raise = require "texres.raise"
local views = require "texres.views"

local evaluate = {}

local LEAST = 0x1p-126 -- of a probability: who is sure of what is wrong still has a loss that is a number

-- What a batch is given by several views or models, as logits: softmax makes of them the mean of the probabilities.
-- `dtype`: of this mean, where the models have different ones.
local function mean_logits(list, dtype)
  if #list == 1 then return list[1] end
  local sum
  for _, logits in ipairs(list) do
    local p = logits:softmax(2):to(dtype or logits.dtype)
    sum = sum and sum + p or p
  end
  return (sum / #list):clamp({ min = LEAST }):log()
end

-- The logits of a batch by one model, over so many views of it.
local function logits_of(model, images, count)
  local takes, list = input.of(model), {}
  for i, view in ipairs(views.of(images, count)) do list[i] = takes:tempered(model(view)) end
  return mean_logits(list)
end

-- The logits of all batches of a set by one model; the set with the model's classes, without what can't be read where
-- that is left out; and the positions of that, or nil.
local function logits_of_set(model, set, options)
  local dtype, list = module.float_dtype(model), {}
  local loader, same = input.of(model):loader(set, { batch = options.batch, bad = options.bad }, options.what)
  local share = options.share
  local first, last = 1, #loader
  if share then first, last = share.range(#loader) end
  model:eval()
  core.no_grad(function()
    if first > last then return end
    for images in loader:batches(1, first) do
      list[#list + 1] = logits_of(model, images:to(dtype), options.views)
      if first + #list > last then break end
    end
  end)
  if share then return share.all(list, #set, options.batch, dtype, #same.classes), same end
  local skipped
  for i, one in ipairs(options.bad == "skip" and loader.skipped or {}) do
    skipped = skipped or {}
    skipped[i] = one.sample
  end
  if #list == 0 and skipped then
    raise("%s: no image can be read; the first: %s", options.what, loader.skipped[1].message)
  end
  return list, skipped and same:without(skipped) or same, skipped
end

-- The same by several models together.
local function logits_of_all(models, set, options)
  local first, same, skipped = logits_of_set(models[1], set, options)
  local lists, of_others = { first }, option.without(options, "bad") -- what the first could not read is out already
  for m = 2, #models do lists[m] = logits_of_set(models[m], same, of_others) end
  local together = {}
  for b in ipairs(first) do
    local of_batch = {}
    for m = 1, #models do of_batch[m] = lists[m][b] end
    together[b] = core.no_grad(mean_logits, of_batch, "f32")
  end
  return together, same, skipped
end

--- The metrics (texres.metrics) of models on a set, read as each model's input says; leaves them in evaluation mode.
-- @param models a list of modules with an input; of several, the probabilities are averaged
-- @param set its classes and sizes must fit the models'
-- @tparam table options batch; loss(logits, labels), as objective.loss makes it; views: 1, 4 or 8 (texres.views), whose
-- probabilities are averaged; bad: "skip" leaves out what can't be read; what: who asks, for messages; share: of ranks
-- that measure a set together (texres.trainer.shards), with none left out
-- @return the metrics; the set that was measured, with the models' classes; where images were left out, the list of
-- their positions in the given set
function evaluate.run(models, set, options)
  options.views = options.views or 1
  local logits, same, skipped = logits_of_all(models, set, options)
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
  local result = metrics.keep(counter:result(), same, core.cat(scores, 1), options.views)
  result.sets = { skipped and set:without(skipped) or set }
  return result, same, skipped
end

--- The probabilities {N,K} of a batch by models together, as run() finds them.
-- @tparam function pixels_of gives the batch as a model takes it
-- @tparam integer count of views: 1, 4 or 8
function evaluate.probabilities(models, pixels_of, count)
  local list = {}
  for m, model in ipairs(models) do
    list[m] = logits_of(model, pixels_of(model):to(module.float_dtype(model)), count)
  end
  return mean_logits(list, "f32"):softmax(2)
end

return evaluate
