--- Data sets: looking at samples, making sets of sets, statistics, saving.
local tr = require "texres"
local core = require "texres.core"
local support = require "spec.support"

--- Ten u8 images 2x3x1, image i filled with i (pixels 10 i), labels 1 2 3 1 2 3 ..., columns angle and roll.
local function tiny()
  local images, labels, angle, roll = {}, {}, {}, {}
  for i = 1, 10 do
    images[i] = { { { i * 10 }, { i * 10 }, { i * 10 } }, { { i * 10 }, { i * 10 }, { i * 10 } } }
    labels[i], angle[i], roll[i] = (i - 1) % 3 + 1, i * 20, i <= 5 and "a" or "b"
  end
  return tr.data.tensors {
    images = tr.tensor(images, { dtype = "u8" }), labels = labels, classes = { "good", "cut", "hole" },
    meta = { angle = angle, roll = roll }, groups = "roll",
  }
end

--- Which images of `tiny` a set holds.
local function content(set)
  local list = {}
  for i = 1, #set do list[i] = math.floor(set:get(i):mean():item() * 25.5 + 0.5) end
  return list
end

describe("a set", function()
  it("hands out image, label and metadata", function()
    local set = tiny()
    assert.equal(10, #set)
    local image, label, row = set:get(4)
    assert.equal("f32", image.dtype)
    assert.same({ 2, 3, 1 }, image:shape())
    assert.near(40 / 255, image[2][3]:item(), 1e-7)
    assert.equal(1, label)
    assert.same({ angle = 80, roll = "a" }, row)
    assert.equal(1, select(2, set:get(-1)))
    assert.same({ angle = 200, roll = "b" }, set:row(-1))
    for _, i in ipairs { 0, 11, -11, 1.5, "x" } do
      local ok, message = pcall(function() set:get(i) end)
      assert.is_false(ok)
      assert.matches("data_spec.lua:%d+: get: sample .*: the set has 1..10", message)
      assert.error_matches(function() set:row(i) end, "row: sample .*: the set has 1..10")
    end
  end)

  it("gathers batches and labels", function()
    local set = tiny()
    assert.same({ 10, 2, 3, 1 }, set:images():shape())
    assert.near(70 / 255, set:images { 3, 7, 7 }[2][1][1]:item(), 1e-7)
    assert.same({ 3, 2, 3, 1 }, set:images(2, 4):shape())
    assert.near(40 / 255, set:images(2, 4)[3][1][1]:item(), 1e-7)
    assert.near(20 / 255, set:images(2)[1][1][1]:item(), 1e-7)
    assert.same({ 0, 2, 3, 1 }, set:images({}):shape())
    assert.same({ 1, 2, 3, 1, 2, 3, 1, 2, 3, 1 }, set:labels():totable())
    assert.equal("i64", set:labels().dtype)
    assert.same({ 4, 3, 3 }, set:counts())
    assert.error_matches(function() set:images(5, 11) end, "samples 5..11: the set has 1..10")
  end)

  it("says what it holds", function()
    assert.equal("10 images 2x3x1 u8, 3 classes", tostring(tiny()))
    local text = tiny():describe()
    for _, part in ipairs {
      "1 good +4", "2 cut +3", "columns +angle, roll", "group +roll", "mean +0.2157", "std +0.11",
    } do
      assert.matches(part, text)
    end
    assert.matches("0 images", tiny():subset({}):describe())
  end)

  it("measures mean, deviation and range per channel", function()
    local pixels = tr.rand(7, 5, 4, 3)
    local set = tr.data.tensors { images = pixels, labels = { 1, 1, 1, 1, 1, 1, 1 }, classes = { "x" } }
    local statistics = set:statistics()
    for c = 1, 3 do
      local channel = pixels:select(4, c):to "f64"
      assert.near(channel:mean():item(), statistics.mean[c], 1e-12)
      assert.near(math.sqrt(channel:flatten():var(1, { correction = 0 }):item()), statistics.std[c], 1e-12)
      assert.equal(channel:min():item(), statistics.min[c])
      assert.equal(channel:max():item(), statistics.max[c])
    end
    assert.error_matches(function() set:subset({}):statistics() end, "the set is empty")
  end)

  it("names the image and the channel with a pixel that is not finite", function()
    for text, value in pairs { NaN = 0 / 0, infinite = -math.huge } do
      local pixels, labels = tr.rand(40, 3, 2, 2), {}
      for i = 1, 40 do labels[i] = 1 end
      pixels[38][1][2][1], pixels[21][3][1][2] = value, value
      local set = tr.data.tensors { images = pixels, labels = labels }
      local statistics, message = set:statistics()
      assert.is_nil(statistics)
      assert.equal("statistics: image 21: a pixel of channel 2 is " .. text, message)
      assert.matches("image 1: a pixel of channel 1 is " .. text, set:subset({ 38 }):describe(), 1, true)
      assert.is_truthy(set:subset({ 1, 2, 3 }):statistics())
    end
  end)

  it("measures the same bits with any number of threads", function()
    local before, labels = tr.num_threads(), {}
    for i = 1, 100 do labels[i] = 1 end
    local set = tr.data.tensors { images = tr.rand(100, 9, 7, 2), labels = labels, classes = { "x" } }
    tr.set_num_threads(1)
    local alone = set:statistics()
    for _, threads in ipairs { 2, 3, 8 } do
      tr.set_num_threads(threads)
      assert.same(alone, set:statistics())
    end
    tr.set_num_threads(before)
  end)
end)

describe("the masks of a set", function()
  local function masked()
    return tr.data.fabric { count = 12, size = 16, seed = 4, masks = true, classes = { "good", "hole" } }
  end

  --- The masks of a set, in the order of its samples.
  local function masks_of(set) return set.masks:images(set.index) end

  it("are 0 and 1, and go along with the images", function()
    local set, positions = masked(), { 8, 2, 2, 11 }
    local all = masks_of(set)
    assert.equal(1, all:max():item())
    local wanted = {}
    for i, at in ipairs(positions) do wanted[i] = all[at] end
    wanted = tr.stack(wanted, 1)
    local folder = support.folder()
    assert(set:subset(positions):save_folder(folder))
    assert(set:subset(positions):save_npy(folder .. "/X.npy", nil, folder .. "/M.npy"))
    for name, other in pairs {
      subset = set:subset(positions), cached = set:subset(positions):cache(),
      joined = set:subset({ 8 }):concat(set:subset { 2, 2 }, set:subset { 11 }),
      filtered = set:subset(positions):filter(function() return true end),
      mapped = set:subset(positions):map(function(image) return image * 0.5 end),
      relabelled = set:subset(positions):relabel { hole = "defect" },
      twice = set:cache():subset(positions):map(function(image) return image end):cache(),
      split = set:subset({ 1, 8, 2, 2, 11 }):filter(function(_, _, i) return i > 1 end),
      npy = assert(tr.data.npy { images = folder .. "/X.npy", masks = folder .. "/M.npy", labels = { 1, 1, 1, 1 } }),
      tensors = assert(tr.data.tensors { images = tr.rand(4, 16, 16), masks = wanted, labels = { 1, 1, 1, 1 } }),
      saved = assert(tr.data.csv { file = folder .. "/index.csv" }),
      ["saved, streamed"] = assert(tr.data.csv { file = folder .. "/index.csv", cache = false }),
    } do
      assert.is_true(tr.allclose(masks_of(other), wanted, 1e-6), name)
    end
    os.remove(folder .. "/X.npy")
    os.remove(folder .. "/M.npy")
    for _, opened in ipairs { assert(tr.data.open(folder)), assert(tr.data.folder { path = folder }) } do
      for i = 1, #opened do
        local number = tonumber(opened.meta.path[i]:match "(%d+)%.png")
        assert(tr.allclose(opened.masks:read(opened.index[i]), wanted[number], 1e-6))
      end
    end
  end)

  it("are changed by the function that changes the images, or must be", function()
    local set = masked()
    local seen = 0
    local half = set:map(function(image, label, _, mask)
      seen = seen + mask:sum():item()
      return image:slice(1, 1, 8), label, mask:slice(1, 1, 8)
    end)
    assert.equal(masks_of(set):sum():item(), seen)
    assert(tr.allclose(masks_of(half), masks_of(set):slice(2, 1, 8), 0))
    assert.error_matches(function() set:map(function(image) return image:slice(1, 1, 8) end) end,
      "map: the images are 8x16 now, their masks 16x16: return the mask too")
  end)

  it("belong to all sets that are joined, or to none", function()
    local set, bare = masked(), masked()
    bare.masks = nil
    assert.error_matches(function() set:concat(bare) end, "concat: set 2 has no masks, set 1 has some")
    assert.error_matches(function() bare:concat(set) end, "concat: set 2 has masks, set 1 has none")
    assert.is_nil(bare:concat(bare).masks)
    assert.error_matches(function()
      local masks = core.source(tr.zeros(3, 2, 2))
      tr.data.Set.new { source = set.source, labels = set.label, classes = set.classes, masks = masks }
    end, "Set: 3 masks for 12 images")
  end)
end)

describe("a set made of a set", function()
  it("is a subset, in any order", function()
    local set = tiny():subset { 9, 2, 2 }
    assert.same({ 9, 2, 2 }, content(set))
    assert.same({ 3, 2, 2 }, set.label)
    assert.same({ 180, 40, 40 }, set.meta.angle)
    assert.equal("roll", set.group)
    assert.same({ 2 }, content(set:subset(tr.tensor({ 2 }, { dtype = "i64" }))))
    assert.error_matches(function() tiny():subset { 11 } end, "subset: sample 11: the set has 1..10")
    assert.error_matches(function() tiny():subset { 0 } end, "subset: sample 0")
    assert.error_matches(function() tiny():subset { 1, nil, 3 } end, "subset: the samples are a list with a hole")
    assert.error_matches(function() tiny():subset { 1, first = 2 } end, "subset: 'first' stands among the samples")
  end)

  it("is filtered by label, metadata, position", function()
    assert.same({ 2, 5, 8 }, content(tiny():filter(function(label) return label == 2 end)))
    assert.same({ 1, 2, 3, 4, 5 }, content(tiny():filter(function(_, row) return row.roll == "a" end)))
    assert.same({ 10 }, content(tiny():filter(function(_, _, i) return i > 9 end)))
    assert.equal(0, #tiny():filter(function() return false end))
  end)

  it("has changed images, and labels", function()
    local set = tiny():map(function(image, label, row)
      if row.angle == 20 then return image:slice(2, 1, 2) * 2, 3 end
      return image:slice(2, 1, 2), label
    end)
    assert.same({ 10, 2, 2, 1 }, set:images():shape())
    assert.same({ 2, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, content(set))
    assert.same({ 3, 2, 3, 1, 2, 3, 1, 2, 3, 1 }, set.label)
    assert.same(tiny().meta, set.meta)
    assert.same({ 10, 2, 3, 1 }, tiny():map(function(image) return image:select(3, 1) end):images():shape())
    assert.error_matches(function() tiny():map(function() return 3 end) end, "map: the new image is 3, wanted a tensor")
  end)

  it("may have more than 4,096 images", function()
    local labels, n = {}, 5000
    for i = 1, n do labels[i] = 1 end
    local set = tr.data.tensors { images = (tr.arange(n) % 251):reshape(n, 1, 1, 1):to "u8", labels = labels }
    local mapped = set:map(function(image) return image * 2 end)
    assert.equal(n, #mapped)
    assert.near(2 * (4999 % 251) / 255, mapped:get(4999):item(), 1e-6)
  end)

  it("counts with floats that are whole", function()
    local set = tiny()
    assert.same(set:get(2):totable(), set:get(4 / 2):totable())
    assert.same(set:get(-1):totable(), set:get(-2 / 2):totable())
    assert.same({ 3, 2 }, content(set:subset { 6 / 2, 2.0 }))
    assert.same(set:images(2, 3):totable(), set:images(2.0, 9 / 3):totable())
    assert.same(set:images(2):totable(), set:images(2.0):totable())
    for _, at in ipairs { 1.5, 0 / 0, "1", 1e300 } do
      assert.has_error(function() set:get(at) end)
      assert.has_error(function() set:subset { at } end)
      assert.has_error(function() set:images(at) end)
    end
  end)

  it("says which image does not fit the first", function()
    local set = tiny()
    local function failure(change) return select(2, pcall(set.map, set, change)) end
    local count = 0
    local message = failure(function(image)
      count = count + 1
      return count == 4 and image:slice(1, 1, 1) or image
    end)
    assert.matches("map: the image of sample 4 is f32 {1,3,1}, that of sample 1 f32 {2,3,1}", message, 1, true)
    message = failure(function(image, label) return label == 1 and image or (image * 255):to "u8" end)
    assert.matches("map: the image of sample 2 is u8", message, 1, true)
  end)

  it("joins sets of equal classes", function()
    local all = tiny():subset({ 1, 2 }):concat(tiny():subset { 10 }, tiny():subset({ 3 }))
    assert.same({ 1, 2, 10, 3 }, content(all))
    assert.same({ 1, 2, 1, 3 }, all.label)
    assert.same({ "a", "a", "b", "a" }, all.meta.roll)
    local other = tr.data.tensors { images = tr.zeros(1, 2, 3, 1), labels = { 1 }, classes = { "good", "cut", "hole" },
      meta = { camera = { "left" } } }
    local function rolls(values)
      return tr.data.tensors { images = tr.zeros(#values, 2, 3, 1), labels = tr.ones({ #values }, { dtype = "i64" }),
        classes = { "good" }, meta = { piece = values }, groups = "piece" }
    end
    local texts = rolls({ 1, 2 }):concat(rolls { 1.0, 3.5, 0 / 1 }, rolls { "p", "1" }).meta.piece
    assert.same({ "1", "2", "1", "3.5", "0.0", "p", "1" }, texts)
    assert.equal("piece", rolls({ 1, 2 }):concat(other:subset {}:relabel { ["*"] = "good" }).group)
    local bare = tr.data.tensors { images = tr.zeros(1, 2, 3, 1), labels = { 1 }, classes = { "good" } }
    assert.equal("piece", bare:concat(rolls { 1, 2 }).group)
    all = tiny():concat(other)
    assert.equal(11, #all)
    assert.equal("f32", all.source.dtype)
    assert.same({ false, "left" }, { all.meta.camera[10], all.meta.camera[11] })
    assert.same({ 200, false }, { all.meta.angle[10], all.meta.angle[11] })
    assert.error_matches(function() tiny():concat(tiny():relabel { cut = "defect" }) end,
      "concat: set 2: the classes differ: only this set has 'defect'; it lacks 'cut'")
    local wide = tr.data.tensors { images = tr.zeros(1, 2, 4, 1), labels = { 1 }, classes = { "good", "cut", "hole" } }
    assert.error_matches(function() tiny():concat(wide) end, "{2,3,1} in set 1, {2,4,1} in set 2")
    assert.error_matches(function() tiny():concat { tiny() } end, "concat: set 2 is {a table}, wanted a set")
    assert.error_matches(function() tiny():concat(tr.data.open "/nowhere") end, "concat: set 2 is nil, wanted a set")
    assert.error_matches(function() tiny():concat(tiny(), nil) end, "concat: set 3 is nil, wanted a set")
    for _, method in ipairs { "map", "filter" } do
      assert.error_matches(function() tiny()[method](tiny()) end, method .. ": the function is nil, wanted a function")
    end
  end)

  it("has other classes", function()
    local two = tiny():relabel { good = "good", ["*"] = "defect" }
    assert.same({ "good", "defect" }, two.classes)
    assert.same({ 1, 2, 2, 1, 2, 2, 1, 2, 2, 1 }, two.label)
    assert.same({ "good", "tear" }, tiny():relabel({ cut = "tear", hole = "tear" }).classes)
    assert.error_matches(function() tiny():relabel { god = "fine", ["*"] = "defect" } end,
      "relabel: there is no class 'god'; the set has good, cut, hole")
    local by_roll = tiny():relabel(function(name, row) return row.roll .. "/" .. name end)
    assert.same({ "a/good", "a/cut", "a/hole", "b/hole", "b/good", "b/cut" }, by_roll.classes)
    assert.equal(4, by_roll.label[6])
    assert.error_matches(function() tiny():relabel(5) end, "relabel: names is 5, wanted a table or a function")
    assert.error_matches(function() tiny():relabel(function() end) end,
      "relabel: the new name of 'good' is nil, wanted a text")
  end)

  it("is decoded once into memory", function()
    local set = tiny():subset({ 3, 1 }):cache()
    assert.equal("u8", set.source.dtype)
    assert.same({ 3, 1 }, content(set))
    assert.equal(2, #set.source)
    assert.equal("f32", tr.data.tensors({ images = tr.rand(2, 3, 3, 1), labels = { 1, 1 } }):cache().source.dtype)
  end)

  it("is saved as .npy and read again", function()
    local folder = support.folder()
    local X, Y = folder .. "/X.npy", folder .. "/Y.npy"
    assert.is_true(tiny():subset({ 7, 2, 9 }):save_npy(X, Y))
    assert.equal("u8", tr.load_npy(X).dtype)
    assert.same({ 0, 1, 2 }, tr.load_npy(Y):totable())
    local back = assert(tr.data.open(folder))
    assert.same({ 7, 2, 9 }, content(back))
    assert.same({ 1, 2, 3 }, back.label)
    local ok, message = tiny():save_npy(folder .. "/none/X.npy")
    assert.is_nil(ok)
    assert.matches("none/X.npy", message, 1, true)
  end)

  it("takes 1.0 for the label 1, wherever labels are given", function()
    local set = tr.data.tensors { images = tr.zeros(2, 3, 3, 1), labels = { 4 / 2, 1.0 }, classes = { "a", "b" } }
    for _, same in ipairs {
      set, set:with_labels({ 2.0, 1.0 }, { "a", "b" }), set:map(function(image, label) return image, label * 2 / 2 end),
      tr.data.Set.new { source = set.source, labels = { 2.0, 1.0 }, classes = { "a", "b" } },
    } do
      assert.same({ "integer", "integer" }, { math.type(same.label[1]), math.type(same.label[2]) })
      assert.same({ 2, 1 }, same:labels():totable())
    end
    assert.error_matches(function() set:with_labels({ 1.5, 1 }, { "a" }) end, "label 1.5 of sample 1: classes are 1..1")
  end)

  it("comes alone from data.open, so that it can be the last argument of a call", function()
    local set, folder = tiny(), support.folder()
    assert(set:save_npy(folder .. "/aloneX.npy", folder .. "/aloneY.npy"))
    assert(set:save_folder(folder .. "/alone"))
    assert.equal(1, select("#", tr.data.open(folder .. "/aloneX.npy")))
    local pictures = assert(tr.data.open(folder .. "/alone"))
    assert.equal(2 * #set, #pictures:concat(tr.data.open(folder .. "/alone")))
  end)

  it("is checked when it is made", function()
    local images = tr.zeros(2, 3, 3, 1)
    for reason, fields in pairs {
      ["1 labels for 2 images"] = { labels = { 1 }, classes = { "a" } },
      ["label 2 of sample 1: classes are 1..1"] = { labels = { 2, 1 }, classes = { "a" } },
      ["label 0 of sample 2"] = { labels = { 1, 0 }, classes = { "a" } },
      ["column 'c' has 1 values for 2 images"] = { labels = { 1, 1 }, classes = { "a" }, meta = { c = { 1 } } },
      ["there is no column 'g' to group by"] = { labels = { 1, 1 }, classes = { "a" }, group = "g" },
    } do
      fields.source = core.source(images)
      local ok, message = pcall(function() tr.data.Set.new(fields) end)
      assert.is_false(ok)
      assert.matches(reason, message, 1, true)
      assert.matches("data_spec.lua", message, 1, true)
    end
  end)
end)
