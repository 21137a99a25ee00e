--- What a trainer minimizes and how: optimizer, schedule and loss from a name and its options.
--
-- The loss that is told of a set, in training, validation and evaluation alike, is the one that the set would have as a
-- single batch, however it was cut: with `reduction = "mean"` the sum of the images' losses divided by the sum of what
-- they weigh, which is the weight of their class in cross_entropy, 1 in focal_loss, nothing for a label `ignore_index`;
-- with "sum" the sum. Of a function of the script nothing is known but what it gives for a batch: that is taken for a
-- mean in which every image weighs 1.

local core = require "texres.core"
local optim = require "texres.optim"
local option = require "texres.options"
local plain = require "texres.plain"
local functional = require "texres.nn.functional"
local module = require "texres.nn.module"
local raise = require "texres.raise"

local objective = {}

local OPTIMIZERS = { sgd = optim.SGD, adam = optim.Adam, adamw = optim.AdamW }
local LOSSES = { cross_entropy = functional.cross_entropy, focal_loss = functional.focal_loss }

local NUMBERS = option.numbers(nil, "[0, inf)") -- one per class
local INDEX, REDUCTION = option.WHOLE, option.choice("mean", { "mean", "sum" })
local LOSS_OPTIONS = {
  cross_entropy = {
    weight = option.any(), label_smoothing = option.number(0, "[0, 1]"), ignore_index = INDEX, reduction = REDUCTION,
  },
  focal_loss = { gamma = option.number(2, "[0, inf)"), alpha = NUMBERS, ignore_index = INDEX, reduction = REDUCTION },
}

-- What a script's own optimizer must know, and what a texres one does.
local METHODS = { "step", "zero_grad", "reset", "lr", "set_lr", "parameters", "state_dict", "load_state_dict" }

-- What `choices` has under the name that stands in a choice, and a table of the options there. `other`: what else may
-- be given, for the message.
local function choose(what, choice, choices, other)
  local name, options = option.named(choice)
  local wanted = option.choice(nil, plain.names(choices))
  wanted.wanted = ("%s, alone or with options, or %s"):format(wanted.wanted, other)
  return choices[option.check("Trainer", what, name, wanted)], options, name
end

local function choose_loss(choice) return choose("loss", choice, LOSSES, "a function") end

-- An optimizer that a script made: it must know what a trainer calls, and train this model.
local function check_optimizer(optimizer, model)
  for _, method in ipairs(METHODS) do
    if type(optimizer[method]) ~= "function" then raise("Trainer: the optimizer has no method %s", method) end
  end
  local own = {}
  for _, p in ipairs(model:parameters()) do own[p] = true end
  for _, p in ipairs(optimizer:parameters()) do
    if own[p] then return optimizer end
  end
  raise "Trainer: the optimizer holds no parameter of the model: make it with model:parameters()"
end

local DECAY = option.choice("weights", { "weights", "all" })

--- Each group as weights of layers, which decay, and biases and the scales and shifts of norms, which do not: pulled to
-- 0, they would change what a layer says and not how large it is (Loshchilov and Hutter's recipe; He et al., "Bag of
-- tricks", 2019). A group of the latter alone decays where it is the only one, or says so.
local function decaying(groups)
  local apart = {}
  for _, group in ipairs(groups) do
    local weights, others = option.without(group, "params"), option.without(group, "params")
    weights.params, others.params = {}, {}
    for _, p in ipairs(group.params) do table.insert(p:dim() > 1 and weights.params or others.params, p) end
    if #weights.params > 0 or (#groups > 1 and group.weight_decay == nil) then others.weight_decay = 0 end
    for _, part in ipairs { weights, others } do
      if #part.params > 0 then apart[#apart + 1] = part end
    end
  end
  return apart
end

--- Whether a parameter of this name is meant by a rule: by its own name or that of a layer around it, or a pattern of
-- Lua's for either. "stage1" is stage1.2.conv1.weight, but not stage10.conv1.weight.
local function is_meant(name, pattern) return name:find("^" .. pattern .. "$") or name:find("^" .. pattern .. "%.") end

--- The names in a rule, checked: a text or a list of them.
local function patterns_of(rule, i)
  local where = ("Trainer: optimizer: groups[%d]"):format(i)
  if type(rule) ~= "table" or rule[1] == nil then
    raise('%s is %s, wanted { "name of a layer", lr = ... }', where, option.shown(rule))
  end
  local patterns = type(rule[1]) == "table" and rule[1] or { rule[1] }
  for _, pattern in ipairs(patterns) do
    if type(pattern) ~= "string" or not pcall(string.find, "", pattern) then
      raise("%s: %s is no name of a layer, nor a pattern for one", where, option.shown(pattern))
    end
  end
  return patterns
end

--- The parameters that each rule means, the first one that does, and those that are left.
local function sort_by_rules(model, rules)
  local meant, rest, patterns = {}, {}, {}
  for i, rule in ipairs(rules) do meant[i], patterns[i] = {}, patterns_of(rule, i) end
  local function list_of(name)
    for i in ipairs(rules) do
      for _, pattern in ipairs(patterns[i]) do
        if is_meant(name, pattern) then return meant[i] end
      end
    end
    return rest
  end
  for name, p in model:named_parameters() do table.insert(list_of(name), p) end
  return meant, rest
end

--- Groups of parameters: those that no rule means, then those of each rule, with its options.
local function groups_by_rules(model, rules)
  option.list("Trainer: optimizer", "the groups", rules)
  local meant, rest = sort_by_rules(model, rules)
  local groups = { #rest > 0 and { params = rest } or nil }
  for i, rule in ipairs(rules) do
    if #meant[i] == 0 then
      raise("Trainer: optimizer: groups[%d]: no parameter is called %s, or the groups before have them all", i,
        option.shown(rule[1]))
    end
    local group = option.without(rule, 1)
    group.params = meant[i]
    groups[#groups + 1] = group
  end
  return groups
end

local GROUPS = option.table()

--- An optimizer of the model's parameters from {"adamw", lr = 1e-3}; an optimizer is handed back. `groups`, a list of
-- rules { "name of a layer", lr = ..., ... }, gives layers options of their own: see texres.trainer.
function objective.optimizer(spec, model)
  if type(spec) == "table" and type(rawget(spec, "step") or getmetatable(spec) and spec.step) == "function" then
    return check_optimizer(spec, model)
  end
  local make, options = choose("optimizer", spec, OPTIMIZERS, "an optimizer")
  local groups = { { params = model:parameters() } }
  if options.groups ~= nil then
    groups = groups_by_rules(model, option.check("Trainer: optimizer", "groups", options.groups, GROUPS))
  end
  local decay = "all"
  if make == OPTIMIZERS.adamw then
    decay = options.decay == nil and DECAY.default or option.check("adamw", "decay", options.decay, DECAY)
    options.decay = nil
  end
  options.groups = nil
  return make(decay == "all" and groups or decaying(groups), options)
end

--- An optimizer of the same kind, options and parameters without a state; of the library's own only.
function objective.again(optimizer)
  local make = optimizer.groups and optimizer.name and rawget(optim, optimizer.name)
  if not make then raise "Trainer: an optimizer of the script can't be made anew for a trial: give one by its name" end
  local groups = {}
  for i, group in ipairs(optimizer.groups) do
    groups[i] = {}
    for name, value in pairs(group) do groups[i][name] = value end
  end
  return make(groups)
end

--- A schedule whose base rate is the optimizer's.
function objective.schedule(spec, optimizer) return optim.schedule.make(spec, optimizer:lr()) end

--- Scales the gradients so that their norm, taken together, is at most `max`.
function objective.clip(optimizer, max) return optim.clip_grad_norm(optimizer:parameters(), max) end

--- One weight per class, such that the classes of the set weigh the same together; their mean over the images is 1.
local function balanced(set)
  local counts, weights = set:counts(), {}
  for c, count in ipairs(counts) do weights[c] = #set / (#counts * math.max(count, 1)) end
  return core.tensor(weights)
end

--- Raises where no class counts: there would be nothing to learn, and no mean.
local function check_weights(name, what, weights)
  local list = type(weights) == "number" and { weights } or core.is_tensor(weights) and weights:totable() or weights
  for i = 1, #list do
    if list[i] > 0 then return end
  end
  raise("%s: %s is %s: the weights of all classes are 0", name, what, option.shown(weights))
end

--- Raises for a loss that there isn't, or options that it doesn't have.
function objective.check_loss(spec)
  if type(spec) == "function" then return end
  local _, options, name = choose_loss(spec)
  option.read(name, options, LOSS_OPTIONS[name])
  for _, key in ipairs { "weight", "alpha" } do
    local given = options[key]
    if given and given ~= "balanced" then check_weights(name, key, option.check(name, key, given, NUMBERS)) end
  end
end

--- What the mean of a batch with these labels divides by, as in csrc/autograd/class_loss.c. `weights`: a list by class,
-- or nil, where every image weighs 1.
local function weight_of(labels, weights, ignored)
  if not weights and not ignored then return labels:numel() end
  local sum = 0
  for _, label in ipairs(labels:totable()) do
    if label ~= ignored then sum = sum + (weights and weights[label] or 1) end
  end
  return sum
end

-- A script's own loss, which must give a number that can be minimized.
local function checked(loss_of)
  return function(logits, labels)
    local loss = loss_of(logits, labels)
    if not core.is_tensor(loss) or loss:numel() ~= 1 then
      raise("Trainer: the loss function gave %s, wanted a tensor of one element",
        core.is_tensor(loss) and module.shape_text(loss:shape()) or option.shown(loss))
    end
    return loss
  end
end

--- loss(logits, labels) from a name, {name, options} or a function. It gives the loss of a batch, and what this mean
-- was divided by: nil where that is the number of images, false where the loss is a sum. weight = "balanced" takes the
-- counts of the training set.
function objective.loss(spec, train)
  if type(spec) == "function" then return checked(spec) end
  local fn, options = choose_loss(spec)
  if options.weight == "balanced" then options.weight = balanced(train) end
  for _, key in ipairs { "weight", "alpha" } do
    if type(options[key]) == "table" then options[key] = core.tensor(options[key]) end
    local given = options[key]
    if given and (given:dim() ~= 1 or given:numel() ~= #train.classes) then
      raise("Trainer: loss: %s is %s, wanted a number for each of the %d classes", key,
        module.shape_text(given:shape()), #train.classes)
    end
  end
  if next(options) == nil then return fn end
  local weights, summed = options.weight and options.weight:totable(), {}
  for key, value in pairs(options) do summed[key] = value end
  summed.reduction = "sum"
  return function(logits, labels)
    local weight = options.reduction ~= "sum" and weight_of(labels, weights, options.ignore_index)
    -- where nothing weighs anything there is no mean: it is the sum then, 0 but for label smoothing
    return fn(logits, labels, weight == 0 and summed or options), weight
  end
end

--- The loss of a batch; where two images were mixed, `mix` holds the labels of the second and the share of the first:
-- lambda loss(labels) + (1 - lambda) loss(mix.labels), as in Zhang et al., "mixup", 2018. And what the batch adds to
-- the loss of the set: the sum of the losses and their weight (see texres.metrics).
function objective.mixed(loss_of, logits, labels, mix)
  local loss, weight = loss_of(logits, labels)
  if weight == nil then weight = labels:numel() end
  local value = loss:item()
  local sum = weight and weight ~= 0 and value * weight or value
  if not mix then return loss, sum, weight end
  local lambda = mix.lambda
  local other, other_sum, other_weight = objective.mixed(loss_of, logits, mix.labels)
  return loss * lambda + other * (1 - lambda), sum * lambda + other_sum * (1 - lambda),
    weight and weight * lambda + other_weight * (1 - lambda)
end

return objective
