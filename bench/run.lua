--- Compares texres with PyTorch and with OpenVINO on this machine: `make bench`, or
--
--     PYTHON=python3 lua5.4 bench/run.lua [--seconds 2] [--rounds 5] [--only WORD ...] [--markdown]
--                                         [--cores build/cores] [--processor]
--
-- For every row, the sides run as processes of their own and are measured in turn, so that what else the machine does
-- meets all alike: the figure of a pair is the ratio, and the table shows the median of the pairs. A row against
-- OpenVINO has two pairs, f32 and 8 bits, whose four sides are measured in turn; OpenVINO is given the network as
-- texres exports it. Where $PYTHON can't import torch, or openvino and nncf, texres is measured alone.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local here = arg[0]:match "^.*/" or "./"
local networks = dofile(here .. "networks.lua")
local parser = require "argparse" ("run.lua", "Compares the speed and memory of texres with PyTorch and OpenVINO.")
parser:option("--seconds", "Length of one measurement."):convert(tonumber):default "2"
parser:option("--rounds", "Pairs of measurements for each row."):convert(tonumber):default "5"
parser:option("--only", "Only rows whose name holds one of these words."):args "+"
parser:option("--cores", "The program built from cores.c: run before and after, says how far apart two cores are.")
parser:flag("--processor", "Count the processor's time, of all threads together, which other work disturbs less.")
parser:flag("--markdown", "Print the table as Markdown, for bench/README.md.")
local options = parser:parse()

-- -- the rows ---------------------------------------------------------------------------------------------------------

local python = os.getenv "PYTHON" or "python3"
local TEXRES = "lua5.4 " .. here .. "texres_worker.lua"

--- The worker of another side; nil where the Python at hand has not the modules that it needs.
local function worker_of(script, modules)
  if not os.execute(("%s -c 'import %s' >/dev/null 2>&1"):format(python, modules)) then return nil end
  return ("env -u OPENBLAS_NUM_THREADS %s %s%s"):format(python, here, script)
end
local TORCH, OPENVINO = worker_of("torch_worker.py", "torch"), worker_of("openvino_worker.py", "openvino, nncf")

-- {model, batch, threads, peer, names, sides}: sides 1 and 2, {command, work}, are the pair names[1], 3 and 4 names[2].
local rows = {}

local function add(works, model, batch, threads, peer, sides)
  local names = {}
  for i, work in ipairs(works) do
    names[i] = ("%s %s, batch %d, %d thread%s"):format(work, model, batch, threads, threads > 1 and "s" or "")
  end
  local new = { model = model, batch = batch, threads = threads, peer = peer, names = names, sides = sides }
  rows[#rows + 1] = new
  return new
end

--- Rows against PyTorch; memory: whether it is told, too.
local function row(work, model, batches, threads, memory)
  for _, batch in ipairs(batches) do
    for _, n in ipairs(threads) do
      local new = add({ work }, model, batch, n, "PyTorch", { { TEXRES, work }, { TORCH, work } })
      new.work, new.memory = work, memory
    end
  end
end

--- Rows against OpenVINO, two threads.
local function finished_row(model, batches)
  for _, batch in ipairs(batches) do
    add({ "infer f32", "infer int8" }, model, batch, 2, "OpenVINO", {
      { TEXRES, "folded" }, { OPENVINO, "f32" }, { TEXRES, "int8" }, { OPENVINO, "int8" },
    })
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
finished_row("textile64conv", { 1, 32, 128 })
finished_row("cifar20", { 1, 32, 128 })
finished_row("resnet18", { 1, 32 })

local function wanted(names)
  local text = table.concat(names, "; ")
  for _, word in ipairs(options.only or {}) do
    if text:find(word, 1, true) then return true end
  end
  return not options.only
end

-- -- workers ----------------------------------------------------------------------------------------------------------

local Worker = {}
Worker.__index = Worker

--- What a side calls a row's network: texres and PyTorch build it, OpenVINO reads a file, which is written here.
local function network_of(side, spec)
  if side[1] ~= OPENVINO then return spec.model end
  if not spec.file then
    local net, shape = networks(spec.model)
    spec.file = os.tmpname()
    assert(net:export_onnx(spec.file, { input = shape }))
  end
  return spec.file
end

--- Starts a side's process for a row; requests go through a named pipe, answers come through popen. Nil where it ends
-- before it is ready, having said why.
local function start(side, spec)
  local fifo = os.tmpname()
  assert(os.execute(("rm -f %s && mkfifo %s"):format(fifo, fifo)))
  local self = setmetatable({}, Worker)
  local network = network_of(side, spec)
  local command = ("%s %s %s %d %d <%s"):format(side[1], network, side[2], spec.batch, spec.threads, fifo)
  self.answers = assert(io.popen(command))
  self.requests = assert(io.open(fifo, "w"))
  os.remove(fifo)
  self.started = self:answer "ready"
  return self.started and self
end

function Worker:answer(word)
  local line = self.answers:read "l"
  if not line then return nil end
  return tonumber(line:match("^" .. word .. " (%S+)$")) or error("a worker answered: " .. line)
end

function Worker:ask(request, word)
  self.requests:write(request, "\n")
  self.requests:flush()
  return self:answer(word) or error "a worker has ended"
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

--- Images/s of all sides, the median ratio of each pair, peak memory in MiB.
local function measure(spec)
  local workers, result = {}, { rate = {}, ratio = {}, memory = {} }
  local request = ("measure %g%s"):format(options.seconds, options.processor and " processor" or "")
  local rates = {}
  for i, side in ipairs(spec.sides) do
    workers[i], rates[i] = side[1] and start(side, spec) or nil, {}
  end
  for round = 1, options.rounds do
    for i, worker in pairs(workers) do rates[i][round] = spec.batch / worker:ask(request, "step") end
  end
  for i, worker in pairs(workers) do
    result.rate[i], result.memory[i] = median(rates[i]), worker:ask("memory", "memory")
    worker:stop()
  end
  for pair = 1, #spec.names do
    local ratios = {}
    local mine, theirs = rates[2 * pair - 1], rates[2 * pair]
    for round = 1, math.min(#mine, #theirs) do ratios[round] = mine[round] / theirs[round] end
    result.ratio[pair] = ratios[1] and median(ratios)
  end
  if spec.file then os.remove(spec.file) end
  return result
end

--- Seconds from the start of a process to its first batch, each side alone, and the median ratio of the pairs.
local function measure_start(spec)
  local seconds, ratios = { {}, {} }, {}
  for round = 1, options.rounds do
    for i, side in ipairs(spec.sides) do
      local worker = side[1] and start(side, spec)
      if worker then
        seconds[i][round] = worker.started
        worker:stop()
      end
    end
    if TORCH then ratios[round] = seconds[1][round] / seconds[2][round] end
  end
  return { median(seconds[1]), TORCH and median(seconds[2]) }, TORCH and median(ratios)
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
  local function text(value) return value and format:format(value) or "-" end
  line(name, text(mine), text(theirs), ratio and ("%.2f"):format(ratio) or "-")
end

local function cores()
  if options.cores then print(io.popen(options.cores):read "l") end
end

print(machine())
cores()
local peer -- whose column the table at hand has
local function header(spec)
  if spec.peer == peer then return end
  if peer then print() end
  peer = spec.peer
  line(options.processor and "images per second of a processor" or "images/s", "texres", peer, "ratio")
  if options.markdown then line("---", "---:", "---:", "---:") end
end

for _, spec in ipairs(rows) do
  if wanted(spec.names) then
    header(spec)
    local found = measure(spec)
    for pair, name in ipairs(spec.names) do
      versus(name, "%.1f", found.rate[2 * pair - 1], found.rate[2 * pair], found.ratio[pair])
    end
    local name = spec.names[1]
    local textile = spec.work == "train" and spec.model == "textile64" and spec.threads == 2 and spec.batch >= 128
    if textile or spec.memory then
      local mine, theirs = found.memory[1], found.memory[2]
      versus("peak memory in MiB, " .. name, "%.0f", mine, theirs, theirs and mine / theirs)
    end
    if textile then
      local started, ratio = measure_start(spec)
      versus("start to first batch in s, " .. name, "%.2f", started[1], started[2], ratio)
    end
  end
end
cores()
