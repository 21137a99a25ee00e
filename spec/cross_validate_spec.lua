--- Cross-validation: every image is held out once, for each seed; it goes on where it was stopped; its page.
local tr = require "texres"
local support = require "spec.support"

local nn = tr.nn

local set = tr.data.fabric { count = 96, size = 8, seed = 1, sources = 8 }

local trained
local function options(changes)
  local o = { set = set, folds = 4, group = "source", seeds = { 1, 2 }, quiet = true, trainer = function(fold)
    trained[#trained + 1] = #fold.train
    return { model = nn.Sequential { nn.Flatten(), nn.Linear(64, 6) }, epochs = 2, batch = 16 }
  end }
  for name, value in pairs(changes or {}) do o[name] = value end
  return o
end

before_each(function() trained = {} end)

describe("cross_validate", function()
  it("tests every image once for each seed, by a network that knows nothing of its group", function()
    local cv = tr.cross_validate(options())
    assert.equal(8, #trained)
    assert.equal(192, cv.pooled.images)
    for s = 1, 2 do
      assert.equal(96, cv.by_seed[s].images)
      local seen = {}
      for _, result in ipairs(cv.results[s]) do
        local here = {}
        for _, group in ipairs(result.groups) do here[group] = true end
        for group in pairs(here) do
          assert.is_nil(seen[group])
          seen[group] = true
        end
      end
    end
    local a, b = cv.by_seed[1].accuracy, cv.by_seed[2].accuracy
    assert.near((a + b) / 2, cv.accuracy, 1e-12)
    assert.near(math.abs(a - b) / math.sqrt(2), cv.spread, 1e-12)
    assert.is_true(cv.low <= cv.pooled.accuracy and cv.pooled.accuracy <= cv.high)
    assert.equal(8, select(3, cv.pooled:interval "accuracy"))
    assert.matches("fold  seed 1  seed 2", tostring(cv))
    assert.matches("spread between seeds", tostring(cv))
    assert.same(cv.by_seed[1].scores:totable(), tr.cross_validate(options()).by_seed[1].scores:totable())
  end)

  it("refuses what would make its figures too good", function()
    local model = nn.Sequential { nn.Flatten(), nn.Linear(64, 6) }
    local body = nn.Sequential { nn.Flatten(), nn.BatchNorm(64) }
    for _, make in ipairs {
      function() return model end, function() return nn.Sequential { body, nn.Linear(64, 6) } end,
    } do
      assert.error_matches(function()
        tr.cross_validate(options { trainer = function() return { model = make(), epochs = 1 } end })
      end, "the same model, or a part of it, for two folds")
    end
    body = nn.Sequential { nn.Flatten(), nn.Linear(64, 8) }:freeze() -- what does not learn may be shared
    tr.cross_validate(options { seeds = { 1 }, trainer = function()
      return { model = nn.Sequential { body, nn.Linear(8, 6) }, epochs = 1 }
    end })
    assert.error_matches(function() tr.cross_validate(options { seeds = { 3, 1, 3 } }) end, "seeds has 3 twice")
    local single = set:filter(function(_, row) return row.source == set.meta.source[1] end)
    assert.error_matches(function() tr.cross_validate(options { set = single, folds = "groups" }) end,
      "a single group in column 'source'")
  end)

  it("says where a fold has no image of a class to learn from", function()
    local warn, said = tr.warn, {}
    tr.warn = function(text) said[#said + 1] = text end
    tr.cross_validate(options { folds = "groups", seeds = { 1 }, set = set:filter(function(label, row)
      return label ~= 4 or row.source == set.meta.source[1]
    end) })
    tr.warn = warn
    assert.same({ "cross_validate: seed 1, fold 1 of 8: the training part has no image of " .. set.classes[4]
      .. ", the test has some" }, said)
  end)

  it("says whether its limits are over groups or images", function()
    local grouped = tr.cross_validate(options { seeds = { 1 } })
    assert.is_nil(tostring(grouped):find "spread") -- one seed has none
    assert.same({ 8, "groups" }, { grouped.units, grouped.kind })
    assert.matches("(95 %, over groups)", tostring(grouped), 1, true)
    local alone = tr.cross_validate(options { group = false, seeds = { 1 } })
    assert.same({ 96, "images" }, { alone.units, alone.kind })
    assert.matches("(95 %, over images)", tostring(alone), 1, true)
  end)

  it("takes an image that is tested once for each seed for one image", function()
    tr.manual_seed(1)
    local plain = tr.data.tensors { images = tr.randn(40, 8, 8, 1), classes = { "a", "b", "c", "d", "e", "f" },
      labels = tr.randint(1, 6, { 40 }) }
    local cv = tr.cross_validate { set = plain, folds = 2, seeds = { 1, 2, 3 }, quiet = true,
      trainer = options().trainer }
    assert.equal(120, cv.pooled.images)
    assert.equal(40, select(3, cv.pooled:interval "accuracy"))
    assert.matches("over images", tostring(cv))
  end)

  it("chooses an operating point on the pooled scores, with the limits of one seed, and says so", function()
    local dir = support.folder()
    local cv = tr.cross_validate(options { operating_point = { escape = 0.1 }, dir = dir })
    local point, of_pooled = cv.operating_point, cv.pooled:operating_point { escape = 0.1 }
    assert.equal(of_pooled.threshold, point.threshold)
    assert.near(of_pooled.escape.value, point.escape.value, 1e-12)
    local goods = cv.by_seed[1].confusion[1]:sum():item()
    assert.same({ good = goods, defect = 96 - goods }, point.images)
    local low, high = 0, 0
    for _, result in ipairs(cv.by_seed) do
      local escape = result:at_operating_point(point).escape
      low, high = low + escape.low / 2, high + escape.high / 2
    end
    assert.near(low, point.escape.low, 1e-12)
    assert.near(high, point.escape.high, 1e-12)
    for _, text in ipairs { tostring(cv), support.read_file(dir .. "/report.html") } do
      assert.matches("operating point: reject from a defect score of", text, 1, true)
      assert.matches("chosen on pooled scores of several networks", text, 1, true)
    end
    assert.matches("the operating point of the pooled scores of all networks, chosen on " .. goods .. " good",
      support.read_file(dir .. "/report.html"), 1, true)
    assert.is_nil(tr.cross_validate(options { dir = dir }).operating_point) -- of the same folds
    local other, before = { escape = 0.1, good = "fine" }, #trained
    assert.error_matches(function() tr.cross_validate(options { operating_point = other }) end,
      "cross_validate: operating_point: of the images 0 are of the class 'fine' and 96 of others", 1, true)
    assert.error_matches(function() tr.cross_validate(options { operating_point = {} }) end, "say one of false_reject")
    assert.equal(before, #trained)
  end)

  it("does not take figures of another length, rate or epoch for its own", function()
    local dir = support.folder()
    local function run(changes)
      return tr.cross_validate(options { dir = dir, seeds = { 1 }, trainer = function()
        local o = { model = nn.Sequential { nn.Flatten(), nn.Linear(64, 6) }, epochs = 2, batch = 16 }
        for name, value in pairs(changes) do o[name] = value end
        return o
      end })
    end
    run {}
    assert.error_matches(function() run { epochs = 3 } end, "epochs: 2 %-> 3")
    local faster = { "adamw", lr = 0.5, weight_decay = 1e-4 }
    assert.error_matches(function() run { optimizer = faster } end, "lr: 0.001 %-> 0.5")
    assert.error_matches(function() run { patience = 1 } end, "patience: none %-> 1")
    os.remove(dir .. "/seed-1-fold-02/result.safetensors") -- as one that was stopped on its way
    assert.error_matches(function() run { epochs = 3 } end, "epochs: 2 %-> 3")
    assert.equal(96, run({}).pooled.images)
  end)

  it("keeps over how many views its operating point was chosen, and shows it with pictures", function()
    local dir = support.folder()
    local cv = tr.cross_validate(options { dir = dir, views = 4, operating_point = { false_reject = 0.25 } })
    local point = cv.operating_point
    assert.same({ 4, 8 }, { point.views, point.groups })
    assert.matches("operating point: reject from .* mean over 4 views", tostring(cv))
    local again = tr.cross_validate(options { dir = dir, views = 4, operating_point = { false_reject = 0.25 } })
    assert.same(point, again.operating_point) -- of results that were read
    local page = support.read_file(dir .. "/report.html")
    for _, text in ipairs { "These images also chose the operating point", "Spread between seeds",
      "to reject at most 25 % of the good pieces", "Defects that pass, the surest first" } do
      assert.is_truthy(page:find(text, 1, true), text)
    end
    -- pictures bear the numbers of the set
    for truth, place in page:gmatch "<li><img.-<bdi>([%w ]+)</bdi></b>.-<br>image (%d+) of" do
      assert.equal(truth, (set.classes[set.label[math.tointeger(place)]]:gsub("_", " ")))
    end
    assert.is_nil(support.exists(dir .. "/.image.png") or nil)
  end)

  it("tells how far it is, fold by fold", function()
    local terminal, lines = require "texres.terminal", {}
    local Progress = terminal.Progress
    terminal.Progress = function()
      return { show = function(_, state) lines[#lines + 1] = ("%s %s %.2f"):format(state[1], state[2], state.share) end,
        done = function(_, text) lines[#lines + 1] = text end }
    end
    finally(function() terminal.Progress = Progress end)
    tr.cross_validate(options { quiet = false, seeds = { 1 }, folds = 2 })
    assert.matches("^seed 1, fold 1 of 2 epoch 1/2 0%.%d%d$", lines[1])
    assert.matches("^seed 1, fold 2 of 2: accuracy", lines[#lines])
    assert.matches("^seed 1, fold 2 of 2 epoch 2/2 1.00$", lines[#lines - 1])
  end)

  it("leaves each group out in turn", function()
    local cv = tr.cross_validate(options { folds = "groups", seeds = { 3 } })
    assert.equal(8, cv.folds)
    assert.equal(8, #trained)
  end)

  it("goes on where it was stopped, and refuses to mix with another one", function()
    local dir = support.folder()
    local whole = tr.cross_validate(options { dir = dir })
    assert.is_truthy(support.read_file(dir .. "/report.html"):find("Cross-validation", 1, true))
    os.remove(dir .. "/seed-2-fold-03/result.safetensors")
    os.remove(dir .. "/seed-2-fold-03/last.safetensors")
    os.remove(dir .. "/seed-2-fold-03/best.safetensors")
    local again = tr.cross_validate(options { dir = dir })
    assert.same(whole.pooled.scores:totable(), again.pooled.scores:totable())
    assert.near(whole.pooled.loss, again.pooled.loss, 1e-12)
    assert.equal(whole.accuracy, again.accuracy)
    assert.error_matches(function() tr.cross_validate(options { dir = dir, views = 8 }) end,
      "is of another cross%-validation.*test: .*views 1 %-> .*views 8")
    assert.error_matches(function()
      tr.cross_validate(options { dir = dir, trainer = function()
        return { model = nn.Sequential { nn.Flatten(), nn.Linear(64, 6) }, epochs = 2, batch = 8 }
      end })
    end, "batch: 16 %-> 8")
  end)

  it("says what is wrong with its options", function()
    local function raises(pattern, changes)
      assert.error_matches(function() tr.cross_validate(options(changes)) end, pattern)
    end
    raises("set is 3, wanted a data set", { set = 3 })
    raises("trainer is 3, wanted a function", { trainer = 3 })
    raises("seeds is a table, wanted a list", { seeds = {} })
    raises("trainer gave 7, wanted the options", { trainer = function() return 7 end })
    raises("unknown option 'fold'", { fold = 3 })
    assert.equal(0, #trained) -- before the first fold
  end)
end)
