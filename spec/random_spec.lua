--- Random tensors: ranges, moments, the same numbers from the same seed whatever the layout and the number of threads.
local tr = require "texres"

local function item(t) return t:item() end

describe("random tensors", function()
  for _, dtype in ipairs { "f32", "f64" } do
    it("are uniform in [0, 1) in " .. dtype, function()
      tr.manual_seed(1)
      local x = tr.rand({ 200000 }, { dtype = dtype })
      assert.equal(dtype, x.dtype)
      assert.is_true(item(x:min()) >= 0 and item(x:max()) < 1)
      assert.near(0.5, item(x:mean()), 0.003) -- 4.6 standard errors
      assert.near(1 / 12, item(x:var()), 0.001)
      for tenth = 0, 9 do -- each tenth holds a tenth
        local share = item((x:ge(tenth / 10) * x:lt((tenth + 1) / 10)):to("f64"):mean())
        assert.near(0.1, share, 0.0035)
      end
    end)

    it("are normal in " .. dtype, function()
      tr.manual_seed(2)
      local x = tr.randn({ 200000 }, { dtype = dtype })
      assert.near(0, item(x:mean()), 0.011)
      assert.near(1, item(x:var()), 0.016)
      assert.near(0, item((x ^ 3):mean()), 0.04)
      assert.near(3, item((x ^ 4):mean()), 0.1)
      local beyond = item(x:abs():gt(2):to("f64"):mean()) -- 2 (1 - Phi(2)) = 0.0455
      assert.near(0.0455, beyond, 0.0022)
      assert.is_true(item(x:abs():max()) > 3.8 and item(x:abs():max()) < 7)
      for _, lag in ipairs { 1, 2, 16, 32, 64 } do -- neighbours and partners of one counter are independent
        local n = x:numel()
        assert.near(0, item((x:slice(1, 1, n - lag) * x:slice(1, 1 + lag, n)):mean()), 0.011)
      end
    end)
  end

  it("repeat from the same seed, and differ from draw to draw", function()
    tr.manual_seed(7)
    local a, b = tr.randn(100), tr.randn(100)
    tr.manual_seed(7)
    local again = tr.randn(100)
    tr.manual_seed(8)
    local seed8 = tr.randn(100)
    assert.is_true(tr.allclose(a, again, 0, 0))
    assert.is_false(tr.allclose(a, b))
    assert.is_false(tr.allclose(a, seed8))
  end)

  it("begin with the same numbers whatever their length", function()
    tr.manual_seed(7)
    local long = tr.randn(1000)
    for _, n in ipairs { 1, 2, 15, 16, 17, 63, 64, 65, 999 } do
      tr.manual_seed(7)
      assert.is_true(tr.allclose(tr.randn(n), long:slice(1, 1, n), 0, 0))
    end
  end)

  it("fill views as they fill a tensor of their own", function()
    for _, fill in ipairs { "normal", "uniform" } do
      tr.manual_seed(9)
      local whole = tr.zeros(40, 30)
      whole[fill](whole)
      tr.manual_seed(9)
      local view = tr.zeros(30, 80):transpose(1, 2):slice(1, 1, 80, 2)
      view[fill](view)
      assert.is_true(tr.allclose(whole, view, 0, 0), fill)
    end
  end)

  it("are the same for 1, 2, 3 and 8 threads", function()
    local threads, first = tr.num_threads(), nil
    for _, n in ipairs { 1, 2, 3, 8 } do
      tr.set_num_threads(n)
      tr.manual_seed(3)
      local x = tr.randn(300001)
      first = first or x
      assert.is_true(tr.allclose(first, x, 0, 0))
    end
    tr.set_num_threads(threads)
  end)

  it("draw integers from both ends of their range and between, equally often", function()
    tr.manual_seed(4)
    local x = tr.randint(-2, 3, { 60000 })
    assert.equal("i64", x.dtype)
    for value = -2, 3 do
      assert.near(10000, item(x:eq(value):to("i64"):sum()), 400) -- 4.4 standard deviations
    end
    assert.equal(60000, item((x:ge(-2) * x:le(3)):to("i64"):sum()))
    assert.same({ 5, 5, 5 }, tr.randint(5, 5, { 3 }):totable())
    local wide = tr.randint(math.mininteger, math.maxinteger, { 100 })
    assert.is_true(item(wide:min()) < 0 and item(wide:max()) > 0)
    assert.has_error(function() tr.randint(3, 2, { 4 }) end, "randint: no integers from 3 to 2")
  end)

  it("shuffle: every number once, every place equally often", function()
    tr.manual_seed(5)
    for _, n in ipairs { 0, 1, 2, 100 } do
      local values = tr.randperm(n):totable()
      table.sort(values)
      for i = 1, n do assert.equal(i, values[i]) end
      assert.equal(n, #values)
    end
    local first = { 0, 0, 0 }
    for _ = 1, 3000 do
      local place = tr.randperm(3)[1]:item()
      first[place] = first[place] + 1
    end
    for place = 1, 3 do assert.near(1000, first[place], 115) end
  end)

  it("refuse integer dtypes and ranges that are none", function()
    assert.has_error(function() tr.zeros(3, { dtype = "i64" }):normal() end,
      "normal: a tensor of i64; f32 or f64 is wanted")
    assert.has_error(function() tr.zeros(3):uniform(2, 1) end, "uniform: no range from 2 to 1")
    assert.has_error(function() tr.zeros(3):uniform(0, math.huge) end)
  end)

  it("never reach the upper end of a range, even where rounding would", function()
    tr.manual_seed(6)
    local x = tr.zeros(100000):uniform(1, 1 + 2 ^ -22)
    assert.is_true(item(x:max()) < 1 + 2 ^ -22 and item(x:min()) >= 1)
  end)
end)
