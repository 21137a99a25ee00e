--- Adam and AdamW.

local core = require "texres.core"
local optimizer = require "texres.optim.optimizer"
local option = require "texres.options"

local function make(name, decoupled, weight_decay)
  local known = {
    lr = option.number(1e-3, optimizer.RATE),
    beta1 = option.number(0.9, "[0, 1)"), beta2 = option.number(0.999, "[0, 1)"),
    eps = option.number(1e-8, "[1e-30, 1e30]"), weight_decay = option.number(weight_decay, optimizer.RATE),
  }

  local function step(group, rows)
    for _, row in ipairs(rows) do row[2].step = (row[2].step or 0) + 1 end
    optimizer.by(rows, function(state) return state.step end, function(count, parameters, states)
      local means = optimizer.buffers(parameters, states, "mean")
      local squares = optimizer.buffers(parameters, states, "square")
      core.optimizer.adam_step(parameters, means, squares, {
        lr = group.lr, beta1 = group.beta1, beta2 = group.beta2, eps = group.eps, weight_decay = group.weight_decay,
        decoupled = decoupled, step = count,
      })
    end)
  end

  return optimizer.derive(name, known, step)
end

return {
  --- Adam(params, {lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0}): moments of the gradient, corrected for
  -- their beginning at 0: p -= lr m / (sqrt(v) + eps), m and v being the running means of g and g^2 by beta1 and beta2;
  -- g += weight_decay p before. Kingma, Ba, "Adam: a method for stochastic optimization", 2015.
  Adam = make("Adam", false, 0),
  --- AdamW(params, {lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01}): Adam with the decay apart
  -- from the gradient: p -= lr weight_decay p. Loshchilov, Hutter, "Decoupled weight decay regularization", 2019.
  AdamW = make("AdamW", true, 0.01),
}
