--- texres' side of `make bench`: one of networks.lua, measured on demand. The protocol stands in worker.py.
--
--     lua5.4 bench/texres_worker.lua MODEL WORK BATCH THREADS
--
-- WORK is train, checkpoint, infer, or, against a runtime that is given a finished network, folded (infer with batch
-- norm folded) or int8.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"
local F = tr.nn.functional
local networks = dofile((arg[0]:match "^.*/" or "") .. "networks.lua")

local name, work, batch, threads = arg[1], arg[2], math.tointeger(arg[3]), math.tointeger(arg[4])

--- The model in 8 bits, calibrated on synthetic fabric, which has the same in all its channels.
local function quantized(model, shape)
  local fabric = tr.data.fabric { count = 128, size = { shape[1], shape[2] }, seed = 1 }
  local set = fabric:map(function(image) return image:expand(-1, -1, shape[3]):contiguous() end)
  return require("texres.classifier").new({ model = model, input = shape }):quantize(set).model
end

--- Since this process was started, from the kernel's record of it (field 22 of /proc/self/stat).
local function seconds_since_start()
  local stat, uptime = io.open("/proc/self/stat"):read "a", io.open("/proc/uptime"):read "n"
  local after, field = stat:match "^.*%)%s+(.*)", 2
  for word in after:gmatch "%S+" do
    field = field + 1
    if field == 22 then return uptime - tonumber(word) / 100 end
  end
end

local function peak_memory()
  return tonumber(io.open("/proc/self/status"):read("a"):match "VmHWM:%s*(%d+)") / 1024
end

tr.set_num_threads(threads)
tr.manual_seed(1)
local model, shape = networks(name, work == "checkpoint")
if work == "folded" then model:fuse() end
if work == "int8" then model = quantized(model, shape) end
local images = tr.rand { batch, table.unpack(shape) }
local labels = (tr.rand(batch) * 6):floor():to "i64" + 1
local training = work == "train" or work == "checkpoint"
local optimizer = training and tr.optim.AdamW(model:parameters(), { lr = 1e-4 })

local function train()
  local loss = F.cross_entropy(model(images), labels)
  optimizer:zero_grad()
  loss:backward()
  optimizer:step()
  return loss:item()
end

local function infer()
  return tr.no_grad(function() return model(images)[1][1] end)
end

model:train(training)
local step = training and train or infer

local function reply(format, ...)
  print(format:format(...))
  io.stdout:flush()
end

step()
reply("ready %.3f", seconds_since_start())
step()
for line in io.lines() do
  if line == "stop" then break end
  if line == "memory" then
    reply("memory %.1f", peak_memory())
  else
    local clock = line:find "processor" and os.clock or tr.clock
    local budget, times, began = tonumber(line:match "^measure (%S+)"), {}, clock()
    while #times < 3 or clock() - began < budget do
      local before = clock()
      step()
      times[#times + 1] = clock() - before
    end
    table.sort(times)
    reply("step %.6f", times[(#times + 1) // 2])
  end
end
