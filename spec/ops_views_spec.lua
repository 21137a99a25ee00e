--- Views and copies: csrc/autograd/{slice,reshape,permute,expand,copies}.c
local tr = require "texres"
local naive = require "spec.naive"

local function shares_memory(view, t)
  local before, old = view:clone(), t:clone()
  t:detach():fill(1000)
  local changed = not tr.allclose(view, before, 0, 0)
  t:copy_from(old)
  return changed
end

local reference = naive.random({ 3, 4, 5 }, 21)
local function x() return naive.tensor(reference) end

--- name, function, shape of the result, element of x behind index i of the result, whether memory is shared
local views = {
  { "select", function(t) return t:select(2, 3) end, { 3, 5 }, function(i) return { i[1], 3, i[2] } end, true },
  { "select from the end", function(t) return t:select(-1, -1) end, { 3, 4 },
    function(i) return { i[1], i[2], 5 } end, true },
  { "indexing", function(t) return t[2] end, { 4, 5 }, function(i) return { 2, i[1], i[2] } end, true },
  { "slice", function(t) return t:slice(2, 2, 4) end, { 3, 3, 5 },
    function(i) return { i[1], i[2] + 1, i[3] } end, true },
  { "slice to the end", function(t) return t:slice(3, -2) end, { 3, 4, 2 },
    function(i) return { i[1], i[2], i[3] + 3 } end, true },
  { "slice by steps", function(t) return t:slice(3, 1, 5, 2) end, { 3, 4, 3 },
    function(i) return { i[1], i[2], 2 * i[3] - 1 } end, true },
  { "slice by steps that miss the last", function(t) return t:slice(3, 1, 4, 2) end, { 3, 4, 2 },
    function(i) return { i[1], i[2], 2 * i[3] - 1 } end, true },
  { "transpose", function(t) return t:transpose(1, 3) end, { 5, 4, 3 },
    function(i) return { i[3], i[2], i[1] } end, true },
  { "transpose from the end", function(t) return t:transpose(-1, -2) end, { 3, 5, 4 },
    function(i) return { i[1], i[3], i[2] } end, true },
  { "permute", function(t) return t:permute(3, 1, 2) end, { 5, 3, 4 },
    function(i) return { i[2], i[3], i[1] } end, true },
  { "permute by a list", function(t) return t:permute { -1, 1, 2 } end, { 5, 3, 4 },
    function(i) return { i[2], i[3], i[1] } end, true },
  { "unsqueeze", function(t) return t:unsqueeze(2) end, { 3, 1, 4, 5 },
    function(i) return { i[1], i[3], i[4] } end, true },
  { "unsqueeze at the end", function(t) return t:unsqueeze(-1) end, { 3, 4, 5, 1 },
    function(i) return { i[1], i[2], i[3] } end, true },
  { "expand", function(t) return t:unsqueeze(1):expand(2, -1, 4, 5) end, { 2, 3, 4, 5 },
    function(i) return { i[2], i[3], i[4] } end, true },
  { "expand in front", function(t) return t:select(1, 1):expand { 2, 4, 5 } end, { 2, 4, 5 },
    function(i) return { 1, i[2], i[3] } end, true },
  { "clone", function(t) return t:clone() end, { 3, 4, 5 }, function(i) return i end, false },
  { "contiguous", function(t) return t:contiguous() end, { 3, 4, 5 }, function(i) return i end, true },
  { "contiguous of a view", function(t) return t:transpose(1, 2):contiguous() end, { 4, 3, 5 },
    function(i) return { i[2], i[1], i[3] } end, false },
  { "to the same dtype", function(t) return t:to "f64" end, { 3, 4, 5 }, function(i) return i end, true },
}

describe("a view or copy", function()
  for _, row in ipairs(views) do
    local name, f, shape, source, shared = table.unpack(row)
    it(name .. " shows the right elements" .. (shared and " in shared memory" or " in memory of its own"), function()
      local t = x()
      naive.check(f(t), naive.build(shape, function(i) return naive.get(reference, source(i)) end), 0)
      assert.equal(shared, shares_memory(f(t), t))
    end)
    it(name .. " hands its gradient back to the elements it shows", function()
      local ok, report = tr.gradcheck(f, { x() })
      assert.is_true(ok, report)
      local t = x()
      t.requires_grad = true
      f(t):sum():backward()
      local expected = naive.build(reference.shape, function() return 0 end)
      naive.build(shape, function(i)
        local s, at = source(i), 0
        for d = 1, 3 do at = at * reference.shape[d] + s[d] - 1 end
        expected[at + 1] = expected[at + 1] + 1
      end)
      naive.check(t.grad, expected, 0)
    end)
  end
end)

describe("reshape and its relatives", function()
  local same_order = {
    { "reshape", function(t) return t:reshape(5, 12) end, { 5, 12 } },
    { "reshape by a list", function(t) return t:reshape { 2, 30 } end, { 2, 30 } },
    { "reshape with -1", function(t) return t:reshape(6, -1) end, { 6, 10 } },
    { "view", function(t) return t:view(60) end, { 60 } },
    { "flatten", function(t) return t:flatten() end, { 60 } },
    { "flatten from 2", function(t) return t:flatten(2) end, { 3, 20 } },
    { "flatten 1 to 2", function(t) return t:flatten(1, 2) end, { 12, 5 } },
    { "unsqueeze and squeeze", function(t) return t:unsqueeze(1):unsqueeze(3):squeeze() end, { 3, 4, 5 } },
    { "squeeze of one", function(t) return t:unsqueeze(1):unsqueeze(3):squeeze(3) end, { 1, 3, 4, 5 } },
    { "squeeze of another size", function(t) return t:squeeze(2) end, { 3, 4, 5 } },
  }
  for _, row in ipairs(same_order) do
    local name, f, shape = table.unpack(row)
    it(name .. " keeps the elements in order and shares memory", function()
      local t = x()
      local expected = table.move(reference, 1, 60, 1, { shape = shape })
      naive.check(f(t), expected, 0)
      assert.is_true(shares_memory(f(t), t))
      local ok, report = tr.gradcheck(f, { t })
      assert.is_true(ok, report)
    end)
  end

  it("copies where strides stand in the way, and view refuses to", function()
    local t = x():transpose(1, 3)
    naive.check(t:reshape(60), table.move(naive.of(t), 1, 60, 1, { shape = { 60 } }), 0)
    assert.is_false(shares_memory(t:reshape(60), t))
    assert.error_matches(function() return t:view(60) end, "view: {5,4,3} cannot be seen as {60} without a copy")
    assert.same({ 20, 3 }, x():transpose(2, 3):transpose(1, 3):transpose(1, 2):reshape(-1, 3):shape())
    local ok, report = tr.gradcheck(function(a) return a:transpose(1, 3):reshape(6, -1) end, { x() })
    assert.is_true(ok, report)
  end)

  it("handles tensors of one number and of none", function()
    assert.same({ 1 }, tr.tensor(3):flatten():shape())
    assert.same({ 1, 1 }, tr.tensor(3):reshape(1, 1):shape())
    assert.same({}, tr.ones(1, 1):squeeze():shape())
    assert.same({}, tr.ones(1):reshape({}):shape())
    assert.same({ 1 }, tr.tensor(3):unsqueeze(1):shape())
    assert.same({ 0, 6 }, tr.zeros(2, 0, 3):reshape(0, 6):shape())
    assert.same({ 0 }, tr.zeros(2, 0, 3):flatten():shape())
    assert.same({ 2, 0, 3 }, tr.zeros(3, 0, 2):transpose(1, 3):shape())
    assert.same({ 0, 4 }, tr.zeros(3, 4):slice(1, 2, 1):shape())
    assert.same({ 0, 4 }, tr.zeros(3, 4):slice(1, 4, 3):shape())
    assert.same({ 0, 4 }, tr.zeros(3, 4):slice(1, 1, 0):shape())
    assert.same({ 0, 4 }, tr.zeros(0, 4):slice(1):shape())
    assert.same({ 0, 2 }, tr.zeros(0, 4):slice(2, 3):shape())
  end)

  it("says what does not fit", function()
    local t = tr.zeros(3, 4)
    assert.error_matches(function() return t:reshape(5, 2) end,
      "reshape: {3,4} has 12 elements, which do not make {5,2}")
    assert.error_matches(function() return t:reshape(5, -1) end,
      "reshape: {3,4} has 12 elements, which do not make {5,%-1}")
    assert.error_matches(function() return t:reshape(-1, -1) end, "reshape: only one size may be %-1")
    assert.error_matches(function() return t:reshape(-2, 6) end, "reshape: size %-2 in dimension 1 is negative")
    assert.error_matches(function() return t:reshape(1 << 40, 1 << 40) end, "reshape: .*more than memory can address")
    assert.error_matches(function() return t:reshape(1, 1, 1, 1, 1, 1, 1, 1, 12) end,
      "reshape: sizes has 9 values: at most 8")
    assert.error_matches(function() return t:reshape() end, "reshape: ")
    assert.error_matches(function() return t:reshape "2" end, "reshape: sizes must be integers, got '2'")
    assert.error_matches(function() return t:reshape(1.5, 8) end, "reshape: sizes must be an integer, got 1.5")
    assert.error_matches(function() return tr.zeros(0, 2):reshape(-1, 0) end, "reshape: ")
    assert.error_matches(function() return t:select(1, 4) end,
      "select: index 4 is outside of dimension 1, which has size 3")
    assert.error_matches(function() return t:select(1, -4) end, "select: index %-4 is outside of dimension 1")
    assert.error_matches(function() return t:select(1, 0) end, "select: index is 0: indices count from 1")
    assert.error_matches(function() return t:select(3, 1) end, "select: dimension 3: the tensor has dimensions 1..2")
    assert.error_matches(function() return t:select(1) end, "select: index must be given")
    assert.error_matches(function() return tr.tensor(1):select(1, 1) end,
      "select: dimension 1: the tensor holds one number")
    assert.error_matches(function() return t:slice(2, 2, 5) end,
      "slice: index 5 is outside of dimension 2, which has size 4")
    assert.error_matches(function() return t:slice(2, 6, 5) end, "slice: index 6 is outside of dimension 2")
    assert.error_matches(function() return t:slice(2, 1, 4, 0) end, "slice: step is 0, must be at least 1")
    assert.error_matches(function() return t:permute(1, 1) end, "permute: {1,1} is not an order of 2 dimensions")
    assert.error_matches(function() return t:permute(1) end, "permute: {1} is not an order of 2 dimensions")
    assert.error_matches(function() return t:transpose(1, 3) end,
      "transpose: dimension 3: the tensor has dimensions 1..2")
    assert.error_matches(function() return t:expand(2, 4) end, "expand: {3,4} does not expand to {2,4}")
    assert.error_matches(function() return t:expand(4) end, "expand: {3,4} does not expand to {4}")
    assert.error_matches(function() return t:unsqueeze(4) end,
      "unsqueeze: dimension 4: a new one of {3,4} may be 1 to 3")
    assert.error_matches(function() return t:flatten(2, 1) end, "flatten: dimensions 2 to 1 are not a run in {3,4}")
    assert.error_matches(function() return t:flatten(1, 3) end, "flatten: dimensions 1 to 3 are not a run in {3,4}")
    assert.error_matches(function() return t:to "f16" end, "to: dtype must be one of u8, i64, f32, f64, got 'f16'")
    local eight = tr.zeros(1, 1, 1, 1, 1, 1, 1, 1)
    assert.error_matches(function() return eight:unsqueeze(1) end, "9 dimensions: a tensor has at most 8")
  end)
end)

describe("a copy", function()
  it("between overlapping parts of one tensor sees the elements as they were", function()
    local t = tr.arange(1, 6):to "f32"
    t:slice(1, 2, 6):copy_from(t:slice(1, 1, 5))
    assert.same({ 1, 1, 2, 3, 4, 5 }, t:totable())
    local square = tr.tensor { { 1, 2 }, { 3, 4 } }
    square:copy_from(square:transpose(1, 2))
    assert.same({ { 1, 3 }, { 2, 4 } }, square:totable())
    square:copy_from(square)
    assert.same({ { 1, 3 }, { 2, 4 } }, square:totable())
  end)
  it("of transposed memory is right at sizes around its tiles, in every dtype", function()
    for _, from in ipairs { "u8", "i64", "f32", "f64" } do
      for _, rows in ipairs { 1, 3, 15, 16, 17, 33 } do
        for _, columns in ipairs { 2, 15, 16, 31, 32, 49 } do
          local plain = naive.build({ 2, rows, columns }, function(i) return (i[1] * 97 + i[2] * 31 + i[3]) % 251 end)
          local t = naive.tensor(plain, from)
          local turned = naive.build({ columns, rows, 2 }, function(i)
            return naive.get(plain, { i[3], i[2], i[1] })
          end)
          naive.check(t:transpose(1, 3):contiguous(), turned, 0)
          naive.check(t:transpose(1, 3):to "f64", turned, 0)
          local swapped = naive.build({ 2, columns, rows }, function(i)
            return naive.get(plain, { i[1], i[3], i[2] })
          end)
          naive.check(t:transpose(2, 3):to "f32", swapped, 0)
          local target = tr.zeros(2, rows, columns, { dtype = from })
          target:transpose(2, 3):copy_from(t:transpose(2, 3):contiguous())
          naive.check(target, plain, 0)
        end
      end
    end
  end)
end)

describe("to", function()
  it("converts between all dtypes", function()
    local values = { 0, 1, 2.75, 200 }
    for _, from in ipairs { "u8", "i64", "f32", "f64" } do
      local t = tr.tensor(values):to(from)
      for _, dtype in ipairs { "u8", "i64", "f32", "f64" } do
        assert.equal(dtype, t:to(dtype).dtype)
        local whole = not (from:find "f" and dtype:find "f")
        assert.same({ 0, 1, whole and 2 or 2.75, 200 }, t:to(dtype):totable())
      end
    end
  end)
  it("carries gradients between floats and drops them at integers", function()
    local t = tr.tensor { 1.5, 2.5 }
    t.requires_grad = true
    (t:to "f64" * 3):sum():backward()
    assert.equal("f32", t.grad.dtype)
    assert.same({ 3, 3 }, t.grad:totable())
    assert.is_false(t:to("i64").requires_grad)
  end)
end)
