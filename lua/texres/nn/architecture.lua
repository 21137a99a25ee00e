--- How a module is built, as data: module:config() and nn.from_config(data).
--
--     { module = "Sequential", arguments = { ["1"] = { ["1"] = { module = "Linear", ... }, ... } },
--       tied = { ["3"] = "1" } }
--
-- A module is described by its registered name and the arguments of its constructor. `tied` says which modules and
-- tensors stand again in another place, under which name there and under which first.

local core = require "texres.core"
local initialize = require "texres.nn.initialize"
local module = require "texres.nn.module"
local protect = require "texres.protect"
local raise = require "texres.raise"
local state = require "texres.nn.state"
local Module, is_module = module.Module, module.is_module

local architecture = {}

local registry = module.registry

-- -- a module as data -------------------------------------------------------------------------------------------------

-- Why a module cannot be told by name and arguments; nil when it can.
local function obstacle(m)
  local name, class = getmetatable(m).__name, getmetatable(m)
  if rawget(m, "_fn") then return "a plain function (Lambda) cannot be written; make it a module class" end
  if rawget(m, "forward") then return ("%s has a forward of its own; make it a module class"):format(name) end
  local known = registry[name]
  if not known then return ("%s is not registered; see nn.register"):format(name) end
  if type(known) == "table" and known ~= class then
    return ("%s is not registered; nn.register has another class of that name"):format(name)
  end
end

-- Not m.config: that may be a user's data.
local function has_own_config(m) return getmetatable(m).config ~= Module.config end

local MOST = 1 << 16 -- modules of one description, one that stands in several places counted in each

local to_data

-- Name and arguments of m; what stands in the way is added to the list `problems`, with the place `at`. It counts the
-- modules: containers that stand again and again in others, which do so too, would be described for ever.
local function outline(m, at, problems)
  if #problems > 0 then return nil end
  problems.modules = (problems.modules or 0) + 1
  if problems.modules > MOST then
    problems[1] = ("there are more than %d modules to describe"):format(MOST)
    return nil
  end
  local problem = obstacle(m)
  if problem then
    problems[#problems + 1] = at .. problem
    return nil
  end
  local name, arguments = getmetatable(m).__name, module.constructor_arguments(m)
  local data = { module = name, arguments = {} }
  for i = 1, arguments.n do data.arguments[tostring(i)] = to_data(arguments[i], at, name, problems) end
  return data
end

-- Plain data for an argument of the constructor `name`; modules become their outline.
function to_data(value, at, name, problems)
  if is_module(value) and has_own_config(value) then return value:config() end
  if is_module(value) then return outline(value, at .. name .. ": ", problems) end
  if type(value) == "table" and getmetatable(value) == nil then
    local data = {}
    for k, v in pairs(value) do data[tostring(k)] = to_data(v, at, name, problems) end
    return data
  end
  local kind = type(value)
  if kind == "nil" or kind == "boolean" or kind == "number" or kind == "string" then return value end
  problems[#problems + 1] = ("%s%s cannot be described as data, an argument of its constructor is a %s"):format(at,
    name, core.is_tensor(value) and "tensor" or kind)
end

-- The description of a module by Module.config; nil and why there can be none.
local function describe(m)
  local problems = {}
  local data = outline(m, "", problems)
  if #problems > 0 then return nil, problems[1] end
  data.tied = module.aliases(m)
  return data
end

--- How to make this module again, as plain data. Raises for modules whose class has no registered name, or whose
-- constructor took functions or tensors.
function Module:config()
  local data, problem = describe(self)
  if not data then raise("config: %s", problem) end
  return data
end

-- -- data as a module -------------------------------------------------------------------------------------------------

-- The reverse of to_data. Keys "1", "2", ... become numbers again.
local function from_data(data)
  if type(data) ~= "table" then return data end
  if data.module then return Module.from_config(data) end
  local value = {}
  for k, v in pairs(data) do value[math.tointeger(tonumber(k)) or k] = from_data(v) end
  return value
end

local function are_alike(a, b)
  if is_module(a) then return getmetatable(a) == getmetatable(b) end
  return core.is_tensor(b) and module.shape_text(a:shape()) == module.shape_text(b:shape())
end

-- Puts what stands first under the name `first` where `name` is, too.
local function tie(model, tied)
  local places = { [""] = { value = model } }
  local function note(name, value, _, key, t) places[name] = { t = t, key = key, value = value } end
  module.walk(model, note, note)
  if type(tied) ~= "table" then raise "from_config: what is tied is no table" end
  for name, first in pairs(tied) do
    local place, other = places[name], places[first]
    if not place or not other then
      raise("from_config: %s and %s are said to be one, but there is no %s", tostring(name), tostring(first),
        tostring(place and first or name))
    end
    if place.value ~= other.value then
      if not are_alike(place.value, other.value) then
        raise("from_config: %s and %s are said to be one, but are not of one kind", name, first)
      end
      place.t[place.key] = other.value
    end
  end
end

--- For descriptions of before `tied` was kept: ties what `tensors` lack to the only tensor there that has the same key
-- and shape.
function architecture.tie_missing(model, tensors)
  local shapes, places = {}, {}
  local function note(name, value, _, key, t)
    if core.is_tensor(value) then
      places[#places + 1] = { name = name, t = t, key = key, kind = tostring(key) .. module.shape_text(value:shape()) }
    end
  end
  module.walk(model, note)
  for _, place in ipairs(places) do
    if tensors[place.name] then shapes[place.kind] = shapes[place.kind] == nil and place end
  end
  for _, place in ipairs(places) do
    local twin = shapes[place.kind]
    if twin and not tensors[place.name] then place.t[place.key] = twin.t[twin.key] end
  end
end

--- Builds a module from what config() gave.
function Module.from_config(data)
  if type(data) ~= "table" or type(data.module) ~= "string" then
    raise "from_config: not the description of a module"
  end
  local constructor = registry[data.module]
  if not constructor then raise("from_config: no module is registered as %s; see nn.register", data.module) end
  local arguments, n, given = {}, 0, data.arguments or {}
  if type(given) ~= "table" then raise("from_config: the arguments of %s are no table", data.module) end
  for k, v in pairs(given) do
    local i = math.tointeger(tonumber(k))
    if not i or i < 1 or i > 64 then raise("from_config: bad argument of %s", data.module) end
    arguments[i] = from_data(v)
    n = math.max(n, i)
  end
  local model = constructor(table.unpack(arguments, 1, n))
  if data.tied ~= nil then tie(model, data.tied) end
  return model
end

-- How twin, which was built from m's description, differs from m; nil when it doesn't.
local function difference(m, twin)
  if #m:modules() ~= #twin:modules() then return "modules were added or taken away after it was made" end
  local others, tied = {}, module.aliases(twin)
  for name, other in twin:named_modules() do others[name] = other end
  for name, own in m:named_modules() do
    local other = others[state.first_name(name, tied)]
    local class = getmetatable(own)
    if not other or getmetatable(other) ~= class or (class._forward and own:describe() ~= other:describe()) then
      return ("%s is %s now, built anew it is %s"):format(name, own:describe(), other and other:describe() or "missing")
    end
    if rawget(own, "forward") and not rawget(other, "forward") then return name .. " has a forward of its own" end
  end
  local fits, problem = state.fit(twin, m:state_dict())
  return not fits and problem or nil
end

--- Calls f(...), which builds modules to be filled: nothing is drawn for them, and random numbers that come later are
-- not affected.
function architecture.undrawn(f, ...)
  local seed, stream = core.rng_state()
  return protect.finally(function() core.rng_state(seed, stream) end, initialize._undrawn, f, ...)
end

--- Builds a module to be filled.
function architecture.build(data) return architecture.undrawn(Module.from_config, data) end

--- What makes m again: its description, tried; nil and why there is none, to be told to whoever saves it.
function architecture.tried(m)
  local data, problem
  if has_own_config(m) then data = m:config() else data, problem = describe(m) end
  if not data then return nil, problem end
  local twin, failure = protect.catch(architecture.build, data)
  if not twin then return nil, "building it from its arguments fails: " .. failure end
  problem = difference(m, twin)
  if problem then return nil, ("%s was changed after it was made: %s"):format(getmetatable(m).__name, problem) end
  return data
end

return architecture
