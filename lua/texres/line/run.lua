--- The loop between a source, a scanner and sinks: see texres.line.run.

local core = require "texres.core"
local plain = require "texres.plain"
local protect = require "texres.protect"

local TICK = 0.1 -- seconds to wait for a frame before signals and sinks are looked after

local Run = {}
Run.__index = Run

local function new(scanner, source, o)
  local self = setmetatable({
    scanner = scanner, source = source, sinks = o.sinks, write = o.write, every = o.every, last = o.last,
    tell = function(text) o.report(plain.visible_name(text)) end, -- one line, whatever names files have
    end_on_full = o.unwritten == "end", open = {}, first_open = 1, last_open = 0,
    totals = { frames = 0, bad = 0, defects = 0, lines = 0 }, started = core.clock(),
  }, Run)
  source.tell = function(...) self.tell(plain.format(...)) end
  for _, sink in ipairs(o.sinks) do
    sink.tell = source.tell
    if sink.head then sink:put(sink.head) end
  end
  self.next_status = self.started + (self.every or 0)
  return self
end

-- -- results ----------------------------------------------------------------------------------------------------------

-- Gives a line to all sinks: its number in each, or nil where one has lost it. Where the reader is only slow, as of
-- standard output, it is waited for.
local function put(self, text)
  local numbers, lost = {}, false
  for i, sink in ipairs(self.sinks) do
    while sink.kind.waits and sink:is_full() and not sink:is_gone() and not core.process.interrupted() do
      sink:pump()
      core.pause(TICK)
    end
    numbers[i] = sink:put(text)
    lost = lost or not numbers[i]
  end
  self.totals.lines = self.totals.lines + 1
  return not lost and numbers or nil
end

-- Tells a source that asks for it that a frame is done.
local function done(self, frame)
  if self.source.done then self.source:done(frame) end
end

-- Tells the source of the frames whose lines are out in all sinks.
local function settle(self)
  while self.first_open <= self.last_open do
    local item = self.open[self.first_open]
    for i, sink in ipairs(self.sinks) do
      if not sink:is_out(item.numbers[i]) then return end
    end
    done(self, item.frame)
    self.open[self.first_open], self.first_open = nil, self.first_open + 1
  end
end

local function pump(self)
  for _, sink in ipairs(self.sinks) do sink:pump() end
  settle(self)
end

-- -- frames -----------------------------------------------------------------------------------------------------------

-- What is kept of a frame until its results are out: its picture is not.
local function without_image(frame)
  frame.image = nil
  return frame
end

-- Scans a frame; one that can't be read or scanned has { name =, message = } for a result.
local function handle(self, frame)
  local totals, result, message = self.totals, nil, frame.message
  if not message then
    result, message = protect.catch(self.scanner.frame, self.scanner, frame.image,
      { name = frame.name, position = frame.position })
    if not result then message = frame.name .. ": " .. message end
  end
  totals.frames = totals.frames + 1
  if not result then
    totals.bad = totals.bad + 1
    self.source.tell("passed over %s", message)
    result = { name = frame.name, message = message }
  end
  totals.defects = totals.defects + #(result.defects or {})
  local text = self.write(result, frame)
  if not text then return done(self, frame) end
  local numbers = put(self, text)
  if not numbers or not self.source.done then return end -- a file is new after a restart
  self.last_open = self.last_open + 1
  self.open[self.last_open] = { frame = without_image(frame), numbers = numbers }
end

-- -- what is told -----------------------------------------------------------------------------------------------------

local function lost_lines(self)
  local waiting, lost = 0, 0
  for _, sink in ipairs(self.sinks) do waiting, lost = waiting + sink:waiting(), lost + sink.lost end
  return waiting, lost
end

local function status(self)
  local totals, counts, seconds = self.totals, self.source:counts(), core.clock() - self.started
  local waiting, lost = lost_lines(self)
  local rate = plain.format("%.1f", totals.frames / math.max(seconds, 1e-3))
  self.tell(plain.format("%d frames done, %s/s; %d dropped, %d delayed (%.1f s, at most %.2f s), %d bad, %d defects; "
    .. "results: %d wait, %d lost", totals.frames, rate, counts.dropped, counts.delayed, counts.waited, counts.longest,
    totals.bad, totals.defects, waiting, lost))
end

local function tell_status(self)
  if not self.every or core.clock() < self.next_status then return end
  self.next_status = core.clock() + self.every
  status(self)
end

-- -- the loop ---------------------------------------------------------------------------------------------------------

-- Why the run is to end before its source does; nil: it is not.
local function reason_to_end(self)
  local signal = core.process.interrupted()
  if signal then return signal end
  for _, sink in ipairs(self.sinks) do
    if sink:is_gone() or self.end_on_full and sink.failing then return ("%s: %s"):format(sink.name, sink.failing) end
  end
end

-- Frames until the source ends, or is ended: those that have come are done then, too.
local function loop(self)
  while true do
    if not self.ending then
      self.ending = reason_to_end(self)
      if self.ending then self.source:stop() end
    end
    local frame, more = self.source:next(TICK)
    if frame then
      handle(self, frame)
    elseif not more then
      return
    end
    pump(self)
    tell_status(self)
  end
end

-- Writes what waits; the first sink that can't is the message.
local function finish(self, seconds)
  local problem
  for _, sink in ipairs(self.sinks) do
    local ok, message = sink:finish(seconds)
    if not ok then
      self.tell(message)
      problem = problem or message
    end
  end
  settle(self)
  return problem
end

local function end_run(self, patience)
  local text = self.last and self.last()
  if text then put(self, text) end
  local problem = finish(self, patience)
  local totals, counts = self.totals, self.source:counts()
  for name, value in pairs(counts) do totals[name] = value end
  local _, lost = lost_lines(self)
  totals.lost, totals.seconds, totals.ended, totals.problem = lost, core.clock() - self.started, self.ending, problem
  if self.every then status(self) end
  return totals
end

local function run(scanner, source, o)
  local process, self = core.process, new(scanner, source, o)
  return protect.between(function()
    process.interrupts(true)
    process.terminations(true)
  end, function()
    process.interrupts(false)
    process.terminations(false)
  end, function()
    loop(self)
    return end_run(self, o.patience)
  end)
end

return function(scanner, source, o)
  local _ <close> = source
  return run(scanner, source, o)
end
