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
--     trainer:fit(train, val)                      -- or as a loop: for event in trainer:run(train, val) do ... end
--     print(trainer.validation)                    -- the metrics of the epoch that is kept, see texres.metrics
--     print(trainer:evaluate(test))
--
-- In `dir` stand best.safetensors (the weights of the epoch that is kept, which is the best one or, with keep = "last",
-- the last; with all that inference needs), last.safetensors (those of the last step, with all that it takes to go on),
-- report.html, metrics.jsonl and metrics.csv (a line per
-- epoch), watch.jsonl (what the layers did, see texres.trainer.watch) and run.json (for texres.report.compare).
--
-- trainer.watched has what the layers did every so many steps, trainer.findings what was wrong with them: gradients
-- that vanish or explode, dead ReLUs, values that are no numbers (texres.trainer.diagnosis). A warning tells each, too.
--
-- A run is a function of its options and data: the same seed gives the same weights, bit for bit, with any number of
-- threads, and also when it was stopped and resumed in between.
--
-- Going on. fit() goes on where the last fit() of this trainer stopped: after a Ctrl-C with the next batch; after the
-- last epoch when `epochs` was raised (trainer.epochs = 30); and not at all when nothing is left to do. A new trainer
-- with `resume = true` does the same from last.safetensors. fit(train, val, { fresh = true }) begins anew: no history,
-- no state of the optimizer, with the weights that the model has now.
--
-- A run only goes on as the same run. Its identity is in the file: texres' version; the architecture; images (checksum
-- of all pixels up to 256 MB of them, else of images spread evenly over the set), labels and classes of both sets;
-- normalization; batch, accumulate, sync_batch_norm, balanced, weights, seed, augment, loss, clip_grad_norm, ema; the
-- schedule, and all options of the optimizer. What differs is listed as `option: then -> now`, and nothing is changed.
-- Functions and objects of a script (a loss, a schedule or an optimizer of its own) can't be compared: that they are
-- the same is up to the script; a warning says so.
--
-- These may change on purpose:
--   epochs    what is left of the schedule is spread over the steps that are left, from the present rate on: a
--             one_cycle of 10 epochs that is made 20 in the middle is longer from there; one that had come to its end
--             stays at its last rate
--   lr        the whole schedule is multiplied, from the next step on (the ratios of groups stay); within a run by
--             trainer:set_lr(rate)
--   what is frozen (model:freeze()), for a trainer that goes on; a file brings back what was frozen in its run
--             (and lr and epochs as they were changed in it, where the new trainer's options are those of the old one)
--   watch, patience, keep, best_k, save_every, callbacks, calibrate, operating_point, workers, cache, bad, dir, name,
--   quiet
--
-- Pictures that can't be read are an error that names the file; last.safetensors is then that of the last epoch or
-- snapshot, and the run goes on from there once the file is mended. With bad = "skip", fit() and evaluate() leave them
-- out: those that can't be read when they begin as if the set had no such images, and those that are damaged later out
-- of their batches, with a warning at the end of the epoch and, in its record, `skipped`, how many images that were. A
-- batch that comes down to a single image is not trained on. A run that is resumed with other unreadable files than it
-- began with is another run, as its images are others.
--
-- The losses that are told, of training, validation and evaluate(), are those that the set would have as a single
-- batch: a mean, weighted as the loss weighs classes, without images that it ignores; with reduction = "sum" the sum
-- over the set. With `calibrate`, those of trainer.validation and evaluate() are of the calibrated probabilities; the
-- history, by which epochs are compared, has those of the logits as the network gives them. What a loss of the script
-- gives is taken for the mean over the images of a batch.
--
-- Layers may have options of their own, by their names; the first rule that names a layer holds, and the schedule
-- moves all rates together:
--
--     optimizer = { "adamw", lr = 1e-3, groups = {
--       { { "conv1", "stage[12]" }, lr = 1e-5 },             -- names, or patterns of Lua's
--       { "stage3", lr = 1e-4, weight_decay = 0.01 },
--     } }
--
-- One run at a time writes to a folder; a second one is refused while the first is at work.

local classifier = require "texres.classifier"
local core = require "texres.core"
local evaluate = require "texres.evaluate"
local history = require "texres.trainer.history"
local identity = require "texres.trainer.identity"
local input = require "texres.input"
local lists = require "texres.data.lists"
local loop = require "texres.trainer.loop"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local objective = require "texres.trainer.objective"
local novelty = require "texres.novelty"
local operating_point = require "texres.metrics.operating_point"
local probe = require "texres.trainer.probe"
local protect = require "texres.protect"
local raise = require "texres.raise"
local record = require "texres.trainer.record"
local shards = require "texres.trainer.shards"
local state = require "texres.trainer.state"
local strict = require "texres.strict"
local synchronized = require "texres.trainer.synchronized"
local terminal = require "texres.terminal"
local views = require "texres.views"
local watch = require "texres.trainer.watch"

local SOME = { -- fields that a trainer may lack
  "asked", "audit", "average", "best", "best_k", "best_takes", "best_weights", "callbacks", "classes", "course",
  "drawing", "ema", "explained", "folder", "identity", "input", "last_weights", "loss_of", "normalization",
  "operating_point", "pass", "progress", "random", "rate", "running", "samples", "save_every", "sets", "sizes",
  "skipped", "stopped", "summary", "takes", "validation", "weights",
}

local Trainer = strict.class("a trainer", {}, SOME)

-- -- options ----------------------------------------------------------------------------------------------------------

local KNOWN = {
  model = option.any(), -- required: a module that maps images {N,H,W,C} to logits {N,K}
  optimizer = option.any { "adamw", lr = 1e-3, weight_decay = 1e-4 }, -- {name, options, groups = rules by layer} or
  -- one of texres.optim; "adamw" decays weights alone, biases and norms only with decay = "all"
  schedule = option.any "constant", -- {name, options} or a name: how the learning rate goes, see texres.optim.schedule
  epochs = option.integer(10, "[1, inf)"), -- how often all training images are seen
  batch = option.integer(128, "[1, inf)"), -- images at a time
  seed = option.integer(1, "[0, inf)"), -- of shuffling, augmentation and dropout
  augment = option.table(), -- a list for the loader of the training set
  loss = option.any "cross_entropy", -- a name, {name, options; weight may be "balanced"} or function(logits, labels),
  -- which gives the mean over a batch
  dir = option.text(), -- folder for checkpoints, metrics and report; nothing is written without it
  patience = option.COUNT, -- stop after so many epochs without a better one
  clip_grad_norm = option.number(nil, "(0, inf]"), -- largest norm of all gradients together
  accumulate = option.integer(1, "[1, inf)"), -- batches that make a step together
  sync_batch_norm = option.switch(false), -- on several processes, statistics of batch norm are those of the whole batch
  ema = option.number(nil, "(0, 1)"), -- decay of an average of the weights, which is what is validated and kept
  keep = option.choice("best", { "best", "last" }), -- the epoch whose weights the model has in the end
  best_k = option.integer(nil, "[1, inf)"), -- files of so many of the best epochs: best-0007.safetensors; temperature
  -- and operating point stand in best.safetensors alone
  save_every = option.any(), -- write last.safetensors in the middle of epochs, too: "5min", "90 s"
  callbacks = option.table(), -- a list of functions(event, trainer), called with each event; false ends the run
  calibrate = option.switch(false), -- learn the temperature of the kept weights from the validation images
  operating_point = option.table(), -- chosen on the validation images: { false_reject = 0.02 }
  balanced = option.switch(false), -- of the loader: every class equally often
  weights = option.any(), -- of the loader: a weight per image, or per class
  workers = option.integer(2, "[0, inf)"), -- of the loader: threads that prepare batches
  cache = option.switch(false), -- read the images of both sets once, into memory
  bad = option.choice("error", { "error", "skip" }), -- what becomes of images that can't be read
  live = option.switch(false), -- report.html loads itself again every few seconds while the training is under way
  watch = option.any(true), -- note norms, activations, dead ReLUs of each layer: true, false, { every = 50 }
  resume = option.switch(false), -- go on from dir/last.safetensors where it is there
  normalize = option.kind("true, false or { mean =, std = }", function(value) -- by mean and deviation of the training
    return type(value) == "boolean" or type(value) == "table" -- images, or the model's own
  end, true),
  name = option.text "texres", -- the report's title
  quiet = option.switch(false), -- no progress lines
}

--- Forgets all of the runs before, but not the weights.
function Trainer:_forget()
  self.history = history.of {} -- a record for each finished epoch, see texres.trainer.history
  self.best = nil -- the one that is kept: the best of them; with keep = "last" the last
  self.validation = nil -- its metrics
  self.skipped = nil -- positions of the validation images that were left out of them
  self.tests = {} -- what evaluate() found: {name=, note= of when the weights were, result=, set=, point=}
  self.watched = {} -- what the layers did every so many steps, see texres.trainer.watch
  self.findings = {} -- what was wrong with them, see texres.trainer.diagnosis
  self.steps = 0 -- optimizer steps so far
  self.rate = nil -- that the schedule has set for the last of them
  self.course = nil -- where they stand on the schedule, see texres.trainer.course
  self.pass = nil -- an epoch under way: {epoch=, batch=, seconds=, counter=}
  self.interrupted = false -- whether Ctrl-C ended fit()
  self.stopped = false -- whether a callback did
  self.average = nil -- of the weights, see texres.trainer.average
end

local FIELDS = {}
for _, name in ipairs(SOME) do FIELDS[name] = true end
for _, name in ipairs { "findings", "history", "interrupted", "steps", "tests", "watched" } do
  FIELDS[name] = true
end

--- What a script writes to no option would be a wish that nobody reads.
function Trainer:__newindex(name, value)
  if not FIELDS[name] and not KNOWN[name] then
    raise("Trainer: there is no option '%s'%s", tostring(name),
      name == "lr" and "; trainer:set_lr(rate) changes the rate" or "")
  end
  rawset(self, name, value)
end

--- What can't be told by a single value's rule.
local function check_options(self)
  if self.dir then option.check("Trainer", "dir", self.dir, option.PATH) end
  if self.save_every and not terminal.seconds(self.save_every) then
    raise('Trainer: save_every is %s, wanted a duration such as "5min" or "90 s"', option.shown(self.save_every))
  end
  for i, callback in ipairs(self.callbacks or {}) do
    if type(callback) ~= "function" then
      raise("Trainer: callbacks[%d] is %s, wanted a function(event, trainer)", i, option.shown(callback))
    end
  end
  watch.interval(self.watch) -- which checks it
  if self.operating_point then operating_point.check(self.operating_point) end
end

--- Makes a trainer.
local function new(_, options)
  local self = option.read("Trainer", options, KNOWN)
  if self.augment then core.augment(self.augment) end -- which checks it
  objective.check_loss(self.loss)
  if classifier.is(self.model) then
    if #self.model.models > 1 then raise "Trainer: an ensemble is not one network: train its members" end
    self.model = self.model.model
  end
  option.check("Trainer", "model", self.model, module.IS_MODULE)
  check_options(self)
  if self.resume and not self.dir then raise "Trainer: resume needs dir, where last.safetensors is" end
  setmetatable(self, Trainer)
  self.optimizer = objective.optimizer(self.optimizer, self.model)
  self.schedule = objective.schedule(self.schedule, self.optimizer)
  self.asked = { lr = self.schedule.options and self.schedule.options.lr, epochs = self.epochs } -- by the script
  self:_forget()
  return self
end

-- -- data -------------------------------------------------------------------------------------------------------------

--- What the model takes: its own input, where it has one of the same classes and no other normalization is asked for
-- (images of another size become its size, see Input:adapted); else what the training set says. Where the augmentation
-- takes a window, that is its size.
local function learn_from(self, train, share)
  input.check_set(train, "Trainer: the training set")
  local own, window = input.of(self.model), self.augment and core.augment(self.augment):window()
  local same = own and own:suits(train, self.model)
  if same and self.normalize == true then return own:adapted(train):through_window(window) end
  local learned = input.learn(train, self.normalize, share)
  if same and own.classes then learned.classes = own.classes end
  return learned:through_window(window)
end

--- Batches to train on, shuffled and augmented. A single image left over is not trained on: batch norm has nothing to
-- normalize it by where the map is 1x1. `part` (optional): what one of several processes has of them.
local function training_loader(self, takes, set, weights, part)
  local single = #set > self.batch and #set % self.batch == 1
  return (takes:loader(set, {
    batch = self.batch, shuffle = not weights, seed = self.seed, augment = self.augment, drop_last = single,
    balanced = self.balanced, weights = weights, workers = self.workers, bad = self.bad, part = part,
  }, "Trainer: the training set"))
end

--- The training images that are there to be read, and the weights, where they are given per image, of these.
local function readable(self, train, share)
  local kept_set, kept = input.readable(train, self.bad, share)
  local weights = core.is_tensor(self.weights) and self.weights:totable() or self.weights
  if kept and type(weights) == "table" and #weights == #train then weights = lists.pick(weights, kept) end
  return kept_set, weights
end

--- Raises where the model does not give a score per class for each image of a batch.
local function check_scores(self, takes, images)
  local wanted = { images, #takes.classes }
  local seed, stream = core.rng_state()
  local scores = protect.finally(function() core.rng_state(seed, stream) end, module.try_on_zeros, self.model,
    { images, table.unpack(takes.input) })
  local given = core.is_tensor(scores) and module.shape_text(scores:shape()) or option.shown(scores)
  if given ~= module.shape_text(wanted) then
    raise("Trainer: for %d images the model gives %s, wanted %s: a score for each of the %d classes", images, given,
      module.shape_text(wanted), #takes.classes)
  end
end

local function cached(set)
  local copy, message = set:cache()
  if not copy then raise("Trainer: %s", message) end
  return copy
end

--- Raises where temperature or operating point are asked for, and no images are there to choose them on.
local function check_choices(self, val)
  if not val and (self.calibrate or self.operating_point) then
    raise("Trainer: %s is chosen on validation images: give fit() a validation set",
      self.calibrate and "calibrate" or "operating_point")
  end
  if not self.operating_point then return end
  operating_point.check_set(val, self.operating_point, "Trainer: operating_point: of the validation images")
end

--- What white is in the sets of a plan, which several processes look for together; their loaders ask for it.
local function look_for_white(plan, share)
  for _, name in ipairs { "train", "val" } do
    local set = plan[name]
    local white, message = true, nil
    if set then white, message = input.white_of_set(set, nil, share) end
    if white == nil then raise("Trainer: the %s set: %s", name == "val" and "validation" or "training", message) end
  end
end

--- All that fit() finds out before it changes anything: what the model takes, the sets with its classes, loader, loss
-- and the identity of the run. `share` (optional): of processes that read the sets together.
local function plan_of(self, train, val, share)
  for name, wanted in pairs(KNOWN) do -- a script may have changed them
    if self[name] or wanted.default then option.check("Trainer", name, self[name], wanted) end
  end
  check_options(self)
  local weights
  train, weights = readable(self, train, share)
  val = input.readable(val, self.bad, share)
  local takes = learn_from(self, train, share):bare()
  local plan = { takes = takes, train = takes:fit(train, "Trainer: the training set") }
  if val then plan.val = takes:fit(val, "Trainer: the validation set") end
  check_choices(self, plan.val)
  if self.cache then
    plan.train = cached(plan.train)
    plan.val = plan.val and cached(plan.val)
  end
  if share then look_for_white(plan, share) end
  if self.sync_batch_norm then synchronized.check(self.model) end
  plan.loss_of = objective.loss(self.loss, plan.train)
  check_scores(self, takes, math.min(share and shards.SHARD or self.batch, #plan.train))
  plan.loader = training_loader(self, takes, plan.train, weights, share and shards.part(shards.job()))
  plan.identity = identity.of(self, plan, share)
  return plan
end

-- -- measuring --------------------------------------------------------------------------------------------------------

--- Of when the weights are that the model has now, for the report: of the epoch that is kept after a fit(), of the last
-- batch or epoch in a loop over run() and after one that was left; nil before one.
local function weights_text(self)
  if self.pass and not self.last_weights then
    return ("epoch %d, after batch %d"):format(self.pass.epoch, self.pass.batch)
  end
  local epoch = self.last_weights and self.best.epoch or #self.history -- whether state.load_best was here
  return epoch > 0 and ("epoch %d"):format(epoch) or nil
end

local EVALUATE = { views = views.COUNT, bad = option.choice(nil, { "error", "skip" }) }

--- Metrics on a set: accuracy, loss, confusion matrix, precision, recall and F1 of each class; see texres.metrics. They
-- go into the report under `name` ("Test"). The set is read as the model's input says (texres.input), which the model
-- learned in fit() or brought from its file: a model that has none can't be measured. Before a fit(), a loss with the
-- weight "balanced" takes the counts of this set. {views=8}: the probabilities are averaged over the images turned and
-- mirrored (4: mirrored); by default over as many as the operating point was chosen with. {bad="skip"}: images that
-- can't be read are left out (default: the trainer's own `bad`).
-- @treturn Result
function Trainer:evaluate(set, name, options)
  local o = option.read("evaluate", options, EVALUATE)
  local takes = input.of(self.model)
  if not takes or not takes.classes then
    raise "Trainer: evaluate: the model has no classes and normalization yet: train it, or load it with texres.load"
  end
  if not self.classes then
    self.classes, self.input, self.normalization = takes.classes, takes.input, takes.normalization
  end
  local what, bad = "Trainer: the evaluated set", o.bad or self.bad
  set = input.readable(set, bad)
  local result, _, skipped = evaluate.run({ self.model }, set, {
    batch = self.batch, loss = self.loss_of or objective.loss(self.loss, takes:fit(set, what)),
    views = views.count(o.views, takes.operating_point), bad = bad, what = what,
  })
  self.tests[#self.tests + 1] = {
    name = name or "Test", note = weights_text(self), result = result, set = skipped and set:without(skipped) or set,
    point = takes.operating_point,
  }
  if self.folder then record.write(self) end
  return result
end

--- Gives the weights that were kept what was chosen for them, { temperature =, operating_point =, novelty = }; the run
-- is written with it.
local function give_kept(self, chosen)
  self.best_takes = input.of(self.model):with(chosen)
  input.give(self.model, self.best_takes)
  if not self.folder then return end
  state.keep_best(self)
  record.write(self)
end

--- What the model takes with the weights that were kept; raises where there are none. `what`: who asks.
local function takes_of_kept(self, what)
  if not self.best or self.pass or self.running then
    raise("Trainer: %s: it belongs to the weights of a training that has ended: fit() comes before", what)
  end
  return input.of(self.model)
end

--- Gives the weights that were kept an operating point that was chosen elsewhere, such as by a cross-validation: it
-- stands in best.safetensors and in the report, and stays as long as these weights are kept, whatever the option
-- operating_point asks for. nil takes it away.
function Trainer:set_operating_point(point)
  local takes = takes_of_kept(self, "set_operating_point")
  if point ~= nil and not operating_point.fits(point, takes.classes) then
    raise("Trainer: set_operating_point: %s is no operating point for the classes %s", option.shown(point),
      table.concat(takes.classes, ", "))
  end
  give_kept(self, {
    temperature = takes.temperature, operating_point = point and operating_point.given(point), novelty = takes.novelty,
  })
end

--- Learns for the weights that were kept how unlike anything that they were trained on an image may be, as
-- classifier:fit_novelty does, with the same options: it stands in best.safetensors.
-- @return what was fitted
function Trainer:fit_novelty(set, options)
  local takes = takes_of_kept(self, "fit_novelty")
  local found = novelty.fit(self.model, set, options)
  give_kept(self, { temperature = takes.temperature, operating_point = takes.operating_point, novelty = found })
  return found
end

-- -- training ---------------------------------------------------------------------------------------------------------

local FIT_OPTIONS = {
  fresh = option.switch(false), -- begin anew: no history, no state of the optimizer, the weights as they are
}

--- What a run begins with, or goes on from: options, plan, and what last.safetensors holds. All that may fail before a
-- run begins.
local function prepare(self, run, train, val, options)
  options = option.read("fit", options, FIT_OPTIONS)
  if self.running then
    raise "Trainer: a run of this trainer is under way: leave its loop, or trainer:leave() it, before another begins"
  end
  if run.job then
    input.check_set(train, "Trainer: the training set")
    shards.meet(run.job, self, { training = train, validation = val })
  end
  local plan = plan_of(self, train, val, run.job and shards.reading(run.job))
  if not run.job or run.job.rank == 0 then run.lock = state.lock(self) end
  local saved
  if self.identity and not options.fresh then
    plan.identity.trained = self.identity.trained -- it is the same model, and what is frozen is up to it
    state.compare(self.identity, plan.identity, "the fit() before")
  elseif self.resume and not options.fresh then
    saved = state.read(self, plan)
  end
  return options, plan, saved
end

--- Begins a run (see texres.trainer.loop) on these sets.
local function begin(self, run, train, val, options)
  run.job = shards.job()
  local read, plan, saved = shards.all_or_none(run.job, prepare, self, run, train, val, options)
  if run.job then shards.agree(run.job, self, plan, saved) end
  self.folder = self.dir
  if run.job and run.job.rank > 0 then self.folder, self.quiet = nil, true end -- rank 0 writes and tells
  run:begin(plan, saved, read.fresh)
end

--- A training as a loop in your hands:
--
--     for event in trainer:run(train, val) do
--       if event.kind == "epoch" and event.val_accuracy > 0.99 then break end
--       if event.kind == "step" and event.step == 500 then stage1:freeze() trainer:set_lr(1e-4) end
--     end
--
-- Events are tables with a `kind`:
--
--     step         after each step: epoch, batch (of the epoch), step (of the run), images, loss, lr
--     epoch        after each epoch: the record of the history (epoch, lr, loss, accuracy, val_loss, ...), better
--                  (whether its weights are kept), validation (its metrics)
--     checkpoint   when last.safetensors was written: path, epoch
--     end          the last one: reason ("finished", "patience", "interrupted", "stopped"), epochs, steps
--
-- Leaving the loop early keeps the weights as they are (trainer:stop() ends it with the best ones); another run() or
-- fit() goes on there, as one of a new trainer with `resume = true` does. Looking changes nothing: evaluate(), a pass
-- in evaluation mode or random numbers that the loop draws. Options and what happens in the end are those of fit.
-- Outside of `for`, the first value is a function that gives the next event, nil after the last one.
function Trainer:run(train, val, options)
  local run, begun = loop.new(self), false
  local function next_event() return run:next() end -- made before the run begins: afterwards nothing may fail here
  protect.finally(function()
    if not begun then run:close() end
  end, function()
    begin(self, run, train, val, options)
    begun = true
  end)
  return next_event, nil, nil, run
end

--- Ends the run under way after the event that is being handled, as if no epoch were left: with the weights that are
-- kept. For a loop over run() that has seen enough, where a break would leave the last weights.
function Trainer:stop() self.stopped = true end

--- Leaves the run under way, as a break does: for one that no loop holds any more, such as that of a coroutine that was
-- given up. Does nothing where there is none.
function Trainer:leave()
  local run = self.running
  if run and run.inside then raise "Trainer: leave: a step is at work: leave the run between two events" end
  if run then run:close() end
end

--- The base rate of the schedule from the next step on: the whole schedule is multiplied.
function Trainer:set_lr(rate)
  if not self.schedule.options then
    raise "Trainer: set_lr: the schedule is one of the script, which decides about its rate itself"
  end
  self.schedule = self.schedule:with_lr(rate)
end

--- Trains on a set, validating on another one after each epoch (it may be left out); returns the history, a list of
-- records that print() shows as a table. Afterwards the model has the weights of the best epoch: highest validation
-- accuracy, among equals lowest loss; an epoch whose loss is NaN is never the best; with keep = "last" those of the
-- last epoch. Ctrl-C ends it after the step under way, with last.safetensors written and trainer.interrupted set. A
-- second fit() goes on, as the text about Trainer says; { fresh = true } begins anew.
-- @treturn History
function Trainer:fit(train, val, options)
  local run <close> = loop.new(self)
  begin(self, run, train, val, options)
  while run:next() do end
  run:close()
  return self.history
end

--- What a fit() on these sets would be a function of, see texres.trainer.identity.
function Trainer:_identity(train, val) return plan_of(self, train, val).identity end

-- -- looking before and after -----------------------------------------------------------------------------------------

--- Loader and loss for a trial on a training set: of whole batches, on each of several processes.
local function trial_of(self, train)
  local weights
  train, weights = readable(self, train)
  local takes = learn_from(self, train):bare()
  local set = takes:fit(train, "Trainer: the training set")
  check_scores(self, takes, math.min(self.batch, #set))
  return training_loader(self, takes, set, weights), objective.loss(self.loss, set)
end

--- Which learning rate: a list of {lr =, loss =} over rising rates that prints as a table, with `suggestion`, and
-- `highest` for the top of a one_cycle. Options: low, high (1e-6, 1), steps (100). Nothing is changed. See
-- texres.trainer.probe.
function Trainer:find_lr(train, options)
  local loader, loss_of = trial_of(self, train)
  return probe.find_lr(self, loader, loss_of, options)
end

--- Whether the network can learn one batch by heart: {fits =, verdict =, first =, last =, accuracy =}, which prints its
-- verdict. Options: steps (100), lr. Nothing is changed.
function Trainer:overfit_batch(train, options)
  local loader, loss_of = trial_of(self, train)
  return probe.overfit_batch(self, loader, loss_of, options)
end

--- Measures the running statistics of the model's batch norms anew on a training set, with the weights that it has:
-- {batches = 50}. Returns how many batches were taken.
function Trainer:recalibrate(train, options)
  return probe.recalibrate(self.model, trial_of(self, train), options)
end

-- -- for people -------------------------------------------------------------------------------------------------------

--- An object of the library as it shows itself; one of a script by its name, if any.
local function part_text(part, otherwise)
  local meta = getmetatable(part)
  return type(meta) == "table" and meta.__tostring and tostring(part) or part.name or otherwise
end

--- What is trained and how, and how far it is.
function Trainer:__tostring()
  local lines = {
    ("trainer of %s, %s parameters: %d of %d epochs, batches of %d"):format(
      rawget(self.model, "name") or getmetatable(self.model).__name, plain.grouped(self.model:num_parameters()),
      #self.history, self.epochs, self.batch),
    "  optimizer  " .. part_text(self.optimizer, "one of the script"):gsub("\n", "\n           "),
    "  schedule   " .. part_text(self.schedule, "one of the script"),
  }
  local pass = self.pass
  if pass then lines[#lines + 1] = ("  under way  epoch %d, after batch %d"):format(pass.epoch, pass.batch) end
  if self.best then
    lines[#lines + 1] = (self.keep == "last" and "  kept       " or "  best       ") .. history.text(self.best)
  end
  if self.dir then lines[#lines + 1] = "  folder     " .. plain.visible_name(self.dir) end
  return table.concat(lines, "\n")
end

return setmetatable(Trainer, { __call = new })
