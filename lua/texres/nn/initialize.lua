--- Fills tensors with starting values, in place; every function returns its tensor. Known to users as texres.nn.init.
--
-- Fans as in PyTorch: {R,S,C,K}: in R S C, out R S K; {in,out}: in and out.

local option = require "texres.options"
local core = require "texres.core"
local protect = require "texres.protect"
local raise = require "texres.raise"

local initialize = {}

local drawing = true

--- Calls fn(...) while tensors that would be filled with random numbers are left as they are: for building a model
-- whose state is loaded next. Random numbers that come later are not affected by it then.
function initialize._undrawn(fn, ...)
  return protect.between(function() drawing = false end, function() drawing = true end, fn, ...)
end

local function check_tensor(t, where) return option.check(where, "t", t, option.TENSOR) end

local function dimensions(t, where)
  local n = check_tensor(t, where):dim()
  if n < 2 then raise("%s: a tensor of at least 2 dimensions is needed, got %d", where, n) end
  return n
end

local function fans(t, where)
  local n = dimensions(t, where)
  local receptive = t:numel() / math.max(1, t:size(n - 1) * t:size(n))
  return receptive * t:size(n - 1), receptive * t:size(n)
end

local function fan(t, options, default, where)
  local fan_in, fan_out = fans(t, where)
  local mode = option.read(where, options, { mode = option.choice(default, { "fan_in", "fan_out" }) }).mode
  return math.max(1, mode == "fan_in" and fan_in or fan_out)
end

--- Makes every element of t `value`; returns t.
function initialize.constant(t, value)
  return core.no_grad(check_tensor(t, "constant").fill, t, value)
end

--- Makes every element of t 0; returns t.
function initialize.zeros(t) return initialize.constant(t, 0) end

--- Makes every element of t 1; returns t.
function initialize.ones(t) return initialize.constant(t, 1) end

--- Fills t from a normal distribution with this mean (0) and standard deviation (1); returns t.
function initialize.normal(t, mean, deviation)
  check_tensor(t, "normal")
  return drawing and core.no_grad(t.normal, t, mean, deviation) or t
end

--- Fills t uniformly in [low, high), by default [0, 1); returns t.
function initialize.uniform(t, low, high)
  check_tensor(t, "uniform")
  return drawing and core.no_grad(t.uniform, t, low, high) or t
end

--- Fills t, a weight, from a normal distribution with variance 2 / fan; {mode="fan_out"}, or "fan_in". He, Zhang, Ren,
-- Sun, "Delving deep into rectifiers", 2015.
function initialize.kaiming_normal(t, options)
  return initialize.normal(t, 0, math.sqrt(2 / fan(t, options, "fan_out", "kaiming_normal")))
end

--- Fills t, a weight, uniformly with variance 2 / fan; {mode="fan_in"}, or "fan_out". Returns t.
function initialize.kaiming_uniform(t, options)
  local bound = math.sqrt(6 / fan(t, options, "fan_in", "kaiming_uniform"))
  return initialize.uniform(t, -bound, bound)
end

--- Fills t, a weight, from a normal distribution with variance 2 / (fan_in + fan_out); returns t. Glorot, Bengio,
-- "Understanding the difficulty of training deep feedforward neural networks", 2010.
function initialize.xavier_normal(t)
  local fan_in, fan_out = fans(t, "xavier_normal")
  return initialize.normal(t, 0, math.sqrt(2 / math.max(1, fan_in + fan_out)))
end

--- Fills t, a weight, uniformly with variance 2 / (fan_in + fan_out); returns t. Glorot, Bengio, 2010.
function initialize.xavier_uniform(t)
  local fan_in, fan_out = fans(t, "xavier_uniform")
  local bound = math.sqrt(6 / math.max(1, fan_in + fan_out))
  return initialize.uniform(t, -bound, bound)
end

--- Fills t, a weight, with orthonormal columns (or rows, whichever are fewer) of t seen as a matrix {everything else,
-- last dimension}, times `gain` (1). Saxe, McClelland, Ganguli, 2014.
function initialize.orthogonal(t, gain)
  dimensions(t, "orthogonal")
  local columns = t:size(-1)
  local rows = t:numel() // math.max(1, columns)
  local vectors = {} -- the fewer ones, made orthonormal one after another (Gram, Schmidt)
  for i = 1, math.min(rows, columns) do
    local v = core.randn({ math.max(rows, columns) }, { dtype = "f64" })
    for _ = 1, 2 do -- once more, against rounding
      for _, u in ipairs(vectors) do v = v - u * (u * v):sum() end
    end
    vectors[i] = v / v:norm()
  end
  if #vectors == 0 then return t end
  local matrix = core.stack(vectors, rows > columns and 2 or 1) * (gain or 1)
  return core.no_grad(t.copy_from, t, matrix:reshape(t:shape()))
end

return initialize
