--- Penalty points in the manner of the four-point system of ASTM D5430, Standard Test Methods for Visually Inspecting
-- and Grading Fabrics: by the length of a defect, along the roll or across,
--
--     up to 75 mm 1, up to 150 mm 2, up to 230 mm 3, above 4        (3, 6 and 9 inches)
--     a hole, any opening: up to 25 mm 2, above 4                   (1 inch)
--
-- and no more than 4 for a metre of the roll; one that goes on takes 4 of each metre that it lies in. The sum is told
-- for 100 m2. The standard grades what an inspector sees and measures; here a box around cells is measured.

local points = {}

local NEARLY = 1e-9 -- of a metre: what is lost in products of pixels and millimetres
local LENGTHS = { { 75, 1 }, { 150, 2 }, { 230, 3 }, { math.huge, 4 } }
local HOLES = { { 25, 2 }, { math.huge, 4 } }
local MOST, METRE = 4, 1000

--- The points of a defect of so many millimetres.
function points.of(length, is_hole)
  for _, row in ipairs(is_hole and HOLES or LENGTHS) do
    if length <= row[1] then return row[2] end
  end
end

local Sum = {}
Sum.__index = Sum

--- The points of a roll, summed up as its defects are told.
function points.sum() return setmetatable({ total = 0, metres = {}, top = 0 }, Sum) end

local function give(self, metre, count)
  self.metres[metre] = math.min(MOST, (self.metres[metre] or 0) + count)
end

--- Adds a defect that lies from `top` to `bottom`, millimetres of the roll, and has so many points.
function Sum:add(top, bottom, count)
  local first, last = math.floor(top / METRE), math.ceil(bottom / METRE - NEARLY) - 1
  give(self, first, count)
  if bottom - top <= METRE then return end
  for metre = first, last do give(self, metre, MOST) end
end

--- Says that no further defect begins before `top`: what lies before it is summed up and forgotten. One that is before
-- the last such begins another roll, whose metres have points of their own.
function Sum:settle(top)
  local another = top < self.top
  self.top = top
  for metre, count in pairs(self.metres) do
    if another or (metre + 1) * METRE <= top then
      self.total = self.total + count
      self.metres[metre] = nil
    end
  end
end

--- All points so far.
function Sum:all()
  local sum = self.total
  for _, count in pairs(self.metres) do sum = sum + count end
  return sum
end

return points
