--- The prompt: `texres repl`, or texres.repl() of a script, which sees the script's globals.
--
-- An input is an expression, whose values are shown, or statements; one that is not complete goes on in the next line.
-- Its globals are those of the program; what it begins to declare as `local` becomes such a global, as the next input
-- could not see it otherwise. Besides them there are `tr` and `texres`, the library; help(x), a text on a function, a
-- class, a method or an option; and traceback(), where the last error was raised.
--
-- Ctrl-C drops the line, or ends what runs; Ctrl-D ends the prompt. An error is one line, with its place in the input.
-- @module texres.repl

local complete = require "texres.repl.complete"
local core = require "texres.core"
local plain = require "texres.plain"
local protect = require "texres.protect"
local reader = require "texres.repl.reader"
local terminal = require "texres.terminal"
local value = require "texres.repl.value"

local prompt = core.prompt

local FIRST, FURTHER = "> ", ">> "
local NAME = "=input"
local VALUES = "local __values <close> = nil return " -- so no call is a tail call, which would hide the input

local Session = {}
Session.__index = Session

-- -- what is told -----------------------------------------------------------------------------------------------------

local function is_interrupt(message) return message:find "interrupted!$" ~= nil end

function Session:tell_error(message)
  if is_interrupt(message) then message = self.reader.is_terminal and "\ninterrupted" or "interrupted" end
  local can = terminal.abilities(core.process.columns(io.stderr), os.getenv)
  io.stdout:flush()
  io.stderr:write(terminal.paint(can, "red", plain.visible(message)), "\n")
  self.failed = true
end

-- Of the library's files on the stack only what the input called is of use: the frames below it are of the prompt.
local function handler(problem)
  local message = plain.text(problem)
  local trace = debug.traceback(message, 2)
  local place = trace:find("\n[^\n]*in function [<']?xpcall", 1) or trace:find("\n%s*%[C%]: in function 'xpcall'", 1)
  return { message = message, traceback = place and trace:sub(1, place - 1) or trace }
end

-- -- inputs -----------------------------------------------------------------------------------------------------------

local function is_open(message) return message:find "<eof>$" ~= nil end

local function without_const(names) return (names:gsub("<%s*const%s*>", "")) end

--- An input as a function: an expression, statements, or such whose `local` at the beginning is left out. Nil and a
-- message where it is none of them; "open" as the message where it may go on.
local function compile(text, environment)
  local f, not_expression = load(VALUES .. text, NAME, "t", environment)
  if f then return f end
  local declared = text:match "^%s*local%s+(.*)$"
  if declared then f = load(declared:gsub("^[^=\n]*", without_const), NAME, "t", environment) end
  if f then return f end
  local problem
  f, problem = load(text, NAME, "t", environment)
  if f then return f end
  if is_open(problem) then return nil, "open" end
  local is_statement = text:find "^%s*%a" and not problem:find "unexpected symbol"
  return nil, is_statement and problem or not_expression
end

--- Reads lines until they are an input: its function, or nil and what is wrong with it. False after Ctrl-C; nil at the
-- end of all input.
function Session:read()
  self.begun = ""
  while true do
    local line = self.reader:line(self.begun == "" and FIRST or FURTHER)
    if line == false then return false end
    if line == nil then
      if self.begun == "" then return nil end
      return nil, select(2, load(self.begun, NAME, "t", self.environment))
    end
    local text = self.begun .. line
    if text:find "%S" then
      local f, problem = compile(text, self.environment)
      if f or problem ~= "open" then return f, problem end
    end
    self.begun = text == "" and "" or text .. "\n"
  end
end

-- Runs an input and shows its values, both so that Ctrl-C ends them.
function Session:run(f)
  local ok, failure = prompt.call(function()
    local results = table.pack(xpcall(f, handler))
    if not results[1] then return results[2] end
    if results.n == 1 then return nil end
    io.stdout:write(plain.visible(value.all(table.pack(table.unpack(results, 2, results.n)))), "\n")
    io.stdout:flush()
  end)
  if not ok then failure = handler(failure) end
  if not failure then return end
  self.traceback = failure.traceback
  self:tell_error(failure.message)
end

-- -- the session ------------------------------------------------------------------------------------------------------

--- What the inputs see beside the globals.
function Session:names()
  local texres = require "texres"
  return {
    tr = texres, texres = texres, help = texres.help,
    traceback = function() print(self.traceback or "there was no error") end,
  }
end

-- What Tab offers for a line, see texres.repl.editor.
function Session:complete(line, at)
  local ok, length, words, shown = prompt.call(complete, self.begun .. line:sub(1, at - 1), self.environment)
  if not ok then return at, {}, {} end
  return at - length, words, shown
end

local function welcome()
  local version = require "texres"._VERSION
  print(("%s on %s: help() lists what there is, Tab completes, Ctrl-D ends"):format(version, _VERSION))
end

function Session:loop()
  if self.reader.is_terminal then welcome() end
  while true do
    local f, problem = self:read()
    if f then
      self:run(f)
    elseif problem then
      self:tell_error(problem)
    elseif f == nil then
      return
    end
  end
end

-- While the prompt is there, Ctrl-C reaches the coroutines of its inputs.
local function with_prompt(f, ...)
  local create, wrap = coroutine.create, coroutine.wrap
  local function replace(new_create, new_wrap)
    rawset(coroutine, "create", new_create)
    rawset(coroutine, "wrap", new_wrap)
  end
  prompt.open()
  return protect.finally(function()
    replace(create, wrap)
    prompt.close()
  end, function(...)
    replace(prompt.reached(create), prompt.reached(wrap))
    return f(...)
  end, ...)
end

--- Runs the prompt on standard input until its end (Ctrl-D).
-- @return true where no input failed
return function()
  local session = setmetatable({ begun = "", failed = false }, Session)
  session.environment = setmetatable(session:names(), { __index = _G, __newindex = _G })
  session.reader = reader.open(function(line, at) return session:complete(line, at) end)
  with_prompt(session.loop, session)
  return not session.failed
end
