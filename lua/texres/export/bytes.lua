--- Numbers of a quantized network (texres.nn.quantized) that files of every language hold: what its bytes stand for,
-- and the factors of its steps in f32. `values`: those of the section.

local f32 = require "texres.export.f32"

local bytes = {}

--- The bytes of a tensor u8, a list.
function bytes.of(t)
  local list = t:reshape(-1):to("f32"):totable()
  for i, value in ipairs(list) do list[i] = math.tointeger(value) end
  return list
end

--- A byte in two's complement.
function bytes.signed(byte) return byte < 128 and byte or byte - 256 end

--- A list of such bytes as numbers.
function bytes.all_signed(list)
  local numbers = {}
  for i, byte in ipairs(list) do numbers[i] = bytes.signed(byte) end
  return numbers
end

--- Pairs of bytes, little-endian, as numbers of 16 bits.
function bytes.words(list)
  local numbers = {}
  for i = 2, #list, 2 do numbers[#numbers + 1] = list[i - 1] + 256 * bytes.signed(list[i]) end
  return numbers
end

--- What brings value a to the scale of b.
function bytes.ratio(values, a, b) return f32(values[a].scale / values[b].scale) end

--- What makes the mean of the sum of so many.
function bytes.mean(values, step, count) return f32(values[step.input].scale / (values[step.output].scale * count)) end

--- The means of a pool's windows, by the number of pixels in them, from 1 on.
function bytes.means(values, step)
  local list = {}
  for count = 1, step.kernel[1] * step.kernel[2] do list[count] = bytes.mean(values, step, count) end
  return list
end

--- What follows the product of a step's two values.
function bytes.product(values, step)
  local a, b = step.inputs[1], step.inputs[2]
  return f32(values[a].scale * values[b].scale / values[step.output].scale)
end

--- What the first step makes of each byte of an image: {channel, 256}. `one`: a texres.export.subject.
function bytes.pixels(one, value)
  local list, inverse = {}, f32(1 / value.scale)
  for c = 1, one.input[3] do
    for byte = 0, 255 do
      list[#list + 1] = f32.nearest(f32(f32(one.values_of_bytes[c][byte] * inverse) + value.zero))
    end
  end
  return list
end

return bytes
