--- How well defects are found, by how much of the image they cover: a network that misses only those of which a corner
-- shows is another one than one that misses half of them.
--
--     for _, row in ipairs(result:by_cover()) do            -- of a set with masks
--       print(row.low, row.high, row.found.value, row.found.images)
--     end

local counted = require "texres.metrics.counted"
local option = require "texres.options"
local raise = require "texres.raise"

local function is_share(value) return type(value) == "number" and value >= 0 and value <= 1 end

local function rises(list)
  if not option.is_list(list, is_share) then return false end
  for i = 2, #list do
    if list[i] <= list[i - 1] then return false end
  end
  return #list > 1
end

local KNOWN = {
  edges = option.kind("a list of shares, each greater than the one before", rises, -- the last one belongs to its row
    { 0, 0.1, 0.2, 0.4, 0.6, 0.8, 1 }),
  point = option.table(), -- an operating point: which images are found
  good = option.text(), -- the class that means no defect
}

local cover = {}

--- Whether a result is of images that all have masks.
function cover.has_masks(result)
  for _, set in ipairs(result.sets or {}) do
    if not set.masks then return false end
  end
  return result.sets ~= nil
end

--- The share that the mask covers, of each image of a result.
local function covers_of(result)
  if not cover.has_masks(result) then raise "by_cover: the result is of a set without masks" end
  local list = {}
  for _, set in ipairs(result.sets) do
    local covers = set:covers()
    table.move(covers, 1, #covers, #list + 1, list)
  end
  return list
end

--- Rows { low =, high =, found = share }: of the defects that cover low to high of their image, the share that does not
-- pass, as texres.metrics.counted has it. Without an operating point a defect passes where the likeliest class is
-- the good one. Rows without images are left out, and so are defects whose mask shows nothing.
function cover.rows(result, options)
  local o = option.read("by_cover", options, KNOWN)
  local edges, covers = o.edges, covers_of(result)
  local decisions, _, good = result:decisions(o.point, o.good)
  local rows = {}
  for e = 1, #edges - 1 do
    local low, high = edges[e], edges[e + 1]
    local found = counted.of_result(result, function(label, i)
      local share = covers[i]
      local inside = share >= low and (share < high or e == #edges - 1 and share == high)
      return label ~= good and share > 0 and inside
    end, function(i) return decisions[i] ~= "accept" end)
    if found.images > 0 then rows[#rows + 1] = { low = low, high = high, found = found } end
  end
  return rows
end

return cover
