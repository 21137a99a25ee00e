--- Tensors: numbers of one dtype ("f32", "f64", "u8", "i64") in 0 to 8 dimensions.
--
--     local t = texres.tensor { { 1, 2, 3 }, { 4, 5, 6 } }       -- f32 {2,3}
--     print(t[2], t[2][3]:item(), t:sum(1), (t * 2 + 1):mean())  -- indices and dimensions count from 1, -1 is the last
--     t[1] = 0                                                   -- writes in place; t[1] is a view
--
-- The operators + - * / % ^ // and unary - are functions (add, sub, ...), with broadcasting; #t is the size of the
-- first dimension, print() shows the elements. What differentiable functions compute of a tensor that requires a
-- gradient is recorded, and backward() takes the gradients. A tensor has the properties
--
--     dtype           "f32", "f64", "u8" or "i64"
--     requires_grad   whether gradients are taken of it; can be set, for floats that no function computed
--     grad            the gradient that backward() has added up, a tensor; nil before; grad = nil lets it go
--     is_leaf         whether no recorded function computed it
--     operation       the name of the function that did, nil for a leaf
--
-- Here are the methods that are written in Lua; the others come from the core.
-- @module texres.tensor

local core = require "texres.core"
local option = require "texres.options"
local raise = require "texres.raise"

local tensor = {}

local function check_dim(operation, t, dim)
  local dims = option.check(operation, "t", t, option.TENSOR):dim()
  local d = dim or 1
  if math.type(d) ~= "integer" or d == 0 or d > dims or d < -dims then
    raise("%s: dimension %s: the tensor has dimensions 1..%d", operation, option.shown(d), dims)
  end
  return d < 0 and d + dims + 1 or d
end

--- The sizes of all parts of a dimension of size `total`.
local function sizes_of(given, total, dim)
  local sizes, sum = {}, 0
  if type(given) == "table" then
    option.list("split", "the sizes", given)
    for i, size in ipairs(given) do
      if math.type(size) ~= "integer" or size < 0 or size > total then
        raise("split: size %d is %s, dimension %d has size %d", i, tostring(size), dim, total)
      end
      sizes[i], sum = size, sum + size
    end
    if sum ~= total then
      raise("split: sizes {%s} add up to %d, dimension %d has size %d", table.concat(sizes, ","), sum, dim, total)
    end
    return sizes
  end
  given = option.check("split", "the size of a part", given, option.COUNT)
  for first = 1, math.max(total, 1), given do sizes[#sizes + 1] = math.min(given, total - first + 1) end
  return sizes
end

--- Cuts a dimension into parts, which are views of t.
-- @tparam Tensor t
-- @tparam integer|table sizes size of a part (the last one may be smaller), or a list of sizes that add up
-- @tparam[opt=1] integer dim
-- @treturn table list of tensors
function tensor.split(t, sizes, dim)
  dim = check_dim("split", t, dim)
  sizes = sizes_of(sizes, t:size(dim), dim)
  local parts, first = {}, 1
  for i, size in ipairs(sizes) do
    parts[i] = t:slice(dim, first, first + size - 1)
    first = first + size
  end
  return parts
end

--- Cuts a dimension into n parts of equal size; the last is smaller, or there are fewer, when n does not divide it.
-- @tparam Tensor t
-- @tparam integer n
-- @tparam[opt=1] integer dim
-- @treturn table list of views of t
function tensor.chunk(t, n, dim)
  n = option.check("chunk", "the number of parts", n, option.COUNT)
  dim = check_dim("chunk", t, dim)
  return tensor.split(t, math.max(1, (t:size(dim) + n - 1) // n), dim)
end

for name, method in pairs(tensor) do
  core[name], core.methods[name] = method, method
end

--- Shows an image in the terminal, see texres.show: `t:show()`, `t:show { columns = 40 }`.
-- @tparam Tensor t {H,W} or {H,W,C}
-- @tparam[opt] table options columns: how wide at most (default: the terminal); file (standard output)
function core.methods.show(t, options) return require "texres.show".image(t, options) end

return tensor
