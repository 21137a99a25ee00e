--- ResNets of torchvision: their weights in networks of texres. In Python,
--
--     net = torchvision.models.resnet18(weights="DEFAULT")
--     safetensors.torch.save_file(net.state_dict(), "resnet18.safetensors")
--
-- and here
--
--     local net = assert(texres.models.resnet18 { weights = "resnet18.safetensors", in_channels = 1, classes = 6 })
--
-- With in_channels = 1 the filters of the first convolution are summed over the three colours: what the network takes
-- gives what it gives three times over. (ImageNet's normalization, of which gray images have the mean, is not quite the
-- same for all colours: a photograph in gray gives nearly what its three equal colours give.) Where `classes` or `head`
-- is another than in the file, the head starts as a new one. The normalization of ImageNet's images comes along: a
-- trainer and a classifier apply it.

local input = require "texres.input"
local option = require "texres.options"

local torchvision = {}

-- Of the images that torchvision's networks were trained on, red, green and blue in 0..1.
local MEAN, STD = { 0.485, 0.456, 0.406 }, { 0.229, 0.224, 0.225 }
local SIZE = 224

local RENAMED = {
  { "downsample%.0%.", "shortcut.conv." }, { "downsample%.1%.", "shortcut.norm." }, { "bn(%d)%.", "norm%1." },
  { "(norm%d?%.)weight$", "%1gamma" }, { "(norm%d?%.)bias$", "%1beta" },
}

--- A tensor of torchvision's under its name and in its layout here, for module:load(path, { map = ... }); nil for the
-- counters of batches, which nothing here needs.
--
--     layer2.0.downsample.1.weight   stage2.1.shortcut.norm.gamma
--     conv1.weight {K,C,R,S}         conv1.weight {R,S,C,K}
function torchvision.map(name, t)
  option.check("torchvision", "name", name, option.text())
  option.check("torchvision", "t", t, option.TENSOR)
  if name:find "num_batches_tracked$" then return nil end
  name = name:gsub("^layer(%d)%.(%d%d?)%.", function(stage, block) return ("stage%s.%d."):format(stage, block + 1) end)
  for _, rule in ipairs(RENAMED) do name = name:gsub(rule[1], rule[2]) end
  if t:dim() == 4 then return name, t:permute(3, 4, 2, 1) end
  return name, t:dim() == 2 and t:permute(2, 1) or t
end

--- The same for a network whose first convolution may take gray images.
local function map_for(net)
  local gray = net.conv1.weight:size(3) == 1
  return function(name, t)
    local new, turned = torchvision.map(name, t)
    if new == "conv1.weight" and gray and turned:dim() == 4 then turned = turned:sum(3, true) end
    return new, turned
  end
end

local function mean_of(list) return (list[1] + list[2] + list[3]) / 3 end

--- What the network takes: ImageNet's normalization; of gray images their mean over the colours.
local function input_of(channels)
  local normalization = { mean = MEAN, std = STD }
  if channels == 1 then normalization = { mean = mean_of(MEAN), std = mean_of(STD) } end
  return input.new { input = { SIZE, SIZE, channels }, normalization = normalization }
end

-- Whether a name, or a message that begins with one, is of what may be otherwise: the head, and what is not needed.
local function is_optional(text)
  return text:find "^fc%." ~= nil or text:find "^conv%." ~= nil or text:find "num_batches_tracked$" ~= nil
end

--- What of a file's weights and the network's is not in its place, the head aside; nil where all is.
local function misfit(fitted)
  for _, row in ipairs {
    { fitted.missing, "there is no %s" }, { fitted.different, "%s" }, { fitted.left_over, "the network has no %s" },
  } do
    for _, name in ipairs(row[1]) do
      if not is_optional(name) then return row[2]:format(name) end
    end
  end
end

--- Fills a new network with the weights of a file: the network and what fitted (see Module:load), or nil and a message
-- where anything but the head is missing, of another shape, or has no place.
function torchvision.fill(net, path)
  local fitted, message = net:load(path, { strict = false, map = map_for(net) })
  if not fitted then return nil, message end
  local problem = misfit(fitted)
  if problem then
    return nil, ("%s: not torchvision's weights of this network: %s (net:load(path, { strict = false, map = "
      .. "texres.models.torchvision }) takes what fits)"):format(path, problem)
  end
  local channels = net.conv1.weight:size(3)
  if channels == 1 or channels == 3 then input.give(net, input_of(channels)) end
  return net, fitted
end

return torchvision
