#!/usr/bin/env lua5.4
--- Trains the textile network on fabric images and tells how well it finds defects.
--
--     lua5.4 examples/textile.lua --images X.npy --labels Y.npy --groups index.csv:source --epochs 15
--     lua5.4 examples/textile.lua train64.h5 --test test64.h5
--
-- With --groups, all images of one group (a photograph, a piece of cloth) stand on the same side of the split: images
-- cut from one photograph overlap, and a network that has seen some of them is not tested by the others. Where there
-- are few groups (under 40), a test part of a few of them would tell little, and take them away from the training: then
-- cross-validation tells how good the network is (--folds, --seeds), and what is kept is trained on all images.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local CLASSES = { "good", "color", "cut", "hole", "thread", "metal_contamination" }
local FEW = 40 -- groups

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
parser:option("--test", "A set of its own to test on, as SET.")
parser:option("--split", "Parts for training, validation and test; by default 0.7,0.15,0.15."):convert(fractions)
parser:option("--folds", "Cross-validate over so many folds; by default 4 where there are few groups.")
  :convert(math.tointeger)
parser:option("--seeds", "Seeds of the cross-validation."):convert(math.tointeger):default "1"
parser:option("--epochs", "Passes over the training part."):convert(math.tointeger):default "15"
parser:option("--batch", "Images in a step."):convert(math.tointeger):default "64"
parser:option("--lr", "Highest learning rate."):convert(tonumber):default "3e-3"
parser:option("--width", "Channels of the first stage; 64, as published, takes ten times as long, and on photographs "
  .. "that were held out was within a point of 16."):convert(math.tointeger):default "16"
parser:option("--head", "mean_max: mean and largest value of each channel; gap: the mean; conv: that of the published "
  .. "network."):choices({ "mean_max", "gap", "conv" }):default "mean_max"
parser:option("--seed", "Of the split, the weights and the batches."):convert(math.tointeger):default "1"
parser:option("--reject", "Share of good pieces that may be rejected, for the operating point."):convert(tonumber)
  :default "0.05"
parser:option("--dir", "Folder for checkpoints and report."):default "runs/textile"
parser:option("--threads", "Number of threads."):convert(math.tointeger)
parser:flag("--resume", "Go on with what --dir holds.")
local options = parser:parse()

if options.threads then tr.set_num_threads(options.threads) end

-- data
local function need(value, message) return value or parser:error(message) end
need(options.set or options.images and options.labels, "name a set, or its --images and --labels")

local function open()
  if options.set then return tr.data.open(options.set, { groups = options.groups }) end
  return tr.data.npy { images = options.images, labels = options.labels, classes = CLASSES, groups = options.groups }
end
local set = need(open())
local own_test = options.test and need(tr.data.open(options.test))
local groups = set.group and #set:leave_one_out()
if not groups then print "no --groups: if images of one photograph stand on both sides, the result is too good" end

--- What a trainer is told, for a network of its own; the random numbers begin with the seed.
local function recipe(seed)
  tr.manual_seed(seed)
  return {
    name = "textile, width " .. options.width,
    model = tr.models.textile {
      width = options.width, head = options.head, in_channels = assert(set:get(1)):size(3), classes = #set.classes,
    },
    optimizer = { "adamw", lr = options.lr, weight_decay = 1e-4 }, schedule = { "one_cycle" },
    epochs = options.epochs, batch = options.batch, seed = seed,
    augment = { "flip", "rotate90", { "brightness", 0.1 }, { "contrast", 0.1 } },
  }
end

local good, budget -- the number of the good class, where there is one; what an operating point is to keep to
for c, name in ipairs(set.classes) do
  if name == "good" then good, budget = c, { false_reject = options.reject } end
end

local folds = options.folds or groups and groups < FEW and not options.split and not own_test and math.min(4, groups)
local train, val, test, cv = set, nil, own_test, nil
if folds then
  -- how good it is
  print(("%d images%s: cross-validation over %d folds"):format(#set,
    groups and (" of %d groups"):format(groups) or "", folds))
  local seeds = {}
  for s = 1, options.seeds do seeds[s] = options.seed + s - 1 end
  cv = tr.cross_validate {
    set = set, folds = folds, seeds = seeds, views = 8, dir = options.dir .. "/cv", operating_point = budget,
    trainer = function(_, seed) return recipe(seed) end,
  }
  print(cv)
  if not cv.pooled then os.exit(130, true) end
  print()
  cv.pooled:show()
  print(("\nreport: %s/cv/report.html; now the network that is kept, trained on all images"):format(options.dir))
else
  local share = options.split or { 0.7, 0.15, 0.15 }
  if own_test then
    train, val = set:split { 1 - share[2], share[2], seed = options.seed, stratify = true, group = set.group }
  else
    train, val, test = set:split { share[1], share[2], share[3], seed = options.seed, stratify = true,
      group = set.group }
  end
  print(("%d images: %d to train, %d to validate, %d to test"):format(#set, #train, #val, #test))
  if #val == 0 then val = nil end -- then the weights of the last epoch are kept
  if #test == 0 then test = nil end
end

-- training
local told = recipe(options.seed)
told.dir, told.resume = options.dir, options.resume
told.operating_point = val and budget
told.keep = val and "best" or "last"
local trainer = tr.Trainer(told)
trainer:fit(train, val)
if trainer.interrupted then os.exit(130, true) end
if cv and cv.operating_point then trainer:set_operating_point(cv.operating_point) end

-- result
print()
if test then
  local result = trainer:evaluate(test)
  result:show()
  local point = assert(tr.load(options.dir .. "/best.safetensors")).operating_point
  local goods = point and result.per_class[good].support or 0
  if goods > 0 and goods < result.images then
    local at = result:at_operating_point(point)
    print(("\nat the operating point %.1f %% of the defects pass, %.1f %% of the good pieces are rejected"):format(
      100 * at.escape.value, 100 * at.false_reject.value))
  end
  print()
end
print(("report: %s/report.html, network: %s/best.safetensors"):format(options.dir, options.dir))
