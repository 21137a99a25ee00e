--- Stochastic gradient descent with momentum.

local core = require "texres.core"
local option = require "texres.options"
local raise = require "texres.raise"
local optimizer = require "texres.optim.optimizer"

local known = {
  lr = option.number(1e-3, optimizer.RATE),
  momentum = option.number(0, "[0, 1]"), dampening = option.number(0, "[0, 1]"),
  weight_decay = option.number(0, optimizer.RATE), nesterov = option.switch(false),
}

local function verify(group)
  if group.nesterov and (group.momentum == 0 or group.dampening ~= 0) then
    raise "SGD: nesterov needs a momentum and no dampening"
  end
end

local function step(group, rows)
  optimizer.by(rows, function(state) return state.velocity == nil end, function(first, parameters, states)
    local velocities = group.momentum ~= 0 and optimizer.buffers(parameters, states, "velocity") or {}
    core.optimizer.sgd_step(parameters, velocities, {
      lr = group.lr, momentum = group.momentum, dampening = group.dampening, weight_decay = group.weight_decay,
      nesterov = group.nesterov, first = first,
    })
  end)
end

--- SGD(params, {lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=false}).
--
-- g += weight_decay p; v = momentum v + (1 - dampening) g, at first v = g; p -= lr v (nesterov: p -= lr (g + momentum
-- v)).
return optimizer.derive("SGD", known, step, verify)
