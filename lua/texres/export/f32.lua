--- Arithmetic of f32 in Lua: sums, products and quotients of two such numbers are exact enough in double precision that
-- f32(a + b), f32(a * b) and f32(a / b) are what an FPU gives.

local f32 = {}

--- The nearest byte, halves to even; 0 for what is no number.
function f32.nearest(t)
  if t ~= t or t <= 0 then return 0 end
  if t >= 255 then return 255 end
  local below = math.floor(t)
  local rest = t - below
  if rest > 0.5 or rest == 0.5 and below % 2 == 1 then return below + 1 end
  return below
end

return setmetatable(f32, {
  __call = function(_, value) return (string.unpack("<f", string.pack("<f", value))) end,
})
