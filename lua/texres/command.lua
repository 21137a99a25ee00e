--- The command line: `texres train pictures/`. Each command is a file of texres.command, a table
--
--     summary         what it does, in a line
--     describe        function(parser): its arguments and options (argparse), which are named as in Lua
--     examples        a list of { "command line", "what it is for" }, shown by --help; a line that does not say where
--                     `texres` stands in it begins with it
--     run             function(options, line): the exit status, nothing for 0, or nil and a message; a status and a
--                     message to tell of what was done in part, or was asked for wrongly. `line`: { parser = that of
--                     the whole line, parsers = those of the commands by name }
--
-- Results go to standard output, progress, warnings and errors to standard error. An error is one line; with
-- --traceback it tells where it was raised. The exit status is 0 where all was done, 1 where something could not be
-- (a file, a network, some of the images), 2 where the command line is wrong, 130 after Ctrl-C.
-- @module texres.command

local argparse = require "argparse"
local core = require "texres.core"
local plain = require "texres.plain"
local texres = require "texres" -- before any part of it: with it, errors blame no line of the library

-- In the order in which they are listed.
local NAMES = {
  "train",
  "predict",
  "scan",
  "eval",
  "threshold",
  "novelty",
  "quantize",
  "audit",
  "report",
  "compare",
  "summary",
  "draw",
  "fabric",
  "find-lr",
  "export",
  "repl",
  "bench",
  "doctor",
  "help",
  "completion",
}

local DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

local function tell(...) io.stderr:write(plain.visible(plain.format(...)), "\n") end

--- The exit status when all that was printed has been written, too: what a full disk or a closed stream did not take is
-- no success.
local function finished(status, name)
  if status ~= DONE or not core.process.failed(io.stdout) then return status end
  tell("%s: standard output did not take all that was written: a full disk, or a closed stream", name)
  return FAILED
end

-- An option that prints a text and ends.
local function printing(name, text)
  return function()
    print(text())
    os.exit(finished(DONE, name), true)
  end
end

-- -- what there is ----------------------------------------------------------------------------------------------------

local function examples_text(command)
  local lines = { "Examples:" }
  for _, example in ipairs(command.examples or {}) do
    -- one that another program begins has the command further on
    lines[#lines + 1] = "   " .. (example[1]:find "%f[%w]texres " and "" or "texres ") .. example[1]
    lines[#lines + 1] = "      " .. example[2]
  end
  return lines[2] and table.concat(lines, "\n")
end

--- The parser of the command line with those of the commands, and the commands, both by name.
local function describe()
  local parser = argparse("texres", "Residual networks for textile defects: train, test and use them.")
    :command_target "command":require_command(false):help_max_width(100)
    :epilog("texres COMMAND --help tells the options of one, with examples. Exit status: 0 done, 1 not done, 2 wrong "
      .. "command line, 130 Ctrl-C.")
  local function add_help(own, name)
    own:add_help(false)
    own:flag("-h --help", "Show this help message and exit.")
      :action(printing(name, function() return own:get_help() end))
  end
  add_help(parser, "texres")
  parser:flag("--version", "Print the version and end.")
    :action(printing("texres", function() return texres._VERSION end))
  local commands, parsers = {}, {}
  for _, name in ipairs(NAMES) do
    local command = require("texres.command." .. name:gsub("-", "_"))
    local own = parser:command(name, command.summary):summary(command.summary):help_max_width(100)
    add_help(own, "texres " .. name)
    command.describe(own)
    own:flag("--traceback", "Where an error was raised, too.")
    if command.examples then own:epilog(examples_text(command)) end
    commands[name], parsers[name] = command, own
  end
  return { parser = parser, parsers = parsers }, commands
end

-- -- running ----------------------------------------------------------------------------------------------------------

-- An error as its message, and with where it was raised. A line of our own script, which the library blames as that of
-- its caller, tells a user nothing.
local function handler(script)
  local position = "^" .. script:gsub("%p", "%%%0") .. ":%d+: "
  return function(problem)
    local message = plain.text(problem)
    return { message = (message:gsub(position, "")), traceback = debug.traceback(message, 2) }
  end
end

local function is_interrupt(message) return message:find "interrupted!$" ~= nil end

-- Runs a command: the exit status.
local function run(name, command, options, line, script)
  local ok, status, message = xpcall(command.run, handler(script), options, line)
  local traceback
  if not ok then status, message, traceback = nil, status.message, status.traceback end
  if message and is_interrupt(message) then
    tell("texres %s: interrupted", name)
    return INTERRUPTED
  end
  if message then
    local own = name:gsub("-", "_") .. ": " -- the function says it, too
    if message:sub(1, #own) == own then message = message:sub(#own + 1) end
    tell("texres %s: %s", name, options.traceback and traceback or message)
  end
  return status or message and FAILED or DONE
end

--- Does what a command line says: the exit status. `arguments` is a list of words, with that of the script at 0.
return function(arguments)
  local line, commands = describe()
  local ok, options = line.parser:pparse(arguments)
  if not ok then
    local name = commands[arguments[1]] and "texres " .. arguments[1] or "texres"
    local message = options:gsub("\nDid", "; did"):gsub("%?$", "")
    local dashed = message:match "^unknown option '(%-[^-]).*'"
    if dashed then -- a negative number, or a path
      message = "unknown option '" .. dashed .. "'; a value that begins with a dash is written --option=VALUE, a path "
        .. "./PATH"
    end
    tell("%s: %s; see %s --help", name, message, name)
    return WRONG
  end
  if not options.command then
    print(line.parser:get_help())
    return finished(WRONG, "texres")
  end
  local name = options.command
  return finished(run(name, commands[name], options, line, debug.getinfo(2, "S").short_src), "texres " .. name)
end
