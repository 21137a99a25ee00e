--- The binomial distribution: exact intervals for a share that was counted, exact tests; and Student's t, which is the
-- same function.
--
-- Interval: C. Clopper and E. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
-- binomial", 1934. The incomplete beta function is computed by its continued fraction (Lentz), as in "Numerical
-- Recipes", 6.4.

local binomial = {}

-- log Gamma by Lanczos' approximation, |relative error| < 1e-13 for x > 0.
local LANCZOS = {
  676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
  -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
}
local function log_gamma(x)
  local sum = 0.99999999999980993
  for i, coefficient in ipairs(LANCZOS) do sum = sum + coefficient / (x - 1 + i) end
  local t = x - 1 + 7.5
  return 0.5 * math.log(2 * math.pi) + (x - 0.5) * math.log(t) - t + math.log(sum)
end

local TINY, STEPS = 1e-300, 10000

local function away_from_zero(x) return math.abs(x) < TINY and TINY or x end

local function beta_fraction(a, b, x)
  local c, d = 1, 1 / away_from_zero(1 - (a + b) * x / (a + 1))
  local value = d
  for m = 1, STEPS do
    local even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    local odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    for _, coefficient in ipairs { even, odd } do
      d = 1 / away_from_zero(1 + coefficient * d)
      c = away_from_zero(1 + coefficient / c)
      value = value * c * d
    end
    if math.abs(c * d - 1) < 1e-15 then break end
  end
  return value
end

--- The regularized incomplete beta function I_x(a, b), the chance that a beta variable is at most x.
function binomial.beta(x, a, b)
  if x <= 0 then return 0 end
  if x >= 1 then return 1 end
  local front = math.exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * math.log(x) + b * math.log(1 - x))
  if x < (a + 1) / (a + b + 2) then return front * beta_fraction(a, b, x) / a end
  return 1 - front * beta_fraction(b, a, 1 - x) / b
end

-- The x with I_x(a, b) = p, by bisection.
local function beta_quantile(p, a, b)
  local low, high = 0, 1
  for _ = 1, 100 do
    local middle = 0.5 * (low + high)
    if binomial.beta(middle, a, b) < p then low = middle else high = middle end
  end
  return 0.5 * (low + high)
end

--- Exact limits, at confidence `level` (0.95), of the share behind k of n; 0 and 1 where n is 0.
function binomial.interval(k, n, level)
  if n == 0 then return 0, 1 end
  local tail = (1 - (level or 0.95)) / 2
  local low = k > 0 and beta_quantile(tail, k, n - k + 1) or 0
  local high = k < n and beta_quantile(1 - tail, k + 1, n - k) or 1
  return low, high
end

-- -- Student's t -----------------------------------------------------------------------------------------------------

local MANY = 1e6 -- degrees of freedom with which it is the normal distribution

--- The chance that Student's t of so many degrees of freedom (default: the normal distribution) is above x >= 0.
function binomial.tail_of_t(x, freedom)
  freedom = freedom or MANY
  return 0.5 * binomial.beta(freedom / (freedom + x * x), freedom / 2, 0.5)
end

--- The x above which it is with the chance `tail`, below one half.
function binomial.t_quantile(tail, freedom)
  local part = beta_quantile(2 * tail, freedom / 2, 0.5)
  return math.sqrt(freedom * (1 - part) / part)
end

-- -- tests -----------------------------------------------------------------------------------------------------------

--- How often heads and tails come as unevenly as k of n or more so: the two-sided test of a fair coin.
function binomial.fair(k, n)
  if n == 0 or 2 * k == n then return 1 end
  k = math.min(k, n - k)
  return math.min(1, 2 * binomial.beta(0.5, n - k, k + 1)) -- P(X <= k) = I_0.5(n - k, k + 1)
end

return binomial
