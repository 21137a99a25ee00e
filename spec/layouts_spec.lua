--- Where pictures, masks and labels lie: trees of folders, groups of HDF5 files, members of archives.
local tr = require "texres"
local support = require "spec.support"

local fixtures = "spec/fixtures/data/"

--- The warnings that `call` gives, joined; and what it returns.
local function said(call)
  local before, lines = rawget(tr, "warn"), {}
  rawset(tr, "warn", function(message) lines[#lines + 1] = message end)
  local set, message = call()
  rawset(tr, "warn", before)
  return table.concat(lines, "\n"), set, message
end

--- A new folder with two pictures in each folder named, and with the files named, which are empty. "docs/" stays empty.
local function tree(...)
  local root = support.folder()
  for _, name in ipairs { ... } do
    local is_file = name:find "%.%w+$" ~= nil
    local folder = root .. "/" .. (is_file and (name:match "^(.*)/" or "") or name)
    os.execute(("mkdir -p '%s'"):format(folder))
    if is_file then
      support.write_file(root .. "/" .. name, "")
    elseif not name:match "/$" then
      for i = 1, 2 do assert(tr.write_png(("%s/%d.png"):format(folder, i), tr.full({ 2, 2 }, i / 2))) end
    end
  end
  return root
end

local function check(root, classes, labels, split)
  local warnings, set, message = said(function() return tr.data.open(root) end)
  assert.is_not_nil(set, message)
  assert.same(classes, set.classes)
  assert.same(labels, set.label)
  assert.same(split, set.meta.split)
  return warnings
end

local function refuses(open, ...)
  local _, set, message = said(open)
  assert.is_nil(set)
  for _, part in ipairs { ... } do assert.matches(part, message, 1, true) end
end

describe("folders of parts", function()
  it("are parts whatever lies beside them", function()
    local split = { "test", "test", "train", "train", "train", "train" }
    for _, other in ipairs { "docs/", "__MACOSX/", "docs/readme.txt", "__MACOSX/train/good/._1.png", ".git/x.png" } do
      local root = tree("train/good", "train/cut", "test/good", other)
      check(root, { "cut", "good" }, { 2, 2, 1, 1, 2, 2 }, split)
    end
    local warnings = check(tree("train/good", "train/cut", "test/good", "docs"), { "cut", "good" },
      { 2, 2, 1, 1, 2, 2 }, split)
    assert.matches("passed over 2 pictures in docs/", warnings, 1, true)
    check(tree("Train/good", "TEST/cut"), { "cut", "good" }, { 1, 1, 2, 2 }, { "TEST", "TEST", "Train", "Train" })
  end)

  it("have one list of classes, with those that are empty in one", function()
    local warnings = check(tree("train/a", "train/b", "train/c", "test/a", "test/b/", "test/c"), { "a", "b", "c" },
      { 1, 1, 3, 3, 1, 1, 2, 2, 3, 3 },
      { "test", "test", "test", "test", "train", "train", "train", "train", "train", "train" })
    assert.matches("no images of 'b' in test", warnings, 1, true)
  end)

  it("may lie below the classes", function()
    check(tree("good/train", "good/test", "cut/train"), { "cut", "good" }, { 1, 1, 2, 2, 2, 2 },
      { "train", "train", "test", "test", "train", "train" })
  end)

  it("are told from classes of such names by `classes`", function()
    local root = tree("good", "train")
    refuses(function() return tr.data.open(root) end, "/train is named like a part of a set", "`classes`")
    assert.same({ 2, 2, 1, 1 }, assert(tr.data.open(root, { classes = { "train", "good" } })).label)
    refuses(function() return tr.data.open(tree("train", "test")) end, "named like a part of a set")
    refuses(function() return tr.data.open(tree("good", "cut", "test/good")) end, "stands beside 'test'")
  end)
end)

describe("folders of classes", function()
  it("are classes without a picture too, which is said", function()
    local warnings = check(tree("a", "b/", "c"), { "a", "b", "c" }, { 1, 1, 3, 3 })
    assert.matches("no images of 'b'", warnings, 1, true)
    local set = assert(tr.data.open(tree("a", "b/", "c"), { classes = { "c", "a" } }))
    assert.same({ "c", "a" }, set.classes)
  end)

  it("that are numbers stand in the order of these", function()
    check(tree("10", "2", "1", "x"), { "1", "2", "10", "x" }, { 1, 1, 3, 3, 2, 2, 4, 4 })
    local path = support.write_file(support.folder() .. "/l.csv", "n, label\n1, 10\n2, 2\n3, 1\n")
    local set = assert(tr.data.tensors { images = tr.zeros(3, 2, 2), labels = path }) -- blanks follow the commas
    assert.same({ " 1", " 2", " 10" }, set.classes)
  end)

  it("are not guessed a level too high", function()
    refuses(function() return tr.data.open(tree("data/good", "data/cut")) end, "'data'", "/data if these are the")
    refuses(function() return tr.data.open(tree("a/b/good", "a/b/cut")) end, "/a/b if these are the classes")
    local set = assert(tr.data.open(tree("good/roll1", "good/roll2"), { classes = { "good" } }))
    assert.equal(4, #set)
    check(tree("good/roll1", "cut/roll1", "cut/roll2"), { "cut", "good" }, { 1, 1, 1, 1, 2, 2 })
  end)

  it("are not taken for classes where they are called like parts and hold folders of pictures", function()
    for _, pair in ipairs {
      { "train_set", "test_set" }, { "Train1", "Test1" }, { "images_train", "images_test" }, { "x-train", "other" },
    } do
      local root = tree(pair[1] .. "/good", pair[1] .. "/cut", pair[2] .. "/good")
      refuses(function() return tr.data.open(root) end, "holds pictures in folders of its own and may be a part of a "
        .. "set: name it t", "name the classes with `classes`")
      local set = assert(tr.data.open(root, { classes = pair }))
      assert.same({ 4, 2 }, set:counts())
    end
    check(tree("test_piece", "constraint/1"), { "constraint", "test_piece" }, { 1, 1, 2, 2 })
  end)

  it("are none where a table lists the pictures of one folder", function()
    local root = tree("images", "masks")
    local list = support.write_file(root .. "/train.csv", "file,label\nimages/1.png,cut\nimages/2.png,good\n")
    check(root, { "cut", "good" }, { 1, 2 })
    assert.same({ 2, 1 }, assert(tr.data.open(root, { classes = { "good", "cut" } })).label)
    local _, set = said(function() return tr.data.open(root, { classes = { "images" } }) end)
    assert.same({ 1, 1 }, set.label)
    local text = support.read_file(list)
    support.write_file(root .. "/test.csv", text)
    refuses(function() return tr.data.open(root) end, "test.csv, ", "train.csv", "open one of them")
    os.remove(root .. "/test.csv")
    os.rename(list, root .. "/index.csv")
    check(root, { "cut", "good" }, { 1, 2 })
    support.write_file(root .. "/index.csv", "file,roll\nimages/1.png,a\nimages/2.png,b\n")
    assert.same({ "a", "b" }, assert(select(2, said(function() return tr.data.open(root) end))).meta.roll)
  end)

  it("say which files they pass over", function()
    local warnings = check(tree("good", "cut", "good/1.tif", "good/2.tiff", "cut/x.WEBP", "top.tif", "cut/a.txt"),
      { "cut", "good" }, { 1, 1, 2, 2 })
    assert.matches("passed over 2 .tif, 1 .tiff, 1 .txt, 1 .webp (png, jpg,", warnings, 1, true)
    refuses(function() return tr.data.open(tree("good/1.tif", "cut/2.webp")) end, "no pictures", "1 .tif, 1 .webp")
    refuses(function() return tr.data.open(tree("1.tif")) end, "no pictures", "1 .tif")
  end)

  it("say so when only some pictures have a mask", function()
    local root = support.folder()
    assert(tr.data.fabric { count = 6, size = 8, masks = true }:save_folder(root))
    assert.is_not_nil(assert(tr.data.open(root)).masks)
    assert(os.remove(root .. "/masks/good/1.png"))
    for _, open in ipairs {
      function() return tr.data.folder { path = root } end,
      function() return tr.data.csv { file = root .. "/index.csv" } end,
    } do
      local warnings, set = said(open)
      assert.is_nil(set.masks)
      assert.matches("masks: only 5 of 6 pictures have a mask, " .. root .. "/good/1.png has none", warnings, 1, true)
    end
  end)

  it("take masks for masks", function()
    local root = tree("good", "hole", "masks", "hole/masks")
    os.execute(("cp %s/hole/1.png %s/hole/1_mask.png"):format(root, root))
    assert.matches("3 masks or folders of masks", check(root, { "good", "hole" }, { 1, 1, 2, 2 }), 1, true)
    check(tree("train/good", "test/good", "test/hole", "ground_truth/hole"), { "good", "hole" }, { 1, 1, 2, 2, 1, 1 },
      { "test", "test", "test", "test", "train", "train" })
  end)
end)

describe("HDF5 groups", function()
  local list, absent = tr.hdf5_datasets(fixtures .. "parts.h5")
  if not list then
    it("need HDF5", function() assert.matches("built without HDF5", absent) end)
    return
  end

  local function open(name, options) return tr.data.open(fixtures .. name .. ".h5", options) end

  --- The labels of a set of the pattern, image n labelled n mod 3, by its pixels.
  local function check_labels(set)
    local images = set:images()
    for i = 1, #set do
      local n
      for k = 0, 5 do if math.abs(images[i][1][1]:item() * 255 - 37 * k % 251) < 0.5 then n = k end end
      assert.equal(tostring(n % 3), set.classes[set.label[i]])
    end
  end

  it("may be parts with labels of their own", function()
    local warnings, set, message = said(function() return open "parts" end)
    assert.is_not_nil(set, message)
    assert.same({ "test", "test", "train", "train", "train", "train" }, set.meta.split)
    check_labels(set)
    assert.matches("passed over /docs/logo", warnings, 1, true)
    check_labels(assert(select(2, said(function() return open("parts", { labels = "labels" }) end))))
    set = assert(open "parts_classes")
    assert.same({ "cut", "good" }, set.classes)
    assert.same({ 1, 1, 2, 1, 2, 2 }, set.label)
    assert.same({ "test", "test", "test", "train", "train", "train" }, set.meta.split)
    refuses(function() return open "parts_bare" end, "no labels found", "'/test', '/train'")
  end)

  it("say in which order they are read where labels or rows are theirs by position alone", function()
    local folder, order = support.folder(), "are taken for the images of /test, /train, in this order"
    local warnings, set = said(function() return open "parts_common" end)
    check_labels(set)
    assert.matches("parts_common.h5: the labels in '/labels' " .. order, warnings, 1, true)
    local array = folder .. "/Y.npy"
    assert(tr.save_npy(array, tr.tensor({ 1, 2, 0, 1, 2, 0 }, { dtype = "i64" })))
    warnings, set = said(function() return open("parts_bare", { labels = array }) end)
    check_labels(set)
    assert.matches("Y.npy: its labels " .. order, warnings, 1, true)
    local rows = "label,%s\n1,test\n2,test\n0,train\n1,train\n2,train\n0,train\n"
    local other = support.write_file(folder .. "/other.csv", rows:format "roll")
    for _, options in ipairs { { labels = other }, { labels = array, meta = folder .. "/other.csv" } } do
      warnings = said(function() return assert(open("parts_bare", options)) end)
      assert.matches("other.csv: its rows " .. order, warnings, 1, true)
    end
    local told = support.write_file(folder .. "/told.csv", rows:format "split")
    assert.equal("", (said(function() return assert(open("parts_bare", { labels = told })) end)))
    assert.equal("", (said(function() return assert(open("parts_bare", { labels = { 2, 3, 1, 2, 3, 1 } })) end)))
    assert.not_matches("in this order", (said(function() return assert(open("parts", { meta = other })) end)))
  end)

  it("may be neither parts nor surely classes, when labels stand in them", function()
    for _, options in ipairs { {}, { classes = { "0", "1", "2" } } } do
      refuses(function() return open("cameras", options) end, "the groups 'left' ... may be classes",
        "/left/labels may hold labels", "say labels = 'labels' for these, labels = false for the groups")
    end
    local set = assert(open("cameras", { labels = "labels" }))
    assert.same({ "0", "1", "2" }, set.classes)
    check_labels(set)
    set = assert(open("cameras", { labels = false }))
    assert.same({ "left", "right" }, set.classes)
    assert.same({ 1, 1, 1, 2, 2, 2 }, set.label)
  end)

  it("are not joined where some hold bytes and others the same as floats", function()
    refuses(function() return open "parts_mixed" end, "parts_mixed.h5: the pixels of array 2 are bytes, taken for "
      .. "0..1, those of array 1 have the range 0..255: open it with scale = 1 / 255")
    check_labels(assert(open("parts_mixed", { scale = 1 / 255 })))
  end)

  it("may hold masks, which are masks", function()
    for _, name in ipairs { "masks", "masks_classes" } do
      local set = assert(open(name))
      assert.equal(6, #set)
      local masks, images = set.masks:images(set.index):gt(0), (set:images() * 255):gt(100.5)
      assert.is_true(tr.allclose(masks:to "f32", images:to "f32", 0))
    end
    check_labels(open "masks")
    assert.same({ "cut", "good" }, open("masks_classes").classes)
    refuses(function() return open "masks_short" end, "masks {5,5,4} don't fit 6 images of 5x4")
  end)

  it("may have their labels given", function()
    for _, name in ipairs { "nested", "parts_bare", "wrapped", "masks_classes" } do
      local set = assert(open(name, { labels = { 3, 1, 2, 3, 1, 2 }, classes = { "a", "b", "c" } }))
      assert.same({ 3, 1, 2, 3, 1, 2 }, set.label)
      assert.same({ "a", "b", "c" }, set.classes)
      refuses(function() return open(name, { labels = { 1, 1 } }) end, "2 labels for 6 images")
    end
    local path = support.write_file(support.folder() .. "/l.csv", "label\nx\ny\nx\ny\nx\ny\n")
    assert.same({ 1, 2, 1, 2, 1, 2 }, open("nested", { labels = path }).label)
  end)

  it("are not guessed a level too high, nor labels among several", function()
    refuses(function() return open "wrapped" end, "/data/a and /data/b", "`dataset`")
    refuses(function() return open "several_labels" end, "no labels found", "'/labels', '/y'")
    refuses(function() return open "parts_named" end, "the group 'test1' may be a part of a set: name it test if it is")
    assert.same({ "train1", "test1" }, open("parts_named", { classes = { "train1", "test1" } }).classes)
    assert.same({ 3, 2, 1, 3, 2, 1 }, open("several_labels", { labels = "y" }).label)
  end)

  it("say which arrays can't be read: labels that are text", function()
    for _, options in ipairs { {}, { labels = "labels" }, { labels = "/labels" } } do
      refuses(function() return open("text", options) end, "arrays: '/images'; not read: /labels holds text")
    end
    refuses(function() return tr.data.npz { file = fixtures .. "members.npz", labels = "names" } end,
      "not read: ", "names: element type '<U1' is not supported: text has no tensor type")
    refuses(function() return open("text", { dataset = "labels" }) end, "text.h5: /labels holds text")
    local path = support.write_file(support.folder() .. "/l.csv", "labels\nx\ny\nx\ny\nx\ny\n")
    assert.same({ 1, 2, 1, 2, 1, 2 }, open("text", { labels = "labels", meta = path }).label) -- a column of that name
  end)

  it("take no labels of another part", function()
    assert.same({ 1, 2, 3 }, assert(open("keras", { dataset = "test_images" })).label)
    assert.same({ 3, 2, 1 }, assert(open("keras", { dataset = "train_images" })).label)
    refuses(function() return open("keras", { dataset = "val_images" }) end, "no labels found", "'/train_labels'")
    refuses(function() return open "keras" end, "`dataset`")
  end)

  it("say which names there are", function()
    refuses(function() return open("several_labels", { labels = "y_trian" }) end, "'y_trian'",
      "arrays: '/images', '/labels', '/y'")
    refuses(function() return open("masks", { dataset = "data/image" }) end, "no '/data/image'", "/data/images")
  end)
end)

describe("archives", function()
  it("take masks for masks", function()
    local set = assert(tr.data.npz { file = fixtures .. "masks.npz" })
    assert.same({ 1, 2, 3, 1, 2, 3 }, set.label)
    assert.equal(6, #set.masks)
  end)

  it("find the labels that belong to the images", function()
    local set = assert(tr.data.npz { file = fixtures .. "parts.npz", dataset = "x_test" })
    assert.same({ 2, 3 }, set.label)
    refuses(function() return tr.data.npz { file = fixtures .. "parts.npz" } end, "x_test and x_train", "`dataset`")
    refuses(function()
      return tr.data.npz { file = fixtures .. "parts.npz", dataset = "x_train", labels = "y_trian" }
    end, "'y_trian'", "'x_test', 'x_train', 'y_test', 'y_train'")
  end)
end)

describe("files beside images", function()
  it("are an error where several may hold the labels", function()
    local folder = support.folder()
    assert(tr.zeros({ 2, 2, 2 }, { dtype = "u8" }):save_npy(folder .. "/X_images.npy"))
    assert(tr.tensor({ 0, 1 }, { dtype = "i64" }):save_npy(folder .. "/Y_images.npy"))
    assert.same({ 1, 2 }, assert(tr.data.open(folder .. "/X_images.npy")).label)
    assert(tr.tensor({ 1, 0 }, { dtype = "i64" }):save_npy(folder .. "/X_labels.npy"))
    refuses(function() return tr.data.open(folder .. "/X_images.npy") end, "Y_images.npy or ", "X_labels.npy")
    assert.same({ 2, 1 }, assert(tr.data.open(folder .. "/X_images.npy", { labels = folder .. "/X_labels.npy" })).label)
  end)

  it("are an error where several tables fit, or the set's own does not", function()
    local folder = support.folder()
    assert(tr.zeros({ 2, 2, 2 }, { dtype = "u8" }):save_npy(folder .. "/X.npy"))
    assert(tr.tensor({ 0, 1 }, { dtype = "i64" }):save_npy(folder .. "/Y.npy"))
    support.write_file(folder .. "/a.csv", "roll\n1\n2\n")
    assert.same({ 1, 2 }, assert(tr.data.open(folder)).meta.roll)
    support.write_file(folder .. "/b.csv", "roll\n3\n4\n")
    refuses(function() return tr.data.open(folder) end, "a.csv or ", "b.csv", "`meta`")
    support.write_file(folder .. "/index.csv", "roll\n5\n6\n")
    assert.same({ 5, 6 }, assert(tr.data.open(folder)).meta.roll)
    support.write_file(folder .. "/X.csv", "roll\n7\n")
    refuses(function() return tr.data.open(folder) end, "X.csv", "1 values, there are 2 images", "meta = {}")
    assert.is_nil(assert(tr.data.open(folder, { meta = {} })).meta.roll)
    os.remove(folder .. "/X.csv")
    support.write_file(folder .. "/index.csv", "roll\n7\n")
    os.remove(folder .. "/a.csv")
    assert.matches("index.csv is left out: it has 1 rows, there are 2 images", (said(function()
      return tr.data.open(folder)
    end)), 1, true)
  end)

  it("are an error where the table of a folder of pictures is damaged", function()
    local root = tree("good", "cut")
    support.write_file(root .. "/index.csv", "path,roll\ngood/1.png\n")
    refuses(function() return tr.data.open(root) end, "index.csv: line 2: 1 cells", "meta = {}")
    support.write_file(root .. "/index.csv", "path,roll\ngood/1.png,1\n")
    refuses(function() return tr.data.open(root) end, "index.csv: 3 of 4 pictures have no row", "meta = {}")
    assert.equal(4, #assert(tr.data.open(root, { meta = {} })))
    support.write_file(root .. "/index.csv",
      "path,label\ngood/1.png,good\ncut/1.png,cut\ngood/2.png,cut\ncut/2.png,cut\n")
    local warnings, set = said(function() return tr.data.open(root) end)
    assert.same({ 1, 1, 2, 2 }, set.label)
    assert.matches("column 'label' of .* says something else, first in line 4", warnings)
  end)

  it("may be a table with the labels", function()
    local folder = support.folder()
    assert(tr.zeros({ 2, 2, 2 }, { dtype = "u8" }):save_npy(folder .. "/X.npy"))
    support.write_file(folder .. "/index.csv", "label\ny\nx\n")
    assert.same({ 2, 1 }, assert(tr.data.open(folder)).label)
    support.write_file(folder .. "/X.csv", "label\ny\nx\n")
    support.write_file(folder .. "/X.h5", "")
    refuses(function() return tr.data.open(folder .. "/X.csv") end, "X.h5 or ", "X.npy")
  end)

  it("are not passed over because they can't be read", function()
    local pictures = { "good/1.png", "cut/1.png", "masks/good/1.png" }
    local root, folder = tree("masks/cut/2.png", table.unpack(pictures)), support.folder()
    for _, name in ipairs(pictures) do assert(tr.write_png(root .. "/" .. name, tr.zeros(2, 2, 1))) end
    local function opens(path, ...)
      assert(os.execute("mkfifo " .. path))
      refuses(..., path .. ": is a named pipe, a file is wanted")
      assert(os.remove(path))
    end
    opens(root .. "/index.csv", function() return tr.data.open(root) end)
    assert(tr.zeros({ 2, 2, 2 }, { dtype = "u8" }):save_npy(folder .. "/X.npy"))
    for _, name in ipairs { "/Y.npy", "/X.csv" } do
      opens(folder .. name, function() return tr.data.open(folder .. "/X.npy") end)
    end
    opens(root .. "/masks/cut/1.png", function() return tr.data.open(root) end)
  end)

  it("are said to be in another order where their labels differ", function()
    local folder = support.folder()
    assert(tr.zeros({ 3, 2, 2 }, { dtype = "u8" }):save_npy(folder .. "/X.npy"))
    assert(tr.tensor({ 0, 1, 0 }, { dtype = "i64" }):save_npy(folder .. "/Y.npy"))
    support.write_file(folder .. "/index.csv", "label,roll\n0,1\n0,1\n1,2\n")
    local warnings = said(function() return tr.data.open(folder) end)
    assert.matches("column 'label' of .*index.csv says something else, first in line 3: are its rows in", warnings)
    support.write_file(folder .. "/index.csv", "index,roll\n0,1\n2,1\n1,2\n")
    assert.matches("column 'index' is not in the order of the rows, first in line 3", (said(function()
      return tr.data.open(folder)
    end)))
    support.write_file(folder .. "/index.csv", "index,roll\n10,1\n20,1\n5,2\n") -- positions in another file
    assert.equal("", (said(function() return tr.data.open(folder) end)))
  end)
end)
