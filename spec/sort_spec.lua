--- sort and topk: every dtype, sizes around the runs of the merge, stability, views, nothing at all.
local tr = require "texres"
local naive = require "spec.naive"

local function check(x, descending)
  local values = x:totable()
  local sorted, indices = x:sort(1, descending)
  assert.equal(x.dtype, sorted.dtype)
  assert.equal("i64", indices.dtype)
  local expected, got = naive.order(values, descending), sorted:totable()
  assert.same(expected, indices:totable())
  for k, i in ipairs(expected) do
    assert.is_true(got[k] == values[i] or (got[k] ~= got[k] and values[i] ~= values[i]))
  end
end

describe("sort", function()
  for _, dtype in ipairs { "u8", "i64", "f32", "f64" } do
    it("is stable in " .. dtype .. " at every size, both ways", function()
      tr.manual_seed(1)
      for _, n in ipairs { 1, 2, 7, 15, 16, 17, 31, 32, 33, 1000 } do
        local x = tr.randint(0, 9, { n }):to(dtype) -- many equals
        check(x, false)
        check(x, true)
      end
    end)
  end

  it("orders signs, extremes and zeros of floats", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local x = tr.tensor({ 0.0, -1, math.huge, -0.0, 0 / 0, 2.5, -math.huge, 1e-30, 0 / 0, -1e-30 }, { dtype = dtype })
      check(x, false)
      check(x, true)
    end
    check(tr.tensor({ math.maxinteger, -1, math.mininteger, 0, 1 }, { dtype = "i64" }), true)
  end)

  it("reads views through their strides", function()
    local x = tr.randn(9, 12)
    for d = 1, 2 do
      local sorted, indices = x:sort(d)
      local same, there = naive.strided(x):sort(d)
      assert.is_true(tr.allclose(sorted, same, 0, 0))
      assert.is_true(tr.allclose(indices, there, 0, 0))
      assert.is_true(tr.allclose(x:gather(d, indices), sorted, 0, 0))
    end
  end)

  it("of nothing is nothing", function()
    local sorted, indices = tr.zeros(3, 0):sort(2)
    assert.same({ 3, 0 }, sorted:shape())
    assert.same({ 3, 0 }, indices:shape())
    assert.same({ 0, 3 }, (tr.zeros(0, 3):sort(2)):shape())
  end)
end)

describe("topk", function()
  it("gives the beginning of what sort gives", function()
    tr.manual_seed(2)
    for _, n in ipairs { 1, 5, 16, 33, 1000 } do
      local x = tr.randint(0, 50, { n }):to "f32"
      for _, k in ipairs { 0, 1, n // 2, n } do
        for _, largest in ipairs { true, false } do
          local values, indices = x:topk(k, 1, largest)
          local sorted, there = x:sort(1, largest)
          assert.same(k == 0 and {} or sorted:slice(1, 1, k):totable(), values:totable())
          assert.same(k == 0 and {} or there:slice(1, 1, k):totable(), indices:totable())
        end
      end
    end
  end)

  it("refuses more than there is", function()
    assert.error_matches(function() tr.zeros(2, 3):topk(4, 2) end, "topk: k is 4")
  end)
end)
