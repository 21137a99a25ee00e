--- Small text files: read whole, written so that a reader sees the old text or the new one, never a half.

local files = {}

--- The text of a file; or nil and a message.
function files.read(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read "a"
  file:close()
  return text
end

--- Whether a file is there and can be read.
function files.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- Writes a file through a temporary neighbour; true, or nil and a message.
function files.write(path, text)
  local part = path .. ".part"
  local file, message = io.open(part, "wb")
  if not file then return nil, message end
  local ok, failed = file:write(text)
  local closed, unflushed = file:close()
  if not (ok and closed) then
    os.remove(part)
    return nil, ("%s: %s"):format(path, failed or unflushed)
  end
  return os.rename(part, path)
end

return files
