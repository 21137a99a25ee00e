--- The steps of a network in f32 (texres.lower) as Lua: the functions that they call, and tables of what each is given.

local lua_text = require "texres.export.lua_text"

local lua_float = {}

local FUNCTIONS = [==[
local SCALE, MEAN, FACTOR = @SCALE@, @MEAN@, @FACTOR@

-- What the network is given for a byte of a channel.
local function read(byte, c) return (byte * SCALE - MEAN[c]) * FACTOR[c] end

local ACTIVATIONS = {
  relu = function(x) return x < 0 and 0 or x end,
  leaky_relu = function(x, slope) return x > 0 and x or slope * x end,
  sigmoid = function(x) return 1 / (1 + math.exp(-x)) end,
  tanh = function(x) return 1 - 2 / (math.exp(2 * x) + 1) end,
  silu = function(x) return x / (1 + math.exp(-x)) end,
  softplus = function(x) return (x < 0 and 0 or x) + math.log(1 + math.exp(-math.abs(x))) end,
  elu = function(x, slope) return x > 0 and x or slope * (math.exp(x) - 1) end,
  hard_swish = function(x) return x <= -3 and 0 or x >= 3 and x or x * (x + 3) / 6 end,
  gelu = function(x) -- erf by its series, or as 1 - erfc by a continued fraction
    local z, y = math.abs(x) * 0.70710678118654752440
    if z < 3 then
      local term, n = z, 0
      y = z
      repeat
        n = n + 1
        term = -term * z * z / n
        y = y + term / (2 * n + 1)
      until math.abs(term) < 1e-17
      y = y * 1.1283791670955126
    else
      local fraction = z
      for n = 60, 1, -1 do fraction = z + 0.5 * n / fraction end
      y = 1 - math.exp(-z * z) * 0.5641895835477563 / fraction
    end
    return 0.5 * x * (1 + (x < 0 and -y or y))
  end,
}

-- Adds the residual and applies ReLU, in the order of the step.
local function finish(step, y, residual)
  local last = step.residual_last
  for i = 1, #y do
    local t = y[i]
    if residual and not last then t = t + residual[i] end
    if step.relu and t < 0 then t = 0 end
    if residual and last then t = t + residual[i] end
    y[i] = t
  end
  return y
end

function STEPS.conv(step, x, residual) return finish(step, convolve(step, x), residual) end

function STEPS.linear(step, x) return finish(step, dense(step, x)) end

function STEPS.scale(step, x, residual)
  local channels, y = channels_of(step), {}
  for i = 1, #x do
    local k = (i - 1) % channels + 1
    y[i] = x[i] * step.factor[k] + step.shift[k]
  end
  return finish(step, y, residual)
end

function STEPS.activation(step, x)
  local f, slope, y = ACTIVATIONS[step.kind], step.slope, {}
  for i = 1, #x do y[i] = f(x[i], slope) end
  return y
end

function STEPS.avg_pool(step, x)
  local y = {}
  each_window(step, function(places, at, channels)
    local count = step.count_include_pad and step.kernel[1] * step.kernel[2] or #places
    for k = 1, channels do
      local sum = 0
      for _, place in ipairs(places) do sum = sum + x[place + k] end
      y[at + k] = sum / count
    end
  end)
  return y
end

function STEPS.global_avg_pool(step, x)
  local channels, y = channels_of(step), {}
  for k = 1, channels do
    local sum = 0
    for i = k, #x, channels do sum = sum + x[i] end
    y[k] = sum / (#x // channels)
  end
  return y
end

function STEPS.add(step, _, _, list)
  local y = {}
  for i = 1, #list[1] do y[i] = list[1][i] end
  return finish(step, y, list[2])
end

function STEPS.cat(step, _, _, list) return side_by_side(step, list) end

-- Lists of which one may have a value for all pixels, or for all channels.
local function combine(step, list, f)
  local channels, n, y = step.to[#step.to], 1, list[1]
  for _, size in ipairs(step.to) do n = n * size end
  local function place(x, own, i)
    if #x == n then return i end
    local pixel, k = (i - 1) // channels, own == 1 and 1 or (i - 1) % channels + 1
    return #x == own and k or pixel * own + k
  end
  for j = 2, #list do
    local x, z, a, b = y, list[j], j == 2 and step.channels[1] or channels, step.channels[j]
    y = {}
    for i = 1, n do y[i] = f(x[place(x, a, i)], z[place(z, b, i)]) end
  end
  return y
end

function STEPS.multiply(step, _, _, list) return combine(step, list, function(a, b) return a * b end) end
function STEPS.subtract(step, _, _, list) return combine(step, list, function(a, b) return a - b end) end
]==]

-- A step with the shapes of what it reads and makes.
local function own_of(step, program)
  local own = {}
  for name, value in pairs(step) do own[name] = value end
  own.from, own.to = program.shapes[step.input or step.inputs[1]], program.shapes[step.output]
  own.kernel = step.op == "conv" and { step.weight:size(1), step.weight:size(2) } or step.kernel
  local channels = {}
  for i, value in ipairs(step.inputs or {}) do
    local shape = program.shapes[value]
    channels[i] = shape[#shape]
  end
  own.channels = step.inputs and channels
  return own
end

--- The network as Lua: { functions = their text, steps = that of the tables, input = which value an image is, output =,
-- tolerance = of scores, as a share of the largest, numbers = a line for the head }.
function lua_float.write(one)
  local program, n, steps = one.program, one.normalization, {}
  for i, step in ipairs(program.steps) do steps[i] = lua_text.record(own_of(step, program)) end
  return {
    functions = lua_text.fill(FUNCTIONS, {
      SCALE = lua_text.number(n.scale), MEAN = lua_text.list(n.mean), FACTOR = lua_text.list(n.factor),
    }),
    steps = table.concat(steps, "\n"), input = 1, output = program.output, tolerance = "1e-4",
    numbers = "f32, sums in double precision: scores are those of texres to within 1e-4 of the largest",
  }
end

return lua_float
