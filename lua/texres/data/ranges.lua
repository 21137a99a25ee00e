--- What white is in pixels: 1 for images in 0..1, 255 for images in 0..255, false where they have no such range.
--
-- It is known for bytes that were divided by 255. Other pixels tell it by their smallest and largest value: up to 2 it
-- is 1, up to 300 it is 255, up to 70,000 it is 65,535; there is none where they are below -0.5 or beyond.

local core = require "texres.core"
local lists = require "texres.data.lists"
local plain = require "texres.plain"

local ranges = {}

--- Of pixels within low..high.
function ranges.white_of_range(low, high)
  if low < -0.5 then return false end
  return high <= 2 and 1 or high <= 300 and 255 or high <= 70000 and 65535 or false
end

--- The white of floats that is as good as this one, or nil.
function ranges.white_of_floats(white)
  for _, usual in ipairs { 1, 255, 65535 } do
    if math.abs(white / usual - 1) < 0.02 then return usual end
  end
end

--- Of the pixels that statistics are of, see set:statistics.
function ranges.white_of_statistics(statistics)
  return ranges.white_of_range(math.min(table.unpack(statistics.min)), math.max(table.unpack(statistics.max)))
end

--- Of the bytes of a source; nil where it has none, or bytes that are worth themselves, as those of bool are.
function ranges.white_of_bytes(source)
  return source.dtype == "u8" and source.scale ~= 1 and 255 * source.scale or nil
end

-- Of sources: the white of those whose pixels were looked through; that from which one was copied; those that were
-- joined to one; whether pixels come from integers, though neither type nor scale tells it.
local WEAK = { __mode = "k" }
local known, origins = setmetatable({}, WEAK), setmetatable({}, WEAK)
local parts, made_of_units = setmetatable({}, WEAK), setmetatable({}, WEAK)

local function is_one(value) return math.abs(value - 1) < 1e-6 end

--- Whether type or values told that integers are 0..1, or a script said so of bytes.
local function is_typed_unit(source)
  local white = ranges.white_of_bytes(source)
  if white then return is_one(white) end
  return source.guessed ~= nil or is_one(source.scale * 65535)
end

--- The same of what was made of such pixels.
local function is_unit(source)
  return is_typed_unit(source) or made_of_units[source] and ranges.white_of_source(source) == 1 or false
end

--- Notes that a source is a copy of some images of another, whose white is its own.
function ranges.note_copy(source, from)
  known[source] = known[from]
  origins[source] = known[from] == nil and from or nil
  made_of_units[source] = is_typed_unit(from) or made_of_units[from]
end

--- Notes that the images of a source were computed from those of another.
function ranges.note_change(source, from) made_of_units[source] = is_typed_unit(from) or made_of_units[from] end

--- The white of several sources together; nil where that of one can't be told.
local function white_of_all(sources)
  local most = 0
  for _, source in ipairs(sources) do
    local white = ranges.white_of_source(source)
    if not white then return white end
    most = math.max(most, white)
  end
  return most
end

local function look(source)
  if is_typed_unit(source) then return 1 end
  if origins[source] then return ranges.white_of_source(origins[source]) end
  if parts[source] then return white_of_all(parts[source]) end
  local of_bytes = ranges.white_of_bytes(source)
  if of_bytes then return of_bytes end
  local statistics = source:statistics(lists.count_up(#source))
  return statistics and ranges.white_of_statistics(statistics)
end

--- Of all pixels of a source, or of that from which it was copied, or of those that were joined to it; nil when they
-- can't be read.
function ranges.white_of_source(source)
  if known[source] == nil then
    known[source] = look(source)
    if known[source] ~= nil then origins[source], parts[source] = nil, nil end
  end
  return known[source]
end

--- Sources as one, in order; or nil and a message where some hold bytes or other integers, which are 0..1, and others
-- floats in a larger range: the same pixels would be worth different things in one set. Where a script gave bytes a
-- scale, it is believed. `what`: what the sources are called in the message.
function ranges.join(sources, what)
  local unit
  for s, source in ipairs(sources) do
    if not unit and is_unit(source) then unit = s end
  end
  for s, source in ipairs(unit and #sources > 1 and sources or {}) do
    local own = source.dtype ~= "u8" and not is_unit(source) and ranges.white_of_source(source)
    if own and own > 1 then
      return nil, plain.format("the pixels of %s %d %s, taken for 0..1, those of %s %d have the range 0..%d: open it "
        .. "with scale = 1 / %d", what, unit, sources[unit].dtype == "u8" and "are bytes" or "come from integers", what,
        s, own, own)
    end
  end
  local joined, message = core.concat_sources(sources)
  if not joined then return nil, message end
  parts[joined], made_of_units[joined] = sources, unit ~= nil or nil
  return joined
end

return ranges
