--- Readers of data sets: npz, HDF5, CSV, image files; that every route gives the same pixels; hostile files.
local tr = require "texres"
local core = require "texres.core"
local support = require "spec.support"

local folder = support.folder()
local fixtures = "spec/fixtures/data/"

--- The pattern of spec/fixtures/make_data.py: u8 value of pixel (y, x) of image n, all from 0.
local function value(n, y, x) return (37 * n + 11 * y + 5 * x) % 251 end

--- Whether a set holds images n = 0..5 of the pattern, in the order given, with pixels in 0..1.
local function check_pattern(set, order)
  order = order or { 0, 1, 2, 3, 4, 5 }
  assert.equal(#order, #set)
  local images = set:images():totable()
  for i, n in ipairs(order) do
    for y = 0, 4 do
      for x = 0, 3 do
        assert.near(value(n, y, x) / 255, images[i][y + 1][x + 1][1], 1e-6)
      end
    end
  end
end

--- A file cut at many places and with each of its first `bytes` bytes changed in turn: load(path) must return
-- something, or nil and a message with the path. Every change of every byte is the business of fuzz/.
local function damage(source, name, load, bytes)
  local whole, path = support.read_file(source), folder .. "/" .. name
  for length = 0, #whole - 1, math.max(1, #whole // 60) do
    local value_, message = load(support.write_file(path, whole:sub(1, length)))
    assert.is_true(value_ ~= nil or message:find(path, 1, true) ~= nil, message)
  end
  for at = 1, math.min(#whole, bytes) do
    local byte = string.char(whole:byte(at) ~ (at % 3 == 0 and 1 or 255))
    local value_, message = load(support.write_file(path, whole:sub(1, at - 1) .. byte .. whole:sub(at + 1)))
    assert.is_true(value_ ~= nil or message:find(path, 1, true) ~= nil, message)
  end
end

describe("npy", function()
  local labels = { 1, 1, 1, 1, 1, 1 }

  it("reads images of every layout: other byte order, Fortran order, half precision", function()
    local set = assert(tr.data.npy { images = fixtures .. "big_endian.npy", labels = labels })
    check_pattern(set)
    check_pattern(set:subset { 5, 2 }, { 4, 1 })
    check_pattern(assert(tr.data.npy { images = fixtures .. "half_fortran.npy", labels = labels, scale = 256 / 255 }))
    for dtype, format in pairs { ["|u1"] = "B", ["<f4"] = "f", ["<f8"] = "d", ["<i2"] = "h", [">f8"] = ">d" } do
      local data = {}
      for c = 0, 2 do
        for x = 0, 3 do
          for y = 0, 1 do
            for n = 0, 1 do data[#data + 1] = string.pack(format, n * 100 + y * 50 + x * 10 + c) end
          end
        end
      end
      local header = ("{'descr': '%s', 'fortran_order': True, 'shape': (2, 2, 4, 3), }"):format(dtype)
      local path = support.write_file(folder .. "/fortran.npy", "\x93NUMPY\1\0" .. string.pack("<s2", header)
        .. table.concat(data))
      set = assert(tr.data.npy { images = path, labels = { 1, 1 }, scale = 1 / 200 })
      assert.equal(3, set.source.channels)
      for _, at in ipairs { { 1, 1, 1, 1 }, { 2, 2, 4, 3 }, { 1, 2, 3, 2 }, { 2, 1, 2, 3 } } do
        local value_ = (at[1] - 1) * 100 + (at[2] - 1) * 50 + (at[3] - 1) * 10 + at[4] - 1
        assert.near(value_ / 200, set:get(at[1])[at[2]][at[3]][at[4]]:item(), 1e-6)
      end
    end
  end)
end)

describe("npz", function()
  it("reads stored, deflated and ZIP64 archives", function()
    check_pattern(assert(tr.data.npz { file = fixtures .. "stored.npz" }))
    check_pattern(assert(tr.data.npz { file = fixtures .. "zip64.npz" }))
    local set = assert(tr.data.open(fixtures .. "deflated.npz", { classes = { "a", "b", "c" } }))
    check_pattern(set)
    assert.same({ 1, 2, 3, 1, 2, 3 }, set.label)
    assert.same({ 1.5, 2.5 }, tr.load_npz(fixtures .. "deflated.npz", "note"):totable())
    local all = tr.load_npz(fixtures .. "deflated.npz")
    assert.equal("u8", all.images.dtype)
    assert.same({ 0, 1, 2, 0, 1, 2 }, all.labels:totable())
  end)

  it("names what is missing", function()
    local t, message = tr.load_npz(fixtures .. "stored.npz", "Z")
    assert.is_nil(t)
    assert.equal("load_npz: " .. fixtures .. "stored.npz: no member 'Z'", message)
    local set
    set, message = tr.data.npz { file = fixtures .. "stored.npz", dataset = "Z" }
    assert.is_nil(set)
    assert.matches("there is no 'Z'", message)
  end)

  it("notices every damage to the data", function()
    for _, name in ipairs { "stored.npz", "deflated.npz" } do
      local whole = support.read_file(fixtures .. name)
      local at = whole:find("PK\1\2", 1, true) - 20 -- in the last member's data
      local byte = string.char(whole:byte(at) ~ 1)
      local path = support.write_file(folder .. "/flipped.npz", whole:sub(1, at - 1) .. byte .. whole:sub(at + 1))
      local t, message = tr.load_npz(path)
      assert.is_nil(t)
      assert.matches("flipped.npz: .*damaged", message)
    end
  end)

  it("refuses hostile files", function()
    damage(fixtures .. "stored.npz", "d.npz", tr.load_npz, 300)
    damage(fixtures .. "zip64.npz", "d.npz", tr.load_npz, 600)
    local t, message = tr.load_npz(support.write_file(folder .. "/no.npz", ("PK\5\6"):rep(30)))
    assert.is_nil(t)
    assert.matches("no.npz", message, 1, true)
  end)

  it("refuses a member that declares more than its data can hold", function()
    local whole = support.read_file(fixtures .. "deflated.npz")
    local record = whole:find("PK\1\2", 1, true)
    local path = folder .. "/bomb.npz"
    support.write_file(path, whole:sub(1, record + 23) .. string.pack("<I4", 2 ^ 31 | 0) .. whole:sub(record + 28))
    local t, message = tr.load_npz(path)
    assert.is_nil(t)
    assert.matches("more bytes than its data can hold", message)
  end)
end)

describe("images with the channels first", function()
  local advice = "has the channels first: transpose them, with x.transpose(0, 2, 3, 1) in NumPy or images:permute(1, 3,"

  it("are refused by every reader, which says how to turn them", function()
    local path = folder .. "/first.npy"
    for _, channels in ipairs { 1, 2, 3, 4 } do
      assert(tr.zeros({ 2, channels, 8, 9 }, { dtype = "u8" }):save_npy(path))
      local set, message = tr.data.npy { images = path, labels = { 1, 1 } }
      assert.is_nil(set)
      assert.matches(("first.npy: images {N,H,W,C} wanted, {2,%d,8,9} %s"):format(channels, advice), message, 1, true)
    end
    local files = { "channels_first.npz" }
    if tr.hdf5_datasets(fixtures .. "channels_first.h5") then files[2] = "channels_first.h5" end
    for _, name in ipairs(files) do
      local set, message = tr.data.open(fixtures .. name)
      assert.is_nil(set)
      assert.matches(name .. ": ", message, 1, true)
      assert.matches("images {N,H,W,C} wanted, {6,3,4,5} " .. advice, message, 1, true)
    end
    assert.error_matches(function() tr.data.tensors { images = tr.zeros(2, 3, 8, 9), labels = { 1, 1 } } end,
      "source: images {N,H,W,C} wanted, {2,3,8,9} has the channels first: transpose them")
  end)

  it("are taken once they are turned, and so are small images of few channels", function()
    local images = tr.rand(2, 3, 8, 9):permute(1, 3, 4, 2)
    local set = assert(tr.data.tensors { images = images, labels = { 1, 1 } })
    assert.is_true(tr.allclose(images[2], (set:get(2))))
    for _, shape in ipairs { { 2, 1, 9, 4 }, { 2, 3, 3, 3 }, { 2, 4, 9 }, { 3, 16, 16 }, { 2, 5, 9, 8 } } do
      assert(tr.data.tensors { images = tr.zeros(shape), labels = tr.ones({ shape[1] }, { dtype = "i64" }) })
    end
  end)
end)

describe("npz with a name that stands twice", function()
  it("is refused by every route, as they would differ in which they take", function()
    local whole = support.read_file(fixtures .. "stored.npz")
    local path = support.write_file(folder .. "/twice.npz", (whole:gsub("Y%.npy", "X.npy")))
    for _, load in ipairs {
      tr.load_npz, function(p) return tr.load_npz(p, "X") end, function(p) return tr.data.npz { file = p } end,
    } do
      local none, message = load(path)
      assert.is_nil(none)
      assert.matches("twice.npz: the member 'X' stands twice", message, 1, true)
    end
  end)
end)

describe("npz with members that are no arrays of numbers", function()
  local path = fixtures .. "members.npz"

  it("reads the others, and says why not these", function()
    local tensors, types, reasons = tr.load_npz(path)
    assert.same({ 6, 5, 4 }, tensors.X:shape())
    assert.equal("u1", types.X)
    assert.same({ 0, 1, 2, 0, 1, 2 }, tensors.Y:totable())
    for name, reason in pairs { names = "text has no tensor type", objects = "Python objects are not read",
      records = "structured element types", README = "not an .npy file" } do
      assert.is_nil(tensors[name])
      assert.matches(reason, reasons[name], 1, true)
      local none, message = tr.load_npz(path, name)
      assert.is_nil(none)
      assert.matches(path .. ": " .. name .. ": ", message, 1, true)
      assert.matches(reason, message, 1, true)
    end
    assert.equal(6, tr.load_npz(path, "X"):size(1))
    check_pattern(assert(tr.data.npz { file = path }))
    local none, message = tr.data.npz { file = path, labels = "names" }
    assert.is_nil(none)
    assert.matches("names: element type '<U1' is not supported", message, 1, true)
  end)

  -- An array as text; the bytes of an archive of {name, text, method} of stored members.
  local function array(descr, shape, bytes)
    local header = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"):format(descr, shape)
    return "\x93NUMPY\1\0" .. string.pack("<s2", header) .. bytes
  end
  local function archive(members)
    local data, directory = "", ""
    for _, m in ipairs(members) do
      local name, text, method = m[1] .. ".npy", m[2], m[3] or 0
      local common = string.pack("<I2I2I2I2I2I4I4I4I2I2", 20, 0, method, 0, 0, core.crc32(text), #text, #text, #name, 0)
      directory = directory .. "PK\1\2\20\0" .. common .. string.pack("<I2I2I2I4I4", 0, 0, 0, 0, #data) .. name
      data = data .. "PK\3\4" .. common .. name .. text
    end
    local count = #members
    return data .. directory .. "PK\5\6" .. string.pack("<I2I2I2I2I4I4I2", 0, 0, count, count, #directory, #data, 0)
  end
  local images, labels = array("|u1", "(2, 2, 2)", "abcdefgh"), array("|u1", "(2,)", "\0\1")

  it("nor such as no tensor can hold, or that are packed in another way", function()
    local file = support.write_file(folder .. "/odd.npz", archive {
      { "x", images }, { "y", labels }, { "nine", array("|u1", "(1, 1, 1, 1, 1, 1, 1, 1, 1)", "a") },
      { "huge", array("<u8", "(1,)", ("\xff"):rep(8)) }, { "bzip2", labels, 12 },
    })
    local tensors, _, reasons = tr.load_npz(file)
    assert.same({ 97, 98 }, tensors.x[1][1]:totable())
    for name, reason in pairs {
      nine = "more than 8 dimensions", huge = "an unsigned integer is above 9223372036854775807",
      bzip2 = "packed with method 12: stored and deflated are read",
    } do
      assert.equal(("%s: %s"):format(name, reason), reasons[name])
      assert.matches(reason, select(2, tr.load_npz(file, name)), 1, true)
    end
    assert.equal("2 images 2x2x1 u8, 2 classes", tostring(assert(tr.data.open(file))))
  end)

  it("unpacks no more than it may", function()
    local none, message = tr.load_npz(fixtures .. "bomb.npz")
    assert.is_nil(none)
    assert.matches("bomb.npz: unpacked it has 1677734400 bytes, at most 1073741824", message, 1, true)
    assert.is_not_nil(tr.load_npz(fixtures .. "bomb.npz", "x"))
    assert.is_nil((tr.load_npz(fixtures .. "bomb.npz", "x", { max_bytes = 1 << 24 })))
    assert.is_not_nil(tr.load_npz(fixtures .. "stored.npz", { max_bytes = 1000 }))
    assert.is_nil((tr.load_npz(fixtures .. "stored.npz", { max_bytes = 100 })))
    assert.is_nil((tr.data.npz { file = fixtures .. "stored.npz", max_bytes = 100 }))
  end)
end)

describe("HDF5", function()
  local list, absent = tr.hdf5_datasets(fixtures .. "chunked.h5")
  if not list then
    it("says that it was built without", function() assert.matches("built without HDF5", absent) end)
    return
  end

  it("lists and reads datasets: chunked, gzip, contiguous", function()
    assert.same({ { name = "/images", dtype = "u8", shape = { 6, 5, 4, 1 } },
      { name = "/labels", dtype = "i64", shape = { 6 } } }, list)
    local set = assert(tr.data.hdf5 { file = fixtures .. "chunked.h5" })
    check_pattern(set)
    assert.same({ 1, 2, 3, 1, 2, 3 }, set.label)
    assert.equal("u8", set.source.dtype)
    set = assert(tr.data.hdf5 { file = fixtures .. "plain.h5", labels = { 1, 1, 1, 2, 2, 2 } })
    check_pattern(set)
    assert.equal("f32", set.source.dtype)
  end)

  it("streams from the file", function()
    local set = assert(tr.data.hdf5 { file = fixtures .. "chunked.h5", cache = false })
    check_pattern(set)
    check_pattern(set:cache())
    check_pattern(set:subset { 6, 2 }, { 5, 1 })
  end)

  it("wants the name where several datasets hold images", function()
    local set, message = tr.data.hdf5 { file = fixtures .. "two.h5" }
    assert.is_nil(set)
    assert.matches("/a and /b have 3 or 4 dimensions", message)
    check_pattern(assert(tr.data.hdf5 { file = fixtures .. "two.h5", dataset = "b", labels = { 1, 1, 1, 1, 1, 1 } }),
      { 5, 4, 3, 2, 1, 0 })
    set, message = tr.data.hdf5 { file = fixtures .. "two.h5", dataset = "c" }
    assert.is_nil(set)
    assert.matches("there is no '/c'", message)
  end)

  it("reads groups of class and angle", function()
    local set = assert(tr.data.open(fixtures .. "nested.h5"))
    assert.same({ "cut", "good", "hole" }, set.classes)
    assert.same({ 1, 1, 2, 2, 3, 3 }, set.label)
    assert.same({ 0, 20, 0, 20, 0, 20 }, set.meta.angle)
    check_pattern(set, { 1, 4, 0, 3, 2, 5 })
  end)

  it("refuses sizes that no memory holds", function()
    local set, message = tr.data.hdf5 { file = fixtures .. "huge.h5" }
    assert.is_nil(set)
    assert.matches("huge.h5: .* larger than memory", message)
  end)

  it("follows links that lead back, once", function()
    local names = {}
    for i, dataset in ipairs(assert(tr.hdf5_datasets(fixtures .. "links.h5"))) do names[i] = dataset.name end
    assert.same({ "/a/images", "/a/labels" }, names)
    check_pattern(assert(tr.data.open(fixtures .. "links.h5")))
  end)

  it("reads nothing that lies in other files", function()
    local path = fixtures .. "outside.h5"
    for name, reason in pairs { storage = "'storage' lies in other files", virtual = "'virtual' lies in other files",
      link = "link: there is no dataset", ["group/images"] = "group/images: there is no dataset" } do
      for _, read in ipairs { tr.load_hdf5, require("texres.core").hdf5_source } do
        local none, message = read(path, name)
        assert.is_nil(none)
        assert.matches(path .. ": ", message, 1, true)
        assert.matches(reason, message, 1, true)
      end
    end
    for _, dataset in ipairs(assert(tr.hdf5_datasets(path))) do assert.is_nil(dataset.name:find "link") end
    assert.is_not_nil(tr.load_hdf5(path, "inside"))
  end)

  it("unpacks no more than it may", function()
    local path = fixtures .. "zeros.h5"
    local none, message = tr.load_hdf5(path, "images")
    assert.is_nil(none)
    assert.matches(path .. ": images: unpacked it has 2147483648 bytes, at most 1073741824 are made of this file; "
      .. "max_bytes raises that", message, 1, true)
    none, message = tr.data.hdf5 { file = path, labels = { 1 }, cache = true }
    assert.is_nil(none)
    assert.matches("max_bytes raises that", message, 1, true)
    assert.equal(2 ^ 19, #assert(require("texres.core").hdf5_source(path, "images")), "images one by one may be many")
    path = fixtures .. "chunked.h5"
    for limit, fits in pairs { [119] = false, [120] = true } do
      assert.equal(fits, tr.load_hdf5(path, "images", { max_bytes = limit }) ~= nil)
      assert.equal(fits, tr.data.hdf5 { file = path, cache = true, max_bytes = limit } ~= nil)
    end
    local streamed = assert(tr.data.hdf5 { file = path, cache = false, labels = { 1, 1, 1, 2, 2, 2 }, max_bytes = 119 })
    none, message = streamed:cache()
    assert.is_nil(none)
    assert.matches("cache: unpacked it has 120 bytes, at most 119 are made of this file; max_bytes raises", message)
    assert.is_nil((streamed:concat(streamed):cache()), "sets that were joined")
    assert.equal(6, #assert(streamed:cache { max_bytes = 120 }))
    assert.equal(1, #assert(streamed:subset({ 1 }):cache()))
    local big = assert(require("texres.core").hdf5_source(fixtures .. "zeros.h5", "images"))
    none, message = big:cache()
    assert.is_nil(none)
    assert.matches("cache: unpacked it has %d+ bytes, at most 1073741824 are made of this file", message)
    assert.error_matches(function() streamed:cache { max_bytes = 0 } end, "cache: max_bytes is 0")
    assert.error_matches(function() tr.load_hdf5(path, "images", { max_byte = 1 }) end, "unknown option 'max_byte'")
    assert.error_matches(function() tr.load_hdf5(path, "images", { max_bytes = -1 }) end, "max_bytes is %-1")
  end)

  it("says when another process has the file", function()
    local none, message = tr.load_hdf5(fixtures .. "marked.h5", "images")
    assert.is_nil(none)
    assert.matches("marked.h5: it is marked as open for writing", message, 1, true)
    if not support.run { "flock", "--version" } then return end
    local path = support.write_file(folder .. "/locked.h5", support.read_file(fixtures .. "plain.h5"))
    local read = ("print(require('texres').load_hdf5('%s', 'x'))"):format(path)
    local _, output = support.run({ "flock", "-x", path, support.lua, "-e", read },
      { env = { HDF5_USE_FILE_LOCKING = "TRUE" } })
    assert.matches("another process has it open for writing", output, 1, true)
  end)

  it("refuses a file of which a dataset or a group is damaged, rather than leave it out", function()
    local whole = support.read_file(fixtures .. "nested.h5")
    for name, at in pairs { ["/train/cut/20"] = 7160, ["/train/hole"] = 1976 } do -- where their headers begin
      local path = support.write_file(folder .. "/damaged.h5", whole:sub(1, at) .. "\255" .. whole:sub(at + 2))
      for _, open in ipairs { tr.hdf5_datasets, tr.data.open } do
        local found, message = open(path)
        assert.is_nil(found)
        assert.matches(path .. ": " .. name .. ": it is damaged", message, 1, true)
      end
    end
  end)

  it("refuses what is no HDF5 file", function()
    for _, path in ipairs { folder .. "/none.h5", folder, fixtures .. "stored.npz" } do
      local set, message = tr.data.hdf5 { file = path }
      assert.is_nil(set)
      assert.matches(path, message, 1, true)
    end
    local whole = support.read_file(fixtures .. "plain.h5")
    for length = 0, #whole - 1, 97 do
      local path = support.write_file(folder .. "/cut.h5", whole:sub(1, length))
      local set, message = tr.data.hdf5 { file = path }
      assert.is_nil(set)
      assert.matches(path, message, 1, true)
    end
  end)
end)

describe("read_csv", function()
  local function read(text)
    return tr.read_csv(support.write_file(folder .. "/table.csv", text))
  end

  it("reads plain, quoted, CRLF, with byte order mark, without last line end", function()
    local names, columns = read "a,b\n1,x\n2,y\n"
    assert.same({ "a", "b" }, names)
    assert.same({ { "1", "2" }, { "x", "y" } }, columns)
    names, columns = read "\xEF\xBB\xBFa,\"b,c\"\r\n\"1 \"\"one\"\"\",\"x\r\ny\"\r\n,\r\n\r\n\"\",z"
    assert.same({ "a", "b,c" }, names)
    assert.same({ { '1 "one"', "", "" }, { "x\r\ny", "", "z" } }, columns)
    names, columns = read "a;b\n1,5;x\n" -- as spreadsheets write it where the comma is the decimal point
    assert.same({ "a", "b" }, names)
    assert.same({ "1,5" }, columns[1])
    names, columns = read "one\n"
    assert.same({ "one" }, names)
    assert.same({ {} }, columns)
  end)

  it("tells the line of what is wrong", function()
    for text, reason in pairs {
      [""] = "the file is empty",
      ["\n\r\n\n"] = "no line that names the columns",
      ["a,b\n1,2\n3\n"] = "line 3: 1 cells, the first line has 2",
      ["a,b\n1,2,3\n"] = "line 2: 3 cells",
      ["a,b\n\"x\ny\",1\n3\n"] = "line 4: 1 cells",
      ["a,b\n1,\"2\n"] = "line 2: a quote is not closed",
      ["a,b\n1,\"2\"x\n"] = "line 2: something follows a closing quote",
      ["a,b\n1,\0\n"] = "line 2: a zero byte",
    } do
      local names, message = read(text)
      assert.is_nil(names)
      assert.equal("read_csv: " .. folder .. "/table.csv: " .. reason, message:sub(1, #folder + 22 + #reason))
    end
  end)

  it("makes no more of a table than it may", function()
    local path = support.write_file(folder .. "/commas.csv", (","):rep(10000000))
    local none, message = tr.read_csv(path)
    assert.is_nil(none)
    assert.matches(path .. ": line 1: the table takes more than 1073741824 bytes of memory; max_bytes raises that",
      message, 1, true)
    assert.is_nil((tr.data.open(path)))
    support.write_file(path, "label,angle\n0,1\n1,2\n")
    local images = tr.rand(2, 4, 4)
    local set = { images = images, meta = path, labels = "label" }
    assert(tr.save_npy(folder .. "/commas.npy", images))
    for limit, fits in pairs { [900] = false, [2000] = true } do
      set.max_bytes = limit
      assert.equal(fits, tr.read_csv(path, { max_bytes = limit }) ~= nil)
      assert.equal(fits, tr.data.tensors(set) ~= nil)
      assert.equal(fits, tr.data.open(folder .. "/commas.npy", { max_bytes = limit }) ~= nil)
      local _, reason = tr.data.csv { file = path, max_bytes = limit }
      assert.equal(not fits, reason:find("max_bytes", 1, true) ~= nil)
    end
    assert.error_matches(function() tr.read_csv(path, { max_byte = 1 }) end, "unknown option 'max_byte'")
  end)

  it("finds the separator outside of quotes, and tells the line of each row", function()
    local names, columns, lines = read "\"a,\"\"b\";5\" wide\n1;2\n\n   \n\"x\ny\";3\nz;4"
    assert.same({ 'a,"b', '5" wide' }, names)
    assert.same({ { "1", "x\ny", "z" }, { "2", "3", "4" } }, columns)
    assert.same({ 2, 5, 7 }, lines)
    names = read "a\t\"b;c\"\td\n"
    assert.same({ "a", "b;c", "d" }, names)
    names = read "a b;c\td\n"
    assert.same({ "a b", "c\td" }, names)
  end)
end)

describe("load_image", function()
  it("refuses options that it does not know", function()
    assert.error_matches(function() tr.load_image("x.png", { sise = 3 }) end,
      "load_image: unknown option 'sise'; there are channels, size, max_pixels")
  end)

  local gray, rgb = {}, {}
  for y = 0, 4 do
    gray[y + 1], rgb[y + 1] = {}, {}
    for x = 0, 3 do
      gray[y + 1][x + 1] = { value(1, y, x) }
      rgb[y + 1][x + 1] = { value(0, y, x), value(1, y, x), value(2, y, x) }
    end
  end

  it("reads gray and RGB in every format, without alpha", function()
    for _, name in ipairs { "gray.png", "gray_alpha.png", "gray.pgm" } do
      local image = assert(tr.load_image(fixtures .. name))
      assert.equal("u8", image.dtype)
      assert.same(gray, image:totable(), name)
    end
    for _, name in ipairs { "rgb.png", "rgba.png", "rgb.bmp", "rgb.tga", "rgb.ppm" } do
      assert.same(rgb, assert(tr.load_image(fixtures .. name)):totable(), name)
    end
    local smooth = assert(tr.load_image(fixtures .. "smooth.jpg"))
    assert.same({ 16, 24, 1 }, smooth:shape())
    for _, at in ipairs { { 1, 1 }, { 16, 24 }, { 8, 13 } } do
      assert.near((at[1] - 1) * 8 + (at[2] - 1) * 4, smooth[at[1]][at[2]]:item(), 4)
    end
  end)

  it("reads 16 bits as f32", function()
    local image = assert(tr.load_image(fixtures .. "gray16.png"))
    assert.equal("f32", image.dtype)
    assert.near(gray[3][2][1] / 255, image[3][2]:item(), 1e-6)
  end)

  it("reads text and binary PNM of any maximum", function()
    local function pnm(text) return tr.load_image(support.write_file(folder .. "/x.pgm", text)) end
    assert.same({ { { 0 }, { 255 } } }, pnm("P2 # two\n2 1\n1\n0 1"):totable())
    assert.same({ { { 0, 128, 255 } } }, pnm("P3 1 1 255 0 128 255"):totable())
    assert.same({ { { 0 }, { 85 } } }, pnm("P5 2 1 15\n\0\5"):totable())
    local image = pnm "P5 2 1 65535\n\0\1\xff\xff"
    assert.equal("f32", image.dtype)
    assert.near(1 / 65535, image[1][1]:item(), 1e-9)
    assert.equal(1, image[1][2]:item())
    for text, reason in pairs {
      ["P5 2 1 255\n\0"] = "truncated", ["P5 0 1 255\n"] = "header", ["P5 2 1 0\n\0\0"] = "header", ["P5 2"] = "header",
      ["P5 99999999 99999999 255\n"] = "pixels", ["P5 -1 1 255\n"] = "header", ["P2 2 1 15\n1"] = "truncated",
      ["P2 2 1 15\n1 16"] = "above the maximum", ["P6 99999999999999999999999 1 255\n"] = "header",
      ["P5 1 1 70000\n\0\0"] = "header",
    } do
      local none, message = pnm(text)
      assert.is_nil(none)
      assert.matches(reason, message, 1, true)
      assert.matches("x.pgm", message, 1, true)
    end
  end)

  it("converts channels and size", function()
    local image = tr.load_image(fixtures .. "gray.png", { channels = 3 })
    assert.same({ gray[2][3][1], gray[2][3][1], gray[2][3][1] }, image[2][3]:totable())
    image = tr.load_image(fixtures .. "rgb.png", { channels = 1 })
    local p = rgb[2][3]
    assert.near(0.299 * p[1] + 0.587 * p[2] + 0.114 * p[3], image[2][3]:item(), 0.51)
    assert.same({ 8, 6, 1 }, tr.load_image(fixtures .. "smooth.jpg", { size = { 8, 6 } }):shape())
    assert.error_matches(function() tr.load_image("x.png", { channels = 5 }) end, "channels is 5")
    assert.error_matches(function() tr.load_image("x.png", { size = 0 }) end, "size 0")
  end)

  it("resizes with antialiasing", function()
    local stripes = {} -- columns of width 1: aliasing would give all black or all white
    for y = 1, 32 do
      stripes[y] = {}
      for x = 1, 32 do stripes[y][x] = x % 2 end
    end
    assert(tr.write_png(folder .. "/stripes.png", tr.tensor(stripes)))
    local small = tr.load_image(folder .. "/stripes.png", { size = 8 }):to "f32"
    assert.near(127.5, small:slice(2, 3, 6):mean():item(), 8)
    assert.is_true(small:slice(2, 3, 6):std():item() < 10)
  end)

  it("refuses damaged and hostile files", function()
    for _, name in ipairs { "gray.png", "gray16.png", "smooth.jpg", "rgb.bmp", "rgb.tga", "rgb.ppm" } do
      damage(fixtures .. name, "damaged", tr.load_image, 60)
    end
    local none, message = tr.load_image(support.write_file(folder .. "/text.png", "no image at all"))
    assert.is_nil(none)
    assert.matches("text.png: not a PNG, JPEG", message, 1, true)
    local jpeg = support.read_file(fixtures .. "smooth.jpg")
    local table_at = jpeg:find("\xff\xc4", 1, true)
    for _, text in ipairs {
      jpeg:sub(1, table_at + 4) .. ("\xff"):rep(16) .. jpeg:sub(table_at + 21), -- 4080 codes
      jpeg:gsub("\xff\xc4", "\xff\xe5"), -- no tables: skipped as if they were a comment
      jpeg:sub(1, table_at + 3) .. "\x13" .. jpeg:sub(table_at + 5), -- a table defined under another number
    } do
      none, message = tr.load_image(support.write_file(folder .. "/tables.jpg", text))
      assert.is_nil(none)
      assert.matches("tables.jpg: the JPEG image is damaged (its tables)", message, 1, true)
    end
  end)
end)

describe("write_png", function()
  it("writes u8 and floats, gray to RGBA", function()
    local path = folder .. "/out.png"
    for _, t in ipairs {
      tr.tensor({ { 0, 7 }, { 255, 128 } }, { dtype = "u8" }),
      tr.tensor { { 0, 7 / 255 }, { 1, 128 / 255 } },
      tr.tensor({ { -3, 7 / 255 }, { 9, 128 / 255 } }, { dtype = "f64" }),
    } do
      assert.is_true(tr.write_png(path, t))
      assert.same({ { { 0 }, { 7 } }, { { 255 }, { 128 } } }, tr.load_image(path):totable())
    end
    assert.is_true(tr.write_png(path, tr.tensor({ { { 1, 2, 3, 4 } } }, { dtype = "u8" })))
    assert.same({ { { 1, 2, 3 } } }, tr.load_image(path):totable())
  end)

  it("refuses what is no image", function()
    assert.error_matches(function() tr.write_png("x.png", tr.zeros(2, 2, 5)) end, "write_png: .*{2,2,5}")
    assert.error_matches(function() tr.write_png("x.png", tr.zeros(0, 2)) end, "write_png")
    assert.error_matches(function() tr.write_png("x.png", tr.zeros({ 2, 2 }, { dtype = "i64" })) end, "i64")
    local ok, message = tr.write_png("/no/folder/x.png", tr.zeros(2, 2))
    assert.is_nil(ok)
    assert.matches("/no/folder/x.png", message, 1, true)
  end)
end)

--- A folder of pictures of the pattern, class n mod 3.
local function picture_tree()
  local root = support.folder()
  for n = 0, 5 do
    local image = {}
    for y = 0, 4 do
      image[y + 1] = {}
      for x = 0, 3 do image[y + 1][x + 1] = value(n, y, x) end
    end
    local class = root .. "/" .. ({ "good", "cut", "hole" })[n % 3 + 1]
    os.execute("mkdir -p " .. class)
    assert(tr.write_png(("%s/%d.png"):format(class, n), tr.tensor(image, { dtype = "u8" })))
  end
  return root
end

describe("a folder of pictures", function()
  it("has a class per folder; hidden and other files are passed over", function()
    local root = picture_tree()
    support.write_file(root .. "/cut/.hidden.png", "no picture")
    support.write_file(root .. "/cut/notes.txt", "no picture")
    os.execute("mkdir " .. root .. "/.git")
    for _, cache in ipairs { true, false } do
      local set = assert(tr.data.folder { path = root, cache = cache })
      assert.same({ "cut", "good", "hole" }, set.classes)
      assert.same({ 1, 1, 2, 2, 3, 3 }, set.label)
      assert.equal(root .. "/good/3.png", set.meta.path[4])
      check_pattern(set, { 1, 4, 0, 3, 2, 5 })
    end
    local set = assert(tr.data.open(root, { classes = { "good", "cut", "hole" } }))
    assert.same({ 2, 2, 1, 1, 3, 3 }, set.label)
    local none, message = tr.data.open(root, { classes = { "good", "cut" } })
    assert.is_nil(none)
    assert.matches("'hole' is none of the classes good, cut", message, 1, true)
  end)

  it("may have a level of train and test above", function()
    local root, tree = support.folder(), picture_tree()
    os.execute(("cp -r %s %s/train && cp -r %s %s/test && rm %s/test/*/[0-2].png"):format(tree, root, tree, root, root))
    local set = assert(tr.data.open(root))
    assert.equal(9, #set)
    local train, test = set:split { column = "split" }
    assert.same({ 6, 3 }, { #train, #test })
    assert.same({ "cut", "good", "hole" }, set.classes)
  end)

  it("wants equal sizes, or a size", function()
    local root = picture_tree()
    assert(tr.write_png(root .. "/cut/9.png", tr.zeros(7, 4)))
    local set, message = tr.data.folder { path = root }
    assert.is_nil(set)
    assert.matches("/cut/9.png is 7x4, .*/cut/1.png is 5x4: give size", message)
    set = assert(tr.data.folder { path = root, size = 8, channels = 3 })
    assert.same({ 7, 8, 8, 3 }, set:images():shape())
  end)

  it("names a picture that is damaged", function()
    local root = picture_tree()
    local whole = support.read_file(root .. "/hole/5.png")
    support.write_file(root .. "/hole/5.png", whole:sub(1, 45))
    for _, cache in ipairs { true, false } do
      local set, message = tr.data.folder { path = root, cache = cache }
      if set then set, message = set:images() end
      assert.is_nil(set)
      assert.matches("/hole/5.png: ", message, 1, true)
    end
    local set, message = tr.data.folder { path = folder .. "/nowhere" }
    assert.is_nil(set)
    assert.matches("nowhere", message)
    set, message = tr.data.folder { path = support.folder() }
    assert.is_nil(set)
    assert.matches("no pictures", message)
  end)

  it("may be listed in a CSV file", function()
    local root = picture_tree()
    support.write_file(root .. "/list.csv", "label,path,roll\ncut,cut/4.png,a\ngood,good/3.png,b\n")
    local set = assert(tr.data.open(root .. "/list.csv", { groups = "roll" }))
    assert.same({ "cut", "good" }, set.classes)
    assert.equal("roll", set.group)
    check_pattern(set, { 4, 3 })
    support.write_file(root .. "/numbers.csv", "file,y\ncut/4.png,1\ngood/3.png,0\n")
    set = assert(tr.data.csv { file = root .. "/numbers.csv", classes = { "good", "cut" } })
    assert.same({ 2, 1 }, set.label)
  end)
end)

describe("labels", function()
  local X = folder .. "/X.npy"
  local function labels(values, options)
    assert(tr.zeros({ #values, 2, 2 }, { dtype = "u8" }):save_npy(X))
    assert(tr.tensor(values, options):save_npy(folder .. "/Y.npy"))
    return tr.data.npy { images = X, labels = folder .. "/Y.npy" }
  end

  it("may be of any type, as long as they are whole", function()
    for _, dtype in ipairs { "u8", "i64", "f32", "f64" } do
      local set = assert(labels({ 0, 2, 1 }, { dtype = dtype }))
      assert.same({ 1, 3, 2 }, set.label)
      assert.same({ "0", "1", "2" }, set.classes)
    end
    local set, message = labels { 0, 0.5 }
    assert.is_nil(set)
    assert.matches("Y.npy: label 0.5 at position 2 is not a whole number", message, 1, true)
    set, message = labels({ 0, -1 }, { dtype = "i64" })
    assert.is_nil(set)
    assert.matches("label -1 at position 2", message, 1, true)
    set, message = labels({ 0, 1 << 40 }, { dtype = "i64" })
    assert.is_nil(set)
    assert.matches("label 1099511627776", message, 1, true)
  end)

  it("count from 0 in files and from 1 in Lua", function()
    assert(labels({ 0, 1 }, { dtype = "u8" }))
    local set, message = tr.data.npy { images = X, labels = folder .. "/Y.npy", classes = { "only" } }
    assert.is_nil(set)
    assert.matches("label 1 at position 2: classes are 0..0", message, 1, true)
    assert.same({ 1, 2 }, tr.data.npy({ images = X, labels = { 1, 2 }, classes = { "a", "b" } }).label)
    set, message = tr.data.npy { images = X, labels = { 0, 1 }, classes = { "a", "b" } }
    assert.is_nil(set)
    assert.matches("label 0 at position 1: classes are 1..2", message, 1, true)
    set, message = tr.data.npy { images = X, labels = { 1 }, classes = { "a", "b" } }
    assert.is_nil(set)
    assert.matches("1 labels for 2 images", message, 1, true)
  end)

  it("may be names", function()
    assert.same({ 2, 1 }, tr.data.npy({ images = X, labels = { "hole", "good" } }).label)
    support.write_file(folder .. "/t.csv", "indication_type,indication_value,source\nhole,1,a\ngood,0,b\n")
    local set = assert(tr.data.npy { images = X, labels = folder .. "/t.csv", groups = folder .. "/t.csv:source" })
    assert.same({ "good", "hole" }, set.classes)
    assert.same({ 2, 1 }, set.label)
    assert.same({ "a", "b" }, set.meta.source)
    assert.equal("source", set.group)
  end)

  it("scale integers that are no bytes by what they hold", function()
    for _, case in ipairs { { 255, 1 / 255 }, { 65535, 1 / 65535 } } do
      assert(tr.tensor({ { { 0, case[1] }, { 1, 2 } } }, { dtype = "i64" }):save_npy(X))
      local image = assert(tr.data.npy { images = X, labels = { 1 } }):get(1)
      assert.near(1, image[1][2]:item(), 1e-6)
      assert.near(case[2], image[2][1]:item(), 1e-9)
    end
    assert(tr.tensor({ { { 0, -1 }, { 1, 2 } } }, { dtype = "i64" }):save_npy(X))
    local set, message = tr.data.npy { images = X, labels = { 1 } }
    assert.is_nil(set)
    assert.matches("say with `scale`", message, 1, true)
    assert.near(-0.5, tr.data.npy({ images = X, labels = { 1 }, scale = 0.5 }):get(1)[1][2]:item(), 1e-9)
  end)

  it("blame the caller for misspelt options", function()
    local ok, message = pcall(function() tr.data.npy { image = X } end)
    assert.is_false(ok)
    assert.matches("readers_spec.lua:%d+: data.npy: unknown option 'image'; did you mean images%? There are", message)
    assert.error_matches(function() tr.data.open(3) end, "a path or a table is expected, got number")
  end)
end)

describe("the real textile set", function()
  it("is the same by every route", function()
    local formats = support.need_shared("data/textile/formats/train64.h5", pending):match "^(.*)/"
    local npy = assert(tr.data.open((formats:gsub("/formats$", ""))))
    assert.same({ "good", "color", "cut", "hole", "thread", "metal_contamination" }, npy.classes)
    assert.same({ 1000, 1000, 1000, 1000, 1000, 1000 }, npy:counts())

    -- HDF5 with the CSV table beside it: which of the 6000 images they are is in the table
    local hdf5 = assert(tr.data.open(formats .. "/train64.csv"))
    local positions = {}
    for i, index in ipairs(hdf5.meta.index) do positions[i] = index + 1 end
    local first = npy:subset(positions)
    assert.same(first.label, hdf5.label)
    assert.is_true(tr.allclose(first:images(), hdf5:images(), 0))
    assert.is_true(tr.allclose(hdf5:images(), tr.data.open(formats .. "/train64.h5", { cache = false }):images(), 0))

    local floats = assert(tr.data.open(formats .. "/X_f32.npy"))
    local same = npy:subset(floats.index)
    assert.same(same.label, floats.label)
    assert.is_true(tr.allclose(same:images(), floats:images(), 1e-6))
    local plain = assert(tr.data.hdf5 { file = formats .. "/plain64_f32.h5",
      labels = table.move(same.label, 1, tr.hdf5_datasets(formats .. "/plain64_f32.h5")[1].shape[1], 1, {}) })
    assert.is_true(tr.allclose(floats:subset(plain.index):images(), plain:images(), 0))

    -- the folder tree made from them
    local root, some = support.folder(), npy:subset { 1, 2, 3, 50, 51, 52, 53, 54, 55, 56, 57, 58 }
    for i = 1, #some do
      local class = root .. "/" .. some.classes[some.label[i]]
      os.execute("mkdir -p " .. class)
      assert(tr.write_png(("%s/%03d.png"):format(class, i), (some:get(i))))
    end
    local folder_set = assert(tr.data.folder { path = root, classes = some.classes })
    for i, path in ipairs(folder_set.meta.path) do
      local original = tonumber(path:match "(%d+)%.png$")
      assert.equal(some.label[original], folder_set.label[i])
      assert.is_true(tr.allclose((some:get(original)), (folder_set:get(i)), 0))
    end
  end)
end)
