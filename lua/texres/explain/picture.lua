--- Heat maps to look at: over their images, as u8 {H,W,3} for write_png, and side by side on a page.

local core = require "texres.core"
local heat = require "texres.explain.heat"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"
local ranges = require "texres.data.ranges"
local resample = require "texres.explain.resample"
local sheet = require "texres.data.sheet"

local picture = {}

-- Nine colours of inferno, cold to hot: matplotlib's, by S. van der Walt and N. Smith, 2015, CC0. Lightness grows
-- evenly from black to pale yellow, so that it can be read in grey print and by the colour-blind.
local INFERNO = {
  { 0, 0, 4 }, { 33, 12, 74 }, { 86, 16, 110 }, { 137, 34, 106 }, { 187, 55, 84 }, { 227, 89, 50 }, { 249, 140, 10 },
  { 249, 201, 50 }, { 252, 255, 164 },
}
local STEPS = 256

local scale -- f32 {256,3}, 0..1, made when it is first wanted

--- The colours f32 {H,W,3} of a map of values 0..1.
local function colours(map)
  scale = scale or resample.table(core.tensor(INFERNO) / 255, STEPS)
  local place = (map * (STEPS - 1) + 1.5):floor():to "i64"
  return scale:index_select(1, place:reshape(place:numel())):reshape(map:size(1), map:size(2), 3)
end

-- An image as its grey {H,W,1}, 0..1.
local function grey_of(image)
  if not core.is_tensor(image) or image:dim() < 2 or image:dim() > 3 then
    raise("overlay: an image {H,W} or {H,W,C} is wanted, got %s",
      core.is_tensor(image) and module.shape_text(image:shape()) or option.shown(image))
  end
  local pixels = image:to "f32"
  if image:dim() == 2 then pixels = pixels:unsqueeze(3) end
  local channels = pixels:size(3)
  if channels == 2 or channels == 4 then pixels = pixels:slice(3, 1, channels - 1) end -- alpha
  local low, high = pixels:min():item(), pixels:max():item()
  local white = image.dtype == "u8" and 255 or ranges.white_of_range(low, high)
  if white then return pixels:mean(3, true) / white end
  return (pixels:mean(3, true) - low) / math.max(high - low, 1e-12)
end

local KNOWN = {
  alpha = option.number(0.7, "[0, 1]"), -- how much of the hottest pixel is colour
  max = option.number(nil, "(0, inf)"), -- the heat that is hottest; false: the largest of the map
}

--- An image in grey with a heat map over it: the hotter a pixel, the more it has of its colour, so that the cloth is
-- seen where there is no heat. One scale for all: inferno, from black to pale yellow.
-- @tparam Tensor image {H,W} or {H,W,C}, bytes, or floats whose range tells white
-- @tparam Tensor map {H,W}; what is below 0, or not a number, has no colour
-- @tparam[opt] table options alpha (0.7): the part of the hottest pixel that is colour; max: the heat that is hottest
-- (default: the largest of the map); give it where several pictures are to be compared
-- @treturn Tensor u8 {H,W,3}, for write_png
function picture.overlay(image, map, options)
  local o = option.read("overlay", options, KNOWN)
  local grey = grey_of(image)
  if not core.is_tensor(map) or map:dim() ~= 2 or map:size(1) ~= grey:size(1) or map:size(2) ~= grey:size(2) then
    raise("overlay: the heat map is %s, wanted {%d,%d}, the image's size",
      core.is_tensor(map) and module.shape_text(map:shape()) or option.shown(map), grey:size(1), grey:size(2))
  end
  map = map:to "f32"
  map = core.where(map:ge(0), map, 0)
  local hottest = o.max or map:max():item()
  local share = (map / (hottest > 0 and hottest or 1)):clamp(0, 1)
  local part = (share * o.alpha):unsqueeze(3)
  local mixed = grey * (1 - part) + colours(share) * part
  return (mixed:clamp(0, 1) * 255 + 0.5):floor():to "u8"
end

local SHEET = {
  method = option.choice("hires_cam", { "hires_cam", "grad_cam", "occlusion", "integrated_gradients" }),
  options = option.table(), -- of the method
  alpha = KNOWN.alpha, max = KNOWN.max,
  columns = option.integer(4, "[1, inf)"), -- pairs per row
  scale = option.integer(2, "[1, inf)"), -- screen pixels per pixel
  gap = option.integer(2, "[0, inf)"), -- screen pixels between pictures
}

--- Writes images of a set as a PNG, each with its overlay to the right of it.
-- @param of a classifier, an ensemble or a model, as for grad_cam
-- @tparam Set set
-- @tparam table indices positions in the set, a list; row by row in this order
-- @tparam string path file to write
-- @tparam[opt] table options method ("hires_cam", "grad_cam", "occlusion", "integrated_gradients"); options: those of
-- the method; alpha, max as for overlay; columns (4): pairs per row; scale (2): screen pixels per pixel; gap (2)
-- @return true, or nil and a message
function picture.sheet(of, set, indices, path, options)
  local o = option.read("sheet", options, SHEET)
  option.check("sheet", "the path", path, option.PATH)
  if type(indices) ~= "table" or #indices == 0 then raise "sheet: a list of positions in the set is wanted" end
  local rows = {}
  for i, index in ipairs(indices) do
    local image, message = set:get(index)
    if not image then return nil, message end
    local map = heat[o.method](of, image, o.options)
    local grey = grey_of(image)
    local row = (i - 1) // o.columns + 1
    rows[row] = rows[row] or {}
    table.insert(rows[row], grey:expand(grey:size(1), grey:size(2), 3))
    table.insert(rows[row], picture.overlay(image, map, { alpha = o.alpha, max = o.max }):to "f32" / 255)
  end
  return sheet.write(path, rows, o)
end

return picture
