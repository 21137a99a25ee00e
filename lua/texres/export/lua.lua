--- A classifier as one module of pure Lua 5.4: classifier:export_lua("fabric.lua"), for hosts without a compiler.
--
--     local fabric = require "fabric"
--     local class, scores = fabric.classify(bytes)     -- class from 1 on; bytes: a text, or a list of 0..255
--     print(fabric.classes[class], fabric.probabilities(scores)[class], fabric.verdict and fabric.verdict(scores))
--
-- Weights are in lines of letters that four bytes at a time are written with. Of a network in f32 sums are in double
-- precision, so that scores lie within 1e-4 of the largest of those of the library; a quantized one gives the library's
-- bits. `lua5.4 fabric.lua --test` compares them.
-- @module texres.export.lua

local core = require "texres.core"
local lua_bytes = require "texres.export.lua_bytes"
local lua_float = require "texres.export.lua_float"
local lua_text = require "texres.export.lua_text"
local option = require "texres.options"
local plain = require "texres.plain"
local runtime = require "texres.export.lua_runtime"
local subject = require "texres.export.subject"

-- -- the whole --------------------------------------------------------------------------------------------------------

local function point_text(point)
  if not point then return "nil" end
  local band = point.band or { low = point.threshold, high = point.threshold }
  local low, high = lua_text.number(band.low), lua_text.number(band.high)
  return ("{ good = %d, low = %s, high = %s }"):format(point.good, low, high)
end

local function tests_text(tests)
  local parts = {}
  for i, test in ipairs(tests) do
    parts[i] = ("  { label = %d, verdict = %q, scores = %s, image = [[\n%s]] },"):format(test.answer.label,
      test.answer.verdict or "", lua_text.list(test.logits), lua_text.letters(string.char(table.unpack(test.bytes))))
  end
  return "{\n" .. table.concat(parts, "\n") .. "\n}"
end

--- Writes a classifier as a module of pure Lua 5.4. Options: images, of the self-test, operating_point and
-- note, as for export_c. Raises for a layer that it has no function for; true, or nil and a message where the file
-- can't be written.
local function export(path, classifier, options)
  option.check("export_lua", "the path", path, option.PATH)
  local one = subject.of(classifier, option.read("export_lua", options, subject.KNOWN), "export_lua")
  local net = (one.quantized and lua_bytes or lua_float).write(one)
  local name = rawget(one.model, "name") or getmetatable(one.model).__name
  local h, w, c = table.unpack(one.input)
  local text = lua_text.fill(runtime, {
    VERSION = core._VERSION, NETWORK = ("%s, %s parameters"):format(plain.visible_name(name),
      plain.grouped(one.model:num_parameters())),
    NOTE = one.note and ("\n-- From: " .. plain.visible_name(one.note)) or "", NUMBERS = net.numbers,
    HEIGHT = h, WIDTH = w, CHANNELS = c, CLASSES = lua_text.list(one.classes),
    TEMPERATURE = lua_text.number(one.temperature), POINT = point_text(one.point), FUNCTIONS = net.functions,
    STEPS = net.steps, INPUT = net.input, OUTPUT = net.output, TOLERANCE = net.tolerance,
    TESTS = tests_text(one.tests), TESTS_FROM = plain.visible_name(one.tests_from),
    ALPHABET = ("%q"):format(lua_text.ALPHABET),
  })
  return core.write_file(path, { text })
end

return { export = export }
