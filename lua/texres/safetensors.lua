--- Named tensors in a file: the safetensors format. Only data: nothing in a file is ever executed.
--
--     8 bytes   length of the header, little-endian
--     header    JSON: {"__metadata__": {"key": "text"}, "NAME": {"dtype": "F32", "shape": [2,3], "data_offsets":
-- [0,24]}}
--     data      the tensors, row-major, little-endian, one right after another
--
-- https://huggingface.co/docs/safetensors. Tensors are written largest element first, so that each is aligned.

local core = require "texres.core"
local json = require "texres.json"
local plain = require "texres.plain"
local raise = require "texres.raise"
local check = require "texres.nn.check"
local module = require "texres.nn.module"

local safetensors = {}

local element_bytes = { F64 = 8, I64 = 8, F32 = 4, F16 = 2, BF16 = 2, U8 = 1 }
local stored_as = { f64 = "F64", i64 = "I64", f32 = "F32", u8 = "U8" }
local max_header = 100 * 1024 * 1024 -- as the reference implementation
local max_dims = 8

-- Writing
-- ---------------------------------------------------------------------------------------------------------------

-- Names in the order of the file: larger elements first, then by name.
local function file_order(tensors)
  local names = {}
  for name, t in pairs(tensors) do
    if type(name) ~= "string" or name == "__metadata__" or not core.is_tensor(t) then
      raise("safetensors.save: expected a table from names to tensors, found %s = %s", tostring(name), type(t))
    end
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    local sa, sb = element_bytes[stored_as[tensors[a].dtype]], element_bytes[stored_as[tensors[b].dtype]]
    if sa ~= sb then return sa > sb end
    return plain.less(a, b)
  end)
  return names
end

local function check_metadata(metadata)
  for key, value in pairs(metadata or {}) do
    if type(key) ~= "string" or type(value) ~= "string" then
      raise("safetensors.save: metadata maps strings to strings, found %s = %s", tostring(key), type(value))
    end
  end
  return metadata
end

local function as_list(t) return setmetatable(t, { __jsontype = "array" }) end

--- Writes a table of tensors (f32, f64, i64, u8), and `metadata`, a table of strings (optional). The file is written
-- whole or not at all. True, or nil and a message.
function safetensors.save(path, tensors, metadata)
  check.path("save", path)
  local header = { __metadata__ = check_metadata(metadata) }
  local keys, pieces, offset = { "__metadata__" }, { "" }, 0
  for _, name in ipairs(file_order(tensors)) do
    local t = tensors[name]:detach():contiguous()
    local stored = stored_as[t.dtype]
    local stop = offset + t:numel() * element_bytes[stored]
    header[name] = { dtype = stored, shape = as_list(t:shape()), data_offsets = { offset, stop } }
    keys[#keys + 1], pieces[#pieces + 1], offset = name, t, stop
  end
  local text, problem = json.encode(setmetatable(header, { __jsonorder = keys, __jsontype = "object" }))
  if not text then return nil, ("%s: %s"):format(path, problem) end
  text = text .. (" "):rep(-#text % 8)
  pieces[1] = string.pack("<I8", #text) .. text
  return core.write_file(path, pieces)
end

-- Reading
-- ---------------------------------------------------------------------------------------------------------------

-- The text of the header, and where the data begins and ends; or nil and a message.
local function read_header(path)
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local size = file:seek "end"
  if not size or not file:seek("set", 0) then
    file:close()
    return nil, "not a regular file"
  end
  local head = file:read(8)
  local length = head and #head == 8 and string.unpack("<i8", head)
  if not length or length < 2 or length > math.min(size - 8, max_header) then
    file:close()
    return nil, "not a safetensors file, or cut off (its header would be "
      .. (length and ("%u bytes of %d)"):format(length, size) or "missing)")
  end
  local text = file:read(length)
  file:close()
  if not text or #text ~= length then return nil, "cannot read the header" end
  return text, 8 + length, size
end

local function is_count(value) return math.type(value) == "integer" and value >= 0 end

-- Checks one entry of the header; returns {name, dtype, shape, start, stop}, or nil and a message.
local function check_entry(name, entry, data_size)
  if type(entry) ~= "table" then return nil, "is not an object" end
  local size = element_bytes[entry.dtype]
  if not size then return nil, ("has elements of type %s, which cannot be read"):format(tostring(entry.dtype)) end
  local shape, offsets = entry.shape, entry.data_offsets
  if type(shape) ~= "table" or #shape > max_dims then return nil, "has no shape of at most 8 dimensions" end
  if type(offsets) ~= "table" or #offsets ~= 2 or not is_count(offsets[1]) or not is_count(offsets[2]) then
    return nil, "has no data_offsets"
  end
  local start, stop = offsets[1], offsets[2]
  if start > stop or stop > data_size then
    return nil, ("stands at bytes %d to %d of %d"):format(start, stop, data_size)
  end
  local bytes = size
  for i = 1, #shape do
    if not is_count(shape[i]) then return nil, "has a size that is not a whole number" end
    if shape[i] > 0 and bytes > data_size // shape[i] then bytes = math.maxinteger // shape[i] end
    bytes = bytes * shape[i]
  end
  if bytes ~= stop - start then
    return nil, ("of shape %s does not fill its %d bytes"):format(module.shape_text(shape), stop - start)
  end
  return { name = name, dtype = entry.dtype, shape = shape, start = start, stop = stop }
end

-- Checks all entries: they must cover the data without holes or overlaps.
local function check_entries(header, data_size)
  local entries = {}
  for name, entry in pairs(header) do
    if type(name) ~= "string" then return nil, "the header is not an object" end
    if name ~= "__metadata__" then
      local checked, problem = check_entry(name, entry, data_size)
      if not checked then return nil, ("tensor %s %s"):format(name, problem) end
      entries[#entries + 1] = checked
    end
  end
  table.sort(entries, function(a, b)
    if a.start ~= b.start then return a.start < b.start end
    if a.stop ~= b.stop then return a.stop < b.stop end
    return plain.less(a.name, b.name)
  end)
  local position = 0
  for _, entry in ipairs(entries) do
    if entry.start ~= position then
      return nil, ("tensor %s begins at byte %d, %d was expected"):format(entry.name, entry.start, position)
    end
    position = entry.stop
  end
  if position ~= data_size then return nil, ("%d bytes of data belong to no tensor"):format(data_size - position) end
  return entries
end

local function check_text_table(metadata)
  if metadata == nil then return {} end
  if type(metadata) ~= "table" then return nil end
  local checked = {}
  for key, value in pairs(metadata) do
    if type(key) ~= "string" or type(value) ~= "string" then return nil end
    checked[key] = value
  end
  return checked
end

--- Reads a file: a table from names to tensors, and the metadata, a table of strings. F16 and BF16 become f32. A file
-- that is missing, damaged or hostile gives nil and a message.
function safetensors.load(path)
  check.path("load", path)
  local function fail(problem) return nil, ("%s: %s"):format(path, problem) end
  local text, data_start, size = read_header(path)
  if not text then return nil, data_start:find(path, 1, true) and data_start or ("%s: %s"):format(path, data_start) end
  local header, problem = json.decode(text)
  if type(header) ~= "table" then return fail("damaged header: " .. tostring(problem or "not an object")) end
  local metadata = check_text_table(header.__metadata__)
  if not metadata then return fail "damaged header: the metadata are not strings" end
  local entries
  entries, problem = check_entries(header, size - data_start)
  if not entries then return fail("damaged header: " .. problem) end
  local tensors = {}
  for _, entry in ipairs(entries) do
    local t
    t, problem = core.read_tensor(path, data_start + entry.start, entry.dtype, entry.shape)
    if not t then return nil, problem end
    tensors[entry.name] = t
  end
  return tensors, metadata
end

return safetensors
