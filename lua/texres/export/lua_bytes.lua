--- The steps of a quantized network (texres.nn.quantized) as Lua: whole numbers, and floats that are rounded to f32
-- after each operation, so that scores have the library's bits.

local bytes = require "texres.export.bytes"
local f32 = require "texres.export.f32"
local lua_text = require "texres.export.lua_text"
local plain = require "texres.plain"
local raise = require "texres.raise"

local lua_bytes = {}

local FUNCTIONS = [==[
local PIXEL = @PIXEL@ -- the network's byte for each of an image, {channel, 256}

local function read(byte, c) return PIXEL[(c - 1) * 256 + byte + 1] end

-- The nearest f32, as each operation of an FPU gives it.
local function f32(x) return (string.unpack("<f", string.pack("<f", x))) end

-- The nearest byte, halves to even: above 2^52 floats are whole numbers.
local function nearest(t)
  t = t > 0 and t or 0
  t = t < 255 and t or 255
  return math.tointeger(t + 0x1p52 - 0x1p52)
end

-- Bytes less the one that is worth 0.
local function whole(x, zero)
  local y = {}
  for i = 1, #x do y[i] = x[i] - zero end
  return y
end

-- What follows t, which holds factor and shift, of element i: a byte, or where the step gives floats t itself.
local function finish(step, t, residual, i)
  if step.relu and step.residual_last then t = t > 0 and t or 0 end
  if residual then t = f32(t + f32((residual[i] - step.residual_zero) * step.residual_factor)) end
  if step.relu and not step.residual_last then t = t > 0 and t or 0 end
  if step.floats then return t + 0.0 end
  return nearest(f32(t + step.zero))
end

-- The same of sums, in their place.
local function finish_sums(step, sums, residual)
  local outputs, factor, shift = step.to[#step.to], step.factor, step.shift
  for i = 1, #sums do
    local k = (i - 1) % outputs + 1
    sums[i] = finish(step, f32(f32(f32(sums[i]) * factor[k]) + shift[k]), residual, i)
  end
  return sums
end

function STEPS.conv(step, x, residual)
  return finish_sums(step, convolve(step, whole(x, step.zeros[1])), residual)
end

function STEPS.linear(step, x) return finish_sums(step, dense(step, whole(x, step.zeros[1]))) end

-- -- convolution by Winograd's F(4x4, 3x3) --------------------------------------------------------------------------

-- v = B^T v of six of its numbers, from `at` on, which lie `by` apart.
local function input_axis(v, at, by)
  local x0, x1, x2, x3, x4 = v[at], v[at + by], v[at + 2 * by], v[at + 3 * by], v[at + 4 * by]
  local x5 = v[at + 5 * by]
  v[at] = 4 * x0 - 5 * x2 + x4
  v[at + by] = x3 + x4 - 4 * (x1 + x2)
  v[at + 2 * by] = x4 - x3 + 4 * (x1 - x2)
  v[at + 3 * by] = x4 - x2 + 2 * (x3 - x1)
  v[at + 4 * by] = x4 - x2 - 2 * (x3 - x1)
  v[at + 5 * by] = 4 * x1 - 5 * x3 + x5
end

-- The first four of six numbers are A^T of them; f32.
local function output_axis(m, at, by)
  local x1, x2, x3, x4 = m[at + by], m[at + 2 * by], m[at + 3 * by], m[at + 4 * by]
  local a, b, c, d = f32(x1 + x2), f32(x1 - x2), f32(x3 + x4), f32(x3 - x4)
  m[at + 3 * by] = f32(f32(b + 8 * d) + m[at + 5 * by])
  m[at] = f32(f32(m[at] + a) + c)
  m[at + by] = f32(b + 2 * d)
  m[at + 2 * by] = f32(a + 4 * c)
end

-- The tile of 6x6 pixels at (row, column), to v[element][channel].
local function transform(step, x, row, column, v)
  local rows, columns, channels = table.unpack(step.from)
  local t = {}
  for d = 1, channels do
    for i = 0, 5 do
      for j = 0, 5 do
        local r, c = row + i, column + j
        local inside = r >= 0 and r < rows and c >= 0 and c < columns
        t[6 * i + j + 1] = inside and x[(r * columns + c) * channels + d] or 0
      end
    end
    for j = 1, 6 do input_axis(t, j, 6) end
    for i = 1, 31, 6 do input_axis(t, i, 1) end
    for e = 1, 36 do v[e][d] = t[e] end
  end
end

function STEPS.winograd(step, x, residual)
  local rows, columns, outputs = table.unpack(step.to)
  local channels, weight, factor, y, v, sums, m = step.from[3], step.weight, step.factor, {}, {}, {}, {}
  local places, bias = {}, {}
  for e = 1, 36 do
    v[e], sums[e], places[e] = {}, {}, {}
    for d = 1, channels do places[e][d] = ((e - 1) * channels + d - 1) * outputs end
  end
  for k = 1, outputs do bias[k] = 0 end
  x = whole(x, step.zeros[1])
  for p = 0, rows - 1, 4 do
    for q = 0, columns - 1, 4 do
      transform(step, x, p - step.padding[1], q - step.padding[3], v)
      for e = 1, 36 do add_up(channels, v[e], places[e], weight, bias, 1, outputs, sums[e], 0) end
      for k = 1, outputs do
        for e = 1, 36 do m[e] = f32(f32(sums[e][k]) * factor[(e - 1) * outputs + k]) end
        for j = 1, 6 do output_axis(m, j, 6) end
        for i = 1, 19, 6 do output_axis(m, i, 1) end
        for i = 0, math.min(3, rows - 1 - p) do
          for j = 0, math.min(3, columns - 1 - q) do
            local at = ((p + i) * columns + q + j) * outputs + k
            y[at] = finish(step, f32(m[6 * i + j + 1] + step.shift[k]), residual, at)
          end
        end
      end
    end
  end
  return y
end

-- -- means, sums, products ------------------------------------------------------------------------------------------

-- A byte that is worth t, a whole number, times a factor.
local function byte_of(step, t, factor) return nearest(f32(f32(f32(t) * factor) + step.zero)) end

function STEPS.avg_pool(step, x)
  local y = {}
  each_window(step, function(places, at, channels)
    local factor = step.means[step.count_include_pad and step.kernel[1] * step.kernel[2] or #places] or 0
    for k = 1, channels do
      local sum = 0
      for _, place in ipairs(places) do sum = sum + x[place + k] - step.zeros[1] end
      y[at + k] = byte_of(step, sum, factor)
    end
  end)
  return y
end

function STEPS.global_avg_pool(step, x)
  local channels, y = channels_of(step), {}
  for k = 1, channels do
    local sum = 0
    for i = k, #x, channels do sum = sum + x[i] - step.zeros[1] end
    y[k] = byte_of(step, sum, step.means[1])
  end
  return y
end

function STEPS.add(step, _, _, list)
  local a, b, y = list[1], list[2], {}
  for i = 1, #a do
    local t = f32((a[i] - step.zeros[1]) * step.factors[1])
    t = f32(t + f32((b[i] - step.zeros[2]) * step.factors[2]))
    y[i] = finish(step, t)
  end
  return y
end

STEPS.subtract = STEPS.add -- the second factor is negative

function STEPS.multiply(step, _, _, list)
  local a, b, y = list[1], list[2], {}
  for i = 1, #a do
    y[i] = byte_of(step, (a[i] - step.zeros[1]) * (b[(i - 1) % #b + 1] - step.zeros[2]), step.product)
  end
  return y
end

function STEPS.cat(step, _, _, list)
  local parts = {}
  for j, x in ipairs(list) do
    parts[j] = x
    if step.same[j] == 0 then
      parts[j] = {}
      for i = 1, #x do parts[j][i] = byte_of(step, x[i] - step.zeros[j], step.factors[j]) end
    end
  end
  return side_by_side(step, parts)
end

function STEPS.lookup(step, x)
  local y = {}
  for i = 1, #x do y[i] = step.bytes[x[i] + 1] end
  return y
end

function STEPS.dequantize(step, x)
  local y = {}
  for i = 1, #x do y[i] = f32((x[i] - step.zeros[1]) * step.scale) end
  return y
end
]==]

-- -- tables of steps --------------------------------------------------------------------------------------------------

-- What all steps are given: shapes, and of the values that they read zero and scale over that of the output.
local function common(step, values)
  local own, to = { zeros = {}, factors = {}, same = {}, channels = {} }, values[step.output]
  for name, value in pairs(step) do own[name] = value end
  for i, value in ipairs(step.inputs or { step.input }) do
    local from = values[value]
    own.zeros[i], own.channels[i] = from.zero, from.shape[#from.shape]
    own.factors[i] = to.scale and bytes.ratio(values, value, step.output)
    own.same[i] = from.scale == to.scale and from.zero == to.zero and 1 or 0
  end
  own.from, own.to, own.zero = values[step.input or step.inputs[1]].shape, to.shape, to.zero
  if step.residual then
    own.residual_zero = values[step.residual].zero
    own.residual_factor = bytes.ratio(values, step.residual, step.output)
  end
  return own
end

-- Numbers to be packed; `kind` is as string.pack has it.
local function packed(list, kind)
  list.kind = kind
  return list
end

-- STEPS[op](own, step, values, tensor) adds to the table of a step what its op needs; tensor(name) is one of its own.
local STEPS = {}

function STEPS.linear(own, _, _, tensor)
  own.weight = packed(bytes.all_signed(bytes.of(tensor "weight")), "b")
  own.factor, own.shift = tensor "factor", tensor "shift"
end

function STEPS.conv(own, step, values, tensor)
  STEPS.linear(own, step, values, tensor)
  if step.method == "winograd" then
    own.op, own.weight = "winograd", packed(bytes.words(bytes.of(tensor "weight")), "<i2")
  end
end

function STEPS.avg_pool(own, step, values) own.means = bytes.means(values, step) end

function STEPS.global_avg_pool(own, step, values)
  local shape = values[step.input].shape
  own.means = { bytes.mean(values, step, shape[1] * shape[2]) }
end

function STEPS.subtract(own) own.factors[2] = -own.factors[2] end

function STEPS.multiply(own, step, values) own.product = bytes.product(values, step) end

function STEPS.lookup(own, _, _, tensor) own.bytes = packed(bytes.of(tensor "table"), "B") end

function STEPS.dequantize(own, step, values) own.scale = f32(values[step.input].scale) end

local NOTHING = { add = true, cat = true, flatten = true, max_pool = true, global_max_pool = true }

--- The network as Lua: what texres.export.lua_float's write returns.
function lua_bytes.write(one)
  local section, tensors = one.quantized.section, one.quantized.tensors
  local first, steps = section.steps[1], {}
  for i = 2, #section.steps do
    local step = section.steps[i]
    local own, add = common(step, section.values), STEPS[step.op]
    if not add and not NOTHING[step.op] then
      raise("export_lua: there is no function in Lua for a quantized %s", plain.text(step.op))
    end
    if add then add(own, step, section.values, function(name) return tensors[("step.%d.%s"):format(i, name)] end) end
    steps[i - 1] = lua_text.record(own)
  end
  return {
    functions = lua_text.fill(FUNCTIONS, {
      PIXEL = lua_text.value(packed(bytes.pixels(one, section.values[first.output]), "B")),
    }),
    steps = table.concat(steps, "\n"), input = first.output, output = section.output, tolerance = "0",
    numbers = "8 bits; scores are those of texres bit by bit",
  }
end

return lua_bytes
