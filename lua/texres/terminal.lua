--- One line that tells how far a long task is: rewritten in place on a terminal, now and then a plain line elsewhere.
--
--     local line = terminal.Progress(io.stdout)
--     line:show("epoch 1/5   42 %")
--     line:done("epoch 1/5  loss 0.4")         -- stays

local core = require "texres.core"
local plain = require "texres.plain"

local terminal = {}

local QUIET = 10 -- seconds between two plain lines
local RATE = 0.1 -- seconds between two changes of the line on a terminal

local Progress = {}
Progress.__index = Progress

--- A progress line on `stream` (default: standard output).
function terminal.Progress(stream)
  stream = stream or io.stdout
  local columns = core.process.columns(stream)
  return setmetatable({ stream = stream, columns = columns, shown = core.clock() }, Progress)
end

--- Shows a passing state; may leave it out when the last one is fresh.
function Progress:show(text)
  local now = core.clock()
  if now - self.shown < (self.columns and RATE or QUIET) then return end
  self.shown, text = now, plain.visible_name(text)
  if self.columns then
    self.stream:write("\r", text:sub(1, self.columns - 1), "\27[K")
  else
    self.stream:write(text, "\n")
  end
  self.stream:flush()
end

--- Writes a line that stays; the next state begins below it.
function Progress:done(text)
  self.stream:write(self.columns and "\r" or "", plain.visible_name(text), self.columns and "\27[K" or "", "\n")
  self.stream:flush()
end

--- Seconds as people say them: "8 s", "3 min 05 s", "2 h 07 min".
function terminal.duration(seconds)
  local s = math.floor(seconds + 0.5)
  if s < 60 then return ("%d s"):format(s) end
  if s < 3600 then return ("%d min %02d s"):format(s // 60, s % 60) end
  return ("%d h %02d min"):format(s // 3600, s % 3600 // 60)
end

local UNITS = { ms = 1e-3, s = 1, min = 60, h = 3600 }

--- The seconds of a duration as a script says it: 90, "90 s", "5min", "1.5 h"; nil for what is none, or not above 0.
function terminal.seconds(text)
  local number, unit = text, "s"
  if type(text) == "string" then
    number, unit = text:match "^%s*([%d.]+)%s*(%a+)%s*$"
    number = plain.number(number or "")
  end
  if type(number) ~= "number" or not UNITS[unit] or not (number > 0 and number < math.huge) then return nil end
  return number * UNITS[unit]
end

return terminal
