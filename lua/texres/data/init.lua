--- Data sets: reading every form they come in, splitting them honestly, looking at them.
-- @module texres.data

local Set = require "texres.data.set"
require "texres.data.split" -- adds methods to Set, as do the next
require "texres.data.audit"
require "texres.data.loader"
require "texres.data.sheet"
require "texres.data.save"
local arrays = require "texres.data.arrays"
local pictures = require "texres.data.pictures"

--- Members that are loaded when they are first used.
local parts = { fabric = "texres.data.fabric", loader = "texres.data.loader", augment = "texres.data.augment" }

return setmetatable({
  Set = Set,
  open = require "texres.data.open",
  npy = arrays.npy,
  npz = arrays.npz,
  hdf5 = arrays.hdf5,
  tensors = arrays.tensors,
  folder = pictures.folder,
  csv = pictures.csv,
}, {
  __index = function(self, name)
    if not parts[name] then return nil end
    rawset(self, name, require(parts[name]))
    return rawget(self, name)
  end,
})
