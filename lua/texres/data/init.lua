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
local strict = require "texres.strict"

--- Members that are loaded when they are first used.
local lazy = {}
for _, name in ipairs { "fabric", "loader", "augment" } do
  lazy[name] = function() return require("texres.data." .. name) end
end

return strict.table("texres.data", {
  Set = Set,
  open = require "texres.data.open",
  npy = arrays.npy,
  npz = arrays.npz,
  hdf5 = arrays.hdf5,
  tensors = arrays.tensors,
  folder = pictures.folder,
  csv = pictures.csv,
}, lazy)
