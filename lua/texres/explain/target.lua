--- What is explained: models that may be changed, an image as they take it, and the class whose score is asked for.

local classes = require "texres.classes"
local classifier = require "texres.classifier"
local core = require "texres.core"
local input = require "texres.input"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"

local target = {}

--- Copies of a model, or of those of a classifier or an ensemble: in evaluation mode, with weights that take no
-- gradients. Whatever is done to them, the originals stay as they are.
function target.models(what, of)
  local list = classifier.is(of) and of.models or module.is_module(of) and { of }
  if not list then raise("%s: a classifier or a model is wanted, got %s", what, option.shown(of)) end
  local copies = {}
  for i, model in ipairs(list) do
    copies[i] = model:clone():eval()
    for _, p in ipairs(copies[i]:parameters()) do p.requires_grad = false end
  end
  return copies
end

--- An image {H,W} or {H,W,C} as {1,H,W,C}.
function target.batch(what, image)
  local dims = core.is_tensor(image) and image:dim()
  if dims == 2 then return image:reshape(1, image:size(1), image:size(2), 1) end
  if dims == 3 then return image:unsqueeze(1) end
  raise("%s: an image {H,W} or {H,W,C} is wanted, got %s", what,
    dims and module.shape_text(image:shape()) or option.shown(image))
end

--- A batch as a model takes it: brought to its range and normalized as in predict, where it has an input of its own.
function target.pixels(what, model, batch, white)
  local takes = input.of(model)
  return target.as(model, takes and takes:batch(batch, what, white) or batch)
end

--- The same of pixels that are normalized: in the dtype of the model.
function target.as(model, pixels) return pixels:detach():to(module.float_dtype(model)) end

-- The logits {N,K} that a model gives, as softmax is to have them.
local function logits_of(what, model, pixels)
  local logits, takes = model(pixels), input.of(model)
  if not core.is_tensor(logits) or logits:dim() ~= 2 then
    raise("%s: the model gives %s, wanted a score for each class, {N,K}", what,
      core.is_tensor(logits) and module.shape_text(logits:shape()) or option.shown(logits))
  end
  return takes and takes:tempered(logits) or logits
end

-- The mean of what models say of a batch.
local function mean_over(models, fn)
  local sum
  for _, model in ipairs(models) do
    local value = fn(model)
    sum = sum and sum + value or value
  end
  return #models > 1 and sum / #models or sum
end
target.mean_over = mean_over

-- Which class is predicted, and how many there are.
local function predicted(what, models, batch, white)
  local p = core.no_grad(mean_over, models, function(model)
    return logits_of(what, model, target.pixels(what, model, batch, white)):softmax(2)
  end)
  return p:argmax(2):totable()[1], p:size(2)
end

--- The class that options ask for: { label = k, others = i64 {K-1} }, or, for "defect", all but the good one,
-- { good = g, others = }. `options.class` is a name, a number or nil: the predicted one.
function target.class(what, models, batch, options)
  local takes, asked = input.of(models[1]), options.class
  local names, likeliest = takes and takes.classes
  local count = names and #names
  if asked == nil or not count then likeliest, count = predicted(what, models, batch, options.white) end
  if asked == nil then asked = likeliest end
  local label = type(asked) == "number" and math.tointeger(asked) or classes.find(names, asked)
  local good = not label and asked == "defect" and classes.find(names, options.good)
  if not good and not (label and label >= 1 and label <= count) then
    raise("%s: there is no class %s; there are %s", what, option.shown(asked),
      names and table.concat(names, ", ") or ("the numbers 1..%d"):format(count))
  end
  local others = {}
  for i = 1, count do
    if i ~= (label or good) then others[#others + 1] = i end
  end
  return { label = label, good = good or nil, others = core.tensor(others, { dtype = "i64" }) }
end

-- What the logits are of a class against all others: log(p / (1 - p)).
local function odds_of(logits, class)
  local own = logits:select(2, class.label or class.good)
  if class.others:numel() == 0 then return own end -- a model of one score
  local odds = own - logits:index_select(2, class.others):logsumexp(2)
  return class.label and odds or -odds
end

--- The score {N} of the class, of which gradients are taken: its logit; of defects the log odds, p = 1 - p(good).
function target.score(what, model, pixels, class)
  local logits = logits_of(what, model, pixels)
  return class.label and logits:select(2, class.label) or odds_of(logits, class)
end

--- The log odds {N} of the class, log(p / (1 - p)), which still change where p is next to 0 or 1.
function target.odds(what, model, pixels, class) return odds_of(logits_of(what, model, pixels), class) end

--- The options of all explanations that are of one class.
target.KNOWN = {
  class = option.any(), -- a name, a number, or "defect": all but the good one; false: the predicted class
  good = option.text(classes.GOOD), -- the name of the good class
  white = option.number(nil, "(0, inf)"), -- as in predict
}

--- The same with others.
function target.known(more)
  for name, rule in pairs(target.KNOWN) do more[name] = rule end
  return more
end

return target
