--- Figures of scores: against scikit-learn's on stored cases, intervals by the bootstrap, exact binomial limits.
local tr = require "texres"
local binomial = require "texres.metrics.binomial"
local bootstrap = require "texres.metrics.bootstrap"
local counted = require "texres.metrics.counted"
local json = require "texres.json"
local metrics = require "texres.metrics"

local NAMES = { "good", "color", "cut", "hole", "thread", "metal" }

--- A result as evaluate() makes it, from rows of scores.
local function result_of(scores, labels, groups)
  local classes = table.move(NAMES, 1, #scores[1], 1, {})
  local counter, p = metrics.Counter(classes), tr.tensor(scores)
  local truth = tr.tensor(labels, { dtype = "i64" })
  counter:add(p:log(), truth, 1)
  local result = counter:result()
  result.scores, result.labels, result.groups = p, truth, groups
  return result
end

local function read_cases()
  local file = assert(io.open "spec/fixtures/metrics.json")
  local text = file:read "a"
  file:close()
  return assert(json.decode(text))
end

describe("figures of scores", function()
  for _, case in ipairs(read_cases()) do
    it("are those of scikit-learn: " .. case.name, function()
      local result, wanted = result_of(case.scores, case.labels), case.figures
      assert.near(wanted.accuracy, result.accuracy, 1e-12)
      assert.near(wanted.balanced_accuracy, result.balanced_accuracy, 1e-12)
      for _, mean in ipairs { "macro", "weighted" } do
        for _, name in ipairs { "precision", "recall", "f1" } do
          assert.near(wanted[mean][name], result[mean][name], 1e-12)
        end
      end
      assert.near(wanted.log_loss, result:log_loss(), 1e-9)
      assert.near(wanted.brier, result:brier(), 1e-9)
      assert.near(wanted.top[1], result:top_k(2), 1e-12)
      assert.equal(result.accuracy, result:top_k(1))
      for c, area in pairs(wanted.area) do
        assert.near(area, result:roc(tonumber(c)).area, 1e-9)
        assert.near(wanted.average_precision[c], result:precision_recall(NAMES[tonumber(c)]).area, 1e-9)
      end
      assert.near(wanted.defect_area, result:roc().area, 1e-9)
      local points = result:roc("good").points
      assert.equal(#wanted.roc, #points)
      for i, point in ipairs(points) do
        assert.near(wanted.roc[i][1], point.false_positives, 1e-12)
        assert.near(wanted.roc[i][2], point.true_positives, 1e-12)
      end
    end)
  end

  it("tell calibration bin by bin", function()
    local result = result_of({ { 0.95, 0.05 }, { 0.95, 0.05 }, { 0.55, 0.45 }, { 0.42, 0.58 } }, { 1, 2, 1, 2 })
    local calibration = result:calibration { bins = 2 }
    assert.equal(1, #calibration.bins)
    assert.near(math.abs(0.75 - (0.95 + 0.95 + 0.55 + 0.58) / 4), calibration.error, 1e-6)
    calibration = result:calibration { bins = 10 }
    assert.same({ 0.5, 0.9 }, { calibration.bins[1].low, calibration.bins[2].low })
    assert.near(0.5 * math.abs(0.5 - 0.95) + 0.5 * math.abs(1 - 0.565), calibration.error, 1e-6)
  end)

  it("find the temperature that scores were sharpened with", function()
    tr.manual_seed(4)
    local logits = tr.randn(4000, 3) * 2
    local labels = {} -- drawn from these very probabilities
    for i, row in ipairs(logits:softmax(2):totable()) do
      local u, c = tr.rand(1):item(), 1
      while c < 3 and u > row[c] do u, c = u - row[c], c + 1 end
      labels[i] = c
    end
    for _, sharpened in ipairs { 0.5, 1, 3 } do
      local result = result_of((logits * sharpened):softmax(2):totable(), labels)
      assert.near(sharpened, result:temperature(), 0.08 * sharpened)
    end
  end)

  it("refuse what has no scores, scores that are not numbers, and classes that are none", function()
    local result = result_of({ { 0.6, 0.4 }, { 0.2, 0.8 } }, { 1, 2 })
    assert.error_matches(function() result:roc "rust" end, "roc: \"rust\" is no class: give one of good, color")
    assert.error_matches(function() result:roc("defect", { good = "fine" }) end, "no class is named 'fine'")
    assert.error_matches(function() result:interval "f2" end, "interval: \"f2\" is no figure with an interval")
    local bare = metrics.Counter(NAMES):result()
    assert.error_matches(function() bare:brier() end, "brier: the result does not know what each image was given")
    local broken = result_of({ { 0 / 0, 0 / 0 }, { 0.2, 0.8 } }, { 1, 2 })
    assert.error_matches(function() broken:log_loss() end, "log_loss: some images have no prediction")
    local one_sided = result_of({ { 0.6, 0.4 }, { 0.2, 0.8 } }, { 1, 1 })
    assert.error_matches(function() one_sided:roc() end, "roc: all images are on one side: 0 belong, 2 do not")
  end)
end)

describe("intervals", function()
  --- 64 images of which `right` are right, in groups of which each is right or wrong as a whole.
  local function grouped(right, groups)
    local scores, labels, names = {}, {}, {}
    for i = 1, 64 do
      scores[i] = i <= right and { 0.9, 0.1 } or { 0.1, 0.9 }
      labels[i], names[i] = 1, groups and (i - 1) // (64 // groups) or nil
    end
    return result_of(scores, labels, groups and names)
  end

  local function accuracy(draw) return draw.accuracy end

  it("agree with the binomial where images are independent", function()
    local deviation = math.sqrt(0.75 * 0.25 / 64)
    for _, figure in ipairs { "accuracy", accuracy } do
      local low, high, units, kind = grouped(48):interval(figure, { samples = 4000 })
      assert.near(0.75 - 1.96 * deviation, low, 0.025)
      assert.near(0.75 + 1.96 * deviation, high, 0.025)
      assert.same({ 64, "images" }, { units, kind })
    end
  end)

  it("draw whole groups: eight images of one photograph are worth one", function()
    local low, high, units, kind = grouped(48, 8):interval(accuracy, { samples = 4000 })
    assert.same({ 3 / 8, 1, 8, "groups" }, { low, high, units, kind }) -- of 8 throws at 0.75, 2 or less come in 0.4 %
    assert.error_matches(function() grouped(48, 1):interval "accuracy" end, "an interval needs at least 2 groups")
  end)

  it("are there for every figure by its name, around it, and wider by group", function()
    local p, labels, groups = {}, {}, {}
    for i = 1, 96 do
      local right = 0.5 + 0.4 * math.sin((i + 7) // 8) -- alike within a group of eight
      p[i], labels[i], groups[i] = { right, 1 - right }, 1, (i - 1) // 8
      if i % 2 == 0 then p[i], labels[i] = { 1 - right, right }, 2 end
    end
    local alone, together = result_of(p, labels), result_of(p, labels, groups)
    for name, value in pairs {
      accuracy = alone.accuracy, balanced_accuracy = alone.balanced_accuracy, macro_f1 = alone.macro.f1,
      weighted_f1 = alone.weighted.f1, log_loss = alone:log_loss(), brier = alone:brier(),
    } do
      local low, high, units, kind = alone:interval(name)
      assert.is_true(low < value and value < high, name)
      assert.same({ 96, "images" }, { units, kind })
      local wide_low, wide_high, of, what = together:interval(name)
      assert.is_true(wide_high - wide_low > 1.5 * (high - low), name)
      assert.same({ 12, "groups" }, { of, what })
    end
    -- the mean of numbers that are independent has the deviation of their mean
    local each = tr.tensor(alone:losses_of_images(), { dtype = "f64" })
    local low, high = alone:interval("log_loss", { samples = 4000 })
    assert.near(2 * 1.985 * each:var():sqrt():item() / math.sqrt(96), high - low, 0.02)
  end)

  it("leave room where everything was right, or nothing", function()
    for _, right in ipairs { 0, 64 } do
      local low, high = grouped(right):interval "accuracy"
      assert.near(1 - 0.025 ^ (1 / 64), high - low, 1e-9)
      low, high = grouped(right, 8):interval "accuracy"
      assert.near(1 - 0.025 ^ (1 / 8), high - low, 1e-9) -- the ninth photograph may be otherwise
    end
    local recall = grouped(64):recall(1)
    assert.same({ 1, 64 }, { recall.value, recall.images })
    assert.near(0.025 ^ (1 / 64), recall.low, 1e-9)
  end)

  it("are a function of the seed, and of a figure of one's own", function()
    local result = grouped(40)
    local function recall(draw) return draw.per_class[1].recall end
    local function limits(seed) return { result:interval(recall, { seed = seed }) } end
    assert.same(limits(1), limits(1))
    assert.same({ result:interval(accuracy, { seed = 1 }) }, limits(1))
    tr.set_num_threads(1)
    local once = limits(3)
    tr.set_num_threads(2)
    result.draws = nil
    assert.same(once, limits(3))
  end)

  it("of an area hold it, and are wider by group", function()
    tr.manual_seed(2)
    local scores, labels, groups = {}, {}, {}
    for i = 1, 200 do
      labels[i], groups[i] = i % 2 + 1, i % 20
      local p = 1 / (1 + math.exp(-(i % 2 * 1.5 - 0.75 + (i % 20 - 10) * 0.15 + tr.randn(1):item())))
      scores[i] = { 1 - p, p }
    end
    local alone, together = result_of(scores, labels):roc(), result_of(scores, labels, groups):roc()
    local low, high = alone:interval { samples = 400 }
    assert.is_true(low < alone.area and alone.area < high)
    assert.near(0.5 * (low + high), alone.area, 0.02)
    local wide_low, wide_high = together:interval { samples = 400 }
    assert.is_true(wide_high - wide_low > 0)
    -- an area counted pair by pair, on a draw of every image once
    local pairs_right = 0
    for i = 1, 200 do
      for j = 1, 200 do
        if labels[i] == 2 and labels[j] == 1 then
          local a, b = scores[i][2], scores[j][2]
          pairs_right = pairs_right + (a > b and 1 or a == b and 0.5 or 0)
        end
      end
    end
    assert.near(pairs_right / 1e4, alone.area, 1e-6)
  end)

  it("by the bootstrap take percentiles as numpy does", function()
    local low, high = bootstrap.percentiles({ 5, 1, 2, 3, 4, 0 / 0 }, 0.25)
    assert.same({ 2, 4 }, { low, high })
    assert.is_nil(bootstrap.percentiles({ 0 / 0 }, 0.25))
  end)

  it("by the bootstrap take percentiles further out where there are few units", function()
    assert.near(0.025, bootstrap.tail(0.95, 1e5), 1e-5)
    for units, tail in pairs { [3] = 6.83718e-8, [5] = 0.000954406, [16] = 0.0138555 } do -- scipy's t and norm
      assert.near(1, bootstrap.tail(0.95, units) / tail, 0.001)
    end
  end)

  it("of a share hold it about as often as they say, also by group", function()
    tr.manual_seed(11)
    for _, groups in ipairs { 4, 16, 40 } do
      local held, sets = 0, 100
      for _ = 1, sets do
        local hits, names = {}, {} -- groups have shares from 0 to 0.6, 0.2 on the whole
        for g, u in ipairs(tr.rand(groups):totable()) do
          for _, v in ipairs(tr.rand(20):totable()) do hits[#hits + 1], names[#names + 1] = v < 0.6 * u * u, g end
        end
        local share = counted.share(hits, names)
        if share.low <= 0.2 and 0.2 <= share.high then held = held + 1 end
      end
      assert.is_true(held >= 0.9 * sets, ("%d groups: %d of %d"):format(groups, held, sets))
    end
  end)

  it("of a share in groups are those of Korn and Graubard, with scipy's quantiles of beta and t", function()
    local function limits(hit, group, level)
      local hits, groups = {}, {}
      for i = 1, 60 do hits[i], groups[i] = hit(i), group(i) end
      local share = counted.share(hits, groups, level)
      return share.low, share.high
    end
    local function alike(i) return i % 11 == 0 or i // 8 == 3 end
    for _, case in ipairs {
      { 0.0235127835261252, 0.6086546048029735, alike, 8, 0.95 },
      { 0.03953106883128509, 0.5407574824601725, alike, 8, 0.9 },
    } do
      local low, high = limits(case[3], function(i) return i // case[4] end, case[5])
      assert.near(case[1], low, 1e-9)
      assert.near(case[2], high, 1e-9)
    end
    local low, high = limits(function(i) return i % 13 == 0 end, function(i) return i % 5 end)
    assert.near(0.008676900163173351, low, 1e-9)
    assert.near(0.21664074586331147, high, 1e-9)
  end)

  it("of a share are those of the images where each is a group, and none where there is one group", function()
    local hits, alone, one = {}, {}, {}
    for i = 1, 200 do hits[i], alone[i], one[i] = i % 20 == 0, i, "roll" end
    local by_image, by_group = counted.share(hits), counted.share(hits, alone)
    assert.near(by_image.low, by_group.low, 1e-3)
    assert.near(by_image.high, by_group.high, 1e-3)
    local share = counted.share(hits, one)
    assert.same({ 0.05, 0, 1, 1 }, { share.value, share.low, share.high, share.groups })
  end)
end)

describe("the binomial distribution", function()
  it("has the limits of Clopper and Pearson, as scipy's beta quantiles", function()
    local low, high = binomial.interval(0, 30)
    assert.same({ 0, true }, { low, math.abs(high - 0.11570330822202778) < 1e-10 })
    low, high = binomial.interval(15, 72000)
    assert.near(0.00011660712382320758, low, 1e-11)
    assert.near(0.00034359090871154894, high, 1e-11)
    assert.same({ 1 }, { select(2, binomial.interval(7, 7)) })
    assert.same({ 0, 1 }, { binomial.interval(0, 0) })
    assert.near(1 - 0.05 ^ (1 / 30), select(2, binomial.interval(0, 30, 0.9)), 1e-10)
  end)

  it("tests a coin as scipy's binomtest does", function()
    assert.near(0.0025768280029296875, binomial.fair(3, 20), 1e-12)
    assert.equal(1, binomial.fair(10, 20))
    assert.near(1, binomial.fair(0, 1074) / 0.5 ^ 1073, 1e-9)
    assert.near(1, binomial.fair(3334, 8334) / 8.305785378545568e-75, 1e-6)
    assert.equal(1, binomial.fair(0, 0))
  end)
end)

describe("recall by cover", function()
  --- Eight images of 4x4, the first two good; masks cover 0, 0, 1, 2, 4, 8, 16 and 0 of their pixels.
  local function masked_result(predicted)
    local shown, scores = {}, {}
    for i, pixels in ipairs { 0, 0, 1, 2, 4, 8, 16, 0 } do
      for pixel = 1, 16 do shown[#shown + 1] = pixel <= pixels and 1 or 0 end
      scores[i] = predicted[i] == 1 and { 0.9, 0.1 } or { 0.2, 0.8 }
    end
    local set = tr.data.tensors { images = tr.zeros(8, 4, 4, 1), classes = { "good", "hole" },
      labels = tr.tensor({ 1, 1, 2, 2, 2, 2, 2, 2 }, { dtype = "i64" }), masks = tr.tensor(shown):reshape(8, 4, 4, 1) }
    return metrics.of_scores(tr.tensor(scores), set, 0), set
  end

  it("counts each defect in the row of the share that its mask covers", function()
    local result, set = masked_result { 1, 2, 1, 2, 2, 1, 2, 1 }
    assert.are.same({ 0, 0, 0.0625, 0.125, 0.25, 0.5, 1, 0 }, set:covers())
    local rows = {}
    for i, row in ipairs(result:by_cover { edges = { 0, 0.125, 0.5, 1 } }) do
      rows[i] = { row.low, row.high, row.found.value, row.found.images }
    end
    assert.are.same({ { 0, 0.125, 0, 1 }, { 0.125, 0.5, 1, 2 }, { 0.5, 1, 0.5, 2 } }, rows)
    local folds = metrics.join { result, result }
    assert.are.equal(4, folds:by_cover({ edges = { 0.5, 1 } })[1].found.images)
  end)

  it("takes the verdicts of an operating point where there is one", function()
    local result = masked_result { 1, 2, 1, 2, 2, 1, 2, 1 }
    local found = result:by_cover({ edges = { 0, 1 }, point = { threshold = 0.05, good = "good" } })[1].found
    assert.are.equal(1, found.value)
    assert.are.equal(5, found.images)
  end)

  it("refuses sets without masks and edges that do not rise", function()
    local result, set = masked_result { 1, 2, 1, 2, 2, 1, 2, 1 }
    assert.has_error(function() result:by_cover { edges = { 0.5, 0.5 } } end,
      "by_cover: edges is {0.5, 0.5}, wanted a list of shares, each greater than the one before")
    set.masks = nil
    assert.has_error(function() set:covers() end, "covers: the set has no masks")
    local plain = metrics.of_scores(result.scores, set, 0)
    assert.has_error(function() plain:by_cover() end, "by_cover: the result is of a set without masks")
  end)
end)
