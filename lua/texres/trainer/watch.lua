--- What a training does to each layer, noted every so many steps: trainer.watched, and watch.jsonl in its folder.
--
--     { step = 51, epoch = 3, layers = { {
--       name = "conv1", kind = "Conv2d",
--       weight =, gradient =, update =     norms of its own parameters, taken together, of their gradients (before they
--                                          are clipped), and of the change that the step makes; a layer without
--                                          parameters has none, one that is frozen no gradient
--       activation =                       root mean square of what it gives
--       dead =                             share of the ReLU's channels behind it that are 0 in all images of the step
--     }, ... } }
--
-- and at the end of each epoch
--
--     { step =, epoch =, end_of_epoch = true, layers = { { name =, kind =, weight =,
--       histogram = { low =, high =, counts = { ... 32 } } }, ... } }      of its parameters, from low to high
--
-- Layers stand in the order of the model. The step is the same with and without a look, bit for bit: layers that a plan
-- joins (texres.nn.plan) stay joined. What such a step gives in its end is then the activation of all its layers, and
-- its ReLU belongs to the last of them that has parameters. A ReLU that is called on something else, such as a sum in a
-- forward of your own, has a row itself. With several batches to a step their images count together.

local core = require "texres.core"
local diagnosis = require "texres.trainer.diagnosis"
local files = require "texres.files"
local json = require "texres.json"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"
local ReLU = require("texres.nn.activation").ReLU

local watch = {}

local BINS = 32
local EVERY = { every = option.integer(50, "[1, inf)") } -- under 2 % of the time: lua5.4 bench/watch.lua

--- How often a trainer's option `watch` wants a look: every so many steps; nil for never.
function watch.interval(value)
  if value == false then return nil end
  if value == true then return EVERY.every.default end
  if type(value) == "table" then return option.read("Trainer: watch", value, EVERY).every end
  raise("Trainer: watch is %s, wanted true, false or { every = %d }", option.shown(value), EVERY.every.default)
end

-- -- layers -----------------------------------------------------------------------------------------------------------

--- The module that a parameter of this name belongs to.
local function owner_of(name, modules)
  repeat name = name:match "^(.*)%.[^.]*$" or "" until modules[name]
  return modules[name]
end

--- Rows {name =, kind =, parameters =} by module, of those that have parameters, and the names of all in their order.
local function rows_of(model)
  local modules, order, rows = {}, {}, {}
  for name, m in model:named_modules() do
    modules[name] = m
    order[#order + 1] = { name = name, module = m }
  end
  for name, p in model:named_parameters() do
    local m = owner_of(name, modules)
    rows[m] = rows[m] or { parameters = {} }
    table.insert(rows[m].parameters, p)
  end
  return rows, order
end

--- The norm of several tensors as one vector; nil for none.
local function norm_of(tensors)
  if #tensors == 0 then return nil end
  local sum = 0
  for _, t in ipairs(tensors) do sum = sum + t:norm():item() ^ 2 end
  return math.sqrt(sum)
end

-- -- a look at a step -------------------------------------------------------------------------------------------------

local Look = {}
Look.__index = Look

--- A look at the step that comes next; nil where it is not one of those that are watched.
function watch.begin(trainer)
  local every = watch.interval(trainer.watch)
  if not every or trainer.steps % every ~= 0 then return nil end
  local rows, order = rows_of(trainer.model)
  for _, row in pairs(rows) do
    row.before = {}
    for i, p in ipairs(row.parameters) do row.before[i] = p:detach():clone() end
    row.weight = norm_of(row.before)
  end
  return setmetatable({ rows = rows, order = order, maker = setmetatable({}, { __mode = "k" }) }, Look)
end

--- The channels of a ReLU's output that are not 0 throughout, as 1 of {K}. Where a step adds a residual after it: those
-- that changed it.
local function living(out, residual)
  local dims = {}
  for d = 1, out:dim() - 1 do dims[d] = d end
  local values = residual and out:ne(residual) or out -- none is negative
  return values:sum(dims):ne(0):to "f32"
end

local function add_activation(row, norm, elements)
  row.squares, row.elements = (row.squares or 0) + norm ^ 2, (row.elements or 0) + elements
end

local function add_living(row, alive)
  row.alive = row.alive and row.alive:shape()[1] == alive:shape()[1] and row.alive:maximum(alive) or alive
end

--- Notes what a layer, or the layers of a step, gave. `position`: as in Look:forward.
function Look:see(m, inputs, output, position)
  local out = output:detach()
  local step = type(inputs[2]) == "table" and inputs[2].chain and inputs[2] or nil
  local is_relu = step and step.relu or not step and getmetatable(m) == ReLU
  local own = {} -- rows of layers with parameters: that of a ReLU is for what no such layer gave
  for _, part in ipairs(step and step.chain or { { item = m } }) do
    local known = self.rows[part.item]
    if known and known.parameters then own[#own + 1] = known end
  end
  local row = own[#own]
  if is_relu then
    row = row or self.maker[inputs[1]] or self.rows[m]
    if not row then
      row = {}
      self.rows[m] = row
    end
    if #own == 0 and not row.parameters then own[1] = row end
    if out:dim() > 1 then add_living(row, living(out, step and step.residual_last and inputs[3])) end
  end
  if #own == 0 then return end
  local norm = out:norm():item()
  for _, each in ipairs(own) do add_activation(each, norm, out:numel()) end
  self.maker[output] = row
  if norm - norm ~= 0 and not self.bad then
    self.bad = { row = row, positions = diagnosis.positions(out, position) }
  end
end

--- What the model gives for a batch. `position(row)`: where its images stand in the set.
function Look:forward(model, images, position)
  local function see(m, _, inputs, outputs)
    local out = outputs[1]
    if core.is_tensor(out) and (out.dtype == "f32" or out.dtype == "f64") and out:numel() > 0 then
      core.no_grad(self.see, self, m, inputs, out, position)
    end
  end
  return module.with_watcher({ fn = see, planned = true, keeps_nothing = true }, model, images)
end

--- Notes the gradients, before they are clipped and applied.
function Look:gradients()
  for _, row in pairs(self.rows) do
    local gradients = {}
    for _, p in ipairs(row.parameters or {}) do gradients[#gradients + 1] = p.grad end
    row.gradient = norm_of(gradients)
  end
end

--- Notes what the step changed.
function Look:updates()
  for _, row in pairs(self.rows) do
    local changes = {}
    for i, p in ipairs(row.parameters or {}) do changes[i] = p:detach() - row.before[i] end
    row.update, row.before = norm_of(changes), nil
  end
end

--- The rows as they are kept, in the order of the model.
function Look:layers()
  local list = {}
  for _, entry in ipairs(self.order) do
    local row = self.rows[entry.module]
    if row then
      list[#list + 1] = {
        name = entry.name, kind = getmetatable(entry.module).__name, weight = row.weight, gradient = row.gradient,
        update = row.update, activation = row.squares and math.sqrt(row.squares / row.elements),
        dead = row.alive and 1 - row.alive:sum():item() / row.alive:numel(),
      }
      if self.bad and self.bad.row == row then self.bad.name = entry.name end
    end
  end
  return list
end

-- -- histograms -------------------------------------------------------------------------------------------------------

local BLOCK = 1 << 15 -- of elements that are compared with all edges at once

--- How many elements of some tensors lie below each of the edges, a tensor {bins - 1}; added to `counts`.
local function add_below(counts, t, edges)
  local flat = t:flatten()
  for first = 1, flat:numel(), BLOCK do
    local part = flat:slice(1, first, math.min(first + BLOCK - 1, flat:numel()))
    for i, n in ipairs(part:reshape(-1, 1):lt(edges):sum(1):totable()) do counts[i] = counts[i] + n end
  end
end

--- {low =, high =, counts =} of the elements of some tensors; nil where one is not finite.
local function histogram_of(tensors)
  local low, high, elements = math.huge, -math.huge, 0
  for _, t in ipairs(tensors) do
    if not t:all_finite() then return nil end
    low, high = math.min(low, t:min():item()), math.max(high, t:max():item())
    elements = elements + t:numel()
  end
  local counts, edges = {}, {}
  for i = 1, BINS - 1 do counts[i], edges[i] = 0, low + (high - low) * i / BINS end
  local smaller = high > low
  for _, t in ipairs(smaller and tensors or {}) do add_below(counts, t, core.tensor(edges, { dtype = t.dtype })) end
  counts[BINS] = elements
  if not smaller then counts[1] = elements end
  for i = BINS, 2, -1 do counts[i] = smaller and counts[i] - counts[i - 1] or 0 end
  return { low = low, high = high, counts = counts }
end

local function histograms_of(model)
  local rows, order = rows_of(model)
  local list = {}
  for _, entry in ipairs(order) do
    local row, weights = rows[entry.module], {}
    for i, p in ipairs(row and row.parameters or {}) do weights[i] = p:detach() end
    if row then
      list[#list + 1] = {
        name = entry.name, kind = getmetatable(entry.module).__name, weight = norm_of(weights),
        histogram = histogram_of(weights),
      }
    end
  end
  return list
end

-- -- what is kept -----------------------------------------------------------------------------------------------------

local function path_of(trainer) return trainer.folder .. "/watch.jsonl" end

local function write_all(trainer)
  local lines = {}
  for i, entry in ipairs(trainer.watched) do lines[i] = json.encode(entry) .. "\n" end
  if #lines == 0 then
    os.remove(path_of(trainer))
    return true
  end
  return files.write(path_of(trainer), table.concat(lines))
end

local function append(path, line)
  local file, message = io.open(path, "ab")
  if not file then return nil, message end
  local ok, problem = file:write(line)
  local closed, late = file:close()
  if ok and closed then return true end
  return nil, ("%s: %s"):format(path, problem or late)
end

--- Keeps an entry (nil: none). The first one of a run writes the file anew, as lines of steps may stand there that the
-- run has gone back behind.
local function keep(trainer, run, entry)
  trainer.watched[#trainer.watched + 1] = entry
  if not trainer.folder then return end
  local ok, message = true, nil
  if not run.watch_is_written then
    ok, message = write_all(trainer)
  elseif entry then
    ok, message = append(path_of(trainer), json.encode(entry) .. "\n")
  end
  if not ok then raise("Trainer: %s", message) end
  run.watch_is_written = true
end

--- Keeps what a look saw of the step that was taken, and says what is wrong with it.
function watch.note(trainer, run, look)
  local entry = { step = trainer.steps, epoch = trainer.pass.epoch, layers = look:layers() }
  keep(trainer, run, entry)
  diagnosis.judge(trainer, look.bad)
end

--- Keeps the histograms at the end of an epoch.
function watch.end_epoch(trainer, run, epoch)
  local entry
  if watch.interval(trainer.watch) then
    local layers = core.no_grad(histograms_of, trainer.model)
    entry = { step = trainer.steps, epoch = epoch, end_of_epoch = true, layers = layers }
  end
  keep(trainer, run, entry)
end

--- Whether an entry of the file is of a run that has come to these steps and epochs.
local function is_before(entry, steps, epochs)
  return type(entry) == "table" and type(entry.layers) == "table"
    and math.type(entry.step) == "integer" and entry.step <= steps
    and math.type(entry.epoch) == "integer" and (not entry.end_of_epoch or entry.epoch <= epochs)
end

--- Takes up what the file has of the steps before the one that a resumed trainer stands at, and what was found in them.
-- A line that was not written to its end, when the process was killed, is left out.
function watch.resume(trainer)
  trainer.watched, trainer.findings = {}, {}
  local text = trainer.folder and files.exists(path_of(trainer)) and files.read(path_of(trainer)) or ""
  for line in text:gmatch "([^\n]*)\n" do
    local entry = json.decode(line)
    if not is_before(entry, trainer.steps, #trainer.history) then break end
    trainer.watched[#trainer.watched + 1] = entry
    if not entry.end_of_epoch then diagnosis.recall(trainer) end
  end
end

return watch
