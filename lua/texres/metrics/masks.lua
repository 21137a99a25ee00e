--- How well heat maps agree with masks of what was to be found.

local F = require "texres.nn.functional"
local core = require "texres.core"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"

local masks = {}

local function shown(value) return core.is_tensor(value) and module.shape_text(value:shape()) or option.shown(value) end

-- A mask {H,W} or {H,W,1} as u8 {H,W} of 0 and 1.
local function as_mask(what, mask, height, width)
  local shape = core.is_tensor(mask) and mask:shape()
  local flat = shape and (#shape == 2 or #shape == 3 and shape[3] == 1)
  if not flat or shape[1] ~= height or shape[2] ~= width then
    raise("%s: the mask is %s, the heat map {%d,%d}: not 0 where the defect is, of the same size", what, shown(mask),
      height, width)
  end
  return mask:reshape(height, width):ne(0)
end

local function check_map(what, map)
  if core.is_tensor(map) and map:dim() == 2 and map:numel() > 0 then return end
  raise("%s: a heat map {H,W} is wanted, got %s", what, shown(map))
end

--- Whether the hottest pixel of a map lies in the mask; of equally hot ones the first counts. J. Zhang et al.,
-- "Top-down Neural Attention by Excitation Backprop", 2016, where 15 pixels beside the mask are near enough.
-- @tparam Tensor map {H,W}
-- @tparam Tensor mask {H,W} or {H,W,1}, not 0 where the defect is
-- @tparam[opt] table options tolerance (0): pixels up and down, left and right, beside the mask that still count
-- @treturn boolean
function masks.pointing_game(map, mask, options)
  local o = option.read("pointing_game", options, { tolerance = option.integer(0, "[0, inf)") })
  check_map("pointing_game", map)
  local height, width = map:size(1), map:size(2)
  mask = as_mask("pointing_game", mask, height, width)
  local at = map:reshape(height * width):argmax(1):item() - 1
  local y, x = at // width + 1, at % width + 1
  local near = mask:slice(1, math.max(1, y - o.tolerance), math.min(height, y + o.tolerance))
    :slice(2, math.max(1, x - o.tolerance), math.min(width, x + o.tolerance))
  return near:max():item() > 0
end

local function check_lists(what, maps, of)
  if type(maps) == "table" and type(of) == "table" and #maps > 0 and #maps == #of then return end
  raise("%s: a list of heat maps and one of as many masks are wanted", what)
end

-- The heat f64 {P} of all pixels, and the region of each, i64 {P}, 0 outside, with the regions' sizes, i64
-- {R}, and how many pixels are outside.
local function pixels_of(what, maps, of)
  check_lists(what, maps, of)
  local heats, regions, sizes, count = {}, {}, {}, 0
  for i, map in ipairs(maps) do
    check_map(what, map)
    if map:ne(map):max():item() > 0 then raise("%s: heat map %d has pixels that are not numbers", what, i) end
    local mask = as_mask(what, of[i], map:size(1), map:size(2))
    local number, size = core.regions(mask:unsqueeze(1):contiguous())
    heats[i] = map:reshape(map:numel()):to "f64"
    regions[i] = core.where(number:gt(0), number + count, 0):reshape(map:numel())
    sizes[i], count = size, count + size:numel()
  end
  heats, sizes = core.cat(heats, 1), core.cat(sizes, 1)
  local outside = heats:numel() - sizes:sum():item()
  if sizes:numel() == 0 then raise("%s: no mask shows a defect", what) end
  if outside == 0 then raise("%s: the masks cover every pixel: there is nothing that could be wrongly hot", what) end
  return heats, core.cat(regions, 1), sizes, outside
end

-- Where the last of each run of equal numbers stands in a sorted tensor, i64.
local function ends_of_runs(sorted)
  local n = sorted:numel()
  if n == 1 then return core.tensor({ 1 }, { dtype = "i64" }) end
  local last = core.cat({ sorted:slice(1, 1, n - 1):ne(sorted:slice(1, 2, n)), core.ones(1, { dtype = "u8" }) }, 1)
  local _, order = last:sort(1, { descending = true })
  return order:slice(1, 1, last:sum():item())
end

-- The area below the curve that begins at 0, 0 and goes through x, y, both rising, from x = 0 to `limit`.
local function area_up_to(x, y, limit)
  local zero = core.zeros(1, { dtype = "f64" })
  x, y = core.cat({ zero, x }, 1), core.cat({ zero, y }, 1)
  local n = x:numel()
  local width = x:slice(1, 2, n) - x:slice(1, 1, n - 1)
  local inside = x:slice(1, 2, n):clamp { max = limit } - x:slice(1, 1, n - 1):clamp { max = limit }
  local rise = (y:slice(1, 2, n) - y:slice(1, 1, n - 1)) * inside / core.where(width:gt(0), width, 1)
  return (inside * (y:slice(1, 1, n - 1) + rise / 2)):sum():item()
end

--- The area under the per-region overlap (AUPRO). For each threshold of heat, the overlap is the mean over the
-- connected regions of the masks (8 neighbours) of the part that is hot; it is integrated over the share of hot pixels
-- outside of the masks, from 0 to `limit`, and divided by `limit`: 1 is perfect, chance gives limit / 2. Small defects
-- count as much as large ones. One threshold holds for all maps: those of images without a defect belong to it, and
-- maps of unlike scales don't go together. P. Bergmann et al., "The MVTec Anomaly Detection Dataset", 2021.
-- @tparam table maps heat maps {H,W}, of any sizes
-- @tparam table of their masks {H,W} or {H,W,1}, not 0 where the defect is
-- @tparam[opt] table options limit (0.3)
-- @treturn number 0..1
-- @treturn integer how many regions there were
function masks.aupro(maps, of, options)
  local o = option.read("aupro", options, { limit = option.number(0.3, "(0, 1]") })
  local heat, region, sizes, outside = pixels_of("aupro", maps, of)
  local count = sizes:numel()
  local sorted, order = heat:sort(1, { descending = true })
  region = region:index_select(1, order)
  -- what a pixel adds to the overlap, and, for those outside, to the false positives, by its region
  local share = core.cat({ core.zeros(1, { dtype = "f64" }), 1 / (sizes:to "f64" * count) }, 1)
  local ends = ends_of_runs(sorted)
  local overlap = share:index_select(1, region + 1):cumsum(1):index_select(1, ends)
  local false_positives = (region:eq(0):to "f64" / outside):cumsum(1):index_select(1, ends)
  return area_up_to(false_positives, overlap, o.limit) / o.limit, count
end

--- The area under the ROC of all pixels: how well their heat tells those inside of the masks from those outside; 1 is
-- perfect, chance gives 0.5. Large defects count more than small ones.
-- @tparam table maps heat maps {H,W}, of any sizes
-- @tparam table of their masks {H,W} or {H,W,1}, not 0 where the defect is
-- @treturn number 0..1
function masks.pixel_auroc(maps, of)
  local heat, region, sizes, outside = pixels_of("pixel_auroc", maps, of)
  local sorted, order = heat:sort(1, { descending = true })
  local wrong, ends = region:index_select(1, order):eq(0):to "f64", ends_of_runs(sorted)
  local hits = ((1 - wrong) / sizes:sum():item()):cumsum(1):index_select(1, ends)
  return area_up_to((wrong / outside):cumsum(1):index_select(1, ends), hits, 1)
end

-- -- defects found ----------------------------------------------------------------------------------------------------

-- The mask of a map as one of its size: a cell belongs where any of its pixels does.
local function coarse_mask(mask, map)
  if not core.is_tensor(mask) or mask:dim() > 3 or mask:dim() < 2 then return mask end
  local height, width = mask:size(1), mask:size(2)
  local step = math.max((height + map:size(1) - 1) // map:size(1), (width + map:size(2) - 1) // map:size(2))
  if step == 1 or step * map:size(1) - height >= step or step * map:size(2) - width >= step then return mask end
  local below, right = step * map:size(1) - height, step * map:size(2) - width
  local pixels = mask:reshape(1, height, width, 1):ne(0):to "f32"
  return F.max_pool2d(pixels, step, { stride = step, padding = { 0, below, 0, right } })[1]
end

-- Of one map: its heat and the defect of each cell as lists, 0 outside, and the number of its defects.
local function cells_of(what, map, mask, index)
  check_map(what, map)
  if map:ne(map):max():item() > 0 then
    raise("%s: heat map %d has pixels that are not numbers", what, index)
  end
  mask = as_mask(what, coarse_mask(mask, map), map:size(1), map:size(2))
  local number, sizes = core.regions(mask:unsqueeze(1):contiguous())
  return { map = map, heat = map:reshape(map:numel()):totable(), defect = number:reshape(map:numel()):totable(),
    count = sizes:numel(), outside = map:numel() - sizes:sum():item() }
end

-- How many of the defects of a map are hot somewhere at a threshold, how many hot regions of `least` cells touch none,
-- and how many cells outside are hot.
local function found_at(cells, threshold, least)
  local number, sizes = core.regions(cells.map:ge(threshold):unsqueeze(1):contiguous())
  local region, found, hits, right, touching, outside = number:reshape(cells.map:numel()):totable(), {}, 0, {}, 0, 0
  for i, defect in ipairs(cells.defect) do
    local own = region[i]
    if own > 0 and defect == 0 then
      outside = outside + 1
    elseif own > 0 then
      if not found[defect] then found[defect], hits = true, hits + 1 end
      if not right[own] then right[own], touching = true, touching + 1 end
    end
  end
  local large = least > 1 and sizes:ge(least):to("i64"):sum():item() or sizes:numel()
  return hits, large - touching, outside
end

local FINENESS = 20 -- of thresholds

-- Heat values that occur, from the highest on: each at first, where false alarms are few, then one in 20, so that a
-- threshold makes hardly more than 5 % more cells hot than the one before.
local function thresholds_of(list)
  local all, values, i = {}, {}, 1
  for _, cells in ipairs(list) do table.move(cells.heat, 1, #cells.heat, #all + 1, all) end
  table.sort(all, function(a, b) return a > b end)
  while i <= #all do
    if all[i] ~= values[#values] then values[#values + 1] = all[i] end
    i = i + 1 + i // FINENESS
  end
  return values
end

-- The defects that all maps have at a threshold: { found =, false_alarms = per map, threshold = }, and how many cells
-- outside are hot.
local function count_at(list, threshold, least)
  local found, wrong, spilt = 0, 0, 0
  for _, cells in ipairs(list) do
    local hits, alarms, hot = found_at(cells, threshold, least or 1)
    found, wrong, spilt = found + hits, wrong + alarms, spilt + hot
  end
  return { found = found, false_alarms = wrong / #list, threshold = threshold }, spilt
end

-- The same at the lowest threshold that keeps to the budget; `outside`: how many cells are.
local function search(list, o, outside)
  local best = { found = 0, false_alarms = 0, threshold = math.huge }
  for _, threshold in ipairs(thresholds_of(list)) do
    local counts, spilt = count_at(list, threshold, o.least)
    if counts.false_alarms > o.false_alarms or spilt > o.outside * outside then break end
    best = counts
  end
  return best
end

local ALARMS = { false_alarms = option.number(1, "[0, inf)"), outside = option.number(0.1, "[0, 1]") }

--- The lowest threshold of heat at which good cloth keeps to a budget of false alarms, which are connected regions of
-- hot cells (8 neighbours). It is lowered from the highest heat on, until they exceed the budget.
-- @tparam table maps heat maps {H,W} of cloth without defects, such as the cells of scans
-- @tparam[opt] table options false_alarms (1): how many there may be per map, in the mean; outside (0.1): the share of
-- the cells that may be hot; least (1): cells that make a region
-- @treturn number (inf: none serves)
-- @treturn number false alarms per map at this threshold
function masks.alarm_threshold(maps, options)
  local o = option.read("alarm_threshold", options, {
    false_alarms = ALARMS.false_alarms, outside = ALARMS.outside, least = option.integer(1, "[1, inf)"),
  })
  check_lists("alarm_threshold", maps, maps)
  local list, cells = {}, 0
  for i, map in ipairs(maps) do
    check_map("alarm_threshold", map)
    list[i] = cells_of("alarm_threshold", map, core.zeros(map:size(1), map:size(2), { dtype = "u8" }), i)
    cells = cells + map:numel()
  end
  local best = search(list, o, cells)
  return best.threshold, best.false_alarms
end

--- The share of the defects that are found where false alarms have a budget. A defect is a connected region of a mask
-- (8 neighbours), found where any of its cells is hot; a false alarm is a connected region of hot cells that touches no
-- defect. The threshold is lowered, from the highest heat on, until the false alarms of all maps exceed the budget, or
-- so many cells outside of the masks are hot that regions grow together. What it does to the maps that it was chosen on
-- is the best case: to see what it does to new ones, choose it on others, and give it as an option here.
-- @tparam table maps heat maps {H,W}, of any sizes, such as the cells of a scan
-- @tparam table of their masks, of the maps' sizes or so many times larger: a cell belongs where any of its pixels does
-- @tparam[opt] table options false_alarms (1): how many there may be per map, in the mean; outside (0.1): the share of
-- the cells outside of masks that may be hot; threshold: count at this one, and choose none
-- @treturn table { recall = 0..1, found =, count = of defects, false_alarms = per map, threshold = (inf: none serves) }
function masks.defect_recall(maps, of, options)
  local o = option.read("defect_recall", options, {
    false_alarms = ALARMS.false_alarms, outside = ALARMS.outside, threshold = option.number(nil, "(-inf, inf)"),
  })
  check_lists("defect_recall", maps, of)
  local list, count, outside = {}, 0, 0
  for i, map in ipairs(maps) do
    list[i] = cells_of("defect_recall", map, of[i], i)
    count, outside = count + list[i].count, outside + list[i].outside
  end
  if count == 0 then raise "defect_recall: no mask shows a defect" end
  local best = o.threshold and count_at(list, o.threshold) or search(list, o, outside)
  best.count, best.recall = count, best.found / count
  return best
end

return masks
