--- Compares single tensor functions with PyTorch, forward and backward:
--
--     PYTHON=python3 lua5.4 bench/functions.lua [--threads 1] [--rounds 3] [--only WORD ...]
--
-- Both sides run in turn, each in a process of its own; every process gives the shortest time of each case, the table
-- the median over the rounds. Names of cases are shared with bench/functions_torch.py. `--list` runs texres alone, as
-- the table does for its side.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"
local here = arg[0]:match "^.*/" or "./"
local parser = require "argparse" ("functions.lua", "Compares single tensor functions with PyTorch.")
parser:option("--threads", "Threads of both sides."):convert(tonumber):default "1"
parser:option("--rounds", "Processes of each side."):convert(tonumber):default "3"
parser:option("--only", "Only cases whose name holds one of these words."):args "+"
parser:flag("--list", "Print texres's times only: name and microseconds.")
local options = parser:parse()

-- -- the cases --------------------------------------------------------------------------------------------------------

local cases = {} -- {name, function}
local function case(name, f) cases[#cases + 1] = { name, f } end

local a, b = tr.rand(1024, 1024), tr.rand(1024, 1024)
local turned, mask = a:transpose(1, 2), a:gt(0.5)
local row, column = tr.rand(1024), tr.rand(1024, 1)
local images = tr.rand(64, 32, 32, 64)
local index, places = tr.randint(1, 1024, { 1024 }), tr.randint(1, 1024, { 1024, 1024 })
local small, small2 = tr.rand(8, 8), tr.rand(8, 8)

case("a + b", function() return a + b end)
case("a + row", function() return a + row end)
case("a + column", function() return a + column end)
case("a + 1", function() return a + 1 end)
case("a transposed + b", function() return turned + b end)
case("a / b", function() return a / b end)
case("a ^ 2", function() return a ^ 2 end)
case("a ^ 1.5", function() return a ^ 1.5 end)
for _, name in ipairs { "exp", "log", "sqrt", "tanh", "sigmoid", "erf" } do
  case(name, function() return a[name](a) end)
end
case("gt", function() return a:gt(b) end)
case("where", function() return tr.where(mask, a, b) end)
case("masked_fill", function() return a:masked_fill(mask, 0) end)
case("clamp", function() return a:clamp(0.2, 0.8) end)
case("sum", function() return a:sum() end)
case("sum 1", function() return a:sum(1) end)
case("sum 2", function() return a:sum(2) end)
case("sum of channels", function() return images:sum { 1, 2, 3 } end)
case("mean of pixels", function() return images:mean { 2, 3 } end)
case("var 2", function() return a:var(2) end)
case("max", function() return a:max() end)
case("max 2", function() return a:max(2) end)
case("argmax 1", function() return a:argmax(1) end)
case("logsumexp 2", function() return a:logsumexp(2) end)
case("norm", function() return a:norm() end)
case("cumsum 2", function() return a:cumsum(2) end)
case("matmul", function() return a:matmul(b) end)
case("matmul transposed", function() return turned:matmul(b) end)
case("copy transposed", function() return turned:contiguous() end)
case("channels first", function() return images:permute(1, 4, 2, 3):contiguous() end)
case("to f64", function() return a:to "f64" end)
case("cat 1", function() return tr.cat({ a, b }, 1) end)
case("cat 2", function() return tr.cat({ a, b }, 2) end)
case("index_select 1", function() return a:index_select(1, index) end)
case("gather 2", function() return a:gather(2, places) end)
case("sort 2", function() return a:sort(2) end)
case("topk 5", function() return a:topk(5, 2) end)
case("8x8 + 8x8", function() return small + small2 end)
case("8x8 view", function() return small[3] end)

local w, w2 = tr.rand(1024, 1024, { requires_grad = true }), tr.rand(8, 8, { requires_grad = true })
--- Forward, sum and backward of a function of w.
local function gradient(name, f)
  case("gradient " .. name, function()
    w.grad = nil
    f():sum():backward()
  end)
end
gradient("w * a", function() return w * a end)
gradient("w + row", function() return w + row end)
gradient("w ^ 2", function() return w ^ 2 end)
gradient("exp", function() return w:exp() end)
gradient("tanh", function() return w:tanh() end)
gradient("clamp", function() return w:clamp(0.2, 0.8) end)
gradient("where", function() return tr.where(mask, w, b) end)
gradient("max 2", function() return (w:max(2)) end)
gradient("std 2", function() return w:std(2) end)
gradient("prod 2", function() return w:prod(2) end)
gradient("matmul", function() return w:matmul(a) end)
gradient("select", function() return w[3] end)
gradient("index_select", function() return w:index_select(1, index) end)
gradient("gather", function() return w:gather(2, places) end)
gradient("cat", function() return tr.cat({ w, a }, 2) end)
gradient("normalize", function() return (w - w:mean(2, true)) / (w:std(2, true) + 1e-5) end)
case("gradient 8x8", function()
  w2.grad = nil
  (w2 * small):sum():backward()
end)

local F = tr.nn.functional
--- A layer's function of x, alone and with the gradient of its sum.
local function layer(name, x, f)
  local leaf = x:clone()
  leaf.requires_grad = true
  case(name, function() return f(x) end)
  case("gradient " .. name, function()
    leaf.grad = nil
    f(leaf):sum():backward()
  end)
end
local gamma, beta = tr.rand({ 64 }, { requires_grad = true }), tr.rand({ 64 }, { requires_grad = true })
local scores, classes = tr.rand(65536, 6), tr.randint(1, 6, { 65536 })
local many, labels = tr.rand(1024, 1000), tr.randint(1, 1000, { 1024 })
layer("batch_norm", images, function(x) return F.batch_norm(x, gamma, beta, { training = true }) end)
layer("relu", images, F.relu)
layer("silu", images, F.silu)
layer("gelu", images, F.gelu)
layer("dropout", images, function(x) return F.dropout(x, 0.5) end)
layer("max_pool2d 2", images, function(x) return F.max_pool2d(x, 2) end)
layer("max_pool2d 3/2", images, function(x) return F.max_pool2d(x, 3, { stride = 2, padding = 1 }) end)
layer("avg_pool2d 2", images, function(x) return F.avg_pool2d(x, 2) end)
layer("global_avg_pool", images, F.global_avg_pool)
layer("softmax", many, F.softmax)
layer("log_softmax", many, F.log_softmax)
layer("cross_entropy", scores, function(x) return F.cross_entropy(x, classes) end)
layer("cross_entropy of 1000", many, function(x) return F.cross_entropy(x, labels) end)
layer("cross_entropy smoothed", many, function(x) return F.cross_entropy(x, labels, { label_smoothing = 0.1 }) end)
layer("focal_loss", scores, function(x) return F.focal_loss(x, classes) end)
layer("mse_loss", a, function(x) return F.mse_loss(x, b) end)
layer("linear", a, function(x) return F.linear(x, w, row) end)

local function wanted(name)
  for _, word in ipairs(options.only or {}) do
    if name:find(word, 1, true) then return true end
  end
  return not options.only
end

-- -- one side ---------------------------------------------------------------------------------------------------------

--- The shortest time of one call, in microseconds, out of half a second.
local function shortest(f, calls)
  f()
  local best, start = math.huge, tr.clock()
  repeat
    local before = tr.clock()
    for _ = 1, calls do f() end
    local after = tr.clock()
    best = math.min(best, (after - before) / calls)
  until after - start > 0.5
  return best * 1e6
end

if options.list then
  tr.set_num_threads(options.threads)
  for _, c in ipairs(cases) do
    if wanted(c[1]) then print(("%s\t%.2f"):format(c[1], shortest(c[2], c[1]:find "8x8" and 200 or 1))) end
  end
  os.exit(0)
end

-- -- the table --------------------------------------------------------------------------------------------------------

local python = os.getenv "PYTHON" or "python3"
local words = ""
for _, word in ipairs(options.only or {}) do words = words .. " '" .. word .. "'" end
local only = options.only and " --only" .. words or ""
local sides = {
  ("lua5.4 %sfunctions.lua --list --threads %d%s"):format(here, options.threads, only),
  ("%s %sfunctions_torch.py %d%s"):format(python, here, options.threads, words),
}
if not os.execute(python .. " -c 'import torch' >/dev/null 2>&1") then sides[2] = nil end

local times = {} -- name -> side -> list
for _ = 1, options.rounds do
  for s, command in ipairs(sides) do
    local pipe = assert(io.popen(command))
    for line in pipe:lines() do
      local name, time = line:match "^(.*)\t(.*)$"
      times[name] = times[name] or { {}, {} }
      table.insert(times[name][s], tonumber(time))
    end
    assert(pipe:close(), command)
  end
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

print "| function | texres, us | PyTorch, us | ratio |"
print "|---|---|---|---|"
for _, c in ipairs(cases) do
  local t = times[c[1]]
  if t and #t[2] > 0 then
    local ours, theirs = median(t[1]), median(t[2])
    print(("| %s | %.1f | %.1f | %.2f |"):format(c[1], ours, theirs, ours / theirs))
  elseif t then
    print(("| %s | %.1f | - | - |"):format(c[1], median(t[1])))
  end
end
