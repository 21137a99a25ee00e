--- What makes class scores of the last feature maps {N,H,W,C}: lists of items for a Sequential, by name.
--
--     gap         the mean of each channel, which sees the whole image, then a dense layer
--     gmp         the largest value of each channel: what is somewhere, then a dense layer
--     mean_max    both of them side by side, then a dense layer
--     conv        that of the published textile network, for maps of 8 x 8, at most 9 x 9

local nn = require "texres.nn"

local heads = {}

local function with_fc(pool, inputs, classes) return { pool, { fc = nn.Linear(inputs, classes) } } end

--- gap: the mean of each channel, which sees the whole image.
function heads.gap(channels, classes) return with_fc(nn.GlobalAvgPool(), channels, classes) end

--- gmp: the largest value of each channel: what is somewhere.
function heads.gmp(channels, classes) return with_fc(nn.GlobalMaxPool(), channels, classes) end

--- mean_max: both side by side.
function heads.mean_max(channels, classes)
  return with_fc(nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, 2 * channels, classes)
end

--- conv: as in the published textile network, for maps of 8x8 (at most 9x9): a 3x3 convolution of stride 9 to twice the
-- channels, which looks at 3 of 8 rows and columns (model:check says what of the image that is).
function heads.conv(channels, classes)
  local conv = nn.Sequential {
    { conv = nn.Conv2d(channels, 2 * channels, 3, { stride = 9, padding = "same", bias = false }) },
    { norm = nn.BatchNorm(2 * channels) }, nn.ReLU(),
  }
  return { { conv = conv }, nn.Flatten(), { fc = nn.Linear(2 * channels, classes) } }
end

return heads
