#!/usr/bin/env lua5.4
--- What pictures show, in a loop over a folder: what stands behind `texres predict`, for a script that does something
-- with the answers; here it counts them by class.
--
--     lua5.4 examples/predict_folder.lua run/best.safetensors new/

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local model, folder = arg[1], arg[2]
if not folder then
  io.stderr:write "usage: predict_folder.lua NETWORK FOLDER\n"
  os.exit(2)
end

local classifier = assert(tr.load(model))
local counts, bad = {}, 0
for answer in classifier:predict_files(folder, { batch = 16 }) do
  if answer.message then -- a file that can't be read: the loop goes on
    bad = bad + 1
    print("passed over", answer.message)
  else
    counts[answer.class] = (counts[answer.class] or 0) + 1
    print(("%-8s %-20s %5.1f %%  %s"):format(answer.verdict or "-", answer.class, 100 * answer.probability,
      answer.name))
  end
end
for _, class in ipairs(classifier.classes or {}) do print(("%6d %s"):format(counts[class] or 0, class)) end
os.exit(bad == 0 and 0 or 1, true)
