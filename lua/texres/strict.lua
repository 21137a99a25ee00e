--- Members that don't exist: a name that is nearly right is an error.
--
--     tr.sofmax(x)         --> texres has no sofmax; did you mean softmax?
--     nn.Conv2D(1, 8, 3)   --> texres.nn has no Conv2D; did you mean Conv2d?
--     if tr.cuda then      --> nil, as of any table
--
-- A name is nearly that of a member when it differs in case and underscores alone, or by one letter that is wrong,
-- missing, too many or swapped with its neighbour (of 4 letters and more), or by two (7 and more). Reading it raises.
-- All other names give nil, so that a script can ask for what only another version has; rawget(t, name) asks for any.
--
-- Modules have attributes of their users: they raise for methods of the library only, and not for short names or for a
-- letter more or less at the end, as a class may well have a `buffer` or a `profiler`.
-- @module texres.strict

local plain = require "texres.plain"
local raise = require "texres.raise"

local strict = {}

local function letters(name) return (name:lower():gsub("_", "")) end

-- Whether a becomes b by at most `most` changes of a letter: put in, taken out, replaced, swapped with the next.
local function within(a, b, most)
  if math.abs(#a - #b) > most then return false end
  local before, row = {}, {} -- row[j]: changes from the first i letters of a to the first j of b
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local last
    before, row, last = row, { [0] = i }, before
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], last[j - 2] + 1)
      end
    end
  end
  return row[#b] <= most
end

-- When words of these letters are near to each other: a table's members, an object's, a module's.
local nearness = {}

function nearness.table(a, b)
  local shorter = math.min(#a, #b)
  return shorter >= 4 and within(a, b, shorter >= 7 and 2 or 1)
end

function nearness.object(a, b)
  return nearness.table(a, b) or (math.min(#a, #b) == 3 and math.max(#a, #b) == 4 and within(a, b, 1))
end

function nearness.module(a, b)
  local shorter = math.min(#a, #b)
  return shorter >= 6 and a:sub(1, shorter) ~= b:sub(1, shorter) and within(a, b, 1)
end

-- The names among the keys of these tables that `name` is nearly, sorted.
local function near_names(name, is_near, ...)
  local word, same, near, seen = letters(name), {}, {}, {}
  for _, members in ipairs { ... } do
    for member in next, members do
      if type(member) == "string" and member:sub(1, 1) ~= "_" and not seen[member] then
        seen[member] = true
        local other = letters(member)
        if other == word then
          same[#same + 1] = member
        elseif is_near(word, other) then
          near[#near + 1] = member
        end
      end
    end
  end
  return plain.sort(#same > 0 and same or near)
end

--- The keys of `members` that `name` is nearly, or that are a word of it (batch of batch_size), sorted; an empty list
-- where there are none.
function strict.near(name, members)
  if type(name) ~= "string" then return {} end
  local near, words = near_names(name, nearness.object, members), {}
  for word in name:gmatch "[^_]+" do
    if members[word] ~= nil and #word >= 4 then words[#words + 1] = word end
  end
  return #near > 0 and near or plain.sort(words)
end

-- A function that raises when a name is nearly a key of the tables that it is given, and gives nil otherwise.
local function checker(what, is_near)
  local fine, count = {}, 0 -- names that were looked at: a missing attribute may be asked for at every step
  return function(name, ...)
    if type(name) ~= "string" or fine[name] or name:sub(1, 1) == "_" then return nil end
    local found = near_names(name, is_near, ...)
    if #found > 0 then raise("%s has no %s; did you mean %s?", what, name, table.concat(found, " or ")) end
    if count == 1000 then fine, count = {}, 0 end
    fine[name], count = true, count + 1
  end
end

local function has(tables, name)
  for _, t in ipairs(tables or {}) do
    if rawget(t, name) ~= nil then return true end
  end
  return false
end

--- Makes a table strict, and hands it back. `lazy` (optional): members that are made when they are first read, name ->
-- function that makes it. `elsewhere` (optional): tables whose members are no typing errors here, but nil.
function strict.table(what, t, lazy, elsewhere)
  lazy = lazy or {}
  local check = checker(what, nearness.table)
  return setmetatable(t, {
    lazy = lazy, -- for who lists the members
    __index = function(_, name)
      local make = lazy[name]
      if not make then
        if not has(elsewhere, name) then check(name, t, lazy) end
        return nil
      end
      local value = make()
      rawset(t, name, value)
      return value
    end,
  })
end

local function as_set(names)
  local set = {}
  for _, name in ipairs(names or {}) do set[name] = true end
  return set
end

--- Makes the objects of a class (a table of methods) strict, and hands the class back. `optional`: a list of fields
-- that an object may lack.
function strict.class(what, class, optional)
  local check, may_lack = checker(what, nearness.object), as_set(optional)
  class.__index = function(self, name)
    local value = class[name]
    if value == nil and not may_lack[name] then return check(name, self, class, may_lack) end
    return value
  end
  return class
end

--- For the end of a chain of classes whose objects have attributes of their users: a function for __index.
function strict.module(what, methods)
  local check = checker(what, nearness.module)
  return function(_, name) return check(name, methods) end
end

--- For the methods of tensors, which are looked up in C; `properties`: a list of what else a tensor has.
function strict.methods(what, methods, properties)
  local check, known = checker(what, nearness.table), as_set(properties)
  return setmetatable(methods, { __index = function(_, name) return check(name, methods, known) end })
end

return strict
