--- Tables of what is known of each sample, from a CSV file or from Lua.
--
--     { where = "textile/index.csv", columns = { roll = { 12.1, 12.2 } }, text = { roll = { "12.1", "12.2" } },
--       lines = { 2, 3 } }
--
-- `columns` hold numbers or text (see texres.data.cells), `text` the cells as they stand.

local core = require "texres.core"
local plain = require "texres.plain"
local cells = require "texres.data.cells"
local names = require "texres.data.names"
local option = require "texres.options"
local raise = require "texres.raise"

local columns = {}

--- Reads a CSV file, of which max_bytes may be made (nil: as core.read_csv says); or nil and a message.
function columns.read(path, max_bytes)
  local titles, read, lines = core.read_csv(path, { max_bytes = max_bytes })
  if not titles then return nil, read end
  local t = { where = path, columns = {}, text = {}, lines = lines }
  for c, title in ipairs(titles) do
    local name = cells.text(title)
    if t.text[name] then return nil, ("read_csv: %s: two columns are named '%s'"):format(path, name) end
    t.columns[name], t.text[name] = cells.typed(read[c])
  end
  return t
end

local META = option.kind("a path of a CSV file or a table of columns", "table")

--- A table from columns in Lua, lists or tensors {n} with one value per sample.
function columns.from_lua(given)
  local t = { where = "meta", columns = {}, text = {} }
  option.check("data", "meta", given, META)
  for name, values in pairs(given) do
    if type(name) ~= "string" then raise("data: meta holds columns by name, it has a column %s", tostring(name)) end
    if core.is_tensor(values) then values = values:totable() end
    option.check("data", ("column '%s'"):format(name), values, option.LIST)
    local text = {}
    for i = 1, #values do
      local kind = type(values[i])
      if kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
        raise("data: column '%s' holds numbers, text and booleans, value %d is a %s", name, i, kind)
      end
      text[i] = kind == "number" and cells.print(values[i]) or tostring(values[i])
    end
    t.columns[name], t.text[name] = values, text
  end
  return t
end

--- Where in its table row i stands: "in line 7".
function columns.at(t, i)
  return t.lines and ("in line %d"):format(t.lines[i]) or ("at position %d"):format(i)
end

--- Names of columns in order, for messages: "'angle', 'roll'".
function columns.list(known)
  local list = table.concat(plain.names(known), "', '")
  return list ~= "" and "'" .. list .. "'" or "none"
end

--- Those of `wanted` (in small letters) that are columns, in that order, whatever the case of their letters.
function columns.find_all(known, wanted)
  local spelt, found = {}, {}
  for name in pairs(known) do
    local bare = names.bare(name)
    spelt[bare] = spelt[bare] or {}
    table.insert(spelt[bare], name)
  end
  for _, name in ipairs(wanted) do
    local names_of = plain.sort(spelt[name] or {})
    table.move(names_of, 1, #names_of, #found + 1, found)
  end
  return found
end

--- The first row at which a value of column a stands beside another value of b than before, or the other way round; nil
-- where the two say the same in other words.
function columns.disagreement(a, b)
  local of_a, of_b = {}, {}
  for i, x in ipairs(a) do
    local y = b[i]
    if x == x and y == y and ((of_a[x] or y) ~= y or (of_b[y] or x) ~= x) then return i end
    if x == x and y == y then of_a[x], of_b[y] = y, x end
  end
end

--- "index.csv:source" -> "index.csv", "source"; "index.csv" -> "index.csv".
function columns.split_name(text)
  local path, column = text:match "^(.-%.[cC][sS][vV]):(.+)$"
  return path or text, column
end

-- -- tables together -------------------------------------------------------------------------------------------------

local function same(a, b) return a == b or a ~= a and b ~= b end

--- Adds the columns of a table to `all` ({ columns =, from = table by column }); a message when a column is there
-- already and says something else.
function columns.add(all, t)
  for name, values in pairs(t.columns) do
    local have = all.columns[name]
    for i = 1, have and #values or 0 do
      if not same(have[i], values[i]) then
        local first = all.from[name]
        return ("data: two columns are named '%s' and differ: in %s '%s' %s, in %s '%s' %s"):format(name, first.where,
          plain.text(have[i]), columns.at(first, i), t.where, plain.text(values[i]), columns.at(t, i))
      end
    end
    if not have then all.columns[name], all.from[name] = values, t end
  end
end

-- -- columns that name things ----------------------------------------------------------------------------------------

--- What people write where they know no value. Among numbers these are no names.
local nothing = {}
for _, word in ipairs { "na", "n/a", "#n/a", "#na", "<na>", "nat", "null", "none", "nil", "?", "-" } do
  nothing[word] = true
end

--- NaN as programs print it: nan, -nan, nan(ind), 1.#QNAN.
local function is_nan(bare)
  return bare:find "^[+-]?nan$" ~= nil or bare:find "^[+-]?nan%(.*%)$" ~= nil or bare:find "^[+-]?1%.#%a+$" ~= nil
end

--- Whether a value says that there is none: nil, false, NaN, an empty text; among numbers also NA and its like.
function columns.is_missing(value, among_numbers)
  if type(value) ~= "string" then return value == nil or value == false or value ~= value end
  local bare = value:lower():match "^%s*(.-)%s*$"
  return bare == "" or is_nan(bare) or among_numbers and nothing[bare] or false
end

--- Whether values are numbers, but for words for none.
local function are_numbers(values)
  local any = false
  for i = 1, #values do
    local number = type(values[i]) == "number" or plain.number(values[i])
    if not number and not columns.is_missing(values[i], true) then return false end
    any = any or number ~= nil
  end
  return any
end

--- Looks at values that name something, labels or groups: a message when one is missing, or two differ in blanks
-- alone.
-- @param t where they stand: where =, lines = or nil
function columns.check(values, what, t)
  local among_numbers, spelt = are_numbers(values), {}
  for i = 1, #values do
    local value = values[i]
    if columns.is_missing(value, among_numbers) then
      local text = value ~= value and "nan" or value or ""
      return ("data: %s: the %s %s is missing%s"):format(t.where, what, columns.at(t, i),
        text ~= "" and (" (it is '%s')"):format(text) or "")
    end
    if type(value) == "string" then
      local bare = value:match "^%s*(.-)%s*$"
      if spelt[bare] and spelt[bare] ~= value then
        return ("data: %s: the %s '%s' %s differs from '%s' in blanks alone"):format(t.where, what, value,
          columns.at(t, i), spelt[bare])
      end
      spelt[bare] = value
    end
  end
end

return columns
