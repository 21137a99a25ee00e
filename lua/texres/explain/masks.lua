--- How well heat maps agree with masks of what was to be found.

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

-- The heat f64 {P} of all pixels, and the region of each, i64 {P}, 0 outside, with the regions' sizes, i64 {R}.
local function pixels_of(maps, of)
  local heats, regions, sizes, count = {}, {}, {}, 0
  for i, map in ipairs(maps) do
    check_map("aupro", map)
    if map:ne(map):max():item() > 0 then raise("aupro: heat map %d has pixels that are not numbers", i) end
    local mask = as_mask("aupro", of[i], map:size(1), map:size(2))
    local number, size = core.regions(mask:unsqueeze(1):contiguous())
    heats[i] = map:reshape(map:numel()):to "f64"
    regions[i] = core.where(number:gt(0), number + count, 0):reshape(map:numel())
    sizes[i], count = size, count + size:numel()
  end
  return core.cat(heats, 1), core.cat(regions, 1), core.cat(sizes, 1)
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
  if type(maps) ~= "table" or type(of) ~= "table" or #maps == 0 or #maps ~= #of then
    raise("aupro: a list of heat maps and one of as many masks are wanted")
  end
  local heat, region, sizes = pixels_of(maps, of)
  local count, outside = sizes:numel(), heat:numel() - sizes:sum():item()
  if count == 0 then raise "aupro: no mask shows a defect" end
  if outside == 0 then raise "aupro: the masks cover every pixel: there is nothing that could be wrongly hot" end
  local sorted, order = heat:sort(1, { descending = true })
  region = region:index_select(1, order)
  -- what a pixel adds to the overlap, and, for those outside, to the false positives, by its region
  local share = core.cat({ core.zeros(1, { dtype = "f64" }), 1 / (sizes:to "f64" * count) }, 1)
  local ends = ends_of_runs(sorted)
  local overlap = share:index_select(1, region + 1):cumsum(1):index_select(1, ends)
  local false_positives = (region:eq(0):to "f64" / outside):cumsum(1):index_select(1, ends)
  return area_up_to(false_positives, overlap, o.limit) / o.limit, count
end

return masks
