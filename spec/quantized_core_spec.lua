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
    local large = cases.images(description, 1):fill(1e30)
    assert.same(floats_of(description, tensors, large), floats_of(description, tensors, images:fill(math.huge)))
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

describe("a description of a network in 8 bits", function()
  local NETWORK = "a small residual network"
  -- quantize, conv of stride 2, winograd with a residual, conv of stride 2, conv with a residual, mean, dense

  local function refuse(what, change, message, network)
    it("is refused: " .. what, function()
      local description, tensors = cases.find(network or NETWORK)
      core.quantized_program(description, tensors)
      change(description, tensors)
      assert.error_matches(function() core.quantized_program(description, tensors) end, message)
    end)
  end

  refuse("without steps", function(d) d.steps = nil end, "steps must be a list, got nil")
  refuse("with no step", function(d) d.steps = {} end, "number of items is 0")
  refuse("with steps that are none", function(d) d.steps[2] = 7 end, "step 2 must be a table, got 7")
  refuse("without values", function(d) d.values = "none" end, "values must be a list")
  refuse("with a value that is none", function(d) d.values[3] = false end, "value 3 must be a table")
  refuse("of an operation that is none", function(d) d.steps[2].op = "conv3d" end, "step 2: there is no 'conv3d'")
  refuse("of no operation", function(d) d.steps[2].op = nil end, "step 2: op must be a string")
  refuse("with another output", function(d) d.output = 3 end, "the last step does not make the output")
  refuse("with an output that is none", function(d) d.output = 99 end, "output is 99, wanted 1 to")

  for _, size in ipairs { 0, -1, 1.5, 1 << 40, math.mininteger, "8", 0 / 0 } do
    refuse("a side of " .. tostring(size), function(d) d.values[3].shape[1] = size end, "value 3: shape")
    refuse("a kernel of " .. tostring(size), function(d) d.steps[2].kernel[2] = size end, "step 2: kernel")
    refuse("a stride of " .. tostring(size), function(d) d.steps[2].stride[1] = size end, "step 2: stride")
    refuse("a dilation of " .. tostring(size), function(d) d.steps[2].dilation[1] = size end, "step 2: dilation")
    refuse("channels of " .. tostring(size), function(d) d.steps[2].channels[2] = size end, "step 2: channels")
    refuse("groups of " .. tostring(size), function(d) d.steps[2].groups = size end, "step 2: groups")
    refuse("the input " .. tostring(size), function(d) d.steps[2].input = size end, "step 2: input")
    refuse("the output " .. tostring(size), function(d) d.steps[2].output = size end, "step 2: output")
  end
  refuse("no groups", function(d) d.steps[2].groups = nil end, "step 2: groups must be an integer, got nil")
  refuse("no zero of what is bytes", function(d) d.values[2].zero = nil end, "value 2: zero must be an integer, got")
  refuse("the residual 0", function(d) d.steps[3].residual = 0 end, "step 3: residual is 0, wanted 1 to")
  refuse("padding of -1", function(d) d.steps[2].padding[3] = -1 end, "step 2: padding is %-1")
  refuse("a list too long", function(d) d.steps[2].stride[3] = 1 end, "step 2: stride has 3 numbers, wanted 2")
  refuse("a shape of two numbers", function(d) d.values[2].shape[3] = nil end, "value 2: its shape is {H,W,C} or {C}")
  refuse("a zero of 256", function(d) d.values[2].zero = 256 end, "value 2: zero is 256")
  for _, scale in ipairs { -1, 0 / 0, math.huge } do
    refuse("a scale of " .. scale, function(d) d.values[4].scale = scale end, "value 4: its scale can't be")
  end
  refuse("no scale of what is bytes", function(d) d.values[2].scale = nil end, "step 1: the scales")
  refuse("no scale of bytes of a convolution", function(d) d.values[3].scale = nil end, "step 2: .* no scale")
  refuse("no scale of a table's bytes", function(d) d.values[3].scale = nil end, "step 2: its output has no scale",
    "lookup")
  refuse("scales too far apart", function(d) d.values[6].scale = 1e-300 end, "the scales of its values can't be")
  refuse("a relu that is a number", function(d) d.steps[2].relu = 1 end, "step 2: relu must be true or false")
  refuse("another method", function(d) d.steps[2].method = "fft" end, "step 2: method is 'fft'")
  refuse("no method", function(d) d.steps[2].method = nil end, "step 2: method must be a string")

  refuse("channels that its input has not", function(d, t)
    d.steps[4].channels[1] = 8
    t["step.4.weight"] = tr.zeros({ 3, 3, 8, 32 }, { dtype = "u8" })
  end, "step 4: its channels are not those of its values")
  refuse("channels that its output has not", function(d) d.values[5].shape[3] = 16 end, "step 4: its channels")
  refuse("groups that don't divide", function(d) d.steps[4].groups = 3 end, "step 4: 3 groups don't divide")
  refuse("an output far beyond its input", function(d)
    d.values[3].shape[1], d.values[4].shape[1] = 1 << 20, 1 << 20
  end, "step 2: kernel, stride and padding don't fit")
  refuse("values too large", function(d)
    d.values[3].shape = { 1 << 20, 1 << 20, 16 }
  end, "value 3 has a size")
  refuse("borders too large", function(d)
    d.steps[2].padding, d.steps[3].padding = { 1 << 20, 0, 1 << 20, 0 }, { 1 << 20, 0, 1 << 20, 0 }
  end, "value %d is too large")
  refuse("a residual of another size", function(d) d.steps[5].residual = 3 end, "step 5: the residual has another size")
  refuse("a residual that is none", function(d) d.steps[5].residual = 88 end, "step 5: residual is 88")
  refuse("a residual of floats", function(d) d.steps[5].residual = 1 end, "step 5: .*scales")
  refuse("winograd of stride 2", function(d) d.steps[3].stride = { 2, 1 } end, "step 3: winograd is for 3x3, stride 1")
  refuse("winograd of 5x5", function(d) d.steps[3].kernel = { 5, 5 } end, "step 3: winograd is for 3x3")
  refuse("floats in between", function(d) d.steps[6].op, d.steps[6].output = "dequantize", 7 end,
    "step 6: .*the last step")
  refuse("bytes at the end", function(d) d.steps[7].floats, d.values[8].scale, d.values[8].zero = false, 1, 0 end,
    "step 7: the last step")
  refuse("floats read as bytes", function(d) d.steps[2].input = 1 end, "step 2: floats come in by quantize")
  refuse("bytes made of bytes", function(d) d.steps[1].input = 2 end, "step 1: floats come in by quantize")
  refuse("a value read before it is made", function(d) d.steps[6].input, d.values[7].shape = 7, { 32 } end,
    "step 6: it reads a value that was not made before")
  refuse("a residual read before it is made", function(d) d.steps[3].residual = 4 end,
    "step 3: it reads a value that was not made before")
  refuse("a value made twice", function(d) d.steps[3].output = 3 end, "step 3: it makes a value that was made before")
  refuse("the input made", function(d) d.steps[2].output = 1 end, "step 2: ")
  refuse("a mean of another size", function(d) d.values[7].shape = { 31 } end, "step 6: the pool changes the channels")

  for _, name in ipairs { "weight", "factor", "shift" } do
    for _, step in ipairs { 2, 3, 7 } do
      local key = ("step.%d.%s"):format(step, name)
      refuse("without " .. key, function(_, t) t[key] = nil end, key .. " must be .* got nil")
      refuse(key .. " a row short", function(_, t) t[key] = t[key]:reshape(-1):slice(1, 2, -1) end,
        key .. " must be a contiguous tensor")
      refuse(key .. " of f64", function(_, t) t[key] = t[key]:to "f64" end, key .. " must be a contiguous tensor")
      refuse(key .. " that is freed", function(_, t) t[key]:free() end, "closed")
    end
  end
  for _, number in ipairs { 0 / 0, math.huge, -math.huge } do
    for _, key in ipairs { "2.factor", "2.shift", "3.factor", "3.shift", "7.factor" } do
      local step, name = key:match "(%d).(%a+)"
      refuse(("%s in step.%s"):format(number, key), function(_, t) t["step." .. key]:select(-1, 2):fill(number) end,
        ("step %s: its %s holds a number that can't be"):format(step, name))
    end
  end
  for _, number in ipairs { 1e25, -1e25 } do
    refuse("an element's factor of " .. number, function(_, t) t["step.3.factor"]:select(-1, 2):fill(number) end,
      "step 3: its factor holds a number that can't be")
  end
  refuse("a transposed tensor", function(_, t)
    t["step.7.weight"] = tr.zeros({ 6, 32 }, { dtype = "u8" }):transpose(1, 2)
  end, "step.7.weight must be a contiguous tensor")

  refuse("sums of bytes beyond 32 bits", function(d, t)
    local c = (1 << 31) // (255 * 128) + 1
    d.values[2].shape, d.values[1].shape = { c }, { c }
    d.steps = { d.steps[1], { op = "linear", input = 2, output = 3, channels = { c, 1 }, floats = true } }
    d.values[3], d.output = { shape = { 1 } }, 3
    t["step.2.weight"] = tr.full({ c }, 128, { dtype = "u8" })
    t["step.2.factor"], t["step.2.shift"] = tr.ones(1), tr.ones(1)
  end, "step 2: sums of its weights could leave 32 bits")
  refuse("sums of elements beyond 32 bits", function(_, t)
    t["step.3.weight"] = tr.full(t["step.3.weight"]:shape(), 127, { dtype = "u8" })
  end, "step 3: sums of its weights could leave 32 bits")

  refuse("max_pool of another scale", function(d) d.values[3].scale = 9 end, "step 2: its output must have the scale",
    "max_pool")
  refuse("max_pool of another zero", function(d) d.values[3].zero = d.values[2].zero ~ 1 end,
    "step 2: its output must have the scale and zero of its input", "max_pool")
  refuse("a window too large", function(d) d.steps[2].kernel = { 1 << 13, 1 << 13 } end, "step 2: window",
    "avg_pool, border true")
  refuse("flatten that loses bytes", function(d) d.values[3].shape = { 59 } end, "step 2: flatten keeps",
    "flatten and dense layers")
  refuse("a sum of one value", function(d) d.steps[4].inputs = { 3 } end, "step 4: inputs has 1 numbers, wanted 2",
    "sums and differences")
  refuse("a sum of other sizes", function(d) d.steps[4].inputs[2] = 2 end, "step 4: the sizes of a sum differ",
    "sums and differences")
  refuse("a product of other sizes", function(d) d.steps[6].inputs = { 5, 3 } end,
    "step 6: the sizes of a product differ", "products, and those of one pixel")
  refuse("a cat of too few channels", function(d) d.steps[5].inputs[4] = nil end, "was not made before",
    "cat of values of other worth")
  refuse("a cat of too many channels", function(d) d.steps[5].inputs[5] = 2 end, "step 5: it does not fit",
    "cat of values of other worth")
  refuse("a cat of nothing", function(d) d.steps[5].inputs = {} end, "step 5: inputs has 0 numbers",
    "cat of values of other worth")
  refuse("a table of 255 bytes", function(_, t) t["step.2.table"] = t["step.2.table"]:slice(1, 1, 255) end,
    "step.2.table must be a contiguous tensor u8 of 256 elements", "lookup")
  refuse("more steps than there can be", function(d)
    local copies = {}
    for i = 1, 4096 do copies[i] = 2 end
    for i = 2, 4 do d.steps[i] = { op = "cat", inputs = copies, output = 3 } end
  end, "more than 8192 steps", "lookup")

  it("that changes while it is read is only refused", function()
    local description, tensors = cases.find(NETWORK)
    for key, step in pairs(description.steps) do
      description.steps[key] = setmetatable({}, {
        __index = function(_, name)
          if name == "method" then
            for _, t in pairs(tensors) do t:free() end
            collectgarbage()
          end
          return step[name]
        end,
      })
    end
    local ok, err = pcall(core.quantized_program, description, tensors)
    assert.is_false(ok)
    assert.matches("closed", err)
  end)

  -- Every number of a description, in turn, as others: what is taken runs.
  it("of thousands of values is planned at once", function()
    local description, tensors = cases.crowded(1000)
    local began = os.clock()
    local program = core.quantized_program(description, tensors)
    assert.is_true(os.clock() - began < 1) -- it takes some 0.04 s
    local images = cases.images(description, 1)
    local y = program:run(images):reshape(-1):totable()
    assert.equal(1001, #y)
    for _, v in ipairs(y) do assert.equal(y[1], v) end -- one pixel is the largest of all
  end)

  it("whose numbers lie is refused or runs", function()
    local others = { 0, 1, 2, 3, 5, 16, 255, 1 << 20, -1, 0.5, false }
    local taken, refused = 0, 0
    local function try(description, tensors, images)
      local ok, program = pcall(core.quantized_program, description, tensors)
      if ok then
        taken = taken + 1
        pcall(program.run, program, images)
      else
        refused = refused + 1
        assert.matches("quantized_program", program)
      end
    end
    for _, name in ipairs { NETWORK, "max_pool", "cat of values of other worth", "products, and those of one pixel" } do
      local description, tensors = cases.find(name)
      local images = cases.images(description, 2)
      local function walk(t)
        for key, value in pairs(t) do
          if type(value) == "table" then
            walk(value)
          elseif type(value) == "number" then
            for _, other in ipairs(others) do
              t[key] = other
              try(description, tensors, images)
            end
            t[key] = value
          end
        end
      end
      walk(description)
    end
    assert.is_true(taken > 100 and refused > 100)
  end)
end)

describe("a program in 8 bits", function()
  local program

  before_each(function() program = core.quantized_program(cases.find "lookup") end)

  for _, images in ipairs {
    tr.zeros(1, 4, 5, 7), tr.zeros(1, 4, 5), tr.zeros(4, 5, 6), tr.zeros({ 1, 4, 5, 6 }, { dtype = "u8" }), tr.zeros(0),
  } do
    it(("refuses images %s {%s}"):format(images.dtype, table.concat(images:shape(), ",")), function()
      assert.error_matches(function() program:run(images) end,
        "run: the images are .*, the quantized network takes f32 {N,4,5,6}")
    end)
  end

  it("takes images that lie apart", function()
    local images = tr.randn(6, 4, 5, 2):transpose(1, 4)
    assert.same(program:run(images:contiguous()):totable(), program:run(images):totable())
  end)

  it("is no tensor, and refuses what is none", function()
    assert.error_matches(function() program:run(7) end, "tensor")
    assert.error_matches(function() program.run(tr.zeros(1), tr.zeros(1)) end, "a quantized program")
    assert.is_false((pcall(getmetatable(program).__index.run, nil)))
  end)

  it("that is closed says so", function()
    getmetatable(program).__gc(program)
    assert.error_matches(function() program:run(tr.zeros(1, 4, 5, 6)) end, "closed")
    getmetatable(program).__gc(program)
  end)
end)
