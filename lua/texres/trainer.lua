--- Trains a classifier: epochs, validation, checkpoints, a progress line and a report.
--
--     local trainer = texres.Trainer {
--       model = texres.models.textile { width = 64 },
--       optimizer = { "adamw", lr = 3e-3, weight_decay = 1e-4 },
--       schedule = { "one_cycle" },
--       epochs = 20, batch = 128, seed = 1,
--       augment = { "flip", "rotate90" },
--       dir = "runs/first",
--     }
--     trainer:fit(train, val)
--     print(trainer:evaluate(test))
--
-- In `dir` stand best.safetensors (the weights of the best validated epoch, with all that inference needs),
-- last.safetensors (the state of training, to go on from), metrics.jsonl (a line per epoch) and report.html.
--
-- A run is a function of its options and data: the same seed gives the same weights, bit for bit, with any number of
-- threads, and also when it was stopped and resumed in between.

local core = require "texres.core"
local metrics = require "texres.metrics"
local raise = require "texres.raise"
local diagnosis = require "texres.trainer.diagnosis"
local objective = require "texres.trainer.objective"
local record = require "texres.trainer.record"
local state = require "texres.trainer.state"
local terminal = require "texres.terminal"

local Trainer = {}
Trainer.__index = Trainer

-- -- options ----------------------------------------------------------------------------------------------------------

local DEFAULTS = {
  model = false, -- required: a module that maps images {N,H,W,C} to logits {N,K}
  optimizer = { "adamw", lr = 1e-3, weight_decay = 1e-4 }, -- {name, options} or an optimizer of texres.optim
  schedule = false, -- {name, options}: how the learning rate goes; constant without
  epochs = 10,
  batch = 128,
  seed = 1, -- of shuffling, augmentation and dropout
  augment = false, -- a list for the loader of the training set
  loss = "cross_entropy", -- name, {name, options; weight may be "balanced"} or function(logits, labels)
  dir = false, -- folder for checkpoints, metrics and report; nothing is written without
  patience = false, -- stop after so many epochs without a better one
  clip_grad_norm = false, -- largest norm of all gradients together
  resume = false, -- go on from dir/last.safetensors, when it is there
  normalize = true, -- subtract the mean of the training images and divide by their deviation
  name = "texres", -- the report's title
  quiet = false, -- no progress lines
}

local function check_options(options)
  if type(options) ~= "table" then raise("Trainer: expected a table of options, got %s", type(options)) end
  for name in pairs(options) do
    if DEFAULTS[name] == nil then
      local names = {}
      for known in pairs(DEFAULTS) do names[#names + 1] = known end
      table.sort(names)
      raise("Trainer: there is no option %s; options are %s", tostring(name), table.concat(names, ", "))
    end
  end
  for _, name in ipairs { "epochs", "batch", "seed", "patience" } do
    local value = options[name]
    if value and (math.type(value) ~= "integer" or value < (name == "seed" and 0 or 1)) then
      raise("Trainer: %s must be a positive integer, got %s", name, tostring(value))
    end
  end
  if not options.model then raise "Trainer: the option model is missing" end
  if options.resume and not options.dir then raise "Trainer: resume needs dir, where last.safetensors is" end
end

--- Makes a trainer; see the top of this file for the options, and DEFAULTS for their meaning.
local function new(_, options)
  check_options(options)
  local self = {}
  for name, default in pairs(DEFAULTS) do
    self[name] = options[name]
    if self[name] == nil then self[name] = default end
  end
  self.history = {} -- a record of each finished epoch
  self.results = {} -- what evaluate() found: {name, result, note}
  self.best = nil -- the record of the best epoch
  self.steps = 0 -- optimizer steps so far
  setmetatable(self, Trainer)
  self.optimizer = objective.optimizer(self.optimizer, self.model)
  return self
end

-- -- data -------------------------------------------------------------------------------------------------------------

--- Batches of a set as the model wants them; `training` shuffles and augments.
function Trainer:loader(set, training)
  local normalization = self.normalization or {}
  return set:loader {
    batch = self.batch, shuffle = training, seed = self.seed, augment = training and self.augment or nil,
    mean = normalization.mean, std = normalization.std,
  }
end

--- What the training set says once: classes, the shape of an image, mean and deviation.
function Trainer:learn_from(train)
  if #train == 0 then raise "Trainer: the training set is empty" end
  self.classes = train.classes
  local image = train:get(1)
  self.input = { image:size(1), image:size(2), image:size(3) }
  if self.normalize and not self.normalization then
    local statistics = train:statistics()
    self.normalization = { mean = statistics.mean, std = statistics.std }
  end
end

-- -- one epoch --------------------------------------------------------------------------------------------------------

local function now_and_then(self, epoch, done, total, counter, speed, left)
  return ("epoch %d/%d %3d %%  loss %.4f  accuracy %.1f %%  %.0f images/s  %s left"):format(epoch, self.epochs,
    100 * done // total, counter.loss_sum / counter.images, 100 * counter.right / counter.images, speed,
    terminal.duration(left))
end

--- One step: forward, loss, backward, update. Random numbers inside depend on the seed and the step alone.
function Trainer:step(images, labels, mix)
  core.manual_seed(self.seed * 1000003 + self.steps)
  if self.schedule then self.optimizer:set_lr(self.schedule(self.steps + 1)) end
  local logits = self.model(images)
  local loss = self.loss_of(logits, labels, mix)
  local value = loss:item()
  if value - value ~= 0 then diagnosis.stop(self, images, labels, value) end
  self.optimizer:zero_grad()
  loss:backward()
  if self.clip_grad_norm then objective.clip(self.model, self.clip_grad_norm) end
  self.optimizer:step()
  self.steps = self.steps + 1
  return logits:detach(), value
end

--- Trains one epoch, from batch `first` on; returns its record, or nil when Ctrl-C was pressed before its end.
function Trainer:train_epoch(loader, epoch, pause)
  self.model:train()
  local counter = pause.counter or metrics.Counter(self.classes)
  local batch, first = pause.batch or 0, core.clock()
  local earlier, images_here = pause.seconds or 0, 0
  for images, labels, mix in loader:batches(epoch, batch + 1) do
    local logits, value = self:step(images, labels, mix)
    counter:add(logits, labels, value)
    batch, images_here = batch + 1, images_here + labels:numel()
    local seconds = core.clock() - first
    if core.process.interrupted() then
      return nil, { counter = counter, batch = batch, seconds = earlier + seconds }
    end
    if self.progress then
      local left = seconds / images_here * (counter.total - counter.images)
      self.progress:show(now_and_then(self, epoch, batch, #loader, counter, images_here / seconds, left))
    end
  end
  return counter, core.clock() - first
end

return setmetatable({ Trainer = Trainer }, { __call = new })
