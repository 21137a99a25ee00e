--- Synthetic textile: close-ups of woven or knitted cloth with defects, made in C, the same bytes for the same
-- options.
--
--     local set = texres.data.fabric { count = 1200, size = 64, seed = 1 }
--     local photographs = texres.data.fabric { count = 6, size = { 768, 1024 }, weave = "mixture", masks = true }
--
-- Classes take turns, so do the eight angles 0, 20, ..., 140 degrees, so do the cloths (`sources`): every class is as
-- frequent as the others. `set.meta` has the columns angle, source, weave and, NaN where there is no defect,
-- severity, size, row, col (pixels). With `masks = true`, `set.masks` is a source of masks, 1 where the defect may
-- have changed a pixel.
-- @module texres.data.fabric

local core = require "texres.core"
local Set = require "texres.data.set"
local option = require "texres.options"

local class_names, weave_names = core.fabric_choices()

local KNOWN = {
  count = option.integer(1200, "[1, inf)"), -- images
  size = option.any(64), -- pixels, or {height, width}
  seed = option.integer(0, "(-inf, inf)"), -- another one gives other cloths and defects
  classes = option.table(class_names), -- in this order: label 1 is the first
  weave = option.any("plain"), -- plain, twill, satin, knit, a list of these, or "mixture": all of them
  sources = option.COUNT, -- number of cloths; false: one per 100 images, 8 at least
  severity = option.any { 0.4, 1 }, -- range within 0..1: how marked a defect is
  defect_size = option.any { 28, 56 }, -- range in pixels: diameter or length
  yarn = option.any { 23, 28 }, -- range in pixels: distance from yarn to yarn
  masks = option.switch(false), -- masks of the defects, as set.masks
}

--- Makes a set of synthetic fabric images {N,H,W,1}.
-- @tparam[opt] table options count, size, seed, classes, weave, sources, severity, defect_size, yarn, masks
-- @treturn Set
return function(options)
  local o = option.read("fabric", options, KNOWN)
  local height, width = o.size, o.size
  if type(o.size) == "table" then height, width = o.size[1], o.size[2] end
  local images, labels, meta, masks = core.fabric {
    count = o.count, height = height, width = width, seed = o.seed, classes = o.classes,
    weave = o.weave == "mixture" and weave_names or o.weave,
    sources = o.sources or math.max(8, o.count // 100),
    severity = o.severity, defect_size = o.defect_size, yarn = o.yarn, masks = o.masks,
  }
  return Set.new {
    source = core.source(images), labels = labels, classes = table.move(o.classes, 1, #o.classes, 1, {}), meta = meta,
    masks = masks and core.source(masks, 1), origin = "synthetic fabric, seed " .. o.seed,
  }
end
