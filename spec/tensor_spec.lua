--- The Tensor userdata: creation, properties, elements, changes in place, life, and what it says to nonsense.
local support = require "spec.support"
local tr = require "texres"

--- The message that f(...) raises.
local function message(f, ...)
  local ok, text = pcall(f, ...)
  assert.is_false(ok, "an error is expected")
  return text
end

describe("creation", function()
  it("reads nested tables of any depth and dtype", function()
    local t = tr.tensor({ { { 1, 2 }, { 3, 4 } }, { { 5, 6 }, { 7, 8 } } }, { dtype = "i64" })
    assert.same({ 2, 2, 2 }, t:shape())
    assert.same({ { { 1, 2 }, { 3, 4 } }, { { 5, 6 }, { 7, 8 } } }, t:totable())
    assert.equal("integer", math.type(t[2][1][2]:item()))
    local number = tr.tensor(2.5, { dtype = "f64" })
    assert.same({ 0, 2.5 }, { number:dim(), number:item() })
    assert.same({ 0, 3 }, tr.zeros(0, 3):shape())
    assert.same({}, tr.tensor({}):totable())
  end)

  it("keeps integers beyond 2^53 exact", function()
    local t = tr.tensor({ 9007199254740993, math.mininteger }, { dtype = "i64" })
    assert.same({ 9007199254740993, math.mininteger }, t:totable())
    assert.equal(9007199254740995, (t + 2)[1]:item())
  end)

  it("copies a tensor, with another dtype on demand", function()
    local a = tr.tensor { 1.5, 2 }
    local b = tr.tensor(a, { dtype = "i64" })
    a:zero()
    assert.same({ 1, 2 }, b:totable())
  end)

  it("takes a shape as numbers or as a list, and options behind it", function()
    for _, t in ipairs { tr.zeros(2, 3, { dtype = "f64" }), tr.zeros({ 2, 3 }, { dtype = "f64" }) } do
      assert.same({ { 2, 3 }, "f64" }, { t:shape(), t.dtype })
    end
    assert.same({ 7, 7, 7 }, tr.full({ 3 }, 7):totable())
    assert.same({ 1, 2, 3 }, tr.arange(3):totable())
    assert.same({ 2, 4 }, tr.arange(2, 5, 2):totable())
    assert.same({ { 1, 0, 0 }, { 0, 1, 0 } }, tr.eye(2, 3):totable())
    assert.equal("u8", tr.zeros_like(tr.zeros(2), { dtype = "u8" }).dtype)
    assert.is_true(tr.ones(2, { requires_grad = true }).requires_grad)
  end)

  it("refuses what is not a tensor", function()
    assert.matches("ragged: 2 elements expected in dimension 2, got 1", message(tr.tensor, { { 1, 2 }, { 3 } }))
    assert.matches("element 2 must be a number, got 'x'", message(tr.tensor, { 1, "x" }))
    assert.matches("1.5 does not fit i64", message(tr.tensor, { 1.5 }, { dtype = "i64" }))
    assert.matches("256 does not fit u8", message(tr.tensor, { 256 }, { dtype = "u8" }))
    assert.matches("dtype must be one of u8, i64, f32, f64, got 'f16'", message(tr.zeros, 2, { dtype = "f16" }))
    assert.matches("zeros: .*size %-1", message(tr.zeros, -1))
    assert.matches("zeros: a shape is expected", message(tr.zeros))
    assert.matches("at most 8", message(tr.zeros, 1, 1, 1, 1, 1, 1, 1, 1, 1))
    assert.matches("only f32 and f64", message(tr.ones, 2, { dtype = "i64", requires_grad = true }))
    local nested = 1
    for _ = 1, 100 do nested = { nested } end
    assert.matches("nested deeper", message(tr.tensor, nested))
  end)

  it("refuses options that it does not know, and arguments behind the options", function()
    local t = tr.zeros(2)
    local calls = {
      tensor = { { 1 } }, zeros = { 2 }, ones = { 2 }, empty = { 2 }, rand = { 2 }, randn = { 2 }, full = { { 2 }, 1 },
      zeros_like = { t }, ones_like = { t }, empty_like = { t }, rand_like = { t }, randn_like = { t },
      full_like = { t, 1 }, arange = { 3 }, eye = { 2 }, randint = { 1, 2, { 2 } },
    }
    for name, args in pairs(calls) do
      local n = #args
      local function with(...)
        return table.unpack(table.move({ ... }, 1, select("#", ...), n + 1, { table.unpack(args) }))
      end
      local function call(...) return message(tr[name], with(...)) end
      assert.matches(name .. ": unknown option 'dtpye'; there are dtype, requires_grad", call { dtpye = "f64" })
      assert.matches(name .. ": options go by name, 'f64' stands among them without one", call { "f64" })
      assert.matches(name .. ": argument " .. n + 2 .. " is too many: 5", call({}, 5))
      assert.matches(name .. ": options are a table, got 'f64'", call "f64")
      assert.equal("f64", tr[name](with { dtype = "f64" }).dtype)
    end
    assert.matches("randperm: unknown option 'dtype'; there are none", message(tr.randperm, 3, { dtype = "f64" }))
  end)

  it("checks huge sizes for overflow", function()
    assert.matches("more than memory can address", message(tr.zeros, 2 ^ 40 // 1 | 0, 2 ^ 40 // 1 | 0))
    assert.matches("memory", message(tr.zeros, 2 ^ 58 // 1 | 0))
    assert.matches("more than memory can address", message(tr.zeros, 0, 2 ^ 40 // 1 | 0, 2 ^ 40 // 1 | 0))
    assert.same({ 0, 2 ^ 40 // 1 | 0 }, tr.zeros(0, 2 ^ 40 // 1 | 0):shape())
  end)
end)

describe("elements", function()
  local t
  before_each(function() t = tr.tensor { { 1, 2, 3 }, { 4, 5, 6 } } end)

  it("are reached by position, negative from the end", function()
    assert.equal(6, t[2][3]:item())
    assert.same({ 4, 5, 6 }, t[-1]:totable())
    assert.matches("index 4: the first dimension of {2,3} has positions 1..2", message(function() return t[4] end))
    assert.matches("index 0", message(function() return t[0] end))
    assert.matches("index %-3", message(function() return t[-3] end))
    assert.matches("index %-9223372036854775808", message(function() return t[math.mininteger] end))
    assert.matches("index 9223372036854775807", message(function() return t[math.maxinteger] end))
    assert.matches("has no dimensions", message(function() return t[1][1][1] end))
  end)

  it("are reached by any number with an integral value, as in a table, and by nothing else", function()
    assert.same({ 4, 5, 6 }, t[4 / 2]:totable())
    assert.equal(2, t[1.0][2.0]:item())
    t[2 / 1] = 7
    assert.same({ 7, 7, 7 }, t[2]:totable())
    assert.matches("index 1.5: positions are whole numbers", message(function() return t[1.5] end))
    assert.matches("index 1.5: positions are whole numbers", message(function() t[1.5] = 1 end))
    assert.matches("index nan", message(function() return t[0 / 0] end):lower():gsub("%-nan", "nan"))
    assert.matches("index '1' is text", message(function() return t["1"] end))
    assert.matches("no field nil", message(function() return t[nil] end))
    assert.matches("no field true", message(function() return t[true] end))
    assert.matches("no field a table", message(function() return t[{}] end))
  end)

  it("are walked by ipairs, which ends at the end", function()
    local rows = {}
    for i, row in ipairs(t) do rows[i] = row:totable() end
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, rows)
    for _ in ipairs(tr.zeros(0, 3)) do error "there is no row" end
    assert.equal(nil, t[3])
    assert.matches("index 3", message(function() t[3] = 0 end))
  end)

  it("are changed by assignment, through views", function()
    t[1] = 0
    t[2][1] = 9
    t[2]:slice(1, 2, 3):copy_from(tr.tensor { 7, 8 })
    assert.same({ { 0, 0, 0 }, { 9, 7, 8 } }, t:totable())
    t[-1] = tr.tensor { 1 }
    assert.same({ 1, 1, 1 }, t[2]:totable())
    assert.matches("{2}.*{3}", message(function() t[1] = tr.zeros(2) end))
    assert.matches("must be a number, got 'x'", message(function() t[1] = "x" end))
    assert.matches("no field 'name'", message(function() t.name = 1 end))
  end)

  it("convert between dtypes", function()
    local u = tr.zeros(4, { dtype = "u8" })
    u:copy_from(tr.tensor { -0.5, 3.9, 255, 255.9 })
    assert.same({ 0, 3, 255, 255 }, u:totable())
  end)

  it("are not written where several of them share memory", function()
    local shared = {
      tr.zeros(1):expand(3), tr.zeros(2, 1):expand(2, 3), tr.zeros(1, 3):expand(2, 3):transpose(1, 2),
      tr.zeros(1, 2, 1):expand(3, 2, 4):slice(1, 1, 2), tr.zeros(1, 2):expand(3, 2):unsqueeze(1),
      -- views whose own elements are apart, but stand in several places of the expanded tensor
      tr.zeros(1, 3):expand(2, 3)[1], tr.zeros(1, 3):expand(2, 3):slice(1, 2, 2),
      tr.zeros(3, 1):expand(3, 4):select(2, 1),
      tr.zeros(1, 2, 2):expand(2, 2, 2)[2]:reshape(4), tr.zeros(1, 3):expand(2, 3)[1]:detach():contiguous(),
    }
    for _, s in ipairs(shared) do
      for name, write in pairs {
        copy_from = function() s:copy_from(tr.zeros(s:shape())) end,
        fill = function() s:fill(1) end,
        zero = function() s:zero() end,
        uniform = function() s:uniform() end,
        normal = function() s:normal() end,
        assignment = function() s[1] = 1 end,
        grad = function() tr.zeros(s:shape()).grad = s end,
      } do
        local version = s:version()
        assert.matches(name .. ": this tensor .* was expanded.*clone", message(write))
        assert.equal(version, s:version())
      end
    end
    assert.matches("was expanded", message(function() tr.zeros(1, 3):expand(2, 3)[1] = tr.ones(3) end))
    local rows = tr.zeros(1, 3):expand(2, 3)
    assert.matches("was expanded", message(function() rows[2][1] = 5 end))
    rows[1]:clone():fill(1)
    assert.equal(0, rows:sum():item())
    local p, q = tr.zeros(1, { requires_grad = true }), tr.zeros(1, { requires_grad = true })
    tr.cat({ p, q }, 1):sum():backward() -- gradients are memory of their own, whatever they were spread from
    p.grad[1] = 7
    assert.same({ 7, 1 }, { p.grad:item(), q.grad:item() })
    local one = tr.zeros(1, 3):expand(1, 3) -- nothing is repeated
    assert.same({ { 2, 2, 2 } }, one:fill(2):totable())
    assert.same({}, tr.zeros(1):expand(0):fill(2):totable())
    local part = tr.zeros(4, 6):slice(2, 1, 6, 2):transpose(1, 2)
    assert.equal(12, part:fill(1):sum():item())
  end)

  it("are copied through any strides", function()
    local a = tr.randn(3, 4, 5)
    local b = tr.zeros(5, 3, 4)
    b:permute(2, 3, 1):copy_from(a)
    assert.is_true(tr.allclose(b, a:permute(3, 1, 2), 0))
    local long = tr.zeros(2, 200000):copy_from(tr.arange(200000, { dtype = "f32" }))
    assert.equal(200000, long[2][-1]:item())
  end)

  it("are told by item and the like only where that makes sense", function()
    assert.matches("item: the tensor is {2,3}", message(t.item, t))
    assert.matches("has no length", message(function() return #tr.tensor(1) end))
    assert.matches("dimension 3", message(t.size, t, 3))
    assert.same({ 2, 3 }, { t:size() })
    assert.equal(nil, t.no_such_method)
  end)
end)

describe("life", function()
  it("ends with free, <close> and the collector; live_bytes returns to its start", function()
    collectgarbage()
    local before = tr.live_bytes()
    local a = tr.zeros(1000)
    assert.is_true(tr.live_bytes() >= before + 4000)
    a:free()
    a:free()
    assert.equal(before, tr.live_bytes())
    do
      local b <close> = tr.zeros(1000)
      assert.is_true(tr.live_bytes() > before and b ~= nil)
    end
    assert.equal(before, tr.live_bytes())
    for _ = 1, 100 do tr.zeros(1000) end
    collectgarbage()
    assert.equal(before, tr.live_bytes())
  end)

  it("lets a view outlive what it was taken from", function()
    local whole = tr.tensor { 1, 2, 3 }
    local part = whole:slice(1, 2, 3)
    whole:free()
    assert.same({ 2, 3 }, part:totable())
  end)

  it("makes a closed tensor say so", function()
    local t = tr.zeros(2)
    t:free()
    assert.equal("closed tensor", tostring(t))
    for _, use in ipairs { function() return t + 1 end, function() return t[1] end, function() t[1] = 1 end,
      function() return #t end, function() return t.dtype end, function() return t:sum() end,
      function() return tr.cat({ t }, 1) end } do
      assert.matches("closed", message(use))
    end
  end)

  it("stays flat over many operations on tensors that are dropped", function()
    local out = select(2, support.run_lua [[
      local tr = require "texres"
      local function resident()
        for line in io.lines "/proc/self/status" do
          local kb = line:match "VmRSS:%s+(%d+)"
          if kb then return tonumber(kb) end
        end
      end
      local x = tr.randn(64, 1024)
      for _ = 1, 3000 do local _ = x * 2 + 1 end
      local before = resident()
      for _ = 1, 10000 do local _ = x * 2 + 1 end
      print(resident() - before)
    ]])
    assert.is_true(assert(tonumber(out), out) < 16384, out .. " kB more after 20,000 operations")
  end)
end)

describe("messages", function()
  it("blame the user's line, not the library's", function()
    local ok, out = support.run_lua [[
      local tr = require "texres"
      local f = tr.Function { forward = function() return tr.zeros(2) + tr.zeros(3) end, backward = print }
      f(tr.zeros(1)) ]]
    assert.is_false(ok)
    assert.matches("%(command line%):2: add: shapes {2} and {3}", out)
  end)

  it("name unknown options and superfluous arguments", function()
    local t = tr.zeros(2, 3)
    assert.matches("sum: unknown option 'keep'; there are dim, keepdim", message(t.sum, t, 1, { keep = true }))
    assert.matches("sum: keepdim must be true or false, got 1", message(t.sum, t, 1, 1))
    assert.matches("sum: argument 4 is too many", message(t.sum, t, 1, true, 5))
    assert.matches("add: .* must be a tensor or a number, got a table", message(function() return t + {} end))
    assert.matches("integer", message(t.select, t, 1, 1.5))
  end)

  it("refuse names among the items of a list, which nobody would read", function()
    local t = tr.zeros(2, 3)
    for text, call in pairs {
      ["zeros: 'dtype' stands among the items of the shape"] = function() tr.zeros { 2, 3, dtype = "f64" } end,
      ["randint: 'dtype' stands among"] = function() tr.randint(250, 300, { dtype = "u8" }) end,
      ["full: 'dtype' stands among"] = function() tr.full({ 2, dtype = "u8" }, 1) end,
      ["tensor: 'dtype' stands among the items of the table"] = function() tr.tensor { 1, 2, dtype = "i64" } end,
      ["cat: 'dim' stands among the items of the list of tensors"] = function() tr.cat { t, t, dim = 2 } end,
      ["stack: 'dim' stands among"] = function() tr.stack { t, t, dim = 2 } end,
      ["split: 'dim' stands among"] = function() t:split { 1, 1, dim = 1 } end,
      ["sum: options go by name, 1 stands among them"] = function() t:sum { 1, keepdim = true } end,
    } do
      assert.matches(text, message(call))
    end
    assert.same({ 4, 3 }, tr.cat(table.pack(t, t)):shape())
  end)

  it("refuse what is given by position and by name", function()
    local t = tr.zeros(2, 3)
    assert.matches("softmax: dim is given twice", message(t.softmax, t, 2, { dim = 1 }))
    assert.matches("sum: keepdim is given twice", message(t.sum, t, 1, true, { keepdim = false }))
    assert.matches("conv2d: bias is given twice", message(tr.nn.functional.conv2d, tr.zeros(1, 3, 3, 1),
      tr.zeros(3, 3, 1, 1), tr.zeros(1), { bias = tr.zeros(1) }))
    assert.same({ 1, 3 }, t:sum(nil, { dim = 1, keepdim = true }):shape())
  end)

  it("name the function and the argument that is no tensor", function()
    local t = tr.zeros(3, { requires_grad = true })
    assert.matches("copy_from: a tensor is expected as argument 1, got a table",
      message(function() t:copy_from { 1, 2, 3 } end))
    assert.matches("grad: a tensor or nil is expected, got 5", message(function() t.grad = 5 end))
    assert.matches("requires_grad must be true or false, got 'yes'", message(function() t.requires_grad = "yes" end))
    assert.matches("linear: w must be a tensor, got 5", message(function() tr.nn.functional.linear(t, 5, t) end))
    assert.matches("allclose: rtol is nan, atol 1e%-08: 0 or more is needed", message(tr.allclose, t, t, 0 / 0))
    assert.matches("fill: nan does not fit i64", message(function() tr.zeros(1, { dtype = "i64" }):fill(0 / 0) end))
    assert.matches("arange: cannot count from 1 to nan by 1", message(tr.arange, 0 / 0))
    assert.matches("split: size 2 is 9223372036854775807, dimension 1 has size 3",
      message(function() t:split { 1, math.maxinteger, math.maxinteger, 4 } end))
  end)

  it("stop an endless computation on Ctrl-C", function() -- to the process alone: a second signal would kill it
    local ok, out = support.run { "timeout", "--foreground", "-s", "INT", "1", support.lua, "-e", [[
      local tr = require "texres"
      local a = tr.randn(3000, 3000)
      while true do a = a:matmul(a):tanh() end ]] }
    assert.is_false(ok)
    assert.matches("interrupted!", out)
  end)
end)

describe("the system", function()
  it("counts threads and tells the time", function()
    local before = tr.num_threads()
    tr.set_num_threads(3)
    assert.equal(3, tr.num_threads())
    tr.set_num_threads(before)
    assert.matches("1..256", message(tr.set_num_threads, 0))
    local t = tr.clock()
    assert.is_true(tr.clock() >= t)
  end)

  it("repeats random numbers from a seed and from a state", function()
    tr.manual_seed(5)
    tr.randn(3)
    local seed, stream = tr.rng_state()
    local a = tr.randn(100)
    tr.rng_state(seed, stream)
    assert.is_true(tr.allclose(a, tr.randn(100), 0))
  end)

  it("refuses an instruction set that the machine lacks", function()
    local ok, out = support.run_lua([[require "texres"]], { env = { TEXRES_ISA = "mmx" } })
    assert.is_false(ok)
    assert.matches("TEXRES_ISA is 'mmx': this machine can run ref", out)
  end)
end)
