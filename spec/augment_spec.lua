--- Augmentation: every transform against a naive reference or a property that it must have.
local json = require "texres.json"
local safetensors = require "texres.safetensors"
local tr = require "texres"

local H, W = 9, 9

--- An image {H,W,C} from a function of row, column, channel (from 1); and a batch of n equal ones.
local function image(f, height, width, channels)
  local rows = {}
  for y = 1, height or H do
    rows[y] = {}
    for x = 1, width or W do
      rows[y][x] = {}
      for c = 1, channels or 1 do rows[y][x][c] = f(y, x, c) end
    end
  end
  return rows
end
local function batch(rows, n)
  local list = {}
  for i = 1, n or 1 do list[i] = rows end
  return tr.tensor(list)
end

local function noise_image(height, width, channels)
  local seed = 12345
  return image(function()
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed / 2147483648
  end, height, width, channels)
end

local function apply(list, images, seed, epoch)
  return tr.data.augment(list):apply(images, { seed = seed or 0, epoch = epoch or 1 })
end

--- Rows of image i of a batch, as {H}{W}{C}.
local function rows_of(images, i) return images[i or 1]:totable() end

local function mirror(i, n) -- 2 1 | 0 1 2 | 1 0, from 1
  while i < 1 or i > n do i = i < 1 and 2 - i or 2 * n - i end
  return i
end

local function same_rows(a, b)
  for y = 1, #a do
    for x = 1, #a[1] do
      for c = 1, #a[1][1] do
        if a[y][x][c] ~= b[y][x][c] then return false end
      end
    end
  end
  return #a == #b and #a[1] == #b[1]
end

local function rounded(rows) return rows_of(batch(rows)) end -- to f32

local function remap(rows, f)
  return image(function(y, x, c)
    local v, u = f(y, x)
    return rows[v][u][c]
  end, #rows, #rows[1], #rows[1][1])
end

--- The linear image x + 100 y, moved: returns value in the middle and the steps along both sides, and checks that all
-- of the inner part lies on one plane.
local function plane(images, i, bound)
  local rows = rows_of(images, i)
  local my, mx = (#rows + 1) // 2, (#rows[1] + 1) // 2
  local middle = rows[my][mx][1]
  local dx, dy = rows[my][mx + 1][1] - middle, rows[my + 1][mx][1] - middle
  for y = my - 2, my + 2 do
    for x = mx - 2, mx + 2 do
      assert.near(middle + (x - mx) * dx + (y - my) * dy, rows[y][x][1], bound or 2e-2)
    end
  end
  return middle, dx, dy
end
local ramp = image(function(y, x) return x + 100 * y end, 21, 21)

describe("augment", function()
  it("flips both ways, or one way", function()
    local rows = rounded(noise_image(5, 7, 3))
    local both = rows_of(apply({ { "flip", p = 1 } }, batch(rows)))
    assert.is_true(same_rows(remap(rows, function(y, x) return 6 - y, 8 - x end), both))
    local across = rows_of(apply({ { "flip", p = 1, vertical = false } }, batch(rows)))
    assert.is_true(same_rows(remap(rows, function(y, x) return y, 8 - x end), across))
    local down = rows_of(apply({ { "flip", p = 1, horizontal = false } }, batch(rows)))
    assert.is_true(same_rows(remap(rows, function(y, x) return 6 - y, x end), down))
  end)

  it("turns by quarters, each equally often", function()
    local rows, n, seen = rounded(noise_image(6, 6, 2)), 400, { 0, 0, 0, 0 }
    local turns = {
      function(y, x) return y, x end, function(y, x) return 7 - x, y end,
      function(y, x) return 7 - y, 7 - x end, function(y, x) return x, 7 - y end,
    }
    local out = apply({ "rotate90" }, batch(rows, n))
    for i = 1, n do
      for t, turn in ipairs(turns) do
        if same_rows(remap(rows, turn), rows_of(out, i)) then seen[t] = seen[t] + 1 end
      end
    end
    assert.are.equal(n, seen[1] + seen[2] + seen[3] + seen[4])
    for t = 1, 4 do assert.is_true(seen[t] > 60 and seen[t] < 140, "turn " .. t .. ": " .. seen[t]) end
  end)

  it("turns an image that isn't square by half turns only", function()
    local rows = rounded(noise_image(4, 7, 1))
    local half = remap(rows, function(y, x) return 5 - y, 8 - x end)
    local out = apply({ "rotate90" }, batch(rows, 20))
    for i = 1, 20 do assert.is_true(same_rows(rows, rows_of(out, i)) or same_rows(half, rows_of(out, i))) end
  end)

  it("rotates about the middle by an angle within the bounds", function()
    local out, largest = apply({ { "rotate", degrees = 30 } }, batch(ramp, 50)), 0
    for i = 1, 50 do
      local middle, dx, dy = plane(out, i)
      assert.near(11 + 1100, middle, 1e-2)
      -- the gradient (1, 100) turned by the angle a: dx = cos a - 100 sin a, dy = sin a + 100 cos a
      local a = math.atan((dy * 1 - dx * 100), (dx * 1 + dy * 100))
      assert.near(100, math.sqrt(dx * dx + dy * dy) / math.sqrt(1.0001), 1e-2)
      assert.is_true(math.abs(math.deg(a)) <= 30.01)
      largest = math.max(largest, math.abs(math.deg(a)))
    end
    assert.is_true(largest > 20)
    assert.is_true(tr.allclose(apply({ { "rotate", 0 } }, batch(ramp)), batch(ramp), 0))
  end)

  it("keeps a constant image constant under everything that moves pixels", function()
    local flat = batch(image(function() return 0.25 end, 8, 11, 2), 8)
    local moves = { "flip", "rotate90", { "rotate", 180 }, { "shift", 20 }, { "scale", 3 }, { "crop", 30 }, "blur" }
    for _, t in ipairs(moves) do
      assert.is_true(tr.allclose(apply({ t }, flat), flat, 1e-6))
    end
  end)

  it("shifts by fractions of a pixel", function()
    local out, fractions = apply({ { "shift", pixels = 3 } }, batch(ramp, 30)), 0
    for i = 1, 30 do
      local middle, dx, dy = plane(out, i)
      assert.near(1, dx, 1e-3)
      assert.near(100, dy, 1e-3)
      local down = math.floor((middle - 1111) / 100 + 0.5) -- the whole part of the shift down, near enough
      assert.is_true(math.abs(middle - 1111) <= 303.1)
      if math.abs((middle - 1111) - 100 * down) > 4 then fractions = fractions + 1 end
    end
    assert.is_true(fractions > 15)
  end)

  it("scales about the middle by a factor within the bounds", function()
    local out = apply({ { "scale", amount = 0.5 } }, batch(ramp, 50))
    local low, high = 9, 0
    for i = 1, 50 do
      local middle, dx, dy = plane(out, i, 8) -- a widened kernel is off by some hundredths of a pixel
      assert.near(1111, middle, 1e-2)
      assert.near(100 * dx, dy, 8)
      low, high = math.min(low, 1 / dx), math.max(high, 1 / dx)
    end
    assert.is_true(low >= 1 / 1.55 and low < 0.8 and high <= 1.55 and high > 1.25)
  end)

  it("crops a window of the padded image", function()
    local rows, seen = rounded(noise_image(6, 8, 2)), {}
    local out = apply({ { "crop", padding = 2 } }, batch(rows, 60))
    for i = 1, 60 do
      local found
      for dy = -2, 2 do
        for dx = -2, 2 do
          local moved = remap(rows, function(y, x) return mirror(y + dy, 6), mirror(x + dx, 8) end)
          if same_rows(moved, rows_of(out, i)) then found = dy .. " " .. dx end
        end
      end
      assert.is_truthy(found)
      seen[found] = true
    end
    local windows = 0
    for _ in pairs(seen) do windows = windows + 1 end
    assert.is_true(windows > 15)
  end)

  it("multiplies moves into one: the same as a naive resampling", function()
    -- with flip p = 1 and a whole shift, flip then crop must move first and shift after
    local rows = rounded(noise_image(7, 7, 1))
    local out = rows_of(apply({ { "flip", p = 1 }, { "crop", padding = 1 }, { "flip", p = 1 } }, batch(rows), 4))
    local found = 0
    for dy = -1, 1 do
      for dx = -1, 1 do
        local moved = remap(rows, function(y, x) return 8 - mirror(8 - y + dy, 7), 8 - mirror(8 - x + dx, 7) end)
        if same_rows(moved, out) then found = found + 1 end
      end
    end
    assert.are.equal(1, found)
    local sorted = {}
    for _, list in ipairs { batch(rows), apply({ "flip", "rotate90", "flip" }, batch(rows), 9) } do
      local values = list:flatten():totable()
      table.sort(values)
      sorted[#sorted + 1] = table.concat(values, " ")
    end
    assert.are.equal(sorted[1], sorted[2])
  end)

  it("resamples bicubically, with the kernel widened where the image shrinks, as the stored reference", function()
    local stored, metadata = assert(safetensors.load "spec/fixtures/augment.safetensors")
    local stored_image, cases = stored.image, 0
    for name, case in pairs(json.decode(metadata.cases)) do
      local list, seed = case[1], case[2]
      local together = apply(list, stored_image:unsqueeze(1), seed)[1]
      assert.is_true(tr.allclose(together, stored[name], 0, 2e-4), name)
      for c = 1, 2 do -- one channel alone goes another way
        local alone = apply(list, stored_image:slice(3, c, c):unsqueeze(1):contiguous(), seed)[1]
        assert.is_true(tr.allclose(alone, stored[name]:slice(3, c, c), 0, 2e-4), name)
      end
      local three = tr.cat({ stored_image, stored_image:slice(3, 1, 1) }, 3)
      assert.is_true(tr.allclose(apply(list, three:unsqueeze(1), seed)[1]:slice(3, 1, 2), stored[name], 0, 2e-4), name)
      cases = cases + 1
    end
    assert.are.equal(4, cases)
  end)

  it("keeps sense in maps that lead far away", function()
    local far = {}
    for i = 1, 24 do far[i] = { i % 2 == 0 and "scale" or "shift", i % 2 == 0 and 10 or 1e6 } end
    for _, size in ipairs { { 1, 1 }, { 1, 6 }, { 2, 3 }, { 9, 9 } } do
      local images = tr.rand(6, size[1], size[2], 2)
      for seed = 1, 5 do
        local out, _, masks = tr.data.augment(far):apply(images, { seed = seed, masks = images })
        assert.is_true(out:min():item() > -1 and out:max():item() < 2)
        assert.is_true(masks:min():item() >= images:min():item() and masks:max():item() <= images:max():item())
      end
    end
  end)

  it("takes windows of larger images, anywhere or in the middle", function()
    local rows, seen, n = rounded(noise_image(7, 9, 2)), {}, 200
    local function cut(top, left)
      return image(function(y, x, c) return rows[top + y][left + x][c] end, 5, 5, 2)
    end
    local out, _, masks = tr.data.augment({ { "window", 5 } }):apply(batch(rows, n), { masks = batch(rows, n) })
    assert.same({ n, 5, 5, 2 }, out:shape())
    assert.is_true(tr.allclose(out, masks, 0))
    for i = 1, n do
      for top = 0, 2 do
        for left = 0, 4 do
          if same_rows(cut(top, left), rows_of(out, i)) then seen[top * 5 + left] = (seen[top * 5 + left] or 0) + 1 end
        end
      end
    end
    local found = 0
    for place = 0, 14 do
      assert.is_true((seen[place] or 0) > 2, "place " .. place)
      found = found + seen[place]
    end
    assert.are.equal(n, found)
    assert.is_true(same_rows(cut(1, 2), rows_of(apply({ { "window", 5, random = false } }, batch(rows)))))
    assert.are.equal(5, tr.data.augment({ "flip", { "window", 5 } }):window())
    assert.is_nil(tr.data.augment({ "flip" }):window())
  end)

  it("makes up no corner where a window has room, and counts it among the moves before and after it", function()
    -- rows and columns as channels: a mirrored pixel would turn the sign of a slope
    local plane_image = batch(image(function(y, x, c) return c == 1 and x or y end, 40, 40, 2), 40)
    for _, list in ipairs {
      { { "rotate", 180 }, { "window", 24 } }, { { "window", 24 }, { "rotate", 180 } },
      { { "shift", 9 }, { "rotate", 20 }, { "scale", 0.1 }, { "window", 24 } },
    } do
      local out = apply(list, plane_image, 4)
      local across = out:slice(3, 2, 24) - out:slice(3, 1, 23)
      for i = 1, 40 do
        for c = 1, 2 do
          local steps = across[i]:slice(3, c, c):slice(1, 3, 22):slice(2, 3, 21)
          assert.is_true(steps:max():item() - steps:min():item() < 0.1)
        end
      end
      assert.is_true(out:min():item() > 0.8 and out:max():item() < 40.2)
    end
    local small = batch(noise_image(10, 10, 1), 8) -- no room: corners are mirrored, the middle stays
    assert.same({ 8, 10, 10, 1 }, apply({ { "rotate", 180 }, { "scale", 3 }, { "window", 10 } }, small):shape())
  end)

  it("changes brightness by one factor", function()
    local images = batch(noise_image(5, 5, 2), 40)
    local ratio = apply({ { "brightness", 0.3 } }, images) / images
    for i = 1, 40 do
      local low, high = ratio[i]:min():item(), ratio[i]:max():item()
      assert.near(low, high, 1e-4)
      assert.is_true(low >= 0.7 - 1e-4 and high <= 1.3 + 1e-4)
    end
    assert.is_true(ratio:min():item() < 0.8 and ratio:max():item() > 1.2)
  end)

  it("changes contrast about the mean", function()
    local images = batch(noise_image(5, 5, 1), 40)
    local out, mean = apply({ { "contrast", 0.4 } }, images), images:mean():item()
    for i = 1, 40 do
      assert.near(mean, out[i]:mean():item(), 1e-5)
      local ratio = (out[i] - mean) / (images[i] - mean)
      assert.near(ratio:min():item(), ratio:max():item(), 1e-2)
      assert.is_true(ratio:mean():item() >= 0.59 and ratio:mean():item() <= 1.41)
    end
  end)

  it("changes contrast of each channel about its own mean", function()
    local plain = batch(image(function(_, _, c) return c % 2 end, 5, 5, 3), 20) -- red and blue
    for _, list in ipairs { { { "contrast", 1 } }, { { "cutout", size = 3 } } } do
      assert.is_true(tr.allclose(apply(list, plain), plain, 1e-6))
    end
    local images = batch(noise_image(5, 5, 3), 20)
    local out = apply({ { "contrast", 0.9 } }, images)
    assert.is_true(tr.allclose(out:mean({ 2, 3 }), images:mean({ 2, 3 }), 1e-5, 1e-5))
    assert.is_false(tr.allclose(out, images, 0.1))
  end)

  it("keeps NaN visible", function()
    local images = batch(image(function(y, x) return y == 2 and x == 2 and 0 / 0 or 0.5 end, 4, 4))
    for _, name in ipairs { "brightness", "contrast", "gamma", "noise", "blur", "flip", "rotate" } do
      local sum = apply({ name }, images):sum():item()
      assert.is_true(sum ~= sum, name)
    end
  end)

  it("moves masks with their images and leaves their values alone", function()
    local n = 30
    local images = tr.cat({ tr.rand(n, 9, 9, 1), tr.rand(n, 9, 9, 1) }, 4)
    local masks = (images:slice(4, 1, 1):gt(0.5)):to "f32"
    local photometric = { "brightness", "contrast", "gamma", "noise", "blur", { "cutout", size = 3 } }
    local augment = tr.data.augment(photometric)
    local _, mix, same = augment:apply(images, { masks = masks })
    assert.is_nil(mix)
    assert.is_true(tr.allclose(same, masks, 0))
    -- whatever draws stand before and between: the mask goes where the image goes
    local moves = { "noise", { "brightness", 0 }, "flip", { "contrast", 0 }, "rotate90", { "crop", 2 },
      { "cutmix", p = 1 } }
    moves[1] = { "noise", sigma = 0 }
    local thresholded = masks:expand(n, 9, 9, 2):contiguous()
    local out, mixed, moved = tr.data.augment(moves):apply(thresholded, { seed = 3, masks = masks })
    assert.is_true(mixed.lambda < 1)
    assert.is_true(tr.allclose(out:slice(4, 1, 1), moved, 1e-5, 1e-5))
    local smooth = tr.data.augment { { "rotate", 40 }, { "scale", 0.3 }, "mixup" }
    local _, _, turned = smooth:apply(images, { masks = masks })
    for _, value in ipairs(turned:flatten():totable()) do assert.is_true(value == 0 or value == 1) end
    assert.is_false(tr.allclose(turned, masks, 0))
    assert.error_matches(function() augment:apply(images, { masks = tr.zeros(n, 9, 8, 1) }) end,
      "augment: masks are {30,9,8,1}, images {30,9,9,2}")
  end)

  it("raises to a power", function()
    local images = batch(noise_image(5, 5, 1), 40) * 0.8 + 0.1
    local exponent = apply({ { "gamma", 0.5 } }, images):log() / images:log()
    for i = 1, 40 do
      local low, high = exponent[i]:min():item(), exponent[i]:max():item()
      assert.near(low, high, 1e-3)
      assert.is_true(low > 1 / 1.51 and high < 1.51)
    end
  end)

  it("adds normal noise of the deviation asked for at most", function()
    local images = batch(image(function() return 0.5 end, 64, 64), 30)
    local added = apply({ { "noise", sigma = 0.1 } }, images) - images
    local largest = 0
    for i = 1, 30 do
      local std = added[i]:std():item()
      assert.is_true(math.abs(added[i]:mean():item()) < 5 * 0.1 / 64)
      local fourth = (added[i] ^ 4):mean():item() / std ^ 4
      assert.is_true(fourth > 2.6 and fourth < 3.4, "kurtosis " .. fourth)
      largest = math.max(largest, std)
    end
    assert.is_true(largest > 0.08 and largest < 0.103)
    assert.is_true(math.abs((added[1] * added[2]):mean():item()) < 1e-3)
  end)

  it("blurs with a Gaussian", function()
    local impulse = batch(image(function(y, x) return y == 11 and x == 11 and 1 or 0 end, 21, 21), 20)
    local out = apply({ { "blur", sigma = 2 } }, impulse)
    for i = 1, 20 do
      local rows = rows_of(out, i)
      local middle, next_one = rows[11][11][1], rows[11][12][1]
      assert.near(1, out[i]:sum():item(), 1e-5)
      if next_one > 0 then
        local sigma = math.sqrt(-0.5 / math.log(next_one / middle))
        assert.is_true(sigma <= 2.001)
        for d = 1, math.ceil(3 * sigma) - 1 do
          local wanted = middle * math.exp(-0.5 * d * d / sigma ^ 2)
          for _, at in ipairs { { 11, 11 + d }, { 11, 11 - d }, { 11 + d, 11 }, { 11 - d, 11 } } do
            assert.near(wanted, rows[at[1]][at[2]][1], 1e-5)
          end
          assert.near(wanted ^ 2 / middle, rows[11 + d][11 - d][1], 1e-5)
        end
      end
    end
  end)

  it("blurs small and narrow images as the mirrored reference", function()
    local rows = rounded(noise_image(3, 4, 2))
    local out = rows_of(apply({ { "blur", sigma = 1.5 } }, batch(rows), 3))
    local function reference(sigma)
      local reach, tap, sum = math.ceil(3 * sigma), {}, 0
      for k = -reach, reach do
        tap[k] = math.exp(-0.5 * k * k / sigma ^ 2)
        sum = sum + tap[k]
      end
      return image(function(y, x, c)
        local value = 0
        for dy = -reach, reach do
          for dx = -reach, reach do
            value = value + tap[dy] * tap[dx] / sum ^ 2 * rows[mirror(y + dy, 3)][mirror(x + dx, 4)][c]
          end
        end
        return value
      end, 3, 4, 2)
    end
    local best = math.huge
    for step = 1, 1500 do
      local wanted = reference(step / 1000)
      best = math.min(best, math.abs(wanted[1][1][1] - out[1][1][1]) + math.abs(wanted[2][3][2] - out[2][3][2])
        + math.abs(wanted[3][4][1] - out[3][4][1]) + math.abs(wanted[3][1][2] - out[3][1][2]))
      if best < 1e-3 then break end
    end
    assert.is_true(best < 1e-3, "no sigma gives this image: " .. best)
  end)

  it("cuts out squares", function()
    local images, size = batch(noise_image(16, 16, 2), 30), 6
    local out, mean = apply({ { "cutout", size = size } }, images), images[1]:mean({ 1, 2 }):totable()
    local largest = 0
    for i = 1, 30 do
      local before, after = rows_of(images, i), rows_of(out, i)
      local top, bottom, left, right, count = 99, 0, 99, 0, 0
      for y = 1, 16 do
        for x = 1, 16 do
          if before[y][x][1] ~= after[y][x][1] then
            assert.near(mean[1], after[y][x][1], 1e-6)
            assert.near(mean[2], after[y][x][2], 1e-6)
            top, bottom, left, right = math.min(top, y), math.max(bottom, y), math.min(left, x), math.max(right, x)
            count = count + 1
          end
        end
      end
      assert.are.equal(count, (bottom - top + 1) * (right - left + 1))
      assert.is_true(bottom - top < size and right - left < size)
      largest = math.max(largest, count)
    end
    assert.are.equal(size * size, largest)
    assert.are.equal(7, apply({ { "cutout", size = 3, fill = 7, count = 2 } }, images):max():item())
  end)

  it("applies a transform with probability p", function()
    local images = batch(noise_image(4, 4, 1), 400)
    local changed = 0
    local out = apply({ { "brightness", 0.5, p = 0.3 } }, images)
    for i = 1, 400 do if not tr.allclose(out[i], images[i], 0) then changed = changed + 1 end end
    assert.is_true(changed > 85 and changed < 155, changed)
    assert.is_true(tr.allclose(apply({ { "noise", p = 0 } }, images), images, 0))
  end)

  it("draws anew for each sample and epoch, the same for the same", function()
    local images = batch(noise_image(6, 6, 1), 4)
    local list = { { "shift", 2 }, "noise" }
    local a, b = apply(list, images, 3, 1), apply(list, images, 3, 2)
    assert.is_true(tr.allclose(a, apply(list, images, 3, 1), 0))
    assert.is_false(tr.allclose(a, b, 1e-3))
    assert.is_false(tr.allclose(a, apply(list, images, 4, 1), 1e-3))
    assert.is_false(tr.allclose(a[1], a[2], 1e-3))
  end)

  it("mixes pairs of images", function()
    local images = tr.rand(7, 4, 5, 2)
    local out, mix = tr.data.augment({ { "mixup", alpha = 1 } }):apply(images, { seed = 2 })
    assert.is_true(mix.lambda >= 0 and mix.lambda <= 1 and mix.shift >= 1 and mix.shift < 7)
    for i = 1, 7 do
      local other = images[(i - 1 + mix.shift) % 7 + 1]
      assert.is_true(tr.allclose(out[i], images[i] * mix.lambda + other * (1 - mix.lambda), 1e-5))
    end
  end)

  it("draws lambda from Beta(alpha, alpha)", function()
    for _, alpha in ipairs { 0.2, 1, 4 } do
      local augment, images, sum, squares, n = tr.data.augment { { "mixup", alpha } }, tr.rand(2, 1, 1, 1), 0, 0, 3000
      for seed = 1, n do
        local _, mix = augment:apply(images, { seed = seed })
        sum, squares = sum + mix.lambda, squares + mix.lambda ^ 2
      end
      local mean = sum / n
      assert.near(0.5, mean, 0.03)
      assert.near(1 / (4 * (2 * alpha + 1)), squares / n - mean ^ 2, 0.012)
    end
  end)

  it("pastes rectangles of other images", function()
    local images = tr.rand(5, 12, 10, 1)
    for seed = 1, 20 do
      local out, mix = tr.data.augment({ "cutmix" }):apply(images, { seed = seed })
      for i = 1, 5 do
        local own, other, result = images[i]:totable(), images[(i - 1 + mix.shift) % 5 + 1]:totable(), out[i]:totable()
        local kept = 0
        for y = 1, 12 do
          for x = 1, 10 do
            if result[y][x][1] == own[y][x][1] then kept = kept + 1
            else assert.are.equal(other[y][x][1], result[y][x][1]) end
          end
        end
        assert.near(mix.lambda, kept / 120, 1e-6)
      end
    end
  end)

  it("names the choices when something is unknown", function()
    local function message(list) return select(2, pcall(tr.data.augment, list)) end
    assert.matches("augment_spec.lua:%d+: augment: unknown transform 'flop'; the choices are flip, rotate90",
      message { "flop" })
    assert.matches("unknown parameter of rotate 'degree'; the choices are degrees, p",
      message { { "rotate", degree = 1 } })
    assert.matches("rotate: degrees must be a number within 0..180, got %-3", message { { "rotate", -3 } })
    assert.matches("blur: sigma must be a number within 0..10, got 'much'", message { { "blur", sigma = "much" } })
    for name, given in pairs { padding = { "crop", 2.5 }, size = { "cutout", 3.5 },
      count = { "cutout", count = 1.5 }, horizontal = { "flip", 0.5 }, vertical = { "flip", vertical = 0.5 } } do
      assert.matches(name .. " must be a whole number within [%d.e+]+, got %d%.5", message { given })
    end
    assert.matches("p must be a number within 0..1, got 2", message { { "flip", p = 2 } })
    assert.matches("rotate90 takes its name only", message { { "rotate90", 3 } })
    assert.matches("window: all images are to be of one size, p can't be given", message { { "window", 4, p = 0.5 } })
    local images = tr.zeros(1, 8, 6, 1)
    assert.error_matches(function() apply({ { "window", 7 } }, images) end,
      "augment: a window of 7x7 pixels can't be taken out of images of 8x6: give them larger, or a smaller window")
    assert.error_matches(function() apply({ { "window", 4 }, { "window", 3 } }, images) end,
      "augment: more than one window: take one")
    assert.matches("a transform's name is expected", message { 3 })
    assert.matches("a list of transforms is expected, got 'flip'", message "flip")
    assert.matches("images f32 {N,H,W,C} wanted, got f32 {4,4}",
      select(2, pcall(apply, { "flip" }, tr.zeros(4, 4))), 1, true)
  end)
end)

describe("an augmented image", function()
  local support = require "spec.support"
  local script = [[
    local tr, core = require "texres", require "texres.core"
    local sums = {}
    tr.manual_seed(1)
    for channels = 1, 4 do
      for _, size in ipairs { { 64, 64 }, { 31, 47 }, { 5, 7 }, { 3, 2 } } do
        local images = tr.rand(4, size[1], size[2], channels)
        for seed, list in ipairs {
          { { "rotate", degrees = 15 } }, { { "rotate", degrees = 90 }, { "scale", amount = 0.3 } },
          { { "shift", pixels = 3.3 } }, { { "scale", amount = 0.8 } }, { "flip", { "shift", pixels = 20 } },
        } do
          sums[#sums + 1] = ("%08x"):format(core.crc32(core.augment(list):apply(images, { seed = seed, epoch = 1 })))
        end
      end
    end
    print(tr.isa(), table.concat(sums, " "))
  ]]

  it("is the same bit for bit under every instruction set", function()
    local ok, reference = support.run_lua(script, { env = { TEXRES_ISA = "ref" } })
    assert.is_true(ok, reference)
    for _, isa in ipairs { "avx2", "avx512", "neon" } do
      local here, output = support.run_lua(script, { env = { TEXRES_ISA = isa } })
      if here then
        assert.equal((reference:gsub("^ref", isa)), output)
      else
        assert.matches("TEXRES_ISA", output) -- not on this machine
      end
    end
  end)
end)
