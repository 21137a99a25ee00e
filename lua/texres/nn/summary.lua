--- module:summary(shape): what each layer makes of an input of this shape, and what it costs.

local core = require "texres.core"
local plain = require "texres.plain"
local grouped = plain.grouped
local option = require "texres.options"
local module = require "texres.nn.module"
local tensor_bytes = module.tensor_bytes
local table_text = require "texres.nn.table_text"

local function megabytes(bytes) return plain.format("%.2f MB", bytes / 1e6) end

local function state_bytes(m)
  local bytes = 0
  for _, t in pairs(m:state_dict()) do bytes = bytes + tensor_bytes(t) end
  return bytes
end

-- Runs the module once in evaluation mode; a row for every call of a module without submodules.
local function measure(self, shape)
  local names, rows = {}, {}
  for name, m in self:named_modules() do names[m] = name end
  local function watch(m, _, inputs, outputs)
    local out = outputs[1]
    if #m:children() > 0 or not core.is_tensor(inputs[1]) or not core.is_tensor(out) then return end
    rows[#rows + 1] = {
      name = names[m], layer = m:describe(), shape = out:shape(), parameters = m:num_parameters(),
      multiply_adds = m:multiply_adds(inputs[1], out), bytes = tensor_bytes(out),
    }
  end
  module.watch(watch, function() module.try_on_zeros(self, shape) end)
  return rows
end

local SHAPE = option.kind("the shape of an input such as {1,64,64,1}", function(value)
  return type(value) == "table" and getmetatable(value) == nil
end)

return function(self, shape)
  option.check("summary", "shape", shape, SHAPE)
  for d = 1, #shape do option.check("summary", "size " .. d, shape[d], option.COUNT) end
  local lines = { { "name", "layer", "output", "parameters", "multiply-adds", "memory" }, "-" }
  local multiply_adds, bytes = 0, 0
  for _, row in ipairs(measure(self, shape)) do
    multiply_adds, bytes = multiply_adds + row.multiply_adds, bytes + row.bytes
    lines[#lines + 1] = {
      row.name, row.layer, module.shape_text(row.shape), grouped(row.parameters), grouped(row.multiply_adds),
      megabytes(row.bytes),
    }
  end
  lines[#lines + 1] = "-"
  lines[#lines + 1] = {
    "total", getmetatable(self).__name, "", grouped(self:num_parameters()), grouped(multiply_adds), megabytes(bytes),
  }
  return ("%s\ninput %s; memory: %s of outputs above, %s of parameters and buffers"):format(
    table_text(lines, { true, true, true }), module.shape_text(shape), megabytes(bytes), megabytes(state_bytes(self)))
end
