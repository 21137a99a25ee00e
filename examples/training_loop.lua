#!/usr/bin/env lua5.4
--- A training as an iterator: trainer:run() hands out what happens, and the loop decides what becomes of it. Here the
-- first layers are frozen after two epochs, the rate is lowered, and the training ends when it is good enough.
--
--     lua5.4 examples/training_loop.lua

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

tr.manual_seed(1)
local set = tr.data.fabric { count = 240, sources = 60, size = 32, classes = { "good", "color", "hole" }, seed = 1 }
local train, val = set:split { 0.8, 0.2, seed = 1, group = "source" }

local net = tr.models.textile { width = 8, classes = 3 }
local trainer = tr.Trainer { model = net, epochs = 8, batch = 32, optimizer = { "adamw", lr = 1e-2 }, quiet = true }
for event in trainer:run(train, val) do
  if event.kind == "epoch" then
    print(("epoch %d  loss %.3f  validation accuracy %.1f %%"):format(event.epoch, event.loss,
      100 * event.val_accuracy))
    if event.epoch == 2 then
      net.conv1:freeze()
      trainer:set_lr(3e-3)
      print "conv1 is frozen, the rate is 0.003 from here on"
    end
    if event.val_accuracy > 0.7 then trainer:stop() end -- with the weights of the best epoch
  elseif event.kind == "end" then
    print("ended: " .. event.reason)
    if event.reason == "interrupted" then os.exit(130, true) end
  end
end
print(trainer.validation)
