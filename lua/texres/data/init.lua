--- Data sets: reading every form they come in, splitting them honestly, looking at them.
-- @module texres.data

local Set = require "texres.data.set"
require "texres.data.split" -- adds methods to Set, as do the next
require "texres.data.audit"
require "texres.data.leaks"
require "texres.data.loader"
require "texres.data.sheet"
require "texres.data.save"
local arrays = require "texres.data.arrays"
local pictures = require "texres.data.pictures"
local telling = require("texres.plain").telling
local strict = require "texres.strict"

for _, name in ipairs { "audit", "cache", "leaks", "load_split", "map", "save_csv", "save_folder", "save_split" } do
  Set[name] = telling(Set[name])
end

--- Members that are loaded when they are first used.
local lazy = {}
for _, name in ipairs { "fabric", "loader", "augment", "local_contrast" } do
  lazy[name] = function() return require("texres.data." .. name) end
end

return strict.table("texres.data", {
  Set = Set,
  open = telling(require "texres.data.open"),
  npy = telling(arrays.npy),
  npz = telling(arrays.npz),
  hdf5 = telling(arrays.hdf5),
  tensors = telling(arrays.tensors),
  folder = telling(pictures.folder),
  csv = telling(pictures.csv),
}, lazy)
