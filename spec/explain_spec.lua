--- Heat maps, neighbours, overlays, and how maps agree with masks.
local tr = require "texres"
local core = require "texres.core"
local classifier = require "texres.classifier"
local resample = require "texres.explain.resample"
local support = require "spec.support"

local nn, explain = tr.nn, tr.explain
local path = support.folder() .. "/explain.png"
local MAPS = { "hires_cam", "grad_cam", "occlusion", "integrated_gradients" }

local function close(a, b, tolerance)
  assert.is_true(tr.allclose(a:to "f64", b:to "f64", 0, tolerance or 1e-5))
end

--- Two channels, the pixel and its negative, with weights of their own for each of three classes.
local function two_channels()
  local net = nn.Sequential {
    { conv = nn.Conv2d(1, 2, 1, { bias = false }) }, nn.ReLU(), nn.GlobalAvgPool(),
    { fc = nn.Linear(2, 3, { bias = false }) },
  }
  net.conv.weight:detach():copy_from(tr.tensor { { { { 1, -1 } } } })
  net.fc.weight:detach():copy_from(tr.tensor { { 1, 0, -1 }, { -0.5, 2, 0 } })
  return net
end

--- A small network with everything that a plan joins.
local function small_net()
  tr.manual_seed(3)
  return nn.Sequential {
    { conv1 = nn.Conv2d(1, 4, 3, { stride = 2, padding = 1, bias = false }) }, nn.BatchNorm(4), nn.ReLU(),
    { block = nn.Residual { nn.Conv2d(4, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4), nn.ReLU() } },
    nn.GlobalAvgPool(), { fc = nn.Linear(4, 3) },
  }
end

local CLASSES = { "good", "hole", "cut" }
local function classify(net) return classifier.new { model = net, classes = CLASSES, input = { 16, 16, 1 } } end

--- Three kinds of defects on cloth, and a network that has learned them: made once.
local trained
local function fabric_classifier()
  if not trained then
    tr.manual_seed(1)
    local set = tr.data.fabric { count = 900, size = 64, seed = 1, classes = CLASSES }
    local net = tr.models.textile { width = 8, classes = 3, head = "mean_max" }
    local trainer = tr.Trainer { model = net, epochs = 8, batch = 32, quiet = true, optimizer = { "adamw", lr = 5e-3 } }
    trainer:fit(set)
    trained = { classifier = classifier.new { model = net }, set = set }
  end
  return trained.classifier, trained.set
end

describe("explain.hires_cam", function()
  it("is what each place adds to the score", function()
    local net, image = two_channels(), tr.randn(4, 6, 1)
    for class = 1, 3 do -- behind a mean
      close(explain.hires_cam(net, image, { class = class }), explain.grad_cam(net, image, { class = class }), 1e-6)
    end
    -- behind the largest value a place counts for all, and one that speaks against the class does not hide it
    net[3] = nn.GlobalMaxPool()
    net.fc.weight:detach():copy_from(tr.tensor { { 3, 0, 0 }, { -1, 0, 0 } })
    image = tr.full({ 4, 6, 1 }, -1)
    image[2][5][1] = 2
    local want = tr.zeros(4, 6)
    want[2][5] = 6
    close(explain.hires_cam(net, image, { class = 1, layer = "2" }), want, 1e-6)
  end)
end)

describe("explain.grad_cam", function()
  it("is the sum of the channels, each weighted by its mean gradient, above 0", function()
    local net, image = two_channels(), tr.randn(4, 6, 1)
    local positive, negative = image:relu():squeeze(3), (-image):relu():squeeze(3)
    close(explain.grad_cam(net, image, { class = 1 }), ((positive - 0.5 * negative) / 24):relu(), 1e-6)
    close(explain.grad_cam(net, image, { class = 2 }), negative * 2 / 24, 1e-6)
    close(explain.grad_cam(net, image, { class = 3 }), tr.zeros(4, 6), 1e-6)
    -- before the ReLU, only pixels that it lets through have a gradient
    local share = image:gt(0):to "f32":mean():item()
    close(explain.grad_cam(net, image, { class = 1, layer = "conv" }),
      (image:squeeze(3) * (share + 0.5 * (1 - share)) / 24):relu(), 1e-6)
  end)

  it("explains the predicted class unless told, one by number or name, and all but the good one", function()
    local net, image = small_net(), tr.rand(16, 16, 1)
    local clf = classify(net)
    local label = clf:predict(image).label
    local function map(class) return explain.grad_cam(clf, image, { class = class }) end
    close(map(nil), map(label), 0)
    close(map "cut", map(3), 0)
    local of_good = explain.occlusion(clf, image, { class = "good" })
    close(explain.occlusion(clf, image, { class = "defect" }), -of_good)
    close(explain.occlusion(clf, image, { class = "defect", good = "cut" }),
      -explain.occlusion(clf, image, { class = "cut" }))
  end)

  it("explains a defect by the log odds of 1 - p(good)", function()
    local net, image = two_channels(), tr.randn(4, 6, 1) -- logits are linear in the means of the channels
    local p = net(image:unsqueeze(1)):softmax(2):detach()[1]:totable()
    local weights, map = net.fc.weight:detach():totable(), tr.zeros(4, 6)
    for channel, pixels in ipairs { image:relu(), (-image):relu() } do
      local w = weights[channel]
      map = map + pixels:squeeze(3) * ((p[2] * w[2] + p[3] * w[3]) / (p[2] + p[3]) - w[1]) / 24
    end
    local clf = classifier.new { model = net, classes = CLASSES, white = false }
    close(explain.grad_cam(clf, image, { class = "defect" }), map:relu(), 1e-6)
  end)

  it("puts the cells of a layer where the middles of their windows lie", function()
    local function peak(layers, row, column)
      local image = tr.zeros(16, 16, 1)
      image[row][column]:fill(1)
      table.insert(layers, nn.GlobalAvgPool())
      local map = explain.grad_cam(nn.Sequential(layers), image, { class = 1 })
      local at = map:reshape(256):argmax(1):item() - 1
      return { at // 16 + 1, at % 16 + 1 }
    end
    local function conv(options)
      local layer = nn.Conv2d(1, 1, 3, options)
      layer.weight:detach():zero()
      layer.weight:detach()[2][2]:fill(1)
      return layer
    end
    assert.same({ 7, 11 }, peak({ conv { stride = 2, padding = 1, bias = false } }, 7, 11))
    assert.same({ 5, 13 }, peak({ conv { stride = 2, padding = 1, bias = false },
      nn.Residual { conv { stride = 2, padding = 1, bias = false },
        shortcut = nn.Conv2d(1, 1, 1, { stride = 2, bias = false }) } }, 5, 13))
    assert.same({ 6, 12 }, peak({ conv { bias = false } }, 6, 12)) -- no padding: the map begins at pixel 2
    assert.same({ 8, 10 }, peak({ conv { stride = 2, padding = "same", bias = false } }, 8, 10))
  end)

  it("interpolates as PyTorch does where it can't tell where cells stand", function()
    close(resample.map(tr.tensor { { 0, 1 } }, 2, 4), tr.tensor { { 0, 0.25, 0.75, 1 }, { 0, 0.25, 0.75, 1 } })
    local own = nn.Module { forward = function(_, x) return x:slice(2, 1, 2):slice(3, 1, 2) end }
    local net = nn.Sequential { { own = own }, nn.GlobalAvgPool() }
    close(explain.grad_cam(net, tr.ones(4, 8, 1)), tr.full({ 4, 8 }, 0.25))
  end)

  it("knows a layer that stands in two places by both names, as watch and features do", function()
    local block = nn.Sequential { nn.Conv2d(1, 1, 3, { padding = 1 }), nn.ReLU() }
    local net = nn.Sequential { { first = block }, { again = block }, nn.GlobalAvgPool(), nn.Linear(1, 2) }
    local x = tr.rand(8, 8, 1)
    local maps = {}
    for i, name in ipairs { "first", "again" } do
      maps[i] = explain.grad_cam(net, x, { class = 1, layer = name })
      maps[name] = net:features(x:unsqueeze(1), name)
    end
    close(maps[1], maps[2], 0)
    close(maps.first, maps.again, 0)
    assert.error_matches(function() net:features(x:unsqueeze(1), "agian") end, 'there is no layer "agian"')
    assert.error_matches(function() explain.grad_cam(net, x, { layer = "agian" }) end, 'there is no layer "agian"')
  end)

  it("sees through layers that are joined, folded, frozen or called in a forward of one's own", function()
    local image = tr.rand(16, 16, 1)
    local net = small_net():eval()
    local wanted = explain.grad_cam(net, image, { class = 2, layer = "block" })
    close(explain.grad_cam(net, image, { class = 2 }), wanted, 0)
    close(explain.grad_cam(classify(net), image, { class = "hole" }), wanted)
    for _, p in ipairs(net:parameters()) do p.requires_grad = false end
    tr.no_grad(function() close(explain.grad_cam(net, image, { class = 2 }), wanted, 0) end)
    local own = nn.Module { inner = net, forward = function(self, x) return self.inner(x) end }
    close(explain.grad_cam(own, image, { class = 2, layer = "inner.block" }), wanted, 0)
    close(explain.grad_cam(small_net():eval():to "f64", image, { class = 2 }), wanted)
  end)

  it("averages the maps of an ensemble", function()
    local image = tr.rand(16, 16, 1)
    local a, b = classify(small_net()), classify(two_channels())
    local both = explain.grad_cam(tr.Ensemble { a, b }, image, { class = "hole" })
    local one, other = (explain.grad_cam(a, image, { class = "hole" })), explain.grad_cam(b, image, { class = "hole" })
    close(both, (one + other) / 2)
  end)
end)

describe("every heat map", function()
  it("has the image's size, whatever that is, and is worth the same for bytes", function()
    local bytes = (tr.rand(12, 20) * 255):to "u8"
    local clf = classify(small_net())
    for _, name in ipairs(MAPS) do
      local map = explain[name](clf, bytes, { class = 2 })
      assert.same({ 12, 20 }, map:shape())
      assert.equal("f32", map.dtype)
      close(map, (explain[name](clf, bytes:to "f32" / 255, { class = 2 })), 1e-6)
    end
  end)

  it("leaves weights, gradients, modes and statistics of a model that trains as they were", function()
    local net, image = small_net(), tr.rand(16, 16, 1)
    net(tr.rand(2, 16, 16, 1)):sum():backward()
    local before, gradients = {}, {}
    for name, t in pairs(net:state_dict()) do before[name] = t:clone() end
    for i, p in ipairs(net:parameters()) do gradients[i] = p.grad:clone() end
    for _, name in ipairs(MAPS) do explain[name](net, image) end
    for name, t in pairs(net:state_dict()) do close(t, before[name], 0) end
    for i, p in ipairs(net:parameters()) do
      close(p.grad, gradients[i], 0)
      assert.is_true(p.requires_grad)
    end
    for _, m in ipairs(net:modules()) do assert.is_true(m.training) end
  end)

  it("says what is wrong", function()
    local clf, image = classify(small_net()), tr.rand(16, 16, 1)
    for _, name in ipairs(MAPS) do
      local fn = explain[name]
      assert.error_matches(function() fn(5, image) end, name .. ": a classifier or a model is wanted, got 5")
      assert.error_matches(function() fn(clf, 5) end, name .. ": an image {H,W} or {H,W,C} is wanted, got 5", 1, true)
      assert.error_matches(function() fn(clf, image, { class = "holes" }) end,
        'there is no class "holes"; there are good, hole, cut')
      assert.error_matches(function() fn(clf, image, { class = 4 }) end, "no class 4; there are good, hole, cut")
      assert.error_matches(function() fn(clf, image, { class = "defect", good = "fine" }) end, "there is no class")
      assert.error_matches(function() fn(nn.Conv2d(1, 1, 3), image) end, "gives {1,14,14,1}, wanted a score")
      assert.error_matches(function() fn(clf, image, { clas = 4 }) end, "unknown option 'clas'; did you mean class")
    end
    assert.error_matches(function() explain.grad_cam(clf, image, { layer = "blok" }) end,
      'grad_cam: there is no layer "blok", did you mean block')
    assert.error_matches(function() explain.grad_cam(clf, image, { layer = "fc" }) end, "gives {1,3}, wanted a map")
    assert.error_matches(function() explain.grad_cam(nn.Sequential { nn.Flatten(), nn.Linear(256, 2) }, image) end,
      "no layer of the model gives a map")
    assert.error_matches(function() explain.occlusion(clf, image, { patch = 2, stride = 3 }) end,
      "a stride of 3 leaves pixels between patches of 2")
    assert.error_matches(function() explain.integrated_gradients(clf, image, { baseline = tr.zeros(8, 8) }) end,
      "the baseline is {1,8,8,1}, the image {1,16,16,1}")
  end)
end)

describe("explain.occlusion", function()
  it("is the mean fall of the log odds over the patches that cover a pixel, in batches of any size", function()
    local net, image = small_net():eval(), tr.rand(7, 9, 1)
    local function odds(x)
      local p = net(x:unsqueeze(1)):to("f64"):softmax(2):select(2, 2):item()
      return math.log(p / (1 - p))
    end
    local falls, cover = tr.zeros(7, 9), tr.zeros(7, 9)
    for _, top in ipairs { 1, 3, 4 } do
      for _, left in ipairs { 1, 3, 5, 6 } do
        local covered = image:clone()
        covered:slice(1, top, top + 3):slice(2, left, left + 3):fill(0)
        local there = falls:slice(1, top, top + 3):slice(2, left, left + 3)
        there:copy_from(there + (odds(image) - odds(covered)))
        local count = cover:slice(1, top, top + 3):slice(2, left, left + 3)
        count:copy_from(count + 1)
      end
    end
    for _, batch in ipairs { 1, 5, 32 } do
      close(explain.occlusion(net, image, { class = 2, patch = 4, stride = 2, batch = batch }), falls / cover)
    end
  end)

  it("covers with what stands half the image away, if told", function()
    local net, image = nn.Sequential { nn.Flatten(), nn.Linear(16, 1) }, tr.rand(4, 4, 1)
    local weights, moved = net[2].weight:reshape(4, 4):detach(), tr.zeros(4, 4)
    for y = 0, 3 do
      for x = 0, 3 do moved[y + 1][x + 1]:copy_from(image[(y + 2) % 4 + 1][(x + 2) % 4 + 1][1]) end
    end
    local map = explain.occlusion(net, image, { class = 1, patch = 1, cover = "cloth" })
    close(map, weights * (image:squeeze(3) - moved), 1e-5)
  end)
end)

describe("explain.integrated_gradients", function()
  it("adds up to the difference of the scores", function()
    local clf, image = classify(small_net()), tr.rand(16, 16, 1)
    for _, class in ipairs { "good", "defect" } do
      local map, difference = explain.integrated_gradients(clf, image, { class = class, steps = 200, batch = 7 })
      assert.is_near(difference, map:sum():item(), 2e-3 * math.max(1, math.abs(difference)))
    end
    local p = clf:predict(image).probabilities
    local base = clf:predict(tr.zeros(16, 16, 1)).probabilities
    local _, odds = explain.integrated_gradients(clf, image, { class = "defect" })
    assert.is_near(math.log((1 - p[1]) / p[1]) - math.log((1 - base[1]) / base[1]), odds, 1e-4)
  end)

  it("is weight times pixel for a linear model, from any baseline", function()
    local net, image, base = nn.Sequential { nn.Flatten(), nn.Linear(6, 2) }, tr.rand(2, 3, 1), tr.rand(2, 3, 1)
    local weights = net[2].weight:select(2, 1):reshape(2, 3):detach()
    close(explain.integrated_gradients(net, image, { class = 1, steps = 1 }), weights * image:squeeze(3), 1e-6)
    close(explain.integrated_gradients(net, image, { class = 1, steps = 3, baseline = base }),
      weights * (image - base):squeeze(3), 1e-6)
  end)
end)

describe("explain.neighbours", function()
  it("finds an image itself first, then by the cosine of features", function()
    local clf, set = fabric_classifier()
    local index = explain.neighbours(clf, set, { batch = 64 })
    assert.equal("index of 900 images, 64 features each", tostring(index))
    close(index.features:norm(2), tr.ones(900))
    local list = index:nearest(set:get(7), 4)
    assert.equal(4, #list)
    assert.equal(7, list[1].index)
    assert.is_near(0, list[1].distance, 1e-5)
    local own = index.features[7]
    for i, n in ipairs(list) do
      assert.is_near(1 - (index.features[n.index] * own):sum():item(), n.distance, 1e-5)
      assert.is_true(i == 1 or n.distance >= list[i - 1].distance)
      assert.equal(set.classes[set.label[n.index]], n.class)
      assert.is_nil(n.group)
    end
    assert.equal(900, #index:nearest(set:get(1), 1000))
  end)

  it("finds images of the same class, and tells groups", function()
    local clf, set = fabric_classifier()
    local train = set:subset(core.arange(1, 780))
    train.group = "source"
    local index, same = explain.neighbours(clf, train, { layer = "block3" }), 0
    for i = 781, 900 do
      local image, label = set:get(i)
      local nearest = index:nearest(image, 1)[1]
      assert.equal(train.meta.source[nearest.index], nearest.group)
      if nearest.class == set.classes[label] then same = same + 1 end
    end
    assert.is_true(same > 72, same .. " of 120") -- 40 by chance
  end)

  it("puts the features of an ensemble side by side, and refuses what has no input", function()
    local clf, set = fabric_classifier()
    local few = set:subset { 1, 2, 3, 4, 5 }
    local index = explain.neighbours(tr.Ensemble { clf, clf }, few)
    assert.same({ 5, 128 }, index.features:shape())
    assert.is_near(0, index:nearest(set:get(4), 1)[1].distance, 1e-5)
    assert.error_matches(function() explain.neighbours(small_net(), few) end, "the model has no input of its own")
    assert.error_matches(function() explain.neighbours(clf, few, { layer = "blok3" }) end, "did you mean block")
    assert.error_matches(function() index:nearest(set:get(4), 0) end, "k is 0, wanted a whole number of at least 1")
  end)
end)

describe("explain.overlay", function()
  it("leaves cold pixels grey and colours the others by one scale", function()
    local image, map = tr.full({ 2, 3, 1 }, 0.5), tr.tensor { { 0, -1, 0 / 0 }, { 1, 2, 4 } }
    local picture = explain.overlay(image, map, { alpha = 1, max = 2 })
    assert.equal("u8", picture.dtype)
    assert.same({ { 128, 128, 128 }, { 128, 128, 128 }, { 128, 128, 128 } }, picture[1]:totable())
    assert.same({ 252, 255, 164 }, picture[2][2]:totable())
    assert.same({ 252, 255, 164 }, picture[2][3]:totable())
    assert.same({ 158, 92, 105 }, picture[2][1]:totable()) -- half grey, half the middle of the scale
    assert.is_true(tr.write_png(path, picture))
  end)

  it("has a scale that grows lighter from step to step", function()
    local ramp = tr.arange(0, 255, { dtype = "f32" }):unsqueeze(1)
    local picture = explain.overlay(tr.zeros(1, 256), ramp, { alpha = 1 }):to "f64"[1]
    local light = picture:matmul(tr.tensor({ 0.2126, 0.7152, 0.0722 }, { dtype = "f64" })):totable()
    for i = 6, 256 do assert.is_true(light[i] >= light[i - 5] - 0.01, i) end
  end)

  it("shows bytes, floats in 0..1, other floats and colour images alike", function()
    local bytes, map = (tr.rand(4, 5, 3) * 255):to "u8", tr.rand(4, 5)
    bytes[1][1]:fill(0)
    bytes[1][2]:fill(255)
    local wanted = explain.overlay(bytes, map)
    for _, image in ipairs { bytes:to "f32" / 255, bytes:to "f32", bytes:to "f32" / 50 - 3 } do
      local difference = explain.overlay(image, map):to "f32" - wanted:to "f32"
      assert.is_true(difference:abs():max():item() <= 1)
    end
    assert.error_matches(function() explain.overlay(bytes, tr.rand(5, 4)) end, "is {5,4}, wanted {4,5}")
    assert.error_matches(function() explain.overlay(5, map) end, "an image {H,W} or {H,W,C} is wanted", 1, true)
  end)
end)

describe("explain.sheet", function()
  it("writes images and overlays in pairs", function()
    local clf, set = fabric_classifier()
    local options = { columns = 2, scale = 1, options = { class = "defect" } }
    assert.is_true(explain.sheet(clf, set, { 2, 3, 5 }, path, options))
    local page = assert(tr.load_image(path))
    assert.same({ 2 + 2 * 66, 2 + 4 * 66, 3 }, page:shape())
    local second = page:slice(1, 3, 66):slice(2, 3 + 2 * 66, 2 + 2 * 66 + 64)
    close(second:select(3, 1):to "f32" / 255, set:get(3):squeeze(3), 3e-3)
    close(page:slice(1, 3, 66):slice(2, 3 + 3 * 66, 2 + 3 * 66 + 64),
      explain.overlay(set:get(3), explain.hires_cam(clf, set:get(3), { class = "defect" })), 1)
    assert.error_matches(function() explain.sheet(clf, set, {}, path) end, "a list of positions in the set is wanted")
    local ok, message = explain.sheet(clf, set, { 1 }, "/nowhere/x.png", { method = "occlusion" })
    assert.is_nil(ok)
    assert.matches("/nowhere/x.png", message, 1, true)
  end)
end)

--- Regions of a mask as lists, by flooding: 0 outside.
local function flooded(mask)
  local h, w, count, number = #mask, #mask[1], 0, {}
  for y = 1, h do number[y] = {} end
  local function flood(y, x)
    if not mask[y] or (mask[y][x] or 0) == 0 or number[y][x] then return end
    number[y][x] = count
    for dy = -1, 1 do
      for dx = -1, 1 do flood(y + dy, x + dx) end
    end
  end
  for y = 1, h do
    for x = 1, w do
      if mask[y][x] ~= 0 and not number[y][x] then
        count = count + 1
        flood(y, x)
      end
      number[y][x] = number[y][x] or 0
    end
  end
  return number, count
end

describe("regions", function()
  it("are those that flooding finds, counted through all masks", function()
    tr.manual_seed(5)
    for _, shape in ipairs { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 5, 7 }, { 16, 16 } } do
      for _, share in ipairs { 0.2, 0.5, 0.8 } do
        local masks = tr.rand(2, shape[1], shape[2]):lt(share)
        local number, sizes = core.regions(masks)
        local first, count = flooded(masks[1]:totable())
        local second, more = flooded(masks[2]:totable())
        assert.same(first, number[1]:totable())
        assert.same(second, core.where(number[2]:gt(0), number[2] - count, 0):totable())
        assert.equal(count + more, sizes:numel())
        for i, size in ipairs(sizes:totable()) do assert.equal(number:eq(i):sum():item(), size) end
      end
    end
    assert.error_matches(function() core.regions(tr.zeros(2, 2)) end, "masks u8 {N,H,W} are wanted", 1, true)
  end)
end)

describe("explain.pointing_game", function()
  it("asks whether the hottest pixel lies in the mask, or near it", function()
    local map, mask = tr.rand(8, 9), tr.zeros(8, 9, { dtype = "u8" })
    map[3][8]:fill(2)
    mask[5][6]:fill(1)
    assert.is_false(explain.pointing_game(map, mask))
    assert.is_false(explain.pointing_game(map, mask, { tolerance = 1 }))
    assert.is_true(explain.pointing_game(map, mask:unsqueeze(3), { tolerance = 2 }))
    mask[3][8]:fill(255)
    assert.is_true(explain.pointing_game(map, mask))
    assert.error_matches(function() explain.pointing_game(map, tr.zeros(9, 8)) end,
      "the mask is {9,8}, the heat map {8,9}")
  end)
end)

--- AUPRO by its definition: every threshold, overlaps counted region by region.
local function naive_aupro(maps, masks, limit)
  local thresholds, regions, outside = {}, {}, {}
  for i, map in ipairs(maps) do
    local number, count = flooded(masks[i]:totable())
    local first = #regions
    for _ = 1, count do regions[#regions + 1] = {} end
    for y, row in ipairs(map:totable()) do
      for x, value in ipairs(row) do
        thresholds[value] = true
        local into = number[y][x] > 0 and regions[first + number[y][x]] or outside
        into[#into + 1] = value
      end
    end
  end
  local function share(list, threshold)
    local n = 0
    for _, value in ipairs(list) do n = n + (value >= threshold and 1 or 0) end
    return n / #list
  end
  local list = {}
  for value in pairs(thresholds) do list[#list + 1] = value end
  table.sort(list, function(a, b) return a > b end)
  local x, y, area = 0, 0, 0
  for _, threshold in ipairs(list) do
    local right, overlap = share(outside, threshold), 0
    for _, region in ipairs(regions) do overlap = overlap + share(region, threshold) / #regions end
    if right > limit then
      local cut = y + (overlap - y) * (limit - x) / (right - x)
      return (area + (limit - x) * (y + cut) / 2) / limit
    end
    area, x, y = area + (right - x) * (y + overlap) / 2, right, overlap
  end
  return area / limit
end

describe("explain.aupro", function()
  it("is what its definition gives, with equal heats and maps of several sizes", function()
    tr.manual_seed(6)
    for _, limit in ipairs { 0.05, 0.3, 1 } do
      for _, steps in ipairs { 3, 1000 } do
        local maps, masks = {}, {}
        for i, side in ipairs { 7, 12, 9 } do
          maps[i] = (tr.rand(side, side + 2) * steps):floor()
          masks[i] = tr.rand(side, side + 2):lt(i == 3 and 0 or 0.15)
        end
        local area, count = explain.aupro(maps, masks, { limit = limit })
        assert.is_near(naive_aupro(maps, masks, limit), area, 1e-9)
        assert.is_true(count > 2)
      end
    end
  end)

  it("is 1 for a perfect map, limit / 2 for one that tells nothing", function()
    local mask = tr.zeros(20, 20)
    mask:slice(1, 3, 6):slice(2, 3, 6):fill(1)
    assert.is_near(1, explain.aupro({ mask }, { mask }), 1e-12)
    assert.is_near(0.15, explain.aupro({ tr.ones(20, 20) }, { mask }), 1e-12)
    assert.is_near(0, explain.aupro({ -mask }, { mask }), 1e-12)
  end)

  it("refuses what has no answer", function()
    local map = tr.rand(4, 4)
    local function fails(message, ...)
      local given = { ... }
      assert.error_matches(function() explain.aupro(table.unpack(given)) end, message)
    end
    fails("no mask shows a defect", { map }, { tr.zeros(4, 4) })
    fails("the masks cover every pixel", { map }, { tr.ones(4, 4) })
    fails("a list of heat maps and one of as many masks", { map }, {})
    fails("heat map 1 has pixels that are not numbers", { map / 0 * 0 }, { tr.eye(4) })
    fails("limit is 0, wanted", { map }, { tr.eye(4) }, { limit = 0 })
  end)
end)

describe("heat maps of defects", function()
  --- Hits of the pointing game, what chance gives, and the AUPRO, on cloth much larger than that of the training.
  local function judge(method, options)
    local clf = fabric_classifier()
    local cloth = tr.data.fabric { count = 16, size = 192, seed = 2, classes = { "hole", "cut" }, masks = true }
    local maps, masks, hits, chance = {}, {}, 0, 0
    for i = 1, #cloth do
      maps[i] = explain[method](clf, cloth:get(i), options)
      masks[i] = cloth.masks:read(cloth.index[i])
      if explain.pointing_game(maps[i], masks[i]) then hits = hits + 1 end
      chance = chance + masks[i]:ne(0):to "f32":mean():item() / #cloth
    end
    return hits / #cloth, chance, (explain.aupro(maps, masks))
  end

  it("point at them in synthetic cloth", function()
    for method, options in pairs {
      hires_cam = { class = "defect" }, grad_cam = { class = "defect" },
      occlusion = { class = "defect", patch = 24, stride = 24, cover = "cloth" },
      integrated_gradients = { class = "defect", steps = 8 },
    } do
      local hits, chance, area = judge(method, options)
      assert.is_true(chance < 0.2)
      assert.is_true(hits > 0.6, ("%s hits %.2f"):format(method, hits))
      assert.is_true(area > 0.2, ("%s AUPRO %.2f"):format(method, area))
    end
  end)
end)
