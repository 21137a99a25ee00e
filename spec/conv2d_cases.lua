--- Convolutions around the edges of every tile and block, f32 against the f64 definition.
--
-- Used by conv2d_spec.lua, in its own process and, per instruction set, in processes of their own.
local tr = require "texres"

local cases = {}

local F = tr.nn.functional

--- {x, w, options of conv2d}: 3x3 ones that the planner gives to winograd; sizes around 4 and 8 pixels per tile,
-- channels around the vectors' width, and enough tiles for the way of large problems; the last three have enough for
-- slices in the gradient to the weights.
cases.winograd = {
  { { 8, 8, 8, 16 }, { 3, 3, 16, 16 }, { padding = 1 } },
  { { 4, 9, 7, 17 }, { 3, 3, 17, 31 }, { padding = 1 } },
  { { 4, 13, 12, 33 }, { 3, 3, 33, 15 }, { padding = 1 } },
  { { 4, 10, 11, 32 }, { 3, 3, 32, 48 } },
  { { 3, 11, 10, 32 }, { 3, 3, 32, 32 }, { padding = 2 } },
  { { 3, 12, 9, 24 }, { 3, 3, 24, 40 }, { padding = { 0, 2, 1, 0 } } },
  { { 40, 8, 8, 64 }, { 3, 3, 64, 64 }, { padding = 1 } },
  { { 64, 8, 8, 32 }, { 3, 3, 32, 130 }, { padding = 1 } },
  { { 8, 16, 16, 16 }, { 3, 3, 16, 16 }, { padding = 1, stride = 2 } },
  { { 8, 17, 15, 33 }, { 3, 3, 33, 31 }, { padding = 1, stride = 2 } },
  { { 6, 32, 34, 32 }, { 3, 3, 32, 32 }, { padding = "same", stride = 2 } },
  { { 6, 37, 35, 32 }, { 3, 3, 32, 32 }, { stride = 2 } },
  { { 3, 15, 20, 32 }, { 3, 3, 32, 40 }, { padding = 2, stride = 2 } },
  { { 32, 16, 16, 32 }, { 3, 3, 32, 64 }, { padding = 1, stride = 2 } },
  { { 40, 18, 17, 16 }, { 3, 3, 16, 15 }, { padding = 1 } },
  { { 33, 20, 16, 21 }, { 3, 3, 21, 40 }, { padding = 1 } },
  { { 33, 29, 31, 16 }, { 3, 3, 16, 33 }, { padding = 1, stride = 2 } },
}

--- Ones that it gives to gemm: around tiles of 14 rows and 8, 16, 32 columns, long sums, few pixels.
cases.gemm = {
  { { 1, 1, 1, 1 }, { 1, 1, 1, 1 } },
  { { 1, 4, 4, 3 }, { 3, 3, 3, 5 }, { padding = 1 } },
  { { 2, 13, 15, 1 }, { 3, 3, 1, 33 }, { padding = 1, stride = 2 } },
  { { 1, 7, 15, 3 }, { 7, 7, 3, 17 }, { padding = 3, stride = 2 } },
  { { 1, 13, 9, 5 }, { 1, 1, 5, 15 } },
  { { 3, 9, 5, 65 }, { 1, 1, 65, 31 } },
  { { 2, 8, 8, 7 }, { 1, 1, 7, 9 }, { stride = 2 } },
  { { 1, 3, 5, 700 }, { 1, 1, 700, 9 } },
  { { 1, 4, 6, 100 }, { 3, 5, 100, 33 }, { padding = { 1, 1, 2, 2 } } },
  { { 1, 5, 5, 40 }, { 5, 5, 40, 8 }, { padding = 2 } },
  { { 2, 11, 12, 6 }, { 3, 2, 6, 10 }, { padding = { 1, 0, 2, 1 }, stride = { 2, 3 }, dilation = { 1, 2 } } },
  { { 2, 9, 9, 12 }, { 3, 3, 4, 18 }, { padding = 1, groups = 3 } },
  { { 1, 8, 8, 4 }, { 2, 2, 1, 8 }, { groups = 4, stride = 2 } },
  { { 2, 8, 8, 3 }, { 3, 3, 3, 16 }, { padding = 1, stride = 9 } },
  { { 9, 14, 16, 8 }, { 3, 3, 8, 16 }, { padding = 2, dilation = 2 } },
  { { 1, 2, 300, 4 }, { 1, 9, 4, 12 }, { padding = { 0, 0, 4, 4 } } },
}

cases.depthwise = {
  { { 2, 7, 6, 5 }, { 3, 3, 1, 5 }, { padding = 1, groups = 5 } },
  { { 1, 8, 9, 33 }, { 3, 3, 1, 33 }, { padding = "same", groups = 33, stride = 2 } },
  { { 3, 6, 7, 16 }, { 2, 3, 1, 16 }, { groups = 16, dilation = 2 } },
}

local function make(shape, seed, dtype)
  tr.manual_seed(seed)
  local t = tr.randn(shape):to(dtype)
  t.requires_grad = true
  return t
end

--- y, dx, dw of a case in a dtype; dy is standard normal.
function cases.compute(case, dtype)
  local x, w = make(case[1], 1, dtype), make(case[2], 2, dtype)
  local y = F.conv2d(x, w, case[3] or {})
  tr.manual_seed(3)
  y:backward(tr.randn(y:shape()):to(dtype))
  return y:detach(), x.grad, w.grad
end

--- Numbers that each of y, dx, dw adds up.
local function lengths(case, y)
  local r, s, c, k = table.unpack(case[2])
  local pixels = y:numel() // k
  return r * s * c, r * s * k // ((case[3] or {}).groups or 1), pixels
end

--- The largest error of y, dx and dw of a case, each in units of the square root of its number of terms.
function cases.error(case)
  local single, exact = { cases.compute(case, "f32") }, { cases.compute(case, "f64") }
  local terms, worst = { lengths(case, single[1]) }, 0
  for i = 1, 3 do
    local e = (single[i]:to "f64" - exact[i]):abs():max():item() / math.sqrt(terms[i])
    if e ~= e then return e end
    worst = math.max(worst, e)
  end
  return worst
end

--- A number that depends on every bit of y, dx and dw.
function cases.fingerprint(case)
  local sum = 0
  for _, t in ipairs { cases.compute(case, "f32") } do
    for _, v in ipairs(t:reshape(-1):totable()) do
      sum = (sum * 31 + string.unpack("<I4", string.pack("<f", v))) & 0xffffffffffff
    end
  end
  return sum
end

return cases
