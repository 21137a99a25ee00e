--- Where the prompt's lines come from: the terminal, with editing, or any other input as it comes. Lines that were
-- typed are kept for the next time.

local core = require "texres.core"
local Editor = require "texres.repl.editor"

local prompt = core.prompt

local KEPT = 1000 -- lines of history

local reader = {}

-- -- history ----------------------------------------------------------------------------------------------------------

--- The file of the user's history, by the environment that `get` reads: in $XDG_STATE_HOME, by default ~/.local/state;
-- nil where neither is known.
function reader.history_path(get)
  local state, home = get "XDG_STATE_HOME", get "HOME"
  if state and state:find "^/" then return state .. "/texres/history" end
  return home and home:find "^/" and home .. "/.local/state/texres/history" or nil
end

--- The lines of a history file, the oldest first; one that has grown to twice of what is kept is cut.
function reader.load_history(path)
  local lines = {}
  local file = path and io.open(path)
  if not file then return lines end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  if #lines <= 2 * KEPT then return lines end
  lines = table.move(lines, #lines - KEPT + 1, #lines, 1, {})
  core.write_file(path, { table.concat(lines, "\n"), "\n" })
  return lines
end

-- Writes a line behind the others at once, so that two prompts may share the file; where it can't be written, the line
-- is known only now.
local function keep(path, line)
  local file = path and io.open(path, "a")
  if not file and path and core.process.make_folder(path:match "^(.*)/") then file = io.open(path, "a") end
  if not file then return end
  file:write(line, "\n")
  file:close()
end

-- -- the terminal -----------------------------------------------------------------------------------------------------

local Typed = {}
Typed.__index = Typed

local PASTED_ON, PASTED_OFF = "\27[?2004h", "\27[?2004l" -- what is pasted comes between marks

local function write(text)
  io.stdout:write(text)
  io.stdout:flush()
end

local function columns() return core.process.columns(io.stdout) or 80 end

-- Goes to the beginning of a line: what was written without an end of line is not drawn over.
local function begin_line() write((" "):rep(columns()) .. "\r") end

local function open_typed(complete)
  local path = reader.history_path(os.getenv)
  local history = reader.load_history(path)
  local editor = Editor {
    keys = function() return prompt.keys(io.stdin) end, write = write, columns = columns, complete = complete,
    history = history,
  }
  return setmetatable({ editor = editor, path = path, history = history, is_terminal = true }, Typed)
end

--- A line; nil at the end of the input (Ctrl-D), false after Ctrl-C.
function Typed:line(text)
  prompt.raw(io.stdin, true)
  local raw <close> = setmetatable({}, { -- luacheck: ignore
    __close = function()
      write(PASTED_OFF)
      prompt.raw(io.stdin, false)
    end,
  })
  write(PASTED_ON)
  begin_line()
  local line = self.editor:line(text)
  if line and line:find "%S" and line ~= self.history[#self.history] then
    table.insert(self.history, line)
    keep(self.path, line)
  end
  return line
end

-- -- other input ------------------------------------------------------------------------------------------------------

local Plain = {}
Plain.__index = Plain

-- The first line of a file, of which Lua passes over a byte-order mark and what is for the shell: "#!/usr/bin/env ...".
local function without_mark(line)
  line = line:gsub("^\xEF\xBB\xBF", "")
  return line:find "^#" and "" or line
end

function Plain:line(text)
  if self.is_terminal then write(text) end
  local ok, line = prompt.call(io.read)
  if not line and self.is_terminal then write "\n" end
  if not ok then return false end
  if line and not self.has_begun then line = without_mark(line) end
  self.has_begun = true
  return line
end

--- The reader of standard input. `complete` is asked as texres.repl.editor says.
function reader.open(complete)
  local is_terminal = core.process.columns(io.stdin) ~= nil
  local can_edit = is_terminal and core.process.columns(io.stdout) ~= nil and os.getenv "TERM" ~= "dumb"
  if can_edit then return open_typed(complete) end
  return setmetatable({ is_terminal = is_terminal }, Plain)
end

return reader
