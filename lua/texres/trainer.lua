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
-- In `dir` stand best.safetensors (the weights of the best epoch, with all that inference needs), last.safetensors (the
-- same of the last step, with all that it takes to go on), metrics.jsonl (a line per epoch) and report.html.
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
-- normalization; batch, seed, augment, loss, clip_grad_norm; the schedule, and all options of the optimizer. What
-- differs is listed as `option: then -> now`, and nothing is changed. Functions and objects of a script (a loss, a
-- schedule or an optimizer of its own) can't be compared: that they are the same is up to the script; a warning says
-- so.
--
-- These may change on purpose:
--   epochs    what is left of the schedule is spread over the steps that are left, from the present rate on: a
--             one_cycle of 10 epochs that is made 20 in the middle is longer from there; one that had come to its end
--             stays at its last rate
--   lr        the whole schedule is multiplied, from the next step on (the ratios of groups stay)
--   patience, dir, name, quiet
--
-- The losses that are told, of training, validation and evaluate(), are those that the set would have as a single
-- batch: a mean, weighted as the loss weighs classes, without images that it ignores; with reduction = "sum" the sum
-- over the set. What a loss of the script gives is taken for the mean over the images of a batch.
--
-- One run at a time writes to a folder; a second one is refused while the first is at work.

local classifier = require "texres.classifier"
local core = require "texres.core"
local course = require "texres.trainer.course"
local diagnosis = require "texres.trainer.diagnosis"
local evaluate = require "texres.evaluate"
local history = require "texres.trainer.history"
local identity = require "texres.trainer.identity"
local input = require "texres.input"
local metrics = require "texres.metrics"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local objective = require "texres.trainer.objective"
local protect = require "texres.protect"
local raise = require "texres.raise"
local record = require "texres.trainer.record"
local state = require "texres.trainer.state"
local strict = require "texres.strict"
local terminal = require "texres.terminal"

local process = core.process

local Trainer = strict.class("a trainer", {}, {
  "best", "best_weights", "classes", "course", "identity", "input", "last_weights", "loss_of", "normalization", "pass",
  "progress", "random", "sizes", "summary", "validation",
})

-- -- options ----------------------------------------------------------------------------------------------------------

local KNOWN = {
  model = option.any(), -- required: a module that maps images {N,H,W,C} to logits {N,K}
  optimizer = option.any { "adamw", lr = 1e-3, weight_decay = 1e-4 }, -- {name, options} or one of texres.optim
  schedule = option.any "constant", -- {name, options} or a name: how the learning rate goes, see texres.optim.schedule
  epochs = option.integer(10, "[1, inf)"),
  batch = option.integer(128, "[1, inf)"),
  seed = option.integer(1, "[0, inf)"), -- of shuffling, augmentation and dropout
  augment = option.table(), -- a list for the loader of the training set
  loss = option.any "cross_entropy", -- a name, {name, options; weight may be "balanced"} or function(logits, labels),
  -- which gives the mean over a batch
  dir = option.text(), -- folder for checkpoints, metrics and report; nothing is written without it
  patience = option.integer(nil, "[1, inf)"), -- stop after so many epochs without a better one
  clip_grad_norm = option.number(nil, "(0, inf]"), -- largest norm of all gradients together
  resume = option.switch(false), -- go on from dir/last.safetensors where it is there
  normalize = option.any(true), -- by mean and deviation of the training images, or the model's own; { mean =, std = }
  name = option.text "texres", -- the report's title
  quiet = option.switch(false), -- no progress lines
}

--- What a run is about to find out.
local function begin(self)
  self.history = history.of {} -- a record for each finished epoch, see texres.trainer.history
  self.best = nil -- the best of them
  self.validation = nil -- the metrics of the best epoch
  self.tests = {} -- what evaluate() found: {name=, note= of when the weights were, result=}
  self.steps = 0 -- optimizer steps so far
  self.course = nil -- where they stand on the schedule, see texres.trainer.course
  self.pass = nil -- an epoch under way: {epoch=, batch=, seconds=, counter=}
  self.interrupted = false -- whether Ctrl-C ended fit()
end

--- Makes a trainer; the options are those of KNOWN above.
local function new(_, options)
  local self = option.read("Trainer", options, KNOWN)
  if self.augment then core.augment(self.augment) end -- which checks it
  objective.check_loss(self.loss)
  if classifier.is(self.model) then self.model = self.model.model end
  if type(self.normalize) ~= "boolean" and type(self.normalize) ~= "table" then
    raise("Trainer: normalize is %s, wanted true, false or { mean =, std = }", option.shown(self.normalize))
  end
  if not module.is_module(self.model) then
    raise("Trainer: the option model is %s, wanted a module", option.shown(self.model))
  end
  if self.dir then option.check("Trainer", "dir", self.dir, option.PATH) end
  if self.resume and not self.dir then raise "Trainer: resume needs dir, where last.safetensors is" end
  setmetatable(self, Trainer)
  self.optimizer = objective.optimizer(self.optimizer, self.model)
  self.schedule = objective.schedule(self.schedule, self.optimizer)
  begin(self)
  return self
end

-- -- data -------------------------------------------------------------------------------------------------------------

--- What the model takes: its own input, where it has one of the same classes and no other normalization is asked for
-- (images of another size become its size, see Input:adapted); else what the training set says.
local function learn_from(self, train)
  input.check_set(train, "Trainer: the training set")
  local own = input.of(self.model)
  local same = own and own:suits(train, self.model)
  if same and self.normalize == true then return own:adapted(train) end
  local learned = input.learn(train, self.normalize)
  if same then learned.classes = own.classes end
  return learned
end

--- Batches to train on, shuffled and augmented. A single image left over is not trained on: batch norm has nothing to
-- normalize it by where the map is 1x1.
local function training_loader(self, takes, set)
  local single = #set > self.batch and #set % self.batch == 1
  return (takes:loader(set, {
    batch = self.batch, shuffle = true, seed = self.seed, augment = self.augment, drop_last = single,
  }, "Trainer: the training set"))
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

--- All that fit() finds out before it changes anything: what the model takes, the sets with its classes, loader, loss
-- and the identity of the run.
local function plan_of(self, train, val)
  for name, wanted in pairs(KNOWN) do -- a script may have changed them
    if self[name] or wanted.default then option.check("Trainer", name, self[name], wanted) end
  end
  local takes = learn_from(self, train)
  local plan = { takes = takes, train = takes:fit(train, "Trainer: the training set") }
  if val then plan.val = takes:fit(val, "Trainer: the validation set") end
  plan.loss_of = objective.loss(self.loss, plan.train)
  check_scores(self, takes, math.min(self.batch, #plan.train))
  plan.loader = training_loader(self, takes, plan.train)
  plan.identity = identity.of(self, plan)
  return plan
end

-- -- measuring --------------------------------------------------------------------------------------------------------

local function assess(self, set, loss_of, what)
  return evaluate.run({ self.model }, set, { batch = self.batch, loss = loss_of, what = what })
end

--- Of when the weights are that the model has now, for the report: of the best epoch after a fit(), of the last batch
-- after one that was stopped; nil before one.
local function weights_text(self)
  if self.pass then return ("epoch %d, after batch %d"):format(self.pass.epoch, self.pass.batch) end
  local epoch = self.best and self.best.epoch or #self.history
  return epoch > 0 and ("epoch %d"):format(epoch) or nil
end

--- Metrics on a set: accuracy, loss, confusion matrix, precision, recall and F1 of each class; see texres.metrics. They
-- go into the report under `name` ("Test"). The set is read as the model's input says (texres.input), which the model
-- learned in fit() or brought from its file: a model that has none can't be measured. Before a fit(), a loss with the
-- weight "balanced" takes the counts of this set.
function Trainer:evaluate(set, name)
  local takes = input.of(self.model)
  if not takes or not takes.classes then
    raise "Trainer: evaluate: the model has no classes and normalization yet: train it, or load it with texres.load"
  end
  if not self.classes then
    self.classes, self.input, self.normalization = takes.classes, takes.input, takes.normalization
  end
  local loss_of = self.loss_of or objective.loss(self.loss, takes:fit(set, "Trainer: the evaluated set"))
  local result = assess(self, set, loss_of, "Trainer: the evaluated set")
  self.tests[#self.tests + 1] = { name = name or "Test", note = weights_text(self), result = result }
  if self.dir and self.sizes then record.write(self) end
  return result
end

-- -- training ---------------------------------------------------------------------------------------------------------

--- Calls f(...), a step. One that fails is not taken: running statistics (`buffers`) and random numbers are as before.
local function undone_if_it_fails(buffers, f, ...)
  local seed, stream = core.rng_state()
  local before, failed = {}, true
  for i, t in ipairs(buffers) do before[i] = t:clone() end
  local function finish(...)
    failed = false
    return ...
  end
  return protect.finally(function()
    if not failed then return end
    core.rng_state(seed, stream)
    core.no_grad(function()
      for i, t in ipairs(buffers) do t:copy_from(before[i]) end
    end)
  end, function(...) return finish(f(...)) end, ...)
end

--- One step: forward, loss, backward, update. Returns logits, and what the batch adds to the loss of the epoch: the sum
-- of the losses and their weight.
local function step(self, images, labels, mix)
  self.optimizer:set_lr(self.schedule:lr(course.position(self.course, self.steps + 1), self.course.total))
  local logits = self.model(images)
  local loss, sum, weight = objective.mixed(self.loss_of, logits, labels, mix)
  local value = loss:item()
  if value - value ~= 0 then diagnosis.stop(self, images, value) end
  self.optimizer:zero_grad()
  loss:backward()
  if self.clip_grad_norm then objective.clip(self.optimizer, self.clip_grad_norm) end
  self.optimizer:step()
  self.steps = self.steps + 1
  return logits:detach(), sum, weight
end

local function progress_text(self, pass, images, left)
  local counter = pass.counter
  return plain.format("epoch %d/%d %3d %%  loss %.4f  accuracy %.1f %%  %.0f images/s  %s left", pass.epoch,
    self.epochs, 100 * counter.images // images, counter:loss(),
    100 * counter.right / counter.images, counter.images / pass.seconds, terminal.duration(left))
end

--- Trains one epoch to its end, or to a Ctrl-C (then self.interrupted is set); goes on in the middle of one.
local function train_epoch(self, loader, images)
  local pass = self.pass
  self.model:train()
  local clock, dtype, buffers = core.clock(), module.float_dtype(self.model), self.model:buffers()
  for batch, labels, mix in loader:batches(pass.epoch, pass.batch + 1) do
    local logits, sum, weight = undone_if_it_fails(buffers, step, self, batch:to(dtype), labels, mix)
    pass.counter:add(logits, labels)
    pass.counter:add_loss(sum, weight)
    pass.batch = pass.batch + 1
    local now = core.clock()
    pass.seconds, clock = pass.seconds + now - clock, now
    if process.interrupted() then
      self.interrupted = true
      return
    end
    if self.progress then
      local per_image = pass.seconds / pass.counter.images
      local left = per_image * (images * (self.epochs - pass.epoch + 1) - pass.counter.images)
      self.progress:show(progress_text(self, pass, images, left))
    end
  end
end

local function epoch_text(self, entry, better)
  local val = entry.val_loss and plain.format("  val loss %.4f  val accuracy %.1f %%", entry.val_loss,
    100 * entry.val_accuracy) or ""
  return plain.format("epoch %d/%d  loss %.4f  accuracy %.1f %%%s  %.0f images/s  %s%s", entry.epoch, self.epochs,
    entry.loss, 100 * entry.accuracy, val, entry.images_per_second, terminal.duration(entry.seconds),
    better and "  best" or "")
end

--- Validates, notes and saves what the epoch gave.
local function end_epoch(self, val)
  local pass = self.pass
  local trained = pass.counter:result()
  local entry = {
    epoch = pass.epoch, lr = self.optimizer:lr(), loss = trained.loss, accuracy = trained.accuracy,
    seconds = pass.seconds, images_per_second = trained.images / pass.seconds,
  }
  local validation = val and assess(self, val, self.loss_of, "Trainer: the validation set")
  if validation then entry.val_loss, entry.val_accuracy = validation.loss, validation.accuracy end
  self.history[#self.history + 1], self.pass = entry, nil
  local better = history.is_better(entry, self.best)
  if better then
    self.best, self.validation = entry, validation
    state.keep_best(self)
  end
  if self.dir then
    state.save(self)
    record.write(self)
  end
  if self.progress then self.progress:done(epoch_text(self, entry, better)) end
end

local function is_finished(self)
  local epochs = #self.history
  return epochs >= self.epochs or (self.patience and epochs - (self.best and self.best.epoch or 0) >= self.patience)
end

local function run(self, plan)
  while not is_finished(self) do
    self.pass = self.pass
      or { epoch = #self.history + 1, batch = 0, seconds = 0, counter = metrics.Counter(self.classes) }
    train_epoch(self, plan.loader, #plan.train)
    if self.interrupted then return end
    end_epoch(self, plan.val)
  end
end

-- -- beginning and going on -------------------------------------------------------------------------------------------

local function begin_anew(self)
  begin(self)
  self.optimizer:reset()
  self.best_weights, self.last_weights = nil, nil
  core.manual_seed(self.seed)
end

local function go_on(self)
  state.load_last(self)
  core.rng_state(self.random.seed, self.random.stream)
end

--- From the file, which was read and checked; nothing below can fail. Says what isn't the file's.
local function go_on_from(self, saved, plan)
  local opaque = identity.opaque(plan.identity)
  if #opaque > 0 then
    require("texres").warn(("Trainer: resume can't compare what is a function or an object of the script: %s"):format(
      table.concat(opaque, ", ")))
  end
  state.restore(self, saved)
  core.rng_state(saved.random.seed, saved.random.stream)
  local lr = self.schedule.options and self.schedule.options.lr
  if self.progress and lr ~= saved.lr then
    self.progress:done(plain.format("the learning rate was %s in the file, goes on with %s", saved.lr, lr))
  end
end

--- Says so where further epochs are asked for after a schedule came to its end at next to no rate.
local function warn_of_end(self)
  local course_now = self.course
  if is_finished(self) or course_now.position < course_now.total then return end
  local last, first = self.schedule:lr(course_now.total, course_now.total), self.schedule:lr(1, course_now.total)
  if last >= 0.01 * first then return end
  require("texres").warn(plain.format("Trainer: the schedule had come to its end: the further epochs are trained at "
    .. "its last rate, %.3g. To train on at a larger one, begin anew from these weights: fit(train, val, "
    .. "{ fresh = true })", last))
end

--- Makes a plan, which nothing speaks against, the trainer's.
local function take_up(self, plan, saved, fresh)
  input.give(self.model, plan.takes)
  self.classes, self.input, self.normalization = plan.takes.classes, plan.takes.input, plan.takes.normalization
  self.loss_of, self.sizes = plan.loss_of, { train = #plan.train, val = plan.val and #plan.val or 0 }
  self.progress = not self.quiet and terminal.Progress() or nil
  self.interrupted = false
  if saved then
    go_on_from(self, saved, plan)
  elseif fresh then
    begin_anew(self)
  elseif self.identity then
    go_on(self)
  else
    core.manual_seed(self.seed)
  end
  self.identity = plan.identity
  local planned = #plan.loader * self.epochs
  self.course = self.course and course.replan(self.course, self.steps, planned) or course.new(planned)
  warn_of_end(self)
end

--- After a fit() that failed before its first step: the model takes what it took, and another fit() begins anew.
local function undo(self, takes)
  input.give(self.model, takes)
  self.identity, self.pass, self.classes, self.input, self.normalization = nil, nil, nil, nil, nil
end

--- Ends a fit() that came to its end or to a Ctrl-C.
local function leave(self)
  if self.interrupted then
    if self.dir then state.save(self) end
    if self.progress then self.progress:done(state.interrupted_text(self)) end
  elseif self.best then
    state.load_best(self)
  end
end

local FIT_OPTIONS = { fresh = option.switch(false) }

--- Trains on a set, validating on another one after each epoch (it may be left out); returns the history, a list of
-- records that print() shows as a table. Afterwards the model has the weights of the best epoch: highest validation
-- accuracy, among equals lowest loss; an epoch whose loss is NaN is never the best. Ctrl-C ends it after the step
-- under way, with last.safetensors written and trainer.interrupted set. A second fit() goes on, see above; { fresh =
-- true } begins anew.
function Trainer:fit(train, val, options)
  options = option.read("fit", options, FIT_OPTIONS)
  local plan = plan_of(self, train, val)
  local lock <close> = state.lock(self) -- luacheck: ignore
  local saved
  if self.identity and not options.fresh then
    state.compare(self.identity, plan.identity, "the fit() before")
  elseif self.resume and not options.fresh then
    saved = state.read(self, plan)
  end
  local takes, failed = input.of(self.model), true
  take_up(self, plan, saved, options.fresh)
  process.interrupts(true)
  protect.finally(function()
    process.interrupts(false)
    if failed and self.steps == 0 then undo(self, takes) end
    local seed, stream = core.rng_state()
    self.random = { seed = seed, stream = stream }
  end, function()
    run(self, plan)
    failed = false
  end)
  leave(self)
  return self.history
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
  if self.best then lines[#lines + 1] = "  best       " .. history.text(self.best) end
  if self.dir then lines[#lines + 1] = "  folder     " .. plain.visible_name(self.dir) end
  return table.concat(lines, "\n")
end

return setmetatable(Trainer, { __call = new })
