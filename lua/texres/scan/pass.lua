--- One pass over a strip or an image: rows of pixels in, defects out.
--
--     rows --> strip --> scores of windows --> scores of cells --> hot cells --> defects
--
-- Windows of the training's size lie `step` pixels apart; a cell is a square of `step` pixels, and its scores are the
-- mean over the windows that cover it. Cells lie `offset` pixels beside the squares that the windows share, where what
-- the windows see lies (texres.scan.windows); the outermost reach to the border. Right and below, where the windows
-- don't come out even, the strip's last column and row are repeated. Work is cut into bands of windows by their
-- position alone, so that the bits don't depend on the pieces that the rows come in.

local F = require "texres.nn.functional"
local core = require "texres.core"
local defects = require "texres.scan.defects"
local raise = require "texres.raise"
local strip = require "texres.scan.strip"

local Pass = {}
Pass.__index = Pass

--- How many windows of `side` pixels lie along `size`, at least 1.
local function windows_along(size, side, step) return math.max(0, (size - side + step - 1) // step) + 1 end

--- {rows, columns} in whole pixels from the middle of a window to the middle of what it sees: of all models the mean.
local function offset_of(runners)
  local sums = { 0, 0 }
  for _, runner in ipairs(runners) do
    for axis = 1, 2 do sums[axis] = sums[axis] + runner.offset[axis] / #runners end
  end
  return { math.floor(sums[1] + 0.5), math.floor(sums[2] + 0.5) }
end

local function tracker_of(setting, threshold)
  return defects.tracker(setting.classes + (setting.unknown and 1 or 0), threshold,
    math.max(1, setting.longest // setting.step))
end

--- A pass over rows of so many columns. `setting`: { side = {h,w}, step =, band =, threshold =, longest =, good = the
-- number of that class, classes = how many, unknown = from which novelty on a cell is, or nil, make_runners =
-- function() }; `white`: what white is in the pixels;
-- `keeps`: whether the scores of all cells are kept.
local function new(setting, width, white, keeps)
  local padded = setting.side[2] + (windows_along(width, setting.side[2], setting.step) - 1) * setting.step
  local runners = setting.make_runners()
  return setmetatable({
    setting = setting, strip = strip.new(width, padded, white), runners = runners, done = 0,
    offset = offset_of(runners), columns = padded // setting.step, -- of cells
    height = 0, -- rows that were pushed
    rows = math.huge, -- of cells; not known before the end
    tracker = tracker_of(setting, setting.threshold),
    unknown = setting.unknown and tracker_of(setting, setting.unknown), -- of cells that are not hot
    kept = keeps and {} or nil,
    above = nil, -- the last rows of windows, which still cover cells to come
  }, Pass)
end

--- The scores {n,C,K} of the cells that rows of windows {P,Q,K} complete; `ended`: there are no windows below them.
local function cells_of(self, scores, ended)
  local side, step = self.setting.side, self.setting.step
  local rows, columns = side[1] // step, side[2] // step
  local all = self.above and core.cat({ self.above, scores }, 1) or scores
  local count = all:size(1)
  local above = rows - 1 - (count - scores:size(1))
  local cells = F.avg_pool2d(all:unsqueeze(1), { rows, columns }, {
    stride = 1, padding = { above, ended and rows - 1 or 0, columns - 1, columns - 1 }, count_include_pad = false,
  })
  local kept = math.min(rows - 1, count)
  self.above = kept > 0 and all:slice(1, count - kept + 1, count):clone() or nil
  return cells[1]
end

--- The pixel at which a cell begins, of `count` along an axis of `size` pixels.
local function edge(self, axis, cell, count, size)
  if cell == 0 or cell == count then return cell == 0 and 0 or size end
  return math.min(math.max(cell * self.setting.step + self.offset[axis], 0), size)
end

--- The pixels of cells first..last: the first, and the one after the last; of cells beside the image its last one.
local function span(self, axis, first, last, count, size)
  local from = math.min(edge(self, axis, first, count, size), size - 1)
  return from, math.max(from + 1, edge(self, axis, last + 1, count, size))
end

--- The pixels of the image in each cell of a row, a list.
local function areas_of(self, row)
  local areas, width = {}, self.strip.own_width
  local height = edge(self, 1, row + 1, self.rows, self.height) - edge(self, 1, row, self.rows, self.height)
  for column = 1, self.columns do
    local left = edge(self, 2, column - 1, self.columns, width)
    areas[column] = height * (edge(self, 2, column, self.columns, width) - left)
  end
  return areas
end

--- A defect of cells as one of pixels.
local function in_pixels(self, defect, unknown)
  local top, bottom = span(self, 1, defect.top, defect.bottom, self.rows, self.height)
  local left, right = span(self, 2, defect.left, defect.right, self.columns, self.strip.own_width)
  return {
    top = top, left = left, height = bottom - top, width = right - left, cells = defect.cells,
    area = math.max(1, defect.area), score = defect.sum / defect.cells, peak = defect.peak, sums = defect.sums,
    continues = defect.continues, continued = defect.continued, unknown = unknown,
  }
end

--- Puts the defects that so many further rows of cells with this heat end into `list`.
local function follow(self, tracker, heat, cells, list)
  local hottest, cold = heat:max(2):totable(), 0
  local function add(ended)
    for _, defect in ipairs(ended) do list[#list + 1] = in_pixels(self, defect, tracker == self.unknown or nil) end
  end
  for row, value in ipairs(hottest) do
    if value ~= value then
      raise "scan: the probabilities are not numbers: look for pixels or weights that are NaN or infinite"
    elseif value < tracker.threshold then
      cold = cold + 1
    else
      if cold > 0 then add(tracker:skip(cold)) end
      cold = 0
      add(tracker:add(heat[row]:totable(), cells[row]:totable(), areas_of(self, tracker.row)))
    end
  end
  if cold > 0 then add(tracker:skip(cold)) end
end

--- The same for both kinds: a cell that is hot is of a known defect, however far it is.
local function track(self, cells, list)
  local heat = 1 - cells:select(3, self.setting.good)
  follow(self, self.tracker, heat, cells, list)
  if not self.unknown then return end
  local cold = heat:lt(self.setting.threshold):to "f32"
  follow(self, self.unknown, cells:select(3, cells:size(3)) * cold, cells, list)
end

--- The mean of the scores of all models in windows first..last, {P,Q,K}.
local function scores_of(self, first, last)
  local sum
  for _, runner in ipairs(self.runners) do
    local scores = runner:scores(self.strip, first, last)
    sum = sum and sum + scores or scores
  end
  return sum / #self.runners
end

--- The rows of pixels that windows first..last are of, for whichever model reads most.
local function reads(self, first, last)
  local top, bottom = math.huge, 0
  for _, runner in ipairs(self.runners) do
    local from, to = runner:reads(first, last)
    top, bottom = math.min(top, from), math.max(bottom, to)
  end
  return top, bottom
end

--- Scans what can be: all where `total`, the number of rows of windows, is known. The defects that ended.
local function advance(self, total)
  local list = {}
  while true do
    local first = self.done
    local last = math.min(first + self.setting.band, total or math.huge) - 1
    local _, bottom = reads(self, first, last)
    if last < first or not total and bottom > self.strip.count then return list end
    local cells = cells_of(self, scores_of(self, first, last), last + 1 == total)
    track(self, cells, list)
    if self.kept then table.insert(self.kept, cells) end
    self.done = last + 1
    self.strip:drop((reads(self, self.done, self.done)))
  end
end

--- The next rows {n,W,C}; the defects that ended.
function Pass:push(rows)
  self.strip:push(rows)
  self.height = self.height + rows:size(1)
  return core.no_grad(advance, self)
end

--- Says that there are no further rows; the defects that are left, and the scores {R,C,K} of all cells where kept.
function Pass:finish()
  if self.height == 0 then return {} end
  local side, step = self.setting.side[1], self.setting.step
  local total = windows_along(self.height, side, step)
  self.rows = total - 1 + side // step
  self.strip:fill(side + (total - 1) * step)
  local list = core.no_grad(advance, self, total)
  for _, defect in ipairs(self.tracker:skip(1)) do list[#list + 1] = in_pixels(self, defect) end
  for _, defect in ipairs(self.unknown and self.unknown:skip(1) or {}) do
    list[#list + 1] = in_pixels(self, defect, true)
  end
  return list, self.kept and core.cat(self.kept, 1)
end

--- The first row of pixels of a defect that may still be told.
function Pass:open_from()
  local row = self.tracker:open_from() or self.tracker.row
  return (span(self, 1, row, row, self.rows, self.height))
end

return { new = new }
