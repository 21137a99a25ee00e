--- The command line: what all commands share, and the small ones. Results go to standard output, the rest to standard
-- error. Those of the main job have files of their own, command_NAME_spec.lua.
local support = require "spec.support"
local tr = require "texres"

local folder, texres = support.folder(), support.texres

--- That a command line fails with this status, nothing on standard output and one line on standard error.
local function fails(status, pattern, ...)
  local got, output, errors = texres(...)
  assert.equal(status, got, errors)
  assert.equal("", output)
  assert.matches("^texres[^\n]*\n$", errors)
  assert.matches(pattern, errors)
end

describe("the command line", function()
  it("lists its commands, and says which version it is", function()
    local status, output, errors = texres "help"
    assert.equal(0, status, errors)
    for _, name in ipairs { "summary", "help", "completion" } do assert.matches("\n   " .. name .. " +%u", output) end
    assert.equal(output, select(2, texres "--help"))
    assert.same({ 2, output, "" }, { texres() }, "without a command: the same list, but nothing was done")
    status, output = texres "--version"
    assert.equal(0, status)
    assert.equal(tr._VERSION .. "\n", output)
  end)

  it("is wrong with status 2, in one line that says where to look", function()
    fails(2, "unknown command 'sumary'; did you mean 'summary'; see texres %-%-help", "sumary")
    fails(2, "unknown option '%-%-size'.*see texres %-%-help", "--size", "3")
    fails(2, "texres summary: missing argument 'network'; see texres summary %-%-help", "summary")
    fails(2, "too many arguments", "summary", "a", "b")
    fails(2, "3 is no shape of images", "summary", "x", "--input", "3")
    fails(2, "%-%-classes is 0, wanted a whole number of at least 1", "summary", "x", "--classes", "0")
    fails(2, "%-%-threads is x, wanted", "find-lr", "set", "--threads", "x")
    fails(2, "find%-lr: %-%-threads: n is 100000: 1..256 is possible; see", "find-lr", "set", "--threads", "100000")
    fails(2, "unknown option '%-1'; a value that begins with a dash is written", "train", "set", "--lr", "-1")
    fails(2, "%-%-lr is %-1, wanted", "train", "set", "--lr=-1")
    fails(2, "'%-%-network' must be one of .*'textile'", "train", "set", "--network", "nix")
    fails(2, "'%-%-split' can not be used together", "train", "set", "--folds", "4", "--split", "0.7,0.1,0.2")
    fails(2, "'%-%-false%-reject' can not be used", "train", "set", "--escape", "0.1", "--false-reject", "0.1")
    fails(2, "%-%-out is", "train", "set", "--out", "")
  end)

  it("fails with status 1, in one line, and tells where an error was raised where it is asked for", function()
    fails(1, "texres summary: nowhere: there is no such file", "summary", "nowhere")
    fails(1, "texres summary: " .. folder .. ": no folder of a run, no network is in it", "summary", folder)
    fails(1, "^texres summary: zeros: ", "summary", "textile", "--input", "64x64x1", "--classes", "9007199254740993")
    local status, _, errors = texres("summary", "textile", "--classes", "9007199254740993", "--traceback")
    assert.equal(1, status)
    assert.matches("stack traceback:.*summary.lua:%d+", errors)
  end)

  it("ends with status 130 at Ctrl-C, from within a long call", function()
    local status, output, errors = support.texres_in({ script = [["$@" & p=$!; sleep 2; kill -INT $p; wait $p]] },
      "fabric", "--count", "4000000", "--size", "16", "--out", folder .. "/endless")
    assert.same({ 130, "", "texres fabric: interrupted\n" }, { status, output, errors })
  end)

  it("fails where standard output does not take what is printed: on a full disk, or closed", function()
    for _, words in ipairs { { "help" }, { "--version" }, { "--help" }, { "train", "--help" }, { "summary", "textile" },
      { "completion", "bash" }, { "fabric", "--count", "6", "--size", "16", "--out", folder .. "/lost" } } do
      for _, where in ipairs { "/dev/full", "&-" } do
        local status, _, errors = support.texres_in({ script = '"$@" >' .. where }, table.unpack(words))
        assert.equal(1, status, words[1])
        assert.matches("^texres[^\n]*: standard output did not take all[^\n]*\n$", errors)
      end
    end
  end)

  it("keeps its files to themselves where standard streams are closed", function()
    local open, closed = folder .. "/open", folder .. "/closed"
    assert.equal(0, (texres("fabric", "--count", "6", "--size", "16", "--out", open)))
    support.texres_in({ script = '"$@" >&- 2>&- <&-' }, "fabric", "--count", "6", "--size", "16", "--out", closed)
    for _, name in ipairs { "X.npy", "Y.npy", "index.csv", "sheet.png" } do
      assert.equal(support.read_file(open .. "/" .. name), support.read_file(closed .. "/" .. name), name)
    end
  end)

  it("says what to install where argparse is missing", function()
    local script = ([[LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua' "$@"]]):format(".", ".")
    local status, output, errors = support.texres_in({ script = script }, "help")
    assert.same({ 1, "" }, { status, output })
    assert.matches("^texres: needs argparse[^\n]*lua%-argparse[^\n]*\n$", errors)
  end)

  it("shows control bytes of names, and sends none to the terminal", function()
    fails(1, "\\x1b%[31mred", "summary", "\27[31mred")
    fails(2, "\\x1b%[31mred", "\27[31mred")
  end)

  it("has help with examples for every command", function()
    for name in select(2, texres "help"):match("Commands:\n(.-)\n\n"):gmatch "   ([%w-]+) +%u" do
      local status, output = texres(name, "--help")
      assert.equal(0, status)
      assert.matches("^Usage: texres " .. name:gsub("%-", "%%-"), output)
      local examples = assert(output:match "\nExamples:\n(.*)")
      assert.not_matches("texres [^\n]*%f[%w]texres ", examples)
      for line in ("\n" .. examples):gmatch "\n   (%S[^\n]*)" do
        assert.matches("%f[%w]texres ", line)
        for word in line:gmatch "%f[%w]texres (%S+)" do assert.equal(name, (word:gsub("%)$", "")), line) end
      end
      assert.matches("%-%-traceback", output)
      assert.equal(output, select(2, texres("help", name)))
    end
  end)
end)

describe("texres help", function()
  it("tells of names of the library too", function()
    local status, output = texres("help", "relu")
    assert.equal(0, status)
    assert.matches("max%(x, 0%)", output)
    fails(2, "texres help: .*bogus", "help", "bogus")
  end)
end)

describe("texres completion", function()
  it("completes commands, options and their choices in bash", function()
    local script = support.write_file(folder .. "/complete.bash", select(2, texres("completion", "bash")) .. [[

COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_texres
echo "${COMPREPLY[@]}"
]])
    local function complete(...)
      local ok, output = support.run { "bash", script, "texres", ... }
      assert.is_true(ok, output)
      return output:gsub("\n$", "")
    end
    assert.equal("summary", complete "su")
    assert.matches("summary.* help completion", complete "")
    assert.equal("--input", complete("summary", "--i"))
    assert.equal("summary", complete("help", "su"))
    assert.matches("%-%-help.*%-%-traceback", complete("summary", "textile", "--"))
    assert.matches("bin/texres", complete("summary", "--input", "bin/te"))
  end)

  it("writes a script for zsh, of which there is no other shell's", function()
    local status, output = texres("completion", "zsh")
    assert.equal(0, status)
    assert.matches("^#compdef texres\n", output)
    assert.matches('"summary:The layers', output)
    if os.execute "zsh --version >/dev/null 2>&1" then
      local ok, message = support.run { "zsh", "-n", support.write_file(folder .. "/_texres", output) }
      assert.is_true(ok, message)
    end
    fails(2, "one of 'bash', 'zsh'", "completion", "fish")
  end)
end)

describe("texres draw", function()
  it("writes a picture or a graph, by the name of the file", function()
    local status, output, errors = texres("draw", "textile", folder .. "/net.svg")
    assert.same({ 0, "drawing: " .. folder .. "/net.svg\n" }, { status, output }, errors)
    assert.matches("^<svg", support.read_file(folder .. "/net.svg"))
    assert.matches("32 x 32 x 64", support.read_file(folder .. "/net.svg"))
    assert.equal(0, (texres("draw", "resnet18", folder .. "/net.dot", "--input", "32x32x3")))
    assert.matches("^digraph", support.read_file(folder .. "/net.dot"))
    fails(2, "net.png: the name of the picture ends in .svg or .dot", "draw", "textile", "net.png")
    fails(1, "none/net.svg: No such file", "draw", "textile", folder .. "/none/net.svg")
  end)
end)

describe("texres export", function()
  it("writes ONNX with what belongs to the network", function()
    local path = folder .. "/net.onnx"
    local status, output, errors = texres("export", "onnx", "textile", path, "--input", "32x48x1", "--classes", "3")
    assert.same({ 0, ("network: %s, images {N,32,48,1}\n"):format(path) }, { status, output }, errors)
    local _, info = assert(tr.onnx.import(path))
    assert.same({ 32, 48, 1 }, info.input)

    tr.manual_seed(1)
    local net = tr.models.textile { width = 2, classes = 2 }
    local contents = { model = net, input = { 32, 32, 1 }, classes = { "good", "hole" },
      normalization = { mean = { 0.5 }, std = { 0.25 } } }
    assert(tr.save(folder .. "/best.safetensors", contents))
    status, output = texres("export", "onnx", folder, path) -- the folder of a run
    assert.equal(0, status)
    assert.matches("images {N,32,32,1} in 0..1", output)
    local again
    again, info = assert(tr.onnx.import(path))
    assert.same({ "good", "hole" }, info.classes)
    assert.same({ mean = 0.5, std = 0.25 }, info.normalization)
    local x = tr.rand(2, 32, 32, 1)
    assert.is_true(tr.allclose(net:eval()(x), again:eval()(x), 0, 1e-5))
    status, output = texres("export", "onnx", folder, path, "--pixels", "u8", "--outputs", "probabilities")
    assert.equal(0, status)
    assert.matches("images {N,32,32,1} of bytes", output)
    again, info = assert(tr.onnx.import(path))
    assert.same({ "u8", true }, { info.pixels, info.softmax })
    assert.is_true(tr.allclose(net:eval()(x), again:eval()(x), 0, 1e-5))
    fails(2, "must be one of 'f32', 'u8'", "export", "onnx", folder, path, "--pixels", "u16")
    fails(2, "must be one of 'onnx'", "export", "textile", path)
    fails(1, "none.safetensors: there is no such file", "export", "onnx", folder .. "/none.safetensors", path)
  end)
end)

describe("texres fabric", function()
  it("makes a set that data.open reads, as pictures too", function()
    local out = folder .. "/cloth"
    local status, output, errors = texres("fabric", "--out", out, "--count", "24", "--sources", "4", "--size", "16x24",
      "--seed", "3", "--masks", "--pictures", "--weave", "mixture", "--severity", "0.5")
    assert.same({ 0, ("24 images 16x24x1 u8, 6 classes in %s, some of them in sheet.png\n"):format(out) },
      { status, output }, errors)
    assert.matches("^\137PNG", support.read_file(out .. "/sheet.png"))
    local arrays = assert(tr.data.open(out))
    local pictures = assert(tr.data.open(out .. "/pictures"))
    local same = tr.data.fabric { count = 24, sources = 4, size = { 16, 24 }, seed = 3, weave = "mixture",
      severity = 0.5 }
    assert.same(same.label, arrays.label)
    assert.same(same.meta.source, arrays.meta.source)
    assert.is_true(tr.allclose(same:images(), arrays:images(), 0, 1e-6))
    assert.equal(24, #pictures)
    assert.is_truthy(pictures.masks)
    assert.matches("NUMPY", support.read_file(out .. "/masks.npy"))
  end)

  it("says what is wrong with what it is asked for", function()
    fails(2, "%-%-count is 0, wanted a whole number of at least 1", "fabric", "--count", "0")
    fails(2, "%-%-weave is silk", "fabric", "--weave", "silk")
    fails(2, "%-%-yarn is 1,2,3, wanted one number or two", "fabric", "--yarn", "1,2,3")
    fails(2, "%-%-size is 64x, wanted a side or HxW", "fabric", "--size", "64x")
    fails(1, "texres fabric: unknown class 'bad'", "fabric", "--classes", "good,bad")
    fails(1, "texres fabric: severity {2,2} is not a range", "fabric", "--severity", "2")
    fails(1, "/dev/null: can't make the folder", "fabric", "--count", "6", "--out", "/dev/null")
  end)
end)

describe("texres bench", function()
  it("measures training and inference, with one thread and with all, and changes nothing", function()
    local threads, seed, stream = tr.num_threads(), tr.rng_state()
    local found = tr.bench { width = 2, batch = 4, size = 16, seconds = 0.01, threads = 2 }
    assert.same({ threads, seed, stream }, { tr.num_threads(), tr.rng_state() })
    local rows = {}
    for i, rate in ipairs(found) do
      rows[i] = { rate.work, rate.threads }
      assert.is_true(rate.images > 0 and rate.images < math.huge)
    end
    assert.same({ { "training", 1 }, { "training", 2 }, { "inference", 1 }, { "inference", 2 } }, rows)
    assert.matches("width 2, 4 images of 16x16.*\ninference +2 +%d+ +[%d.]+$", tostring(found))
    assert.equal(2, #tr.bench { width = 2, batch = 4, size = 16, seconds = 0.01, threads = 1 })
  end)

  it("is a command", function()
    local status, output, errors = texres("bench", "--width", "2", "--batch", "4", "--size", "16", "--seconds", "0.01",
      "--threads", "1")
    assert.equal(0, status, errors)
    assert.matches("^textile network, width 2.*\ntraining +1 +%d+", output)
    fails(2, "%-%-seconds is 0, wanted a finite number above 0", "bench", "--seconds", "0")
    fails(1, "^texres bench: set_num_threads: n is 9999", "bench", "--width", "2", "--threads", "9999")
  end)
end)

describe("texres find-lr", function()
  local set = folder .. "/rates"
  setup(function()
    assert.equal(0, (texres("fabric", "--out", set, "--count", "48", "--size", "16")))
  end)

  it("suggests a rate for the training that texres train would do, and changes nothing", function()
    local seed, stream = tr.rng_state()
    local found = assert(tr.find_lr({ set = set, network = { "textile", width = 2 }, batch = 16 }, { high = 10 }))
    assert.same({ seed, stream }, { tr.rng_state() })
    assert.is_true(found.highest >= found.suggestion)
    local status, output, errors = texres("find-lr", set, "--width", "2", "--batch", "16", "--high", "10", "--threads",
      "1")
    assert.equal(0, status, errors)
    assert.equal(tostring(found) .. "\n", output)
    assert.equal("", errors)
  end)

  it("says what is wrong", function()
    fails(1, "nowhere: No such file", "find-lr", folder .. "/nowhere")
    fails(1, "low is 1, not below high, which is 0.1", "find-lr", set, "--low", "1", "--high", "0.1")
    fails(2, "'%-%-network' must be one of", "find-lr", set, "--network", "resnet19")
    fails(2, "%-%-steps is 3, wanted a whole number of at least 10", "find-lr", set, "--steps", "3")
    local found, message = tr.find_lr { set = folder .. "/nowhere" }
    assert.is_nil(found)
    assert.matches("nowhere", message)
  end)
end)
