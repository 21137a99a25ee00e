--- Protocol buffers, the format of ONNX files.
--
-- Written as lists of pieces, so that tensors need not be copied:
--
--     local m = protobuf.message()
--     m:integer(1, 8):text(2, "texres"):message(7, graph)
--     core.write_file(path, m.pieces)
--
-- Read by a schema, which names the fields that are wanted; others are passed over:
--
--     local TENSOR = { [1] = { "dims", "integers" }, [8] = { "name", "text" }, [9] = { "raw", "place" } }
--     local tensor = protobuf.read(file, TENSOR)      --> { dims = {2, 3}, name = "weight", raw = {at=, bytes=} }
--
-- A field is its number and wire type (0 integer, 1 eight bytes, 2 length and bytes, 5 four bytes), then the value.
-- https://protobuf.dev/programming-guides/encoding

local Message = {}
Message.__index = Message

local protobuf = {}

local function varint(value)
  local bytes = {}
  repeat
    local low = value & 0x7f
    value = value >> 7 -- logical: negative numbers take ten bytes
    bytes[#bytes + 1] = string.char(value ~= 0 and low | 0x80 or low)
  until value == 0
  return table.concat(bytes)
end

--- An empty message. `pieces` are its strings and tensors in order, `bytes` their length together.
function protobuf.message() return setmetatable({ pieces = {}, bytes = 0 }, Message) end

local function add(self, piece, bytes)
  self.pieces[#self.pieces + 1] = piece
  self.bytes = self.bytes + bytes
  return self
end

local function add_text(self, text) return add(self, text, #text) end

--- An integer or an enumeration.
function Message:integer(field, value) return add_text(self, varint(field << 3) .. varint(value)) end

--- A 32-bit float.
function Message:float(field, value) return add_text(self, varint(field << 3 | 5) .. string.pack("<f", value)) end

--- A string.
function Message:text(field, value) return add_text(self, varint(field << 3 | 2) .. varint(#value) .. value) end

--- The elements of a contiguous tensor as bytes.
function Message:tensor(field, t, bytes)
  add_text(self, varint(field << 3 | 2) .. varint(bytes))
  return add(self, t, bytes)
end

--- A message inside this one.
function Message:message(field, inner)
  add_text(self, varint(field << 3 | 2) .. varint(inner.bytes))
  table.move(inner.pieces, 1, #inner.pieces, #self.pieces + 1, self.pieces)
  self.bytes = self.bytes + inner.bytes
  return self
end

-- Reading ------------------------------------------------------------------------------------------------------------

-- A hostile file of few bytes could ask for a table each: so many fields and bytes of text are read at most.
local MOST_FIELDS, MOST_TEXT = 1 << 21, 1 << 26

local Reader = {}
Reader.__index = Reader

-- Ends the reading: such a message is the answer of whoever reads, not a mistake of the caller.
local function damaged(self, what) error(("damaged or cut off at byte %d: %s"):format(self.at, what), 0) end

local function bytes(self, count)
  if count < 0 or count > self.stop - self.at then damaged(self, "more bytes are said to follow than do") end
  local text = count == 0 and "" or self.file:read(count)
  if not text or #text ~= count then damaged(self, "it cannot be read on") end
  self.at = self.at + count
  return text
end

local function skip(self, count)
  if count < 0 or count > self.stop - self.at then damaged(self, "more bytes are said to follow than do") end
  self.at = self.at + count
  self.file:seek("set", self.at)
end

local function read_varint(self)
  local value, shift = 0, 0
  repeat
    local byte = bytes(self, 1):byte()
    value, shift = value | (byte & 0x7f) << shift, shift + 7
  until byte < 0x80 or shift == 70
  return value
end

local function read_text(self, count)
  self.text = self.text + count
  if self.text > MOST_TEXT then damaged(self, "too much text") end
  return bytes(self, count)
end

local read_message

-- What stands in the next `count` bytes, by its kind. `list`: what is there of it already, for the kinds in plural.
local of_length = {
  text = read_text,
  texts = function(self, count, list)
    list[#list + 1] = read_text(self, count)
    return list
  end,
  place = function(self, count)
    local place = { at = self.at, bytes = count }
    skip(self, count)
    return place
  end,
  integers = function(self, count, list) -- packed
    local stop = self.at + count
    if stop > self.stop then damaged(self, "more bytes are said to follow than do") end
    while self.at < stop do
      self:count()
      list[#list + 1] = read_varint(self)
    end
    return list
  end,
  message = function(self, count, _, schema) return read_message(self, count, schema) end,
  messages = function(self, count, list, schema)
    list[#list + 1] = read_message(self, count, schema)
    return list
  end,
}

local function of_integer(kind, value, list)
  if kind == "integer" then return value end
  list[#list + 1] = value
  return list
end

function Reader:count()
  self.fields = self.fields + 1
  if self.fields > MOST_FIELDS then damaged(self, "too many fields") end
end

-- Reads one field into `message`, or passes it over where the schema has none of that number and type.
local function read_field(self, message, schema)
  self:count()
  local key = read_varint(self)
  local name, kind, inner = table.unpack(schema[key >> 3] or {})
  local wire = key & 7
  local list = kind and kind:find "s$" and (message[name] or {})
  if wire == 0 then
    local value = read_varint(self)
    if kind == "integer" or kind == "integers" then message[name] = of_integer(kind, value, list) end
  elseif wire == 2 then
    local count = read_varint(self)
    if of_length[kind] then message[name] = of_length[kind](self, count, list, inner) else skip(self, count) end
  elseif wire == 5 and kind == "float" then
    message[name] = string.unpack("<f", bytes(self, 4))
  elseif wire == 5 or wire == 1 then
    skip(self, wire == 5 and 4 or 8)
  else
    damaged(self, "no such type of a field")
  end
end

function read_message(self, count, schema)
  local outer = self.stop
  if count < 0 or count > outer - self.at then damaged(self, "more bytes are said to follow than do") end
  self.stop = self.at + count
  local message = {}
  while self.at < self.stop do read_field(self, message, schema) end
  self.stop = outer
  return message
end

--- A whole file as a message: a table of those fields that `schema` names, {[number] = {name, kind, schema}}. Kinds:
-- integer, float, text, place (where its bytes stand, {at=, bytes=}, which are not read), message; integers, texts and
-- messages are lists. Raises, with a message without position, for a file that is damaged.
function protobuf.read(file, schema)
  local size = file:seek "end"
  file:seek("set", 0)
  return read_message(setmetatable({ file = file, at = 0, stop = size, fields = 0, text = 0 }, Reader), size, schema)
end

return protobuf
