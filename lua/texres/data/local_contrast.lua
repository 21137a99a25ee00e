--- Local contrast of images: each pixel less the mean of the box around it, divided by the deviation in that box.
--
--     local even = set:map(function(image) return texres.data.local_contrast(image, { size = 15 }) end)
--
-- Uneven light and the shade of the cloth go away; what differs from its surroundings stays. It is no augmentation but
-- another image: what a model was trained on, it has to be given ever after. Map the training, validation and test sets
-- alike, and call it on each image before predict(); neither the model's file nor an ONNX file does it. As its values
-- have no range that begins at 0, such a model refuses images that were not mapped (texres.input).
-- @module texres.data.local_contrast

local core = require "texres.core"
local option = require "texres.options"
local raise = require "texres.raise"

local KNOWN = {
  size = option.integer(15, "[3, 1e6]"), -- pixels along a side of the box, odd; its size costs no time
  floor = option.number(0.02, "(0, inf)"), -- is added to the deviation, so that plain places do not show their noise
}

--- The local contrast of an image or of a batch.
-- @param images a float tensor {H,W}, {H,W,C} or {N,H,W,C}, each channel by itself; pixels in 0..1
-- @tparam[opt] table options size, floor
-- @return f32, of the same shape
return function(images, options)
  local o = option.read("local_contrast", options, KNOWN)
  if o.size % 2 == 0 then raise("local_contrast: size is %d, wanted an odd number: the box has a middle", o.size) end
  return core.local_contrast(images, o.size // 2, o.floor)
end
