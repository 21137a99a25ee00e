--- Compares the gradients that backward computes with central differences, in f64.
--
--     local ok, report = texres.gradcheck(function(x, w) return (x:matmul(w)):tanh() end, { x, w })
--     assert(ok, report)
--
-- Every float tensor among the inputs is copied to f64 and checked, element by element; other inputs are passed on as
-- they are. A function may return several tensors: what is differentiated is the sum of all their elements, each times
-- a fixed random weight. Functions that draw random numbers (dropout) draw the same ones every time.
-- @module texres.gradcheck

local core = require "texres.core"
local option = require "texres.options"
local raise = require "texres.raise"
local plain = require "texres.plain"

local CALLABLE = option.kind("a function or a module", function(f)
  local meta = getmetatable(f)
  return type(f) == "function" or type(meta) == "table" and meta.__call ~= nil
end)

--- Fixed weights in -1..1 of the shape of `t`; a small generator of its own leaves the one behind `rand` alone.
local function weights_like(t)
  local values, state = {}, 12345
  for i = 1, t:numel() do
    state = (state * 1103515245 + 12345) % 2147483648
    values[i] = state / 1073741824 - 1
  end
  return core.tensor(values, { dtype = "f64" }):reshape(t:shape())
end

--- Calls f and sums its float results with their weights; remembers the weights of the first call.
local function objective(f, arguments, weights)
  local results, total = table.pack(f(table.unpack(arguments, 1, arguments.n))), nil
  for i = 1, results.n do
    local y = results[i]
    if core.is_tensor(y) and (y.dtype == "f64" or y.dtype == "f32") then
      weights[i] = weights[i] or weights_like(y)
      local part = (y * weights[i]):sum()
      total = total and total + part or part
    end
  end
  if not total then error("gradcheck: the function returned no float tensor", 0) end
  return total, results
end

--- "{2,1}" for the third element of a {2,2} tensor.
local function position(t, element)
  local shape, place, rest = t:shape(), {}, element - 1
  for d = #shape, 1, -1 do
    place[d] = rest % shape[d] + 1
    rest = rest // shape[d]
  end
  return "{" .. table.concat(place, ",") .. "}"
end

local KNOWN = {
  eps = option.number(1e-6, "(0, inf)"), atol = option.number(1e-5, "[0, inf)"), rtol = option.number(1e-3, "[0, inf)"),
  name = option.text(),
}

--- Compares backward with central differences.
-- @tparam function f takes the inputs, returns one or more tensors
-- @tparam table inputs tensors (and other values) to call it with
-- @tparam[opt] table options eps (step, 1e-6), atol (1e-5), rtol (1e-3): |analytic - numeric| <= atol + rtol |numeric|;
-- name: how the report calls the function
-- @treturn boolean whether all elements agree
-- @treturn string the worst element, with both values
return function(f, inputs, options)
  option.check("gradcheck", "f", f, CALLABLE)
  local given = option.check("gradcheck", "inputs", inputs, option.LIST).n or #inputs
  option.check("gradcheck", "the number of inputs", given, option.INDEX)
  options = option.read("gradcheck", options, KNOWN)
  local eps, atol, rtol = options.eps, options.atol, options.rtol
  local arguments, checked = { n = given }, {}
  for i = 1, arguments.n do
    local x = inputs[i]
    if core.is_tensor(x) and (x.dtype == "f32" or x.dtype == "f64") then
      x = x:detach():to("f64"):clone()
      x.requires_grad = true
      checked[#checked + 1] = i
    end
    arguments[i] = x
  end
  if #checked == 0 then raise "gradcheck: none of the inputs is a float tensor" end

  local seed, stream = core.rng_state()
  local weights = {}
  local function evaluate()
    core.rng_state(seed, stream)
    return objective(f, arguments, weights)
  end

  local total, results = core.enable_grad(evaluate)
  local name = options.name or core.is_tensor(results[1]) and results[1].operation or "function"
  if not total.requires_grad then
    return false, "gradcheck: " .. name .. ": the result does not depend on the inputs, or carries no gradient"
  end
  total:backward()
  results = nil -- luacheck: ignore (the graph goes)

  local worst, count, bad = { ratio = -1 }, 0, 0
  for _, i in ipairs(checked) do
    local x = arguments[i]
    local analytic = x.grad and x.grad:reshape(-1):totable() or {}
    local flat = x:detach():view(-1)
    local values = flat:totable()
    for e = 1, #values do
      flat[e] = values[e] + eps
      local above = core.no_grad(evaluate):item()
      flat[e] = values[e] - eps
      local below = core.no_grad(evaluate):item()
      flat[e] = values[e]
      local a, n = analytic[e] or 0, (above - below) / (2 * eps)
      local ratio = math.abs(a - n) / (atol + rtol * math.abs(n))
      if ratio ~= ratio then ratio = math.huge end
      count = count + 1
      if ratio > 1 then bad = bad + 1 end
      if ratio > worst.ratio then worst = { ratio = ratio, input = i, element = position(x, e), a = a, n = n } end
    end
  end
  if count == 0 then return true, "gradcheck: " .. name .. ": the inputs have no elements" end
  local text = plain.format("worst at input %d element %s: analytic %.9g, numeric %.9g", worst.input, worst.element,
    worst.a,
    worst.n)
  if bad > 0 then return false, ("gradcheck: %s: %d of %d elements differ, %s"):format(name, bad, count, text) end
  return true, ("gradcheck: %s: %d elements agree, %s"):format(name, count, text)
end
