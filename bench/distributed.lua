--- Trains the textile network on as many processes as mpirun starts, and tells how fast it is:
--
--     mpirun -n 2 lua5.4 bench/distributed.lua [--threads 1] [--width 64] [--batch 256] [--steps 20]
--         [--head conv] [--late] [--sync]
--
-- Images are random; the median of the steps counts. Rank 0 tells images a second, the most memory of its process, and
-- how long a step waits for sums of gradients when the backward pass of the slowest rank is over: what the others wait
-- before is not due to communication. With --late nothing is sent before: that is what it takes when none is hidden.
-- With --sync batch norm has the statistics of the whole batch.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("distributed.lua", "Trains the textile network on several processes.")
parser:option("--threads", "Of each process."):convert(math.tointeger):default "1"
parser:option("--width", "Filters of the first convolution."):convert(math.tointeger):default "64"
parser:option("--head", "Of the network: gap or conv, the published one's."):default "gap"
parser:option("--batch", "Images of a step, of all processes together."):convert(math.tointeger):default "256"
parser:option("--steps", "How many are measured."):convert(math.tointeger):default "20"
parser:flag("--late", "Send gradients only after backward.")
parser:flag("--sync", "With sync_batch_norm.")
local options = parser:parse()
tr.set_num_threads(options.threads)
tr.manual_seed(1)

--- Notes how long each step of this rank waits for sums.
local function watch(mpi, late, waits)
  local make = mpi.reduction
  mpi.reduction = function(...)
    local sums, parts = make(...), nil
    return {
      begin = function(_, before)
        parts = before
        if not late then sums:begin(before) end
      end,
      finish = function()
        if late then mpi.barrier() end
        local begun = tr.clock()
        if late then sums:begin(parts) end
        sums:finish()
        waits[#waits + 1] = tr.clock() - begun
      end,
      close = function() sums:close() end,
    }
  end
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- Of each step, the wait of the rank that waited least.
local function least(waits)
  return tr.distributed.all_gather(tr.tensor(waits, { dtype = "f64" })):min(1):totable()
end

local waits = {}
local job = tr.distributed._job()
if job then watch(job.mpi, options.late, waits) end

local count = math.max(1024, options.batch)
local set = tr.data.tensors { images = tr.rand(count, 64, 64, 1), labels = tr.randint(1, 6, { count }) }
local trainer = tr.Trainer {
  model = tr.models.textile { width = options.width, head = options.head }, optimizer = { "adam", lr = 1e-3 },
  epochs = options.steps,
  batch = options.batch, quiet = true, watch = false, sync_batch_norm = options.sync,
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
waits = job and least(waits) or { 0 }
if tr.distributed.rank() == 0 then
  local memory = io.open("/proc/self/status"):read("a"):match "VmHWM:%s*(%d+)"
  print(("%d processes of %d threads: %.0f images/s, %.0f MB, %.2f ms for sums"):format(tr.distributed.size(),
    options.threads, options.batch / median(times), memory / 1024, 1e3 * median(waits)))
end
