--- Compares texres with PyTorch on this machine: `make bench`, or
--
--     PYTHON=python3 lua5.4 bench/run.lua [--seconds 2] [--rounds 5] [--only WORD ...] [--markdown]
--                                         [--cores build/cores] [--processor]
--
-- For every row, both sides run as processes of their own and are measured in turn, so that what else the machine does
-- meets both alike: the figure of a pair is the ratio, and the table shows the median of the pairs. Where $PYTHON can't
-- import torch, texres is measured alone.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local here = arg[0]:match "^.*/" or "./"
local parser = require "argparse" ("run.lua", "Compares the speed and memory of texres with PyTorch.")
parser:option("--seconds", "Length of one measurement."):convert(tonumber):default "2"
parser:option("--rounds", "Pairs of measurements for each row."):convert(tonumber):default "5"
parser:option("--only", "Only rows whose name holds one of these words."):args "+"
parser:option("--cores", "The program built from cores.c: run before and after, says how far apart two cores are.")
parser:flag("--processor", "Count the processor's time, of all threads together, which other work disturbs less.")
parser:flag("--markdown", "Print the table as Markdown, for bench/README.md.")
local options = parser:parse()

-- -- the rows ---------------------------------------------------------------------------------------------------------

local rows = {} -- {model, work, batch, threads}; memory: whether it is told, too
local function row(work, model, batches, threads, memory)
  for _, batch in ipairs(batches) do
    for _, n in ipairs(threads) do
      rows[#rows + 1] = { work = work, model = model, batch = batch, threads = n, memory = memory,
        name = ("%s %s, batch %d, %d thread%s"):format(work, model, batch, n, n > 1 and "s" or "") }
    end
  end
end
row("train", "textile64", { 1, 32, 128, 256 }, { 2, 1 })
row("infer", "textile64", { 1, 32, 128, 256 }, { 2, 1 })
row("train", "cifar20", { 128 }, { 2 })
row("train", "cifar56", { 128 }, { 2 })
row("train", "cifar110", { 128 }, { 2 })
row("train", "cifar110", { 32 }, { 2, 1 }, true)
row("checkpoint", "cifar110", { 32 }, { 2, 1 }, true)
row("infer", "cifar20", { 128 }, { 2 })
row("train", "resnet18", { 16 }, { 2 })
row("train", "resnet50", { 4 }, { 2, 1 }, true)
row("checkpoint", "resnet50", { 4 }, { 2, 1 }, true)
row("infer", "resnet50", { 8 }, { 2 })

local function wanted(name)
  for _, word in ipairs(options.only or {}) do
    if name:find(word, 1, true) then return true end
  end
  return not options.only
end

-- -- workers ----------------------------------------------------------------------------------------------------------

local python = os.getenv "PYTHON" or "python3"
local SIDES = {
  { name = "texres", command = "lua5.4 " .. here .. "texres_worker.lua" },
  { name = "PyTorch", command = "env -u OPENBLAS_NUM_THREADS " .. python .. " " .. here .. "torch_worker.py" },
}
if not os.execute(python .. " -c 'import torch' >/dev/null 2>&1") then SIDES[2] = nil end

local Worker = {}
Worker.__index = Worker

--- Starts a side's process for a row; requests go through a named pipe, answers come through popen.
local function start(side, spec)
  local fifo = os.tmpname()
  assert(os.execute(("rm -f %s && mkfifo %s"):format(fifo, fifo)))
  local self = setmetatable({}, Worker)
  local command = ("%s %s %s %d %d <%s"):format(side.command, spec.model, spec.work, spec.batch, spec.threads, fifo)
  self.answers = assert(io.popen(command))
  self.requests = assert(io.open(fifo, "w"))
  os.remove(fifo)
  self.started = self:answer "ready"
  return self
end

function Worker:answer(word)
  local line = self.answers:read "l"
  return tonumber(line and line:match("^" .. word .. " (%S+)$")) or error("a worker answered: " .. tostring(line))
end

function Worker:ask(request, word)
  self.requests:write(request, "\n")
  self.requests:flush()
  return self:answer(word)
end

--- Ends the process by a word: other workers have inherited the pipe, so closing it alone says nothing.
function Worker:stop()
  self.requests:write "stop\n"
  self.requests:close()
  self.answers:close()
end

-- -- measuring --------------------------------------------------------------------------------------------------------

local function median(values)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local middle = #sorted // 2
  return #sorted % 2 == 1 and sorted[middle + 1] or (sorted[middle] + sorted[middle + 1]) / 2
end

--- Images/s of both sides, the median ratio of the pairs, peak memory in MiB.
local function measure(spec)
  local workers, rates, ratios = {}, { {}, {} }, {}
  local request = ("measure %g%s"):format(options.seconds, options.processor and " processor" or "")
  for i, side in ipairs(SIDES) do workers[i] = start(side, spec) end
  for round = 1, options.rounds do
    for i, worker in ipairs(workers) do
      rates[i][round] = spec.batch / worker:ask(request, "step")
    end
    if workers[2] then ratios[round] = rates[1][round] / rates[2][round] end
  end
  local result = { ratio = workers[2] and median(ratios), rate = {}, memory = {} }
  for i, worker in ipairs(workers) do
    result.rate[i] = median(rates[i])
    result.memory[i] = worker:ask("memory", "memory")
    worker:stop()
  end
  return result
end

--- Seconds from the start of a process to its first batch, each side alone, and the median ratio of the pairs.
local function measure_start(spec)
  local seconds, ratios = { {}, {} }, {}
  for round = 1, options.rounds do
    for i, side in ipairs(SIDES) do
      local worker = start(side, spec)
      seconds[i][round] = worker.started
      worker:stop()
    end
    if SIDES[2] then ratios[round] = seconds[1][round] / seconds[2][round] end
  end
  return { median(seconds[1]), SIDES[2] and median(seconds[2]) }, SIDES[2] and median(ratios)
end

-- -- the table --------------------------------------------------------------------------------------------------------

local function machine()
  local cpu = io.open("/proc/cpuinfo"):read("a"):match "model name%s*:%s*([^\n]+)" or "unknown processor"
  return ("%s, %s cores, %s"):format(cpu, io.popen("nproc"):read "l", os.date "%Y-%m-%d")
end

local WIDTHS = { 68, 10, 10, 7 }
local function line(...)
  local cells = { ... }
  if options.markdown then return print("| " .. table.concat(cells, " | ") .. " |") end
  for i, cell in ipairs(cells) do
    local space = (" "):rep(WIDTHS[i] - utf8.len(cell))
    cells[i] = i == 1 and cell .. space or space .. cell
  end
  print(table.concat(cells, " "))
  io.stdout:flush()
end

local function versus(name, format, mine, theirs, ratio)
  line(name, format:format(mine), theirs and format:format(theirs) or "-", ratio and ("%.2f"):format(ratio) or "-")
end

local function cores()
  if options.cores then print(io.popen(options.cores):read "l") end
end

print(machine())
cores()
line(options.processor and "images per second of a processor" or "images/s", "texres", "PyTorch", "ratio")
if options.markdown then line("---", "---:", "---:", "---:") end
for _, spec in ipairs(rows) do
  if wanted(spec.name) then
    local found = measure(spec)
    versus(spec.name, "%.1f", found.rate[1], found.rate[2], found.ratio)
    local textile = spec.work == "train" and spec.model == "textile64" and spec.threads == 2 and spec.batch >= 128
    if textile or spec.memory then
      local mine, theirs = found.memory[1], found.memory[2]
      versus("peak memory in MiB, " .. spec.name, "%.0f", mine, theirs, theirs and mine / theirs)
    end
    if textile then
      local started, ratio = measure_start(spec)
      versus("start to first batch in s, " .. spec.name, "%.2f", started[1], started[2], ratio)
    end
  end
end
cores()
