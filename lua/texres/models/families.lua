--- The families of residual networks as rows of one table: each row is what texres.models.build is given, and each
-- function takes every option of it besides.
--
--     texres.models.resnet18 { in_channels = 1, classes = 6 }
--     texres.models.resnet50 { head = "mean_max", se = 16, zero_init = true }
--     texres.models.cifar_resnet { depth = 56, residual = false }
--     assert(texres.models.resnet18 { weights = "resnet18.safetensors" }) -- see texres.models.torchvision
--     texres.models.wide_resnet { stem = STEM, depth = 28, widen = 10, dropout = 0.3 }

local build = require "texres.models.build"
local option = require "texres.options"
local raise = require "texres.raise"
local torchvision = require "texres.models.torchvision"

--- Stages of these numbers of blocks, whose width doubles.
local function doubling(counts, width)
  local stages = {}
  for i, count in ipairs(counts) do stages[i] = { blocks = count, width = width << (i - 1) } end
  return stages
end

local function imagenet(block, counts, width, expansion)
  return { stem = { kernel = 7, stride = 2, width = 64, pool = true }, block = block, expansion = expansion,
    stages = doubling(counts, width or 64), classes = 1000 }
end

--- resnet18(options): the residual network of 18 layers, basic blocks, 11.7 million parameters, for images of 224
-- pixels; in_channels is 3, classes 1000. He, Zhang, Ren, Sun, 2016. Gives the network; with `weights` the network and
-- what fitted, or nil and a message. Beside the options of models.build there are
--
--     small_input   true: a 3x3 convolution of stride 1 without pooling at the front, for images of 32 or 64
--     weights       the path of those that torchvision has for this network: see texres.models.torchvision

--- resnet34(options): as resnet18 of 34 layers, basic blocks, 21.8 million parameters; small_input, weights and the
-- other options as for resnet18.

--- resnet50(options): as resnet18 of 50 layers, bottlenecks, 25.6 million parameters; small_input, weights and the
-- other options as for resnet18.

--- resnet101(options): as resnet18 of 101 layers, bottlenecks, 44.5 million parameters; small_input, weights and the
-- other options as for resnet18.

--- resnet152(options): as resnet18 of 152 layers, bottlenecks, 60.2 million parameters; small_input, weights and the
-- other options as for resnet18.

--- wide_resnet50_2(options): as resnet18 of 50 layers, bottlenecks twice as wide inside, 68.9 million parameters;
-- small_input, weights and the other options as for resnet18. Zagoruyko, Komodakis, 2016.

--- wide_resnet101_2(options): as resnet18 of 101 layers, bottlenecks twice as wide inside, 126.9 million parameters;
-- small_input, weights and the other options as for resnet18. Zagoruyko, Komodakis, 2016.

-- Networks of one depth.
local FIXED = {
  resnet18 = imagenet("basic", { 2, 2, 2, 2 }), -- 11,689,512 parameters
  resnet34 = imagenet("basic", { 3, 4, 6, 3 }), -- 21,797,672
  resnet50 = imagenet("bottleneck", { 3, 4, 6, 3 }), -- 25,557,032
  resnet101 = imagenet("bottleneck", { 3, 4, 23, 3 }), -- 44,549,160
  resnet152 = imagenet("bottleneck", { 3, 8, 36, 3 }), -- 60,192,808
  wide_resnet50_2 = imagenet("bottleneck", { 3, 4, 6, 3 }, 128, 2), -- 68,883,240
  wide_resnet101_2 = imagenet("bottleneck", { 3, 4, 23, 3 }, 128, 2), -- 126,886,696
}

--- cifar_resnet(options): the residual network for images of 32 pixels: three stages of width 16, 32, 64. The paper has
-- shortcut = "identity_pad". He, Zhang, Ren, Sun, 2016. Beside the options of models.build, but for stages, there are
--
--     depth         20; 6n+2, such as 32, 44, 56, 110, with bottlenecks 9n+2
--     widen         1; how many times as wide the stages are

--- cifar_preact(options): the same of preactivated blocks, block = "preact" or "preact_bottleneck"; depth, widen and
-- the other options as for cifar_resnet. He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", 2016.

--- wide_resnet(options): WRN-depth-widen: preactivated blocks, depth (28) is 6n+4, such as 16, 22, 40, `widen` (10)
-- times as wide; the other options as for cifar_resnet. Zagoruyko, Komodakis, "Wide residual networks", 2016.

-- Networks of any depth. `beside`: layers that stand in no block, as the papers count them.
local STEM = { width = 16 }
local DEEP = {
  -- depths 20, 32, 44, 56, 110: 6n+2, with bottlenecks 9n+2. The paper has shortcut = "identity_pad".
  cifar_resnet = { stem = STEM, depth = 20, beside = 2, widen = 1 },
  -- the same with block = "preact" or "preact_bottleneck"
  cifar_preact = { stem = STEM, depth = 20, beside = 2, widen = 1, block = "preact" },
  -- WRN-depth-widen: 16, 22, 28, 40: 6n+4
  wide_resnet = { stem = STEM, depth = 28, beside = 4, widen = 10, block = "preact" },
}

-- -- rows as functions ------------------------------------------------------------------------------------------------

--- The options of build and some more, with the defaults of a row.
local function options_of(row, more)
  local known = {}
  for name, rule in pairs(build.KNOWN) do known[name] = rule end
  for name, rule in pairs(more) do known[name] = rule end
  for name, value in pairs(row) do
    local rule = known[name]
    if rule then known[name] = setmetatable({ default = value }, { __index = rule }) end
  end
  return known
end

local function fixed(name, row)
  local known = options_of(row, { small_input = option.switch(false), weights = option.PATH })
  return function(options)
    local o = option.read(name, options, known)
    if o.small_input then o.stem = { width = 64 } end
    o.name = o.name or name
    local net = build.make(name, o)
    if o.weights then return torchvision.fill(net, o.weights) end
    return net
  end
end

local function deep(name, row)
  local known = options_of(row, { depth = option.integer(nil, "[1, 10000]"), widen = option.integer(nil, "[1, 1000]") })
  known.stages = nil
  return function(options)
    local o = option.read(name, options, known)
    local of_block = o.block:find "bottleneck" and 3 or 2
    local blocks = (o.depth - row.beside) // (3 * of_block)
    if blocks < 1 or row.beside + 3 * of_block * blocks ~= o.depth then
      raise("%s: depth is %dn+%d, such as %d, %d, %d; got %d", name, 3 * of_block, row.beside,
        3 * of_block + row.beside, 9 * of_block + row.beside, 27 * of_block + row.beside, o.depth)
    end
    o.stages = doubling({ blocks, blocks, blocks }, 16 * o.widen)
    o.name = o.name or ("%s%s%d%s"):format(name, o.residual and "" or "_plain", o.depth,
      row.widen ~= 1 and ("_%d"):format(o.widen) or "")
    return build.make(name, o)
  end
end

local families = {}
for name, row in pairs(FIXED) do families[name] = fixed(name, row) end
for name, row in pairs(DEEP) do families[name] = deep(name, row) end

return families
