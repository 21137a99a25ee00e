--- What a module is: parameters, buffers and submodules under one roof, called like a function.
--
-- A module is a Lua table with `forward`. There are two ways to write your own:
--
--     local net = nn.Module {                          -- one object
--       conv = nn.Conv2d(1, 8, 3), head = nn.Linear(8, 6),
--       forward = function(self, x) return self.head(F.global_avg_pool(self.conv(x))) end,
--     }
--
--     local Net = nn.Module "Net"                      -- a class: Net(8) makes an object
--     function Net:init(width) self.conv = nn.Conv2d(1, width, 3); self.scale = nn.Parameter(tr.ones(width)) end
--     function Net:forward(x) return self.conv(x) * self.scale end
--
-- Modules and tensors among the attributes, and in plain Lua tables among the attributes, are found automatically. A
-- tensor that required a gradient when it was assigned (nn.Parameter) is a parameter, also after it was frozen; any
-- other tensor is a buffer. Attributes whose names begin with an underscore are private and not searched.
--
-- Order: as assigned. The attributes that a table has when it becomes a module, and those of plain tables, come as
-- 1, 2, ... and then sorted by name. Names join the keys with dots: "stage2.1.conv1.weight".

local core = require "texres.core"
local plain = require "texres.plain"
local raise = require "texres.raise"

local Module = { __name = "Module", _module = true }

local is_tensor, running_coroutine = core.is_tensor, coroutine.running

local function is_module(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and rawget(meta, "_module") == true
end

-- Whether m is of just this class, with nothing of its own in the place of forward.
local function is_plain(m, class)
  return m ~= nil and getmetatable(m) == class and rawget(m, "forward") == nil
end

-- Whether m surely returns another tensor than its input, and keeps no reference to that: then a container may give
-- the input's memory back at once. Classes say so by `keeps_nothing`, true or a function of the object; derived
-- classes and objects with a forward of their own are not trusted.
local function keeps_nothing(m)
  if rawget(m, "forward") then return false end
  local says = rawget(getmetatable(m), "keeps_nothing")
  if type(says) == "function" then return says(m) end
  return says == true
end

local function is_private(key)
  return type(key) == "string" and key:byte() == 95 -- "_"
end

local element_bytes = { u8 = 1, i64 = 8, f32 = 4, f64 = 8 }

--- The bytes that a tensor's elements take.
local function tensor_bytes(t) return t:numel() * element_bytes[t.dtype] end

--- A shape as a user types it: "{8,64,64,3}".
local function shape_text(shape)
  return "{" .. table.concat(shape, ",") .. "}"
end

-- Attributes ---------------------------------------------------------------------------------------------------------

-- 1, 2, ..., then the other string keys sorted.
local function sorted_keys(t)
  local keys, names = {}, {}
  for i = 1, #t do keys[i] = i end
  for key in pairs(t) do
    if type(key) == "string" then names[#names + 1] = key end
  end
  plain.sort(names)
  return table.move(names, 1, #names, #keys + 1, keys)
end

-- Notes where a new attribute stands in the order, and whether it is a parameter.
local function enrol(self, key, value)
  if not self._known[key] then
    self._known[key] = true
    table.insert(self._order, key)
  end
  if is_tensor(value) then self._is_parameter[key] = value.requires_grad or nil end
end

-- The private attributes that every module has.
local function prepare(self)
  rawset(self, "_order", {})
  rawset(self, "_known", {})
  rawset(self, "_is_parameter", {})
  rawset(self, "training", true)
  return self
end

-- Calls visit(name, value, owner, key) for every tensor and module below `self`, each once, parents first.
local function walk(self, visit)
  local seen = {}
  local visit_table
  local function visit_value(name, value, owner, key)
    if is_tensor(value) then
      if not seen[value] then
        seen[value] = true
        visit(name, value, owner, key)
      end
    elseif type(value) == "table" and not seen[value] then
      if is_module(value) then
        seen[value] = true
        visit(name, value, owner, key)
        visit_table(value, value._order, name .. ".", value)
      elseif getmetatable(value) == nil then
        seen[value] = true
        visit_table(value, sorted_keys(value), name .. ".", nil)
      end
    end
  end
  function visit_table(t, keys, prefix, owner)
    for _, key in ipairs(keys) do
      if not is_private(key) then visit_value(prefix .. key, t[key], owner, key) end
    end
  end
  seen[self] = true
  visit_table(self, self._order, "", self)
end

-- Calling ------------------------------------------------------------------------------------------------------------
--
-- No list of running calls is kept: where an error happened is read off the Lua stack, which is right whatever was
-- caught, resumed or given up in between. Every call of a module stands there as a frame of `call`.

local call
local watcher -- function(module, seconds, inputs, outputs) or nil: see watch
local guarded = setmetatable({}, { __mode = "k" }) -- the coroutines in which a message handler is in place
local max_levels = 1000 -- of the stack that are looked at: an endless recursion fills it

-- The modules that run in this coroutine, from the outermost to the innermost.
local function running_modules()
  local list = {}
  for level = 2, max_levels do
    local info = debug.getinfo(level, "f")
    if not info then break end
    if info.func == call then
      local _, self = debug.getlocal(level, 1)
      table.insert(list, 1, self)
    end
  end
  return list
end

-- "resnet18.stage2[1].conv1" for these modules.
local function location(modules)
  local parts = { rawget(modules[1], "name") or getmetatable(modules[1]).__name }
  for i = 2, #modules do
    local found
    walk(modules[i - 1], function(name, value)
      if value == modules[i] then found = found or name end
    end)
    for key in (found or ""):gmatch "[^.]+" do
      parts[#parts + 1] = key:find "^%d+$" and "[" .. key .. "]" or "." .. key
    end
  end
  return table.concat(parts)
end

local function locate(message)
  if type(message) ~= "string" then return message end
  return raise.relocate(message, "in " .. location(running_modules()) .. ": ")
end

local function report(self, started, inputs, ...)
  watcher(self, core.clock() - started, inputs, table.pack(...))
  return ...
end

local function run(self, ...)
  if not watcher then return self:forward(...) end
  return report(self, core.clock(), table.pack(...), self:forward(...))
end

local function leave(coroutine, ok, ...)
  guarded[coroutine] = nil
  if not ok then error((...), 0) end
  return ...
end

-- Only so that `call` stays on the stack: Lua drops the frame of a function that ends in a call.
local function hand_back(...) return ... end

-- The message handler does its work before the stack is unwound, so only the outermost call of a coroutine needs one.
function call(self, ...)
  local coroutine = running_coroutine()
  if guarded[coroutine] then return hand_back(run(self, ...)) end
  guarded[coroutine] = true
  return leave(coroutine, xpcall(run, locate, self, ...))
end

--- Runs body() while fn(module, seconds, inputs, outputs) hears of every module call that ends (children first).
local function watch(fn, body)
  local outer = watcher
  watcher = fn
  local results = table.pack(pcall(body))
  watcher = outer
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- Whether someone watches: then every module is to be called by itself.
local function is_watched() return watcher ~= nil end

-- Construction -------------------------------------------------------------------------------------------------------

local function enrol_new(self, key, value)
  rawset(self, key, value)
  if not is_private(key) then enrol(self, key, value) end
end

local function construct(class, ...)
  local self = setmetatable(prepare {}, class)
  rawset(self, "_arguments", table.pack(...))
  self:init(...)
  return self
end

--- A new class: class(...) makes an object and hands the arguments to its `init`.
local function new_class(name, base)
  local class = { __name = name, _module = true, __call = call, __newindex = enrol_new, __tostring = base.__tostring,
    __len = base.__len }
  class.__index = class
  return setmetatable(class, { __index = base, __call = construct, __name = "class " .. name })
end

--- Makes the table itself a module; a table that is a module already is handed back.
local function adopt(t)
  if is_module(t) then return t end
  if type(t) ~= "table" or type(t.forward) ~= "function" then
    raise("nn.Module: expected a table with a function `forward`, or a name for a new class, got %s", type(t))
  end
  if getmetatable(t) ~= nil then
    raise "nn.Module: the table has a metatable of its own; make a class with nn.Module \"Name\" instead"
  end
  local keys = sorted_keys(t)
  prepare(t)
  for _, key in ipairs(keys) do
    if not is_private(key) then enrol(t, key, t[key]) end
  end
  return setmetatable(t, Module)
end

--- nn.Module "Name" or nn.Module("Name", Base): a new class. nn.Module{forward = ..., ...}: a module from a table.
local function make(_, what, base)
  if type(what) == "string" then return new_class(what, base or Module) end
  return adopt(what)
end

Module.__index = Module
Module.__call = call
Module.__newindex = enrol_new
setmetatable(Module, { __call = make, __name = "class Module" })

--- Called by the constructor with its arguments; the default does nothing.
function Module:init() end -- luacheck: no unused args

--- Marks a tensor as a parameter: sets requires_grad and returns it.
local function parameter(t)
  if not is_tensor(t) then raise("nn.Parameter: expected a tensor, got %s", type(t)) end
  t.requires_grad = true
  return t
end

-- Looking inside -----------------------------------------------------------------------------------------------------

-- Entries {name, value} of one kind, in order.
local function collect(self, kind)
  local list = {}
  walk(self, function(name, value, owner, key)
    local found
    if is_module(value) then
      found = "module"
    elseif value.requires_grad or (owner and owner._is_parameter[key]) then
      found = "parameter"
    else
      found = "buffer"
    end
    if found == kind then list[#list + 1] = { name, value } end
  end)
  return list
end

local function values(entries)
  for i, entry in ipairs(entries) do entries[i] = entry[2] end
  return entries
end

local function each(entries)
  local i = 0
  return function()
    i = i + 1
    if entries[i] then return entries[i][1], entries[i][2] end
  end
end

--- A list of all parameters, each once.
function Module:parameters() return values(collect(self, "parameter")) end

--- `for name, tensor in net:named_parameters() do`
function Module:named_parameters() return each(collect(self, "parameter")) end

--- A list of all buffers: tensors that belong to the state but are not trained, such as running means.
function Module:buffers() return values(collect(self, "buffer")) end

--- `for name, tensor in net:named_buffers() do`
function Module:named_buffers() return each(collect(self, "buffer")) end

--- A list of this module and all modules below it, parents first.
function Module:modules()
  local list = values(collect(self, "module"))
  table.insert(list, 1, self)
  return list
end

--- `for name, module in net:named_modules() do`; the module itself comes first, with the name "".
function Module:named_modules()
  local entries = collect(self, "module")
  table.insert(entries, 1, { "", self })
  return each(entries)
end

--- The modules directly below this one, as entries {name, module}.
function Module:children()
  local list = {}
  local inside = {} -- modules that stand below a child already listed
  walk(self, function(name, value)
    if is_module(value) and not inside[value] then
      list[#list + 1] = { name, value }
      for _, m in ipairs(value:modules()) do inside[m] = true end
    end
  end)
  return list
end

--- The number of elements of all parameters.
function Module:num_parameters()
  local count = 0
  for _, p in ipairs(self:parameters()) do count = count + p:numel() end
  return count
end

-- Changing all of it -------------------------------------------------------------------------------------------------

--- Calls fn(module) for every module, children before parents. Returns self.
function Module:apply(fn)
  local modules = self:modules()
  for i = #modules, 1, -1 do fn(modules[i]) end
  return self
end

--- Training mode on (default) or off, for batch norm and dropout. Returns self.
function Module:train(on)
  for _, m in ipairs(self:modules()) do rawset(m, "training", on ~= false) end
  return self
end

--- Evaluation mode: batch norm uses running statistics, dropout does nothing. Returns self.
function Module:eval() return self:train(false) end

--- Lets the gradients of all parameters go. Returns self.
function Module:zero_grad()
  for _, p in ipairs(self:parameters()) do p.grad = nil end
  return self
end

--- Converts parameters and buffers of a float dtype to `dtype` ("f32" or "f64"); they become new tensors. Returns self.
function Module:to(dtype)
  local function convert(t, keys, done)
    for _, key in ipairs(keys) do
      local value = not is_private(key) and t[key] or nil
      if is_tensor(value) and (value.dtype == "f32" or value.dtype == "f64") and value.dtype ~= dtype then
        done[value] = done[value] or value:detach():to(dtype)
        done[value].requires_grad = value.requires_grad
        t[key] = done[value]
      elseif type(value) == "table" and not is_module(value) and getmetatable(value) == nil then
        convert(value, sorted_keys(value), done)
      end
    end
  end
  local done = {} -- a tensor that stands in two places stays one tensor
  for _, m in ipairs(self:modules()) do convert(m, m._order, done) end
  return self
end

--- An independent copy: parameters and buffers are copied, gradients are not; tied tensors stay tied.
function Module:clone()
  local copies = {}
  local function copy(value)
    if copies[value] ~= nil then return copies[value] end
    if is_tensor(value) then
      local twin = value:detach():clone()
      twin.requires_grad = value.requires_grad
      copies[value] = twin
      return twin
    end
    if type(value) ~= "table" or (getmetatable(value) ~= nil and not is_module(value)) then return value end
    local twin = {}
    copies[value] = twin
    for k, v in next, value do twin[k] = copy(v) end
    return setmetatable(twin, getmetatable(value))
  end
  return copy(self)
end

-- State --------------------------------------------------------------------------------------------------------------

--- A table from name to tensor, parameters and buffers. The tensors share memory with the module.
function Module:state_dict()
  local state = {}
  for name, t in self:named_parameters() do state[name] = t:detach() end
  for name, t in self:named_buffers() do state[name] = t end
  return state
end

-- "a, b, c and 4 more"
local function name_list(names)
  plain.sort(names)
  local shown = table.concat(names, ", ", 1, math.min(#names, 8))
  return #names > 8 and ("%s and %d more"):format(shown, #names - 8) or shown
end

-- What keeps `state` from being loaded into `own`, as text; nil when nothing does.
local function misfit(own, state)
  local missing, unexpected, different = {}, {}, {}
  for name, t in pairs(own) do
    if not is_tensor(state[name]) then
      missing[#missing + 1] = name
    else
      local mine, theirs = shape_text(t:shape()), shape_text(state[name]:shape())
      if mine ~= theirs then
        different[#different + 1] = ("%s is %s here, %s in the state"):format(name, mine, theirs)
      end
    end
  end
  for name in pairs(state) do
    if not own[name] then unexpected[#unexpected + 1] = tostring(name) end
  end
  local problems = {}
  if #missing > 0 then problems[#problems + 1] = "missing " .. name_list(missing) end
  if #unexpected > 0 then problems[#problems + 1] = "unexpected " .. name_list(unexpected) end
  if #different > 0 then problems[#problems + 1] = "shapes differ: " .. name_list(different) end
  return #problems > 0 and table.concat(problems, "; ") or nil
end

-- Copies `state` in when it fits; nil, message otherwise.
local function take_state(self, state)
  local own = self:state_dict()
  local problem = misfit(own, state)
  if problem then return nil, ("the state does not fit %s: %s"):format(getmetatable(self).__name, problem) end
  core.no_grad(function()
    for name, t in pairs(own) do t:copy_from(state[name]) end
  end)
  return true
end

--- Copies the values of a state_dict in. Every name must be there with the same shape, and no other: the error lists
-- the missing, unexpected and different ones. Returns self.
function Module:load_state_dict(state)
  local ok, message = take_state(self, state)
  if not ok then raise("load_state_dict: %s", message) end
  return self
end

--- Writes the state to a safetensors file, with string `metadata` (optional). True, or nil and a message.
function Module:save(path, metadata)
  return require("texres.safetensors").save(path, self:state_dict(), metadata)
end

--- Reads the state from a safetensors file, also from a checkpoint. True, or nil and a message.
function Module:load(path)
  local tensors, metadata = require("texres.safetensors").load(path)
  if not tensors then return nil, metadata end
  local ok, message = take_state(self, require("texres.checkpoint").model_part(tensors))
  if not ok then return nil, ("%s: %s"):format(path, message) end
  return true
end

--- Writes an ONNX file; options as in texres.onnx: {input = {H,W,C}, ...}. True, or nil and a message.
function Module:export_onnx(path, options) return require("texres.onnx").export(path, self, options) end

-- Architecture as data -----------------------------------------------------------------------------------------------

local registry = {} -- name -> constructor

--- Makes modules of a class (or of a constructor function) known by name, so that checkpoints can rebuild them.
local function register(name, constructor)
  if type(name) ~= "string" then raise("nn.register: the name is a string, got %s", type(name)) end
  registry[name] = constructor
  return constructor
end

-- Plain data for a constructor argument: modules become their config.
local function to_data(value, where)
  if is_module(value) then return value:config() end
  if type(value) == "table" and getmetatable(value) == nil then
    local data = {}
    for k, v in pairs(value) do data[tostring(k)] = to_data(v, where) end
    return data
  end
  local kind = type(value)
  if kind == "nil" or kind == "boolean" or kind == "number" or kind == "string" then return value end
  raise("%s: cannot be described as data, an argument of its constructor is a %s", where, kind)
end

-- The reverse. Keys "1", "2", ... become numbers again.
local function from_data(data)
  if type(data) ~= "table" then return data end
  if data.module then return Module.from_config(data) end
  local value = {}
  for k, v in pairs(data) do value[math.tointeger(tonumber(k)) or k] = from_data(v) end
  return value
end

--- How to make this module again, as plain data: {module = "Conv2d", arguments = {...}}. Raises for modules whose class
-- has no registered name, or whose constructor took functions or tensors.
function Module:config()
  local name = getmetatable(self).__name
  if not registry[name] then raise("config: %s is not registered; see nn.register", name) end
  local arguments = self:constructor_arguments()
  local data = { module = name, arguments = {} }
  for i = 1, arguments.n do data.arguments[tostring(i)] = to_data(arguments[i], name) end
  return data
end

--- The arguments that would make a module like this one, as table.pack gives them.
function Module:constructor_arguments() return self._arguments end

--- Builds a module from what config() gave.
function Module.from_config(data)
  if type(data) ~= "table" or type(data.module) ~= "string" then
    raise "from_config: not the description of a module"
  end
  local constructor = registry[data.module]
  if not constructor then raise("from_config: no module is registered as %s; see nn.register", data.module) end
  local arguments, n = {}, 0
  for k, v in pairs(data.arguments or {}) do
    local i = math.tointeger(tonumber(k))
    if not i or i < 1 or i > 64 then raise("from_config: bad argument of %s", data.module) end
    arguments[i] = from_data(v)
    n = math.max(n, i)
  end
  return constructor(table.unpack(arguments, 1, n))
end

-- Text ---------------------------------------------------------------------------------------------------------------

local function argument_text(value)
  if type(value) ~= "table" then return plain.text(value) end
  local parts = {}
  for _, key in ipairs(sorted_keys(value)) do
    local text = argument_text(value[key])
    parts[#parts + 1] = type(key) == "number" and text or key .. "=" .. text
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- One line: "Conv2d(1, 64, 3, {padding=1, stride=2})".
function Module:describe()
  local name, arguments = getmetatable(self).__name, self._arguments
  if not arguments or #self:children() > 0 then return name end
  local parts = {}
  for i = 1, arguments.n do parts[i] = argument_text(arguments[i]) end
  return ("%s(%s)"):format(name, table.concat(parts, ", "))
end

function Module:__tostring()
  local lines = { self:describe() }
  for _, child in ipairs(self:children()) do
    lines[#lines + 1] = ("  %s: %s"):format(child[1], (tostring(child[2]):gsub("\n", "\n  ")))
  end
  return table.concat(lines, "\n")
end

--- Multiply-adds of one call, for summary and profile; 0 where they don't count.
function Module:multiply_adds() return 0 end -- luacheck: no unused args

--- What a call with these inputs is computed by, for profile: a name, or nil where there is no choice.
function Module:algorithm() return nil end -- luacheck: no unused args

--- Folds batch norm into the layers before it, in place, for inference; puts the module into evaluation mode. Returns
-- self. See texres.nn.fuse.
function Module:fuse() return require("texres.nn.fuse")(self) end

--- A table of the layers for an input of this shape: output shapes, parameters, multiply-adds, memory. Returns text.
function Module:summary(shape) return require("texres.nn.summary")(self, shape) end

--- Runs on x and measures every layer: time, GFLOP/s, bytes, share. See texres.nn.profile.
function Module:profile(x, options) return require("texres.nn.profile")(self, x, options) end

return {
  Module = Module,
  Parameter = parameter,
  register = register,
  adopt = adopt,
  sorted_keys = sorted_keys,
  watch = watch,
  is_watched = is_watched,
  is_module = is_module,
  is_plain = is_plain,
  keeps_nothing = keeps_nothing,
  shape_text = shape_text,
  tensor_bytes = tensor_bytes,
}
