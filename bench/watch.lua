--- What watching the layers costs a training (lua/texres/trainer/watch.lua): the median step without and with a look,
-- and what that comes to at the default interval.
--
--     lua5.4 bench/watch.lua
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local tr = require "texres"

local EVERY = 50
local CASES = {
  { name = "textile, width 16, 128 images", batch = 128, size = 64, channels = 1,
    make = function() return tr.models.textile { width = 16 } end },
  { name = "textile, width 64, 32 images", batch = 32, size = 64, channels = 1,
    make = function() return tr.models.textile { width = 64 } end },
  { name = "ResNet-18, 16 images", batch = 16, size = 64, channels = 3,
    make = function() return tr.models.resnet18 { classes = 6 } end },
}

--- The median of the seconds that steps take, with this option `watch`.
local function step_seconds(case, watch)
  local count, labels = 8 * case.batch, {}
  for i = 1, count do labels[i] = i % 6 + 1 end
  local set = tr.data.tensors {
    images = tr.rand(count, case.size, case.size, case.channels), labels = tr.tensor(labels, { dtype = "i64" }),
    classes = { "a", "b", "c", "d", "e", "f" },
  }
  tr.manual_seed(1)
  local trainer = tr.Trainer { model = case.make(), optimizer = { "sgd", lr = 1e-3 }, epochs = 1, batch = case.batch,
    watch = watch, quiet = true }
  local seconds, before = {}, nil
  for event in trainer:run(set) do
    if event.kind ~= "step" then break end
    if before then seconds[#seconds + 1] = tr.clock() - before end
    before = tr.clock()
  end
  table.sort(seconds)
  return seconds[(#seconds + 1) // 2]
end

for _, case in ipairs(CASES) do
  local plain, watched = math.huge, math.huge
  for _ = 1, 2 do
    plain, watched = math.min(plain, step_seconds(case, false)), math.min(watched, step_seconds(case, { every = 1 }))
  end
  local share = 100 * (watched - plain) / plain
  print(("%-32s step %7.1f ms, with a look %7.1f ms (+%.0f %%); every %d steps: +%.2f %%"):format(case.name,
    plain * 1e3, watched * 1e3, share, EVERY, share / EVERY))
end
