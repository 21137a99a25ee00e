--- The same bits for 1, 2, 3 and 8 threads, forward and backward, and from run to run.
--
-- Each example is large enough to be cut into several blocks (about 32,768 operations each). Training is compared by
-- all bits of all parameters after 20 steps.
local tr = require "texres"
local support = require "spec.support"
local F = tr.nn.functional

local THREADS = { 1, 2, 3, 8 }

local function gradients(f, inputs)
  local leaves = {}
  for i, x in ipairs(inputs) do
    leaves[i] = x:clone()
    leaves[i].requires_grad = tr.is_tensor(x) and x.dtype == "f32"
  end
  local y = f(table.unpack(leaves))
  y:backward(tr.full_like(y:detach(), 0.7) * (y:detach() + 1))
  local results = { y:detach() }
  for _, leaf in ipairs(leaves) do results[#results + 1] = leaf.grad end
  return results
end

local function rand(...) return tr.randn { ... } end
local matrix, other = rand(211, 307), rand(211, 307)
local images, filter, vector = rand(6, 23, 21, 17), rand(3, 3, 17, 19), rand(17)
local rows = tr.randint(1, 211, { 500 })
local places = tr.randint(1, 211, { 211, 307 })
local labels = tr.randint(1, 307, { 211 })

local examples = {
  add = { function(a, b) return a + b end, { matrix, rand(307) } },
  mul = { function(a, b) return a * b end, { matrix, rand(211, 1) } },
  div = { function(a, b) return a / (b * b + 1) end, { matrix, other } },
  pow = { function(a, b) return (a * a + 1) ^ b end, { matrix, other } },
  exp = { function(a) return a:exp() end, { matrix } },
  ["sum of everything"] = { function(a) return a:sum() end, { matrix } },
  ["sum of columns"] = { function(a) return a:sum(1) end, { matrix } },
  ["sum of channels"] = { function(a) return a:sum { 1, 2, 3 } end, { images } },
  mean = { function(a) return a:mean { 2, 3 } end, { images } },
  std = { function(a) return a:std(2) end, { matrix } },
  prod = { function(a) return (a * 0.1 + 1):prod(1) end, { matrix } },
  max = { function(a) return (a:max(1)) end, { matrix } },
  logsumexp = { function(a) return a:logsumexp(2) end, { matrix } },
  norm = { function(a) return a:norm() end, { matrix } },
  cumsum = { function(a) return a:cumsum(1) end, { matrix } },
  matmul = { function(a, b) return a:matmul(b) end, { matrix, rand(307, 129) } },
  ["matmul of many"] = { function(a, b) return a:matmul(b) end, { rand(7, 65, 33), rand(33, 49) } },
  index_select = { function(a) return a:index_select(1, rows) end, { matrix } },
  gather = { function(a) return a:gather(1, places) end, { matrix } },
  where = { function(a, b) return tr.where(a:gt(0), a, b) end, { matrix, other } },
  cat = { function(a, b) return tr.cat({ a, b, a }, 2) end, { matrix, other } },
  sort = { function(a) return (a:sort(2)) end, { matrix } },
  topk = { function(a) return (a:topk(9, 1)) end, { matrix } },
  softmax = { F.softmax, { matrix } },
  linear = { F.linear, { matrix, rand(307, 65), rand(65) } },
  conv2d = { function(x, w) return F.conv2d(x, w, { padding = "same" }) end, { images, filter } },
  ["conv2d by steps"] = { function(x, w) return F.conv2d(x, w, { stride = 2 }) end, { images, filter } },
  batch_norm = { function(x, g, b) return F.batch_norm(x, g, b, { training = true }) end, { images, vector, vector } },
  layer_norm = { F.layer_norm, { images, vector, vector } },
  max_pool2d = { function(x) return F.max_pool2d(x, 2) end, { images } },
  avg_pool2d = { function(x) return F.avg_pool2d(x, 3, { stride = 2 }) end, { images } },
  global_avg_pool = { F.global_avg_pool, { images } },
  adaptive_avg_pool2d = { function(x) return F.adaptive_avg_pool2d(x, 7) end, { images } },
  upsample_bilinear2d = { function(x) return F.upsample_bilinear2d(x, 2) end, { images } },
  dropout = { function(x)
    tr.manual_seed(4)
    return F.dropout(x, 0.3, { training = true })
  end, { matrix } },
  cross_entropy = { function(x) return F.cross_entropy(x, labels) end, { matrix } },
  smooth_l1_loss = { F.smooth_l1_loss, { matrix, other } },
  conv_transpose2d = { function(x, w) return F.conv_transpose2d(x, w:transpose(3, 4), { stride = 2 }) end,
    { images, filter } },
  l1_loss = { F.l1_loss, { matrix, other } },
  bce_with_logits = { F.bce_with_logits, { matrix, other } },
  dice_loss = { F.dice_loss, { matrix, other } },
}

local names = {}
for name in pairs(examples) do names[#names + 1] = name end
table.sort(names)

describe("any number of threads gives the same bits", function()
  local before = tr.num_threads()
  after_each(function() tr.set_num_threads(before) end)

  for _, name in ipairs(names) do
    it(name, function()
      local f, inputs = table.unpack(examples[name])
      local expected
      for _, threads in ipairs(THREADS) do
        tr.set_num_threads(threads)
        local results = gradients(f, inputs)
        expected = expected or results
        for i, t in ipairs(results) do
          assert.is_true(tr.allclose(t, expected[i], 0, 0), ("result %d, %d threads"):format(i, threads))
        end
      end
    end)
  end
end)

-- Trains a small textile network for 20 steps and writes all parameters and buffers as text that keeps every bit.
local TRAIN = [[
  local tr = require "texres"
  tr.manual_seed(3)
  local net = tr.models.textile { width = 8 }
  local x, labels = tr.rand(16, 64, 64, 1), tr.randint(1, 6, { 16 })
  local optimizer = tr.optim.AdamW(net:parameters(), { lr = 1e-3 })
  for _ = 1, 20 do
    local loss = tr.nn.functional.cross_entropy(net(x), labels)
    optimizer:zero_grad()
    loss:backward()
    optimizer:step()
  end
  for name, t in net:named_parameters() do
    for _, v in ipairs(t:reshape(-1):totable()) do io.write(("%a "):format(v)) end
  end
]]

describe("training gives the same bits", function()
  it("for any number of threads, and from run to run", function()
    local expected
    for _, threads in ipairs { 1, 1, 2, 3, 8 } do
      local ok, output = support.run_lua(TRAIN, { env = { TEXRES_NUM_THREADS = threads } })
      assert.is_true(ok, output)
      assert.is_true(#output > 100000)
      expected = expected or output
      assert.is_true(output == expected, threads .. " threads")
    end
  end)
end)
