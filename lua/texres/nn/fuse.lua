--- module:fuse(): batch norm folded into the convolution or dense layer before it, for inference.
--
-- In evaluation batch norm is a factor and a shift per channel, gamma / sqrt(var + eps) and beta - mean * factor; a new
-- layer takes the place of the one before, with both in its weight and bias, and an Identity that of the BatchNorm, so
-- that names stay as they are. The old layers are not changed: whoever else holds them calls what he called before.
--
-- Layers are folded where it is certain that one runs right after the other, and only then: as neighbours in a
-- Sequential or in the body of a Residual, that stand nowhere else in the model. Below a module with a forward of its
-- own nothing is folded, as that may call its parts in any way; where it doesn't, call fuse() on the parts.

local core = require "texres.core"
local container = require "texres.nn.container"
local module = require "texres.nn.module"
local BatchNorm = require("texres.nn.norm").BatchNorm
local Conv2d = require("texres.nn.conv").Conv2d
local Identity = require("texres.nn.shape").Identity
local Linear = require("texres.nn.linear").Linear
local is_plain = module.is_plain

-- Whether m runs its forward as `class` of the library does, of which it may be derived.
local function runs_as(m, class) return m.forward == class._forward end

local function is_chain(m) return runs_as(m, container.Sequential) or runs_as(m, container.Residual) end

-- The modules that code outside the library can call, being below a module with a forward of its own, and those that
-- stand in several places.
local function find_shared(self)
  local shared = {}
  module.walk(self, function() end, function(_, value) shared[value] = true end)
  for _, m in ipairs(self:modules()) do
    if not is_chain(m) and not runs_as(m, container.Concat) then
      for _, below in ipairs(m:modules()) do shared[below] = below ~= m or shared[below] end
    end
  end
  return shared
end

-- Whether norm is as its constructor made it and goes with what the layer gives.
local function fits(layer, norm)
  local channels, dtype, bias = layer.weight:size(-1), layer.weight.dtype, rawget(layer, "bias")
  if bias and bias.dtype ~= dtype then return false end
  for _, name in ipairs { "gamma", "beta", "running_mean", "running_var" } do
    local t = rawget(norm, name)
    if not core.is_tensor(t) or t.dtype ~= dtype or t:dim() ~= 1 or t:size(1) ~= channels then return false end
  end
  return true
end

-- A layer that does what both do one after the other.
local function fold(layer, norm)
  local folded = layer:clone()
  local factor = norm.gamma / (norm.running_var + norm.eps):sqrt() -- the weight has the output channels last
  local bias = rawget(layer, "bias") or core.zeros_like(norm.beta)
  folded.weight = module.Parameter(layer.weight * factor)
  folded.bias = module.Parameter((bias - norm.running_mean) * factor + norm.beta)
  folded.weight.requires_grad, folded.bias.requires_grad = layer.weight.requires_grad, norm.beta.requires_grad
  return folded
end

return function(self)
  local shared = find_shared(self)
  for _, m in ipairs(self:modules()) do
    local keys = is_chain(m) and not shared[m] and m._items or {}
    for i = 2, #keys do
      local layer, norm = m[keys[i - 1]], m[keys[i]]
      if (is_plain(layer, Conv2d) or is_plain(layer, Linear)) and is_plain(norm, BatchNorm)
        and not shared[layer] and not shared[norm] and fits(layer, norm) then
        m[keys[i - 1]], m[keys[i]] = core.no_grad(fold, layer, norm), Identity()
      end
    end
  end
  return self:eval()
end
