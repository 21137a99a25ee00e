--- What all optimizers share: parameter groups, state, zero_grad.
--
--     optim.Adam(net:parameters(), { lr = 1e-3 })       -- or the module itself
--     optim.SGD({ { params = trunk:parameters() }, { params = head:parameters(), lr = 0.1 } }, { lr = 0.01 })
--
-- `groups` is a list of tables with `params` and the options of that group; change optimizer.groups[1].lr at any time
-- (the next step checks it), or all of them with set_lr, which leaves groups frozen whose lr is 0. The state of
-- parameter number i (counted through all groups) is optimizer.state[i], a table of tensors and numbers, made at its
-- first step.

local core = require "texres.core"
local raise = require "texres.raise"
local option = require "texres.options"
local module = require "texres.nn.module"
local plain = require "texres.plain"
local strict = require "texres.strict"
local is_tensor, shape_text = core.is_tensor, module.shape_text

local PARAMS = option.kind("a list of parameters or of groups, or a module", "table")
local PARAMS_OF_GROUP = option.kind("a list of parameters", "table")
local GROUP = option.kind("{params = ..., lr = ...}", "table")

local Optimizer = strict.class("an optimizer", {}, { "_leader", "_verify" })

-- The groups a caller meant: a list of tensors, one group, or a list of groups.
local function as_groups(params, name)
  option.check(name, "params", params, PARAMS)
  if module.is_module(params) then return { { params = params:parameters() } } end
  if params.params then return { params } end
  if params[1] ~= nil and not is_tensor(params[1]) then
    option.list(name, "the groups", params)
    return params
  end
  return { { params = params } }
end

-- The parameters of a group, checked, in a list of our own: that of the caller may give others when it is read again.
local function take_params(given, name, seen)
  option.check(name, "params of a group", given, PARAMS_OF_GROUP)
  option.list(name, "the parameters", given)
  local params = table.move(given, 1, #given, 1, {})
  if #params == 0 then raise("%s: no parameters", name) end
  for i, p in ipairs(params) do
    option.check(name, "parameter " .. i, p, option.TENSOR)
    if p.dtype ~= "f32" and p.dtype ~= "f64" then
      raise("%s: parameter %d is %s, wanted f32 or f64", name, i, p.dtype)
    end
    if seen[p] then raise("%s: parameter %d is given twice", name, i) end
    if not p.is_leaf then
      raise("%s: parameter %d is what %s gave, which is computed anew each time: no step would train it", name, i,
        p.operation)
    end
    seen[p] = true
  end
  return params
end

local function make_group(group, params, options, known, name)
  local own = {}
  for key, value in pairs(options) do own[key] = value end
  for key, value in pairs(option.without(group, "params")) do own[key] = value end
  own = option.read(name, own, known)
  own.params = params
  return own
end

-- Takes each group's rate as a multiple of that of the first group that is not frozen.
local function take_rates(self)
  self._leader = nil
  for i, group in ipairs(self.groups) do
    option.check(self.name, ("groups[%d].lr"):format(i), group.lr, self._known.lr)
    if not self._leader and group.lr > 0 then self._leader = i end
  end
  local first = self.groups[self._leader or 1].lr
  for i, group in ipairs(self.groups) do
    self._scale[i], self._rate[i] = first > 0 and group.lr / first or 1, group.lr
  end
end

-- Rates that the user changed since they were made or set count as if they had been made so.
local function follow_rates(self)
  for i, group in ipairs(self.groups) do
    if group.lr ~= self._rate[i] then return take_rates(self) end
  end
end

--- Derives an optimizer. `known` says what its options may be (see texres.options); `step_group(group, rows)` does one
-- step of a group, rows being {parameter, state} pairs with a gradient; `verify(group)` may raise for options that
-- don't fit together.
local function derive(name, known, step_group, verify)
  return function(params, options)
    option.read(name, options, known)
    local self = {
      name = name, groups = {}, state = {}, _scale = {}, _rate = {}, _known = known, _verify = verify,
      _step_group = step_group,
    }
    local seen = {}
    for i, group in ipairs(as_groups(params, name)) do
      option.check(name, "group " .. i, group, GROUP)
      local made = make_group(group, take_params(group.params, name, seen), options or {}, known, name)
      if verify then verify(made) end
      table.insert(self.groups, made)
    end
    if #self.groups == 0 then raise("%s: no parameters", name) end
    take_rates(self)
    return setmetatable(self, Optimizer)
  end
end

-- Groups may have been changed since they were made.
local function check_groups(self)
  for i, group in ipairs(self.groups) do
    for name, wanted in pairs(self._known) do
      if wanted.accept(group[name]) == nil then
        option.check(self.name, ("groups[%d].%s"):format(i, name), group[name], wanted)
      end
    end
    if self._verify then self._verify(group) end
  end
end

-- State, counts and parameters of all groups move together: nothing is left in the middle by Ctrl-C.
local function step_groups(self)
  local index = 0
  for _, group in ipairs(self.groups) do
    local rows = {}
    for _, p in ipairs(group.params) do
      index = index + 1
      if p.grad then
        self.state[index] = self.state[index] or {}
        rows[#rows + 1] = { p, self.state[index] }
      end
    end
    if #rows > 0 then self._step_group(group, rows) end
  end
end

--- Changes every parameter that has a gradient.
function Optimizer:step()
  check_groups(self)
  core.process.whole(step_groups, self)
end

--- Lets all gradients go.
function Optimizer:zero_grad()
  for _, group in ipairs(self.groups) do
    for _, p in ipairs(group.params) do p.grad = nil end
  end
end

--- Forgets moments, velocities and step counts, as if no step had been made.
function Optimizer:reset() self.state = {} end

--- Sets the learning rate of the first group that is not frozen, made with lr = 0 or changed to it; the others keep
-- their ratio to it, so that frozen ones stay so. Where all were made with 0, all are set. set_lr(0) freezes none: the
-- next set_lr brings their rates back.
function Optimizer:set_lr(lr)
  option.check(self.name, "lr", lr, self._known.lr)
  follow_rates(self)
  for i, group in ipairs(self.groups) do
    group.lr = lr * self._scale[i]
    self._rate[i] = group.lr
  end
end

--- The learning rate of the first group that is not frozen.
function Optimizer:lr()
  follow_rates(self)
  return self.groups[self._leader or 1].lr
end

--- The learning rate of each group as a multiple of lr(): a list.
function Optimizer:lr_ratios()
  follow_rates(self)
  return table.move(self._scale, 1, #self._scale, 1, {})
end

--- All parameters, in order.
function Optimizer:parameters()
  local list = {}
  for _, group in ipairs(self.groups) do table.move(group.params, 1, #group.params, #list + 1, list) end
  return list
end

-- A copy of the state of all parameters, with tensors of its own.
local function copy_state(state)
  local copy = {}
  for i, entry in pairs(state) do
    copy[i] = {}
    for key, value in pairs(entry) do copy[i][key] = is_tensor(value) and value:clone() or value end
  end
  return copy
end

--- Everything needed to go on exactly: {name=, groups = list of options, state = {[i] = table of tensors and numbers}}.
-- The tensors are copies.
function Optimizer:state_dict()
  local groups = {}
  follow_rates(self)
  for i, group in ipairs(self.groups) do
    groups[i] = option.without(group, "params")
    groups[i].count, groups[i].ratio = #group.params, self._scale[i]
  end
  return { name = self.name, groups = groups, state = copy_state(self.state) }
end

local RATIO = option.number(nil, "[0, inf)")

-- Why a group's options are none of this optimizer; nil where they are.
local function group_misfit(self, i, saved)
  local group = self.groups[i]
  if type(saved) ~= "table" then return ("group %d is not a table"):format(i) end
  if saved.count ~= #group.params then
    return ("%d parameters in group %d here, %s in the state"):format(#group.params, i, tostring(saved.count))
  end
  if RATIO.accept(saved.ratio) == nil then
    return ("groups[%d].ratio is %s"):format(i, option.shown(saved.ratio))
  end
  for name, wanted in pairs(self._known) do
    if wanted.accept(saved[name]) == nil then
      return ("groups[%d].%s is %s, wanted %s"):format(i, name, option.shown(saved[name]), wanted.wanted)
    end
  end
end

-- Why what is kept of parameter number i can't be; nil where it can.
local function entry_misfit(i, p, entry)
  if not p or type(entry) ~= "table" then return ("there is no parameter %s"):format(tostring(i)) end
  for key, value in pairs(entry) do
    if is_tensor(value) then
      if shape_text(value:shape()) ~= shape_text(p:shape()) or value.dtype ~= p.dtype then
        return ("%s of parameter %d is %s %s in the state, %s %s here"):format(key, i, value.dtype,
          shape_text(value:shape()), p.dtype, shape_text(p:shape()))
      end
    elseif option.COUNT.accept(value) == nil then
      return ("%s of parameter %d is %s"):format(key, i, option.shown(value))
    end
  end
end

--- Why load_state_dict would not take a state; nil where it would.
function Optimizer:misfit(saved)
  if type(saved) ~= "table" or type(saved.groups) ~= "table" or type(saved.state) ~= "table" then
    return "not the state of an optimizer"
  end
  if saved.name ~= self.name then return ("the state is that of %s"):format(tostring(saved.name)) end
  if #saved.groups ~= #self.groups then
    return ("%d parameter groups here, %d in the state"):format(#self.groups, #saved.groups)
  end
  for i in ipairs(self.groups) do
    local problem = group_misfit(self, i, saved.groups[i])
    if problem then return problem end
  end
  local params = self:parameters()
  for i, entry in pairs(saved.state) do
    local problem = entry_misfit(i, params[i], entry)
    if problem then return problem end
  end
end

--- Goes on from a state_dict, also one of another process. Returns self.
function Optimizer:load_state_dict(saved)
  local problem = self:misfit(saved)
  if problem then raise("%s: load_state_dict: %s", self.name, problem) end
  self._leader = nil
  for i, group in ipairs(self.groups) do
    for name in pairs(self._known) do group[name] = saved.groups[i][name] end
    self._scale[i], self._rate[i] = saved.groups[i].ratio, group.lr
    if not self._leader and self._scale[i] > 0 then self._leader = i end
  end
  self.state = copy_state(saved.state)
  return self
end

--- Splits rows {parameter, state} by what key(state) says, so that parameters that saw fewer steps (no gradient at
-- times) get a call of their own: fn(value, parameters, states) for each value.
local function by(rows, key, fn)
  local order, lists = {}, {}
  for _, row in ipairs(rows) do
    local value = key(row[2])
    if not lists[value] then
      lists[value] = { {}, {} }
      order[#order + 1] = value
    end
    table.insert(lists[value][1], row[1])
    table.insert(lists[value][2], row[2])
  end
  for _, value in ipairs(order) do fn(value, lists[value][1], lists[value][2]) end
end

-- The entries `key` of a list of states, made like the parameters where missing.
local function buffers(parameters, states, key)
  local list = {}
  for i, state in ipairs(states) do
    state[key] = state[key] or core.zeros_like(parameters[i]:detach())
    list[i] = state[key]
  end
  return list
end

-- -- for people -------------------------------------------------------------------------------------------------------

local function group_text(group)
  local numbers = 0
  for _, p in ipairs(group.params) do numbers = numbers + p:numel() end
  return ("%d parameter%s (%s numbers), %s"):format(#group.params, #group.params == 1 and "" or "s",
    plain.grouped(numbers), option.listed(option.without(group, "params"), "lr"))
end

--- What it trains and its options, a line for each of several groups.
function Optimizer:__tostring()
  if #self.groups == 1 then return ("%s of %s"):format(self.name, group_text(self.groups[1])) end
  local lines = { ("%s of %d groups"):format(self.name, #self.groups) }
  for i, group in ipairs(self.groups) do lines[#lines + 1] = ("  %d  %s"):format(i, group_text(group)) end
  return table.concat(lines, "\n")
end

local function is(value) return getmetatable(value) == Optimizer end

-- Of rates and decays: beyond it f32 has no room for what they are multiplied with, and parameters become NaN.
local RATE = "[0, 1e30]"

return { derive = derive, by = by, buffers = buffers, is = is, RATE = RATE }
