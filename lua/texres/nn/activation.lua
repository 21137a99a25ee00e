--- Activation functions as modules: the functions of texres.nn.functional, elementwise.

local F = require "texres.nn.functional"
local option = require "texres.options"
local module = require "texres.nn.module"

local activation = {}

local ONNX = { ReLU = "Relu", Sigmoid = "Sigmoid", Tanh = "Tanh", Softplus = "Softplus" } -- those that have one

for name, fn in pairs {
  ReLU = "relu", Sigmoid = "sigmoid", Tanh = "tanh", SiLU = "silu", GELU = "gelu", Softplus = "softplus",
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

--- LeakyReLU(slope=0.01): x where positive, else slope x.
local LeakyReLU = module.register("LeakyReLU", module.Module "LeakyReLU")
LeakyReLU.keeps_nothing = true
activation.LeakyReLU = LeakyReLU

local SLOPE = option.number(nil, "[-1e3, 1e3]")

function LeakyReLU:init(slope) self.slope = option.check("LeakyReLU", "slope", slope or 0.01, SLOPE) end

function LeakyReLU:constructor_arguments() return { self.slope, n = 1 } end

function LeakyReLU:forward(x) return F.leaky_relu(x, self.slope) end

function LeakyReLU:to_onnx(graph, x) return graph:node("LeakyRelu", { x }, { alpha = self.slope + 0.0 }, x) end

return activation
