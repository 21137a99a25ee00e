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

--- Whether a file is there, or in its place what can't be read, such as a pipe or a file of another user: that is not
-- passed over as if nothing were there; whoever then reads it is told why it can't be read.
function files.exists(path)
  local kind = core.file_kind(path)
  return kind ~= nil and kind ~= "folder"
end

--- Writes a file; true, or nil and a message.
function files.write(path, text) return core.write_file(path, { text }) end

--- What tells a file from others, eight digits: the CRC-32 of its bytes, as `crc32` and zlib give it; or nil and a
-- message.
function files.hash(path)
  local text, message = files.read(path)
  if not text then return nil, message end
  return ("%08x"):format(core.crc32(text))
end

return files
