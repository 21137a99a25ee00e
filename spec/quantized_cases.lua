--- Networks in 8 bits of random weights, and what plain Lua makes of them: csrc/kernels/quantized.h, to the letter.
--
-- Used by quantized_core_spec.lua, in its own process and, per instruction set, in processes of their own.
local tr = require "texres"

local cases = {}

-- -- networks ---------------------------------------------------------------------------------------------------------

-- Whole numbers from a generator of its own, the same in each process.
local state = 1
local function random(low, high)
  state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
  return low + (state >> 33) % (high - low + 1)
end
cases.random = random

local function list(n, f)
  local all = {}
  for i = 1, n do all[i] = f(i) end
  return all
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local new = {}
  for key, v in pairs(value) do new[key] = copy(v) end
  return new
end

local function product(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

local function tensor(values, dtype, ...) return tr.tensor(values, { dtype = dtype }):reshape(...) end

local Net = {}
Net.__index = Net

--- A network of images {H,W,C} of f32, and its way in: value 2 are bytes.
local function net(h, w, c)
  state = h * 1000003 + w * 1009 + c
  local self = setmetatable({
    description = { input = { h, w, c }, values = { { shape = { h, w, c } } }, steps = {} }, tensors = {},
  }, Net)
  self:add({ op = "quantize", input = 1 }, { h, w, c }, 120)
  return self
end

--- Adds a step that makes bytes of this shape; returns their number.
function Net:add(step, shape, zero, tensors)
  local d = self.description
  d.values[#d.values + 1] = { scale = random(50, 200) / 4096, zero = zero or random(0, 255), shape = shape }
  d.steps[#d.steps + 1] = step
  step.output = #d.values
  d.output = step.output
  for name, t in pairs(tensors or {}) do self.tensors[("step.%d.%s"):format(#d.steps, name)] = t end
  return step.output
end

function Net:shape(value) return self.description.values[value].shape end

-- Factors that spread sums of so many products over the range of bytes.
local function factors(n, products)
  return list(n, function() return random(30, 100) / (products ^ 0.5 * 6000) end)
end

local function shifts(n) return list(n, function() return random(-3000, 3000) / 100 end) end

--- A convolution; o: kernel, k, stride, padding (each side), dilation, groups, relu, residual, residual_last, winograd.
function Net:conv(input, o)
  local shape, groups = self:shape(input), o.groups or 1
  local r, s, c, k = (o.kernel or { 3, 3 })[1], (o.kernel or { 3, 3 })[2], shape[3], o.k
  local stride, dilation, padding = o.stride or { 1, 1 }, o.dilation or { 1, 1 }, o.padding or { 1, 1, 1, 1 }
  local p = (shape[1] + padding[1] + padding[2] - (r - 1) * dilation[1] - 1) // stride[1] + 1
  local q = (shape[2] + padding[3] + padding[4] - (s - 1) * dilation[2] - 1) // stride[2] + 1
  local weight, factor
  if o.winograd then
    local words = list(36 * c * k, function() return random(-3000, 3000) end)
    local bytes = {}
    for i, word in ipairs(words) do bytes[2 * i - 1], bytes[2 * i] = word & 255, word >> 8 & 255 end
    weight = tensor(bytes, "u8", 36, c, k, 2)
    factor = tensor(factors(36 * k, c * 4e7), "f32", 36, k)
  else
    local per = c // groups
    weight = tensor(list(r * s * per * k, function() return random(-127, 127) & 255 end), "u8", r, s, per, k)
    factor = tensor(factors(k, r * s * per), "f32", k)
  end
  return self:add({
    op = "conv", input = input, kernel = { r, s }, channels = { c, k }, stride = stride, padding = padding,
    dilation = dilation, groups = groups, relu = o.relu or false, residual = o.residual,
    residual_last = o.residual_last or false, method = o.winograd and "winograd" or "direct",
  }, { p, q, k }, o.zero, { weight = weight, factor = factor, shift = tensor(shifts(k), "f32", k) })
end

function Net:linear(input, k, o)
  local c = product(self:shape(input))
  self:add({
    op = "linear", input = input, channels = { c, k }, relu = o.relu or false, floats = o.floats or false,
  }, { k }, nil, {
    weight = tensor(list(c * k, function() return random(-127, 127) & 255 end), "u8", c, k),
    factor = tensor(factors(k, c), "f32", k), shift = tensor(shifts(k), "f32", k),
  })
  local d = self.description
  if o.floats then d.values[d.output] = { shape = { k } } end
  return d.output
end

function Net:pool(input, op, o)
  local shape = self:shape(input)
  local p = (shape[1] + o.padding[1] + o.padding[2] - o.kernel[1]) // o.stride[1] + 1
  local q = (shape[2] + o.padding[3] + o.padding[4] - o.kernel[2]) // o.stride[2] + 1
  local output = self:add({
    op = op, input = input, kernel = o.kernel, stride = o.stride, padding = o.padding,
    count_include_pad = o.count_include_pad,
  }, { p, q, shape[3] })
  return op == "max_pool" and self:like(output, input) or output
end

-- Value `output` is worth what `input` is.
function Net:like(output, input)
  local values = self.description.values
  values[output].scale, values[output].zero = values[input].scale, values[input].zero
  return output
end

function Net:global(input, op)
  local output = self:add({ op = op, input = input }, { self:shape(input)[3] })
  return op == "global_max_pool" and self:like(output, input) or output
end

function Net:join(op, inputs, o)
  local a, c = self:shape(inputs[1]), 0
  for _, value in ipairs(inputs) do c = c + self:shape(value)[3] end
  return self:add({ op = op, inputs = inputs, relu = o and o.relu }, { a[1], a[2], op == "cat" and c or a[3] })
end

function Net:lookup(input)
  local bytes = tensor(list(256, function() return random(0, 255) end), "u8", 256)
  return self:add({ op = "lookup", input = input }, self:shape(input), nil, { table = bytes })
end

function Net:flatten(input)
  return self:like(self:add({ op = "flatten", input = input }, { product(self:shape(input)) }), input)
end

function Net:done()
  local d = self.description
  if d.values[d.output].scale then
    local shape = self:shape(d.output)
    self:add({ op = "dequantize", input = d.output }, shape)
    d.values[d.output] = { shape = shape }
  end
  return d, self.tensors
end

--- A network of 4 * count values: small ones that are all needed at the same time, each at a lower place than the one
-- before, with room for a value of one place below them; then twice as many of two places, which find none but above.
function cases.crowded(count)
  local PLACE = 128 -- bytes, more than the least that a value takes
  local n, kept = net(1, 1, 1), {}
  local function rows(h) -- of the one pixel and padding
    return n:pool(2, "max_pool", { kernel = { 1, 1 }, stride = { 1, 1 }, padding = { 0, h - 1, 0, 0 } })
  end
  local function largest(input)
    local kernel = { n:shape(input)[1], 1 }
    return n:pool(input, "max_pool", { kernel = kernel, stride = { 1, 1 }, padding = { 0, 0, 0, 0 } })
  end
  for i = 1, count do kept[i] = largest(rows((count - i + 1) * PLACE)) end
  for _ = 2, 2 * count do rows(PLACE + 1) end
  kept[#kept + 1] = largest(rows(PLACE + 1))
  n:join("cat", kept)
  return n:done()
end

--- {description, tensors} by name: around the sizes of vectors, panels and tiles, and every kind of step.
cases.networks = {}

local function case(name, h, w, c, build)
  local n = net(h, w, c)
  build(n)
  cases.networks[#cases.networks + 1] = { name, n:done() }
end

for _, c in ipairs { 1, 3, 4, 16, 33 } do
  for _, k in ipairs { 1, 7, 16, 32, 65 } do
    case(("conv of %d to %d"):format(c, k), 5, 7, c, function(n) n:conv(2, { k = k, relu = true }) end)
  end
end
for _, w in ipairs { 1, 2, 13, 14, 15, 29 } do
  case(("conv of %d columns"):format(w), 3, w, 5, function(n) n:conv(2, { k = 33 }) end)
end
case("conv of stride 2", 9, 12, 6, function(n) n:conv(2, { k = 17, stride = { 2, 2 }, padding = { 1, 1, 0, 1 } }) end)
case("conv of stride 3 and 1", 9, 8, 4, function(n) n:conv(2, { k = 9, stride = { 3, 1 } }) end)
case("conv that leaves pixels out", 11, 11, 4, function(n) n:conv(2, { k = 6, stride = { 9, 9 } }) end)
case("dilated conv", 9, 10, 5, function(n)
  n:conv(2, { k = 8, dilation = { 2, 3 }, padding = { 2, 2, 3, 3 } })
end)
case("conv without padding", 6, 7, 3, function(n) n:conv(2, { k = 5, kernel = { 2, 5 }, padding = { 0, 0, 0, 0 } }) end)
case("conv of 1x1", 5, 6, 37, function(n) n:conv(2, { k = 19, kernel = { 1, 1 }, padding = { 0, 0, 0, 0 } }) end)
case("conv of 7x7", 9, 9, 1, function(n)
  n:conv(2, { k = 16, kernel = { 7, 7 }, stride = { 2, 2 }, padding = { 3, 3, 3, 3 } })
end)
case("conv to one pixel", 4, 3, 18, function(n)
  n:conv(2, { k = 40, kernel = { 4, 3 }, padding = { 0, 0, 0, 0 }, relu = true })
end)
case("grouped conv", 5, 6, 12, function(n) n:conv(2, { k = 9, groups = 3 }) end)
case("conv of many groups, one each in", 5, 6, 4, function(n) n:conv(2, { k = 8, groups = 4 }) end)
case("depthwise conv", 7, 6, 19, function(n) n:conv(2, { k = 19, groups = 19, relu = true, stride = { 2, 1 } }) end)
case("dilated depthwise conv with a residual", 6, 6, 5, function(n)
  n:conv(2, { k = 5, groups = 5, dilation = { 2, 2 }, padding = { 2, 2, 2, 2 }, residual = 2 })
end)
for _, size in ipairs { { 4, 4 }, { 1, 1 }, { 5, 9 }, { 8, 37 }, { 6, 3 } } do
  case(("winograd of %dx%d"):format(size[1], size[2]), size[1], size[2], 16, function(n)
    n:conv(2, { k = 16, winograd = true, relu = size[1] == 5 })
  end)
end
for _, c in ipairs { 2, 16, 34 } do
  for _, k in ipairs { 1, 15, 48 } do
    case(("winograd of %d to %d"):format(c, k), 6, 7, c, function(n) n:conv(2, { k = k, winograd = true }) end)
  end
end
case("winograd without padding", 7, 9, 16, function(n)
  n:conv(2, { k = 16, winograd = true, padding = { 0, 0, 0, 0 } })
end)
case("winograd, padded much on one side", 5, 5, 16, function(n)
  n:conv(2, { k = 17, winograd = true, padding = { 2, 0, 0, 2 } })
end)
for _, winograd in ipairs { false, true } do
  for _, relu in ipairs { false, true } do
    for _, last in ipairs { false, true } do
      case(("residual of %s, relu %s, last %s"):format(winograd and "winograd" or "direct", relu, last), 5, 6, 16,
        function(n)
          local x = n:conv(2, { k = 18, zero = 130 })
          local y = n:conv(x, { k = 18, winograd = winograd, relu = relu, residual = x, residual_last = last })
          n:conv(y, { k = 5 })
        end)
    end
  end
end
case("winograd of the largest factors", 8, 8, 16, function(n) -- the bytes are 0 and 255
  n:conv(n:conv(2, { k = 18, winograd = true }), { k = 18, winograd = true })
  local factor = n.tensors["step.3.factor"]
  n.tensors["step.3.factor"] = (factor / factor:max():item()) * 0x1p80
end)
case("max_pool", 7, 8, 21, function(n)
  n:pool(2, "max_pool", { kernel = { 3, 2 }, stride = { 2, 3 }, padding = { 1, 1, 0, 1 } })
end)
for _, with_border in ipairs { true, false } do
  case("avg_pool, border " .. tostring(with_border), 6, 7, 300, function(n)
    n:pool(2, "avg_pool", {
      kernel = { 3, 3 }, stride = { 2, 2 }, padding = { 1, 1, 1, 1 }, count_include_pad = with_border,
    })
  end)
end
case("avg_pool of means that are halves", 3, 3, 300, function(n) -- those of the four pixels at corners
  local x = n:lookup(2)
  n.description.values[x].zero = 0
  n:like(n:pool(x, "avg_pool", { kernel = { 3, 3 }, stride = { 1, 1 }, padding = { 1, 1, 1, 1 } }), x)
end)
case("avg_pool of windows outside", 5, 5, 3, function(n)
  n:pool(2, "avg_pool", { kernel = { 2, 2 }, stride = { 2, 2 }, padding = { 4, 4, 4, 4 } })
end)
case("global pools", 5, 6, 17, function(n)
  local x = n:conv(2, { k = 20, relu = true, zero = 0 })
  local mean, largest = n:global(x, "global_avg_pool"), n:global(x, "global_max_pool")
  local d = n.description
  n:linear(n:add({ op = "cat", inputs = { mean, largest } }, { 40 }), 6, { floats = true })
  assert(d.output == #d.values)
end)
case("sums and differences", 4, 5, 7, function(n)
  local a, b = n:conv(2, { k = 9 }), n:conv(2, { k = 9 })
  local c, d = n:join("add", { a, b }, { relu = true }), n:join("subtract", { a, b }, { relu = false })
  n:conv(n:join("add", { c, d }), { k = 3 })
end)
case("cat of values of other worth", 4, 5, 3, function(n)
  local a, b = n:conv(2, { k = 6 }), n:conv(2, { k = 5 })
  local same = n:like(n:join("cat", { a }), a)
  n:conv(n:join("cat", { b, a, same, 2 }), { k = 4 })
end)
case("products, and those of one pixel", 4, 5, 8, function(n)
  local a, b = n:conv(2, { k = 8 }), n:conv(2, { k = 8, zero = 7 })
  local gate = n:conv(2, { k = 8, kernel = { 4, 5 }, padding = { 0, 0, 0, 0 } })
  n:conv(n:join("multiply", { n:join("multiply", { a, b }), gate }), { k = 3 })
end)
case("lookup", 4, 5, 6, function(n) n:conv(n:lookup(2), { k = 4 }) end)
case("flatten and dense layers", 4, 3, 5, function(n)
  n:linear(n:linear(n:flatten(2), 33, { relu = true }), 10, { floats = true })
end)
case("a small residual network", 16, 16, 1, function(n)
  local x = n:conv(2, { k = 16, relu = true, stride = { 2, 2 }, zero = 0 })
  x = n:conv(x, { k = 16, relu = true, residual = x, residual_last = true, winograd = true, zero = 0 })
  x = n:conv(x, { k = 32, relu = true, stride = { 2, 2 }, zero = 0 })
  x = n:conv(x, { k = 32, relu = true, residual = x, residual_last = true, zero = 0 })
  n:linear(n:global(x, "global_avg_pool"), 6, { floats = true })
end)

--- The description and tensors of a network, both new.
function cases.find(name)
  for _, network in ipairs(cases.networks) do
    if network[1] == name then
      local description, tensors = copy(network[2]), {}
      for key, t in pairs(network[3]) do tensors[key] = t:clone() end
      return description, tensors
    end
  end
  error(name)
end

--- Images for a network: floats a little beyond what its bytes are worth.
function cases.images(description, count)
  local shape = description.input
  state = count
  return tensor(list(count * product(shape), function() return random(-5000, 5000) / 1000 end), "f32", count,
    table.unpack(shape))
end

-- -- what they make, one number after the other -----------------------------------------------------------------------

local function f32(x) return (string.unpack("f", string.pack("f", x))) end

local function nearest(x) -- of a finite x, halves to even
  x = math.max(0, math.min(255, x))
  local low = math.floor(x)
  local above = x - low
  if above > 0.5 or (above == 0.5 and low % 2 == 1) then low = low + 1 end
  return math.tointeger(low)
end

-- A value: { h, w, c, zero, scale, [i] = byte }, of one image; dense ones have one pixel.
local function value_like(given)
  local s = given.shape
  local h, w, c = 1, 1, s[1]
  if #s == 3 then h, w, c = s[1], s[2], s[3] end
  return { h = h, w = w, c = c, zero = given.zero, scale = given.scale and given.scale }
end

-- Its byte less its zero; 0 beyond the edges.
local function less_zero(v, y, x, d)
  if y < 0 or y >= v.h or x < 0 or x >= v.w then return 0 end
  return v[(y * v.w + x) * v.c + d + 1] - v.zero
end

local function fill(v, f)
  for y = 0, v.h - 1 do
    for x = 0, v.w - 1 do
      for d = 0, v.c - 1 do v[#v + 1] = f(y, x, d) end
    end
  end
end

local function signed(x, bits) return x >= 1 << (bits - 1) and x - (1 << bits) or x end

-- From t on, what a convolution does; makes a byte, or a float where there is no zero.
local function follow(step, t, v, values, y, x, k)
  if step.relu and step.residual_last then t = math.max(t, 0) end
  if step.residual then
    local r = values[step.residual]
    t = f32(t + f32(less_zero(r, y, x, k) * f32(r.scale / v.scale)))
  end
  if step.relu and not step.residual_last then t = math.max(t, 0) end
  if v.zero == nil then return t end
  return nearest(f32(t + v.zero))
end

local make = {}

function make.quantize(step, v, values)
  local inverse, x = f32(1 / v.scale), values[step.input]
  for i = 1, #x do v[i] = nearest(f32(f32(x[i] * inverse) + v.zero)) end
end

function make.dequantize(step, v, values)
  local x = values[step.input]
  for i = 1, #x do v[i] = f32((x[i] - x.zero) * f32(x.scale)) end
end

local function direct(step, v, values, t)
  local x, per, of_group = values[step.input], step.channels[1] // step.groups, step.channels[2] // step.groups
  local r, s, k_all = step.kernel[1], step.kernel[2], step.channels[2]
  fill(v, function(p, q, k)
    local sum, first = 0, k // of_group * per
    for i = 0, r - 1 do
      for j = 0, s - 1 do
        local y = p * step.stride[1] - step.padding[1] + i * step.dilation[1]
        local column = q * step.stride[2] - step.padding[3] + j * step.dilation[2]
        for d = 0, per - 1 do
          local w = signed(t.weight[((i * s + j) * per + d) * k_all + k + 1], 8)
          sum = sum + less_zero(x, y, column, first + d) * w
        end
      end
    end
    return follow(step, f32(f32(f32(sum) * t.factor[k + 1]) + t.shift[k + 1]), v, values, p, q, k)
  end)
end

local BT = {
  { 4, 0, -5, 0, 1, 0 }, { 0, -4, -4, 1, 1, 0 }, { 0, 4, -4, -1, 1, 0 }, { 0, -2, -1, 2, 1, 0 }, { 0, 2, -1, -2, 1, 0 },
  { 0, 4, 0, -5, 0, 1 },
}

-- The 36 elements of channel d of the tile that begins at (y, x).
local function elements(v, y, x, d)
  local half, all = {}, {}
  for i = 1, 6 do
    for j = 0, 5 do
      local sum = 0
      for l = 1, 6 do sum = sum + BT[i][l] * less_zero(v, y + l - 1, x + j, d) end
      half[i * 6 + j] = sum
    end
  end
  for i = 1, 6 do
    for j = 1, 6 do
      local sum = 0
      for l = 1, 6 do sum = sum + BT[j][l] * half[i * 6 + l - 1] end
      all[#all + 1] = sum
    end
  end
  return all
end

local function back(x0, x1, x2, x3, x4, x5)
  local a, b, c, d = f32(x1 + x2), f32(x1 - x2), f32(x3 + x4), f32(x3 - x4)
  return f32(f32(x0 + a) + c), f32(b + 2 * d), f32(a + 4 * c), f32(f32(b + 8 * d) + x5)
end

local function winograd(step, v, values, t)
  local x, c, n = values[step.input], step.channels[1], step.channels[2]
  local tiles, pixels = {}, {} -- by place; pixels of a tile by channel
  local function tile(y, column)
    local all = {}
    for d = 0, c - 1 do all[d + 1] = elements(x, y * 4 - step.padding[1], column * 4 - step.padding[3], d) end
    return all
  end
  local function pixels_of(place, all, k)
    local e, half, out = {}, {}, {}
    for p = 1, 36 do
      local sum = 0
      for d = 1, c do
        local at = (((p - 1) * c + d - 1) * n + k) * 2
        sum = sum + all[d][p] * signed(t.weight[at + 1] | t.weight[at + 2] << 8, 16)
      end
      e[p] = f32(f32(sum) * t.factor[(p - 1) * n + k + 1])
    end
    for j = 1, 6 do half[j] = { back(e[j], e[6 + j], e[12 + j], e[18 + j], e[24 + j], e[30 + j]) } end
    for i = 1, 4 do
      out[i] = { back(half[1][i], half[2][i], half[3][i], half[4][i], half[5][i], half[6][i]) }
    end
    pixels[place .. " " .. k] = out
    return out
  end
  fill(v, function(p, q, k)
    local place = p // 4 .. " " .. q // 4
    tiles[place] = tiles[place] or tile(p // 4, q // 4)
    local out = pixels[place .. " " .. k] or pixels_of(place, tiles[place], k)
    return follow(step, f32(out[p % 4 + 1][q % 4 + 1] + t.shift[k + 1]), v, values, p, q, k)
  end)
end

function make.conv(step, v, values, t)
  if step.method == "winograd" then
    winograd(step, v, values, t)
  else
    direct(step, v, values, t)
  end
end

function make.linear(step, v, values, t)
  local x = values[step.input]
  x = table.move(x, 1, #x, 1, { h = 1, w = 1, c = #x, zero = x.zero })
  direct({
    input = 1, relu = step.relu, kernel = { 1, 1 }, channels = step.channels, stride = { 1, 1 }, dilation = { 1, 1 },
    padding = { 0, 0, 0, 0 }, groups = 1,
  }, v, { x }, t)
end

-- f(sum or largest of the bytes that a window sees, how many it sees)
local function window(step, v, x, f)
  fill(v, function(p, q, d)
    local sum, largest, count = 0, 0, 0
    for i = p * step.stride[1] - step.padding[1], p * step.stride[1] - step.padding[1] + step.kernel[1] - 1 do
      for j = q * step.stride[2] - step.padding[3], q * step.stride[2] - step.padding[3] + step.kernel[2] - 1 do
        if i >= 0 and i < x.h and j >= 0 and j < x.w then
          local byte = less_zero(x, i, j, d)
          sum, largest, count = sum + byte, math.max(largest, byte + x.zero), count + 1
        end
      end
    end
    return f(sum, largest, count)
  end)
end

function make.max_pool(step, v, values)
  window(step, v, values[step.input], function(_, largest) return largest end)
end

function make.avg_pool(step, v, values)
  local x, all = values[step.input], step.kernel[1] * step.kernel[2]
  window(step, v, x, function(sum, _, inside)
    local count = step.count_include_pad and all or math.max(inside, 1)
    return nearest(f32(f32(sum * f32(x.scale / (v.scale * count))) + v.zero))
  end)
end

local function whole(x)
  return { input = 1, kernel = { x.h, x.w }, stride = { 1, 1 }, padding = { 0, 0, 0, 0 }, count_include_pad = true }
end

function make.global_avg_pool(step, v, values)
  local x = values[step.input]
  make.avg_pool(whole(x), v, { x })
end

function make.global_max_pool(step, v, values)
  local x = values[step.input]
  make.max_pool(whole(x), v, { x })
end

local function sum(sign)
  return function(step, v, values)
    local a, b = values[step.inputs[1]], values[step.inputs[2]]
    local fa, fb = f32(a.scale / v.scale), f32(sign * b.scale / v.scale)
    fill(v, function(y, x, d)
      local t = f32(f32(less_zero(a, y, x, d) * fa) + f32(less_zero(b, y, x, d) * fb))
      if step.relu then t = math.max(t, 0) end
      return nearest(f32(t + v.zero))
    end)
  end
end

make.add, make.subtract = sum(1), sum(-1)

function make.multiply(step, v, values)
  local a, b = values[step.inputs[1]], values[step.inputs[2]]
  local factor, one = f32(a.scale * b.scale / v.scale), b.h * b.w == 1
  fill(v, function(y, x, d)
    local t = less_zero(a, y, x, d) * less_zero(b, one and 0 or y, one and 0 or x, d)
    return nearest(f32(f32(t * factor) + v.zero))
  end)
end

function make.cat(step, v, values)
  fill(v, function(y, x, d)
    for _, input in ipairs(step.inputs) do
      local from = values[input]
      if d < from.c then
        if from.scale == v.scale and from.zero == v.zero then return less_zero(from, y, x, d) + from.zero end
        return nearest(f32(f32(less_zero(from, y, x, d) * f32(from.scale / v.scale)) + v.zero))
      end
      d = d - from.c
    end
  end)
end

function make.lookup(step, v, values, t)
  local x = values[step.input]
  for i = 1, #x do v[i] = t.table[x[i] + 1] end
end

function make.flatten(step, v, values)
  local x = values[step.input]
  table.move(x, 1, #x, 1, v)
end

--- The floats that a network makes of images {N,H,W,C}, as a list.
function cases.naive(description, tensors, images)
  local plain, results = {}, {}
  for name, t in pairs(tensors) do plain[name] = t:reshape(-1):totable() end
  for image = 1, images:size(1) do
    local values = { images[image]:reshape(-1):totable() }
    for i, step in ipairs(description.steps) do
      local v = value_like(description.values[step.output])
      local own = {}
      for _, name in ipairs { "weight", "factor", "shift", "table" } do
        own[name] = plain[("step.%d.%s"):format(i, name)]
      end
      make[step.op](step, v, values, own)
      values[step.output] = v
    end
    local last = values[description.output]
    table.move(last, 1, #last, #results + 1, results)
  end
  return results
end

return cases
