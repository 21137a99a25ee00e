--- A network in 8 bits, as classifier:quantize makes it (texres.quantize): images in f32 go in, f32 comes out, and in
-- between layers pass bytes to one another.
--
-- It is made of sections, each of which takes what the one before gives. A quantized section runs as one program in the
-- core (csrc/kernels/quantized.h defines its arithmetic, the same bits with every instruction set, number of threads
-- and size of the batch); a section in f32 holds the layers that are not known as integers. Sections are described by
-- plain data; their tensors are buffers of this module, so that it is saved and loaded as others are.
--
-- A quantized section is { input = {H,W,C}, output = value, values = {...}, steps = {...} }. Values are numbered, 1 is
-- what is given in f32. A value of bytes q is { scale =, zero =, shape = {H,W,C} }, worth scale * (q - zero); one of
-- floats is { shape = }. The steps, each of which makes the value `output`:
--
--     quantize         input: f32 to bytes: nearest(min(max(x * (float)(1 / scale) + zero, 0), 255))
--     dequantize       input: bytes to f32: (float)(q - zero) * (float)scale
--     conv             input, kernel {R,S}, channels {C,K}, stride, padding {top, bottom, left, right}, dilation,
--                      groups, relu, residual, residual_last, method "direct" or "winograd"
--     linear           input, channels {C,K}, relu; floats: it gives f32, without rounding to bytes
--     max_pool         input, kernel, stride, padding: of bytes; padding never wins
--     avg_pool         input, kernel, stride, padding, count_include_pad:
--                      t = (float)(sum of (q - zero)) * (float)(scale of input / (scale of output * count))
--     global_avg_pool  input: the same over all pixels; global_max_pool: of bytes
--     flatten          input
--     add, subtract    inputs {a, b}, relu: t = (float)(qa - za) * fa + (float)(qb - zb) * fb, f = (float)(scale /
--                      scale of output), with a minus for the second of subtract; max(t, 0) with relu
--     cat              inputs: t = (float)(q - z) * f of each, along the channels; bytes are copied where scale and
--                      zero are those of the output
--     multiply         inputs {a, b}, b of the same shape or {1,1,C}:
--                      t = (float)((qa - za) * (qb - zb)) * (float)(scale of a * scale of b / scale of output)
--     lookup           input: what its table has for each byte
--
-- where t is given as nearest(min(max(t + zero, 0), 255)), nearest rounding halves to even. Quotients of scales are
-- computed in double precision from left to right, then rounded to f32. Tensors of step i, by name:
--
--     step.i.weight    bytes: direct {R,S,C/groups,K}, of linear {C,K}, two's complement in 8 bits; winograd
--                      {36,C,K,2}: 16 bits, little-endian
--     step.i.factor    f32 {K}, winograd {36,K}: scale of input * scale of the weight / scale of output
--     step.i.shift     f32 {K}: bias / scale of output; with floats there is no scale of output
--     step.i.table     bytes {256}

local core = require "texres.core"
local lowered = require "texres.lowered"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"

--- Quantized(description, {modules}): a network in 8 bits of such a description, all of its numbers 0: texres.load and
-- classifier:quantize make one. `description`: { method = how the ranges were found, sections = {...} }; modules: those
-- that sections in f32 call.
local Quantized = module.register("Quantized", module.Module "Quantized")

local ELEMENTS = 36 -- of a Winograd tile

-- What is wrong with a file's description is found where the program is made, but for what memory is taken by.
local SECTIONS = option.kind("{ sections = {...} }", function(value)
  return type(value) == "table" and type(value.sections) == "table"
end)

-- The tensors of a quantized step: name -> { dtype, sizes... }.
local function tensors_of(step)
  if step.op == "lookup" then return { table = { "u8", 256 } } end
  if step.op ~= "conv" and step.op ~= "linear" then return {} end
  local c, k = step.channels[1], step.channels[2]
  local weight, factor = { "u8", c, k }, { "f32", k }
  if step.method == "winograd" then
    weight, factor = { "u8", ELEMENTS, c, k, 2 }, { "f32", ELEMENTS, k }
  elseif step.op == "conv" then
    weight = { "u8", step.kernel[1], step.kernel[2], c // step.groups, k }
  end
  return { weight = weight, factor = factor, shift = { "f32", k } }
end

-- Calls visit(section, name, dtype, shape) for every tensor that a description asks for.
local function each_tensor(description, visit)
  for s, section in ipairs(description.sections) do
    for i, step in ipairs(section.steps) do
      local function tell(name, dtype, ...) visit(s, ("step.%d.%s"):format(i, name), dtype, { ... }) end
      if section.floats then
        for name, shape in pairs(step.shapes) do tell(name, "f32", table.unpack(shape)) end
      else
        for name, row in pairs(tensors_of(step)) do tell(name, table.unpack(row)) end
      end
    end
  end
end

function Quantized:init(description, items)
  rawset(self, "_description", option.check("Quantized", "description", description, SECTIONS))
  self.items = items or {}
  self.tensors = {}
  for s in ipairs(description.sections) do self.tensors[s] = {} end
  each_tensor(description, function(s, name, dtype, shape)
    self.tensors[s][name] = core.zeros(shape, { dtype = dtype })
  end)
  self:eval()
end

function Quantized:constructor_arguments() return { self._description, self.items, n = 2 } end

-- Data of a file, whose lists have the keys "1", "2", ...
local function with_numbers(data)
  if type(data) ~= "table" then return data end
  local list = {}
  for key, value in pairs(data) do list[math.tointeger(tonumber(key)) or key] = with_numbers(value) end
  return list
end

function Quantized.weight_count(description)
  local count = 0.0
  each_tensor(with_numbers(description), function(_, _, _, shape)
    local n = 1.0
    for _, size in ipairs(shape) do n = n * size end
    count = count + n
  end)
  return count
end

--- How it was quantized, and how many convolutions and dense layers are done in bytes, and how many layers are not.
function Quantized:describe()
  local products, others = 0, 0
  for _, section in ipairs(self._description.sections) do
    for _, step in ipairs(section.steps) do
      if section.floats then
        others = others + 1
      elseif step.op == "conv" or step.op == "linear" then
        products = products + 1
      end
    end
  end
  return ("Quantized(%s: %d layers in 8 bits%s)"):format(self._description.method, products,
    others > 0 and (", %d in f32"):format(others) or "")
end

-- -- running ----------------------------------------------------------------------------------------------------------

-- The steps of a section in f32 with their tensors.
local function floating(section, tensors, items)
  local steps = {}
  for i, data in ipairs(section.steps) do
    local step = setmetatable({ item = items[data.item] }, { __index = data })
    for name in pairs(data.shapes) do step[name] = tensors[("step.%d.%s"):format(i, name)] end
    steps[i] = step
  end
  return { steps = steps, output = section.output }
end

-- Tensors of bytes and f32, also of a network that was converted to f64, where they have the same values.
local function of_core(tensors)
  local own = {}
  for name, t in pairs(tensors) do own[name] = t.dtype == "f64" and t:to "f32" or t end
  return own
end

local made = setmetatable({}, { __mode = "k" }) -- module -> { programs..., tensors, versions }

-- Whether programs were made of the tensors as they are now.
local function is_current(own, self)
  for i, t in ipairs(own.tensors) do
    if t:version() ~= own.versions[i] then return false end
  end
  return own.of == self.tensors
end

local function programs_of(self)
  local own = made[self]
  if own and is_current(own, self) then return own end
  own = { tensors = self:buffers(), versions = {}, of = self.tensors }
  for i, t in ipairs(own.tensors) do own.versions[i] = t:version() end
  for s, section in ipairs(self._description.sections) do
    local tensors = self.tensors[s]
    if section.floats then
      own[s] = floating(section, tensors, self.items)
    else
      own[s] = core.quantized_program(section, of_core(tensors))
    end
  end
  made[self] = own
  return own
end

--- What it was made of: its description, and the tensors of each section by name.
function Quantized:parts() return self._description, self.tensors end

function Quantized:forward(x)
  if not core.is_tensor(x) then raise("Quantized: x is %s, wanted images {N,H,W,C}", option.shown(x)) end
  x = x:detach()
  for s, program in ipairs(programs_of(self)) do
    if self._description.sections[s].floats then -- in f64 where the network was converted
      x = lowered.run(program, x:to(module.float_dtype(self)))
    else
      x = program:run(x:to "f32":contiguous())
    end
  end
  return x
end

--- A network of what texres.quantize has built: descriptions of sections, tables of their tensors, modules.
local function of(method, descriptions, tensors, items)
  local self = Quantized({ method = method, sections = descriptions }, items)
  for s, own in ipairs(tensors) do
    for name, t in pairs(own) do self.tensors[s][name] = t:contiguous() end
  end
  return self
end

return { Quantized = Quantized, of = of }
