#!/usr/bin/env lua5.4
--- Which variant is better: a table of variants, each trained with several seeds, and one page that compares them.
--
--     lua5.4 examples/sweep.lua                                             # on synthetic fabric
--     lua5.4 examples/sweep.lua SET --groups source --budget 20min          # on images of yours
--     mpirun -n 4 lua5.4 examples/sweep.lua                                 # four runs at a time
--
-- Edit the table. A sweep that was stopped or killed goes on where it was. Under a budget that is too short for all of
-- it, the worse half of the variants is dropped, round after round, but never the first (successive halving).

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

-- The variants: a name, and what models.build is told. The others are compared with the first one.
local VARIANTS = {
  { name = "residual" },
  { name = "plain", residual = false },
  { name = "preact", block = "preact" },
  { name = "squeeze", se = 8 },
  { name = "mean-max", head = "mean_max" },
}

local parser = require "argparse" ("sweep.lua", "Trains a table of variants and compares them.")
parser:argument("set", "Anything that texres.data.open takes; without it synthetic fabric."):args "?"
parser:option("--groups", "Column that says which images belong together.")
parser:option("--seeds", "Networks of each variant."):convert(math.tointeger):default "3"
parser:option("--epochs", "Of each training."):convert(math.tointeger):default "10"
parser:option("--width", "Channels of the first stage."):convert(math.tointeger):default "16"
parser:option("--count", "Synthetic images."):convert(math.tointeger):default "1500"
parser:option("--size", "Pixels of a synthetic image's side."):convert(math.tointeger):default "32"
parser:option("--budget", "Time for all of it, such as 20min; without it everything is trained.")
parser:option("--dir", "Folder of the runs."):default "runs/sweep"
local options = parser:parse()

local set, group
if options.set then
  local message
  set, message = tr.data.open(options.set, { groups = options.groups })
  if not set then parser:error(message) end
  group = options.groups
else
  set, group = tr.data.fabric { count = options.count, size = options.size, seed = 1 }, "source"
end
local train, val, test = set:split { 0.6, 0.2, 0.2, seed = 1, group = group }

local seeds = {}
for s = 1, options.seeds do seeds[s] = s end

local sweep = tr.sweep {
  variants = VARIANTS, seeds = seeds, train = train, val = val, test = test, budget = options.budget, dir = options.dir,
  trainer = function(variant)
    local build = { in_channels = assert(set:get(1)):size(3), classes = #set.classes, stages = {} }
    for s = 1, 3 do build.stages[s] = { blocks = 2, width = options.width << (s - 1) } end
    for name, value in pairs(variant) do build[name] = value end
    return { model = tr.models.build(build), epochs = options.epochs, batch = 64, schedule = { "one_cycle" },
      optimizer = { "adamw", lr = 3e-3, weight_decay = 1e-4 }, augment = { "flip", "rotate90" } }
  end,
}
if sweep.rank == 0 then print(sweep) end
if sweep.stopped then os.exit(130, true) end
if sweep.rank == 0 then print(("report: %s/report.html"):format(options.dir)) end
