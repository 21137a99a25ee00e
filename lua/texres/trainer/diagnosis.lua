--- What is wrong with a training, in words: a loss that is not a number, gradients that vanish or explode, dead ReLUs.
--
-- Each finding is told once, by texres.warn, and stands in trainer.findings:
--
--     { kind = "vanishing" | "exploding" | "dead" | "not finite", layer =, step =, epoch =, text = }
--
-- From what a trainer watches (texres.trainer.watch):
--
--     vanishing   relative to their weights, the first layer's gradient is less than 1/10,000 of the last one's
--     exploding   it is more than 10,000 times it; or a layer's gradient is 1,000 times its median in the looks before
--     dead        half of the channels behind a ReLU or more are 0 for all images of a step
--     not finite  a norm is nan or infinite
--
-- The first three at two looks in a row, as a single step may be odd.

local core = require "texres.core"
local nn_module = require "texres.nn.module"
local plain = require "texres.plain"
local raise = require "texres.raise"

local diagnosis = {}

-- -- a loss that is no number -----------------------------------------------------------------------------------------

local MOST_NAMED = 5 -- images

--- Where the images stand in the set for which a tensor {n,...} is not finite: a list; nil where that is all of
-- several, or nothing is known of them.
function diagnosis.positions(t, position)
  local list, count = {}, t:dim() > 0 and t:size(1) or 0
  if not position then return nil end
  for row = 1, count do
    if not t:slice(1, row, row):all_finite() then list[#list + 1] = position(row) end
  end
  if #list == 0 or #list == count and count > 1 then return nil end
  return list
end

--- "image 12 of the training set", "images 12, 17, 20 and 4 more of the training set"; nil for none.
local function positions_text(list)
  if not list then return nil end
  local named = table.concat(list, ", ", 1, math.min(#list, MOST_NAMED))
  if #list > MOST_NAMED then named = ("%s and %d more"):format(named, #list - MOST_NAMED) end
  return ("image%s %s of the training set"):format(#list == 1 and "" or "s", named)
end

local function first_not_finite(values)
  for i = 1, values.n do
    if core.is_tensor(values[i]) and not values[i]:all_finite() then return values[i] end
  end
end

--- Runs the model again: the first layer that gives a value that is not finite, and that value.
local function culprit_of(model, images)
  local culprit, value
  local function look(module, _, _, outputs)
    if culprit then return end
    value = first_not_finite(outputs)
    culprit = value and module
  end
  nn_module.quietly(core.no_grad, nn_module.watch, look, function() model(images) end)
  return culprit, value
end

--- Tells what first was not finite, as text for a message, and in which layer. `position(row)`: where the images of the
-- batch stand in the set; may be left out.
function diagnosis.explain(model, images, position)
  if not images:all_finite() then
    local which = positions_text(diagnosis.positions(images, position))
    return "The images of this batch are not finite" .. (which and ": " .. which or ""), nil
  end
  for name, parameter in model:named_parameters() do
    if not parameter:all_finite() then
      return ("The parameter %s is not finite since the step before"):format(name), name
    end
  end
  local culprit, value = culprit_of(model, images)
  if not culprit then return "Every layer's output is finite, so the loss function itself overflowed", nil end
  for name, module in model:named_modules() do
    if module == culprit then
      local place = name ~= "" and name or "the model itself"
      local which = positions_text(diagnosis.positions(value, position))
      return ("The first layer whose output is not finite is %s (%s)%s"):format(place, module:describe(),
        which and ", for " .. which or ""), name
    end
  end
end

--- Raises the message that ends a training at a loss that is no number. `place`: {batch = its number in the epoch,
-- position = a function, as above}.
function diagnosis.stop(trainer, images, value, place)
  local why, layer = diagnosis.explain(trainer.model, images, place.position)
  local text = plain.format("the loss is %s in epoch %d, batch %d (step %d, learning rate %.3g). %s",
    value ~= value and "nan" or "infinite", trainer.pass.epoch, place.batch, trainer.steps + 1,
    trainer.optimizer:lr(), why)
  table.insert(trainer.findings, {
    kind = "not finite", layer = layer, step = trainer.steps + 1, epoch = trainer.pass.epoch, text = text,
  })
  raise("Trainer: %s. A lower learning rate or clip_grad_norm may help.", text)
end

-- -- what was watched -------------------------------------------------------------------------------------------------

local FAR = 1e4 -- first and last layer
local SUDDEN = 1e3 -- a layer and itself before
local DEAD = 0.5
local LATEST = 21 -- looks that are compared

local function shown(name) return name ~= "" and name or "the model itself" end

--- First and last of the layers whose gradient can be compared with their weights.
local function ends_of(layers)
  local first, last
  for _, row in ipairs(layers) do
    if row.gradient and row.weight and row.weight > 0 then first, last = first or row, row end
  end
  return first, last
end

--- The median of the gradients of layer number k in the entries before number `at`; nil of fewer than three.
local function median_before(entries, at, k)
  local list, name = {}, entries[at].layers[k].name
  for i = 1, at - 1 do
    local row = entries[i].layers[k]
    local gradient = row and row.name == name and row.gradient
    if gradient and gradient == gradient then list[#list + 1] = gradient end
  end
  if #list < 3 then return nil end
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- Whether gradients vanish or explode on their way from the last layer to the first.
local function judge_ends(found, layers)
  local first, last = ends_of(layers)
  if not first or first == last then return end
  local a, b = first.gradient / first.weight, last.gradient / last.weight
  if b > 0 and a * FAR < b then
    found("vanishing", first.name, "the gradient vanishes: relative to its weights, that of %s is %.1e times that of "
      .. "%s. Batch norm, residual connections, ReLU in the place of sigmoid or another initialization help",
      shown(first.name), a / b, shown(last.name))
  elseif a > 0 and b * FAR < a and a < math.huge then
    found("exploding", first.name, "the gradient explodes: relative to its weights, that of %s is %s that of %s. "
      .. "Batch norm, a smaller initialization or clip_grad_norm help",
      shown(first.name), b > 0 and plain.format("%.1e times", a / b) or "far above", shown(last.name))
  end
end

--- All that is to be said of entry number `at` of those that were watched at steps, as a table from "kind layer".
local function judged(entries, at)
  local all, entry = {}, entries[at]
  local function found(kind, layer, ...)
    all[kind .. " " .. layer] = { kind = kind, layer = layer, step = entry.step, epoch = entry.epoch,
      text = plain.format(...) }
  end
  judge_ends(found, entry.layers)
  for k, row in ipairs(entry.layers) do
    local usual = row.gradient and median_before(entries, at, k)
    if usual and usual > 0 and row.gradient > SUDDEN * usual and row.gradient < math.huge then
      found("exploding", row.name, "the gradient of %s is %.1e, its median before %.1e. A lower learning rate or "
        .. "clip_grad_norm may help", shown(row.name), row.gradient, usual)
    end
    if row.dead and row.dead >= DEAD then
      found("dead", row.name, "%.0f %% of the channels of the ReLU behind %s are 0 for all images of a step: they "
        .. "learn nothing. A lower learning rate, another initialization or LeakyReLU may help", 100 * row.dead,
        shown(row.name))
    end
  end
  return all
end

local WHAT = { "weight", "activation", "gradient", "update" }

--- The norm that is not finite in an entry, of the first layer that has one.
local function not_finite(entry, bad)
  for _, what in ipairs(WHAT) do
    for _, row in ipairs(entry.layers) do
      if row[what] and row[what] - row[what] ~= 0 then
        local which = bad and bad.name == row.name and positions_text(bad.positions)
        return { kind = "not finite", layer = row.name, step = entry.step, epoch = entry.epoch,
          text = ("the %s of %s is not finite%s"):format(what, shown(row.name), which and ", for " .. which or "") }
      end
    end
  end
end

local function add(trainer, finding)
  for _, known in ipairs(trainer.findings) do
    if known.kind == finding.kind and known.layer == finding.layer then return false end
  end
  table.insert(trainer.findings, finding)
  return true
end

--- The last entries that are of a step, LATEST at most, in their order.
local function latest(watched)
  local list, i = {}, #watched
  while i >= 1 and #list < LATEST do
    if not watched[i].end_of_epoch then table.insert(list, 1, watched[i]) end
    i = i - 1
  end
  return list
end

--- What is new in an entry, which is the last of trainer.watched, as a list of findings; they are added to the others.
local function new_findings(trainer, bad)
  local entries, new = latest(trainer.watched), {}
  local now, before = judged(entries, #entries), #entries > 1 and judged(entries, #entries - 1) or {}
  local keys = {}
  for key in pairs(now) do keys[#keys + 1] = before[key] and key or nil end
  for i, key in ipairs(plain.sort(keys)) do new[i] = now[key] end
  new[#new + 1] = not_finite(entries[#entries], bad)
  local fresh = {}
  for _, finding in ipairs(new) do
    if add(trainer, finding) then fresh[#fresh + 1] = finding end
  end
  return fresh
end

--- Says what is new in the last entry that was watched. `bad`: {name = of the layer whose output was not finite,
-- positions = of the images}.
function diagnosis.judge(trainer, bad)
  for _, finding in ipairs(new_findings(trainer, bad)) do
    require("texres").warn(("Trainer: step %d: %s"):format(finding.step, finding.text))
  end
end

--- Finds the same again, without a word, in an entry that was read from a file.
function diagnosis.recall(trainer) new_findings(trainer) end

return diagnosis
