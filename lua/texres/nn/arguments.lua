--- Checks of what layers are given: windows over rows and columns.

local option = require "texres.options"
local raise = require "texres.raise"

local arguments = {}

--- A size of a window, a stride or a dilation: a whole number from 1 on, or {rows, columns}. Returns rows and columns.
function arguments.pair(where, what, value)
  if type(value) ~= "table" then
    local count = option.check(where, what, value, option.COUNT)
    return count, count
  end
  if #value ~= 2 then raise("%s: %s is %s, wanted a number or {rows, columns}", where, what, option.shown(value)) end
  return option.check(where, what .. ", rows", value[1], option.COUNT),
    option.check(where, what .. ", columns", value[2], option.COUNT)
end

--- A padding: "same", "valid", a whole number, or {top, bottom, left, right}; of a pooling, less than its window {rows,
-- columns}.
function arguments.padding(where, value, window)
  if value == "same" or value == "valid" then return value end
  local sides = type(value) == "table" and value or { value, value, value, value }
  for i = 1, 4 do
    local side = #sides == 4 and option.INDEX.accept(sides[i])
    if not side then
      raise("%s: padding is %s, wanted whole numbers of at least 0: one, or {top, bottom, left, right}; or \"same\" or "
        .. "\"valid\"", where, option.shown(value))
    end
    if window and side >= window[(i + 1) // 2] then
      raise("%s: padding %s is not less than the window {%d, %d}", where, option.shown(value), window[1], window[2])
    end
  end
  return value
end

return arguments
