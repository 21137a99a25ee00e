--- Tables of what is known of each sample, from a CSV file or from Lua, joined to the samples they belong to.
--
--     { where = "textile/index.csv", columns = { roll = { 12.1, 12.2 } }, text = { roll = { "12.1", "12.2" } },
--       lines = { 2, 3 } }
--
-- The type of a CSV column is decided here alone. It holds numbers where each of its cells prints back as it stood
-- (12.5, -3, 1e-05, nan; not 12.10, 007, +5, 1e3, 0x10) and no number is written in two ways (1 and 1.0); an empty
-- cell among them is false, "none". Every other column is text, to the letter.

local core = require "texres.core"
local plain = require "texres.plain"
local files = require "texres.files"
local names = require "texres.data.names"
local raise = require "texres.raise"

local columns = {}

-- -- cells -----------------------------------------------------------------------------------------------------------

--- A number as text that reads back as the same number, of the same type.
local function print_number(value)
  if value ~= value then return "nan" end
  local text = plain.exact(value)
  return math.type(value) == "float" and text:find "^%-?%d+$" and text .. ".0" or text
end

--- A cell as a number, or nil where it doesn't print back.
local function to_number(text)
  if text == "nan" then return 0 / 0 end
  if text == "inf" then return math.huge end
  if text == "-inf" then return -math.huge end
  local value = text:find "^%-?%d[%d.e+-]*$" and plain.number(text)
  return value and print_number(value) == text and value or nil
end

--- Whether a text would be read as a number.
function columns.is_number(text) return to_number(text) ~= nil end

-- An apostrophe at the front marks a cell as text, as in spreadsheets: one that they would run as a formula ('=1+1) or
-- that would be read as a number ('12). A text that looks like a marked one is marked itself.
local formula = "^[=+%-@\t\r]"

local function is_marked(text)
  local rest = text:match "^'+(.*)$"
  return rest ~= nil and (rest:find(formula) ~= nil or to_number(rest) ~= nil)
end

local function to_text(cell) return cell:byte() == 39 and is_marked(cell) and cell:sub(2) or cell end

--- A value as a cell of a CSV file, to be read back as it went. False, "none", becomes an empty cell.
-- @param as_text whether a text that would be read as a number is marked as text
function columns.cell(value, as_text)
  if value == false then return "" end
  if type(value) == "number" then return print_number(value) end
  local text = tostring(value)
  if text:find("\0", 1, true) then raise("save: '%s' holds a zero byte, which a CSV file can't", text) end
  if text:find(formula) or is_marked(text) or as_text and to_number(text) then text = "'" .. text end
  if text:find '[",;\t\r\n]' or text:find "^ " or text:find " $" then text = '"' .. text:gsub('"', '""') .. '"' end
  return text
end

--- Cells as a column of numbers, or nil.
local function to_numbers(cells)
  local values, written, any = {}, {}, false
  for i, text in ipairs(cells) do
    local value = text ~= "" and to_number(text)
    if value == nil then return nil end
    if value and value == value then
      if written[value] and written[value] ~= text then return nil end
      written[value] = text
    end
    values[i], any = value, any or value ~= false
  end
  return any and values or nil
end

--- The names of groups or folders as a column: of numbers or text, by the same rule.
function columns.typed(cells) return to_numbers(cells) or cells end

-- -- tables ----------------------------------------------------------------------------------------------------------

--- Reads a CSV file; or nil and a message.
function columns.read(path)
  local titles, cells, lines = core.read_csv(path)
  if not titles then return nil, cells end
  local t = { where = path, columns = {}, text = {}, lines = lines }
  for c, title in ipairs(titles) do
    local name, text = to_text(title), cells[c]
    if t.text[name] then return nil, ("read_csv: %s: two columns are named '%s'"):format(path, name) end
    t.columns[name] = to_numbers(text)
    for i, cell in ipairs(text) do text[i] = to_text(cell) end
    t.text[name] = text
    t.columns[name] = t.columns[name] or text
  end
  return t
end

--- A table from columns in Lua, lists or tensors {n} with one value per sample.
local function from_lua(given)
  local t = { where = "meta", columns = {}, text = {} }
  if type(given) ~= "table" then
    raise("data: meta is a path of a CSV file or a table of columns, got %s", type(given))
  end
  for name, values in pairs(given) do
    if type(name) ~= "string" then raise("data: meta holds columns by name, it has a column %s", tostring(name)) end
    if core.is_tensor(values) then values = values:totable() end
    if type(values) ~= "table" then raise("data: column '%s' must be a list, got %s", name, type(values)) end
    local text = {}
    for i = 1, #values do
      local kind = type(values[i])
      if kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
        raise("data: column '%s' holds numbers, text and booleans, value %d is a %s", name, i, kind)
      end
      text[i] = kind == "number" and print_number(values[i]) or tostring(values[i])
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
  local list = {}
  for name in pairs(known) do list[#list + 1] = ("'%s'"):format(name) end
  plain.sort(list)
  return #list > 0 and table.concat(list, ", ") or "none"
end

--- Those of `wanted` (in small letters) that are columns, in that order, whatever the case of their letters.
function columns.find_all(known, wanted)
  local spelt, found = {}, {}
  for name in pairs(known) do
    local bare = name:lower():match "^%s*(.-)%s*$"
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

-- -- rows to samples -------------------------------------------------------------------------------------------------
--
-- samples: count; and for pictures `paths`, one per sample, and `ordered`, whether the user knows their order (from a
-- list of his); `root` is the folder that paths may begin in.

--- "a/./b//../c.png" -> "a/c.png"
local function normalize(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." and #parts > 0 and parts[#parts] ~= ".." then
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return (path:sub(1, 1) == "/" and "/" or "") .. table.concat(parts, "/")
end

local function count_hits(keys, wanted)
  local hits = 0
  for _, key in ipairs(keys) do
    if wanted[key] then hits = hits + 1 end
  end
  return hits
end

--- The paths of a table as those of the pictures are written. They may begin in the table's own folder, in that of the
-- pictures, or where the program runs: what fits most rows is taken.
local function resolve(t, cells, samples, wanted)
  local own = t.where:match "^(.*)/[^/]*$" or "."
  local best, most
  for _, base in ipairs { own, samples.root or ".", "." } do
    local keys = {}
    for i, path in ipairs(cells) do keys[i] = normalize(path:sub(1, 1) == "/" and path or base .. "/" .. path) end
    local hits = count_hits(keys, wanted)
    if not best or hits > most then best, most = keys, hits end
  end
  return best
end

--- The first few of a list, as text.
local function some(list)
  return table.concat(list, ", ", 1, math.min(#list, 3)) .. (#list > 3 and ", ..." or "")
end

--- What keeps rows and pictures apart, as a message; nil when every row is a picture's and every picture has a row.
local function misfits(t, cells, keys, row_of, samples, wanted)
  local bare, extra = {}, {}
  for i, path in ipairs(samples.paths) do
    if not row_of[normalize(path)] then bare[#bare + 1] = ("'%s'"):format(samples.paths[i]) end
  end
  for i, key in ipairs(keys) do
    if not wanted[key] then extra[#extra + 1] = ("'%s' %s"):format(cells[i], columns.at(t, i)) end
  end
  local found = {}
  if #bare > 0 then found[1] = ("%d of %d pictures have no row: %s"):format(#bare, samples.count, some(bare)) end
  if #extra > 0 then
    found[#found + 1] = ("%d of %d rows are of no picture: %s"):format(#extra, #keys, some(extra))
  end
  return found[1] and ("data: %s: %s"):format(t.where, table.concat(found, "; "))
end

local function is_same_order(keys, paths)
  if #keys ~= #paths then return false end
  for i, path in ipairs(paths) do
    if keys[i] ~= normalize(path) then return false end
  end
  return true
end

local function count_up(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

--- The row of each sample by its path; or nil and a message.
local function match_paths(t, cells, samples)
  local wanted, row_of, rows = {}, {}, {}
  for _, path in ipairs(samples.paths) do wanted[normalize(path)] = true end
  local keys = resolve(t, cells, samples, wanted)
  if is_same_order(keys, samples.paths) then return count_up(#keys) end -- where a picture may stand twice
  for i, key in ipairs(keys) do
    if row_of[key] then
      return nil, ("data: %s: picture '%s' stands there twice, %s and %s"):format(t.where, cells[i],
        columns.at(t, row_of[key]), columns.at(t, i))
    end
    row_of[key] = i
  end
  local message = misfits(t, cells, keys, row_of, samples, wanted)
  if message then return nil, message end
  for i, path in ipairs(samples.paths) do rows[i] = row_of[normalize(path)] end
  return rows
end

local function pick(list, rows)
  local picked = {}
  for i, row in ipairs(rows) do picked[i] = list[row] end
  return picked
end

--- Says so when a column `index`, which counts images from 0, is in another order than the rows.
local function warn_of_order(t)
  local index, seen, moved = t.columns.index or {}, {}, nil
  for i, value in ipairs(index) do
    if math.type(value) ~= "integer" or value < 0 or value >= #index or seen[value] then return end
    seen[value], moved = true, moved or value ~= i - 1 and i or nil
  end
  if not moved then return end
  require("texres").warn(("data: %s: column 'index' is not in the order of the rows, first %s; row k is taken to be of "
    .. "image k"):format(t.where, columns.at(t, moved)))
end

--- The table with a row per sample in their order: by the column of paths where the samples are pictures, else by
-- position; or nil and a message.
local function join(t, samples)
  local path = columns.find_all(t.text, names.paths)[1]
  if samples.paths and path then
    local rows, message = match_paths(t, t.text[path], samples)
    if not rows then return nil, message end
    for name in pairs(t.text) do
      t.text[name], t.columns[name] = pick(t.text[name], rows), pick(t.columns[name], rows)
    end
    if t.lines then t.lines = pick(t.lines, rows) end
    t.columns[path] = nil -- the samples' own say the same
    return t
  end
  if samples.paths and not samples.ordered and next(t.text) then
    return nil, ("data: %s: no column of paths (%s) says which row belongs to which picture (columns: %s)")
      :format(t.where, table.concat(names.paths, ", "), columns.list(t.text))
  end
  for name, values in pairs(t.columns) do
    if #values ~= samples.count then
      return nil, ("data: %s: column '%s' has %d values, there are %d images"):format(t.where, name, #values,
        samples.count)
    end
  end
  if not samples.paths then warn_of_order(t) end
  return t
end

--- A path as it stands or, where no such file is, from the samples' folder on.
function columns.locate(path, samples)
  local inside = samples.root and samples.root .. "/" .. path
  return not files.exists(path) and inside and files.exists(inside) and inside or path
end

--- The table of an option (the path of a CSV file, columns in Lua) with a row per sample; or nil and a message.
function columns.open(from, samples)
  local t, message
  if type(from) == "string" then t, message = columns.read(columns.locate(from, samples)) else t = from_lua(from) end
  if not t then return nil, message end
  return join(t, samples)
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
for _, word in ipairs { "na", "n/a", "#n/a", "null", "none", "nil", "?", "-" } do nothing[word] = true end

--- Whether a value says that there is none: nil, false, NaN, an empty text; among numbers also NA and its like.
function columns.is_missing(value, among_numbers)
  if type(value) ~= "string" then return value == nil or value == false or value ~= value end
  local bare = value:lower():match "^%s*(.-)%s*$"
  return bare == "" or bare:find "^[+-]?nan$" ~= nil or among_numbers and nothing[bare] or false
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
