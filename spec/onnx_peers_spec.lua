--- ONNX files as others run them: onnxruntime and OpenVINO give of each what texres gives, for any number of images.
--
-- Skipped where Python ($PYTHON, or python3) can't import both. TEXRES_ALL_MODELS=1 takes the large networks, too:
-- half a minute, and 1.5 GB of files.
local tr = require "texres"
local support = require "spec.support"
local classifier = require "texres.classifier"
local nn = tr.nn

local python = os.getenv "PYTHON" or "python3"
local PEERS = { "onnxruntime", "openvino" }

local has_peers
local function need_peers(pending)
  if has_peers == nil then has_peers = support.run { python, "-c", "import numpy, onnxruntime, openvino" } end
  return has_peers or pending "onnxruntime and OpenVINO are not both on this machine"
end

-- Batches of these sizes, by name of the file, are run; then check(what one gave, what texres gives, which) is called.
local function run(folder, cases, check)
  for name, case in pairs(cases) do
    for _, images in ipairs(case.batches) do
      assert(tr.save_npy(("%s/%s.%d.npy"):format(folder, name, images:size(1)), images))
    end
  end
  local ok, output = support.run { python, "spec/fixtures/run_onnx.py", folder }
  assert.is_true(ok, output)
  for name, case in pairs(cases) do
    for _, images in ipairs(case.batches) do
      for _, peer in ipairs(PEERS) do
        local n = images:size(1)
        local given = assert(tr.load_npy(("%s/%s.%d.%s.npy"):format(folder, name, n, peer)))
        check(given, case.gives(images), ("%s, %d images, %s"):format(name, n, peer))
      end
    end
  end
end

-- As near as sums in another order are, measured by the largest number.
local function check_near(given, wanted, what)
  assert.same(wanted:shape(), given:shape(), what)
  local apart, largest = (given - wanted):abs():max():item(), wanted:abs():max():item()
  assert.is_true(apart <= 1e-4 * largest, ("%s: %g of %g"):format(what, apart, largest))
end

local function batches_of(shape)
  local list = {}
  for i, n in ipairs { 1, 3, 7 } do list[i] = tr.rand { n, table.unpack(shape) } end
  return list
end

-- A network whose running statistics are none of the usual ones.
local function worn(net)
  for _, b in ipairs(net:buffers()) do b:copy_from(tr.rand(b:shape()) + 0.5) end
  return net:eval()
end

local function case_of(folder, name, net, shape)
  assert(worn(net):export_onnx(("%s/%s.onnx"):format(folder, name), { input = shape }))
  return { batches = batches_of(shape), gives = function(images) return tr.no_grad(net, images) end }
end

local M = tr.models
local LARGE = { "resnet34", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2" }

describe("ONNX files that others run", function()
  it("are the networks of texres.models", function()
    if not need_peers(pending) then return end
    tr.manual_seed(1)
    local folder, cases = support.folder(), {}
    local function add(name, net, shape) cases[name] = case_of(folder, name, net, shape) end
    for _, head in ipairs { "gap", "gmp", "mean_max", "conv" } do
      add("textile_" .. head, M.textile { width = 16, head = head }, { 64, 64, 1 })
    end
    add("resnet18", M.resnet18 {}, { 64, 48, 3 })
    add("resnet50", M.resnet50 { small_input = true, se = 16, head = "mean_max" }, { 32, 32, 3 })
    add("cifar_resnet", M.cifar_resnet { depth = 20, in_channels = 1, shortcut = "identity_pad" }, { 32, 32, 1 })
    add("cifar_preact", M.cifar_preact { depth = 11, block = "preact_bottleneck" }, { 32, 32, 3 })
    add("wide_resnet", M.wide_resnet { depth = 10, widen = 2, dropout = 0.3 }, { 32, 32, 3 })
    run(folder, cases, check_near)
  end)

  it("are the large ones, too", function()
    if not os.getenv "TEXRES_ALL_MODELS" then return pending "TEXRES_ALL_MODELS is not set" end
    if not need_peers(pending) then return end
    for _, name in ipairs(LARGE) do
      local folder = support.folder()
      run(folder, { [name] = case_of(folder, name, M[name] {}, { 64, 64, 3 }) }, check_near)
    end
  end)

  it("have every layer once", function()
    if not need_peers(pending) then return end
    local folder = support.folder()
    support.write_file(folder .. "/small.onnx", support.read_file "spec/fixtures/small.onnx")
    local net, info = assert(tr.onnx.import "spec/fixtures/small.onnx")
    local mean, std = tr.tensor(info.normalization.mean), info.normalization.std
    run(folder, { small = {
      batches = batches_of { 9, 8, 2 },
      gives = function(images) return tr.no_grad(net, (images - mean) / std) end,
    } }, check_near)
  end)

  it("take bytes and give what predict gives", function()
    if not need_peers(pending) then return end
    tr.manual_seed(2)
    local one = classifier.new {
      model = worn(M.textile { width = 8, classes = 3 }), input = { 64, 64, 1 }, classes = { "good", "cut", "hole" },
      normalization = { mean = { 0.4 }, std = { 0.2 } },
    }
    one:temper(1.7)
    local folder, batches = support.folder(), {}
    assert(one:export_onnx(folder .. "/bytes.onnx", { pixels = "u8", outputs = "probabilities" }))
    for i, n in ipairs { 1, 3, 7 } do batches[i] = (tr.rand(n, 64, 64, 1) * 255):to "u8" end
    run(folder, { bytes = {
      batches = batches,
      gives = function(images)
        local list = {}
        for i, answer in ipairs(one:predict(images)) do list[i] = answer.probabilities end
        return tr.tensor(list)
      end,
    } }, check_near)
  end)
end)

describe("an ONNX file with what is done around a network", function()
  local function written(options, fields)
    local path = support.folder() .. "/net.onnx"
    local contents = { model = nn.Sequential { nn.Conv2d(1, 2, 3), nn.GlobalAvgPool(), nn.Linear(2, 2) },
      input = { 8, 8, 1 }, classes = { "good", "hole" } }
    for name, value in pairs(fields or {}) do contents[name] = value end
    local one = classifier.new(contents)
    assert(one:export_onnx(path, options))
    local net, info = assert(tr.onnx.import(path))
    return one, classifier.new { model = net }, info
  end

  local function check_same(one, twin)
    local images = (tr.rand(4, 8, 8, 1) * 255):to "u8"
    local want, got = one:predict(images), twin:predict(images)
    for i = 1, 4 do
      assert.equal(want[i].class, got[i].class)
      for k = 1, 2 do assert.near(want[i].probabilities[k], got[i].probabilities[k], 1e-6) end
    end
  end

  it("comes back with its input and temperature", function()
    local one, twin, info = written({ pixels = "u8", outputs = "probabilities" }, {
      normalization = { mean = { 0.5 }, std = { 0.25 } }, temperature = 1.3,
    })
    assert.near(0.5, info.normalization.mean, 1e-12)
    assert.near(0.25, info.normalization.std, 1e-12)
    assert.same({ "u8", true, 1.3 }, { info.pixels, info.softmax, info.temperature })
    check_same(one, twin)
  end)

  it("comes back without a normalization, and of a training on 0..255", function()
    check_same(written { pixels = "u8" })
    local one, twin = written({ pixels = "u8" }, { white = 255, normalization = { mean = { 120 }, std = { 50 } } })
    check_same(one, twin)
  end)

  it("refuses what has no meaning", function()
    local path = support.folder() .. "/net.onnx"
    local net = nn.Sequential { nn.Conv2d(1, 2, 3) }
    assert.error_matches(function() net:export_onnx(path, { input = { 8, 8, 1 }, outputs = "probabilities" }) end,
      "the model's output has 4 dimensions")
    assert.error_matches(function() net:export_onnx(path, { input = { 8, 8, 1 }, pixels = "u16" }) end, "pixels is")
    local one = classifier.new { model = net, input = { 8, 8, 1 }, white = false }
    assert.error_matches(function() one:export_onnx(path, { pixels = "u8" }) end, "what bytes are worth is not known")
    assert.is_true(one:export_onnx(path))
  end)
end)
