--- Options by name, checked against a table of presets.
--
--     local o = options("loader", presets, { batch = 64 })     -- o.batch 64, the rest as in presets
--
-- A preset of false stands for "not given". Raises, with the choices, when there is an option that has no preset.
-- @module texres.data.options

local raise = require "texres.raise"

return function(operation, presets, given)
  if given ~= nil and type(given) ~= "table" then raise("%s: options are a table, got %s", operation, given) end
  local result = {}
  for name, preset in pairs(presets) do result[name] = preset end
  for name, value in pairs(given or {}) do
    if presets[name] == nil then
      local names = {}
      for known in pairs(presets) do names[#names + 1] = known end
      table.sort(names)
      raise("%s: unknown option '%s'; the choices are %s", operation, name, table.concat(names, ", "))
    end
    result[name] = value
  end
  return result
end
