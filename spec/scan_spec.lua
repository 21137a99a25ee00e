-- texres.scan: the trunk over a band against patches, strips in pieces, cells to defects, points.

local tr = require "texres"
local classifiers = require "texres.classifier"
local defects = require "texres.scan.defects"
local points = require "texres.scan.points"
local split = require "texres.scan.split"

local CLASSES = { "good", "hole", "cut" }

--- A classifier that is not trained, with weights so large that its probabilities differ from place to place.
local function classifier(model)
  tr.manual_seed(3)
  local net = type(model) == "string" and tr.models.textile { width = 4, head = model, classes = 3 } or model()
  for name, p in net:named_parameters() do
    if name:find "fc" then p:detach():copy_from(p:detach() * 8) end
  end
  return classifiers.new {
    model = net, classes = CLASSES, input = { 64, 64, 1 }, normalization = { mean = 0.5, std = 0.2 },
  }
end

--- Noise with larger and smaller patterns, u8 {height,width,1}.
local function cloth(height, width)
  tr.manual_seed(7)
  return (tr.rand(height, width, 1) * 255):to "u8"
end

local function furthest(a, b) return (a - b):abs():max():item() end

describe("scan", function()
  local function check_against_margin(model)
    local clf, image = classifier(model), cloth(200, 230)
    local got = clf:scan(image, { step = 32 })
    local want = clf:scan(image, { step = 32, mode = "patches", margin = split(clf.model, clf.input).halo })
    assert.are.same({ 7, 8, 3 }, got.scores:shape())
    assert.is_true(got.scores:max():item() - got.scores:min():item() > 0.05) -- there is something to compare
    assert.is_true(furthest(got.scores, want.scores) < 1e-5)
  end

  for _, head in ipairs { "gap", "gmp", "mean_max", "conv" } do
    it("gives what patches with a margin give, with the head " .. head, function()
      check_against_margin(head)
      assert.is_true(split(classifier(head).model, { 64, 64, 1 }).slides)
    end)
  end

  --- The same in 8 bits, by noise.
  local function in_8_bits(clf)
    local set = assert(tr.data.tensors {
      images = (tr.rand(24, 64, 64, 1) * 255):to "u8", labels = tr.ones(24):to "i64", classes = CLASSES,
    })
    return clf:quantize(set, { images = 24 })
  end

  for _, head in ipairs { "gap", "gmp", "mean_max", "conv" } do
    it("gives in 8 bits what patches with a margin give but for roundings of tiles, with the head " .. head, function()
      local float, image = classifier(head), cloth(200, 230)
      local clf = in_8_bits(float)
      local parts, of_float = split(clf.model, clf.input), split(float.model, float.input)
      assert.are.same({ of_float.stride, of_float.halo, of_float.offset, of_float.cells, true },
        { parts.stride, parts.halo, parts.offset, parts.cells, parts.slides })
      local got = clf:scan(image, { step = 32 })
      local want = clf:scan(image, { step = 32, mode = "patches", margin = parts.halo })
      assert.is_true(furthest(got.scores, want.scores) < 0.02)
      assert.is_true(got.scores:max():item() - got.scores:min():item() > 0.05)
      local patch = image:slice(1, 1, 64):slice(2, 1, 64) -- whose borders are those of the image
      local alone, predicted = clf:scan(patch, { step = 64 }), clf:predict(patch).probabilities
      for k = 1, 3 do assert.is_true(math.abs(alone.scores[1][1][k]:item() - predicted[k]) < 1e-6) end
      local scanner = clf:scanner { step = 32, band = 64, threshold = 0.01, good = "hole" }
      local whole = clf:scan(image, { step = 32, band = 64, threshold = 0.01, good = "hole" })
      local told = scanner:push(image:slice(1, 1, 77))
      table.move(scanner:push(image:slice(1, 78, 200)), 1, 99, #told + 1, told)
      table.move((scanner:finish()), 1, 99, #told + 1, told)
      assert.is_true(#told > 0)
      for i, defect in ipairs(told) do assert.are.equal(whole.defects[i].score, defect.score) end
    end)
  end

  it("says why a network in 8 bits is scanned patch by patch", function()
    local nn = tr.nn
    local clf = in_8_bits(classifier(function()
      return nn.Sequential {
        nn.Conv2d(1, 4, 3, { padding = 1 }), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3, { padding = 1 }),
        nn.GlobalAvgPool(), { fc = nn.Linear(4, 3) },
      }
    end))
    local scanner = clf:scanner { step = 32 }
    assert.are.same({ "patches", "in 8 bits layers in f32 follow before the map ends" }, { scanner.mode, scanner.why })
    assert.error_matches(function() clf:scan(cloth(64, 64), { mode = "trunk" }) end,
      "scan: mode = \"patches\" is needed: in 8 bits layers in f32 follow", 1, true)
  end)

  it("tells what is unlike all that was trained on, unless it is a known defect", function()
    local clf = classifier "mean_max"
    local function set(seed)
      tr.manual_seed(seed)
      local labels = tr.tensor({ 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3 }, { dtype = "i64" })
      local images = (tr.rand(12, 64, 64, 1) * 255):to "u8"
      return assert(tr.data.tensors { images = images, labels = labels, classes = CLASSES })
    end
    clf:fit_novelty(set(1), { calibrate = set(2), false_alarms = 0.1 })
    local image = cloth(64, 256)
    image:slice(2, 129, 192):copy_from(tr.full({ 64, 64, 1 }, 255, { dtype = "u8" }))
    local patches = clf:scan(image, { step = 64, mode = "patches", threshold = 1 })
    for c = 1, 4 do -- as predict does
      local want = clf:predict(image:slice(2, 64 * c - 63, 64 * c)).novelty
      assert.is_true(math.abs(patches.novelty[1][c]:item() - want) < 1e-3 * want)
    end
    local plain = clf:scan(image, { step = 16, threshold = 1 })
    local middle = 0.9 * plain.novelty:max():item() + 0.1 * plain.novelty:mean():item()
    local got = clf:scan(image, { step = 16, threshold = 1, unknown = middle, mm_per_pixel = 1 })
    assert.are.same({ 0, 1, "unknown", true, 0 }, { got.count, got.unknown, got.defects[1].class,
      got.defects[1].unknown, got.points })
    assert.is_true(got.defects[1].novelty >= middle and not got.defects[1].label)
    assert.are.equal(0, clf:scan(image, { step = 16, threshold = 1e-6, unknown = middle }).unknown) -- all is hot
    clf.novelty = nil
    assert.is_nil(clf:scan(image, { step = 16, threshold = 1 }).unknown)
  end)

  it("calls a head that can't slide for each window of the map", function()
    local function net()
      local nn = tr.nn
      return nn.Sequential {
        nn.Conv2d(1, 4, 3, { stride = 8, padding = 1 }), nn.ReLU(), nn.Flatten(), { fc = nn.Linear(4 * 64, 3) },
      }
    end
    check_against_margin(net)
    assert.is_false(split(classifier(net).model, { 64, 64, 1 }).slides)
  end)

  it("gives what predict gives of each patch, patch by patch", function()
    local clf, image = classifier "gap", cloth(64, 128)
    local got = clf:scan(image, { step = 64, mode = "patches" })
    for c = 1, 2 do
      local want = clf:predict(image:slice(2, 64 * c - 63, 64 * c)).probabilities
      for k = 1, 3 do assert.is_true(math.abs(got.scores[1][c][k]:item() - want[k]) < 1e-6) end
    end
  end)

  it("counts the pixels of a defect that are in the image", function()
    local clf = classifier "gap"
    for _, size in ipairs { { 100, 150 }, { 64, 64 }, { 1, 200 }, { 90, 1 }, { 30, 40 } } do
      local all = clf:scan(cloth(size[1], size[2]), { step = 16, threshold = 1e-6 })
      assert.are.equal(1, all.count)
      local one = all.defects[1]
      assert.are.same({ 0, 0, size[1], size[2], size[1] * size[2] },
        { one.top, one.left, one.height, one.width, one.area })
    end
  end)

  it("gives the same bits whatever pieces a strip comes in", function()
    local clf, image = classifier "mean_max", cloth(777, 100)
    local options, want, rows = { step = 16, mm_per_pixel = 1, band = 64 }, {}, {}
    local heat = clf:scan(image, options).heat
    options.threshold = (heat:mean() + heat:std()):item() -- so that some cells are hot
    for i, defect in ipairs(clf:scan(image, options).defects) do want[i] = tostring(defect) .. defect.score end
    assert.is_true(#want > 2)
    for _, size in ipairs { 1, 50, 777 } do
      local scanner, got = clf:scanner(options), {}
      for top = 1, 777, size do
        for _, defect in ipairs(scanner:push(image:slice(1, top, math.min(777, top + size - 1)))) do
          got[#got + 1] = defect
        end
      end
      local last, roll = scanner:finish()
      table.move(last, 1, #last, #got + 1, got)
      table.sort(got, function(a, b) return a.top < b.top or a.top == b.top and a.left < b.left end)
      for i, defect in ipairs(got) do got[i] = tostring(defect) .. defect.score end
      assert.are.same(want, got)
      rows[#rows + 1] = tostring(roll)
    end
    assert.are.equal(rows[1], rows[2])
    assert.are.equal(rows[1], rows[3])
  end)
end)

describe("scan: places", function()
  local nn = tr.nn

  --- A network that averages: three convolutions of stride 2, and a class that is likelier the brighter a patch is.
  local function averaging(padding)
    local function conv()
      local one = nn.Conv2d(1, 1, 3, { stride = 2, padding = padding, bias = false })
      one.weight:detach():copy_from(tr.tensor({ 1, 2, 1, 2, 4, 2, 1, 2, 1 }):reshape(3, 3, 1, 1) / 16)
      return one
    end
    local net = nn.Sequential { conv(), conv(), conv(), nn.GlobalAvgPool(), nn.Linear(1, 2) }
    local dense = net:parameters()[4]
    dense:detach():copy_from(tr.tensor({ -1, 1 }):reshape(1, 2))
    net:parameters()[5]:detach():fill(0)
    return classifiers.new { model = net, classes = { "good", "hole" }, input = { 64, 64, 1 } }
  end

  --- The middle {row, column} of what is above 0 in a map.
  local function middle_of(map)
    local sum, list = map:sum():item(), {}
    for axis = 1, 2 do
      local line = map:sum(3 - axis):reshape(map:size(axis))
      list[axis] = (line * tr.arange(0, map:size(axis) - 1, { dtype = "f32" })):sum():item() / sum
    end
    return list
  end

  --- How far heat lies below and right of a mark of 9x9 pixels, in the mean over eight phases of the step.
  local function displaced(clf, options)
    local blank = tr.zeros(256, 256)
    local before, sums = clf:scan(blank, options):map(), { 0, 0 }
    for phase = 0, 7 do
      local at, marked = { 112 + phase * options.step // 8, 120 + 3 * phase % 8 * options.step // 8 }, blank:clone()
      marked:slice(1, at[1] - 3, at[1] + 5):slice(2, at[2] - 3, at[2] + 5):fill(1) -- its middle, from 0, is at
      local found = middle_of(clf:scan(marked, options):map() - before)
      for axis = 1, 2 do sums[axis] = sums[axis] + (found[axis] - at[axis]) / 8 end
    end
    return sums
  end

  local function check_displaced(options, most)
    for padding, offset in pairs { [1] = -3, [{ 0, 1, 1, 0 }] = 4 } do
      local clf = averaging(padding)
      local want = options.mode == "patches" and { 0, 0 } or type(padding) == "table" and { offset, -3 } or { -3, -3 }
      assert.are.same(want, clf:scan(tr.zeros(64, 64), options).offset)
      for _, pixels in ipairs(displaced(clf, options)) do assert.is_true(math.abs(pixels) < most, pixels) end
    end
  end

  it("are where the trunk's kernels, strides and paddings look", function()
    for _, step in ipairs { 8, 16, 32 } do check_displaced({ step = step }, 0.6) end
  end)

  it("are the same patch by patch, to two pixels", function()
    check_displaced({ step = 16, mode = "patches" }, 2)
  end)
end)

describe("scan: defects", function()
  --- The defects of a picture of cells: rows of text, in which . is cold.
  local function of(rows, longest)
    local tracker, list = defects.tracker(2, 0.5, longest or 100), {}
    local function add(ended)
      for _, d in ipairs(ended) do
        assert.are.equal(10 * d.cells, d.area)
        list[#list + 1] = ("%d,%d-%d,%d %d%s%s"):format(d.top, d.left, d.bottom, d.right, d.cells,
          d.continues and " continues" or "", d.continued and " continued" or "")
      end
    end
    for _, row in ipairs(rows) do
      local heat, scores, areas = {}, {}, {}
      for cell in row:gmatch "." do
        heat[#heat + 1] = cell == "." and 0 or 1
        scores[#scores + 1], areas[#areas + 1] = { 0, 1 }, 10
      end
      add(tracker:add(heat, scores, areas))
    end
    add(tracker:skip(1))
    return list
  end

  it("are cells that touch, at corners, too", function()
    assert.are.same({ "0,0-1,1 2", "0,3-1,3 2" }, of { "#..#", ".#.#" })
    assert.are.same({ "0,0-2,4 8" }, of { "#...#", "#.#.#", ".#.##" })
    assert.are.same({ "0,0-0,0 1", "2,0-2,0 1" }, of { "#", ".", "#" })
  end)

  it("become one where a later row joins them", function()
    assert.are.same({ "0,0-2,6 15" }, of { "#.#.#.#", "#.#.#.#", "#######" })
    assert.are.same({ "0,6-0,6 1", "0,0-2,4 11" }, of { "#.#.#.#", "#.#.#..", "#####.." })
  end)

  it("are told in pieces where they go on", function()
    assert.are.same({ "0,0-1,0 2 continues", "2,0-3,0 2 continues continued", "4,0-4,0 1 continued" },
      of({ "#", "#", "#", "#", "#" }, 2))
  end)
end)

describe("scan: points", function()
  it("follow the length, and a hole's", function()
    for length, count in pairs { [10] = 1, [75] = 1, [76] = 2, [150] = 2, [151] = 3, [230] = 3, [231] = 4 } do
      assert.are.equal(count, points.of(length))
    end
    assert.are.equal(2, points.of(25, true))
    assert.are.equal(4, points.of(26, true))
  end)

  it("are at most 4 for a metre, 4 for each that a long defect lies in, and the same when settled early", function()
    local sum, early = points.sum(), points.sum()
    for _, d in ipairs { { 10, 20, 3 }, { 30, 40, 3 }, { 1500, 1520, 1 }, { 2100, 4900, 4 } } do
      sum:add(table.unpack(d))
      early:settle(d[1])
      early:add(table.unpack(d))
    end
    assert.are.equal(4 + 1 + 3 * 4, sum:all())
    assert.are.equal(17, early:all())
    local long = points.sum()
    long:add(0.1 * 10000, 0.1 * 10000 + 0.1 * 20000, 4) -- two metres, which end with the second
    assert.are.equal(2 * 4, long:all())
  end)

  it("of a roll before are forgotten by a scanner of frames, and each roll has its own", function()
    local clf, image = classifier "gap", cloth(64, 64)
    local function scanner() return clf:scanner { mm_per_pixel = 5, threshold = 1e-6 } end -- a frame has 320 mm
    local one = scanner()
    for _ = 1, 100 do one:frame(image) end
    local open = 0
    for _ in pairs(one.sum.metres) do open = open + 1 end
    assert.are.equal(1, open)
    assert.are.equal(4 * 32, one:summary().points) -- 4 of each metre that is begun
    local two = scanner()
    for _ = 1, 3 do
      two:frame(image, { position = 0 })
      two:frame(image, { position = 20 }) -- in the same metre
    end
    assert.are.equal(3 * 4, two:summary().points)
  end)
end)

describe("scan: threshold", function()
  local clf, images = classifier "gap", { cloth(256, 256), cloth(200, 320) }

  --- How many defects the images have at a threshold, in the mean.
  local function alarms(threshold, options)
    options.threshold = threshold
    local sum = 0
    for _, image in ipairs(images) do sum = sum + clf:scan(image, options).count end
    return sum / #images
  end

  it("is the lowest that keeps to a budget on good cloth", function()
    local cases = { { 0.5 }, { 1 }, { 2, 2 } } -- false alarms, and cells that make a defect
    for _, case in ipairs(cases) do
      local budget, least = table.unpack(case)
      local chosen = clf:scan_threshold(images, { false_alarms = budget, step = 16, least = least })
      assert.are.equal(2, chosen.images)
      assert.is_true(chosen.false_alarms <= budget and chosen.false_alarms > 0)
      assert.are.equal(chosen.false_alarms, alarms(chosen.threshold, { step = 16, least = least }))
      assert.matches(("%.2f a picture, of 2 pictures"):format(chosen.false_alarms), tostring(chosen), 1, true)
    end
    local none = clf:scan_threshold(images, { false_alarms = 0, step = 16 })
    assert.are.equal(0, alarms(none.threshold, { step = 16 }))
    assert.is_true(none.threshold < 1)
  end)

  it("is chosen for novelty, too, where that was fitted", function()
    local own = classifier "gap"
    local function patches(seed)
      tr.manual_seed(seed)
      local labels = tr.tensor({ 1, 2, 3, 1, 2, 3, 1, 2, 3 }, { dtype = "i64" })
      local own_images = (tr.rand(9, 64, 64, 1) * 255):to "u8"
      return assert(tr.data.tensors { images = own_images, labels = labels, classes = CLASSES })
    end
    own:fit_novelty(patches(1), { calibrate = patches(2), false_alarms = 0.2 })
    for _, mode in ipairs { "trunk", "patches" } do
      local options = { step = 16, mode = mode, least = 2, false_alarms = 1.5 }
      local chosen = own:scan_threshold(images, options)
      assert.matches(("unknown %.6g"):format(chosen.unknown), tostring(chosen), 1, true)
      local function unknown_at(beyond)
        local sum = 0
        for _, image in ipairs(images) do
          sum = sum + own:scan(image, { step = 16, mode = mode, least = 2, threshold = chosen.threshold,
            unknown = beyond }).unknown
        end
        return sum / #images
      end
      assert.is_true(unknown_at(chosen.unknown) <= 1.5)
      options.false_alarms = 0
      chosen = own:scan_threshold(images, options)
      assert.are.equal(0, unknown_at(chosen.unknown))
      local strange = images[1]:clone()
      strange:slice(1, 65, 160):copy_from(tr.full({ 96, 256, 1 }, 255, { dtype = strange.dtype }))
      local result = own:scan(strange, { step = 16, mode = mode, threshold = 1, unknown = chosen.unknown })
      local farthest = result.novelty:reshape(-1):argmax(1):item() - 1
      local row = farthest // result.novelty:size(2) * 16
      assert.is_true(row >= 32 and row < 176, ("%s: the farthest cell lies at row %d"):format(mode, row))
    end
  end)

  it("says what is wrong with its images", function()
    local message = select(2, pcall(function() clf:scan_threshold("good.png") end))
    assert.matches('scan_threshold: images are "good.png", wanted a list of images and paths', message, 1, true)
    assert.matches("no picture of good cloth was given", select(2, pcall(clf.scan_threshold, clf, {})), 1, true)
    local choose, hottest = require("texres.scan.threshold").choose, { { heat = tr.ones(4, 4) } }
    assert.matches("no threshold gives so few false alarms", select(2, choose(hottest, 0.5)), 1, true)
    assert.matches("no threshold gives so few false alarms", select(2, choose(hottest, 5)), 1, true)
    local chosen, problem = clf:scan_threshold { "/missing.png" }
    assert.is_nil(chosen)
    assert.matches("missing.png", problem, 1, true)
  end)
end)

describe("metrics on masks", function()
  local metrics = tr.metrics

  it("tell pixels apart as the ROC does", function()
    tr.manual_seed(1)
    local map, mask = (tr.rand(20, 30) * 8):floor(), tr.rand(20, 30):gt(0.7) -- heat with ties
    local scores, belongs = map:reshape(600):to "f64", {}
    for i, value in ipairs(mask:reshape(600):totable()) do belongs[i] = value == 1 end
    local want = require("texres.metrics.curve").roc(scores, belongs).area
    local halves = { map:slice(1, 1, 7), map:slice(1, 8, 20) }
    local got = metrics.pixel_auroc(halves, { mask:slice(1, 1, 7), mask:slice(1, 8, 20) })
    assert.is_true(math.abs(got - want) < 1e-12)
    assert.is_true(math.abs(metrics.pixel_auroc({ mask:to "f32" }, { mask }) - 1) < 1e-12)
  end)

  it("find defects until the false alarms exceed their budget", function()
    local map = tr.tensor { { 9, 0, 0, 5, 0 }, { 0, 0, 0, 0, 0 }, { 0, 7, 0, 0, 3 } }
    local mask = tr.tensor({ { 1, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 1 } }, { dtype = "u8" })
    local function at(budget, of)
      local r = metrics.defect_recall({ map }, { of or mask }, { false_alarms = budget, outside = 0.5 })
      return { r.found, r.count, r.false_alarms, r.threshold }
    end
    assert.are.same({ 1, 2, 0, 9 }, at(0))
    assert.are.same({ 1, 2, 1, 7 }, at(1))
    assert.are.same({ 2, 2, 2, 3 }, at(2))
    local given = metrics.defect_recall({ map }, { mask }, { threshold = 6 })
    assert.are.same({ 1, 1, 6 }, { given.found, given.false_alarms, given.threshold })
    local clean = map - 9 * mask:to "f32"
    assert.are.same({ 5, 2 }, { metrics.alarm_threshold({ clean }, { false_alarms = 2, outside = 0.5 }) })
    assert.are.same({ math.huge, 0 }, { metrics.alarm_threshold({ map }, { false_alarms = 0.5 }) })
    local large = mask:reshape(3, 1, 5, 1):expand(3, 4, 5, 4):reshape(12, 20) -- a mask of pixels, a map of cells
    assert.are.same({ 2, 2, 2, 3 }, at(2, large:slice(1, 1, 10):slice(2, 1, 19)))
  end)

  it("say what is wrong with them", function()
    local map = tr.zeros(4, 4)
    local function message(f, ...) return (select(2, pcall(f, ...)):gsub("^.-:%d+: ", "")) end
    assert.are.equal("pixel_auroc: a list of heat maps and one of as many masks are wanted",
      message(function() metrics.pixel_auroc({ map }, {}) end))
    assert.are.equal("defect_recall: no mask shows a defect",
      message(function() metrics.defect_recall({ map }, { map }) end))
  end)
end)
