--- What of an input can influence the output of a network, and how much of it each layer sees.
--
-- The first is measured, on a copy that computes something else along the same paths: there each convolution, dense
-- layer and pooling adds up what it reads with positive weights, norms and activations hand on what they get, and what
-- is subtracted is a factor. No sum can cancel and no ReLU is dead, so a pixel whose gradient is 0 has no path to the
-- output. (The statistics of a norm, to which every pixel adds a little, do not count.) What the copy cannot imitate,
-- such as a layer of your own, works as it is, in f64 and with positive parameters; pixels without a gradient are then
-- changed, and where that changes the output, nothing is said.
--
-- The second, receptive fields, follows from windows and steps of the layers, and is not cut off at the image: 435x435
-- for resnet18. That of a layer without a method window is measured on the copy, too. Where a layer enlarges, outputs
-- see more or less by their place: told is about the most that one sees, rounded up.

local F = require "texres.nn.functional"
local activation = require "texres.nn.activation"
local container = require "texres.nn.container"
local conv = require "texres.nn.conv"
local conv_more = require "texres.nn.conv_more"
local core = require "texres.core"
local linear = require "texres.nn.linear"
local module = require "texres.nn.module"
local norm = require "texres.nn.norm"
local option = require "texres.options"
local plan = require "texres.nn.plan"
local pool = require "texres.nn.pool"
local protect = require "texres.protect"
local raise = require "texres.raise"
local shapes = require "texres.nn.shape"
local SqueezeExcitation = require("texres.nn.block").SqueezeExcitation
local is_plain = module.is_plain

local reach = {}

--- Numbers of 0.5 to 1.5 in this shape, of which hardly two are alike, others for each `turn`, a number; not random,
-- so that looking draws nothing.
local function uneven(shape, turn)
  local count = 1
  for _, size in ipairs(shape) do count = count * size end
  local fraction = (core.arange(count, { dtype = "f64" }) + (turn or 0)) * 0.6180339887498949 % 1
  return (fraction + 0.5):reshape(shape)
end
reach.uneven = uneven

-- -- the copy ---------------------------------------------------------------------------------------------------------

--- What stands in the place of a layer: compute(self, x).
local StandIn = module.Module "StandIn"
StandIn.keeps_nothing = true

function StandIn:init(compute) rawset(self, "_compute", compute) end

function StandIn:forward(x) return self._compute(self, x) end

StandIn._forward = StandIn.forward -- so that plans trust it

--- y at a mean of 1, so that deep networks neither overflow nor fade; by the same factor in later calls.
local function level(self, y)
  if not rawget(self, "_factor") then
    local mean = y:detach():mean():item()
    rawset(self, "_factor", mean > 0 and 1 / mean or 1)
  end
  return y * self._factor
end

-- Each stand-in has other weights by its `turn`: the difference of two alike would be 0 whatever they read.

local function for_conv(m, turn)
  local rows, columns, _, channels = m.weight:size()
  local options = { stride = m.stride, padding = m.padding, dilation = m.dilation }
  local copy = StandIn(function(self, x)
    return level(self, F.conv2d(x:mean(-1, true), self.weight, options)) * uneven({ channels }, turn)
  end)
  copy.weight = module.Parameter(uneven({ rows, columns, 1, 1 }, turn))
  return copy
end

local function for_linear(m, turn)
  local outputs = m.weight:size(2)
  return StandIn(function(self, x) return level(self, x:mean(-1, true)) * uneven({ outputs }, turn) end)
end

local function for_pool(m, turn)
  local options = { stride = m.stride, padding = m.padding }
  return StandIn(function(_, x) return F.avg_pool2d(x, m.kernel, options) * uneven({ 1 }, turn) end)
end

local function for_global_pool(_, turn)
  return StandIn(function(_, x) return F.global_avg_pool(x) * uneven({ 1 }, turn) end)
end

local function for_gate() return StandIn(function(_, x) return x + x:mean({ 2, 3 }, true) end) end

local INSTEAD = {
  [conv.Conv2d] = for_conv, [linear.Linear] = for_linear, [pool.MaxPool2d] = for_pool, [pool.AvgPool2d] = for_pool,
  [pool.GlobalMaxPool] = for_global_pool, [conv_more.StandardizedConv2d] = for_conv, [SqueezeExcitation] = for_gate,
}

local function identity() return shapes.Identity() end

-- Layers that see one place at a time, apart from statistics.
local PLACE_BY_PLACE = { [shapes.Identity] = true, [shapes.Dropout] = true, [shapes.Flatten] = true }
for _, classes in ipairs { norm, activation } do
  for _, class in pairs(classes) do
    if type(class) == "table" then INSTEAD[class], PLACE_BY_PLACE[class] = identity, true end
  end
end

--- A layer's place in a table of classes; nil for one with a forward of its own.
local function entry(classes, m)
  local class = getmetatable(m)
  return is_plain(m, class) and classes[class] or nil
end
reach.entry = entry

local function places_in(list)
  local place = {}
  for i, one in ipairs(list) do place[one] = i end
  return place
end

--- In the copy nothing is taken away, and both paths of a Residual are there for the gradient.
local function open_containers(copy)
  for _, m in ipairs(copy:modules()) do
    if is_plain(m, container.Subtract) then setmetatable(m, container.Multiply) end
    if is_plain(m, container.Residual) then m.grad_skip, m.grad_body = true, true end
  end
  return copy
end

local function copy_of(self)
  local parameters, modules = places_in(self:parameters()), places_in(self:modules())
  return open_containers(module.copy_with(self, function(value)
    if module.is_module(value) then
      local make = entry(INSTEAD, value)
      return make and make(value, modules[value])
    end
    if parameters[value] then return uneven(value:shape(), parameters[value]) end
    return value.dtype == "f32" and value:detach():to "f64" or nil
  end):eval())
end

--- Calls f(...) with gradients, and leaves the random numbers as they are, whatever a layer of one's own draws.
function reach.looking(f, ...)
  local seed, stream = core.rng_state()
  return protect.finally(function() core.rng_state(seed, stream) end, core.enable_grad, f, ...)
end

-- -- measuring --------------------------------------------------------------------------------------------------------

--- The gradient of what m gives, or of the part of it, for an input of this shape; the input, and what m gave.
local function gradient(m, shape, part)
  local x = uneven(shape)
  x.requires_grad = true
  local y = m(x)
  if not core.is_tensor(y) then raise("the output is %s, wanted a tensor", option.shown(y)) end
  local looked_at = part and part(y) or y
  if looked_at.requires_grad then looked_at:backward(uneven(looked_at:shape())) end
  return x.grad or core.zeros_like(x:detach()), x:detach(), y:detach()
end

--- Where it is not 0, {H,W} of 0 and 1: for one image, without its channels; else {...} of all elements.
local function places(of)
  if of:dim() == 4 then of = of:abs():sum { 1, 4 } end
  return of:ne(0):to "f64"
end

--- How many positions of each convolution's kernel have a gradient, and how many there are, where some have none.
local function idle_positions(self, copies)
  local list = {}
  for name, m in self:named_modules() do
    local weight = is_plain(m, conv.Conv2d) and copies[m] and copies[m].weight
    local used = weight and weight.grad and math.tointeger(weight.grad:ne(0):to("f64"):sum():item())
    if used and used < weight:numel() then list[#list + 1] = { name = name, used = used, count = weight:numel() } end
  end
  return list
end

local function measure(self, shape)
  local whole = { copies = {}, sizes = {} }
  local copy, originals, by_name = copy_of(self), {}, {}
  for name, m in self:named_modules() do by_name[name] = m end
  for name, m in copy:named_modules() do
    if by_name[name] then originals[m], whole.copies[by_name[name]] = by_name[name], m end
  end
  local function watch(m, _, inputs, outputs)
    local original, x, y = originals[m], inputs[1], outputs[1]
    if not original or whole.sizes[original] or not (core.is_tensor(x) and core.is_tensor(y)) then return end
    whole.sizes[original] = { x:shape(), y:shape() }
  end
  local dx, x, y
  local watcher = { fn = watch, planned = true, keeps_nothing = true }
  module.with_watcher(watcher, function() dx, x, y = gradient(copy, shape) end)
  whole.places = places(dx)
  whole.share = whole.places:mean():item()
  whole.idle = idle_positions(self, whole.copies)
  if whole.share < 1 then
    local unread = dx:dim() == 4 and whole.places:reshape(1, shape[2], shape[3], 1) or whole.places
    local again = core.no_grad(copy, core.where(unread, x, x + 1000))
    if (again - y):abs():max():item() ~= 0 then whole.share, whole.places = nil, nil end
  end
  return whole
end

--- What reaches the output, for one input of the shape {N,...}: { share =, places =, idle =, copies =, sizes = }, or
-- nil and why it could not be measured. `places` {H,W} is 1 for pixels with a path to the output, 0 for others, and
-- `share` their mean; both are nil where only some layer of one's own may know. `idle`: a list of { name =, used =,
-- count = }, of convolutions a part of whose kernel only ever meets padding. For the functions below: the copies of
-- modules, and {input, output} shapes.
function reach.measure(self, shape)
  local one = { 1, table.unpack(shape, 2) }
  return protect.catch(reach.looking, measure, self, one)
end

--- The places {H,W} of its input that a module reads.
function reach.read_by(whole, m)
  local size = whole.sizes[m]
  if not size or #size[1] ~= 4 then return nil end
  return places((reach.looking(gradient, whole.copies[m], size[1])))
end

-- -- receptive fields -------------------------------------------------------------------------------------------------

--- The first and the last row and column of its input that a module reads for the output at row p, column q.
local function extent(copy, shape, p, q)
  local dx = reach.looking(gradient, copy, shape, function(y) return y:slice(2, p, p):slice(3, q, q) end)
  local read, ends = places(dx), {}
  for axis = 1, 2 do
    local line = read:max(3 - axis):totable()
    local first, last = 1, #line
    while first < last and line[first] == 0 do first = first + 1 end
    while last > first and line[last] == 0 do last = last - 1 end
    ends[axis] = { first, last }
  end
  return ends
end

local PHASES = 4 -- of neighbouring outputs, which may see more or less: behind a transposed convolution every other one

--- The window and the steps of a module without a method window, from the outputs a quarter in from the ends.
local function measured_window(whole, m)
  local size = whole.sizes[m]
  if not size or #size[1] ~= 4 or #size[2] ~= 4 then return { math.huge, math.huge }, { 1, 1 } end
  local copy, low, high, window, step = whole.copies[m], {}, {}, { 1, 1 }, {}
  for axis = 1, 2 do
    local side = size[2][axis + 1]
    low[axis], high[axis] = side // 4 + 1, side - side // 4
  end
  local from, to = extent(copy, size[1], low[1], low[2]), extent(copy, size[1], high[1], high[2])
  for phase = 0, PHASES - 1 do
    local seen = extent(copy, size[1], math.min(low[1] + phase, high[1]), math.min(low[2] + phase, high[2]))
    for axis = 1, 2 do window[axis] = math.max(window[axis], seen[axis][2] - seen[axis][1] + 1) end
  end
  for axis = 1, 2 do
    local side, way = size[1][axis + 1], to[axis][1] - from[axis][1]
    if side > 1 and window[axis] == side then window[axis] = math.huge end
    step[axis] = way > 0 and way / (high[axis] - low[axis]) or side / size[2][axis + 1] -- all see the same: its scale
    if step[axis] > 0 and step[axis] < 1 then step[axis] = 1 / math.floor(1 / step[axis] + 0.5) end
  end
  return window, step
end

local POINT = { 1, 1 }

--- The method window of a layer, unless its forward is another's.
local function window_method(m) return module.member_beside(m, "window", "forward") end

local function window_of(whole, m)
  local method, size = window_method(m), whole.sizes[m]
  if method then return method(m) end
  if entry(PLACE_BY_PLACE, m) then return POINT, POINT end
  if is_plain(m, linear.Linear) and size and #size[1] == 4 then return POINT, POINT end
  return measured_window(whole, m)
end

--- The larger field, row by row and column by column.
local function join(a, b)
  if not a then return b end
  local size, step = {}, {}
  for axis = 1, 2 do
    size[axis], step[axis] = math.max(a.size[axis], b.size[axis]), math.max(a.step[axis], b.step[axis])
  end
  return { size = size, step = step }
end

--- The receptive field after a module.
local function through(field, window, steps)
  local size, step = {}, {}
  for axis = 1, 2 do
    size[axis] = field.size[axis] + (window[axis] - 1) * field.step[axis]
    step[axis] = field.step[axis] * steps[axis]
  end
  return { size = size, step = step }
end

--- The receptive fields {rows, columns} of the layers that a planned container calls: a table from each layer to a
-- list, one for each of its calls; math.huge where it is everything. `whole`: what reach.measure gave.
function reach.fields(self, whole)
  local fields = {}
  if not plan.is_planned(self) then return fields end
  local values = { { size = POINT, step = POINT } }
  for _, step in ipairs(plan.trace(self, plan.is_planned).steps) do
    local field
    for _, value in ipairs(plan.inputs_of(step)) do field = join(field, values[value]) end
    if step.item then
      field = through(field, window_of(whole, step.item))
      fields[step.item] = fields[step.item] or {}
      table.insert(fields[step.item], field.size)
    end
    values[step.output] = field
  end
  return fields
end

--- A layer's stride and window, as two numbers, where the first is larger; nil where it leaves nothing out.
function reach.wide_stride(m)
  local method = window_method(m)
  if not method then return nil end
  local window, step = method(m)
  for axis = 1, 2 do
    if step[axis] > window[axis] then return step[axis], window[axis] end
  end
end

return reach
