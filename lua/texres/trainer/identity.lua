--- What a run is a function of, as texts by name: a run can only go on as the same run, and where it is another one the
-- user is told which of them changed.
--
--     identity.of(trainer, plan)        --> { batch = "128", ["optimizer.momentum"] = "0.9", ... }
--     identity.differences(saved, now)  --> "batch: 64 -> 128\n  loss: ..."; nil when there are none
--
-- Of data it holds checksums: of all labels; of all pixels up to 256 MB of them, and beyond that of as many images,
-- spread evenly over the set. Mean and deviation of all pixels stand there too where the images are normalized by them.
-- Of functions and objects that a script brings (a loss, a schedule or an optimizer of its own) nothing can be known
-- but that they are there.
--
-- Not part of it, as they may change on purpose: epochs, lr, and what decides nothing about the weights of a step. What
-- a loop freezes on the way is part of the state, as the weights are.

local architecture = require "texres.nn.architecture"
local core = require "texres.core"
local lists = require "texres.data.lists"
local json = require "texres.json"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local shape_text = require("texres.nn.module").shape_text

local identity = {}

local MOST_BYTES = 1 << 28 -- of pixels, as f32, whose checksum is taken

local OPAQUE = "a function or an object of the script, which is not compared"

local function checksum(text) return ("%08x"):format(core.crc32(text)) end

local function is_opaque(value)
  return type(value) == "function" or type(value) == "table" and getmetatable(value) ~= nil
end

--- A value as a script has it: {"adamw", momentum = 0.9}; numbers with all their digits.
local function literal(value)
  if core.is_tensor(value) then return literal(value:totable()) end
  if is_opaque(value) then return OPAQUE end
  if type(value) == "number" then return plain.exact(value) end
  if type(value) == "string" then return ('"%s"'):format(value) end
  if type(value) ~= "table" then return plain.text(value) end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = literal(item) end
  for _, name in ipairs(plain.names(value)) do parts[#parts + 1] = ("%s = %s"):format(name, literal(value[name])) end
  return ("{%s}"):format(table.concat(parts, ", "))
end

-- -- data -------------------------------------------------------------------------------------------------------------

--- How many values an image of a set has, whose source need not be asked for one; nil and a message.
local function values_of(set)
  local source = set.source
  if source then return source.height * source.width * source.channels end
  local image, message = set:get(1)
  return image and image:numel(), message
end

--- The checksum of a set's images, or of as many as fit into MOST_BYTES, spread evenly.
local function images_of(set, what, share)
  local count, values, message = #set, 0, nil
  if count > 0 then values, message = values_of(set) end
  if not values then raise("%s: %s", what, message) end
  local wanted = math.min(count, math.max(1, MOST_BYTES // math.max(1, 4 * values)))
  local text, problem = (share or lists.alone)(what, wanted, function(first, last)
    local sums = {}
    for k = first, last do
      local image, why = set:get((k - 1) * count // wanted + 1)
      if not image then return nil, why end
      sums[#sums + 1] = checksum(image:contiguous())
    end
    return table.concat(sums)
  end)
  if not text then raise("%s: %s", what, problem) end
  return ("%d, checksum %s"):format(count, checksum(text))
end

--- Adds what a set holds. `share` (optional): of processes that read it together.
local function add_set(rows, name, set, share)
  rows[name .. " images"] = set and images_of(set, "Trainer: the " .. name .. " set", share) or "none"
  rows[name .. " labels"] = set and "checksum " .. checksum(table.concat(set.label, ",")) or "none"
end

identity.literal, identity.add_set = literal, add_set

-- -- the model and what trains it -------------------------------------------------------------------------------------

--- Names, shapes and dtypes of the weights and, of a model of registered classes, how it is built.
local function model_of(model)
  local lines, description = {}, architecture.tried(model)
  for name, t in pairs(model:state_dict()) do
    lines[#lines + 1] = ("%s %s %s"):format(name, shape_text(t:shape()), t.dtype)
  end
  plain.sort(lines)
  lines[#lines + 1] = description and json.encode(description) or ""
  return ("%s, %d parameters, checksum %s"):format(rawget(model, "name") or getmetatable(model).__name,
    model:num_parameters(), checksum(table.concat(lines, "\n")))
end

--- Which of its parameters are trained when a run begins.
local function trained_of(model)
  local all, names = 0, {}
  for name, p in model:named_parameters() do
    all = all + 1
    if p.requires_grad then names[#names + 1] = name end
  end
  return ("%d of %d parameters, checksum %s"):format(#names, all, checksum(table.concat(plain.sort(names), "\n")))
end

--- All options of all groups but the rate itself, and which parameters they hold.
local function add_optimizer(rows, optimizer, model)
  rows.optimizer = optimizer.name or OPAQUE
  if not optimizer.groups then return end
  local name_of, ratios = {}, optimizer.lr_ratios and optimizer:lr_ratios() or {}
  for name, p in model:named_parameters() do name_of[p] = name end
  for i, group in ipairs(optimizer.groups) do
    local place = #optimizer.groups == 1 and "optimizer." or ("optimizer.groups[%d]."):format(i)
    local names = {}
    for k, p in ipairs(group.params or {}) do names[k] = name_of[p] or "?" end
    for key, value in pairs(group) do
      if key ~= "params" and key ~= "lr" then rows[place .. key] = literal(value) end
    end
    rows[place .. "params"] = ("%d, checksum %s"):format(#names, checksum(table.concat(names, "\n")))
    rows[place .. "lr as a multiple of lr"] = ratios[i] and literal(ratios[i]) or nil
  end
end

local function schedule_of(schedule)
  if not schedule.options then return OPAQUE end
  return ("%s %s"):format(schedule.name, literal(option.without(schedule.options, "lr")))
end

-- -- the whole --------------------------------------------------------------------------------------------------------

--- The identity of a run that is about to begin or go on. `plan`: train, val (sets with the model's classes), takes
-- (the model's input, see texres.input). `share` (optional): of processes that read the sets together.
function identity.of(trainer, plan, share)
  local rows = {
    texres = core._VERSION, model = model_of(trainer.model), trained = trained_of(trainer.model),
    classes = literal(plan.takes.classes),
    normalization = literal(plan.takes.normalization), white = literal(plan.takes.white),
    integers = literal(plan.takes.integers),
    batch = literal(trainer.batch), seed = literal(trainer.seed), augment = literal(trainer.augment),
    loss = literal(trainer.loss), clip_grad_norm = literal(trainer.clip_grad_norm),
    accumulate = literal(trainer.accumulate), ema = literal(trainer.ema), balanced = literal(trainer.balanced),
    weights = trainer.weights and "checksum " .. checksum(literal(trainer.weights)) or "none",
    schedule = schedule_of(trainer.schedule), sync_batch_norm = trainer.sync_batch_norm and "true" or nil,
  }
  add_optimizer(rows, trainer.optimizer, trainer.model)
  add_set(rows, "training", plan.train, share)
  add_set(rows, "validation", plan.val, share)
  return rows
end

--- What differs, a line `name: then -> now` each; nil when nothing does.
function identity.differences(saved, now)
  local both, lines = option.without(now), {}
  for name, value in pairs(saved) do both[name] = value end
  for _, name in ipairs(plain.names(both)) do
    if saved[name] ~= now[name] then
      local line = ("%s: %s -> %s"):format(name, tostring(saved[name]), tostring(now[name]))
      lines[#lines + 1] = plain.visible_name(line)
    end
  end
  return #lines > 0 and table.concat(lines, "\n  ") or nil
end

--- The names of what could not be compared, sorted.
function identity.opaque(rows)
  local names = {}
  for name, text in pairs(rows) do
    if text:find(OPAQUE, 1, true) then names[#names + 1] = name end
  end
  return plain.sort(names)
end

return identity
