--- .npy files: every element type, both byte orders, Fortran order, mapped files, hostile headers.
local tr = require "texres"
local core = require "texres.core"
local support = require "spec.support"

local folder = support.folder()

--- A file of a given header text (version 1 unless said) and data.
local function file(header, data, version)
  version = version or 1
  local length = version == 1 and "<s2" or "<s4"
  local text = "\x93NUMPY" .. string.char(version, 0) .. string.pack(length, header) .. (data or "")
  return support.write_file(folder .. "/made.npy", text)
end

local function array(descr, shape, data, fortran, version)
  local order = fortran and "True" or "False"
  local header = ("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }\n"):format(descr, order, shape)
  return file(header, data, version)
end

describe("load_npy", function()
  it("refuses options that it does not know", function()
    assert.error_matches(function() tr.load_npy("x.npy", { mmpa = true }) end,
      "load_npy: unknown option 'mmpa'; there are mmap")
    assert.error_matches(function() tr.load_npy("x.npy", true) end, "load_npy: options are a table, got true")
  end)

  local integers = { "b", "h", "i4", "i8", "B", "H", "I4", "I8" }

  it("reads every integer type in both byte orders", function()
    for _, format in ipairs(integers) do
      local size = string.packsize(format)
      local signed = format:lower() == format
      local values = signed and { -1, 0, 100, -128 } or { 1, 0, 100, 255 }
      for _, order in ipairs { "<", ">" } do
        local data = {}
        for i, value in ipairs(values) do data[i] = string.pack(order .. format, value) end
        local t = assert(tr.load_npy(array(order .. (signed and "i" or "u") .. size, "4,", table.concat(data))))
        assert.same(values, t:totable(), format .. order)
        assert.equal(format == "B" and "u8" or "i64", t.dtype)
      end
    end
  end)

  it("reads every float type in both byte orders", function()
    local half = {
      [0x3c00] = 1, [0xc000] = -2, [0x0001] = 2.0 ^ -24, [0x7c00] = math.huge, [0x8000] = 0, [0x3555] = 0.333251953125,
    }
    for bits, value in pairs(half) do
      for _, order in ipairs { "<", ">" } do
        local t = assert(tr.load_npy(array(order .. "f2", "1,", string.pack(order .. "I2", bits))))
        assert.equal("f32", t.dtype)
        assert.equal(value, t:totable()[1])
      end
    end
    local nan = assert(tr.load_npy(array("<f2", "1,", "\x01\x7e"))):totable()[1]
    assert.is_true(nan ~= nan)
    for _, order in ipairs { "<", ">" } do
      local t = tr.load_npy(array(order .. "f4", "2,", string.pack(order .. "ff", 1.5, -0.25)))
      assert.same({ 1.5, -0.25 }, t:totable())
      t = tr.load_npy(array(order .. "f8", "2,", string.pack(order .. "dd", 1 / 3, -1e300)))
      assert.same({ 1 / 3, -1e300 }, t:totable())
      assert.equal("f64", t.dtype)
    end
  end)

  it("reads bool as u8: 1 for any byte but 0", function()
    for _, descr in ipairs { "|b1", "?" } do
      for _, mmap in ipairs { false, true } do
        local t = assert(tr.load_npy(array(descr, "4,", "\1\0\2\255"), { mmap = mmap }))
        assert.equal("u8", t.dtype)
        assert.same({ 1, 0, 1, 1 }, t:totable())
      end
    end
  end)

  it("reads versions 1, 2 and 3, no dimension, zero sizes, Python 2's longs", function()
    for version = 1, 3 do
      assert.same({ 7, 8 }, tr.load_npy(array("<i8", "2,", string.pack("<i8i8", 7, 8), false, version)):totable())
    end
    assert.equal(7, tr.load_npy(array("<i8", "", string.pack("<i8", 7))):item())
    assert.same({ 0, 3 }, tr.load_npy(array("<f4", "0, 3", "")):shape())
    assert.same({ 2 }, tr.load_npy(array("<i8", "2L,", string.pack("<i8i8", 7, 8))):shape())
  end)

  it("reads Fortran order, as a copy and mapped", function()
    local data = string.pack("<i8i8i8i8i8i8", 1, 4, 2, 5, 3, 6)
    local path = array("<i8", "2, 3", data, true)
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, tr.load_npy(path):totable())
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, tr.load_npy(path, { mmap = true }):totable())
  end)

  it("reads what NumPy writes", function()
    local t = assert(tr.load_npy "spec/fixtures/data/half_fortran.npy")
    assert.same({ 6, 5, 4 }, t:shape())
    for _, at in ipairs { { 1, 1, 1 }, { 6, 5, 4 }, { 3, 2, 1 }, { 2, 4, 3 } } do
      local n, y, x = at[1] - 1, at[2] - 1, at[3] - 1
      assert.equal((37 * n + 11 * y + 5 * x) % 251 / 256, t[at[1]][at[2]][at[3]]:item())
    end
    t = assert(tr.load_npy "spec/fixtures/data/big_endian.npy")
    assert.equal("i64", t.dtype)
    assert.equal((37 * 5 + 11 * 4 + 5 * 3) % 251, t[6][5][4]:item())
  end)

  it("maps a file: changes stay in memory", function()
    local path = folder .. "/mapped.npy"
    assert(tr.arange(0, 5):reshape(2, 3):save_npy(path))
    local t = assert(tr.load_npy(path, { mmap = true }))
    t:fill(9)
    assert.same({ { 9, 9, 9 }, { 9, 9, 9 } }, t:totable())
    assert.same({ { 0, 1, 2 }, { 3, 4, 5 } }, tr.load_npy(path):totable())
  end)

  it("maps a sparse file that is larger than memory", function()
    local path = folder .. "/large.npy"
    local size = 1 << 40
    array("|u1", tostring(size) .. ",", "")
    os.rename(folder .. "/made.npy", path)
    local f = assert(io.open(path, "r+b"))
    f:seek("end", size - 1)
    local written = f:write "\42"
    if not (written and f:close()) then return pending "the file system has no sparse files of this size" end
    local t = assert(tr.load_npy(path, { mmap = true }))
    assert.equal(size, t:size(1))
    assert.equal(42, t[-1]:item())
    t:free()
    os.remove(path)
  end)
end)

describe("save_npy", function()
  it("writes what load_npy reads: every dtype, views, no dimension", function()
    local path = folder .. "/round.npy"
    local tensors = {
      tr.randn(3, 5):transpose(1, 2), tr.randn({ 2, 3, 4 }, { dtype = "f64" }), tr.tensor(2.5), tr.zeros(0, 3),
      tr.tensor({ 1, -2 ^ 53 | 0 }, { dtype = "i64" }), tr.tensor({ 0, 255, 7 }, { dtype = "u8" }),
    }
    for _, t in ipairs(tensors) do
      assert.is_true(t:save_npy(path))
      for _, mapped in ipairs { false, true } do
        local back = assert(tr.load_npy(path, { mmap = mapped }))
        assert.equal(t.dtype, back.dtype)
        assert.same(t:shape(), back:shape())
        assert.is_true(tr.allclose(t, back, 0))
      end
    end
    assert.is_true(tr.save_npy(path, tr.ones(2)))
    assert.same({ 1, 1 }, tr.load_npy(path):totable())
  end)

  it("aligns the data and leaves no temporary file", function()
    local path = support.folder() .. "/aligned.npy"
    assert(tr.ones(3):save_npy(path))
    assert.equal(0, (#support.read_file(path) - 12) % 64)
    assert.same({ "aligned.npy" }, (core.list_folder(path:match "^(.*)/")))
  end)

  it("says why it can't write", function()
    local ok, message = tr.ones(2):save_npy "/no/such/folder/x.npy"
    assert.is_nil(ok)
    assert.matches("save_npy: /no/such/folder/x.npy: No such file", message, 1, true)
    assert.error_matches(function() tr.save_npy("x.npy", 3) end, "tensor")
  end)
end)

describe("an .npy file that others shorten", function()
  local path = folder .. "/shrinks.npy"
  local labels = {}
  for i = 1, 500 do labels[i] = 1 end

  --- {500,64,64} zeros of a type, and what `open` makes of the file; which is cut then.
  local function opened(descr, size, fortran, open)
    local header = ("{'descr': '%s', 'fortran_order': %s, 'shape': (500, 64, 64), }"):format(descr, fortran)
    header = header .. (" "):rep(117 - #header) .. "\n" -- elements begin at byte 128
    support.write_file(path, "\x93NUMPY\1\0" .. string.pack("<s2", header) .. ("\0"):rep(500 * 64 * 64 * size))
    local object = assert(open(path))
    support.run { "truncate", "-s", "4096", path }
    return object
  end

  it("is an error for whoever uses the mapped tensor", function()
    local t = opened("<f4", 4, "False", function() return tr.load_npy(path, { mmap = true }) end)
    local set = tr.data.tensors { images = tr.zeros(1, 2, 2), labels = { 1 } }
    for n, use in ipairs { function() return t:sum() end, function() return t[1] end, function() return tostring(t) end,
      function() return tr.cat({ t, t }, 1) end, function() return t:totable() end, function() t:fill(1) end,
      function() return t:save_npy(folder .. "/copy.npy") end, function() return set:get(1) + t end,
      function() return tr.data.tensors { images = t, labels = labels } end } do
      local ok, message = pcall(use)
      assert.is_false(ok, n)
      assert.matches("load_npy: " .. path .. ": the file has become shorter", message, 1, true)
    end
  end)

  it("is an error for what a graph or a parameter has kept of it", function()
    local function mapped() return tr.load_npy(path, { mmap = true }) end
    for name, case in pairs {
      saved = { function(t) return (tr.nn.Parameter(tr.ones(1)) * t):sum() end, function(y) y:backward() end },
      added = { function(t)
        local w = tr.nn.Parameter(tr.zeros(500, 64, 64))
        w.grad = t
        return (w * 2):sum()
      end, function(y) y:backward() end },
    } do
      local kept
      opened("<f4", 4, "False", function() kept = case[1](mapped()); return true end)
      local ok, message = pcall(case[2], kept)
      assert.is_false(ok, name)
      assert.matches("load_npy: " .. path .. ": the file has become shorter", message, 1, true)
    end
    local w, state = tr.nn.Parameter(tr.zeros(500, 64, 64)), tr.zeros(500, 64, 64)
    opened("<f4", 4, "False", function() w.grad = mapped(); return true end)
    for n, step in ipairs {
      function() core.optimizer.sgd_step({ w }, {}, { lr = 1 }) end,
      function() core.optimizer.adam_step({ w }, { state }, { state:clone() }, { lr = 1 }) end,
      function() core.optimizer.gradient_norm { w } end,
      function() core.optimizer.scale_gradients({ w }, 2) end,
    } do
      local ok, message = pcall(step)
      assert.is_false(ok, n)
      assert.matches("the file has become shorter", message, 1, true)
    end
  end)

  it("is an error for whoever reads images of a set", function()
    for descr, size in pairs { ["<f4"] = 4, ["|u1"] = 1, ["<u2"] = 2, [">f4"] = 4 } do
      for _, fortran in ipairs { "False", "True" } do
        local set = opened(descr, size, fortran, function() return tr.data.npy { images = path, labels = labels } end)
        local mapped = { set = set }
        if size == 4 and descr == "<f4" then
          mapped.tensor = opened(descr, size, fortran, function()
            return tr.data.tensors { images = tr.load_npy(path, { mmap = true }), labels = labels }
          end)
        end
        for name, images in pairs(mapped) do
          local none, message = images:get(490)
          assert.is_nil(none, name)
          assert.matches(path .. ": the file ", message, 1, true)
          assert.is_nil((images:statistics()))
          assert.error_matches(function()
            for _ in images:loader({ batch = 8, workers = 2 }):batches() do end
          end, "the file ")
        end
      end
    end
  end)
end)

describe("a hostile .npy", function()
  local good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"

  --- Neither form of loading, nor a source, may do anything but return nil and a message that names file and reason.
  local function refuses(path, reason)
    for _, load in ipairs { tr.load_npy, function(p) return tr.load_npy(p, { mmap = true }) end } do
      local t, message = load(path)
      assert.is_nil(t)
      assert.matches(path, message, 1, true)
      assert.matches(reason, message, 1, true)
    end
    local set, message = tr.data.npy { images = path, labels = { 1 } }
    assert.is_nil(set)
    assert.matches(path, message, 1, true)
  end

  it("is refused: not a file, wrong magic, unknown version", function()
    refuses(folder .. "/none.npy", "No such file")
    refuses(folder, "is a folder")
    refuses("/dev/null", "is a device, a file is wanted")
    refuses(support.write_file(folder .. "/empty.npy", ""), "magic")
    refuses(support.write_file(folder .. "/short.npy", "\x93NUM"), "magic")
    refuses(support.write_file(folder .. "/text.npy", ("x"):rep(200)), "magic")
    refuses(file(good, "12345678", 4), "version 4")
    refuses(file(good, "12345678", 0), "version 0")
  end)

  it("is refused: truncated anywhere", function()
    local path = array("<f4", "2, 3", ("\0"):rep(24))
    local whole = support.read_file(path)
    for length = 0, #whole - 1 do
      local t, message = tr.load_npy(support.write_file(folder .. "/cut.npy", whole:sub(1, length)))
      assert.is_nil(t)
      assert.matches("cut.npy", message, 1, true)
    end
    assert(tr.load_npy(path))
  end)

  it("is refused: header length beyond the file", function()
    refuses(support.write_file(folder .. "/l.npy", "\x93NUMPY\1\0\xff\xff" .. good), "truncated in the header")
    refuses(support.write_file(folder .. "/l.npy", "\x93NUMPY\2\0\xff\xff\xff\xff" .. good), "truncated in the header")
    refuses(support.write_file(folder .. "/l.npy", "\x93NUMPY\2\0\xff"), "magic")
    refuses(support.write_file(folder .. "/l.npy", "\x93NUMPY\2\0\xff\xff"), "truncated")
  end)

  it("is refused: sizes that overflow, are negative or not there", function()
    for shape, reason in pairs {
      ["1000000000, 1000000000"] = "larger than memory can address",
      ["1000000, 1000000"] = "truncated",
      ["1000000000, 1000000000, 1000000000"] = "larger than memory can address",
      ["9223372036854775807,"] = "larger than memory can address",
      ["4611686018427387904, 4"] = "larger than memory can address",
      ["9223372036854775808,"] = "too large",
      ["99999999999999999999999999,"] = "too large",
      ["-1,"] = "negative",
      ["2, -3"] = "negative",
      ["1.5,"] = "not a tuple",
      ["x,"] = "not a tuple",
      [",,"] = "not a tuple",
      ["1 2"] = "not a tuple",
      ["1,1,1,1,1,1,1,1,1"] = "more than 8",
      ["(1,),"] = "not a tuple",
      ["3,"] = "truncated: shape {3} wants 12 bytes of data, the file has 8",
    } do
      refuses(array("<f4", shape, "12345678"), reason)
    end
    -- zero times anything is zero elements, which is allowed
    assert.same({ 0, 1000000000 }, tr.load_npy(array("<f4", "0, 1000000000", "")):shape())
  end)

  it("is refused: element types without a tensor type", function()
    for descr, reason in pairs {
      ["|O"] = "Python objects", ["<c8"] = "complex", ["<U5"] = "text", ["|S3"] = "text", ["<f16"] = "long double",
      ["<f3"] = "not supported", ["<i"] = "not supported", [""] = "not supported", ["<"] = "not supported",
      ["<i99999999999999999999"] = "not supported", ["<M8[ns]"] = "not supported", ["|V8"] = "not supported",
      ["<b2"] = "not supported", ["f1"] = "not supported", ["<i-8"] = "not supported", ["<i 8"] = "not supported",
    } do
      refuses(array(descr, "1,", "12345678"), reason)
    end
    refuses(file "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "structured")
    refuses(array("<u8", "1,", string.pack("<I8", math.mininteger)), "above 9223372036854775807")
  end)

  it("is refused: damaged dictionaries", function()
    for _, header in ipairs {
      "", "{", "}", "[]", "{}", "{'descr'", "{'descr':", "{'descr': }", "{'descr': '<f4'", "{'descr': '<f4',",
      "{'descr': '<f4', 'fortran_order': False}", "{'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
      "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
      "{'x': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "{'descr': '\\x', 'fortran_order': False}",
      "{'" .. ("a"):rep(100) .. "': 1}", ("{"):rep(5000), ("("):rep(60000), "{'descr': '<f4\0', 'shape': (2,)}",
      "__import__('os').system('true')",
    } do
      refuses(file(header, "12345678"), "header")
    end
  end)

  it("is refused or read, never fatal, whatever byte is changed", function()
    local path = array("<f4", "2, 3", ("\0"):rep(24))
    local whole = support.read_file(path)
    for at = 1, #whole - 24 do
      for _, byte in ipairs { "\0", "'", "9", "-", "\xff", "(" } do
        local damaged = whole:sub(1, at - 1) .. byte .. whole:sub(at + 1)
        local t, message = tr.load_npy(support.write_file(folder .. "/x.npy", damaged))
        assert.is_true(t ~= nil or message:find("x.npy", 1, true) ~= nil)
      end
    end
  end)
end)
