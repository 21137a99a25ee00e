--- A container whose items are wired in any way, as data.

local container = require "texres.nn.container"
local module = require "texres.nn.module"
local option = require "texres.options"
local plan = require "texres.nn.plan"
local raise = require "texres.raise"
local Sequential = container.Sequential

--- Graph{ items..., steps = {...} }: what other containers have no form for, such as branches that cross.
--
-- Values are numbered: 1 is the input, step i makes value i + 1, and the last step makes the output. A step is one of
--
--     { item = 2, value = 1 }    the second item of what value 1 is
--     { sum = { 3, 1 } }         value 3 + value 1, of the same shape
--     { cat = { 2, 3 } }         values side by side along the channels
--     { multiply = { 2, 3 } }    the product of values, element by element
--     { subtract = { 2, 3 } }    value 2 - value 3
--
-- and reads only values that were made before. texres.onnx.import makes such containers.
local Graph = module.register("Graph", module.Module("Graph", Sequential))

local function is_value(value, made) return math.type(value) == "integer" and value >= 1 and value <= made end

local function are_values(list, made)
  return option.is_list(list, function(value) return is_value(value, made) end)
end

-- How values are joined, as the methods of a tracer are called: the fewest and the most of them.
local JOINS = { sum = { 2, 2 }, cat = { 1, math.huge }, multiply = { 2, math.huge }, subtract = { 2, 2 } }

--- How a step joins values, nil where it does not.
local function how_joined(step)
  for how in pairs(JOINS) do
    if step[how] ~= nil then return how end
  end
end

-- Whether `step` is one, where the values 1 to `made` are there.
local function is_step(step, items, made)
  if type(step) ~= "table" then return false end
  if step.item then return is_value(step.item, items) and is_value(step.value, made) end
  local how = how_joined(step)
  if not how or not are_values(step[how], made) then return false end
  local count, range = #step[how], JOINS[how]
  return count >= range[1] and count <= range[2]
end

function Graph:init(items)
  Sequential.init(self, items)
  if not rawget(self, "_steps") then raise "Graph: steps are missing: how the items are wired" end
end

function Graph:accept(key, value)
  if key ~= "steps" then return false end
  option.check("Graph", "steps", value, option.LIST)
  for i, step in ipairs(value) do
    if not is_step(step, #self._items, i) then
      raise("Graph: step %d is none of { item =, value = }, { sum = { a, b } }, { cat = {...} }, { multiply = {...} }, "
        .. "{ subtract = { a, b } } with numbers of items and of values made before", i)
    end
  end
  rawset(self, "_steps", value)
  return true
end

function Graph:trace(tracer, x)
  plan.check_tracer(tracer)
  local values = { x }
  local function named(list)
    local found = {}
    for i, value in ipairs(list) do found[i] = values[value] end
    return found
  end
  for i, step in ipairs(self._steps) do
    if step.item then
      values[i + 1] = tracer:item(self, self._items[step.item], values[step.value])
    else
      local how = how_joined(step)
      local joined = named(step[how])
      if how == "sum" then
        values[i + 1] = tracer:sum(self, joined[1], joined[2])
      else
        values[i + 1] = tracer[how](tracer, self, joined)
      end
    end
  end
  return values[#values]
end

function Graph:constructor_arguments()
  local arguments = Sequential.constructor_arguments(self)
  arguments[1].steps = self._steps
  return arguments
end

return { Graph = Graph, how_joined = how_joined }
