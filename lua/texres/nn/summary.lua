--- module:summary(shape): what each layer makes of an input of this shape, what it costs, and how much of it it sees.

local costs = require "texres.nn.costs"
local module = require "texres.nn.module"
local plain = require "texres.plain"
local reach = require "texres.nn.reach"
local table_text = require "texres.nn.table_text"
local grouped, tensor_bytes = plain.grouped, module.tensor_bytes

local function megabytes(bytes) return plain.format("%.2f MB", bytes / 1e6) end

local function state_bytes(m)
  local bytes = 0
  for _, t in pairs(m:state_dict()) do bytes = bytes + tensor_bytes(t) end
  return bytes
end

--- A receptive field as text: 435x435, or all.
local function field_text(field)
  if not field then return "" end
  local sides = {}
  for axis, size in ipairs(field) do
    sides[axis] = size == math.huge and "all" or ("%d"):format(math.ceil(size - 1e-6))
  end
  return sides[1] == sides[2] and sides[1] == "all" and "all" or table.concat(sides, "x")
end

--- The receptive field after each row, as text: nothing where it is not known.
local function field_texts(self, modules, whole)
  local texts, calls = {}, {}
  local fields = whole and reach.fields(self, whole) or {}
  for i, m in ipairs(modules) do
    calls[m] = (calls[m] or 0) + 1
    texts[i] = field_text(fields[m] and fields[m][calls[m]])
  end
  return texts
end

return function(self, shape)
  costs.check_shape("summary", shape)
  local found, modules = costs.of(self, shape)
  local whole = #shape == 4 and reach.measure(self, shape) or nil
  local fields = field_texts(self, modules, whole)
  local lines = { { "name", "layer", "output", "parameters", "multiply-adds", "memory", "receptive field" }, "-" }
  for i, row in ipairs(found.rows) do
    lines[#lines + 1] = {
      row.name, row.layer, module.shape_text(row.shape), grouped(row.parameters), grouped(row.multiply_adds),
      megabytes(row.bytes), fields[i],
    }
  end
  lines[#lines + 1] = "-"
  lines[#lines + 1] = {
    "total", getmetatable(self).__name, "", grouped(found.parameters), grouped(found.multiply_adds),
    megabytes(found.bytes), "",
  }
  local share = whole and whole.share
  return ("%s\ninput %s%s; memory: %s of outputs above, %s of parameters and buffers"):format(
    table_text(lines, { true, true, true }), module.shape_text(shape),
    share and (", of which %s can influence the output"):format(plain.percent(share)) or "",
    megabytes(found.bytes), megabytes(state_bytes(self)))
end
