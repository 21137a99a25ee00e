--- The textile network: three residual blocks, one for each resolution.
--
--     x {N,64,64,C} -> conv 3x3/2 w -> x+F(x) -> conv 3x3/2 2w -> x+F(x) -> conv 3x3/2 4w -> x+F(x) -> head ->
-- {N,classes}
--
-- conv stands for convolution (padding 1, no bias), batch norm, ReLU; F is such a conv of stride 1.

local heads = require "texres.models.heads"
local nn = require "texres.nn"
local option = require "texres.options"

local function conv(c_in, c_out, stride)
  return nn.Sequential {
    { conv = nn.Conv2d(c_in, c_out, 3, { stride = stride or 1, padding = 1, bias = false }) },
    { norm = nn.BatchNorm(c_out) },
    nn.ReLU(),
  }
end

local KNOWN = {
  width = option.integer(64, "[1, inf)"), head = option.choice("gap", { "gap", "gmp", "mean_max", "conv" }),
  in_channels = option.integer(1, "[1, inf)"), classes = option.integer(6, "[1, inf)"),
}

--- textile{width=64, head="gap", in_channels=1, classes=6}: the network as a Sequential, from images
-- {N,H,W,in_channels} of 64 pixels (others fit every head but conv) to {N,classes}. head: "gap", "gmp", "mean_max" or
-- "conv", see texres.models.heads; conv is that of the published network.
return function(options)
  local o = option.read("textile", options, KNOWN)
  local w = o.width
  return nn.Sequential {
    name = "textile",
    { conv1 = conv(o.in_channels, w, 2) }, { block1 = nn.Residual { conv(w, w) } },
    { conv2 = conv(w, 2 * w, 2) }, { block2 = nn.Residual { conv(2 * w, 2 * w) } },
    { conv3 = conv(2 * w, 4 * w, 2) }, { block3 = nn.Residual { conv(4 * w, 4 * w) } },
    { head = nn.Sequential(heads[o.head](4 * w, o.classes)) },
  }
end
