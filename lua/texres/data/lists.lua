--- Lists of numbers and values, as sets and tables are made of.

local lists = {}

--- 1, 2, ..., n.
function lists.count_up(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

--- A list of n times the same value.
function lists.filled(n, value)
  local list = {}
  for i = 1, n do list[i] = value end
  return list
end

--- A table that has `true` for each of a list of names.
function lists.set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

--- How many different values a list holds, without those that `skipped` (a function, optional) is true of.
function lists.different(values, skipped)
  local seen, count = {}, 0
  for _, value in ipairs(values) do
    if not seen[value] and not (skipped and skipped(value)) then seen[value], count = true, count + 1 end
  end
  return count
end

--- The first few of a list of texts, as one text: "a, b, c, ...".
function lists.some(list, most)
  return table.concat(list, ", ", 1, math.min(#list, most)) .. (#list > most and ", ..." or "")
end

--- The values at `positions` of a list, in that order.
function lists.pick(list, positions)
  local picked = {}
  for i, position in ipairs(positions) do picked[i] = list[position] end
  return picked
end

--- Reads a row of so many things alone, where no `share` says that several processes do it together: read(1, count).
function lists.alone(_, count, read)
  if count == 0 then return "" end
  return read(1, count)
end

return lists
