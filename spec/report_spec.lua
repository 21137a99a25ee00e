--- The report: one file that holds what it is about, fetches nothing, and survives odd names and numbers.
local tr = require "texres"
local metrics = require "texres.metrics"
local report = require "texres.report"
local support = require "spec.support"

local function result_of(classes)
  local counter = metrics.Counter(classes)
  counter:add(tr.tensor { { 2, 1 }, { 0, 1 }, { 3, 1 } }, tr.tensor({ 1, 2, 2 }, { dtype = "i64" }), 0.25)
  return counter:result()
end

local function run_of(changes)
  local run = {
    title = "cloth", date = "2026-01-01 12:00", best = 2, parameters = 1234, summary = "conv1 {1,64,64,1}",
    history = {
      { epoch = 1, lr = 1e-3, loss = 1.5, accuracy = 0.4, val_loss = 1.25, val_accuracy = 0.5, seconds = 61,
        images_per_second = 100 },
      { epoch = 2, lr = 5e-4, loss = 0.5, accuracy = 0.8, val_loss = 0.75, val_accuracy = 0.7, seconds = 59,
        images_per_second = 102 },
    },
    results = { { name = "Validation", note = "epoch 2", result = result_of { "good", "hole" } } },
    configuration = { { "epochs", 2 } }, environment = { { "processor", "one" } },
  }
  for key, value in pairs(changes or {}) do run[key] = value end
  return run
end

--- A result of 60 images of six classes; those of the first one, and every seventh, are taken for it.
local function result_of_six(names)
  local rows, labels = {}, {}
  for i = 1, 60 do
    rows[i], labels[i] = {}, i % 6 + 1
    for c = 1, 6 do rows[i][c] = c == (i % 7 == 0 and 1 or labels[i]) and 0.75 or 0.05 end
  end
  local counter, p, truth = metrics.Counter(names), tr.tensor(rows), tr.tensor(labels, { dtype = "i64" })
  counter:add(p:log(), truth, 1)
  local result = counter:result()
  result.scores, result.labels = p, truth
  return result
end

--- Raises when tags don't close in the order in which they opened.
local function check_nesting(html)
  local open = {}
  local void = { meta = true, ["!DOCTYPE"] = true }
  for slash, name, rest in html:gsub("<style>.-</style>", ""):gmatch "<(/?)([%w!]+)([^>]*)>" do
    if slash == "/" then
      assert.equal(name, table.remove(open))
    elseif not void[name] and rest:sub(-1) ~= "/" then
      open[#open + 1] = name
    end
  end
  assert.same({}, open)
end

describe("report", function()
  it("lists what is confused most often where classes are too many for a matrix, in the text, too", function()
    local names, labels, logits = {}, {}, {}
    for i = 1, 101 do
      local c = i == 101 and 2 or i
      names[c], labels[i] = ("c%03d"):format(c), c
      logits[i] = {}
      for k = 1, 100 do logits[i][k] = k == (c < 4 and 9 or c) and 1 or 0 end
    end
    local counter = tr.metrics.Counter(names)
    counter:add(tr.tensor(logits), tr.tensor(labels, { dtype = "i64" }))
    local result = counter:result()
    local html = require "texres.report.tables".confusion(result)
    assert.is_true(#html < 2000)
    assert.matches("<td>c002</td><td>c009</td><td>2</td>.*<td>c001</td><td>c009</td><td>1</td>", html)
    assert.matches("2 c002 +9 c009 +2\n +1 c001 +9 c009 +1\n", tostring(result) .. "\n")
  end)

  it("shows accuracy, curves, confusion matrix, classes, configuration and layers", function()
    local html = report.html(run_of())
    check_nesting(html)
    for _, text in ipairs { "cloth: training report", "66.7 %", "Epochs (best: 2)", "2 min 00 s", "Confusion matrix",
      "hole taken for good", "conv1 {1,64,64,1}", "1234" } do
      assert.is_truthy(html:find(text, 1, true), text)
    end
    assert.equal(4, select(2, html:gsub('<svg [^>]*role="img" aria%-label="[^"]+"', "")))
    assert.is_truthy(html:find("Loss over the epochs: training ends at 0.5, validation ends at 0.75", 1, true))
  end)

  it("tells every option that runs may differ in, so that a page of several runs shows it", function()
    local set = tr.data.fabric { count = 24, size = 16, seed = 1 }
    local function rows_of(changes)
      local o = { model = tr.models.textile { width = 2 }, epochs = 1, batch = 8, dir = support.folder(), quiet = true }
      for name, value in pairs(changes) do o[name] = value end
      tr.Trainer(o):fit(set)
      return support.read_file(o.dir .. "/run.json"):match '"configuration":(%b[])'
    end
    local plain = rows_of {}
    assert.is_truthy(plain:find("weight_decay = 0.0001 and 0", 1, true))
    for name, changes in pairs {
      keep = { keep = "last" }, patience = { patience = 1 }, accumulate = { accumulate = 2 }, ema = { ema = 0.9 },
      balanced = { balanced = true }, weights = { weights = { 1, 1, 1, 1, 1, 2 } }, batch = { batch = 4 },
      seed = { seed = 2 }, loss = { loss = "focal_loss" }, augment = { augment = { "flip" } },
      clip = { clip_grad_norm = 1 }, decay = { optimizer = { "adamw", lr = 1e-3, weight_decay = 1e-4, decay = "all" } },
      schedule = { schedule = "one_cycle" },
    } do
      assert.are_not.equal(plain, rows_of(changes), name)
    end
  end)

  it("tells the speed of the whole training, which images have no prediction, and of what the mean is", function()
    local run = run_of()
    run.history[1].seconds, run.history[1].images_per_second = 30, 100
    run.history[2].seconds, run.history[2].images_per_second = 10, 500
    local counter = metrics.Counter { "good", "hole", "never" }
    counter:add(tr.tensor { { 2, 1, 0 }, { 0, 0 / 0, 0 } }, tr.tensor({ 1, 2 }, { dtype = "i64" }), 0.5)
    run.results[1].result = counter:result()
    local html = report.html(run)
    assert.matches("<dt>Images/s in training</dt><dd>200</dd>", html, 1, true)
    assert.matches("1 of the images have no prediction", html, 1, true)
    assert.matches("mean of the classes that occur", html, 1, true)
    assert.is_nil(report.html(run_of()):find "no prediction")
  end)

  it("says while it is live that the training is under way", function()
    assert.is_truthy(report.html(run_of { live = 5 }):find("this page loads itself again every 5 s", 1, true))
    assert.is_nil(report.html(run_of()):find("under way", 1, true))
  end)

  it("fetches nothing and runs nothing", function()
    local html = report.html(run_of())
    for _, text in ipairs { "http://", "https://", "<script", "<link", "@import", "url(", " src=" } do
      assert.is_nil(html:find(text, 1, true), text)
    end
  end)

  it("escapes names", function()
    local html = report.html(run_of {
      title = '<b>"x" & y</b>', results = { { name = "T", result = result_of { "<good>", "a&b" } } },
    })
    check_nesting(html)
    assert.is_nil(html:find("<b>", 1, true))
    assert.is_truthy(html:find("&lt;b&gt;&quot;x&quot; &amp; y", 1, true))
    assert.is_truthy(html:find("a&amp;b", 1, true))
  end)

  it("stands a history that is empty, has one epoch, no validation, equal or not finite numbers", function()
    check_nesting(report.html(run_of { history = {}, results = {}, best = nil }))
    local html = report.html(run_of {
      best = 1, results = {},
      history = { { epoch = 1, lr = 0, loss = 0 / 0, accuracy = 0.5, seconds = 1, images_per_second = math.huge } },
    })
    check_nesting(html)
    assert.is_nil(html:find "[^%a]nan[^%a]")
    assert.is_nil(html:find "[^%a]inf[^%a]")
  end)

  it("is written whole, and says why it could not be", function()
    local path = support.folder() .. "/report.html"
    assert.is_true(report.write(path, run_of()))
    assert.equal(report.html(run_of()), support.read_file(path))
    local ok, message = report.write("/nowhere/at/all.html", run_of())
    assert.is_nil(ok)
    assert.matches("/nowhere/at/all.html", message)
  end)

  it("lets no byte of a name steer a browser or a terminal", function()
    local bad = "<b>\27[31m\n\194\155x"
    local counter = require("texres.metrics").Counter { bad, "good" }
    counter:add(tr.tensor { { 1, 0 }, { 0, 1 } }, tr.tensor({ 1, 2 }, { dtype = "i64" }), 1)
    local set = tr.data.tensors { images = tr.rand(2, 2, 2), labels = { 1, 2 }, classes = { bad, "good" } }
    local _, message = pcall(set.concat, set, set:with_labels({ 1, 1 }, { "\27[2J" }))
    local texts = { tostring(counter:result()), set:describe(), message }
    for _, text in ipairs(texts) do assert.is_nil(text:find "[\27\155]") end
    assert.truthy(texts[1]:find("<b>\\x1b[31m\\x0a\\xc2\\x9bx", 1, true))
    local path = support.folder() .. "/report.html"
    assert(require("texres.report").write(path, {
      title = bad, history = {}, results = { { name = bad, result = counter:result() } }, configuration = {},
      environment = {}, summary = bad, parameters = 1,
    }))
    local html = support.read_file(path)
    assert.is_nil(html:find "[\27\155]")
    assert.is_nil(html:find "<b>")
  end)

  it("lets no name turn the direction of text, in a page, a terminal or a message", function()
    local plain = require "texres.plain"
    for code = 0x200B, 0x206F do
      local name = ("a%sb"):format(utf8.char(code))
      local turns = code == 0x200E or code == 0x200F or code >= 0x2028 and code <= 0x202E
        or code >= 0x2066 and code <= 0x2069
      local shown = turns and ("a\\xe2\\x%02x\\x%02xb"):format(name:byte(3, 4)) or name
      assert.equal(shown, plain.visible(name))
      assert.equal(shown, plain.visible_name(name))
      assert.equal(shown, require("texres.report.html").escape(name))
      assert.equal(("load_image: %s: No such file or directory"):format(shown), select(2, tr.load_image(name)))
    end
    assert.equal("\\xd8\\x9c\\x00\n\t\\xc2\\x80é\xE2", plain.visible "\u{61C}\0\n\t\u{80}é\xE2")
    local set = tr.data.tensors { images = tr.rand(2, 2, 2), labels = { 1, 2 }, classes = { "\u{202E}gnp", "good" } }
    assert.matches("\\xe2\\x80\\xaegnp", set:describe(), 1, true)
    local _, message = pcall(set.relabel, set, { ["\u{2067}"] = "x" })
    assert.matches("there is no class '\\xe2\\x81\\xa7'; the set has \\xe2\\x80\\xaegnp", message, 1, true)
  end)

  it("lets no name turn the numbers beside it round, or push them out of the page", function()
    local names = { "good", "ab\u{202E}gnp", "عيب", ("n"):rep(200), ("ع"):rep(200), ("\255"):rep(200) }
    local result = result_of_six(names)
    local page, text = report.html(run_of { results = { { name = "T", result = result } } }), tostring(result)
    check_nesting(page)
    for _, shown in ipairs { page, text } do
      assert.is_nil(shown:find "\u{202E}")
      assert.is_truthy(shown:find("ab\\xe2\\x80\\xaegnp", 1, true))
      assert.is_truthy(shown:find(("n"):rep(25) .. "..." .. ("n"):rep(12), 1, true))
      assert.is_truthy(shown:find(("ع"):rep(25) .. "..." .. ("ع"):rep(12), 1, true))
      assert.is_nil(shown:find(("n"):rep(26), 1, true))
    end
    assert.is_truthy(page:find("<bdi>عيب</bdi> %d+%.%d %%"))
    for line in text:gmatch "[^\n]+" do assert.is_true((utf8.len(line) or #line) < 90, line) end
  end)

  it("lets none in the messages that Lua returns do so", function()
    local bad, path = "\27[31m", support.folder()
    local safetensors = require "texres.safetensors"
    assert(safetensors.save(path .. "/bad.safetensors", { [bad] = tr.ones(1) }))
    support.write_file(path .. "/" .. bad .. ".csv", "a,a\n1,2\n")
    support.write_file(path .. "/t.csv", bad .. ",b\n1,2\n")
    local set = tr.data.tensors { images = tr.rand(1, 2, 2), labels = { 1 }, classes = { bad } }
    support.write_file(path .. "/split.json", '{"' .. bad .. '"')
    for name, answer in pairs {
      csv = table.pack(tr.data.csv { file = path .. "/" .. bad .. ".csv" }),
      columns = table.pack(tr.data.csv { file = path .. "/t.csv" }),
      folder = table.pack(tr.data.folder { path = path .. "/" .. bad }),
      open = table.pack(tr.data.open(path .. "/" .. bad)),
      labels = table.pack(tr.data.tensors { images = tr.rand(1, 2, 2), labels = bad }),
      module = table.pack(tr.nn.Linear(1, 1):load(path .. "/bad.safetensors")),
      checkpoint = table.pack(require("texres.checkpoint").load(path .. "/" .. bad)),
      split = table.pack(set:load_split(path .. "/" .. bad)),
    } do
      assert.is_nil(answer[1], name)
      assert.is_nil(answer[2]:find "\27", name)
      assert.is_truthy(answer[2]:find("\\x1b[31m", 1, true), name .. ": " .. answer[2])
    end
  end)

  it("lets none in the messages of the core do so", function()
    local core, name = require "texres.core", "\27[31m\194\155x\127\u{202E}\u{2066}\u{2028}"
    local shown = "\\x1b[31m\\xc2\\x9bx\\x7f\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xe2\\x80\\xa8"
    for _, call in ipairs {
      function() return core.load_image(name) end, function() return core.read_csv(name) end,
      function() return core.load_npz("spec/fixtures/data/stored.npz", name) end,
      function() return core.process.lock("/nonexistent/" .. name) end,
      function() return core.process.make_folder("/proc/" .. name) end,
      function() return tr.load(name) end, function() return tr.zeros(2, { [name] = 1 }) end,
      function() return tr.zeros(2, { dtype = name }) end, function() return core.augment { name } end,
    } do
      local ok, value, message = pcall(call)
      message = ok and message or value
      assert.is_truthy(message:find(shown, 1, true), message)
      assert.is_nil(message:find "[\27\155\127]")
    end
    local long = ("long/"):rep(800) .. "x\27.npy"
    for _, message in ipairs { select(2, core.load_npy(long)), select(2, pcall(core.zeros, 2, { [long] = 1 })) } do
      assert.is_truthy(#message < 1100 and message:find "x\\x1b%.npy", message)
      assert.is_truthy(message:find "No such file" or message:find "; there are", message)
    end
    assert.equal("load_image: é\tü\n: No such file or directory", select(2, core.load_image "é\tü\n"))
  end)
end)

-- -- what an engineer asks --------------------------------------------------------------------------------------------

--- A result of three classes from {truth, p(good), p(hole), p(oil)} rows, in groups of two.
local function scored(rows, groups)
  local p, labels, names = {}, {}, {}
  for i, row in ipairs(rows) do p[i], labels[i], names[i] = { row[2], row[3], row[4] }, row[1], (i - 1) // 2 end
  local counter, scores = metrics.Counter { "good", "hole", "oil" }, tr.tensor(p)
  local truth = tr.tensor(labels, { dtype = "i64" })
  counter:add(scores:log(), truth, 1)
  local result = counter:result()
  result.scores, result.labels, result.groups = scores, truth, groups and names or nil
  return result
end

local ROWS = {
  { 1, 0.9, 0.1, 0 }, { 1, 0.8, 0.1, 0.1 }, { 1, 0.3, 0.6, 0.1 }, { 1, 0.7, 0.2, 0.1 }, { 2, 0.1, 0.8, 0.1 },
  { 2, 0.6, 0.3, 0.1 }, { 3, 0.2, 0.1, 0.7 }, { 3, 0.1, 0.6, 0.3 },
}

describe("the first screen of a report", function()
  local answers = require "texres.report.answers"

  it("tells defects that pass, good pieces that are rejected, and which kind is missed", function()
    local run = run_of { results = { { name = "Test", result = scored(ROWS, true) } } }
    local a = answers.of(run)
    assert.same({ 1, 4, 0.25 }, { a.pass.hits, a.pass.images, a.pass.value })
    assert.same({ 1, 4, 0.25 }, { a.reject.hits, a.reject.images, a.reject.value })
    assert.same({ "hole", 0.5, "oil", 0 }, { a.kinds[1].name, a.kinds[1].value, a.kinds[2].name, a.kinds[2].value })
    assert.equal(4, a.groups)
    local page = report.html(run)
    check_nesting(page)
    for _, text in ipairs { "Defects that pass", "25.0 %", "1 of 4 counted", "hole", "of 4 groups",
      "ROC, defect against", "Calibration", "Defect scores" } do
      assert.is_truthy(page:find(text, 1, true), text)
    end
  end)

  it("tells how well defects are found by how much of the image they cover, of a set with masks", function()
    local set = tr.data.fabric { count = 60, size = 32, seed = 1, masks = true }
    local result = metrics.of_scores(tr.rand(60, 6):softmax(2), set, 1)
    local page = report.html(run_of { results = { { name = "Test", result = result } } })
    check_nesting(page)
    assert.is_truthy(page:find("by how much of the image they cover", 1, true))
    for _, row in ipairs(result:by_cover()) do
      local shown = ("%g to %g&nbsp;%%</th><td>%.1f"):format(100 * row.low, 100 * row.high, 100 * row.found.value)
      assert.is_truthy(page:find(shown, 1, true), shown)
    end
  end)

  it("has limits over groups, with an operating point or without one", function()
    local rows, groups = {}, {}
    for i = 1, 80 do
      local rejected = i <= 8 -- all of one photograph
      rows[i], groups[i] = { 1, rejected and 0.2 or 0.9, rejected and 0.8 or 0.1, 0 }, "photograph " .. (i - 1) // 8
      rows[80 + i], groups[80 + i] = { 2, 0.1, 0.9, 0 }, "photograph " .. 10 + (i - 1) // 8
    end
    local result = scored(rows)
    local by_image = answers.of(run_of { results = { { name = "Test", result = result } } }).reject
    result.groups = groups
    local by_group = answers.of(run_of { results = { { name = "Test", result = result } } }).reject
    assert.same({ 8, 80, 10 }, { by_group.hits, by_group.images, by_group.groups })
    assert.equal(by_image.value, by_group.value)
    assert.is_true(by_group.high > by_image.high + 0.05)
  end)

  it("knows of groups in its limits, with and without an operating point", function()
    local result = scored(ROWS, true)
    result.groups = { "a", "b", "b", "b", "a", "b", "a", "b" }
    local alone = answers.of(run_of { results = { { name = "T", result = scored(ROWS) } } })
    local a = answers.of(run_of { results = { { name = "T", result = result } } })
    assert.equal(alone.pass.value, a.pass.value)
    assert.is_true(a.pass.low < alone.pass.low and alone.pass.high < a.pass.high)
    local point = result:operating_point { cost = {} }
    local at = result:at_operating_point(point)
    a = answers.of(run_of { results = { { name = "T", result = result } }, operating_point = point })
    for _, limit in ipairs { "low", "high" } do
      assert.near(at.escape[limit], a.pass[limit], 1e-9)
      assert.near(at.false_reject[limit], a.reject[limit], 1e-9)
    end
  end)

  it("has limits of the accuracy that are no narrower than so many images allow, however alike groups are", function()
    local result = scored(ROWS) -- 5 of 8 are right
    result.groups = { "a", "b", "a", "a", "a", "a", "b", "b" } -- 3 of 5, 2 of 3
    local low, high, units, kind = result:limits()
    local exact = table.pack(require("texres.metrics.binomial").interval(5, 8))
    assert.same({ 5 / 8, 2, "groups" }, { result.accuracy, units, kind })
    assert.is_true(low <= exact[1] and high >= exact[2])
    result.groups = nil
    assert.same({ exact[1], exact[2], 8, "images" }, { result:limits() })
    result.groups = { "a", "a", "a", "a", "a", "a", "a", "a" }
    assert.is_nil(result:limits())
  end)

  it("is sure of nothing where the images are of one group, and says where groups are few", function()
    local result = scored(ROWS)
    result.groups = { "a", "b", "a", "b", "c", "c", "d", "d" } -- each kind of defect stands on one photograph
    local run = run_of { results = { { name = "Test", result = result } } }
    local kind = answers.of(run).kinds[1]
    assert.same({ "hole", 1, 0, 1 }, { kind.name, kind.groups, kind.low, kind.high })
    local page = report.html(run)
    assert.is_truthy(page:find("50.0 % pass (1 of 2, all of one group)", 1, true))
    assert.is_truthy(page:find("4 groups are few", 1, true))
    assert.equal(2, select(2, page:gsub("<small>of one group</small>", ""))) -- not "50 to 50" in the table of classes
    assert.is_truthy(page:find("75.0 %% <small>%d+ to %d+</small>"))
    result.groups = { "a", "a", "a", "a", "c", "c", "d", "d" }
    page = report.html(run)
    assert.is_truthy(page:find("1 of 4 counted, all of one group: of another one they tell nothing", 1, true))
    local point = result:operating_point { false_reject = 0.1 }
    assert.same({ 0, 1 }, { point.false_reject.low, point.false_reject.high })
    assert.is_truthy(point.warning:find("4 good images of 1 group cannot promise", 1, true))
  end)

  it("tells what an operating point that was chosen elsewhere cost there, where nothing was tested", function()
    local point = scored(ROWS, true):operating_point { false_reject = 0.25 }
    local page = report.html(run_of { results = {}, operating_point = point })
    check_nesting(page)
    for _, text in ipairs { "No other images were tested", "1 of 4 counted", "at most 25 % of the good pieces",
      ("<strong>%.1f %%</strong>"):format(100 * point.escape.value) } do
      assert.is_truthy(page:find(text, 1, true), text)
    end
    assert.is_nil(report.html(run_of { results = {} }):find("At the line", 1, true))
  end)

  it("says where the views are others than those that the operating point was chosen with", function()
    local result = scored(ROWS)
    local point = result:operating_point { false_reject = 0.25 }
    local function page()
      return report.html(run_of { results = { { name = "Test", result = result } }, operating_point = point })
    end
    assert.is_nil(page():find("views", 1, true))
    result.views = 8
    assert.is_truthy(page():find("means over 8 views of an image here, the point was chosen with 1", 1, true))
  end)

  it("says what the operating point was asked for", function()
    local result = scored(ROWS)
    for text, rule in pairs { ["to reject at most 30 % of the good pieces."] = { false_reject = 0.3 },
      ["to let at most 12.5 % of the defects pass."] = { escape = 0.125 }, ["to cost least."] = { cost = {} } } do
      local page = report.html(run_of { results = { { name = "Test", result = result } },
        operating_point = result:operating_point(rule) })
      assert.is_truthy(page:find("chosen on 4 good images and 4 defects " .. text, 1, true), text)
    end
  end)

  it("decides by the operating point, and says its warning", function()
    local result = scored(ROWS)
    local point = result:operating_point { escape = 0 }
    local a = answers.of(run_of { results = { { name = "Test", result = result } }, operating_point = point })
    assert.equal(0, a.pass.hits)
    assert.equal(point.false_reject.value, a.reject.value)
    local page = report.html(run_of { results = { { name = "Test", result = result } }, operating_point = point })
    assert.is_truthy(page:find("cannot promise a rate of escapes", 1, true))
    assert.is_truthy(page:find("operating point, chosen on 4 good images and 4 defects", 1, true))
  end)

  it("counts an image without a prediction as rejected, with groups and an operating point, too", function()
    local result = scored(ROWS, true)
    local point = result:operating_point { cost = {} }
    local rows, labels = {}, {}
    for i, row in ipairs(ROWS) do rows[i], labels[i] = { row[2], row[3], row[4] }, row[1] end
    rows[1] = { 0 / 0, 0 / 0, 0 / 0 }
    local counter, truth = metrics.Counter { "good", "hole", "oil" }, tr.tensor(labels, { dtype = "i64" })
    counter:add(tr.tensor(rows):log(), truth, 1)
    local other = metrics.keep(counter:result(), { label = labels, group = "g", meta = { g = result.groups } },
      tr.tensor(rows))
    local run = run_of { results = { { name = "Test", result = other } }, operating_point = point }
    local before = answers.of(run_of { results = { { name = "Test", result = result } }, operating_point = point })
    assert.equal(before.reject.hits + 1, answers.of(run).reject.hits)
    check_nesting(report.html(run))
  end)

  it("warns of images that something was chosen by, and of no others", function()
    local function page(changes)
      local run = { name = "Validation", result = scored(ROWS) }
      for key, value in pairs(changes) do run[key] = value end
      return report.html(run_of { results = { run } })
    end
    assert.is_nil(page({}):find("These images also", 1, true))
    assert.is_nil(page({ chose = {} }):find("These images also", 1, true))
    assert.is_truthy(page({ chose = { "the epoch", "x" } }):find("These images also chose the epoch and x:", 1, true))
    local set = tr.data.fabric { count = 48, size = 16, seed = 1 }
    local train, val = set:split { 0.5, 0.5, seed = 1, group = "source" }
    for text, changes in pairs {
      ["also chose the epoch:"] = {}, ["also chose the operating point:"] = { operating_point = { escape = 0.5 },
        keep = "last" }, [""] = { keep = "last" }, } do
      local o = { model = tr.models.textile { width = 2 }, epochs = 2, batch = 8, dir = support.folder(), quiet = true }
      for key, value in pairs(changes) do o[key] = value end
      tr.Trainer(o):fit(train, val)
      local html = support.read_file(o.dir .. "/report.html")
      assert.equal(text, html:match "also chose [%a ]+:" or "")
    end
  end)

  it("answers nothing where no class is good, or nothing is known of each image", function()
    assert.is_nil(answers.of(run_of()))
    assert.is_nil(answers.of(run_of { results = {} }))
    local counter = metrics.Counter { "a", "b" }
    assert.is_nil(answers.of(run_of { results = { { name = "T", result = counter:result() } } }))
  end)
end)

describe("pictures of a report", function()
  local gallery = require "texres.report.gallery"

  it("are base64 as RFC 4648 has it", function()
    for text, wanted in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=",
      foobar = "Zm9vYmFy", ["\255\0\254"] = "/wD+" } do
      assert.equal(wanted, gallery.base64(text))
    end
  end)

  it("are the surest mistakes, and those that were nearly some", function()
    local result = scored(ROWS)
    local decisions, scores, good = require("texres.report.answers").decisions(run_of(), result)
    local lists = gallery.telling(result, decisions, scores, good, 2)
    assert.same({ 6, of = 1 }, lists.passed)
    assert.same({ 3, of = 1 }, lists.rejected)
    assert.same({ 8, of = 1 }, lists.mistaken)
    assert.same({ 4, 7, of = 5 }, lists.doubtful)
  end)

  it("are called what they are where the set lists its classes in another order than the model", function()
    local result, labels = scored(ROWS), {}
    for i, row in ipairs(ROWS) do labels[i] = row[1] % 3 + 1 end
    local set = tr.data.tensors { images = tr.rand(8, 4, 4, 1), labels = labels, classes = { "oil", "good", "hole" } }
    local asked = {}
    local list = gallery.pictures(result, set, { 6, 8, of = 2 }, support.folder(), {
      heat = function(_, label) asked[#asked + 1] = label end, nearest = function() end,
    })
    assert.same({ "hole", "good", "oil", "hole" },
      { list[1].truth, list[1].predicted, list[2].truth, list[2].predicted })
    assert.same({ 1, 2 }, asked)
  end)

  it("are as bright whatever the range of the pixels is", function()
    local unit = tr.rand(2, 8, 8, 1)
    unit:slice(2, 1, 1):copy_from(tr.arange(0, 7, { dtype = "f32" }):reshape(1, 1, 8, 1):expand(2, 1, 8, 1) / 7)
    local function sample(images)
      local set = tr.data.tensors { images = images, labels = { 1, 2 }, classes = { "a", "b" } }
      return gallery.samples(set, support.folder(), 1)[2].images[1]
    end
    local wanted = sample(unit)
    assert.equal(wanted, sample(unit * 255))
    assert.equal(wanted, sample(unit * 4 - 2))
    assert.equal(sample((unit * 255):round() / 255), sample((unit * 255):round():to "u8"))
  end)

  it("say the score where it decided, and name no class twice", function()
    local set = tr.data.tensors { images = tr.rand(8, 4, 4), labels = { 1, 1, 1, 1, 2, 2, 3, 3 },
      classes = { "good", "hole", "oil" } }
    local result, folder = scored(ROWS), support.folder()
    local _, scores = require("texres.report.answers").decisions(run_of(), result)
    local page = gallery.html { passed = gallery.pictures(result, set, { 6, of = 1 }, folder, nil, scores),
      rejected = gallery.pictures(result, set, { 2, of = 1 }, folder, nil, scores),
      doubtful = gallery.pictures(result, set, { 7, of = 1 }, folder) }
    for _, text in ipairs { "<b><bdi>hole</bdi></b> taken for <bdi>good</bdi>, 60 %; defect score 0.40<br>",
      "<b><bdi>good</bdi></b>, 80 %; defect score 0.20<br>", "<b><bdi>oil</bdi></b>, 70 %<br>" } do
      assert.is_truthy(page:find(text, 1, true), text)
    end
  end)

  it("are there, and the page of a live run loads itself no more, after the loop was left early", function()
    local dir = support.folder()
    local set = tr.data.fabric { count = 48, size = 16, seed = 1 }
    local train, val = set:split { 0.5, 0.5, seed = 1, group = "source" }
    local trainer = tr.Trainer { model = tr.models.textile { width = 2 }, epochs = 3, batch = 8, dir = dir,
      quiet = true, live = true }
    for event in trainer:run(train, val) do
      if event.kind == "epoch" then break end
    end
    local page = support.read_file(dir .. "/report.html")
    assert.is_nil(page:find('http-equiv="refresh"', 1, true))
    assert.matches('<img alt="image %d+" src="data:image/png', page)
  end)

  it("are judged by the operating point of the weights that were tested, not by that of other ones", function()
    local dir = support.folder()
    local set = tr.data.fabric { count = 48, size = 16, seed = 1 }
    local train, val = set:split { 0.5, 0.5, seed = 1, group = "source" }
    local trainer = tr.Trainer { model = tr.models.textile { width = 2 }, epochs = 2, batch = 8, dir = dir,
      quiet = true, operating_point = { false_reject = 0.5 } }
    local function tells(text)
      trainer:evaluate(val)
      return support.read_file(dir .. "/report.html"):find(text, 1, true) ~= nil
    end
    for event in trainer:run(train, val) do
      if event.kind == "step" and event.step == 4 then break end -- in the second epoch
    end
    assert.is_true(tells "where the likeliest class is a defect")
    trainer:fit(train, val)
    assert.is_true(tells "the model's operating point")
  end)

  it("stand in the page of a real run, with the network, the data and nothing from outside", function()
    local dir = support.folder()
    local set = tr.data.fabric { count = 48, size = 16, seed = 1 }
    local train, val = set:split { 0.5, 0.5, seed = 1, group = "source" }
    tr.manual_seed(1)
    local trainer = tr.Trainer {
      model = tr.models.textile { width = 2 }, epochs = 1, batch = 8, dir = dir, quiet = true, live = true,
      operating_point = { false_reject = 0.5 }, name = "<i>run</i>",
    }
    local live = false
    for event in trainer:run(train, val) do
      if event.kind == "checkpoint" then
        live = support.read_file(dir .. "/report.html"):find('http-equiv="refresh"', 1, true) ~= nil
      end
    end
    assert.is_true(live)
    trainer:evaluate(val)
    local page = support.read_file(dir .. "/report.html")
    assert.is_nil(page:find('http-equiv="refresh"', 1, true))
    for _, text in ipairs { "first filters (conv1.conv.weight)", "what block2 makes of an image", "audit</th>",
      "0 of 24 validation images", "data:image/png;base64,", "At the line", "training</th>", "groups by 'source'",
      '<svg class="drawing"', "&lt;i&gt;run", "lua5.4" } do
      assert.is_truthy(page:find(text, 1, true), text)
    end
    for _, text in ipairs { "<script", "<link", "@import", "url(", 'src="http' } do
      assert.is_nil(page:find(text, 1, true), text)
    end
    assert.is_nil(require("texres.core").list_folder(dir)[".image.png"])
    assert.equal(2, select(2, support.read_file(dir .. "/metrics.csv"):gsub("\n", "\n")))
    local other = support.folder()
    assert.is_true(report.compare({ dir, dir }, other .. "/compare.html"))
    local compared = support.read_file(other .. "/compare.html")
    assert.is_truthy(compared:find("Accuracy with its limits", 1, true))
    local line = require("texres.json").decode(support.read_file(dir .. "/run.json")).results[1].line
    local share_text = require("texres.report.html").share
    for caption, s in pairs { ["Defects that pass"] = line.pass, ["Good pieces that are rejected"] = line.reject } do
      assert.is_truthy(compared:find("<caption>" .. caption, 1, true))
      assert.is_truthy(compared:find(share_text(s.value, s.low, s.high), 1, true))
    end
    assert.is_nil(compared:find("<i>run", 1, true))
    local ok, message = report.compare({ other }, other .. "/x.html")
    assert.is_nil(ok)
    assert.matches("run.json", message)
    local whole = support.read_file(dir .. "/run.json")
    for _, damaged in ipairs { "[1]", (whole:gsub('"history":%[', "%0 5,")), (whole:gsub('"results":%[', "%0 5,")),
      (whole:gsub('"accuracy":[%d.]+,', '"accuracy":"x",')), (whole:gsub('"configuration":%[', '%0 "x",')),
      (whole:gsub('"pass":{', '"pass":"x","a":{')) } do
      assert.are_not.equal(whole, damaged)
      support.write_file(other .. "/run.json", damaged)
      assert.matches("not what a trainer leaves there", select(2, report.compare({ other }, other .. "/x.html")))
    end
  end)
end)

--- What Chromium makes of a page at a width, in a frame (its windows are no narrower than 500 pixels): how wide the
-- page is, how many tables scroll, and a complaint. Nil where there is no Chromium.
local function widths_in_chromium(page, width, folder)
  local copy = folder .. "/copy.html"
  support.write_file(copy, ([[<title></title><iframe id="f" style="border: 0; width: %dpx" srcdoc="%s"></iframe>
<script>onload = () => { const d = f.contentDocument; document.title = d.documentElement.scrollWidth + " " +
  Array.from(d.querySelectorAll(".scroll")).filter(e => e.scrollWidth > e.clientWidth).length }</script>]]):format(
    width, (page:gsub("&", "&amp;"):gsub('"', "&quot;"))))
  local output = io.popen(("timeout 60 chromium --headless --no-sandbox --disable-gpu --enable-logging=stderr "
    .. "--window-size=1400,900 --dump-dom file://%s 2>%s/errors"):format(copy, folder)):read "a"
  local errors = support.read_file(folder .. "/errors")
  local scroll, tables = output:match "<title>(%d+) (%d+)</title>"
  return tonumber(scroll), tonumber(tables), errors:match "CONSOLE[^\n]*"
end

describe("a chart", function()
  local chart = require "texres.report.chart"
  local series = { { name = "fades", class = "one", points = { { 8, 1e-2 }, { 20, 1e-7 }, { 56, 0 } },
    band = { { 8, 1e-3, 1e-1 }, { 20, 1e-9, 1e-6 }, { 56, 0, 1e-30 } } } }

  it("has a logarithmic scale, without what has no logarithm, and bands", function()
    local figure = chart.lines { title = "g", series = series, log = true, x_ticks = { 8, 20 }, x_name = "depth" }
    check_nesting(figure)
    for _, text in ipairs { ">1e-3<", ">1e-9<", ">8<", ">20<" } do assert.is_truthy(figure:find(text, 1, true)) end
    assert.is_nil(figure:find("nan", 1, true))
    assert.is_nil(figure:find("inf", 1, true))
    local corners = select(2, figure:match('<polygon class="band%-one" points="([^"]*)"'):gsub(",", ""))
    assert.equal(4, corners)
    local first, second = figure:match 'polyline class="one" points="[%d.]+,([%d.]+) [%d.]+,([%d.]+)"'
    local high, low = figure:match '<polygon[^>]*points="[%d.]+,([%d.]+) .* [%d.]+,([%d.]+)"'
    assert.is_true(tonumber(high) < tonumber(first) and tonumber(first) < tonumber(low))
    assert.is_true(tonumber(second) > tonumber(first))
  end)

  it("shortens names that would not fit, between two characters", function()
    local name = ("Ä"):rep(30) .. "end"
    local shown = "..." .. ("Ä"):rep(8) .. "end"
    local line = { name = name, class = "one", points = { { 1, 2 }, { 2, 3 } } }
    local lines = chart.lines { title = "g", series = { line } }
    assert.is_truthy(lines:find(">" .. shown .. "<", 1, true))
    local rows = chart.intervals { title = "a", x_name = "", rows = { { name = name, values = { 0.2 }, mean = 0.2 } } }
    assert.is_truthy(rows:find(">..." .. ("Ä"):rep(18) .. "end<", 1, true))
    for _, figure in ipairs { lines, rows } do assert.is_truthy(utf8.len(figure)) end
  end)

  it("shows values with limits, and stands by itself", function()
    local figure = chart.intervals { title = "accuracy", x_name = "accuracy", scale = 100, format = "%g %%", rows = {
      { name = "a <b>", values = { 0.2, 0.4 }, mean = 0.3, low = 0, high = 0.75 },
      { name = "one seed", values = { 0.5 }, mean = 0.5 } } }
    check_nesting(figure)
    assert.is_truthy(figure:find("a &lt;b&gt; 30 %, one seed 50 %", 1, true))
    assert.equal(1, select(2, figure:gsub('<line class="one"', "")))
    assert.equal("", chart.intervals { title = "none", rows = {} })
    local path = support.folder() .. "/figure.svg"
    assert.is_true(chart.write(path, figure))
    local svg = support.read_file(path)
    assert.matches('^<svg xmlns="http://www.w3.org/2000/svg" viewBox=', svg)
    assert.matches("prefers%-color%-scheme: dark", svg)
    check_nesting(svg)
    assert.matches("nothing to draw", select(2, chart.write(path, "")))
  end)
end)

local function samples_of(names)
  local rows = {}
  for c, name in ipairs(names) do rows[c] = { class = name, images = { "data:image/png;base64," } } end
  return rows
end

describe("a report in Chromium", function()
  it("needs no horizontal scrolling at 400 and 1200 pixels, and has nothing to complain of", function()
    if not os.execute "command -v chromium >/dev/null 2>&1" then pending "chromium is not on this machine" return end
    local folder = support.folder()
    for _, names in ipairs { { "good", "color", "cut", "hole", "thread", "metal_contamination" },
      { "good", ("n"):rep(200), "<script>alert(1)</script>", "a\u{202E}b", ("عيب "):rep(50), '"' } } do
      local result = result_of_six(names)
      local page = report.html(run_of { results = { { name = "Test", result = result } },
        operating_point = result:operating_point { escape = 0.1 }, samples = samples_of(names),
        data = { { "training", table.concat(names, " 7, ") } } })
      for _, width in ipairs { 400, 1200 } do
        local scroll, tables, complaint = widths_in_chromium(page, width, folder)
        assert.is_truthy(scroll, "chromium gave no page")
        assert.is_true(scroll <= width, ("the page is %s pixels wide in a window of %s"):format(scroll, width))
        assert.is_nil(complaint)
        if width == 1200 and names[2] == "color" then assert.equal(0, tables) end
      end
    end
  end)

  it("of a sweep scrolls no more", function()
    if not os.execute "command -v chromium >/dev/null 2>&1" then pending "chromium is not on this machine" return end
    local folder, set = support.folder(), tr.data.fabric { count = 60, size = 8, seed = 1 }
    tr.sweep { train = set, val = set, seeds = { 1, 2 }, dir = folder, quiet = true,
      variants = { { name = "first" }, { name = ("n"):rep(60) } },
      trainer = function()
        return { model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(64, 6) }, epochs = 2, watch = false }
      end }
    local page = support.read_file(folder .. "/report.html")
    check_nesting(page)
    for _, width in ipairs { 400, 1200 } do
      local scroll, _, complaint = widths_in_chromium(page, width, folder)
      assert.is_true(scroll <= width, ("the page is %s pixels wide in a window of %s"):format(scroll, width))
      assert.is_nil(complaint)
    end
  end)
end)

describe("the neighbours of pictures in a report", function()
  it("are looked for once, as long as the weights are the same", function()
    local explain, taken = require "texres.explain", 0
    local neighbours = explain.neighbours
    explain.neighbours = function(...)
      taken = taken + 1
      return neighbours(...)
    end
    finally(function() explain.neighbours = neighbours end)
    local set = tr.data.fabric { count = 48, size = 16, seed = 1 }
    local train, val = set:split { 0.5, 0.5, seed = 1, group = "source" }
    local trainer = tr.Trainer { model = tr.models.textile { width = 2 }, epochs = 1, batch = 8, quiet = true,
      dir = support.folder() }
    trainer:fit(train, val)
    trainer:evaluate(val)
    trainer:evaluate(val, "Again")
    assert.equal(1, taken)
    tr.no_grad(function() trainer.model.head.fc.bias:fill(1) end)
    trainer:evaluate(val, "Changed")
    assert.equal(2, taken)
  end)
end)

describe("a drawing of a network", function()
  it("shows every layer once, skips, sums and shapes", function()
    local nn = tr.nn
    local net = nn.Sequential {
      nn.Conv2d(1, 4, 3), nn.BatchNorm(4), nn.ReLU(),
      nn.Residual { nn.Conv2d(4, 4, 3, { padding = 1 }), nn.ReLU() },
      nn.Residual { nn.Conv2d(4, 8, 1), shortcut = nn.Conv2d(4, 8, 1), activation = nn.ReLU() },
      nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, nn.Linear(16, 2),
    }
    local path = support.folder() .. "/net.svg"
    assert.is_true(net:draw(path, { 1, 8, 8, 1 }))
    local svg = support.read_file(path)
    check_nesting(svg)
    assert.equal(3, select(2, svg:gsub('class="skip"', ""))) -- one line, and two pieces around the shortcut
    assert.equal(2, select(2, svg:gsub(">%+</text>", "")))
    assert.equal(4, select(2, svg:gsub(">Conv2d", "")))
    for _, text in ipairs { "BatchNorm(4)", "6 x 6 x 8", "GlobalMaxPool", "Linear(16, 2)" } do
      assert.is_truthy(svg:find(text, 1, true), text)
    end
    assert.error_matches(function() net:draw(path, 3) end, "draw: the shape is 3, wanted that of an input")
    local ok, message = net:draw "/nowhere/at/all.svg"
    assert.is_nil(ok)
    assert.matches("/nowhere/at/all.svg", message)
  end)
end)
