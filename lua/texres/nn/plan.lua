--- What a container does, as a list of steps that is made once.
--
-- A plan follows the input of a container to its output, through the containers inside. Every tensor on the way is a
-- value with a number, the input is 1; a step reads one or more values and makes one:
--
--     net = nn.Sequential { nn.Conv2d(1, 8, 3, { bias = false }), nn.BatchNorm(8), nn.ReLU(), nn.GlobalAvgPool() }
--
--     print(net:plan())      value  layers  what is done            reads
--                            -------------------------------------------
--                            2      1 2 3   Conv2d BatchNorm ReLU   1
--                            3      4       GlobalAvgPool           2
--
-- Layers that follow one another are joined into one step, with fewer passes over memory, where no other step reads the
-- values in between. A joined step begins with a convolution or a batch norm:
--
--     [Conv2d (without a bias, before a BatchNorm)] [BatchNorm] [+ of a Residual] [ReLU] [+, if there was none before]
--
--     nn.Residual {                          value  layers                 what is done             reads
--       conv, norm, relu, conv, norm,        ------------------------------------------------------------
--       shortcut = Sequential {conv, norm},  2      1 2 3                  Conv2d BatchNorm ReLU    1
--       activation = relu }                  3      shortcut.1 shortcut.2  Conv2d BatchNorm         1
--                                            4      4 5 activation         Conv2d BatchNorm + ReLU  2 3
--
-- (4 5 stand before the shortcut in the body, but their step has to wait for the value that it adds.)
--
-- In evaluation without gradients such a step is one pass over memory. Otherwise a batch norm takes a second one: in
-- training it needs the statistics of the whole batch first, which the convolution gathers, and the gradient needs what
-- the convolution gave (csrc/autograd/conv2d_batch_norm.c).
--
-- A value is freed right after the last step that reads it, as a network's activations are most of its memory: see
-- mark_last_uses for which ones. That lets go of the plan's own reference; what backward needs is held by the graph.
--
-- Every call of a container compares what its plan was made from with what is there now: the items and their order,
-- whether each item still runs the same forward, whether a convolution has a bias, whether a hook came or went. If any
-- of it has changed, the plan is made again. A layer that is watched (net:watch) is a step of its own while it is.
-- Training or evaluation makes no difference: a step reads the layers' settings when it runs.
--
-- Items of a Sequential with `checkpoint` are a plan of their own, which is one step of this one: texres.nn.replay.
-- Convolution and norm are joined across its borders, so that bits stay the same.
--
-- A container says what it does by its method trace(tracer, x), which returns the value that it makes: see
-- texres.nn.container. What fuse() folds and what is written to ONNX is read off the same steps.

local core = require "texres.core"
local conv = require "texres.nn.conv"
local module = require "texres.nn.module"
local norm = require "texres.nn.norm"
local option = require "texres.options"
local raise = require "texres.raise"
local replay = require "texres.nn.replay"
local table_text = require "texres.nn.table_text"
local Identity = require("texres.nn.shape").Identity
local ReLU = require("texres.nn.activation").ReLU
local is_plain, keeps_nothing = module.is_plain, module.keeps_nothing

local plan = {}

-- -- tracing ----------------------------------------------------------------------------------------------------------
--
-- Steps before any are joined; input, residual, inputs and output are numbers of values:
--
--     {item=, input=, output=, owner=, key=}    the module item = owner[key]
--     {sum=, input=, residual=, output=}        input + residual, for the Residual `sum`
--     {join=, how=, inputs=, output=}           several values as one, for the container `join`: as JOINS[how] does
--     {cut=, input=, output=}                   the input, through which no gradient goes back; only in plans that run
--     {segment=, input=, output=}               what a tracer inside, which becomes a plan of its own, has traced

local Tracer = {}
Tracer.__index = Tracer

local IS_TRACER = option.kind("a tracer: call plan()", function(value) return getmetatable(value) == Tracer end)

--- Raises unless a container's method trace was given a tracer.
function plan.check_tracer(tracer) option.check("trace", "tracer", tracer, IS_TRACER) end

local function add(self, step)
  self.values = self.values + 1
  step.output = self.values
  self.steps[#self.steps + 1] = step
  return step.output
end

--- The plan is valid only while rawget(t, key) is what it is now. `raw` is a flat list of t, key, value.
function Tracer:depends_on(t, key)
  local raw = self.raw
  local n = raw.n
  raw[n + 1], raw[n + 2], raw[n + 3], raw.n = t, key, rawget(t, key), n + 3
end

-- Raises unless `value` is the number of one that was made before; `m` is the container whose trace gives it.
local function check_value(self, m, value)
  if math.type(value) == "integer" and value >= 1 and value <= self.values then return end
  raise("%s: trace gives %s where the number of a value is wanted", getmetatable(m).__name, option.shown(value))
end

--- What is done to value x by the module at owner[key].
function Tracer:item(owner, key, x)
  check_value(self, owner, x)
  local item = rawget(owner, key)
  if item == nil then
    raise("%s: item %s was taken away; put nn.Identity() in its place", getmetatable(owner).__name, tostring(key))
  elseif not module.is_module(item) then
    raise("%s: item %s is a %s, wanted a module", getmetatable(owner).__name, tostring(key), type(item))
  end
  self:depends_on(owner, key)
  self.forward[item] = item.forward
  if is_plain(item, Identity) and not module.is_apart(item) then return x end
  if self.is_open(item) then return self:container(item, x) end
  return add(self, { item = item, input = x, owner = owner, key = key })
end

--- What is done to value x by a container.
function Tracer:container(m, x)
  if self.inside[m] then raise("%s contains itself", getmetatable(m).__name) end
  self.inside[m] = true
  x = m:trace(self, x)
  check_value(self, m, x)
  self.inside[m] = nil
  return x
end

--- x + residual, for an owner whose items gave x.
function Tracer:sum(owner, x, residual)
  check_value(self, owner, x)
  check_value(self, owner, residual)
  return add(self, { sum = owner, input = x, residual = residual })
end

local function add_join(self, owner, how, inputs)
  for _, value in ipairs(inputs) do check_value(self, owner, value) end
  return add(self, { join = owner, how = how, inputs = inputs })
end

--- Several values side by side, along the last dimension.
function Tracer:cat(owner, inputs) return add_join(self, owner, "cat", inputs) end

--- The product of several values, element by element.
function Tracer:multiply(owner, inputs) return add_join(self, owner, "multiply", inputs) end

--- The first of two values less the second.
function Tracer:subtract(owner, inputs) return add_join(self, owner, "subtract", inputs) end

--- Value x, through which no gradient goes back. Who only reads how a network is built sees x itself.
function Tracer:cut(x)
  if not self.runs then return x end
  return add(self, { cut = true, input = x })
end

--- What trace(tracer, x) does to value x, which backward computes again instead of keeping it.
function Tracer:segment(x, trace)
  if self.runs ~= "in segments" then return trace(self, x) end
  local inner = { steps = {}, values = 1 }
  for _, key in ipairs { "inside", "is_open", "raw", "forward", "runs" } do inner[key] = self[key] end
  inner.output = trace(setmetatable(inner, Tracer), 1)
  return add(self, { segment = inner, input = x })
end

--- The steps of a container, none joined. `is_open(item)`: whether an item's own steps take its place; else it is one.
-- `runs`, of a plan that runs, is "whole" or "in segments": then what cuts a gradient is a step, and in the second case
-- so is what backward computes again.
function plan.trace(self, is_open, runs)
  local tracer = setmetatable({
    steps = {}, values = 1, inside = {}, is_open = is_open, raw = { n = 0 }, forward = { [self] = self.forward },
    runs = runs,
  }, Tracer)
  tracer.output = tracer:container(self, 1)
  return tracer
end

--- Whether a module is a container that runs by its plan.
function plan.is_planned(m) return type(m.trace) == "function" and m.forward == plan.forward end

-- -- joining ----------------------------------------------------------------------------------------------------------

--- The values that a step reads.
local function inputs_of(step) return step.inputs or { step.input, step.residual } end
plan.inputs_of = inputs_of

--- reader[value]: the step that reads it, where there is only one; nil too for the output of the whole.
local function only_readers(traced)
  local reader, several = {}, { [traced.output] = true }
  for _, step in ipairs(traced.steps) do
    for _, value in ipairs(inputs_of(step)) do
      several[value] = several[value] or reader[value] ~= nil
      reader[value] = step
    end
  end
  for value in pairs(several) do
    if several[value] then reader[value] = nil end
  end
  return reader
end
plan.only_readers = only_readers

local function is_sum_after(step, value) return step ~= nil and step.sum ~= nil and step.input == value end

--- Whether a step is a call of a layer of this class that others may be joined with.
local function is_joinable(step, class)
  return step ~= nil and is_plain(step.item, class) and not module.is_apart(step.item)
end

-- -- segments ---------------------------------------------------------------------------------------------------------
--
-- A batch norm joined to the convolution before it gets other bits than one by itself. Where a segment begins or ends
-- between the two, the norm moves to the convolution.

--- Has all that reads the value `from` read `to`.
local function replace_value(traced, from, to)
  for _, step in ipairs(traced.steps) do
    if step.input == from then step.input = to end
    if step.residual == from then step.residual = to end
    for i, value in ipairs(step.inputs or {}) do
      if value == from then step.inputs[i] = to end
    end
  end
  if traced.output == from then traced.output = to end
end

local function remove(list, value)
  for i = #list, 1, -1 do
    if list[i] == value then table.remove(list, i) end
  end
end

--- Takes segments out in which nothing is done.
local function drop_empty(traced)
  for _, step in ipairs(table.move(traced.steps, 1, #traced.steps, 1, {})) do
    if step.segment then
      drop_empty(step.segment)
      if #step.segment.steps == 0 then
        remove(traced.steps, step)
        replace_value(traced, step.output, step.input)
      end
    end
  end
end

--- Where the value that `step` of `traced` makes comes from, in the segments there: the tracer, and its step. Nil where
-- it is read in there, too.
local function maker_of(traced, step)
  local inner = step.segment
  if not inner then return traced, step end
  local last
  for _, own in ipairs(inner.steps) do
    for _, value in ipairs(inputs_of(own)) do
      if value == inner.output then return nil end
    end
    if own.output == inner.output then last = own end
  end
  if last then return maker_of(inner, last) end
end

--- The one step that reads a value of `traced`, in the segments there: the tracer, and the step. Nil for several.
local function reader_of(traced, value)
  local step = only_readers(traced)[value]
  if step and step.segment then return reader_of(step.segment, 1) end
  return traced, step
end

--- Moves a norm from a tracer that reads `value` to the convolution, a step of `to`.
local function move_norm(traced, value, from, step, to, after)
  remove(from.steps, step)
  replace_value(from, step.output, from == traced and value or 1)
  to.values = to.values + 1
  if to == traced then
    replace_value(to, value, to.values)
    for i, own in ipairs(to.steps) do
      if own == after then table.insert(to.steps, i + 1, step) end
    end
  else
    to.output = to.values
    to.steps[#to.steps + 1] = step
  end
  step.input, step.output = after.output, to.values
end

--- Brings the norms of segments to their convolutions.
local function gather_norms(traced)
  drop_empty(traced)
  for _, made in ipairs(table.move(traced.steps, 1, #traced.steps, 1, {})) do
    local to, first = maker_of(traced, made)
    local from, following = reader_of(traced, made.output)
    local apart = to ~= traced or from ~= traced
    if apart and is_joinable(first, conv.Conv2d) and is_joinable(following, norm.BatchNorm)
      and rawget(first.item, "bias") == nil then
      move_norm(traced, made.output, from, following, to, first)
    end
  end
  drop_empty(traced)
end

-- -- chains -----------------------------------------------------------------------------------------------------------

--- The chain of steps that can be joined from `first` on, and the joined step: {conv=, norm=, relu=, residual_last=}
-- with, for a sum, the Residual `owner` and the value `residual`. Nil where nothing can be joined to `first`.
local function join(first, reader)
  local chain, step = { first }, {}
  local item = first.item
  local function take(part)
    chain[#chain + 1] = part
    return reader[part.output]
  end
  local following = reader[first.output]
  if is_joinable(first, conv.Conv2d) then
    step.conv = item
    if is_joinable(following, norm.BatchNorm) and rawget(item, "bias") == nil then
      step.norm = following.item
      following = take(following)
    end
  elseif is_joinable(first, norm.BatchNorm) then
    step.norm = item
  else
    return nil
  end
  local function take_sum()
    if not is_sum_after(following, chain[#chain].output) then return false end
    step.owner, step.residual = following.sum, following.residual
    following = take(following)
    return true
  end
  local summed = take_sum()
  if is_joinable(following, ReLU) then
    step.relu = true
    following = take(following)
    step.residual_last = not summed and take_sum() or nil
  end
  return #chain > 1 and chain or nil, step
end

--- The steps, joined where possible. A joined step takes the place of the last of its chain: there all that it reads,
-- such as a shortcut, has been made.
local function joined(traced)
  local reader, in_chain, joined_at = only_readers(traced), {}, {}
  for _, first in ipairs(traced.steps) do
    local chain, step
    if not in_chain[first] then chain, step = join(first, reader) end
    if chain then
      step.input, step.output, step.chain = first.input, chain[#chain].output, chain
      for _, part in ipairs(chain) do in_chain[part] = true end
      joined_at[chain[#chain]] = step
    end
  end
  local steps = {}
  for _, step in ipairs(traced.steps) do
    if joined_at[step] or not in_chain[step] then steps[#steps + 1] = joined_at[step] or step end
  end
  return steps
end

--- Numbers the values again, in the order in which the steps make them. Returns the new number of `output`.
local function renumber(steps, output)
  local number = { [1] = 1 }
  for i, step in ipairs(steps) do number[step.output] = i + 1 end
  for _, step in ipairs(steps) do
    step.input, step.residual, step.output = number[step.input], number[step.residual], number[step.output]
    for i, value in ipairs(step.inputs or {}) do step.inputs[i] = number[value] end
  end
  return number[output]
end

--- Sets step.frees: the values whose last reader it is and that nobody else can hold. The input and the output of the
-- whole are not freed, nor is what a module made or read that may keep a reference (module.keeps_nothing). Returns
-- whether one may keep the input and the output: {input=, output=}.
local function mark_last_uses(steps, output)
  local last, kept = {}, {}
  for _, step in ipairs(steps) do
    local keeps = step.item and (not keeps_nothing(step.item) or module.has_hook(step.item))
    local inner = step.segment and step.segment.holds
    kept[step.output] = keeps or (inner and inner.output)
    for _, value in ipairs(inputs_of(step)) do
      kept[value] = kept[value] or keeps or (inner and inner.input)
      last[value] = step
    end
  end
  local holds = { input = kept[1] or false, output = kept[output] or false }
  kept[1], kept[output] = true, true
  for value, step in pairs(last) do
    if not kept[value] then
      step.frees = step.frees or {}
      step.frees[#step.frees + 1] = value
    end
  end
  return holds
end

-- -- running ----------------------------------------------------------------------------------------------------------

--- What would bring a shortcut from shape `from` to shape `to`, as a user would type it.
local function advice(from, to)
  if #from ~= #to or #from < 2 or to[2] == 0 then return "" end
  if #from ~= 4 then return ("; add a projection: shortcut = nn.Linear(%d, %d)"):format(from[#from], to[#to]) end
  local stride = math.max(1, (from[2] + to[2] // 2) // to[2])
  for side = 2, 3 do
    if (from[side] + stride - 1) // stride ~= to[side] then return "; do the body's convolutions lack padding?" end
  end
  return ("; add a projection: shortcut = nn.Conv2d(%d, %d, 1, {stride=%d, bias=false})"):format(from[4], to[4], stride)
end

-- Raises unless an item, `who`, of a container has given a tensor.
local function check_tensor(owner, who, value)
  if core.is_tensor(value) then return end
  raise("%s: %s gave %s, wanted a tensor", getmetatable(owner).__name, who, option.shown(value))
end

--- Raises where the sum of a Residual does not fit. `conv_last`: the convolution of the same step, which `body` has yet
-- to go through.
local function check_sum(owner, body, shortcut, conv_last)
  check_tensor(owner, "the items", body)
  check_tensor(owner, "the shortcut", shortcut)
  local from, to = shortcut:shape(), body:shape()
  if conv_last then to = conv_last:output_shape(to) end
  if not to then return end -- the convolution says what is wrong
  local btext, stext = module.shape_text(to), module.shape_text(from)
  if btext == stext then return end
  raise("Residual: the body gives %s, the shortcut %s%s", btext, stext,
    rawget(owner, "shortcut") and "" or advice(from, to))
end

--- How several tensors become one.
local JOINS = {
  cat = function(list) return core.cat(list, -1) end,
  multiply = function(list)
    local product = list[1] * list[2]
    for i = 3, #list do product = product * list[i] end
    return product
  end,
  subtract = function(list) return list[1] - list[2] end,
}

local function join_values(step, list)
  for i = 1, #step.inputs do check_tensor(step.join, ("item %d"):format(i), list[i]) end
  return JOINS[step.how](list)
end

local run_steps

--- Does one step, which reads `x` and perhaps a residual, or a list of inputs.
local function do_step(step, x, residual)
  if step.item then return step.item(x) end
  if step.cut then return x:detach() end
  if step.segment then return replay.run(run_steps, step.segment, x, step.modules, step.segment.holds) end
  if step.join then return module.within(step.join, function() return join_values(step, x) end) end
  local owner = step.sum or step.owner
  if owner then module.within(owner, check_sum, x, residual, step.conv) end
  if step.sum then return x + residual end
  local layer = step.conv or step.norm
  return module.within(layer, step.conv and conv.run or norm.run, x, step, residual)
end
plan.do_step = do_step

function run_steps(self, x)
  local values, kept = { x }, module.has_keeper()
  for _, step in ipairs(self.steps) do
    local input = values[step.input]
    if step.inputs then
      input = {}
      for i, value in ipairs(step.inputs) do input[i] = values[value] end
    end
    values[step.output] = do_step(step, input, values[step.residual])
    if step.frees and not kept then
      for _, value in ipairs(step.frees) do
        values[value]:free()
        values[value] = nil
      end
    end
  end
  return values[self.output]
end

local Plan = {}
Plan.__index = Plan

--- The modules that these steps call, none joined.
local function modules_of(steps)
  local list = {}
  for _, step in ipairs(steps) do
    for _, m in ipairs(step.modules or { step.item }) do list[#list + 1] = m end
  end
  return list
end

--- The plan of what was traced for the container `self`.
local function finish(self, traced)
  gather_norms(traced)
  for _, step in ipairs(traced.steps) do
    if step.item and is_plain(step.item, conv.Conv2d) then traced:depends_on(step.item, "bias") end
    if step.segment then
      local inner = step.segment
      step.segment = finish(self, inner)
      step.modules = modules_of(inner.steps)
    end
  end
  local steps = joined(traced)
  local output = renumber(steps, traced.output)
  return setmetatable({
    self = self, steps = steps, output = output, raw = traced.raw, forward = traced.forward,
    holds = mark_last_uses(steps, output), hooks = module.hooks_version(),
  }, Plan)
end

--- The steps as they are now; what is watched is neither opened nor joined.
local function make(self)
  return finish(self, plan.trace(self, function(item)
    return plan.is_planned(item) and not module.is_apart(item)
  end, module.wants_layers() and module.has_keeper() and "whole" or "in segments"))
end

local function is_current(self)
  if self.hooks ~= module.hooks_version() then return false end
  local raw = self.raw
  for i = 1, raw.n, 3 do
    if rawget(raw[i], raw[i + 1]) ~= raw[i + 2] then return false end
  end
  for m, forward in next, self.forward do
    if m.forward ~= forward then return false end
  end
  return true
end

local plans = setmetatable({}, { __mode = "k" }) -- of containers

--- The plan of a container as it is now.
function plan.of(self)
  local own = plans[self]
  if not (own and is_current(own)) then
    own = make(self)
    plans[self] = own
  end
  return own
end

--- The forward of all containers that run by their plan.
function plan.forward(self, x)
  return run_steps(module.wants_layers() and make(self) or plan.of(self), x)
end

-- -- text -------------------------------------------------------------------------------------------------------------

--- What a step does, in words: "Conv2d BatchNorm + ReLU".
function plan.describe(step)
  if step.sum then return "+" end
  if step.join then return step.how end
  if step.segment then return "checkpoint" end
  if step.cut then return "cut" end
  if step.item then return step.item:describe() end
  local words = {}
  for i, part in ipairs(step.chain) do words[i] = part.sum and "+" or getmetatable(part.item).__name end
  return table.concat(words, " ")
end

--- The names of the layers that a step calls, in their order; the first and the last where backward calls them again.
function plan.layer_names(step, names)
  local list = {}
  for _, m in ipairs(modules_of(step.chain or { step })) do list[#list + 1] = names[m] end
  return step.segment and ("%s ... %s"):format(list[1], list[#list]) or table.concat(list, " ")
end

function Plan:__tostring()
  local names, rows = {}, { { "value", "layers", "what is done", "reads" }, "-" }
  for name, m in self.self:named_modules() do names[m] = name end
  for _, step in ipairs(self.steps) do
    rows[#rows + 1] = {
      tostring(step.output), plan.layer_names(step, names), plan.describe(step), table.concat(inputs_of(step), " "),
    }
  end
  return table_text(rows, { true, true, true, true })
end

return plan
