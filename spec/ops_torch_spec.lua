--- Every tensor function against what PyTorch computes (spec/fixtures/ops, made by spec/fixtures/make_ops.py).
local tr = require "texres"
local record = require "spec.fixtures.record"

local function op(name, ...)
  local parameters = table.pack(...)
  return function(x) return tr[name](x, table.unpack(parameters, 1, parameters.n)) end
end
local function operands(name) return function(a, b) return tr[name](a, b) end end

local cases = {
  neg = op "neg", exp = op "exp", log = op "log", sqrt = op "sqrt", abs = op "abs", tanh = op "tanh",
  sigmoid = op "sigmoid", erf = op "erf", relu = op "relu",
  sign = op "sign", floor = op "floor", ceil = op "ceil", round = op "round",
  clamp = op("clamp", -1, 0.5), clamp_max = op("clamp", { max = 0.5 }),
  add = operands "add", sub = operands "sub", mul = operands "mul", div = operands "div", mod = operands "mod",
  idiv = operands "idiv", pow = operands "pow", maximum = operands "maximum", minimum = operands "minimum",
  eq = operands "eq", ne = operands "ne", lt = operands "lt", le = operands "le",
  gt = operands "gt", ge = operands "ge",
  pow_zero = function(x, y) return x ^ y:detach() end,
  pow_zero_base = function(y) return tr.pow(tr.zeros_like(y), y) end,
  where = function(x, y) return tr.where(x:gt(y), x * 2, y) end,

  matmul_2d = operands "matmul", matmul_batch = operands "matmul", matmul_one_b = operands "matmul",
  matmul_one_a = operands "matmul", matmul_vector_matrix = operands "matmul", matmul_matrix_vector = operands "matmul",
  matmul_vectors = operands "matmul", matmul_batch_vector = operands "matmul", matmul_vector_batch = operands "matmul",

  sum = op "sum", sum_dim = op("sum", 2), sum_dims_keep = op("sum", { 1, 3 }, true),
  mean = op "mean", mean_dim = op("mean", 3, true),
  var = op "var", var_dim = op("var", 2), var_population = op("var", { 1, 2 }, { correction = 0 }),
  std = op "std", std_dim = op("std", -1, true), std_constant = op("std", 2),
  prod = op "prod", prod_dim_zeros = op("prod", 2),
  max = op "max", max_ties = op("max", { 1, 2 }), max_dim = op("max", 2), max_dims = op("max", { 1, 3 }, true),
  min = op "min", min_dim = op("min", -1, true),
  argmax = op "argmax", argmax_dim = op("argmax", 2), argmin_dim = op("argmin", 1, true),
  logsumexp = op "logsumexp", logsumexp_dim = op("logsumexp", 2, true),
  norm = op "norm", norm_dim = op("norm", 3), norm_zero = op("norm", 2), norm_1 = op("norm", 2, { p = 1 }),
  norm_3 = op("norm", { 1, 2 }, { p = 3 }), norm_inf = op("norm", 1, true, math.huge),
  cumsum = op("cumsum", 2),

  select = op("select", 2, 3), slice = op("slice", 2, 2, 4, 2), reshape = op("reshape", 5, -1),
  reshape_copy = function(x) return x:transpose(1, 3):reshape(-1, 6) end,
  flatten = op("flatten", 2), squeeze = op "squeeze", unsqueeze = op("unsqueeze", 2), permute = op("permute", 3, 1, 2),
  transpose = op("transpose", 1, 3), expand = op("expand", 2, 3, 4),
  contiguous = function(x) return x:transpose(1, 2):contiguous() end,
  clone = op "clone", to = function(x) return x:to("f32"):to(x.dtype) end,

  index_select = function(x, i) return x:index_select(1, i:to "i64") end,
  gather = function(x, i) return x:gather(2, i:to "i64") end,
  masked_fill = function(x) return x:masked_fill(x:gt(0.5), -9) end,
  cat = function(a, b, c) return tr.cat({ a, b, c }, 2) end,
  stack = function(a, b) return tr.stack({ a, b }, 3) end,
  sort = op("sort", 1), sort_descending = op("sort", -1, true),
  topk = op("topk", 3, 2), topk_smallest = op("topk", 2, 1, false),
}

describe("PyTorch agrees on", function()
  local names = {}
  for name in pairs(cases) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    it(name, function()
      record.check("ops/" .. name, cases[name], "f64", name == "to" and 1e-7 or 1e-11, 1e-12)
      record.check("ops/" .. name, cases[name], "f32", 2e-5, 2e-5)
    end)
  end

  it("every stored case: each file is used", function()
    local listing = io.popen "ls spec/fixtures/ops"
    for file in listing:lines() do
      assert.is_truthy(cases[file:match "^(.*)%.npy$"], file .. " is not used by this spec")
    end
    listing:close()
  end)
end)
