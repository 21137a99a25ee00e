--- The two parts of a network in 8 bits (texres.nn.quantized) for scans: texres.scan.split for those in f32.
--
-- The trunk is what of its first section still gives a map, up to the one value that all later steps read. No weight
-- and no scale depends on the size of an image, so the same steps are programs for bands of other sizes, too. The map
-- is handed on in f32, which holds the bytes' values exactly; the head takes it back to the same bytes, and does for
-- each window in integers what it does for an image: pools slide over the map, what follows runs once for each window.
--
-- Where a convolution is done by Winograd's tiles, a place of the map depends a little on where in its tile it lies,
-- as the tile's weights are rounded each by itself, and a band's tiles don't lie as those of a patch. So a band gives
-- what patches with a margin give but for such roundings; bench/README.md says how far apart they are.

local core = require "texres.core"
local quantized = require "texres.nn.quantized"

--- The values that a step reads, a list.
local function reads(step) return step.inputs or { step.input, step.residual } end

-- -- where the trunk ends ---------------------------------------------------------------------------------------------

local function is_map(value) return #value.shape == 3 and value.shape[1] > 1 and value.shape[2] > 1 end

--- How many steps of a section are the trunk, whose map the next one reads first; nil and why there is none.
local function measure_trunk(section)
  local count = 0
  while count < #section.steps and is_map(section.values[section.steps[count + 1].output]) do count = count + 1 end
  if count == #section.steps then return nil, "layers in f32 follow before the map ends" end
  local map, made = section.steps[count + 1].input, {}
  if count < 2 or not map or not section.values[map].scale then return nil, "the first layer already ends the map" end
  for i = count + 1, #section.steps do
    for _, value in ipairs(reads(section.steps[i])) do
      if value ~= map and not made[value] then return nil, "a place of the feature map sees the whole image" end
    end
    made[section.steps[i].output] = true
  end
  return count, map
end

-- -- how far the trunk sees -------------------------------------------------------------------------------------------

--- The first and the last pixel that place 0 of a value sees along an axis, and how many pixels places are apart, from
-- those of what the step reads.
local function seen_by(step, fields, axis)
  local first, last, jump = math.huge, -math.huge, 1
  for _, value in ipairs(step.inputs or { step.input }) do
    local own = fields[value]
    first, last, jump = math.min(first, own.first), math.max(last, own.last), own.jump
  end
  if step.kernel then
    local before, along = step.padding[2 * axis - 1], (step.dilation and step.dilation[axis] or 1)
    first, last = first - before * jump, last + ((step.kernel[axis] - 1) * along - before) * jump
    jump = jump * step.stride[axis]
  end
  local residual = step.residual and fields[step.residual]
  if residual then first, last = math.min(first, residual.first), math.max(last, residual.last) end
  return { first = first, last = last, jump = jump }
end

--- The field of place 0 of the map: { first =, last =, jump = } along an axis.
local function field_of(section, count, map, axis)
  local fields = { { first = 0, last = 0, jump = 1 } }
  for i = 1, count do
    local step = section.steps[i]
    fields[step.output] = seen_by(step, fields, axis)
  end
  return fields[map]
end

-- -- the parts as programs --------------------------------------------------------------------------------------------

--- What a step with a window makes of {rows, columns}.
local function size_after(step, size)
  local after = {}
  for axis = 1, 2 do
    local along = step.dilation and step.dilation[axis] or 1
    local padded = size[axis] + step.padding[2 * axis - 1] + step.padding[2 * axis]
    after[axis] = (padded - along * (step.kernel[axis] - 1) - 1) // step.stride[axis] + 1
  end
  return after
end

--- A value as it is where a map has this size; nil: as it was.
local function sized(value, size)
  local shape = value.shape
  return { scale = value.scale, zero = value.zero, shape = size and { size[1], size[2], shape[#shape] } or shape }
end

local KEEPS_SIZE = { quantize = true, add = true, subtract = true, cat = true, multiply = true, lookup = true }
local TENSORS = { "weight", "factor", "shift", "table" }

local function with_numbers(step, number)
  local own = {}
  for key, value in pairs(step) do own[key] = value end
  own.input, own.residual, own.output = number[step.input], number[step.residual], number[step.output]
  if step.inputs then
    own.inputs = {}
    for k, value in ipairs(step.inputs) do own.inputs[k] = number[value] end
  end
  return own
end

--- Some steps of a section, by their place in it, as a section of its own and its tensors: it is given the value `from`
-- in f32, a map of this size (nil: as it was), and gives what the last of them makes in f32.
local function piece(section, tensors, list, from, size)
  local own, made = { values = { { shape = sized(section.values[from], size).shape } }, steps = {} }, {}
  local number, sizes = { [from] = 1 }, { [from] = size }
  local function add(step, value)
    own.values[#own.values + 1] = value
    own.steps[#own.steps + 1] = step
    own.output = #own.values
    return #own.values
  end
  if section.values[from].scale then
    number[from] = add({ op = "quantize", input = 1, output = 2 }, sized(section.values[from], size))
  end
  for _, one in ipairs(list) do
    local step, before = one.step, sizes[reads(one.step)[1]]
    if before then sizes[step.output] = step.kernel and size_after(step, before) or KEEPS_SIZE[step.op] and before end
    number[step.output] = #own.values + 1
    add(with_numbers(step, number), sized(section.values[step.output], sizes[step.output]))
    for _, name in ipairs(TENSORS) do
      made[("step.%d.%s"):format(#own.steps, name)] = tensors[("step.%d.%s"):format(one.index, name)]
    end
  end
  if own.values[own.output].scale then
    add({ op = "dequantize", input = own.output, output = own.output + 1 }, { shape = own.values[own.output].shape })
  end
  own.input = own.values[1].shape
  return own, made
end

--- Steps first..last of a section for piece.
local function steps_of(section, first, last)
  local list = {}
  for i = first, last do list[#list + 1] = { index = i, step = section.steps[i] } end
  return list
end

local MOST = 12 -- sizes whose programs are kept: borders and the middle, tiles of two widths

--- Steps of a section as function(x, kind) for x {1,h,w,C} of any size: `steps_for(kind)` gives them.
local function for_all_sizes(section, tensors, from, steps_for)
  local programs, held = {}, 0
  return function(x, kind)
    local size = { x:size(2), x:size(3) }
    local key = ("%d %d %d"):format(size[1], size[2], kind or 0)
    if not programs[key] then
      if held == MOST then programs, held = {}, 0 end
      programs[key], held = core.quantized_program(piece(section, tensors, steps_for(kind), from, size)), held + 1
    end
    return programs[key]:run(x:to "f32":contiguous())
  end
end

-- -- the head ---------------------------------------------------------------------------------------------------------

local POOLS = { global_avg_pool = "avg_pool", global_max_pool = "max_pool" }

--- A step that makes one place of the whole map as one that slides over it; nil for any other.
local function slid(step, map, cells, stride)
  if step.input ~= map then return nil end
  local way = { stride = { stride, stride }, padding = { 0, 0, 0, 0 } }
  if POOLS[step.op] then
    way.op, way.kernel = POOLS[step.op], cells
    if way.op == "avg_pool" then way.count_include_pad = false end
  elseif step.op ~= "conv" or step.kernel[1] > cells[1] or step.kernel[2] > cells[2] or step.residual
    or math.max(table.unpack(step.padding)) > 0 or step.dilation[1] * step.dilation[2] > 1 then
    return nil
  end
  for key, value in pairs(step) do
    if way[key] == nil then way[key] = value end
  end
  return way
end

--- How many steps after the trunk slide: those that read the map, and what joins them.
local function count_sliding(section, count, map, cells)
  local made, slides, last = {}, 0, map
  for i = count + 1, #section.steps do
    local step = section.steps[i]
    local joins = step.op == "cat"
    for _, value in ipairs(reads(step)) do joins = joins and made[value] end
    if not joins and not slid(step, map, cells, 1) then break end
    made[step.output], slides, last = true, slides + 1, step.output
  end
  for i = count + slides + 1, #section.steps do -- only the last may be read further on
    for _, value in ipairs(reads(section.steps[i])) do
      if value ~= last and (value == map or made[value]) then return 0, map end
    end
  end
  return slides, last
end

--- What gives, of a map, the value that the rest of the head reads for each window: function(map, step) ->
-- {1,P,Q,F}, or more where what slides is smaller than a window.
local function slide_of(section, tensors, count, slides, map, cells)
  return for_all_sizes(section, tensors, map, function(stride)
    local list = steps_of(section, count + 1, count + slides)
    for _, one in ipairs(list) do one.step = slid(one.step, map, cells, stride) or one.step end
    return list
  end)
end

-- -- both -------------------------------------------------------------------------------------------------------------

--- How far the trunk sees beside a place's own pixels, and {rows, columns} from their middle to that of what it sees.
local function reach_of(section, count, map, stride)
  local halo, offset = 0, {}
  for axis = 1, 2 do
    local field = field_of(section, count, map, axis)
    halo = math.max(halo, -field.first, field.last - (stride - 1))
    offset[axis] = (field.first + field.last) / 2 - (stride - 1) / 2
  end
  return (halo + stride - 1) // stride * stride, offset
end

--- What follows in a network on the value `from`, which is made by step `last` of its first section, as a network.
local function rest_of(model, from, last)
  local description, tensors = model:parts()
  local sections, own = table.move(description.sections, 1, #description.sections, 1, {}),
    table.move(tensors, 1, #tensors, 1, {})
  sections[1], own[1] = piece(sections[1], own[1], steps_of(sections[1], last + 1, #sections[1].steps), from)
  return quantized.of(description.method, sections, own, model.items)
end

--- The parts of a Quantized, or nil and why it has none: trunk, cells, stride, halo, offset (texres.scan.split), and
--
--     slide(map, step)    -> {1,P,Q,F} at least, of windows of the map; nil where the head can't slide
--     rest(x)             -> logits of {N, takes...}, what slide gives for N windows; without it of windows of the map
return function(model, size)
  local description, tensors = model:parts()
  local section, own = description.sections[1], tensors[1]
  if section.floats then return nil, "the first layers are in f32" end
  local count, map = measure_trunk(section)
  if not count then return nil, map end
  local cells = { section.values[map].shape[1], section.values[map].shape[2] }
  local stride = size[1] // cells[1]
  if stride * cells[1] ~= size[1] or stride * cells[2] ~= size[2] then
    return nil, ("the trunk leaves %dx%d places of %dx%d pixels"):format(cells[1], cells[2], size[1], size[2])
  end
  local trunk = steps_of(section, 1, count)
  local slides, last = count_sliding(section, count, map, cells)
  local halo, offset = reach_of(section, count, map, stride)
  return {
    trunk = for_all_sizes(section, own, 1, function() return trunk end),
    slide = slides > 0 and slide_of(section, own, count, slides, map, cells) or nil,
    rest = rest_of(model, last, count + slides), takes = section.values[last].shape,
    cells = cells, stride = stride, halo = halo, offset = offset,
  }
end
