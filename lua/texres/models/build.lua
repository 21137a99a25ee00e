--- Residual networks from a table: `texres.models.build(options)`.
--
--     local net = texres.models.build {
--       stem = "cifar", stages = { { blocks = 2, width = 16 }, { blocks = 2, width = 32 } },
--       block = "preact", shortcut = "projection", se = 16, in_channels = 1, classes = 6,
--     }
--
-- What comes out is a Sequential of layers named conv1, norm1, stage1, stage2, ..., fc: it is saved in a model's file
-- and built from it without running code. Blocks:
--
--     basic              conv 3x3, norm, ReLU, conv 3x3, norm; ReLU after the sum
--     bottleneck         1x1 down, 3x3, 1x1 up to `expansion` times the width, each with norm; ReLU after the sum
--     preact             norm, ReLU, conv 3x3, norm, ReLU, conv 3x3; nothing after the sum (He et al. 2016b)
--     preact_bottleneck  the same with three convolutions
--
-- The stride stands in the first 3x3 convolution. Shortcuts, where a block changes the shape (options A, B, C of He et
-- al. 2016a):
--
--     identity_pad       A: every other pixel, zeros for the new channels, of which there are never less; no parameters
--     projection         B: a 1x1 convolution with norm (in preact blocks a 1x1 convolution of what norm and ReLU give)
--     projection_all     C: the same in every block
--
-- He, Zhang, Ren, Sun: "Deep residual learning for image recognition", 2016 (a); "Identity mappings in deep residual
-- networks", 2016 (b). Stochastic depth: Huang et al. 2016. Squeeze and excitation: Hu et al. 2018. zero_init: Goyal et
-- al. 2017. Dropout between the convolutions: Zagoruyko, Komodakis, "Wide residual networks", 2016.

local heads = require "texres.models.heads"
local nn = require "texres.nn"
local option = require "texres.options"
local raise = require "texres.raise"

local build = {}

local RATE = option.number(0, "[0, 1]")

--- The options, by name.
build.KNOWN = {
  name = option.text(), -- for summaries and errors
  in_channels = option.integer(3, "[1, inf)"), -- of the images
  classes = option.integer(10, "[1, inf)"), -- outputs
  stem = option.any "cifar", -- "cifar", "imagenet", or { kernel =, stride =, width =, pool = }
  stages = option.any(), -- a list of { blocks =, width =, stride = }
  block = option.choice("basic", { "basic", "bottleneck", "preact", "preact_bottleneck" }), -- what stages are made of
  expansion = option.integer(4, "[1, inf)"), -- of bottlenecks: outputs for each channel of their width
  shortcut = option.choice("projection", { "identity_pad", "projection", "projection_all" }), -- where shapes change
  residual = option.switch(true), -- false: the plain network of the same layers, without shortcuts
  norm = option.choice("batch", { "batch", "none" }), -- none: convolutions have a bias instead
  zero_init = option.switch(false), -- what ends each body begins at 0, and so each block as the identity
  stochastic_depth = RATE, -- the chance with which the last block is left out in training; less for those before it
  dropout = RATE, -- before the last 3x3 convolution of a block
  se = option.integer(nil, "[1, inf)"), -- squeeze-excitation at the end of each body, with channels // se in between
  head = option.choice("gap", { "gap", "gmp", "mean_max", "conv" }), -- see texres.models.heads
  checkpoint = option.switch(false), -- less memory and more time in training: see nn.Sequential
}

local STAGE = {
  blocks = option.integer(1, "[1, 10000]"), width = option.integer(64, "[1, inf)"),
  stride = option.integer(nil, "[1, inf)"), -- of the first block; by default 1 in the first stage, 2 in the others
}

local STEM = {
  kernel = option.integer(3, "[1, inf)"), stride = option.integer(1, "[1, inf)"),
  width = option.integer(nil, "[1, inf)"), -- by default that of the first stage
  pool = option.switch(false), -- a 3x3 max pooling of stride 2 behind it
}

local STEMS = { cifar = {}, imagenet = { kernel = 7, stride = 2, pool = true } }

-- -- layers -----------------------------------------------------------------------------------------------------------

--- What a convolution and the norm behind it are in this network.
local function layers_of(o)
  local layers = {}

  function layers.conv(c_in, c_out, kernel, stride)
    return nn.Conv2d(c_in, c_out, kernel, { stride = stride, padding = kernel // 2, bias = o.norm == "none" })
  end

  --- Adds a norm under this name, where there are norms.
  function layers.add_norm(items, name, channels)
    if o.norm ~= "none" then items[#items + 1] = { [name] = nn.BatchNorm(channels) } end
  end

  return layers
end

--- The convolutions of a body: { kernel, channels in, channels out, stride }.
local function convolutions(o, c_in, width, stride)
  if o.block:find "bottleneck" then
    return { { 1, c_in, width, 1 }, { 3, width, width, stride }, { 1, width, o.expansion * width, 1 } }
  end
  return { { 3, c_in, width, stride }, { 3, width, width, 1 } }
end

--- What ends a body at 0: the factor of a norm, or the weight of a convolution, where there is no norm behind it. (The
-- factor of a norm before a ReLU must not be 0: no gradient goes through a ReLU at 0, and the block would never learn.)
local function begin_as_identity(items)
  for i = #items, 1, -1 do
    local _, layer = next(items[i])
    local last = nn.is_module(layer) and (rawget(layer, "gamma") or rawget(layer, "weight"))
    if last then
      nn.init.zeros(last)
      return
    end
  end
end

--- What may stand at the end of a body.
local function add_ends(o, items, channels, drop)
  if o.zero_init and o.residual then begin_as_identity(items) end
  if o.se then items[#items + 1] = { se = nn.SqueezeExcitation(channels, { reduction = o.se }) } end
  if o.residual and drop > 0 then items[#items + 1] = { drop = nn.StochasticDepth(drop) } end
end

-- -- blocks -----------------------------------------------------------------------------------------------------------

local function shortcut(o, layers, c_in, c_out, stride, preact)
  local same = c_in == c_out and stride == 1
  if same and o.shortcut ~= "projection_all" then return nil end
  if o.shortcut == "identity_pad" then
    if c_out < c_in then
      raise('%s: shortcut "identity_pad" does not lead from %d channels to %d, "projection" does', o.where, c_in, c_out)
    end
    return nn.PadShortcut(c_in, c_out, { stride = stride })
  end
  local conv = layers.conv(c_in, c_out, 1, stride)
  if preact then return conv end
  local items = { { conv = conv } }
  layers.add_norm(items, "norm", c_out)
  return nn.Sequential(items)
end

--- Convolutions, each with norm and ReLU behind it but for the last, whose ReLU stands behind the sum.
local function post_activation(o, layers, c_in, width, stride, drop)
  local items, convs = {}, convolutions(o, c_in, width, stride)
  local c_out = convs[#convs][3]
  for i, c in ipairs(convs) do
    if o.dropout > 0 and i == 2 then items[#items + 1] = nn.Dropout(o.dropout) end
    items[#items + 1] = { ["conv" .. i] = layers.conv(c[2], c[3], c[1], c[4]) }
    layers.add_norm(items, "norm" .. i, c[3])
    if i < #convs then items[#items + 1] = nn.ReLU() end
  end
  add_ends(o, items, c_out, drop)
  if o.residual then
    items.shortcut, items.activation = shortcut(o, layers, c_in, c_out, stride, false), nn.ReLU()
    return nn.Residual(items), c_out
  end
  items[#items + 1] = nn.ReLU()
  return nn.Sequential(items), c_out
end

--- Convolutions, each with norm and ReLU before it. A projection takes what the first norm and ReLU give.
local function pre_activation(o, layers, c_in, width, stride, drop)
  local before, items, convs = {}, {}, convolutions(o, c_in, width, stride)
  local c_out = convs[#convs][3]
  local skip = o.residual and shortcut(o, layers, c_in, c_out, stride, true)
  local shared = skip and o.shortcut ~= "identity_pad" and before or items
  for i, c in ipairs(convs) do
    local into = i == 1 and shared or items
    layers.add_norm(into, "norm" .. i, c[2])
    into[#into + 1] = nn.ReLU()
    if o.dropout > 0 and i == 2 then items[#items + 1] = nn.Dropout(o.dropout) end
    items[#items + 1] = { ["conv" .. i] = layers.conv(c[2], c[3], c[1], c[4]) }
  end
  add_ends(o, items, c_out, drop)
  if not o.residual then return nn.Sequential(items), c_out end
  items.shortcut = skip
  if #before == 0 then return nn.Residual(items), c_out end
  before[#before + 1] = { sum = nn.Residual(items) }
  return nn.Sequential(before), c_out
end

-- -- the whole --------------------------------------------------------------------------------------------------------

local function read_stem(where, given, first_width)
  local stem = type(given) == "string" and STEMS[given] or given
  if type(stem) ~= "table" then
    raise('%s: stem is %s, wanted "cifar", "imagenet" or a table such as { kernel = 3, stride = 2, width = 32 }',
      where, option.shown(given))
  end
  stem = option.read(where .. ": stem", stem, STEM)
  stem.width = stem.width or first_width
  return stem
end

--- The stages in full, and how many blocks they have.
local function read_stages(where, given)
  if type(given) ~= "table" or #given == 0 then
    raise("%s: stages is %s, wanted a list such as { { blocks = 2, width = 64 }, { blocks = 2, width = 128 } }",
      where, option.shown(given))
  end
  option.list(where, "stages", given)
  local stages, count = {}, 0
  for s, stage in ipairs(given) do
    stages[s] = option.read(("%s: stage %d"):format(where, s), stage, STAGE)
    stages[s].stride = stages[s].stride or (s == 1 and 1 or 2)
    count = count + stages[s].blocks
  end
  return stages, count
end

--- Builds a network of options that `where`, a function, was given in full: a Sequential that takes images
-- {N,H,W,in_channels} and gives {N,classes}.
function build.make(where, o)
  o.where = where -- for messages
  local stages, count = read_stages(where, o.stages)
  local layers, stem = layers_of(o), read_stem(where, o.stem, stages[1].width)
  local preact = o.block:find "preact"
  local block = preact and pre_activation or post_activation
  local net = { name = o.name, { conv1 = layers.conv(o.in_channels, stem.width, stem.kernel, stem.stride) } }
  if not preact then
    layers.add_norm(net, "norm1", stem.width)
    net[#net + 1] = nn.ReLU()
  end
  if stem.pool then net[#net + 1] = { pool = nn.MaxPool2d(3, { stride = 2, padding = 1 }) } end
  local channels, done = stem.width, 0
  for s, stage in ipairs(stages) do
    local blocks = { checkpoint = o.checkpoint }
    for b = 1, stage.blocks do
      done = done + 1
      blocks[b], channels = block(o, layers, channels, stage.width, b == 1 and stage.stride or 1,
        o.stochastic_depth * done / count)
    end
    net[#net + 1] = { ["stage" .. s] = nn.Sequential(blocks) }
  end
  if preact then
    layers.add_norm(net, "norm", channels)
    net[#net + 1] = nn.ReLU()
  end
  for _, item in ipairs(heads[o.head](channels, o.classes)) do net[#net + 1] = item end
  return nn.Sequential(net)
end

--- A residual network of these options: a Sequential that takes images {N,H,W,in_channels} and gives {N,classes}.
function build.build(options) return build.make("build", option.read("build", options, build.KNOWN)) end

return build
