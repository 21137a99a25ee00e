--- Dense layer.

local F = require "texres.nn.functional"
local core = require "texres.core"
local option = require "texres.options"
local initialize = require "texres.nn.initialize"
local module = require "texres.nn.module"

--- Linear(n_in, n_out, {bias=true}): x w + b for x {...,n_in}; w {n_in,n_out}, b {n_out}.
--
-- Both start uniform in +-1/sqrt(n_in).
local Linear = module.register("Linear", module.Module "Linear")
Linear.keeps_nothing = true

function Linear:init(n_in, n_out, options)
  n_in = option.check("Linear", "n_in", n_in, option.COUNT)
  n_out = option.check("Linear", "n_out", n_out, option.COUNT)
  options = option.read("Linear", options, { bias = option.switch(true) })
  local bound = 1 / math.sqrt(n_in)
  self.weight = module.Parameter(initialize.uniform(core.zeros(n_in, n_out), -bound, bound))
  if options.bias then self.bias = module.Parameter(initialize.uniform(core.zeros(n_out), -bound, bound)) end
end

function Linear:constructor_arguments()
  if not rawget(self, "weight") then return self._arguments end -- it was taken away
  local n_in, n_out = self.weight:size()
  if rawget(self, "bias") then return { n_in, n_out, n = 2 } end
  return { n_in, n_out, { bias = false }, n = 3 }
end

function Linear:forward(x)
  return F.linear(x, self.weight, rawget(self, "bias"))
end

function Linear.weight_count(n_in, n_out) return n_in * 1.0 * n_out end

function Linear:multiply_adds(_, output) return output:numel() * self.weight:size(1) end

function Linear:to_onnx(graph, x)
  local weight = graph:constant(self, "weight", self.weight)
  local bias = rawget(self, "bias") and graph:constant(self, "bias", self.bias)
  x = graph:channels_last(x)
  if x.dims == 2 then return graph:node("Gemm", { x, weight, bias }, {}, x) end
  local y = graph:node("MatMul", { x, weight }, {}, x)
  return bias and graph:node("Add", { y, bias }, {}, x) or y
end

return { Linear = Linear }
