--- A picture of what a scan found: the image in grey, the heat of its cells over it, and a box around each defect in
-- the colour of its class, white where unknown. A cell at the threshold has half of the heat's colour, so that pictures
-- of scans with a high threshold are not full of cells that are far below it.

local core = require "texres.core"
local picture = require "texres.explain.picture"

-- M. Okabe and K. Ito's colours for the colour-blind, from the second class on.
local COLOURS = { { 86, 180, 233 }, { 0, 158, 115 }, { 230, 159, 0 }, { 240, 228, 66 }, { 204, 121, 167 },
  { 213, 94, 0 }, { 0, 114, 178 } }
local UNKNOWN = { 255, 255, 255 }
local LINE = 3 -- pixels

--- Fills rows top..bottom - 1, columns left..right - 1, as far as they are in the picture.
local function fill(page, top, left, bottom, right, colour)
  top, left = math.max(top, 0), math.max(left, 0)
  bottom, right = math.min(bottom, page:size(1)), math.min(right, page:size(2))
  if bottom <= top or right <= left then return end
  page:slice(1, top + 1, bottom):slice(2, left + 1, right):copy_from(colour:expand(bottom - top, right - left, 3))
end

local function draw_box(page, defect)
  local colour = core.tensor(defect.unknown and UNKNOWN or COLOURS[(defect.label - 2) % #COLOURS + 1], { dtype = "u8" })
  local top, left = defect.top, defect.left
  local bottom, right = top + defect.height, left + defect.width
  fill(page, top, left, top + LINE, right, colour)
  fill(page, bottom - LINE, left, bottom, right, colour)
  fill(page, top, left, bottom, left + LINE, colour)
  fill(page, top, right - LINE, bottom, right, colour)
end

--- The picture, u8 {H,W,3}, of an image that was scanned and what classifier:scan or Scanner:frame gave.
return function(image, result)
  local map = result:map()
  local above = (1 - result.threshold) * 2
  if above > 0 then map = (map - (1 - above)) / above end
  local page = picture.overlay(image, map, { alpha = 0.6, max = 1 })
  for _, defect in ipairs(result.defects) do draw_box(page, defect) end
  return page
end
