--- Trains the textile network on as many processes as mpirun starts, and tells how fast it is:
--
--     mpirun -n 2 lua5.4 bench/distributed.lua [--threads 1] [--width 64] [--batch 256] [--steps 20]
--
-- Images are random; the median of the steps counts. Rank 0 tells images a second, and the most memory of its process.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("distributed.lua", "Trains the textile network on several processes.")
parser:option("--threads", "Of each process."):convert(math.tointeger):default "1"
parser:option("--width", "Filters of the first convolution."):convert(math.tointeger):default "64"
parser:option("--batch", "Images of a step, of all processes together."):convert(math.tointeger):default "256"
parser:option("--steps", "How many are measured."):convert(math.tointeger):default "20"
local options = parser:parse()
tr.set_num_threads(options.threads)
tr.manual_seed(1)

local count = 4 * options.batch
local set = tr.data.tensors { images = tr.rand(count, 64, 64, 1), labels = tr.randint(1, 6, { count }) }
local trainer = tr.Trainer {
  model = tr.models.textile { width = options.width }, optimizer = { "adam", lr = 1e-3 }, epochs = options.steps,
  batch = options.batch, quiet = true, watch = false,
}
local times, before = {}, tr.clock()
for event in trainer:run(set) do
  if event.kind == "step" then
    local now = tr.clock()
    times[#times + 1], before = now - before, now
  end
  if #times == options.steps then break end
end
table.remove(times, 1)
table.sort(times)
if tr.distributed.rank() == 0 then
  local memory = io.open("/proc/self/status"):read("a"):match "VmHWM:%s*(%d+)"
  print(("%d processes of %d threads: %.0f images/s, %.0f MB"):format(tr.distributed.size(), options.threads,
    options.batch / times[(#times + 1) // 2], memory / 1024))
end
