--- safetensors files and checkpoints: round trips, a file of the Python package, hostile files, the classifier.
local tr = require "texres"
local support = require "spec.support"
local safetensors = require "texres.safetensors"
local checkpoint = require "texres.checkpoint"
local nn = tr.nn

local function file(header, data)
  return support.write_file(os.tmpname(), string.pack("<s8", header) .. (data or ""))
end

describe("safetensors", function()
  it("writes and reads every dtype, views and odd shapes", function()
    local path = support.folder() .. "/all.safetensors"
    local tensors = {
      a = tr.randn(3, 5):transpose(1, 2), b = tr.randn({ 2 }, { dtype = "f64" }), scalar = tr.tensor(2.5),
      c = tr.tensor({ 1, -2 ^ 53 | 0 }, { dtype = "i64" }), d = tr.tensor({ 0, 255, 7 }, { dtype = "u8" }),
      empty = tr.zeros(0, 3), ["a.b \"quoted\""] = tr.ones(1),
    }
    assert.is_true(safetensors.save(path, tensors, { note = "x\ny" }))
    local back, metadata = assert(safetensors.load(path))
    assert.same({ note = "x\ny" }, metadata)
    for name, t in pairs(tensors) do
      assert.equal(t.dtype, back[name].dtype)
      assert.same(t:shape(), back[name]:shape())
      assert.is_true(tr.allclose(t, back[name], 0), name)
    end
    for name in pairs(back) do assert.is_not_nil(tensors[name]) end
    local length = string.unpack("<I8", support.read_file(path))
    assert.equal(0, length % 8)
  end)

  it("reads what the Python package writes", function()
    local t, metadata = assert(safetensors.load "spec/fixtures/python.safetensors")
    assert.same({ ["made by"] = "Python", quote = 'a "b" \u{e9}' }, metadata)
    assert.same({ { 0, 0.25, 0.5 }, { 0.75, 1, 1.25 } }, t.f32:totable())
    assert.same({ 1 / 3, -1e300 }, t.f64:totable())
    assert.same({ { -1, 2 ^ 62 | 0 } }, t.i64:totable())
    assert.same({ 0, 1, 255 }, t.u8:totable())
    local half = t.f16:totable()
    assert.equal("f32", t.f16.dtype)
    assert.same({ 1.5, -2, 65504, 0x1p-24, math.huge, 0 }, half)
    local brain = t.bf16:totable()
    assert.same({ 1.5, -2 }, { brain[1], brain[2] })
    assert.near(3e38, brain[3], 2e36)
    assert.near(1e-40, brain[4], 1e-41)
    assert.equal(2.5, t.scalar:item())
    assert.same({ 0, 4 }, t.empty:shape())
  end)

  it("calls no sound file damaged that has elements of a type that tensors lack", function()
    for _, dtype in ipairs { "C64", "F8_E8M0", "F4" } do
      local path = file(('{"a":{"dtype":"%s","shape":[1],"data_offsets":[0,8]}}'):format(dtype), ("\0"):rep(8))
      local none, message = safetensors.load(path)
      assert.is_nil(none)
      assert.equal(path .. ": tensor a has elements of type " .. dtype .. ", which cannot be read", message)
      os.remove(path)
    end
  end)

  it("refuses damaged and hostile files with a message", function()
    local f32 = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    assert(safetensors.load(file(f32, ("\0"):rep(8))))
    for text, path in pairs {
      ["not a safetensors file"] = support.write_file(os.tmpname(), "abc"),
      ["would be 18446744073709551615 bytes"] = support.write_file(os.tmpname(), ("\255"):rep(64)),
      ["would be 1000000 bytes of 72"] = support.write_file(os.tmpname(), string.pack("<I8", 1000000) .. (" "):rep(64)),
      ["damaged header"] = file "{\"a\":",
      ["damaged header: not an object"] = file "31    ",
      ["header is not an object"] = file "[1, 2]",
      ["tensor a is not an object"] = file '{"a":1}',
      ["elements of type C64"] = file('{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}', ("\0"):rep(8)),
      ["damaged header: tensor a has a dtype that is a number"] =
        file('{"a":{"dtype":5,"shape":[1],"data_offsets":[0,8]}}', ("\0"):rep(8)),
      ["tensor a stands at bytes 0 to 8 of 4"] = file(f32, "abcd"),
      ["8 bytes of data belong to no tensor"] = file(f32, ("\0"):rep(16)),
      ["of shape {3} does not fill its 8 bytes"] =
        file('{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', ("\0"):rep(8)),
      ["of shape {4611686018427387904,4611686018427387904} does not fill its 0 bytes"] =
        file '{"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,0]}}',
      ["of shape {4611686018427387904,4} does not fill its 0 bytes"] =
        file '{"a":{"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
      ["each of them a whole number"] =
        file('{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', ("\0"):rep(8)),
      ["tensor a has no data_offsets"] = file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,-8]}}', ("\0"):rep(8)),
      ["b has no shape of at most 8 dimensions"] =
        file('{"b":{"dtype":"F32","shape":{"1":1},"data_offsets":[0,4]}}', "abcd"),
      ["c has no shape of at most 8 dimensions"] =
        file('{"c":{"dtype":"F32","shape":[1,null],"data_offsets":[0,4]}}', "abcd"),
      ["of shape {0,4611686018427387904} does not fill"] =
        file '{"a":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}}',
      ["d has no data_offsets"] = file('{"d":{"dtype":"F32","shape":[1],"data_offsets":[0,4,null]}}', "abcd"),
      ["e has no data_offsets"] = file('{"e":{"dtype":"F32","shape":[1],"data_offsets":{"1":0,"2":4}}}', "abcd"),
      ['the name "a" stands twice'] = file('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
        .. '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', "abcd"),
      ['the name "shape" stands twice'] =
        file('{"a":{"dtype":"U8","shape":[4],"shape":[4],"data_offsets":[0,4]}}', "abcd"),
      ["above 9223372036854775807"] = file('{"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}', ("\255"):rep(8)),
      ["tensor b begins at byte 4, 8 was expected"] = file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        .. '"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', ("\0"):rep(12)),
      ["tensor b begins at byte 12, 8 was expected"] = file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        .. '"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}', ("\0"):rep(16)),
      ["no shape of at most 8 dimensions"] =
        file('{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}', "x"),
      ["the metadata are not strings"] = file '{"__metadata__":{"a":1}}',
      ["nested too deeply"] = file(('{"a":'):rep(300000)),
    } do
      local none, message = safetensors.load(path)
      assert.is_nil(none, text)
      assert.matches(path, message, 1, true)
      assert.matches(text, message, 1, true)
      os.remove(path)
    end
    local none, message = safetensors.load "/nonexistent/x.safetensors"
    assert.is_nil(none)
    assert.matches("/nonexistent/x.safetensors", message, 1, true)
    none, message = safetensors.load "/"
    assert.is_nil(none)
    assert.matches("^/", message)
  end)

  it("reads what other programs store", function()
    local function read(dtype, format, ...)
      local data = ""
      for _, value in ipairs { ... } do data = data .. string.pack("<" .. format, value) end
      local header = ('{"x":{"dtype":"%s","shape":[%d],"data_offsets":[0,%d]}}'):format(dtype, select("#", ...), #data)
      local path = file(header, data)
      local x = assert(safetensors.load(path)).x
      os.remove(path)
      return x
    end
    for dtype, format in pairs { I8 = "i1", I16 = "i2", I32 = "i4", U16 = "I2", U32 = "I4", U64 = "I8" } do
      local lowest = dtype:find "I" and -1 or 0
      local x = read(dtype, format, lowest, 0, 100, 127)
      assert.equal("i64", x.dtype)
      assert.same({ lowest, 0, 100, 127 }, x:totable())
    end
    assert.same({ -2 ^ 31 | 0, 2 ^ 31 - 1 | 0 }, read("I32", "i4", -2 ^ 31 | 0, 2 ^ 31 - 1 | 0):totable())
    assert.same({ 65535 }, read("U16", "I2", 65535):totable())
    assert.equal("u8", read("BOOL", "B", 0, 1).dtype)
    assert.same({ 0, 1, 1, 1 }, read("BOOL", "B", 0, 1, 2, 255):totable())
    -- zero, the smallest number, one, the largest, minus one half
    assert.same({ 0, 2 ^ -9, 1, 448, -0.5 }, read("F8_E4M3", "B", 0, 1, 0x38, 0x7e, 0xb0):totable())
    assert.same({ 0, 2 ^ -16, 1, 57344, -0.5, math.huge },
      read("F8_E5M2", "B", 0, 1, 0x3c, 0x7b, 0xb8, 0x7c):totable())
    for dtype, nan in pairs { F8_E4M3 = 0x7f, F8_E5M2 = 0x7f } do
      local value = read(dtype, "B", nan):totable()[1]
      assert.is_true(value ~= value)
    end
  end)

  it("notices every flipped bit, and names the tensor", function()
    local path = support.folder() .. "/x.safetensors"
    local steps = tr.tensor({ 7 }, { dtype = "i64" })
    assert(safetensors.save(path, { weight = tr.randn(3, 2), bias = tr.zeros(2), steps = steps },
      { note = "what it is", epoch = "12" }))
    local sound = support.read_file(path)
    local data_start = 9 + string.unpack("<I8", sound)
    for at = 1, #sound do
      for bit = 0, 7 do
        local byte = string.char(sound:byte(at) ~ 1 << bit)
        support.write_file(path, sound:sub(1, at - 1) .. byte .. sound:sub(at + 1))
        local none, message = safetensors.load(path)
        assert.is_nil(none, ("bit %d of byte %d"):format(bit, at))
        if at >= data_start then assert.matches("tensor %a+ is damaged: its checksum is another", message) end
      end
    end
    for cut = 0, #sound - 1 do
      support.write_file(path, sound:sub(1, cut))
      assert.is_nil((safetensors.load(path)))
    end
    support.write_file(path, sound)
    local _, metadata = assert(safetensors.load(path))
    assert.same({ note = "what it is", epoch = "12" }, metadata)
  end)

  it("reads no larger header than it may", function()
    local path = support.folder() .. "/x.safetensors"
    assert(safetensors.save(path, { weight = tr.ones(1, 1) }, { note = ("x"):rep(1000) }))
    local linear = nn.Linear(1, 1, { bias = false })
    for limit, fits in pairs { [1000] = false, [2000] = true } do
      assert.equal(fits, safetensors.load(path, { max_bytes = limit }) ~= nil)
      assert.equal(fits, linear:load(path, { max_bytes = limit }) == true)
    end
    local none, message = tr.load(path, nil, { max_bytes = 100 })
    assert.is_nil(none)
    assert.matches("max_bytes raises that", message, 1, true)
    assert.error_matches(function() safetensors.load(path, { max_byte = 1 }) end, "max_byte")
  end)

  it("waits for no pipe, and reads files only", function()
    local folder = support.folder()
    assert(os.execute("mkfifo " .. folder .. "/pipe"))
    local kinds = { [folder .. "/pipe"] = "a named pipe", [folder] = "a folder", ["/dev/null"] = "a device" }
    for path, kind in pairs(kinds) do
      for name, load in pairs { safetensors = safetensors.load, checkpoint = checkpoint.load, classifier = tr.load,
        npy = tr.load_npy, npz = tr.load_npz, image = tr.load_image, csv = tr.data.read_csv, set = tr.data.npy,
        hdf5 = tr.hdf5_datasets, text = require("texres.files").read } do
        local none, message = load(name == "set" and { images = path, labels = { 1 } } or path)
        assert.is_nil(none)
        if not message:find "built without HDF5" then
          assert.matches(path .. ": is " .. kind, message, 1, true)
        end
      end
    end
    for _, path in ipairs { folder .. "/pipe", "/dev/null" } do
      assert.matches(path .. ": is " .. kinds[path], select(2, tr.data.open(path)), 1, true)
    end
    local none, message = tr.save(folder .. "/pipe", { model = nn.Linear(1, 1) }) -- that nobody reads
    assert.is_nil(none)
    assert.matches("/pipe: is a named pipe, which nobody reads", message, 1, true)
  end)

  it("removes what dead runs left, and leaves alone what is being written", function()
    local folder = support.folder()
    local path = folder .. "/best.safetensors"
    for _, name in ipairs { "tmp-0", "tmp-1", "tmp-1-0", "tmp-4711-3" } do
      support.write_file(path .. "." .. name, "left by a dead run")
    end
    for _, name in ipairs { "tmp-x", "tmp", "other.tmp-0" } do support.write_file(path .. "." .. name, "a user's") end
    support.write_file(folder .. "/victim", "a user's")
    assert(os.execute(("ln -s victim %s.tmp-2"):format(path)))
    assert(safetensors.save(path, { a = tr.ones(1) }))
    local _, listing = support.run { "ls", folder }
    assert.equal("best.safetensors\nbest.safetensors.other.tmp-0\nbest.safetensors.tmp\nbest.safetensors.tmp-2\n"
      .. "best.safetensors.tmp-x\nvictim\n", listing)
    assert.equal("a user's", support.read_file(folder .. "/victim"))
    -- a process that is killed in the middle of writing
    assert(os.execute(("rm %s.tmp-2"):format(path)))
    local big = [[local tr = require "texres"
      local t = tr.zeros(1 << 24)
      for i = 1, 1000 do require("texres.safetensors").save("%s", { t = t }) end]]
    support.run({ "timeout", "-s", "KILL", "1.5", support.lua, "-e", big:format(path) })
    assert(safetensors.save(path, { a = tr.ones(1) }))
    _, listing = support.run { "sh", "-c", "ls " .. folder .. " | grep -c '^best.safetensors.tmp-[0-9]'" }
    assert.equal("0\n", listing)
  end)

  it("leaves the old file alone when writing fails", function()
    local folder = support.folder()
    local none, message = safetensors.save(folder .. "/no/x.safetensors", { a = tr.ones(1) })
    assert.is_nil(none)
    assert.matches(folder .. "/no/x.safetensors: ", message, 1, true)
    assert(os.execute("mkdir " .. folder .. "/taken")) -- a folder cannot be replaced by a file
    none, message = safetensors.save(folder .. "/taken", { a = tr.ones(1) })
    assert.is_nil(none)
    assert.matches("Is a directory", message)
    local ok, listing = support.run { "ls", folder }
    assert.is_true(ok)
    assert.equal("taken\n", listing)
  end)

  it("refuses to write what is no table of tensors", function()
    assert.error_matches(function() safetensors.save("x", { a = 1 }) end, "a = number")
    assert.error_matches(function() safetensors.save(nil, {}) end, "save: the path is nil, wanted a path")
    assert.error_matches(function() tr.load() end, "load: the path is nil, wanted a path")
    assert.error_matches(function() safetensors.save("x", {}, { a = 1 }) end, "metadata maps strings to strings")
    assert.error_matches(function() safetensors.save("x", { ["a\xe4"] = tr.ones(1) }) end, "is not UTF")
    assert.error_matches(function() safetensors.save("x", {}, { a = "\xe4" }) end, "is not UTF")
    assert.error_matches(function() safetensors.save("x", {}, { ["texres.crc32"] = "0" }) end, "are for checksums")
  end)
end)

describe("checkpoints", function()
  local function network()
    return nn.Sequential {
      nn.Conv2d(1, 4, 3, { padding = 1 }), nn.BatchNorm(4), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 3),
    }
  end

  local function saved(contents)
    local path = support.folder() .. "/c.safetensors"
    assert(checkpoint.save(path, contents))
    return path
  end

  it("hold the architecture, classes, normalization and more", function()
    local net = network()
    net(tr.randn(8, 6, 6, 1))
    local path = saved {
      model = net, classes = { "good", "hole", "cut" }, normalization = { mean = 0.1, std = { 0.25 } },
      input = { 6, 6, 1 }, extra = { epoch = 3, rates = {} }, tensors = { ["optimizer.1"] = tr.ones(2) },
    }
    local back = assert(checkpoint.load(path))
    assert.same({ "good", "hole", "cut" }, back.classes)
    assert.equal(0.1, back.normalization.mean)
    assert.same({ 6, 6, 1 }, back.input)
    assert.equal(3, back.extra.epoch)
    assert.same({ 1, 1 }, back.tensors["optimizer.1"]:totable())
    assert.is_false(back.model.training)
    local x = tr.randn(2, 6, 6, 1)
    net:eval()
    assert.is_true(tr.allclose(net(x), back.model(x), 0))
    tr.manual_seed(4)
    local drawn = tr.randn(1):item()
    tr.manual_seed(4)
    assert(checkpoint.load(path))
    assert.equal(drawn, tr.randn(1):item(), "loading draws no random numbers")
    assert.is_true(network():load(path), "plain loading ignores what else is in the file")
  end)

  it("of an unregistered module are loaded into one", function()
    local Own = nn.Module "Own"
    function Own:init() self.fc = nn.Linear(2, 2) end
    function Own:forward(x) return self.fc(x) end
    local a, b = Own(), Own()
    local path = saved { model = a }
    local none, message = checkpoint.load(path)
    assert.is_nil(none)
    assert.matches("no architecture", message)
    assert(checkpoint.load(path, b))
    assert.is_true(tr.allclose(a.fc.weight, b.fc.weight, 0))
  end)

  it("that are none, or damaged, give a message", function()
    local path = support.folder() .. "/x.safetensors"
    assert(safetensors.save(path, { a = tr.ones(1) }))
    local none, message = checkpoint.load(path)
    assert.is_nil(none)
    assert.matches("not a texres checkpoint", message)
    for text, info in pairs {
      ["damaged metadata"] = "{",
      ["format nil, written by an unknown version"] = "{}",
      ["format 2, written by 9.0"] = '{"format":2,"version":"9.0"}',
      ["format is the text \"1\", not a number"] = '{"format":"1"}',
      ["format 1.5"] = '{"format":1.5}',
      ["version is not a text"] = '{"format":1,"version":{}}',
      ["no module is registered as os.execute"] = '{"format":1,"architecture":{"module":"os.execute"}}',
      ["not the description"] = '{"format":1,"architecture":3}',
      ["missing bias"] = '{"format":1,"architecture":{"module":"Linear","arguments":{"1":1,"2":1}}}',
      ["does not fit the tensors"] =
        '{"format":1,"architecture":{"module":"Linear","arguments":{"1":100000,"2":100000}}}',
      ["fit the tensors in"] = '{"format":1,"architecture":{"module":"Sequential","arguments":{"1":{"1":'
        .. '{"module":"Conv2d","arguments":{"1":9000000000,"2":9000000000,"3":{"1":3,"2":3}}}}}}}',
      ["the architecture does not fit the tensors"] =
        '{"format":1,"architecture":{"module":"GroupNorm","arguments":{"1":1,"2":9000000000}}}',
      ["bad argument of ReLU"] = '{"format":1,"architecture":{"module":"ReLU","arguments":{"x":2}}}',
      ["not fit the tensors in the file"] = '{"format":1,"architecture":{"module":"Linear","arguments":[{"a":1}]}}',
      ["Linear: n_out is"] = '{"format":1,"architecture":{"module":"Linear","arguments":[1,-5]}}',
    } do
      assert(safetensors.save(path, { a = tr.ones(1) }, { texres = info }))
      none, message = checkpoint.load(path)
      assert.is_nil(none)
      assert.matches(path .. ": ", message, 1, true)
      assert.matches(text, message, 1, true)
    end
    for text, info in pairs {
      ["not the description of a module"] = '"architecture":7',
      ["from_config: not the description"] = '"architecture":{"tied":1}',
      ["no module is registered as Linear2"] = '"architecture":{"module":"Linear2","arguments":{}}',
      ["from_config: "] = '"architecture":{"module":"ReLU","tied":{"x":"y"}}',
      ["nil"] = '"architecture":{"module":"ReLU","arguments":3}',
      ["classes is not a list of different names"] = '"classes":["a","a"]',
      ["damaged metadata: classes is not"] = '"classes":{"1":"a"}',
      ["classes is not a list"] = '"classes":[null,"a"]',
      ["input is not a list of sizes"] = '"input":[64,0,1]',
      ["damaged metadata: input is not"] = '"input":[64,1e999]',
      ["input is not a list of sizes {H,W,C}"] = '"input":[64,64]',
      ["normalization.mean has 2 numbers, the input 3 channels"] =
        '"input":[64,64,3],"normalization":{"mean":[0.5,0.5],"std":0.5}',
      ["normalization is not {mean=, std=}"] = '"normalization":[1]',
      ["damaged metadata: normalization is not"] = '"normalization":{"mean":[0.5],"std":[0]}',
      ["normalization is not"] = '"normalization":{"mean":[null],"std":[1]}',
      ["normalization.mean has 2 numbers, normalization.std 3"] = '"normalization":{"mean":[1,2],"std":[1,2,3]}',
      ["normalization is not {mean=, std=}, finite numbers (in f32)"] = '"normalization":{"mean":1e300,"std":1}',
      ["numbers (in f32) or lists of them, std above 0"] = '"normalization":{"mean":0,"std":1e-300}',
      ["white is not a number above 0 (in f32)"] = '"white":1e-320',
      ["integers is not a number above 0 (in f32)"] = '"integers":1e300',
      ["different names, none empty"] = '"classes":["","a"]',
    } do
      assert(safetensors.save(path, { a = tr.ones(1) }, { texres = '{"format":1,' .. info .. "}" }))
      for _, load in ipairs { checkpoint.load, tr.load } do
        none, message = load(path)
        assert.is_nil(none, info)
        assert.matches(path .. ": ", message, 1, true)
        if text ~= "nil" then assert.matches(text, message, 1, true) end
      end
    end
    assert.error_matches(function() checkpoint.save(path, { model = network(), classes = { 1 } }) end,
      "classes is {1}, wanted a list of different names")
    assert.error_matches(function()
      checkpoint.save(path, { model = network(), normalization = { mean = 0, std = 0 } })
    end, "normalization is .*, wanted")
    assert.error_matches(function() checkpoint.save(path, { model = 3 }) end,
      "checkpoint.save: model is 3, wanted a module")
    assert.error_matches(function() checkpoint.save(path, { model = network(), clases = {} }) end,
      "checkpoint.save: unknown option 'clases'; did you mean classes")
  end)

  describe("as a classifier", function()
    local net = network()
    local path = saved {
      model = net, classes = { "good", "hole", "cut" }, normalization = { mean = { 0.5 }, std = 0.25 },
      input = { 6, 5, 1 },
    }
    local clf = assert(tr.load(path))
    local pixels = tr.randint(0, 255, { 3, 6, 5, 1 }, { dtype = "u8" })

    it("answer for {H,W}, {H,W,C} and batches, integers and floats", function()
      net:eval()
      local float = pixels:to "f32" / 255
      local want = tr.no_grad(function() return net((float - 0.5) / 0.25):softmax(-1) end)
      local all = clf:predict(pixels)
      assert.equal(3, #all)
      for i, a in ipairs(all) do
        local best = want[i]:argmax():item()
        assert.equal(best, a.label)
        assert.equal(({ "good", "hole", "cut" })[best], a.class)
        assert.near(want[i][best]:item(), a.probability, 1e-5)
        assert.equal(3, #a.probabilities)
        assert.near(a.probability, clf:predict(pixels[i]).probability, 1e-5)
        assert.near(a.probability, clf:predict(float[i]).probability, 1e-5)
        assert.near(a.probability, clf:predict(float[i]:select(3, 1)).probability, 1e-5)
      end
    end)

    it("refuse other images", function()
      assert.error_matches(function() clf:predict(3) end, "predict: the image is 3, wanted a tensor")
      assert.error_matches(function() clf:predict(tr.zeros(6, 5, 3)) end, "{6,5,3}, the model wants 1 channels")
      assert.error_matches(function() clf:predict(tr.zeros(7, 5, 1)) end, "{7,5,1}, the model was trained on {6,5,1}")
      assert.error_matches(function() clf:predict(tr.zeros(7)) end, "images are {H,W}")
      assert.is_not_nil(clf:predict(tr.zeros(7, 5, 1), { any_size = true }).class)
    end)

    it("refuse names that are not those of the outputs", function()
      local other = assert(tr.load(saved { model = net, classes = { "good", "hole" }, input = { 6, 5, 1 } }))
      assert.error_matches(function() other:predict(pixels) end,
        "predict: the model gives 3 numbers, but there are 2 class names")
    end)

    it("say what is wrong with a file", function()
      local none, message = tr.load "/nonexistent.safetensors"
      assert.is_nil(none)
      assert.matches("/nonexistent.safetensors", message, 1, true)
    end)
  end)
end)
