--- Models of PerceptiLabs: a model.json that was drawn there becomes a network and the settings of its training.
--
--     local model, settings = assert(texres.perceptilabs.read "model.json")
--     print(settings)                                  -- what the file says, and what is done otherwise here
--     local trainer = texres.Trainer(settings.trainer) -- the network, optimizer, loss, epochs, batch
--     local train, val, test = set:split(settings.split)
--     trainer:fit(train, val)
--
-- Known are Data, Reshape, Convolution (batch norm, activation, dropout, pooling), Fully Connected, Merge (two branches
-- added, subtracted or multiplied, channels joined), One Hot and the training component Normal; unknown ones are named.
-- Layers are what they are in TensorFlow: padding SAME, a bias before each batch norm, whose eps is 0.001 (the running
-- statistics follow with texres' momentum of 0.1: TensorFlow's 0.01 would take longer than the training). Weights do
-- not stand in the file.
--
-- The format: `networkElementList` has the components by id, each with layerName, componentName (its kind),
-- layerSettings and backward_connections, {src_id =, dst_var =}: which component is its input of that name.

local component = require "texres.perceptilabs.component"
local files = require "texres.files"
local functional = require "texres.nn.functional"
local json = require "texres.json"
local network = require "texres.perceptilabs.network"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"

local perceptilabs = {}

local fail, choice, number, count = component.fail, component.choice, component.number, component.count

local OTHERS = { DataData = true, MathMerge = true, ProcessOneHot = true, TrainNormal = true }

-- -- components -------------------------------------------------------------------------------------------------------

local function input_number(name) return math.tointeger(tonumber(name:match "%d+$" or "0", 10)) or 0 end

--- The ids of a component's inputs: in order, and by the names of the inputs.
local function read_inputs(element)
  local by_name = {}
  for _, connection in pairs(type(element.backward_connections) == "table" and element.backward_connections or {}) do
    if type(connection) == "table" and type(connection.dst_var) == "string" and type(connection.src_id) == "string" then
      by_name[connection.dst_var] = connection.src_id
    end
  end
  local names, list = plain.names(by_name), {}
  table.sort(names, function(a, b)
    local first, second = input_number(a), input_number(b)
    if first ~= second then return first < second end
    return plain.less(a, b)
  end)
  for i, name in ipairs(names) do list[i] = by_name[name] end
  return list, by_name
end

--- The sizes in a text such as "64x64x1"; nil where they are not there.
local function read_shape(text)
  local shape = {}
  if type(text) ~= "string" or not text:find "^%d[%dx]*$" then return nil end
  for digits in text:gmatch "%d+" do shape[#shape + 1] = math.tointeger(tonumber(digits, 10)) end
  return #shape <= 3 and shape or nil
end

local function read_component(id, element)
  local inputs, by_name = read_inputs(element)
  local meta = type(element.layerMeta) == "table" and element.layerMeta or {}
  return {
    id = id, name = type(element.layerName) == "string" and element.layerName or id,
    kind = type(element.componentName) == "string" and element.componentName or "no component",
    settings = type(element.layerSettings) == "table" and element.layerSettings or {},
    inputs = inputs, by_name = by_name, shape = read_shape(meta.OutputDim),
  }
end

--- All components by id, and a list of them.
local function read_components(document)
  local list, nodes, all = document.networkElementList, {}, {}
  if type(list) ~= "table" then error("it has no networkElementList, and is no model of PerceptiLabs", 0) end
  for _, id in ipairs(plain.names(list)) do
    if type(list[id]) == "table" then
      nodes[id] = read_component(id, list[id])
      all[#all + 1] = nodes[id]
    end
  end
  return nodes, all
end

--- The component that trains.
local function find_training(all)
  local training, other
  for _, node in ipairs(all) do
    if node.kind ~= "TrainNormal" then
      if node.kind:find "^Train" then other = node end
    elseif training then
      fail(node, '"%s" trains, too: there is one training component', training.name)
    else
      training = node
    end
  end
  if other and not training then fail(other, "this way of training is not known here; known is TrainNormal") end
  return training or error("it has no training component (TrainNormal), which says what is predicted", 0)
end

--- Adds what leads to a component to `found`, a set, and to the same as a list.
local function gather(nodes, id, found)
  local node = id and nodes[id]
  if not node or found[node] then return found end
  found[node], found[#found + 1] = true, node
  for _, input in ipairs(node.inputs) do gather(nodes, input, found) end
  return found
end

--- Names all unknown components among these at once.
local function check_kinds(nodes)
  local unknown = {}
  for _, node in ipairs(nodes) do
    if not component.is_layer(node) and not OTHERS[node.kind] then
      unknown[#unknown + 1] = ('"%s" (%s)'):format(node.name, node.kind)
    end
  end
  if #unknown == 0 then return end
  local known = plain.names(OTHERS)
  plain.sort(table.move(component.KINDS, 1, #component.KINDS, #known + 1, known))
  error(("unknown components: %s; known are %s"):format(table.concat(plain.sort(unknown), ", "),
    table.concat(known, ", ")), 0)
end

-- -- training ---------------------------------------------------------------------------------------------------------

local OPTIMIZERS = {
  ADAM = function(node, rate)
    return { "adam", lr = rate, beta1 = number(node, "Beta_1", 0, 1), beta2 = number(node, "Beta_2", 0, 1) }
  end,
  SGD = function(_, rate) return { "sgd", lr = rate } end,
  Momentum = function(node, rate, notes)
    notes[#notes + 1] = ("the rate stays: its decay by %s every %s steps is left out"):format(
      plain.text(number(node, "Decay_rate", 0, 1)), plain.text(number(node, "Decay_steps", 1, math.huge)))
    return { "sgd", lr = rate, momentum = number(node, "Momentum", 0, 1) }
  end,
}

--- The mean of squares between what is predicted and the classes as one-hot vectors.
local function quadratic(softmax)
  return function(logits, labels)
    local predicted = softmax and functional.softmax(logits, -1) or logits
    return functional.mse_loss(predicted, functional.one_hot(labels, logits:size(-1)):to(logits.dtype))
  end
end

local LOSSES = {
  Cross_entropy = function(_, softmax, notes)
    if softmax then
      notes[#notes + 1] = "the softmax of the last component is part of the loss: the network gives logits"
    end
    return "cross_entropy"
  end,
  Quadratic = function(_, softmax) return quadratic(softmax) end,
}

--- Optimizer, loss, epochs and batch of the training component, as a trainer takes them.
local function trainer_options(node, last, notes)
  local rate = number(node, "Learning_rate", 0, 1e3)
  if node.settings.Stop_condition ~= nil and node.settings.Stop_condition ~= "Epochs" then
    notes[#notes + 1] = "training ends after its epochs, not at a target accuracy"
  end
  local weights = node.settings.Class_weights
  if weights ~= nil and plain.text(weights) ~= "1" then
    notes[#notes + 1] = ("its Class_weights, %s, are left out: all classes count alike"):format(option.shown(weights))
  end
  return {
    optimizer = choice(node, "Optimizer", OPTIMIZERS)(node, rate, notes),
    loss = choice(node, "Loss", LOSSES)(node, component.is_softmax(last), notes),
    epochs = count(node, "Epochs"), batch = count(node, "Batch_size"), normalize = false,
  }
end

--- The number of classes, where the labels go through a one-hot component.
local function labels_of(nodes, node)
  local labels = nodes[node.by_name.labels] or fail(node, "nothing is its input `labels`")
  if labels.kind == "ProcessOneHot" then
    return count(labels, "N_class"), nodes[labels.inputs[1]]
  end
  return nil, labels
end

-- -- data -------------------------------------------------------------------------------------------------------------

local function access(node)
  local access_properties = node.settings.accessProperties
  return type(access_properties) == "table" and access_properties or {}
end

--- Where the file of a data component was on the machine of its author; nil where that is not said.
local function source_path(node)
  local sources = node and access(node).Sources
  local first = type(sources) == "table" and sources[1]
  return type(first) == "table" and type(first.path) == "string" and first.path or nil
end

--- The shares for training, validation and test.
local function split_of(node)
  local list = access(node).Partition_list
  local parts = type(list) == "table" and list[1]
  if not option.is_list(parts, function(part) return type(part) == "number" and part >= 0 and part <= 100 end)
    or #parts ~= 3 or parts[1] == 0 or math.abs(parts[1] + parts[2] + parts[3] - 100) > 1e-6 then
    fail(node, "Partition_list is no list of three shares that make 100")
  end
  return { parts[1] / 100, parts[2] / 100, parts[3] / 100 }
end

-- -- the whole --------------------------------------------------------------------------------------------------------

local Settings = {
  __name = "settings of a PerceptiLabs model",
  __tostring = function(self)
    local o = self.trainer
    local lines = {
      ("%s: images %s, %d classes, %s parameters"):format(self.name, component.shape_text(self.input), self.classes,
        plain.grouped(o.model:num_parameters())),
      ("  training   %s, %s, %d epochs, batches of %d"):format(
        type(o.loss) == "string" and o.loss or "mean of squares",
        o.optimizer[1] .. " " .. option.listed(option.without(o.optimizer, 1), "lr"), o.epochs, o.batch),
      ("  split      %s for training, %s for validation, %s for test"):format(plain.percent(self.split[1]),
        plain.percent(self.split[2]), plain.percent(self.split[3])),
    }
    for _, note in ipairs(self.notes) do lines[#lines + 1] = "  note       " .. note end
    return plain.visible(table.concat(lines, "\n"))
  end,
}

--- What stands beside the network in the file, and is left out.
local function note_unused(all, used, notes)
  local names = {}
  for _, node in ipairs(all) do
    if not used[node] then names[#names + 1] = ('"%s"'):format(node.name) end
  end
  if #names > 0 then
    notes[#notes + 1] = "not part of what is trained: " .. table.concat(plain.sort(names), ", ")
  end
end

local function build(document)
  local nodes, all = read_components(document)
  local training = find_training(all)
  local last = nodes[training.by_name.predictions] or fail(training, "nothing is its input `predictions`")
  local used, notes = gather(nodes, training.id, {}), {}
  check_kinds(used)
  local name = type(document.networkName) == "string" and document.networkName or "perceptilabs"
  local classes, label_data = labels_of(nodes, training)
  local model, input, output, image_data = network.build(nodes, last, name)
  if #output ~= 1 then
    fail(last, "it gives %s for an image, wanted a number for each class", component.shape_text(output))
  end
  if classes and classes ~= output[1] then
    fail(last, "it gives %d numbers for an image, the labels have %d classes", output[1], classes)
  end
  note_unused(all, used, notes)
  local settings = {
    name = name, input = input, classes = output[1], split = split_of(image_data),
    shuffle = access(image_data).Shuffle_data == true, images = source_path(image_data),
    labels = source_path(label_data), trainer = trainer_options(training, last, notes), notes = notes,
  }
  settings.trainer.model, settings.trainer.name = model, name
  return model, setmetatable(settings, Settings)
end

--- Reads a model.json of PerceptiLabs: a network with new weights, which maps images {N,H,W,C} to logits, and a table
-- with
--
--     trainer         options for texres.Trainer: model, optimizer, loss, epochs, batch, name; no normalization
--     split           shares for training, validation and test: {0.7, 0.2, 0.1}
--     input, classes  the size {H,W,C} of its images, the number of classes
--     images, labels  the paths of the data on the machine of the author; shuffle: whether they were shuffled
--     name, notes     the model's name; what is done otherwise here, in words
--
-- which print() shows. A file that is missing, damaged, or has components that are not known gives nil and a message.
function perceptilabs.read(path)
  option.check("perceptilabs.read", "the path", path, option.PATH)
  local text, message = files.read(path)
  if not text then return nil, message end
  local document, problem = json.decode(text)
  if type(document) ~= "table" then return nil, ("%s: %s"):format(path, problem or "not an object") end
  local model, settings = protect.catch(build, document)
  if not model then return nil, ("%s: %s"):format(path, settings) end
  return model, settings
end

perceptilabs.read = plain.telling(perceptilabs.read)

return perceptilabs
