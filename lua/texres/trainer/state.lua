--- The state of a training in files: best.safetensors to use, last.safetensors to go on from.
--
-- last.safetensors holds the model, the optimizer's tensors (as optimizer.NUMBER.NAME) and, as JSON under `extra`, the
-- rest: history, position, random numbers, and what must be the same for the run to go on as if it had not stopped.

local checkpoint = require "texres.checkpoint"
local core = require "texres.core"
local files = require "texres.files"
local metrics = require "texres.metrics"
local raise = require "texres.raise"

local state = {}

local function best_path(trainer) return trainer.dir .. "/best.safetensors" end
local function last_path(trainer) return trainer.dir .. "/last.safetensors" end

local function write(trainer, path, extra, tensors)
  local ok, message = checkpoint.save(path, {
    model = trainer.model, extra = extra, tensors = tensors,
  })
  if not ok then raise("Trainer: %s", message) end
end

-- -- the best weights -------------------------------------------------------------------------------------------------

--- Keeps the present weights as the best ones: in a file, or in memory when there is no folder.
function state.keep_best(trainer)
  if trainer.dir then
    write(trainer, best_path(trainer), { training = trainer.best })
  else
    trainer.best_weights = trainer.model:clone():state_dict()
  end
end

--- Gives the model the best weights back.
function state.load_best(trainer)
  if not trainer.dir then
    trainer.model:load_state_dict(trainer.best_weights)
  else
    local ok, message = trainer.model:load(best_path(trainer))
    if not ok then raise("Trainer: %s", message) end
  end
end

-- -- the whole state --------------------------------------------------------------------------------------------------

--- What a run depends on besides its data; it can only go on with the same.
local function identity(trainer)
  return {
    seed = trainer.seed, batch = trainer.batch, images = trainer.sizes.train, optimizer = trainer.optimizer.name,
  }
end

--- The optimizer's state as data for JSON, and its tensors by name.
local function split_optimizer(optimizer)
  local saved, tensors = optimizer:state_dict(), {}
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

local function join_optimizer(saved, tensors)
  local entries = {}
  for name, numbers in pairs(saved.state) do entries[math.tointeger(tonumber(name))] = numbers end
  for name, tensor in pairs(tensors) do
    local i, key = name:match "^optimizer%.(%d+)%.(.+)$"
    i = math.tointeger(tonumber(i))
    entries[i] = entries[i] or {}
    entries[i][key] = tensor
  end
  return { name = saved.name, groups = saved.groups, state = entries }
end

--- Writes last.safetensors.
function state.save(trainer)
  local optimizer, tensors = split_optimizer(trainer.optimizer)
  local seed, stream = core.rng_state()
  local pass = trainer.pass
  write(trainer, last_path(trainer), {
    identity = identity(trainer), optimizer = optimizer, history = trainer.history, steps = trainer.steps,
    best = trainer.best and trainer.best.epoch, random = { seed = seed, stream = stream },
    validation = trainer.validation and metrics.to_data(trainer.validation),
    pass = pass and { epoch = pass.epoch, batch = pass.batch, seconds = pass.seconds,
      counter = metrics.to_data(pass.counter) },
  }, tensors)
end

local function check_identity(trainer, saved)
  for name, value in pairs(identity(trainer)) do
    if saved[name] ~= value then
      raise("Trainer: can't resume: %s was %s in the run that %s belongs to, and is %s here", name,
        tostring(saved[name]), last_path(trainer), tostring(value))
    end
  end
end

--- Goes on from last.safetensors when there is one; else the run begins at its beginning.
function state.restore(trainer)
  if not files.exists(last_path(trainer)) then return end
  local saved, message = checkpoint.load(last_path(trainer), trainer.model)
  if not saved then raise("Trainer: can't resume: %s", message) end
  local extra = saved.extra
  if type(extra) ~= "table" or type(extra.identity) ~= "table" then
    raise("Trainer: can't resume: %s is not the state of a training", last_path(trainer))
  end
  check_identity(trainer, extra.identity)
  trainer.optimizer:load_state_dict(join_optimizer(extra.optimizer, saved.tensors))
  trainer.history, trainer.steps = extra.history, extra.steps
  trainer.best = extra.best and extra.history[extra.best]
  trainer.validation = extra.validation and metrics.from_data(extra.validation, trainer.classes):result()
  trainer.pass = extra.pass
  if trainer.pass then trainer.pass.counter = metrics.from_data(extra.pass.counter, trainer.classes) end
  core.rng_state(extra.random.seed, extra.random.stream)
end

--- What a user reads after Ctrl-C.
function state.interrupted_text(trainer)
  local where = ("stopped in epoch %d after batch %d"):format(trainer.pass.epoch, trainer.pass.batch)
  if not trainer.dir then return where end
  return ("%s; resume = true goes on from %s"):format(where, last_path(trainer))
end

return state
