--- Bilinear interpolation as products with matrices that have one hat function per row.

local core = require "texres.core"

local resample = {}

-- The matrix f32 {#places, n} that interpolates n values, at 0 .. n - 1, at `places`, a tensor {m}.
local function hats(places, n)
  local nodes = core.arange(0, n - 1, { dtype = "f32" })
  return (1 - (places:clamp(0, n - 1):unsqueeze(2) - nodes:unsqueeze(1)):abs()):clamp { min = 0 }
end

-- Where `size` pixels stand among n cells, the first of which is 0: as `axis` says (see layers.grid), else as if the
-- cells were pixels that are as wide as the image together.
local function places(size, n, axis)
  local pixels = core.arange(0, size - 1, { dtype = "f32" })
  if axis then return (pixels - axis.first) / axis.step end
  return (pixels + 0.5) * (n / size) - 0.5
end

--- A map f32 {h,w} with the size {height,width}; beyond its outermost cells it stays what it is there. Without `rows`
-- and `columns` it is PyTorch's interpolate, mode="bilinear", align_corners=False.
function resample.map(map, height, width, rows, columns)
  local h, w = map:size(1), map:size(2)
  local down, right = hats(places(height, h, rows), h), hats(places(width, w, columns), w)
  return down:matmul(map):matmul(right:transpose(1, 2))
end

--- A table {n,C} of colours as one of `count` rows, evenly spaced from its first to its last.
function resample.table(rows, count)
  local n = rows:size(1)
  return hats(core.arange(0, count - 1, { dtype = "f32" }) * ((n - 1) / (count - 1)), n):matmul(rows)
end

return resample
