--- How the windows of convolutions and poolings are written in ONNX.

local raise = require "texres.raise"

local function pair(value)
  if type(value) == "table" then return { value[1], value[2] } end
  return { value, value }
end

--- The attributes kernel_shape, strides, dilations (nil: none) and those of the padding. "same" depends on the image's
-- size where the stride is not 1, and onnxruntime refuses auto_pad together with a dilation.
return function(kernel, stride, padding, dilation)
  local attributes = { kernel_shape = pair(kernel), strides = pair(stride), dilations = dilation and pair(dilation) }
  local strides, dilations = attributes.strides, attributes.dilations or { 1, 1 }
  if padding == "same" and strides[1] == 1 and strides[2] == 1 then
    local rows = dilations[1] * (attributes.kernel_shape[1] - 1)
    local columns = dilations[2] * (attributes.kernel_shape[2] - 1)
    attributes.pads = { rows // 2, columns // 2, rows - rows // 2, columns - columns // 2 }
  elseif padding == "same" then
    if dilations[1] > 1 or dilations[2] > 1 then
      raise "onnx: padding \"same\" with a stride and a dilation cannot be written; give the padding as numbers"
    end
    attributes.auto_pad = "SAME_UPPER"
  elseif type(padding) == "table" then
    attributes.pads = { padding[1], padding[3], padding[2], padding[4] } -- top, left, bottom, right
  elseif padding ~= "valid" then
    attributes.pads = { padding, padding, padding, padding }
  end
  return attributes
end
