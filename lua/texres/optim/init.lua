--- Optimizers, learning rate schedules, gradient clipping.

local core = require "texres.core"
local option = require "texres.options"
local module = require "texres.nn.module"
local optimizer = require "texres.optim.optimizer"
local raise = require "texres.raise"
local adam = require "texres.optim.adam"
local strict = require "texres.strict"

local optim = {
  SGD = require "texres.optim.sgd",
  Adam = adam.Adam,
  AdamW = adam.AdamW,
  schedule = require "texres.optim.schedule",
}

local PARAMETERS = option.kind("a list of parameters or a module", function(value)
  local meta = getmetatable(value)
  return type(value) == "table" and (meta == nil or module.is_module(value) or optimizer.is(value))
end)
local MAX = option.number(nil, "[0, inf]")

-- The parameters of a module or an optimizer, of a list, or a tensor alone.
local function as_list(parameters)
  if core.is_tensor(parameters) then return { parameters } end
  option.check("clip_grad_norm", "parameters", parameters, PARAMETERS)
  if getmetatable(parameters) then return parameters:parameters() end
  option.list("clip_grad_norm", "the parameters", parameters)
  return parameters
end

-- The parameters that have a gradient; raises when there are none, as after a forgotten backward().
local function with_gradient(list)
  local found, seen = {}, {}
  for i, p in ipairs(list) do
    option.check("clip_grad_norm", "item " .. i, p, option.TENSOR)
    if seen[p] then raise("clip_grad_norm: parameter %d is given twice", i) end
    seen[p] = true
    if p.grad then found[#found + 1] = p end
  end
  if #found == 0 then
    raise("clip_grad_norm: none of the %d parameters has a gradient: call it after backward()", #list)
  end
  return found
end

--- Scales the gradients of parameters so that their norm, taken together, is at most `max`; with math.huge it only
-- measures. `parameters`: a list of tensors, a module or an optimizer; those without a gradient are passed over, but
-- one at least has one. Returns the norm before. A norm that is not finite can't be scaled and raises.
function optim.clip_grad_norm(parameters, max)
  option.check("clip_grad_norm", "max", max, MAX)
  parameters = with_gradient(as_list(parameters))
  local norm = core.optimizer.gradient_norm(parameters)
  if norm - norm ~= 0 and max < math.huge then
    raise("clip_grad_norm: the norm of the gradients is %s; no factor makes it %g", option.shown(norm), max)
  end
  if norm > max then core.optimizer.scale_gradients(parameters, max / (norm + 1e-6)) end
  return norm
end

strict.table("texres.optim.schedule", optim.schedule)
return strict.table("texres.optim", optim)
