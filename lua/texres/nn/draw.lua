--- module:draw(path, shape): the network as a picture (SVG), from top to bottom, with the skip connections visible.
--
-- Layers are boxes, heavy ones with a stronger rim; layers of a Sequential that are one convolution with what follows
-- share a box. Beside a box stands the shape that it makes, where the `shape` of an input is given. A Residual is its
-- body, a line around it, and a plus. To a path that ends in .dot goes the same network as a graph for Graphviz
-- (texres.nn.dot); other formats are not written.

local container = require "texres.nn.container"
local core = require "texres.core"
local dot = require "texres.nn.dot"
local files = require "texres.files"
local graph = require "texres.nn.graph"
local html = require "texres.report.html"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local SqueezeExcitation = require("texres.nn.block").SqueezeExcitation

local fill = html.fill

local BOX, LINE, GAP, SIDE, LETTER = 250, 17, 22, 100, 7

--- The shape that each module last made of an input, as text; of images, without N.
local function shapes_of(self, shape)
  local made = {}
  if not shape then return made end
  module.watch(function(m, _, _, outputs)
    local out = outputs[1]
    if not core.is_tensor(out) then return end
    local sizes = out:shape()
    made[m] = table.concat(sizes, " x ", 2)
  end, function() module.try_on_zeros(self, shape) end)
  return made
end

local function is_leaf(m) return #m:children() == 0 end

--- Lines of text in a box, with the shape that comes of it beside.
local function text_box(lines, is_heavy, shape)
  local width = BOX
  for _, line in ipairs(lines) do width = math.max(width, #line * LETTER + 20) end
  return { width = width, height = #lines * LINE + 10, draw = function(out, x, y)
    out('<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}" rx="5"/>', { class = is_heavy and "box heavy"
      or "box", x = x - width / 2, y = y, w = width, h = #lines * LINE + 10 })
    for i, line in ipairs(lines) do
      out('<text class="label" x="{x}" y="{y}" text-anchor="middle">{text}</text>', { x = x, y = y + i * LINE + 1,
        text = line })
    end
    if shape then
      out('<text x="{x}" y="{y}">{text}</text>', { x = x + width / 2 + 6, y = y + #lines * LINE + 6, text = shape })
    end
  end }
end

--- Layers one below the other in a box.
local function box(layers, made)
  local lines = {}
  for i, m in ipairs(layers) do lines[i] = plain.visible_name(m:describe()) end
  return text_box(lines, layers[1]:num_parameters() > 0, made[layers[#layers]])
end

-- What stands between the values that a step joins.
local BETWEEN = { sum = " + ", cat = ", ", multiply = " * ", subtract = " - " }

--- A Graph, whose values may cross: a line for each step, "3 = ReLU() of 2", where 1 is what it gets.
local function steps(m, made)
  local items, lines, shape = {}, {}, nil
  for i, item in m:items() do items[i] = item end
  for i, step in ipairs(m:constructor_arguments()[1].steps) do
    local text
    if step.item then
      text = ("%s of %d"):format(plain.visible_name(items[step.item]:describe()), step.value)
    else
      local how = graph.how_joined(step)
      text = table.concat(step[how], BETWEEN[how])
    end
    lines[i], shape = ("%d = %s"):format(i + 1, text), step.item and made[items[step.item]]
  end
  return text_box(lines, m:num_parameters() > 0, shape)
end

local function wire(out, x1, y1, x2, y2)
  out('<path class="wire" d="M{x1} {y1} L{x2} {y2}"/>', { x1 = x1, y1 = y1, x2 = x2, y2 = y2 })
end

local part_of

--- Parts one below the other, joined by wires.
local function column(parts)
  local width, height = 0, -GAP
  for _, part in ipairs(parts) do width, height = math.max(width, part.width), height + part.height + GAP end
  return { width = width, height = math.max(height, 0), draw = function(out, x, y)
    for i, part in ipairs(parts) do
      if i > 1 then wire(out, x, y - GAP, x, y) end
      part.draw(out, x, y)
      y = y + part.height + GAP
    end
  end }
end

--- The parts of a list of modules; runs of a convolution or linear layer and the layers behind it become one box.
local function parts_of(children, made)
  local parts, run = {}, {}
  local function flush()
    if #run > 0 then parts[#parts + 1] = box(run, made) end
    run = {}
  end
  for _, m in ipairs(children) do
    if not is_leaf(m) then
      flush()
      parts[#parts + 1] = part_of(m, made)
    else
      if #run > 0 and (m:num_parameters() > 0 and not m.running_mean or #run == 3) then flush() end
      run[#run + 1] = m
    end
  end
  flush()
  return parts
end

local function items_of(m)
  local list = {}
  for _, child in ipairs(m:children()) do list[#list + 1] = child[2] end
  return list
end

--- A Residual: its body in the middle, the skip on the right (with the shortcut's layers on it), the plus below.
local function residual(m, made)
  local body = {}
  for _, child in ipairs(m:children()) do
    if child[2] ~= m.shortcut and child[2] ~= m.activation then body[#body + 1] = child[2] end
  end
  local inner = column(parts_of(body, made))
  local shortcut = m.shortcut and column(parts_of(is_leaf(m.shortcut) and { m.shortcut } or items_of(m.shortcut), made))
  local below = m.activation and box({ m.activation }, made)
  local around = SIDE + (shortcut and shortcut.width + 40 or 0)
  local tall = math.max(inner.height, shortcut and shortcut.height or 0)
  return { width = inner.width + 2 * around, height = tall + 60 + (below and below.height + GAP or 0),
    draw = function(out, x, y)
      wire(out, x, y, x, y + 16)
      inner.draw(out, x, y + 16)
      wire(out, x, y + 16 + inner.height, x, y + tall + 28)
      local side = x + inner.width / 2 + SIDE - 12 + (shortcut and shortcut.width / 2 or 0)
      local low = y + tall + 40
      if shortcut then
        out('<path class="skip" d="M{x} {y} H{s} V{a}"/>', { x = x, y = y + 4, s = side, a = y + 16 })
        shortcut.draw(out, side, y + 16)
        out('<path class="skip" d="M{s} {b} V{l} H{p}"/>', { s = side, b = y + 16 + shortcut.height, l = low,
          p = x + 11 })
      else
        out('<path class="skip" d="M{x} {y} H{a} Q{s} {y} {s} {c} V{d} Q{s} {l} {a} {l} H{p}"/>', { x = x, y = y + 4,
          a = side - 12, s = side, c = y + 16, d = low - 12, l = low, p = x + 11 })
      end
      out('<circle class="box" cx="{x}" cy="{y}" r="11"/>'
        .. '<text class="label" x="{x}" y="{t}" text-anchor="middle">+</text>', { x = x, y = low, t = low + 4 })
      if below then
        wire(out, x, low + 11, x, y + tall + 60 + GAP)
        below.draw(out, x, y + tall + 60 + GAP)
      else
        wire(out, x, low + 11, x, y + tall + 60)
      end
    end }
end

local JOINED = { [container.Concat] = "", [container.Multiply] = "&#215;", [container.Subtract] = "&#8722;" }

--- Branches side by side, with the sign of what joins them below, if it has one.
local function branches(m, made)
  local parts, width, height = {}, 0, 0
  for i, child in ipairs(items_of(m)) do
    parts[i] = part_of(child, made)
    width, height = width + parts[i].width + 100, math.max(height, parts[i].height)
  end
  return { width = width, height = height + 40, draw = function(out, x, y)
    local at = x - width / 2
    for _, part in ipairs(parts) do
      local middle = at + part.width / 2 + 20
      wire(out, x, y, middle, y + 20)
      part.draw(out, middle, y + 20)
      wire(out, middle, y + 20 + part.height, x, y + height + 40)
      at = at + part.width + 100
    end
    local sign = JOINED[getmetatable(m)]
    if sign ~= "" then
      out('<circle class="box" cx="{x}" cy="{y}" r="11"/><text class="label" x="{x}" y="{t}" text-anchor="middle">'
        .. sign .. "</text>", { x = x, y = y + height + 40, t = y + height + 44 })
    end
  end }
end

function part_of(m, made)
  local class = getmetatable(m)
  if class == container.Residual then return residual(m, made) end
  if class == graph.Graph then return steps(m, made) end
  if JOINED[class] then return branches(m, made) end
  if is_leaf(m) or class == SqueezeExcitation then return box({ m }, made) end
  return column(parts_of(items_of(m), made))
end

local draw = {}

--- The picture as SVG, to stand in a page; `shape` of an input is optional.
function draw.svg(self, shape)
  local whole = part_of(self, shapes_of(self, shape))
  local parts = {}
  local width, height = math.ceil(whole.width + 260), math.ceil(whole.height + 40)
  whole.draw(function(text, values)
    for name, value in pairs(values) do
      if type(value) == "number" then values[name] = plain.format("%.1f", value) end
    end
    parts[#parts + 1] = fill(text, values)
  end, width / 2, 20)
  return fill([[<svg class="drawing" xmlns="{ns}" viewBox="0 0 {width} {height}" width="{width}" role="img"
 aria-label="the layers of {name}" font-size="12">
{_parts}
</svg>]], { width = width, height = height, name = rawget(self, "name") or getmetatable(self).__name,
    ns = "http://www.w3.org/2000/svg", _parts = table.concat(parts, "\n") })
end

local STYLE = [[<style>text { font: 12px sans-serif; fill: #555; } .label { fill: #111; }
.box { fill: #fff; stroke: #888; } .heavy { stroke: #1d5fc0; stroke-width: 1.5; }
.wire { fill: none; stroke: #888; stroke-width: 1.5; }
.skip { fill: none; stroke: #b4490a; stroke-width: 2.5; }</style>]]

local FORMATS = { svg = true, dot = true }

--- Writes the picture, or to a path that ends in .dot the graph; true, or nil and a message.
function draw.write(self, path, shape)
  option.check("draw", "path", path, option.PATH)
  local ending = path:match "%.([^./]+)$"
  if ending and not FORMATS[ending] then
    raise('draw: path is %s, wanted one that ends in .svg (a picture) or .dot (a graph for Graphviz)',
      option.shown(path))
  end
  if shape ~= nil and (type(shape) ~= "table" or getmetatable(shape)) then
    raise("draw: the shape is %s, wanted that of an input such as {1,64,64,1}", option.shown(shape))
  end
  if ending == "dot" then return files.write(path, dot.text(self, shapes_of(self, shape))) end
  local svg = draw.svg(self, shape)
  return files.write(path, (svg:gsub(">\n", ">\n" .. STYLE .. "\n", 1)))
end

return draw
