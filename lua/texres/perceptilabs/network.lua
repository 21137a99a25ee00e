--- From the graph of a PerceptiLabs model to a Sequential: what stands between a fork and the merge where its branches
-- come together again becomes one item of it (Residual, Concat, Multiply, Subtract), whose branches are such lists
-- themselves.
--
--     Reshape_1 - Convolution_1 -+------------------- Merge_1 - ...
--                                +- Convolution_2 ----'
--
--     Sequential { { Convolution_1 = ... }, { Merge_1 = Residual { { Convolution_2 = ... } } }, ... }

local component = require "texres.perceptilabs.component"
local nn = require "texres.nn"
local may_name = require("texres.nn.container").may_name

local network = {}

local fail = component.fail
local MOST_WEIGHTS = 1 << 28

local Walk = {}
Walk.__index = Walk

-- `gates` has for each component the last one before it that every way from the data to it goes through; `depth` how
-- many such gates there are before it, and itself.

--- The last component that every way to a and every way to b goes through.
function Walk:common(merge, a, b)
  while a ~= b do
    if not a or not b then fail(merge, "its inputs come from different data") end
    if self.depth[a] >= self.depth[b] then a = self.gates[a] else b = self.gates[b] end
  end
  return a
end

--- Notes shape, gate and depth of a component, inputs first.
function Walk:visit(node)
  if self.depth[node] then return end
  if self.open[node] then fail(node, "it stands in a circle") end
  self.open[node] = true
  local inputs, shapes = {}, {}
  for i, id in ipairs(node.inputs) do
    inputs[i] = self.nodes[id] or fail(node, "its input %s is not in the file", id)
    self:visit(inputs[i])
    shapes[i] = self.shape[inputs[i]]
  end
  self:measure(node, inputs, shapes)
end

function Walk:measure(node, inputs, shapes)
  local gate = inputs[1] or false
  if node.kind == "DataData" then
    gate = false
    self.shape[node] = node.shape or fail(node, "its OutputDim is no size such as 64x64x1")
  elseif node.kind == "MathMerge" then
    if #inputs < 2 then fail(node, "it has %d inputs, wanted at least 2", #inputs) end
    for i = 2, #inputs do gate = self:common(node, gate, inputs[i]) end
    self.shape[node] = component.merged_shape(node, shapes)
  else
    if not component.is_layer(node) then fail(node, "it has no place between images and what is predicted") end
    if #inputs ~= 1 then fail(node, "it has %d inputs, wanted 1", #inputs) end
    self.shape[node], self.module[node] = component.layers(node, shapes[1], {
      is_first = inputs[1].kind == "DataData", is_last = node == self.last, budget = self.budget,
    })
  end
  self.gates[node], self.depth[node] = gate, gate and self.depth[gate] + 1 or 1
end

--- A component's name, as an item may be called and none is yet.
function Walk:item_name(node)
  local name = node.name:gsub("[^%w_]", "_"):gsub("^_+", "")
  if not name:find "^%a" then name = "component_" .. name end
  while self.named[name] or not may_name(name) do name = name .. "_" end
  self.named[name] = true
  return name
end

--- What lies between two components, without the first and with the second: a list of items.
function Walk:between(first, last)
  local reversed, node = {}, last
  while node ~= first do
    if self.used[node] then fail(node, "two branches go through it and part again, which is not known here") end
    self.used[node] = true
    local gate, made = self.gates[node], self.module[node]
    if node.kind == "MathMerge" then
      local branches = {}
      for i, id in ipairs(node.inputs) do branches[i] = self:between(gate, self.nodes[id]) end
      made = component.merge(node, branches)
    end
    if made then reversed[#reversed + 1] = { [self:item_name(node)] = made } end
    node = gate
  end
  local items = {}
  for i = #reversed, 1, -1 do items[#items + 1] = reversed[i] end
  return items
end

--- The shape of the images that the network takes: a table of grey pixels has one channel.
local function input_shape(self, root, last)
  local first = last
  while self.gates[first] ~= root do first = self.gates[first] end
  local shape = self.shape[first.kind == "ProcessReshape" and #self.shape[first] == 3 and first or root]
  if #shape == 1 then fail(root, "its data are lists of %d numbers, wanted images", shape[1]) end
  return #shape == 3 and shape or { shape[1], shape[2], 1 }
end

--- Builds what leads to the component `last`: a Sequential, the shape {H,W,C} of the images that it takes, that of what
-- it gives, and the component of the data.
function network.build(nodes, last, name)
  local walk = setmetatable({
    nodes = nodes, last = last, open = {}, gates = {}, depth = {}, shape = {}, module = {}, used = {}, named = {},
    budget = { weights = MOST_WEIGHTS },
  }, Walk)
  walk:visit(last)
  local root = last
  while walk.gates[root] do root = walk.gates[root] end
  if root == last then fail(last, "nothing stands between the data and what is predicted") end
  local items = walk:between(root, last)
  items.name = name
  return nn.Sequential(items), input_shape(walk, root, last), walk.shape[last], root
end

return network
