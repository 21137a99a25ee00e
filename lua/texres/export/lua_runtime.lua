--- What a classifier in pure Lua is made of, but for its weights: the text of the module (texres.export.lua).

local letters = {}
for byte = 33, 126 do
  local letter = string.char(byte)
  if not letter:find '["\\%]]' and #letters < 85 then letters[#letters + 1] = letter end
end

local runtime = { ALPHABET = table.concat(letters) }

runtime.text = [==[
-- Tells what an image shows. Written by @VERSION@; the network is inside, nothing else is needed but Lua 5.4.
--
--     local net = dofile "THIS_FILE.lua"
--     local class, scores = net.classify(image) -- a text of bytes, or a list of numbers from 0 to 255
--     print(net.classes[class], net.probabilities(scores)[class])
--
-- An image has @HEIGHT@ rows of @WIDTH@ pixels of @CHANNELS@ bytes: 0 is black, 255 white. Classes count from 1.
-- With an operating point there are net.defect_score(scores) and net.verdict(scores): "accept", "reject" or "ask".
-- `lua5.4 THIS_FILE.lua --test` classifies images that are inside, and compares: @TESTS_FROM@.
-- Network: @NETWORK@@NOTE@

local HEIGHT, WIDTH, CHANNELS = @HEIGHT@, @WIDTH@, @CHANNELS@
local CLASSES = @CLASSES@
local SCALE, MEAN, FACTOR = @SCALE@, @MEAN@, @FACTOR@ -- (byte * SCALE - MEAN) * FACTOR is what the network is given
local TEMPERATURE, POINT = @TEMPERATURE@, @POINT@

-- -- numbers that are written as letters, five for each four bytes ----------------------------------------------------

local worth = {}
for i = 1, 85 do worth[(@ALPHABET@):byte(i)] = i - 1 end

local function bytes_of(text)
  local list = {}
  text = text:gsub("%s", "")
  for at = 1, #text, 5 do
    local a, b, c, d, e = text:byte(at, at + 4)
    list[#list + 1] = string.pack("<I4", (((worth[a] * 85 + worth[b]) * 85 + worth[c]) * 85 + worth[d]) * 85 + worth[e])
  end
  return table.concat(list)
end

local function floats_of(packed)
  local count, bytes, list = packed[1], bytes_of(packed[2]), {}
  for i = 1, count do list[i] = string.unpack("<f", bytes, 4 * i - 3) end
  return list
end

-- -- steps: what each makes of the lists that it reads, {row, column, channel} in one list --------------------------

local STEPS = {}

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

-- What a window sees that is not 0: the values, and where their weights {tap, output} begin; how many.
local function look(step, x, p, q, first, depth, outputs, values, places)
  local rows, columns, channels = step.from[1], step.from[2], step.from[3]
  local count = 0
  for r = 0, step.kernel[1] - 1 do
    local row = p * step.stride[1] - step.padding[1] + r * step.dilation[1]
    for s = 0, step.kernel[2] - 1 do
      local column = q * step.stride[2] - step.padding[3] + s * step.dilation[2]
      if row >= 0 and row < rows and column >= 0 and column < columns then
        local at, place = (row * columns + column) * channels + first, (r * step.kernel[2] + s) * depth * outputs
        for d = 1, depth do
          local value = x[at + d]
          if value ~= 0 then
            count = count + 1
            values[count], places[count] = value, place + (d - 1) * outputs
          end
        end
      end
    end
  end
  return count
end

-- Sums of products for outputs from `first` to `last`, four at a time, to y from `at` on.
local function add_up(count, values, places, weight, bias, first, last, y, at)
  local k = first
  while k + 3 <= last do
    local a, b, c, d = bias[k], bias[k + 1], bias[k + 2], bias[k + 3]
    for i = 1, count do
      local value, place = values[i], places[i] + k
      a, b = a + value * weight[place], b + value * weight[place + 1]
      c, d = c + value * weight[place + 2], d + value * weight[place + 3]
    end
    y[at + k], y[at + k + 1], y[at + k + 2], y[at + k + 3] = a, b, c, d
    k = k + 4
  end
  for one = k, last do
    local sum = bias[one]
    for i = 1, count do sum = sum + values[i] * weight[places[i] + one] end
    y[at + one] = sum
  end
end

function STEPS.conv(step, x, residual)
  local outputs, groups = step.to[3], step.groups
  local depth, width, y = step.from[3] // groups, outputs // groups, {}
  local values, places = {}, {}
  for p = 0, step.to[1] - 1 do
    for q = 0, step.to[2] - 1 do
      local at = (p * step.to[2] + q) * outputs
      for g = 0, groups - 1 do
        local count = look(step, x, p, q, g * depth, depth, outputs, values, places)
        add_up(count, values, places, step.weight, step.bias, g * width + 1, (g + 1) * width, y, at)
      end
    end
  end
  return finish(step, y, residual)
end

function STEPS.linear(step, x)
  local outputs, places, y = step.to[1], {}, {}
  for i = 1, #x do places[i] = (i - 1) * outputs end
  add_up(#x, x, places, step.weight, step.bias, 1, outputs, y, 0)
  return finish(step, y)
end

local function channels_of(step) return step.from[#step.from] end

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

-- Calls visit(list of places in x, of the first channel, y's place) for each window.
local function each_window(step, visit)
  local rows, columns, channels = step.from[1], step.from[2], step.from[3]
  for p = 0, step.to[1] - 1 do
    for q = 0, step.to[2] - 1 do
      local places = {}
      for row = p * step.stride[1] - step.padding[1], p * step.stride[1] - step.padding[1] + step.kernel[1] - 1 do
        for column = q * step.stride[2] - step.padding[3], q * step.stride[2] - step.padding[3] + step.kernel[2] - 1 do
          if row >= 0 and row < rows and column >= 0 and column < columns then
            places[#places + 1] = (row * columns + column) * channels
          end
        end
      end
      visit(places, (p * step.to[2] + q) * channels, channels)
    end
  end
end

function STEPS.max_pool(step, x)
  local y = {}
  each_window(step, function(places, at, channels)
    for k = 1, channels do
      local most = -math.huge
      for _, place in ipairs(places) do most = math.max(most, x[place + k]) end
      y[at + k] = most
    end
  end)
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

function STEPS.global_max_pool(step, x)
  local channels, y = channels_of(step), {}
  for k = 1, channels do
    y[k] = x[k]
    for i = k, #x, channels do y[k] = math.max(y[k], x[i]) end
  end
  return y
end

function STEPS.flatten(_, x) return x end

function STEPS.add(step, _, _, list)
  local y = {}
  for i = 1, #list[1] do y[i] = list[1][i] end
  return finish(step, y, list[2])
end

function STEPS.cat(step, _, _, list)
  local y, at = {}, 0
  local pixels = #list[1] // step.channels[1]
  for pixel = 0, pixels - 1 do
    for i, x in ipairs(list) do
      local channels = step.channels[i]
      table.move(x, pixel * channels + 1, (pixel + 1) * channels, at + 1, y)
      at = at + channels
    end
  end
  return y
end

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

-- -- the network ------------------------------------------------------------------------------------------------------

local steps = {
@STEPS@
}

for _, step in ipairs(steps) do
  for _, name in ipairs { "weight", "bias", "factor", "shift" } do
    if step[name] then step[name] = floats_of(step[name]) end
  end
  if step.weight and not step.bias then
    step.bias = {}
    for k = 1, step.to[#step.to] do step.bias[k] = 0 end
  end
end

local net = { classes = CLASSES }

--- The class of an image, from 1 on, and its scores, a list. Nil and a message for what is no such image.
function net.classify(image)
  local n = HEIGHT * WIDTH * CHANNELS
  if (type(image) ~= "string" and type(image) ~= "table") or #image ~= n then
    return nil, ("an image of %d bytes is wanted"):format(n)
  end
  local x = {}
  for i = 1, n do
    local byte = type(image) == "string" and image:byte(i) or image[i]
    local c = (i - 1) % CHANNELS + 1
    x[i] = (byte * SCALE - MEAN[c]) * FACTOR[c]
  end
  local values = { x }
  for _, step in ipairs(steps) do
    local list = {}
    for i, value in ipairs(step.inputs or {}) do list[i] = values[value] end
    values[step.output] = STEPS[step.op](step, values[step.input], values[step.residual], list)
  end
  local scores, class = values[@OUTPUT@], 1
  for k, score in ipairs(scores) do
    if score > scores[class] then class = k end
  end
  return class, scores
end

--- The share of each class, together 1.
function net.probabilities(scores)
  local most, sum, p = math.max(table.unpack(scores)), 0, {}
  for k, score in ipairs(scores) do
    p[k] = math.exp((score - most) / TEMPERATURE)
    sum = sum + p[k]
  end
  for k in ipairs(p) do p[k] = p[k] / sum end
  return p
end

if POINT then
  function net.defect_score(scores) return 1 - net.probabilities(scores)[POINT.good] end

  function net.verdict(scores)
    local score = net.defect_score(scores)
    return score < POINT.low and "accept" or score >= POINT.high and "reject" or "ask"
  end
end

-- -- the self-test ----------------------------------------------------------------------------------------------------

local TESTS = @TESTS@

if ... == "--test" then
  local failed = 0
  for i, test in ipairs(TESTS) do
    local class, scores = net.classify(bytes_of(test.image):sub(1, HEIGHT * WIDTH * CHANNELS))
    local apart, most = 0, 1
    for k, score in ipairs(scores) do
      apart = math.max(apart, math.abs(score - test.scores[k]))
      most = math.max(most, math.abs(test.scores[k]))
    end
    local same = class == test.label and apart <= 1e-4 * most and (not POINT or net.verdict(scores) == test.verdict)
    print(("image %d: %s, scores within %.2g of the library's: %s"):format(i, CLASSES[class], apart,
      same and "pass" or "FAIL"))
    if not same then failed = failed + 1 end
  end
  print(failed == 0 and "pass" or "FAIL")
  os.exit(failed == 0)
end

return net
]==]

return runtime
