--- Every function, given memory that does not lie in row-major order: inputs and gradients, forward and backward.
--
-- Each example is run on plain tensors and on strided views of the same values (spec/naive.lua); the gradient that goes
-- in is once plain, once strided and once an expanded number, as sum() hands it down. In f32 and f64.
local core = require "texres.core"
local tr = require "texres"
local naive = require "spec.naive"
local F = tr.nn.functional

local function i64(values) return tr.tensor(values, { dtype = "i64" }) end

local image, filter, vector, matrix = { 2, 6, 5, 3 }, { 3, 3, 3, 4 }, { 3 }, { 4, 6 }
local labels = i64 { 1, 3, 6, 2 }

-- name = { shapes of the inputs, function }; further examples of a function have a suffix after a space
local examples = {
  neg = { { matrix }, tr.neg }, exp = { { matrix }, tr.exp }, abs = { { matrix }, tr.abs },
  tanh = { { matrix }, tr.tanh },
  log = { { matrix }, function(x) return (x * x + 1):log() end },
  sqrt = { { matrix }, function(x) return (x * x + 1):sqrt() end },
  sigmoid = { { matrix }, tr.sigmoid }, erf = { { matrix }, tr.erf }, relu = { { matrix }, F.relu },
  leaky_relu = { { matrix }, F.leaky_relu }, silu = { { matrix }, F.silu },
  softplus = { { matrix }, F.softplus }, gelu = { { matrix }, F.gelu },
  elu = { { matrix }, F.elu }, hard_swish = { { matrix }, function(x) return F.hard_swish(x * 3) end },
  group_norm = { { image, vector, vector }, function(x, g, b) return F.group_norm(x, g, b, 3) end },
  layer_norm = { { image, vector, vector }, F.layer_norm },
  clamp = { { matrix }, function(x) return x:clamp(-1, 1) end },
  add = { { matrix, { 6 } }, tr.add }, sub = { { matrix, { 4, 1 } }, tr.sub }, mul = { { matrix, matrix }, tr.mul },
  div = { { matrix, matrix }, function(a, b) return a / (b * b + 1) end },
  mod = { { matrix, matrix }, function(a, b) return a % (b * b + 1) end },
  pow = { { matrix, matrix }, function(a, b) return (a * a + 1) ^ b end },
  maximum = { { matrix, matrix }, tr.maximum }, minimum = { { matrix, { 6 } }, tr.minimum },
  where = { { matrix, matrix }, function(a, b) return tr.where(a:gt(0), a, b) end },
  matmul = { { matrix, { 6, 5 } }, tr.matmul }, ["matmul batch"] = { { { 2, 4, 6 }, { 2, 6, 3 } }, tr.matmul },
  sum = { { image }, function(x) return x:sum { 2, 3 } end },
  mean = { { image }, function(x) return x:mean { 1, 4 } end },
  var = { { matrix }, function(x) return x:var(1) end }, std = { { matrix }, function(x) return x:std(2, true) end },
  prod = { { matrix }, function(x) return x:prod(2) end }, max = { { matrix }, function(x) return (x:max(2)) end },
  min = { { matrix }, function(x) return (x:min { 1, 2 }) end },
  logsumexp = { { matrix }, function(x) return x:logsumexp(1) end },
  norm = { { matrix }, function(x) return x:norm(2) end },
  cumsum = { { matrix }, function(x) return x:cumsum(1) end },
  select = { { image }, function(x) return x:select(3, 2) end },
  slice = { { image }, function(x) return x:slice(2, 2, 6, 2) end },
  reshape = { { image }, function(x) return x:reshape(12, -1) end },
  view = { { { 6 } }, function(x) return x:view(6, 1) end },
  flatten = { { image }, function(x) return x:flatten(2) end },
  squeeze = { { { 2, 1, 3 } }, tr.squeeze }, unsqueeze = { { matrix }, function(x) return x:unsqueeze(2) end },
  permute = { { image }, function(x) return x:permute(4, 1, 3, 2) end },
  transpose = { { image }, function(x) return x:transpose(2, 4) end },
  expand = { { { 4, 1 } }, function(x) return x:expand(2, 4, 3) end },
  contiguous = { { matrix }, tr.contiguous }, clone = { { matrix }, tr.clone },
  to = { { matrix }, function(x) return x:to "f64" end },
  index_select = { { matrix }, function(x) return x:index_select(2, i64 { 3, 3, 1 }) end },
  gather = { { matrix }, function(x) return x:gather(1, i64 { { 1, 4, 2, 2, 1, 3 }, { 1, 1, 1, 4, 4, 4 } }) end },
  masked_fill = { { matrix }, function(x) return x:masked_fill(x:gt(0), 3) end },
  cat = { { matrix, { 4, 2 } }, function(a, b) return tr.cat({ a, b, a }, 2) end },
  stack = { { matrix, matrix }, function(a, b) return tr.stack({ a, b }, 2) end },
  sort = { { matrix }, function(x) return (x:sort(1)) end },
  topk = { { matrix }, function(x) return (x:topk(2, 2)) end },
  softmax = { { image }, F.softmax }, ["softmax columns"] = { { matrix }, function(x) return F.softmax(x, 1) end },
  log_softmax = { { image }, F.log_softmax },
  linear = { { matrix, { 6, 5 }, { 5 } }, F.linear },
  conv2d = { { image, filter, { 4 } }, function(x, w, b) return F.conv2d(x, w, { bias = b, padding = 1 }) end },
  ["conv2d by steps"] = { { image, filter }, function(x, w)
    return F.conv2d(x, w, { stride = 2, padding = "same" })
  end },
  ["conv2d depthwise"] = { { image, { 3, 3, 1, 3 } }, function(x, w) return F.conv2d(x, w, { groups = 3 }) end },
  batch_norm = { { image, vector, vector }, function(x, g, b) return F.batch_norm(x, g, b, { training = true }) end },
  ["batch_norm with a residual"] = { { image, vector, vector, image }, function(x, g, b, r)
    return F.batch_norm(x, g, b, { training = true, residual = r, relu = true })
  end },
  conv2d_batch_norm = { { image, filter, { 4 }, { 4 } }, function(x, w, g, b)
    return F.conv2d_batch_norm(x, w, g, b, { padding = 1, training = true, relu = true })
  end },
  max_pool2d = { { image }, function(x) return F.max_pool2d(x, 2) end },
  avg_pool2d = { { image }, function(x) return F.avg_pool2d(x, 3, { stride = 2, padding = 1 }) end },
  global_avg_pool = { { image }, F.global_avg_pool },
  adaptive_avg_pool2d = { { image }, function(x) return F.adaptive_avg_pool2d(x, { 4, 2 }) end },
  upsample_bilinear2d = { { image }, function(x) return F.upsample_bilinear2d(x, { 2, 3 }) end },
  dropout = { { matrix }, function(x)
    tr.manual_seed(1)
    return F.dropout(x, 0.5, { training = true })
  end },
  cross_entropy = { { matrix }, function(x) return F.cross_entropy(x, labels, { reduction = "none" }) end },
  nll_loss = { { matrix }, function(x) return F.nll_loss(x, labels, { reduction = "none" }) end },
  focal_loss = { { matrix }, function(x) return F.focal_loss(x, labels, { reduction = "none" }) end },
  mse_loss = { { matrix, matrix }, function(a, b) return F.mse_loss(a, b, { reduction = "none" }) end },
  smooth_l1_loss = { { matrix, matrix }, F.smooth_l1_loss },
  conv_transpose2d = { { image, { 3, 2, 4, 3 }, { 4 } }, function(x, w, b)
    return F.conv_transpose2d(x, w, { bias = b, stride = 2, padding = 1 })
  end },
  l1_loss = { { matrix, matrix }, F.l1_loss },
  bce_with_logits = { { matrix, matrix }, F.bce_with_logits },
  dice_loss = { { matrix, matrix }, F.dice_loss },
}

--- Results and gradients of one run; `shape_input` and `shape_gradient` turn plain tensors into others of equal value.
local function run(f, values, dtype, lay_out, gradient_of)
  local leaves, inputs = {}, {}
  for i, v in ipairs(values) do
    leaves[i] = lay_out(naive.tensor(v, dtype)):detach()
    leaves[i].requires_grad = true
    inputs[i] = leaves[i]
  end
  local y = f(table.unpack(inputs))
  y:backward(gradient_of(y))
  local results = { y:detach() }
  for _, leaf in ipairs(leaves) do results[#results + 1] = leaf.grad end
  return results
end

local function plain(t) return t end

local function weights(y)
  return naive.tensor(naive.random(y:shape(), 77, -1, 1), y.dtype)
end
local function strided_weights(y) return naive.strided(weights(y)) end
local function number(y) return tr.full({ 1 }, 0.75, { dtype = y.dtype }) end
local function expanded(y)
  local one = number(y):reshape {}
  return one:expand(y:shape())
end
local function full(y) return tr.full_like(y:detach(), 0.75) end

local names = {}
for name in pairs(examples) do names[#names + 1] = name end
table.sort(names)

describe("strides do not change", function()
  for _, name in ipairs(names) do
    it(name, function()
      local shapes, f = table.unpack(examples[name])
      local values = {}
      for i, shape in ipairs(shapes) do values[i] = naive.random(shape, 5 * i) end
      for dtype, tolerance in pairs { f64 = 1e-11, f32 = 2e-5 } do
        local expected = run(f, values, dtype, plain, weights)
        local expected_sum = run(f, values, dtype, plain, full)
        for what, case in pairs {
          inputs = { expected, run(f, values, dtype, name == "view" and plain or naive.strided, weights) },
          gradients = { expected, run(f, values, dtype, plain, strided_weights) },
          sums = { expected_sum, run(f, values, dtype, plain, expanded) },
        } do
          for i, t in ipairs(case[2]) do
            naive.check(t, naive.of(case[1][i]), tolerance, ("%s %s, result %d"):format(dtype, what, i))
          end
        end
      end
    end)
  end

  it("any function that is not shown here: each has an example", function()
    local no_gradient = " sign floor ceil round idiv eq ne lt le gt ge argmax argmin one_hot "
    for _, name in ipairs(core.help()) do
      local known = examples[name] or no_gradient:find(" " .. name .. " ", 1, true)
      assert.is_truthy(known, name .. " has no example in spec/strides_spec.lua")
    end
  end)
end)
