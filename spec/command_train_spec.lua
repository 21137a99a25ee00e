--- texres train and texres.train: the main job on a folder of pictures, without a line of Lua; what is held out and
-- why; one line for each mistake.
local tr = require "texres"
local support = require "spec.support"

local root = support.folder()

--- Pictures of cloths in a folder for each class, with index.csv.
local function pictures(name, count, cloths, seed)
  local path = root .. "/" .. name
  assert(tr.data.fabric({ count = count, size = 16, sources = cloths, seed = seed or 1 }):save_folder(path))
  return path
end

local many, few = pictures("many", 252, 42), pictures("few", 60, 6)

--- texres train with a small network and one epoch.
local function train(set, ...)
  return support.texres("train", set, "--width", "2", "--epochs", "1", "--threads", "2", ...)
end

describe("texres train", function()
  it("holds whole groups out, tests, and says where network and report are", function()
    local dir = root .. "/groups"
    local status, out, err = train(many, "--groups", many .. "/index.csv:source", "--out", dir)
    assert.equal(0, status, err)
    for _, text in ipairs { "^252 images, of 42 groups in column 'source', which stay whole: 1%d%d to train, %d+ to "
      .. "validate, %d+ to test\n", "on the test images:", "accuracy %d", "truth \\ prediction",
      "at the operating point %d.* of the defects pass", "operating point: reject from",
      "\nreport: " .. dir .. "/report.html, network: " .. dir .. "/best.safetensors\n$" } do
      assert.matches(text, out)
    end
    assert.not_matches("caution", out)
    assert.matches("epoch 1/1", err) -- progress
    for _, name in ipairs { "report.html", "run.json", "last.safetensors" } do
      assert.is_true(support.exists(dir .. "/" .. name), name)
    end
    assert.equal(0.05, assert(tr.load(dir .. "/best.safetensors")).operating_point.rule.false_reject)
  end)

  it("says that figures are too good where no groups are known", function()
    local status, out = train(many, "--out", root .. "/chance")
    assert.equal(0, status)
    assert.matches("252 images, by chance: 17%d to train, 3%d to validate, 3%d to test\ncaution: .*too good", out)
    assert.matches("'source' may", out)
    assert.equal(2, select(2, out:gsub("caution: ", ""))) -- beside the figures, too
  end)

  it("cross-validates where groups are few, and keeps a network of all images with the pooled point", function()
    local dir = root .. "/few-run"
    local function again(...)
      return train(few, "--groups", "source", "--seeds", "2", "--folds", "2", "--false-reject", "0.1", "--out", dir,
        ...)
    end
    local status, out, err = again()
    assert.equal(0, status, err)
    for _, text in ipairs { "^60 images of 6 groups in column 'source': cross%-validation over 2 folds, then the "
      .. "network that is kept is trained on all images\n", "spread between seeds", "accuracy %d+.%d %% of 120 images",
      "chosen on pooled scores", "few%-run/cv/report.html, " } do
      assert.matches(text, out)
    end
    local point = assert(tr.load(dir .. "/best.safetensors")).operating_point
    assert.same({ 8, 0.1, true }, { point.views, point.rule.false_reject, point.pooled })
    assert.is_true(support.exists(dir .. "/cv/report.html"))
    local kept = support.read_file(dir .. "/best.safetensors")
    status, out = again "--resume"
    assert.equal(0, status)
    assert.matches("chosen on pooled scores", out)
    assert.equal(kept, support.read_file(dir .. "/best.safetensors"))
    assert.matches("under 40 groups are too few", select(2, train(few, "--groups", "source", "--out", root .. "/four")))
  end)

  it("takes a test set of its own, resized; and parts that folders name", function()
    local small = root .. "/small"
    assert(tr.data.fabric({ count = 30, size = 12, seed = 3 }):save_folder(small))
    local status, out, err = train(few, "--test", small, "--out", root .. "/own")
    assert.equal(0, status, err)
    assert.matches("60 images, and a set of its own to test on; validation by chance: 51 to train, 9 to validate, "
      .. "30 to test", out)
    assert.not_matches("caution", out)
    local parts = root .. "/parts"
    for part, seed in pairs { train = 1, test = 2 } do
      assert(tr.data.fabric({ count = 36, size = 16, seed = seed }):save_folder(parts .. "/" .. part))
      os.remove(parts .. "/" .. part .. "/index.csv")
    end
    status, out, err = train(parts, "--out", root .. "/parted")
    assert.equal(0, status, err)
    assert.matches("72 images, in parts as the column 'split' names them; validation by chance: 3%d to train, %d to "
      .. "validate, 36 to test", out)
  end)

  it("finds the good class wherever it stands, and says where there is none", function()
    local status, out = train(few, "--split", "0.6,0.2,0.2", "--good", "perfect", "--out", root .. "/perfect")
    assert.equal(0, status)
    assert.matches("no class is named 'perfect', so there is no operating point", out)
    assert.is_nil(assert(tr.load(root .. "/perfect/best.safetensors")).operating_point)
    status, out = train(few, "--split", "0.6,0.2,0.2", "--good", "cut", "--escape", "0.2", "--out", root .. "/cut")
    assert.equal(0, status)
    assert.matches("operating point: reject from", out)
    local point = assert(tr.load(root .. "/cut/best.safetensors")).operating_point
    assert.same({ "cut", 0.2 }, { point.good, point.rule.escape })
  end)

  it("takes arrays, and tells in the report of a test set that was trained on", function()
    local path = root .. "/arrays"
    assert(tr.data.fabric({ count = 60, size = 16, seed = 1 }):save_arrays(path))
    local status, out, err = train(path .. "/X.npy", "--test", path, "--out", root .. "/leaked")
    assert.equal(0, status, err)
    assert.matches("60 to test", out)
    assert.matches("%d+ of these images have an equal or alike one", support.read_file(root .. "/leaked/report.html"))
    os.remove(path .. "/index.csv") -- then nothing names the classes
    local names = "good,color,cut,hole,thread,metal"
    status, out, err = train(path .. "/X.npy", "--labels", path .. "/Y.npy", "--classes", names, "--out",
      root .. "/named")
    assert.equal(0, status, err)
    assert.matches("6 metal +%d", out)
    assert.matches("operating point: reject from", out)
  end)

  it("learns what is unknown to the network, where there are validation images, and so does texres novelty", function()
    local dir = root .. "/novelty"
    local status, out = train(many, "--groups", many .. "/index.csv:source", "--novelty", "0.1", "--out", dir)
    assert.equal(0, status)
    assert.matches("\nnovelty: unknown beyond %d.*false alarms .* of 6 groups\nreport: ", out)
    local fitted = assert(tr.load(dir .. "/best.safetensors")).novelty
    assert.equal(0.1, fitted.rate)
    assert.is_true(fitted.false_alarms.value <= 0.1)
    local function novelty(...) return support.texres("novelty", dir, many, "--calibrate", few, ...) end
    status, out = novelty("--false-alarms", "0.3", "--dry-run")
    assert.equal(0, status)
    assert.matches("^novelty: unknown beyond .* of 60 images\n$", out)
    assert.equal(fitted.threshold, assert(tr.load(dir .. "/best.safetensors")).novelty.threshold)
    status, out = novelty("--false-alarms", "0.3")
    assert.equal(0, status)
    assert.matches("written into .*/novelty/best.safetensors\n$", out)
    local classifier = assert(tr.load(dir .. "/best.safetensors"))
    assert.same({ 0.3, 60, 0.05 }, { classifier.novelty.rate, classifier.novelty.false_alarms.images,
      classifier.operating_point.rule.false_reject })
    local wrong, _, err = support.texres("novelty", dir, many)
    assert.equal(2, wrong)
    assert.matches("%-%-calibrate", err)
    _, out = train(few, "--groups", few .. "/index.csv:source", "--novelty", "0.1", "--out", root .. "/unvalidated")
    assert.matches("\nno images are held out for validation, so there is no threshold of what is unknown", out)
  end)

  it("builds other networks", function()
    local function built(...)
      local dir = os.tmpname()
      os.remove(dir)
      local status, _, err = support.texres("train", few, "--epochs", "1", "--split", "0.8,0.2,0", "--out", dir, ...)
      assert.equal(0, status, err)
      local title = support.read_file(dir .. "/run.json"):match '"title":"([^"]*)"'
      os.execute("rm -r " .. dir)
      return title
    end
    assert.equal("cifar_resnet, depth 8, head gmp", built("--network", "cifar_resnet", "--depth", "8", "--head", "gmp"))
    assert.equal("textile, width 3, head gap", built("--width", "3", "--head", "gap"))
  end)

  it("is stopped by Ctrl-C with all saved, and goes on as if nothing had been", function()
    local whole, parts = root .. "/whole", root .. "/stopped"
    local function words(dir, ...)
      return "train", many, "--groups", "source", "--width", "4", "--epochs", "25", "--seed", "4", "--out", dir, ...
    end
    assert.equal(0, (support.texres(words(whole))))
    local status, _, err = support.texres_in({ script = '"$@" & p=$!; while ! test -s ' .. parts
      .. "/run.json; do sleep 0.05; done; kill -INT $p; wait $p" }, words(parts))
    assert.equal(130, status, err)
    assert.matches("interrupted; the same command with %-%-resume goes on", err)
    assert.not_matches("traceback", err)
    status, _, err = support.texres(words(parts, "--resume"))
    assert.equal(0, status, err)
    local a, b = assert(tr.load(whole .. "/last.safetensors")), assert(tr.load(parts .. "/last.safetensors"))
    local are = b.model:state_dict()
    for name, t in pairs(a.model:state_dict()) do assert.same(t:totable(), are[name]:totable(), name) end
  end)

  it("says what is wrong in one line, with the right status", function()
    local function refuses(status, message, ...)
      local got, out, err = support.texres("train", ...)
      assert.equal(status, got, err)
      assert.equal("", out)
      assert.matches(message, err)
      assert.equal(1, select(2, err:gsub("\n", "")), err)
    end
    local empty, one, text = root .. "/empty", root .. "/one", root .. "/text"
    for _, path in ipairs { empty, one .. "/good", text .. "/a", text .. "/b" } do tr.make_folder(path) end
    local picture = tr.full({ 8, 8, 1 }, 9):to "u8"
    for _, name in ipairs { one .. "/good/1", one .. "/good/2", text .. "/a/1", text .. "/a/2" } do
      tr.write_png(name .. ".png", picture)
    end
    support.write_file(text .. "/b/3.png", "hello")
    local out = { "--out", root .. "/refused" }
    refuses(2, "missing argument 'set'")
    refuses(1, "nowhere: No such file", root .. "/nowhere", table.unpack(out))
    refuses(1, "no pictures in folders below it", empty, table.unpack(out))
    refuses(1, "all 2 images are of one class, 'good'", one, table.unpack(out))
    refuses(1, "b/3.png: not a PNG", text, table.unpack(out))
    refuses(1, "all 2 images are of one class, 'a'", text, "--bad", "skip", table.unpack(out))
    refuses(1, "holds a run already: go on with it %(resume%)", many, "--out", root .. "/groups")
    local got, _, told = support.texres("train", many, "--epochs", "1", "--out", text .. "/b/3.png/run")
    assert.equal(1, got)
    assert.matches("can't make the folder", told)
    refuses(1, "there is no column 'nothing' to group by", many, "--groups", "nothing", table.unpack(out))
    refuses(2, "'%-%-network' must be one of .*'resnet18'", many, "--network", "restnet18",
      table.unpack(out))
    refuses(2, "%-%-epochs is none, wanted a whole number of at least 1", many, "--epochs", "none")
    refuses(2, "%-%-lr is nan, wanted a finite number", many, "--lr", "nan")
    refuses(2, '%-%-head is bald, wanted "gap" or', many, "--head", "bald")
    refuses(2, "%-%-split is 0.5,0.5, wanted three shares", many, "--split", "0.5,0.5")
    refuses(2, "unknown option '%-%-epoch'", many, "--epoch", "3")
    assert.is_false(support.exists(root .. "/refused"))
    local status, _, err = train(few, "--network", "cifar_resnet", "--depth", "8", table.unpack(out))
    assert.equal(1, status)
    assert.matches("cifar_resnet: unknown option 'width'", err)
    status, _, err = support.texres("train", root .. "/nowhere", "--traceback")
    assert.equal(1, status)
    assert.matches("nowhere: No such file", err)
  end)

  it("trains on two images, and says that nothing is left to test on", function()
    local two = root .. "/two"
    for i, class in ipairs { "a", "b" } do
      tr.make_folder(two .. "/" .. class)
      tr.write_png(two .. "/" .. class .. "/1.png", tr.full({ 8, 8, 1 }, 90 * i):to "u8")
    end
    local status, out, err = train(two, "--out", root .. "/two-run")
    assert.equal(0, status, err)
    assert.matches("2 images, by chance: 2 to train, 0 to validate, 0 to test", out)
    assert.matches("no images were left to test on", out)
  end)
end)

describe("texres.train", function()
  it("gives a script what it found, and tells what it held out", function()
    local told = {}
    local set = tr.data.fabric { count = 120, size = 16, sources = 40, seed = 1 }
    local done = assert(tr.train { set = set, network = { "textile", width = 2 }, epochs = 1, quiet = true,
      dir = support.folder() .. "/run", tell = function(text) told[#told + 1] = text end })
    assert.equal("test", done.measured)
    assert.equal(done.plan.text, told[1])
    assert.equal(#done.plan.test, done.result.images)
    assert.same(done.point, done.trainer.best_takes.operating_point)
    assert.matches("on the test images:\n\naccuracy", tostring(done))
    assert.is_false(done.interrupted)
  end)

  it("holds out groups of a set that is given as such, and leaves the set as it is", function()
    local set = tr.data.fabric { count = 252, size = 16, sources = 42, seed = 1 }
    local done = assert(tr.train { set = set, groups = "source", network = { "textile", width = 2 }, epochs = 1,
      dir = support.folder() .. "/run", quiet = true })
    assert.matches("^252 images, of 42 groups in column 'source', which stay whole", done.plan.text)
    assert.is_false(done.careless)
    assert.is_nil(set.group)
  end)

  it("refuses what it can't do", function()
    local set = tr.data.fabric { count = 12, size = 8, seed = 1 }
    for message, options in pairs {
      ["train: set is nil, wanted a path or a data set"] = {},
      ["train: epochs is 0, wanted a whole number of at least 1"] = { set = set, epochs = 0 },
      ["train: split and folds are two ways"] = { set = set, folds = 2, split = { 0.5, 0.25, 0.25 } },
      ["train: split is {0.5, 0.25}, wanted three shares"] = { set = set, split = { 0.5, 0.25 } },
      ["train: unknown option 'epoch'; did you mean epochs?"] = { set = set, epoch = 3 },
      ["train: groups is 'roll', and the set has no such column; there are angle, "] = { set = set, groups = "roll" },
      ["train: size is for a path, and set is a data set, which has its own"] = { set = set, size = 4 },
      ['train: network is "build", wanted one of cifar'] = { set = set, network = "build" },
    } do
      local ok, err = pcall(tr.train, options)
      assert.is_false(ok)
      assert.is_truthy(err:find(message, 1, true), err)
    end
    local one = tr.data.fabric { count = 12, size = 8, sources = 1, seed = 1 }
    one.group = "source"
    local done, message = tr.train { set = one, dir = support.folder() .. "/run", quiet = true }
    assert.is_true(done == nil)
    assert.matches("all 12 images are of one group", message)
  end)
end)
