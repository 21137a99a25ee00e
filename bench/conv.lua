--- How fast each convolution of the textile network runs, against what the cores could do at best:
--
--     lua5.4 bench/conv.lua [--batch 128] [--threads 2] [--width 64] [--seconds 1] [--cpu]
--
-- Prints Markdown: for forward, gradient to the input and gradient to the weights the algorithm, the shortest time of
-- many runs, and the effective speed: the operations of the direct method by that time, which winograd can bring above
-- the peak. The peak is that of multiply-adds in registers (texres.fma_peak), measured between the rows. On a machine
-- that is busy otherwise, --cpu with one thread counts the processor time that the process got instead of the clock's.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"
local F = tr.nn.functional

local parser = require "argparse" ("conv.lua", "Measures the convolutions of the textile network.")
parser:option("--batch", "Images."):convert(tonumber):default "128"
parser:option("--threads", "Threads."):convert(tonumber):default(tostring(tr.num_threads()))
parser:option("--width", "Filters of the first convolution."):convert(tonumber):default "64"
parser:option("--seconds", "Length of one measurement."):convert(tonumber):default "1"
parser:flag("--cpu", "Measure processor time; for one thread.")
local options = parser:parse()
if options.cpu and options.threads ~= 1 then parser:error "--cpu wants --threads 1" end
local clock = options.cpu and os.clock or tr.clock
tr.set_num_threads(options.threads)

local w = options.width
local layers = { -- name, size, channels in and out, stride
  { "conv1", 64, 1, w, 2 }, { "block1", 32, w, w, 1 }, { "conv2", 32, w, 2 * w, 2 }, { "block2", 16, 2 * w, 2 * w, 1 },
  { "conv3", 16, 2 * w, 4 * w, 2 }, { "block3", 8, 4 * w, 4 * w, 1 },
}

--- The shortest time of run(), which returns the seconds that count.
local function shortest(run)
  local best, stop = math.huge, tr.clock() + options.seconds
  repeat best = math.min(best, run()) until tr.clock() > stop
  return best
end

local function timed(f, ...)
  local start = clock()
  f(...)
  return clock() - start
end

local peak = 0
local function measure_peak()
  for _ = 1, 20 do peak = math.max(peak, tr.fma_peak()) end
end

--- A run of one pass over x and w.
local function pass(name, x, weight, settings)
  if name == "forward" then
    return function() return timed(function() F.conv2d(x, weight, settings):free() end) end
  end
  local dy = tr.no_grad(function() return F.conv2d(x, weight, settings) end)
  local input, target = x:clone(), weight:clone()
  local wanted = name == "input_gradient" and input or target
  wanted.requires_grad = true
  return function()
    local y = F.conv2d(input, target, settings)
    local seconds = timed(y.backward, y, dy)
    wanted.grad = nil
    return seconds
  end
end

local passes = { "forward", "input_gradient", "weight_gradient" }
local rows = {}
for _, layer in ipairs(layers) do
  local name, size, c, k, stride = table.unpack(layer)
  local x, weight = tr.randn(options.batch, size, size, c), tr.randn(3, 3, c, k)
  local settings = { stride = stride, padding = 1 }
  local plan = tr.conv2d_plan(x, weight, settings)
  local operations = 2 * options.batch * (size // stride) ^ 2 * 9 * c * k
  for _, p in ipairs(passes) do
    if not (p == "input_gradient" and name == "conv1") then -- nobody asks for the gradient to the images
      measure_peak()
      local seconds = shortest(pass(p, x, weight, settings))
      rows[#rows + 1] = { name, stride, p, plan[p].algorithm, seconds, operations / seconds }
    end
  end
end

print(("Batch %d, %d thread%s, %s; peak %.0f GFLOP/s."):format(options.batch, options.threads,
  options.threads > 1 and "s" or "", tr.isa(), peak / 1e9))
print "\n| layer | stride | pass | algorithm | ms | effective GFLOP/s | share of the peak |"
print "|---|---|---|---|---|---|---|"
for _, row in ipairs(rows) do
  local name, stride, p, algorithm, seconds, speed = table.unpack(row)
  print(("| %s | %d | %s | %s | %.2f | %.0f | %.2f |"):format(name, stride, (p:gsub("_", " ")), algorithm,
    seconds * 1e3, speed / 1e9, speed / peak))
end
