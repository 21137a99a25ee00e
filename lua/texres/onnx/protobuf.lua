--- Writes protocol buffers, the format of ONNX files: messages as lists of pieces, so that tensors need not be copied.
--
--     local m = protobuf.message()
--     m:integer(1, 8):text(2, "texres"):message(7, graph)
--     core.write_file(path, m.pieces)
--
-- A field is its number and wire type (0 integer, 2 length and bytes, 5 four bytes), then the value.
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

return protobuf
