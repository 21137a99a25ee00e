--- Rows of pixels as they come, of which those are kept that are still to be read.

local core = require "texres.core"

local Strip = {}
Strip.__index = Strip

--- For rows {n,width,C}; right of them the last column is repeated up to `padded` columns. `white`: what white is in
-- the pixels.
local function new(width, padded, white)
  return setmetatable({
    own_width = width, width = padded, white = white,
    count = 0, -- rows that have come
    pieces = {}, first = 0, -- those that are kept, from row `first` on
  }, Strip)
end

--- Adds rows {n,width,C}.
function Strip:push(rows)
  local missing = self.width - self.own_width
  if missing > 0 then
    local edge = rows:slice(2, self.own_width, self.own_width)
    rows = core.cat({ rows, edge:expand(rows:size(1), missing, rows:size(3)) }, 2)
  end
  self.pieces[#self.pieces + 1] = rows
  self.count = self.count + rows:size(1)
end

local function whole(self)
  if #self.pieces > 1 then self.pieces = { core.cat(self.pieces, 1) } end
  return self.pieces[1]
end

--- Repeats the last row until there are `count`.
function Strip:fill(count)
  local missing, all = count - self.count, whole(self)
  if missing <= 0 then return end
  local last = all:slice(1, all:size(1), all:size(1))
  self.pieces[2] = last:expand(missing, all:size(2), all:size(3))
  self.count = count
end

--- Rows top..bottom - 1, counted from 0.
function Strip:rows(top, bottom) return whole(self):slice(1, top - self.first + 1, bottom - self.first) end

--- Lets go of the rows before `top`.
function Strip:drop(top)
  if top <= self.first then return end
  local all = whole(self)
  top = math.min(top, self.count)
  self.pieces = top < self.count and { all:slice(1, top - self.first + 1, all:size(1)):clone() } or {}
  self.first = top
end

return { new = new }
