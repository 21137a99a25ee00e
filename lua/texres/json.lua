--- JSON through dkjson, which is asked for only when it is needed.

local json = {}

local function library()
  local ok, dkjson = pcall(require, "dkjson")
  if ok then return dkjson end
  return nil, "the Lua module dkjson is missing (luarocks install dkjson, or apt install lua-dkjson)"
end

--- `value` as text, or nil and a message.
function json.encode(value)
  local dkjson, problem = library()
  if not dkjson then return nil, problem end
  local ok, text = pcall(dkjson.encode, value)
  if not ok then return nil, tostring(text) end
  return text
end

--- The value that `text` stands for, or nil and a message. Damaged text never raises.
function json.decode(text)
  local dkjson, problem = library()
  if not dkjson then return nil, problem end
  local ok, value, _, message = pcall(dkjson.decode, text, 1, nil)
  if not ok then return nil, "nested too deeply" end
  if value == nil then return nil, message or "no value" end
  return value
end

return json
