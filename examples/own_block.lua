#!/usr/bin/env lua5.4
--- A residual block of one's own: a class with parameters, which files, summaries and trainers treat as theirs.
-- Its body is scaled by a factor that is learned and begins at 0, so that a new block is the identity (Bachlechner et
-- al., "ReZero is all you need", 2021).
--
--     lua5.4 examples/own_block.lua

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"
local nn = tr.nn

local Block = nn.register("ReZero", nn.Module "ReZero")

function Block:init(channels)
  self.body = nn.Sequential {
    nn.Conv2d(channels, channels, 3, { padding = 1, bias = false }), nn.BatchNorm(channels), nn.ReLU(),
    nn.Conv2d(channels, channels, 3, { padding = 1, bias = false }), nn.BatchNorm(channels),
  }
  self.factor = nn.Parameter(tr.zeros(1))
end

function Block:forward(x) return x + self.factor * self.body(x) end

tr.manual_seed(1)
local net = nn.Sequential {
  nn.Conv2d(1, 8, 3, { stride = 2, padding = 1 }), nn.ReLU(), Block(8), Block(8), nn.GlobalAvgPool(), nn.Linear(8, 2),
}
print(net:summary { 1, 16, 16, 1 })

local set = tr.data.fabric { count = 120, sources = 30, size = 16, classes = { "good", "hole" }, seed = 1 }
local trainer = tr.Trainer { model = net, epochs = 2, batch = 16, optimizer = { "adamw", lr = 1e-2 } }
trainer:fit(set:split { 0.8, 0.2, seed = 1, group = "source" })
if trainer.interrupted then os.exit(130, true) end
print(("factors of the bodies after training: %.3f and %.3f"):format(net[3].factor:item(), net[4].factor:item()))
