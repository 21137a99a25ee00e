--- What a set writes is what the readers read.
local tr = require "texres"
local core = require "texres.core"
local support = require "spec.support"

local function fabric() return tr.data.fabric { count = 24, size = 16, seed = 4, weave = "mixture" } end

local function same_images(a, b) return tr.allclose(a:images(), b:images(), 1e-6) end

describe("saving a set", function()
  it("writes arrays and a table that are opened as the same set", function()
    local set, folder = fabric(), support.folder()
    assert(set:save_npy(folder .. "/X.npy", folder .. "/Y.npy"))
    assert(set:save_csv(folder .. "/index.csv"))
    local read = assert(tr.data.npy {
      images = folder .. "/X.npy", labels = folder .. "/index.csv", classes = set.classes,
      groups = folder .. "/index.csv:source",
    })
    assert.is_true(same_images(set, read))
    assert.are.same(set.label, read.label)
    assert.are.same(set.meta.angle, read.meta.angle)
    assert.are.same(set.meta.source, read.meta.source)
    assert.are.same(set.meta.weave, read.meta.weave)
    local text = support.read_file(folder .. "/index.csv")
    assert.matches("^index,indication_type,indication_value,angle,", text)
    assert.matches("\n1,color,1,0", text, 1, true)
  end)

  it("writes a folder of arrays that is opened as the same set", function()
    local set, folder = tr.data.fabric { count = 12, size = 16, masks = true }, support.folder() .. "/new/arrays"
    assert(set:save_arrays(folder))
    local read = assert(tr.data.open(folder))
    assert.is_true(same_images(set, read))
    assert.same({ set.label, set.classes, set.meta.source }, { read.label, read.classes, read.meta.source })
    local masked = assert(tr.data.open(folder .. "/X.npy", { masks = folder .. "/masks.npy" }))
    assert.same(set:covers(), masked:covers())
    support.write_file(folder .. "/file", "")
    local ok, message = set:save_arrays(folder .. "/file")
    assert.is_nil(ok)
    assert.matches("file: can't make the folder", message)
  end)

  it("writes pictures that are opened as the same set, by folder and by list", function()
    local set, folder = fabric(), support.folder() .. "/pictures"
    assert(set:save_folder(folder))
    local by_list = assert(tr.data.csv { file = folder .. "/index.csv", classes = set.classes })
    assert.is_true(same_images(set, by_list))
    assert.are.same(set.label, by_list.label)
    assert.are.same(set.meta.source, by_list.meta.source)
    local by_folder = assert(tr.data.folder { path = folder, classes = set.classes })
    assert.are.same(set:counts(), by_folder:counts())
  end)

  it("quotes what a comma or a quote stands in", function()
    local path = support.folder() .. "/index.csv"
    local set = tr.data.Set.new {
      source = core.source(tr.zeros(2, 4, 4, 1)), labels = { 1, 1 }, classes = { "a" },
      meta = { note = { 'big, and "red"', "plain" }, size = { 0.5, 0 / 0 } },
    }
    assert(set:save_csv(path))
    assert.are.equal('index,indication_type,indication_value,note,size\n0,a,0,"big, and ""red""",0.5\n'
      .. "1,a,0,plain,nan\n", support.read_file(path))
  end)

  it("refuses pictures that would not come back as they went", function()
    for reason, image in pairs {
      ["it has 2 channels, pictures 1 or 3"] = tr.rand(4, 4, 2), ["it has 4 channels"] = tr.rand(4, 4, 4),
      ["a pixel is NaN"] = tr.full({ 4, 4, 1 }, 0 / 0),
      ["its pixels lie within -0.5..-0.5"] = tr.full({ 4, 4, 3 }, -0.5),
    } do
      local good = tr.zeros(1, 4, 4, image:size(3))
      local set = tr.data.tensors { images = tr.cat({ good, image:unsqueeze(1) }, 1), labels = { 1, 1 } }
      local ok, message = set:subset({ 2 }):save_folder(support.folder())
      assert.is_nil(ok)
      assert.matches("save_folder: sample 1: " .. reason, message, 1, true)
    end
  end)

  --- The fabric with a class, a column and cells whose text means something to files, tables or spreadsheets.
  local function hostile()
    local set = fabric()
    local classes = {
      "n/a", ".hidden", "a, a", "..", "train", "x%2Fy", 'say "b"', "=1+1", "masks", "\xE4\xFF", "a b ", "../../up",
      "index.csv",
    }
    local cells = {
      "=1+1", "+1", "-1", "@a", "'=1", "''-1", "'plain", "\tx", "a,b", "a;b", 'a "b"', " lead", "trail ", "x\ny", "",
      "\xE4\xFF", "007", "1.10", "1e5", "true", "nan", "NA", "0x10", "\r",
    }
    local labels, number = {}, { name = {}, whole = {}, ["a, \"b\""] = {}, ["=cmd"] = {} }
    for i = 1, #set do
      labels[i], number.name[i], number.whole[i] = (i - 1) % #classes + 1, cells[i], i - 12
      number["a, \"b\""][i], number["=cmd"][i] = i / 7, i % 3 == 0 and 1 / 0 or i + 0.0
    end
    return tr.data.Set.new {
      source = set.source, labels = labels, classes = classes, meta = number, group = "name",
    }
  end

  --- Whether a set holds the classes and columns of another; sample i of it is of[i] of the other.
  local function check_same(set, read, of)
    assert.equal(#set, #read)
    for i = 1, #read do
      local n = of and of[i] or i
      assert.equal(set.classes[set.label[n]], read.classes[read.label[i]])
      for name, values in pairs(set.meta) do
        assert.equal(values[n], read.meta[name][i], name)
        assert.equal(math.type(values[n]), math.type(read.meta[name][i]), name)
      end
    end
  end

  it("brings every name and cell back as it went", function()
    local set, folder = hostile(), support.folder()
    assert(set:save_csv(folder .. "/index.csv"))
    assert(set:save_npy(folder .. "/X.npy"))
    check_same(set, assert(tr.data.npy { images = folder .. "/X.npy", labels = folder .. "/index.csv" }))
    assert.is_nil(support.read_file(folder .. "/index.csv"):find "[,\n]\"?[=@]", "a cell that a spreadsheet runs")
  end)

  it("writes classes of any name into the folder, and nowhere else", function()
    local set, around = hostile(), support.folder()
    assert(set:save_folder(around .. "/deep/pictures"))
    local files, folders = core.list_folder(around .. "/deep")
    assert.same({ 0, 1 }, { #files, #folders })
    local _, below = core.list_folder(around .. "/deep/pictures")
    assert.equal(#set.classes, #below)
    local read = assert(tr.data.open(around .. "/deep/pictures"))
    local of = {}
    for i, path in ipairs(read.meta.path) do of[i] = math.tointeger(tonumber(path:match "(%d+)%.png$")) end
    check_same(set, read, of)
    check_same(set, assert(tr.data.open(around .. "/deep/pictures/index.csv")))
    local bare = assert(tr.data.open(around .. "/deep/pictures", { meta = {} }))
    assert.same(read.classes, bare.classes)
    assert.same(read.label, bare.label)
  end)

  it("keeps text that looks like a number, and classes that are numbers", function()
    local set, folder = fabric(), support.folder()
    local classes = { "10", "2", "007", "1.5", "-3", "0" }
    local roll, mixed = {}, {}
    for i = 1, #set do roll[i], mixed[i] = ("%d.%d"):format(12, i), i % 2 == 0 and "" or tostring(-i) end
    set = tr.data.Set.new {
      source = set.source, labels = set.label, classes = classes, meta = { roll = roll, mixed = mixed, ["5"] = roll },
    }
    assert(set:save_csv(folder .. "/index.csv"))
    assert(set:save_npy(folder .. "/X.npy"))
    local read = assert(tr.data.open(folder))
    assert.same(classes, read.classes)
    check_same(set, read)
    set = tr.data.Set.new { source = set.source, labels = set.label, classes = { "1", "2", "3", "4", "6", "10" } }
    assert(set:save_folder(folder .. "/pictures"))
    check_same(set, assert(tr.data.open(folder .. "/pictures/index.csv")))
    assert.same(set.classes, assert(tr.data.open(folder .. "/pictures")).classes)
  end)

  it("writes none as an empty cell, true and false as words", function()
    local set, path = fabric():subset { 1, 2, 3 }, support.folder() .. "/t.csv"
    set.meta = { none = { 5, false, 7 }, flag = { true, false, true }, name = { "a", false, "" } }
    assert(set:save_csv(path))
    local read = assert(require("texres.data.columns").read(path)).columns
    assert.same({ 5, false, 7 }, read.none)
    assert.same({ "true", "false", "true" }, read.flag)
    assert.same({ "a", "", "" }, read.name)
  end)

  it("writes a column of numbers that is read as one, whatever zeros and whole numbers are in it", function()
    local set, path = fabric():subset { 1, 2, 3 }, support.folder() .. "/t.csv"
    set.meta = { zero = { -0.0, 0.0, 0.5 }, whole = { 1, 1.0, 0.5 }, float = { 2.0, 2, 0 / 0 } }
    assert(set:save_csv(path))
    local read = assert(require("texres.data.columns").read(path)).columns
    assert.same({ "-0.0", "0.0", "0.5" }, { tostring(read.zero[1]), tostring(read.zero[2]), tostring(read.zero[3]) })
    assert.same({ "1", "1", "0.5" }, { tostring(read.whole[1]), tostring(read.whole[2]), tostring(read.whole[3]) })
    assert.same({ "2.0", "2.0" }, { tostring(read.float[1]), tostring(read.float[2]) })
    assert.are_not.equal(read.float[3], read.float[3])
  end)

  it("leaves out columns that readers would take for the paths", function()
    local set, folder = fabric(), support.folder()
    local elsewhere = {}
    for i = 1, #set do elsewhere[i] = "old/" .. i end
    set.meta = { Path = elsewhere, [" path"] = elsewhere, file = elsewhere }
    local before, said = rawget(tr, "warn"), ""
    rawset(tr, "warn", function(message) said = said .. message end)
    assert(set:save_folder(folder .. "/pictures"))
    rawset(tr, "warn", before)
    assert.matches("column 'Path' is left out: it can't be told from 'path'", said, 1, true)
    local read = assert(tr.data.open(folder .. "/pictures"))
    assert.is_nil(read.meta.Path)
    for i, path in ipairs(read.meta.path) do
      local n = math.tointeger(tonumber(path:match "(%d+)%.png$"))
      assert.equal(set.classes[set.label[n]], read.classes[read.label[i]])
      assert.equal(elsewhere[n], read.meta.file[i])
    end
  end)

  it("leaves out labels that the set has no more", function()
    local set, folder = fabric(), support.folder()
    set.meta.label, set.meta.indication_value = {}, {}
    for i = 1, #set do set.meta.label[i], set.meta.indication_value[i] = "old", set.label[i] - 1 end
    local two = set:relabel { good = "good", ["*"] = "defect" }
    local before, said = rawget(tr, "warn"), ""
    rawset(tr, "warn", function(message) said = said .. message end)
    assert(two:save_folder(folder .. "/pictures"))
    rawset(tr, "warn", before)
    assert.matches("column 'label' is left out", said, 1, true)
    assert.matches("column 'indication_value' is left out", said, 1, true)
    local read = assert(tr.data.open(folder .. "/pictures/index.csv"))
    for i = 1, #two do assert.equal(two.classes[two.label[i]], read.classes[read.label[i]]) end
  end)

  it("mixes no pictures of two sets", function()
    local set, folder = fabric(), support.folder()
    assert(set:save_folder(folder .. "/pictures"))
    assert(set:save_folder(folder .. "/pictures")) -- the same again
    for _, other in ipairs { set:subset { 1, 2, 3 }, set:relabel { good = "sound" } } do
      local ok, message = other:save_folder(folder .. "/pictures")
      assert.is_nil(ok)
      assert.matches("/pictures/%w+/%d+.png is there already and not of this set", message)
    end
    local bare = tr.data.fabric { count = 6, size = 8 }
    assert(tr.data.fabric({ count = 6, size = 8, masks = true }):save_folder(folder .. "/masked"))
    assert(os.execute(("mkdir -p %s/deep/good/old && touch %s/deep/good/old/9.png"):format(folder, folder)))
    for name, other in pairs { masked = "masks/%w+/%d.png", deep = "good/old/9.png" } do
      local ok, message = bare:save_folder(folder .. "/" .. name)
      assert.is_nil(ok)
      assert.matches(name .. "/" .. other .. " is there already and not of this set", message)
    end
  end)

  it("keeps a class without a picture", function()
    local set, folder = fabric():filter(function(label) return label ~= 2 end), support.folder()
    assert(set:save_folder(folder .. "/pictures"))
    local before = rawget(tr, "warn")
    rawset(tr, "warn", function() end)
    local read = assert(tr.data.open(folder .. "/pictures"))
    rawset(tr, "warn", before)
    assert.equal(#set.classes, #read.classes)
  end)

  it("refuses what a table can't hold, and classes without a name of their own", function()
    local source = core.source(tr.zeros(2, 4, 4, 1))
    local set = tr.data.Set.new { source = source, labels = { 1, 1 }, classes = { "a" }, meta = { x = { "\0", "b" } } }
    assert.error_matches(function() set:save_csv(support.folder() .. "/x.csv") end, "zero byte")
    for reason, classes in pairs { ["the class at position 2 is missing (it is 'NaN')"] = { "a", "NaN" },
      ["the class 'a ' at position 2 differs from 'a' in blanks alone"] = { "a", "a " } } do
      local path = support.folder() .. "/x.csv"
      local ok, message = tr.data.Set.new({ source = source, labels = { 1, 2 }, classes = classes }):save_csv(path)
      assert.is_nil(ok)
      assert.equal(("data: %s: %s"):format(path, reason), message)
    end
    for reason, classes in pairs { ['class 2 is "", wanted a name'] = { "a", "" },
      ["1 and 2 are both named 'a'"] = { "a", "a" },
      ["class 1 is 7"] = { 7 } } do
      local ok, message = pcall(tr.data.Set.new, { source = source, labels = { 1, 1 }, classes = classes })
      assert.is_false(ok)
      assert.matches(reason, message, 1, true)
    end
  end)

  it("says where it could not write", function()
    local ok, message = fabric():save_csv "/nowhere/index.csv"
    assert.is_nil(ok)
    assert.matches("/nowhere/index.csv", message, 1, true)
    ok, message = fabric():save_folder "/dev/null/pictures"
    assert.is_nil(ok)
    assert.matches("/dev/null/pictures", message, 1, true)
  end)
end)

describe("a path", function()
  local set, folder = fabric(), support.folder()
  local net = tr.nn.Linear(1, 1)

  it("is taken whole or not at all: the system would stop at a zero byte, and write another file", function()
    local path = folder .. "/a\0b"
    for name, call in pairs {
      save_folder = function() set:save_folder(path) end, save_csv = function() set:save_csv(path) end,
      save_npy = function() set:save_npy(path) end, tensor = function() tr.zeros(1):save_npy(path) end,
      save = function() tr.save(path, { model = net }) end, load = function() tr.load(path) end,
      module = function() net:save(path) end, onnx = function() tr.onnx.export(path, net, { input = { 1 } }) end,
      png = function() tr.write_png(path, tr.zeros(2, 2)) end, image = function() tr.load_image(path) end,
      npy = function() tr.load_npy(path) end, npz = function() tr.load_npz(path) end,
      csv = function() tr.read_csv(path) end, open = function() tr.data.open(path) end,
      folder = function() core.list_folder(path) end, source = function() core.image_source { path } end,
      trainer = function() tr.Trainer { model = net, dir = path } end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok, name)
      assert.matches("save_spec.lua:%d+: .*path", message)
    end
    assert.same({}, (core.list_folder(folder)))
  end)

  it("is not empty: save_folder would begin at the root of all files", function()
    assert.error_matches(function() set:save_folder "" end, 'save_folder: the folder is "", wanted a path')
    assert.error_matches(function() tr.Trainer { model = net, dir = "" } end, 'Trainer: dir is "", wanted a path')
  end)
end)
