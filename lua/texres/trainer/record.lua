--- What a trainer writes for people into its folder: report.html, metrics.jsonl and metrics.csv (a row per epoch), and
-- run.json, of which texres.report.compare makes a page of several runs.

local answers = require "texres.report.answers"
local classifier = require "texres.classifier"
local compare = require "texres.report.compare"
local core = require "texres.core"
local draw = require "texres.nn.draw"
local facts = require "texres.report.facts"
local files = require "texres.files"
local gallery = require "texres.report.gallery"
local history = require "texres.trainer.history"
local input = require "texres.input"
local inside = require "texres.report.inside"
local json = require "texres.json"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local raise = require "texres.raise"
local report = require "texres.report"
local terminal = require "texres.terminal"

local record = {}

local LIVE = 5 -- seconds after which the page of a training under way loads itself again

--- Options as a person would type them: {"adamw", lr = 0.003} becomes "adamw, lr = 0.003".
local function text_of(value)
  if type(value) ~= "table" then return type(value) == "function" and "a Lua function" or plain.text(value) end
  local parts = {}
  for _, item in ipairs(value) do parts[#parts + 1] = text_of(item) end
  for _, name in ipairs(plain.names(value)) do parts[#parts + 1] = name .. " = " .. text_of(value[name]) end
  return table.concat(parts, ", ")
end

local function numbers(values) return plain.numbers(type(values) == "number" and { values } or values, ", ") end

--- Its options but for the rate; of groups that differ in one, the values of all: "weight_decay = 0.01 and 0"; what
-- their rates are multiples of is that of the schedule.
local function optimizer_text(optimizer)
  local texts, seen = {}, {}
  local function note(name, text)
    texts[name] = texts[name] or {}
    if not seen[name .. text] then table.insert(texts[name], text) end
    seen[name .. text] = true
  end
  local ratios = optimizer.lr_ratios and optimizer:lr_ratios() or {}
  for i, group in ipairs(optimizer.groups or {}) do
    for name, value in pairs(option.without(option.without(group, "params"), "lr")) do note(name, text_of(value)) end
    if ratios[i] then note("rate times", plain.format("%.4g", ratios[i])) end
  end
  for name, list in pairs(texts) do texts[name] = table.concat(list, " and ") end
  if texts["rate times"] == "1" then texts["rate times"] = nil end
  return (optimizer.name or "an optimizer of the script") .. (next(texts) and ", " .. text_of(texts) or "")
end

local function sampling_text(trainer)
  if trainer.balanced then return "every class equally often" end
  return trainer.weights and "by weights" or "every image once an epoch"
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
    { "epoch that is kept", trainer.keep },
    { "patience in epochs", trainer.patience or "none" },
    { "batch", trainer.batch },
    { "batches of a step", trainer.accumulate },
    { "batch norm of several processes", trainer.sync_batch_norm and "synchronized" or "by shards" },
    { "sampling", sampling_text(trainer) },
    { "moving average of the weights", trainer.ema and "decay " .. plain.text(trainer.ema) or "none" },
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

-- -- data and pictures ------------------------------------------------------------------------------------------------

local MOST = 20000 -- images that are compared with each other

--- An audit of a set together with the training set, and the leak from that into it (texres.data.audit); nil where it
-- can't be made.
local function audit_of(trainer, set)
  local train = trainer.sets and trainer.sets.train
  if not train or not set or #train + #set > MOST then return nil end
  local asked = set.group and train or set -- groups are compared where both have them
  local audit = protect.catch(asked.audit, asked, { splits = { train = train, test = set } })
  for _, leak in ipairs(audit and audit.leaks or {}) do
    if leak.into == "test" then return audit, leak end
  end
end

--- What the page tells of an audit of a set with the training set: { text =, leak = how many images }.
local function audited(trainer, set, name)
  local audit, leak = audit_of(trainer, set)
  if not audit then return nil end
  return { leak = leak.any, text = ("%d of %d %s images have an equal or alike one, or one of their group, in "
    .. "training; %d sets of equal images, %d pairs whose labels contradict each other"):format(leak.any, #set, name,
    #audit.equal, #audit.conflicts) }
end

local function data_rows(trainer)
  local rows = {}
  for _, name in ipairs { "train", "val" } do
    local set = trainer.sets and trainer.sets[name]
    if set then rows[#rows + 1] = { name == "train" and "training" or "validation", facts.set(set) } end
  end
  if trainer.audit then rows[#rows + 1] = { "audit", trainer.audit.text } end
  for _, test in ipairs(trainer.tests) do
    rows[#rows + 1] = { test.name, facts.set(test.set) }
    if test.audit then rows[#rows + 1] = { "audit of " .. test.name, test.audit.text } end
  end
  return rows
end

local SAMPLES = 6 -- pictures of each class

--- Checksums of all that a model's state is made of.
local function weights_key(model)
  local parts = {}
  for name, t in pairs(model:state_dict()) do
    parts[#parts + 1] = ("%s %08x"):format(name, core.crc32(t:contiguous()))
  end
  return table.concat(plain.sort(parts), "\n")
end

--- What explains a picture, made once for the weights that the model has: the features of all training images take a
-- pass over them.
local function explanations(trainer)
  local key, known = weights_key(trainer.model), trainer.explained
  if not known or known.key ~= key then
    local train = trainer.sets and trainer.sets.train
    known = { key = key, why = facts.why(classifier.new { model = trainer.model }, train) }
    trainer.explained = known
  end
  return known.why
end

--- Pictures of the network as it is now, and of what it makes of a validation or training image.
local function inside_of(trainer)
  local set = trainer.sets and (trainer.sets.val or trainer.sets.train)
  local image = set and set:get(1)
  if not image then return nil end
  local pixels = input.of(trainer.model):batch(image:unsqueeze(1), "report"):to(module.float_dtype(trainer.model))
  return inside.pictures(trainer.model, pixels, trainer.folder)
end

--- The images of a result that say most. They are made once for each result.
local function add_pictures(trainer, item)
  if item.pictures or not item.set or not item.result.scores then return end
  item.pictures = answers.pictures({ operating_point = item.point }, item.result, item.set, trainer.folder,
    explanations(trainer))
end

--- What was chosen by the validation images, so that its figures on them are rather too good: a list.
local function chosen_by_validation(trainer)
  local takes, list = trainer.best_takes or {}, {}
  if trainer.keep == "best" and #trainer.history > 1 then list[1] = "the epoch" end
  if takes.temperature then list[#list + 1] = "the temperature" end
  if takes.operating_point then list[#list + 1] = "the operating point" end
  return list
end

--- Validation and tests, with the pictures of those that won't change any more.
local function results(trainer)
  local list = {}
  if trainer.validation then
    local set = trainer.sets and trainer.sets.val
    if set and trainer.skipped then set = set:without(trainer.skipped) end
    list[1] = { name = "Validation", note = ("epoch %d"):format(trainer.best.epoch), result = trainer.validation,
      set = set, point = trainer.best_takes and trainer.best_takes.operating_point,
      chose = chosen_by_validation(trainer) }
  end
  table.move(trainer.tests, 1, #trainer.tests, #list + 1, list)
  if trainer.running then return list end
  for i, item in ipairs(list) do
    add_pictures(trainer, item)
    local is_validation = i == 1 and trainer.validation
    item.audit = item.audit or is_validation and trainer.audit
      or audited(trainer, item.set, is_validation and "validation" or "test")
    if is_validation then trainer.audit = item.audit end
  end
  return list
end

-- -- files ------------------------------------------------------------------------------------------------------------

local function metrics_lines(epochs)
  local lines = {}
  for i, entry in ipairs(epochs) do lines[i] = json.encode(entry) .. "\n" end
  return table.concat(lines)
end

local COLUMNS = { "epoch", "lr", "loss", "accuracy", "val_loss", "val_accuracy", "seconds", "images_per_second" }

local function metrics_table(epochs)
  local lines = { table.concat(COLUMNS, ",") .. "\n" }
  for i, entry in ipairs(epochs) do
    local cells = {}
    for c, name in ipairs(COLUMNS) do cells[c] = entry[name] == nil and "" or plain.exact(entry[name]) end
    lines[i + 1] = table.concat(cells, ",") .. "\n"
  end
  return table.concat(lines)
end

--- The line of an epoch under way, as terminal.Progress takes it.
function record.progress_state(trainer, pass, images, left, losses)
  local counter = pass.counter
  return {
    ("epoch %d/%d"):format(pass.epoch, trainer.epochs), plain.format("loss %.4f", counter:loss()),
    terminal.duration(left) .. " left", plain.format("%.0f images/s", counter.images / pass.seconds),
    "accuracy " .. plain.percent(counter.right / counter.images),
    share = math.min(1, counter.images / images), values = losses,
  }
end

--- The line of an epoch that has ended.
function record.epoch_text(trainer, entry, better)
  local val = entry.val_loss and plain.format("  val loss %.4f  val accuracy %s", entry.val_loss,
    plain.percent(entry.val_accuracy)) or ""
  local skipped = entry.skipped and ("  %d skipped"):format(entry.skipped) or ""
  return plain.format("epoch %d/%d  loss %.4f  accuracy %s%s%s  %.0f images/s  %s%s", entry.epoch, trainer.epochs,
    entry.loss, plain.percent(entry.accuracy), val, skipped, entry.images_per_second,
    terminal.duration(entry.seconds), better and trainer.keep == "best" and "  best" or "")
end

--- The command that started the script, for people.
local function command()
  local words = {}
  local given = rawget(_G, "arg")
  if type(given) ~= "table" then return nil end
  local first = 0
  while given[first - 1] do first = first - 1 end
  for i = first, #given do words[#words + 1] = plain.text(given[i]) end
  return table.concat(words, " ")
end

local function check(ok, message)
  if not ok then raise("Trainer: %s", message) end
end

--- The operating point that the first screen is about: that of the last test, or the model's where there was none.
local function point_of(trainer, list)
  if #list > 0 then return list[#list].point end
  return trainer.best_takes and trainer.best_takes.operating_point
end

--- All that the page and run.json tell.
local function run_of(trainer)
  local shape = { 1, table.unpack(trainer.input) }
  trainer.summary = trainer.summary or trainer.model:summary(shape)
  trainer.drawing = trainer.drawing or draw.svg(trainer.model, shape)
  if trainer.sets and not trainer.samples then
    trainer.samples = gallery.samples(trainer.sets.train, trainer.folder, SAMPLES)
  end
  local rows, list = configuration(trainer), results(trainer)
  local words = command()
  if words then table.insert(rows, 1, { "command", words }) end
  local best = history.best_epoch(trainer.history)
  return {
    title = trainer.name, history = trainer.history, best = best > 0 and best or nil,
    results = list, configuration = rows, environment = facts.environment(),
    summary = tostring(trainer.summary), parameters = trainer.model:num_parameters(),
    operating_point = point_of(trainer, list), data = data_rows(trainer),
    samples = trainer.samples, drawing = trainer.drawing, under_way = trainer.running and true or nil,
    live = trainer.live and trainer.running and LIVE or nil,
    inside = not trainer.running and inside_of(trainer) or nil, watched = trainer.watched, findings = trainer.findings,
  }
end

--- Whether the files are those of a run that has ended, and not of one that was killed before the last of them stood.
function record.is_complete(trainer)
  local told = compare.read(trainer.folder)
  return told ~= nil and not told.under_way
end

--- Writes all files anew, run.json, which says whether the run is still under way, as the last one.
function record.write(trainer)
  local run = run_of(trainer)
  check(files.write(trainer.folder .. "/metrics.jsonl", metrics_lines(trainer.history)))
  check(files.write(trainer.folder .. "/metrics.csv", metrics_table(trainer.history)))
  check(report.write(trainer.folder .. "/report.html", run))
  check(files.write(trainer.folder .. "/run.json", assert(json.encode(compare.summary(run))) .. "\n"))
end

return record
