--- The steps of a quantized network (texres.nn.quantized) as C: functions, arrays of weights, and calls.

local Writer = require "texres.export.c_writer"
local arena = require "texres.export.arena"
local bytes = require "texres.export.bytes"
local c_text = require "texres.export.c_text"
local f32 = require "texres.export.f32"
local functions = require "texres.export.c_bytes_functions"
local plain = require "texres.plain"
local raise = require "texres.raise"
local subject = require "texres.export.subject"

local c_bytes = {}

local ALIGN = 64 -- bytes, of places in memory
local ELEMENTS = 36 -- of a Winograd tile
local STRIP = 16 -- outputs that are brought back from tiles at once, as in the functions
local THIN = 32 -- sums of fewer products are made for all outputs at once

-- -- numbers ----------------------------------------------------------------------------------------------------------

local function floats_of(t) return t:reshape(-1):totable() end

-- Weights {taps, K} of a layer in groups as {group, K / groups, taps}, with zeros to a multiple of four outputs.
local function by_output(list, taps, outputs, groups)
  local width, turned = outputs // groups, {}
  for g = 0, groups - 1 do
    for k = 1, (width + 3) // 4 * 4 do
      for tap = 0, taps - 1 do
        turned[#turned + 1] = k <= width and bytes.signed(list[tap * outputs + g * width + k]) or 0
      end
    end
  end
  return turned
end

-- What a zero of the input adds to the sums of each output, of weights by output.
local function starts(weights, taps, zero)
  local list = {}
  for first = 1, #weights, taps do
    local sum = 0
    for i = first, first + taps - 1 do sum = sum + weights[i] end
    list[#list + 1] = -zero * sum
  end
  return list
end

-- Weights {36,C,K,2} as {36,K,C}, 16 bits.
local function winograd_weights(list, channels, outputs)
  local turned, words = {}, bytes.words(list)
  for element = 0, ELEMENTS - 1 do
    for k = 0, outputs - 1 do
      for c = 0, channels - 1 do
        turned[#turned + 1] = words[(element * channels + c) * outputs + k + 1]
      end
    end
  end
  return turned
end

-- -- steps ------------------------------------------------------------------------------------------------------------
--
-- STEPS[op](w, step, y, i) writes step i, which makes value y.

local STEPS = {}

local function tensor(w, i, name) return w.tensors[("step.%d.%s"):format(i, name)] end

-- The factor from one scale to another; more factors are multiplied, or divisors, from left to right.
local function literal(value) return c_text.float(f32(value)) end

local function zero_of(w, value) return w.values[value].zero end
local function zero_text(w, value) return c_text.float(zero_of(w, value)) end

local function enlarge(w, name, size) w.sizes[name] = math.max(w.sizes[name], size) end

-- What follows the sums of a step.
local function after(w, step, i)
  local name = ("after_%d"):format(i)
  w:array("float", ("factor_%d"):format(i), floats_of(tensor(w, i, "factor")))
  w:array("float", ("shift_%d"):format(i), floats_of(tensor(w, i, "shift")))
  enlarge(w, "OUTPUTS", (step.channels[2] + 3) // 4 * 4)
  w:call("const struct after %s = { .factor = factor_%d, .shift = shift_%d, .relu = %d, .relu_first = %d,", name, i, i,
    step.relu and 1 or 0, step.residual_last and 1 or 0)
  w:call("    .zero = %s%s };", step.floats and "0" or zero_text(w, step.output), not step.residual and ""
    or (", .residual = v%d, .residual_zero = %s, .residual_factor = %s"):format(step.residual,
      zero_text(w, step.residual), literal(bytes.ratio(w.values, step.residual, step.output))))
  return name
end

local function window(w, step, i, kernel)
  w:use "window"
  local h, wide, c = table.unpack(w.shapes[step.input])
  local out, dilation = w.shapes[step.output], step.dilation or { 1, 1 }
  w:call("const struct window window_%d = { .rows = %d, .columns = %d, .channels = %d, .kernel_rows = %d,", i, h, wide,
    c, kernel[1])
  w:call("    .kernel_columns = %d, .down = %d, .right = %d, .top = %d, .left = %d, .dilation_down = %d,", kernel[2],
    step.stride[1], step.stride[2], step.padding[1], step.padding[3], dilation[1])
  w:call("    .dilation_right = %d, .out_rows = %d, .out_columns = %d, .zero = %d };", dilation[2], out[1], out[2],
    zero_of(w, step.input))
end

function STEPS.conv(w, step, y, i)
  local channels, outputs = step.channels[1], step.channels[2]
  local list, name = bytes.of(tensor(w, i, "weight")), ("weight_%d"):format(i)
  local follow = after(w, step, i)
  window(w, step, i, step.kernel)
  if step.method == "winograd" then
    if outputs % STRIP ~= 0 then
      raise("export_c: a Winograd convolution has %d output channels, wanted a multiple of %d", outputs, STRIP)
    end
    w:use "finish"
    w:use "winograd"
    w:array("int16_t", name, winograd_weights(list, channels, outputs))
    local tiles = (w.shapes[step.output][2] + 3) // 4
    enlarge(w, "CHANNELS", channels)
    enlarge(w, "TILES", tiles * channels)
    enlarge(w, "PRODUCTS", tiles * outputs)
    w:call("winograd(&window_%d, %d, v%d, %s, &%s, %s);", i, outputs, step.input, name, follow, y)
    return
  end
  w:use "sums"
  w:use "finish"
  w:use "finish_sums"
  local groups, taps = step.groups, step.kernel[1] * step.kernel[2] * channels // step.groups
  if groups > 1 and groups == channels and groups == outputs then
    w:use "convolve_each"
    w:array("int8_t", name, bytes.all_signed(list))
    w:call("convolve_each(&window_%d, v%d, %s, &%s, %s);", i, step.input, name, follow, y)
    return
  end
  w:use "patch"
  w:use "gather"
  enlarge(w, "PATCH", taps)
  local weights = by_output(list, taps, outputs, groups)
  w:array("int32_t", ("start_%d"):format(i), starts(weights, taps, zero_of(w, step.input)))
  if groups == 1 and taps < THIN then
    w:use "convolve_thin"
    w:array("int8_t", name, bytes.all_signed(list))
    w:call("convolve_thin(&window_%d, %d, v%d, %s, start_%d, &%s, %s);", i, outputs, step.input, name, i, follow, y)
    return
  end
  w:use "dot"
  w:use "convolve"
  w:array("int8_t", name, weights)
  w:call("convolve(&window_%d, %d, %d, v%d, %s, start_%d, &%s, %s);", i, groups, outputs, step.input, name, i, follow,
    y)
end

function STEPS.linear(w, step, y, i)
  w:use "sums"
  w:use "patch"
  w:use "dot"
  w:use "dense"
  local inputs, outputs = step.channels[1], step.channels[2]
  local weights = by_output(bytes.of(tensor(w, i, "weight")), inputs, outputs, 1)
  w:array("int8_t", ("weight_%d"):format(i), weights)
  w:array("int32_t", ("start_%d"):format(i), starts(weights, inputs, zero_of(w, step.input)))
  enlarge(w, "PATCH", inputs)
  local follow = after(w, step, i)
  w:call("dense(%d, %d, v%d, weight_%d, start_%d);", inputs, outputs, step.input, i, i)
  if step.floats then
    w:use "give_floats"
    w:call("give_floats(&%s, %d, %s);", follow, outputs, y)
  else
    w:use "finish"
    w:use "finish_sums"
    w:call("finish_sums(&%s, %d, 0, 0, %s);", follow, outputs, y)
  end
end

function STEPS.max_pool(w, step, y, i)
  w:use "max_pool"
  window(w, step, i, step.kernel)
  w:call("max_pool(&window_%d, v%d, %s);", i, step.input, y)
end

function STEPS.avg_pool(w, step, y, i)
  w:use "mean_pool"
  window(w, step, i, step.kernel)
  w:array("float", ("means_%d"):format(i), { 0, table.unpack(bytes.means(w.values, step)) })
  w:call("mean_pool(&window_%d, %d, means_%d, %s, v%d, %s);", i, step.count_include_pad and 1 or 0, i,
    zero_text(w, step.output), step.input, y)
end

function STEPS.global_avg_pool(w, step, y)
  w:use "mean_of_all"
  local pixels, channels = w:image(step.input)
  w:call("mean_of_all(%d, %d, %d, %s, %s, v%d, %s);", pixels, channels, zero_of(w, step.input),
    literal(bytes.mean(w.values, step, pixels)), zero_text(w, step.output), step.input, y)
end

function STEPS.global_max_pool(w, step, y)
  w:use "max_of_all"
  local pixels, channels = w:image(step.input)
  w:call("max_of_all(%d, %d, v%d, %s);", pixels, channels, step.input, y)
end

local function sum(w, step, y, sign)
  w:use "add"
  local a, b = step.inputs[1], step.inputs[2]
  local a_factor, b_factor = bytes.ratio(w.values, a, step.output), bytes.ratio(w.values, b, step.output)
  w:call("add(%d, v%d, %d, %s, v%d, %d, %s,", w:count(step.output), a, zero_of(w, a), literal(a_factor), b,
    zero_of(w, b), literal(sign * b_factor))
  w:call("    %d, %s, %s);", step.relu and 1 or 0, zero_text(w, step.output), y)
end

function STEPS.add(w, step, y) sum(w, step, y, 1) end
function STEPS.subtract(w, step, y) sum(w, step, y, -1) end

function STEPS.multiply(w, step, y)
  w:use "multiply"
  local a, b = step.inputs[1], step.inputs[2]
  w:call("multiply(%d, v%d, %d, %d, v%d, %d, %s, %s, %s);", w:count(a), a, zero_of(w, a), w:count(b), b, zero_of(w, b),
    literal(bytes.product(w.values, step)), zero_text(w, step.output), y)
end

function STEPS.cat(w, step, y)
  w:use "place"
  local _, all = w:image(step.output)
  local to, at = w.values[step.output], 0
  for _, value in ipairs(step.inputs) do
    local pixels, channels = w:image(value)
    local own = w.values[value]
    local same = own.scale == to.scale and own.zero == to.zero
    w:call("place(%d, %d, %d, v%d, %d, %d, %s, %s, %s + %d);", pixels, channels, all, value, same and 1 or 0, own.zero,
      literal(bytes.ratio(w.values, value, step.output)), zero_text(w, step.output), y, at)
    at = at + channels
  end
end

function STEPS.lookup(w, step, y, i)
  w:use "look_up"
  w:array("uint8_t", ("table_%d"):format(i), bytes.of(tensor(w, i, "table")))
  w:call("look_up(%d, table_%d, v%d, %s);", w:count(step.input), i, step.input, y)
end

function STEPS.flatten(w, step, y)
  w:use "copy"
  w:call("copy(%d, v%d, %s);", w:count(step.input), step.input, y)
end

function STEPS.dequantize(w, step, y)
  w:use "dequantize"
  w:call("dequantize(%d, %d, %s, v%d, %s);", w:count(step.input), zero_of(w, step.input),
    literal(w.values[step.input].scale), step.input, y)
end

-- -- the whole --------------------------------------------------------------------------------------------------------

local READ_IMAGE = [[
/* What bytes of an image are as values of the network: normalized and rounded. */
static void read_image(const uint8_t *image, uint8_t *y)
{
  int i, c;
  for (i = 0; i < @PIXELS@; i++)
    for (c = 0; c < @CHANNELS@; c++) *y++ = pixel[c * 256 + *image++];
}
]]

-- Bytes of the arrays that functions work in.
local function work_bytes(w)
  local s = w.sizes
  local all = 8 * s.OUTPUTS + (w.used.dot and 2 * s.PATCH or 0)
  if w.used.winograd then
    all = all + 2 * 36 * (2 * s.CHANNELS + s.TILES) + 4 * 36 * s.PRODUCTS + s.CHANNELS
  end
  return all
end

--- The network as C: what texres.export.c_float's write returns.
function c_bytes.write(one)
  local section, tensors = one.quantized.section, one.quantized.tensors
  local shapes, sizes = {}, {}
  for value, own in ipairs(section.values) do
    shapes[value], sizes[value] = own.shape, own.scale and subject.count(own.shape) or 0 -- floats lie in scores
  end
  local w = Writer.new(shapes)
  w.values, w.tensors = section.values, tensors
  w.sizes = { OUTPUTS = 1, PATCH = 1, CHANNELS = 1, TILES = 1, PRODUCTS = 1 }
  local places = arena(section, sizes, {}, ALIGN)
  local first = section.steps[1]
  w:array("uint8_t", "pixel", bytes.pixels(one, section.values[first.output]))
  for i, step in ipairs(section.steps) do
    local y = "scores"
    if section.values[step.output].scale then
      y = ("v%d"):format(step.output)
      if i > 1 then w:comment(step) end
      w:call("uint8_t *%s = memory + %d;", y, places.offset[step.output])
    end
    if i == 1 then
      w:call("read_image(image, %s);", y)
    elseif not STEPS[step.op] then
      raise("export_c: there is no function in C for a quantized %s", plain.text(step.op))
    else
      STEPS[step.op](w, step, y, i)
    end
  end
  local pixels, channels = w:image(1)
  local head = {
    functions.text(w.used, w.sizes), ("static TEXRES_THREAD uint8_t memory[%d];\n"):format(places.size),
    table.concat(w.arrays, "\n"), c_text.fill(READ_IMAGE, { PIXELS = pixels, CHANNELS = channels }),
  }
  return {
    declarations = table.concat(head, "\n"), body = table.concat(w.calls, "\n"), memory = places.size + work_bytes(w),
    constants = w.constants, tolerance = "0",
    numbers = "8 bits; scores are those of texres bit by bit", flags = "with gcc -march=native is fastest",
  }
end

return c_bytes
