--- What a trainer writes for people: metrics.jsonl and report.html in its folder.

local core = require "texres.core"
local files = require "texres.files"
local json = require "texres.json"
local plain = require "texres.plain"
local raise = require "texres.raise"
local report = require "texres.report"
local terminal = require "texres.terminal"

local record = {}

--- Options as a person would type them: {"adamw", lr = 0.003} becomes "adamw, lr = 0.003".
local function text_of(value)
  if type(value) ~= "table" then return type(value) == "function" and "a Lua function" or plain.text(value) end
  local parts, names = {}, {}
  for _, item in ipairs(value) do parts[#parts + 1] = text_of(item) end
  for name in pairs(value) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  plain.sort(names)
  for _, name in ipairs(names) do parts[#parts + 1] = name .. " = " .. text_of(value[name]) end
  return table.concat(parts, ", ")
end

local function numbers(values)
  local parts = {}
  for i, value in ipairs(type(values) == "number" and { values } or values) do
    parts[i] = plain.format("%.4f", value)
  end
  return table.concat(parts, ", ")
end

local function optimizer_text(optimizer)
  local group = {}
  for name, value in pairs(optimizer.groups and optimizer.groups[1] or {}) do
    if name ~= "params" and name ~= "lr" then group[name] = value end
  end
  return (optimizer.name or "an optimizer of the script") .. ", " .. text_of(group)
end

local function configuration(trainer)
  local rows = {
    { "model", ("%s, %d parameters"):format(trainer.model.name or trainer.model:describe(),
      trainer.model:num_parameters()) },
    { "input", table.concat(trainer.input, " x ") },
    { "classes", table.concat(trainer.classes, ", ") },
    { "training images", trainer.sizes.train },
    { "validation images", trainer.sizes.val },
    { "optimizer", optimizer_text(trainer.optimizer) },
    { "learning rate", text_of { trainer.schedule.name, trainer.schedule.options } },
    { "loss", text_of(trainer.loss) },
    { "epochs", trainer.epochs },
    { "batch", trainer.batch },
    { "seed", trainer.seed },
    { "augmentation", trainer.augment and text_of(trainer.augment) or "none" },
    { "largest gradient norm", trainer.clip_grad_norm or "not limited" },
  }
  if trainer.normalization then
    rows[#rows + 1] = { "mean of the images", numbers(trainer.normalization.mean) }
    rows[#rows + 1] = { "their deviation", numbers(trainer.normalization.std) }
  end
  return rows
end

local function first_match(path, pattern)
  local text = files.read(path)
  return text and text:match(pattern) or "unknown"
end

local function environment()
  return {
    { "texres", core._VERSION or "unknown" },
    { "Lua", _VERSION },
    { "processor", first_match("/proc/cpuinfo", "model name%s*:%s*([^\n]+)") },
    { "kernels", core.isa() },
    { "threads", core.num_threads() },
    { "system", first_match("/proc/version", "^(%S+ version %S+)") },
  }
end

local function results(trainer)
  local list = {}
  if trainer.validation then
    list[1] = { name = "Validation", note = ("epoch %d"):format(trainer.best.epoch), result = trainer.validation }
  end
  return table.move(trainer.tests, 1, #trainer.tests, #list + 1, list)
end

local function metrics_lines(history)
  local lines = {}
  for i, entry in ipairs(history) do lines[i] = json.encode(entry) .. "\n" end
  return table.concat(lines)
end

--- The line of an epoch under way.
function record.progress_text(trainer, pass, images, left)
  local counter = pass.counter
  return plain.format("epoch %d/%d %3d %%  loss %.4f  accuracy %.1f %%  %.0f images/s  %s left", pass.epoch,
    trainer.epochs, 100 * counter.images // images, counter:loss(), 100 * counter.right / counter.images,
    counter.images / pass.seconds, terminal.duration(left))
end

--- The line of an epoch that has ended.
function record.epoch_text(trainer, entry, better)
  local val = entry.val_loss and plain.format("  val loss %.4f  val accuracy %.1f %%", entry.val_loss,
    100 * entry.val_accuracy) or ""
  return plain.format("epoch %d/%d  loss %.4f  accuracy %.1f %%%s  %.0f images/s  %s%s", entry.epoch, trainer.epochs,
    entry.loss, 100 * entry.accuracy, val, entry.images_per_second, terminal.duration(entry.seconds),
    better and "  best" or "")
end

--- Writes both files anew.
function record.write(trainer)
  trainer.summary = trainer.summary or trainer.model:summary { 1, table.unpack(trainer.input) }
  local function check(ok, message)
    if not ok then raise("Trainer: %s", message) end
  end
  check(files.write(trainer.dir .. "/metrics.jsonl", metrics_lines(trainer.history)))
  check(report.write(trainer.dir .. "/report.html", {
    title = trainer.name, history = trainer.history, best = trainer.best and trainer.best.epoch,
    results = results(trainer), configuration = configuration(trainer), environment = environment(),
    summary = tostring(trainer.summary), parameters = trainer.model:num_parameters(),
  }))
end

return record
