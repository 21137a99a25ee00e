--- Numbers that come in order, as ranges: "8-9, 12, 15-219".

local MOST = 20 -- ranges that are named

local Ranges = {}
Ranges.__index = Ranges

--- Adds first..last, which lie behind all that are there.
function Ranges:add(first, last)
  local n = #self
  if n > 0 and self[n][2] == first - 1 then
    self[n][2] = last
  elseif n < MOST then
    self[n + 1] = { first, last }
  else
    self.more = (self.more or 0) + last - first + 1
  end
end

--- The text of all that were added, and begins anew; nil where there are none.
function Ranges:take()
  if #self == 0 then return nil end
  local parts, more = {}, self.more
  for i, range in ipairs(self) do
    parts[i] = range[1] == range[2] and ("%d"):format(range[1]) or ("%d-%d"):format(range[1], range[2])
    self[i] = nil
  end
  self.more = nil
  return table.concat(parts, ", ") .. (more and (" and %d more"):format(more) or "")
end

return function() return setmetatable({}, Ranges) end
