#!/usr/bin/env lua5.4
--- A first look at tensors: what they hold, how they are computed with, and how a gradient comes.
--
--     lua5.4 examples/hello_tensor.lua

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local t = tr.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
print("a tensor:", t)
print("its rows and columns:", t:size())
print("the second row, counting from 1:", t[2])
print("its last element, as a number:", t[2][-1]:item())
print("the sum of each column:", t:sum(1))
print("the largest of each row, and where:", t:max(2))
print("each row less its mean, by broadcasting:", t - t:mean(2, true))
print("times its transpose:", t:matmul(t:transpose(1, 2)))

local x = tr.tensor({ 1, 2, 3 }, { requires_grad = true })
local y = (x ^ 3):sum()
y:backward()
print("the gradient of the sum of x^3, which is 3 x^2:", x.grad)
