--- Errors that blame the line of the user's script, not a line of the library.
--
--     local raise = require "texres.raise"
--     raise("Conv2d: %s is not a number", value)      --> net.lua:12: Conv2d: x is not a number
--
-- The stack is searched for the innermost Lua function that does not belong to texres.

local plain = require "texres.plain"

local raise = {}

local own = debug.getinfo(1, "S").source:match "^(@.*)raise%.lua$" -- "@./lua/texres/"

local function is_own(info)
  return own ~= nil and info.source:sub(1, #own) == own
end

local function position(info)
  return ("%s:%d: "):format(info.short_src, info.currentline)
end

--- The text "script.lua:12: " of the user's function nearest to the top of the stack; "" when there is none.
function raise.where()
  for level = 2, math.huge do
    local info = debug.getinfo(level, "Sl")
    if not info then return "" end
    if info.currentline > 0 and not is_own(info) then return position(info) end
  end
end

--- The same where that function has called `f`, which is at work; "" where it was called by f.
function raise.where_before(f)
  local passed = false
  for level = 2, math.huge do
    local info = debug.getinfo(level, "Slf")
    if not info then return "" end
    passed = passed or info.func == f
    if info.currentline > 0 and not is_own(info) then return passed and position(info) or "" end
  end
end

--- For a message handler (xpcall): takes positions inside texres off `message`, and puts the user's line and `context`
-- ("in resnet18.stage2[1].conv1: ") before it.
function raise.relocate(message, context)
  local function strip(info)
    local prefix = position(info)
    if message:sub(1, #prefix) == prefix then message = message:sub(#prefix + 1) end
    return prefix
  end
  for level = 2, math.huge do
    local info = debug.getinfo(level, "Sl")
    if not info then return context .. message end
    if info.currentline > 0 then
      local prefix = strip(info)
      if not is_own(info) then return prefix .. context .. message end
    end
  end
end

return setmetatable(raise, {
  __call = function(_, format, ...)
    error(raise.where() .. plain.visible(plain.format(format, ...)), 0)
  end,
})
