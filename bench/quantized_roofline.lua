--- What bounds the textile network in 8 bits, and how near the core comes:
--
--     lua5.4 bench/quantized_roofline.lua [--threads 2] [--width 64] [--batches 1 32 128] [--seconds 2]
--
-- Prints Markdown: for each layer its multiply-adds (by Winograd's method, which leaves one of four, those that are
-- left), the bytes of its weights, and the time that the multiply-adds take at the peak, which dot_peak measures in the
-- same run; then the images per second of the whole network, of random weights, and what the peaks alone would allow.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"
local core = require "texres.core"

local parser = require "argparse" ("quantized_roofline.lua", "Measures the textile network in 8 bits.")
parser:option("--threads", "How many."):convert(math.tointeger):default(tostring(tr.num_threads()))
parser:option("--width", "Filters of the first convolution, a multiple of 16."):convert(math.tointeger):default "64"
parser:option("--batches", "Images at a time."):args "+":convert(math.tointeger):default { 1, 32, 128 }
parser:option("--seconds", "Length of one measurement."):convert(tonumber):default "2"
local options = parser:parse()
tr.set_num_threads(options.threads)
tr.manual_seed(1)

local w = options.width
local layers = { -- name, size of the output, channels in and out, stride, whether its input is a residual
  { "conv1", 32, 1, w, 2 }, { "block1", 32, w, w, 1, true }, { "conv2", 16, w, 2 * w, 2 },
  { "block2", 16, 2 * w, 2 * w, 1, true }, { "conv3", 8, 2 * w, 4 * w, 2 }, { "block3", 8, 4 * w, 4 * w, 1, true },
  { "head", 1, 4 * w, 8 * w, 9 },
}

local function takes_winograd(layer)
  return layer[5] == 1 and layer[3] * layer[4] <= 128 * 128
end

-- -- the network ------------------------------------------------------------------------------------------------------

local description = {
  input = { 64, 64, 1 }, values = { { shape = { 64, 64, 1 } }, { scale = 0.02, zero = 128, shape = { 64, 64, 1 } } },
  steps = { { op = "quantize", input = 1, output = 2 } },
}
local tensors = {}

--- A step that makes bytes of this shape, of random weights whose sums fit.
local function add(step, shape, weight_shape, factor)
  local values, steps, k = description.values, description.steps, shape[#shape]
  local name = ("step.%d."):format(#steps + 1)
  values[#values + 1] = step.floats and { shape = shape } or { scale = 0.02, zero = 0, shape = shape }
  step.input, step.output = #values - 1, #values
  steps[#steps + 1], description.output = step, #values
  tensors[name .. "weight"] = (tr.rand(table.unpack(weight_shape)) * 20):to "u8"
  if step.method == "winograd" then -- their high bytes are zero
    tensors[name .. "weight"] = tr.stack({ tensors[name .. "weight"], tr.zeros(weight_shape):to "u8" }, -1)
  end
  tensors[name .. "factor"] = step.method == "winograd" and tr.full({ 36, k }, factor) or tr.full({ k }, factor)
  tensors[name .. "shift"] = tr.full({ k }, 3)
end

for _, layer in ipairs(layers) do
  local _, size, c, k, stride, residual = table.unpack(layer)
  local winograd = takes_winograd(layer)
  add({
    op = "conv", kernel = { 3, 3 }, channels = { c, k }, stride = { stride, stride }, padding = { 1, 1, 1, 1 },
    dilation = { 1, 1 }, groups = 1, relu = true, residual = residual and #description.values or nil,
    residual_last = residual or false, method = winograd and "winograd" or "direct",
  }, { size, size, k }, winograd and { 36, c, k } or { 3, 3, c, k }, 1e-4)
end
add({ op = "linear", channels = { 8 * w, 6 }, relu = false, floats = true }, { 6 }, { 8 * w, 6 }, 1e-4)
local program = core.quantized_program(description, tensors)

-- -- measurements -----------------------------------------------------------------------------------------------------

local peak = { direct = 0, winograd = 0 }
local function measure_peaks()
  for _ = 1, 10 do
    local bytes, shorts = tr.dot_peak()
    peak.direct, peak.winograd = math.max(peak.direct, bytes), math.max(peak.winograd, shorts)
  end
end

local best = {}
for _, batch in ipairs(options.batches) do
  measure_peaks()
  local x, stop = tr.randn(batch, 64, 64, 1), tr.clock() + options.seconds
  best[batch] = math.huge
  repeat
    local start = tr.clock()
    program:run(x)
    best[batch] = math.min(best[batch], tr.clock() - start)
  until tr.clock() > stop
end
measure_peaks()

print(("%s, %d threads: at the most %.0f G multiply-adds/s of bytes, %.0f G of 16 bits\n"):format(
  tr.isa(), options.threads, peak.direct / 1e9, peak.winograd / 1e9))
print "| layer | method | M multiply-adds | kB of weights | us at the peak |\n|---|---|---:|---:|---:|"
local bound = 0
for _, layer in ipairs(layers) do
  local name, size, c, k = table.unpack(layer)
  local method = takes_winograd(layer) and "winograd" or "direct"
  local work, bytes = 9 * size * size * c * k, 9 * c * k
  if method == "winograd" then work, bytes = work / 4, 36 * c * k * 2 end
  bound = bound + work / peak[method]
  print(("| %s | %s | %.2f | %.0f | %.1f |"):format(name, method, work / 1e6, bytes / 1e3, work / peak[method] * 1e6))
end
print(("| all | | | | %.1f |\n\n| batch | images/s | at the peaks | share |\n|---|---:|---:|---:|"):format(bound * 1e6))
for _, batch in ipairs(options.batches) do
  local rate = batch / best[batch]
  print(("| %d | %.0f | %.0f | %.0f %% |"):format(batch, rate, 1 / bound, 100 * rate * bound))
end
