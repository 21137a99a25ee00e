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
    local core, name = require "texres.core", "\27[31m\194\155x\127"
    local shown = "\\x1b[31m\\xc2\\x9bx\\x7f"
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
