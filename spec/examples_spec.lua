--- The scripts of examples/ run from a checkout, without environment, and do what they say.
local support = require "spec.support"

--- Runs a script of examples/ with an environment that knows nothing of this checkout.
local function example(...)
  return support.run({ support.lua, ... }, { env = { LUA_PATH = ";;", LUA_CPATH = ";;" } })
end

describe("examples", function()
  local dir = support.folder()

  setup(function()
    assert.equal(0, (support.texres("fabric", "--out", dir .. "/cloth", "--count", "96", "--sources", "25")))
  end)

  it("end at Ctrl-C, and go on with nothing that is half trained", function()
    local count = 0
    for path in io.popen("ls examples/*.lua"):lines() do
      for after in support.read_file(path):gmatch "trainer:fit%b()\n([^\n]*)" do
        count = count + 1
        assert.matches("if trainer.interrupted then os.exit%(130, true%) end", after, path)
      end
    end
    assert.is_true(count > 0)
  end)

  it("textile.lua trains, tests and reports; whole cloths are held out", function()
    local ok, output = example("examples/textile.lua", dir .. "/cloth/X.npy", "source", dir .. "/run")
    assert.is_true(ok, output)
    for _, text in ipairs { "group +source", "epoch 15/15", "accuracy %d", "6 metal_contamination",
      "truth \\ prediction", "run/report.html" } do
      assert.matches(text, output)
    end
    assert.is_true(support.exists(dir .. "/run/report.html"))
    ok, output = example("examples/textile.lua", dir .. "/none.npy")
    assert.is_false(ok)
    assert.matches("none.npy: No such file", output)
  end)

  it("transfer.lua fine-tunes a network on few images, beside one from random weights", function()
    local function transfer(...)
      return example("examples/transfer.lua", dir .. "/cloth", "--few", "3", "--steps", "4", "--seeds", "2", "--test",
        "20", "--dir", dir .. "/transfer", ...)
    end
    local ok, output = transfer("--count", "60", "--epochs", "1", "--width", "2")
    assert.is_true(ok, output)
    for _, text in ipairs { "synthetic fabric that was held back: accuracy", "18 images to learn from, 3 of each",
      "tested on 20; 2 seeds", "as it is +%d", "from random weights +%d", "last layer alone +%d", "fine%-tuned +%d" } do
      assert.matches(text, output)
    end
    ok, output = transfer("--from", dir .. "/transfer/best.safetensors", "--groups", dir .. "/cloth/index.csv:source")
    assert.is_true(ok, output)
    assert.matches("tested on 20 of other groups", output)
    assert.not_matches("synthetic", output)
  end)

  it("perceptilabs.lua trains a model as its file says", function()
    local tr = require "texres"
    local X, Y = dir .. "/small_X.npy", dir .. "/small_Y.npy"
    assert(tr.data.fabric({ count = 48, size = 16, seed = 1 }):save_npy(X, Y))
    local ok, output = example("examples/perceptilabs.lua", "spec/fixtures/perceptilabs.json", "--images", X,
      "--labels", Y, "--dir", dir .. "/drawn")
    assert.is_true(ok, output)
    for _, text in ipairs { "Small_1: images 16x16x1, 6 classes, 525 parameters", "48 images: 2%d to train, 1%d to",
      "epoch 3/3", "accuracy %d", "drawn/report.html" } do
      assert.matches(text, output)
    end
    ok, output = example("examples/perceptilabs.lua", dir .. "/none.json", "--images", "x", "--labels", "y")
    assert.is_false(ok)
    assert.matches("Error: .*none.json", output)
  end)

  it("gradients.lua shows how gradients fade, grow, and by which paths they come", function()
    local page = dir .. "/gradients.html"
    local ok, output = example("examples/gradients.lua", "--depths", "8,20", "--train", "8", "--seeds", "2", "--width",
      "4", "--size", "8", "--count", "60", "--epochs", "1", "--out", page)
    assert.is_true(ok, output)
    local function gradient(regime, net, depth)
      local part = output:match("\n" .. regime .. "\n(.-)\n\n")
      return tonumber(part:match("\n *" .. net .. " +" .. depth .. " +(%d%S*) "))
    end
    local small, he = "small weights, no norm", "He weights, no norm"
    assert.is_true(gradient(small, "plain", 20) < 1e-3 * gradient(small, "plain", 8), output)
    assert.is_true(gradient(small, "residual", 20) > 1e3 * gradient(small, "plain", 20), output)
    assert.is_true(gradient(he, "residual", 20) > 3 * gradient(he, "zero%-init", 20), output)
    local zero = output:match "zero%-init +20 [^\n]+to +%S+ +([^\n]*)"
    assert.matches("^1.00 +0.00 +0.00$", zero)
    assert.matches("trained for 1 epochs: training accuracy", output)
    assert.matches("Gradient of each block at depth 8", support.read_file(page))
    for _, case in ipairs {
      { "--depths", "9", "6n%+2" }, { "--depths", "20,8", "rising" }, { "--depths", ",", "there is no depth" },
      { "--train", "8,14", "a single depth" }, { "--seeds", "0", "a number from 1 on" },
    } do
      ok, output = example("examples/gradients.lua", case[1], case[2])
      assert.is_false(ok)
      assert.matches("Error: .*" .. case[3], output)
    end
  end)

  it("depth.lua draws accuracy by depth, and goes on", function()
    local function run(...)
      return example("examples/depth.lua", "--depths", "8,14", "--seeds", "2", "--width", "2", "--size", "8", "--count",
        "60", "--epochs", "1", "--dir", dir .. "/depth", "--svg", dir .. "/depth.svg", ...)
    end
    local ok, output = run()
    assert.is_true(ok, output)
    assert.matches("residual%-14 +%d", output)
    local svg = support.read_file(dir .. "/depth.svg")
    assert.is_true(#svg < 100000)
    assert.matches(">plain<", svg)
    assert.matches(">residual<", svg)
    ok, output = run "--epochs=2"
    assert.is_false(ok)
    assert.matches("epochs: 1 %-> 2", output)
  end)

  it("sweep.lua compares its variants, on a set of one's own too", function()
    local ok, output = example("examples/sweep.lua", "--count", "90", "--size", "8", "--width", "2", "--epochs", "1",
      "--seeds", "2", "--dir", dir .. "/sweep")
    assert.is_true(ok, output)
    for _, text in ipairs { "against residual", "preact +%d", "mean%-max +%d", "sweep/report.html" } do
      assert.matches(text, output)
    end
    ok, output = example("examples/sweep.lua", dir .. "/cloth", "--groups", "source", "--width", "2", "--seeds", "1",
      "--budget", "1s", "--epochs", "50", "--dir", dir .. "/budget")
    assert.is_true(ok, output)
    assert.matches("dropped", output)
    ok, output = example("examples/sweep.lua", dir .. "/nowhere")
    assert.is_false(ok)
    assert.matches("Error: .*nowhere", output)
  end)
end)

describe("the short examples", function()
  --- What a script prints, which ends well.
  local function printed(name, ...)
    local ok, output = example("examples/" .. name .. ".lua", ...)
    assert.is_true(ok, output)
    return output
  end

  it("hello_tensor.lua shows tensors and a gradient", function()
    assert.matches("3 x%^2:%s+%[ 3%., 12%., 27%.%]", printed "hello_tensor")
  end)

  it("line.lua finds the line", function()
    local slope, offset = printed("line"):match "y = ([%d.]+) x ([-+][%d.]+)"
    assert.near(3, tonumber(slope), 0.1)
    assert.near(-1, tonumber(offset), 0.1)
  end)

  it("own_block.lua trains a block that begins as the identity", function()
    local output = printed "own_block"
    assert.matches("3%.body%.1 +Conv2d", output)
    assert.not_matches("training: %-?0%.000", output)
  end)

  it("own_function.lua checks gradients, and says which one is none", function()
    local output = printed "own_function"
    assert.matches("12 elements agree", output)
    assert.matches("4 of 4 elements differ", output)
  end)

  it("training_loop.lua acts on what happens, and ends early", function()
    local output = printed "training_loop"
    assert.matches("\nepoch 2 .*\nconv1 is frozen.*\nepoch 3 .*\nended: stopped\naccuracy", output)
  end)

  it("predict_folder.lua answers for each picture, and passes damaged ones over", function()
    local folder = support.folder()
    assert.equal(0, (support.texres("fabric", "--out", folder, "--count", "12", "--size", "16", "--classes",
      "good,hole", "--pictures")))
    assert.equal(0, (support.texres("train", folder, "--out", folder .. "/run", "--epochs", "1", "--width", "2")))
    local network, pictures = folder .. "/run/best.safetensors", folder .. "/pictures"
    local _, count = printed("predict_folder", network, pictures):gsub("%.png", "")
    assert.equal(12, count)
    support.write_file(pictures .. "/good/broken.png", "no picture")
    local _, output, status = example("examples/predict_folder.lua", network, pictures)
    assert.equal(1, status)
    assert.matches("passed over.*broken%.png", output)
    _, output, status = example "examples/predict_folder.lua"
    assert.equal(2, status)
    assert.matches("^usage:", output)
  end)
end)
