--- How the windows of convolutions and poolings are written in ONNX.

local raise = require "texres.raise"

local function pair(value)
  if type(value) == "table" then return { value[1], value[2] } end
  return { value, value }
end

-- The padding "same" of images {N,H,W,C} in numbers, and whether onnxruntime would do something else by its own rule:
-- where windows far apart end before the image does, less than none is needed, which it cuts off at both ends of the
-- image, or refuses.
local function same_in_numbers(shape, kernel, strides, dilations)
  local sides, bounded = {}, false
  for axis = 1, 2 do
    local size, step = shape[axis + 1], strides[axis]
    local needed = ((size + step - 1) // step - 1) * step + dilations[axis] * (kernel[axis] - 1) + 1 - size
    if needed < 0 then needed, bounded = 0, true end
    sides[axis], sides[axis + 2] = needed // 2, needed - needed // 2
  end
  return sides, bounded
end

--- The attributes kernel_shape, strides, dilations (nil: none) and those of the padding. "same" depends on the image's
-- size where the stride is not 1, and onnxruntime refuses auto_pad together with a dilation. `shape`:
-- {N,H,W,C} of the input, where it is known.
return function(kernel, stride, padding, dilation, shape)
  local attributes = { kernel_shape = pair(kernel), strides = pair(stride), dilations = dilation and pair(dilation) }
  local strides, dilations = attributes.strides, attributes.dilations or { 1, 1 }
  if padding == "same" and strides[1] == 1 and strides[2] == 1 then
    local rows = dilations[1] * (attributes.kernel_shape[1] - 1)
    local columns = dilations[2] * (attributes.kernel_shape[2] - 1)
    attributes.pads = { rows // 2, columns // 2, rows - rows // 2, columns - columns // 2 }
  elseif padding == "same" then
    local is_dilated = dilations[1] > 1 or dilations[2] > 1
    if is_dilated and not shape then
      raise("onnx: padding \"same\" with a stride and a dilation depends on the size of the image, and this layer is "
        .. "given several: give the padding as numbers")
    end
    local sides, bounded
    if shape then sides, bounded = same_in_numbers(shape, attributes.kernel_shape, strides, dilations) end
    if is_dilated or bounded then attributes.pads = sides else attributes.auto_pad = "SAME_UPPER" end
  elseif type(padding) == "table" then
    attributes.pads = { padding[1], padding[3], padding[2], padding[4] } -- top, left, bottom, right
  elseif padding ~= "valid" then
    attributes.pads = { padding, padding, padding, padding }
  end
  return attributes
end
