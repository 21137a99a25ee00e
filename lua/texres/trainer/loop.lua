--- The loop of a training, as a series of events: what trainer:run hands out, and fit runs through.
--
--     local run <close> = loop.new(trainer)
--     run:begin(plan, saved, fresh)
--     run:next()                    --> an event; nil after the last one
--     run:close()                   after the last event, a break, or an error: leaves the trainer in order
--
-- A run is at one of these places:
--
--     epoch 3, batch 17 ... of 40     next() takes a step, or `accumulate` batches of one, and tells "step"
--     end of epoch 3                  next() validates, keeps and saves, and tells "epoch", then "checkpoint"
--     nothing is left                 next() tells "end", once
--
-- Steps end where gradients are applied, so a run that stops between two events has no gradient that would be lost.
--
-- What is done between two events only to look changes nothing: the run draws random numbers of its own, and each step
-- puts the model into training mode (layers that are frozen stay in evaluation mode).

local average = require "texres.trainer.average"
local core = require "texres.core"
local course = require "texres.trainer.course"
local diagnosis = require "texres.trainer.diagnosis"
local evaluate = require "texres.evaluate"
local history = require "texres.trainer.history"
local identity = require "texres.trainer.identity"
local input = require "texres.input"
local metrics = require "texres.metrics"
local module = require "texres.nn.module"
local objective = require "texres.trainer.objective"
local plain = require "texres.plain"
local option = require "texres.options"
local protect = require "texres.protect"
local raise = require "texres.raise"
local record = require "texres.trainer.record"
local shards = require "texres.trainer.shards"
local state = require "texres.trainer.state"
local terminal = require "texres.terminal"
local watch = require "texres.trainer.watch"

local process = core.process

local RECENT = 16 -- losses of steps in the progress line

local Run = {}
Run.__index = Run

-- -- a step -----------------------------------------------------------------------------------------------------------

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

--- The part of an epoch's order from place `first` to `last`, without what was left out.
local function rows_of(order, skipped, first, last)
  local rows, out = {}, {}
  for _, one in ipairs(skipped) do out[one.place] = true end
  for place = first, math.min(last, #order) do
    if not out[place] then rows[#rows + 1] = order[place] end
  end
  return rows
end

--- Where the images of a part, a batch of the epoch under way or those from `from` to `to` of one, stand in the
-- training set: function(row); nil where the set's loader, one of the script, has no order(epoch).
function Run:positions(part)
  local loader, size, rows = self.plan.loader, self.trainer.batch, nil
  if not loader.order then return nil end
  local before = (part.number - 1) * size
  return function(row)
    rows = rows or rows_of(loader:order(self.trainer.pass.epoch), loader.skipped or {}, before + (part.from or 1),
      before + (part.to or size))
    return rows[row]
  end
end

--- Forward of one batch: its loss, and the part's `logits` and what it adds to the loss of the epoch, the `sum` of the
-- losses and their `weight`. `look`: at this step, or nil.
function Run:forward(part, look)
  local trainer, images = self.trainer, part.batch:to(self.dtype)
  local logits = look and look:forward(trainer.model, images, self:positions(part)) or trainer.model(images)
  local loss
  loss, part.sum, part.weight = objective.mixed(trainer.loss_of, logits, part.labels, part.mix)
  part.logits = logits:detach()
  return loss
end

--- What backward of a part begins with: its loss, or the sum of its losses where it is not `alone`, not all of the
-- step. Raises where there is nothing to train, or the loss is no number.
function Run:objective_of(part, loss, alone)
  if not loss.requires_grad then
    raise "Trainer: the loss depends on no parameter that is trained: all layers are frozen"
  end
  local value = loss:item()
  if value - value ~= 0 then
    diagnosis.stop(self.trainer, part.batch:to(self.dtype), value, {
      batch = part.number, position = self:positions(part),
    })
  end
  part.batch = nil
  return not alone and part.weight and loss * part.weight or loss -- a sum is that of the step as it is
end

--- Forward and backward of one batch.
function Run:add_gradient(part, alone, look) self:objective_of(part, self:forward(part, look), alone):backward() end

--- The rate of the step that comes next.
function Run:set_rate()
  local trainer = self.trainer
  if trainer.rate and trainer.optimizer:lr() ~= trainer.rate then
    raise("Trainer: the optimizer's rate was set to %s, but the schedule sets it before each step: trainer:set_lr(%s) "
      .. "changes it", option.shown(trainer.optimizer:lr()), option.shown(trainer.optimizer:lr()))
  end
  local place = course.position(trainer.course, trainer.steps + 1)
  trainer.optimizer:set_lr(trainer.schedule:lr(place, trainer.course.total, trainer.history))
  trainer.rate = trainer.optimizer:lr()
end

--- Applies the gradients. `look`: at this step, or nil.
local function update(trainer, look)
  if look then look:gradients() end
  if trainer.clip_grad_norm then objective.clip(trainer.optimizer, trainer.clip_grad_norm) end
  trainer.optimizer:step()
  if look then look:updates() end
  trainer.steps = trainer.steps + 1
  if trainer.average then average.add(trainer.average, trainer.model, trainer.ema, trainer.steps) end
end

--- How many batches of the epoch belong to the step that begins after batch number `done`.
local function batches_of_step(run, done) return math.min(run.trainer.accumulate, #run.plan.loader - done) end

--- The next batch, { batch =, number = (in the epoch), labels =, mix = }; nil when there is none. Batches of which a
-- single image is left are passed over, as training_loader of texres.trainer does. `before`: batches that came before,
-- for a loader of the script, which leaves none out.
local function next_part(run, before)
  local trainer, loader = run.trainer, run.plan.loader
  while true do
    local batch, labels, mix = run.batches()
    if not batch then return nil end
    if labels:numel() > 1 or trainer.batch == 1 or #run.plan.train == 1 then
      local number = loader.state_dict and loader:state_dict().batch or before + 1
      return { batch = batch, number = number, labels = labels, mix = mix }
    end
  end
end

--- The next `count` batches, or as many as there are; how many images they hold; and the number of the last one.
local function take(run, count)
  local parts, images, number = {}, 0, run.trainer.pass.batch
  for k = 1, count do
    parts[k] = next_part(run, number)
    if not parts[k] then return parts, images, #run.plan.loader end
    images, number = images + parts[k].labels:numel(), parts[k].number
  end
  return parts, images, number
end

--- How many images were left out since the loader, or those of all ranks, began.
local function skipped_by(run) return run.job and run.left_out or #(run.plan.loader.skipped or {}) end

--- Makes gradients of the sum of all losses of a step those of their mean, as the loss weighs the images.
local function divide_gradients(trainer, parts)
  local total = 0
  for _, part in ipairs(parts) do total = total + (part.weight or 0) end
  if total == 0 then return end
  core.no_grad(function()
    for _, p in ipairs(trainer.optimizer:parameters()) do
      if p.grad then p.grad:copy_from(p.grad * (1 / total)) end
    end
  end)
end

--- Adds up the gradients of the next `count` batches: what they gave, how many images they hold, and the number of the
-- last one.
local function gradients_of(run, count, look)
  local parts, images, number = take(run, count)
  if #parts > 0 then run.trainer.optimizer:zero_grad() end
  for _, part in ipairs(parts) do run:add_gradient(part, #parts == 1, look) end
  return parts, images, number
end

--- A step of so many batches; returns how many images they hold and the number of the last one. `look`: at this step,
-- or nil. No step is taken where the epoch has no images any more.
local function step_of(run, count, look)
  local trainer, counter = run.trainer, run.trainer.pass.counter
  local parts, images, number
  if run.job then
    parts, images, number = shards.gradients(run, look)
  else
    parts, images, number = gradients_of(run, count, look)
  end
  if #parts == 0 then return images, number end
  if run.job or #parts > 1 then divide_gradients(trainer, parts) end
  update(trainer, look)
  for _, part in ipairs(parts) do
    counter:add(part.logits, part.labels)
    counter:add_loss(part.sum, part.weight)
  end
  return images, number
end

--- What a counter has counted of losses since it stood at `sum` and `weight`.
local function loss_since(counter, sum, weight)
  local added = weight and counter.loss_weight and counter.loss_weight - weight
  sum = counter.loss_sum - sum
  return added and added ~= 0 and sum / added or sum
end

--- Begins the loader's epoch at the batch that comes next, where it has not begun.
function Run:begin_batches()
  if self.batches then return end
  local pass = self.trainer.pass
  local loader = self.plan.loader
  local advance, _, _, handle = (self.job and loader.portions or loader.batches)(loader, pass.epoch, pass.batch + 1)
  self.batches, self.handle, self.clock = advance, handle, core.clock()
end

--- One step of the epoch under way, of one batch or of several: its event; false when the epoch has no batch left.
function Run:step()
  local trainer, pass = self.trainer, self.trainer.pass
  local left = batches_of_step(self, pass.batch)
  if left <= 0 then return false end
  self:begin_batches()
  trainer.model:train()
  local sum, weight = pass.counter.loss_sum, pass.counter.loss_weight
  self:set_rate()
  local look = watch.begin(trainer)
  local skipped = skipped_by(self)
  local images, number = undone_if_it_fails(self.buffers, step_of, self, left, look)
  pass.batch, pass.skipped = number, pass.skipped + skipped_by(self) - skipped
  if images == 0 then return false end
  if look then watch.note(trainer, self, look) end
  local now = core.clock()
  pass.seconds, self.clock = pass.seconds + now - self.clock, now
  local loss = loss_since(pass.counter, sum, weight)
  table.insert(self.losses, loss)
  if #self.losses > RECENT then table.remove(self.losses, 1) end
  self:show_progress()
  return {
    kind = "step", epoch = pass.epoch, batch = pass.batch, step = trainer.steps, images = images,
    loss = loss, lr = trainer.optimizer:lr(),
  }
end

--- Ends the loader's epoch, whether it came to its end or not.
function Run:end_batches()
  if self.handle then getmetatable(self.handle).__close(self.handle) end
  self.batches, self.handle = nil, nil
end

-- -- an epoch ---------------------------------------------------------------------------------------------------------

--- Calls f() while the model has the weights that are kept: the averaged ones where there are such.
local function with_kept_weights(trainer, f)
  if not trainer.average then return f() end
  return average.within(trainer.average, trainer.model, f)
end

--- Validates with the weights that are to be kept; also the positions of images that were left out, or nil.
local function validate(trainer, val, job)
  local function assess()
    local result, _, skipped = evaluate.run({ trainer.model }, val, {
      batch = trainer.batch, loss = trainer.loss_of, bad = trainer.bad, what = "Trainer: the validation set",
      share = job and trainer.bad ~= "skip" and shards.share(job) or nil,
    })
    return result, skipped
  end
  input.give(trainer.model, trainer.takes) -- temperature and operating point are those of other weights
  return with_kept_weights(trainer, assess)
end

--- The loss of a result, as evaluate() tells it, after its scores were changed.
local function loss_of_scores(trainer, result)
  local counter = metrics.Counter(result.classes)
  core.no_grad(function()
    counter:add_loss(select(2, objective.mixed(trainer.loss_of, result:logits():to "f32", result.labels)))
  end)
  return counter:loss()
end

--- The operating point that is asked for, chosen on these figures; nil where none is, or images have no prediction.
local function point_of(trainer, validation)
  if not trainer.operating_point or validation:unpredicted() > 0 then return nil end
  return validation:operating_point(trainer.operating_point)
end

--- What belongs to the weights that were validated: temperature and operating point, where they are asked for.
local function chosen_by(trainer, validation)
  local takes = trainer.takes
  if not validation or not (trainer.calibrate or trainer.operating_point) then return takes end
  local unpredicted = validation:unpredicted()
  if unpredicted > 0 then
    require("texres").warn(("Trainer: no temperature and no operating point is chosen: %d of %d validation images "
      .. "have no prediction, their probabilities are not numbers"):format(unpredicted, validation.images))
    return takes
  end
  local temperature
  if trainer.calibrate and validation.accuracy < 1 then -- where all are right, the least loss is at a temperature of 0
    temperature = validation:temperature()
    validation:temper(temperature)
    validation.loss = loss_of_scores(trainer, validation)
  end
  return takes:with { temperature = temperature, operating_point = point_of(trainer, validation) }
end

--- Keeps the weights of this epoch as the ones that the model will have in the end, unless a later one is kept.
local function keep(trainer, entry, validation, skipped)
  trainer.best, trainer.validation, trainer.best_takes = entry, validation, chosen_by(trainer, validation)
  trainer.skipped = skipped
  local function write()
    input.give(trainer.model, trainer.best_takes)
    state.keep_best(trainer)
    input.give(trainer.model, trainer.takes)
  end
  with_kept_weights(trainer, write)
end

--- Validates, notes and saves what the epoch gave; the events that tell of it.
function Run:end_epoch()
  local trainer, val = self.trainer, self.plan.val
  self:end_batches()
  local pass = trainer.pass
  if pass.counter.images == 0 then
    local message = self.job and shards.first_skipped(self) or self.plan.loader.skipped[1].message
    raise("Trainer: epoch %d: no image can be read; the first: %s", pass.epoch, message)
  end
  if self.job then shards.end_epoch(self, pass.epoch) end
  local trained = pass.counter:result()
  local entry = {
    epoch = pass.epoch, lr = trainer.optimizer:lr(), loss = trained.loss, accuracy = trained.accuracy,
    seconds = pass.seconds, images_per_second = trained.images / pass.seconds,
    skipped = pass.skipped > 0 and pass.skipped or nil,
  }
  local validation, skipped
  if val then validation, skipped = validate(trainer, val, self.job) end
  if validation then entry.val_loss, entry.val_accuracy = validation.loss, validation.accuracy end
  watch.end_epoch(trainer, self, pass.epoch)
  trainer.history[#trainer.history + 1], trainer.pass = entry, nil
  local better = trainer.keep == "last" or history.is_better(entry, trainer.best)
  if better then keep(trainer, entry, validation, skipped) end
  with_kept_weights(trainer, function() state.keep_epoch(trainer) end)
  local event = { kind = "epoch", better = better, validation = validation }
  for name, value in pairs(entry) do event[name] = value end
  self:push(event)
  if trainer.folder then
    state.save(trainer)
    record.write(trainer)
    self:push { kind = "checkpoint", path = state.last_path(trainer), epoch = entry.epoch, better = better }
  end
  self.saved_at = core.clock()
  if trainer.progress then trainer.progress:done(record.epoch_text(trainer, entry, better)) end
end

--- Writes last.safetensors in the middle of an epoch where `save_every` has passed since the last time.
function Run:snapshot()
  local trainer = self.trainer
  if not trainer.folder or not self.save_every or core.clock() - self.saved_at < self.save_every then return end
  state.save(trainer)
  self.saved_at = core.clock()
  self:push { kind = "checkpoint", path = state.last_path(trainer), epoch = trainer.pass.epoch,
    batch = trainer.pass.batch, better = false }
end

-- -- events -----------------------------------------------------------------------------------------------------------

function Run:push(event) self.events[#self.events + 1] = event end

--- Why nothing is left to do; nil when something is.
local function end_of(trainer)
  local epochs = #trainer.history
  if trainer.interrupted then return "interrupted" end
  if trainer.stopped then return "stopped" end
  if epochs >= trainer.epochs then return "finished" end
  if trainer.patience and epochs - history.best_epoch(trainer.history) >= trainer.patience then return "patience" end
end

--- Says so where further epochs are asked for after a schedule came to its end at next to no rate.
local function warn_of_end(trainer)
  local now = trainer.course
  if end_of(trainer) or now.position < now.total then return end
  local last = trainer.schedule:lr(now.total, now.total, trainer.history)
  if last >= 0.01 * trainer.schedule:lr(1, now.total, {}) then return end
  require("texres").warn(plain.format("Trainer: the schedule had come to its end: the further epochs are trained at "
    .. "its last rate, %.3g. To train on at a larger one, begin anew from these weights: fit(train, val, "
    .. "{ fresh = true })", last))
end

--- Says so where the schedule is still at its warmup when the run ends.
local function warn_of_warmup(trainer)
  local warmup, planned = trainer.schedule.options and trainer.schedule.options.warmup or 0, trainer.course.planned
  if warmup >= planned then
    require("texres").warn(("Trainer: the schedule has a warmup of %g steps, the run has %d: its rate is never reached")
      :format(warmup, planned))
  end
end

--- Plans the steps that the run has to take; again where the loop changed `epochs`.
function Run:plan_steps()
  local trainer = self.trainer
  local planned = math.ceil(#self.plan.loader / trainer.accumulate) * trainer.epochs
  if trainer.course and planned == trainer.course.planned then return end
  trainer.course = trainer.course and course.replan(trainer.course, trainer.steps, planned) or course.new(planned)
  if self.worked then warn_of_end(trainer) end
end

--- Takes the run to its next event.
function Run:advance()
  local trainer = self.trainer
  self:plan_steps()
  local reason = end_of(trainer)
  if reason then
    self:push { kind = "end", reason = reason, epochs = #trainer.history, steps = trainer.steps }
    self.ended = true
    return
  end
  trainer.pass = trainer.pass
    or { epoch = #trainer.history + 1, batch = 0, seconds = 0, skipped = 0, counter = metrics.Counter(trainer.classes) }
  local event = self:step()
  self.worked = true
  if not event then return self:end_epoch() end
  self:push(event)
  if process.interrupted() then
    trainer.interrupted = true
  else
    self:snapshot()
  end
end

--- The next event, after the trainer's callbacks have seen it; nil after the last one.
function Run:next()
  if self.closed then return nil end
  if #self.events == 0 then
    if self.ended then
      self:close()
      if self.job then shards.meet_at_end(self.job) end
      return nil
    end
    self.clock = core.clock() -- the time that the caller's loop took is not the training's
    core.rng_state(table.unpack(self.random)) -- nor are the random numbers that it drew
    self.inside, self.failed = true, true
    protect.finally(function() self.inside = false end, self.job and shards.together or self.advance, self)
    self.failed = false
    self.random = { core.rng_state() }
  end
  local event = table.remove(self.events, 1)
  for _, callback in ipairs(self.trainer.callbacks or {}) do
    if callback(event, self.trainer) == false then self.trainer.stopped = true end
  end
  return event
end

function Run:show_progress()
  local trainer, pass = self.trainer, self.trainer.pass
  if not trainer.progress then return end
  local counter, total = pass.counter, #self.plan.train
  local per_image = pass.seconds / counter.images
  local left = per_image * (total * (trainer.epochs - pass.epoch + 1) - counter.images)
  trainer.progress:show(record.progress_state(trainer, pass, total, left, self.losses))
end

-- -- beginning and ending ---------------------------------------------------------------------------------------------

local function begin_anew(trainer)
  trainer:_forget()
  trainer.optimizer:reset()
  trainer.best_weights, trainer.last_weights = nil, nil
  core.manual_seed(trainer.seed)
end

local function go_on(trainer)
  state.load_last(trainer)
  core.rng_state(trainer.random.seed, trainer.random.stream)
end

--- From the file, which was read and checked; nothing below can fail. Says what isn't the file's.
local function go_on_from(trainer, saved, plan)
  local opaque = identity.opaque(plan.identity)
  if #opaque > 0 then
    require("texres").warn(("Trainer: resume can't compare what is a function or an object of the script: %s"):format(
      table.concat(opaque, ", ")))
  end
  state.restore(trainer, saved)
  watch.resume(trainer)
  core.rng_state(saved.random.seed, saved.random.stream)
  local lr = trainer.schedule.options and trainer.schedule.options.lr
  if trainer.progress and lr ~= saved.lr then
    trainer.progress:done(plain.format("the learning rate was %s in the file, goes on with %s", saved.lr, lr))
  end
end

--- Makes a plan, which nothing speaks against, the trainer's.
local function take_up(trainer, plan, saved, fresh)
  input.give(trainer.model, plan.takes)
  trainer.takes = plan.takes
  trainer.classes, trainer.input, trainer.normalization = plan.takes.classes, plan.takes.input, plan.takes.normalization
  trainer.sets = { train = plan.train, val = plan.val }
  trainer.samples, trainer.drawing, trainer.audit, trainer.explained = nil, nil, nil, nil -- of the report
  trainer.loss_of, trainer.sizes = plan.loss_of, { train = #plan.train, val = plan.val and #plan.val or 0 }
  trainer.progress = not trainer.quiet and terminal.Progress() or nil
  trainer.interrupted, trainer.stopped = false, false
  if saved then
    go_on_from(trainer, saved, plan)
  elseif fresh then
    begin_anew(trainer)
  elseif trainer.identity then
    go_on(trainer)
  else
    core.manual_seed(trainer.seed)
  end
  if trainer.ema and not trainer.average then trainer.average = average.of(trainer.model) end
  trainer.identity = plan.identity
end

--- After a run that failed before its first step: the model takes what it took, and another one begins anew.
local function undo(trainer, takes)
  input.give(trainer.model, takes)
  for _, name in ipairs { "identity", "pass", "classes", "input", "normalization", "takes", "average" } do
    trainer[name] = nil
  end
end

--- Gives the kept weights, which the model has, the operating point that is asked for now, where it was another one or
-- none when they were kept. One that they were given (Trainer:set_operating_point) stays.
local function choose_late(trainer)
  local takes = trainer.best_takes
  if takes.operating_point and takes.operating_point.given then return end
  local point = trainer.validation and point_of(trainer, trainer.validation)
  if not point or tostring(point) == tostring(takes.operating_point) then return end
  trainer.best_takes = takes:with {
    temperature = takes.temperature, operating_point = point, novelty = takes.novelty,
  }
  input.give(trainer.model, trainer.best_takes)
  state.keep_best(trainer)
end

--- Ends a run that came to its end, or was left in the middle; `worked`: whether it took a step.
local function leave(trainer, worked)
  local reason = end_of(trainer)
  if reason and reason ~= "interrupted" then
    if trainer.folder and trainer.pass then state.save(trainer) end -- stopped in the middle of an epoch
    if trainer.best then
      state.load_best(trainer)
      choose_late(trainer)
    end
    trainer.model:eval()
    if trainer.folder and (worked or not record.is_complete(trainer)) then
      record.write(trainer) -- with pictures, and the last word on it
    end
    return
  end
  if trainer.folder and (trainer.pass or trainer.interrupted) then state.save(trainer) end
  if trainer.folder and trainer.live and #trainer.history > 0 then record.write(trainer) end -- loads itself no more
  if trainer.progress and trainer.pass then trainer.progress:done(state.interrupted_text(trainer)) end
end

local loop = {}

--- A run that has not begun. It is closed by close(), or as a variable <close>; what it comes to own it is given as
-- fields, so that nothing is left when memory runs out on the way.
function loop.new(trainer)
  return setmetatable({
    trainer = trainer, events = {}, losses = {}, worked = false, lock = false, closed = false, begun = false,
  }, Run)
end

--- Begins; Ctrl-C is noticed from here on until the run is closed.
function Run:begin(plan, saved, fresh)
  local trainer = self.trainer
  self.plan, self.takes, self.saved_at = plan, input.of(trainer.model), core.clock()
  self.save_every = trainer.save_every and terminal.seconds(trainer.save_every)
  self.dtype, self.buffers = module.float_dtype(trainer.model), trainer.model:buffers()
  take_up(trainer, plan, saved, fresh)
  self:plan_steps()
  warn_of_end(trainer)
  warn_of_warmup(trainer)
  self.random = { core.rng_state() }
  trainer.running, self.begun = self, true
  process.interrupts(true)
  if self.job then process.terminations(true) end -- which is what mpirun makes of a Ctrl-C
end

--- Leaves the trainer in order: after the end with the weights that are kept, after a Ctrl-C or a break where it is,
-- with last.safetensors written. After an error in the middle of its work, what was kept before stands in the files.
function Run:close()
  if self.closed then return end
  self.closed = true
  local lock <close> = self.lock -- luacheck: ignore
  self.lock = false
  if not self.begun then return end
  local trainer, failed = self.trainer, self.failed
  trainer.running = false
  process.interrupts(false)
  if self.job then
    process.terminations(false)
    shards.close(self)
  end
  self:end_batches()
  if failed and trainer.steps == 0 then undo(trainer, self.takes) end
  core.rng_state(table.unpack(self.random))
  trainer.random = { seed = self.random[1], stream = self.random[2] }
  if not failed then leave(trainer, self.worked) end
end

function Run:__close() self:close() end

return loop
