--- Reductions: csrc/autograd/{sum,mean,var,prod,max,argmax,logsumexp,norm,cumsum}.c
local tr = require "texres"
local naive = require "spec.naive"

local function sum(list)
  local s = 0
  for _, v in ipairs(list) do s = s + v end
  return s
end

local function var(correction)
  return function(list)
    local mean, s = sum(list) / #list, 0
    for _, v in ipairs(list) do s = s + (v - mean) ^ 2 end
    return s / (#list - correction)
  end
end

local function product(list)
  local p = 1
  for _, v in ipairs(list) do p = p * v end
  return p
end

local function extreme(better)
  return function(list)
    local best, place = list[1], 1
    for i, v in ipairs(list) do
      if better(v, best) then best, place = v, i end
    end
    return best, place
  end
end
local largest = extreme(function(a, b) return a > b end)
local smallest = extreme(function(a, b) return a < b end)

local function norm(p)
  return function(list)
    local s = 0
    for _, v in ipairs(list) do
      if p == math.huge then s = math.max(s, math.abs(v)) else s = s + math.abs(v) ^ p end
    end
    return p == math.huge and s or s ^ (1 / p)
  end
end

local function place_of(f)
  return function(list)
    local _, place = f(list)
    return place
  end
end

-- method, definition on a list, further options
local reductions = {
  { "sum", sum },
  { "mean", function(list) return sum(list) / #list end },
  { "var", var(1) },
  { "var", var(0), { correction = 0 } },
  { "std", function(list) return math.sqrt(var(1)(list)) end },
  { "prod", product },
  { "max", function(list) return (largest(list)) end },
  { "min", function(list) return (smallest(list)) end },
  { "logsumexp", function(list)
    local top, s = largest(list), 0
    for _, v in ipairs(list) do s = s + math.exp(v - top) end
    return top + math.log(s)
  end },
  { "norm", norm(2) },
  { "norm", norm(1), { p = 1 } },
  { "norm", norm(3), { p = 3 } },
  { "norm", norm(math.huge), { p = math.huge } },
}

local function with(extra, options)
  local all = {}
  for k, v in pairs(extra or {}) do all[k] = v end
  for k, v in pairs(options or {}) do all[k] = v end
  return all
end

-- every combination of dimensions of a rank-3 tensor
local dims_of = { { 1 }, { 2 }, { 3 }, { 1, 2 }, { 1, 3 }, { 2, 3 }, { 1, 2, 3 } }

local function label(row)
  local key, value = next(row[3] or {})
  return row[1] .. (key and (" with %s = %g"):format(key, value) or "")
end

describe("a reduction", function()
  local reference = naive.random({ 3, 4, 5 }, 11)
  local x = naive.tensor(reference)

  for _, row in ipairs(reductions) do
    local name, f, extra = table.unpack(row)

    it(label(row) .. " follows its definition over any dimensions", function()
      for _, dims in ipairs(dims_of) do
        for _, keepdim in ipairs { false, true } do
          local expected = naive.reduce(reference, dims, keepdim, f)
          local options = with(extra, { dim = #dims == 1 and dims[1] or dims, keepdim = keepdim })
          naive.check((x[name](x, options)), expected, 1e-12, table.concat(dims, ","))
          naive.check((x[name](naive.strided(x), options)), expected, 1e-12, "strided")
          local x32 = x:to "f32"
          naive.check((x32[name](x32, options)), naive.reduce(naive.of(x32), dims, keepdim, f), 3e-6, "f32")
        end
      end
      naive.check((x[name](x, with(extra))), naive.reduce(reference, nil, false, f), 1e-12, "all")
      if not extra then naive.check((x[name](x, -1, true)), naive.reduce(reference, { 3 }, true, f), 1e-12, "last") end
    end)

    it(label(row) .. " has the gradient that differences show", function()
      for _, dims in ipairs(dims_of) do
        local ok, report = tr.gradcheck(function(t) return (t[name](t, with(extra, { dim = dims }))) end, { x })
        assert.is_true(ok, report)
      end
      local options = with(extra, { dim = 2, keepdim = true })
      local ok, report = tr.gradcheck(function(t) return (t[name](t, options)) end, { x })
      assert.is_true(ok, report)
    end)
  end

  it("argmax and argmin give 1-based positions", function()
    for _, dim in ipairs { 1, 2, 3 } do
      naive.check(x:argmax(dim), naive.reduce(reference, { dim }, false, place_of(largest)))
      naive.check(x:argmin(dim, true), naive.reduce(reference, { dim }, true, place_of(smallest)))
    end
    naive.check(x:argmax(), naive.reduce(reference, nil, false, place_of(largest)))
    assert.equal("i64", x:argmax().dtype)
    assert.same({ 2, 1 }, tr.tensor({ { 1, 5, 5 }, { 2, 0, 2 } }):argmax(2):totable())
    assert.error_matches(function() return x:argmax { 1, 2 } end, "argmax: ")
  end)

  it("max and min over a dimension also give positions, over more only values", function()
    local values, positions = x:max(2)
    naive.check(values, naive.reduce(reference, { 2 }, false, function(l) return (largest(l)) end))
    naive.check(positions, naive.reduce(reference, { 2 }, false, place_of(largest)))
    assert.equal("i64", positions.dtype)
    assert.equal(1, select("#", x:max()))
    assert.equal(1, select("#", x:min { 1, 2 }))
    assert.equal(2, select("#", x:min(1, true)))
    assert.same({ 1, 4, 5 }, x:min(1, true):shape())
  end)

  it("gives the gradient of max to the first of equals, over everything to all alike", function()
    local t = tr.tensor { { 1, 3, 3 }, { 3, 0, 1 } }
    t.requires_grad = true
    t:max(2):sum():backward()
    assert.same({ { 0, 1, 0 }, { 1, 0, 0 } }, t.grad:totable())
    t.grad = nil
    t:max():backward()
    assert.is_true(tr.allclose(t.grad, tr.tensor { { 0, 1 / 3, 1 / 3 }, { 1 / 3, 0, 0 } }))
  end)

  it("lets NaN win in max and min", function()
    local t = tr.tensor { 1, 0 / 0, 3 }
    for _, v in ipairs { t:max():item(), t:min():item() } do assert.is_true(v ~= v) end
    assert.equal(2, t:argmax():item())
  end)

  it("sums f32 without losing small terms", function()
    local n = 1000000
    local s = tr.full({ n }, 0.1):sum():item()
    assert.is_true(math.abs(s - n * 0.1) < 1, s)
  end)

  it("counts integers exactly in i64", function()
    local u = tr.full({ 1000 }, 255, { dtype = "u8" })
    assert.equal("i64", u:sum().dtype)
    assert.equal(255000, u:sum():item())
    assert.equal("f32", u:mean().dtype)
    assert.equal(255, u:mean():item())
  end)

  it("has gradient 0 where std and norm are 0", function()
    local t = tr.ones(3, { dtype = "f64" })
    t.requires_grad = true
    t:std():backward()
    assert.same({ 0, 0, 0 }, t.grad:totable())
    local z = tr.zeros(3, { dtype = "f64" })
    z.requires_grad = true
    for _, p in ipairs { 1, 1.5, 2, 3, math.huge } do
      z.grad = nil
      z:norm({ p = p }):backward()
      assert.same({ 0, 0, 0 }, z.grad:totable())
    end
  end)

  it("has the gradient of prod right with no, one and two zeros", function()
    local t = tr.tensor({ { 2, 3, 4 }, { 2, 0, 4 }, { 0, 3, 0 } }, { dtype = "f64" })
    t.requires_grad = true
    t:prod(2):sum():backward()
    assert.same({ { 12, 8, 6 }, { 0, 8, 0 }, { 0, 0, 0 } }, t.grad:totable())
  end)

  it("keeps logsumexp finite where exp is not", function()
    assert.is_true(math.abs(tr.tensor({ 1000, 1000 }):logsumexp():item() - (1000 + math.log(2))) < 1e-3)
    local t = tr.full({ 2 }, -math.huge, { dtype = "f64" })
    t.requires_grad = true
    local y = t:logsumexp()
    assert.equal(-math.huge, y:item())
    y:backward()
    assert.same({ 0, 0 }, t.grad:totable())
  end)

  it("of nothing is 0, 1 or NaN, and an error for extremes", function()
    local none = tr.zeros(0, 3)
    assert.same({ 0, 0, 0 }, none:sum(1):totable())
    assert.same({ 1, 1, 1 }, none:prod(1):totable())
    assert.same({ 0 }, none:sum(2):shape())
    local mean = none:mean():item()
    assert.is_true(mean ~= mean)
    for _, name in ipairs { "max", "min", "argmax", "argmin" } do
      assert.error_matches(function() return none[name](none) end, name .. ": ")
      assert.error_matches(function() return none[name](none, 1) end, name .. ": ")
    end
  end)

  it("says which dimensions there are", function()
    assert.error_matches(function() return x:sum(4) end, "sum: dimension 4: the tensor has dimensions 1..3")
    assert.error_matches(function() return x:mean { 1, 1 } end, "mean: a dimension is named twice")
    assert.error_matches(function() return x:sum "rows" end,
      "sum: dim must be a dimension or a list of them, got 'rows'")
    assert.error_matches(function() return x:sum { keep = true } end,
      "sum: unknown option 'keep'; there are dim, keepdim")
    assert.error_matches(function() return x:norm { p = -1 } end, "norm: p is %-1, must be above 0")
    assert.error_matches(function() return tr.sum(3) end, "sum: x must be a tensor, got 3")
  end)
end)

describe("cumsum", function()
  local reference = naive.random({ 3, 4, 2 }, 5)
  local x = naive.tensor(reference)
  it("sums what stands before, along any dimension", function()
    for dim = 1, 3 do
      local expected = naive.build(reference.shape, function(index)
        local s, place = 0, table.move(index, 1, 3, 1, {})
        for i = 1, index[dim] do
          place[dim] = i
          s = s + naive.get(reference, place)
        end
        return s
      end)
      naive.check(x:cumsum(dim), expected)
      naive.check(naive.strided(x):cumsum(dim), expected)
      local ok, report = tr.gradcheck(function(t) return t:cumsum(dim) end, { x })
      assert.is_true(ok, report)
    end
  end)
end)
