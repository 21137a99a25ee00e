#!/usr/bin/env lua5.4
--- The textile network trained on fabric images, as a script to begin one's own with. `texres train` does the same for
-- any set, without a script, and cross-validates where groups are few.
--
--     lua5.4 examples/textile.lua demo/X.npy source            -- a set, the column of its groups, a folder for the run

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local path, groups, dir = arg[1] or "demo/X.npy", arg[2], arg[3] or "runs/textile"
local set = assert(tr.data.open(path, { groups = groups }))
print(set:describe())

-- all images of one group (a photograph, a piece of cloth) stand on the same side of the split
local train, val, test = set:split { 0.7, 0.15, 0.15, seed = 1, stratify = true, group = set.group }

tr.manual_seed(1) -- of the weights
local trainer = tr.Trainer {
  model = tr.models.textile {
    width = 16, head = "mean_max", in_channels = set.source.channels, classes = #set.classes,
  },
  optimizer = { "adamw", lr = 3e-3, weight_decay = 1e-4 }, schedule = { "one_cycle" },
  epochs = 15, batch = 64, seed = 1,
  augment = { "flip", "rotate90", { "brightness", 0.1 }, { "contrast", 0.1 } },
  operating_point = { false_reject = 0.05 }, -- of the good pieces
  dir = dir,
}
trainer:fit(train, val)
if trainer.interrupted then os.exit(130, true) end

trainer:evaluate(test):show()
print(("report: %s/report.html, network: %s/best.safetensors"):format(dir, dir))
