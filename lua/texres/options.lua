--- What options and arguments may be, said once for each; one style of message for all.
--
--     local option = require "texres.options"
--     local KNOWN = {
--       lr = option.number(1e-3, "[0, inf)"),       -- default and range: [ ] with its end, ( ) without
--       batch = option.integer(32, "[1, inf)"),
--       nesterov = option.switch(false),
--       head = option.choice("gap", { "gap", "conv" }),
--       mean = option.numbers(nil, "(-inf, inf)"),  -- a number, or a list or tensor of them
--       file = option.text(), augment = option.any(), -- also option.table, and option.kind for what else there is
--     }
--     local o = option.read("SGD", options, KNOWN)  --> a new table: what was given, defaults for the rest
--     local p = option.check("Dropout", "p", p, option.number(nil, "[0, 1]"))
--
-- A wrong one raises "SGD: lr is nan, wanted a finite number of at least 0", an unknown one "SGD: unknown option 'lrr';
-- did you mean lr? There are lr, momentum, ...". NaN lies in no range. An option whose default is nil or false may be
-- given as false, which means the same as not given.

local core = require "texres.core"
local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"

local option = {}

-- -- rules ------------------------------------------------------------------------------------------------------------

-- `accept(value)` returns the value as it is used, nil for one that does not fit `wanted`.
local function rule(default, wanted, accept) return { default = default, wanted = wanted, accept = accept } end

local BOUNDS = { ["inf"] = math.huge, ["-inf"] = -math.huge }

-- A range as a test, and as words to put behind and before "number".
local function read_range(text)
  local left, low_text, high_text, right = text:match "^([%[(])(%S+), (%S+)([%])])$"
  local low, high = BOUNDS[low_text] or plain.number(low_text), BOUNDS[high_text] or plain.number(high_text)
  local function fits(value)
    return (value > low or left == "[" and value == low) and (value < high or right == "]" and value == high)
  end
  local bounded = left == "(" and low == -math.huge or right == ")" and high == math.huge
  local words = {}
  if left .. right == "[]" and low > -math.huge and high < math.huge then
    return fits, (" from %s to %s"):format(low_text, high_text), ""
  end
  if low > -math.huge then words[1] = (left == "[" and "at least " or "above ") .. low_text end
  if high < math.huge then words[#words + 1] = (right == "]" and "at most " or "below ") .. high_text end
  local behind = table.concat(words, " and ")
  if left == "[" and behind ~= "" then behind = "of " .. behind end
  return fits, behind ~= "" and " " .. behind or "", bounded and "finite " or ""
end

--- A number in a range such as "[0, 1)" or "(0, inf)"; with ) at inf it is finite.
function option.number(default, range)
  local fits, behind, before = read_range(range)
  return rule(default, ("a %snumber%s"):format(before, behind), function(value)
    return type(value) == "number" and fits(value) and value or nil
  end)
end

--- A whole number in a range; 3.0 is taken for 3.
function option.integer(default, range)
  local fits, behind = read_range(range)
  return rule(default, "a whole number" .. behind, function(value)
    return math.type(value) and fits(value) and math.tointeger(value) or nil
  end)
end

--- A number in a range, or a list or tensor of such numbers (at least one).
function option.numbers(default, range)
  local one = option.number(nil, range)
  return rule(default, one.wanted .. ", or a list of them", function(value)
    if type(value) == "number" then return one.accept(value) end
    local list = value
    if core.is_tensor(value) then list = value:dim() == 1 and value:totable() end
    if type(list) ~= "table" or #list == 0 then return nil end
    for i = 1, #list do
      if not one.accept(list[i]) then return nil end
    end
    return value
  end)
end

--- True or false.
function option.switch(default)
  return rule(default, "true or false", function(value)
    if type(value) == "boolean" then return value end
  end)
end

--- One of some texts or numbers.
function option.choice(default, choices)
  local quoted = {}
  for i, name in ipairs(choices) do quoted[i] = type(name) == "string" and ('"%s"'):format(name) or tostring(name) end
  return rule(default, table.concat(quoted, " or "), function(value)
    for _, name in ipairs(choices) do
      if value == name then return value end
    end
  end)
end

--- What `wanted` names: values of a type (`is` is its name), or those that is(value) is true of.
function option.kind(wanted, is, default)
  return rule(default, wanted, function(value)
    if type(value) == is or type(is) == "function" and is(value) then return value end
  end)
end

function option.text(default) return option.kind("a text", "string", default) end

function option.table(default) return option.kind("a table", "table", default) end

--- Anything: what it may be is checked by who uses it.
function option.any(default)
  return rule(default, "a value", function(value) return value end)
end

option.COUNT = option.integer(nil, "[1, inf)")
option.INDEX = option.integer(nil, "[0, inf)")
option.WHOLE = option.integer(nil, "(-inf, inf)")
option.TENSOR = option.kind("a tensor", core.is_tensor)
option.FUNCTION = option.kind("a function", "function")
option.LIST = option.kind("a list", "table")
option.PATH = option.kind("a path, as text", function(value)
  return type(value) == "string" and value ~= "" and not value:find("\0", 1, true)
end)

-- -- checks -----------------------------------------------------------------------------------------------------------

--- A value as it may have been typed: 0.5, "same", {1, 2}.
function option.shown(value, depth)
  depth = depth or 0
  if core.is_tensor(value) then return "a tensor" end
  if type(value) == "string" then return ('"%s"'):format(value) end
  if type(value) == "function" then return "a function" end
  if value ~= value then return "nan" end
  if type(value) ~= "table" then return plain.text(value) end
  if getmetatable(value) ~= nil or #value == 0 or depth > 3 then return "a table" end
  local parts = {}
  for i = 1, math.min(#value, 8) do parts[i] = option.shown(value[i], depth + 1) end
  return ("{%s%s}"):format(table.concat(parts, ", "), #value > 8 and ", ..." or "")
end

--- A value as its rule wants it; raises "<where>: <what> is <value>, wanted ..." where it is something else.
function option.check(where, what, value, wanted)
  local accepted = wanted.accept(value)
  if accepted == nil then raise("%s: %s is %s, wanted %s", where, what, option.shown(value), wanted.wanted) end
  return accepted
end

--- A list, items 1..n and nothing else: raises where names or a hole stand in it, as what follows would not be read.
function option.list(where, what, list)
  local n, count = #list, 0
  for key, value in pairs(list) do
    if math.type(key) == "integer" and key >= 1 and key <= n then
      count = count + 1
    elseif key ~= "n" or value ~= n then -- that of table.pack
      key = type(key) == "string" and ("'%s'"):format(key) or option.shown(key)
      raise("%s: %s stands among %s, which are a list without names or holes", where, key, what)
    end
  end
  if count < n then raise("%s: %s are a list with a hole", where, what) end
end

--- Whether `value` is a list, and nothing else, of what `holds` says yes to.
function option.is_list(value, holds)
  if type(value) ~= "table" then return false end
  for i, item in pairs(value) do
    if math.type(i) ~= "integer" or i < 1 or i > #value or not holds(item) then return false end
  end
  return true
end

--- Raises for a name that is not among the keys of `known`.
function option.unknown(where, name, known)
  local near = strict.near(name, known)
  raise("%s: unknown option '%s'; %s %s", where, plain.text(name),
    #near > 0 and ("did you mean %s? There are"):format(table.concat(near, " or ")) or "there are",
    table.concat(plain.names(known), ", "))
end

--- What is chosen by {name, option = value, ...}, or by a name alone: the name, and a new table of its options.
function option.named(choice)
  if type(choice) ~= "table" then return choice, {} end
  return choice[1], option.without(choice, 1)
end

--- A copy of the options without that called `name` (nil: all of them).
function option.without(options, name)
  local rest = {}
  for key, value in pairs(options) do
    if key ~= name then rest[key] = value end
  end
  return rest
end

--- Options in words, that named `first` before the others: "lr 0.001, at {0.5, 0.75}".
function option.listed(options, first)
  local names, parts = plain.names(option.without(options, first)), {}
  if options[first] ~= nil then table.insert(names, 1, first) end
  for i, name in ipairs(names) do
    local value = options[name]
    if type(value) == "table" and not getmetatable(value) then
      local items = {}
      for k, item in ipairs(value) do items[k] = plain.text(item) end
      value = ("{%s}"):format(table.concat(items, ", "))
    end
    parts[i] = ("%s %s"):format(name, plain.text(value))
  end
  return table.concat(parts, ", ")
end

--- A caller's options as a table, a new one for nil; raises for what is none.
function option.given(where, given)
  if given ~= nil and (type(given) ~= "table" or getmetatable(given)) then
    raise("%s: options come as a table with names, got %s", where, option.shown(given))
  end
  return given or {}
end

--- The options in full. `known`: name -> rule. `given`: the caller's table, nil for none, which stays as it is; with
-- `list`, it may begin with items 1..n, which are handed on.
function option.read(where, given, known, list)
  local o = {}
  for name, wanted in pairs(known) do o[name] = wanted.default end
  for name, value in pairs(option.given(where, given)) do
    local wanted = known[name]
    if list and math.type(name) == "integer" then
      o[name] = value
    elseif not wanted then
      option.unknown(where, name, known)
    elseif value ~= false or wanted.default or wanted.accept(false) == false then
      o[name] = option.check(where, name, value, wanted)
    end
  end
  return o
end

return option
