#!/usr/bin/env lua5.4
--- Trains the textile network on synthetic fabric alone and tests it on photographs of real fabric, which it has never
-- seen any of:
--
--     lua5.4 examples/transfer.lua --images X.npy --labels Y.npy

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("transfer.lua", "Trains on synthetic fabric, tests on real fabric.")
parser:option("--images", "Real images {N,H,W,1}, a .npy file."):count(1)
parser:option("--labels", "Their labels {N} from 0, a .npy file."):count(1)
parser:option("--count", "Synthetic images."):convert(math.tointeger):default "12000"
parser:option("--epochs", "Passes over them."):convert(math.tointeger):default "10"
parser:option("--width", "Channels of the first stage."):convert(math.tointeger):default "16"
parser:option("--seed", "Of fabric, weights and batches."):convert(math.tointeger):default "1"
parser:option("--threads", "Number of threads."):convert(math.tointeger)
local options = parser:parse()

if options.threads then tr.set_num_threads(options.threads) end
tr.manual_seed(options.seed)

local synthetic = tr.data.fabric { count = options.count, seed = options.seed, sources = options.count // 6 }
local train, val = synthetic:split { 0.9, 0.1, seed = options.seed, group = "source" }
local real = assert(tr.data.npy { images = options.images, labels = options.labels, classes = synthetic.classes })

local trainer = tr.Trainer {
  name = "synthetic fabric, width " .. options.width,
  model = tr.models.textile { width = options.width },
  optimizer = { "adamw", lr = 5e-3, weight_decay = 1e-3 },
  schedule = { "one_cycle" },
  epochs = options.epochs, batch = 64, seed = options.seed,
  -- much variety, for what the real camera and cloth do otherwise than the synthetic ones
  augment = {
    "flip", "rotate90", { "rotate", 10 }, { "scale", 0.25 }, { "brightness", 0.15 }, { "contrast", 0.25 },
    { "gamma", 0.3 }, { "noise", 0.02 }, { "blur", 0.8, p = 0.5 },
  },
}
trainer:fit(train, val)
print("\nsynthetic fabric that was held back:")
print(trainer:evaluate(val))
print("\nreal fabric:")
print(trainer:evaluate(real))
