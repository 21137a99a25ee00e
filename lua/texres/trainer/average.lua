--- The exponential moving average of a model's weights and running statistics: steadier than the weights themselves.
--
--     local a = average.of(model)                              -- copies
--     average.add(a, model, 0.999, step)                       -- after each step: a = d a + (1 - d) weights
--     average.within(a, model, function() ... end)             -- the model has the averaged weights meanwhile
--
-- In the first steps the decay is (1 + step) / (10 + step) where that is less, so that the weights that a run begins
-- with are soon forgotten. B. Polyak and A. Juditsky, 1992; the ramp is that of TensorFlow's ExponentialMovingAverage.

local core = require "texres.core"
local protect = require "texres.protect"

local average = {}

local function floats(model)
  local list = {}
  for name, t in pairs(model:state_dict()) do
    if t.dtype == "f32" or t.dtype == "f64" then list[name] = t end
  end
  return list
end

--- Copies of all float weights and buffers by name.
function average.of(model)
  local copy = {}
  for name, t in pairs(floats(model)) do copy[name] = t:clone() end
  return copy
end

function average.add(self, model, decay, step)
  decay = math.min(decay, (1 + step) / (10 + step))
  core.no_grad(function()
    for name, t in pairs(floats(model)) do self[name]:copy_from(self[name] * decay + t * (1 - decay)) end
  end)
end

local function exchange(self, model)
  core.no_grad(function()
    local all, kept = floats(model), average.of(model) -- all that takes memory, before anything is changed
    for name, t in pairs(all) do
      t:copy_from(self[name])
      self[name]:copy_from(kept[name])
    end
  end)
end

--- Calls f() while the model has the averaged weights; returns what it returns.
function average.within(self, model, f)
  local exchanged = false
  return protect.finally(function()
    if exchanged then exchange(self, model) end
  end, function()
    exchange(self, model)
    exchanged = true
    return f()
  end)
end

return average
