--- The command line: `texres train pictures/`. Each command is a file of texres.command, a table
--
--     summary         what it does, in a line
--     describe        function(parser): its arguments and options (argparse), which are named as in Lua
--     examples        a list of { "command line", "what it is for" }, shown by --help
--     run             function(options): the exit status, nothing for 0, or nil and a message
--
-- Results go to standard output, progress, warnings and errors to standard error. An error is one line; with
-- --traceback it tells where it was raised. The exit status is 0 where all was done, 1 where something could not be
-- (a file, a network, some of the images), 2 where the command line is wrong, 130 after Ctrl-C.
-- @module texres.command

local argparse = require "argparse"
local plain = require "texres.plain"

-- In the order in which they are listed.
local NAMES = { "train", "predict", "summary" }

local DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

-- -- what there is ----------------------------------------------------------------------------------------------------

local function examples_text(command)
  local lines = { "Examples:" }
  for _, example in ipairs(command.examples or {}) do
    lines[#lines + 1] = "   texres " .. example[1]
    lines[#lines + 1] = "      " .. example[2]
  end
  return lines[2] and table.concat(lines, "\n")
end

--- The parser of the command line, and the commands by their names.
local function describe()
  local parser = argparse("texres", "Residual networks for textile defects: train, test and use them.")
    :command_target "command":require_command(false):help_max_width(100)
    :epilog("texres COMMAND --help tells the options of one, with examples. Exit status: 0 done, 1 not done, 2 wrong "
      .. "command line, 130 Ctrl-C.")
  parser:flag("--version", "Print the version and end."):action(function()
    print(require "texres"._VERSION)
    os.exit(DONE, true)
  end)
  parser:add_help_command { summary = "The options of a command, with examples." }
  local commands = {}
  for _, name in ipairs(NAMES) do
    local command = require("texres.command." .. name:gsub("-", "_"))
    local own = parser:command(name, command.summary):summary(command.summary):help_max_width(100)
    command.describe(own)
    own:flag("--traceback", "Where an error was raised, too.")
    if command.examples then own:epilog(examples_text(command)) end
    commands[name] = command
  end
  return parser, commands
end

-- -- running ----------------------------------------------------------------------------------------------------------

local function tell(...) io.stderr:write(plain.visible(plain.format(...)), "\n") end

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
local function run(name, command, options, script)
  local ok, status, problem = xpcall(command.run, handler(script), options)
  if ok and (status ~= nil or problem == nil) then return status or DONE end
  local message = ok and problem or status.message
  if is_interrupt(message) then
    tell("texres %s: interrupted", name)
    return INTERRUPTED
  end
  if message:sub(1, #name + 2) == name .. ": " then message = message:sub(#name + 3) end -- as the function says it, too
  tell("texres %s: %s", name, not ok and options.traceback and status.traceback or message)
  return FAILED
end

--- Does what a command line says: the exit status. `arguments` is a list of words, with that of the script at 0.
return function(arguments)
  local parser, commands = describe()
  local ok, options = parser:pparse(arguments)
  if not ok then
    local name = commands[arguments[1]] and "texres " .. arguments[1] or "texres"
    tell("%s: %s; see %s --help", name, (options:gsub("\n", "; ")), name)
    return WRONG
  end
  if not options.command then
    print(parser:get_help())
    return WRONG
  end
  return run(options.command, commands[options.command], options, debug.getinfo(2, "S").short_src)
end
