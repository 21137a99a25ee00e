--- A network as a graph in DOT, the language of Graphviz: model:draw "net.dot", then dot -Tpdf net.dot >net.pdf.
--
-- A node for every layer, in the colour of the drawing, and one for each sum or joining of channels; an edge for every
-- value, with the shape that the layer makes where it is known. What a module with a forward of its own does inside is
-- not seen: it is one node.

local plain = require "texres.plain"
local plan = require "texres.nn.plan"

local dot = {}

local function quoted(text) return '"' .. plain.visible_name(text):gsub('[\\"]', "\\%0") .. '"' end

--- The steps of a network; of a module that is no container itself as the only one.
local function steps_of(self)
  if not plan.is_planned(self) then return { { item = self, input = 1, output = 2 } }, 2 end
  local traced = plan.trace(self, plan.is_planned)
  return traced.steps, traced.output
end

--- A node; name and layer stand in one line each.
local function node(step, name)
  local item = step.item
  if not item then return ("  v%d [label=%s, shape=circle]"):format(step.output, quoted(plan.describe(step))) end
  local label = quoted(item:describe())
  if name and name ~= "" then label = quoted(name):sub(1, -2) .. "\\n" .. label:sub(2) end
  return ("  v%d [label=%s%s]"):format(step.output, label, item:num_parameters() > 0 and ", color=\"#1d5fc0\"" or "")
end

--- The graph as text; `made`: the shape that each module makes, as text, as far as it is known.
function dot.text(self, made)
  local names, shapes = {}, {}
  for name, m in self:named_modules() do names[m] = name end
  local lines = {
    ("digraph %s {"):format(quoted(rawget(self, "name") or getmetatable(self).__name)),
    '  node [shape=box, style=rounded, fontname="sans-serif"]', '  edge [fontname="sans-serif"]',
    '  v1 [label="input", shape=plain]',
  }
  local steps, output = steps_of(self)
  local function edge(from, to)
    local label = shapes[from] and (" [label=%s]"):format(quoted(shapes[from])) or ""
    lines[#lines + 1] = ("  v%d -> %s%s"):format(from, to, label)
  end
  for _, step in ipairs(steps) do
    lines[#lines + 1] = node(step, names[step.item])
    for _, value in ipairs(plan.inputs_of(step)) do edge(value, ("v%d"):format(step.output)) end
    shapes[step.output] = step.item and made[step.item] or step.sum and shapes[step.input] or nil
  end
  lines[#lines + 1] = '  output [shape=plain]'
  edge(output, "output")
  lines[#lines + 1] = "}\n"
  return table.concat(lines, "\n")
end

return dot
