--- Modules without arithmetic: Flatten, Identity, Dropout.

local F = require "texres.nn.functional"
local option = require "texres.options"
local module = require "texres.nn.module"

--- Flatten(): {N,...} to {N, product of the rest}.
local Flatten = module.register("Flatten", module.Module "Flatten")
Flatten.keeps_nothing = true

function Flatten:forward(x) return F.flatten(x, 2) end -- luacheck: no self

function Flatten:to_onnx(graph, x) -- luacheck: no self
  return graph:node("Flatten", { graph:channels_last(x) }, { axis = 1 }, { dims = 2 })
end

--- Identity(): x.
local Identity = module.register("Identity", module.Module "Identity")

function Identity:forward(x) return x end -- luacheck: no self

function Identity:to_onnx(_, x) return x end -- luacheck: no self

--- Dropout(p=0.5): in training sets elements to zero with probability p and scales the others by 1/(1-p).
local Dropout = module.register("Dropout", module.Module "Dropout")
Dropout.keeps_nothing = true

local PROBABILITY = option.number(nil, "[0, 1]")

function Dropout:init(p) self.p = option.check("Dropout", "p", p or 0.5, PROBABILITY) end

function Dropout:constructor_arguments() return { self.p, n = 1 } end

function Dropout:forward(x) return F.dropout(x, self.p, { training = self.training }) end

Dropout.to_onnx = Identity.to_onnx

return { Flatten = Flatten, Identity = Identity, Dropout = Dropout }
