--- What a container does, as a list of steps that is made once.
--
-- A plan follows the input of a container to its output, into the containers inside. Values are numbered as they are
-- made, the input is 1; a step reads some and gives one:
--
--     net = nn.Sequential { nn.Conv2d(1, 8, 3, { bias = false }), nn.BatchNorm(8), nn.ReLU(), nn.GlobalAvgPool() }
--
--     print(net:plan())      value  layers  what is done            reads
--                            -------------------------------------------
--                            2      1 2 3   Conv2d BatchNorm ReLU   1
--                            3      4       GlobalAvgPool           2
--
-- A convolution or a batch norm, and what only it is followed by - batch norm, the sum of a Residual, ReLU - are one
-- step, with fewer passes over memory. What lies between two steps is given back as soon as it was used, not when the
-- collector comes: a network's activations are most of its memory.
--
-- A plan holds for as long as the containers have the same items and these run the library's forward; else it is made
-- anew at the next call. A container says what it does by its method trace(tracer, x), which returns the value that it
-- gives: see texres.nn.container. What fuse() folds and what is written to ONNX is read off the same steps.

local core = require "texres.core"
local conv = require "texres.nn.conv"
local module = require "texres.nn.module"
local norm = require "texres.nn.norm"
local raise = require "texres.raise"
local table_text = require "texres.nn.table_text"
local Identity = require("texres.nn.shape").Identity
local ReLU = require("texres.nn.activation").ReLU
local is_plain, keeps_nothing = module.is_plain, module.keeps_nothing

local plan = {}

-- -- tracing ----------------------------------------------------------------------------------------------------------
--
-- Steps before any are joined: {item=, input=, owner=, key=} calls the module owner[key]; {sum=, input=, residual=}
-- adds for the Residual `sum`; {cat=, inputs=} joins along the channels for the Concat `cat`. All have `output`.

local Tracer = {}
Tracer.__index = Tracer

local function add(self, step)
  self.values = self.values + 1
  step.output = self.values
  self.steps[#self.steps + 1] = step
  return step.output
end

--- Says that the plan is good only while rawget(t, key) is what it is now.
function Tracer:depends_on(t, key)
  local raw = self.raw
  local n = raw.n
  raw[n + 1], raw[n + 2], raw[n + 3], raw.n = t, key, rawget(t, key), n + 3
end

--- What is done to value x by the module at owner[key].
function Tracer:item(owner, key, x)
  local item = rawget(owner, key)
  if item == nil then
    raise("%s: item %s was taken away; put nn.Identity() in its place", getmetatable(owner).__name, tostring(key))
  elseif type(item) ~= "table" then
    raise("%s: item %s is a %s, wanted a module", getmetatable(owner).__name, tostring(key), type(item))
  end
  self:depends_on(owner, key)
  self.forward[item] = item.forward
  if is_plain(item, Identity) then return x end
  if self.is_open(item) then return self:container(item, x) end
  return add(self, { item = item, input = x, owner = owner, key = key })
end

--- What is done to value x by a container.
function Tracer:container(m, x)
  if self.inside[m] then raise("%s contains itself", getmetatable(m).__name) end
  self.inside[m] = true
  x = m:trace(self, x)
  self.inside[m] = nil
  return x
end

--- x + residual, for an owner whose items gave x.
function Tracer:sum(owner, x, residual) return add(self, { sum = owner, input = x, residual = residual }) end

--- Several values side by side, along the last dimension.
function Tracer:cat(owner, inputs) return add(self, { cat = owner, inputs = inputs }) end

--- The steps of a container, none joined. `is_open(item)` says of an item whether its own steps stand in its place.
function plan.trace(self, is_open)
  local tracer = setmetatable({
    steps = {}, values = 1, inside = {}, is_open = is_open, raw = { n = 0 }, forward = { [self] = self.forward },
  }, Tracer)
  tracer.output = tracer:container(self, 1)
  return tracer
end

--- Whether a module is a container that runs by its plan.
function plan.is_planned(m) return type(m.trace) == "function" and m.forward == plan.forward end

-- -- joining ----------------------------------------------------------------------------------------------------------

local function inputs_of(step) return step.inputs or { step.input, step.residual } end

--- The step that is the only one to read a value; nil where there are several, or none.
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

--- The steps that are done in one with `first`, itself included, and how: {conv=, norm=, relu=, residual_last=}, of the
-- sum also `owner` and `residual`. Nil where there is only one.
local function join(first, reader)
  local chain, how = { first }, {}
  local item = first.item
  local function take(step)
    chain[#chain + 1] = step
    return reader[step.output]
  end
  local following = reader[first.output]
  if is_plain(item, conv.Conv2d) then
    how.conv = item
    if following and is_plain(following.item, norm.BatchNorm) and rawget(item, "bias") == nil then
      how.norm = following.item
      following = take(following)
    end
  elseif is_plain(item, norm.BatchNorm) then
    how.norm = item
  else
    return nil
  end
  local function take_sum()
    if not is_sum_after(following, chain[#chain].output) then return false end
    how.owner, how.residual = following.sum, following.residual
    following = take(following)
    return true
  end
  local summed = take_sum()
  if following and is_plain(following.item, ReLU) then
    how.relu = true
    following = take(following)
    how.residual_last = not summed and take_sum() or nil
  end
  return #chain > 1 and chain or nil, how
end

--- The steps with all joined that can be: at the place of the last of them, where all that they read is there.
local function joined(traced)
  local reader, done, at = only_readers(traced), {}, {}
  for _, step in ipairs(traced.steps) do
    local chain, how
    if not done[step] then chain, how = join(step, reader) end
    if chain then
      how.input, how.output, how.chain = step.input, chain[#chain].output, chain
      for _, part in ipairs(chain) do done[part] = true end
      at[chain[#chain]] = how
    end
  end
  local steps = {}
  for _, step in ipairs(traced.steps) do
    if at[step] or not done[step] then steps[#steps + 1] = at[step] or step end
  end
  return steps
end

--- Numbers the values as they are made. Returns the number of what was number `output`.
local function number_anew(steps, output)
  local number = { [1] = 1 }
  for i, step in ipairs(steps) do number[step.output] = i + 1 end
  for _, step in ipairs(steps) do
    step.input, step.residual, step.output = number[step.input], number[step.residual], number[step.output]
    for i, value in ipairs(step.inputs or {}) do step.inputs[i] = number[value] end
  end
  return number[output]
end

--- Says at which step which values can be given back: those that only steps made and read which keep nothing.
local function mark_last_uses(steps, output)
  local last, kept = {}, { [1] = true, [output] = true }
  for _, step in ipairs(steps) do
    local keeps = step.item and not keeps_nothing(step.item)
    if keeps then kept[step.output] = true end
    for _, value in ipairs(inputs_of(step)) do
      kept[value] = kept[value] or keeps
      last[value] = step
    end
  end
  for value, step in pairs(last) do
    if not kept[value] then
      step.frees = step.frees or {}
      step.frees[#step.frees + 1] = value
    end
  end
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

--- Raises where the sum of a Residual does not fit. `leads_to`: the convolution that body goes through before the sum.
local function check_sum(owner, body, aside, leads_to)
  for _, value in ipairs { body, aside } do
    if not core.is_tensor(value) then raise("Residual: the items gave %s, wanted a tensor", type(value)) end
  end
  local from, to = aside:shape(), body:shape()
  if leads_to then to = leads_to:output_shape(to) end
  if not to then return end -- the convolution says what is wrong
  local btext, stext = module.shape_text(to), module.shape_text(from)
  if btext == stext then return end
  raise("Residual: the body gives %s, the shortcut %s%s", btext, stext,
    rawget(owner, "shortcut") and "" or advice(from, to))
end

local function join_channels(_, list) return core.cat(list, -1) end

--- Does one step, which reads `x` and perhaps a residual, or a list of inputs.
local function do_step(step, x, residual)
  if step.item then return step.item(x) end
  if step.cat then return module.within(step.cat, join_channels, x) end
  local owner = step.sum or step.owner
  if owner then module.within(owner, check_sum, x, residual, step.conv) end
  if step.sum then return x + residual end
  local layer = step.conv or step.norm
  return module.within(layer, step.conv and conv.run or norm.run, x, step, residual)
end
plan.do_step = do_step

local function run_steps(self, x)
  local values, heard = { x }, module.is_heard()
  for _, step in ipairs(self.steps) do
    local input = values[step.input]
    if step.inputs then
      input = {}
      for i, value in ipairs(step.inputs) do input[i] = values[value] end
    end
    values[step.output] = do_step(step, input, values[step.residual])
    if step.frees and not heard then -- else who watches may look at it later
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

--- Every module by itself, for those who watch.
local function make_apart(self)
  local traced = plan.trace(self, function() return false end)
  return { steps = traced.steps, output = traced.output }
end

local function make(self)
  local traced = plan.trace(self, plan.is_planned)
  for _, step in ipairs(traced.steps) do
    if step.item and is_plain(step.item, conv.Conv2d) then traced:depends_on(step.item, "bias") end
  end
  local steps = joined(traced)
  local output = number_anew(steps, traced.output)
  mark_last_uses(steps, output)
  return setmetatable({
    self = self, steps = steps, output = output, raw = traced.raw, forward = traced.forward,
  }, Plan)
end

local function still_holds(self)
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
  if not (own and still_holds(own)) then
    own = make(self)
    plans[self] = own
  end
  return own
end

--- The forward of all containers that run by their plan.
function plan.forward(self, x)
  return run_steps(module.is_watched() and make_apart(self) or plan.of(self), x)
end

-- -- text -------------------------------------------------------------------------------------------------------------

--- What a step does, in words: "Conv2d BatchNorm + ReLU".
function plan.describe(step)
  if step.sum then return "+" end
  if step.cat then return "cat" end
  if step.item then return step.item:describe() end
  local words = {}
  for i, part in ipairs(step.chain) do words[i] = part.sum and "+" or getmetatable(part.item).__name end
  return table.concat(words, " ")
end

--- The names of the layers that a step calls, in their order.
function plan.layer_names(step, names)
  local list = {}
  for _, part in ipairs(step.chain or { step }) do
    if part.item then list[#list + 1] = names[part.item] end
  end
  return table.concat(list, " ")
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
