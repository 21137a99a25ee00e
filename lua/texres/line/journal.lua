--- Which files of a folder are done, also after a restart: a line "SIZE MTIME NAME" for each, appended when its results
-- are out, so that what was cut short is done again. The file is rewritten, whole or not at all, at the start and when
-- most of it tells of files that are no longer there.

local core = require "texres.core"
local plain = require "texres.plain"
local protect = require "texres.protect"

local Journal = {}
Journal.__index = Journal

local function escaped(name)
  return (name:gsub("[%c%%]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local function unescaped(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function line_of(name, stamp) return ("%s %s\n"):format(stamp, escaped(name)) end

-- Opens the file for appending; itself, or nil and a message.
local function append(self)
  if self.outlet then self.outlet:close(0) end
  local message
  self.outlet, message = core.outlet_file(self.path)
  return self.outlet and self, message
end

-- Writes all that is known, in order of the names. Where that fails, the file stays what it is, and open.
local function rewrite(self)
  local lines = {}
  for i, name in ipairs(plain.names(self.stamps)) do lines[i] = line_of(name, self.stamps[name]) end
  local ok, message = core.write_file(self.path, { table.concat(lines) })
  if not ok then return nil, message end
  self.lines, self.unwritten, self.torn = #lines, false, false
  return append(self)
end

-- Reads what is noted; true, or nil and a message.
local function read(self)
  if not core.file_kind(self.path) then return true end
  local file, message = core.open_file(self.path)
  if not file then return nil, message end
  local strange, damaged = 0, 0
  for line in file:lines() do
    damaged = strange -- the last one may be torn, by the end of the process
    local stamp, name = line:match "^(%d+ %-?%d+) (.+)$"
    if stamp then
      self.stamps[unescaped(name)] = stamp
    elseif line ~= "" then
      strange = strange + 1
    end
  end
  self.damaged = damaged
  file:close()
  return true
end

--- Opens a journal, which is made where there is none; path nil: in memory only. nil and a message where it can't be
-- read or written, or another process works with it.
local function open(path)
  local self = setmetatable({ path = path, stamps = {}, lines = 0, damaged = 0, tell = function() end }, Journal)
  if not path then return self end
  local whole = false
  return protect.finally(function()
    if not whole then self:close() end
  end, function()
    local ok, message
    self.lock, message = core.process.lock(path .. ".lock")
    if not self.lock then return nil, message end
    ok, message = read(self)
    if not ok then return nil, message end
    self.stale = true
    whole = rewrite(self)
    if not whole then -- the disk may be full
      whole, message = append(self)
      self.unwritten = true
    end
    return whole, message
  end)
end

--- Whether the file is done as it is now.
function Journal:has(name, stamp) return self.stamps[name] == stamp end

--- Notes that it is. What can't be written, as the disk is full, is known until the end of the process, and written
-- with all the rest as soon as there is room.
function Journal:add(name, stamp)
  self.stamps[name] = stamp
  if not self.path then return end
  local line = (self.torn and "\n" or "") .. line_of(name, stamp)
  local taken, message = 0, "it can't be opened"
  if self.outlet then taken, message = self.outlet:write(line, 1) end
  self.lines = self.lines + 1
  self.torn = taken < #line and (self.torn or taken > 0) -- the last line of the file is not whole
  if taken == #line then return end
  if not self.unwritten then
    self.tell("%s: %s; files may be done twice after a restart", self.path, message)
  end
  self.unwritten = true
end

--- Tells of lines that could not be read; once.
function Journal:tell_damage()
  if self.damaged == 0 then return end
  self.tell("%s: %d line%s damaged: files that are missing in it are done again", self.path, self.damaged,
    self.damaged == 1 and " is" or "s are")
  self.damaged = 0
end

--- Forgets files that are not among `present`, a set of names; nothing where that is empty, as of a disk that is not
-- mounted. Writes what could not be written.
function Journal:keep(present)
  if not next(present) then return end
  local count = 0
  for name in pairs(self.stamps) do
    if present[name] then
      count = count + 1
    else
      self.stamps[name] = nil
    end
  end
  if not self.path then return end
  if self.stale or self.unwritten or self.lines > 2 * count + 1000 then
    self.unwritten = not rewrite(self)
  end
  self.stale = nil
end

function Journal:close()
  local _ <close> = self.lock -- given back also where memory runs out on the way
  self.lock = nil
  if self.path and self.unwritten then rewrite(self) end
  if self.outlet then self.outlet:close(0) end
  self.outlet = nil
end

return open
