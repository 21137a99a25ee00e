--- Checks of what a constructor is given.

local raise = require "texres.raise"

local check = {}

--- `value` as an integer of at least 1.
function check.count(where, what, value)
  local count = math.type(value) and math.tointeger(value)
  if not count or count < 1 then
    raise("%s: %s is %s, wanted a whole number of at least 1", where, what, value)
  end
  return count
end

--- `value` as a number between low and high.
function check.number(where, what, value, low, high)
  if type(value) ~= "number" or not (value >= low and value <= high) then
    raise("%s: %s is %s, wanted a number from %g to %g", where, what, value, low, high)
  end
  return value
end

--- `value` as the path of a file.
function check.path(where, value)
  if type(value) ~= "string" then raise("%s: the path is a string, got %s", where, type(value)) end
  return value
end

--- The options table with defaults filled in; an unknown name is an error that lists the known ones. `presets` maps
-- every known name to its default, false where there is none.
function check.options(where, options, presets)
  if options ~= nil and (type(options) ~= "table" or getmetatable(options)) then
    raise("%s: options come as a table with names, got %s", where, type(options))
  end
  local result, known = {}, {}
  for name, preset in pairs(presets) do
    result[name] = preset
    known[#known + 1] = name
  end
  table.sort(known)
  for name, value in pairs(options or {}) do
    if presets[name] == nil then
      raise("%s: no option %s; there are %s", where, tostring(name), table.concat(known, ", "))
    end
    result[name] = value
  end
  return result
end

return check
