--- texres scan: pictures larger than those of the training, with what is found on them in each format.
local tr = require "texres"
local json = require "texres.json"
local support = require "spec.support"

local root = support.folder()
local run, rolls = root .. "/run", root .. "/rolls"

local set = tr.data.fabric { count = 120, size = 16, seed = 1 }
local trainer = tr.Trainer { model = tr.models.textile { width = 4 }, epochs = 2, dir = run, quiet = true }
trainer:fit(set, set)
local classifier = assert(tr.load(run .. "/best.safetensors"))

--- Patches of the set side by side, u8 {16 * rows, 16 * columns, 1}.
local function roll(rows, columns)
  local list = {}
  for y = 1, rows do
    local row = {}
    for x = 1, columns do row[x] = (set:get((y - 1) * columns + x) * 255 + 0.5):floor():to "u8" end
    list[y] = tr.cat(row, 2)
  end
  return tr.cat(list, 1)
end

tr.make_folder(rolls .. "/deep")
assert(tr.write_png(rolls .. "/1.png", roll(4, 6)))
assert(tr.write_png(rolls .. "/deep/2.png", roll(3, 5)))

local function scan(...) return support.texres("scan", "--model", run, "--threads", "2", "--threshold", "0.4", ...) end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

describe("texres scan", function()
  local options = { threshold = 0.4, mm_per_pixel = 0.5, step = 8 }

  it("tells what classifier:scan finds, in JSON", function()
    local status, out, err = scan("--format", "jsonl", "--mm-per-pixel", "0.5", "--step", "8", rolls)
    assert.equal(0, status, err)
    local scanner, at, list, found = classifier:scanner(options), 0, {}, 0
    for i, line in ipairs(lines(out)) do list[i] = assert(json.decode(line)) end
    for _, name in ipairs { "1.png", "deep/2.png" } do
      local want = scanner:frame(assert(tr.load_image(rolls .. "/" .. name, { channels = 1 })))
      for _, defect in ipairs(want.defects) do
        at, found = at + 1, found + 1
        local got = list[at]
        assert.are.same({ "defect", rolls .. "/" .. name, defect.class, defect.top, defect.left, defect.height,
          defect.width, defect.points }, { got.kind, got.path, got.class, got.top, got.left, got.height, got.width,
          got.points })
        assert.is_true(math.abs(got.score - defect.score) < 1e-5 and math.abs(got.position_mm - defect.position) < 1e-3)
      end
      at = at + 1
      assert.are.same({ "image", want.count, want.points }, { list[at].kind, list[at].defects, list[at].points })
    end
    assert.is_true(found > 1)
    local sum = scanner:summary()
    assert.are.same({ "summary", found, sum.points, 112 }, { list[at + 1].kind, list[at + 1].defects,
      list[at + 1].points, list[at + 1].height })
    assert.are.equal(#list, at + 1)
  end)

  it("chooses a threshold on good cloth", function()
    local status, out, err = support.texres("scan", "--model", run, "--step", "8", "--false-alarms", "1", rolls)
    assert.equal(0, status, err)
    local chosen = assert(classifier:scan_threshold({ rolls .. "/1.png", rolls .. "/deep/2.png" }, { step = 8 }))
    assert.are.equal(tostring(chosen) .. "\n", out)
    status, out, err = scan("--false-alarms", "1", rolls)
    assert.are.equal(2, status)
    assert.matches("--threshold, --format and --overlay don't go with it", out .. err, 1, true)
    status, out, err = support.texres("scan", "--model", run, "--raw", "96x32", "--false-alarms", "1", "-")
    assert.are.equal(2, status)
    assert.matches("--false-alarms is for pictures: give --apart, too", out .. err, 1, true)
  end)

  it("writes a row for each defect in CSV, and overlays", function()
    local seen = root .. "/seen"
    local status, out, err = scan("--format", "csv", "--overlay", seen, "--step", "8", rolls)
    assert.equal(0, status, err)
    local count = 0
    for _, name in ipairs { "1.png", "deep/2.png" } do
      local image = assert(tr.load_image(rolls .. "/" .. name, { channels = 1 }))
      count = count + classifier:scan(image, options).count
      local picture = assert(tr.load_image(seen .. "/" .. name))
      assert.are.same({ image:size(1), image:size(2), 3 }, picture:shape())
    end
    local rows = lines(out)
    assert.are.equal("path,class,score,peak,top,left,height,width,area,position_mm,across_mm,length_mm,breadth_mm,"
      .. "area_mm2,points", rows[1])
    assert.are.equal(count + 1, #rows)
    assert.matches(",,,,,,$", rows[2])
  end)

  it("tells of unknown places, where the model has a novelty", function()
    local path, seen = root .. "/strange.safetensors", root .. "/white"
    local own = assert(tr.load(run .. "/best.safetensors"))
    own:fit_novelty(set, { calibrate = tr.data.fabric { count = 60, size = 16, seed = 2 } })
    assert(own:save(path))
    local given = { threshold = 1, unknown = 1e-3, step = 8 }
    local want = own:scan(rolls .. "/1.png", given)
    assert.is_true(want.unknown > 0)
    local function unknown(...)
      local status, out, err = support.texres("scan", "--model", path, "--threshold", "1", "--unknown", "1e-3",
        "--step", "8", ...)
      assert.equal(0, status, err)
      return lines(out)
    end
    local told = unknown("--format", "jsonl", rolls .. "/1.png")
    local defect, image = assert(json.decode(told[1])), assert(json.decode(told[want.unknown + 1]))
    assert.are.same({ "unknown", true, want.defects[1].top }, { defect.class, defect.unknown, defect.top })
    assert.is_true(math.abs(defect.novelty / want.defects[1].novelty - 1) < 1e-4)
    assert.are.same({ "image", 0, want.unknown }, { image.kind, image.defects, image.unknown })
    told = unknown("--format", "csv", "--overlay", seen, rolls .. "/1.png")
    assert.matches(",points,novelty$", told[1])
    assert.matches("%.png,unknown,[%d.e-]+,,", told[2]) -- without a peak
    local box = assert(tr.load_image(seen .. "/1.png")):select(1, math.max(want.defects[1].top, 0) + 1)
    local column = math.max(want.defects[1].left, 0) + 1
    assert.are.same({ 255, 255, 255 }, box:select(1, column):totable())
    told = unknown(rolls .. "/1.png")
    assert.matches(("0 defects, %d unknown$"):format(want.unknown), told[#told])
  end)

  it("passes over what it can't read, and says so", function()
    local status, out, err = scan(root .. "/none.png", rolls .. "/1.png")
    assert.equal(1, status)
    assert.matches("^texres scan: passed over [^\n]*none.png[^\n]*\n$", err)
    assert.matches("1.png: %d+ defects?\nall: %d+ defects?\n$", out)
  end)

  it("scans a picture that was made larger, with the same millimetres", function()
    local status, out, err = scan("--format", "jsonl", "--scale", "2", "--mm-per-pixel", "0.5", rolls .. "/1.png")
    assert.equal(0, status, err)
    local list = lines(out)
    local sum = assert(json.decode(list[#list]))
    assert.are.same({ 128, 192 }, { sum.height, sum.width })
    assert.is_true(math.abs(sum.area_m2 - 64 * 96 * 0.25e-6) < 1e-9)
  end)

  it("says which steps are possible", function()
    local status, _, err = scan("--step", "5", rolls .. "/1.png")
    assert.equal(1, status)
    assert.matches("step is 5: 8, 16 are possible with patches of 16x16", err)
  end)
end)

describe("texres scan at a line", function()
  local strip = roll(12, 6) -- 192 rows of 96 pixels
  local function bytes_of(image) return string.char(table.unpack(image:flatten():totable())) end
  local function bytes(first, last)
    local parts = {}
    for y = first, last do parts[#parts + 1] = bytes_of(strip:slice(1, y, y)) end
    return table.concat(parts)
  end

  local function scan_in(input, ...)
    return support.texres_in({ input = input }, "scan", "--model", run, "--threads", "1", "--threshold", "0.9",
      "--step", "8", "--format", "jsonl", ...)
  end

  local function defects_of(text)
    local list = {}
    for _, row in ipairs(lines(text)) do
      local record = assert(json.decode(row))
      if record.kind == "defect" then list[#list + 1] = { record.class, record.top, record.left, record.height } end
    end
    return list
  end

  it("takes raw frames as pieces of one strip", function()
    local status, out, err = scan_in(bytes(1, 192), "--raw", "96x32", "-")
    assert.equal(0, status, err)
    local scanner, want = classifier:scanner { threshold = 0.9, step = 8 }, {}
    local told = scanner:push(strip)
    for _, list in ipairs { told, (scanner:finish()) } do
      for _, defect in ipairs(list) do want[#want + 1] = { defect.class, defect.top, defect.left, defect.height } end
    end
    assert.is_true(#want > 1)
    assert.same(want, defects_of(out))
    assert.matches("6 frames done.* 0 bad", err)
  end)

  it("tells where on the roll defects lie behind frames that are bad, and what was scanned", function()
    local function told(input)
      local status, out, err = scan_in(input, "--raw", "96x32", "--mm-per-pixel", "0.5", "-")
      assert.equal(0, status, err)
      local list = lines(out)
      for i, one in ipairs(list) do list[i] = assert(json.decode(one)) end
      return list, table.remove(list)
    end
    local alone = told(bytes(1, 96))
    local bad = ("\0"):rep(32 * 96)
    local list, sum = told(bytes(1, 96) .. bad .. bad .. bytes(1, 96))
    local behind = { table.unpack(list, #list - #alone + 1) }
    assert.is_true(#alone > 0)
    for i, defect in ipairs(alone) do
      assert.are.equal(defect.top + 160, behind[i].top)
      assert.are.equal(defect.position_mm + 80, behind[i].position_mm)
      assert.is_true(defect.area <= defect.height * defect.width)
    end
    assert.are.same({ 192, 96 }, { sum.height, sum.width })
  end)

  it("refuses what can't be meant", function()
    local function refused(status, message, ...)
      local got, out, err = support.texres("scan", "--model", run, ...)
      assert.are.same({ status, "" }, { got, out })
      assert.matches(message, err, 1, true)
    end
    refused(2, "--raw is 96x32x, wanted WIDTHxHEIGHT", "--raw", "96x32x", "-")
    refused(1, "--raw is frames with 3 channels, the network takes 1", "--raw", "96x32x3", "-")
    refused(1, rolls .. ": is a folder, a file or a pipe of frames is wanted", "--raw", "96x32", rolls)
    refused(2, "--late and --queue are for --raw and --watch", "--late", "drop", rolls)
    refused(1, "unknown is 3, but what the network has never seen is not known", "--unknown", "3", rolls)
  end)

  it("tells each thing on one line, and a sink's name once", function()
    local folder, file = support.folder(), "a\nb.png"
    support.write_file(folder .. "/" .. file, "no picture")
    local _, _, err = scan("--out", folder .. "/none/out", folder)
    assert.matches("passed over " .. folder .. "/a\\x0ab.png: not a PNG", err, 1, true)
    assert.matches("texres scan: " .. folder .. "/none/out: No such file or directory; results are kept", err, 1, true)
  end)

  it("takes them apart where that is asked for, and tells what is bad", function()
    local frames = bytes(1, 32) .. ("\0"):rep(32 * 96) .. bytes(33, 64) .. "short"
    local status, out, err = scan_in(frames, "--raw", "96x32", "--apart", "-")
    assert.equal(0, status, err)
    assert.matches('"kind":"bad","path":"frame 2","message":"frame 2: all bytes are 0: no picture"', out)
    assert.matches('"kind":"image","path":"frame 3"', out)
    assert.matches("frame 4 is cut short: 5 bytes of it came", err)
  end)

  it("scans what comes into a folder once, also after a restart; SIGTERM ends it", function()
    local folder, out = root .. "/in", root .. "/out.jsonl"
    tr.make_folder(folder)
    assert(os.execute(("cp -p %s/1.png %s/1.png; touch -d '1 hour ago' %s/1.png"):format(rolls, folder, folder)))
    local function go()
      -- the lock says that it has begun
      return support.texres_in({ script = ([["$@" & child=$!
        until grep -qs "$child" %s/.texres-done.lock; do sleep 0.05; done
        sleep 0.5; kill -TERM $child; wait $child]]):format(folder) }, "scan", "--model", run, "--threads", "1",
        "--format", "jsonl", "--watch", "--out", out, folder)
    end
    local status, _, err = go()
    assert.equal(0, status, err)
    assert.matches("1 frames done", err)
    status, _, err = go()
    assert.equal(0, status, err)
    assert.matches("0 frames done", err)
    local _, images = support.read_file(out):gsub('"kind":"image"', "")
    assert.equal(1, images)
  end)

  it("gives results to a command", function()
    local out = root .. "/command.out"
    local status, shown, err = scan("--format", "csv", "--to", "cat >" .. out, rolls)
    assert.equal(0, status, err)
    assert.equal("", shown)
    assert.matches("^path,class,", support.read_file(out))
  end)

  it("says what can't be asked for together", function()
    assert.equal(2, (scan("--raw", "96x32", "--watch", "-")))
    assert.equal(2, (scan("--raw", "96x32", "--overlay", root, "-")))
    assert.equal(2, (scan("--raw", "96", "-")))
  end)
end)
