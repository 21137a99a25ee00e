--- What a terminal is told: one line that tells how far a long task is, rewritten in place on a terminal, now and then
-- a plain line elsewhere; colours and small curves where they can be shown.
--
--     local line = terminal.Progress()
--     line:show { "epoch 1/5", share = 0.42, "loss 0.4123", values = losses, "310 images/s", "12 s left" }
--     line:done("epoch 1/5  loss 0.4")         -- stays
--
-- Colours are for terminals alone, and not where NO_COLOR is set (no-color.org) or TERM is dumb, nor for the ranks of
-- Open MPI, whose mpirun shows each of them a terminal, be it that what they print goes into a file; bars and curves
-- are of block characters where the locale is UTF-8, a bar of # and - elsewhere. What does not fit into the width is
-- left out from the end, the bar first.

local core = require "texres.core"
local plain = require "texres.plain"

local terminal = {}

local QUIET = 10 -- seconds between two plain lines
local RATE = 0.1 -- seconds between two changes of the line on a terminal

local Progress = {}
Progress.__index = Progress

--- What a stream can show: columns (nil: it is no terminal), colour, blocks (characters beyond ASCII). `get` reads a
-- variable of the environment.
function terminal.abilities(columns, get)
  local locale = get "LC_ALL"
  if not locale or locale == "" then locale = get "LC_CTYPE" end
  if not locale or locale == "" then locale = get "LANG" end
  local no_colour = get "NO_COLOR"
  local dumb = get "TERM" == "dumb"
  local is_terminal = columns ~= nil and not dumb and not get "OMPI_COMM_WORLD_RANK"
  return {
    columns = is_terminal and columns or nil, colour = is_terminal and (no_colour == nil or no_colour == ""),
    blocks = (locale or ""):upper():gsub("-", ""):find "UTF8" ~= nil,
  }
end

--- A progress line on `stream`; by default standard error, so that what a script prints is its results alone.
function terminal.Progress(stream)
  stream = stream or io.stderr
  local can = terminal.abilities(core.process.columns(stream), os.getenv)
  return setmetatable({ stream = stream, can = can, columns = can.columns, shown = core.clock() }, Progress)
end

local COLOURS = { red = 31, green = 32, yellow = 33, blue = 34, dim = 2, bold = 1 }

--- A text in a colour, where there are colours.
function terminal.paint(can, colour, text)
  return can.colour and ("\27[%dm%s\27[0m"):format(COLOURS[colour], text) or text
end

local BLOCKS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

--- The last `width` of some numbers as a small curve; "" where block characters can't be shown or no number is finite.
function terminal.sparkline(can, values, width)
  local shown, low, high = {}, math.huge, -math.huge
  for i = math.max(1, #values - width + 1), #values do
    local value = values[i]
    if value - value == 0 then
      shown[#shown + 1] = value
      low, high = math.min(low, value), math.max(high, value)
    end
  end
  if not can.blocks or #shown == 0 then return "" end
  for i, value in ipairs(shown) do
    local share = high > low and (value - low) / (high - low) or 0
    shown[i] = BLOCKS[math.min(#BLOCKS, 1 + math.floor(share * #BLOCKS))]
  end
  return table.concat(shown)
end

--- A bar of `width` characters of which the first `share` is full.
function terminal.bar(can, share, width)
  local full = math.floor(math.max(0, math.min(1, share)) * width + 0.5)
  if not can.blocks then return ("[%s%s]"):format(("#"):rep(full), ("-"):rep(width - full)) end
  return terminal.paint(can, "blue", ("━"):rep(full)) .. terminal.paint(can, "dim", ("─"):rep(width - full))
end

--- A line of its parts that is at most `columns` wide; without `columns`, all words of it without bar and curve.
local function line_of(can, state, columns)
  local words = {}
  for i, word in ipairs(state) do words[i] = plain.visible_name(word) end
  if not columns then return table.concat(words, "  ") end
  local percent = state.share and ("%3d %%"):format(math.floor(100 * state.share))
  while #words > 1 and #table.concat(words, "  ") + (percent and #percent + 2 or 0) > columns do table.remove(words) end
  local used = #table.concat(words, "  ") + (percent and #percent + 2 or 0)
  if used > columns then used, percent = used - 6, nil end
  local curve, curve_width = "", math.min(16, #(state.values or {}), columns - used - 2)
  if curve_width >= 4 then curve = terminal.sparkline(can, state.values, curve_width) end
  if curve ~= "" then used = used + curve_width + 2 end
  local parts, bar_width = { words[1] }, math.min(24, columns - used - 2 - (can.blocks and 0 or 2))
  if percent and bar_width >= 8 then parts[#parts + 1] = terminal.bar(can, state.share, bar_width) end
  parts[#parts + 1] = percent
  if words[2] then parts[#parts + 1] = words[2] end
  if curve ~= "" then parts[#parts + 1] = terminal.paint(can, "green", curve) end
  table.move(words, 3, #words, #parts + 1, parts)
  return table.concat(parts, "  ")
end

terminal.line_of = line_of

--- Shows a passing state: a list of words, with share (of the task, for a bar) and values (for a curve behind the
-- second word); may leave it out when the last one is fresh.
function Progress:show(state)
  local now = core.clock()
  if now - self.shown < (self.columns and RATE or QUIET) then return end
  self.shown = now
  local text = line_of(self.can, state, self.columns and self.columns - 1)
  if self.columns then
    self.stream:write("\r", text, "\27[K")
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
