--- Pieces of C: arrays of numbers, strings, comments.

local plain = require "texres.plain"

local c_text = {}

local WIDTH = 112

--- A text inside a comment: on one line, and nothing in it ends the comment, begins one, or is a trigraph.
function c_text.comment(text)
  return (plain.visible_name(text):gsub("%*/", "* /"):gsub("/%*", "/ *"):gsub("%?%?", "? ?"))
end

--- A string constant; what is no plain letter is written as its bytes in octal, a question mark such that no trigraph
-- is seen.
function c_text.string(text)
  return '"' .. text:gsub('[^ !#->@-%[%]-~]', function(byte)
    if byte == '"' or byte == "\\" or byte == "?" then return "\\" .. byte end
    return ("\\%03o"):format(byte:byte())
  end) .. '"'
end

--- Numbers with commas between them, as many to a line as fit: `format` is that of one, `width` how wide it may become.
function c_text.numbers(list, format, width)
  local lines, per_line = {}, math.max(1, WIDTH // (width + 1))
  local whole = (format .. ","):rep(per_line)
  for i = 1, #list, per_line do
    local last = math.min(i + per_line - 1, #list)
    local row = last - i + 1 == per_line and whole or (format .. ","):rep(last - i + 1)
    lines[#lines + 1] = "  " .. plain.format(row, table.unpack(list, i, last))
  end
  return table.concat(lines, "\n")
end

--- The definition of an array.
function c_text.array(kind, name, list, format, width)
  local aligned = kind:find "^int%d+_t" and "ALIGNED " or "" -- weights of a quantized network
  return ("static const %s%s %s[%d] = {\n%s\n};\n"):format(aligned, kind, name, #list,
    c_text.numbers(list, format, width))
end

--- One of floats, whose decimal digits give back the same bits.
function c_text.floats(name, list) return c_text.array("float", name, list, "%.9g", 13) end

--- One of whole numbers; `kind` is int8_t and the like.
function c_text.integers(kind, name, list)
  return c_text.array(kind, name, list, "%d", kind == "int16_t" and 5 or kind:find "int8" and 4 or 8)
end

--- A float with its suffix.
function c_text.float(value)
  local digits = plain.format("%.9g", value)
  return (digits:find "[.e]" and digits or digits .. ".0") .. "f"
end

--- {64,64,1}
function c_text.shape(shape) return "{" .. table.concat(shape, ",") .. "}" end

--- A text in which @NAME@ stands for values.NAME.
function c_text.fill(text, values) return (text:gsub("@(%u+)@", values)) end

return c_text
