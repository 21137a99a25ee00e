#!/usr/bin/env lua5.4
--- Trains the textile network on fabric images and tells how well it finds defects.
--
--     lua5.4 examples/textile.lua --images X.npy --labels Y.npy --groups index.csv:source --epochs 5
--     lua5.4 examples/textile.lua train64.h5
--
-- With --groups, all images of one group (a photograph, a piece of cloth) stand on the same side of the split: images
-- cut from one photograph overlap, and a network that has seen some of them is not tested by the others.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local CLASSES = { "good", "color", "cut", "hole", "thread", "metal_contamination" }

local function fractions(text)
  local parts = {}
  for part in text:gmatch "[^,/]+" do parts[#parts + 1] = tonumber(part) end
  if #parts ~= 3 then return nil, "expected three parts, such as 0.7,0.15,0.15" end
  return parts
end

local parser = require "argparse" ("textile.lua", "Trains the textile network on fabric images.")
parser:argument("set", "Anything that texres.data.open takes: a folder, set.h5, X.npy, ..."):args "?"
parser:option("--images", "Images {N,H,W,1}, a .npy file.")
parser:option("--labels", "Labels {N} from 0, a .npy file.")
parser:option("--groups", "FILE.csv:COLUMN: what must not stand on both sides of the split.")
parser:option("--split", "Parts for training, validation and test."):convert(fractions):default "0.7,0.15,0.15"
parser:option("--epochs", "Passes over the training part."):convert(math.tointeger):default "10"
parser:option("--batch", "Images in a step."):convert(math.tointeger):default "128"
parser:option("--lr", "Highest learning rate."):convert(tonumber):default "3e-3"
parser:option("--width", "Channels of the first stage."):convert(math.tointeger):default "64"
parser:option("--head", "gap: average pooling; conv: the convolution of the published network.")
  :choices({ "gap", "conv" }):default "gap"
parser:option("--seed", "Of the split, the weights and the batches."):convert(math.tointeger):default "1"
parser:option("--dir", "Folder for checkpoints and report."):default "runs/textile"
parser:option("--threads", "Number of threads."):convert(math.tointeger)
parser:flag("--resume", "Go on with what --dir holds.")
local options = parser:parse()

if options.threads then tr.set_num_threads(options.threads) end
tr.manual_seed(options.seed)

-- data
local function open()
  if options.set then return tr.data.open(options.set, { groups = options.groups }) end
  return tr.data.npy {
    images = options.images, labels = options.labels, classes = CLASSES, groups = options.groups,
  }
end
local set = assert(open())
if not set.group then print "no --groups: if images of one photograph stand on both sides, the result is too good" end
local share = options.split
local train, val, test = set:split {
  share[1], share[2], share[3], seed = options.seed, stratify = true, group = set.group,
}
for part, name in pairs { [train] = "train", [val] = "validate", [test] = "test" } do
  assert(#part > 0, "the split leaves no image to " .. name .. " with: too few groups, or a part is 0")
end
print(("%d images: %d to train, %d to validate, %d to test"):format(#set, #train, #val, #test))

-- network
local image = assert(set:get(1))
local model = tr.models.textile {
  width = options.width, head = options.head, in_channels = image:size(3), classes = #set.classes,
}

-- training
local trainer = tr.Trainer {
  name = "textile, width " .. options.width,
  model = model,
  optimizer = { "adamw", lr = options.lr, weight_decay = 1e-4 },
  schedule = { "one_cycle" },
  epochs = options.epochs, batch = options.batch, seed = options.seed,
  augment = { "flip", "rotate90" },
  dir = options.dir, resume = options.resume,
}
trainer:fit(train, val)
if trainer.interrupted then os.exit(130, true) end

-- result
print()
print(trainer:evaluate(test))
print()
print(("report: %s/report.html, network: %s/best.safetensors"):format(options.dir, options.dir))
