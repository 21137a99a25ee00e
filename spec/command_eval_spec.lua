--- texres eval, report, compare, threshold and audit, and what of the library stands behind them.
local tr = require "texres"
local checkpoint = require "texres.checkpoint"
local report = require "texres.report"
local support = require "spec.support"

local root = support.folder()
local cloth, large = root .. "/cloth", root .. "/large"
assert(tr.data.fabric({ count = 60, size = 16, sources = 10, seed = 1 }):save_folder(cloth))
assert(tr.data.fabric({ count = 30, size = 24, sources = 5, seed = 2 }):save_folder(large))

local function trained(name, width)
  local set = assert(tr.data.open(cloth))
  tr.Trainer({ model = tr.models.textile { width = width }, epochs = 1, dir = root .. "/" .. name, quiet = true,
    name = "run " .. name, operating_point = { false_reject = 0.2 } }):fit(set, set)
  return root .. "/" .. name
end

local first, second = trained("first", 2), trained("second", 3)
local alone = root .. "/alone.safetensors"
assert(os.execute(("cp %s/best.safetensors %s"):format(first, alone)))

local texres = support.texres

local function refuses(status, message, ...)
  local got, out, err = texres(...)
  assert.equal(status, got, err)
  assert.equal("", out)
  assert.matches(message, err)
  assert.equal(1, select(2, err:gsub("\n", "")), err)
end

describe("texres eval", function()
  it("prints metrics and writes a page beside the network, with the course of its run", function()
    local status, out, err = texres("eval", first, large, "--groups", "source")
    assert.equal(0, status, err)
    for _, text in ipairs { "^accuracy %d+.%d %% of 30 images", "at the operating point:\n  defects that pass +%d",
      "\nreport: " .. first .. "/eval.html\n$" } do
      assert.matches(text, out)
    end
    local page = support.read_file(first .. "/eval.html")
    for _, text in ipairs { "run first: training report", "Course of the training", "Good pieces that are rejected",
      "of 5 groups" } do
      assert.is_truthy(page:find(text, 1, true), text)
    end
    local result = assert(tr.load(alone)):evaluate(assert(assert(tr.load(alone)):open(large)))
    assert.is_truthy(out:find(("accuracy %.1f %%"):format(100 * result.accuracy), 1, true))
  end)

  it("writes a page for a network without a run, too", function()
    local page = root .. "/alone.html"
    local status, _, err = texres("eval", alone, cloth, "--views", "4", "--report", page)
    assert.equal(0, status, err)
    local html = support.read_file(page)
    assert.is_truthy(html:find("textile: report", 1, true))
    assert.is_nil(html:find("Course of the training", 1, true))
  end)

  it("says what is wrong in one line", function()
    refuses(1, "nowhere: No such file", "eval", first, root .. "/nowhere")
    refuses(1, "nowhere: No such file", "eval", root .. "/nowhere", cloth)
    tr.make_folder(root .. "/strange/oil")
    assert(os.execute(("cp %s/good/*.png %s/strange/oil"):format(cloth, root)))
    refuses(1, "the classes differ: only this set has 'oil'", "eval", first, root .. "/strange")
    local status, _, err = texres("eval", first, cloth, "--report", root .. "/none/page.html")
    assert.equal(1, status)
    assert.matches("^texres eval: [^\n]*none/page.html[^\n]*\n$", err)
    refuses(2, "missing argument 'set'", "eval", first)
  end)
end)

describe("texres report", function()
  it("tells of several sets on one page, or of the run alone", function()
    local page = root .. "/sets.html"
    local status, out, err = texres("report", first, cloth, large, "--out", page)
    assert.equal(0, status, err)
    assert.equal("report: " .. page .. "\n", out)
    local html = support.read_file(page)
    assert.is_truthy(html:find("<h2>" .. cloth .. "</h2>", 1, true))
    assert.is_truthy(html:find("<h2>" .. large .. "</h2>", 1, true))
    status, out, err = texres("report", first)
    assert.equal(0, status, err)
    assert.equal("report: " .. first .. "/sets.html\n", out)
    assert.is_truthy(support.read_file(first .. "/sets.html"):find("Course of the training", 1, true))
  end)

  it("is report.tested, which tells where a run is none", function()
    local classifier = assert(tr.load(alone))
    local ok, message = report.tested(root .. "/x.html", classifier, {}, root)
    assert.is_nil(ok)
    assert.matches("run.json: No such file", message)
    assert.error_matches(function() report.tested(root .. "/x.html", classifier, 3) end, "results is 3, wanted a list")
  end)
end)

describe("texres compare", function()
  it("lays runs side by side", function()
    local page = root .. "/compare.html"
    local status, out, err = texres("compare", first, second, "--out", page)
    assert.equal(0, status, err)
    assert.equal("report: " .. page .. "\n", out)
    assert.is_truthy(support.read_file(page):find("run second", 1, true))
    refuses(1, "nowhere/run.json: No such file", "compare", first, root .. "/nowhere")
    refuses(2, "at least 2", "compare", first)
  end)
end)

describe("texres threshold", function()
  it("chooses an operating point and writes it into the file, where all else stays", function()
    local before = assert(checkpoint.load(alone))
    local status, out, err = texres("threshold", alone, cloth, "--false-reject", "0.3", "--ask", "0.1", "--views", "4",
      "--groups", "source")
    assert.equal(0, status, err)
    assert.matches("^operating point: reject from .*written into " .. alone .. "\n$", out)
    local after = assert(checkpoint.load(alone))
    local point = after.operating_point
    assert.same({ 0.3, 0.1, 4 }, { point.rule.false_reject, point.rule.ask, point.views })
    local is = after.model:state_dict()
    for name, t in pairs(before.model:state_dict()) do assert.same(t:totable(), is[name]:totable(), name) end
    assert.same({ before.extra, before.normalization, before.classes, before.input },
      { after.extra, after.normalization, after.classes, after.input })
    status, out = texres("threshold", alone, cloth, "--cost", "1,40", "--prevalence", "0.03", "--dry-run")
    assert.equal(0, status)
    assert.not_matches("written", out)
    assert.equal(0.3, assert(tr.load(alone)).operating_point.rule.false_reject)
    assert.equal(0, (texres("threshold", alone, cloth, "--escape", "0.1")))
    assert.equal(0.1, assert(tr.load(alone)).operating_point.rule.escape)
  end)

  it("leaves a run such that it goes on", function()
    local function trainer()
      local set = assert(tr.data.open(cloth))
      local one = tr.Trainer { model = tr.models.textile { width = 3 }, epochs = 2, dir = second, quiet = true,
        resume = true, operating_point = { false_reject = 0.2 } }
      one:fit(set, set)
      return #one.history
    end
    assert.equal(0, (texres("threshold", second, cloth, "--escape", "0.1")))
    assert.equal(2, trainer())
    local status, _, err
    do -- as while a run is under way
      local held <close> = assert(require("texres.core").process.lock(second .. "/.lock")) -- luacheck: ignore
      status, _, err = texres("threshold", second, cloth, "--escape", "0.2")
    end
    assert.equal(1, status)
    assert.matches("second/.lock", err)
    assert.equal(0.2, assert(tr.load(second .. "/best.safetensors")).operating_point.rule.false_reject)
  end)

  it("says what is wrong in one line", function()
    refuses(2, "give what is to be kept to: %-%-false%-reject", "threshold", alone, cloth)
    refuses(2, "can not be used together", "threshold", alone, cloth, "--escape", "0.1", "--false-reject", "0.1")
    refuses(2, "%-%-escape is 2, wanted a number from 0 to 1", "threshold", alone, cloth, "--escape", "2")
    refuses(2, "%-%-cost is 1, wanted two costs", "threshold", alone, cloth, "--cost", "1")
    refuses(1, "no class is named 'fine'", "threshold", alone, cloth, "--escape", "0.1", "--good", "fine")
  end)

  it("is texres.set_operating_point, which takes it away, too", function()
    assert(tr.set_operating_point(alone, nil))
    assert.is_nil(assert(tr.load(alone)).operating_point)
    assert.error_matches(function() tr.set_operating_point(alone, {}) end, "wanted an operating point")
    local ok, message = tr.set_operating_point(root .. "/none", nil)
    assert.is_nil(ok)
    assert.matches("none: No such file", message)
  end)
end)

describe("texres audit", function()
  it("tells of the set and of what two splits leak", function()
    local status, out, err = texres("audit", cloth, "--groups", "source", "--sheet", root .. "/alike.png")
    assert.equal(0, status, err)
    assert.equal("", err)
    for _, text in ipairs { "^60 images 16x16x1", "split by chance: audit of 60 images", "split by source: audit of 60",
      "by chance +4%d +1%d +0 +0 +%d+ +%d", "by source +%d+ +%d+ +0 +0 +0 +0.0 %%" } do
      assert.matches(text, out)
    end
    local good = cloth .. "/good/"
    assert(os.execute(("mkdir -p %s/double/a && cp %s*.png %s/double/a && cp -r %s/double/a %s/double/b"):format(root,
      good, root, root, root)))
    status, out = texres("audit", root .. "/double", "--test", "0.5", "--sheet", root .. "/alike.png")
    assert.equal(0, status)
    assert.matches("images that are equal or look alike: ", out)
    assert.not_matches("split by [^c]", out)
    assert.matches("^\137PNG", support.read_file(root .. "/alike.png"))
    refuses(1, "nowhere: No such file", "audit", root .. "/nowhere")
    refuses(2, "%-%-test is 1, wanted a number", "audit", cloth, "--test", "1")
  end)

  it("is set:leaks, whose table shows accuracies that a script adds", function()
    local set = assert(tr.data.open(cloth))
    local leaks = assert(set:leaks { test = 0.4, seed = 2 })
    assert.same({ "by chance", "by source", 60 }, { leaks[1].name, leaks[2].name, #leaks[1].train + #leaks[1].test })
    assert.equal(0, leaks[2].leak.grouped)
    assert.same(set.meta.path[1], (function()
      for _, part in ipairs { leaks[1].train, leaks[1].test } do
        for _, path in ipairs(part.meta.path) do if path == set.meta.path[1] then return path end end
      end
    end)())
    leaks[2].accuracy = 0.5
    assert.matches("accuracy\n.*by chance.* %-\nby source.* 50.0 %%$", tostring(leaks))
  end)
end)
