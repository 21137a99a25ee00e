--- ONNX import: own exports come back, PyTorch's files give PyTorch's outputs, and other files give a message.
--
-- Fixtures: spec/fixtures/onnx, made by make_onnx_import.py with both exporters of PyTorch; small.onnx of onnx_spec.
local tr = require "texres"
local protobuf = require "texres.onnx.protobuf"
local structure = require "texres.onnx.structure"
local support = require "spec.support"
local nn = tr.nn
local F = nn.functional

local FOLDER = "spec/fixtures/onnx/"
local outputs = assert(require("texres.safetensors").load(FOLDER .. "outputs.safetensors"))

local function names_of(net)
  local names = {}
  for name in net:named_parameters() do names[#names + 1] = name end
  return names
end

describe("ONNX import of PyTorch's files", function()
  local function import(name)
    local net, info = assert(tr.onnx.import(FOLDER .. name .. ".onnx"))
    return net, info, outputs[name .. ".images"], outputs[name .. ".output"]
  end

  it("is a residual network with the names of its weights", function()
    local net, info, images, want = import "resnet"
    assert.is_true(tr.allclose(tr.no_grad(net, images), want, 1e-4, 1e-5))
    assert.same({ 32, 24, 3 }, info.input)
    assert.is_false(net.training)
    assert.equal("Sequential", getmetatable(net).__name)
    assert.equal("Residual", getmetatable(net[6]).__name)
    assert.equal("Sequential", getmetatable(net[6].shortcut).__name)
    assert.equal("ReLU", getmetatable(net[6].activation).__name)
    assert.same({ "conv1.weight", "bn1.gamma", "bn1.beta", "5.layer1_0_conv1.weight" },
      table.move(names_of(net), 1, 4, 1, {}))
    assert.same({ 5 }, net.fc.bias:shape())
    assert.equal(0.1, net.bn1.momentum)
    assert.equal(1e-5, net.bn1.eps)
  end)

  it("sorts the rows after a Flatten anew, finds norms and activations, and leaves the softmax out", function()
    local net, info, images, want = import "dense"
    assert.is_true(info.softmax)
    assert.is_true(tr.allclose(F.softmax(tr.no_grad(net, images)), want, 1e-4, 1e-5))
    local kinds = {}
    for _, m in ipairs(net:modules()) do kinds[getmetatable(m).__name] = true end
    for _, name in ipairs { "GroupNorm", "SiLU", "GELU", "Concat", "LeakyReLU", "BatchNorm" } do
      assert.is_true(kinds[name], name)
    end
  end)

  it("finds an adaptive pooling whose windows overlap", function()
    local net, info, images, want = import "pooled"
    assert.same({ 7, 10, 1 }, info.input)
    assert.is_true(tr.allclose(tr.no_grad(net, images), want, 1e-4, 1e-5))
    local file = support.read_file(FOLDER .. "pooled.onnx")
    local path = support.folder() .. "/other.onnx"
    local last = ("<i8i8"):pack(6, 9) -- row and column, of the last pixel of the last window
    local changed, count = file:gsub(last:gsub("%z", "%%z"), ("<i8i8"):pack(6, 8))
    assert.equal(1, count)
    support.write_file(path, changed)
    local none, message = tr.onnx.import(path)
    assert.is_nil(none)
    assert.matches("GatherND%): only the windows of an adaptive pooling, all of one size, are known", message)
  end)

  it("is a Graph where branches cross, and takes normalization for the model's input", function()
    local net, info, images, want = import "crossing"
    local function check(model)
      local mean, std = tr.tensor(info.normalization.mean), tr.tensor(info.normalization.std)
      assert.is_true(tr.allclose(tr.no_grad(model, (images - mean) / std), want, 1e-4, 1e-5))
    end
    check(net)
    assert.equal("Graph", getmetatable(net).__name)
    assert.near(0.3, info.normalization.std[2], 1e-6)
    local path = support.folder() .. "/graph.safetensors"
    assert(tr.save(path, { model = net }))
    check(assert(tr.load(path)).model)
    assert(net:export_onnx(path, info))
    check((assert(tr.onnx.import(path))))
    check(net:clone():fuse())
  end)

  it("multiplies and subtracts branches, and makes images larger", function()
    local net, _, images, want = import "gates"
    assert.is_true(tr.allclose(tr.no_grad(net, images), want, 1e-4, 1e-5))
    local kinds = {}
    for i, key in ipairs { 1, 2, "up", 4, 5 } do kinds[i] = getmetatable(net[key]).__name end
    assert.same({ "Multiply", "Subtract", "ConvTranspose2d", "Upsample", "Upsample" }, kinds)
  end)

  it("can be trained", function()
    local net, _, images = import "crossing"
    local parameters = net:train():parameters()
    F.cross_entropy(net(images), tr.tensor({ 1, 3 }, { dtype = "i64" })):backward()
    assert.equal(12, #parameters)
    for _, p in ipairs(parameters) do assert.is_true(p.grad:abs():sum():item() > 0) end
  end)
end)

describe("ONNX import of own files", function()
  local function round_trip(net, options)
    for _, b in ipairs(net:buffers()) do b:copy_from(tr.rand(b:shape()) + 0.5) end
    local path = support.folder() .. "/x.onnx"
    assert(net:eval():export_onnx(path, options))
    local twin, info = assert(tr.onnx.import(path))
    local x = tr.randn(2, table.unpack(options.input))
    assert.is_true(tr.allclose(tr.no_grad(net, x), tr.no_grad(twin, x), 0, 0))
    assert.equal(net:num_parameters(), twin:num_parameters())
    return twin, info
  end

  it("brings the models back, bit for bit", function()
    local M = tr.models
    for _, net in ipairs {
      M.textile { width = 4 }, M.resnet18 { classes = 3, in_channels = 1, small_input = true },
      M.cifar_resnet { depth = 8, in_channels = 1, shortcut = "identity_pad" },
      M.cifar_preact { depth = 11, in_channels = 1, block = "preact_bottleneck", se = 4 },
      M.cifar_resnet { depth = 8, in_channels = 1, head = "mean_max", residual = false },
    } do
      round_trip(net, { input = { 32, 32, 1 } })
    end
    local twin = round_trip(nn.Sequential { { fc = nn.Linear(3, 2) }, nn.Tanh() }, { input = { 3 } })
    assert.same({ "fc.weight", "fc.bias" }, names_of(twin))
  end)

  it("brings layers of other kinds back", function()
    tr.manual_seed(3)
    local x, path = tr.rand(2, 6, 6, 4), support.folder() .. "/layer.onnx"
    for _, layer in ipairs {
      nn.Upsample(2), nn.Upsample({ 2, 3 }, { mode = "bilinear" }), nn.AdaptiveAvgPool2d(1), nn.LayerNorm(4),
      nn.AdaptiveAvgPool2d { 4, 5 }, nn.AdaptiveAvgPool2d { 2, 3 },
      nn.Conv2d(4, 4, 3, { padding = "same", dilation = 2, stride = 2 }),
      nn.ConvTranspose2d(4, 6, 3, { stride = 2, padding = 1, output_padding = 1, groups = 2 }),
      nn.ConvTranspose2d(4, 3, { 2, 3 }, { stride = { 2, 1 }, padding = { 0, 1, 1, 0 }, bias = false, dilation = 2 }),
      nn.ConvTranspose2d(4, 5, 3, { stride = { 3, 2 }, output_padding = { 2, 1 } }),
      nn.StandardizedConv2d(4, 8, 3, { padding = 1 }), nn.DepthwiseSeparable(4, 8), nn.ImageStandardization(),
    } do
      local net = nn.Sequential {
        nn.Conv2d(4, 4, 3, { padding = 1 }), layer, nn.ReLU(), nn.GlobalAvgPool(),
        nn.Linear(tr.no_grad(layer, x):size(4), 3),
      }:eval()
      assert(tr.onnx.export(path, net, { input = { 6, 6, 4 } }))
      local twin = assert(tr.onnx.import(path)):eval()
      local near = getmetatable(layer) == nn.AdaptiveAvgPool2d and 1e-6 or 0 -- AvgPool2d sums in another order
      assert.is_true(tr.allclose(net(x), twin(x), near, near), tostring(layer))
    end
  end)

  it("brings products and differences of branches back, also where they cross", function()
    local net = round_trip(nn.Sequential {
      nn.Multiply {
        nn.Conv2d(2, 4, 1), nn.Sequential { nn.Conv2d(2, 1, 3, { padding = 1 }), nn.Sigmoid() }, nn.Conv2d(2, 4, 1),
      },
      nn.Subtract { nn.Conv2d(4, 3, 1), nn.Sequential { nn.Conv2d(4, 3, 1), nn.Tanh() } },
      nn.Subtract { nn.Identity(), nn.Tanh() }, nn.GlobalAvgPool(),
      nn.Multiply { nn.Linear(3, 3), nn.Identity() },
    }, { input = { 5, 4, 2 } })
    assert.equal("Multiply", getmetatable(net[1]).__name)
    assert.equal("Subtract", getmetatable(net[2]).__name)
    local crossing = round_trip(nn.Graph {
      nn.Tanh(), nn.Sigmoid(), nn.GlobalAvgPool(), steps = {
        { item = 1, value = 1 }, { item = 2, value = 2 }, { multiply = { 3, 1, 2 } }, { subtract = { 4, 3 } },
        { sum = { 5, 2 } }, { item = 3, value = 6 },
      },
    }, { input = { 5, 4, 2 } })
    local kinds = {}
    for _, m in ipairs(crossing:modules()) do kinds[getmetatable(m).__name] = true end
    assert.is_true(kinds.Graph)
  end)

  it("keeps rows and columns of an image that is pooled to one pixel, where they are the output", function()
    round_trip(nn.Sequential { nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(1) }, { input = { 5, 4, 2 } })
  end)

  it("brings input, normalization and classes back", function()
    local net = nn.Sequential { name = "net", nn.GlobalAvgPool(), nn.Linear(2, 2) }
    local twin, info = round_trip(net, {
      input = { 4, 3, 2 }, normalization = { mean = { 0.5, 0.25 }, std = 0.5 }, classes = { "good", "hole" },
    })
    assert.same({ input = { 4, 3, 2 }, normalization = { mean = { 0.5, 0.25 }, std = 0.5 },
      classes = { "good", "hole" } }, info)
    assert.equal("net", twin.name)
    local path = support.folder() .. "/x.safetensors"
    assert(tr.save(path, { model = twin }))
    assert.same({ "good", "hole" }, assert(tr.load(path)).classes)
  end)

  it("reads what onnxruntime was given", function()
    local want = assert(require("texres.safetensors").load "spec/fixtures/small_onnx.safetensors")
    local net, info = assert(tr.onnx.import "spec/fixtures/small.onnx")
    local mean, std = tr.tensor(info.normalization.mean), info.normalization.std
    assert.is_true(tr.allclose(tr.no_grad(net, (want.images - mean) / std), want.logits, 1e-4, 1e-5))
  end)

  it("draws no random numbers", function()
    tr.manual_seed(1)
    local want = tr.rand(1):item()
    tr.manual_seed(1)
    assert(tr.onnx.import(FOLDER .. "resnet.onnx"))
    assert.equal(want, tr.rand(1):item())
  end)
end)

-- A file with these nodes {operator, inputs, outputs, attributes = message}, from x {1,2,4,4} to y, and tensors w
-- {2,2,1,1} and v {2}; change.integers are lists by name.
local function write(nodes, change)
  local graph = protobuf.message()
  for i, node in ipairs(nodes) do
    local m = protobuf.message()
    for _, name in ipairs(node[2]) do m:text(1, name) end
    for _, name in ipairs(node[3]) do m:text(2, name) end
    graph:message(1, m:text(3, "node" .. i):text(4, node[1]))
  end
  for name, dims in pairs { w = { 2, 2, 1, 1 }, v = { 2 } } do
    local m, count = protobuf.message(), 1
    for _, size in ipairs(dims) do
      m:integer(1, size)
      count = count * size
    end
    graph:message(5, m:integer(2, 1):text(8, name):text(9, (("\0\0\128\63"):rep(count))))
  end
  for name, list in pairs(change and change.integers or {}) do
    local m = protobuf.message():integer(1, #list):integer(2, 7):text(8, name)
    graph:message(5, m:text(9, ("<" .. ("i8"):rep(#list)):pack(table.unpack(list))))
  end
  local function value(name, sizes)
    local shape = protobuf.message()
    for _, size in ipairs(sizes) do shape:message(1, protobuf.message():integer(1, size)) end
    return protobuf.message():text(1, name):message(2, protobuf.message():message(1,
      protobuf.message():integer(1, 1):message(2, shape)))
  end
  graph:message(11, value("x", change and change.sizes or { 1, 2, 4, 4 })):message(12, value("y", { 1, 2 }))
  if change and change.second then graph:message(12, value("z", { 1, 2 })) end
  return support.write_file(support.folder() .. "/x.onnx",
    table.concat(protobuf.message():integer(1, 8):message(7, graph).pieces))
end

local function message_of(...)
  local net, message = tr.onnx.import(write(...))
  assert.is_nil(net)
  return message
end

describe("ONNX import of other files", function()
  it("names what it does not know", function()
    assert.matches('not known: node "node1" %(LSTM%), node "node2" %(If%)',
      message_of { { "LSTM", { "x" }, { "a" } }, { "If", { "a" }, { "y" } } })
    assert.matches('node "node1" %(Softmax%): only one over the channels of {N,C} is known',
      message_of({ { "Softmax", { "x" }, { "y" } } }, { sizes = { 1, 2, 4, 4 } }))
    for operator, what in pairs { Add = "a sum", Sub = "a difference", Mul = "a product" } do
      assert.matches(('node "node2" %%(%s%%): %s of values of different shapes'):format(operator, what),
        message_of { { "GlobalMaxPool", { "x" }, { "a" } }, { operator, { "x", "a" }, { "y" } } })
    end
    assert.matches('node "node2" %(Add%): a sum of values of different shapes',
      message_of { { "Flatten", { "x" }, { "a" } }, { "Add", { "x", "a" }, { "y" } } })
    assert.matches('node "node1" %(Conv%): input 2 is f32 of shape {2}, wanted floats of 4 dimensions',
      message_of { { "Conv", { "x", "v" }, { "y" } } })
    assert.matches('node "node1" %(Conv%): input 2, "a", is no constant',
      message_of { { "Conv", { "x", "a" }, { "y" } } })
    assert.matches('node "node1" %(Relu%): input 1, "a", is made by no node before',
      message_of { { "Relu", { "a" }, { "y" } } })
    assert.matches('output "y" is what a Flatten of images makes', message_of { { "Flatten", { "x" }, { "y" } } })
    assert.matches("2 outputs, wanted one", message_of({ { "Relu", { "x" }, { "y" } } }, { second = true }))
    assert.matches("3 dimensions, wanted images", message_of({ { "Relu", { "x" }, { "y" } } }, { sizes = { 1, 2, 3 } }))
    assert.matches("has a size of 1099511627776",
      message_of({ { "Relu", { "x" }, { "y" } } }, { sizes = { 1, 2, 1 << 40, 4 } }))
  end)

  it("multiplies an image by a value of each channel", function()
    local nodes = {
      { "GlobalAveragePool", { "x" }, { "a" } }, { "Conv", { "a", "w" }, { "b" } }, { "Tanh", { "b" }, { "c" } },
      { "Mul", { "c", "x" }, { "d" } }, { "Relu", { "d" }, { "e" } }, { "GlobalAveragePool", { "e" }, { "f" } },
      { "Add", { "f", "c" }, { "g" } }, { "Flatten", { "g" }, { "y" } }, -- the values are read a second time
    }
    local net = assert(tr.onnx.import(write(nodes)))
    local x = tr.randn(2, 4, 4, 2)
    local value = F.global_avg_pool(x):sum(2, true):tanh() -- both weights are 1
    local want = F.global_avg_pool(F.relu(x * value:reshape(2, 1, 1, 1))) + value
    assert.is_true(tr.allclose(tr.no_grad(net, x), want, 1e-5, 1e-6))
    local path = support.folder() .. "/again.onnx"
    assert(net:export_onnx(path, { input = { 4, 4, 2 } }))
    assert.is_true(tr.allclose(tr.no_grad(assert(tr.onnx.import(path)), x), want, 1e-5, 1e-6))
  end)

  it("gives a layer no constant that others are to read without", function()
    local nodes = {
      { "Conv", { "x", "w" }, { "a" } }, { "Identity", { "a" }, { "b" } }, { "Add", { "b", "v" }, { "c" } },
      { "Add", { "a", "c" }, { "y" } },
    }
    assert.matches('node "node3" %(Add%): a constant here is not known', message_of(nodes))
  end)

  it("reads which dimensions a Pad is about, in any order", function()
    local function padding(pads, axes)
      local nodes = { { "Pad", { "x", "p", "", axes and "a" or nil }, { "q" } }, { "Conv", { "q", "w" }, { "y" } } }
      local net, message = tr.onnx.import(write(nodes, { integers = { p = pads, a = axes or { 0 } } }))
      return net and (net[1] or net).padding or message
    end
    local want = { 1, 2, 0, 3 } -- top, bottom, left, right
    assert.same(want, padding { 0, 0, 1, 0, 0, 0, 2, 3 })
    assert.same(want, padding({ 0, 1, 3, 2 }, { 3, 2 }))
    assert.same(want, padding({ 1, 0, 2, 3 }, { -2, -1 }))
    assert.same(want, padding({ 0, 0, 0, 1, 0, 0, 3, 2 }, { 0, 1, 3, 2 }))
    assert.matches("only one with zeros is known", padding({ 0, 1, 3, 2 }, { 3, 4 }))
    assert.matches("only one with zeros is known", padding({ 0, 0, 1, 0, 0, 0, 2, 3 }, { 2, 3 }))
  end)

  it("says what a path is, and that a file is none", function()
    assert.error_matches(function() tr.onnx.import(3) end, "onnx.import: the path is 3, wanted a path")
    local net, message = tr.onnx.import "/nonexistent/x.onnx"
    assert.is_nil(net)
    assert.matches("/nonexistent/x.onnx", message, 1, true)
    local path = support.folder() .. "/x.onnx"
    net, message = tr.onnx.import(support.write_file(path, ""))
    assert.is_nil(net)
    assert.equal(path .. ": not an ONNX file, or one without a network", message)
  end)

  it("reads no tensor from elsewhere", function()
    local folder = support.folder()
    local text = support.read_file(FOLDER .. "crossing.onnx")
    local net, message = tr.onnx.import(support.write_file(folder .. "/crossing.onnx", text))
    assert.is_nil(net)
    assert.matches("crossing.onnx.data", message, 1, true)
    local other = text:gsub("crossing%.onnx%.data", "../rossing.onnx.da")
    net, message = tr.onnx.import(support.write_file(folder .. "/crossing.onnx", other))
    assert.is_nil(net)
    assert.matches("is not one beside this one", message, 1, true)
  end)

  it("answers files that are cut off or damaged", function()
    local path = support.folder() .. "/x.onnx"
    for name, every in pairs { dense = 23, resnet = 67 } do
      local text = support.read_file(FOLDER .. name .. ".onnx")
      for length = 0, #text - 1, every do
        local net, message = tr.onnx.import(support.write_file(path, text:sub(1, length)))
        assert.is_true(net == nil and type(message) == "string", length)
      end
      local random = tr.randint(0, 255, { 300, 3 }):totable()
      for i = 1, 300 do
        local at = 1 + (i * 7919 + random[i][1]) % #text
        local changed = text:sub(1, at - 1) .. string.char(random[i][2], random[i][3]) .. text:sub(at + 2)
        local net, message = tr.onnx.import(support.write_file(path, changed))
        assert.is_true(nn.is_module(net) or type(message) == "string", i)
        assert.is_nil(type(message) == "string" and message:match "lua/texres/[^%s]*:%d+:[^\n]*" or nil)
      end
    end
  end)
end)

describe("the form of a network", function()
  local function form(steps, output)
    for _, step in ipairs(steps) do step.item = step[1] and nn[step[1]]() end
    return tostring(structure(steps, output))
  end

  it("is residual where two branches are added", function()
    assert.equal("Sequential\n  1: Tanh()\n  2: Residual\n    1: ReLU()\n    activation: ReLU()", form({
      { "Tanh", input = 1, output = 2 }, { "ReLU", input = 2, output = 3 },
      { sum = true, input = 2, residual = 3, output = 4 }, { "ReLU", input = 4, output = 5 },
      { "Sigmoid", input = 3, output = 6 }, -- nobody reads it
    }, 5))
    assert.equal("Sequential\n  1: Residual\n    1: Identity()", form({
      { sum = true, input = 1, residual = 1, output = 2 } }, 2))
  end)

  it("joins branches in branches", function()
    assert.equal("Sequential\n  1: Concat\n    1: Identity()\n    2: Sequential\n      1: Residual\n        1: Tanh()\n"
      .. "        shortcut: SiLU()\n      2: GELU()", form({
      { "Tanh", input = 1, output = 2 }, { "SiLU", input = 1, output = 3 },
      { sum = true, input = 2, residual = 3, output = 4 }, { "GELU", input = 4, output = 5 },
      { how = "cat", inputs = { 1, 5 }, output = 6 },
    }, 6))
  end)

  it("is a Graph where branches cross", function()
    local text = form({
      { "Tanh", input = 1, output = 2 }, { "SiLU", input = 2, output = 3 },
      { sum = true, input = 2, residual = 3, output = 4 }, { sum = true, input = 3, residual = 4, output = 5 },
    }, 5)
    assert.equal("Graph\n  1: Tanh()\n  2: SiLU()", text)
  end)
end)
