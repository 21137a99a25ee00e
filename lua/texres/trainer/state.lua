--- The state of a training in files: best.safetensors to use, last.safetensors to go on from.
--
-- last.safetensors holds the model, the optimizer's tensors (as optimizer.NUMBER.NAME) and, as JSON under `extra`, the
-- rest: history, position, random numbers, and the identity of the run (see texres.trainer.identity). It is read and
-- checked as a whole before anything is changed, so that what can't be resumed leaves everything as it was.

local checkpoint = require "texres.checkpoint"
local core = require "texres.core"
local files = require "texres.files"
local history = require "texres.trainer.history"
local identity = require "texres.trainer.identity"
local input = require "texres.input"
local metrics = require "texres.metrics"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"
local state_of_model = require "texres.nn.state"

local state = {}

local function best_path(trainer) return trainer.dir .. "/best.safetensors" end
local function last_path(trainer) return trainer.dir .. "/last.safetensors" end
state.last_path = last_path

local function write(trainer, path, extra, tensors)
  local ok, message = checkpoint.save(path, {
    model = trainer.model, extra = extra, tensors = tensors,
  })
  if not ok then raise("Trainer: %s", message) end
end

--- Makes the folder of a run and keeps other runs out of it, until what it returns is closed or the process ends.
function state.lock(trainer)
  if not trainer.dir then return nil end
  local made, message = core.process.make_folder(trainer.dir)
  if not made then raise("Trainer: %s", message) end
  local lock, problem = core.process.lock(trainer.dir .. "/.lock")
  if not lock then raise("Trainer: %s; give each run a folder of its own, or wait for the other to end", problem) end
  return lock
end

-- -- weights ----------------------------------------------------------------------------------------------------------

local function copy_weights(model)
  local copy = {}
  for name, t in pairs(model:state_dict()) do copy[name] = t:clone() end
  return copy
end

--- The files of the best epochs, where several are kept: best-0007.safetensors.
local function epoch_name(epoch) return ("best-%04d.safetensors"):format(epoch) end

--- Keeps a file for each of the `best_k` best epochs, none of which has a loss that is NaN: writes that of the present
-- one where it is among them, and takes away all others, also those of another run.
local function keep_several(trainer)
  local ranked = {}
  for _, entry in ipairs(trainer.history) do
    if history.is_better(entry, nil) then ranked[#ranked + 1] = entry end
  end
  table.sort(ranked, function(a, b)
    if history.is_better(a, b) then return true end
    return not history.is_better(b, a) and a.epoch < b.epoch
  end)
  local stays = {}
  for place = 1, math.min(trainer.best_k, #ranked) do
    local entry = ranked[place]
    stays[epoch_name(entry.epoch)] = true
    if entry.epoch == #trainer.history then
      write(trainer, trainer.dir .. "/" .. epoch_name(entry.epoch), { training = entry })
    end
  end
  for _, name in ipairs(core.list_folder(trainer.dir) or {}) do
    if name:find "^best%-%d+%.safetensors$" and not stays[name] then os.remove(trainer.dir .. "/" .. name) end
  end
end

--- Keeps the weights of each of the best epochs, where that is wanted; the model has those of the last one.
function state.keep_epoch(trainer)
  if trainer.folder and trainer.best_k then keep_several(trainer) end
end

--- Keeps the present weights as those of trainer.best: in a file, or in memory when there is no folder.
function state.keep_best(trainer)
  if trainer.folder then
    write(trainer, best_path(trainer), { training = trainer.best })
  else
    trainer.best_weights = copy_weights(trainer.model)
  end
end

--- Gives the model the weights of trainer.best; the last ones are kept for a run that goes on.
function state.load_best(trainer)
  local last = copy_weights(trainer.model)
  if not trainer.folder then
    trainer.model:load_state_dict(trainer.best_weights)
  else
    local ok, message = trainer.model:load(best_path(trainer))
    if not ok then raise("Trainer: %s", message) end
  end
  if trainer.best_takes then input.give(trainer.model, trainer.best_takes) end
  trainer.last_weights = last
end

--- Gives the model the weights of the last step back.
function state.load_last(trainer)
  if not trainer.last_weights then return end
  trainer.model:load_state_dict(trainer.last_weights)
  trainer.last_weights = nil
end

local SCORES = "validation.scores" -- the tensor of what the images of the validation set were given
local AVERAGE = "average." -- before the names of averaged weights

-- -- the whole state --------------------------------------------------------------------------------------------------

--- The optimizer's state as data for JSON, and its tensors by name.
local function split_optimizer(optimizer)
  local saved, tensors = optimizer:state_dict(), {}
  if type(saved) ~= "table" or type(saved.state) ~= "table" then
    raise "Trainer: the optimizer's state_dict() is not { name =, groups =, state = {...} }"
  end
  local numbers = {}
  for i, entry in pairs(saved.state) do
    local name = tostring(i)
    numbers[name] = {}
    for key, value in pairs(entry) do
      if core.is_tensor(value) then
        tensors[("optimizer.%s.%s"):format(name, key)] = value
      else
        numbers[name][key] = value
      end
    end
  end
  return { name = saved.name, groups = saved.groups, state = numbers }, tensors
end

--- Writes last.safetensors; a best.safetensors of another run, which was there before, does not stay beside it.
function state.save(trainer)
  if not trainer.best then os.remove(best_path(trainer)) end
  local optimizer, tensors = split_optimizer(trainer.optimizer)
  local seed, stream = core.rng_state()
  local pass = trainer.pass
  if trainer.validation then tensors[SCORES] = trainer.validation.scores end
  for name, t in pairs(trainer.average or {}) do tensors[AVERAGE .. name] = t end
  write(trainer, last_path(trainer), {
    identity = trainer.identity, optimizer = optimizer, history = trainer.history, steps = trainer.steps,
    course = trainer.course, lr = trainer.schedule.options and trainer.schedule.options.lr,
    epochs = trainer.epochs, asked = trainer.asked, frozen = module.frozen_of(trainer.model),
    best = trainer.best and trainer.best.epoch, random = { seed = seed, stream = stream },
    validation = trainer.validation and metrics.to_data(trainer.validation),
    skipped = trainer.validation and trainer.skipped,
    pass = pass and { epoch = pass.epoch, batch = pass.batch, seconds = pass.seconds, skipped = pass.skipped,
      counter = metrics.to_data(pass.counter) },
  }, tensors)
end

-- -- reading it -------------------------------------------------------------------------------------------------------

local INDEX, WHOLE = option.INDEX, option.WHOLE
local POSITION = option.number(nil, "[0, inf)")

-- Raises that `what` of the file is wrong unless `fine`.
local function need(trainer, fine, what)
  if not fine then
    raise("Trainer: can't resume: %s is not the state of a training that this version can read: %s", last_path(trainer),
      what)
  end
end

local function has(data, rules)
  if type(data) ~= "table" then return false end
  for name, rule in pairs(rules) do
    if rule.accept(data[name]) == nil then return false end
  end
  return true
end

local function read_file(path)
  local saved, message = checkpoint.read(path)
  if not saved then raise("Trainer: can't resume: %s", message) end
  return saved
end

local function check_weights(trainer, path, saved)
  local fits, misfit = state_of_model.fits(trainer.model, saved.weights)
  if not fits then raise("Trainer: can't resume: %s: %s", path, misfit) end
end

local function join_optimizer(trainer, saved, tensors)
  need(trainer, has(saved, { groups = option.table(), state = option.table(), name = option.text() }), "optimizer")
  local entries = {}
  for name, numbers in pairs(saved.state) do
    local i = math.tointeger(tonumber(name))
    need(trainer, i and type(numbers) == "table", "optimizer.state")
    entries[i] = numbers
  end
  for name, tensor in pairs(tensors) do
    local i, key = name:match "^optimizer%.(%d+)%.(.+)$"
    i = math.tointeger(tonumber(i))
    need(trainer, i, "tensor " .. name)
    entries[i] = entries[i] or {}
    entries[i][key] = tensor
  end
  return { name = saved.name, groups = saved.groups, state = entries }
end

-- Counts of a metrics.Counter for k classes.
local function read_counter(trainer, data, classes)
  local k = #classes
  local fine = has(data, { counts = option.table(), invalid = option.table() })
  for truth = 1, fine and k or 0 do
    local row = data.counts[truth]
    fine = fine and type(row) == "table" and #row == k and INDEX.accept(data.invalid[truth]) ~= nil
    for predicted = 1, fine and k or 0 do fine = fine and INDEX.accept(row[predicted]) ~= nil end
  end
  need(trainer, fine and #data.counts == k and #data.invalid == k, "counts of predictions")
  need(trainer, not data.loss_weight or POSITION.accept(data.loss_weight) ~= nil, "weight of losses")
  need(trainer, type(data.loss_sum) == "number", "sum of losses")
  return metrics.from_data(data, classes)
end

-- The averaged weights, taken out of the other tensors; nil where the run has none.
local function read_average(trainer, tensors)
  local averaged
  for name, t in pairs(tensors) do
    local own = name:sub(1, #AVERAGE) == AVERAGE and name:sub(#AVERAGE + 1)
    if own then
      averaged = averaged or {}
      averaged[own], tensors[name] = t, nil
    end
  end
  need(trainer, (averaged ~= nil) == (trainer.ema ~= nil), "averaged weights")
  if averaged then need(trainer, (state_of_model.fits(trainer.model, averaged)), "averaged weights") end
  return averaged
end

-- The metrics of the epoch that is kept, with what each image was given; nil where there was no validation.
local function read_validation(trainer, data, scores, skipped, plan)
  if data == nil then return nil end
  local result = read_counter(trainer, data, plan.takes.classes):result()
  need(trainer, skipped == nil or option.is_list(skipped, function(i) return INDEX.accept(i) ~= nil end), "skipped")
  local val = skipped and plan.val:without(skipped) or plan.val
  local fine = scores and scores:dim() == 2 and scores:size(1) == #val and scores:size(2) == #plan.takes.classes
  need(trainer, fine, SCORES)
  return metrics.keep(result, val, scores)
end

local function read_history(trainer, extra)
  local list = extra.history
  need(trainer, type(list) == "table", "history")
  for i = 1, #list do need(trainer, type(list[i]) == "table" and list[i].epoch == i, "history") end
  need(trainer, extra.best == nil or INDEX.accept(extra.best) ~= nil and list[extra.best], "best")
  return history.of(list), list[extra.best or 0]
end

local function is_text(value) return type(value) == "string" end

local function read_frozen(trainer, frozen)
  local fine = type(frozen) == "table" and option.is_list(frozen.parameters, is_text)
    and option.is_list(frozen.layers, is_text)
  need(trainer, fine, "frozen")
  return frozen
end

local function read_pass(trainer, pass, epochs, classes)
  if pass == nil then return nil end
  need(trainer, has(pass, { epoch = INDEX, batch = INDEX, seconds = POSITION, skipped = INDEX })
    and pass.epoch == #epochs + 1, "pass")
  return { epoch = pass.epoch, batch = pass.batch, seconds = pass.seconds, skipped = pass.skipped,
    counter = read_counter(trainer, pass.counter, classes) }
end

--- Raises when a run was another one than this; `where`: what it belongs to.
function state.compare(saved, now, where)
  local differences = identity.differences(saved, now)
  if differences then
    raise("Trainer: can't resume %s: it is another run (then -> now):\n  %s\nfit(train, val, { fresh = true }) begins "
      .. "anew", where, differences)
  end
end

--- Reads last.safetensors and checks that trainer and data are those of its run; nothing is changed. Nil when there is
-- no such file.
-- @param plan of the run that is to go on, with its identity
function state.read(trainer, plan)
  if not files.exists(last_path(trainer)) then return nil end
  local saved = read_file(last_path(trainer))
  local extra = saved.extra
  need(trainer, has(extra, { identity = option.table() }), "identity")
  state.compare(extra.identity, plan.identity, last_path(trainer))
  need(trainer, has(extra, { steps = INDEX, random = option.table(), course = option.table() }), "steps")
  need(trainer, extra.lr == nil or POSITION.accept(extra.lr) ~= nil, "lr")
  need(trainer, has(extra, { epochs = option.COUNT, asked = option.table() }), "epochs")
  need(trainer, has(extra.random, { seed = WHOLE, stream = WHOLE }), "random")
  need(trainer, has(extra.course, { total = INDEX, planned = INDEX, step = INDEX, position = POSITION }), "course")
  check_weights(trainer, last_path(trainer), saved)
  local scores = saved.tensors[SCORES]
  saved.tensors[SCORES] = nil
  local averaged = read_average(trainer, saved.tensors)
  local optimizer = join_optimizer(trainer, extra.optimizer, saved.tensors)
  local misfit = trainer.optimizer.misfit and trainer.optimizer:misfit(optimizer)
  if misfit then raise("Trainer: can't resume: %s: %s", last_path(trainer), misfit) end
  local epochs, best = read_history(trainer, extra)
  local best_takes, best_weights
  if best then
    local kept = read_file(best_path(trainer))
    check_weights(trainer, best_path(trainer), kept)
    best_takes, best_weights = plan.takes:with(kept), kept.weights
  end
  return {
    weights = saved.weights, optimizer = optimizer, history = epochs, best = best, best_takes = best_takes,
    best_weights = best_weights, average = averaged, steps = extra.steps,
    course = extra.course, lr = extra.lr, epochs = extra.epochs, asked = extra.asked, random = extra.random,
    frozen = read_frozen(trainer, extra.frozen),
    validation = read_validation(trainer, extra.validation, scores, extra.skipped, plan), skipped = extra.skipped,
    pass = read_pass(trainer, extra.pass, epochs, plan.takes.classes),
  }
end

--- Makes what was read the state of the trainer, its model and its optimizer.
function state.restore(trainer, saved)
  trainer.optimizer:load_state_dict(saved.optimizer)
  trainer.model:load_state_dict(saved.weights)
  module.freeze_as(trainer.model, saved.frozen)
  -- what the loop changed stays, unless the script now asks for something else than it did
  if saved.lr and saved.asked.lr == trainer.asked.lr then trainer:set_lr(saved.lr) end
  if saved.asked.epochs == trainer.asked.epochs then trainer.epochs = saved.epochs end
  local fields = {
    "history", "best", "best_takes", "average", "steps", "course", "validation", "skipped", "pass", "random",
  }
  for _, name in ipairs(fields) do
    trainer[name] = saved[name]
  end
  if not trainer.folder then trainer.best_weights = saved.best_weights end -- a rank that writes no files
end

--- What a user reads after Ctrl-C.
function state.interrupted_text(trainer)
  local where = ("stopped in epoch %d after batch %d"):format(trainer.pass.epoch, trainer.pass.batch)
  if not trainer.folder then return where .. "; fit() goes on" end
  return ("%s; fit() or resume = true goes on from %s"):format(where, last_path(trainer))
end

return state
