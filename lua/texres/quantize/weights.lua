--- Weights of convolutions and dense layers as whole numbers. csrc/kernels/quantized.h says what is computed with them.
--
-- direct: 8 bits, one scale for each output channel, rounded so that sums change least (texres.quantize.rounding).
-- winograd: U = G w G^T of a 3x3 convolution in 16 bits, with a
-- scale for each of the 36 elements and each output channel, as fine as the sums over the input channels allow: they
-- are to stay in 32 bits whatever the image holds.

local core = require "texres.core"
local rounding = require "texres.quantize.rounding"

local weights = {}

local LARGEST_8, LARGEST_16, LARGEST_SUM = 127, 32767, 0x7fffffff
local LARGEST_BYTE = 255

-- Whole numbers of a tensor of f64, below 0 as two's complement of so many bits.
local function unsigned(t, bits) return t + t:lt(0):to "f64" * (1 << bits) end

-- Scales, with 1 in the place of 0.
local function not_zero(scale) return scale + scale:eq(0):to "f64" end

--- The bytes of a weight {...,K} in 8 bits, the scale {K} of each channel, and what they are worth, both f64. `seen`:
-- what texres.quantize.rounding has gathered of its inputs; without it each is rounded to the nearest.
function weights.direct(weight, seen)
  local w = weight:detach():to "f64"
  local channels = w:size(-1)
  local flat = w:reshape(-1, channels)
  local scale = not_zero(flat:abs():max(1) / LARGEST_8)
  local whole = (seen and rounding.whole(flat, scale, seen) or (flat / scale):round()):reshape(w:shape())
  return unsigned(whole, 8):to "u8", scale, whole * scale
end

local LARGEST_CACHED = 128 * 128 -- input times output channels whose transformed weights stay in the second cache
local FEWEST = 32 -- channels of both for which the transforms cost less than the products that they save

--- How a convolution or dense layer is computed: direct or winograd.
function weights.method(step)
  if step.op ~= "conv" then return "direct" end
  local r, s, c, k = step.weight:size()
  local is_3x3 = r == 3 and s == 3 and step.stride[1] == 1 and step.stride[2] == 1 and step.dilation[1] == 1
    and step.dilation[2] == 1 and step.groups == 1
  local pays = math.min(c, k) >= FEWEST and c % 16 == 0 and k % 16 == 0 and c * k <= LARGEST_CACHED
  return is_3x3 and pays and "winograd" or "direct"
end

--- Whether sums of such a weight stay in 32 bits: `taps` products for each output.
function weights.fits_direct(taps) return taps * LARGEST_8 * LARGEST_BYTE <= LARGEST_SUM end

--- Whether the weights of a step are rounded by what its inputs are.
function weights.can_be_fitted(step)
  return step.weight ~= nil and weights.method(step) == "direct" and rounding.is_for(step)
end

-- -- Winograd ---------------------------------------------------------------------------------------------------------

local G = {
  { 1 / 4, 0, 0 }, { -1 / 6, -1 / 6, -1 / 6 }, { -1 / 6, 1 / 6, -1 / 6 }, { 1 / 24, 1 / 12, 1 / 6 },
  { 1 / 24, -1 / 12, 1 / 6 }, { 0, 0, 1 },
}
local BT = {
  { 4, 0, -5, 0, 1, 0 }, { 0, -4, -4, 1, 1, 0 }, { 0, 4, -4, -1, 1, 0 }, { 0, -2, -1, 2, 1, 0 },
  { 0, 2, -1, -2, 1, 0 }, { 0, 4, 0, -5, 0, 1 },
}
local ELEMENTS = 36

weights.BT = BT

-- The largest that each element of B^T x B can be, of bytes less their zero: {36,1,1}.
local function element_bounds()
  local bounds = {}
  for i, row in ipairs(BT) do
    for j, column in ipairs(BT) do
      local positive, negative = 0, 0
      for _, a in ipairs(row) do
        for _, b in ipairs(column) do
          positive, negative = positive + math.max(a * b, 0), negative + math.max(-a * b, 0)
        end
      end
      bounds[6 * (i - 1) + j] = LARGEST_BYTE * math.max(positive, negative)
    end
  end
  return core.tensor(bounds, { dtype = "f64" }):reshape(ELEMENTS, 1, 1)
end

-- G w G^T of a weight {3,3,C,K}: {36,C,K}.
local function transformed(w)
  local g, c, k = core.tensor(G, { dtype = "f64" }), w:size(3), w:size(4)
  local half = g:matmul(w:reshape(3, 3 * c * k)):reshape(6, 3, c * k) -- {6,3,CK}
  local across = half:permute(2, 1, 3):reshape(3, 6 * c * k)
  return g:matmul(across):reshape(6, 6, c * k):permute(2, 1, 3):reshape(ELEMENTS, c, k)
end

--- The bytes {36,C,K,2} of a weight {3,3,C,K} in 16 bits, little-endian, and the scales {36,K}, f64.
function weights.winograd(weight)
  local u = transformed(weight:detach():to "f64")
  local c, k = u:size(2), u:size(3)
  local size, bound = u:abs(), element_bounds()
  local room = LARGEST_SUM - bound * (c / 2) -- what rounding may add
  local by_sum = (size:sum(2, true) * bound / room):reshape(ELEMENTS, k)
  local scale = not_zero(core.maximum(size:max(2) / LARGEST_16, by_sum))
  local whole = unsigned((u / scale:reshape(ELEMENTS, 1, k)):round(), 16)
  local high = (whole / 256):floor()
  return core.stack({ whole - high * 256, high }, 4):to "u8", scale
end

return weights
