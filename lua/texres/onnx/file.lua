--- What stands in an ONNX file, as tables: nodes, and tensors that are read when they are asked for.
--
--     local model = file.read(handle, path)       -- of core.open_file
--     model.nodes[1]      --> { operator = "Conv", name = "conv1", inputs = {"x", "w"}, outputs = {"y"},
--                         --    attributes = { strides = {2, 2} } }
--     model:tensor "w"    --> the tensor, nil where there is none of that name
--
-- Functions raise, with a message without position, for files that are damaged.
-- https://onnx.ai/onnx/repo-docs/IR.html

local core = require "texres.core"
local module = require "texres.nn.module"
local protobuf = require "texres.onnx.protobuf"

local file = {}

local MOST_NODES = 1 << 14

local ENTRY = { [1] = { "key", "text" }, [2] = { "value", "text" } }
local TENSOR = {
  [1] = { "dims", "integers" }, [2] = { "type", "integer" }, [4] = { "floats", "place" },
  [7] = { "integers", "integers" }, [8] = { "name", "text" }, [9] = { "raw", "place" }, [10] = { "doubles", "place" },
  [13] = { "elsewhere", "messages", ENTRY }, [14] = { "location", "integer" },
}
local ATTRIBUTE = {
  [1] = { "name", "text" }, [2] = { "f", "float" }, [3] = { "i", "integer" }, [4] = { "s", "text" },
  [5] = { "t", "message", TENSOR }, [8] = { "ints", "integers" }, [20] = { "type", "integer" },
}
local NODE = {
  [1] = { "inputs", "texts" }, [2] = { "outputs", "texts" }, [3] = { "name", "text" }, [4] = { "operator", "text" },
  [5] = { "attributes", "messages", ATTRIBUTE }, [7] = { "domain", "text" },
}
local SIZE = { [1] = { "size", "integer" }, [2] = { "symbol", "text" } }
local SHAPE = { [1] = { "sizes", "messages", SIZE } }
local TENSOR_TYPE = { [1] = { "element", "integer" }, [2] = { "shape", "message", SHAPE } }
local VALUE = {
  [1] = { "name", "text" }, [2] = { "type", "message", { [1] = { "tensor", "message", TENSOR_TYPE } } },
}
local GRAPH = {
  [1] = { "nodes", "messages", NODE }, [2] = { "name", "text" }, [5] = { "tensors", "messages", TENSOR },
  [11] = { "inputs", "messages", VALUE }, [12] = { "outputs", "messages", VALUE },
}
local MODEL = {
  [2] = { "producer", "text" }, [7] = { "graph", "message", GRAPH }, [14] = { "metadata", "messages", ENTRY },
}

-- TensorProto.DataType as core.read_tensor calls it, and the bytes of an element.
local stored = {
  [1] = { "F32", 4 }, [6] = { "I32", 4 }, [7] = { "I64", 8 }, [10] = { "F16", 2 }, [11] = { "F64", 8 },
  [16] = { "BF16", 2 },
}
local EXTERNAL = 1 -- a location
local MOST_DIMS = 8

local function fail(...) error(string.format(...), 0) end

-- -- tensors ----------------------------------------------------------------------------------------------------------

-- The number of elements; as a float where it would not be an integer any more.
local function count_of(record, name)
  local count, dims = 1, record.dims or {}
  if #dims > MOST_DIMS then fail("tensor %s has %d dimensions", name, #dims) end
  for _, size in ipairs(dims) do
    if size < 0 or count * (size + 0.0) > 2 ^ 40 then fail("tensor %s is damaged: its sizes", name) end
    count = count * size
  end
  return count
end

-- The file beside the model's, opened, and where in it the data stand.
local function open_beside(self, record, name)
  local entries = {}
  for _, entry in ipairs(record.elsewhere or {}) do entries[entry.key or ""] = entry.value end
  local location = entries.location or ""
  if location == "" or location:find("^/") or location:find("..", 1, true) or location:find "[\\\0]" then
    fail("tensor %s is said to stand in the file %q, which is not one beside this one", name, location)
  end
  local opened, problem = core.open_file((self.path:match "^(.*/)" or "") .. location)
  if not opened then fail("tensor %s: %s", name, problem) end
  local at = entries.offset and math.tointeger(tonumber(entries.offset)) or 0
  local size = opened:seek "end"
  local bytes = entries.length and math.tointeger(tonumber(entries.length)) or size - at
  if at < 0 or at > size or bytes < 0 or bytes > size - at then
    opened:close()
    fail("tensor %s: %s: it is cut off", name, location)
  end
  return opened, { at = at, bytes = bytes }
end

local function read_place(opened, place, record, kind, name)
  local want = count_of(record, name) * kind[2]
  if place.bytes ~= want then
    fail("tensor %s of shape %s does not fill its %d bytes", name, module.shape_text(record.dims or {}), place.bytes)
  end
  local t, problem = core.read_tensor(opened, place.at, kind[1], record.dims or {})
  if not t then fail("tensor %s: %s", name, problem) end
  return t
end

-- A tensor of integers that stand in the message itself.
local function of_integers(record, name)
  local list = record.integers or {}
  if #list ~= count_of(record, name) then fail("tensor %s has %d elements", name, #list) end
  return core.tensor(list, { dtype = "i64" }):reshape(record.dims or {})
end

local Model = {}
Model.__index = Model

--- A tensor of the file, new each time it is asked for: f32 or i64; nil where there is none of that name.
function Model:tensor(name)
  local record = self.records[name]
  if not record then return nil end
  if record.made then return record.made:clone() end
  local kind = stored[record.type]
  if not kind then fail("tensor %s has elements of type %s, which cannot be read", name, tostring(record.type)) end
  local t
  if record.location == EXTERNAL then
    local opened <close>, place = open_beside(self, record, name)
    t = read_place(opened, place, record, kind, name)
  elseif record.type == 7 and not record.raw then
    t = of_integers(record, name)
  else
    local nothing = { at = 0, bytes = 0 }
    local place = record.raw or (record.type == 1 and record.floats) or (record.type == 11 and record.doubles)
    t = read_place(self.handle, place or nothing, record, kind, name)
  end
  return t.dtype == "f64" and t:to "f32" or t
end

--- Whether there is a tensor of that name.
function Model:has_tensor(name) return self.records[name] ~= nil end

--- Adds a tensor that was computed of others.
function Model:add_tensor(name, t) self.records[name] = { made = t } end

-- -- the graph --------------------------------------------------------------------------------------------------------

-- The attributes that are asked for, by the field that they stand in.
local asked = {
  i = { "group", "axis", "transA", "transB", "ceil_mode", "count_include_pad", "training_mode", "keepdims", "to" },
  f = { "alpha", "beta", "epsilon", "momentum", "ratio", "value" },
  s = { "auto_pad", "mode", "approximate", "coordinate_transformation_mode", "nearest_mode" },
  ints = { "kernel_shape", "strides", "dilations", "pads", "perm", "axes", "output_padding", "output_shape" },
}
local field_of = {}
for field, names in pairs(asked) do
  for _, name in ipairs(names) do field_of[name] = field end
end
local INTS = 7 -- a type; an empty list leaves nothing else behind

local function attributes_of(node)
  local found = {}
  for _, attribute in ipairs(node.attributes or {}) do
    local field = field_of[attribute.name]
    if field == "ints" and attribute.type == INTS then attribute.ints = attribute.ints or {} end
    if field then found[attribute.name] = attribute[field] end
  end
  return found
end

-- {name =, element =, sizes = {...}}: a size is a number, or false where it may be any; no sizes where the file tells
-- none. `element`: a type, as of tensors.
local function value_of(record)
  local tensor = record.type and record.type.tensor
  local shape = tensor and tensor.shape
  local sizes = shape and {}
  for i, size in ipairs(shape and shape.sizes or {}) do
    sizes[i] = size.size and size.size > 0 and size.size or false
  end
  return { name = record.name or "", element = tensor and tensor.element, sizes = sizes }
end

-- The tensor of a Constant node; nil for others.
local function constant_of(node)
  if node.operator ~= "Constant" or not node.outputs then return nil end
  for _, attribute in ipairs(node.attributes or {}) do
    if attribute.name == "value" then return attribute.t end
  end
end

-- The tensors by name, those of Constant nodes too.
local function records_of(graph)
  local records = {}
  for _, record in ipairs(graph.tensors or {}) do
    if record.name then records[record.name] = record end
  end
  for _, node in ipairs(graph.nodes or {}) do
    local value = constant_of(node)
    if value then records[node.outputs[1]] = value end
  end
  return records
end

local function nodes_of(graph)
  local nodes = {}
  for _, node in ipairs(graph.nodes or {}) do
    if not constant_of(node) then
      node.inputs, node.outputs, node.attributes = node.inputs or {}, node.outputs or {}, attributes_of(node)
      node.operator, node.domain = node.operator or "", node.domain or ""
      node.name = node.name ~= "" and node.name or node.outputs[1] or ""
      nodes[#nodes + 1] = node
    end
  end
  return nodes
end

local function values_of(list, records)
  local values = {}
  for _, record in ipairs(list or {}) do
    if not records[record.name or ""] then values[#values + 1] = value_of(record) end -- old files list tensors, too
  end
  return values
end

--- Reads a file: {nodes=, inputs=, outputs=, name=, metadata=, producer=}. The handle has to stay open for tensors.
function file.read(handle, path)
  local model = protobuf.read(handle, MODEL)
  local graph = model.graph
  if not graph or not graph.nodes then fail "not an ONNX file, or one without a network" end
  if #graph.nodes > MOST_NODES then fail("it has %d nodes; %d are read at most", #graph.nodes, MOST_NODES) end
  local metadata = {}
  for _, entry in ipairs(model.metadata or {}) do metadata[entry.key or ""] = entry.value end
  local records = records_of(graph)
  return setmetatable({
    handle = handle, path = path, records = records, nodes = nodes_of(graph),
    inputs = values_of(graph.inputs, records), outputs = values_of(graph.outputs, {}), name = graph.name,
    metadata = metadata, producer = model.producer,
  }, Model)
end

return file
