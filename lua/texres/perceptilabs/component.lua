--- The components of a PerceptiLabs model: what each makes of a shape, and the layers that it becomes.
--
-- A component of the file is read into
--
--     { id =, name = "Convolution_1", kind = "DeepLearningConv", settings = { Stride = "2", ... },
--       inputs = { ids in order }, by_name = { predictions = id, ... } }
--
-- Numbers stand in the settings as numbers or as texts. What is wrong raises a message that names the component; shapes
-- are those of one image, {H,W,C} or {n}, with the channels last, as in TensorFlow.

local nn = require "texres.nn"
local plain = require "texres.plain"

local component = {}

local EPS = 1e-3 -- of TensorFlow's batch norm; the file does not say it
local LEAK = 0.2 -- of its leaky ReLU

--- Raises a message about a component.
local function fail(node, message, ...)
  error(('component "%s" (%s): %s'):format(node.name, node.kind, plain.format(message, ...)), 0)
end
component.fail = fail

local function shape_text(shape) return table.concat(shape, "x") end
component.shape_text = shape_text

-- -- settings ---------------------------------------------------------------------------------------------------------

local function shown(value) return value == nil and "missing" or plain.text(value) end

--- A number of the settings, in a range.
function component.number(node, name, low, high)
  local value = node.settings[name]
  local number = type(value) == "string" and plain.number(value) or value
  if type(number) ~= "number" or not (number >= low and number <= high) then
    fail(node, "%s is %s, wanted a number from %s to %s", name, shown(value), plain.text(low), plain.text(high))
  end
  return number
end

local MOST = 1 << 20 -- of anything that is counted

--- A whole number from 1 on.
function component.count(node, name)
  local value = math.tointeger(component.number(node, name, 1, MOST))
  return value or fail(node, "%s is %s, wanted a whole number", name, shown(node.settings[name]))
end

--- Whether something is switched on; off where the settings do not name it.
function component.switch(node, name)
  local value = node.settings[name]
  if value == nil or type(value) == "boolean" then return value == true end
  fail(node, "%s is the %s %s, wanted true or false", name, type(value), shown(value))
end

--- One of the keys of a table, by its text there: what the table has for it.
function component.choice(node, name, choices)
  local value = node.settings[name]
  if type(value) == "string" and choices[value] ~= nil then return choices[value] end
  fail(node, "%s is %s, which is not known here; known are %s", name, shown(value),
    table.concat(plain.names(choices), ", "))
end

local choice, count = component.choice, component.count

-- -- layers -----------------------------------------------------------------------------------------------------------

local ACTIVATIONS = {
  None = function() end, ReLU = nn.ReLU, Sigmoid = nn.Sigmoid, Tanh = nn.Tanh,
  LeakyReLU = function() return nn.LeakyReLU(LEAK) end,
  Softmax = "softmax", -- only of what is predicted: see component.is_softmax
}

--- Whether a component ends in a softmax, which the loss takes over.
function component.is_softmax(node)
  return node.settings.Activation_function == "Softmax"
end

--- Batch norm, activation and dropout behind the weights of a component.
local function add_rest(node, items, channels, is_last)
  if component.switch(node, "Batch_norm") then items[#items + 1] = { norm = nn.BatchNorm(channels, { eps = EPS }) } end
  local make = choice(node, "Activation_function", ACTIVATIONS)
  if make == "softmax" and not is_last then fail(node, "a softmax can only end the network") end
  if make ~= "softmax" then items[#items + 1] = make() end
  if component.switch(node, "Dropout") then
    items[#items + 1] = nn.Dropout(1 - component.number(node, "Keep_prob", 0, 1))
  end
end

local PADDINGS = { SAME = "same", VALID = "valid" }
local POOLINGS = {
  Max = nn.MaxPool2d,
  Mean = function(area, options)
    options.count_include_pad = false -- TensorFlow's mean is that of the pixels alone
    return nn.AvgPool2d(area, options)
  end,
}

--- Positions along one side, as TensorFlow has them.
local function positions(node, size, window, stride, padding)
  if padding == "same" then return (size + stride - 1) // stride end
  if window > size then fail(node, "a window of %d does not fit in %d pixels", window, size) end
  return (size - window) // stride + 1
end

local function map_shape(node, shape, window, stride, padding, channels)
  return {
    positions(node, shape[1], window, stride, padding), positions(node, shape[2], window, stride, padding), channels,
  }
end

local function check_image(node, shape)
  if #shape ~= 3 then fail(node, "its input is %s, wanted rows x columns x channels", shape_text(shape)) end
end

--- Raises before more weights are made, of all components together, than a file should ask for.
local function spend(node, place, n)
  place.budget.weights = place.budget.weights - n
  if place.budget.weights < 0 then fail(node, "with its %.0f weights the network has too many", n) end
end

local kinds = {}

--- Convolution, batch norm, activation, dropout, pooling.
function kinds.DeepLearningConv(node, shape, place)
  check_image(node, shape)
  choice(node, "Conv_dim", { ["2D"] = true, Automatic = true })
  if node.settings.Conv_type ~= nil then choice(node, "Conv_type", { Conv = true }) end -- younger files have it
  local kernel, stride, maps = count(node, "Patch_size"), count(node, "Stride"), count(node, "Feature_maps")
  local padding = choice(node, "Padding", PADDINGS)
  local out = map_shape(node, shape, kernel, stride, padding, maps)
  spend(node, place, kernel * 1.0 * kernel * shape[3] * maps)
  local items = { { conv = nn.Conv2d(shape[3], maps, kernel, { stride = stride, padding = padding }) } }
  add_rest(node, items, maps, place.is_last)
  if component.switch(node, "PoolBool") then
    local area, step = count(node, "Pool_area"), count(node, "Pool_stride")
    local pool, border = choice(node, "Pooling", POOLINGS), choice(node, "Pool_padding", PADDINGS)
    out = map_shape(node, out, area, step, border, maps)
    items[#items + 1] = { pool = pool(area, { stride = step, padding = border }) }
  end
  return out, nn.Sequential(items)
end

local function elements(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

--- A dense layer on all of its input, batch norm, activation, dropout.
function kinds.DeepLearningFC(node, shape, place)
  local inputs, neurons, items = elements(shape), count(node, "Neurons"), {}
  spend(node, place, inputs * 1.0 * neurons)
  if #shape > 1 then items[1] = nn.Flatten() end
  items[#items + 1] = { fc = nn.Linear(inputs, neurons) }
  add_rest(node, items, neurons, place.is_last)
  return { neurons }, nn.Sequential(items)
end

--- The sizes of a list in the settings.
local function sizes(node, name)
  local list = node.settings[name]
  if type(list) ~= "table" or #list == 0 or #list > 3 then fail(node, "%s is no list of one to three sizes", name) end
  for _, size in ipairs(list) do
    if math.type(size) ~= "integer" or size < 0 or size > MOST then fail(node, "%s has %s", name, shown(size)) end
  end
  return list
end

--- Another shape for the same numbers: of the input, or a vector of a map.
function kinds.ProcessReshape(node, shape, place)
  local wanted = sizes(node, "Shape")
  for i, d in ipairs(sizes(node, "Permutation")) do
    if d ~= i - 1 then fail(node, "it turns the dimensions, which is not known here") end
  end
  if elements(wanted) ~= elements(shape) then
    fail(node, "%s does not become %s", shape_text(shape), shape_text(wanted))
  end
  if place.is_first and #wanted == 3 or shape_text(wanted) == shape_text(shape) then return wanted end
  if #wanted == 1 then return wanted, nn.Flatten() end
  fail(node, "%s becomes %s in the middle of the network: only a vector is known there", shape_text(shape),
    shape_text(wanted))
end

--- What a component with one input makes of a shape: the new one, and a module, nil where the numbers stay as they are.
-- `place`: {is_first =, is_last =, budget = {weights = how many there may still be}}.
function component.layers(node, shape, place) return kinds[node.kind](node, shape, place) end

function component.is_layer(node) return kinds[node.kind] ~= nil end

--- The names of kinds with one input that are known.
component.KINDS = plain.names(kinds)

-- -- merges -----------------------------------------------------------------------------------------------------------

--- A branch as one module.
local function whole(items) return #items == 0 and nn.Identity() or nn.Sequential(items) end

--- The sum of two branches: the longer one is the body, the other the shortcut.
local function sum(branches)
  local body, shortcut = table.unpack(branches)
  if #body < #shortcut then body, shortcut = shortcut, body end
  if #body == 0 then body = { nn.Identity() } end
  if #shortcut > 0 then body.shortcut = nn.Sequential(shortcut) end
  return nn.Residual(body)
end

local function each_whole(make)
  return function(branches)
    local items = {}
    for i, branch in ipairs(branches) do items[i] = whole(branch) end
    return make(items)
  end
end

local MERGES = {
  Add = sum, Concat = each_whole(nn.Concat), Multi = each_whole(nn.Multiply), Sub = each_whole(nn.Subtract),
}

local function concat_shape(node, shapes)
  local first = shapes[1]
  local dim = math.tointeger(component.number(node, "Merge_dim", -4, 4))
  if dim ~= -1 and dim ~= #first then fail(node, "it joins along %s: only channels can be joined", shown(dim)) end
  local out = table.move(first, 1, #first, 1, {})
  for i = 2, #shapes do
    for d = 1, #first - 1 do
      if shapes[i][d] ~= first[d] or #shapes[i] ~= #first then
        fail(node, "it joins %s and %s", shape_text(first), shape_text(shapes[i]))
      end
    end
    out[#out] = out[#out] + shapes[i][#first]
  end
  return out
end

--- The shape of what a merge makes of these.
function component.merged_shape(node, shapes)
  choice(node, "Type", MERGES)
  if node.settings.Type == "Concat" then return concat_shape(node, shapes) end
  if #shapes ~= 2 then fail(node, "it has %d inputs, wanted 2", #shapes) end
  if shape_text(shapes[1]) ~= shape_text(shapes[2]) then
    fail(node, "its inputs are %s and %s", shape_text(shapes[1]), shape_text(shapes[2]))
  end
  return shapes[1]
end

--- The module that merges branches, lists of items, which all begin at the same value.
function component.merge(node, branches) return choice(node, "Type", MERGES)(branches) end

return component
