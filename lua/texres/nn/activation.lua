--- Activation functions as modules: the functions of texres.nn.functional, elementwise.

local F = require "texres.nn.functional"
local option = require "texres.options"
local module = require "texres.nn.module"

local activation = {}

for name, fn in pairs { ReLU = "relu", Sigmoid = "sigmoid", Tanh = "tanh", SiLU = "silu", GELU = "gelu" } do
  local class = module.register(name, module.Module(name))
  function class:forward(x) return F[fn](x) end -- luacheck: no self
  class.keeps_nothing = true
  activation[name] = class
end

--- LeakyReLU(slope=0.01): x where positive, else slope x.
local LeakyReLU = module.register("LeakyReLU", module.Module "LeakyReLU")
LeakyReLU.keeps_nothing = true
activation.LeakyReLU = LeakyReLU

local SLOPE = option.number(nil, "[-1e3, 1e3]")

function LeakyReLU:init(slope) self.slope = option.check("LeakyReLU", "slope", slope or 0.01, SLOPE) end

function LeakyReLU:constructor_arguments() return { self.slope, n = 1 } end

function LeakyReLU:forward(x) return F.leaky_relu(x, self.slope) end

return activation
