--- The steps of a network in f32 as C: functions, arrays of weights, and calls.

local arena = require "texres.export.arena"
local c_text = require "texres.export.c_text"
local functions = require "texres.export.c_float_functions"
local raise = require "texres.raise"
local Writer = require "texres.export.c_writer"
local subject = require "texres.export.subject"

local c_float = {}

local ALIGN = 16 -- floats, of places in memory
local TOLERANCE = 1e-4 -- of scores, as a part of the largest

-- -- how wide panels are ----------------------------------------------------------------------------------------------

local PIXELS = 4

-- The lanes of a panel: as many as vectors hold where little of the last panels is filled with zeros.
local function lanes_of(program)
  local function work(lanes)
    local sum = 1
    for _, step in ipairs(program.steps) do
      if step.op == "conv" then
        local out, width = program.shapes[step.output], step.weight:size(4) // step.groups
        sum = sum + out[1] * out[2] * step.weight:numel() // width * ((width + lanes - 1) // lanes * lanes)
      end
    end
    return sum
  end
  local lanes = 32
  while lanes > 4 and work(lanes) > 1.3 * work(lanes // 2) do lanes = lanes // 2 end
  return lanes
end

-- -- steps ------------------------------------------------------------------------------------------------------------
--
-- STEPS[op](w, step, y) writes a step that makes value y. w: the writer below.

local STEPS = {}

local function zeros(n)
  local list = {}
  for i = 1, n do list[i] = 0 end
  return list
end

local function floats_of(tensor) return tensor:detach():to("f32"):contiguous():reshape(-1):totable() end

-- What follows a layer: the residual and ReLU, in their order.
local function after(w, step, y)
  local n = w:count(step.output)
  local function add()
    if not step.residual then return end
    w:use "add"
    w:call("add(%d, v%d, %s);", n, step.residual, y)
  end
  if not step.residual_last then add() end
  if step.relu then
    w:use "relu"
    w:call("apply_relu(%d, %s, %s);", n, y, y)
  end
  if step.residual_last then add() end
end

-- Weights {R,S,C/groups,K} as panels of `lanes` outputs.
local function panels(step, lanes)
  local r, s, c, k = table.unpack(step.weight:shape())
  local taps, width, list = r * s * c, k // step.groups, {}
  local values = floats_of(step.weight)
  for g = 0, step.groups - 1 do
    for first = 0, width - 1, lanes do
      for tap = 0, taps - 1 do
        local from = tap * k + g * width + first
        for lane = 1, lanes do
          list[#list + 1] = first + lane <= width and values[from + lane] or 0
        end
      end
    end
  end
  return list
end

local function is_depthwise(step)
  return step.groups > 1 and step.groups == step.weight:size(4) and step.weight:size(3) == 1
end

local function has_border(padding)
  return padding[1] > 0 or padding[2] > 0 or padding[3] > 0 or padding[4] > 0
end

local function pad(w, step, i)
  local h, wide, c = table.unpack(w.shapes[step.input])
  local top, bottom, left, right = table.unpack(step.padding)
  if not has_border(step.padding) then return ("v%d"):format(step.input) end
  w:use "pad"
  w:call("pad(%d, %d, %d, %d, %d, %d, %d, v%d, memory + %d);", h, wide, c, top, bottom, left, right, step.input,
    w.places.work[i])
  return ("memory + %d"):format(w.places.work[i])
end

function STEPS.conv(w, step, y, i)
  local r, s, _, k = table.unpack(step.weight:shape())
  local _, wide, c = table.unpack(w.shapes[step.input])
  local out, depthwise = w.shapes[step.output], is_depthwise(step)
  local name = depthwise and "convolve_each" or "convolve"
  w:use(name)
  local values = depthwise and floats_of(step.weight) or panels(step, w.lanes)
  local weight = w:array("float", ("weight_%d"):format(i), values)
  local bias = w:array("float", ("bias_%d"):format(i), step.bias and floats_of(step.bias) or zeros(k))
  local image = pad(w, step, i)
  w:call("%s(&(const struct %s){ .columns = %d, .channels = %d, .kernel_rows = %d, .kernel_columns = %d,", name,
    depthwise and "depthwise" or "convolution", wide + step.padding[3] + step.padding[4], c, r, s)
  w:call("    .down = %d, .right = %d, .dilation_down = %d, .dilation_right = %d,%s", step.stride[1], step.stride[2],
    step.dilation[1], step.dilation[2], depthwise and "" or (" .groups = %d,"):format(step.groups))
  w:call("    .out_rows = %d, .out_columns = %d%s }, %s, %s, %s, %s);", out[1], out[2],
    depthwise and "" or (", .outputs = %d"):format(k), image, weight, bias, y)
  after(w, step, y)
end

function STEPS.linear(w, step, y, i)
  local c, k = table.unpack(step.weight:shape())
  w:use "dense"
  local weight = w:array("float", ("weight_%d"):format(i), floats_of(step.weight))
  local bias = w:array("float", ("bias_%d"):format(i), step.bias and floats_of(step.bias) or zeros(k))
  w:call("dense(%d, %d, v%d, %s, %s, %s);", c, k, step.input, weight, bias, y)
  after(w, step, y)
end

function STEPS.scale(w, step, y, i)
  w:use "scale"
  local pixels, channels = w:image(step.input)
  local factor = w:array("float", ("factor_%d"):format(i), floats_of(step.factor))
  local shift = w:array("float", ("shift_%d"):format(i), floats_of(step.shift))
  w:call("scale(%d, %d, v%d, %s, %s, %s);", pixels, channels, step.input, factor, shift, y)
  after(w, step, y)
end

function STEPS.activation(w, step, y)
  if not functions.is_activation(step.kind) then raise("export_c: there is no activation %s in C", step.kind) end
  w:use(step.kind)
  local slope = functions.has_slope(step.kind) and c_text.float(step.slope) .. ", " or ""
  w:call("apply_%s(%d, %sv%d, %s);", step.kind, w:count(step.input), slope, step.input, y)
end

local function pool(w, step, y, how)
  w:use "pool"
  local h, wide, c = table.unpack(w.shapes[step.input])
  local out = w.shapes[step.output]
  w:call("pool(&(const struct pooling){ .rows = %d, .columns = %d, .channels = %d, .kernel_rows = %d,", h, wide, c,
    step.kernel[1])
  w:call("    .kernel_columns = %d, .down = %d, .right = %d, .top = %d, .left = %d,", step.kernel[2], step.stride[1],
    step.stride[2], step.padding[1], step.padding[3])
  w:call("    .out_rows = %d, .out_columns = %d }, '%s', v%d, %s);", out[1], out[2], how, step.input, y)
end

function STEPS.max_pool(w, step, y) pool(w, step, y, "x") end
function STEPS.avg_pool(w, step, y) pool(w, step, y, step.count_include_pad == false and "i" or "m") end

local function pool_all(w, step, y, how)
  w:use "pool_all"
  local pixels, channels = w:image(step.input)
  w:call("pool_all('%s', %d, %d, v%d, %s);", how, pixels, channels, step.input, y)
end

function STEPS.global_max_pool(w, step, y) pool_all(w, step, y, "x") end
function STEPS.global_avg_pool(w, step, y) pool_all(w, step, y, "m") end

function STEPS.flatten(w, step, y)
  w:use "copy"
  w:call("copy(%d, v%d, %s);", w:count(step.input), step.input, y)
end

function STEPS.add(w, step, y)
  w:use "copy"
  w:use "add"
  local n = w:count(step.output)
  w:call("copy(%d, v%d, %s);", n, step.inputs[1], y)
  w:call("add(%d, v%d, %s);", n, step.inputs[2], y)
  after(w, { output = step.output, relu = step.relu }, y)
end

function STEPS.cat(w, step, y)
  w:use "place"
  local _, all = w:image(step.output)
  local at = 0
  for _, value in ipairs(step.inputs) do
    local pixels, channels = w:image(value)
    w:call("place(%d, %d, %d, v%d, %s + %d);", pixels, channels, all, value, y, at)
    at = at + channels
  end
end

-- How far the pixels and the channels of a value lie apart that goes with one of `pixels` and `channels`.
local function strides(w, value, pixels, channels, op)
  local own, depth = w:image(value)
  if (own ~= pixels and own ~= 1) or (depth ~= channels and depth ~= 1) then
    raise("export_c: %s of a value of %s, which goes with other pixels or channels one by one or all of them", op,
      c_text.shape(w.shapes[value]))
  end
  return own == 1 and 0 or depth, depth == 1 and 0 or 1
end

local function combine(w, step, y, how)
  w:use "combine"
  local pixels, channels = w:image(step.output)
  local x = { ("v%d"):format(step.inputs[1]), strides(w, step.inputs[1], pixels, channels, step.op) }
  for i = 2, #step.inputs do
    local own_pixel, own_channel = strides(w, step.inputs[i], pixels, channels, step.op)
    w:call("combine('%s', %d, %d, %s, %d, %d, v%d, %d, %d, %s);", how, pixels, channels, x[1], x[2], x[3],
      step.inputs[i], own_pixel, own_channel, y)
    x = { y, channels, 1 }
  end
end

function STEPS.multiply(w, step, y) combine(w, step, y, "*") end
function STEPS.subtract(w, step, y) combine(w, step, y, "-") end

-- -- the whole --------------------------------------------------------------------------------------------------------

local function work_of(program)
  local sizes = {}
  for i, step in ipairs(program.steps) do
    if step.op == "conv" and has_border(step.padding) then
      local h, wide, c = table.unpack(program.shapes[step.input])
      local top, bottom, left, right = table.unpack(step.padding)
      sizes[i] = (h + top + bottom) * (wide + left + right) * c
    end
  end
  return sizes
end

--- The network as C: { declarations, body, memory = in bytes, constants = in bytes, tolerance,
-- numbers = and flags = in words }; the body writes `scores`.
function c_float.write(one)
  local program = one.program
  local sizes = {}
  for value, shape in pairs(program.shapes) do sizes[value] = subject.count(shape) end
  local w = Writer.new(program.shapes)
  w.lanes, w.places = lanes_of(program), arena(program, sizes, work_of(program), ALIGN)
  for i, step in ipairs(program.steps) do
    w:comment(step)
    w:call("float *v%d = memory + %d;", step.output, w.places.offset[step.output])
    STEPS[step.op](w, step, ("v%d"):format(step.output), i)
  end
  w:use "copy"
  w:call("copy(CLASSES, v%d, scores);", program.output)
  local h, wide, c = table.unpack(one.input)
  local n = one.normalization
  local head = {
    ("enum { LANES = %d, PIXELS = %d };\n"):format(w.lanes, PIXELS),
    ("static TEXRES_THREAD float memory[%d];\n"):format(w.places.size),
    c_text.floats("mean", n.mean), c_text.floats("factor", n.factor), table.concat(w.arrays, "\n"),
    functions.text(w.used, w.lanes),
    ([[
/* What bytes are worth, normalized. */
static void read_image(const uint8_t *image, float *y)
{
  int i, c;
  for (i = 0; i < %d; i++)
    for (c = 0; c < %d; c++, image++, y++) *y = ((float)*image * %s - mean[c]) * factor[c];
}
]]):format(h * wide, c, c_text.float(n.scale)),
  }
  local body = ("  float *v1 = memory + %d;\n  read_image(image, v1);\n"):format(w.places.offset[1])
    .. table.concat(w.calls, "\n")
  return {
    declarations = table.concat(head, "\n"), body = body, memory = 4 * w.places.size, constants = w.constants,
    tolerance = c_text.float(TOLERANCE),
    numbers = "f32; scores are those of texres to within 1e-4 of the largest",
    flags = "with gcc -march=native -ffp-contract=fast is fastest",
  }
end

return c_float
