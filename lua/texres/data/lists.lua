--- Lists of numbers and values, as sets and tables are made of.

local lists = {}

--- 1, 2, ..., n.
function lists.count_up(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

--- The values at `positions` of a list, in that order.
function lists.pick(list, positions)
  local picked = {}
  for i, position in ipairs(positions) do picked[i] = list[position] end
  return picked
end

return lists
