--- module:costs(shape): what a call with an input of this shape, {N,H,W,C}, costs.
--
--     { parameters =, multiply_adds =, bytes =, rows = { { name =, layer =, shape =, parameters =, multiply_adds =,
--       bytes = }, ... } }
--
-- A row for every call of a module without submodules, in their order; bytes are those of outputs. Multiply-adds are
-- counted as the papers and torchvision do: of convolutions and dense layers alone, one for each weight and output
-- position, also where the window reaches into the padding; biases, norms, activations, poolings and sums are left out.
-- They are those of the whole batch: for one image give N = 1. (Who counts operations has twice as many.)

local core = require "texres.core"
local module = require "texres.nn.module"
local option = require "texres.options"
local tensor_bytes = module.tensor_bytes

local costs = {}

local SHAPE = option.kind("the shape of an input such as {1,64,64,1}", function(value)
  return type(value) == "table" and getmetatable(value) == nil
end)

--- Raises unless `shape` is that of an input.
function costs.check_shape(where, shape)
  option.check(where, "shape", shape, SHAPE)
  for d = 1, #shape do option.check(where, "size " .. d, shape[d], option.COUNT) end
end

--- The costs of a module, and a list of the modules that the rows are of.
function costs.of(self, shape)
  costs.check_shape("costs", shape)
  local names, found, modules = {}, { parameters = self:num_parameters(), multiply_adds = 0, bytes = 0, rows = {} }, {}
  for name, m in self:named_modules() do names[m] = name end
  local function watch(m, _, inputs, outputs)
    local out = outputs[1]
    if #m:children() > 0 or not core.is_tensor(inputs[1]) or not core.is_tensor(out) then return end
    local row = {
      name = names[m], layer = m:describe(), shape = out:shape(), parameters = m:num_parameters(),
      multiply_adds = m:multiply_adds(inputs[1], out), bytes = tensor_bytes(out),
    }
    table.insert(found.rows, row)
    table.insert(modules, m)
    found.multiply_adds, found.bytes = found.multiply_adds + row.multiply_adds, found.bytes + row.bytes
  end
  module.watch(watch, function() module.try_on_zeros(self, shape) end)
  return found, modules
end

return costs
