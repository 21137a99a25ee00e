--- Hot cells that touch each other as defects, row by row: a defect is told as soon as a row no longer touches it.
--
--     row r - 1   . # # . . . # .        a run is a row of hot cells side by side; runs that touch, corners too, are
--     row r       . . . # # . # .        of one defect, and what a defect is known by is summed up run by run
--
-- So an endless strip takes the memory of what is open. A defect that goes on for `longest` rows is told in pieces.

local defects = {}

-- -- what a defect is known by ----------------------------------------------------------------------------------------

local function new(classes, continued)
  local sums = {}
  for c = 1, classes do sums[c] = 0 end
  return { cells = 0, area = 0, sum = 0, peak = 0, sums = sums, continued = continued or nil }
end

--- Adds cells first..last of a row, whose areas are a list; rows and columns of a defect count from 0.
local function take(defect, row, first, last, heat, scores, areas)
  defect.top = math.min(defect.top or row, row)
  defect.bottom = math.max(defect.bottom or row, row)
  defect.left = math.min(defect.left or first - 1, first - 1)
  defect.right = math.max(defect.right or last - 1, last - 1)
  for column = first, last do
    local value = heat[column]
    defect.cells, defect.area = defect.cells + 1, defect.area + areas[column]
    defect.sum, defect.peak = defect.sum + value, math.max(defect.peak, value)
    for c, score in ipairs(scores[column]) do defect.sums[c] = defect.sums[c] + score end
  end
end

--- Adds what is known of one defect to another.
local function merge(into, from)
  if into == from then return end
  into.top, into.bottom = math.min(into.top, from.top), math.max(into.bottom, from.bottom)
  into.left, into.right = math.min(into.left, from.left), math.max(into.right, from.right)
  into.cells, into.area = into.cells + from.cells, into.area + from.area
  into.sum, into.peak = into.sum + from.sum, math.max(into.peak, from.peak)
  for c, sum in ipairs(from.sums) do into.sums[c] = into.sums[c] + sum end
  into.continued = into.continued or from.continued
end

-- -- row by row -------------------------------------------------------------------------------------------------------

local Tracker = {}
Tracker.__index = Tracker

--- A tracker of cells with scores of so many classes, hot from `threshold` on; `longest`: rows of a defect.
function defects.tracker(classes, threshold, longest)
  return setmetatable({
    classes = classes, threshold = threshold, longest = longest, row = 0, runs = {}, -- of the last row
  }, Tracker)
end

--- The runs of hot cells of a row: { first =, last = }.
local function runs_of(heat, threshold)
  local runs, first = {}, nil
  for column = 1, #heat + 1 do
    local hot = heat[column] and heat[column] >= threshold
    if hot and not first then first = column end
    if first and not hot then
      runs[#runs + 1] = { first = first, last = column - 1 }
      first = nil
    end
  end
  return runs
end

local function replace(runs, old, by)
  for _, run in ipairs(runs) do
    if run.defect == old then run.defect = by end
  end
end

--- Gives each run the defect that it touches in the row before, which become one where it touches several.
local function join(self, runs)
  for _, run in ipairs(runs) do
    local continued
    for _, before in ipairs(self.runs) do
      if before.first <= run.last + 1 and before.last >= run.first - 1 then
        local other = before.defect
        if not other then
          continued = true
        elseif not run.defect then
          run.defect = other
        elseif run.defect ~= other then
          merge(run.defect, other)
          replace(self.runs, other, run.defect)
          replace(runs, other, run.defect)
        end
      end
    end
    run.defect = run.defect or new(self.classes, continued)
  end
end

local function before(a, b)
  if a.top ~= b.top then return a.top < b.top end
  return a.left < b.left
end

--- Those of the last row's defects that have no run in `runs`, from the top.
local function ended(self, runs)
  local open, list = {}, {}
  for _, run in ipairs(runs) do open[run.defect] = true end
  for _, run in ipairs(self.runs) do
    if run.defect and not open[run.defect] then
      open[run.defect] = true
      list[#list + 1] = run.defect
    end
  end
  table.sort(list, before)
  return list
end

--- Ends those that are as long as may be: what touches them in the next row is told to continue one.
local function cut(self, runs, list)
  for _, run in ipairs(runs) do
    local defect = run.defect
    if defect and self.row - defect.top >= self.longest then
      defect.continues = true
      list[#list + 1] = defect
      replace(runs, defect, false)
    end
  end
end

--- The next row: of its cells the heat and the area, lists of numbers, and the scores, a list of such. The defects that
-- it ends.
function Tracker:add(heat, scores, areas)
  local runs = runs_of(heat, self.threshold)
  join(self, runs)
  local list = ended(self, runs)
  for _, run in ipairs(runs) do take(run.defect, self.row, run.first, run.last, heat, scores, areas) end
  self.row = self.row + 1
  cut(self, runs, list)
  self.runs = runs
  return list
end

--- So many rows without a hot cell. The defects that they end.
function Tracker:skip(rows)
  local list = ended(self, {})
  self.runs, self.row = {}, self.row + rows
  return list
end

--- The first row that an open defect has; nil where none is open.
function Tracker:open_from()
  local first
  for _, run in ipairs(self.runs) do
    if run.defect then first = math.min(first or run.defect.top, run.defect.top) end
  end
  return first
end

return defects
