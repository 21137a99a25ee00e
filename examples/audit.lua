#!/usr/bin/env lua5.4
--- Looks for what is wrong with a data set, then shows what two ways to split it are worth: the same network is trained
-- and tested under a random split and under one that holds out whole groups (photographs, pieces of cloth).
--
--     lua5.4 examples/audit.lua ../shared/data/textile --groups source
--
-- Where images cut from one photograph overlap, the random split measures how well the network remembers photographs.
-- The other one measures what it will do on the next photograph.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("audit.lua", "Audits a data set and compares a random split with one by group.")
parser:argument("set", "Anything that texres.data.open takes: a folder, X.npy, set.h5, ...")
parser:option("--groups", "The column that says which images belong together, or FILE.csv:COLUMN."):default "source"
parser:option("--test", "Share of the images that are held out."):convert(tonumber):default "0.3"
parser:option("--epochs", "Passes over the training part."):convert(math.tointeger):default "8"
parser:option("--width", "Channels of the network's first stage."):convert(math.tointeger):default "16"
parser:option("--batch", "Images in a step."):convert(math.tointeger):default "64"
parser:option("--lr", "Highest learning rate."):convert(tonumber):default "5e-3"
parser:option("--seed", "Of the splits, the weights and the batches."):convert(math.tointeger):default "1"
parser:option("--sheet", "PNG for the images that look most alike.")
parser:flag("--no-training", "Audit only.")
local options = parser:parse()

local set = assert(tr.data.open(options.set, { groups = options.groups }))
print(set:describe())
print()

--- Test accuracy of the same network, from the same weights, trained on `train`.
local function accuracy(train, test)
  tr.manual_seed(options.seed)
  local trainer = tr.Trainer {
    model = tr.models.textile {
      width = options.width, in_channels = set.source.channels, classes = #set.classes,
    },
    optimizer = { "adamw", lr = options.lr, weight_decay = 1e-4 },
    schedule = { "one_cycle" },
    epochs = options.epochs, batch = options.batch, seed = options.seed,
    augment = { "flip", "rotate90" },
  }
  trainer:fit(train)
  if trainer.interrupted then os.exit(130, true) end
  return trainer:evaluate(test).accuracy
end

local column = set.group
local shares = { 1 - options.test, options.test, seed = options.seed }
local ways = {
  { name = "random", split = { stratify = true } },
  { name = "by " .. column, split = { group = column } },
}
for _, way in ipairs(ways) do
  for k, value in pairs(shares) do way.split[k] = value end
  local train, test = set:split(way.split)
  local audit = assert(set:audit { splits = { train = train, test = test } })
  print(way.name .. " split: " .. tostring(audit))
  print()
  if options.sheet and way == ways[1] then
    local written, message = audit:contact_sheet(options.sheet)
    print(written and "images that look alike: " .. options.sheet or message)
  end
  way.leak, way.train, way.test = audit.leaks[1], train, test
  if not options.no_training then way.accuracy = accuracy(train, test) end
end

print(("%-16s %8s %8s %8s %8s %12s %8s %10s"):format("split", "train", "test", "equal", "alike", "same " .. column,
  "leaked", "accuracy"))
for _, way in ipairs(ways) do
  local leak = way.leak
  print(("%-16s %8d %8d %8d %8d %12d %6.1f %% %10s"):format(way.name, #way.train, #way.test, leak.equal, leak.alike,
    leak.grouped, 100 * leak.share, way.accuracy and ("%.1f %%"):format(100 * way.accuracy) or "-"))
end
