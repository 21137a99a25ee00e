--- Raw frames from a pipe: see texres.line.frames.

local core = require "texres.core"
local ranges = require "texres.line.ranges"

local Frames = {}
Frames.__index = Frames

local function open(path, shape, room, drop)
  local raw, message = core.raw_frames(path, shape, room, drop)
  if not raw then return nil, message end
  return setmetatable({ raw = raw, name = path == "-" and "standard input" or path, height = shape[1], last = 0,
    dropped = ranges(), delayed = ranges(), tell = function() end }, Frames)
end

-- Tells what was dropped and delayed, with the numbers of the frames, and begins anew.
local function tell_late(self)
  local dropped, delayed = self.dropped:take(), self.delayed:take()
  if dropped then self.tell("%s: dropped, as the queue was full: frames %s", self.name, dropped) end
  if delayed then self.tell("%s: delayed, as the queue was full: frames %s", self.name, delayed) end
end

-- Tells how the stream ended; once.
local function tell_end(self)
  if self.ended then return end
  self.ended = true
  local counts = self.raw:counts()
  if counts.read > self.last then self.dropped:add(self.last + 1, counts.read) end
  tell_late(self)
  if counts.failure then self.tell("%s: %s", self.name, counts.failure) end
  if counts.rest == 0 then return end
  self.short = not self.stopped
  self.tell("%s: frame %d is cut short: %d bytes of it came%s", self.name, counts.read + 1, counts.rest,
    self.stopped and " before the end was asked for" or "")
end

--- The next frame, for which it waits `seconds`; nil and whether more may come.
function Frames:next(seconds)
  local image, number, arrived, waited, flat = self.raw:take(seconds)
  if not image then
    if not number then tell_end(self) end
    return nil, number
  end
  if number > self.last + 1 then self.dropped:add(self.last + 1, number - 1) end
  if waited > 0 then self.delayed:add(number, number) end
  self.last = number
  return {
    name = ("frame %d"):format(number), number = number, position = (number - 1) * self.height,
    image = not flat and image or nil, arrived = arrived,
    message = flat and ("frame %d: all bytes are %d: no picture"):format(number, image:min():item()) or nil,
  }
end

--- What the status line tells.
function Frames:counts()
  tell_late(self)
  local counts = self.raw:counts()
  counts.short = self.short and 1 or 0
  return counts
end

--- Reads no further frame; those that have come are still given.
function Frames:stop()
  self.stopped = true
  self.raw:stop()
end

function Frames:close() self.raw:close() end

Frames.__close = Frames.close

return open
