--- Images in the terminal: `t:show()` of a tensor, `set:show(1)` of a sample.
--
-- A character is two pixels, one above the other: the upper half-block in the colour of the upper one, on the colour of
-- the lower one. In 24-bit colour where COLORTERM says so, in 256 colours where TERM does; elsewhere on a terminal, as
-- where NO_COLOR is set, a character is the mean of its two pixels as one of four shades. Plain ASCII where the locale
-- is not UTF-8, or what is written to is no terminal. An image that is wider than the terminal is reduced to its width.
-- @module texres.show

local core = require "texres.core"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local ranges = require "texres.data.ranges"
local terminal = require "texres.terminal"

local show = {}

local WIDTH = 80 -- of what is no terminal
local SHADES, LETTERS = { " ", "░", "▒", "▓", "█" }, { " ", ".", ":", "-", "=", "+", "*", "#", "%", "@" }

-- -- what the terminal can --------------------------------------------------------------------------------------------

--- How images are drawn: "24bit", "256", "shades" or "letters". `can` is of terminal.abilities.
function show.manner(can, get)
  if not can.columns or not can.blocks then return "letters" end
  if not can.colour then return "shades" end
  local depth = (get "COLORTERM" or ""):lower()
  if depth == "truecolor" or depth == "24bit" then return "24bit" end
  return (get "TERM" or ""):find "256color" and "256" or "shades"
end

-- -- pixels -----------------------------------------------------------------------------------------------------------

local function shape_text(t) return "{" .. table.concat(t:shape(), ",") .. "}" end

-- The image as f32 {H,W,1} or {H,W,3}, 0 to 1, without its alpha.
local function pixels_of(image)
  local shape = shape_text(image)
  if image:dim() == 4 and image:size(1) == 1 then image = image:squeeze(1) end
  if image:dim() == 2 then image = image:unsqueeze(3) end
  if image:dim() ~= 3 or image:size(3) < 1 or image:size(3) > 4 or image:numel() == 0 then
    raise("show: an image {H,W} or {H,W,C} of 1 to 4 channels is wanted, got %s", shape)
  end
  local channels = image:size(3)
  if channels % 2 == 0 then image = image:slice(3, 1, channels - 1) end
  local pixels = image:detach():to "f32"
  if image.dtype == "u8" then return pixels / 255 end
  local finite = pixels:abs():lt(math.huge) -- not so of NaN
  local low = core.where(finite, pixels, math.huge):min():item()
  local high = core.where(finite, pixels, -math.huge):max():item()
  if low > high then return pixels:clone():zero() end
  pixels = core.where(finite, pixels, math.min(low, 0)) -- black
  local white = ranges.white_of_range(low, high)
  if white then return pixels / white end
  return (pixels - low) / math.max(high - low, 1e-12)
end

-- The image with at most `columns` x `rows` pixels; each is the mean of those in its place.
local function reduce(pixels, columns, rows)
  local h, w = pixels:size(1), pixels:size(2)
  local scale = math.max(1, w / columns, h / rows)
  if scale == 1 then return pixels end
  local size = { math.max(1, math.floor(h / scale + 0.5)), math.max(1, math.floor(w / scale + 0.5)) }
  return core.functional.adaptive_avg_pool2d(pixels:unsqueeze(1), size):squeeze(1)
end

-- Rows of pixels, each a list of levels 0..most per channel; their number is even, so that each has one below it.
local function levels_of(pixels, most)
  return (pixels:clamp(0, 1) * most + 0.5):floor():to("i64"):totable()
end

-- -- drawing ----------------------------------------------------------------------------------------------------------

local CUBE = { 0, 95, 135, 175, 215, 255 } -- the levels of the 6x6x6 colours

local function nearest_level(value)
  if value < 48 then return 1 end
  if value < 115 then return 2 end
  return (value - 35) // 40 + 1
end

local code = {} -- manner -> the code of a colour

code["24bit"] = function(r, g, b) return ("2;%d;%d;%d"):format(r, g, b) end

-- The nearest of the 24 greys, or of the cube's colours.
code["256"] = function(r, g, b)
  local i, j, k = nearest_level(r), nearest_level(g), nearest_level(b)
  local grey = math.max(0, math.min(23, ((r + g + b) // 3 - 3) // 10))
  local function distance(x, y, z) return (r - x) ^ 2 + (g - y) ^ 2 + (b - z) ^ 2 end
  local level = 8 + 10 * grey
  if distance(level, level, level) <= distance(CUBE[i], CUBE[j], CUBE[k]) then return "5;" .. 232 + grey end
  return "5;" .. 16 + 36 * (i - 1) + 6 * (j - 1) + k - 1
end

local function colour_line(upper, lower, coded)
  local parts, above, below = {}, nil, nil
  for x, pixel in ipairs(upper) do
    local top = coded(pixel[1], pixel[2] or pixel[1], pixel[3] or pixel[1])
    local bottom = lower and coded(lower[x][1], lower[x][2] or lower[x][1], lower[x][3] or lower[x][1])
    if top ~= above then parts[#parts + 1] = ("\27[38;%sm"):format(top) end
    if bottom and bottom ~= below then parts[#parts + 1] = ("\27[48;%sm"):format(bottom) end
    parts[#parts + 1] = "▀"
    above, below = top, bottom
  end
  return table.concat(parts) .. "\27[0m"
end

local function in_colour(pixels, columns, coded)
  local rows, lines = levels_of(reduce(pixels, columns, 2 * columns), 255), {}
  for y = 1, #rows, 2 do lines[#lines + 1] = colour_line(rows[y], rows[y + 1], coded) end
  return lines
end

-- A character is twice as high as wide, and one pixel here.
local function in_characters(pixels, columns, characters)
  local small = reduce(pixels:mean(3, true), columns, 2 * columns)
  local h, w = small:size(1), small:size(2)
  small = core.functional.adaptive_avg_pool2d(small:unsqueeze(1), { (h + 1) // 2, w }):squeeze(1)
  local lines = {}
  for y, row in ipairs(levels_of(small, #characters - 1)) do
    for x, pixel in ipairs(row) do row[x] = characters[pixel[1] + 1] end
    lines[y] = table.concat(row)
  end
  return lines
end

--- The lines of an image, drawn in a manner (see show.manner), at most `columns` wide.
function show.lines(image, columns, manner)
  local pixels = core.no_grad(pixels_of, image)
  if manner == "shades" then return in_characters(pixels, columns, SHADES) end
  if manner == "letters" then return in_characters(pixels, columns, LETTERS) end
  return in_colour(pixels, columns, code[manner])
end

-- -- for people -------------------------------------------------------------------------------------------------------

local KNOWN = {
  columns = option.COUNT, -- at most that wide; false: as the terminal is, 80 elsewhere
  file = option.kind("a file that is open", function(value) return io.type(value) == "file" end),
}

--- Shows an image: {H,W} or {H,W,C} with 1 to 4 channels (2 and 4: the last is alpha and left out), bytes, or floats
-- whose range tells white (0..1, 0..255, else from the lowest to the highest); NaN is black.
-- @tparam Tensor image
-- @tparam[opt] table options columns: how wide at most (default: the terminal); file: where to (default: standard
-- output)
function show.image(image, options)
  option.check("show", "the image", image, option.TENSOR)
  local o = option.read("show", options, KNOWN)
  local file = o.file or io.stdout
  local can = terminal.abilities(core.process.columns(file), os.getenv)
  local lines = show.lines(image, o.columns or can.columns or WIDTH, show.manner(can, os.getenv))
  file:write(table.concat(lines, "\n"), "\n")
end

--- Shows sample i of a set, and below it what is known of it: class, label, columns.
-- @tparam Set set
-- @tparam integer i from 1, negative from the end
-- @tparam[opt] table options as for an image
-- @return nothing, or nil and a message where the image can't be read
function show.sample(set, i, options)
  local image, label, row = set:get(i)
  if not image then return nil, label end
  show.image(image, options)
  local words = { ("%s (%d)"):format(set.classes[label], label) }
  for _, name in ipairs(plain.names(row)) do
    local value = row[name]
    words[#words + 1] = name .. " " .. plain.format(math.type(value) == "float" and "%.4g" or "%s", value)
  end
  local file = options and options.file or io.stdout
  file:write(plain.visible_name(table.concat(words, ", ")), "\n")
end

return show
