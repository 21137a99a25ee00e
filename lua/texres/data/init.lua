--- Data sets: reading every form they come in, splitting them honestly, looking at them.
-- @module texres.data

local Set = require "texres.data.set"
require "texres.data.split" -- adds methods to Set, as do the next
require "texres.data.loader"
local read = require "texres.data.read"

local data = { Set = Set }
for name, reader in pairs(read) do data[name] = reader end

--- Members that are loaded when they are first used.
local parts = { fabric = "texres.data.fabric", loader = "texres.data.loader", augment = "texres.data.augment" }

return setmetatable(data, {
  __index = function(self, name)
    if not parts[name] then return nil end
    rawset(self, name, require(parts[name]))
    return rawget(self, name)
  end,
})
