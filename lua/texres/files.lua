--- Small text files: read whole, written so that a reader sees the old text or the new one, never a half.

local core = require "texres.core"

local files = {}

--- The text of a file; or nil and a message.
function files.read(path)
  local file, message = core.open_file(path)
  if not file then return nil, message end
  local text, problem = file:read "a"
  file:close()
  if not text then return nil, ("%s: %s"):format(path, problem) end
  return text
end

--- Whether a file is there and can be read; and why not.
function files.exists(path)
  local file, message = core.open_file(path)
  if file then file:close() end
  return file ~= nil, message
end

--- Writes a file; true, or nil and a message.
function files.write(path, text) return core.write_file(path, { text }) end

return files
