--- Where the values of a program lie in one array: those that are needed at the same time lie apart.

local lowered = require "texres.lowered"

-- The steps between which a value is kept: from that which makes it to the last that reads it.
local function lives(program)
  local first, last = { [1] = 0 }, { [1] = 0 }
  for i, step in ipairs(program.steps) do
    first[step.output], last[step.output] = i, i
    for _, value in ipairs(lowered.reads(step)) do last[value] = i end
  end
  last[program.output] = #program.steps + 1
  return first, last
end

-- The lowest place for `size` elements among those that are `taken`: { at =, size = }, of any order.
local function free_place(taken, size)
  table.sort(taken, function(a, b) return a.at < b.at end)
  local at = 0
  for _, other in ipairs(taken) do
    if other.at >= at + size then break end
    at = math.max(at, other.at + other.size)
  end
  return at
end

--- Places: offset[value], work[i] of what step i needs while it runs, and the size of the whole. `sizes[value]` and
-- `work_sizes[i]` (nil: none) are in elements; offsets are multiples of `align`.
return function(program, sizes, work_sizes, align)
  local first, last = lives(program)
  local offset, work, placed, total = {}, {}, {}, 0
  local function place(size, from, to)
    local taken = {}
    for _, other in ipairs(placed) do
      if other.to >= from and other.from <= to then taken[#taken + 1] = other end
    end
    size = (size + align - 1) // align * align
    local one = { at = free_place(taken, size), size = size, from = from, to = to }
    placed[#placed + 1], total = one, math.max(total, one.at + size)
    return one.at
  end
  offset[1] = place(sizes[1], 0, last[1])
  for i, step in ipairs(program.steps) do
    offset[step.output] = place(sizes[step.output], first[step.output], last[step.output])
    if work_sizes[i] then work[i] = place(work_sizes[i], i, i) end
  end
  return { offset = offset, work = work, size = total }
end
