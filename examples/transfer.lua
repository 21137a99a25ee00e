#!/usr/bin/env lua5.4
--- Fine-tunes a trained network on a new fabric of which there are few images, and tells what that is worth: the same
-- network trained on these images alone, from random weights, stands beside it.
--
--     lua5.4 examples/transfer.lua new/ --from runs/first/best.safetensors --few 20
--     lua5.4 examples/transfer.lua --images X.npy --labels Y.npy --groups index.csv:source
--
-- Without --from, the network is first trained on synthetic fabric. With --groups, the images that are learned from and
-- those that are tested on come from different groups (photographs, pieces of cloth).

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("transfer.lua", "Fine-tunes a network on few images of a new fabric.")
parser:argument("set", "The new fabric: anything that texres.data.open takes."):args "?"
parser:option("--images", "Its images {N,H,W,1}, a .npy file.")
parser:option("--labels", "Their labels {N} from 0, a .npy file.")
parser:option("--groups", "FILE.csv:COLUMN: what must not stand on both sides.")
parser:option("--from", "A trained network, a file of a trainer.")
parser:option("--few", "Images of each class to learn from."):convert(math.tointeger):default "20"
parser:option("--steps", "Steps on them."):convert(math.tointeger):default "300"
parser:option("--seeds", "How often all is done, with other images each time."):convert(math.tointeger):default "3"
parser:option("--test", "Images to test on, at most."):convert(math.tointeger):default "1500"
parser:option("--lr", "Learning rate of new layers; trained ones have a tenth."):convert(tonumber):default "3e-3"
parser:option("--count", "Synthetic images, without --from."):convert(math.tointeger):default "9000"
parser:option("--epochs", "Passes over them."):convert(math.tointeger):default "8"
parser:option("--width", "Channels of the first stage there."):convert(math.tointeger):default "16"
parser:option("--dir", "Folder for the network that is trained on them."):default "runs/transfer"
parser:option("--threads", "Number of threads."):convert(math.tointeger)
local options = parser:parse()

if options.threads then tr.set_num_threads(options.threads) end
local function need(value, message) return value or parser:error(message) end

-- much variety, for what another camera and cloth do otherwise
local VARIED = {
  "flip", "rotate90", { "rotate", 10 }, { "scale", 0.25 }, { "brightness", 0.15 }, { "contrast", 0.25 },
  { "gamma", 0.3 }, { "noise", 0.02 }, { "blur", 0.8, p = 0.5 },
}

--- Trains a network on synthetic fabric; its file.
local function trained_on_synthetic()
  tr.manual_seed(1)
  local cloth = tr.data.fabric { count = options.count, seed = 1, sources = options.count // 6 }
  local train, val = cloth:split { 0.9, 0.1, seed = 1, group = "source" }
  local trainer = tr.Trainer {
    name = "synthetic fabric, width " .. options.width, model = tr.models.textile { width = options.width },
    optimizer = { "adamw", lr = 5e-3, weight_decay = 1e-3 }, schedule = { "one_cycle" },
    epochs = options.epochs, batch = 64, augment = VARIED, dir = options.dir,
  }
  trainer:fit(train, val)
  if trainer.interrupted then os.exit(130, true) end
  print(("synthetic fabric that was held back: accuracy %.1f %%"):format(100 * trainer:evaluate(val).accuracy))
  return options.dir .. "/best.safetensors"
end

-- data: a part to draw few images from, and a part to test on
need(options.set or options.images and options.labels, "name a set, or its --images and --labels")
local path = options.from or trained_on_synthetic()
local known = need(tr.load(path))
local set = need(options.set and tr.data.open(options.set, { groups = options.groups }) or not options.set
  and tr.data.npy {
    images = options.images, labels = options.labels, groups = options.groups, classes = known.classes,
  })
local pool, rest = set:split { 0.5, 0.5, seed = 1, group = set.group, stratify = not set.group or nil }
local test = rest:shuffle(1):subset(tr.arange(1, math.min(options.test, #rest)))

--- So many images of each class, others for each seed.
local function draw(seed)
  local counts, chosen = {}, {}
  local shuffled = pool:shuffle(seed)
  for i, label in ipairs(shuffled.label) do
    counts[label] = (counts[label] or 0) + 1
    if counts[label] <= options.few then chosen[#chosen + 1] = i end
  end
  return shuffled:subset(chosen)
end

-- three ways to a network for the new fabric; each gives a model and the groups of its optimizer
local function trained() return assert(require("texres.checkpoint").load(path)).model:replace_head(set.classes) end

--- The name of the last dense layer, which replace_head has made anew.
local function head_of(model)
  local head
  for name, layer in model:named_modules() do
    if layer:describe():find "^Linear" then head = name end
  end
  return head
end

local WAYS = {
  { "from random weights", function()
    return tr.nn.from_config(trained():config())
  end },
  { "a new last layer alone", function()
    local model = trained()
    for name, layer in model:named_modules() do
      if #layer:children() == 0 and name ~= head_of(model) then layer:freeze() end
    end
    return model
  end },
  { "all layers, fine-tuned", function()
    local model = trained()
    return model, { { head_of(model), lr = options.lr } }
  end },
}

local function accuracy_of(make, seed)
  tr.manual_seed(seed)
  local model, groups = make()
  local few = draw(seed)
  local trainer = tr.Trainer {
    model = model, seed = seed, augment = VARIED, batch = 16, keep = "last", quiet = true, watch = false,
    optimizer = { "adamw", lr = groups and options.lr / 10 or options.lr, weight_decay = 1e-2, groups = groups },
    schedule = { "one_cycle" }, epochs = math.ceil(options.steps * 16 / #few),
  }
  trainer:fit(few)
  if trainer.interrupted then os.exit(130, true) end
  return trainer:evaluate(test).accuracy
end

-- the comparison
print(("\n%d images to learn from, %d of each class; tested on %d%s; %d seeds"):format(#draw(1), options.few, #test,
  set.group and " of other groups" or "", options.seeds))
if table.concat(known.classes or {}, "\0") == table.concat(set.classes, "\0") then
  print(("%-24s %.1f %%"):format("as it is", 100 * known:evaluate(test).accuracy))
end
for _, way in ipairs(WAYS) do
  local list = {}
  for seed = 1, options.seeds do list[seed] = accuracy_of(way[2], seed) end
  local all = tr.tensor(list)
  print(("%-24s %.1f %%   (%.1f to %.1f)"):format(way[1], 100 * all:mean():item(), 100 * all:min():item(),
    100 * all:max():item()))
end
