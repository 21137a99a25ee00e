--- module:fuse(): batch norm folded into the convolution or dense layer before it, for inference.
--
-- In evaluation batch norm is a factor and a shift per channel, gamma / sqrt(var + eps) and beta - mean * factor; a new
-- layer takes the place of the one before, with both in its weight and bias, and an Identity that of the BatchNorm, so
-- that names stay as they are. The old layers are not changed: whoever else holds them calls what he called before.
--
-- Layers are folded where the plan says that one runs right after the other and nothing else reads what lies between,
-- and only where neither stands anywhere else in the model. Below a module with a forward of its own nothing is folded,
-- as that may call its parts in any way; where it doesn't, call fuse() on the parts.

local core = require "texres.core"
local module = require "texres.nn.module"
local plan = require "texres.nn.plan"
local BatchNorm = require("texres.nn.norm").BatchNorm
local Conv2d = require("texres.nn.conv").Conv2d
local Identity = require("texres.nn.shape").Identity
local Linear = require("texres.nn.linear").Linear
local is_plain = module.is_plain

-- The modules that stand in several places, and those below a step of the plan: code outside the library may call them.
local function find_shared(self, steps)
  local shared = {}
  module.walk(self, function() end, function(_, value) shared[value] = true end)
  for _, step in ipairs(steps) do
    for _, below in ipairs(step.item and step.item:modules() or {}) do
      shared[below] = below ~= step.item or shared[below]
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
  if not plan.is_planned(self) then return self:eval() end
  local traced = plan.trace(self, plan.is_planned)
  local shared, reader = find_shared(self, traced.steps), plan.only_readers(traced)
  for _, step in ipairs(traced.steps) do
    local next_step = reader[step.output]
    local layer, norm = step.item, next_step and next_step.item
    if (is_plain(layer, Conv2d) or is_plain(layer, Linear)) and is_plain(norm, BatchNorm)
      and not shared[layer] and not shared[norm] and fits(layer, norm) then
      step.owner[step.key] = core.no_grad(fold, layer, norm)
      next_step.owner[next_step.key] = Identity()
    end
  end
  return self:eval()
end
