--- A classifier as one module of pure Lua 5.4: classifier:export_lua("fabric.lua"), for hosts without a compiler.
--
--     local fabric = require "fabric"
--     local class, scores = fabric.classify(bytes)     -- class from 1 on; bytes: a text, or a list of 0..255
--     print(fabric.classes[class], fabric.probabilities(scores)[class], fabric.verdict and fabric.verdict(scores))
--
-- Weights are f32, in lines of letters that four bytes at a time are written with; sums are in double precision, so
-- that scores lie within 1e-4 of the largest of those of the library. `lua5.4 fabric.lua --test` compares them.
-- @module texres.export.lua

local core = require "texres.core"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local runtime = require "texres.export.lua_runtime"
local subject = require "texres.export.subject"

-- -- weights as text --------------------------------------------------------------------------------------------------

local LINE = 110

-- Five letters for each four bytes.
local function letters(bytes)
  local list = {}
  bytes = bytes .. ("\0"):rep(-#bytes % 4)
  for at = 1, #bytes, 4 do
    local n = string.unpack("<I4", bytes, at)
    local group = {}
    for i = 5, 1, -1 do
      group[i] = runtime.ALPHABET:sub(n % 85 + 1, n % 85 + 1)
      n = n // 85
    end
    list[#list + 1] = table.concat(group)
  end
  return (table.concat(list):gsub(("."):rep(LINE), "%0\n"))
end

local function floats(t)
  local list = t:detach():to("f32"):contiguous():reshape(-1):totable()
  for i, value in ipairs(list) do list[i] = string.pack("<f", value) end
  return ("{ %d, [[\n%s]] }"):format(#list, letters(table.concat(list)))
end

-- -- steps as tables --------------------------------------------------------------------------------------------------

local function number(value) return plain.format("%.17g", value) end

local function list_text(list)
  local parts = {}
  for i, value in ipairs(list) do parts[i] = type(value) == "string" and ("%q"):format(value) or number(value) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function value_text(value)
  if core.is_tensor(value) then return floats(value) end
  if type(value) == "table" then return list_text(value) end
  if type(value) == "number" then return number(value) end
  return ("%q"):format(value)
end

-- A step as the source of a table, with the shapes of what it reads and makes.
local function step_text(step, program)
  local own = {}
  for name, value in pairs(step) do own[name] = value end
  own.from, own.to = program.shapes[step.input or step.inputs[1]], program.shapes[step.output]
  own.kernel = step.op == "conv" and { step.weight:size(1), step.weight:size(2) } or step.kernel
  local channels = {}
  for i, value in ipairs(step.inputs or {}) do
    local shape = program.shapes[value]
    channels[i] = shape[#shape]
  end
  own.channels = step.inputs and channels
  local parts = {}
  for _, name in ipairs(plain.names(own)) do
    local value = own[name]
    if value then parts[#parts + 1] = ("%s = %s"):format(name, value_text(value)) end
  end
  return "  { " .. table.concat(parts, ", ") .. " },"
end

-- -- the whole --------------------------------------------------------------------------------------------------------

local function point_text(point)
  if not point then return "nil" end
  return ("{ good = %d, low = %s, high = %s }"):format(point.good,
    number(point.band and point.band.low or point.threshold), number(point.band and point.band.high or point.threshold))
end

local function tests_text(tests)
  local parts = {}
  for i, test in ipairs(tests) do
    parts[i] = ("  { label = %d, verdict = %q, scores = %s, image = [[\n%s]] },"):format(test.answer.label,
      test.answer.verdict or "", list_text(test.logits), letters(string.char(table.unpack(test.bytes))))
  end
  return "{\n" .. table.concat(parts, "\n") .. "\n}"
end

--- Writes a classifier, in f32, as a module of pure Lua 5.4. Options: images, of the self-test, operating_point and
-- note, as for export_c. Raises for a layer that it has no function for; true, or nil and a message where the file
-- can't be written.
local function export(path, classifier, options)
  option.check("export_lua", "the path", path, option.PATH)
  local one = subject.of(classifier, option.read("export_lua", options, subject.KNOWN), "export_lua")
  if one.quantized then raise "export_lua: Lua is not faster in 8 bits: export the network in f32" end
  local steps = {}
  for i, step in ipairs(one.program.steps) do steps[i] = step_text(step, one.program) end
  local name, n = rawget(one.model, "name") or getmetatable(one.model).__name, one.normalization
  local h, w, c = table.unpack(one.input)
  local text = runtime.text:gsub("@([%u_]+)@", {
    VERSION = core._VERSION, NETWORK = ("%s, %s parameters"):format(plain.visible_name(name),
      plain.grouped(one.model:num_parameters())),
    NOTE = one.note and ("\n-- From: " .. plain.visible_name(one.note)) or "",
    HEIGHT = h, WIDTH = w, CHANNELS = c, CLASSES = list_text(one.classes), SCALE = number(n.scale),
    MEAN = list_text(n.mean), FACTOR = list_text(n.factor), TEMPERATURE = number(one.temperature),
    POINT = point_text(one.point), STEPS = table.concat(steps, "\n"), OUTPUT = one.program.output,
    TESTS = tests_text(one.tests), TESTS_FROM = plain.visible_name(one.tests_from),
    ALPHABET = ("%q"):format(runtime.ALPHABET),
  })
  return core.write_file(path, { text })
end

return { export = export }
