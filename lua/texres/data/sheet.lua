--- Contact sheets: many images of a set in one PNG, to look at.
--
--     set:contact_sheet("sheet.png")                                    -- a row per class
--     set:contact_sheet("augmented.png", { augment = { "flip", { "rotate", 15 }, "cutmix" } })
--                                                 -- a row per sample: as it is, then as epochs 1, 2, ... would show it
-- @module texres.data.sheet

local core = require "texres.core"
local raise = require "texres.raise"
local ranges = require "texres.data.ranges"
local Set = require "texres.data.set"
local option = require "texres.options"

local sheet = {}

local KNOWN = {
  count = option.COUNT, -- how many samples; false: 48, with augment 8
  columns = option.integer(8, "[1, inf)"), -- images per row
  samples = option.any(), -- which samples: a list of positions; false: spread over the set, class by class
  augment = option.table(), -- a list, see texres.data.augment
  seed = option.integer(0, "(-inf, inf)"), -- of augmentation
  scale = option.integer(2, "[1, inf)"), -- screen pixels per pixel
  gap = option.integer(2, "[0, inf)"), -- screen pixels between images
}

--- An image {H,W,C} with every pixel `scale` times as high and wide.
local function enlarge(image, scale)
  local h, w, c = image:size(1), image:size(2), image:size(3)
  return image:reshape(h, 1, w, 1, c):expand(h, scale, w, scale, c):reshape(h * scale, w * scale, c)
end

--- Writes rows of equally large images f32 {H,W,C} as one PNG, black between them.
-- @tparam string path file to write
-- @tparam table rows list of lists of images
-- @tparam table options scale, gap
-- @return true, or nil and a message
function sheet.write(path, rows, options)
  local scale, gap = options.scale, options.gap
  local columns = 0
  for _, row in ipairs(rows) do columns = math.max(columns, #row) end
  if columns == 0 then raise "contact_sheet: there are no images to show" end
  local first = rows[1][1]
  local h, w, c = first:size(1) * scale, first:size(2) * scale, first:size(3)
  local page = core.zeros(#rows * (h + gap) + gap, columns * (w + gap) + gap, c)
  for y, row in ipairs(rows) do
    for x, image in ipairs(row) do
      local top, left = gap + (y - 1) * (h + gap), gap + (x - 1) * (w + gap)
      page:slice(1, top + 1, top + h):slice(2, left + 1, left + w):copy_from(enlarge(image, scale))
    end
  end
  return core.write_png(path, page)
end

--- Up to `count` positions of samples, evenly spread over those of each class, one list per class.
local function choose_by_class(set, count, columns)
  local of_class, rows = {}, {}
  for i, label in ipairs(set.label) do
    of_class[label] = of_class[label] or {}
    table.insert(of_class[label], i)
  end
  local per_class = math.max(1, count // #set.classes)
  for label = 1, #set.classes do
    local all, row = of_class[label] or {}, {}
    local wanted = math.min(per_class, #all)
    for k = 1, wanted do
      row[#row + 1] = all[(k - 1) * #all // wanted + 1]
      if #row == columns or k == wanted then
        rows[#rows + 1] = row
        row = {}
      end
    end
  end
  return rows
end

local function in_rows(samples, columns)
  local rows = {}
  for i = 1, #samples, columns do
    rows[#rows + 1] = table.move(samples, i, math.min(i + columns - 1, #samples), 1, {})
  end
  return rows
end

local function flat(rows)
  local list = {}
  for _, row in ipairs(rows) do table.move(row, 1, #row, #list + 1, list) end
  return list
end

--- Rows of one sample each: the image, then augmented versions; mixup and cutmix mix the samples of the sheet.
local function augmented_rows(images, options)
  local augment, rows = core.augment(options.augment), {}
  for i = 1, images:size(1) do rows[i] = { images[i] } end
  for epoch = 1, options.columns - 1 do
    local changed = augment:apply(images, { seed = options.seed, epoch = epoch })
    for i, row in ipairs(rows) do row[#row + 1] = changed[i] end
  end
  return rows
end

--- Writes a contact sheet of this set as a PNG.
-- @tparam string path file to write
-- @tparam[opt] table options count, columns, samples, augment, seed, scale, gap
-- @return true, or nil and a message
function Set:contact_sheet(path, options)
  local o = option.read("contact_sheet", options, KNOWN)
  if #self == 0 then raise "contact_sheet: the set is empty" end
  local count = o.count or o.augment and 8 or 48
  local chosen = o.samples and in_rows(o.samples, o.columns) or choose_by_class(self, count, o.columns)
  local images, message = self:images(flat(chosen))
  if not images then return nil, message end
  local white = ranges.white_of_bytes(self.source) or ranges.white_of_range(images:min():item(), images:max():item())
  if white and white ~= 1 then images = images / white end
  if o.augment then return sheet.write(path, augmented_rows(images, o), o) end
  local rows, at = {}, 0
  for y, row in ipairs(chosen) do
    rows[y] = {}
    for x = 1, #row do
      at = at + 1
      rows[y][x] = images[at]
    end
  end
  return sheet.write(path, rows, o)
end

return sheet
