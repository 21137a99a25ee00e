--- A classifier as a module of pure Lua: it gives what the library gives.
local tr = require "texres"
local cases = require "spec.export_cases"
local support = require "spec.support"
local core = require "texres.core"
local input = require "texres.input"
local nn = tr.nn

local folder = support.folder()

local AWKWARD = { "good", "a]]b", 'quo"te\\', "größer", "line\nbreak" }

local function textile(width, head)
  return cases.textile(width, head, { normalization = { mean = 0.4, std = 0.2 } })
end

local function logits_of(one, images)
  return core.no_grad(function() return one.model(input.of(one.model):batch(images, "spec")):totable() end)
end

local function assert_same(one, net, count)
  local images = cases.noise(one.input, count)
  local logits = logits_of(one, images)
  for i, answer in ipairs(one:predict(images)) do
    local bytes = images:select(1, i):reshape(-1):to("f32"):totable()
    local class, scores = net.classify(bytes)
    assert.equal(answer.label, class)
    local most = 1
    for _, own in ipairs(logits[i]) do most = math.max(most, math.abs(own)) end
    for k, own in ipairs(logits[i]) do assert.near(own, scores[k], 1e-4 * most) end
    for k, p in ipairs(net.probabilities(scores)) do assert.near(answer.probabilities[k], p, 1e-4) end
    if answer.verdict then
      assert.equal(answer.verdict, net.verdict(scores))
      assert.near(answer.defect_score, net.defect_score(scores), 1e-5)
    end
    for b, byte in ipairs(bytes) do bytes[b] = string.char(math.tointeger(byte)) end
    assert.same({ class, scores }, { net.classify(table.concat(bytes)) })
  end
end

describe("a classifier as a Lua module", function()
  it("gives what the library gives", function()
    for _, one in ipairs { cases.all_layers(AWKWARD), textile(4, "mean_max"), textile(3, "conv") } do
      local path = folder .. "/net.lua"
      assert(one:export_lua(path))
      local net = dofile(path)
      assert.same(one.classes, net.classes)
      assert.is_nil(net.verdict)
      assert_same(one, net, 3)
    end
  end)

  it("gives the library's bits of a quantized one", function()
    for name, one in pairs {
      all = cases.integer_layers(AWKWARD), w16 = textile(16, "conv"), w3 = textile(3, "mean_max"),
    } do
      local small, path = cases.quantized(one), folder .. "/bytes.lua"
      assert(small:export_lua(path, { images = cases.noise(one.input, 1) }))
      local net, images = dofile(path), cases.noise(one.input, name == "all" and 4 or 1)
      for i, logits in ipairs(logits_of(small, images)) do
        local class, scores = net.classify(images:select(1, i):reshape(-1):to("f32"):totable())
        assert.same(logits, scores)
        assert.equal(small:predict(images:select(1, i)).label, class)
      end
    end
    local text = support.read_file(folder .. "/bytes.lua")
    support.write_file(folder .. "/bytes.lua", (text:gsub("scores = { %-?%d", "%09")))
    local passed, said = support.run { support.lua, folder .. "/bytes.lua", "--test" }
    assert.is_false(passed)
    assert.matches("FAIL\n$", said)
  end)

  it("knows the operating point", function()
    local one = textile(4, "gap")
    local scores, point = {}, cases.point(0.5)
    one:set_operating_point(point)
    for i, answer in ipairs(one:predict(cases.noise(one.input, 9))) do scores[i] = answer.defect_score end
    table.sort(scores)
    point.band = { low = 0.5 * (scores[3] + scores[4]), high = 0.5 * (scores[6] + scores[7]), share = 0.3 }
    one:set_operating_point(point)
    assert(one:export_lua(folder .. "/point.lua"))
    assert_same(one, dofile(folder .. "/point.lua"), 9)
  end)

  it("tests itself, runs alone, and says what is no image", function()
    local path = folder .. "/self.lua"
    assert(cases.all_layers(AWKWARD):export_lua(path, { note = "run 7" }))
    local ok, told = support.run { "env", "-u", "LUA_PATH", "-u", "LUA_CPATH", support.lua, path, "--test" }
    assert.is_true(ok, told)
    assert.matches("image 3: .-: pass\npass\n$", told)
    local net = dofile(path)
    assert.same({ nil, "an image of 198 bytes is wanted" }, { net.classify "short" })
    assert.same({ nil, "an image of 198 bytes is wanted" }, { net.classify() })
    local text = support.read_file(path)
    assert.is_truthy(text:find("-- From: run 7", 1, true))
    support.write_file(path, (text:gsub("label = %d", "label = 99")))
    local passed, said = support.run { support.lua, path, "--test" }
    assert.is_false(passed)
    assert.matches("FAIL\n$", said)
  end)

  it("is written by the command", function()
    assert(textile(2, "gap"):save(folder .. "/net.safetensors"))
    local status, told, problem = support.texres("export", "lua", folder .. "/net.safetensors", folder .. "/cmd.lua")
    assert.same({ 0, "" }, { status, problem })
    assert.matches("network: .*cmd.lua\ntest it: lua5.4 .*cmd.lua %-%-test", told)
    assert.equal(6, #dofile(folder .. "/cmd.lua").classes)
    local odd = folder .. "/it's $(1).lua"
    status, told = support.texres("export", "lua", folder .. "/net.safetensors", odd)
    assert.equal(0, status)
    local passed, said = support.run { "sh", "-c", support.lua .. told:match "test it: lua5.4( [^\n]+)" }
    assert.is_true(passed, said)
  end)

  it("refuses what it can't hold", function()
    local one = cases.of(nn.Sequential { { up = nn.Upsample(2) }, nn.GlobalAvgPool() }, { input = { 8, 8, 1 } })
    assert.error_matches(function() one:export_lua(folder .. "/no.lua") end, "export_lua: the layer up %(Upsample")
    assert.error_matches(function() textile(2, "gap"):export_lua(folder .. "/no.lua", { prefix = "x" }) end,
      "export_lua: unknown option 'prefix'")
    local written, message = textile(2, "gap"):export_lua(folder .. "/missing/x.lua")
    assert.is_nil(written)
    assert.matches("missing/x.lua", message)
  end)
end)
