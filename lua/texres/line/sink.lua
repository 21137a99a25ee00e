--- Where results go: texres.line.to_output, to_file, to_command.
--
-- A sink takes lines and never waits: what can't be written now, as the disk is full or a command does not read, is
-- kept and written later, in order. Where `room` lines wait, or 16 MB of text, the new ones are lost, and counted. When
-- all that waited is out, its memory goes back to the system.

local core = require "texres.core"

local PAUSE, LONGEST_PAUSE = 1, 30 -- seconds between two attempts to open an outlet again
local MOST_BYTES = 16 * 2 ^ 20     -- of the lines that wait

local Sink = {}
Sink.__index = Sink

--- A sink. kind: { name =, open = a function that gives an outlet of the core, or nil and a message }, and
--
--     again     whether one that has failed is opened anew
--     patience  seconds for which a reader may take nothing before it is started again
--     moved     a function that tells of an outlet whether it leads elsewhere by now
--     waits     whether a run waits for it rather than lose a line
local function new(kind, room)
  return setmetatable({
    kind = kind, name = kind.name, room = room, lines = {}, first = 1, last = 0, bytes = 0, at = 1, written = 0,
    lost = 0, retry = 0, pause = PAUSE, moving = core.clock(), tell = function() end,
  }, Sink)
end

--- How many lines are kept.
function Sink:waiting() return self.last - self.first + 1 end

--- Whether it can take no further line without losing one.
function Sink:is_full() return self:waiting() >= self.room or self.bytes >= MOST_BYTES end

-- Tells of a failure once, until it is over.
local function failed(self, message)
  if self.failing ~= message then
    self.tell("%s: %s; results are kept until it takes them, at most %d or 16 MB", self.name, message, self.room)
  end
  self.failing = message
end

local function drop_outlet(self, seconds)
  local outlet = self.outlet
  self.outlet, self.at = nil, 1 -- a line that was written in part is written again
  if not outlet then return true end
  return outlet:close(seconds)
end

-- Has the next attempt wait: for longer each time, until a line is out.
local function put_off(self, now) self.retry, self.pause = now + self.pause, math.min(2 * self.pause, LONGEST_PAUSE) end

-- Opens the outlet where there is none, at most once in a while.
local function open(self, now)
  if self.outlet and self.kind.moved and self.kind.moved(self.outlet) then drop_outlet(self, 0) end
  if self.outlet then return true end
  if now < self.retry then return false end
  local outlet, message = self.kind.open()
  if not outlet then
    local own = self.name .. ": " -- which is told anyway
    put_off(self, now)
    failed(self, message:sub(1, #own) == own and message:sub(#own + 1) or message)
    return false
  end
  self.outlet, self.moving = outlet, now
  return true
end

-- One line is out.
local function advance(self, now)
  self.bytes = self.bytes - #self.lines[self.first]
  self.lines[self.first] = nil
  self.first, self.at, self.written = self.first + 1, 1, self.written + 1
  self.moving, self.pause = now, PAUSE
end

-- What failed is closed; a command is told of with how it ended, and started again.
local function give_up(self, now, message)
  failed(self, message)
  if not self.kind.again then return end
  local _, ending = drop_outlet(self, 0)
  self.tell("%s: what it had not read yet is lost; it is started again%s", self.name, ending and "; " .. ending or "")
  put_off(self, now)
end

-- All that was kept is out.
local function recover(self)
  self.tell("%s: results are written again; %d are lost", self.name, self.lost)
  self.failing, self.lines = nil, {}
  collectgarbage()
  core.trim_memory()
end

--- Writes what can be written of the lines that wait; true where none is left.
function Sink:pump()
  local now = core.clock()
  while self.first <= self.last do
    if not open(self, now) then return false end
    local line = self.lines[self.first]
    local taken, message = self.outlet:write(line, self.at)
    self.at = self.at + taken
    if taken > 0 then self.moving = now end
    if self.at > #line then
      advance(self, now)
    elseif message then
      give_up(self, now, message)
      return false
    else
      if self.kind.patience and now - self.moving > self.kind.patience then
        give_up(self, now, ("it has taken nothing for %g s"):format(self.kind.patience))
      end
      return false
    end
  end
  if self.failing then recover(self) end
  self.moving = now
  return true
end

--- Whether who reads it has gone for good: of an outlet that isn't opened again.
function Sink:is_gone() return self.failing == "nobody reads it any more" and not self.kind.again end

--- Takes a line, which ends in "\n": its number, from 1, or nil where it is lost, as too many wait.
function Sink:put(line)
  if self:is_full() and not self:pump() and self:is_full() then
    self.lost = self.lost + 1
    return nil
  end
  if self.first > self.last then self.moving = core.clock() end
  self.last = self.last + 1
  self.lines[self.last], self.bytes = line, self.bytes + #line
  self:pump()
  return self.last
end

--- Whether the line of that number is out.
function Sink:is_out(number) return number < self.first end

--- Writes what waits, for as long as `seconds`, and closes: true where nothing is lost and a command has ended well; or
-- nil and a message.
function Sink:finish(seconds)
  local till = core.clock() + seconds
  while not self:pump() and core.clock() < till do core.pause(0.05) end
  local waiting = self:waiting()
  self.lost, self.last, self.lines, self.bytes = self.lost + waiting, self.first - 1, {}, 0
  local closed, message = drop_outlet(self, seconds)
  if self.lost > 0 then
    return nil, ("%s: %d results are lost%s"):format(self.name, self.lost, self.failing and ": " .. self.failing
      or "")
  end
  if not closed then return nil, self.name .. ": " .. message end
  return true
end

return new
