--- The operating point, comparisons, ensembles and views: what decides about pieces, and whether one network is better.
local tr = require "texres"
local checkpoint = require "texres.checkpoint"
local metrics = require "texres.metrics"
local operating_point = require "texres.metrics.operating_point"
local support = require "spec.support"

local nn = tr.nn

--- A result of two classes from the defect scores of good images and of defects.
local function result_of(good, defect, groups)
  local rows, labels = {}, {}
  for i, score in ipairs(good) do rows[i], labels[i] = { 1 - score, score }, 1 end
  for _, score in ipairs(defect) do rows[#rows + 1], labels[#labels + 1] = { 1 - score, score }, 2 end
  local counter, p = metrics.Counter { "good", "hole" }, tr.tensor(rows)
  local truth = tr.tensor(labels, { dtype = "i64" })
  counter:add(p:log(), truth, 1)
  local result = counter:result()
  result.scores, result.labels, result.groups = p, truth, groups
  return result
end

--- n numbers from low to high.
local function spread(n, low, high)
  local list = {}
  for i = 1, n do list[i] = low + (high - low) * (i - 1) / math.max(n - 1, 1) end
  return list
end

describe("an operating point", function()
  it("keeps within a budget of rejected good pieces, and lets no more defects pass than that takes", function()
    local result = result_of(spread(100, 0.01, 0.6), spread(50, 0.3, 0.99))
    for _, budget in ipairs { 0, 0.02, 0.1, 0.5, 1 } do
      local point = result:operating_point { false_reject = budget }
      assert.is_true(point.false_reject.value <= budget)
      -- a lower threshold, which rejects one good image more, does not
      assert.is_true(budget == 1 or point.false_reject.value + 1 / 100 > budget)
      local rejected, passed = 0, 0
      for i, row in ipairs(result.scores:totable()) do
        if i <= 100 and row[2] >= point.threshold then rejected = rejected + 1 end
        if i > 100 and row[2] < point.threshold then passed = passed + 1 end
      end
      assert.near(rejected / 100, point.false_reject.value, 1e-12)
      assert.near(passed / 50, point.escape.value, 1e-12)
      assert.same({ good = 100, defect = 50 }, point.images)
    end
  end)

  it("keeps within a budget of escapes, and rejects no more good pieces than that takes", function()
    local result = result_of(spread(100, 0.01, 0.6), spread(50, 0.3, 0.99))
    for _, budget in ipairs { 0, 0.1, 1 } do
      local point = result:operating_point { escape = budget }
      assert.is_true(point.escape.value <= budget)
      assert.is_true(budget == 1 or point.escape.value + 1 / 50 > budget)
    end
    assert.equal(0, result:operating_point({ escape = 1 }).false_reject.value)
  end)

  it("tells a limit that is zero but for rounding as zero", function()
    local point = result_of(spread(10, 0.01, 0.6), spread(10, 0.3, 0.99)):operating_point { false_reject = 0.1 }
    point.false_reject.low = 1.5e-16
    assert.matches("good pieces rejected  10 % (0 % to ", tostring(point), 1, true)
  end)

  it("has the least cost of all thresholds", function()
    local result = result_of(spread(60, 0.01, 0.7), spread(40, 0.2, 0.99))
    local rule = { cost = { false_reject = 1, escape = 20 }, prevalence = 0.05 }
    local point = result:operating_point(rule)
    local function cost(p) return 0.95 * p.false_reject.value + 0.05 * 20 * p.escape.value end
    for _, threshold in ipairs(spread(200, 0, 1)) do
      local other = result:at_operating_point { threshold = threshold, good = "good", images = point.images,
        false_reject = point.false_reject, escape = point.escape }
      assert.is_true(cost(point) <= cost(other) + 1e-12)
    end
  end)

  it("warns where the images are too few to promise a cost", function()
    local rule = { cost = { escape = 20 }, prevalence = 0.05 }
    local function warning(goods, defects, groups)
      return result_of(spread(goods, 0.01, 0.4), spread(defects, 0.6, 0.99), groups):operating_point(rule).warning
    end
    -- 0.95 * 0.116 + 0.05 * 20 * 0.116, up to which Clopper and Pearson see no surprise
    assert.equal("30 good images and 30 defects cannot promise a cost: up to 0.226 for each piece would surprise "
      .. "nobody, where 0 was counted.", warning(30, 30))
    assert.is_nil(warning(300, 300))
    local groups = {}
    for i = 1, 600 do groups[i] = i % 10 end
    assert.matches("^300 good images and 300 defects in their groups cannot promise a cost", warning(300, 300, groups))
  end)

  it("warns where the images are too few to promise the budget", function()
    local few = result_of(spread(30, 0.01, 0.4), spread(30, 0.6, 0.99)):operating_point { false_reject = 0.02 }
    assert.equal(0, few.false_reject.value)
    assert.near(0.1157, few.false_reject.high, 1e-4) -- Clopper and Pearson
    assert.matches("^30 good images cannot promise a false reject rate of 2 %%: up to 11.6 %% would", few.warning)
    local needed = tonumber(few.warning:match "about (%d+)")
    local many = result_of(spread(needed, 0.01, 0.4), spread(30, 0.6, 0.99)):operating_point { false_reject = 0.02 }
    assert.is_nil(many.warning)
    assert.matches("30 good images cannot promise .* of 0 %%: .* No number of them can%.$",
      result_of(spread(30, 0.01, 0.4), { 0.9 }):operating_point({ false_reject = 0 }).warning)
  end)

  it("says what a budget may come to on other images", function()
    local point = result_of(spread(1000, 0.01, 0.6), spread(50, 0.3, 0.99)):operating_point { false_reject = 0.02 }
    assert.is_nil(point.warning)
    assert.near(0.02, point.false_reject.value, 1e-12)
    assert.matches("asked for +at most 2 %%; on other pieces up to 3%.07 %% would surprise nobody", tostring(point))
    tr.manual_seed(5)
    local over, over_twice, sets = 0, 0, 100
    for _ = 1, sets do -- of scores that are evenly spread the share above t is 1 - t
      local few = result_of(tr.rand(500):totable(), { 1, 1 }):operating_point { false_reject = 0.02 }
      if few.threshold < 0.98 then over = over + 1 end
      if few.threshold < 0.96 then over_twice = over_twice + 1 end
    end
    assert.is_true(over > 30 and over < 75 and over_twice <= 2, over .. " " .. over_twice)
  end)

  it("warns by group, also where no image of any group is rejected", function()
    local good, defect, groups = {}, {}, {}
    for i = 1, 800 do good[i], groups[i] = 0.1, i % 8 end
    for i = 1, 40 do defect[i], groups[800 + i] = 0.9, i % 8 end
    assert.is_nil(result_of(good, defect):operating_point({ false_reject = 0.02 }).warning)
    local point = result_of(good, defect, groups):operating_point { false_reject = 0.02 }
    assert.matches("^800 good images of 8 groups cannot promise a false reject rate of 2 %%: up to 36.9 %%",
      point.warning)
  end)

  it("has wider limits where images come in groups", function()
    local good, defect, groups = {}, {}, {}
    for i = 1, 80 do good[i], groups[i] = i <= 8 and 0.8 or 0.1, "g" .. (i - 1) // 8 end
    for i = 1, 80 do defect[i], groups[80 + i] = 0.9, "d" .. (i - 1) // 8 end
    local alone = result_of(good, defect):operating_point { cost = { escape = 1 } }
    local grouped = result_of(good, defect, groups)
    local point = { threshold = 0.5, good = "good", images = alone.images, false_reject = alone.false_reject,
      escape = alone.escape }
    local by_group = grouped:at_operating_point(point).false_reject
    local by_image = result_of(good, defect):at_operating_point(point).false_reject
    assert.near(0.1, by_group.value, 1e-12)
    assert.is_true(by_group.high > by_image.high + 0.05) -- the rejects are all of one photograph
    assert.equal(10, by_group.groups)
  end)

  it("hands the images in doubt to a person", function()
    local result = result_of(spread(50, 0, 0.55), spread(50, 0.45, 1))
    local point = result:operating_point { cost = {}, ask = 0.2 }
    assert.near(0.2, point.band.share, 0.02)
    assert.is_true(point.band.low <= point.threshold and point.threshold <= point.band.high)
    assert.near(point.band.share, result:at_operating_point(point).asked, 1e-12)
    assert.equal("ask", operating_point.verdict(point, point.threshold))
    assert.equal("reject", operating_point.verdict(point, point.band.high))
    assert.equal("accept", operating_point.verdict(point, point.band.low - 1e-6))
    local told = tonumber(tostring(point):match "^operating point: reject from a defect score of (%S+) on")
    assert.near(point.band.high, told, 1e-4)
    assert.is_true(point.escape.value <= result:operating_point({ cost = {} }).escape.value)
  end)

  it("says so where nobody would be asked, and where a part of the rule has no say", function()
    local result = result_of(spread(10, 0.01, 0.6), spread(10, 0.3, 0.99))
    assert.matches("asked about 1 %% of 20 images", result:operating_point({ false_reject = 1, ask = 0.01 }).warning)
    local equal = result_of({ 0.5, 0.5 }, { 0.5, 0.5 })
    assert.matches("the scores at the threshold are equal", equal:operating_point({ escape = 1, ask = 0.5 }).warning)
    assert.is_nil(result:operating_point({ false_reject = 1, ask = 0.2 }).warning)
    assert.error_matches(function() result:operating_point { escape = 0.1, prevalence = 0.1 } end,
      "prevalence weighs cost")
    assert.error_matches(function() result:operating_point { cost = { false_reject = 0, escape = 0 } } end,
      "both mistakes cost nothing")
  end)

  it("takes the good class alone for good, also where a class is named defect", function()
    local p = tr.tensor { { 0.9, 0.05, 0.05 }, { 0.8, 0.1, 0.1 }, { 0.1, 0.8, 0.1 }, { 0.05, 0.15, 0.8 } }
    local counter, labels = metrics.Counter { "good", "defect", "hole" }, tr.tensor({ 1, 1, 2, 3 }, { dtype = "i64" })
    counter:add(p:log(), labels, 1)
    local result = counter:result()
    result.scores, result.labels = p, labels
    local point = result:operating_point { false_reject = 0 }
    assert.same({ good = 2, defect = 2 }, point.images)
    assert.near(0.5 * (0.2 + 0.9), point.threshold, 1e-6)
  end)

  it("counts a group whatever its value is, and an image without one by itself", function()
    for _, case in ipairs { { 2, "a", "b" }, { 2, 1, "1" }, { 3, "a", 0 / 0 }, { 3, "a", "" }, { 3, "a", "nan" },
      { 3, true, false } } do -- that no group is known, texres.data.columns says for sets and figures alike
      local units, one, two = table.unpack(case)
      local result = result_of({ 0.1, 0.2 }, { 0.8, 0.9 }, { one, two, one, two })
      local point = result:operating_point { false_reject = 0 }
      assert.same({ 2, units }, { point.false_reject.groups, point.groups })
      assert.equal(units, select(3, result:interval "accuracy"))
      assert.equal(units, select(3, result:roc():interval()))
      assert.equal(units, tr.compare(result, result).units)
      local run = { results = { { name = "Test", result = result } }, operating_point = point }
      assert.equal(units, require("texres.report.answers").of(run).groups)
    end
  end)

  it("has the same limits in whatever order the images come", function()
    local good, defect, groups, back = {}, {}, {}, {}
    for i = 1, 60 do good[i], groups[i] = i % 7 == 0 and 0.8 or 0.1, "g" .. i // 6 end
    for i = 1, 40 do defect[i], groups[60 + i] = i % 9 == 0 and 0.2 or 0.9, "d" .. i // 6 end
    for i, name in ipairs(groups) do back[101 - i] = name end
    local function reversed(result)
      local order = tr.arange(100, 1, -1, { dtype = "i64" })
      result.scores, result.labels = result.scores:index_select(1, order), result.labels:index_select(1, order)
      result.groups = back
      return result
    end
    local function one() return result_of(good, defect, groups) end
    local function two() return result_of(spread(60, 0.1, 0.6), spread(40, 0.4, 0.9), groups) end
    local point = one():operating_point { cost = {} }
    assert.same(one():at_operating_point(point), reversed(one()):at_operating_point(point))
    local c, d = tr.compare(one(), two()), tr.compare(reversed(one()), reversed(two()))
    assert.same({ c.low, c.high }, { d.low, d.high })
  end)

  it("never accepts a score that is not a number", function()
    local point = result_of({ 0.1, 0.2 }, { 0.8, 0.9 }):operating_point { false_reject = 0 }
    assert.equal("reject", operating_point.verdict(point, 0 / 0))
    point.band = { low = 0.3, high = 0.6, share = 0.1 }
    assert.equal("ask", operating_point.verdict(point, 0 / 0))
    assert.equal("accept ask reject", table.concat({ operating_point.verdict(point, 0.29),
      operating_point.verdict(point, 0.3), operating_point.verdict(point, 0.6) }, " "))
  end)

  it("is none with a band or counts that could not be shown", function()
    local point = result_of({ 0.1, 0.2 }, { 0.8, 0.9 }):operating_point { false_reject = 0 }
    for name, values in pairs {
      band = { { low = 0.1, high = 0.9 }, { low = 0.1, high = 0.9, share = "x" },
        { low = 0.9, high = 0.1, share = 0 }, 5 },
      images = { { good = "5", defect = 1 }, { good = -1, defect = 1 } },
    } do
      for _, value in ipairs(values) do
        local other = {}
        for key, kept in pairs(point) do other[key] = kept end
        other[name] = value
        assert.is_false(operating_point.fits(other, { "good", "hole" }))
      end
    end
  end)

  it("asks for one rule, for both kinds of images, and for a class that is good", function()
    local result = result_of({ 0.1 }, { 0.9 })
    local function raises(pattern, options)
      assert.error_matches(function() result:operating_point(options) end, pattern)
    end
    raises("say one of false_reject = SHARE", {})
    raises("say one of false_reject = SHARE", { escape = 0.1, false_reject = 0.1 })
    raises("escape is 2, wanted a number from 0 to 1", { escape = 2 })
    raises("no class is named 'fine'", { escape = 0.1, good = "fine" })
    assert.error_matches(function() result_of({ 0.1 }, {}):operating_point { escape = 0.1 } end,
      "there are 1 good images and 0 defects")
    assert.error_matches(function() result:at_operating_point { threshold = 7 } end, "is no operating point for")
  end)
end)

-- -- classifiers ------------------------------------------------------------------------------------------------------

local function model(seed)
  tr.manual_seed(seed)
  return nn.Sequential { nn.Conv2d(1, 4, 3, { padding = 1 }), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 6) }
end

local function classifier(seed, fields)
  local contents = { model = model(seed), classes = tr.data.fabric({ count = 6, size = 8 }).classes,
    input = { 8, 8, 1 }, normalization = { mean = 0.4, std = 0.2 } }
  for name, value in pairs(fields or {}) do contents[name] = value end
  local path = support.folder() .. "/model.safetensors"
  assert(checkpoint.save(path, contents))
  return assert(tr.load(path)), path
end

describe("a classifier", function()
  local set = tr.data.fabric { count = 48, size = 8, seed = 2 }

  it("keeps operating point and temperature in its file, and gives verdicts", function()
    local plain = classifier(1)
    local point = plain:evaluate(set):operating_point { false_reject = 0.25, ask = 0.1 }
    local saved = classifier(1, { operating_point = point, temperature = 2 })
    assert.equal(point.threshold, saved.operating_point.threshold)
    assert.same(tostring(point), tostring(saved.operating_point))
    assert.matches("operating point: reject from", tostring(saved))
    local image = set:get(5)
    local answer = saved:predict(image)
    assert.near(1 - answer.probabilities[1], answer.defect_score, 1e-12)
    assert.equal(operating_point.verdict(point, answer.defect_score), answer.verdict)
    assert.matches("^" .. answer.verdict .. " %(defect score %d%.%d%d%): ", tostring(answer))
    -- the temperature divides logits, in predict and evaluate alike
    local cold = plain:predict(image).probabilities
    local sum = 0
    for _, p in ipairs(cold) do sum = sum + p ^ 0.5 end
    assert.near(cold[3] ^ 0.5 / sum, answer.probabilities[3], 1e-5)
    assert.near(answer.probabilities[3], saved:evaluate(set).scores[5][3]:item(), 1e-5)
    saved:set_operating_point(nil)
    assert.is_nil(saved:predict(image).verdict)
  end)

  it("decides of each image in predict, at_operating_point and the report alike", function()
    local images = {}
    for i = 1, #set do images[i] = set:get(i):unsqueeze(1) end
    images = tr.cat(images, 1)
    for _, members in ipairs { { 1 }, { 1, 2 } } do
      for _, count in ipairs { 1, 4, 8 } do
        local list = {}
        for i, seed in ipairs(members) do list[i] = classifier(seed, { temperature = 1.5 }) end
        local clf = #list == 1 and list[1] or tr.Ensemble(list)
        local result = clf:evaluate(set, { views = count })
        -- the threshold is a score that occurs, so that one last bit would decide otherwise
        local point = result:operating_point { false_reject = 0.25 }
        point.threshold = 1 - result.scores[5][1]:item()
        clf:set_operating_point(point)
        local decisions, scores = require("texres.report.answers").decisions({ operating_point = point }, result)
        local passed, defects = 0, 0
        for i, answer in ipairs(clf:predict(images, { views = count })) do
          assert.equal(scores[i], answer.defect_score)
          assert.equal(decisions[i], answer.verdict)
          if set.label[i] ~= 1 then
            defects, passed = defects + 1, passed + (answer.verdict == "accept" and 1 or 0)
          end
        end
        assert.equal(passed / defects, result:at_operating_point(point).escape.value)
      end
    end
  end)

  it("refuses a point that is none, in files and in calls", function()
    local one = classifier(1)
    assert.error_matches(function() one:set_operating_point { threshold = 0.5 } end, "is no operating point for")
    local point = one:evaluate(set):operating_point { escape = 0.5 }
    point.good = "fine"
    assert.error_matches(function() one:set_operating_point(point) end, "is no operating point for")
    assert.error_matches(function() classifier(1, { operating_point = point }) end,
      "operating_point.good is 'fine', which is no class")
    assert.error_matches(function() classifier(1, { temperature = 0 }) end, "temperature is 0, wanted a number above 0")
  end)

  it("averages over views: an image and its mirror image are given the same", function()
    local one, image = classifier(3), set:get(7)
    local back = tr.arange(8, 1, -1, { dtype = "i64" })
    local turned = image:transpose(1, 2):index_select(1, back)
    for _, case in ipairs { { 4, image:index_select(2, back) }, { 8, turned } } do
      local a = one:predict(image, { views = case[1] }).probabilities
      local b = one:predict(case[2], { views = case[1] }).probabilities
      for c = 1, 6 do assert.near(a[c], b[c], 1e-6) end
    end
    local scores = one:evaluate(set, { views = 8 }).scores
    assert.near(one:predict(image, { views = 8 }).probabilities[2], scores[7][2]:item(), 1e-6)
    assert.error_matches(function() one:predict(image, { views = 3 }) end, "views is 3, wanted 1 or 4 or 8")
  end)

  it("has a loss that is a number where all views, or all of an ensemble, are quite sure of what is wrong", function()
    local sure = model(6)
    tr.no_grad(function() sure[4].weight:copy_from(sure[4].weight * 1e4) end)
    local one = classifier(6, { model = sure })
    local both = tr.Ensemble { one, one }
    for _, result in ipairs { one:evaluate(set), one:evaluate(set, { views = 8 }), both:evaluate(set) } do
      assert.is_true(result.loss > 20 and result.loss < math.huge)
      assert.is_true(result.scores:min():item() == 0)
    end
  end)

  it("takes as many views as its operating point was chosen with", function()
    local one, image = classifier(3), set:get(7)
    local seen = one:evaluate(set, { views = 8 })
    local point = seen:operating_point { false_reject = 0.25 }
    assert.same({ 8, 8 }, { seen.views, point.views })
    assert.matches("score +mean over 8 views", tostring(point))
    assert.is_nil(one:evaluate(set):operating_point({ escape = 0.1 }).views)
    local saved = classifier(3, { operating_point = point })
    assert.near(1 - seen.scores[7][1]:item(), saved:predict(image).defect_score, 1e-6)
    assert.same(seen.scores:totable(), saved:evaluate(set).scores:totable())
    assert.same(one:evaluate(set).scores:totable(), saved:evaluate(set, { views = 1 }).scores:totable())
    point.views = 3
    assert.is_false(operating_point.fits(point, saved.classes))
  end)

  it("is given the operating point that was chosen elsewhere by its trainer, which tells it", function()
    local dir = support.folder()
    local trainer = tr.Trainer { model = model(1), epochs = 1, batch = 16, quiet = true, dir = dir, keep = "last" }
    local point = classifier(1):evaluate(set, { views = 8 }):operating_point { false_reject = 0.25 }
    assert.error_matches(function() trainer:set_operating_point(point) end, "fit%(%) comes before")
    trainer:fit(set)
    assert.error_matches(function() trainer:set_operating_point { threshold = 0.5 } end, "is no operating point for")
    trainer:set_operating_point(point)
    local kept = assert(tr.load(dir .. "/best.safetensors"))
    assert.same(tostring(point), tostring(kept.operating_point))
    assert.same({ kept:evaluate(set).scores:totable() }, { trainer:evaluate(set).scores:totable() })
    trainer:set_operating_point(nil)
    assert.is_nil(assert(tr.load(dir .. "/best.safetensors")).operating_point)
    trainer:set_operating_point(point)
    trainer = tr.Trainer { model = model(1), epochs = 1, batch = 16, quiet = true, dir = dir, keep = "last",
      resume = true }
    trainer:fit(set)
    assert.same(tostring(point), tostring(trainer.best_takes.operating_point))
  end)

  it("keeps a point that it was given where its trainer's option asks for another one", function()
    local dir = support.folder()
    local function new(changes)
      local o = { model = model(1), epochs = 1, batch = 16, quiet = true, dir = dir, keep = "last", resume = true,
        operating_point = { false_reject = 0 } }
      for name, value in pairs(changes or {}) do o[name] = value end
      return tr.Trainer(o)
    end
    local trainer = new()
    trainer:fit(set, set)
    local chosen = trainer.best_takes.operating_point
    local kept = assert(tr.load(dir .. "/best.safetensors"))
    local point = kept:evaluate(set, { views = 8 }):operating_point { escape = 0 }
    assert.are_not.equal(tostring(chosen), tostring(point))
    local function check(one)
      assert.equal(tostring(point), tostring(one.best_takes.operating_point))
      assert.equal(tostring(point), tostring(tr.load(dir .. "/best.safetensors").operating_point))
    end
    trainer:set_operating_point(point)
    assert.is_nil(rawget(point, "given")) -- it is the caller's
    trainer:fit(set, set)
    check(trainer)
    trainer = new { operating_point = { escape = 0.5 } }
    trainer:fit(set, set)
    check(trainer)
    trainer.epochs = 2 -- other weights have a point of their own
    trainer:fit(set, set)
    assert.same({ escape = 0.5 }, trainer.best_takes.operating_point.rule)
    assert.is_nil(trainer.best_takes.operating_point.views)
  end)

  it("joins others in an ensemble that averages their probabilities", function()
    local a, b = classifier(4), classifier(5)
    local both, image = tr.Ensemble { a, b }, set:get(3)
    local p, q = a:predict(image).probabilities, b:predict(image).probabilities
    for c, mean in ipairs(both:predict(image).probabilities) do assert.near((p[c] + q[c]) / 2, mean, 1e-6) end
    local scores = both:evaluate(set).scores
    assert.is_true(tr.allclose(scores, (a:evaluate(set).scores + b:evaluate(set).scores) / 2))
    assert.matches("together 2 models", tostring(both))
    assert.error_matches(function() both:export_onnx "x.onnx" end, "an ensemble is not one network")
    assert.error_matches(function() tr.Ensemble { a, 3 } end, "item 2 is 3, wanted a classifier")
  end)

  it("joins none that judge other images or classes, and says which differs", function()
    local first = classifier(4)
    local function refused(other, pattern)
      assert.error_matches(function() tr.Ensemble { first, other } end, "Ensemble: item 2 " .. pattern, 1, true)
    end
    refused(classifier(1, { classes = { "good", "b", "c", "d", "e", "f" } }), "has 'b' as class 2, the first '")
    local function net_of(k, channels)
      return nn.Sequential { nn.Conv2d(channels, 4, 3), nn.GlobalAvgPool(), nn.Linear(4, k) }
    end
    local of = require("texres.classifier").new
    refused(of { model = net_of(2, 1), classes = { "good", "hole" } }, "has 2 classes, the first 6")
    local classes = first.classes
    refused(of { model = net_of(6, 1), classes = classes, input = { 16, 8, 1 } },
      "takes images {16,8,1}, the first {8,8,1}")
    refused(of { model = net_of(6, 3), classes = classes, input = { 8, 8, 3 } },
      "takes images {8,8,3}, the first {8,8,1}")
    refused(of { model = net_of(6, 1), classes = classes, input = { 8, 8, 1 }, window = { 12, 12 } },
      "takes images {8,8,1}, the middle of {12,12}, the first {8,8,1}")
    assert(tr.Ensemble { first, of { model = net_of(6, 1), classes = classes, input = { 8, 8, 1 } } })
  end)

  it("writes the point and temperature that it was given later, and is read back to the same verdicts", function()
    local net = nn.Sequential {
      nn.Conv2d(1, 4, 3, { bias = false }), nn.BatchNorm(4), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 6),
    }
    local path, first = support.folder() .. "/one.safetensors", support.folder() .. "/first.safetensors"
    net(tr.rand(8, 8, 8, 1)) -- running statistics
    assert(checkpoint.save(first, { model = net, classes = set.classes, input = { 8, 8, 1 }, extra = { epoch = 7 } }))
    local one = assert(tr.load(first))
    local function check()
      assert.is_true(one:save(path))
      local saved = assert(tr.load(path))
      assert.same(tostring(one), tostring(saved))
      assert.same({ epoch = 7 }, saved.extra)
      for i = 1, 12 do assert.same(one:predict((set:get(i))), saved:predict((set:get(i)))) end
    end
    check()
    local loss, t = one:evaluate(set).loss, one:evaluate(set):temperature()
    one:temper(t)
    assert.is_true(one:evaluate(set).loss <= loss)
    assert.near(1, one:evaluate(set):temperature(), 1e-3)
    one:set_operating_point(one:evaluate(set):operating_point { escape = 0.3, ask = 0.2 })
    check()
    assert.is_truthy(one:predict((set:get(1))).verdict)
    one:temper(2)
    assert.is_nil(one.operating_point)
    check()
    one:set_operating_point(one:evaluate(set):operating_point { escape = 0.3 })
    one:set_operating_point(nil)
    check()

    local whole = support.read_file(path)
    local ok, message = one:save(support.folder() .. "/none/one.safetensors")
    assert.is_nil(ok)
    assert.matches("none/one.safetensors", message, 1, true)
    assert.equal(whole, support.read_file(path))
    assert.error_matches(function() tr.Ensemble({ one, one }):save(path) end, "an ensemble is not one network")
    assert.error_matches(function() tr.Ensemble({ one, one }):temper(2) end, "an ensemble has no logits of its own")
    assert.error_matches(function() tr.Trainer { model = tr.Ensemble { one, one } } end,
      "Trainer: an ensemble is not one network")
    assert.error_matches(function() one:temper(0) end, "temper: the temperature is 0, wanted a finite number above 0")
    assert.error_matches(function() one:save(3) end, "save: the path is 3")
  end)
end)

-- -- comparing --------------------------------------------------------------------------------------------------------

describe("compare", function()
  --- n images of class 1, of which some are right.
  local function answers(right, groups)
    local good = {}
    for i, yes in ipairs(right) do good[i] = yes and 0.1 or 0.9 end
    return result_of(good, {}, groups)
  end

  local function pattern(n, period, offset)
    local list = {}
    for i = 1, n do list[i] = (i + offset) % period ~= 0 end
    return list
  end

  it("tells a difference that images show, with McNemar's p", function()
    local worse, better = answers(pattern(400, 4, 0)), answers(pattern(400, 20, 1))
    local c = tr.compare(worse, better)
    assert.same({ 280, 20, 100, 0 }, { c.both, c.only_first, c.only_second, c.neither })
    assert.near(0.2, c.difference, 1e-12)
    assert.is_true(c.low > 0.1 and c.high < 0.3 and c.p < 1e-12)
    assert.equal("the second is better: 400 images show it", c.verdict)
    assert.matches("a difference of %+20.0 points", tostring(c))
    assert.equal("the first is better: 400 images show it", tr.compare(better, worse).verdict)
  end)

  it("says so where there is none, and where groups are too few to show one", function()
    local a, b = answers(pattern(60, 4, 0)), answers(pattern(60, 4, 1))
    assert.equal("no difference that 60 images could show", tr.compare(a, b).verdict)
    local groups, first, second = {}, {}, {}
    for i = 1, 80 do
      groups[i] = (i - 1) // 20
      first[i], second[i] = i > 20, true -- all mistakes are of one photograph
    end
    local c = tr.compare(answers(first, groups), answers(second, groups))
    assert.is_true(c.p < 1e-4)
    assert.equal("no difference that 80 images of 4 groups could show", c.verdict)
  end)

  it("does not take a few images that point one way for a proof", function()
    local all, five = answers(pattern(12, 99, 0)), {}
    for i = 1, 12 do five[i] = i > 5 end
    local c = tr.compare(answers(five), all)
    assert.is_true(c.low > 0)
    assert.near(0.0625, c.p, 1e-12)
    assert.equal("no difference that 12 images could show", c.verdict)
  end)

  it("does not take a few photographs that point one way for a proof, however many images they have", function()
    local function both(groups, each)
      local names, first, second = {}, {}, {}
      for i = 1, groups * each do names[i], first[i], second[i] = (i - 1) // each, i % 4 > 0, true end
      return tr.compare(answers(first, names), answers(second, names))
    end
    local c = both(5, 100) -- 2 of 32 throws of five coins are all alike
    assert.near(2 / 32, c.p_groups, 1e-12)
    assert.is_true(c.low > 0 and c.p < 1e-9)
    assert.equal("no difference that 500 images of 5 groups could show", c.verdict)
    assert.matches("McNemar's test: p = %S+; by group: p = 0.0625", tostring(c))
    c = both(6, 100)
    assert.near(2 / 64, c.p_groups, 1e-12)
    assert.equal("the second is better: 600 images of 6 groups show it", c.verdict)
  end)

  it("is McNemar's test where each image is a group", function()
    local groups = spread(60, 1, 60)
    local c = tr.compare(answers(pattern(60, 4, 0), groups), answers(pattern(60, 9, 1), groups))
    assert.near(c.p, c.p_groups, 1e-12)
    assert.is_nil(tr.compare(answers(pattern(60, 4, 0)), answers(pattern(60, 9, 1))).p_groups)
  end)

  it("refuses results of other images or classes", function()
    local a = answers(pattern(10, 3, 0))
    assert.error_matches(function() tr.compare(a, answers(pattern(12, 3, 0))) end, "are of other images")
    assert.error_matches(function() tr.compare(a, result_of({ 0.1 }, spread(9, 0, 1))) end, "are of other images")
    assert.error_matches(function() tr.compare(a, 3) end, "two results of evaluate%(%) are wanted")
  end)

  it("refuses results of other images also where the labels are the same", function()
    tr.manual_seed(1)
    local function images_of_labels(images)
      return tr.data.tensors { images = images, labels = tr.tensor({ 1, 2, 1, 2, 1, 2, 1, 2 }, { dtype = "i64" }),
        classes = { "good", "hole" } }
    end
    local images = tr.rand(8, 4, 4, 1)
    local function evaluated(set, seed)
      tr.manual_seed(seed)
      local trainer = tr.Trainer { model = nn.Sequential { nn.Flatten(), nn.Linear(16, 2) }, epochs = 1, quiet = true }
      trainer:fit(images_of_labels(images))
      return trainer:evaluate(set)
    end
    local set = images_of_labels(images)
    local result = evaluated(set, 2)
    assert.equal(8, tr.compare(result, evaluated(set, 3)).images)
    assert.equal(8, tr.compare(result, evaluated(images_of_labels(images * 0.5 + 0.1), 3)).images) -- another range
    tr.manual_seed(9)
    for _, other in ipairs { set:subset { 3, 4, 5, 6, 7, 8, 1, 2 }, images_of_labels(tr.rand(8, 4, 4, 1)) } do
      local second = evaluated(other, 3)
      assert.error_matches(function() tr.compare(result, second) end, "of other images, or in another order")
    end
  end)
end)

describe("metrics.join", function()
  it("puts the images of several results behind each other", function()
    local a, b = result_of({ 0.1, 0.7 }, { 0.8 }, { "x", "x", "y" }), result_of({ 0.2 }, { 0.3 }, { "z", "z" })
    local joined = metrics.join { a, b }
    assert.equal(5, joined.images)
    assert.near(3 / 5, joined.accuracy, 1e-12)
    assert.same({ { 2, 1 }, { 1, 1 } }, joined.confusion:totable())
    assert.same({ 1, 1, 2, 1, 2 }, joined.labels:totable())
    assert.same({ "x", "x", "y", "z", "z" }, joined.groups)
    assert.near(0.3, joined.scores[5][2]:item(), 1e-6)
    assert.error_matches(function() metrics.join {} end, "there are no results")
  end)
end)
