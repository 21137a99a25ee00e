--- Errors on their way through the library: the only place that decides which of them may be taken for an answer.
--
--     local model, problem = protect.catch(build, data)             -- nil and why, when the data are at fault
--     return protect.finally(function() run:close() end, fn)        -- clean up, whatever happens
--     return protect.between(function() quiet = true end,           -- change something, and put it back
--       function() quiet = false end, fn)

local raise = require "texres.raise"

local protect = {}

-- What a failure is turned into while the stack still tells where it came from.
local Failure = {}

-- The interpreter's error on Ctrl-C, and ours (csrc/lua/binding.c), end in "interrupted!".
local function says_nothing_of_the_data(message)
  return type(message) ~= "string" or message:find "interrupted!$" or message:find("not enough memory", 1, true)
end

local answer

-- Whether the error was raised inside a debug hook (a time limit, Ctrl-C) that ran in the function under protection, or
-- is one that another catch below has handed on.
local function comes_from_hook()
  for level = 2, math.huge do
    local info = debug.getinfo(level, "nf")
    if not info or info.func == protect.catch then return false end
    if info.namewhat == "hook" or info.func == answer then return true end
  end
end

local function inspect(message)
  if says_nothing_of_the_data(message) or comes_from_hook() then return message end
  local blamed = raise.where_before(protect.catch) -- the line that has called us: what failed are the data
  if message:sub(1, #blamed) == blamed then message = message:sub(#blamed + 1) end
  return setmetatable({ message = message }, Failure)
end

function answer(ok, value, ...)
  if ok then return value, ... end
  if getmetatable(value) ~= Failure then error(value, 0) end
  return nil, value.message
end

--- Calls f(...): its results, or nil and the message of its failure. An error that says nothing of the data goes on
-- unchanged: Ctrl-C, memory that ran out, what a debug hook raised, an error object that is not a text.
function protect.catch(f, ...)
  return answer(xpcall(f, inspect, ...))
end

--- Calls f(...), and after() when it has ended in whatever way: returning, raising, or as a coroutine that is closed.
function protect.finally(after, f, ...)
  local _ <close> = setmetatable({}, { __close = function() after() end })
  return f(...)
end

--- Calls before(), then f(...), and after() when it has ended in whatever way, also where before() has failed on its
-- way. What could run out of memory is made first: nothing is changed that after() would not put back.
function protect.between(before, after, f, ...)
  local _ <close> = setmetatable({}, { __close = function() after() end })
  before()
  return f(...)
end

return protect
