--- Options: ranges, names, the one style of message.
local tr = require "texres"
local option = require "texres.options"

local NAN = 0 / 0

local function message_of(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return message
end

describe("options", function()
  local function read(known, given, ...) return option.read("f", given, known, ...) end

  it("fill in defaults and leave the caller's table as it is", function()
    local given = { rate = 0.5 }
    local o = read({ rate = option.number(1, "[0, 1]"), count = option.integer(3, "[1, inf)"), dir = option.text() },
      given)
    assert.same({ rate = 0.5, count = 3 }, o)
    assert.same({ rate = 0.5 }, given)
    assert.same({ count = 3 }, read({ count = option.integer(3, "[1, inf)") }))
  end)

  it("know the ends of a range: open, closed, infinite, and NaN in none", function()
    local inf = math.huge
    for range, case in pairs {
      ["[0, 1]"] = { { 0, 1, 0.5 }, { -1e-9, 1.1, NAN, inf }, "a number from 0 to 1" },
      ["[0, 1)"] = { { 0, 0.999 }, { 1, -1, NAN }, "a number of at least 0 and below 1" },
      ["(0, 1]"] = { { 1e-300, 1 }, { 0, NAN }, "a number above 0 and at most 1" },
      ["(0, inf)"] = { { 1e-300, 1e300 }, { 0, inf, NAN }, "a finite number above 0" },
      ["[0, inf]"] = { { 0, inf }, { -inf, NAN }, "a number of at least 0" },
      ["(-inf, inf)"] = { { -1e300, 0, 7 }, { -inf, inf, NAN }, "a finite number" },
    } do
      for _, value in ipairs(case[1]) do
        assert.equal(value, read({ x = option.number(nil, range) }, { x = value }).x)
      end
      for _, value in ipairs(case[2]) do
        local message = message_of(function() read({ x = option.number(nil, range) }, { x = value }) end)
        assert.matches("f: x is .*, wanted " .. case[3]:gsub("%p", "%%%0") .. "$", message)
      end
    end
  end)

  it("take whole numbers only where they are wanted, never text for a number", function()
    local known = { n = option.integer(nil, "[1, 9]") }
    assert.equal("integer", math.type(read(known, { n = 3.0 }).n))
    for _, value in ipairs { 2.5, 0, 10, NAN, math.huge, "3", true, {} } do
      assert.matches("f: n is .*, wanted a whole number from 1 to 9",
        message_of(function() read(known, { n = value }) end))
    end
    assert.has_error(function() read({ x = option.number(1, "[0, 9]") }, { x = "3" }) end)
  end)

  it("look into lists and tensors of numbers", function()
    local known = { std = option.numbers(nil, "(0, inf)") }
    assert.same({ 1, 2 }, read(known, { std = { 1, 2 } }).std)
    local t = tr.tensor { 1, 2 }
    assert.equal(t, read(known, { std = t }).std)
    for _, value in ipairs { { 1, 0 }, { 1, NAN }, {}, tr.tensor { 1, 0 }, tr.ones(2, 2), "1", { "1" } } do
      assert.matches("f: std is .*, wanted a finite number above 0, or a list of them",
        message_of(function() read(known, { std = value }) end))
    end
  end)

  it("take false for not given only where the default says so", function()
    assert.is_nil(read({ n = option.integer(nil, "[1, 9]") }, { n = false }).n)
    assert.has_error(function() read({ n = option.integer(3, "[1, 9]") }, { n = false }) end)
    assert.is_false(read({ s = option.switch() }, { s = false }).s)
    assert.is_false(read({ s = option.switch(true) }, { s = false }).s)
    assert.has_error(function() read({ s = option.switch(true) }, { s = 0 }) end)
  end)

  it("know an option by a word of what was typed", function()
    local known = { batch = option.any(), epochs = option.any(), lr = option.any() }
    assert.matches("unknown option 'batch_size'; did you mean batch%? There",
      message_of(function() read(known, { batch_size = 3 }) end))
    assert.matches("unknown option 'num_epochs'; did you mean epochs%? There",
      message_of(function() read(known, { num_epochs = 3 }) end))
    assert.matches("unknown option 'lr_decay'; there are", message_of(function() read(known, { lr_decay = 3 }) end))
  end)

  it("name the nearest for an unknown name, and all that there are", function()
    local known = { momentum = option.any(), lr = option.any(), warmup = option.any() }
    assert.matches("options_spec.lua:%d+: f: unknown option 'momentun'; did you mean momentum%? There are lr, momentum",
      message_of(function() read(known, { momentun = 1 }) end))
    assert.matches("f: unknown option 'colour'; there are lr, momentum, warmup",
      message_of(function() read(known, { colour = 1 }) end))
    assert.matches("f: unknown option '1'", message_of(function() read(known, { 5 }) end))
    assert.equal(5, read(known, { 5 }, true)[1])
    assert.has_error(function() read(known, { [true] = 5 }, true) end)
  end)

  it("may be of any other kind that is named", function()
    local even = option.kind("an even number", function(value) return value % 2 == 0 end)
    assert.equal(4, option.check("f", "n", 4, even))
    assert.matches("f: n is 3, wanted an even number$", message_of(function() option.check("f", "n", 3, even) end))
    assert.matches("f: fn is {1}, wanted a function$",
      message_of(function() option.check("f", "fn", { 1 }, option.FUNCTION) end))
    local boolean = option.kind("true or false", "boolean", true)
    assert.same({ on = false }, read({ on = boolean }, { on = false }))
    assert.same({ on = true }, read({ on = boolean }))
  end)

  it("of what is chosen by a name stand beside it", function()
    local given = { "cosine", min = 1 }
    assert.same({ "cosine", { min = 1 } }, { option.named(given) })
    assert.same({ "cosine", {} }, { option.named "cosine" })
    assert.same({ "cosine", min = 1 }, given)
  end)

  it("are a plain table: no module, tensor or table with a metatable, whose fields can't be seen", function()
    for _, given in ipairs { 3, "x", tr.ones(1), setmetatable({}, { __index = { lr = 1 } }) } do
      assert.matches("f: options come as a table with names, got ",
        message_of(function() read({ lr = option.any() }, given) end))
    end
  end)
end)

describe("every constructor checks the range of its options when it is called", function()
  local set = tr.data.fabric { count = 12, size = 32 }
  local p = tr.ones(2)
  local calls = {
    lr = function(v) tr.optim.SGD({ p }, { lr = v }) end,
    momentum = function(v) tr.optim.SGD({ p }, { momentum = v }) end,
    beta1 = function(v) tr.optim.Adam({ p }, { beta1 = v }) end,
    beta2 = function(v) tr.optim.AdamW({ p }, { beta2 = v }) end,
    eps = function(v) tr.nn.BatchNorm(2, { eps = v }) end,
    p = function(v) tr.nn.Dropout(v) end,
    slope = function(v) tr.nn.LeakyReLU(v) end,
    alpha = function(v) tr.nn.ELU(v) end,
    gamma = function(v) tr.optim.schedule.step { gamma = v } end,
    at = function(v) tr.optim.schedule.step { at = { v } } end,
    every = function(v) tr.optim.schedule.step { every = v } end,
    start = function(v) tr.optim.schedule.one_cycle { start = v } end,
    divide = function(v) tr.optim.schedule.one_cycle { divide = v } end,
    warmup = function(v) tr.optim.schedule.cosine { warmup = v } end,
    min = function(v) tr.optim.schedule.cosine { min = v } end,
    batch = function(v) set:loader { batch = v } end,
    workers = function(v) set:loader { workers = v } end,
    seed = function(v) set:split { 0.5, 0.5, seed = v } end,
    ["part 2"] = function(v) set:split { 0.5, v } end,
    similarity = function(v) set:audit { similarity = v } end,
    scale = function(v) set:contact_sheet("/dev/null", { scale = v }) end,
  }

  for name, call in pairs(calls) do
    it(name, function()
      for _, value in ipairs { NAN, -math.huge, "x" } do
        assert.matches("options_spec.lua:%d+: [%w_.]+: " .. name .. " is ", message_of(function() call(value) end))
      end
    end)
  end

  it("the ends that make NaN of everything", function()
    assert.has_error(function() tr.optim.Adam({ p }, { beta1 = 1 }) end)
    assert.has_error(function() tr.optim.Adam({ p }, { beta2 = 1 }) end)
    assert.has_error(function() tr.optim.Adam({ p }, { eps = 0 }) end)
    assert.has_error(function() set:loader { std = 0 } end)
    assert.has_error(function() tr.optim.schedule.one_cycle { divide = 0 } end)
  end)
end)
