--- Named tensors in a file: the safetensors format. Only data: nothing in a file is ever executed.
--
--     8 bytes   length of the header, little-endian
--     header    JSON: {"__metadata__": {"key": "text"}, "NAME": {"dtype": "F32", "shape": [2,3],
--               "data_offsets": [0,24]}}
--     data      the tensors, row-major, little-endian, one right after another
--
-- https://huggingface.co/docs/safetensors. Tensors are written largest element first, so that each is aligned.
--
-- So that damage is noticed, the metadata of files written here hold CRC-32 checksums, eight digits to base 16:
-- "texres.crc32:NAME" of each tensor's bytes, and "texres.crc32" of the header, in which these eight digits count as
-- zeros. Files without checksums are read too.

local core = require "texres.core"
local json = require "texres.json"
local plain = require "texres.plain"
local raise = require "texres.raise"
local option = require "texres.options"
local module = require "texres.nn.module"

local safetensors = {}

local element_bytes = {
  F64 = 8, I64 = 8, U64 = 8, F32 = 4, I32 = 4, U32 = 4, F16 = 2, BF16 = 2, I16 = 2, U16 = 2, F8_E4M3 = 1, F8_E5M2 = 1,
  I8 = 1, U8 = 1, BOOL = 1,
}
local stored_as = { f64 = "F64", i64 = "I64", f32 = "F32", u8 = "U8" }
local max_dims = 8

local LOAD_OPTIONS = { max_bytes = option.COUNT }

local CRC = "texres.crc32"
local UNKNOWN = "00000000" -- what stands in the header for its own checksum while that is computed

local function crc_key(name) return CRC .. ":" .. name end
local function crc_text(crc) return ("%08x"):format(crc) end

-- Writing
-- ---------------------------------------------------------------------------------------------------------------

local function check_utf8(what, text)
  if not utf8.len(text) then raise("safetensors.save: the %s %q is not UTF-8", what, text) end
end

-- Names in the order of the file: larger elements first, then by name.
local function file_order(tensors)
  local names = {}
  for name, t in pairs(tensors) do
    if type(name) ~= "string" or name == "__metadata__" or not core.is_tensor(t) then
      raise("safetensors.save: expected a table from names to tensors, found %s = %s", tostring(name), type(t))
    end
    check_utf8("name", name)
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    local sa, sb = element_bytes[stored_as[tensors[a].dtype]], element_bytes[stored_as[tensors[b].dtype]]
    if sa ~= sb then return sa > sb end
    return plain.less(a, b)
  end)
  return names
end

-- A copy of the user's metadata.
local function copy_metadata(metadata)
  local copy = {}
  if metadata ~= nil then option.check("safetensors.save", "metadata", metadata, option.table()) end
  for key, value in pairs(metadata or {}) do
    if type(key) ~= "string" or type(value) ~= "string" then
      raise("safetensors.save: metadata maps strings to strings, found %s = %s", tostring(key), type(value))
    end
    if key:find(CRC, 1, true) == 1 then raise("safetensors.save: metadata called %s are for checksums", key) end
    check_utf8("metadata key", key)
    check_utf8("metadata text", value)
    copy[key] = value
  end
  return copy
end

local function as_list(t) return setmetatable(t, { __jsontype = "array" }) end

-- The header's own checksum, from its text and from where that stands in it.
local function header_crc(text, digits)
  return crc_text(core.crc32(text:sub(1, digits - 1) .. UNKNOWN .. text:sub(digits + #UNKNOWN)))
end

-- Where the digits of the header's own checksum stand in its text; nil when it has none of this form.
local function find_digits(text, digits)
  local _, before = text:find(('"%s":"'):format(CRC), 1, true)
  return before and text:sub(before + 1, before + 9) == digits .. '"' and before + 1
end

--- Writes a table of tensors (f32, f64, i64, u8), and `metadata`, a table of strings (optional). The file is written
-- whole or not at all, with checksums. True, or nil and a message.
function safetensors.save(path, tensors, metadata)
  option.check("save", "the path", path, option.PATH)
  local notes = copy_metadata(metadata)
  local header = { __metadata__ = notes }
  local keys, pieces, offset = { "__metadata__" }, { "" }, 0
  for _, name in ipairs(file_order(tensors)) do
    local t = tensors[name]:detach():contiguous()
    local stored = stored_as[t.dtype]
    local stop = offset + t:numel() * element_bytes[stored]
    header[name] = { dtype = stored, shape = as_list(t:shape()), data_offsets = { offset, stop } }
    notes[crc_key(name)] = crc_text(core.crc32(t))
    keys[#keys + 1], pieces[#pieces + 1], offset = name, t, stop
  end
  notes[CRC] = UNKNOWN
  setmetatable(notes, { __jsonorder = { CRC }, __jsontype = "object" })
  local text, problem = json.encode(setmetatable(header, { __jsonorder = keys, __jsontype = "object" }))
  if not text then return nil, ("%s: %s"):format(path, problem) end
  text = text .. (" "):rep(-#text % 8)
  local digits = find_digits(text, UNKNOWN)
  text = text:sub(1, digits - 1) .. header_crc(text, digits) .. text:sub(digits + #UNKNOWN)
  pieces[1] = string.pack("<s8", text)
  return core.write_file(path, pieces)
end

-- Reading
-- ---------------------------------------------------------------------------------------------------------------

-- The text of the header, and where the data begins and ends; or nil and a message.
local function read_header(file)
  local size = file:seek "end"
  if not size or not file:seek("set", 0) then return nil, "cannot be read" end
  local head = file:read(8)
  local length = head and #head == 8 and string.unpack("<i8", head)
  if not length or length < 2 or length > size - 8 then
    return nil, "not a safetensors file, or cut off (its header would be "
      .. (length and ("%u bytes of %d)"):format(length, size) or "missing)")
  end
  local text = file:read(length)
  if not text or #text ~= length then return nil, "cannot read the header" end
  return text, 8 + length, size
end

local function is_count(value) return math.type(value) == "integer" and value >= 0 end

-- Whether `list` is a list of at most `most` counts, and nothing else.
local function is_list_of_counts(list, most) return option.is_list(list, is_count) and #list <= most end

-- The bytes of a shape; nil when they, or those of the shape without its zeros, are more than can be addressed.
local function bytes_of(shape, size)
  local extent, empty = size, false
  for _, n in ipairs(shape) do
    empty = empty or n == 0
    if n > 0 then
      if extent > math.maxinteger // n then return nil end
      extent = extent * n
    end
  end
  return empty and 0 or extent
end

-- Checks one entry of the header; returns {name, dtype, shape, start, stop}, or nil and a message.
local function check_entry(name, entry, data_size)
  if type(entry) ~= "table" then return nil, "is not an object" end
  local size = element_bytes[entry.dtype]
  if not size then return nil, ("has a dtype that is a %s"):format(type(entry.dtype)) end
  local shape, offsets = entry.shape, entry.data_offsets
  if not is_list_of_counts(shape, max_dims) then
    return nil, "has no shape of at most 8 dimensions, each of them a whole number"
  end
  if not is_list_of_counts(offsets, 2) or #offsets ~= 2 then return nil, "has no data_offsets" end
  local start, stop = offsets[1], offsets[2]
  if start > stop or stop > data_size then
    return nil, ("stands at bytes %d to %d of %d"):format(start, stop, data_size)
  end
  local bytes = bytes_of(shape, size)
  if bytes ~= stop - start then
    return nil, ("of shape %s does not fill its %d bytes"):format(module.shape_text(shape), stop - start)
  end
  return { name = name, dtype = entry.dtype, shape = shape, start = start, stop = stop }
end

-- What the format may have, but no tensor here: a file that is sound can't be read then.
local function unreadable_type(entry)
  return type(entry) == "table" and type(entry.dtype) == "string" and not element_bytes[entry.dtype] and entry.dtype
end

-- Checks all entries: they must cover the data without holes or overlaps.
local function check_entries(header, data_size)
  local entries = {}
  for name, entry in pairs(header) do
    if type(name) ~= "string" then return nil, "damaged header: the header is not an object" end
    if name ~= "__metadata__" then
      local foreign = unreadable_type(entry)
      if foreign then return nil, ("tensor %s has elements of type %s, which cannot be read"):format(name, foreign) end
      local checked, problem = check_entry(name, entry, data_size)
      if not checked then return nil, ("damaged header: tensor %s %s"):format(name, problem) end
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
      return nil, ("damaged header: tensor %s begins at byte %d, %d was expected"):format(entry.name, entry.start,
        position)
    end
    position = entry.stop
  end
  if position ~= data_size then
    return nil, ("damaged header: %d bytes of data belong to no tensor"):format(data_size - position)
  end
  return entries
end

-- The metadata as two tables: of the user, and checksums of tensors by name; or nil and a message.
local function sort_metadata(metadata, text)
  local notes, checksums, own, any = {}, {}, nil, false
  if metadata ~= nil and type(metadata) ~= "table" then return nil, "the metadata are not strings" end
  for key, value in pairs(metadata or {}) do
    if type(key) ~= "string" or type(value) ~= "string" then return nil, "the metadata are not strings" end
    if key == CRC then
      own = value
    elseif key:find(crc_key "", 1, true) == 1 then
      checksums[key:sub(#crc_key "" + 1)], any = value, true
    else
      notes[key] = value
    end
  end
  local digits = own and find_digits(text, own)
  if (own or any) and not (digits and own == header_crc(text, digits)) then
    return nil, "its checksum is another (a program that changes such a file drops the texres.crc32 in its metadata)"
  end
  return notes, checksums
end

--- Reads a file: a table from names to tensors, and the metadata, a table of strings. F16, BF16 and the F8 become f32,
-- BOOL u8, other integers i64. A file that is missing, damaged or hostile gives nil and a message. `options`
-- (optional): {max_bytes=}, the largest header that is read (default: 16 MiB).
function safetensors.load(path, options)
  option.check("load", "the path", path, option.PATH)
  local max_bytes = option.read("load", options, LOAD_OPTIONS).max_bytes
  local function fail(problem) return nil, ("%s: %s"):format(path, problem) end
  local file <close>, problem = core.open_file(path)
  if not file then return nil, problem end
  local text, data_start, size = read_header(file)
  if not text then return fail(data_start) end
  local header
  header, problem = json.decode(text, max_bytes)
  if type(header) ~= "table" then return fail("damaged header: " .. tostring(problem or "not an object")) end
  local metadata, checksums = sort_metadata(header.__metadata__, text)
  if not metadata then return fail("damaged header: " .. checksums) end
  local entries
  entries, problem = check_entries(header, size - data_start)
  if not entries then return fail(problem) end
  local tensors = {}
  for _, entry in ipairs(entries) do
    local t, crc = core.read_tensor(file, data_start + entry.start, entry.dtype, entry.shape)
    if not t then return fail(("tensor %s: %s"):format(entry.name, crc)) end
    if checksums[entry.name] and checksums[entry.name] ~= crc_text(crc) then
      return fail(("tensor %s is damaged: its checksum is another"):format(entry.name))
    end
    tensors[entry.name] = t
  end
  return tensors, metadata
end

for _, name in ipairs { "save", "load" } do safetensors[name] = plain.telling(safetensors[name]) end

return safetensors
