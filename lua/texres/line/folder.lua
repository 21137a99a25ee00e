--- A folder that is watched: see texres.line.folder.

local core = require "texres.core"
local formats = require "texres.data.formats"
local open_journal = require "texres.line.journal"
local protect = require "texres.protect"
local read_picture = require "texres.line.picture"

local SETTLED = 2   -- seconds without a change after which a file that was found by looking counts as whole
local AGAIN = 1     -- seconds to the next look where files are not settled, or nobody tells of them

local Folder = {}
Folder.__index = Folder

local function is_picture(name) return name:byte() ~= 46 and formats.kind(name) == "picture" end -- "."

local function stamp_of(path)
  local size, written = core.file_stamp(path)
  return size and ("%d %d"):format(size, written), written
end

-- Whether a file as it is now is done, or will be.
local function is_known(self, name, stamp) return self.journal:has(name, stamp) or self.queued[name] == stamp end

-- Puts a file into the queue, once; as it is now.
local function enqueue(self, name, stamp)
  if is_known(self, name, stamp) then return end
  local file = { name = name, stamp = stamp, arrived = core.clock(), number = self.read + 1 }
  self.read, self.queued[name] = self.read + 1, stamp
  local full = self.last - self.first + 1 >= self.room
  if full and self.drop and self.looked then -- what was there at the start waits
    self.dropped = self.dropped + 1
    self.tell("%s/%s: dropped, as %d files waited", self.path, name, self.room)
    self:done(file)
    return
  end
  file.late = full
  self.last = self.last + 1
  self.files[self.last] = file
end

-- Those that a look found, in the order in which they were written.
local function in_order(a, b)
  if a.written ~= b.written then return a.written < b.written end
  return a.name < b.name
end

-- Whether a file has not changed for a while, by its own time, or, where another machine's clock gave it that, by ours;
-- else it is looked at again.
local function is_settled(self, name, stamp, written, growing)
  local before, now = self.growing[name], core.clock()
  local since = before and before.stamp == stamp and before.since or now
  if os.time() - written / 1e9 > SETTLED or now - since > SETTLED then return true end
  growing[name] = { stamp = stamp, since = since }
  return false
end

-- Looks through the folder. Of what was found in this way nobody tells when it has been written to its end.
local function look(self)
  local names, message = core.list_folder(self.path)
  self.next_look = core.clock() + (self.watch and self.watch:is_told() and self.every or AGAIN)
  if not names then return nil, (message:gsub("^list_folder: ", "")) end
  local found, present, growing = {}, {}, {}
  for _, name in ipairs(names) do
    if is_picture(name) then
      present[name] = true
      local stamp, written = stamp_of(self.path .. "/" .. name)
      if stamp and not is_known(self, name, stamp) and is_settled(self, name, stamp, written, growing) then
        found[#found + 1] = { name = name, stamp = stamp, written = written }
      end
    end
  end
  self.growing = growing
  if next(growing) then self.next_look = core.clock() + AGAIN end
  table.sort(found, in_order)
  for _, file in ipairs(found) do enqueue(self, file.name, file.stamp) end
  for name in pairs(self.queued) do
    if not present[name] then self.queued[name] = nil end
  end
  self.journal:keep(present)
  self.looked = true
  return true
end

-- Begins to watch, which is before it looks: what comes between the two is told.
local function watch(self)
  local message
  self.watch, message = core.watch_folder(self.path)
  return self.watch, message
end

--- options: room, drop, every (seconds between looks), memory (a path; false: none), channels, scale
local function open(path, o)
  local self = setmetatable({
    path = path, room = o.room, drop = o.drop, every = o.every, channels = o.channels, scale = o.scale,
    files = {}, first = 1, last = 0, queued = {}, growing = {}, next_look = 0, read = 0, dropped = 0, delayed = 0,
    waited = 0, longest = 0, tell = function() end,
  }, Folder)
  local whole = false
  return protect.finally(function()
    if not whole then self:close() end
  end, function()
    local ok, message = watch(self)
    if not ok then return nil, message end
    self.journal, message = open_journal(o.memory or nil)
    if not self.journal then return nil, message end
    function self.journal.tell(...) self.tell(...) end
    whole, message = look(self)
    return whole and self, message
  end)
end

-- The folder can't be watched or read: told once; it is tried again every second.
local function lose(self, message)
  if not self.lost then self.tell("%s; it is looked for again every second", message) end
  self.lost = true
  if self.watch then self.watch:close() end
  self.watch, self.next_look = nil, core.clock() + AGAIN
end

-- Takes in what has come; waits for it `seconds` at most.
local function gather(self, seconds)
  if not self.watch then
    core.pause(seconds)
    if core.clock() < self.next_look then return end
    local ok, message = watch(self)
    if ok then ok, message = look(self) end
    if not ok then return lose(self, message) end
    self.tell("%s: is there again", self.path)
    self.lost = nil
    return
  end
  local names, missed, gone = self.watch:wait(seconds)
  if not names then return lose(self, self.path .. ": " .. missed) end
  for _, name in ipairs(names) do
    local stamp = is_picture(name) and stamp_of(self.path .. "/" .. name)
    if stamp then enqueue(self, name, stamp) end
  end
  if gone then return lose(self, self.path .. ": is no longer there") end
  if missed or core.clock() >= self.next_look then
    local ok, message = look(self)
    if not ok then lose(self, message) end
  end
end

-- The first file of the queue; one that was written again since stands further behind, too.
local function pop(self)
  while self.first <= self.last do
    local file = self.files[self.first]
    self.files[self.first], self.first = nil, self.first + 1
    local latest = self.queued[file.name]
    if latest == nil or latest == file.stamp then return file end
  end
end

--- The next file, for which it waits `seconds`; nil and whether more may come.
function Folder:next(seconds)
  self.journal:tell_damage()
  if not self.stopped then gather(self, self.first <= self.last and 0 or seconds) end
  local file = not self.stopped and pop(self)
  if not file then return nil, not self.stopped end
  file.image, file.message = read_picture(self.path .. "/" .. file.name, self.channels, self.scale)
  if file.late then
    local waited = core.clock() - file.arrived
    self.delayed, self.waited, self.longest = self.delayed + 1, self.waited + waited, math.max(self.longest, waited)
  end
  return file
end

--- Its results are out: it is not given again, as long as it stays what it is.
function Folder:done(file)
  self.journal:add(file.name, file.stamp)
  if self.queued[file.name] == file.stamp then self.queued[file.name] = nil end
end

function Folder:counts()
  return { read = self.read, dropped = self.dropped, delayed = self.delayed, waited = self.waited,
    longest = self.longest, short = 0 }
end

--- Gives no further file: those that wait stay in the folder, and are new after a restart.
function Folder:stop() self.stopped = true end

function Folder:close()
  if self.watch then self.watch:close() end
  if self.journal then self.journal:close() end
  self.watch, self.journal = nil, nil
end

Folder.__close = Folder.close

return open
