#!/usr/bin/env lua5.4
--- Watches gradients flow: the same deep network with and without skip connections, written as modules of one's own.
--
--     lua5.4 examples/gradients.lua --depth 16
--
-- A probe between the blocks notes the gradient that passes through it on its way back. In the plain network it shrinks
-- from block to block, and the first ones learn nothing; the skip connection hands it on. He, Zhang, Ren, Sun, 2016.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"
local nn = tr.nn
local F = nn.functional

local parser = require "argparse" ("gradients.lua", "Shows the gradient of every block of two deep networks.")
parser:option("--depth", "Blocks."):convert(math.tointeger):default "16"
parser:option("--width", "Channels."):convert(math.tointeger):default "8"
parser:option("--steps", "Training steps afterwards."):convert(math.tointeger):default "30"
local options = parser:parse()

-- One block: a convolution and ReLU, with x added or not.
local Block = nn.Module "Block"

function Block:init(width, skip)
  self.conv = nn.Conv2d(width, width, 3, { padding = 1 })
  nn.init.normal(self.conv.weight, 0, 0.03) -- a block makes what comes in a few times smaller
  self.skip = skip
end

function Block:forward(x)
  local y = F.relu(self.conv(x))
  return self.skip and x + y or y
end

-- A function that hands x on, and notes in norms[i] how large the gradient is that comes back.
local function probe(norms, i)
  return tr.Function {
    forward = function(_, x) return x end,
    backward = function(_, dy)
      norms[i] = dy:norm():item()
      return dy
    end,
  }
end

-- A network of such blocks on small images.
local Net = nn.Module "Net"

function Net:init(depth, width, skip)
  self.stem = nn.Conv2d(1, width, 3, { stride = 2, padding = 1 })
  self.blocks = {}
  for i = 1, depth do self.blocks[i] = Block(width, skip) end
  self.head = nn.Linear(width, 6)
end

function Net:forward(x, norms)
  x = self.stem(x)
  for i, block in ipairs(self.blocks) do
    if norms then x = probe(norms, i)(x) end
    x = block(x)
  end
  return self.head(F.global_avg_pool(x))
end

local set = tr.data.fabric { count = 96, size = 32, seed = 1 }
local images, labels = set:loader({ batch = 96, mean = 0.5, std = 0.2 }):batches(1)()

-- The gradients that reached each block in the first step, and the losses of all steps.
local function try(skip)
  tr.manual_seed(1)
  local net = Net(options.depth, options.width, skip)
  local optimizer = tr.optim.Adam(net, { lr = 3e-3 })
  local norms, losses = {}, {}
  for step = 1, options.steps do
    local loss = F.cross_entropy(net(images, step == 1 and norms), labels)
    optimizer:zero_grad()
    loss:backward()
    optimizer:step()
    losses[step] = loss:item()
  end
  return norms, losses
end

local plain, plain_losses = try(false)
local residual, residual_losses = try(true)

-- A bar with a step for every power of ten above 1e-16.
local function bar(norm) return ("#"):rep(math.max(0, math.floor(math.log(norm, 10) + 16))) end

print("gradient that reaches each block, on a scale of powers of ten\n")
print("block  plain                         residual")
for i = 1, options.depth do
  print(("%5d  %-10.1e%-20s%-10.1e%s"):format(i, plain[i], bar(plain[i]), residual[i], bar(residual[i])))
end
print(("\nloss after %d steps: plain %.3f, residual %.3f (both began at %.3f and %.3f)"):format(options.steps,
  plain_losses[#plain_losses], residual_losses[#residual_losses], plain_losses[1], residual_losses[1]))
