--- ONNX: export, for running a trained network elsewhere, and import of networks from elsewhere.
--
--     local net, info = assert(tr.onnx.import "resnet18.onnx")    -- see texres.onnx.import
--
--     assert(tr.onnx.export("net.onnx", net, { input = { 64, 64, 1 } }))
--
-- The file takes "images" {N,H,W,C} f32, any N, as texres does, and gives "logits" {N,...}; batch norm and dropout are
-- written as in evaluation. Inside, images are channels first ({N,C,H,W}), which ONNX wants of convolutions. On request
-- it takes bytes as a camera gives them, and gives "probabilities" {N,K}: then nothing is left to do around it.
--
-- A module of your own is written by its method to_onnx(graph, x), which adds nodes and returns a value:
--
--     function Own:to_onnx(graph, x) return graph:node("Relu", { graph:module(self.conv, x) }, {}, x) end
--
-- A value is a table {name=, dims=, channels_first=}. The graph offers node(operator, inputs, attributes, like),
-- constant(module, name, tensor), number(value), integers(list), floats(list), module(module, x), channels_first(x),
-- channels_last(x), and input_shape(module).
-- https://onnx.ai/onnx/repo-docs/IR.html; operator set 17.

local core = require "texres.core"
local json = require "texres.json"
local plain = require "texres.plain"
local raise = require "texres.raise"
local option = require "texres.options"
local plan = require "texres.nn.plan"
local module = require "texres.nn.module"
local protobuf = require "texres.onnx.protobuf"
local strict = require "texres.strict"

local onnx = {}

local IR_VERSION, OPERATOR_SET = 8, 17
local FLOAT, UINT8, INT64 = 1, 2, 7 -- of TensorProto.DataType
local attribute_types = { float = 1, int = 2, string = 3, ints = 7 }

-- The graph
-- -------------------------------------------------------------------------------------------------------------

local Graph = strict.class("an ONNX graph", {})

local function attribute(name, value)
  local m = protobuf.message():text(1, name)
  local kind = type(value) == "table" and "ints" or math.type(value) == "float" and "float"
    or math.type(value) == "integer" and "int" or "string"
  if kind == "float" then
    m:float(2, value)
  elseif kind == "int" then
    m:integer(3, value)
  elseif kind == "string" then
    m:text(4, value)
  else
    for _, item in ipairs(value) do m:integer(8, item) end
  end
  return m:integer(20, attribute_types[kind])
end

-- `name`, or one like it that nothing in the graph has yet.
local function free_name(self, name)
  while self.taken[name] do name = name .. "_" end
  self.taken[name] = true
  return name
end

--- Adds a node with one output; `inputs` are values (false or nil at the end for none), `like` says the layout of the
-- output: {dims=, channels_first=} or a value; `name` (optional) is its name. Returns the output.
function Graph:node(operator, inputs, attributes, like, name)
  self.count = self.count + 1
  name = free_name(self, name or ("%s_%d"):format(operator:lower(), self.count))
  local m = protobuf.message()
  for _, input in ipairs(inputs) do
    if input then m:text(1, input.name) end
  end
  m:text(2, name):text(3, name):text(4, operator)
  for _, key in ipairs(plain.names(attributes)) do m:message(5, attribute(key, attributes[key])) end
  self.message:message(1, m)
  return { name = name, dims = like.dims, channels_first = like.channels_first }
end

-- A constant of `owner`, once. Names are those of the state; only modules that stand outside of it can have the same.
local function add_constant(self, owner, name, t)
  local own = self.constants[owner] or {}
  self.constants[owner] = own
  if own[name] then return own[name] end
  local free = free_name(self, name)
  own[name] = { name = free, dims = t:dim() }
  local whole = t.dtype == "i64"
  t = t:detach():to(whole and "i64" or "f32"):contiguous()
  local m = protobuf.message()
  for _, size in ipairs(t:shape()) do m:integer(1, size) end
  m:integer(2, whole and INT64 or FLOAT):text(8, free):tensor(9, t, t:numel() * (whole and 8 or 4))
  self.initializers[#self.initializers + 1] = m
  return own[name]
end

--- A tensor of a module as a constant, named as in its state.
function Graph:constant(m, name, t)
  local path = self.names[m]
  return add_constant(self, m, path and path ~= "" and path .. "." .. name or name, t)
end

--- A number as a constant f32 without dimensions.
function Graph:number(value)
  return add_constant(self, self, plain.format("number %.9g", value), core.tensor(value))
end

--- A constant f32 {n} in which each element is the number.
function Graph:numbers(n, value)
  return add_constant(self, self, plain.format("%d x %.9g", n, value), core.full({ n }, value))
end

--- A list of numbers as a constant f32.
function Graph:floats(list)
  return add_constant(self, self, "numbers " .. plain.numbers(list, " "), core.tensor(list))
end

--- A list of whole numbers as a constant i64, as ONNX takes shapes and axes.
function Graph:integers(list)
  return add_constant(self, self, "integers " .. table.concat(list, " "), core.tensor(list, { dtype = "i64" }))
end

local function transpose(self, x, order, channels_first)
  return self:node("Transpose", { x }, { perm = order }, { dims = 4, channels_first = channels_first })
end

--- The value with channels before rows and columns, as ONNX' image operators want it.
function Graph:channels_first(x)
  if x.dims ~= 4 then raise("onnx: images {N,H,W,C} were expected, a value has %d dimensions", x.dims) end
  return x.channels_first and x or transpose(self, x, { 0, 3, 1, 2 }, true)
end

--- The value with channels last, as texres has it.
function Graph:channels_last(x)
  return x.channels_first and transpose(self, x, { 0, 2, 3, 1 }, false) or x
end

-- Two values in the same layout: channels last unless both are channels first.
local function alike(graph, a, b)
  if a.channels_first and b.channels_first then return a, b end
  return graph:channels_last(a), graph:channels_last(b)
end

local function add_sum(graph, body, aside)
  if body.channels_first then aside = graph:channels_first(aside) end -- so that the network stays channels first
  body, aside = alike(graph, body, aside)
  return graph:node("Add", { body, aside }, {}, body)
end

local function add_cat(graph, outputs)
  for i, output in ipairs(outputs) do
    if output.dims == 4 then outputs[i] = graph:channels_first(output) end
  end
  return graph:node("Concat", outputs, { axis = outputs[1].channels_first and 1 or outputs[1].dims - 1 }, outputs[1])
end

local function add_product(graph, inputs)
  local product = inputs[1]
  for i = 2, #inputs do
    local a, b = alike(graph, product, inputs[i])
    product = graph:node("Mul", { a, b }, {}, a)
  end
  return product
end

local function add_difference(graph, inputs)
  local a, b = alike(graph, inputs[1], inputs[2])
  return graph:node("Sub", { a, b }, {}, a)
end

local JOINS = { cat = add_cat, multiply = add_product, subtract = add_difference } -- as in texres.nn.plan

--- The shape of what a module is given, {1,H,W,C} of images; nil where it is not called, or with several.
function Graph:input_shape(m) return self.shapes[m] or nil end

local function own_writer(m) return module.member_beside(m, "to_onnx", "forward") end

--- Adds the steps of a container; returns its output.
local function add_plan(graph, m, x)
  local values = { x }
  local traced = plan.trace(m, function(item) return plan.is_planned(item) and not own_writer(item) end)
  for _, step in ipairs(traced.steps) do
    local input = values[step.input]
    if step.item then
      values[step.output] = graph:module(step.item, input)
    elseif step.sum then
      values[step.output] = add_sum(graph, input, values[step.residual])
    else
      local inputs = {}
      for i, value in ipairs(step.inputs) do inputs[i] = values[value] end
      values[step.output] = JOINS[step.how](graph, inputs)
    end
  end
  return values[traced.output]
end

local IS_GRAPH = option.kind("a graph: call export_onnx", function(value) return getmetatable(value) == Graph end)
local IS_VALUE = option.kind("a value of the graph", function(value)
  return type(value) == "table" and value.name ~= nil
end)

--- Raises unless `graph` and `x` are what a method to_onnx of a layer is given.
function onnx.check_call(graph, x)
  option.check("to_onnx", "graph", graph, IS_GRAPH)
  option.check("to_onnx", "x", x, IS_VALUE)
end

--- Adds a module; returns its output.
function Graph:module(m, x)
  local write = own_writer(m)
  if write then return write(m, self, x) end
  if plan.is_planned(m) then return add_plan(self, m, x) end
  raise("onnx: %s cannot be exported; give it a method to_onnx(graph, x)", getmetatable(m).__name)
end

-- The file
-- --------------------------------------------------------------------------------------------------------------

-- A named value with elements of that type and these sizes; "N" stands for any number.
local function value_info(name, element, sizes)
  local shape = protobuf.message()
  for _, size in ipairs(sizes) do
    local dimension = protobuf.message()
    if size == "N" then dimension:text(2, size) else dimension:integer(1, size) end
    shape:message(1, dimension)
  end
  local tensor_type = protobuf.message():integer(1, element):message(2, shape)
  return protobuf.message():text(1, name):message(2, protobuf.message():message(1, tensor_type))
end

-- Bytes as floats in 0..1.
local function unit_of_bytes(graph, x)
  x = graph:node("Cast", { x }, { to = FLOAT }, x)
  return graph:node("Div", { x, graph:number(255) }, {}, x)
end

-- Logits {N,K} as probabilities.
local function probabilities(graph, y, temperature)
  if y.dims ~= 2 then
    raise("onnx.export: probabilities are made of logits {N,K}, the model's output has %d dimensions", y.dims)
  end
  if temperature ~= 1 then y = graph:node("Mul", { y, graph:number(1 / temperature) }, {}, y) end
  return graph:node("Softmax", { y }, { axis = 1 }, y)
end

-- x - mean, divided by std; each a number or one per channel (the last dimension).
local function normalize(graph, x, normalization)
  local function constant(name, value)
    return add_constant(graph, graph, name, core.tensor(type(value) == "table" and value or { value }))
  end
  if normalization.mean then x = graph:node("Sub", { x, constant("mean", normalization.mean) }, {}, x) end
  if normalization.std then x = graph:node("Div", { x, constant("std", normalization.std) }, {}, x) end
  return x
end

local function names_of(model)
  local names = {}
  for name, m in model:named_modules() do names[m] = name end
  return names
end

-- The shapes of what modules are given for an input of this one, false where there are several; and that of the output.
local function shapes_of(model, shape)
  local shapes = {}
  local function note(m, _, inputs)
    if not core.is_tensor(inputs[1]) then return end
    local own, before = inputs[1]:shape(), shapes[m]
    local same = before == nil or before and module.shape_text(before) == module.shape_text(own)
    shapes[m] = same and own
  end
  local y = module.watch(note, function() return module.try_on_zeros(model, shape) end)
  return shapes, y:shape()
end

local SHAPE = option.kind("the shape of one input {H,W,C}", "table")

local KNOWN = {
  input = option.table(), normalization = option.table(), classes = option.table(),
  pixels = option.choice("f32", { "f32", "u8" }), outputs = option.choice("logits", { "logits", "probabilities" }),
  temperature = option.number(1, "(0, inf)"),
}

--- Writes a model: export(path, model, {input = {H,W,C}, normalization=, classes=}). `input` is the shape of one input;
-- with `normalization` {mean=, std=} the file does it itself, so that it takes what normalization was computed from;
-- `classes` are kept in the file's metadata. True, or nil and a message. Besides, there are
--
--     pixels        "f32": what is normalized, as it is; "u8": bytes, which the file divides by 255 first
--     outputs       "logits", or "probabilities": the file ends with a softmax
--     temperature   1; what logits are divided by before it
function onnx.export(path, model, options)
  option.check("onnx.export", "the path", path, option.PATH)
  option.check("onnx.export", "model", model, module.IS_MODULE)
  local o = option.read("onnx.export", options, KNOWN)
  option.check("onnx.export", "input", o.input, SHAPE)
  local shapes, shape = shapes_of(model, { 1, table.unpack(o.input) })
  local graph = setmetatable({
    message = protobuf.message(), initializers = {}, constants = {}, count = 0, names = names_of(model),
    shapes = shapes, taken = { images = true, [o.outputs] = true },
  }, Graph)
  local x = { name = "images", dims = #o.input + 1 }
  if o.pixels == "u8" then x = unit_of_bytes(graph, x) end
  if o.normalization then x = normalize(graph, x, o.normalization) end
  local y = graph:channels_last(graph:module(model, x))
  if o.outputs == "probabilities" then y = probabilities(graph, y, o.temperature) end
  graph.taken[o.outputs] = nil -- it was kept for this
  graph:node("Identity", { y }, {}, y, o.outputs)
  local m = graph.message:text(2, rawget(model, "name") or "texres")
  for _, initializer in ipairs(graph.initializers) do m:message(5, initializer) end
  m:message(11, value_info("images", o.pixels == "u8" and UINT8 or FLOAT, { "N", table.unpack(o.input) }))
  m:message(12, value_info(o.outputs, FLOAT, { "N", table.unpack(shape, 2) }))
  local file = protobuf.message():integer(1, IR_VERSION):text(2, "texres"):message(7, m)
  file:message(8, protobuf.message():text(1, ""):integer(2, OPERATOR_SET))
  if o.classes then
    file:message(14, protobuf.message():text(1, "classes"):text(2, assert(json.encode(o.classes))))
  end
  return core.write_file(path, file.pieces)
end

--- Reads an ONNX file as a module: import(path) gives it and a table of what else the file tells, or nil and a message.
-- See texres.onnx.import.
function onnx.import(path) return require "texres.onnx.import"(path) end

return strict.table("texres.onnx", onnx)
