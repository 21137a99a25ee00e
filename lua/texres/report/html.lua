--- Pieces of HTML in which nothing that comes from a file or a user is taken for markup.

local plain = require "texres.plain"

local html = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
function html.escape(text) return (plain.visible(plain.text(text)):gsub('[&<>"]', ENTITIES)) end

--- Fills the {names} of a piece of HTML with escaped values; a name that begins with _ holds HTML and goes in as it is.
function html.fill(text, values)
  return (text:gsub("{([%w_]+)}", function(name)
    local value = values[name]
    if value == nil then error("report: no value for {" .. name .. "}") end
    return name:sub(1, 1) == "_" and value or html.escape(value)
  end))
end

function html.each(list, make)
  local parts = {}
  for i, item in ipairs(list) do parts[i] = make(item, i) end
  return table.concat(parts, "\n")
end

--- A name as people write it: metal contamination. Long ones are shortened.
function html.spaced(name) return plain.short((plain.visible_name(name):gsub("_", " "))) end

--- The same as HTML within a sentence, whose direction it does not change: names may be Arabic.
function html.name(name) return "<bdi>" .. html.escape(html.spaced(name)) .. "</bdi>" end

function html.finite(x) return type(x) == "number" and x - x == 0 end
function html.percent(x) return html.finite(x) and plain.percent(x) or "–" end
function html.number(x, format) return html.finite(x) and plain.format(format or "%.4f", x) or "–" end

--- A share with its limits: "3.1 % (1.2 to 6.0 %)"; without limits the share alone.
function html.share(value, low, high)
  if not (html.finite(value) and html.finite(low) and html.finite(high)) then return html.percent(value) end
  return plain.format("%s (%.1f to %s)", plain.percent(value), 100 * low, plain.percent(high))
end

-- viridis (S. van der Walt, N. Smith, matplotlib), at nine places.
local SCALE = {
  { 68, 1, 84 }, { 71, 44, 122 }, { 59, 81, 139 }, { 44, 113, 142 }, { 33, 144, 141 }, { 39, 173, 129 },
  { 92, 200, 99 }, { 170, 220, 50 }, { 253, 231, 37 },
}

--- A colour for a share of 0 to 1.
function html.colour(share)
  local place = 1 + share * (#SCALE - 1)
  local below = math.min(math.floor(place), #SCALE - 1)
  local parts = {}
  for k = 1, 3 do
    parts[k] = math.floor(SCALE[below][k] + (place - below) * (SCALE[below + 1][k] - SCALE[below][k]) + 0.5)
  end
  return ("rgb(%d %d %d)"):format(table.unpack(parts))
end

return html
