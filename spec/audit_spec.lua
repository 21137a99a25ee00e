--- Audit: equal and alike images, labels, constant and saturated images, classes, leaks; the same on every ISA.
local tr = require "texres"
local support = require "spec.support"

--- n images of smoothed noise {24,24,1}: none looks like another.
local function noise(n)
  tr.manual_seed(5)
  local images = {}
  for i = 1, n do
    local image = tr.rand(1, 6, 6, 1)
    images[i] = image:reshape(6, 1, 6, 1):expand(6, 4, 6, 4):reshape(24, 24, 1) * 0.8 + tr.rand(24, 24, 1) * 0.1 + 0.05
  end
  return images
end

local function quarter_turn(image) -- counterclockwise: transposed, then upside down
  local turned, n = image:transpose(1, 2):contiguous():clone(), image:size(1)
  local result = turned:clone()
  for y = 1, n do result[y] = turned[n + 1 - y] end
  return result
end

local function as_set(images, labels, meta)
  return tr.data.tensors { images = tr.stack(images, 1), labels = labels, classes = { "a", "b" }, meta = meta }
end

local function same_labels(n, label)
  local labels = {}
  for i = 1, n do labels[i] = label or (i - 1) % 2 + 1 end
  return labels
end

describe("audit", function()
  it("finds nothing in different images", function()
    local audit = assert(as_set(noise(40), same_labels(40)):audit())
    assert.equal(40, audit.count)
    for _, finding in ipairs { "equal", "alike", "conflicts", "constant", "saturated", "warnings", "leaks" } do
      assert.same({}, audit[finding], finding)
    end
    assert.same({ 20, 20 }, audit.parts[1].counts)
    local text = tostring(audit)
    assert.matches("audit of 40 images", text, 1, true)
    assert.matches("all +40 +20 +20", text)
    local ok, message = audit:contact_sheet(support.folder() .. "/none.png")
    assert.is_nil(ok)
    assert.matches("no images are equal", message)
  end)

  it("finds equal images, and those with different labels", function()
    local images = noise(10)
    images[7], images[9], images[10] = images[2]:clone(), images[3]:clone(), images[2]:clone()
    local labels = same_labels(10, 1)
    labels[9] = 2
    local audit = assert(as_set(images, labels):audit())
    assert.same({ { { part = "all", index = 2 }, { part = "all", index = 7 }, { part = "all", index = 10 } },
      { { part = "all", index = 3 }, { part = "all", index = 9 } } }, audit.equal)
    assert.same({}, audit.alike)
    assert.equal(1, #audit.conflicts)
    assert.same({ part = "all", index = 9 }, audit.conflicts[1].second)
    assert.matches("all:2 = all:7 = all:10", tostring(audit), 1, true)
  end)

  it("finds images that look alike after any quarter turn", function()
    local images = noise(12)
    local turned = images[1]
    for turn = 0, 3 do
      images[8 + turn] = (turned * 0.9 + tr.rand(24, 24, 1) * 0.01):clamp(0, 1) -- darker and noisy
      turned = quarter_turn(turned)
    end
    local audit = assert(as_set(images, same_labels(12)):audit())
    local turns = {}
    for _, pair in ipairs(audit.alike) do
      assert.is_true(pair.similarity > 0.95)
      if pair.first.index == 1 then turns[pair.second.index - 8] = pair.turn end
    end
    assert.same({ [0] = 0, 1, 2, 3 }, turns)
    assert.equal(10, #audit.alike) -- all pairs of the five
    for i = 2, #audit.alike do assert.is_true(audit.alike[i - 1].similarity >= audit.alike[i].similarity) end
    local path = support.folder() .. "/alike.png"
    assert.is_true(audit:contact_sheet(path, { count = 3, scale = 1 }))
    assert.same({ 3 * 26 + 2, 2 * 26 + 2, 1 }, tr.load_image(path):shape())
  end)

  it("finds constant and saturated images", function()
    local images = noise(6)
    images[2] = tr.full({ 24, 24, 1 }, 0.5)
    images[4] = tr.zeros(24, 24, 1)
    images[5] = images[5]:gt(0.5):to "f32"
    local audit = assert(as_set(images, same_labels(6)):audit())
    assert.same({ { part = "all", index = 2 }, { part = "all", index = 4 } }, audit.constant)
    assert.same({ { part = "all", index = 5 } }, audit.saturated)
    assert.same({}, audit.alike)
  end)

  it("says which classes are absent or rare", function()
    local labels = same_labels(40, 1)
    local audit = as_set(noise(40), labels):audit()
    assert.same({ "all has no b" }, audit.warnings)
    labels[40] = 2
    audit = as_set(noise(40), labels):audit { rare = 0.2 }
    assert.same({ "all has only 1 of b" }, audit.warnings)
  end)

  it("measures what a split leaks, by picture and by group", function()
    local images, roll = noise(20), {}
    images[11], images[12] = images[1]:clone(), images[2]:clone() -- equal, across the parts
    images[13] = quarter_turn(images[3]) * 0.9
    images[15] = images[14]:clone() -- equal, inside of a part
    for i = 1, 20 do roll[i] = i <= 8 and "x" or i <= 14 and "y" or "z" end
    local set = as_set(images, same_labels(20), { roll = roll })
    local positions = {}
    for i = 1, 20 do positions[i] = i end
    local train = set:subset(table.move(positions, 1, 10, 1, {}))
    local test = set:subset(table.move(positions, 11, 20, 1, {}))
    local leak = assert(set:audit { splits = { train = train, test = test } }).leaks[1]
    assert.same({ from = "train", into = "test", equal = 2, alike = 1, grouped = 0, groups = 0, any = 3, share = 0.3 },
      leak)
    local audit = assert(set:audit { splits = { test = test, train = train }, group = "roll" })
    assert.same({ from = "train", into = "test", equal = 2, alike = 1, grouped = 4, groups = 1, any = 4, share = 0.4 },
      audit.leaks[1])
    assert.same({ 2, 2 }, { audit.parts[1].groups, audit.parts[2].groups })
    assert.matches("train %-> test +2 +1 +4 +4 +40.0 %% +1", tostring(audit))
    assert.same({ part = "test", index = 1 }, audit.equal[1][2])
  end)

  it("takes parts from different files", function()
    local images = noise(6)
    local train, test = as_set(images, same_labels(6)), as_set({ images[4], images[5] * 0.5 }, { 1, 2 })
    local leak = assert(train:audit { splits = { train = train, test = test } }).leaks[1]
    assert.same({ 1, 1, 2 }, { leak.equal, leak.alike, leak.any })
  end)

  it("counts classes by name, also where parts list them in another order", function()
    local train = as_set(noise(6), { 1, 1, 1, 1, 2, 2 })
    local test = tr.data.tensors { images = tr.rand(5, 24, 24, 1), labels = { 1, 2, 2, 2, 2 }, classes = { "b", "a" } }
    local only = tr.data.tensors { images = tr.rand(3, 24, 24, 1), labels = { 1, 1, 1 }, classes = { "b" } }
    local audit = assert(train:audit { splits = { train = train, test = test, val = only } })
    assert.same({ { 4, 2 }, { 0, 3 }, { 4, 1 } }, { audit.parts[1].counts, audit.parts[2].counts,
      audit.parts[3].counts })
    assert.same({ "val has no a" }, audit.warnings)
    local other = tr.data.tensors { images = tr.rand(1, 24, 24, 1), labels = { 1 }, classes = { "c" } }
    assert.error_matches(function() train:audit { splits = { train = train, test = other } } end,
      "audit: part 'test': the classes differ: only this set has 'c'")
  end)

  it("compares groups where every part has them", function()
    local train = as_set(noise(4), same_labels(4), { roll = { "x", "x", "y", "y" } })
    local test, warned = as_set(noise(4), same_labels(4)), {}
    assert.error_matches(function() train:audit { splits = { train = train, test = test }, group = "roll" } end,
      "audit: there is no column 'roll' to group by in part 'test'")
    train.group = "roll"
    rawset(tr, "warn", function(text) warned[#warned + 1] = text end)
    local audit = train:audit { splits = { train = train, test = test } }
    rawset(tr, "warn", nil)
    assert.same({ "audit: part 'test' has no column 'roll': groups are not compared" }, warned)
    assert.is_nil(audit.group)
    assert.matches("train %-> test +4 +0 +%- +4 +100.0 %% +%-", tostring(audit))
  end)

  it("takes for white what is white in the pixels", function()
    local images = noise(4)
    images[2] = images[2]:gt(0.5):to "f32"
    for _, times in ipairs { 1, 255, 65535 } do
      local scaled = {}
      for i, image in ipairs(images) do scaled[i] = image * times end
      local audit = assert(as_set(scaled, same_labels(4)):audit())
      assert.same({ { part = "all", index = 2 } }, audit.saturated)
    end
    for i, image in ipairs(images) do images[i] = image * 4 - 2 end -- no range: nothing is white
    assert.same({}, assert(as_set(images, same_labels(4)):audit()).saturated)
    images[3]:fill(0 / 0)
    local none, message = as_set(images, same_labels(4)):audit()
    assert.is_nil(none)
    assert.matches("image 3", message, 1, true)
  end)

  it("counts every image of a part that looks like one of another, however many they are", function()
    local first, many = noise(2), {}
    for i = 1, 40 do many[i] = first[1] * 0.9 + tr.rand(24, 24, 1) * 0.02 end
    local function part(images) return as_set(images, same_labels(#images, 1)) end
    for i = 1, 20 do first[#first + 1] = many[1]:clone() + i * 1e-4 end
    for _, train in ipairs { part { first[1] }, part(first) } do
      local leak = assert(train:audit { splits = { train = train, test = part(many) } }).leaks[1]
      assert.same({ 40, 40, 1 }, { leak.alike, leak.any, leak.share })
    end
  end)

  it("is the same with any instruction set and number of threads", function()
    local script = [[
      local tr = require "texres"
      tr.manual_seed(1)
      local images = tr.rand(1, 30, 64):expand(10, 30, 64):reshape(300, 8, 8, 1) + tr.rand(300, 8, 8, 1) * 0.3
      local labels = {}
      for i = 1, 300 do labels[i] = 1 end
      local audit = tr.data.tensors({ images = images, labels = labels }):audit()
      io.write(#audit.alike, "\n")
      for _, p in ipairs(audit.alike) do io.write(p.first.index, " ", p.second.index, " ", p.turn, "\n") end
    ]]
    local expected
    for _, env in ipairs { { OMP_NUM_THREADS = 1 }, { OMP_NUM_THREADS = 3 }, { TEXRES_ISA = "ref" } } do
      local ok, output = support.run({ support.lua, "-e", script }, { env = env })
      assert.is_true(ok, output)
      expected = expected or output
      assert.is_true(tonumber(output:match "^%d+") > 500)
      assert.equal(expected, output)
    end
  end)

  it("blames the caller", function()
    local set = as_set(noise(2), { 1, 2 })
    for reason, options in pairs {
      ["audit: unknown option 'split'"] = { split = {} },
      ["audit: splits holds no parts"] = { splits = {} },
      ["audit: there is no column 'roll'"] = { group = "roll" },
    } do
      local ok, message = pcall(function() set:audit(options) end)
      assert.is_false(ok)
      assert.matches(reason, message, 1, true)
      assert.matches("audit_spec.lua", message, 1, true)
    end
  end)

  it("is shown by an example, beside the accuracies of a network", function()
    local folder = support.folder()
    local set = tr.data.fabric { count = 180, size = 64, seed = 1, sources = 12 }
    assert(set:save_npy(folder .. "/X.npy", folder .. "/Y.npy"))
    local lines = { "index,source" }
    for i, source in ipairs(set.meta.source) do lines[i + 1] = ("%d,%s"):format(i - 1, source) end
    support.write_file(folder .. "/index.csv", table.concat(lines, "\n") .. "\n")
    local ok, output = support.run { support.lua, "examples/audit.lua", folder, "--epochs", "1", "--width", "4" }
    assert.is_true(ok, output)
    assert.matches("by chance +126 +54 +0 +%d+ +54 +100.0 %% +%d+.%d %%\n", output)
    assert.matches("by source +%d+ +%d+ +0 +%d+ +0 +%d+.%d %% +%d+.%d %%\n", output)
    ok, output = support.run { support.lua, "examples/audit.lua", folder .. "/none" }
    assert.is_false(ok)
    assert.matches("No such file or directory", output)
  end)

  it("shows on real fabric that a random split leaks and one by photograph does not", function()
    local set = assert(tr.data.open(support.need_shared("data/textile/X.npy", pending), { groups = "source" }))
    rawset(tr, "warn", function() end)
    local train, test = set:split { 0.8, 0.2, seed = 1, stratify = true }
    rawset(tr, "warn", nil)
    local leak = set:audit({ splits = { train = train, test = test } }).leaks[1]
    assert.equal(#test, leak.grouped)
    assert.is_true(leak.equal + leak.alike > 10)
    train, test = set:split { 0.7, 0.3, seed = 1, group = "source" }
    leak = set:audit({ splits = { train = train, test = test } }).leaks[1]
    assert.same({ 0, 0, 0, 0 }, { leak.equal, leak.alike, leak.grouped, leak.any })
  end)
end)
