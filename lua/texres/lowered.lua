--- What the steps of a lowered network (texres.lower) do, in f32 on tensors: step by step, so that every value between
-- can be looked at.

local F = require "texres.nn.functional"
local core = require "texres.core"

local lowered = {}

--- The values that a step reads, a list.
function lowered.reads(step)
  if step.inputs then return step.inputs end
  return { step.input, step.residual }
end

local ACTIVATIONS = {
  relu = F.relu, sigmoid = F.sigmoid, tanh = F.tanh, silu = F.silu, gelu = F.gelu, softplus = F.softplus,
  hard_swish = F.hard_swish, leaky_relu = F.leaky_relu, elu = F.elu,
}

local function relu_if(step, y) return step.relu and y:relu() or y end

-- Of a sum that nothing before it takes: what conv2d does by itself.
local function with_residual(step, y, residual)
  if not residual then return relu_if(step, y) end
  if step.residual_last then return relu_if(step, y) + residual end
  return relu_if(step, y + residual)
end

--- What a step gives, by its `op`; x is the value that it reads, or the list of them.
local DO = {}

function DO.conv(step, x, residual)
  return F.conv2d(x, step.weight, {
    bias = step.bias, stride = step.stride, padding = step.padding, dilation = step.dilation, groups = step.groups,
    relu = step.relu, residual = residual, residual_last = step.residual_last,
  })
end

function DO.linear(step, x) return relu_if(step, F.linear(x, step.weight, step.bias)) end

function DO.scale(step, x, residual) return with_residual(step, x * step.factor + step.shift, residual) end

function DO.activation(step, x) return ACTIVATIONS[step.kind](x, step.slope) end

function DO.max_pool(step, x) return F.max_pool2d(x, step.kernel, { stride = step.stride, padding = step.padding }) end

function DO.avg_pool(step, x)
  return F.avg_pool2d(x, step.kernel, {
    stride = step.stride, padding = step.padding, count_include_pad = step.count_include_pad,
  })
end

-- {N,C}, or {N,1,1,C} where the step keeps the dimensions.
local function pooled(step, y)
  if not step.keeps_dimensions then return y end
  return y:reshape(y:size(1), 1, 1, y:size(2))
end

function DO.global_avg_pool(step, x) return pooled(step, F.global_avg_pool(x)) end

function DO.global_max_pool(step, x) return pooled(step, x:max { 2, 3 }) end

function DO.flatten(_, x) return F.flatten(x, 2) end

function DO.add(step, list) return relu_if(step, list[1] + list[2]) end

function DO.subtract(_, list) return list[1] - list[2] end

function DO.cat(_, list) return core.cat(list, -1) end

function DO.multiply(_, list) return list[1] * list[2] end

function DO.module(step, x) return step.item(x) end

--- What one step gives, whose values are those of the table `values`.
function lowered.step(step, values)
  local x = values[step.input]
  if step.inputs then
    x = {}
    for i, value in ipairs(step.inputs) do x[i] = values[value] end
  end
  return DO[step.op](step, x, values[step.residual])
end

--- What a lowered network gives for x {N,H,W,C}, f32, as the network does that it was made of. visit(step, values,
-- y), which may be left out, sees what each step reads and gives.
function lowered.run(program, x, visit)
  return core.no_grad(function()
    local values = { x }
    for _, step in ipairs(program.steps) do
      local y = lowered.step(step, values)
      values[step.output] = y
      if visit then visit(step, values, y) end
    end
    return values[program.output]
  end)
end

return lowered
