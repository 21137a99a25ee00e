--- Splits: sizes, classes, groups, folds, the authors' column, saving, the warning of a leak.
local tr = require "texres"
local support = require "spec.support"

local warnings
before_each(function()
  warnings = {}
  rawset(tr, "warn", function(message) warnings[#warnings + 1] = message end)
end)
after_each(function() rawset(tr, "warn", nil) end)

--- n samples without much of an image; label, and the columns given as functions of the sample.
local function samples(n, classes, label, columns)
  local labels, meta, names = {}, {}, {}
  for i = 1, n do labels[i] = label and label(i) or (i - 1) % classes + 1 end
  for name, value in pairs(columns or {}) do
    meta[name] = {}
    for i = 1, n do meta[name][i] = value(i) end
  end
  for c = 1, classes do names[c] = "class" .. c end
  return tr.data.tensors { images = tr.zeros(n, 1, 1), labels = labels, classes = names, meta = meta }
end

--- Fails unless the parts hold every sample of the set exactly once.
local function check_partition(set, parts)
  local seen, total = {}, 0
  for _, part in ipairs(parts) do
    for _, position in ipairs(part.index) do
      assert.is_nil(seen[position], "a sample stands in two parts")
      seen[position], total = true, total + 1
    end
  end
  assert.equal(#set, total)
end

--- Values of a column, sorted, each once.
local function values(set, name)
  local seen, list = {}, {}
  for _, value in ipairs(set.meta[name]) do
    if not seen[value] then list[#list + 1] = value end
    seen[value] = true
  end
  table.sort(list)
  return list
end

local function check_groups(parts, name)
  local owner = {}
  for p, part in ipairs(parts) do
    for _, value in ipairs(values(part, name)) do
      assert.is_nil(owner[value], "a group stands in two parts")
      owner[value] = p
    end
  end
end

describe("a random split", function()
  it("has sizes that add up", function()
    for _, n in ipairs { 1, 2, 3, 7, 10, 99, 1001 } do
      for _, shares in ipairs { { 0.7, 0.2, 0.1 }, { 0.5, 0.5 }, { 1 / 3, 1 / 3, 1 / 3 }, { 0.9, 0.1 }, { 1 } } do
        local set = samples(n, 1)
        local parts = { set:split(shares) }
        assert.equal(#shares, #parts)
        check_partition(set, parts)
        for p, share in ipairs(shares) do assert.is_true(math.abs(#parts[p] - share * n) < 1) end
      end
    end
  end)

  it("depends on the seed alone", function()
    local set = samples(100, 2)
    local a, b, c = set:split { 0.5, 0.5, seed = 1 }, set:split { 0.5, 0.5, seed = 1 }, set:split { 0.5, 0.5, seed = 2 }
    assert.same(a.index, b.index)
    assert.not_same(a.index, c.index)
    local sorted = table.move(a.index, 1, #a.index, 1, {})
    table.sort(sorted)
    assert.not_same(a.index, sorted)
  end)

  it("takes counts, and may leave some out", function()
    local a, b = samples(10, 1):split { 6, 3 }
    assert.same({ 6, 3 }, { #a, #b })
    a, b = samples(10, 1):split { 0.5, 0.25 }
    assert.equal(8, #a + #b)
    assert.equal(0, #samples(0, 1):split { 0.5, 0.5 })
  end)

  it("refuses nonsense", function()
    local set = samples(10, 1)
    for reason, options in pairs {
      ["the shares add up to 1.1"] = { 0.7, 0.4 },
      ["the parts want 11 samples, the set has 10"] = { 6, 5 },
      ["part 1 wants 9223372036854775807 samples, the set has 10"] = { math.maxinteger, math.maxinteger },
      ["part 2 is -0.1"] = { 0.5, -0.1 },
      ["give the shares"] = {},
      ["unknown option 'stratified'"] = { 0.5, stratified = true },
      ["seed is 0.5, wanted a whole number"] = { 0.5, seed = 0.5 },
      ["there is no column 'roll'; the set has no columns"] = { 0.5, 0.5, group = "roll" },
    } do
      local ok, message = pcall(function() set:split(options) end)
      assert.is_false(ok)
      assert.matches(reason, message, 1, true)
      assert.matches("split_spec.lua", message, 1, true)
    end
  end)
end)

describe("a stratified split", function()
  it("has each class in proportion", function()
    local last = { 500, 800, 990, 1000, 1003 } -- of each class
    local set = samples(1003, 5, function(i)
      for c, position in ipairs(last) do
        if i <= position then return c end
      end
    end)
    local parts = { set:split { 0.7, 0.2, 0.1, seed = 3, stratify = true } }
    check_partition(set, parts)
    for p, share in ipairs { 0.7, 0.2, 0.1 } do
      for c, total in ipairs(set:counts()) do
        assert.is_true(math.abs(parts[p]:counts()[c] - share * total) < 1)
      end
      assert.is_true(math.abs(#parts[p] - share * #set) < 2)
    end
  end)
end)

describe("a stratified split by counts", function()
  it("has as many samples as were asked for, also where some are left out", function()
    for _, case in ipairs {
      { 1003, 6, { 100, 50, 50 } }, { 1003, 6, { 3, 3, 3 } }, { 50, 7, { 1, 1 } }, { 9, 4, { 5 } },
    } do
      local n, classes, counts = table.unpack(case)
      local set = samples(n, classes)
      for seed = 1, 5 do
        local parts = { set:split { seed = seed, stratify = true, table.unpack(counts) } }
        assert.equal(#counts, #parts)
        for p, count in ipairs(counts) do
          assert.equal(count, #parts[p])
          for c, total in ipairs(set:counts()) do
            assert.is_true(math.abs(parts[p]:counts()[c] - count * total / n) < 2)
          end
        end
      end
    end
  end)
end)

describe("a split by group", function()
  it("keeps groups whole and sizes close", function()
    local set = samples(1000, 4, nil, { roll = function(i) return i % 50 end })
    for seed = 1, 5 do
      local parts = { set:split { 0.7, 0.2, 0.1, seed = seed, group = "roll" } }
      check_partition(set, parts)
      check_groups(parts, "roll")
      for p, share in ipairs { 0.7, 0.2, 0.1 } do assert.is_true(math.abs(#parts[p] - share * 1000) <= 40) end
    end
    assert.same({}, warnings)
  end)

  it("gives every part every class, as far as there are groups", function()
    -- like the textile set: each class has three photographs of its own
    local set = samples(900, 6, nil, { source = function(i) return (i - 1) % 6 .. "/" .. i // 6 % 3 end })
    for seed = 1, 10 do
      local parts = { set:split { 0.7, 0.2, 0.1, seed = seed, group = "source" } }
      check_partition(set, parts)
      check_groups(parts, "source")
      for _, part in ipairs(parts) do
        for _, count in ipairs(part:counts()) do assert.is_true(count > 0) end
      end
    end
    assert.matches("whole groups of 'source' give parts of 33 %, 33 %, 33 %", warnings[1], 1, true)
    local held_out = {}
    for seed = 1, 10 do
      local _, test = set:split { 2 / 3, 1 / 3, seed = seed, group = "source" }
      assert.equal(300, #test)
      held_out[table.concat(values(test, "source"), " ")] = true
    end
    local different = 0
    for _ in pairs(held_out) do different = different + 1 end
    assert.is_true(different > 5, "the seed chooses what is held out")
  end)

  it("may balance sizes only", function()
    local set = samples(100, 2, function(i) return i <= 50 and 1 or 2 end, { roll = function(i) return i // 10 end })
    local parts = { set:split { 0.5, 0.5, group = "roll", stratify = false } }
    check_partition(set, parts)
    check_groups(parts, "roll")
  end)

  it("wants as many groups as parts", function()
    local set = samples(10, 1, nil, { roll = function() return "a" end })
    local function split(name) return function() set:split { 0.5, 0.5, group = name } end end
    assert.error_matches(split "roll", "column 'roll' has 1 groups, 2 parts are wanted")
    assert.error_matches(split "rol", "there is no column 'rol'; the set has roll")
  end)
end)

describe("a split that ignores groups", function()
  it("is warned of", function()
    local set = samples(100, 2, nil, { source = function(i) return i % 4 end })
    set:split { 0.5, 0.5, seed = 1 }
    assert.equal(1, #warnings)
    assert.matches("split: 4 of 4 groups in column 'source' stand in more than one part", warnings[1])
    set:split { 0.5, 0.5, seed = 1, group = "source" }
    assert.equal(1, #warnings)
    set:folds { 2, stratify = true }
    assert.equal(2, #warnings)
    set = tr.data.tensors {
      images = tr.zeros(4, 1, 1), labels = { 1, 1, 1, 1 }, meta = { lot = { 1, 1, 1, 1 } }, groups = "lot",
    }
    set:split { 0.5, 0.5 }
    assert.matches("column 'lot'", warnings[3])
    samples(100, 2, nil, { Roll = function(i) return i % 4 end }):split { 0.5, 0.5, seed = 1 }
    assert.matches("column 'Roll'", warnings[4])
  end)

  it("is warned of also when it keeps those of another column whole", function()
    local set = samples(100, 2, nil, {
      source = function(i) return i % 20 end, angle = function(i) return i // 5 end,
      cloth = function(i) return i % 4 end,
    })
    for k, split in ipairs {
      function() set:split { 0.5, 0.5, group = "angle" } end, function() set:folds { 2, group = "angle" } end,
      function() set:leave_one_out "angle" end,
    } do
      split()
      assert.equal(k, #warnings)
      assert.matches("20 of 20 groups in column 'source' stand in more than one part", warnings[k])
    end
    set:split { 0.5, 0.5, group = "cloth" } -- each of several sources
    set:leave_one_out "source"
    assert.equal(3, #warnings)
  end)

  it("is not warned of when it keeps them whole by chance, or there are none", function()
    samples(4, 1, nil, { source = function(i) return i end }):split { 0.5, 0.5 }
    samples(4, 1):split { 0.5, 0.5 }
    assert.same({}, warnings)
  end)
end)

describe("the official split", function()
  it("is what the column says, training part first", function()
    local names = { "test", "train", "validation" }
    local set = samples(30, 1, nil, { split = function(i) return names[i % 3 + 1] end })
    local train, val, test = set:split { column = "split" }
    assert.same({ "train" }, values(train, "split"))
    assert.same({ "validation" }, values(val, "split"))
    assert.same({ "test" }, values(test, "split"))
    local only = set:split { column = "split", parts = { "test" } }
    assert.same({ "test" }, values(only, "split"))
    assert.error_matches(function() set:split { column = "split", parts = { "tests" } } end, "no sample has 'tests'")
  end)
end)

describe("folds", function()
  it("test every sample once", function()
    local set = samples(53, 3, nil, { roll = function(i) return i % 7 end })
    for _, options in ipairs { { 5 }, { 5, stratify = true }, { 5, group = "roll" }, { 2, seed = 9 } } do
      local folds, tests = set:folds(options), {}
      assert.equal(options[1], #folds)
      for f, fold in ipairs(folds) do
        tests[f] = fold.test
        check_partition(set, { fold.train, fold.test })
        if options.group then check_groups({ fold.train, fold.test }, "roll") end
      end
      check_partition(set, tests)
    end
    assert.error_matches(function() set:folds { 1 } end, "the number of folds is 1")
    assert.error_matches(function() set:folds { 54 } end, "folds: 54 folds are wanted, the set has 53 samples")
  end)

  it("leave one group out", function()
    local set = samples(20, 2, nil, { source = function(i) return i <= 12 and "x" or i <= 17 and "y" or "z" end })
    local folds = set:leave_one_out "source"
    assert.equal(3, #folds)
    for f, name in ipairs { "x", "y", "z" } do
      assert.equal(name, folds[f].group)
      assert.same({ name }, values(folds[f].test, "source"))
      check_partition(set, { folds[f].train, folds[f].test })
    end
    assert.equal(3, #set:leave_one_out())
    assert.error_matches(function() samples(3, 1):leave_one_out() end, "name the column")
  end)
end)

describe("a saved split", function()
  local path = support.folder() .. "/split.json"

  it("is the same when it is read", function()
    local set = samples(100, 3):subset(tr.arange(100, 1, -1):to "i64")
    local train, test = set:split { 0.8, 0.2, seed = 5 }
    assert.is_true(set:save_split(path, { train = train, test = test }))
    local parts = assert(set:load_split(path))
    assert.same(train.index, parts.train.index)
    assert.same(test.label, parts.test.label)
  end)

  it("belongs to its set", function()
    local set = samples(100, 3)
    assert(set:save_split(path, { train = (set:split { 0.8, 0.2 }) }))
    for reason, other in pairs {
      ["is one of 100 samples, the set has 99"] = samples(99, 3),
      ["its classes have other counts"] = samples(100, 2),
    } do
      local parts, message = other:load_split(path)
      assert.is_nil(parts)
      assert.matches(reason, message, 1, true)
      assert.matches(path, message, 1, true)
    end
    assert.error_matches(function() set:save_split(path, { train = samples(3, 1) }) end, "was not made from this set")
  end)

  it("belongs to the order of its set", function()
    local set = samples(100, 3)
    assert(set:save_split(path, { train = (set:split { 0.8, 0.2 }) }))
    local order = {}
    for i = 1, 100 do order[i] = 101 - i end
    local parts, message = set:subset(order):load_split(path)
    assert.is_nil(parts)
    assert.matches("another order", message, 1, true)
    set = samples(10, 1)
    set.meta.path = {}
    for i = 1, 10 do set.meta.path[i] = ("here/good/%d.png"):format(i) end
    assert(set:save_split(path, { train = (set:split { 0.8, 0.2 }) }))
    for i = 1, 10 do set.meta.path[i] = ("there/good/%d.png"):format(i) end
    assert(set:load_split(path))
    set.meta.path[1], set.meta.path[2] = set.meta.path[2], set.meta.path[1]
    parts, message = set:load_split(path)
    assert.is_nil(parts)
    assert.matches("sample 1 is picture 'good/1.png' there, 'good/2.png' in this set", message, 1, true)
  end)

  it("is refused when it is damaged", function()
    local set = samples(10, 1)
    for _, text in ipairs { "", "{", "[]", "3", "null", '{"format":"x"}', ("["):rep(100000),
      '{"format":"texres split 1","count":10,"counts":[10],"parts":{"train":[0]}}',
      '{"format":"texres split 1","count":10,"counts":[10],"parts":{"train":[1.5]}}',
      '{"format":"texres split 1","count":10,"counts":[10],"parts":{"train":[11]}}',
      '{"format":"texres split 1","count":10,"counts":[10],"parts":{"train":7}}',
      '{"format":"texres split 1","count":10,"counts":10,"parts":{}}',
      '{"format":"texres split 1","count":10,"parts":3}' } do
      local parts, message = set:load_split(support.write_file(path, text))
      assert.is_nil(parts, text)
      assert.matches("load_split: " .. path, message, 1, true)
    end
    local parts, message = set:load_split(path .. ".none")
    assert.is_nil(parts)
    assert.matches("split.json.none", message, 1, true)
  end)
end)

describe("the real textile set", function()
  it("is split by photograph", function()
    local X = support.need_shared("data/textile/X.npy", pending)
    local set = assert(tr.data.open(X, { groups = "source" }))
    local train, test = set:split { 0.7, 0.3, seed = 1, group = "source" }
    check_partition(set, { train, test })
    check_groups({ train, test }, "source")
    for _, count in ipairs(test:counts()) do assert.is_true(count >= 150) end
    assert.equal(16, #set:leave_one_out())
    assert.equal(6000, #set:split { column = "split" }) -- all of it is the authors' training part
  end)
end)

describe("parts that were made by groups", function()
  it("know their groups, so that what is measured on them does, too", function()
    local set = tr.data.fabric { count = 48, size = 8, seed = 1 }
    assert.is_nil(set.group)
    for _, part in ipairs { set:split { 0.5, 0.5, group = "source" } } do assert.equal("source", part.group) end
    for _, part in ipairs { set:split { 0.5, 0.5 } } do assert.is_nil(part.group) end
    for _, fold in ipairs(set:folds { 2, group = "source" }) do
      assert.same({ "source", "source" }, { fold.train.group, fold.test.group })
    end
    assert.equal("source", set:leave_one_out("source")[1].test.group)
  end)
end)
