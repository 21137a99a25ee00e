--- Checks of what layers are given: images, windows over rows and columns.

local core = require "texres.core"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"

local arguments = {}

--- Raises that x, which a layer was given, is not what is wanted.
function arguments.refuse(where, x, wanted)
  raise("%s: x is %s, wanted %s", where, core.is_tensor(x) and module.shape_text(x:shape()) or option.shown(x), wanted)
end

--- Images {N,H,W,C}, of `channels` channels where that is said.
function arguments.images(where, x, channels)
  if core.is_tensor(x) and x:dim() == 4 and x:size(4) == (channels or x:size(4)) then return end
  arguments.refuse(where, x, ("images {N,H,W,%s}"):format(channels or "C"))
end

--- A size of a window, a stride or a dilation: a whole number from 1 on, or {rows, columns}; another `rule`: of the
-- numbers. Returns rows and columns.
function arguments.pair(where, what, value, rule)
  rule = rule or option.COUNT
  if type(value) ~= "table" then
    local count = option.check(where, what, value, rule)
    return count, count
  end
  if #value ~= 2 then raise("%s: %s is %s, wanted a number or {rows, columns}", where, what, option.shown(value)) end
  return option.check(where, what .. ", rows", value[1], rule),
    option.check(where, what .. ", columns", value[2], rule)
end

--- A padding: "same", "valid", a whole number, or {top, bottom, left, right}; of a pooling, less than its window {rows,
-- columns}. `numbers`: no words.
function arguments.padding(where, value, window, numbers)
  if not numbers and (value == "same" or value == "valid") then return value end
  local sides = type(value) == "table" and value or { value, value, value, value }
  for i = 1, 4 do
    local side = #sides == 4 and option.INDEX.accept(sides[i])
    if not side then
      raise("%s: padding is %s, wanted whole numbers of at least 0: one, or {top, bottom, left, right}%s", where,
        option.shown(value), numbers and "" or "; or \"same\" or \"valid\"")
    end
    if window and side >= window[(i + 1) // 2] then
      raise("%s: padding %s is not less than the window {%d, %d}", where, option.shown(value), window[1], window[2])
    end
  end
  return value
end

return arguments
