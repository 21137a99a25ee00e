--- Image files: every kind of PNG against a naive reader, files that were cut short or changed, bounds on hostile ones.
local tr = require "texres"
local support = require "spec.support"

local folder = support.folder()
local fixtures = "spec/fixtures/data/"

-- -- PNG files made here ---------------------------------------------------------------------------------------------

local crc_of = {}
for n = 0, 255 do
  local c = n
  for _ = 1, 8 do c = c & 1 == 1 and 0xEDB88320 ~ c >> 1 or c >> 1 end
  crc_of[n] = c
end

local function crc32(text)
  local crc = 0xFFFFFFFF
  for i = 1, #text do crc = crc_of[(crc ~ text:byte(i)) & 255] ~ crc >> 8 end
  return crc ~ 0xFFFFFFFF
end

local function adler32(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a + text:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b << 16 | a
end

--- zlib's format without compression.
local function store(text)
  return "\x78\x01\x01" .. string.pack("<I2I2", #text, ~#text & 0xFFFF) .. text .. string.pack(">I4", adler32(text))
end

local function with_sum(name, data)
  return string.pack(">I4", #data) .. name .. data .. string.pack(">I4", crc32(name .. data))
end

local function header(height, width, depth, kind, interlaced)
  return with_sum("IHDR", string.pack(">I4I4BBBBB", width, height, depth, kind, 0, 0, interlaced and 1 or 0))
end

local signature = "\x89PNG\r\n\x1a\n"

local function paeth(a, b, c)
  local p = a + b - c
  local pa, pb, pc = math.abs(p - a), math.abs(p - b), math.abs(p - c)
  return pa <= pb and pa <= pc and a or pb <= pc and b or c
end

--- A row of bytes as a filter leaves it.
local function filtered(filter, row, above, step)
  local bytes = { filter }
  for i, value in ipairs(row) do
    local a, b, c = row[i - step] or 0, above[i] or 0, above[i - step] or 0
    local guess = ({ [0] = 0, a, b, (a + b) // 2, paeth(a, b, c) })[filter]
    bytes[#bytes + 1] = (value - guess) & 255
  end
  return string.char(table.unpack(bytes))
end

--- Samples of `depth` bits as bytes.
local function packed(samples, depth)
  local bytes, bits, filled = {}, 0, 0
  for _, sample in ipairs(samples) do
    bits, filled = bits << depth | sample, filled + depth
    while filled >= 8 do
      bytes[#bytes + 1] = bits >> filled - 8 & 255
      filled = filled - 8
      bits = bits & (1 << filled) - 1
    end
  end
  if filled > 0 then bytes[#bytes + 1] = bits << 8 - filled & 255 end
  return bytes
end

local adam7 = { { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 }, { 0, 2, 2, 4 }, { 1, 0, 2, 2 },
  { 0, 1, 1, 2 } }

--- The rows of an image of samples, all filters in turn.
local function pixel_bytes(image, samples, depth, interlaced)
  local parts, height, width, filter = {}, #image, #image[1], 0
  for _, p in ipairs(interlaced and adam7 or { { 0, 0, 1, 1 } }) do
    local above = {}
    for y = p[2], height - 1, p[4] do
      local row = {}
      for x = p[1], width - 1, p[3] do table.move(image[y + 1][x + 1], 1, samples, #row + 1, row) end
      if #row > 0 then
        row = packed(row, depth)
        parts[#parts + 1] = filtered(filter, row, above, math.max(1, samples * depth // 8))
        above, filter = row, (filter + 1) % 5
      end
    end
  end
  return table.concat(parts)
end

local function write(name, ...) return support.write_file(folder .. "/" .. name, signature .. table.concat { ... }) end

--- Samples per pixel and possible depths of each kind.
local kinds = {
  [0] = { 1, { 1, 2, 4, 8, 16 } }, [2] = { 3, { 8, 16 } }, [3] = { 1, { 1, 2, 4, 8 } }, [4] = { 2, { 8, 16 } },
  [6] = { 4, { 8, 16 } },
}

describe("PNG", function()
  it("of every kind is read as it was written", function()
    local seed = 7
    local function random(most)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed // 65536 % (most + 1)
    end
    for kind, spec in pairs(kinds) do
      for _, depth in ipairs(spec[2]) do
        for _, size in ipairs { { 1, 1 }, { 5, 3 }, { 9, 17 } } do
          local most, image, wanted, palette = (1 << depth) - 1, {}, {}, {}
          for i = 1, 3 * (most + 1) do palette[i] = kind == 3 and random(255) or nil end
          for y = 1, size[1] do
            image[y], wanted[y] = {}, {}
            for x = 1, size[2] do
              local pixel, colour = {}, {}
              for s = 1, spec[1] do
                pixel[s] = random(most)
                colour[s] = depth == 16 and pixel[s] / 65535 or pixel[s] * 255 // most
              end
              if kind == 3 then colour = table.move(palette, 3 * pixel[1] + 1, 3 * pixel[1] + 3, 1, {}) end
              image[y][x], wanted[y][x] = pixel, colour
            end
          end
          wanted = tr.tensor(wanted)
          for _, interlaced in ipairs { false, true } do
            local data = store(pixel_bytes(image, spec[1], depth, interlaced))
            local colours = kind == 3 and with_sum("PLTE", string.char(table.unpack(palette))) or ""
            local path = write("kind.png", header(size[1], size[2], depth, kind, interlaced), colours,
              with_sum("tEXt", "Comment\0cloth"), with_sum("IDAT", data:sub(1, 9)), with_sum("IDAT", data:sub(10)),
              with_sum("IEND", ""))
            local what = ("kind %d, %d bits, %s"):format(kind, depth, interlaced)
            local read = assert(tr.load_image(path, { channels = wanted:size(3) }))
            assert.equal(depth == 16 and "f32" or "u8", read.dtype, what)
            assert(tr.allclose(read:to "f32", wanted, 1e-6, 1e-7), what)
            assert.equal(wanted:size(3) < 3 and 1 or 3, tr.load_image(path):size(3), what) -- alpha is dropped
          end
        end
      end
    end
  end)

  it("of 1 to 4 channels comes back as it was written", function()
    for channels = 1, 4 do
      for _, size in ipairs { { 1, 1 }, { 3, 50 }, { 70, 33 } } do
        local image = (tr.rand(size[1], size[2], channels) * 255):to "u8"
        local path = folder .. "/written.png"
        assert(tr.write_png(path, image))
        assert.same(image:totable(), tr.load_image(path, { channels = channels }):totable())
        assert.same({ size[1], size[2], channels < 3 and 1 or 3 }, tr.load_image(path):shape())
      end
    end
    local gray = tr.load_image(fixtures .. "gray.png", { channels = 4 })
    assert.same({ gray[1][2][1]:item(), gray[1][2][1]:item(), gray[1][2][1]:item(), 255 }, gray[1][2]:totable())
    local alpha = tr.load_image(fixtures .. "rgba.png", { channels = 2 })
    assert.equal(9, alpha[1][1][2]:item())
  end)

  it("is not written of NaN", function()
    local path = folder .. "/nan.png"
    assert.error_matches(function() tr.write_png(path, tr.tensor { { 0, 0 / 0 } }) end, "write_png: a value is NaN")
    assert.is_false(support.exists(path))
  end)

  it("is refused for every bit that is changed", function()
    for _, name in ipairs { "gray.png", "rgba.png", "gray16.png" } do
      local whole, path = support.read_file(fixtures .. name), folder .. "/flipped.png"
      for at = 1, #whole do
        local changed = string.char(whole:byte(at) ~ 1 << at % 8)
        support.write_file(path, whole:sub(1, at - 1) .. changed .. whole:sub(at + 1))
        local image, message = tr.load_image(path)
        assert.is_nil(image, ("%s, byte %d"):format(name, at))
        assert.matches(path, message, 1, true)
      end
    end
  end)

  it("is refused where its parts don't fit together", function()
    local pixels, ending = with_sum("IDAT", store "\0\7"), with_sum("IEND", "")
    for reason, parts in pairs {
      ["holds no pixels"] = { header(1, 1, 8, 0), ending },
      ["has no header"] = { pixels, ending },
      ["has no palette"] = { header(1, 1, 8, 3), pixels, ending },
      ["a colour that its palette lacks"] = { header(1, 1, 8, 3), with_sum("PLTE", "abcdef"), pixels, ending },
      ["its chunk ABCD"] = { header(1, 1, 8, 0), with_sum("ABCD", ""), pixels, ending },
      ["a filter 9"] = { header(1, 1, 8, 0), with_sum("IDAT", store "\9\7"), ending },
      ["holds more than its size asks for"] = { header(1, 1, 8, 0), with_sum("IDAT", store "\0\7\7"), ending },
      ["is truncated (its packed pixels)"] = { header(1, 2, 8, 0), pixels, ending },
      ["is damaged (its packed pixels)"] =
        { header(1, 1, 8, 0), with_sum("IDAT", (store("\0\7"):gsub(".$", "x"))), ending },
      ["is truncated"] = { header(1, 1, 8, 0), pixels },
      ["header of the PNG image makes no sense"] = { header(1, 1, 3, 0), pixels, ending },
      ["CRC-32 of its chunk IDAT"] = { header(1, 1, 8, 0), (pixels:gsub("....$", "abcd")), ending },
    } do
      local image, message = tr.load_image(write("parts.png", table.unpack(parts)))
      assert.is_nil(image)
      assert.matches(reason, message, 1, true)
      assert.matches("parts.png: ", message, 1, true)
    end
  end)
end)

--- A folder of pictures a/1.png ..., of which some are damaged in different ways; and a table of them.
local function damaged_folder()
  local root = support.folder()
  local set, rows = tr.data.fabric { count = 16, size = 8, seed = 3, classes = { "good" } }, { "path,label,number" }
  assert(os.execute(("mkdir %s/a %s/b"):format(root, root)))
  for i = 1, 16 do
    local path = (i <= 8 and "a/" or "b/") .. i .. ".png"
    assert(tr.write_png(root .. "/" .. path, (set:get(i))))
    rows[i + 1] = ("%s,%s,%d"):format(path, i <= 8 and "a" or "b", i)
  end
  local bad = { root .. "/a/3.png", root .. "/a/8.png", root .. "/b/12.png" }
  local text = support.read_file(bad[1])
  support.write_file(bad[1], text:sub(1, -30)) -- truncated
  support.write_file(bad[2], text:sub(1, 60) .. "x" .. text:sub(62)) -- a header that is sound, pixels that are not
  support.write_file(bad[3], "no picture")
  support.write_file(root .. "/index.csv", table.concat(rows, "\n") .. "\n")
  return root, bad
end

describe("bad pictures", function()
  it("are an error that names the path, wherever they are met", function()
    local root, bad = damaged_folder()
    for _, path in ipairs { bad[1], bad[3] } do os.remove(path) end
    support.write_file(root .. "/index.csv", "path,label\na/7.png,x\na/8.png,y\n")
    for _, open in ipairs {
      function(cache) return tr.data.folder { path = root, cache = cache } end,
      function(cache) return tr.data.csv { file = root .. "/index.csv", cache = cache } end,
    } do
      local none, message = open(true)
      assert.is_nil(none)
      assert.matches(bad[2] .. ": the PNG image is damaged", message, 1, true)
      local set = assert(open(false))
      for name, use in pairs {
        images = function() return set:images() end, statistics = function() return set:statistics() end,
        cache = function() return set:cache() end, map = function() return set:map(function(x) return x end) end,
        save_npy = function() return set:save_npy(root .. "/X.npy") end,
        save_folder = function() return set:save_folder(support.folder() .. "/copy") end,
        contact_sheet = function() return set:contact_sheet(root .. "/sheet.png") end,
        audit = function() return set:audit() end,
      } do
        local ok, result, reason = pcall(use)
        assert.is_true(ok, name .. ": " .. tostring(result))
        assert.is_nil(result, name)
        assert.matches(bad[2], reason, 1, true)
      end
      assert.matches(bad[2], set:describe(), 1, true)
      local model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(64, #set.classes) }
      for _, normalize in ipairs { true, false } do
        local trainer = tr.Trainer { model = model, epochs = 1, quiet = true, normalize = normalize, batch = 4 }
        local ok, reason = pcall(trainer.fit, trainer, set)
        assert.is_false(ok)
        assert.matches(bad[2] .. ": the PNG image is damaged", reason, 1, true)
      end
    end
  end)

  it("are left out when that is asked for: counted, listed, everything in step", function()
    local root, bad = damaged_folder()
    for _, cache in ipairs { true, false } do
      for name, set in pairs {
        folder = assert(tr.data.folder { path = root, cache = cache, bad = "skip", meta = root .. "/index.csv",
          groups = "number" }),
        csv = assert(tr.data.csv { file = root .. "/index.csv", cache = cache, bad = "skip", groups = "number" }),
        open = assert(tr.data.open(root, { cache = cache, bad = "skip" })),
      } do
        assert.equal(13, #set, name)
        assert.equal(3, #set.skipped)
        local listed = {}
        for i, one in ipairs(set.skipped) do
          listed[i] = one.path
          assert.matches(one.path .. ": ", one.message, 1, true)
        end
        table.sort(listed)
        table.sort(bad)
        assert.same(bad, listed)
        assert.matches("13 images 8x8x1 u8, 2 classes, 3 skipped", tostring(set), 1, true)
        assert.matches("skipped +data.folder: " .. root .. "/", set:describe())
        assert(set:images())
        for i = 1, #set do
          local number = set.meta.number[i]
          assert.equal(number <= 8 and 1 or 2, set.label[i])
          local path = set.meta.path[i]
          assert.equal(number, tonumber(path:match "(%d+)%.png$"))
          if path:sub(1, 1) ~= "/" then path = root .. "/" .. path end
          assert(tr.allclose(tr.load_image(path):to "f32" / 255, (set:get(i)), 1e-6))
        end
        assert.equal(3, #set:subset({ 1, 2 }):cache().skipped)
        assert.equal(6, #set:concat(set).skipped)
      end
    end
    for _, path in ipairs(bad) do os.remove(path) end
    assert.equal(0, #tr.data.folder({ path = root, bad = "skip" }).skipped)
    assert.error_matches(function() tr.data.folder { path = root, bad = "ignore" } end,
      "bad is \"ignore\", wanted \"error\" or")
    for name in io.popen("ls " .. root .. "/*/*.png"):lines() do support.write_file(name, "x") end
    local set, message = tr.data.folder { path = root, bad = "skip" }
    assert.is_nil(set)
    assert.matches("no picture can be read; the first: data.folder: " .. root, message, 1, true)
  end)
end)

describe("an image file", function()
  it("that was cut short is refused at every length", function()
    assert(tr.write_png(folder .. "/big.png", tr.rand(40, 40, 3)))
    local tga = support.read_file(fixtures .. "rgb.tga")
    local runs = tga:sub(1, 2) .. "\10" .. tga:sub(4, 18) .. ("\x84abc\4abcdefghijklmno"):rep(2) -- 5 x 4 pixels
    support.write_file(folder .. "/runs.tga", runs)
    for _, path in ipairs {
      fixtures .. "gray.png", fixtures .. "gray16.png", fixtures .. "smooth.jpg", fixtures .. "rgb.bmp",
      fixtures .. "rgb.tga", fixtures .. "rgb.ppm", fixtures .. "gray.pgm", folder .. "/big.png", folder .. "/runs.tga",
    } do
      local whole, cut = support.read_file(path), folder .. "/cut." .. path:match "[^.]+$"
      assert(tr.load_image(path))
      -- the last row of a BMP ends with its last pixel
      local most = path:find "bmp" and #whole - 3 or path:find "rgb.tga" and tga:find("TRUEVISION", 1, true) and
        18 + 60 - 1 or #whole - 1
      for length = 0, most, math.max(1, #whole // 300) do
        local image, message = tr.load_image(support.write_file(cut, whole:sub(1, length)))
        assert.is_nil(image, ("%s of %d bytes"):format(path, length))
        assert.matches(cut, message, 1, true)
      end
      assert.is_nil((tr.load_image(support.write_file(cut, whole:sub(1, most)))), path)
    end
  end)

  it("that is small may not fill the memory", function()
    assert(tr.write_png(folder .. "/zeros.png", tr.zeros({ 6000, 6000 }, { dtype = "u8" })))
    local zeros = support.read_file(folder .. "/zeros.png")
    assert.is_true(#zeros < 100000)
    local rest = zeros:sub(34)
    local function read(name, text, options)
      tr.trim_memory()
      local image, message = tr.load_image(support.write_file(folder .. "/" .. name, text), options)
      assert.is_true(select(2, tr.live_bytes()) < 60e6 or image ~= nil)
      return image, message
    end
    local image, message = read("bomb.png", signature .. header(16, 16, 8, 0) .. rest)
    assert.is_nil(image)
    assert.matches("bomb.png: the PNG image holds more than its size asks for", message, 1, true)
    image, message = read("declared.png", signature .. header(11000, 11000, 8, 2) .. rest)
    assert.is_nil(image)
    assert.matches("declares 11000 x 11000 pixels, more than its data can hold", message, 1, true)
    local jpeg = support.read_file(fixtures .. "smooth.jpg")
    local size = jpeg:find("\xff\xc0\0\11\8\0\16\0\24", 1, true) + 5
    jpeg = jpeg:sub(1, size - 1) .. string.pack(">I2I2", 2000, 60000) .. jpeg:sub(size + 4)
    image, message = read("declared.jpg", jpeg)
    assert.is_nil(image)
    assert.matches("declares 2000 x 60000 pixels, more than its data can hold", message, 1, true)
    image, message = read("large.png", signature .. header(60000, 60000, 8, 0) .. rest)
    assert.is_nil(image)
    local reason = "an image of 60000 x 60000 pixels: at most 134217728 are read; max_pixels raises that"
    assert.matches(reason, message, 1, true)
    local zero_bytes = with_sum("IDAT", ("\0"):rep(600000))
    image, message = read("wide.png", signature .. header(10000, 10000, 16, 2) .. zero_bytes .. with_sum("IEND", ""))
    assert.is_nil(image)
    assert.matches("an image of 10000 x 10000 pixels in %d+ bytes: max_pixels says that it is meant so", message)
    image, message = read("zeros.png", zeros, { max_pixels = 35999999 })
    assert.is_nil(image)
    assert.matches("at most 35999999 are read", message, 1, true)
    assert.same({ 6000, 6000, 1 }, read("zeros.png", zeros, { max_pixels = 36000000 }):shape())
    assert.error_matches(function() read("zeros.png", zeros, { max_pixels = 0 }) end, "max_pixels is 0")
  end)

  it("that does not fit into memory is not called damaged", function()
    if os.getenv "ASAN_OPTIONS" then return pending "AddressSanitizer needs all of the address space" end
    assert(tr.write_png(folder .. "/large.png", tr.zeros({ 11000, 11000 }, { dtype = "u8" })))
    local ok, output = support.run { "sh", "-c", ("ulimit -v 250000 && exec %s -e '%s'"):format(support.lua, ([[
      local tr = require "texres"
      local ok, message = pcall(tr.load_image, "%s")
      assert(not ok and message:find "not enough memory", message)
      assert(tr.load_image("%s"))
      assert(not pcall(tr.write_png, "%s", tr.zeros(1):expand(9000, 9000)))
    ]]):format(folder .. "/large.png", fixtures .. "gray.png", folder .. "/none.png")) }
    assert.is_true(ok, output)
    assert.is_false(support.exists(folder .. "/none.png"))
  end)
end)
