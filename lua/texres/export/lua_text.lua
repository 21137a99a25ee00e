--- Pieces of Lua: numbers, lists, tables, and numbers that are packed into letters.

local core = require "texres.core"
local plain = require "texres.plain"

local lua_text = {}

local LINE = 110

local letters = {}
for byte = 33, 126 do
  local letter = string.char(byte)
  if not letter:find '["\\%]]' and #letters < 85 then letters[#letters + 1] = letter end
end

--- The letters that stand for 0, 1, ... 84.
lua_text.ALPHABET = table.concat(letters)

--- Bytes as letters, five for each four of them.
function lua_text.letters(bytes)
  local list = {}
  bytes = bytes .. ("\0"):rep(-#bytes % 4)
  for at = 1, #bytes, 4 do
    local n = string.unpack("<I4", bytes, at)
    local group = {}
    for i = 5, 1, -1 do
      group[i] = lua_text.ALPHABET:sub(n % 85 + 1, n % 85 + 1)
      n = n // 85
    end
    list[#list + 1] = table.concat(group)
  end
  return (table.concat(list):gsub(("."):rep(LINE), "%0\n"))
end

function lua_text.number(value) return plain.format("%.17g", value) end

function lua_text.list(list)
  local parts = {}
  for i, value in ipairs(list) do
    parts[i] = type(value) == "string" and ("%q"):format(value) or lua_text.number(value)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- A call that unpacks numbers: `kind` is as string.pack has it.
local function numbers(list, kind)
  local packed = {}
  for i, value in ipairs(list) do packed[i] = string.pack(kind, value) end
  return ("numbers(%d, %q, [[\n%s]])"):format(#list, kind, lua_text.letters(table.concat(packed)))
end

--- Any value: tensors as f32, lists with a `kind` as such numbers.
function lua_text.value(value)
  if core.is_tensor(value) then
    return numbers(value:detach():to("f32"):contiguous():reshape(-1):totable(), "<f")
  end
  if type(value) == "table" then return value.kind and numbers(value, value.kind) or lua_text.list(value) end
  if type(value) == "number" then return lua_text.number(value) end
  return ("%q"):format(value)
end

--- A step as the source of a table, in the order of the names.
function lua_text.record(fields)
  local parts = {}
  for _, name in ipairs(plain.names(fields)) do
    local value = fields[name]
    if value then parts[#parts + 1] = ("%s = %s"):format(name, lua_text.value(value)) end
  end
  return "  { " .. table.concat(parts, ", ") .. " },"
end

--- A text in which @NAME@ stands for values.NAME.
function lua_text.fill(text, values) return (text:gsub("@([%u_]+)@", values)) end

return lua_text
