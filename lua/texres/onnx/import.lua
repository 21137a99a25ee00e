--- Reads an ONNX file as a module: texres.onnx.import.
--
-- The nodes are gone through once, in the order of the file; texres.onnx.operators says what each is. What comes of it
-- is a list of steps, which texres.onnx.structure brings into the form of containers.

local core = require "texres.core"
local architecture = require "texres.nn.architecture"
local checkpoint = require "texres.checkpoint"
local input = require "texres.input"
local json = require "texres.json"
local module = require "texres.nn.module"
local onnx_file = require "texres.onnx.file"
local operators = require "texres.onnx.operators"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local structure = require "texres.onnx.structure"
local may_name = require("texres.nn.container").may_name

local Import = {}
Import.__index = Import

local function fail(...) error(string.format(...), 0) end

--- Says what of a node is not known; does not return.
function Import:fail(node, ...) -- luacheck: no self
  fail("node %q (%s): %s", node.name, node.operator, string.format(...))
end

-- -- what a node reads ------------------------------------------------------------------------------------------------

--- Input i of a node, also one that waits for what follows.
function Import:any(node, i)
  local name = node.inputs[i]
  local x = name and self.values[name]
  if not x then
    self:fail(node, "input %d, %q, %s", i, name or "", self:is_constant(node, i) and "is a constant, wanted a value"
      or "is made by no node before")
  end
  return x
end

--- The value x, which must not wait for what follows.
function Import:ready(node, x)
  if x.waits then self:fail(node, "it reads a %s, which is known only as part of something else", x.waits) end
  return x
end

--- Input i of a node, a value; with `waiting`, also one that so waits: what it is of, and what it is so far.
function Import:value(node, i, waiting)
  local x = self:any(node, i)
  if waiting and x.waits == waiting then return x.of, x.what end
  return self:ready(node, x)
end

--- The value x, which must have that order.
function Import:want(node, x, order)
  if x.order == order then return x end
  return self:fail(node, "it reads what is no image with channels first")
end

function Import:is_constant(node, i) return self.file:has_tensor(node.inputs[i] or "") end

--- A constant input, new each time; nil where the input is left out.
function Import:constant(node, i)
  local name = node.inputs[i]
  if not name or name == "" then return nil end
  if not self:is_constant(node, i) then self:fail(node, "input %d, %q, is no constant", i, name) end
  return self.file:tensor(name)
end

--- The same of weights: of floats, with `dims` dimensions, none of them 0.
function Import:weight(node, i, dims)
  local t = self:constant(node, i)
  if not t or t.dtype ~= "f32" or t:dim() ~= dims or t:numel() == 0 then
    self:fail(node, "input %d is %s, wanted floats of %d dimensions", i,
      t and ("%s of shape %s"):format(t.dtype, module.shape_text(t:shape())) or "missing", dims)
  end
  return t
end

--- Whether nothing but this node reads the values that it reads, so that what made them may be changed.
function Import:only_reader(node)
  for i, name in ipairs(node.inputs) do
    if not self:is_constant(node, i) and self.reads[name] ~= 1 then return false end
  end
  return true
end

--- The step that made a value.
function Import:maker(id) return self.makers[id] end

-- -- what a node makes ------------------------------------------------------------------------------------------------

local function add(self, step, fields)
  self.count = self.count + 1
  step.output = self.count
  self.steps[#self.steps + 1], self.makers[step.output] = step, step
  fields.id, fields.step = step.output, step
  return fields
end

--- The value x with other fields. What made it is no longer known: others may read it under another name.
function Import:same(x, change) -- luacheck: no self
  local y = {}
  for key, value in pairs(x) do y[key] = value end
  y.step, y.raw = nil, nil
  for key, value in pairs(change) do y[key] = value end
  return y
end

-- What an item may be called, after the tensor "NAME.weight" of the file: "7.fc.weight" makes it "fc", and dots, which
-- would lead into other modules, become underscores.
local function item_name(self, node, i)
  local name = i and node.inputs[i]:gsub("^[%d.]+", ""):match "^(%a[%w_.]*)%.[%w_]+$"
  name = name and name:gsub("%.", "_")
  if not name or self.taken[name] or not may_name(name) then return nil end
  self.taken[name] = true
  return name
end

--- What a layer makes of x, which is like x but for `change`; it is called after input `named` of the node.
function Import:item(node, layer, x, change, named)
  self:ready(node, x)
  local step = { item = layer, name = item_name(self, node, named), input = x.id }
  local y = self:same({ dims = x.dims, order = x.order, channels = x.channels }, change or {})
  return add(self, step, y)
end

function Import:sum(x, y)
  return add(self, { sum = true, input = x.id, residual = y.id },
    { dims = x.dims, order = x.order, channels = x.channels or y.channels })
end

--- Several values as one; `how` they are joined as in texres.nn.plan.
function Import:join(how, values, fields)
  local inputs = {}
  for i, value in ipairs(values) do inputs[i] = value.id end
  return add(self, { how = how, inputs = inputs }, fields)
end

-- -- normalization ----------------------------------------------------------------------------------------------------

--- Whether x is still the input, which only this node reads.
function Import:is_input(node, x) return x.raw and self:only_reader(node) end

-- fn(a, b) of two numbers, or of numbers and lists of them.
local function each(fn, a, b)
  if type(a) == "number" and type(b) == "number" then return fn(a, b) end
  local list = {}
  for i = 1, type(a) == "table" and #a or #b do
    list[i] = fn(type(a) == "table" and a[i] or a, type(b) == "table" and b[i] or b)
  end
  return list
end

local function product(a, b) return a * b end
local function sum(a, b) return a + b end

--- Goes on with the normalization (x - mean) / std by a step of it: "subtract", "add", "divide" or "multiply".
function Import:normalize(how, by)
  local n = self.normalization or { mean = 0.0, std = 1.0 }
  self.normalization = n
  if how == "multiply" then by = each(function(a) return 1 / a end, by, 1) end
  if how == "add" then by = each(product, by, -1) end
  if how == "divide" or how == "multiply" then
    n.std = each(product, n.std, by)
  else
    n.mean = each(sum, n.mean, each(product, n.std, by))
  end
end

local UINT8 = 2 -- a type of elements

-- The normalization as a model's input has it: of images in 0..1, also where the file takes bytes.
local function normalization_of(self)
  local n = self.normalization
  if self.file.inputs[1].element ~= UINT8 then return n end
  n = n or { mean = 0.0, std = 1.0 }
  return { mean = each(product, n.mean, 1 / 255), std = each(product, n.std, 1 / 255) }
end

-- -- the input --------------------------------------------------------------------------------------------------------

local LARGEST = 1 << 20 -- pixels along a side, or channels: no data of the file stand behind them

local BEFORE = { Identity = true, Sub = true, Div = true, Add = true, Mul = true, Cast = true }

-- Whether images come with their channels last: what reads them turns them around, or we wrote the file.
local function is_last(self, name)
  if self.file.producer == "texres" then return true end
  for _, node in ipairs(self.file.nodes) do
    if node.inputs[1] == name or node.inputs[2] == name then
      if node.operator == "Transpose" then return table.concat(node.attributes.perm or {}, " ") == "0 3 1 2" end
      if not BEFORE[node.operator] then return false end
      name = node.outputs[1]
    end
  end
  return false
end

-- The value of the input, and {H,W,C} where the file tells these.
local function begin(self)
  local inputs = self.file.inputs
  if #inputs ~= 1 then fail("it has %d inputs, wanted one", #inputs) end
  local sizes = inputs[1].sizes or {}
  if #sizes ~= 2 and #sizes ~= 4 then
    fail("its input %q has %d dimensions, wanted images, which have 4, or {N,C}", inputs[1].name, #sizes)
  end
  for i = 2, #sizes do
    if sizes[i] and sizes[i] > LARGEST then fail("its input %q has a size of %d", inputs[1].name, sizes[i]) end
  end
  local first = #sizes == 4 and not is_last(self, inputs[1].name)
  local channels = sizes[first and 2 or #sizes] or nil
  local x = { id = 1, dims = #sizes, order = first and "first" or "same", channels = channels, raw = true }
  self.batch, self.values[inputs[1].name] = sizes[1], x
  if #sizes == 2 then return nil end
  local h, w, c = table.unpack(sizes, 2)
  if first then h, w, c = w, c, h end
  return h and w and c and { h, w, c } or nil
end

-- -- the whole --------------------------------------------------------------------------------------------------------

-- Raises for nodes whose operators are not known, all of them together.
local function check_operators(nodes)
  local names = {}
  for _, node in ipairs(nodes) do
    local known = type(operators[node.operator]) == "function" and (node.domain == "" or node.domain == "ai.onnx")
    if not known and #names < 8 then names[#names + 1] = ("%q (%s)"):format(node.name, node.operator) end
  end
  if #names > 0 then fail("not known: node %s", table.concat(names, ", node ")) end
end

local function count_reads(file)
  local reads = {}
  for _, node in ipairs(file.nodes) do
    for _, name in ipairs(node.inputs) do reads[name] = (reads[name] or 0) + 1 end
  end
  for _, output in ipairs(file.outputs) do reads[output.name] = (reads[output.name] or 0) + 1 end
  return reads
end

-- A node whose first input is a constant makes another one of it.
local function translate(self, node)
  local name = node.outputs[1] or ""
  if operators.of_constants[node.operator] and self:is_constant(node, 1) then
    self.file:add_tensor(name, operators.of_constants[node.operator](self, node))
  else
    self.values[name] = operators[node.operator](self, node)
  end
end

-- The output as a value of ours, whether there was a Softmax, and by what its logits were divided, nil for 1.
local function finish(self)
  local outputs = self.file.outputs
  if #outputs ~= 1 then fail("it has %d outputs, wanted one", #outputs) end
  local y = self.values[outputs[1].name]
  if not y then fail("its output %q is made by no node", outputs[1].name) end
  local softmax, temperature = y.waits == "Softmax", nil
  if softmax then y, temperature = y.of, y.what end
  if y.waits or y.order == "blocks" then
    fail("its output %q is %s, which is known only as part of something else", outputs[1].name,
      y.waits or "what a Flatten of images makes")
  end
  return y, softmax or nil, temperature
end

local function classes_of(file)
  if not file.metadata.classes then return nil end
  local classes, problem = json.decode(file.metadata.classes)
  if type(classes) ~= "table" then fail("the classes in its metadata: %s", problem or "no list") end
  return classes
end

-- The module of an open file, and what else it tells.
local function build(handle, path)
  local file = onnx_file.read(handle, path)
  check_operators(file.nodes)
  local self = setmetatable({
    file = file, values = {}, steps = {}, makers = {}, count = 1, taken = {}, reads = count_reads(file),
  }, Import)
  local info = { input = begin(self), classes = classes_of(file) }
  for _, node in ipairs(file.nodes) do translate(self, node) end
  local y
  y, info.softmax, info.temperature = finish(self)
  info.normalization = normalization_of(self)
  if file.inputs[1].element == UINT8 then info.pixels = "u8" end
  local problem = checkpoint.problem_of(info)
  if problem then fail("%s", problem) end
  local model = structure(self.steps, y.id)
  if file.name and file.name:find "^[%a][%w_]*$" then rawset(model, "name", file.name) end
  input.give(model, input.new(info))
  return model:eval(), info
end

--- Reads an ONNX file: import(path) gives a module in evaluation mode, and a table { input =, normalization =,
-- classes =, softmax =, temperature =, pixels = } of what the file tells. Nil and a message where it is damaged, or has
-- what is not known: that is named with its node.
--
-- The module takes images {N,H,W,C}, whatever the file takes, and has no Softmax at its end: models give logits here
-- (`softmax` tells that there was one, `temperature` what they were divided by before, where that was not 1). Where the
-- file begins by normalizing its images, that belongs to the model as
-- after a training (texres.input): the module takes normalized images, and a classifier of it does it itself. It can be
-- trained, saved and exported; layers have the names of the file's weights.
local function import(path)
  option.check("onnx.import", "the path", path, option.PATH)
  local handle <close>, problem = core.open_file(path)
  if not handle then return nil, problem end
  local model, info = protect.catch(architecture.undrawn, build, handle, path)
  if not model then return nil, ("%s: %s"):format(path, info) end
  return model, info
end

return plain.telling(import)
