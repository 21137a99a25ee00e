--- Matrix product: csrc/autograd/matmul.c
local tr = require "texres"
local naive = require "spec.naive"

local function prepend(value, list)
  local result = { value }
  return table.move(list, 1, #list, 2, result)
end

--- The product of NumPy's matmul, by its definition.
local function product(a, b)
  local row, column = #a.shape == 1, #b.shape == 1
  local sa = row and prepend(1, a.shape) or a.shape
  local sb = column and { b.shape[1], 1 } or b.shape
  local m, k, n = sa[#sa - 1], sa[#sa], sb[#sb]
  local lead_a, lead_b = { shape = table.move(sa, 1, #sa - 2, 1, {}) }, { shape = table.move(sb, 1, #sb - 2, 1, {}) }
  for i = 1, naive.count(lead_a.shape) do lead_a[i] = i end
  for i = 1, naive.count(lead_b.shape) do lead_b[i] = i end
  local pairs_of = naive.map(function(p, q) return { p, q } end, lead_a, lead_b)
  local shape = table.move(pairs_of.shape, 1, #pairs_of.shape, 1, {})
  if not row then shape[#shape + 1] = m end
  if not column then shape[#shape + 1] = n end
  local result = { shape = shape }
  for _, pair in ipairs(pairs_of) do
    for i = 1, m do
      for j = 1, n do
        local s = 0
        for l = 1, k do
          s = s + a[((pair[1] - 1) * m + i - 1) * k + l] * b[((pair[2] - 1) * k + l - 1) * n + j]
        end
        result[#result + 1] = s
      end
    end
  end
  return result
end

local shapes = {
  { { 3, 4 }, { 4, 5 } }, { { 1, 1 }, { 1, 1 } }, { { 2, 3, 4 }, { 4, 5 } }, { { 3, 4 }, { 2, 4, 5 } },
  { { 2, 1, 3, 4 }, { 3, 4, 2 } }, { { 2, 3, 3, 4 }, { 2, 3, 4, 1 } }, { { 4 }, { 4 } }, { { 4 }, { 4, 3 } },
  { { 3, 4 }, { 4 } }, { { 2, 3, 4 }, { 4 } }, { { 4 }, { 2, 4, 3 } },
}

describe("matmul", function()
  for s, pair in ipairs(shapes) do
    local a, b = naive.random(pair[1], s), naive.random(pair[2], s + 20)
    local ta, tb = naive.tensor(a), naive.tensor(b)
    local title = ("{%s} by {%s}"):format(table.concat(pair[1], ","), table.concat(pair[2], ","))

    it("multiplies " .. title, function()
      naive.check(ta:matmul(tb), product(a, b), 1e-12)
      naive.check(naive.strided(ta):matmul(naive.strided(tb)), product(a, b), 1e-12, "strided")
      naive.check(ta:to("f32"):matmul(tb:to "f32"), product(a, b), 2e-6, "f32")
    end)

    it("has the gradients that differences show: " .. title, function()
      local ok, report = tr.gradcheck(tr.matmul, { ta, tb })
      assert.is_true(ok, report)
    end)
  end

  it("multiplies transposed views without a detour", function()
    local a, b = naive.random({ 4, 3 }, 1), naive.random({ 5, 4 }, 2)
    local ta, tb = naive.tensor(a):transpose(1, 2), naive.tensor(b):transpose(1, 2)
    naive.check(ta:matmul(tb), product(naive.of(ta), naive.of(tb)), 1e-12)
    local ok, report = tr.gradcheck(function(x, y) return x:transpose(1, 2):matmul(y:transpose(1, 2)) end,
      { naive.tensor(a), naive.tensor(b) })
    assert.is_true(ok, report)
  end)

  it("is right at sizes around its blocks", function()
    for _, n in ipairs { 31, 64, 65, 129 } do
      local a, b = tr.rand(n, n + 1, { dtype = "f64" }), tr.rand(n + 1, 17, { dtype = "f64" })
      naive.check(a:matmul(b), product(naive.of(a), naive.of(b)), 1e-11)
      assert.is_true(tr.allclose(a:to("f32"):matmul(b:to "f32"):to "f64", a:matmul(b), 1e-4))
    end
  end)

  it("takes empty operands: a sum of nothing is 0", function()
    assert.same({ 0, 5 }, tr.zeros(0, 4):matmul(tr.zeros(4, 5)):shape())
    local y = tr.zeros(2, 0):matmul(tr.zeros(0, 3))
    assert.same({ { 0, 0, 0 }, { 0, 0, 0 } }, y:totable())
  end)

  it("names both shapes when they do not fit", function()
    assert.error_matches(function() return tr.zeros(2, 3):matmul(tr.zeros(4, 5)) end, "matmul: .*{2,3}.*{4,5}")
    assert.error_matches(function() return tr.zeros(2, 3, 4):matmul(tr.zeros(3, 4, 5)) end,
      "matmul: .*{2,3,4}.*{3,4,5}")
    assert.error_matches(function() return tr.tensor(1):matmul(tr.zeros(2)) end, "matmul: ")
    assert.error_matches(function()
      return tr.zeros(2, 2, { dtype = "i64" }):matmul(tr.zeros(2, 2, { dtype = "i64" }))
    end, "matmul: .*i64")
    assert.error_matches(function() return tr.zeros(2, 2):matmul(2) end, "matmul: b must be a tensor, got 2")
  end)
end)
