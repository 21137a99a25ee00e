--- Picking, joining, ordering: csrc/autograd/{gather,masked_fill,cat,sort,one_hot}.c
local tr = require "texres"
local naive = require "spec.naive"

local function i64(values) return tr.tensor(values, { dtype = "i64" }) end
local function assert_gradients(f, inputs)
  local ok, report = tr.gradcheck(f, inputs)
  assert.is_true(ok, report)
end
local function replaced(index, dim, value)
  local copy = table.move(index, 1, #index, 1, {})
  copy[dim] = value
  return copy
end

local reference = naive.random({ 3, 4, 5 }, 31)
local x = naive.tensor(reference)

describe("index_select", function()
  it("copies the slices that the positions name, in their order", function()
    for dim, positions in ipairs { { 3, 1, 3 }, { 2 }, { 5, -1, 1, 1, 2, 3 } } do
      local shape = replaced(reference.shape, dim, #positions)
      local expected = naive.build(shape, function(i)
        local p = positions[i[dim]]
        return naive.get(reference, replaced(i, dim, p < 0 and p + reference.shape[dim] + 1 or p))
      end)
      naive.check(x:index_select(dim, i64(positions)), expected, 0)
      naive.check(naive.strided(x):index_select(dim, i64(positions)), expected, 0)
      naive.check(x:index_select(i64(positions), dim), expected, 0)
      assert_gradients(function(t) return t:index_select(dim, i64(positions)) end, { x })
    end
  end)
  it("adds up the gradients of a slice that was picked twice", function()
    local t = tr.tensor { 1, 2, 3 }
    t.requires_grad = true
    t:index_select(1, i64 { 2, 2, 2, 1 }):sum():backward()
    assert.same({ 1, 3, 0 }, t.grad:totable())
  end)
  it("refuses positions that are not there", function()
    assert.error_matches(function() return x:index_select(2, i64 { 1, 5 }) end,
      "index_select: index 5 .*dimension 2 has size 4")
    assert.error_matches(function() return x:index_select(2, i64 { 0 }) end, "index_select: index 0")
    assert.error_matches(function() return x:index_select(2, tr.tensor { 1.0 }) end, "index_select: .*f32")
    assert.error_matches(function() return x:index_select(2, i64 { { 1 } }) end, "index_select: .*{1,1}")
    assert.error_matches(function() return x:index_select(2, { 1 }) end,
      "index_select: index must be a tensor, got a table")
  end)
  it("may pick nothing", function()
    assert.same({ 3, 0, 5 }, x:index_select(2, i64 {}):shape())
  end)
end)

describe("gather", function()
  it("picks along a dimension, element by element", function()
    for dim = 1, 3 do
      local shape = replaced({ 2, 3, 4 }, dim, 6)
      local size = reference.shape[dim]
      local index = naive.build(shape, function(i) return (i[1] * 7 + i[2] * 3 + i[3] * 5) % size + 1 end)
      local expected = naive.build(shape, function(i)
        return naive.get(reference, replaced(i, dim, naive.get(index, i)))
      end)
      local t = naive.tensor(index, "i64")
      naive.check(x:gather(dim, t), expected, 0)
      naive.check(naive.strided(x):gather(dim, t), expected, 0)
      assert_gradients(function(a) return a:gather(dim, t) end, { x })
    end
  end)
  it("refuses what does not fit", function()
    assert.error_matches(function() return tr.ones(2, 3):gather(2, i64 { { 4 } }) end,
      "gather: index 4 .*dimension 2 has size 3")
    assert.error_matches(function() return tr.ones(2, 3):gather(2, i64 { 1 }) end, "gather: ")
    assert.error_matches(function() return tr.ones(1, 3):gather(2, i64 { { 1 }, { 1 } }) end,
      "gather: index {2,1} does not fit {1,3}")
  end)
end)

describe("masked_fill", function()
  local mask = tr.tensor({ 1, 0, 0, 1, 1 }, { dtype = "u8" })
  it("writes the value where the mask is not 0", function()
    local expected = naive.map(function(v, m) return m ~= 0 and -7 or v end, reference, naive.of(mask))
    naive.check(x:masked_fill(mask, -7), expected, 0)
    naive.check(naive.strided(x):masked_fill(mask, -7), expected, 0)
    assert_gradients(function(t) return t:masked_fill(mask, -7) end, { x })
  end)
  it("refuses a mask that does not fit", function()
    assert.error_matches(function() return x:masked_fill(tr.ones(4), 0) end, "masked_fill: .*{4}.*{3,4,5}")
    assert.error_matches(function() return x:masked_fill(mask) end, "masked_fill: value must be given")
  end)
end)

describe("cat and stack", function()
  it("take as many tensors as there are, and hand each its gradient", function()
    local list, n = {}, 10000
    for i = 1, n do list[i] = tr.full({ 1 }, i) end
    list[n].requires_grad = true
    local joined, stacked = tr.cat(list), tr.stack(list)
    assert.same({ { n }, { n, 1 } }, { joined:shape(), stacked:shape() })
    assert.is_true(tr.allclose(tr.arange(n), joined, 0))
    assert.is_true(tr.allclose(joined, stacked:squeeze(), 0))
    joined:sum():backward()
    assert.same({ 1 }, list[n].grad:totable())
  end)

  local a, b, c = naive.random({ 2, 3 }, 1), naive.random({ 2, 1 }, 2), naive.random({ 2, 2 }, 3)
  local ta, tb, tc = naive.tensor(a), naive.tensor(b), naive.tensor(c)
  it("join along an existing dimension", function()
    local joined = naive.build({ 2, 6 }, function(i)
      local j = i[2]
      return j <= 3 and naive.get(a, i) or j == 4 and naive.get(b, { i[1], 1 }) or naive.get(c, { i[1], j - 4 })
    end)
    naive.check(tr.cat({ ta, tb, tc }, 2), joined, 0)
    naive.check(tr.cat({ naive.strided(ta), tb, naive.strided(tc) }, -1), joined, 0)
    naive.check(tr.cat { ta, ta }, naive.build({ 4, 3 }, function(i)
      return naive.get(a, { (i[1] - 1) % 2 + 1, i[2] })
    end), 0)
    assert_gradients(function(p, q, r) return tr.cat({ p, q, r }, 2) end, { ta, tb, tc })
    assert_gradients(function(p) return tr.cat({ p, p, tb }, 2) end, { ta })
  end)
  it("join what has no elements", function()
    for _, shape in ipairs { { 0, 2 }, { 2, 0, 3, 4 }, { 2, 3, 0, 4 }, { 2, 3, 4, 0 } } do
      for dim = 1, #shape do
        local empty = tr.zeros(shape, { requires_grad = true })
        local joined = table.move(shape, 1, #shape, 1, {})
        joined[dim] = 2 * joined[dim]
        local y = tr.cat({ empty, empty }, dim)
        assert.same(joined, y:shape())
        y:sum():backward()
        assert.same(shape, empty.grad:shape())
      end
    end
  end)
  it("join along a new dimension", function()
    local d = naive.random({ 2, 3 }, 9)
    for dim = 1, 3 do
      local shape = { 2, 3 }
      table.insert(shape, dim, 2)
      local expected = naive.build(shape, function(i)
        local own = table.move(i, 1, 3, 1, {})
        return naive.get(table.remove(own, dim) == 1 and a or d, own)
      end)
      naive.check(tr.stack({ ta, naive.tensor(d) }, dim), expected, 0)
      assert_gradients(function(p, q) return tr.stack({ p, q }, dim) end, { ta, naive.tensor(d) })
    end
    assert.same({ 2, 3, 1 }, tr.stack({ ta }, -1):shape())
    assert.same({ 3 }, tr.stack({ tr.tensor(1), tr.tensor(2), tr.tensor(3) }):shape())
  end)
  it("take any number of tensors", function()
    local list = {}
    for i = 1, 500 do list[i] = tr.full({ 1 }, i) end
    list[500].requires_grad = true
    local y = tr.cat(list)
    assert.equal(125250, y:sum():item())
    y:sum():backward()
    assert.equal(1, list[500].grad:item())
  end)
  it("promote to the highest dtype, and give each gradient its own", function()
    local u, f = tr.ones(2, { dtype = "u8" }), tr.tensor { 0.5 }
    assert.equal("f32", tr.cat({ u, f }).dtype)
    local d = tr.tensor({ 1 }, { dtype = "f64" })
    f.requires_grad = true
    local y = tr.cat { f, d }
    assert.equal("f64", y.dtype)
    y:sum():backward()
    assert.equal("f32", f.grad.dtype)
  end)
  it("say what does not fit", function()
    assert.error_matches(function() return tr.cat { ta, tr.zeros(2, 4) } end,
      "cat: number 2 is {2,4} and does not fit {2,3}")
    assert.error_matches(function() return tr.cat({ ta, tr.zeros(2) }, 1) end, "cat: ")
    assert.error_matches(function() return tr.cat({ ta, tb }, 3) end,
      "cat: dimension 3: the tensor has dimensions 1..2")
    assert.error_matches(function() return tr.cat {} end, "cat: the list of tensors is empty")
    assert.error_matches(function() return tr.cat { ta, 3 } end, "cat: element 2 of the list must be a tensor, got 3")
    assert.error_matches(function() return tr.cat(ta, tb) end, "cat: a list of tensors is expected")
    assert.error_matches(function() return tr.stack { ta, tb } end, "stack: .*{2,1}.*{2,3}")
    assert.error_matches(function() return tr.stack({ ta }, 4) end,
      "stack: dimension 4: a new one of {2,3} may be 1 to 3")
  end)
end)

describe("chunk and split", function()
  it("cut a dimension into views", function()
    local t = tr.arange(1, 7)
    local parts = t:chunk(3)
    assert.equal(3, #parts)
    assert.same({ 1, 2, 3 }, parts[1]:totable())
    assert.same({ 7 }, parts[3]:totable())
    parts = t:split(4)
    assert.same({ 5, 6, 7 }, parts[2]:totable())
    parts = tr.zeros(2, 7):split({ 1, 2, 4 }, 2)
    assert.same({ 2, 4 }, parts[3]:shape())
    assert_gradients(function(a)
      local p = a:chunk(2, 2)
      return p[1] * 2, p[2] * 3
    end, { x })
  end)
  it("say what does not fit", function()
    assert.error_matches(function() return x:split({ 1, 2 }, 2) end,
      "split: sizes {1,2} add up to 3, dimension 2 has size 4")
    assert.error_matches(function() return x:chunk(0) end, "chunk: ")
    assert.error_matches(function() return x:split(0) end, "split: ")
  end)
end)

describe("sort and topk", function()
  local function expected(t, dim, k, descending)
    local values, places = { shape = replaced(t.shape, dim, k) }, { shape = replaced(t.shape, dim, k) }
    naive.build(values.shape, function(i)
      local list = {}
      for j = 1, t.shape[dim] do list[j] = naive.get(t, replaced(i, dim, j)) end
      local place = naive.order(list, descending)[i[dim]]
      values[#values + 1], places[#places + 1] = list[place], place
    end)
    return values, places
  end

  it("order along any dimension and say where elements stood", function()
    local few = naive.build({ 3, 4, 5 }, function(i) return (i[1] * i[2] * i[3] * 7) % 4 end) -- many equal ones
    for dim = 1, 3 do
      for _, descending in ipairs { false, true } do
        for _, t in ipairs { reference, few } do
          local values, places = expected(t, dim, t.shape[dim], descending)
          local tv, tp = naive.tensor(t):sort(dim, descending)
          naive.check(tv, values, 0)
          naive.check(tp, places, 0)
          naive.check((naive.strided(naive.tensor(t)):sort(dim, descending)), values, 0)
          values, places = expected(t, dim, 2, descending)
          tv, tp = naive.tensor(t):topk(2, dim, descending)
          naive.check(tv, values, 0)
          naive.check(tp, places, 0)
        end
      end
    end
    assert.equal("i64", select(2, x:sort()).dtype)
  end)
  it("have the gradients that differences show", function()
    assert_gradients(function(t) return (t:sort(2)) end, { x })
    assert_gradients(function(t) return (t:sort(1, true)) end, { x })
    assert_gradients(function(t) return (t:topk(2, 3)) end, { x })
    assert_gradients(function(t) return (t:topk(1, 1, false)) end, { x })
  end)
  it("put NaN last", function()
    local t = tr.tensor { 2, 0 / 0, 1 }
    assert.same({ 3, 1, 2 }, select(2, t:sort()):totable())
    assert.same({ 1, 3, 2 }, select(2, t:sort(1, true)):totable())
  end)
  it("refuse more than there is", function()
    assert.error_matches(function() return x:topk(6) end, "topk: .*6")
    assert.error_matches(function() return x:topk(-1) end, "topk: .*%-1")
    assert.error_matches(function() return x:topk() end, "topk: k must be given")
    assert.error_matches(function() return x:sort(4) end, "sort: dimension 4")
  end)
end)

describe("one_hot", function()
  it("marks the label", function()
    assert.same({ { 0, 1, 0 }, { 0, 0, 1 } }, tr.one_hot(i64 { 2, 3 }, 3):totable())
    assert.same({ 2, 1, 4 }, i64({ { 4 }, { 1 } }):one_hot():shape())
    assert.equal("u8", tr.one_hot(i64 { 1 }, { classes = 2, dtype = "u8" }).dtype)
  end)
  it("refuses labels that are not classes", function()
    assert.error_matches(function() return tr.one_hot(i64 { 1, 4 }, 3) end, "one_hot: label 4")
    assert.error_matches(function() return tr.one_hot(i64 { 0 }, 3) end, "one_hot: label 0")
    assert.error_matches(function() return tr.one_hot(tr.tensor { 1.0 }, 3) end, "one_hot: .*f32")
  end)
end)
