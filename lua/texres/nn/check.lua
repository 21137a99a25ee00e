--- module:check(shape): what is probably wrong with a network for inputs of this shape, {N,H,W,C}, with reasons.
--
--     print(net:check { 32, 64, 64, 1 })
--
-- Returns a list of findings { kind =, layer =, text = }, in the order of this table, which prints as text:
--
--     coverage     pixels that cannot influence the output                             measured (texres.nn.reach)
--     stride       a stride larger than the kernel, where nothing else reads between   read off the plan, measured
--     unreached    parameters that no gradient reaches; positions of a kernel that
--                  only ever meet padding                                              measured
--     softmax      an output of probabilities, of which cross_entropy takes a softmax  measured
--     one value    a norm over a single value                                          from the shapes
--     bias         a bias before a batch norm, which subtracts it again                read off the plan
--                  (a frozen norm does neither: it keeps its statistics)
--     relu         a ReLU at the end of a Residual's body                              read off the plan
--
-- `coverage` of the list is the share of the pixels that can influence the output; `unmeasured` says why it, and what
-- else is measured on its copy, is not known. What is read off the plan is seen in containers, not in a forward of your
-- own. The network and the random numbers are left as they are.

local block = require "texres.nn.block"
local conv = require "texres.nn.conv"
local conv_more = require "texres.nn.conv_more"
local core = require "texres.core"
local costs = require "texres.nn.costs"
local linear = require "texres.nn.linear"
local module = require "texres.nn.module"
local norm = require "texres.nn.norm"
local plain = require "texres.plain"
local plan = require "texres.nn.plan"
local reach = require "texres.nn.reach"
local shapes = require "texres.nn.shape"
local ReLU = require("texres.nn.activation").ReLU
local is_plain = module.is_plain

local Findings = {}
Findings.__index = Findings

function Findings:__tostring()
  local lines = { ("%s, input %s: %s"):format(self.name, module.shape_text(self.shape),
    #self == 0 and "nothing found" or #self == 1 and "1 finding" or ("%d findings"):format(#self)) }
  for _, finding in ipairs(self) do lines[#lines + 1] = ("- %s: %s"):format(finding.kind, finding.text) end
  if self.unmeasured then lines[#lines + 1] = "- not measured: " .. self.unmeasured end
  return table.concat(lines, "\n")
end

local function add(found, kind, layer, text, ...)
  table.insert(found, { kind = kind, layer = layer, text = plain.format(text, ...) })
end

-- -- running the network ----------------------------------------------------------------------------------------------

--- A copy of the network after a run in evaluation mode, forward and backward, what it gave, and the sizes of the
-- inputs of its layers: a list of { name, module, shape }.
local function run(self, shape)
  local copy, names, inputs = self:clone():eval():zero_grad(), {}, {}
  for name, m in copy:named_modules() do names[m] = name end
  local function watch(m, _, given)
    if core.is_tensor(given[1]) then inputs[#inputs + 1] = { names[m], m, given[1]:shape() } end
  end
  local x = ((reach.uneven(shape) - 1) * 2):to(module.float_dtype(copy))
  local y
  module.watch(watch, function() y = copy(x) end)
  if core.is_tensor(y) and y.requires_grad then y:backward(reach.uneven(y:shape()):to(y.dtype)) end
  return copy, y, inputs
end

-- -- coverage and strides ---------------------------------------------------------------------------------------------

--- How many lines of {H,W} along an axis are 0 altogether, and how many there are.
local function empty_lines(places, axis)
  local used = places:max(3 - axis):sum():item()
  return places:size(axis) - math.tointeger(used), places:size(axis)
end

local function check_coverage(found, whole)
  if not whole.share or whole.share == 1 then return end
  if whole.places:dim() ~= 2 or #found.shape ~= 4 then
    return add(found, "coverage", "", "only %s of the input can influence the output", plain.percent(whole.share))
  end
  local rows, of_rows = empty_lines(whole.places, 1)
  local columns, of_columns = empty_lines(whole.places, 2)
  local share = plain.percent(whole.share)
  add(found, "coverage", "", "only %s of the pixels can influence the output; of %d rows %d are never seen, of %d "
    .. "columns %d: what is there alone cannot be found", share, of_rows, rows, of_columns, columns)
end

--- The places {H,W} of a value that its readers look at; nil where one reads all of it, or it is not known.
local function read_together(whole, readers)
  local sum
  for _, step in ipairs(readers) do
    local read = step.item and reach.read_by(whole, step.item)
    if not read then return nil end
    sum = sum and sum + read or read
  end
  return sum:ne(0):to "f64"
end

local function check_strides(found, traced, names, whole)
  local readers = {}
  for _, step in ipairs(traced.steps) do
    for _, value in ipairs(plan.inputs_of(step)) do
      readers[value] = readers[value] or {}
      table.insert(readers[value], step)
    end
  end
  for _, step in ipairs(traced.steps) do
    local stride, window
    if step.item then stride, window = reach.wide_stride(step.item) end
    local read = stride and read_together(whole, readers[step.input])
    local share = read and read:mean():item() or 1
    if share < 1 then
      add(found, "stride", names[step.item], "%s has a stride of %d, larger than its window of %d: only %s of what it "
        .. "gets is read, and nothing beside it reads the rest", names[step.item], stride, window, plain.percent(share))
    end
  end
end

-- -- gradients --------------------------------------------------------------------------------------------------------

local function check_gradients(found, copy)
  local layers, by_layer = {}, {}
  for name, p in copy:named_parameters() do
    if p.requires_grad and not p.grad then
      local layer = name:match "^(.*)%.[^.]+$" or ""
      if not by_layer[layer] then
        by_layer[layer] = {}
        table.insert(layers, layer)
      end
      table.insert(by_layer[layer], name)
    end
  end
  for _, layer in ipairs(layers) do
    local list = by_layer[layer]
    add(found, "unreached", layer, "no gradient reaches %s: %s no part in the output, or the path to it is cut",
      table.concat(list, ", "), #list == 1 and "it has" or "they have")
  end
end

local function check_kernels(found, whole)
  for _, idle in ipairs(whole.idle) do
    add(found, "unreached", idle.name, "only %d of the %d positions in the kernel of %s ever meet its input, the "
      .. "others padding alone: no gradient reaches them", idle.used, idle.count, idle.name)
  end
end

--- Whether the rows of an output {N,classes} are probabilities.
local function check_softmax(found, y)
  if not core.is_tensor(y) or y:dim() ~= 2 or y:size(2) < 2 then return end
  y = y:detach():to "f64"
  local are_shares = y:min():item() >= 0 and (y:sum(2) - 1):abs():max():item() <= 1e-4
  if not are_shares then return end -- nor where it overflowed and is not finite
  add(found, "softmax", "", "each row of the output sums to 1, it holds probabilities: cross_entropy takes scores and "
    .. "does a softmax of its own, so leave the one at the end out")
end

-- -- norms ------------------------------------------------------------------------------------------------------------

--- Whether m is a batch norm that keeps its statistics, whatever it gets.
local function is_frozen(m) return rawget(m, "_frozen") == true and getmetatable(m) == norm.BatchNorm end

-- How many values a norm takes a mean of, for an input of this shape, and for each what; nil for other layers.
local function values_of(m, shape)
  local class, count = getmetatable(m), 1
  for d = 2, #shape do count = count * shape[d] end
  if class == norm.BatchNorm and not is_frozen(m) then return shape[1] * count // shape[#shape], "channel" end
  if class == norm.GroupNorm then return count // m.groups, "group" end
  if class == norm.LayerNorm then return shape[#shape], "place" end
  if class == norm.ImageStandardization then return count, "image" end
end

local function check_norms(found, inputs)
  for _, row in ipairs(inputs) do
    local name, m, shape = table.unpack(row)
    local count, what = values_of(m, shape)
    if count == 1 then
      local advice = what == "channel" and "; batch norm needs a larger batch in training" or ""
      add(found, "one value", name, "%s has one value for each %s of %s: it is its own mean, and nothing of it is "
        .. "left%s", name, what, module.shape_text(shape), advice)
    end
  end
end

-- -- what stands behind what ------------------------------------------------------------------------------------------

--- Layers that add a bias to all of a channel.
local BIASED = {
  [conv.Conv2d] = true, [conv_more.ConvTranspose2d] = true, [conv_more.StandardizedConv2d] = true,
  [linear.Linear] = true,
}

local function check_biases(found, traced, names)
  local reader = plan.only_readers(traced)
  for _, step in ipairs(traced.steps) do
    local layer, next_step = step.item, reader[step.output]
    if layer and reach.entry(BIASED, layer) and rawget(layer, "bias") and next_step
      and is_plain(next_step.item, norm.BatchNorm) and not is_frozen(next_step.item) then
      add(found, "bias", names[layer], "%s has a bias, which %s subtracts again with the mean: { bias = false } leaves "
        .. "it out", names[layer], names[next_step.item])
    end
  end
end

--- Layers that let a positive value stay one.
local PASSES = { [shapes.Dropout] = true, [block.StochasticDepth] = true }

local function check_sums(found, traced, names)
  local maker, reader = {}, plan.only_readers(traced)
  for _, step in ipairs(traced.steps) do maker[step.output] = step end
  for _, step in ipairs(traced.steps) do
    local last = step.sum and maker[step.input]
    while last and last.item and PASSES[getmetatable(last.item)] do last = maker[last.input] end
    -- what others read, too, stands before the body
    if last and reader[last.output] and is_plain(last.item, ReLU) then
      add(found, "relu", names[last.item], "the body of %s ends in a ReLU, %s, before the sum: it can only add to what "
        .. "the shortcut brings, never take away; put the ReLU behind the sum (activation = nn.ReLU())",
        names[step.sum] == "" and "the Residual" or names[step.sum], names[last.item])
    end
  end
end

--- Calls visit(traced) for each container in a module that runs by a plan and stands in no other such one.
local function each_plan(m, visit, seen)
  if seen[m] then return end
  seen[m] = true
  if not plan.is_planned(m) then
    for _, child in ipairs(m:children()) do each_plan(child[2], visit, seen) end
    return
  end
  local traced = plan.trace(m, plan.is_planned)
  visit(traced)
  for _, step in ipairs(traced.steps) do
    if step.item then each_plan(step.item, visit, seen) end
  end
end

local HIDDEN = "coverage: pixels that no gradient reaches change the output, so a layer of your own, or one in 8 "
  .. "bits, looks at more than its gradient says"

return function(self, shape)
  costs.check_shape("check", shape)
  local found = setmetatable({ shape = table.move(shape, 1, #shape, 1, {}),
    name = rawget(self, "name") or getmetatable(self).__name }, Findings)
  local names, plans = {}, {}
  for name, m in self:named_modules() do names[m] = name end
  each_plan(self, function(traced) plans[#plans + 1] = traced end, {})
  local copy, y, inputs = reach.looking(run, self, shape)
  local whole, problem = reach.measure(self, shape)
  found.coverage, found.unmeasured = whole and whole.share, problem or not whole.share and HIDDEN or nil
  if whole then check_coverage(found, whole) end
  for _, traced in ipairs(whole and plans or {}) do check_strides(found, traced, names, whole) end
  if core.is_tensor(y) then check_gradients(found, copy) end
  if whole then check_kernels(found, whole) end
  check_softmax(found, y)
  check_norms(found, inputs)
  for _, traced in ipairs(plans) do check_biases(found, traced, names) end
  for _, traced in ipairs(plans) do check_sums(found, traced, names) end
  return found
end
