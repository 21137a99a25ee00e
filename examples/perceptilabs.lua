#!/usr/bin/env lua5.4
--- Trains a model that was drawn in PerceptiLabs, as its file says, and tests it:
--
--     lua5.4 examples/perceptilabs.lua model.json --images X.npy --labels Y.npy
--
-- Its split is a random one. With --groups, all images of one group (a photograph) stand on one side of it: images cut
-- from one photograph overlap, and a random split tells how well they were learned by heart.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("perceptilabs.lua", "Trains a model.json of PerceptiLabs.")
parser:argument("model", "The model, a .json file.")
parser:option("--images", "Images {N,H,W} or {N,H,W,C}, a .npy file."):count(1)
parser:option("--labels", "Labels {N} from 0, a .npy file."):count(1)
parser:option("--groups", "FILE.csv:COLUMN: what must not stand on both sides of the split.")
parser:option("--epochs", "Passes over the training part; by default as the model says."):convert(math.tointeger)
parser:option("--batch", "Images in a step; by default as the model says."):convert(math.tointeger)
parser:option("--seed", "Of the split, the weights and the batches."):convert(math.tointeger):default "1"
parser:option("--dir", "Folder for checkpoints and report."):default "runs/perceptilabs"
parser:option("--threads", "Number of threads."):convert(math.tointeger)
local options = parser:parse()

if options.threads then tr.set_num_threads(options.threads) end
tr.manual_seed(options.seed)

local function need(value, message) return value or parser:error(message) end

local model, settings = tr.perceptilabs.read(options.model)
need(model, settings)
print(settings)

local set = need(tr.data.npy { images = options.images, labels = options.labels, groups = options.groups })
if #set.classes ~= settings.classes then
  parser:error(("the labels have %d classes, the model %d"):format(#set.classes, settings.classes))
end
local share = settings.split
local train, val, test = set:split { share[1], share[2], share[3], seed = options.seed, group = set.group }
print(("%d images: %d to train, %d to validate, %d to test"):format(#set, #train, #val, #test))

local told = settings.trainer
told.dir, told.seed, told.epochs, told.batch = options.dir, options.seed, options.epochs or told.epochs,
  options.batch or told.batch
local trainer = tr.Trainer(told)
trainer:fit(train, #val > 0 and val or nil)
if trainer.interrupted then os.exit(130, true) end

if #test > 0 then
  print()
  trainer:evaluate(test):show()
end
print(("\nreport: %s/report.html, network: %s/best.safetensors"):format(options.dir, options.dir))
