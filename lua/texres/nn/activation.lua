--- Activation functions as modules: the functions of texres.nn.functional, elementwise.

local F = require "texres.nn.functional"
local option = require "texres.options"
local module = require "texres.nn.module"

local activation = {}

local FACTOR = option.number(nil, "[-1e3, 1e3]")
-- those that have one
local ONNX = { ReLU = "Relu", Sigmoid = "Sigmoid", Tanh = "Tanh", Softplus = "Softplus", Hardswish = "HardSwish" }

--- ReLU(): max(x, 0), elementwise; any shape.

--- Sigmoid(): 1 / (1 + e^-x), elementwise; any shape.

--- Tanh(): the hyperbolic tangent, elementwise; any shape.

--- SiLU(): x / (1 + e^-x), elementwise, also called swish; any shape. Ramachandran, Zoph, Le, 2017.

--- GELU(): x times the normal distribution at x, elementwise; any shape. Hendrycks, Gimpel, 2016.

--- Softplus(): log(1 + e^x), elementwise, without overflow; any shape.

--- Hardswish(): x min(max(x + 3, 0), 6) / 6, elementwise; any shape. Howard et al., "Searching for MobileNetV3", 2019.

for name, fn in pairs {
  ReLU = "relu", Sigmoid = "sigmoid", Tanh = "tanh", SiLU = "silu", GELU = "gelu", Softplus = "softplus",
  Hardswish = "hard_swish",
} do
  local class = module.register(name, module.Module(name))
  function class:forward(x) return F[fn](x) end -- luacheck: no self
  function class:to_onnx(graph, x) return graph:node(ONNX[name], { x }, {}, x) end -- luacheck: no self
  class.keeps_nothing = true
  activation[name] = class
end

function activation.SiLU:to_onnx(graph, x) -- luacheck: no self
  return graph:node("Mul", { x, graph:node("Sigmoid", { x }, {}, x) }, {}, x)
end

-- x (1 + erf(x / sqrt 2)) / 2
function activation.GELU:to_onnx(graph, x) -- luacheck: no self
  local scaled = graph:node("Mul", { x, graph:number(math.sqrt(0.5)) }, {}, x)
  local erf = graph:node("Erf", { scaled }, {}, x)
  local sum = graph:node("Add", { erf, graph:number(1) }, {}, x)
  local product = graph:node("Mul", { x, sum }, {}, x)
  return graph:node("Mul", { product, graph:number(0.5) }, {}, x)
end

--- LeakyReLU(slope=0.01): x where positive, else slope x; any shape.

--- ELU(alpha=1): x where positive, else alpha (e^x - 1); any shape. Clevert, Unterthiner, Hochreiter, 2016.

for name, row in pairs {
  LeakyReLU = { fn = "leaky_relu", option = "slope", default = 0.01, onnx = "LeakyRelu" },
  ELU = { fn = "elu", option = "alpha", default = 1, onnx = "Elu" },
} do
  local class = module.register(name, module.Module(name))
  local fn, key = F[row.fn], row.option
  function class:init(value) self[key] = option.check(name, key, value or row.default, FACTOR) end
  function class:constructor_arguments() return { self[key], n = 1 } end
  function class:forward(x) return fn(x, self[key]) end
  function class:to_onnx(graph, x) return graph:node(row.onnx, { x }, { alpha = self[key] + 0.0 }, x) end
  class.keeps_nothing = true
  activation[name] = class
end

return activation
