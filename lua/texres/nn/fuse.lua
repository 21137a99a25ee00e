--- module:fuse(): batch norm folded into the convolution or dense layer before it, for inference.
--
-- In evaluation batch norm is a factor and a shift per channel, gamma / sqrt(var + eps) and beta - mean * factor; the
-- layer before takes them into its weight and bias, and an Identity is left in the place of the BatchNorm, so that
-- names stay as they are.

local core = require "texres.core"
local module = require "texres.nn.module"
local BatchNorm = require("texres.nn.norm").BatchNorm
local Conv2d = require("texres.nn.conv").Conv2d
local Identity = require("texres.nn.shape").Identity
local Linear = require("texres.nn.linear").Linear
local is_plain = module.is_plain

-- Takes norm into layer, whose weight has the output channels last.
local function fold(layer, norm)
  local factor = norm.gamma / (norm.running_var + norm.eps):sqrt()
  local bias = rawget(layer, "bias") or core.zeros_like(norm.beta)
  layer.weight = module.Parameter(layer.weight * factor)
  layer.bias = module.Parameter((bias - norm.running_mean) * factor + norm.beta)
end

-- Says in the description of a layer that it has a bias now; its options stand at position `at`.
local function describe_bias(layer, at)
  local arguments, options = layer._arguments, { bias = true }
  for name, value in pairs(arguments[at] or {}) do
    if name ~= "bias" then options[name] = value end
  end
  local changed = table.pack(table.unpack(arguments, 1, at - 1))
  changed[at], changed.n = options, at
  rawset(layer, "_arguments", changed)
end

-- How often each module stands in a container: what stands twice cannot be changed for one place.
local function count_places(self)
  local places = {}
  for _, m in ipairs(self:modules()) do
    for _, key in ipairs(rawget(m, "_items") or {}) do places[m[key]] = (places[m[key]] or 0) + 1 end
  end
  return places
end

return function(self)
  local places = count_places(self)
  for _, m in ipairs(self:modules()) do
    local keys = rawget(m, "_items") or {}
    for i = 2, #keys do
      local layer, norm = m[keys[i - 1]], m[keys[i]]
      local options_at = is_plain(layer, Conv2d) and 4 or is_plain(layer, Linear) and 3
      if options_at and is_plain(norm, BatchNorm) and places[layer] == 1 then
        core.no_grad(fold, layer, norm)
        describe_bias(layer, options_at)
        m[keys[i]] = Identity()
      end
    end
  end
  return self:eval()
end
