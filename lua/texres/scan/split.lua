--- A network in two parts: the trunk, which runs once over a band, and the head, which slides over its feature map.
--
--     image {1,H,W,C} -- trunk --> map {1,H/stride,W/stride,F} -- head --> logits {P,Q,K}, one for each window
--
-- The trunk is what of a Sequential still gives a map, and the head the rest, from the layer on that leaves one place
-- of an image of the training's size. A head that begins with a pooling of the whole map, or with a convolution that
-- reads one window of it (the "conv" of texres.models.heads), slides: the same layer with a window of the map's size.
-- Any other is called for each window that is cut out of the map.
--
-- A patch is not quite what the band is at the same place: around a patch the convolutions read their padding, on the
-- band the cloth beside it. Of a patch the band gives what the patch would with a margin of `halo` pixels around it.
--
-- The field that a place sees has its middle where kernels, strides and paddings put it, which need not be the middle
-- of the place's own pixels: three convolutions 3x3 of stride 2 and padding 1 look at pixels 0, 8, 16, ..., while the
-- middles of eight pixels each are 3.5, 11.5, 19.5, ... What a place tells is `offset` = -3.5 pixels away from them.

local F = require "texres.nn.functional"
local core = require "texres.core"
local layers = require "texres.explain.layers"
local module = require "texres.nn.module"
local nn = require "texres.nn"
local quantized = require "texres.scan.quantized"
local reach = require "texres.nn.reach"
local Quantized = require("texres.nn.quantized").Quantized
local is_plain = module.is_plain

-- -- the parts --------------------------------------------------------------------------------------------------------

--- The items of a Sequential in the order in which they are called, those of one within it in its place.
local function items_of(model, list)
  for _, item in model:items() do
    if is_plain(item, nn.Sequential) and not item.checkpoint then
      items_of(item, list)
    else
      list[#list + 1] = item
    end
  end
  return list
end

local function is_map(x) return core.is_tensor(x) and x:dim() == 4 and x:size(2) > 1 and x:size(3) > 1 end

--- How many items are the trunk, and the map of an image of this size.
local function measure_trunk(items, size)
  local x, count = core.zeros(1, table.unpack(size)), 0
  for _, item in ipairs(items) do
    local y = item(x)
    if not is_map(y) then break end
    x, count = y, count + 1
  end
  return count, x
end

local function sequence(items, first, last) return nn.Sequential(table.move(items, first, last, 1, {})):eval() end

-- -- how far the trunk sees -------------------------------------------------------------------------------------------

local WIDEST = 8 -- sides of the image that are tried

--- The first and the last row or column that has a gradient.
local function ends_of(gradient, axis)
  local line, first, last = gradient:abs():sum({ 1, 4 }):max(3 - axis):totable(), nil, nil
  for i, value in ipairs(line) do
    if value ~= 0 then first, last = first or i, i end
  end
  return first, last
end

--- How many pixels beyond its own cell one of the map sees, in whole cells; nil where it is as good as everything.
local function halo_of(trunk, size, stride)
  local times = 2
  while times <= WIDEST do
    local shape = { 1, times * size[1], times * size[2], size[3] }
    local whole = reach.measure(trunk, shape)
    if not whole then return nil end
    local cell, seen = { times * size[1] // stride // 2, times * size[2] // stride // 2 }, 0
    local inside = reach.looking(function()
      local x = reach.uneven(shape)
      x.requires_grad = true
      local y = whole.copies[trunk](x)
      y:slice(2, cell[1] + 1, cell[1] + 1):slice(3, cell[2] + 1, cell[2] + 1):sum():backward()
      local all = true
      for axis = 1, 2 do
        local first, last = ends_of(x.grad, axis)
        if not first then return false end
        all = all and first > stride and last < shape[axis + 1] - stride
        seen = math.max(seen, cell[axis] * stride + 1 - first, last - (cell[axis] + 1) * stride)
      end
      return all
    end)
    if inside then return (seen + stride - 1) // stride * stride end
    times = times * 2
  end
end

--- How far the middles of the fields lie below and right of those of the places' own pixels: {rows, columns}, 0 where
-- the layers don't tell.
local function offset_of(trunk, size, map, stride)
  local x = core.zeros(1, table.unpack(size))
  local down, right = layers.grid(layers.calls(trunk, x), x, map:size(2), map:size(3))
  local middle = (stride - 1) / 2
  return { down and down.first - middle or 0, right and right.first - middle or 0 }
end

-- -- the head ---------------------------------------------------------------------------------------------------------

--- The window of each place, {P*Q,cells,cells,F}.
local function windows_of(map, cells, step)
  local list = {}
  for top = 0, map:size(2) - cells[1], step do
    local rows = map:slice(2, top + 1, top + cells[1])
    for left = 0, map:size(3) - cells[2], step do list[#list + 1] = rows:slice(3, left + 1, left + cells[2]) end
  end
  return core.cat(list, 1)
end

--- A pooling row by row, then column by column: {1,P,Q,F}.
local function slide_pool(pool, map, cells, step)
  return pool(pool(map, { 1, cells[2] }, { stride = { 1, step } }), { cells[1], 1 }, { stride = { step, 1 } })
end

local POOLS = { [nn.GlobalAvgPool] = F.avg_pool2d, [nn.GlobalMaxPool] = F.max_pool2d }

--- What the layer that ends the map does at each place, function(map, step) -> {1,P,Q,...}; nil where it can't slide.
local function sliding(item, map, cells)
  local pool = POOLS[reach.entry(POOLS, item) and getmetatable(item)]
  if pool then return function(of, step) return slide_pool(pool, of, cells, step) end end
  if is_plain(item, nn.Concat) then
    local parts = {}
    for i, one in item:items() do
      parts[i] = POOLS[getmetatable(one)] and sliding(one, map, cells)
      if not parts[i] then return nil end
    end
    return function(of, step)
      local pooled = {}
      for i, part in ipairs(parts) do pooled[i] = part(of, step) end
      return core.cat(pooled, 4)
    end
  end
  if is_plain(item, nn.Conv2d) then
    local same = item:clone()
    same.padding = 0
    local rows, columns = item.weight:size()
    if rows > cells[1] or columns > cells[2] then return nil end
    local probe = reach.uneven(map:shape()):to "f32"
    local want, got = item(probe), same(probe)
    if want:numel() ~= got:numel() or (want - got):abs():max():item() ~= 0 then return nil end -- it reads its padding
    return function(of, step)
      same.stride = step
      local p, q = (of:size(2) - cells[1]) // step + 1, (of:size(3) - cells[2]) // step + 1
      return same(of):slice(2, 1, p):slice(3, 1, q)
    end
  end
end

--- Windows of a map through what takes them, as a head that does not slide.
local function each_window(rest, cells)
  return function(of, step)
    local p, q = (of:size(2) - cells[1]) // step + 1, (of:size(3) - cells[2]) // step + 1
    local logits = rest(windows_of(of, cells, step))
    return logits:reshape(p, q, logits:numel() // (p * q))
  end
end

--- The head as function(map, step) -> logits {P,Q,K}, and whether it slides.
local function head_of(items, count, map, cells)
  local slide = items[count + 1] and sliding(items[count + 1], map, cells)
  local rest = sequence(items, count + (slide and 2 or 1), #items)
  if not slide then return each_window(rest, cells), false end
  local flat = items[count + 1](map):dim() == 2
  return function(of, step)
    local x = slide(of, step)
    local p, q = x:size(2), x:size(3)
    local logits = rest(flat and x:reshape(p * q, x:size(4)) or x:reshape(p * q, 1, 1, x:size(4)))
    return logits:reshape(p, q, logits:numel() // (p * q))
  end, true
end

-- -- both -------------------------------------------------------------------------------------------------------------

--- The same of a network in 8 bits.
local function split_quantized(model, size)
  local parts, why = quantized(model, size)
  if not parts then return nil, "in 8 bits " .. why end
  parts.slides = parts.slide ~= nil
  parts.head = parts.slides and function(of, step)
    local cells = parts.cells
    local p, q = (of:size(2) - cells[1]) // step + 1, (of:size(3) - cells[2]) // step + 1
    local x = parts.slide(of, step):slice(2, 1, p):slice(3, 1, q):contiguous()
    local logits = parts.rest(x:reshape(p * q, table.unpack(parts.takes)))
    return logits:reshape(p, q, logits:numel() // (p * q))
  end or each_window(parts.rest, parts.cells)
  return parts
end

local function split(model, size)
  if is_plain(model, Quantized) then return split_quantized(model, size) end
  if not is_plain(model, nn.Sequential) then
    return nil, ("the model is %s, not a Sequential: where its trunk ends is not known"):format(
      getmetatable(model).__name)
  end
  local items = items_of(model, {})
  local count, map = measure_trunk(items, size)
  local stride = size[1] // map:size(2)
  if count == 0 then return nil, "its first layer already ends the map" end
  if stride * map:size(2) ~= size[1] or stride * map:size(3) ~= size[2] then
    return nil, ("of %dx%d pixels its trunk leaves %dx%d places"):format(size[1], size[2], map:size(2), map:size(3))
  end
  local trunk = sequence(items, 1, count)
  local halo = halo_of(trunk, size, stride)
  if not halo then return nil, "a place of its feature map sees the whole image" end
  local cells = { map:size(2), map:size(3) }
  local head, slides = head_of(items, count, map, cells)
  return {
    trunk = trunk, head = head, stride = stride, halo = halo, offset = offset_of(trunk, size, map, stride),
    cells = cells, slides = slides,
  }
end

local known = setmetatable({}, { __mode = "k" }) -- of models

--- The parts of a model in evaluation for images {H,W,C}, or nil and why it has none.
--
--     trunk(x)            x {1,h,w,C}, h and w multiples of stride, -> its map {1,h/stride,w/stride,F}
--     head(map, step)     -> logits {P,Q,K}, of windows of the map that are `step` places apart
--     stride              pixels from one place of the map to the next
--     cells               {rows, columns} of the map of one image
--     halo                pixels around a place that it sees besides its own, a multiple of stride
--     offset              {rows, columns} in pixels from the middle of a place's own to that of the field it sees
--     slides              whether the head slides; else it is called for each window
return function(model, size)
  if not known[model] then known[model] = table.pack(core.no_grad(split, model, size)) end
  return table.unpack(known[model], 1, 2)
end
