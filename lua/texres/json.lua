--- JSON (RFC 8259): plain data to text and back, exactly and in a fixed order.
--
--     json.encode { name = "hole", sizes = { 64, 64 } }     --> {"name":"hole","sizes":[64,64]}
--     json.decode '{"loss": 0.25}'                            --> { loss = 0.25 }
--
-- A table with the keys 1..n is an array, any other an object whose names are sorted; __jsontype = "array" or "object"
-- in its metatable decides for empty ones, and __jsonorder, a list of names, puts those first. Integers stay integers,
-- other numbers keep all their digits; nan and the infinities, which JSON lacks, become null. null is read as nil.

local plain = require "texres.plain"

local json = {}

local MAX_DEPTH = 200 -- of tables in tables

-- -- writing ----------------------------------------------------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(text)
  return '"' .. text:gsub('[\0-\31\127"\\]', function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function number(value)
  if value - value ~= 0 then return "null" end
  local text = plain.exact(value)
  return (math.type(value) == "integer" or text:find "[.e]") and text or text .. ".0"
end

local function is_array(value)
  local meta = getmetatable(value)
  local wanted = type(meta) == "table" and meta.__jsontype
  if wanted then return wanted == "array" end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count > 0 and count == #value
end

--- The names of an object: those of __jsonorder first, then the others sorted.
local function names_of(value)
  local meta, names, seen = getmetatable(value), {}, {}
  for _, name in ipairs(type(meta) == "table" and meta.__jsonorder or {}) do
    if value[name] ~= nil then names[#names + 1], seen[name] = name, true end
  end
  local rest = {}
  for name in pairs(value) do
    if type(name) ~= "string" then error(("a table has both names and the key %s"):format(tostring(name)), 0) end
    if not seen[name] then rest[#rest + 1] = name end
  end
  plain.sort(rest)
  return table.move(rest, 1, #rest, #names + 1, names)
end

local write -- function(out, value, depth)

local function write_table(out, value, depth)
  if depth > MAX_DEPTH then error("nested too deeply", 0) end
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
    error("JSON can't hold a " .. kind, 0)
  end
end

--- `value` as text on one line; or nil and a message.
function json.encode(value)
  local out = {}
  local ok, message = pcall(write, out, value, 1)
  if not ok then return nil, message end
  return table.concat(out)
end

-- -- reading ----------------------------------------------------------------------------------------------------------
--
-- Every reader takes the text and a position, and returns the value and the position after it; failures are raised as
-- {message} and caught in decode.

local function fail(text, at, message)
  local _, lines = text:sub(1, at - 1):gsub("\n", "")
  error({ ("%s at line %d, byte %d"):format(message, lines + 1, at) }, 0)
end

local function skip(text, at) return text:find("[^ \t\r\n]", at) or #text + 1 end

local UNESCAPED = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

--- A \uXXXX escape, or two that stand for one character beyond 16 bits.
local function read_unicode(text, at)
  local code = tonumber(text:match("^%x%x%x%x", at), 16)
  if not code then fail(text, at, "a bad \\u escape") end
  at = at + 4
  if code >= 0xD800 and code < 0xDC00 then
    local low = tonumber(text:match("^\\u(%x%x%x%x)", at), 16)
    if not low or low < 0xDC00 or low > 0xDFFF then fail(text, at, "half of a surrogate pair") end
    return utf8.char(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 6
  end
  if code >= 0xDC00 and code < 0xE000 then fail(text, at, "half of a surrogate pair") end
  return utf8.char(code), at
end

local function read_string(text, at)
  local parts = {}
  while true do
    local stop = text:find('[\0-\31"\\]', at)
    if not stop then fail(text, at, "a string without its end") end
    parts[#parts + 1] = text:sub(at, stop - 1)
    local c = text:sub(stop, stop)
    if c == '"' then return table.concat(parts), stop + 1 end
    if c ~= "\\" then fail(text, stop, "a control character in a string") end
    local escape = text:sub(stop + 1, stop + 1)
    at = stop + 2
    if escape == "u" then
      parts[#parts + 1], at = read_unicode(text, at)
    else
      parts[#parts + 1] = UNESCAPED[escape] or fail(text, stop, "an unknown escape")
    end
  end
end

local function read_number(text, at)
  local literal = text:match("^-?%d+%.?%d*[eE]?[-+]?%d*", at)
  local value = literal and not literal:find "^-?0%d" and not literal:find "%.[eE]" and not literal:find "%.$"
    and plain.number(literal)
  if not value then fail(text, at, "not a value") end
  return value, at + #literal
end

local read -- function(text, at, depth)

--- The inside of [...] or {...}, from the position after the bracket on.
local function read_items(text, at, close, item)
  at = skip(text, at)
  if text:sub(at, at) == close then return at + 1 end
  while true do
    at = skip(text, item(skip(text, at)))
    local c = text:sub(at, at)
    if c == close then return at + 1 end
    if c ~= "," then fail(text, at, ("expected , or %s"):format(close)) end
    at = at + 1
  end
end

local function read_array(text, at, depth)
  local list, n = {}, 0
  at = read_items(text, at, "]", function(position)
    n = n + 1
    list[n], position = read(text, position, depth + 1)
    return position
  end)
  return list, at
end

local function read_object(text, at, depth)
  local object = {}
  at = read_items(text, at, "}", function(position)
    if text:sub(position, position) ~= '"' then fail(text, position, "expected a name in quotes") end
    local name
    name, position = read_string(text, position + 1)
    position = skip(text, position)
    if text:sub(position, position) ~= ":" then fail(text, position, "expected :") end
    object[name], position = read(text, skip(text, position + 1), depth + 1)
    return position
  end)
  return object, at
end

local WORDS = { t = { "true", true }, f = { "false", false }, n = { "null", nil } }

function read(text, at, depth)
  if depth > MAX_DEPTH then fail(text, at, "nested too deeply") end
  local c = text:sub(at, at)
  if c == "{" then return read_object(text, at + 1, depth) end
  if c == "[" then return read_array(text, at + 1, depth) end
  if c == '"' then return read_string(text, at + 1) end
  local word = WORDS[c]
  if not word then return read_number(text, at) end
  if text:sub(at, at + #word[1] - 1) ~= word[1] then fail(text, at, "not a value") end
  return word[2], at + #word[1]
end

--- The value that `text` stands for; or nil and a message. Damaged text never raises.
function json.decode(text)
  local ok, value, at = pcall(read, text, skip(text, 1), 1)
  if not ok then return nil, type(value) == "table" and value[1] or tostring(value) end
  if skip(text, at) <= #text then return nil, ("something follows the value at byte %d"):format(at) end
  return value
end

return json
