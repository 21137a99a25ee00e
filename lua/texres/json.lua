--- JSON (RFC 8259): plain data to text and back, exactly and in a fixed order.
--
--     json.encode { name = "hole", sizes = { 64, 64 } }     --> {"name":"hole","sizes":[64,64]}
--     json.decode '{"loss": 0.25}'                            --> { loss = 0.25 }
--
-- A table with the keys 1..n is an array, any other an object whose names are sorted; __jsontype = "array" or "object"
-- in its metatable decides for empty ones, and __jsonorder, a list of names, puts those first. Integers stay integers,
-- other numbers keep all their digits.
--
-- What JSON lacks is written so that it comes back and other programs can still read the text: nan as null (and null is
-- read as nan, so a list keeps its length), the infinities as 1e999 and -1e999, bytes that are not UTF-8 as half of a
-- surrogate pair, \udc80 to \udcff, as Python's surrogateescape does.
--
-- This is not left to a library because the module needs none, and dkjson loses digits of numbers and bounds neither
-- the depth nor the size of what a hostile file makes.

local plain = require "texres.plain"
local protect = require "texres.protect"

local json = {}

local MAX_DEPTH = 200 -- of tables in tables
local MAX_BYTES = 16 << 20 -- of a text to be read, and of what is made of it
local VALUE_BYTES = 16 -- what a value and a name count for, as one takes in a list: a short text can hold many

local function fail(message) error(message, 0) end -- caught at the top

-- -- writing ----------------------------------------------------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- Text with its bytes that are not UTF-8 replaced.
local function escape_bytes(text)
  local parts, at = {}, 1
  local _, bad = utf8.len(text)
  while bad do
    parts[#parts + 1] = text:sub(at, bad - 1)
    parts[#parts + 1] = ("\\udc%02x"):format(text:byte(bad))
    at = bad + 1
    _, bad = utf8.len(text, at)
  end
  return table.concat(parts) .. text:sub(at)
end

local function quote(text)
  text = text:gsub('[\0-\31\127"\\]', function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end)
  return '"' .. (utf8.len(text) and text or escape_bytes(text)) .. '"'
end

local function number(value)
  if value ~= value then return "null" end
  if value == math.huge or value == -math.huge then return value > 0 and "1e999" or "-1e999" end
  local text = plain.exact(value)
  return (math.type(value) == "integer" or text:find "[.e]") and text or text .. ".0"
end

local function is_array(value)
  local meta = getmetatable(value)
  local wanted = type(meta) == "table" and meta.__jsontype or nil
  if wanted == "object" then return false end
  local count, last = 0, 0 -- of its items; false where it has other keys
  for key in pairs(value) do
    count = count + 1
    last = last and math.type(key) == "integer" and key >= 1 and math.max(last, key)
  end
  if last and last > count then fail(("a list of %d items has one at %d: it has holes"):format(count, last)) end
  if wanted and not last then fail "a list has other keys than 1..n" end
  return wanted ~= nil or last and last > 0
end

-- Which of the keys of an object is no name, as a message.
local function key_message(value, key)
  for name in pairs(value) do
    if type(name) == "string" then return ("a table has both names and the key %s"):format(plain.text(key)) end
  end
  return ("a table has the key %s, which is neither a name nor one of 1..n"):format(plain.text(key))
end

--- The names of an object: those of __jsonorder first, then the others sorted.
local function names_of(value)
  local meta, names, seen = getmetatable(value), {}, {}
  for _, name in ipairs(type(meta) == "table" and meta.__jsonorder or {}) do
    if value[name] ~= nil then names[#names + 1], seen[name] = name, true end
  end
  for key in pairs(value) do
    if type(key) ~= "string" then fail(key_message(value, key)) end
  end
  for _, name in ipairs(plain.names(value)) do
    if not seen[name] then names[#names + 1] = name end
  end
  return names
end

local write -- function(out, value, depth)

local function write_table(out, value, depth)
  if depth > MAX_DEPTH then fail "nested too deeply" end
  local array = is_array(value)
  out[#out + 1] = array and "[" or "{"
  for i, key in ipairs(array and value or names_of(value)) do
    if i > 1 then out[#out + 1] = "," end
    if not array then out[#out + 1] = quote(key) .. ":" end
    write(out, array and key or value[key], depth + 1)
  end
  out[#out + 1] = array and "]" or "}"
end

function write(out, value, depth)
  local kind = type(value)
  if kind == "table" then
    write_table(out, value, depth)
  elseif kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  else
    fail("JSON can't hold a " .. kind)
  end
end

local function write_all(value)
  local out = {}
  write(out, value, 1)
  return table.concat(out)
end

--- `value` as text on one line; or nil and a message.
function json.encode(value) return protect.catch(write_all, value) end

-- -- reading ----------------------------------------------------------------------------------------------------------
--
-- Every reader takes the text and the position where a value begins, and returns the value and the position after it.

local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local COMMA, COLON, QUOTE, BACKSLASH, CLOSE_LIST, CLOSE_OBJECT = byte(",:\"\\]}", 1, 6)

local function fail_at(text, at, message)
  local _, lines = text:sub(1, at - 1):gsub("\n", "")
  fail(("%s at line %d, byte %d"):format(message, lines + 1, at))
end

local function skip(text, at) return find(text, "[^ \t\r\n]", at) or #text + 1 end

local UNESCAPED = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

--- A \uXXXX escape, or two that stand for one character beyond 16 bits, or one that stands for a byte.
local function read_unicode(text, at)
  local code = tonumber(text:match("^%x%x%x%x", at) or "", 16)
  if not code then fail_at(text, at, "a bad \\u escape") end
  at = at + 4
  if code >= 0xD800 and code < 0xDC00 then
    local low = tonumber(text:match("^\\u(%x%x%x%x)", at) or "", 16)
    if not low or low < 0xDC00 or low > 0xDFFF then fail_at(text, at, "half of a surrogate pair") end
    return utf8.char(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 6
  end
  if code >= 0xDC80 and code < 0xDD00 then return string.char(code - 0xDC00), at end
  if code >= 0xDC00 and code < 0xE000 then fail_at(text, at, "half of a surrogate pair") end
  return utf8.char(code), at
end

local function read_string(text, at)
  at = at + 1
  local whole, after = match(text, '^([^\0-\31"\\]*)"()', at)
  if after then return whole, after end -- nothing to unescape
  local parts = {}
  while true do
    local stop = find(text, '[\0-\31"\\]', at) or fail_at(text, at, "a string without its end")
    parts[#parts + 1] = sub(text, at, stop - 1)
    local c, escape = byte(text, stop), sub(text, stop + 1, stop + 1)
    if c == QUOTE then return table.concat(parts), stop + 1 end
    if c ~= BACKSLASH then fail_at(text, stop, "a control character in a string") end
    at = stop + 2
    if escape == "u" then
      parts[#parts + 1], at = read_unicode(text, at)
    else
      parts[#parts + 1] = UNESCAPED[escape] or fail_at(text, stop, "an unknown escape")
    end
  end
end

local function read_number(text, at)
  local literal = text:match("^-?%d+%.?%d*[eE]?[-+]?%d*", at)
  local value = literal and not literal:find "^-?0%d" and not literal:find "%.[eE]" and not literal:find "%.$"
    and plain.number(literal)
  if not value then fail_at(text, at, "not a value") end
  return value, at + #literal
end

local read -- function(text, at, depth)

local left, most -- how many values and names may still be read; of how many

local function count_value()
  left = left - 1
  if left >= 0 then return end
  fail(("JSON of more than %d values and names: max_bytes raises that, %d for each"):format(most, VALUE_BYTES))
end

--- The position of what follows an item: the next one, or nil and the position after the closing bracket.
local function next_item(text, at, close)
  at = skip(text, at)
  local c = byte(text, at)
  if c == COMMA then return skip(text, at + 1) end
  if c ~= close then fail_at(text, at, ("expected , or %s"):format(string.char(close))) end
  return nil, at + 1
end

local function read_array(text, at, depth)
  local list, n = {}, 0
  at = skip(text, at + 1)
  if byte(text, at) == CLOSE_LIST then return list, at + 1 end
  local stop
  repeat
    n = n + 1
    list[n], at = read(text, at, depth + 1)
    at, stop = next_item(text, at, CLOSE_LIST)
  until not at
  return list, stop
end

local function read_object(text, at, depth)
  local object = {}
  at = skip(text, at + 1)
  if byte(text, at) == CLOSE_OBJECT then return object, at + 1 end
  local name, stop
  repeat
    if byte(text, at) ~= QUOTE then fail_at(text, at, "expected a name in quotes") end
    local start = at
    count_value()
    name, at = read_string(text, at)
    if object[name] ~= nil then fail_at(text, start, ("the name %s stands twice"):format(quote(name))) end
    at = skip(text, at)
    if byte(text, at) ~= COLON then fail_at(text, at, "expected :") end
    object[name], at = read(text, skip(text, at + 1), depth + 1)
    at, stop = next_item(text, at, CLOSE_OBJECT)
  until not at
  return object, stop
end

local function word(literal, value)
  return function(text, at)
    if sub(text, at, at + #literal - 1) ~= literal then fail_at(text, at, "not a value") end
    return value, at + #literal
  end
end

local READERS = {
  [byte "{"] = read_object, [byte "["] = read_array, [QUOTE] = read_string,
  [byte "t"] = word("true", true), [byte "f"] = word("false", false), [byte "n"] = word("null", -(0 / 0)),
}

function read(text, at, depth)
  if depth > MAX_DEPTH then fail_at(text, at, "nested too deeply") end
  count_value()
  local reader = READERS[byte(text, at)] or read_number
  return reader(text, at, depth)
end

local function read_all(text)
  local value, at = read(text, skip(text, 1), 1)
  at = skip(text, at)
  if at <= #text then fail(("something follows the value at byte %d"):format(at)) end
  return value
end

--- The value that `text` stands for; or nil and a message. Damaged text never raises. A text of more than `max_bytes`
-- (default: 16 MiB) is not read, nor one of more values and names than `max_bytes` holds with 16 for each (1,048,576).
function json.decode(text, max_bytes)
  max_bytes = max_bytes or MAX_BYTES
  if #text > max_bytes then
    return nil, ("%d bytes of JSON: at most %d are read; max_bytes raises that"):format(#text, max_bytes)
  end
  most = max_bytes // VALUE_BYTES
  left = most
  return protect.catch(read_all, text)
end

return json
