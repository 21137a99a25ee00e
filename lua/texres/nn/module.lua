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
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local raise = require "texres.raise"
local strict = require "texres.strict"

local Module = { __name = "Module", _module = true }

local is_tensor, running_coroutine = core.is_tensor, coroutine.running

--- Whether a value is a module: an object of nn.Module or of a class derived from it.
local function is_module(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and rawget(meta, "_module") == true
end

-- Whether m is of just this class of the library, with nothing else in the place of forward, neither in the object nor
-- in the class (`_forward` is what the library put there: see texres.nn).
local function is_plain(m, class)
  return m ~= nil and getmetatable(m) == class and m.forward == class._forward
end

-- Whether m is known to return a tensor that is not its input, and to keep no reference to either: then a container
-- may free the input right after. Classes say so by `keeps_nothing`; derived classes and objects with a forward of
-- their own are not trusted.
local function keeps_nothing(m)
  local class = getmetatable(m)
  return m.forward == rawget(class, "_forward") and rawget(class, "keeps_nothing") == true
end

-- The member `name` of m or the nearest of its classes that has one, else nil; nil too where a nearer one has `other`
-- (may be left out): what a class says of its own forward or init is not true of that of a derived class.
local function member_beside(m, name, other)
  local t = m
  while type(t) == "table" do
    local value = rawget(t, name)
    if value ~= nil or (other and rawget(t, other) ~= nil) then return value end
    t = rawget(getmetatable(t), "__index")
  end
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
  local keys, names = {}, plain.names(t)
  for i = 1, #t do keys[i] = i end
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

-- Calls visit(name, value, owner, key, t) for every tensor and module below `self`, each once, parents first: it is
-- t[key], and an attribute of the module `owner` (nil inside plain tables). Where it stands again, under another name,
-- again(name, value, owner, key, t, first) is called instead, with its first name.
local function walk(self, visit, again)
  local names, on_the_way = { [self] = "" }, {}
  local visit_table
  local function visit_value(name, value, owner, key, t)
    local has_parts = is_module(value)
    if has_parts or is_tensor(value) then
      if names[value] then
        if again then again(name, value, owner, key, t, names[value]) end
        return
      end
      names[value] = name
      visit(name, value, owner, key, t)
      if has_parts then visit_table(value, value._order, name .. ".", value) end
    elseif type(value) == "table" and getmetatable(value) == nil and not on_the_way[value] then
      on_the_way[value] = true
      visit_table(value, sorted_keys(value), name .. ".", nil)
      on_the_way[value] = nil
    end
  end
  function visit_table(t, keys, prefix, owner)
    for _, key in ipairs(keys) do
      if not is_private(key) then visit_value(prefix .. key, t[key], owner, key, t) end
    end
  end
  visit_table(self, self._order, "", self)
end

--- What stands in several places: a table from each further name to the first one, {["3"] = "1", ["5.weight"] =
-- "4.weight"}; below a module that stands again nothing is named.
local function aliases(self)
  local list = {}
  walk(self, function() end, function(name, _, _, _, _, first) list[name] = first end)
  return list
end

--- Puts change(t) in the place of every tensor t, in all the places where it stands.
local function replace_tensors(self, change)
  local places, changed = {}, {}
  local function note(_, value, _, key, t)
    if is_tensor(value) then places[#places + 1] = { t, key, value } end
  end
  walk(self, note, note)
  for _, place in ipairs(places) do
    local t, key, value = table.unpack(place)
    changed[value] = changed[value] or change(value)
    t[key] = changed[value]
  end
end

-- Calling ------------------------------------------------------------------------------------------------------------
--
-- No list of running calls is kept: where an error happened is read off the Lua stack, which is right whatever was
-- caught, resumed or given up in between. Every call of a module stands there as a frame of `call`.

local call, within
local watchers -- a list of {fn =, planned =, layers =}, or nil where nobody watches: see watch
local hooks = setmetatable({}, { __mode = "k" }) -- module -> the hooks that its calls begin: see hook
local hooks_version = 0 -- another one whenever a hook comes or goes
local quiet = false -- the coroutine that leaves hooks out, or false: see quietly
local guarded = setmetatable({}, { __mode = "k" }) -- the coroutines in which a message handler is in place
local max_levels = 1000 -- of the stack that are looked at: an endless recursion fills it

-- The modules that run in this coroutine, from the outermost to the innermost.
local function running_modules()
  local list = {}
  for level = 2, max_levels do
    local info = debug.getinfo(level, "f")
    if not info then break end
    if info.func == call or info.func == within then
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

-- Calls f(...) with these watchers in the place of the present ones.
local function with_watchers(list, silent, f, ...)
  local outer, outer_quiet = watchers, quiet
  local function before() watchers, quiet = list, silent end
  local function after() watchers, quiet = outer, outer_quiet end
  return protect.between(before, after, f, ...)
end

-- Calls f(...) with these watchers besides the present ones.
local function with_more_watchers(more, f, ...)
  local list = table.move(watchers or {}, 1, watchers and #watchers or 0, 1, {})
  return with_watchers(table.move(more, 1, #more, #list + 1, list), quiet, f, ...)
end

--- Calls f(...), a trial of the library that no hook of a user is to see.
local function quietly(f, ...) return with_watchers(watchers, (running_coroutine()), f, ...) end

--- Calls f(...), which nobody is to see: neither hooks nor watchers.
local function unseen(f, ...) return with_watchers(nil, (running_coroutine()), f, ...) end

-- Whether hooks are left out; what a coroutine that was given up has begun does not count.
local function is_quiet()
  local state = quiet and coroutine.status(quiet)
  return state == "running" or state == "normal"
end

--- Who watches now, and what is quiet: for whoever lets several calls of modules go on in turn, each in a coroutine.
local function watching() return watchers, quiet end
local function set_watching(list, silent) watchers, quiet = list, silent end

local function tell_all(list, of_step, ...)
  for _, watcher in ipairs(list) do
    if watcher.planned or not of_step then watcher.fn(...) end
  end
end

-- Tells the watchers of a call of `self`, or of a step that several layers do together; what they call is not watched.
local function report(of_step, self, started, inputs, ...)
  local seconds, given = core.clock() - started, table.pack(...)
  unseen(tell_all, watchers, of_step, self, seconds, inputs, given)
  return ...
end

local function forward(self, ...)
  if not watchers then return self:forward(...) end
  return report(false, self, core.clock(), table.pack(...), self:forward(...))
end

-- The watchers that the hooks of `self` want for the pass that begins.
local function due_watchers(self)
  local list = {}
  for _, hook in ipairs(hooks[self]) do list[#list + 1] = hook:begin(self) end
  return list
end

local function run(self, ...)
  local due = hooks[self] and not is_quiet() and due_watchers(self)
  if not due or #due == 0 then return forward(self, ...) end
  return with_more_watchers(due, forward, self, ...)
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
  if guarded[coroutine] then
    if watchers or hooks[self] then return hand_back(run(self, ...)) end
    return hand_back(self:forward(...))
  end
  guarded[coroutine] = true
  return leave(coroutine, xpcall(run, locate, self, ...))
end

--- fn(self, ...) as if self had been called, for error messages and watchers: a container that does several layers in
-- one step calls it with the first of them. Only below a call.
function within(self, fn, ...)
  if watchers then return hand_back(report(true, self, core.clock(), table.pack(...), fn(self, ...))) end
  return hand_back(fn(self, ...))
end

--- Calls f(...), and meanwhile watcher.fn(module, seconds, inputs, outputs) after each call of a module.
-- `layers`: the set of modules that containers neither open nor join, so that they are calls of their own (nil: all).
-- With `planned` containers work as usual, and a step of several layers counts as a call of the first, with the step
-- (see texres.nn.plan) as second input. With `keeps_nothing` fn keeps no tensor, so that they may be freed as usual.
-- What fn itself calls is not watched.
local function with_watcher(watcher, f, ...) return with_more_watchers({ watcher }, f, ...) end

--- The same with a function alone, and a function body().
local function watch(fn, body, planned) return with_watcher({ fn = fn, planned = planned }, body) end

--- Has each call of `self` ask object:begin(self) for a watcher of this pass, or nil.
local function hook(self, object)
  local list = hooks[self] or {}
  hooks[self], hooks_version = table.move(list, 1, #list, 1, {}), hooks_version + 1
  table.insert(hooks[self], object)
end

--- Takes a hook away again.
local function unhook(self, object)
  local left = {}
  for _, other in ipairs(hooks[self] or {}) do
    if other ~= object then left[#left + 1] = other end
  end
  hooks[self], hooks_version = left[1] and left or nil, hooks_version + 1
end

--- Whether there is a watcher that may keep tensors that it is shown.
local function has_keeper()
  for _, watcher in ipairs(watchers or {}) do
    if not watcher.keeps_nothing then return true end
  end
  return false
end

--- Whether there is a watcher that wants modules to be calls of their own.
local function wants_layers()
  for _, watcher in ipairs(watchers or {}) do
    if not watcher.planned then return true end
  end
  return false
end

local function hooks_now() return hooks_version end
local function has_hook(m) return hooks[m] ~= nil end

--- Whether module m has to be a call of its own: a container opens and joins all others.
local function is_apart(m)
  if hooks[m] then return true end
  for _, watcher in ipairs(watchers or {}) do
    if not watcher.planned and (not watcher.layers or watcher.layers[m]) then return true end
  end
  return false
end

-- Construction -------------------------------------------------------------------------------------------------------

local function enrol_new(self, key, value)
  rawset(self, key, value)
  local is_name = type(key) == "string" or math.type(key) == "integer"
  if is_name and not is_private(key) then enrol(self, key, value) end
end

-- Refuses arguments that `init` of a class of the library would not see; a user's class may be called with more.
local function check_arguments(class, ...)
  local most = debug.getinfo(class.init, "u").nparams - 1
  for i = most + 1, select("#", ...) do
    if select(i, ...) ~= nil then
      raise("%s: argument %d is a %s, it takes %d", class.__name, i, type((select(i, ...))), most)
    end
  end
end

local function construct(class, ...)
  if rawget(class, "_forward") then check_arguments(class, ...) end
  local self = setmetatable(prepare {}, class)
  rawset(self, "_arguments", table.pack(...))
  self:init(...)
  return self
end

--- A new class: class(...) makes an object and hands the arguments to its `init`.
local function new_class(name, base)
  local class = { __name = name, _module = true, __call = call, __newindex = base.__newindex,
    __tostring = base.__tostring, __len = base.__len }
  class.__index = class
  return setmetatable(class, { __index = base, __call = construct, __name = "class " .. name })
end

local FORWARD = option.kind("a table with a function `forward`, or a name for a new class", function(value)
  return type(value) == "table" and type(value.forward) == "function"
end)

--- Makes the table itself a module; a table that is a module already is handed back.
local function adopt(t)
  if is_module(t) then return t end
  option.check("nn.Module", "the argument", t, FORWARD)
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

local function is_class(value) return type(value) == "table" and rawget(value, "_module") == true end
local CLASS = option.kind("a class", is_class)

--- nn.Module "Name" or nn.Module("Name", Base): a new class. nn.Module{forward = ..., ...}: a module from a table.
local function make(_, what, base)
  if type(what) == "string" then
    if base ~= nil then option.check("nn.Module", "the base of " .. what, base, CLASS) end
    return new_class(what, base or Module)
  end
  return adopt(what)
end

Module.__index = Module
Module.__call = call
Module.__newindex = enrol_new
setmetatable(Module, { __call = make, __name = "class Module", __index = strict.module("a module", Module) })

-- What a class may bring besides; `keeps_nothing = true` says that its forward gives a new tensor and keeps no
-- reference to it or to its input, so that a container may free the input right after:
--
--- constructor_arguments(): the arguments that would make such an object as it is now, as table.pack gives them, for
-- config() and describe(); without the method, those that it was made with.
--- to_onnx(graph, x): adds nodes for the layer to an onnx.Graph and returns the value that it gives for the value x.
--- weight_count(...): a function, not a method: how many weights a layer has at least that is made with these
-- arguments. Checkpoints that ask for more weights than they hold are refused by it.
--- window(): what an output looks through, for receptive fields: {rows, columns} from its first to its last, and the
-- steps {rows, columns} from output to output.
--- trace(tracer, x): what a container does, for its plan: x is the number of a value; tracer:item(self, key, x),
-- tracer:sum(self, x, residual), tracer:cat(self, values), tracer:multiply(self, values) and tracer:subtract(self,
-- values) each give a new one, the last of which is returned. See texres.nn.container.
--- accept(key, value): of containers: takes an option of the constructor; false where there is no such option.

--- Called by the constructor with its arguments; the default does nothing.
function Module:init() end -- luacheck: no unused args

--- What calling the module does: every class has one of its own.
function Module:forward()
  local name = getmetatable(self).__name
  raise("%s has no forward: write function %s:forward(x) ... end", name, name)
end

--- Marks a tensor as a parameter: sets requires_grad and returns it.
local function parameter(t)
  option.check("nn.Parameter", "t", t, option.TENSOR).requires_grad = true
  return t
end

--- What makes such an object again, as table.pack gives it: the arguments given, and as options those of its attributes
-- that aren't what `defaults` has.
local function with_options(self, defaults, ...)
  local arguments, options = table.pack(...), {}
  for name, default in pairs(defaults) do
    if self[name] ~= default then options[name] = self[name] end
  end
  if next(options) ~= nil then
    arguments.n = arguments.n + 1
    arguments[arguments.n] = options
  end
  return arguments
end

--- The arguments that would make a module like this one, as table.pack gives them: what a method constructor_arguments
-- of the class says, else those that it was made with; nil for a module from a table.
local function constructor_arguments(self)
  local tell = member_beside(self, "constructor_arguments", "init")
  if tell then return tell(self) end
  return self._arguments
end

-- Names of classes ---------------------------------------------------------------------------------------------------

local registry = {} -- name -> constructor

local CONSTRUCTOR = option.kind("a class or a function that makes a module", function(value)
  return type(value) == "function" or is_class(value)
end)

--- Makes modules of a class (or of a constructor function) known by name, so that checkpoints can rebuild them.
local function register(name, constructor)
  option.check("nn.register", "the name", name, option.text())
  option.check("nn.register", name, constructor, CONSTRUCTOR)
  local known = registry[name]
  if known ~= constructor and type(known) == "table" and known._forward then
    raise("nn.register: %s is a class of texres; take another name", name)
  end
  registry[name] = constructor
  return constructor
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

--- The layers of these names in a module ("" is itself; of a layer that stands in several places every name will do), a
-- list; raises with the nearest names.
local function layers_named(self, names, what)
  local by_name, firsts, list = { [""] = self }, aliases(self), {}
  for _, entry in ipairs(collect(self, "module")) do by_name[entry[1]] = entry[2] end
  for i, name in ipairs(names) do
    list[i] = by_name[name] or by_name[firsts[name]]
    if not list[i] then
      local near = strict.near(name, by_name)
      raise("%s: there is no layer %s%s; print(net) shows them", what, option.shown(name),
        #near > 0 and (", did you mean %s?"):format(table.concat(near, " or ")) or "")
    end
  end
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
  option.check("apply", "fn", fn, option.FUNCTION)
  local modules = self:modules()
  for i = #modules, 1, -1 do fn(modules[i]) end
  return self
end

local ON, FLOATS = option.switch(), option.choice(nil, { "f32", "f64" })

--- Training mode on (default) or off, for batch norm and dropout; layers that are frozen stay in evaluation mode.
-- Returns self.
function Module:train(on)
  if on ~= nil then option.check("train", "on", on, ON) end
  for _, m in ipairs(self:modules()) do rawset(m, "training", on ~= false and not rawget(m, "_frozen")) end
  return self
end

--- Evaluation mode: batch norm uses running statistics, dropout does nothing. Returns self.
function Module:eval() return self:train(false) end

local function set_frozen(where, self, frozen, ...)
  if select("#", ...) > 0 then
    raise("%s: it takes no arguments; of a part it is called as net.stage1:%s()", where, where)
  end
  for _, p in ipairs(self:parameters()) do p.requires_grad, p.grad = not frozen, nil end
  for _, m in ipairs(self:modules()) do
    rawset(m, "_frozen", frozen or nil)
    if frozen then rawset(m, "training", false) end
  end
  return self
end

--- Keeps this module as it is while others learn: its parameters get no gradient, and its layers stay in evaluation
-- mode, so that running statistics stay, too. Returns self.
function Module:freeze(...) return set_frozen("freeze", self, true, ...) end

--- Lets a frozen module learn again; the next train() puts its layers into training mode. Returns self.
function Module:unfreeze(...) return set_frozen("unfreeze", self, false, ...) end

--- What of a module is frozen: { parameters =, layers = }, sorted names.
local function frozen_of(self)
  local parameters, layers = {}, {}
  for name, p in self:named_parameters() do
    if not p.requires_grad then parameters[#parameters + 1] = name end
  end
  for name, m in self:named_modules() do
    if rawget(m, "_frozen") then layers[#layers + 1] = name end
  end
  return { parameters = plain.sort(parameters), layers = plain.sort(layers) }
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

--- Freezes what frozen_of() told, and nothing else.
local function freeze_as(self, frozen)
  local parameters, layers = set_of(frozen.parameters), set_of(frozen.layers)
  for name, p in self:named_parameters() do p.requires_grad = not parameters[name] end
  for name, m in self:named_modules() do rawset(m, "_frozen", layers[name]) end
end

--- Lets the gradients of all parameters go. Returns self.
function Module:zero_grad()
  for _, p in ipairs(self:parameters()) do p.grad = nil end
  return self
end

--- Converts parameters and buffers of a float dtype to `dtype` ("f32" or "f64"); they become new tensors. Returns self.
function Module:to(dtype)
  option.check("to", "dtype", dtype, FLOATS)
  replace_tensors(self, function(t)
    if t.dtype == dtype or (t.dtype ~= "f32" and t.dtype ~= "f64") then return t end
    local converted = t:detach():to(dtype)
    converted.requires_grad = t.requires_grad
    return converted
  end)
  return self
end

--- The dtype that inputs should have, "f32" or "f64": that of the first parameter or buffer of a float dtype.
local function float_dtype(self)
  local found
  walk(self, function(_, value)
    local dtype = is_tensor(value) and value.dtype
    if dtype == "f32" or dtype == "f64" then found = found or dtype end
  end)
  return found or "f32"
end

--- Calls f(...) while a module is in evaluation mode, and leaves it in the modes that it had: what only looks at a
-- network must not change its running statistics.
local function in_eval(self, f, ...)
  local was_training = {}
  for _, m in ipairs(self:modules()) do was_training[m] = m.training end
  return protect.between(function() self:eval() end, function()
    for m, training in pairs(was_training) do rawset(m, "training", training) end
  end, f, ...)
end

--- What a module gives for zeros of this shape in evaluation mode; it is left in the modes that it had.
local function try_on_zeros(self, shape)
  return in_eval(self, quietly, core.no_grad, self, core.zeros(shape, { dtype = float_dtype(self) }))
end

--- An independent copy of a module; a tensor or module for which instead(value) gives another has that in its place.
local function copy_with(self, instead)
  local copies = {}
  local function copy(value)
    if copies[value] ~= nil then return copies[value] end
    local other = (is_tensor(value) or is_module(value)) and instead(value)
    if other then
      copies[value] = other
      return other
    end
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

--- An independent copy: parameters and buffers are copied, gradients are not; tied tensors stay tied.
function Module:clone() return copy_with(self, function() end) end

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
  local name, arguments = getmetatable(self).__name, constructor_arguments(self)
  if not arguments or #self:children() > 0 then return name end
  local parts = {}
  for i = 1, arguments.n do parts[i] = argument_text(arguments[i]) end
  return ("%s(%s)"):format(name, table.concat(parts, ", "))
end

-- `outer`: the modules around this one; an attribute may lead back to them.
local function structure(self, outer)
  local lines = { self:describe() }
  if outer[self] then return lines[1] end
  outer[self] = true
  for _, child in ipairs(self:children()) do
    local as_usual = getmetatable(child[2]).__tostring == Module.__tostring
    local text = as_usual and structure(child[2], outer) or tostring(child[2])
    lines[#lines + 1] = ("  %s: %s"):format(child[1], (text:gsub("\n", "\n  ")))
  end
  outer[self] = nil
  return table.concat(lines, "\n")
end

function Module:__tostring() return structure(self, {}) end

--- Multiply-adds of one call, for summary and profile; 0 where they don't count.
function Module:multiply_adds() return 0 end -- luacheck: no unused args

--- What a call with these inputs is computed by, for profile: a name, or nil where there is no choice.
function Module:algorithm() return nil end -- luacheck: no unused args

--- Folds batch norm into the layers before it, in place, for inference; puts the module into evaluation mode. Returns
-- self. See texres.nn.fuse.
function Module:fuse() return require("texres.nn.fuse")(self) end

--- Writes an ONNX file; options as in texres.onnx: {input = {H,W,C}, ...}. True, or nil and a message.
function Module:export_onnx(path, options) return require("texres.onnx").export(path, self, options) end

--- Writes a picture of the network, an SVG in which skip connections are seen, or to net.dot a graph for Graphviz: see
-- texres.nn.draw and texres.nn.dot. With the shape of an input, {1,64,64,1}, it tells what each layer makes of it.
-- True, or nil and a message.
function Module:draw(path, shape) return require("texres.nn.draw").write(self, path, shape) end

--- What a call with an input of this shape costs, in numbers: see texres.nn.costs.
function Module:costs(shape) return (require("texres.nn.costs").of(self, shape)) end

--- A table of the layers for an input of this shape: output shapes, parameters, multiply-adds, memory, receptive
-- fields; and the share of the input that can influence the output. Returns text.
function Module:summary(shape) return require("texres.nn.summary")(self, shape) end

--- What is probably wrong with this network for inputs of this shape, with reasons: see texres.nn.check. Returns a list
-- that prints as text.
function Module:check(shape) return require("texres.nn.check")(self, shape) end

--- Runs on x and measures every layer: time, GFLOP/s, bytes, share. See texres.nn.profile.
function Module:profile(x, options) return require("texres.nn.profile")(self, x, options) end

return {
  Module = Module,
  Parameter = parameter,
  register = register,
  registry = registry,
  with_options = with_options,
  constructor_arguments = constructor_arguments,
  member_beside = member_beside,
  walk = walk,
  aliases = aliases,
  layers_named = layers_named,
  replace_tensors = replace_tensors,
  copy_with = copy_with,
  float_dtype = float_dtype,
  adopt = adopt,
  sorted_keys = sorted_keys,
  try_on_zeros = try_on_zeros,
  watch = watch,
  with_watcher = with_watcher,
  quietly = quietly,
  unseen = unseen,
  watching = watching,
  set_watching = set_watching,
  freeze_as = freeze_as,
  frozen_of = frozen_of,
  in_eval = in_eval,
  hook = hook,
  unhook = unhook,
  has_hook = has_hook,
  hooks_version = hooks_now,
  within = within,
  has_keeper = has_keeper,
  wants_layers = wants_layers,
  is_apart = is_apart,
  is_module = is_module,
  IS_MODULE = option.kind("a module", is_module),
  is_plain = is_plain,
  keeps_nothing = keeps_nothing,
  shape_text = shape_text,
  tensor_bytes = tensor_bytes,
}
