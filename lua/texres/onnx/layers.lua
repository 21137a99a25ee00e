--- How each layer is written in ONNX: a table from class name to function(graph, layer, x), which adds nodes and
-- returns the value that the layer gives. See texres.onnx for `graph` and values.

local raise = require "texres.raise"

local layers = {}

local function pair(value)
  if type(value) == "table" then return { value[1], value[2] } end
  return { value, value }
end

-- Adds the attribute for a padding as texres spells it. "same" depends on the image's size where the stride is not 1,
-- and onnxruntime refuses auto_pad together with a dilation.
local function padding(attributes, value)
  local strides, dilations = attributes.strides, attributes.dilations or { 1, 1 }
  if value == "same" and strides[1] == 1 and strides[2] == 1 then
    local rows = dilations[1] * (attributes.kernel_shape[1] - 1)
    local columns = dilations[2] * (attributes.kernel_shape[2] - 1)
    attributes.pads = { rows // 2, columns // 2, rows - rows // 2, columns - columns // 2 }
  elseif value == "same" then
    if dilations[1] > 1 or dilations[2] > 1 then
      raise "onnx: padding \"same\" with a stride and a dilation cannot be written; give the padding as numbers"
    end
    attributes.auto_pad = "SAME_UPPER"
  elseif type(value) == "table" then
    attributes.pads = { value[1], value[3], value[2], value[4] } -- top, left, bottom, right
  elseif value ~= "valid" then
    attributes.pads = { value, value, value, value }
  end
  return attributes
end

function layers.Conv2d(graph, m, x)
  local rows, columns = m.weight:size()
  local weight = graph:constant(m, "weight", m.weight:permute(4, 3, 1, 2)) -- {K,C,R,S}
  local bias = rawget(m, "bias") and graph:constant(m, "bias", m.bias)
  return graph:node("Conv", { graph:channels_first(x), weight, bias }, padding({
    kernel_shape = { rows, columns }, strides = pair(m.stride), dilations = pair(m.dilation), group = m.groups,
  }, m.padding), { channels_first = true, dims = 4 })
end

function layers.BatchNorm(graph, m, x)
  if x.dims == 4 then
    x = graph:channels_first(x)
  elseif x.dims ~= 2 then
    raise("onnx: batch norm of a value with %d dimensions", x.dims)
  end
  local inputs = { x }
  for _, name in ipairs { "gamma", "beta", "running_mean", "running_var" } do
    inputs[#inputs + 1] = graph:constant(m, name, m[name])
  end
  return graph:node("BatchNormalization", inputs, { epsilon = m.eps + 0.0 }, x)
end

function layers.Linear(graph, m, x)
  local weight = graph:constant(m, "weight", m.weight)
  local bias = rawget(m, "bias") and graph:constant(m, "bias", m.bias)
  x = graph:channels_last(x)
  if x.dims == 2 then return graph:node("Gemm", { x, weight, bias }, {}, x) end
  local y = graph:node("MatMul", { x, weight }, {}, x)
  return bias and graph:node("Add", { y, bias }, {}, x) or y
end

for class, operator in pairs { ReLU = "Relu", Sigmoid = "Sigmoid", Tanh = "Tanh" } do
  layers[class] = function(graph, _, x) return graph:node(operator, { x }, {}, x) end
end

function layers.LeakyReLU(graph, m, x) return graph:node("LeakyRelu", { x }, { alpha = m.slope + 0.0 }, x) end

function layers.SiLU(graph, _, x) return graph:node("Mul", { x, graph:node("Sigmoid", { x }, {}, x) }, {}, x) end

function layers.GELU(graph, _, x) -- x (1 + erf(x / sqrt 2)) / 2
  local scaled = graph:node("Mul", { x, graph:number(math.sqrt(0.5)) }, {}, x)
  local erf = graph:node("Erf", { scaled }, {}, x)
  local sum = graph:node("Add", { erf, graph:number(1) }, {}, x)
  local product = graph:node("Mul", { x, sum }, {}, x)
  return graph:node("Mul", { product, graph:number(0.5) }, {}, x)
end

local function pool(graph, m, x, operator, attributes)
  attributes.kernel_shape, attributes.strides = pair(m.kernel), pair(m.stride)
  return graph:node(operator, { graph:channels_first(x) }, padding(attributes, m.padding),
    { channels_first = true, dims = 4 })
end

function layers.MaxPool2d(graph, m, x) return pool(graph, m, x, "MaxPool", {}) end

function layers.AvgPool2d(graph, m, x)
  return pool(graph, m, x, "AveragePool", { count_include_pad = m.count_include_pad and 1 or 0 })
end

function layers.GlobalAvgPool(graph, _, x)
  local y = graph:node("GlobalAveragePool", { graph:channels_first(x) }, {}, { channels_first = true, dims = 4 })
  return graph:node("Flatten", { y }, { axis = 1 }, { dims = 2 })
end

function layers.Flatten(graph, _, x)
  return graph:node("Flatten", { graph:channels_last(x) }, { axis = 1 }, { dims = 2 })
end

function layers.Identity(_, _, x) return x end

layers.Dropout = layers.Identity

return layers
