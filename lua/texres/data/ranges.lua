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

local known = setmetatable({}, { __mode = "k" }) -- of sources, whose pixels were looked through

local origins = setmetatable({}, { __mode = "k" }) -- of sources, that from which they were copied

--- Notes that a source is a copy of some images of another, whose white is its own.
function ranges.note_copy(source, from)
  known[source] = known[from]
  origins[source] = known[from] == nil and from or nil
end

--- Of all pixels of a source, or of that from which it was copied; nil when they can't be read.
function ranges.white_of_source(source)
  if known[source] == nil and origins[source] then
    known[source], origins[source] = ranges.white_of_source(origins[source]), nil
  end
  if known[source] == nil then
    local statistics = not ranges.white_of_bytes(source) and source:statistics(lists.count_up(#source))
    if statistics == nil then return nil end
    known[source] = ranges.white_of_bytes(source) or ranges.white_of_statistics(statistics)
  end
  return known[source]
end

local function is_unit(value) return math.abs(value - 1) < 1e-6 end

--- Sources as one, in order; or nil and a message where some hold bytes, which are 0..1, and others floats in a larger
-- range: the same pixels would be worth different things in one set. Where a script gave bytes a scale, it is believed.
-- `what`: what the sources are called in the message.
function ranges.join(sources, what)
  local bytes
  for s, source in ipairs(sources) do
    if ranges.white_of_bytes(source) and is_unit(ranges.white_of_bytes(source)) then bytes = bytes or s end
  end
  for s, source in ipairs(bytes and #sources > 1 and sources or {}) do
    local own = source.dtype ~= "u8" and ranges.white_of_source(source)
    if own and own > 1 then
      return nil, plain.format("the pixels of %s %d are bytes, taken for 0..1, those of %s %d have the range 0..%d: "
        .. "open it with scale = 1 / %d", what, bytes, what, s, own, own)
    end
  end
  return core.concat_sources(sources)
end

return ranges
