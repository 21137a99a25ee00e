--- Modules made of modules: Sequential, Residual, Concat.
--
-- Items are modules, tables with `forward`, or plain functions, and are found as [1], [2], ... An item in braces with
-- a name is found under that name instead: nn.Sequential { { conv1 = nn.Conv2d(3, 64, 7) }, nn.ReLU() }. A `name` for
-- the whole appears in errors and summaries.
--
-- Convolution, batch norm, the sum of a Residual and ReLU are done together where they follow each other, with fewer
-- passes over memory; the modules stay what they are.

local core = require "texres.core"
local raise = require "texres.raise"
local module = require "texres.nn.module"
local Conv2d = require("texres.nn.conv").Conv2d
local BatchNorm = require("texres.nn.norm").BatchNorm
local Identity = require("texres.nn.shape").Identity
local ReLU = require("texres.nn.activation").ReLU
local Module, is_module, is_plain = module.Module, module.is_module, module.is_plain
local keeps_nothing = module.keeps_nothing

--- A module around a plain function without parameters.
local Lambda = module.register("Lambda", Module "Lambda")

function Lambda:init(fn)
  if type(fn) ~= "function" then raise("Lambda: expected a function, got %s", type(fn)) end
  rawset(self, "_fn", fn)
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

-- What a container's items share: `_items` holds their keys, a position or a name.
local Container = Module "Container"

-- The name and module of an item written {name = module}; nothing for other items.
local function named_item(item)
  if type(item) ~= "table" or is_module(item) or item.forward then return end
  local name, value = next(item)
  if type(name) == "string" and next(item, name) == nil then return name, value end
end

function Container:init(items)
  local kind = getmetatable(self).__name
  if type(items) ~= "table" or is_module(items) then
    raise("%s: expected a table of modules: nn.%s { ... }", kind, kind)
  end
  rawset(self, "_items", {})
  for i = 1, #items do
    local name, value = named_item(items[i])
    self:append(value or items[i], name)
  end
  if items.name ~= nil and type(items.name) ~= "string" then
    raise("%s: the name is a string, got %s", kind, type(items.name))
  end
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
  if module.member_beside(self, key) ~= nil then
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

local function item_at(self, key)
  local item = self[key]
  if item == nil then
    raise("%s: item %s was taken away; put nn.Identity() in its place", getmetatable(self).__name, tostring(key))
  elseif type(item) ~= "table" then
    raise("%s: item %s is a %s, wanted a module", getmetatable(self).__name, tostring(key), type(item))
  end
  return item
end

-- The number of the first item from i on that is no Identity.
local function skip(self, i)
  while is_plain(self[self._items[i]], Identity) do i = i + 1 end
  return i
end

-- What is done in one pass over memory from item number i on: Conv2d, BatchNorm, ReLU, of which the later may be
-- missing and the first too, or one item of another kind. Returns a table {conv=, norm=, relu=} or {item=}, and the
-- number of the item that follows.
local function pass(self, i)
  local items = self._items
  local item = item_at(self, items[i])
  if module.is_watched() then return { item = item }, i + 1 end
  local step = {}
  if is_plain(item, Conv2d) then
    step.conv, i = item, skip(self, i + 1)
    item = self[items[i]]
  end
  if is_plain(item, BatchNorm) and not (step.conv and rawget(step.conv, "bias")) then
    step.norm, i = item, skip(self, i + 1)
    item = self[items[i]]
  end
  if not step.conv and not step.norm then return { item = item }, skip(self, i + 1) end
  step.relu = is_plain(item, ReLU)
  return step, step.relu and skip(self, i + 1) or i
end

local function run(step, x, residual, add_last)
  if step.conv then return step.conv(x, step.norm, step.relu, residual, add_last) end
  if step.norm then return step.norm(x, step.relu, residual, add_last) end
  return step.item(x)
end

local Sequential = module.register("Sequential", Module("Sequential", Container))

-- Passes x through the items; a last pass that a residual can be added in, before or after its ReLU, or a Sequential
-- that may end in one, is left to the caller when `leave` is true.
-- Returns the result, whether it is a tensor that only the caller knows, and that pass. What lies between two items is
-- given back as soon as it was used, not when the collector comes: a network's activations are most of its memory.
local function chain(self, x, leave)
  local last, own, watched = #self._items, false, module.is_watched()
  local i = watched and 1 or skip(self, 1)
  while i <= last do
    local step
    step, i = pass(self, i)
    if leave and i > last and (not step.item or not watched and is_plain(step.item, Sequential)) then
      return x, own, step
    end
    local input, own_input = x, own
    own = not watched and (not step.item or keeps_nothing(step.item))
    x = run(step, input)
    if own_input and own then input:free() end
  end
  return x, own
end

-- For keeps_nothing: all items do, and there is more than Identity.
local function items_keep_nothing(self)
  local new = false
  for _, key in ipairs(self._items) do
    if keeps_nothing(self[key]) then
      new = true
    elseif not is_plain(self[key], Identity) then
      return false
    end
  end
  return new
end

--- Residual{ body..., shortcut = module, activation = module }: activation(body(x) + shortcut(x)).
--
-- The shortcut is the identity when none is given, the activation too. He, Zhang, Ren, Sun, "Deep residual learning
-- for image recognition", 2016.
local Residual = module.register("Residual", Module("Residual", Container))

function Residual:accept(key, value)
  if key ~= "shortcut" and key ~= "activation" then return false end
  self[key] = as_module(value, "Residual: " .. key)
  return true
end

-- What would bring a shortcut from shape `from` to shape `to`, as a user would type it.
local function advice(from, to)
  if #from ~= #to or #from < 2 or to[2] == 0 then return "" end
  if #from ~= 4 then return ("; add a projection: shortcut = nn.Linear(%d, %d)"):format(from[#from], to[#to]) end
  local stride = math.max(1, (from[2] + to[2] // 2) // to[2])
  for side = 2, 3 do
    if (from[side] + stride - 1) // stride ~= to[side] then return "; do the body's convolutions lack padding?" end
  end
  return ("; add a projection: shortcut = nn.Conv2d(%d, %d, 1, {stride=%d, bias=false})"):format(from[4], to[4], stride)
end

local function check_shapes(self, body, aside)
  local btext, stext = module.shape_text(body), module.shape_text(aside)
  if btext == stext then return end
  raise("Residual: the body gives %s, the shortcut %s%s", btext, stext,
    rawget(self, "shortcut") and "" or advice(aside, body))
end

-- Gives t back when m, which made it or got it, surely did not keep it.
local function let_go(t, m)
  if not module.is_watched() and keeps_nothing(m) then t:free() end
end

function Residual.keeps_nothing(self)
  local shortcut, activation = rawget(self, "shortcut"), rawget(self, "activation")
  return items_keep_nothing(self) and (not shortcut or keeps_nothing(shortcut))
    and (not activation or keeps_nothing(activation))
end

local Join = {} -- the metatable of what a Residual hands to the Sequential that ends its body

-- activation(what the items of `self` make of x + shortcut(join.x)), shortcut and activation being those of
-- join.owner.
local function add(self, x, join)
  local owner = join.owner
  local shortcut, activation = rawget(owner, "shortcut"), rawget(owner, "activation")
  local body, own_body, step = chain(self, x, true)
  if step and step.item then
    local result = step.item(body, join)
    if own_body then let_go(body, step.item) end
    return result
  end
  if not core.is_tensor(body) then raise("Residual: the items gave %s, wanted a tensor", type(body)) end
  local aside = shortcut and shortcut(join.x) or join.x
  local shape = body:shape()
  if step and step.conv then shape = step.conv:output_shape(shape) end
  if shape then check_shapes(owner, shape, aside:shape()) end -- else the convolution says what is wrong
  local sum
  if step then
    local add_last = step.relu
    if not add_last and is_plain(activation, ReLU) then step.relu, activation = true, nil end
    sum = run(step, body, aside, add_last)
  else
    sum = body + aside
  end
  if own_body then body:free() end
  if shortcut then let_go(aside, shortcut) end
  if not activation then return sum end
  local result = activation(sum)
  let_go(sum, activation)
  return result
end

function Residual:forward(x) return add(self, x, setmetatable({ owner = self, x = x }, Join)) end

--- Sequential{ a, b, ... }: the output of one item is the input of the next.
Sequential.keeps_nothing = items_keep_nothing

-- `join` is given by a Residual whose body ends in this: see add.
function Sequential:forward(x, join)
  if getmetatable(join) == Join then return add(self, x, join) end
  return (chain(self, x))
end

function Residual:constructor_arguments()
  local arguments = Container.constructor_arguments(self)
  arguments[1].shortcut, arguments[1].activation = rawget(self, "shortcut"), rawget(self, "activation")
  return arguments
end

--- Concat{ a, b, ... }: every item sees the same input; the outputs are joined along the channels (the last dimension).
local Concat = module.register("Concat", Module("Concat", Container))

function Concat:forward(x)
  local outputs = {}
  for i, key in ipairs(self._items) do outputs[i] = item_at(self, key)(x) end
  return core.cat(outputs, -1)
end

return { Sequential = Sequential, Residual = Residual, Concat = Concat, Lambda = Lambda }
