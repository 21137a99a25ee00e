--- Steps, as plan.trace has them, as modules: Sequential, Residual, Concat, Multiply and Subtract where they have that
-- form, else a Graph.
--
-- Seen from the output, a step of an item is the last of a chain. A step that joins values ends branches, which begin
-- at the nearest value that all of them come from; the form is theirs where no step is reached twice that way.

local container = require "texres.nn.container"
local Graph = require("texres.nn.graph").Graph
local Identity = require("texres.nn.shape").Identity
local ReLU = require("texres.nn.activation").ReLU

local DEEPEST = 64 -- containers in each other
local MOST_WORK = 1 << 24 -- in looking for where branches begin: a hostile file could make it take hours

local function inputs_of(step) return step.inputs or { step.input, step.residual } end

-- The steps that the output depends on.
local function needed(steps, output)
  local maker, wanted, kept = {}, { [output] = true }, {}
  for i = #steps, 1, -1 do
    local step = steps[i]
    maker[step.output] = step
    if wanted[step.output] then
      table.insert(kept, step)
      for _, value in ipairs(inputs_of(step)) do wanted[value] = true end
    end
  end
  for i = 1, #kept // 2 do kept[i], kept[#kept + 1 - i] = kept[#kept + 1 - i], kept[i] end
  return kept, maker
end

-- parent[value]: the nearest value that every way from the input to this one goes through; nil where that is too much
-- work.
local function parents(steps)
  local parent, depth, work = {}, { 0 }, 0
  local function common(a, b)
    while a ~= b do
      work = work + 1
      if work > MOST_WORK then return 1 end
      if depth[a] < depth[b] then a, b = b, a end
      a = parent[a]
    end
    return a
  end
  for _, step in ipairs(steps) do
    local inputs = inputs_of(step)
    local p = inputs[1]
    for i = 2, #inputs do p = common(p, inputs[i]) end
    parent[step.output], depth[step.output] = p, depth[p] + 1
  end
  return work <= MOST_WORK and parent or nil
end

local function named(step) return step.name and { [step.name] = step.item } or step.item end

local chain

-- A chain as one module; `list` is in order.
local function as_module(list)
  if #list == 0 then return Identity() end
  local first = list[1]
  if #list > 1 then return container.Sequential(list) end
  return getmetatable(first) == nil and select(2, next(first)) or first
end

local function residual(self, fork, step, activation, level)
  local body = chain(self, fork, step.input, level)
  local shortcut = body and chain(self, fork, step.residual, level)
  if not shortcut then return nil end
  if #shortcut > #body then body, shortcut = shortcut, body end
  if #body == 0 then body[1] = Identity() end
  if #shortcut > 0 then body.shortcut = as_module(shortcut) end
  body.activation = activation
  return container.Residual(body)
end

local JOINED = { cat = container.Concat, multiply = container.Multiply, subtract = container.Subtract }

local function branches(self, fork, step, level)
  local items = {}
  for i, value in ipairs(step.inputs) do
    local list = chain(self, fork, value, level)
    if not list then return nil end
    items[i] = as_module(list)
  end
  return JOINED[step.how](items)
end

-- The items that make value `to` of value `from`, in order; nil where they have no such form.
function chain(self, from, to, level)
  if level > DEEPEST then return nil end
  local list = {}
  while to ~= from do
    local step = self.maker[to]
    if self.used[step] then return nil end
    self.used[step] = true
    if step.item then
      list[#list + 1], to = named(step), step.input
    else
      local fork = self.parent[to]
      local activation = step.sum and getmetatable(list[#list]) == ReLU and table.remove(list) or nil
      local joined
      if step.sum then
        joined = residual(self, fork, step, activation, level + 1)
      else
        joined = branches(self, fork, step, level + 1)
      end
      if not joined then return nil end
      list[#list + 1], to = joined, fork
    end
  end
  for i = 1, #list // 2 do list[i], list[#list + 1 - i] = list[#list + 1 - i], list[i] end
  return list
end

local function as_graph(steps)
  local items, number = { steps = {} }, { 1 }
  for i, step in ipairs(steps) do
    number[step.output] = i + 1
    local values = {}
    for k, value in ipairs(inputs_of(step)) do values[k] = number[value] end
    if step.item then
      items[#items + 1] = named(step)
      items.steps[i] = { item = #items, value = values[1] }
    else
      items.steps[i] = { [step.sum and "sum" or step.how] = values }
    end
  end
  return Graph(items)
end

--- The module that the steps {item=, name=, input=, output=}, {sum=true, input=, residual=, output=} and {how="cat",
-- inputs=, output=} (or "multiply", "subtract") are, with value 1 as its input. `name` (optional) is that of an item.
return function(steps, output)
  local kept, maker = needed(steps, output)
  local parent = parents(kept)
  local list = parent and chain({ maker = maker, used = {}, parent = parent }, 1, output, 0)
  return list and container.Sequential(list) or as_graph(kept)
end
