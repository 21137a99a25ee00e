#!/usr/bin/env lua5.4
--- Fits a line to noisy points by gradient descent: the loop that all training is, with two parameters.
--
--     lua5.4 examples/line.lua

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

tr.manual_seed(1)
local x = tr.rand(200, 1)
local y = 3 * x - 1 + 0.1 * tr.randn(200, 1) -- the line to be found, and noise

local line = tr.nn.Linear(1, 1)
local optimizer = tr.optim.SGD(line:parameters(), { lr = 0.2, momentum = 0.9 })
for step = 1, 100 do
  local loss = tr.nn.functional.mse_loss(line(x), y)
  optimizer:zero_grad()
  loss:backward()
  optimizer:step()
  if step % 20 == 0 then print(("step %3d  loss %.4f"):format(step, loss:item())) end
end
print(("y = %.2f x %+.2f"):format(line.weight:item(), line.bias:item()))
