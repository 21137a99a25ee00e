--- What collects the parts of a network in C: calls, arrays, and which functions are used.

local c_text = require "texres.export.c_text"
local subject = require "texres.export.subject"

local Writer = {}
Writer.__index = Writer

local BYTES = { float = 4, int32_t = 4, int16_t = 2, int8_t = 1, uint8_t = 1 }

--- For values of these shapes: shapes[value] = {H,W,C} or {F}.
function Writer.new(shapes)
  return setmetatable({ shapes = shapes, used = {}, calls = {}, arrays = {}, constants = 0 }, Writer)
end

--- Notes that a function is called.
function Writer:use(name) self.used[name] = true end

--- Adds a line to the body of classify.
function Writer:call(format, ...) self.calls[#self.calls + 1] = "  " .. format:format(...) end

--- Adds an array of numbers; returns its name.
function Writer:array(kind, name, list)
  self.arrays[#self.arrays + 1] = kind == "float" and c_text.floats(name, list) or c_text.integers(kind, name, list)
  self.constants = self.constants + BYTES[kind] * #list
  return name
end

--- The elements of a value.
function Writer:count(value) return subject.count(self.shapes[value]) end

--- Its pixels, and its channels.
function Writer:image(value)
  local shape = self.shapes[value]
  local channels = shape[#shape]
  return self:count(value) // channels, channels
end

-- A step in words: "convolution 3x3, stride 2, ReLU".
local function described(step)
  local parts = { (step.op:gsub("_", " ")) }
  if step.op == "conv" then
    parts[1] = ("convolution %dx%d"):format(table.unpack(step.kernel or step.weight:shape()))
    if step.stride[1] > 1 then parts[#parts + 1] = ("stride %d"):format(step.stride[1]) end
    if step.groups > 1 then parts[#parts + 1] = ("%d groups"):format(step.groups) end
    parts[#parts + 1] = step.method == "winograd" and "Winograd" or nil
  elseif step.op == "activation" then
    parts[1] = step.kind
  end
  if step.residual and not step.residual_last then parts[#parts + 1] = ("+ v%d"):format(step.residual) end
  if step.relu then parts[#parts + 1] = "ReLU" end
  if step.residual_last then parts[#parts + 1] = ("+ v%d"):format(step.residual) end
  return table.concat(parts, ", ")
end

--- What a step does in words and shapes, as a comment above its call.
function Writer:comment(step)
  self:call("/* %s: %s -> %s */", c_text.comment(described(step)),
    c_text.shape(self.shapes[step.input or step.inputs[1]]), c_text.shape(self.shapes[step.output]))
end

return Writer
