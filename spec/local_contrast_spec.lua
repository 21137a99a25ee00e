--- Local contrast against its definition, and how it is used with sets and models.
local tr = require "texres"

local function naive(rows, h, w, c, reach, floor)
  local result = {}
  for y = 1, h do
    result[y] = {}
    for x = 1, w do
      result[y][x] = {}
      for k = 1, c do
        local count, sum, squares = 0, 0, 0
        for v = math.max(1, y - reach), math.min(h, y + reach) do
          for u = math.max(1, x - reach), math.min(w, x + reach) do
            local value = rows[v][u][k]
            count, sum, squares = count + 1, sum + value, squares + value * value
          end
        end
        local mean = sum / count
        local deviation = math.sqrt(math.max(0, squares / count - mean * mean))
        result[y][x][k] = (rows[y][x][k] - mean) / (deviation + floor)
      end
    end
  end
  return tr.tensor(result)
end

describe("local_contrast", function()
  it("is the definition, for boxes smaller and larger than the image", function()
    for _, case in ipairs { { 9, 7, 1 }, { 5, 12, 3 }, { 1, 6, 2 }, { 6, 1, 1 }, { 1, 1, 1 } } do
      local h, w, c = table.unpack(case)
      local image = tr.rand(h, w, c)
      for _, size in ipairs { 3, 5, 11, 999999 } do
        local got = tr.data.local_contrast(image, { size = size, floor = 0.1 })
        local want = naive(image:totable(), h, w, c, size // 2, 0.1)
        assert.is_true(tr.allclose(got, want, 1e-4, 1e-5), ("%dx%dx%d, %d"):format(h, w, c, size))
      end
    end
  end)

  it("takes a plane, an image and a batch alike, and strided ones", function()
    local images = tr.rand(3, 8, 10, 2)
    local all = tr.data.local_contrast(images)
    for i = 1, 3 do assert.is_true(tr.allclose(all[i], tr.data.local_contrast(images[i]), 0)) end
    local plane = images[1]:slice(3, 2, 2):squeeze(3)
    assert.same({ 8, 10 }, tr.data.local_contrast(plane):shape())
    assert.is_true(tr.allclose(tr.data.local_contrast(plane), all[1]:slice(3, 2, 2):squeeze(3), 0))
    assert.are.equal("f32", tr.data.local_contrast(images:to "f64").dtype)
    assert.same({ 0, 4, 4, 1 }, tr.data.local_contrast(tr.zeros(0, 4, 4, 1)):shape())
  end)

  it("takes away light and shade, and leaves plain places plain", function()
    local image = tr.rand(32, 32, 1) * 0.2 + 0.3
    local a = tr.data.local_contrast(image, { size = 9, floor = 1e-6 })
    assert.is_true(tr.allclose(a, tr.data.local_contrast(image * 2 + 0.1, { size = 9, floor = 1e-6 }), 1e-3, 1e-3))
    local flat = tr.data.local_contrast(tr.full({ 20, 20 }, 0.7))
    assert.near(0, flat:abs():max():item(), 1e-4)
    local nan = image:clone()
    nan[3][3]:fill(0 / 0)
    local sum = tr.data.local_contrast(nan):sum():item()
    assert.is_true(sum ~= sum)
  end)

  it("makes sets whose models refuse images that were not mapped", function()
    local set = tr.data.fabric { count = 12, seed = 1, size = 32 }
    local function even(image) return tr.data.local_contrast(image) end
    local trainer = tr.Trainer { model = tr.models.textile { width = 8 }, epochs = 1, batch = 12, quiet = true }
    trainer:fit(set:map(even))
    assert.are.equal(12, trainer:evaluate(set:map(even)).images)
    assert.error_matches(function() trainer:evaluate(set) end, "its pixels have the range 0%.%.1", 1)
  end)

  it("says what it takes", function()
    assert.error_matches(function() tr.data.local_contrast(tr.zeros(4, 4), { size = 4 }) end,
      "local_contrast: size is 4, wanted an odd number: the box has a middle")
    assert.error_matches(function() tr.data.local_contrast(tr.zeros(4)) end,
      "local_contrast: images {H,W}, {H,W,C} or {N,H,W,C} of floats wanted, got f32 {4}")
    assert.error_matches(function() tr.data.local_contrast(tr.zeros({ 4, 4 }, { dtype = "u8" })) end, "got u8 {4,4}")
    assert.error_matches(function() tr.data.local_contrast(tr.zeros(4, 4), { floor = 0 }) end, "floor")
  end)
end)
