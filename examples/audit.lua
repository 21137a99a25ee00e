#!/usr/bin/env lua5.4
--- What two ways to split a set are worth: the same network is trained and tested under a random split and under one
-- that holds out whole groups (photographs, pieces of cloth). `texres audit` tells the rest, without a training.
--
--     lua5.4 examples/audit.lua ../shared/data/textile --groups source
--
-- Where images cut from one photograph overlap, the random split measures how well the network remembers photographs.
-- The other one measures what it will do on the next photograph.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("audit.lua", "Compares what a random split and one by group say of a network.")
parser:argument("set", "Anything that texres.data.open takes: a folder, X.npy, set.h5, ...")
parser:option("--groups", "The column that says which images belong together, or FILE.csv:COLUMN."):default "source"
parser:option("--test", "Share of the images that are held out."):convert(tonumber):default "0.3"
parser:option("--epochs", "Passes over the training part."):convert(math.tointeger):default "8"
parser:option("--width", "Channels of the network's first stage."):convert(math.tointeger):default "16"
parser:option("--seed", "Of the splits, the weights and the batches."):convert(math.tointeger):default "1"
local options = parser:parse()

local set = assert(tr.data.open(options.set, { groups = options.groups }))
local leaks = assert(set:leaks { test = options.test, seed = options.seed })

for _, way in ipairs(leaks) do
  tr.manual_seed(options.seed) -- the same weights to begin with
  local trainer = tr.Trainer {
    model = tr.models.textile { width = options.width, in_channels = set.source.channels, classes = #set.classes },
    optimizer = { "adamw", lr = 5e-3, weight_decay = 1e-4 }, schedule = { "one_cycle" },
    epochs = options.epochs, batch = 64, seed = options.seed, augment = { "flip", "rotate90" },
  }
  trainer:fit(way.train)
  if trainer.interrupted then os.exit(130, true) end
  way.accuracy = trainer:evaluate(way.test).accuracy
end
print(leaks)
