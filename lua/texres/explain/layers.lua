--- Layers of a model by name, and what they are given and give: the only place of the explanations that reaches inside.

local core = require "texres.core"
local module = require "texres.nn.module"
local raise = require "texres.raise"

local layers = {}

--- The layers that a model calls for x, children before parents, the model itself not among them: a list of
-- { layer =, from =, to = }, the shapes of what it was given and gave.
function layers.calls(model, x)
  local list = {}
  local function note(m, _, inputs, outputs)
    if m ~= model and core.is_tensor(inputs[1]) and core.is_tensor(outputs[1]) then
      list[#list + 1] = { layer = m, from = inputs[1]:shape(), to = outputs[1]:shape() }
    end
  end
  core.no_grad(module.watch, note, function() model(x) end)
  return list
end

--- The last layer whose output is a map {N,H,W,C} of more than one row and column.
function layers.last_map(what, calls)
  local found
  for _, call in ipairs(calls) do
    local to = call.to
    if #to == 4 and to[2] > 1 and to[3] > 1 then found = call.layer end
  end
  return found or raise("%s: no layer of the model gives a map {N,H,W,C}: name one by `layer`", what)
end

--- The last layer without parts, which makes the scores of features.
function layers.last(what, calls)
  local found
  for _, call in ipairs(calls) do
    if #call.layer:children() == 0 then found = call.layer end
  end
  return found or raise("%s: the model has no layers: name one by `layer`", what)
end

-- -- where the cells of a map stand -----------------------------------------------------------------------------------

local function along(value, side) return type(value) == "table" and value[side] or value end

-- Where the windows of a layer have their middles along a side (1: rows, 2: columns): cell j, from 0, of its output at
-- first + step * j in the coordinates of the image, given the same of its input; nil for a layer without windows.
local function windows(call, axis, side)
  local layer, from, to = call.layer, call.from[side + 1], call.to[side + 1]
  local weight, stride, padding = rawget(layer, "weight"), rawget(layer, "stride"), rawget(layer, "padding")
  local kernel = along(rawget(layer, "kernel"), side) or core.is_tensor(weight) and weight:size(side)
  if not (stride and padding and kernel) then return nil end
  stride = along(stride, side)
  local reach = (along(rawget(layer, "dilation"), side) or 1) * (kernel - 1)
  local before = type(padding) == "table" and padding[2 * side - 1] or padding
  if padding == "same" then before = math.max((to - 1) * stride + reach + 1 - from, 0) // 2 end
  if padding == "valid" then before = 0 end
  return { first = axis.first + axis.step * (reach / 2 - before), step = axis.step * stride }
end

--- Where the cells of maps of {rows, columns} stand in the images x {N,H,W,C} that the calls were made for: two tables
-- { first =, step = } in pixels from 0, one along the rows and one along the columns. They are followed through the
-- windows of the layers that change the size. Nil where that can't be told: where a function of one's own does it.
function layers.grid(calls, x, rows, columns)
  local grids = { [x:size(2) .. " " .. x:size(3)] = { { first = 0, step = 1 }, { first = 0, step = 1 } } }
  for _, call in ipairs(calls) do
    if #call.from == 4 and #call.to == 4 then
      local grid, key = grids[call.from[2] .. " " .. call.from[3]], call.to[2] .. " " .. call.to[3]
      local down = grid and not grids[key] and windows(call, grid[1], 1)
      if down then grids[key] = { down, windows(call, grid[2], 2) } end
    end
  end
  return table.unpack(grids[rows .. " " .. columns] or {})
end

-- -- inside -----------------------------------------------------------------------------------------------------------

--- Makes a layer of a copied model keep what it is given or gives, in the field `value` of what is returned. `end_of`:
-- "input" or "output"; "leaf": the output as a tensor that requires a gradient and begins the graph anew. Of a layer
-- that is called several times, the last call counts.
function layers.tap(layer, end_of)
  local tap, forward = {}, layer.forward
  rawset(layer, "forward", function(self, x, ...)
    local y = forward(self, x, ...)
    if end_of == "leaf" then
      y = y:detach()
      y.requires_grad = true
    end
    tap.value = end_of == "input" and x or y
    return y
  end)
  return tap
end

return layers
