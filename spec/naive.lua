--- Tensors as nested loops would have them: the plain reference that specs compare texres with.
--
-- A naive tensor is { shape = {2,3}, [1] = .., [2] = .., ... }: elements in row-major order, indices 1-based.
local assert = require "luassert"
local texres = require "texres"

local naive = {}

local function count(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end
naive.count = count

--- Position in the list of elements of an index such as {2,1,3}.
local function at(shape, index)
  local position = 0
  for d, size in ipairs(shape) do position = position * size + index[d] - 1 end
  return position + 1
end

--- The index of element number `position`.
local function index_of(shape, position)
  local index, rest = {}, position - 1
  for d = #shape, 1, -1 do
    index[d] = rest % shape[d] + 1
    rest = rest // shape[d]
  end
  return index
end

--- A tensor of a shape, element by element: f(index).
function naive.build(shape, f)
  local t = { shape = shape }
  for i = 1, count(shape) do t[i] = f(index_of(shape, i)) end
  return t
end

function naive.get(t, index) return t[at(t.shape, index)] end

--- From a texres tensor, and back.
function naive.of(t)
  local result = t:reshape(-1):totable()
  result.shape = t:shape()
  return result
end

function naive.tensor(t, dtype)
  local values = table.move(t, 1, count(t.shape), 1, {})
  return texres.tensor(values, { dtype = dtype or "f64" }):reshape(t.shape)
end

--- f of the elements of several tensors under broadcasting.
function naive.map(f, ...)
  local operands, dims = { ... }, 0
  for _, t in ipairs(operands) do dims = math.max(dims, #t.shape) end
  local shape = {}
  for d = 1, dims do
    shape[d] = 1
    for _, t in ipairs(operands) do
      local size = t.shape[d - dims + #t.shape] or 1
      if size ~= 1 then shape[d] = size end
    end
  end
  return naive.build(shape, function(index)
    local values = {}
    for i, t in ipairs(operands) do
      local own = {}
      for d, size in ipairs(t.shape) do own[d] = size == 1 and 1 or index[d + dims - #t.shape] end
      values[i] = naive.get(t, own)
    end
    return f(table.unpack(values))
  end)
end

--- f of the list of elements that are reduced into one; dims: list of dimensions, nil: all.
function naive.reduce(t, dims, keepdim, f)
  local reduced, shape, kept = {}, {}, {}
  for d = 1, #t.shape do reduced[d] = dims == nil end
  for _, d in ipairs(dims or {}) do reduced[d] = true end
  for d, size in ipairs(t.shape) do
    if not reduced[d] then
      shape[#shape + 1] = size
      kept[#kept + 1] = d
    elseif keepdim then
      shape[#shape + 1] = 1
    end
  end
  local lists = {}
  for i = 1, #t do
    local index, key = index_of(t.shape, i), 0
    for _, d in ipairs(kept) do key = key * t.shape[d] + index[d] - 1 end
    lists[key] = lists[key] or {}
    table.insert(lists[key], t[i])
  end
  local result = { shape = shape }
  for i = 1, count(shape) do result[i] = f(lists[i - 1] or {}) end
  return result
end

--- Pseudo-random values of a shape in low..high: the same ones for the same seed.
function naive.random(shape, seed, low, high)
  low, high = low or -2, high or 2
  local state = seed or 1
  return naive.build(shape, function()
    state = (state * 6364136223846793005 + 1442695040888963407)
    return low + (high - low) * ((state >> 33) / 2147483648.0)
  end)
end

local function same(a, b, tolerance)
  if a ~= a or b ~= b then return a ~= a and b ~= b end
  return a == b or math.abs(a - b) <= tolerance * math.max(1, math.abs(b))
end

--- Asserts that a texres tensor has the shape and elements of a naive one.
function naive.check(t, expected, tolerance, what)
  what = what or "result"
  assert.same(expected.shape, t:shape(), what .. ": shape")
  local values = t:reshape(-1):totable()
  for i = 1, #values do
    if not same(values[i], expected[i], tolerance or 1e-12) then
      error(("%s: element {%s} is %.17g, expected %.17g"):format(what,
        table.concat(index_of(expected.shape, i), ","), values[i], expected[i]), 2)
    end
  end
end

--- The same values in memory that is not row-major: every other element of a larger, transposed tensor.
function naive.strided(t)
  local shape = t:shape()
  local dims = #shape
  if dims == 0 then return t end
  local wide = texres.zeros(table.move(shape, 1, dims, 1, {}), { dtype = t.dtype })
  wide = texres.cat({ wide, wide }, dims):transpose(1, dims):contiguous():transpose(1, dims)
  local view = wide:slice(dims, 1, math.max(2 * shape[dims] - 1, 1), 2)
  if shape[dims] == 0 then return t end
  view:copy_from(t)
  return view
end

--- Positions 1..#values in the order that a stable sort gives; NaN last.
function naive.order(values, descending)
  local positions = {}
  for i = 1, #values do positions[i] = i end
  table.sort(positions, function(i, j)
    local a, b = values[i], values[j]
    if a ~= a or b ~= b then
      if (a ~= a) ~= (b ~= b) then return b ~= b end
    elseif a ~= b then
      if descending then return a > b end
      return a < b
    end
    return i < j
  end)
  return positions
end

return naive
