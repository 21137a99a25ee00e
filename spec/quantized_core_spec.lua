--- Networks in 8 bits as the core runs them: what plain Lua makes of them, bit for bit, whatever the instruction set,
-- threads and batch; and descriptions that lie.
local core = require "texres.core"
local tr = require "texres"
local cases = require "spec.quantized_cases"
local support = require "spec.support"

local function floats_of(description, tensors, images)
  return core.quantized_program(description, tensors):run(images):reshape(-1):totable()
end

describe("a network in 8 bits", function()
  for _, case in ipairs(cases.networks) do
    it("is computed as plain Lua does: " .. case[1], function()
      local _, description, tensors = table.unpack(case)
      local images = cases.images(description, 2)
      local expected = cases.naive(description, tensors, images)
      assert.same(expected, floats_of(description, tensors, images))
      local different = {}
      for _, v in ipairs(expected) do different[v] = true end
      assert.is_not_nil(next(different, next(different))) -- else it would say nothing
    end)
  end

  it("has the shape of its last value", function()
    local description, tensors = cases.find "flatten and dense layers"
    assert.same({ 3, 10 }, core.quantized_program(description, tensors):run(cases.images(description, 3)):shape())
    description, tensors = cases.find "conv of stride 2"
    assert.same({ 1, 5, 6, 17 }, core.quantized_program(description, tensors):run(cases.images(description, 1)):shape())
    assert.same({ 0, 5, 6, 17 }, core.quantized_program(description, tensors):run(tr.zeros(0, 9, 12, 6)):shape())
  end)

  it("takes numbers that are none, and beyond all bounds", function()
    local description, tensors = cases.find "a small residual network"
    local images = cases.images(description, 1):fill(0 / 0)
    local zeros = cases.images(description, 1):fill(-1e30)
    assert.same(floats_of(description, tensors, zeros), floats_of(description, tensors, images))
    floats_of(description, tensors, images:fill(math.huge))
    tensors["step.2.factor"] = tr.full({ 16 }, 0 / 0)
    tensors["step.3.factor"] = tr.full({ 36, 16 }, math.huge)
    floats_of(description, tensors, images)
  end)
end)

describe("the same bits of a network in 8 bits", function()
  -- The floats of all networks, for each number of threads and images: those of five, and each of them by itself.
  local script = [[
    local core = require "texres.core"
    local tr = require "texres"
    local cases = require "spec.quantized_cases"
    print(tr.isa())
    for _, case in ipairs(cases.networks) do
      local _, description, tensors = table.unpack(case)
      local program = core.quantized_program(description, tensors)
      local images = cases.images(description, 5)
      for _, threads in ipairs { 1, 2, 3, 8 } do
        tr.set_num_threads(threads)
        local all, alone = program:run(images):reshape(-1):totable(), {}
        for i = 1, 5 do
          local one = program:run(images:slice(1, i, i)):reshape(-1):totable()
          table.move(one, 1, #one, #alone + 1, alone)
        end
        local floats = table.concat(all, " ")
        assert(table.concat(alone, " ") == floats, case[1] .. ": images alone")
        print(case[1], threads, floats)
      end
    end
  ]]

  local function run(isa)
    local ok, output = support.run_lua(script, { env = { TEXRES_ISA = isa } })
    if not ok then return nil, output end
    local name, rest = output:match "^(%S+)\n(.*)$"
    assert.equal(isa, name)
    local of_threads = {}
    for case, threads, floats in rest:gmatch "([^\t]+)\t(%d+)\t([^\n]*)\n" do
      of_threads[case] = of_threads[case] or floats
      assert(of_threads[case] == floats, ("%s: other bits with %s threads"):format(case, threads))
    end
    return of_threads
  end

  local reference
  for _, isa in ipairs { "avx2", "avx512", "neon" } do
    it("come with 1, 2, 3 and 8 threads, one image or five, of ref and " .. isa, function()
      local found, output = run(isa)
      if found == nil then
        assert.matches("TEXRES_ISA", output)
        return pending(isa .. " is not on this machine")
      end
      reference = reference or assert(run "ref")
      for case, floats in pairs(reference) do assert(found[case] == floats, case) end
    end)
  end
end)
