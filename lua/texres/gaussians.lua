--- Normal distributions of features, one for each class, with one covariance for all of them, and how far rows of
-- features are from the nearest and from the next (Mahalanobis distances).
--
--     local sums = gaussians.sums(128, 6)                        -- of features, of classes
--     for rows, labels in batches do sums:add(rows, labels) end  -- {N,D}; i64 {N}
--     local fitted = sums:fit()                                  -- { centre =, whitening =, means =, ... }
--     local near, second = gaussians.distances(fitted, rows)     -- f32 {N} each
--
-- Everything is summed in f64, in one pass. Where features are many, the covariance that is counted is too sure of
-- directions in which the images hardly differ: it is shrunk towards equal variances, by as much as the formula OAS
-- says (Y. Chen, A. Wiesel, Y. Eldar, A. Hero, "Shrinkage algorithms for MMSE covariance estimation", 2010). It takes
-- sums of squares only; that of Ledoit and Wolf takes fourth powers around means that one pass does not know yet.

local core = require "texres.core"
local raise = require "texres.raise"

local gaussians = {}

-- -- whitening --------------------------------------------------------------------------------------------------------

local SMALL = 32 -- rows that are not cut further

--- The inverse of the lower Cholesky factor of a small matrix, as lists of rows.
local function whitening_of_rows(a)
  local n, factor, inverse = #a, {}, {}
  for i = 1, n do
    factor[i], inverse[i] = {}, {}
    for j = 1, i do
      local sum = a[i][j]
      for k = 1, j - 1 do sum = sum - factor[i][k] * factor[j][k] end
      if i == j then
        if sum <= 0 then raise "novelty: the features' covariance has no inverse: they hardly differ" end
        factor[i][i] = sum ^ 0.5
      else
        factor[i][j] = sum / factor[j][j]
      end
    end
    for j = 1, n do
      local sum = i == j and 1 or 0
      for k = j, i - 1 do sum = sum - factor[i][k] * inverse[k][j] end
      inverse[i][j] = sum / factor[i][i]
    end
  end
  return inverse
end

--- W, lower triangular, of a positive definite matrix A {D,D}: W A W' = 1. Of the halves of A
--
--     A = | A1  B' |    W = |     W1       0 |    P = B W1',  W2 of A2 - P P'
--         | B   A2 |        | -W2 P W1    W2 |
local function whitening_of(a)
  local n = a:size(1)
  if n <= SMALL then return core.tensor(whitening_of_rows(a:totable()), { dtype = "f64" }) end
  local half = n // 2
  local upper, lower = a:slice(1, 1, half), a:slice(1, half + 1, n)
  local first = whitening_of(upper:slice(2, 1, half))
  local across = lower:slice(2, 1, half):matmul(first:transpose(1, 2))
  local second = whitening_of(lower:slice(2, half + 1, n) - across:matmul(across:transpose(1, 2)))
  local corner = second:matmul(across):matmul(first):neg()
  local zero = core.zeros({ half, n - half }, { dtype = "f64" })
  return core.cat({ core.cat({ first, zero }, 2), core.cat({ corner, second }, 2) }, 1)
end
gaussians.whitening = whitening_of

-- -- summing ----------------------------------------------------------------------------------------------------------

--- How much a covariance {D,D} of n rows is to be shrunk towards equal variances, 0 to 1, and what these are.
local function shrinkage_of(covariance, n)
  local d = covariance:size(1)
  local variance = (covariance * core.eye(d, { dtype = "f64" })):sum():item() / d
  local square = (covariance * covariance):mean():item()
  local spread = (n + 1) * (square - variance ^ 2 / d)
  return spread > 0 and math.min(1, (square + variance ^ 2) / spread) or 1, variance
end

local Sums = {}
Sums.__index = Sums

--- Sums of nothing yet, for rows of so many features, of so many classes.
function gaussians.sums(features, classes)
  local function zeros(...) return core.zeros({ ... }, { dtype = "f64" }) end
  return setmetatable({
    count = zeros(classes), sum = zeros(classes, features), products = zeros(features, features),
  }, Sums)
end

--- Adds rows {N,D}, whose classes `labels` i64 {N} tell.
function Sums:add(rows, labels)
  rows = rows:to "f64"
  local member = labels:one_hot(self.count:numel()):to "f64"
  self.count = self.count + member:sum(1)
  self.sum = self.sum + member:transpose(1, 2):matmul(rows)
  self.products = self.products + rows:transpose(1, 2):matmul(rows)
end

--- The classes of which there were rows: their counts {K,1}, and their means {K,D}.
local function present(self)
  local positions = {}
  for c, count in ipairs(self.count:totable()) do
    if count > 0 then positions[#positions + 1] = c end
  end
  local at = core.tensor(positions, { dtype = "i64" })
  local counts = self.count:index_select(1, at):unsqueeze(2)
  return counts, self.sum:index_select(1, at) / counts
end

--- What the rows tell: centre {D}, whitening {D,D}, means {K,D} (f32), shrinkage and images. A row x becomes
-- (x - centre) whitening, in which the classes' distributions are round, with variances of 1; means are those of the
-- classes there. Raises where the rows hardly differ.
function Sums:fit()
  local counts, means = present(self)
  local n = counts:sum():item()
  local centre = (means * counts):sum(1) / n
  local covariance = (self.products - means:transpose(1, 2):matmul(means * counts)) / n
  local shrinkage, variance = shrinkage_of(covariance, n)
  local shrunk = covariance * (1 - shrinkage) + core.eye(centre:numel(), { dtype = "f64" }) * (shrinkage * variance)
  local whitening = whitening_of(shrunk):transpose(1, 2):contiguous()
  return {
    centre = centre:to "f32", whitening = whitening:to "f32", means = (means - centre):matmul(whitening):to "f32",
    shrinkage = shrinkage, images = math.tointeger(n),
  }
end

-- -- measuring --------------------------------------------------------------------------------------------------------

--- How far rows {N,D} are from the nearest class, f32 {N}, in standard deviations of the direction in which they are;
-- and how far from the nearest but one, or nil where there is one class.
function gaussians.distances(fitted, rows)
  local white, nearest, second = (rows:to "f32" - fitted.centre):matmul(fitted.whitening), nil, nil
  for k = 1, fitted.means:size(1) do
    local apart = white - fitted.means:select(1, k)
    local square = (apart * apart):sum(2)
    if nearest then
      local farther = nearest:maximum(square)
      second = second and second:minimum(farther) or farther
    end
    nearest = nearest and nearest:minimum(square) or square
  end
  return nearest:sqrt(), second and second:sqrt()
end

return gaussians
