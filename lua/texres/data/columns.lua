--- Columns of metadata from a CSV file or a Lua table.
--
-- A column is a list with one value per sample: numbers where every cell of the file is a number, else text.

local core = require "texres.core"
local plain = require "texres.plain"

local columns = {}

--- A cell as a number, or nil: "007" is a name, not a number.
local function to_number(text)
  if text == "0" or text:find "^%-?[1-9]%d*$" then return math.tointeger(text) end
  if text:find "^[+-]?%d*%.?%d+[eE]?[+-]?%d*$" and not text:find "^[+-]?0%d" then return plain.number(text) end
end

local function convert(cells)
  local values = {}
  for i, text in ipairs(cells) do
    values[i] = to_number(text)
    if values[i] == nil then return cells end
  end
  return values
end

--- Reads a CSV file: columns by name and the names in order; or nil and a message.
function columns.read(path)
  local names, cells = core.read_csv(path)
  if not names then return nil, cells end
  local meta = {}
  for c, name in ipairs(names) do
    if meta[name] then return nil, ("read_csv: %s: two columns are named '%s'"):format(path, name) end
    meta[name] = convert(cells[c])
  end
  return meta, names
end

--- "index.csv:source" -> "index.csv", "source"; "index.csv" -> "index.csv".
function columns.split_name(text)
  local path, column = text:match "^(.+%.[cCtT][sS][vV]):([^:]+)$"
  return path or text, column
end

--- The columns of an option: the path of a CSV file, a table of columns, or nothing; or nil and a message.
function columns.load(from, count)
  local meta, message = from or {}
  if type(from) == "string" then
    meta, message = columns.read(from)
    if not meta then return nil, message end
  end
  for name, values in pairs(meta) do
    if #values ~= count then
      local where = type(from) == "string" and from .. ": " or ""
      return nil, ("data: %scolumn '%s' has %d values, there are %d images"):format(where, name, #values, count)
    end
  end
  return meta
end

--- The name of the first of `wanted` (in small letters) that is a column, whatever the case of its letters.
function columns.find(meta, wanted)
  local known = {}
  for name in pairs(meta) do known[name:lower()] = name end
  for _, name in ipairs(wanted) do
    if known[name] then return known[name] end
  end
end

return columns
