--- What a set writes is what the readers read.
local tr = require "texres"
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
      source = tr.source(tr.zeros(2, 4, 4, 1)), labels = { 1, 1 }, classes = { "a" },
      meta = { note = { 'big, and "red"', "plain" }, size = { 0.5, 0 / 0 } },
    }
    assert(set:save_csv(path))
    assert.are.equal('index,indication_type,indication_value,note,size\n0,a,0,"big, and ""red""",0.5\n1,a,0,plain,\n',
      support.read_file(path))
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

  it("says where it could not write", function()
    local ok, message = fabric():save_csv "/nowhere/index.csv"
    assert.is_nil(ok)
    assert.matches("/nowhere/index.csv", message, 1, true)
    ok, message = fabric():save_folder "/dev/null/pictures"
    assert.is_nil(ok)
    assert.matches("/dev/null/pictures", message, 1, true)
  end)
end)
