--- texres predict and classifier:predict_files: pictures of any name, size and colour, each answered as by predict;
-- what can't be read is told and passed over.
local tr = require "texres"
local json = require "texres.json"
local support = require "spec.support"

local root = support.folder()
local run, new = root .. "/run", root .. "/new"

-- a network of 16x16x1 with an operating point, and pictures without labels
local set = tr.data.fabric { count = 60, size = 16, seed = 1 }
local trainer = tr.Trainer { model = tr.models.textile { width = 2 }, epochs = 1, dir = run, quiet = true,
  operating_point = { false_reject = 0.2 } }
trainer:fit(set, set)
local classifier = assert(tr.load(run .. "/best.safetensors"))

local ODD = '=odd, "name" é' .. "\n\27[31m" -- a formula, quotes, a line break, what steers a terminal

local function write(name, image)
  tr.make_folder((new .. "/" .. name):match "^(.*)/")
  assert(tr.write_png(new .. "/" .. name, image))
end

local function bytes(i) return (set:get(i) * 255 + 0.5):floor():to "u8" end

write("1.png", bytes(1))
write("deep/er/2.png", bytes(2))
write("deep/" .. ODD .. ".png", bytes(3))
support.write_file(new .. "/notes.txt", "no picture")
support.write_file(new .. "/deep/scan.tif", "a picture that only others read")

local NAMES = { "1.png", "deep/" .. ODD .. ".png", "deep/er/2.png" } -- in the order in which they are found
local OF = { 1, 3, 2 }

local function predict(...) return support.texres("predict", "--model", run, "--threads", "2", ...) end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

local function close(a, b) assert.is_true(math.abs(a - b) < 1e-5, ("%s is not %s"):format(a, b)) end

--- What jsonl says, a table for each line.
local function answers(out)
  local list = {}
  for i, line in ipairs(lines(out)) do list[i] = assert(json.decode(line)) end
  return list
end

describe("texres predict", function()
  it("answers each picture of a folder as predict does, in JSON", function()
    local status, out, err = predict("--format", "jsonl", new)
    assert.equal(0, status, err)
    assert.matches("^texres: warning: [^\n]*passed over 1 .tif [^\n]*\n$", err)
    local list = answers(out)
    assert.equal(3, #list)
    local hash = require("texres.files").hash(run .. "/best.safetensors")
    for i, answer in ipairs(list) do
      local wanted = classifier:predict(bytes(OF[i]))
      assert.equal(new .. "/" .. NAMES[i], answer.path)
      assert.same({ wanted.class, wanted.verdict, hash }, { answer.class, answer.verdict, answer.model })
      close(wanted.defect_score, answer.defect_score)
      for c, name in ipairs(classifier.classes) do close(wanted.probabilities[c], answer.probabilities[name]) end
    end
  end)

  it("tells novelty, in each format, of a network that knows it", function()
    local known, file = assert(tr.load(run .. "/best.safetensors")), root .. "/known.safetensors"
    known:fit_novelty(set, { calibrate = set, false_alarms = 0.5 })
    assert(known:save(file))
    local function say(format)
      local status, out = support.texres("predict", "--model", file, "--format", format, new)
      assert.equal(0, status)
      return out
    end
    local csv, text = lines(say "csv"), lines(say "table")
    assert.matches("^path,class,probability,verdict,defect_score,novelty,unknown,p_", csv[1])
    assert.matches("defect score  novelty  unknown  model ", text[1])
    for i, answer in ipairs(answers(say "jsonl")) do
      local wanted = known:predict(bytes(OF[i]))
      assert.is_true(math.abs(wanted.novelty - answer.novelty) < 1e-2)
      assert.equal(answer.novelty > known.novelty.threshold, answer.unknown)
      if i == 1 then assert.matches(("%%d,%s,"):format(answer.unknown), csv[2]) end
      assert.matches(answer.unknown and " yes  +%x+ " or " no  +%x+ ", text[i + 1])
    end
    local _, out = predict("--format", "csv", new)
    assert.not_matches("novelty", out)
  end)

  it("writes CSV that is read back, whatever the names", function()
    local status, out = predict("--format", "csv", new)
    assert.equal(0, status)
    local titles, columns = tr.read_csv(support.write_file(root .. "/answers.csv", out))
    local at = {}
    for c, title in ipairs(titles) do at[title] = columns[c] end
    assert.same({ "path", "class", "probability", "verdict", "defect_score", "p_good" },
      table.move(titles, 1, 6, 1, {}))
    assert.equal("model", titles[#titles])
    for i, name in ipairs(NAMES) do
      assert.equal(new .. "/" .. name, at.path[i])
      close(classifier:predict(bytes(OF[i])).probabilities[1], tonumber(at.p_good[i]))
    end
    assert(os.execute(("cd '%s' && cp 1.png '=1.png'"):format(new)))
    status, out = support.texres_in({ script = 'r=$PWD; l=$1; shift 2; cd ' .. new .. ' && "$l" "$r/bin/texres" "$@"' },
      "predict", "--model", run, "--format", "csv", "=1.png")
    os.remove(new .. "/=1.png")
    assert.equal(0, status)
    assert.matches("\n'=1.png,", out) -- no formula
  end)

  it("shows a table in which nothing steers the terminal", function()
    local status, out = predict(new)
    assert.equal(0, status)
    assert.equal(4, #lines(out))
    assert.matches("^verdict +class +probability +defect score +model +path\n", out)
    assert.is_nil(out:find "\27")
    assert.matches("\\x0a\\x1b%[31m", out)
  end)

  it("passes over what can't be read, tells it, and ends with 1", function()
    local bad = root .. "/bad"
    tr.make_folder(bad .. "/empty")
    support.write_file(bad .. "/text.png", "hello")
    support.write_file(bad .. "/void.png", "")
    local status, out, err = predict("--format", "jsonl", bad .. "/text.png", new .. "/1.png", bad .. "/none.png", bad,
      bad .. "/empty", new .. "/deep/er")
    assert.equal(1, status)
    assert.equal(2, #lines(out))
    assert.same({ 2, 1, 1, 1 }, { select(2, err:gsub("passed over [^\n]*/text.png: not a PNG", "")),
      select(2, err:gsub("/void.png: ", "")), select(2, err:gsub("/none.png: No such file", "")),
      select(2, err:gsub("/empty: there are no pictures in it", "")) })
    assert.equal(5, #lines(err))
  end)

  it("brings pictures to the model's size and colour, which is said once", function()
    local other = root .. "/other"
    tr.make_folder(other)
    local rgb = bytes(4):expand(16, 16, 3):contiguous()
    assert(tr.write_png(other .. "/colour.png", rgb))
    assert(tr.write_png(other .. "/large.png", tr.full({ 40, 24, 3 }, 99):to "u8"))
    assert(tr.write_png(other .. "/larger.png", tr.full({ 50, 24, 1 }, 99):to "u8"))
    local status, out, err = predict("--format", "jsonl", other)
    assert.equal(0, status, err)
    local list = answers(out)
    close(classifier:predict(bytes(4)).probability, list[1].probability)
    close(classifier:predict(tr.full({ 16, 16, 1 }, 99):to "u8").probability, list[2].probability)
    assert.matches("^[^\n]*resized to 16x16; the first: [^\n]*/large.png, 40x24\n$", err)
  end)

  it("takes paths from standard input, each answered before the next one comes", function()
    local one = new .. "/1.png"
    local status, out, err = support.texres_in({ input = one .. "\r\n\n" .. root .. "/none.png\n" .. new
      .. "/deep/er" },
      "predict", "--model", run, "--format", "jsonl", "-", one)
    assert.equal(1, status, err)
    assert.equal(3, #lines(out))
    status, out = support.texres_in({ input = new .. "/" .. NAMES[2] .. "\0" .. one },
      "predict", "--model", run, "--format", "jsonl", "--null", "-")
    assert.equal(0, status)
    assert.equal(new .. "/" .. NAMES[2], answers(out)[1].path)
    assert.equal(2, #lines(out))
    local file = root .. "/watched"
    status, out, err = support.texres_in({ script = ([[
      mkfifo %s.in; "$@" <%s.in >%s & p=$!; exec 9>%s.in; echo %s >&9
      for i in $(seq 600); do test $(wc -l <%s) -ge 2 && break; sleep 0.05; done
      test $(wc -l <%s) -eq 2 || echo "no answer" >&2
      kill -INT $p; wait $p]]):format(file, file, file, file, one, file, file) },
      "predict", "--model", run, "--format", "csv", "-")
    assert.equal(130, status, err)
    assert.equal("", out)
    assert.equal("texres predict: interrupted\n", err)
  end)

  it("writes heat maps under names that don't collide", function()
    local why = root .. "/why"
    assert(os.execute(("mkdir %s/twice && cp %s/1.png %s/twice/1.jpg"):format(root, new, root)))
    local status, out, err = predict("--format", "jsonl", "--heatmaps", why, new, root .. "/twice", new .. "/1.png")
    assert.equal(0, status, err)
    local list = answers(out)
    assert.same({ why .. "/1.png", why .. "/deep/er/2.png", why .. "/1.jpg.png", why .. "/1.png.png" },
      { list[1].heatmap, list[3].heatmap, list[4].heatmap, list[5].heatmap })
    for _, answer in ipairs(list) do assert.same({ 16, 16, 3 }, assert(tr.load_image(answer.heatmap)):shape()) end
  end)

  it("says what is wrong in one line", function()
    for message, words in pairs {
      ["missing option '%-%-model'"] = { 2, new },
      ["missing argument 'files'"] = { 2, "--model", run },
      ["nowhere: No such file"] = { 1, "--model", root .. "/nowhere", new },
      ["1.png: not a safetensors file"] = { 1, "--model", new .. "/1.png", new },
      ["%-%-views is 3, wanted 1 or 4 or 8"] = { 2, "--model", run, "--views", "3", new },
      ["'%-%-format' must be one of"] = { 2, "--model", run, "--format", "xml", new },
    } do
      local status, out, err = support.texres("predict", table.unpack(words, 2))
      assert.equal(words[1], status, err)
      assert.equal("", out)
      assert.matches(message, err)
      assert.equal(1, #lines(err))
    end
    local status, _, err = support.texres_in({ script = '"$@" >/dev/full' }, "predict", "--model", run, new .. "/1.png")
    assert.equal(1, status)
    assert.matches("standard output: No space left", err)
  end)
end)

describe("classifier:predict_files", function()
  it("answers as a batch and one by one alike, with views, from a list, a function or a path", function()
    local function classes(paths, options)
      local list = {}
      for answer in classifier:predict_files(paths, options) do
        list[#list + 1] = ("%s %.4f"):format(answer.name, answer.probability)
      end
      return list
    end
    local function quietly(f, ...)
      local warn = tr.warn
      tr.warn = function() end
      local result = f(...)
      tr.warn = warn
      return result
    end
    local wanted = quietly(classes, { new }, { views = 4 })
    assert.equal(3, #wanted)
    assert.same(wanted, quietly(classes, new, { views = 4, batch = 1 }))
    local once = { new .. "/" }
    assert.same(wanted, quietly(classes, function() return table.remove(once) end, { views = 4, batch = 2 }))
  end)

  it("goes on where a file fails, and raises for what is no path", function()
    local list = {}
    for answer in classifier:predict_files { root .. "/none.png", new .. "/1.png" } do list[#list + 1] = answer end
    assert.matches("none.png: No such file", list[1].message)
    assert.same({ "1.png", { 16, 16, 1 } }, { list[2].name, list[2].image:shape() })
    assert.matches("%%", tostring(list[2]))
    assert.error_matches(function() classifier:predict_files(3) end, "the paths are 3, wanted a path, a list")
    assert.error_matches(function() classifier:predict_files({ 3 })() end, "a path is 3, wanted a path, as text")
    assert.error_matches(function() classifier:predict_files({}, { batch = 0 }) end, "predict_files: batch is 0")
  end)

  it("takes pictures of 16 bits for what their bytes are, also dark ones", function()
    local dark, bright = root .. "/dark.pgm", root .. "/dark8.pgm"
    support.write_file(dark, "P5 16 16 65535\n" .. ("\1\1"):rep(256))
    support.write_file(bright, "P5 16 16 255\n" .. ("\1"):rep(256))
    local found = {}
    for answer in classifier:predict_files { dark, bright } do found[#found + 1] = answer.probability end
    close(found[1], found[2])
  end)
end)
