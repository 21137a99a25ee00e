--- Models of PerceptiLabs: the published one, a small one whose numbers are followed by hand, and what is refused.
local tr = require "texres"
local json = require "texres.json"
local support = require "spec.support"

local F = tr.nn.functional
local SMALL = "spec/fixtures/perceptilabs.json"
local folder = support.folder()

--- The small model with something changed: change(components by name, document).
local function changed(change)
  local document = json.decode(support.read_file(SMALL))
  local by_name = {}
  for _, element in pairs(document.networkElementList) do by_name[element.layerName] = element end
  change(by_name, document)
  return support.write_file(folder .. "/changed.json", json.encode(document))
end

--- What reading it says.
local function message_of(change)
  local path = changed(change)
  local model, message = tr.perceptilabs.read(path)
  assert.is_nil(model)
  assert.equal(path .. ": ", message:sub(1, #path + 2))
  return message:sub(#path + 3)
end

--- The same for a setting of a component.
local function message_with(name, setting, value)
  return message_of(function(components) components[name].layerSettings[setting] = value end)
end

--- Whether a message has this text in it.
local function tells(text, message) assert.matches(text, message, 1, true) end

local function close(got, want)
  assert.same(want:shape(), got:shape())
  assert.is_true(tr.allclose(got, want, 1e-5, 1e-6))
end

--- Norms that are not the identity.
local function stir(model)
  for name, t in pairs(model:state_dict()) do
    if name:find "running_var$" then
      t:copy_from(tr.rand_like(t) + 0.5)
    elseif t:dim() == 1 then
      t:copy_from(tr.rand_like(t) - 0.25)
    end
  end
end

describe("a model of PerceptiLabs", function()
  it("is the published example, to the parameter", function()
    local path = support.need_shared("data/perceptilabs/model.json", pending)
    local model, settings = assert(tr.perceptilabs.read(path))
    assert.equal(2330322, model:num_parameters())
    assert.same({ 64, 64, 1 }, settings.input)
    assert.same({ 0.7, 0.2, 0.1 }, settings.split)
    local trainer = settings.trainer
    assert.same({ 10, 256, "cross_entropy" }, { trainer.epochs, trainer.batch, trainer.loss })
    assert.same({ "adam", lr = 1e-3, beta1 = 0.9, beta2 = 0.999 }, trainer.optimizer)
    assert.same({ 6, true }, { settings.classes, settings.shuffle })
    assert.matches("X_textile.npy$", settings.images)
    assert.same({ 2, 6 }, tr.no_grad(model:eval(), tr.rand(2, 64, 64, 1)):shape())
    assert.equal("Textile_1", model.name)
  end)

  it("computes what TensorFlow computes: SAME, merges, order of the parts", function()
    tr.manual_seed(3)
    local model = assert(tr.perceptilabs.read(SMALL)):eval()
    stir(model)
    local x = tr.rand(2, 16, 16, 1)
    local function conv(layer, value, stride, padding)
      return F.conv2d(value, layer.weight, { bias = layer.bias, stride = stride, padding = padding })
    end
    local function norm(layer, value)
      return (value - layer.running_mean) / (layer.running_var + 1e-3):sqrt() * layer.gamma + layer.beta
    end
    tr.no_grad(function()
      -- 16 rows, window 3, stride 2: one row of zeros, below; stride 1: one on each side
      local a = F.relu(norm(model.Convolution_1.norm, conv(model.Convolution_1.conv, x, 2, { 0, 1, 0, 1 })))
      local inner = model.Merge_1.Convolution_2
      local b = a + F.relu(norm(inner.norm, conv(inner.conv, a, 1, 1)))
      -- VALID: 8 rows become 7, and SAME pooling 4, the last of one row
      local c = F.leaky_relu(conv(model.Convolution_3.conv, b, 1, 0), 0.2)
      c = F.avg_pool2d(c, 2, { stride = 2, padding = { 0, 1, 0, 1 }, count_include_pad = false })
      -- 4 rows, window 3, stride 9: the first three rows; stride 4 likewise
      local left, right = model.Merge_2[1].Convolution_4, model.Merge_2[2].Convolution_5__wide_
      local first = c:slice(2, 1, 3):slice(3, 1, 3)
      local d = norm(left.norm, conv(left.conv, first, 1, 0)):tanh()
      local e = norm(right.norm, conv(right.conv, first, 1, 0))
      local joined = tr.cat({ d, e }, 4):reshape(2, 7)
      local dense = model.Fully_Connected_1
      close(model(x), norm(dense.norm, F.linear(joined, dense.fc.weight, dense.fc.bias)))
    end)
    assert.equal(0.25, model.Merge_2[2].Convolution_5__wide_[3].p)
  end)

  it("is described, saved, and trained as its file says", function()
    local model, settings = assert(tr.perceptilabs.read(SMALL))
    for _, text in ipairs { "Small_1: images 16x16x1, 6 classes, 525 parameters",
      "adam lr 0.01, beta1 0.9, beta2 0.99, 3 epochs, batches of 8", "50.0 % for training, 25.0 % for validation",
      "the softmax of the last component is part of the loss", 'not part of what is trained: "Grayscale_1"' } do
      assert.matches(text, tostring(settings), 1, true)
    end
    local set = tr.data.fabric { count = 24, size = 16, seed = 2 }
    local train, val = set:split { settings.split[1], settings.split[2], settings.split[3], seed = 1, group = "source" }
    settings.trainer.quiet, settings.trainer.dir = true, folder .. "/run"
    local trainer = tr.Trainer(settings.trainer)
    assert.equal(3, #trainer:fit(train, val))
    assert.equal(model, trainer.model)
    local saved = assert(require("texres.checkpoint").load(folder .. "/run/best.safetensors"))
    assert.equal(525, saved.model:num_parameters())
  end)

  it("has other optimizers and losses, and says what it leaves out", function()
    local _, settings = assert(tr.perceptilabs.read(changed(function(components)
      local training = components.Normal_1.layerSettings
      training.Optimizer, training.Loss, training.Stop_condition = "Momentum", "Quadratic", "TargetAccuracy"
      training.Class_weights = "2"
    end)))
    assert.same({ "sgd", lr = 0.01, momentum = 0.9 }, settings.trainer.optimizer)
    assert.matches("mean of squares, sgd lr 0.01, momentum 0.9", tostring(settings))
    assert.matches("its decay by 0.96 every 100000 steps is left out", tostring(settings))
    assert.matches("not at a target accuracy", tostring(settings))
    assert.matches('its Class_weights, "2", are left out: all classes count alike', tostring(settings))
    local logits, labels = tr.tensor { { 0, 0 }, { 0, 0 } }, tr.tensor({ 1, 2 }, { dtype = "i64" })
    assert.near(0.25, settings.trainer.loss(logits, labels):item(), 1e-6)
    local _, plain = assert(tr.perceptilabs.read(changed(function(components)
      components.Normal_1.layerSettings.Optimizer = "SGD"
      components["Fully Connected_1"].layerSettings.Activation_function = "Sigmoid"
      components.Normal_1.layerSettings.Loss = "Quadratic"
    end)))
    assert.same({ "sgd", lr = 0.01 }, plain.trainer.optimizer)
    assert.near(0.5, plain.trainer.loss(logits, labels):item(), 1e-6)
  end)

  it("becomes branches in branches: sums of sums, and of two branches with layers", function()
    tr.manual_seed(4)
    local x = tr.rand(2, 16, 16, 1)
    local function added(components, document, name, like, sources)
      local twin = json.decode(json.encode(components[like]))
      twin.layerName, twin.layerId, document.networkElementList[name] = name, name, twin
      for i, source in ipairs(sources) do twin.backward_connections[i].src_id = components[source].layerId end
      components[name] = twin
    end
    local function before_merge(model) return tr.nn.Sequential { model.Convolution_1, model.Merge_1 } end

    local nested = assert(tr.perceptilabs.read(changed(function(components, document)
      added(components, document, "Merge_3", "Merge_1", { "Convolution_1", "Convolution_2" })
      components.Merge_1.backward_connections[2].src_id = "Merge_3"
    end))):eval()
    local a = nested.Convolution_1(x)
    close(before_merge(nested)(x), a + (a + nested.Merge_1.Merge_3.Convolution_2(a)))

    local parallel = assert(tr.perceptilabs.read(changed(function(components, document)
      added(components, document, "Convolution_6", "Convolution_2", { "Convolution_1" })
      components.Merge_1.backward_connections[1].src_id = "Convolution_6"
    end))):eval()
    a = parallel.Convolution_1(x)
    local merge = parallel.Merge_1
    close(before_merge(parallel)(x), merge.Convolution_6(a) + merge.shortcut.Convolution_2(a))

    local twice = assert(tr.perceptilabs.read(changed(function(components)
      components.Merge_1.backward_connections[2].src_id = components.Convolution_1.layerId
    end))):eval()
    close(before_merge(twice)(x), twice.Convolution_1(x) * 2)
  end)

  it("computes the same whatever its components are called", function()
    tr.manual_seed(1)
    local images = tr.randn(2, 16, 16, 1)
    local function output(name)
      tr.manual_seed(2)
      local model = assert(tr.perceptilabs.read(changed(function(components)
        components.Convolution_1.layerName, components.Convolution_2.layerName = name, name
      end)))
      return tr.no_grad(model, images)
    end
    local want = output "Convolution_1"
    for _, name in ipairs {
      "shortcut", "activation", "name", "checkpoint", "training", "forward", "items", "Convolution_3", "a.b", "1", "",
    } do
      local got = output(name)
      assert(got:eq(want):sum():item() == want:numel(), name)
    end
  end)

  it("is refused with the name of what is not known", function()
    assert.equal('unknown components: "Convolution_1" (DeepLearningDeconv), "Merge_1" (MathSwitch); known are '
      .. "DataData, DeepLearningConv, DeepLearningFC, MathMerge, ProcessOneHot, ProcessReshape, TrainNormal",
      message_of(function(components)
        components.Convolution_1.componentName = "DeepLearningDeconv"
        components.Merge_1.componentName = "MathSwitch"
      end))
    assert.equal(
      'component "Merge_1" (MathMerge): Type is Div, which is not known here; known are Add, Concat, Multi, Sub',
      message_with("Merge_1", "Type", "Div"))
    tells('"Convolution_1" (DeepLearningConv): Padding is FULL, which is not known here; known are SAME, VALID',
      message_with("Convolution_1", "Padding", "FULL"))
    tells("Optimizer is RMSprop, which is not known here; known are ADAM, Momentum, SGD",
      message_with("Normal_1", "Optimizer", "RMSprop"))
    tells("Loss is Dice", message_with("Normal_1", "Loss", "Dice"))
    tells("Conv_dim is 3D", message_with("Convolution_1", "Conv_dim", "3D"))
    tells("Conv_type is Transpose", message_with("Convolution_1", "Conv_type", "Transpose"))
    tells("a softmax can only end", message_with("Convolution_1", "Activation_function", "Softmax"))
    tells("it turns the dimensions", message_with("Reshape_1", "Permutation", { 1, 0, 2 }))
  end)

  it("is refused where its numbers do not go together", function()
    for _, switch in ipairs { "Batch_norm", "Dropout", "PoolBool" } do
      tells(switch .. " is the string true, wanted true or false", message_with("Convolution_2", switch, "true"))
    end
    tells("Stride is 0, wanted a number from 1", message_with("Convolution_1", "Stride", "0"))
    tells("Stride is 1.5, wanted a whole number", message_with("Convolution_1", "Stride", "1.5"))
    tells("Stride is missing", message_of(function(components)
      components.Convolution_1.layerSettings.Stride = nil
    end))
    tells("Patch_size is x", message_with("Convolution_1", "Patch_size", "x"))
    tells("with its 4194304000000 weights the network has too many", message_of(function(components)
      components.Convolution_2.layerSettings.Feature_maps = 1 << 20
      components.Convolution_2.layerSettings.Patch_size = 1000
    end))
    tells("its inputs are 8x8x4 and 8x8x3", message_with("Convolution_2", "Feature_maps", "3"))
    tells("it joins 1x1x2 and 2x2x5", message_with("Convolution 5 (wide)", "Stride", "2"))
    tells("only channels can be joined", message_with("Merge_2", "Merge_dim", "1"))
    tells("16x16 does not become 8x8x1", message_with("Reshape_1", "Shape", { 8, 8, 1 }))
    tells("it gives 6 numbers for an image, the labels have 5 classes", message_with("OneHot_1", "N_class", 5))
    tells("a window of 20 does not fit in 8 pixels", message_with("Convolution_3", "Patch_size", "20"))
    tells("Partition_list is no list", message_of(function(components)
      components.Data_1.layerSettings.accessProperties.Partition_list = { { 50, 20, 20 } }
    end))
  end)

  it("is refused where its graph leads nowhere", function()
    local function connected(name, place, source)
      return message_of(function(components)
        components[name].backward_connections[place].src_id = source and components[source].layerId or "none"
      end)
    end
    tells('component "Merge_1" (MathMerge): it stands in a circle', connected("Convolution_1", 1, "Merge_1"))
    tells("its input none is not in the file", connected("Convolution_1", 1))
    tells("nothing is its input `predictions`", connected("Normal_1", 1))
    tells("it has no place between images and what is predicted", connected("Normal_1", 1, "OneHot_1"))
    tells("nothing stands between the data and what is predicted", connected("Normal_1", 1, "Data_1"))
    tells("its OutputDim is no size such as 64x64x1", message_of(function(components)
      components.Data_1.layerMeta.OutputDim = ""
    end))
    tells("its data are lists of 256 numbers, wanted images", message_of(function(components)
      components.Data_1.layerMeta.OutputDim = "256"
      components["Fully Connected_1"].backward_connections[1].src_id = components.Data_1.layerId
    end))
    tells("its inputs come from different data", message_of(function(components)
      components.Data_2.layerMeta.OutputDim = "8x8x4"
      components.Merge_1.backward_connections[1].src_id = components.Data_2.layerId
    end))
    tells("two branches go through it and part again", message_of(function(components, document)
      -- Convolution_2 leads to both inputs of Merge_3, and so does what comes before it
      local list = document.networkElementList
      list.a = json.decode(json.encode(components.Merge_1))
      list.a.layerName, list.a.layerId = "Merge_3", "a"
      list.a.backward_connections[1].src_id = components.Merge_1.layerId
      list.a.backward_connections[2].src_id = components.Convolution_2.layerId
      components.Convolution_3.backward_connections[1].src_id = "a"
    end))
    tells('"Normal_1" (TrainRegression): this way of training is not known here', message_of(function(components)
      components.Normal_1.componentName = "TrainRegression"
    end))
    tells('"Grayscale_1" (TrainNormal): "Normal_1" trains, too', message_of(function(components)
      components.Grayscale_1.componentName = "TrainNormal"
    end))
    tells("it has no training component", message_of(function(components)
      components.Normal_1.componentName = "Other"
    end))
  end)

  it("is refused where it is no model, or damaged", function()
    for text, message in pairs {
      ["{}"] = "it has no networkElementList", ["[1"] = "line 1", ["5"] = "not an object",
      ['{"networkElementList": {"a": 5}}'] = "it has no training component",
    } do
      local path = support.write_file(folder .. "/bad.json", text)
      local model, problem = tr.perceptilabs.read(path)
      assert.is_nil(model)
      assert.matches(path, problem, 1, true)
      assert.matches(message, problem, 1, true)
    end
    assert.matches("none.json", select(2, tr.perceptilabs.read "none.json"), 1, true)
    local text = support.read_file(SMALL):gsub("%s+", " ")
    tr.manual_seed(1)
    for _, at in ipairs(tr.randint(1, #text, 400):totable()) do -- cut, and with a letter that is another
      for _, broken in ipairs { text:sub(1, at), text:sub(1, at - 1) .. "7" .. text:sub(at + 1) } do
        local path = support.write_file(folder .. "/bad.json", broken)
        local model, problem = tr.perceptilabs.read(path)
        assert.is_true(model ~= nil or problem:find(path, 1, true) == 1 and not problem:find "%.lua", problem)
      end
    end
  end)
end)
