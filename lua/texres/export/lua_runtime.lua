--- What a classifier in pure Lua is made of, but for its steps: the text of the module (texres.export.lua).

return [==[
-- Tells what an image shows. Written by @VERSION@; the network is inside, nothing else is needed but Lua 5.4.
--
--     local net = dofile "THIS_FILE.lua"
--     local class, scores = net.classify(image) -- a text of bytes, or a list of numbers from 0 to 255
--     print(net.classes[class], net.probabilities(scores)[class])
--
-- An image has @HEIGHT@ rows of @WIDTH@ pixels of @CHANNELS@ bytes: 0 is black, 255 white. Classes count from 1.
-- With an operating point there are net.defect_score(scores) and net.verdict(scores): "accept", "reject" or "ask".
-- `lua5.4 THIS_FILE.lua --test` classifies images that are inside, and compares: @TESTS_FROM@.
-- Numbers: @NUMBERS@
-- Network: @NETWORK@@NOTE@

local HEIGHT, WIDTH, CHANNELS = @HEIGHT@, @WIDTH@, @CHANNELS@
local CLASSES = @CLASSES@
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

-- So many numbers of a kind as string.unpack names it.
local function numbers(count, kind, text)
  local bytes, size, list = bytes_of(text), string.packsize(kind), {}
  for i = 1, count do list[i] = string.unpack(kind, bytes, (i - 1) * size + 1) end
  return list
end

-- -- steps: what each makes of the lists that it reads, {row, column, channel} in one list --------------------------

local STEPS = {}

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

-- Sums of products of a convolution.
local function convolve(step, x)
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
  return y
end

-- Those of a dense layer.
local function dense(step, x)
  local outputs, places, y = step.to[1], {}, {}
  for i = 1, #x do places[i] = (i - 1) * outputs end
  add_up(#x, x, places, step.weight, step.bias, 1, outputs, y, 0)
  return y
end

local function channels_of(step) return step.from[#step.from] end

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

function STEPS.global_max_pool(step, x)
  local channels, y = channels_of(step), {}
  for k = 1, channels do
    y[k] = x[k]
    for i = k, #x, channels do y[k] = math.max(y[k], x[i]) end
  end
  return y
end

function STEPS.flatten(_, x) return x end

-- Values side by side, pixel by pixel.
local function side_by_side(step, list)
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

@FUNCTIONS@
-- -- the network ------------------------------------------------------------------------------------------------------

local steps = {
@STEPS@
}

for _, step in ipairs(steps) do
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
    x[i] = read(type(image) == "string" and image:byte(i) or image[i], (i - 1) % CHANNELS + 1)
  end
  local values = { [@INPUT@] = x }
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
    local judged = not POINT or net.verdict(scores) == test.verdict
    local same = class == test.label and apart <= @TOLERANCE@ * most and judged
    print(("image %d: %s, scores within %.2g of the library's: %s"):format(i, CLASSES[class], apart,
      same and "pass" or "FAIL"))
    if not same then failed = failed + 1 end
  end
  print(failed == 0 and "pass" or "FAIL")
  os.exit(failed == 0)
end

return net
]==]
