--- Networks in 8 bits as csrc/kernels/quantized.h and texres.nn.quantized define them, step by step: whole numbers as
-- f64, which holds their sums exactly, then f32 tensors, each operation of which rounds once.
--
--     local program = reference(description, tensors)
--     local y = program:run(x)

local tr = require "texres"
local core = require "texres.core"
local BT = require("texres.quantize.weights").BT
local F = tr.nn.functional

local function single(number) return (string.unpack("<f", string.pack("<f", number))) end

-- Two's complement in so many bits, of whole numbers from 0 on.
local function signed(t, bits) return t - t:ge(1 << (bits - 1)):to "f64" * (1 << bits) end

local function to_bytes(t, value)
  return (t + value.zero):clamp { min = 0, max = 255 }:round():to "u8"
end

-- Bytes less their zero.
local function whole(q, value) return q:to "f64" - value.zero end

-- What follows sums, from the first max on; t is f32.
local function finish(step, t, values, bytes)
  if step.relu and step.residual_last then t = t:relu() end
  if step.residual then
    local from = values[step.residual]
    local factor = single(from.scale / values[step.output].scale)
    t = t + whole(bytes[step.residual], from):to "f32" * factor
  end
  if step.relu and not step.residual_last then t = t:relu() end
  return step.floats and t or to_bytes(t, values[step.output])
end

-- x {N,H,W,C} with zeros around it.
local function padded(x, top, bottom, left, right)
  local n, h, w, c = x:size()
  local zeros = { dtype = x.dtype }
  x = core.cat({ core.zeros({ n, top, w, c }, zeros), x, core.zeros({ n, bottom, w, c }, zeros) }, 2)
  h = h + top + bottom
  return core.cat({ core.zeros({ n, h, left, c }, zeros), x, core.zeros({ n, h, right, c }, zeros) }, 3)
end

local function direct(step, x, tensors)
  local weight = signed(tensors.weight:to "f64", 8)
  local sum = F.conv2d(x, weight, {
    stride = step.stride, padding = step.padding, dilation = step.dilation, groups = step.groups,
  })
  return sum:to "f32" * tensors.factor + tensors.shift
end

-- x0 ... x5 along one axis, a list of f32 tensors, as y0 ... y3.
local function back(x)
  local a, b, c, d = x[2] + x[3], x[2] - x[3], x[4] + x[5], x[4] - x[5]
  return { (x[1] + a) + c, b + d * 2, a + c * 4, (b + d * 8) + x[6] }
end

local function winograd(step, x, tensors)
  local n, h, w = x:size()
  local pad, k = step.padding, step.channels[2]
  local rows, columns = h + pad[1] + pad[2] - 2, w + pad[3] + pad[4] - 2
  local down, across = (rows + 3) // 4, (columns + 3) // 4
  x = padded(x, pad[1], 4 * down + 2 - h - pad[1], pad[3], 4 * across + 2 - w - pad[3])
  local low, high = tensors.weight:select(4, 1):to "f64", tensors.weight:select(4, 2):to "f64"
  local u = signed(low + high * 256, 16) -- {36,C,K}
  local m = {} -- of each element, {N,down,across,K} f32
  for i = 1, 6 do
    m[i] = {}
    for j = 1, 6 do
      local v = 0
      for a = 1, 6 do
        for b = 1, 6 do
          local times = BT[i][a] * BT[j][b]
          if times ~= 0 then
            v = v + x:slice(2, a, a + 4 * (down - 1), 4):slice(3, b, b + 4 * (across - 1), 4) * times
          end
        end
      end
      assert(v:abs():max():item() <= 68 * 255)
      local e = 6 * (i - 1) + j
      local sum = v:matmul(u:select(1, e):contiguous())
      assert(sum:abs():max():item() < 1 << 31, "a sum leaves 32 bits")
      m[i][j] = sum:to "f32" * tensors.factor:select(1, e)
    end
  end
  local columns_done = {} -- columns_done[j][i]: down the column j
  for j = 1, 6 do
    local column = {}
    for i = 1, 6 do column[i] = m[i][j] end
    columns_done[j] = back(column)
  end
  local y = {}
  for i = 1, 4 do
    local row = {}
    for j = 1, 6 do row[j] = columns_done[j][i] end
    y[i] = core.stack(back(row), 4):reshape(n, down, 1, 4 * across, k)
  end
  y = core.cat(y, 3):reshape(n, 4 * down, 4 * across, k)
  return y:slice(2, 1, rows):slice(3, 1, columns) + tensors.shift
end

local DO = {}

function DO.quantize(step, values, bytes)
  local to = values[step.output]
  return to_bytes(bytes[step.input] * single(1 / to.scale), to)
end

function DO.dequantize(step, values, bytes)
  local from = values[step.input]
  return whole(bytes[step.input], from):to "f32" * single(from.scale)
end

function DO.conv(step, values, bytes, tensors)
  local x = whole(bytes[step.input], values[step.input])
  return finish(step, (step.method == "winograd" and winograd or direct)(step, x, tensors), values, bytes)
end

function DO.linear(step, values, bytes, tensors)
  local sum = whole(bytes[step.input], values[step.input]):matmul(signed(tensors.weight:to "f64", 8))
  return finish(step, sum:to "f32" * tensors.factor + tensors.shift, values, bytes)
end

function DO.max_pool(step, _, bytes)
  return F.max_pool2d(bytes[step.input]:to "f32", step.kernel, { stride = step.stride, padding = step.padding }):to "u8"
end

local function averaged(step, values, sum, count)
  local from, to = values[step.input], values[step.output]
  if type(count) == "number" then return to_bytes(sum:to "f32" * single(from.scale / (to.scale * count)), to) end
  local factor = (from.scale / (count * to.scale)):to "f32"
  return to_bytes(sum:to "f32" * factor, to)
end

function DO.avg_pool(step, values, bytes)
  local x = whole(bytes[step.input], values[step.input])
  local area = step.kernel[1] * step.kernel[2]
  local options = { stride = step.stride, padding = step.padding }
  local sum = (F.avg_pool2d(x, step.kernel, options) * area):round()
  local count = area
  if not step.count_include_pad then count = (F.avg_pool2d(x * 0 + 1, step.kernel, options) * area):round() end
  return averaged(step, values, sum, count)
end

function DO.global_avg_pool(step, values, bytes)
  local x = whole(bytes[step.input], values[step.input])
  local n, h, w = x:size()
  return averaged(step, values, x:sum { 2, 3 }, h * w):reshape(n, table.unpack(values[step.output].shape))
end

function DO.global_max_pool(step, values, bytes)
  local y = bytes[step.input]:to("f32"):max({ 2, 3 })
  return y:to("u8"):reshape(y:size(1), table.unpack(values[step.output].shape))
end

function DO.flatten(step, _, bytes) return bytes[step.input]:reshape(bytes[step.input]:size(1), -1) end

local function term(values, bytes, value, to, sign)
  local from = values[value]
  return whole(bytes[value], from):to "f32" * single((sign or 1) * from.scale / to.scale)
end

local function sum_of(sign)
  return function(step, values, bytes)
    local to, a, b = values[step.output], step.inputs[1], step.inputs[2]
    local t = term(values, bytes, a, to) + term(values, bytes, b, to, sign)
    return to_bytes(step.relu and t:relu() or t, to)
  end
end

DO.add, DO.subtract = sum_of(1), sum_of(-1)

function DO.cat(step, values, bytes)
  local to, list = values[step.output], {}
  for i, value in ipairs(step.inputs) do
    local from = values[value]
    list[i] = bytes[value]
    if from.scale ~= to.scale or from.zero ~= to.zero then list[i] = to_bytes(term(values, bytes, value, to), to) end
  end
  return core.cat(list, -1)
end

function DO.multiply(step, values, bytes)
  local a, b, to = step.inputs[1], step.inputs[2], values[step.output]
  local product = whole(bytes[a], values[a]) * whole(bytes[b], values[b])
  return to_bytes(product:to "f32" * single(values[a].scale * values[b].scale / to.scale), to)
end

function DO.lookup(step, _, bytes, tensors)
  local x = bytes[step.input]
  return tensors.table:to("f32"):index_select(1, x:reshape(-1):to "i64" + 1):to("u8"):reshape(x:shape())
end

local Program = {}
Program.__index = Program

function Program:run(x)
  local bytes, values = { x }, self.description.values
  for i, step in ipairs(self.description.steps) do
    local own = setmetatable({}, {
      __index = function(_, name) return self.tensors[("step.%d.%s"):format(i, name)] end,
    })
    bytes[step.output] = DO[step.op](step, values, bytes, own)
    assert(bytes[step.output].dtype == (values[step.output].scale and "u8" or "f32"))
    local shape = bytes[step.output]:shape()
    table.remove(shape, 1)
    assert(table.concat(shape, " ") == table.concat(values[step.output].shape, " "), step.op)
  end
  return bytes[self.description.output]
end

return function(description, tensors)
  return setmetatable({ description = description, tensors = tensors }, Program)
end
