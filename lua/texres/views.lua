--- The eight views of an image: turned by quarters and mirrored. A network's mean over them is steadier than its word
-- on one (test-time augmentation); cloth has no up and no left.

local core = require "texres.core"
local option = require "texres.options"
local raise = require "texres.raise"

local views = {}

--- The option that says how many; by default as many as the operating point was chosen with, 1 where there is none.
views.COUNT = option.choice(nil, { 1, 4, 8 })

--- How many are meant where an option, or nil, was given, and a model has an operating point or nil.
function views.count(given, point) return given or point and point.views or 1 end

local function mirrored(images, dim)
  local n = images:size(dim)
  return images:index_select(dim, core.arange(n, 1, -1, { dtype = "i64" }))
end

--- A list of `count` views of images {N,H,W,C}: 1 (as they are), 4 (mirrored along both sides) or 8 (the same
-- transposed, which takes images as high as they are wide).
function views.of(images, count)
  local list = { images }
  if count == 1 then return list end
  list[2] = mirrored(images, 2)
  list[3], list[4] = mirrored(images, 3), mirrored(list[2], 3)
  if count == 4 then return list end
  if images:size(2) ~= images:size(3) then
    raise("views: eight views are of square images, these are %dx%d: take 4", images:size(2), images:size(3))
  end
  for i = 1, 4 do list[4 + i] = list[i]:transpose(2, 3):contiguous() end
  return list
end

return views
