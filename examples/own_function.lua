#!/usr/bin/env lua5.4
--- A differentiable function of one's own, with a gradient of its own: rounding, through which the gradient goes as if
-- nothing had been rounded (Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through
-- stochastic neurons", 2013). And how a gradient is checked.
--
--     lua5.4 examples/own_function.lua

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local round_straight = tr.Function {
  forward = function(_, x) return x:round() end,
  backward = function(_, dy) return dy end,
}

local x = tr.tensor({ 0.2, 0.7, 1.6 }, { requires_grad = true })
local y = round_straight(x)
y:sum():backward()
print("rounded:", y:detach())
print("gradient:", x.grad)

-- One that is the true gradient can be checked: x max(x, 0), whose derivative is 2 max(x, 0).
local square_above = tr.Function {
  forward = function(ctx, t)
    local above = t:relu()
    ctx:save(above)
    return t * above
  end,
  backward = function(ctx, dy) return 2 * dy * ctx:saved() end,
}
print(select(2, assert(tr.gradcheck(square_above, { tr.randn(4, 3) }))))

-- The other one is none, and the check says so.
print(select(2, tr.gradcheck(round_straight, { tr.rand(2, 2) })))
