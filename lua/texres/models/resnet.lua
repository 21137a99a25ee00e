--- Residual networks of He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2016.
--
-- A block is a Residual with a ReLU after the sum; where the shape changes, the shortcut is a 1x1 convolution with
-- batch norm (option B of the paper). Bottlenecks carry the stride in their 3x3 convolution, as torchvision's do.

local nn = require "texres.nn"
local raise = require "texres.raise"
local option = require "texres.options"

local function conv(c_in, c_out, kernel, stride)
  return nn.Conv2d(c_in, c_out, kernel, { stride = stride, padding = kernel // 2, bias = false })
end

local function projection(c_in, c_out, stride)
  if stride == 1 and c_in == c_out then return nil end
  return nn.Sequential { { conv = conv(c_in, c_out, 1, stride) }, { norm = nn.BatchNorm(c_out) } }
end

-- Two 3x3 convolutions.
local function basic(c_in, width, stride)
  return nn.Residual {
    { conv1 = conv(c_in, width, 3, stride) }, { norm1 = nn.BatchNorm(width) }, nn.ReLU(),
    { conv2 = conv(width, width, 3, 1) }, { norm2 = nn.BatchNorm(width) },
    shortcut = projection(c_in, width, stride), activation = nn.ReLU(),
  }, width
end

-- 1x1 down, 3x3, 1x1 up to four times the width.
local function bottleneck(c_in, width, stride)
  return nn.Residual {
    { conv1 = conv(c_in, width, 1, 1) }, { norm1 = nn.BatchNorm(width) }, nn.ReLU(),
    { conv2 = conv(width, width, 3, stride) }, { norm2 = nn.BatchNorm(width) }, nn.ReLU(),
    { conv3 = conv(width, 4 * width, 1, 1) }, { norm3 = nn.BatchNorm(4 * width) },
    shortcut = projection(c_in, 4 * width, stride), activation = nn.ReLU(),
  }, 4 * width
end

-- The layers of basic() without the sum: for comparing with a plain network of the same depth.
local function plain(c_in, width, stride)
  return nn.Sequential {
    { conv1 = conv(c_in, width, 3, stride) }, { norm1 = nn.BatchNorm(width) }, nn.ReLU(),
    { conv2 = conv(width, width, 3, 1) }, { norm2 = nn.BatchNorm(width) }, nn.ReLU(),
  }, width
end

-- `count` blocks, the first with this stride; returns the stage and its number of channels.
local function stage(block, c_in, width, count, stride)
  local blocks = {}
  for i = 1, count do blocks[i], c_in = block(c_in, width, i == 1 and stride or 1) end
  return nn.Sequential(blocks), c_in
end

-- The stem of the ImageNet networks; `small` keeps the resolution, for images of 32 or 64 pixels.
local function stem(c_in, small)
  if small then
    return { { conv1 = conv(c_in, 64, 3, 1) }, { norm1 = nn.BatchNorm(64) }, nn.ReLU() }
  end
  return {
    { conv1 = conv(c_in, 64, 7, 2) }, { norm1 = nn.BatchNorm(64) }, nn.ReLU(),
    { pool = nn.MaxPool2d(3, { stride = 2, padding = 1 }) },
  }
end

-- Appends the stages and the head to the layers; widths double from stage to stage.
local function finish(layers, name, block, width, counts, c_in, classes)
  for i, count in ipairs(counts) do
    local made
    made, c_in = stage(block, c_in, width << (i - 1), count, i == 1 and 1 or 2)
    layers[#layers + 1] = { ["stage" .. i] = made }
  end
  layers[#layers + 1] = nn.GlobalAvgPool()
  layers[#layers + 1] = { fc = nn.Linear(c_in, classes) }
  layers.name = name
  return nn.Sequential(layers)
end

local function imagenet(name, block, counts)
  return function(options)
    local o = option.read(name, options, {
      in_channels = option.integer(3, "[1, inf)"), classes = option.integer(1000, "[1, inf)"),
      small_input = option.switch(false),
    })
    return finish(stem(o.in_channels, o.small_input), name, block, 64, counts, 64, o.classes)
  end
end

local resnet = {
  --- resnet18{in_channels=3, classes=1000, small_input=false}: 11,689,512 parameters by default. small_input: a 3x3
  -- convolution of stride 1 without pooling at the front, for images of 32 or 64 pixels.
  resnet18 = imagenet("resnet18", basic, { 2, 2, 2, 2 }),
  --- resnet34{...}, options as resnet18.
  resnet34 = imagenet("resnet34", basic, { 3, 4, 6, 3 }),
  --- resnet50{...}, options as resnet18: 25,557,032 parameters by default.
  resnet50 = imagenet("resnet50", bottleneck, { 3, 4, 6, 3 }),
}

--- cifar_resnet{depth=20, residual=true, in_channels=3, classes=10}: 6n+2 layers for 32x32 images, widths 16, 32, 64.
--
-- Shortcuts between stages are projections (option B), so parameter counts are slightly above the paper's option A.
-- residual=false: the plain network of the same layers.
function resnet.cifar_resnet(options)
  local o = option.read("cifar_resnet", options, {
    depth = option.integer(20, "[1, inf)"), residual = option.switch(true),
    in_channels = option.integer(3, "[1, inf)"), classes = option.integer(10, "[1, inf)"),
  })
  local depth = o.depth
  if depth < 8 or (depth - 2) % 6 ~= 0 then
    raise("cifar_resnet: depth is 6n+2 (8, 14, 20, 32, 44, 56, 110), got %d", depth)
  end
  local n = (depth - 2) // 6
  local layers = { { conv1 = conv(o.in_channels, 16, 3, 1) }, { norm1 = nn.BatchNorm(16) }, nn.ReLU() }
  local name = (o.residual and "cifar_resnet%d" or "cifar_plain%d"):format(depth)
  return finish(layers, name, o.residual and basic or plain, 16, { n, n, n }, 16, o.classes)
end

return resnet
