--- Channels that are worth different amounts: a byte q of channel c stands for unit[c] * scale * (q - zero).
--
-- One range for all channels gives most of them few of the 256 bytes. The layer that makes a value may divide each
-- channel by a number of its own, if those that read it multiply it back: both are products with weights, so that it
-- costs nothing. Small channels are made larger by the square root of what they lack: all of it would take as much from
-- the 8 bits of the next weights, and half of it leaves room for new images.
--
-- Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019.

local core = require "texres.core"
local lowered = require "texres.lowered"

local units = {}

local LEAST = 1 / 16 -- the smallest unit

local MAKES = { conv = true, linear = true, scale = true }
local PASSES = { max_pool = true, avg_pool = true, global_avg_pool = true, global_max_pool = true, cat = true }

local function passes(step, shapes)
  if step.op == "flatten" then
    local shape = shapes[step.input]
    return #shape == 1 or shape[1] * shape[2] == 1
  end
  return PASSES[step.op]
end

-- value -> the value whose unit it has: what it is added to, or its own. Nil for what is not made by weights.
local function roots_of(steps)
  local root = {}
  for _, step in ipairs(steps) do
    if MAKES[step.op] then
      root[step.output] = step.output
      if step.residual then root[step.output] = root[step.residual] end
    elseif PASSES[step.op] and step.op ~= "cat" then
      root[step.output] = root[step.input]
    end
  end
  return root
end

-- Whether a step that reads a value can do so if its channels have units; `free`: values further on that may have some.
local function allows(step, value, root, free, shapes)
  if step.residual == value and not (root[value] and free[step.output]) then return false end
  if step.input ~= value and not step.inputs then return true end -- the residual
  if step.op == "linear" or step.op == "conv" then return (step.groups or 1) == 1 end
  return passes(step, shapes) and free[step.output]
end

-- The values that may have units: all who read them allow it, and what they are added to may, too.
local function free_values(steps, root, shapes, output)
  local free = {}
  for _, step in ipairs(steps) do free[step.output] = step.output ~= output end
  for i = #steps, 1, -1 do
    for _, value in ipairs(lowered.reads(steps[i])) do
      free[value] = free[value] and allows(steps[i], value, root, free, shapes)
    end
  end
  for _, step in ipairs(steps) do
    if step.residual and not free[step.residual] then free[step.output] = false end
  end
  return free
end

-- A tensor {C} of how far each channel reaches as a share of the farthest.
local function shares(reach) return reach / math.max(reach:max():item(), 1e-30) end

--- The unit {C}, f64, of each value of a section that has one. `found`: as texres.quantize.ranges finds it.
function units.of(one, found, shapes)
  local root = roots_of(one.steps)
  local free, of_root, unit = free_values(one.steps, root, shapes, one.output), {}, {}
  for _, step in ipairs(one.steps) do
    if MAKES[step.op] and free[step.output] and root[step.output] then
      local own, at = shares(found[step.output].reach), root[step.output]
      of_root[at] = of_root[at] and core.maximum(of_root[at], own) or own
    end
  end
  for _, step in ipairs(one.steps) do
    local value = step.output
    if MAKES[step.op] and free[value] and root[value] then
      unit[value] = of_root[root[value]]:sqrt():clamp { min = LEAST, max = 1 }
    elseif step.op == "cat" then
      local parts, any = {}, false
      for i, input in ipairs(step.inputs) do
        parts[i] = unit[input] or core.ones({ found[input].reach:numel() }, { dtype = "f64" })
        any = any or unit[input]
      end
      unit[value] = any and core.cat(parts, 1) or nil
    elseif passes(step, shapes) then
      unit[value] = unit[step.input]
    end
  end
  return unit
end

--- How much further a value reaches whose channels have such units.
function units.stretch(unit, reach)
  if not unit then return 1 end
  return (shares(reach) / unit):max():item()
end

return units
