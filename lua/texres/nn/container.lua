--- Modules made of modules: Sequential, Residual, Concat.
--
-- Items are modules, tables with `forward`, or plain functions, and are found as [1], [2], ... An item in braces with
-- a name is found under that name instead: nn.Sequential { { conv1 = nn.Conv2d(3, 64, 7) }, nn.ReLU() }. A `name` for
-- the whole appears in errors and summaries.
--
-- What a container does is planned once, in steps that do several layers together: see texres.nn.plan. A container of
-- your own is a class derived from one of these with a method trace(tracer, x). x is the number of a value, no tensor;
-- trace passes it on by tracer:item(self, key, x), tracer:sum(self, x, residual), tracer:cat(self, values),
-- tracer:multiply(self, values), tracer:subtract(self, values) and tracer:cut(x), through which no gradient goes back,
-- each of which returns a new number, and returns the last:
--
--     Residual:    x --+-- items ------ tracer:sum -- activation -->
--                      +-- shortcut ------'

local option = require "texres.options"
local raise = require "texres.raise"
local module = require "texres.nn.module"
local plan = require "texres.nn.plan"
local Module, is_module = module.Module, module.is_module

--- A module around a plain function without parameters.
local Lambda = module.register("Lambda", Module "Lambda")

function Lambda:init(fn)
  rawset(self, "_fn", option.check("Lambda", "fn", fn, option.FUNCTION))
end

function Lambda:forward(...) return self._fn(...) end

local function as_module(value, where)
  if type(value) == "function" then return Lambda(value) end
  if type(value) == "table" and rawget(value, "_module") then
    raise("%s is the class %s, wanted an object: call it", where, value.__name)
  end
  if type(value) == "table" and type(value.forward) == "function" then return module.adopt(value) end
  raise("%s is a %s, wanted a module (a table with `forward`) or a function", where, type(value))
end

-- What a container's items share: `_items` holds their keys, a position or a name; `_options` has the names that mean
-- something else in it.
local Container = Module "Container"
Container._options = { name = true }

-- The name and module of an item written {name = module}; nothing for other items.
local function named_item(item)
  if type(item) ~= "table" or is_module(item) or item.forward then return end
  local name, value = next(item)
  if type(name) == "string" and next(item, name) == nil then return name, value end
end

local ITEMS = option.kind("a table of modules", function(value)
  return type(value) == "table" and not is_module(value)
end)

function Container:init(items)
  local kind = getmetatable(self).__name
  option.check(kind, "items", items, ITEMS)
  rawset(self, "_items", {})
  for i = 1, #items do
    local name, value = named_item(items[i])
    self:append(value or items[i], name)
  end
  if items.name ~= nil then option.check(kind, "name", items.name, option.text()) end
  rawset(self, "name", items.name)
  for _, key in ipairs(module.sorted_keys(items)) do -- the order of parameters must not depend on chance
    if type(key) == "string" and key ~= "name" and not self:accept(key, items[key]) then
      raise("%s: no option %s (an item with a name is written { %s = module })", kind, key, key)
    end
  end
end

--- Takes an option of the constructor; false when there is no such option.
function Container:accept() return false end -- luacheck: no unused args

--- Adds an item at the end, under its position or a name. Returns self.
function Container:append(value, name)
  local key = name or #self._items + 1
  if self._options[key] or module.member_beside(self, key) ~= nil then
    raise("%s: the name %s is taken", getmetatable(self).__name, tostring(key))
  end
  local item = as_module(value, ("%s: item %d"):format(getmetatable(self).__name, #self._items + 1))
  table.insert(self._items, key)
  self[key] = item
  return self
end

function Container:__len() return #self._items end

local function has_item(self, key)
  for _, own in ipairs(self._items) do
    if own == key then return true end
  end
  return false
end

-- What is called is `_items`: a module at a position of its own would never be.
function Container:__newindex(key, value)
  if math.type(key) == "integer" and value ~= nil and not has_item(self, key) then
    raise("%s: there is no item %d to replace; append(module) adds one", getmetatable(self).__name, key)
  end
  Module.__newindex(self, key, value)
end

--- `for i, item in net:items() do`: the items in order.
function Container:items()
  local i = 0
  return function()
    i = i + 1
    local key = self._items[i]
    if key then return i, self[key] end
  end
end

-- The description follows the items as they are now, not as they were given.
function Container:constructor_arguments()
  local items = { name = rawget(self, "name") }
  for i, key in ipairs(self._items) do
    items[i] = type(key) == "string" and { [key] = self[key] } or self[key]
  end
  return { items, n = 1 }
end

function Container:describe()
  local name = rawget(self, "name")
  return name and ("%s %s"):format(getmetatable(self).__name, name) or getmetatable(self).__name
end

Container.forward = plan.forward

--- The steps in which this container does its work; prints as a table. See texres.nn.plan.
function Container:plan() return plan.of(self) end

-- Value x through the items, or those from `first` to `last`, one after the other. The plan also depends on there being
-- no further item.
local function trace_items(self, tracer, x, first, last)
  plan.check_tracer(tracer)
  for i = first or 1, last or #self._items do x = tracer:item(self, self._items[i], x) end
  tracer:depends_on(self._items, #self._items + 1)
  return x
end

--- Sequential{ a, b, ..., checkpoint = false }: the output of one item is the input of the next.
--
-- With `checkpoint` training takes less memory and more time: of so many items in a row (true: the square root of how
-- many there are, rounded up) only the input is kept for backward, which computes the rest again. Bits stay the same,
-- but for a layer of your own that changes more with each call than its buffers. It may be set at any time. Chen, Xu,
-- Zhang, Guestrin, "Training deep nets with sublinear memory cost", 2016.
local Sequential = module.register("Sequential", Module("Sequential", Container))

local CHECKPOINT = option.kind("true, false or a number of items in [1, inf)", function(value)
  return type(value) == "boolean" or (math.type(value) == "integer" and value >= 1)
end)

function Sequential:init(items)
  rawset(self, "checkpoint", false)
  Container.init(self, items)
end

function Sequential:accept(key, value)
  if key ~= "checkpoint" then return false end
  self.checkpoint = option.check("Sequential", "checkpoint", value, CHECKPOINT)
  return true
end

function Sequential:constructor_arguments()
  local arguments = Container.constructor_arguments(self)
  arguments[1].checkpoint = self.checkpoint or nil
  return arguments
end

-- Whether someone looks at a module below, and wants to see it called once, with a graph.
local function is_watched(self)
  for _, m in ipairs(self:modules()) do
    if m ~= self and module.has_hook(m) then return true end
  end
  return false
end

function Sequential:trace(tracer, x)
  plan.check_tracer(tracer)
  tracer:depends_on(self, "checkpoint")
  local size = option.check("Sequential", "checkpoint", self.checkpoint, CHECKPOINT)
  if not size or is_watched(self) then return trace_items(self, tracer, x) end
  local count = #self._items
  if size == true then size = math.ceil(math.sqrt(count)) end
  for first = 1, count, size do
    x = tracer:segment(x, function(inner, value)
      return trace_items(self, inner, value, first, math.min(first + size - 1, count))
    end)
  end
  return x
end

--- Residual{ body..., shortcut =, activation =, grad_skip = true, grad_body = true }:
-- activation(body(x) + shortcut(x)).
--
-- The shortcut is the identity when none is given, the activation too. He, Zhang, Ren, Sun, "Deep residual learning
-- for image recognition", 2016.
-- With grad_skip = false no gradient reaches x through the shortcut, with grad_body = false none through the body; what
-- the block gives, and the gradients of the layers inside either path, stay as they are. Both may be set at any time:
-- to see by which path a gradient comes (examples/gradients.lua).
local Residual = module.register("Residual", Module("Residual", Container))
Residual.grad_skip, Residual.grad_body = true, true
Residual._options = { name = true, shortcut = true, activation = true, grad_skip = true, grad_body = true }

local MODULES = { shortcut = true, activation = true }
local PATHS = { "grad_skip", "grad_body" }

function Residual:accept(key, value)
  if MODULES[key] then
    self[key] = as_module(value, "Residual: " .. key)
  elseif key == "grad_skip" or key == "grad_body" then
    self[key] = option.check("Residual", key, value, option.switch(true))
  else
    return false
  end
  return true
end

function Residual:trace(tracer, x)
  plan.check_tracer(tracer)
  local function through(key, value)
    if rawget(self, key) ~= nil then return tracer:item(self, key, value) end
    tracer:depends_on(self, key)
    return value
  end
  local function path(key)
    tracer:depends_on(self, key)
    return self[key] and x or tracer:cut(x)
  end
  local body = trace_items(self, tracer, path "grad_body")
  return through("activation", tracer:sum(self, body, through("shortcut", path "grad_skip")))
end

function Residual:describe()
  local cut = {}
  for _, key in ipairs(PATHS) do
    if not self[key] then cut[#cut + 1] = "the " .. key:match "_(.*)" end
  end
  local text = Container.describe(self)
  return cut[1] and ("%s (no gradient by %s)"):format(text, table.concat(cut, " and ")) or text
end

function Residual:constructor_arguments()
  local arguments = Container.constructor_arguments(self)
  arguments[1].shortcut, arguments[1].activation = rawget(self, "shortcut"), rawget(self, "activation")
  for _, key in ipairs(PATHS) do
    if not self[key] then arguments[1][key] = false end
  end
  return arguments
end

--- What each item makes of value x, all of which see the same one.
local function trace_branches(self, tracer, x)
  plan.check_tracer(tracer)
  local outputs = {}
  for i, key in ipairs(self._items) do outputs[i] = tracer:item(self, key, x) end
  tracer:depends_on(self._items, #self._items + 1)
  return outputs
end

--- Concat{ a, b, ... }: every item sees the same input; the outputs are joined along the channels (the last dimension).
local Concat = module.register("Concat", Module("Concat", Container))

function Concat:trace(tracer, x)
  local outputs = trace_branches(self, tracer, x)
  return tracer:cat(self, outputs)
end

--- Multiply{ a, b, ... }: every item sees the same input; the product of the outputs, element by element. Shapes are
-- broadcast: {N,1,1,C} or {N,H,W,1} scales an image's channels or pixels. At least two items.
local Multiply = module.register("Multiply", Module("Multiply", Container))

function Multiply:trace(tracer, x)
  if #self._items < 2 then raise("Multiply: it has %d items, at least 2 are needed", #self._items) end
  local outputs = trace_branches(self, tracer, x)
  return tracer:multiply(self, outputs)
end

--- Subtract{ a, b }: both see the same input; what a gives less what b gives. Shapes are broadcast, as in Multiply.
local Subtract = module.register("Subtract", Module("Subtract", Container))

function Subtract:trace(tracer, x)
  if #self._items ~= 2 then raise("Subtract: it has %d items, 2 are needed", #self._items) end
  local outputs = trace_branches(self, tracer, x)
  return tracer:subtract(self, outputs)
end

--- Whether an item of any container may be called `name`.
local function may_name(name)
  for _, m in ipairs { Sequential {}, Residual {} } do
    if m._options[name] or module.member_beside(m, name) ~= nil then return false end
  end
  return true
end

return {
  may_name = may_name, Sequential = Sequential, Residual = Residual, Concat = Concat, Multiply = Multiply,
  Subtract = Subtract, Lambda = Lambda,
}
