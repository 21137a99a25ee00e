--- Cells of CSV files: of which type a column is, and what is written to be read back as it went.
--
-- The type of a column is decided here alone. It holds numbers where each of its cells prints back as it stood (12.5,
-- -3, 1e-05, nan; not 12.10, 007, +5, 1e3, 0x10) and no number is written in two ways (1 and 1.0); an empty cell among
-- them is false, "none". Every other column is text, to the letter.

local plain = require "texres.plain"
local raise = require "texres.raise"

local cells = {}

--- A number as text that reads back as the same number, of the same type.
function cells.print(value)
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
  return value and cells.print(value) == text and value or nil
end

--- Whether a text would be read as a number.
function cells.is_number(text) return to_number(text) ~= nil end

-- An apostrophe at the front marks a cell as text, as in spreadsheets: one that they would run as a formula ('=1+1) or
-- that would be read as a number ('12). A text that looks like a marked one is marked itself.
local formula = "^[=+%-@\t\r]"

local function is_marked(text)
  local rest = text:match "^'+(.*)$"
  return rest ~= nil and (rest:find(formula) ~= nil or to_number(rest) ~= nil)
end

--- A cell of text without its mark.
function cells.text(cell) return cell:byte() == 39 and is_marked(cell) and cell:sub(2) or cell end

--- A value as a cell of a CSV file, to be read back as it went. False, "none", becomes an empty cell.
-- @param as_text whether a text that would be read as a number is marked as text
function cells.write(value, as_text)
  if value == false then return "" end
  if type(value) == "number" then return cells.print(value) end
  local text = tostring(value)
  if text:find("\0", 1, true) then raise("save: '%s' holds a zero byte, which a CSV file can't", text) end
  if text:find(formula) or is_marked(text) or as_text and to_number(text) then text = "'" .. text end
  if text:find '[",;\t\r\n]' or text:find "^ " or text:find " $" then text = '"' .. text:gsub('"', '""') .. '"' end
  return text
end

--- A column of numbers from its cells, or nil.
local function to_numbers(column)
  local values, written, any = {}, {}, false
  for i, text in ipairs(column) do
    local value = text ~= "" and to_number(text)
    if value == nil then return nil end
    if value and value == value then
      local kind = math.type(value)
      if (written[value] or kind) ~= kind then return nil end
      written[value] = kind
    end
    values[i], any = value, any or value ~= false
  end
  return any and values or nil
end

--- The values of a column of cells, numbers or text without its marks; and the text of each.
function cells.typed(column)
  local numbers, text = to_numbers(column), {}
  if numbers then return numbers, column end
  for i, cell in ipairs(column) do text[i] = cells.text(cell) end
  return text, text
end

return cells
