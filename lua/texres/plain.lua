--- Plain text: the same under every locale. What is written to files and shown goes through here.
--
-- A host program may have set a locale. string.format, tostring and .. then write 0,5 for a half, tonumber takes "0,5"
-- for one, and < puts names in the order of that country's dictionaries.
--
--     plain.format("loss %.4f", loss)     as string.format, with a decimal point
--     plain.text(value)                   as tostring
--     plain.exact(value)                  a number with all the digits that it takes to read the same one back
--     plain.number "0.5"                  as tonumber; nil for "0,5" and for what is no text
--     plain.sort(names)                   in the order of their bytes; plain.less(a, b) for table.sort

local core = require "texres.core"

local plain = { format = core.format, exact = core.number_text, number = core.number_of, less = core.text_less }

--- Any value as tostring shows it.
function plain.text(value) return plain.format("%s", value) end

--- Sorts a list of strings in place, and returns it.
function plain.sort(list)
  table.sort(list, plain.less)
  return list
end

--- The texts among the keys of a table, sorted: what is written must not depend on chance.
function plain.names(t)
  local names = {}
  for name in pairs(t) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  return plain.sort(names)
end

--- A list of numbers with four digits after the point.
function plain.numbers(values, separator)
  local parts = {}
  for i, value in ipairs(values) do parts[i] = plain.format("%.4f", value) end
  return table.concat(parts, separator)
end

--- A share of 0 to 1 as people read it: 93.1 %.
function plain.percent(share) return plain.format("%.1f %%", 100 * share) end

--- A number as plain.format writes it, without a minus where only zeros are left: 0.0 for -0.01.
function plain.rounded(format, value)
  local text = plain.format(format, value)
  return text:find "^%s*%-[0.]+$" and plain.format(format, 0.0) or text
end

--- A difference of two shares as people read it, in points: +1.3.
function plain.points(share) return plain.rounded("%+.1f", 100 * share) end

--- A whole number as people read it: 1,234,567.
function plain.grouped(n)
  local sign, digits = ("%d"):format(n):match "^(%-?)(%d+)$"
  return sign .. digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
end

local function hexed(bytes)
  return (bytes:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

--- A text in which nothing steers a terminal: control bytes other than line breaks and tabs are written as \x1b, and so
-- are the characters that turn the direction of text (U+202E shows "gnp.exe" as "exe.png"). For names from files, which
-- may hold anything, on their way to a person, in a terminal or a page. Messages of the core keep the same rule.
function plain.visible(text) return core.visible(text) end

--- The same on one line.
function plain.visible_name(text) return (plain.visible(text):gsub("[\n\t]", hexed)) end

local MOST, ENDING = 40, 12 -- characters of a name that is shown, of its end

--- A name in a table, which a long one would push out: of more than 40 characters the beginning and the end.
function plain.short(name)
  local length = utf8.len(name)
  if (length or #name) <= MOST then return name end
  local function place(i)
    if length then return utf8.offset(name, i) end
    return i < 0 and #name + 1 + i or i
  end
  return name:sub(1, place(MOST - ENDING - 2) - 1) .. "..." .. name:sub(place(-ENDING))
end

local function shown(...)
  local value, message = ...
  if value == nil and type(message) == "string" then return nil, plain.visible(message) end
  return ...
end

--- A public function that returns nil and a message where it fails, such that the message is visible text: it may tell
-- names of files, columns and tensors. (Those of the core and of raise are already.)
function plain.telling(f)
  return function(...) return shown(f(...)) end
end

return plain
