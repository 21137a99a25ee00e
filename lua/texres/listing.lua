--- Long lists for the prompt: their first and last items, "..." for those between.

local MOST, FIRST = 20, 5

--- A list of make(i) for i = 1..n; of more than 20 items the first 5, `gap`, and the last 15.
return function(n, make, gap)
  local rows = {}
  for i = 1, n do
    if n <= MOST or i <= FIRST or i > n - MOST + FIRST then
      rows[#rows + 1] = make(i)
    elseif i == FIRST + 1 then
      rows[#rows + 1] = gap
    end
  end
  return rows
end
