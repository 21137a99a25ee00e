--- The class scores of windows of a strip, row by row of windows, in one of two ways.
--
--     trunk      the trunk runs over the band in tiles with its halo around them, the head slides over the map
--     patches    each window is cut out and given to the model, as predict does: the reference
--
-- Both have reads(first, last), the rows of pixels that windows first..last need, scores(strip, first, last), their
-- probabilities {P,Q,K}, and offset, {rows, columns} in pixels from the middle of a window to that of what it sees;
-- where a novelty is given (texres.novelty) {P,Q,K+1}, the last of which is how far the window is from all that was
-- trained on; rows of windows count from 0 and are asked for in order. A patch that is cut out sees itself and
-- nothing beside it: its offset is 0. With the cloth around it a window sees what the places of its map see
-- (texres.scan.split).

local core = require "texres.core"
local input = require "texres.input"
local raise = require "texres.raise"

local windows = {}

-- -- pixels -----------------------------------------------------------------------------------------------------------

--- Pixels {1,h,w,C} of a strip as a model takes them; what lies outside of the strip is left out.
local function pixels_of(model, strip, top, bottom, left, right)
  local rows = strip:rows(math.max(top, 0), math.min(bottom, strip.count))
  local cut = rows:slice(2, math.max(left, 0) + 1, math.min(right, strip.width))
  return input.of(model):batch(cut:unsqueeze(1), "scan", strip.white)
end

local function probabilities(model, logits) return input.of(model):tempered(logits):softmax(logits:dim()) end

--- The probabilities {..., K} of the logits that f(...) gives; with a novelty {..., K+1}.
local function scored(self, f, ...)
  if not self.novelty then return probabilities(self.model, f(...)) end
  local logits, far = self.novelty:beside(self.model, f, ...)
  local scores, shape = probabilities(self.model, logits), logits:shape()
  shape[#shape] = 1
  if far:numel() * logits:size(-1) ~= logits:numel() then
    raise("scan: novelty is of what %s is given, which is no layer that is called for each window", self.novelty.layer)
  end
  return core.cat({ scores, far:reshape(shape) }, #shape)
end

-- -- the trunk over the band ------------------------------------------------------------------------------------------

local TILE = 1 << 18 -- pixels that the trunk is given at once, about

local Trunk = {}
Trunk.__index = Trunk

--- `parts`: of texres.scan.split; `step`: pixels from one window to the next; `novelty`: of the model, or nil.
function windows.trunk(model, parts, step, novelty)
  return setmetatable({
    model = model, novelty = novelty, parts = parts, offset = parts.offset,
    step = step // parts.stride, -- in places of the map
    map = nil, first = 0, last = 0, -- the rows of the map that are kept: first..last - 1
  }, Trunk)
end

--- The rows of the map of windows first..last.
local function places(self, first, last) return first * self.step, last * self.step + self.parts.cells[1] end

function Trunk:reads(first, last)
  local parts, _, bottom = self.parts, places(self, first, last)
  return self.last * parts.stride - parts.halo, bottom * parts.stride + parts.halo
end

--- Rows top..bottom - 1 and columns left..right - 1 of the map.
local function tile(self, strip, top, bottom, left, right)
  local stride, halo = self.parts.stride, self.parts.halo
  local x = pixels_of(self.model, strip, top * stride - halo, bottom * stride + halo, left * stride - halo,
    right * stride + halo)
  local above, before = math.min(top, halo // stride), math.min(left, halo // stride)
  return self.parts.trunk(x):slice(2, above + 1, above + bottom - top):slice(3, before + 1, before + right - left)
end

--- Rows top..bottom - 1 of the map, in tiles side by side.
local function band(self, strip, top, bottom)
  local stride, width = self.parts.stride, strip.width // self.parts.stride
  local high = (bottom - top) * stride + 2 * self.parts.halo
  local count = math.max(1, strip.width * high // TILE)
  local list = {}
  for i = 0, count - 1 do
    list[#list + 1] = tile(self, strip, top, bottom, width * i // count, width * (i + 1) // count)
  end
  return core.cat(list, 3)
end

function Trunk:scores(strip, first, last)
  local top, bottom = places(self, first, last)
  if bottom > self.last then
    local new = band(self, strip, self.last, bottom)
    self.map = self.map and core.cat({ self.map, new }, 2) or new
    self.last = bottom
  end
  local map = self.map:slice(2, top - self.first + 1, bottom - self.first)
  local scores = scored(self, self.parts.head, map, self.step)
  local following = (last + 1) * self.step
  self.map = following < self.last and self.map:slice(2, following - self.first + 1, self.last - self.first):clone()
    or nil
  self.first = math.min(following, self.last)
  return scores
end

-- -- patch by patch ---------------------------------------------------------------------------------------------------

local BATCH = 128 -- patches at a time

local Patches = {}
Patches.__index = Patches

--- `parts` is nil where margin is 0: the pixels around a window that the trunk sees besides, where the strip has them.
function windows.patches(model, parts, step, margin, novelty)
  return setmetatable({
    model = model, novelty = novelty, parts = parts, step = step, side = input.of(model).input, margin = margin,
    offset = margin > 0 and parts.offset or { 0, 0 },
  }, Patches)
end

function Patches:reads(first, last)
  return first * self.step - self.margin, last * self.step + self.side[1] + self.margin
end

--- The scores {1,K} of a window at (top, left), seen with its margin.
local function with_margin(self, strip, top, left)
  local parts, margin = self.parts, self.margin
  local x = pixels_of(self.model, strip, top - margin, top + self.side[1] + margin, left - margin,
    left + self.side[2] + margin)
  local above, before = math.min(top, margin) // parts.stride, math.min(left, margin) // parts.stride
  local map = parts.trunk(x):slice(2, above + 1, above + parts.cells[1]):slice(3, before + 1, before + parts.cells[2])
  return scored(self, parts.head, map, 1)[1]
end

--- The scores of one row of windows, {Q,K}.
local function row(self, strip, index)
  local top, list, scores = index * self.step, {}, {}
  local last = strip.width - self.side[2]
  for left = 0, last, self.step do
    if self.margin > 0 then
      scores[#scores + 1] = with_margin(self, strip, top, left)
    else
      list[#list + 1] = pixels_of(self.model, strip, top, top + self.side[1], left, left + self.side[2])
      if #list == BATCH or left + self.step > last then
        scores[#scores + 1], list = scored(self, self.model, core.cat(list, 1)), {}
      end
    end
  end
  return core.cat(scores, 1)
end

function Patches:scores(strip, first, last)
  local rows = {}
  for index = first, last do rows[#rows + 1] = row(self, strip, index):unsqueeze(1) end
  return core.cat(rows, 1)
end

return windows
