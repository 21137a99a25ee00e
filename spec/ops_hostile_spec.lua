--- Every differentiable function with arguments that it was not made for: it may work or raise a message that begins
-- with its name; it may not crash, nor leak, nor raise anything else.
local tr = require "texres"
local core = require "texres.core"

local function seeded(seed)
  local state = seed
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return (state >> 33) % n + 1
  end
end

--- A fresh list of values, all of them odd in some way.
local function values()
  local closed = tr.zeros(2)
  closed:free()
  return {
    tr.tensor { { 1, 2, 3 }, { 4, 5, 6 } },
    tr.tensor({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, { dtype = "f64" }),
    tr.tensor({ 1, 2 }, { dtype = "i64" }),
    tr.tensor({ { 1, 1, 2 }, { 2, 3, 1 } }, { dtype = "i64" }),
    tr.tensor({ -1, 0, 7 }, { dtype = "i64" }),
    tr.tensor({ 0, 1, 255 }, { dtype = "u8" }),
    tr.tensor(2), tr.tensor(3, { dtype = "i64" }),
    tr.zeros(0), tr.zeros(2, 0, 3), tr.zeros(0, 3),
    tr.ones(1, 1, 1, 1, 1, 1, 1, 2),
    tr.rand(2, 5, 5, 3), tr.rand(3, 3, 3, 4), tr.rand(3), tr.rand(4, 6):slice(2, 1, 6, 2):transpose(1, 2),
    tr.rand(2, 3, { requires_grad = true }), tr.rand(2, 4, 4, 3, { requires_grad = true }),
    tr.tensor { 0 / 0, math.huge, -math.huge },
    tr.ones(1, 2):expand(3, 2),
    closed,
    0, 1, 2, 3, -1, -3, 9, 1.5, 1e300, 0 / 0, math.huge, math.maxinteger, math.mininteger,
    true, false, "same", "valid", "none", "x", "f64", "u8",
    {}, { 1 }, { 2, 1 }, { 1, 2, 3 }, { -1 }, { 0 }, { 1.5 }, { "a" }, { 1 << 62, 4 },
    { keepdim = true }, { dim = 2 }, { stride = 0 }, { stride = 2, padding = "same" },
    { padding = -1 }, { unknown = 1 },
    { training = true }, { reduction = "none" }, { bias = 3 }, { [true] = 1 },
    { tr.ones(2, 3), tr.ones(2, 3) }, { tr.ones(2), tr.ones(3) }, { tr.ones(2), 3 },
    print, io.stdout, coroutine.create(print),
  }
end

local function all_functions()
  local functions = {}
  for _, name in ipairs(core.help()) do functions[#functions + 1] = name end
  table.sort(functions)
  return functions
end

local function find(name)
  return tr[name] or core[name] or core.functional[name] or core.methods[name]
end

local function live()
  collectgarbage()
  collectgarbage()
  return (tr.live_bytes())
end

describe("a function given anything", function()
  local went_through = 0
  for number, name in ipairs(all_functions()) do
    it(name .. " works or says what is wrong", function()
      local f = find(name)
      assert.is_function(f)
      local pick, list = seeded(number), values()
      local before = live()
      local worked = 0
      for _ = 1, 800 do
        local count = pick(4)
        local arguments = {}
        for i = 1, count do arguments[i] = list[pick(#list)] end
        if pick(2) == 1 then arguments[1] = list[pick(20)] end -- more often a tensor first
        local results = table.pack(pcall(f, table.unpack(arguments, 1, count)))
        if results[1] then
          worked = worked + 1
          local y = results[2]
          assert.is_true(tr.is_tensor(y))
          if y.requires_grad then
            local ok, message = pcall(y.backward, y, tr.ones_like(y:detach()))
            assert.is_true(ok, message)
          end
        else
          local message = tostring(results[2]):gsub("^[^ ]+:%d+: ", "")
          local expected = message:find("^" .. name .. ": ") or message:find "^the tensor was closed"
          assert.is_truthy(expected, message)
        end
      end
      if worked > 0 then went_through = went_through + 1 end
      for _, t in ipairs(list) do
        if tr.is_tensor(t) and pcall(t.dim, t) and t.grad then t.grad = nil end
      end
      assert.equal(before, live())
    end)
  end

  it("goes through now and then: the arguments are not all nonsense", function()
    assert.is_true(went_through > 0.7 * #core.help(), went_through)
  end)
end)

describe("a method or creation given anything", function()
  local functions = {}
  for _, name in ipairs(core.help()) do functions[name] = true end
  local names = {}
  for name in pairs(core.methods) do
    if not functions[name] and name ~= "free" and name ~= "save_npy" then names[#names + 1] = name end
  end
  for _, name in ipairs { "tensor", "zeros", "ones", "empty", "full", "rand", "randn", "zeros_like", "full_like",
    "rand_like", "arange", "eye", "randint", "randperm", "is_tensor", "gradcheck" } do
    names[#names + 1] = name
  end
  table.sort(names)
  for number, name in ipairs(names) do
    it(name .. " works or says what is wrong", function()
      local f = find(name)
      local pick, list = seeded(number), values()
      for i = #list, 1, -1 do -- what calls back, or would print
        if type(list[i]) == "function" then table.remove(list, i) end
      end
      local before = live()
      for _ = 1, 500 do
        local count = pick(4)
        local arguments = {}
        for i = 1, count do arguments[i] = list[pick(#list)] end
        if pick(2) == 1 then arguments[1] = list[pick(20)] end
        local ok, message = pcall(f, table.unpack(arguments, 1, count))
        assert.is_falsy(not ok and tostring(message):find "attempt to", message)
      end
      for _, t in ipairs(list) do
        if tr.is_tensor(t) and pcall(t.dim, t) and t.grad then t.grad = nil end
      end
      assert.equal(before, live())
    end)
  end
end)

--- A list or options table that calls `act` whenever it is read.
local function acting(items, act)
  return setmetatable({}, {
    __len = function() act(); return #items end,
    __index = function(_, key) act(); return items[key] end,
  })
end

--- The same with one name that can be seen: an options table.
local function acting_options(name, value, act)
  return setmetatable({ [name] = value }, { __index = function() act() end })
end

--- A list of n values that nothing else holds: each is made when it is asked for.
local function passing(n, make)
  return setmetatable({}, {
    __len = function() collectgarbage(); return n end,
    __index = function() collectgarbage(); return make() end,
  })
end

describe("a table that acts while it is read", function()
  local F = tr.nn.functional
  local function weight() return tr.rand(2, 2, 2, 4) end

  --- Name, call: t is freed by `act`, so that the call must say so.
  local freeing = {
    reshape = function(t, act) return t:reshape(acting({ -1 }, act)) end,
    view = function(t, act) return t:view(acting({ -1 }, act)) end,
    permute = function(t, act) return t:permute(acting({ 2, 1, 3, 4 }, act)) end,
    expand = function(t, act) return t:expand(acting({ 2, 3, 3, 2 }, act)) end,
    sum = function(t, act) return t:sum(acting({ 1, 2 }, act)) end,
    ["sum, options"] = function(t, act) return t:sum(acting_options("keepdim", true, act)) end,
    cat = function(t, act) return tr.cat(acting({ t, t }, act)) end,
    stack = function(t, act) return tr.stack(acting({ t, t }, act)) end,
    conv2d = function(t, act) return F.conv2d(t, weight(), acting_options("stride", 1, act)) end,
    ["conv2d, stride"] = function(t, act) return F.conv2d(t, weight(), { stride = acting({ 1, 1 }, act) }) end,
    ["conv2d, padding"] = function(t, act) return F.conv2d(t, weight(), { padding = acting({ 1, 1, 1, 1 }, act) }) end,
    conv2d_plan = function(t, act) return tr.conv2d_plan(t, weight(), acting_options("stride", 1, act)) end,
    max_pool2d = function(t, act) return F.max_pool2d(t, acting({ 2, 2 }, act)) end,
    zeros_like = function(t, act) return tr.zeros_like(t, acting_options("dtype", "f64", act)) end,
    full_like = function(t, act) return tr.full_like(t, 1, acting_options("dtype", "f64", act)) end,
    tensor = function(t, act) return tr.tensor(t, acting_options("dtype", "f64", act)) end,
    augment = function(t, act) return core.augment { "flip" }:apply(t, acting_options("seed", 1, act)) end,
    write_file = function(t, act) return core.write_file(os.tmpname(), acting({ t }, act)) end,
    sgd_step = function(t, act) return core.optimizer.sgd_step(acting({ t }, act), {}, { lr = 1 }) end,
    ["sgd_step, options"] = function(t, act)
      return core.optimizer.sgd_step({ t }, {}, acting_options("lr", 1, act))
    end,
    adam_step = function(t, act)
      return core.optimizer.adam_step({ t }, acting({ t }, act), acting({ t }, act), { lr = 1 })
    end,
    gradient_norm = function(t, act) return core.optimizer.gradient_norm(acting({ t }, act)) end,
    scale_gradients = function(t, act) return core.optimizer.scale_gradients(acting({ t }, act), 1) end,
    record_function = function(t, act)
      local outputs = setmetatable({ n = 1 }, { __index = function() act(); return tr.rand(2) end })
      return core.record_function(print, {}, { n = 1, t }, outputs)
    end,
  }
  for name, call in pairs(freeing) do
    it("may free the tensor that " .. name .. " was given", function()
      local t = tr.rand(2, 3, 3, 2)
      local function free() t:free(); collectgarbage() end
      assert.error_matches(function() call(t, free) end, "the tensor was closed")
      assert(pcall(call, tr.rand(2, 3, 3, 2), collectgarbage))
    end)
  end

  it("may hold nothing of what it gives", function()
    local function row() return tr.ones(2, 3) end
    assert.equal(20 * 6, tr.cat(passing(20, row)):sum():item())
    assert.equal(20 * 6, tr.stack(passing(20, row)):sum():item())
    assert.equal(3 * 6, tr.stack(passing(3, row)):sum():item())
    local source = core.concat_sources(passing(4, function() return core.source(tr.rand(2, 4, 4, 1)) end))
    collectgarbage()
    assert.equal(8, #source)
    local paths = passing(5, function() return ("x"):rep(100) .. math.random(1 << 40) end)
    assert.matches("^data.folder: x+%d+: No such file", select(2, core.image_source(paths, { channels = 1, size = 2 })))
    local path = os.tmpname()
    assert(core.write_file(path, passing(3, function() return ("y"):rep(10) .. math.random(1, 9) end)))
    assert.equal(33, #assert(io.open(path)):read "a")
    os.remove(path)
    local bias = setmetatable({ stride = 1 }, { __index = function(_, name)
      collectgarbage()
      if name == "bias" then return tr.ones(4) end
    end })
    assert.same({ 2, 2, 2, 4 }, F.conv2d(tr.zeros(2, 3, 3, 2), weight(), bias):shape())
  end)

  it("may close the source that reads it", function()
    for name, call in pairs {
      images = function(source, list) return source:images(list) end,
      cache = function(source, list) return source:cache(list) end,
      statistics = function(source, list) return source:statistics(list) end,
      save_npy = function(source, list) return source:save_npy(list, os.tmpname()) end,
      looks = function(source, list) return source:fingerprints(list, { 1, 1, 1 }, 4, 0.9, 1) end,
    } do
      local source = core.source(tr.rand(4, 4, 4, 1))
      local function close() getmetatable(source).__gc(source) end
      local ok, message = pcall(call, source, acting({ 1, 2, 3 }, close))
      assert.is_false(ok, name)
      assert.matches("the source of images was closed", message, name)
      assert(pcall(call, core.source(tr.rand(4, 4, 4, 1)), acting({ 1, 2, 3 }, collectgarbage)))
    end
  end)

  it("is read as what it says: __index and __len count", function()
    local function nothing() end
    assert.same({ 2, 3 }, tr.zeros(acting({ 2, 3 }, nothing)):shape())
    assert.same({ 1, 2, 3 }, tr.tensor(acting({ 1, 2, 3 }, nothing)):totable())
    assert.equal("f64", tr.zeros(2, setmetatable({}, { __index = { dtype = "f64" } })).dtype)
  end)
end)

describe("a finalizer that runs inside a call", function()

  --- What the call says when a finalizer closes its object where the call first lets the collector run: this makes a
  -- whole round at once.
  local function said(make, call)
    local mode, ok, message = collectgarbage "incremental", nil, nil
    collectgarbage("incremental", 200, 100, 60)
    collectgarbage()
    for _ = 1, 70 do -- backward looks at the collector at every 64th call
      collectgarbage "stop"
      local object, closed = make(), false
      setmetatable({}, { __gc = function() closed = true; getmetatable(object).__gc(object) end })
      collectgarbage "restart"
      ok, message = pcall(call, object)
      if closed then break end
    end
    collectgarbage("incremental", 200, 100, 13)
    collectgarbage(mode)
    return not ok and message
  end

  local function source() return core.source(tr.rand(4, 4, 4, 1)) end
  local function loader() return core.loader(source(), { 1, 2 }, { 1, 1 }, { classes = 1, workers = 0 }) end

  it("may close what the call was given", function()
    local x = tr.nn.Parameter(tr.ones(2))
    for name, case in pairs {
      detach = { function() return tr.rand(3) end, function(t) t:detach() end },
      source = { function() return tr.rand(2, 3, 3) end, function(t) core.source(t) end },
      backward = { function() return (x * 2):sum() end, function(t) t:backward() end },
      Function = { function() return tr.rand(2) end, function(t)
        core.record_function(print, {}, { n = 1, t }, { n = 1, t })
      end },
      read = { source, function(s) s:read(1) end },
      images = { source, function(s) s:images { 1 } end },
      start = { loader, function(l) l:start(1, 1) end },
      order = { loader, function(l) l:order(1) end },
    } do
      assert.matches("closed", said(table.unpack(case)) or "nothing", name)
    end
  end)
end)

describe("a size that nothing holds", function()
  local source = core.source(tr.rand(4, 4, 4, 1))
  local labels = { classes = 1 }
  local function conv2d(o) return tr.nn.functional.conv2d(tr.rand(1, 3, 3, 1), tr.rand(2, 2, 1, 1), o) end

  it("is refused before it is added or multiplied", function()
    local long = tr.rand(1):expand(1 << 58)
    local list = {}
    for i = 1, 64 do list[i] = long end
    assert.error_matches(function() tr.cat(list) end, "cat: .*memory can address")
    assert.error_matches(function() tr.stack(list) end, "stack: .*memory")
    assert.error_matches(function() long:clone() end, "clone: not enough memory")
    assert.error_matches(function() tr.nn.functional.linear(long:unsqueeze(2), tr.rand(1, 1 << 10)) end, "memory")
    assert.equal(1, tr.zeros(3, 4):slice(1, 2, 2, math.maxinteger):size(1))
    for _, n in ipairs { 1 << 61, (1 << 31) + 5, 1 << 40, -1, math.mininteger } do
      local list_of_n = setmetatable({}, { __len = function() return n end, __index = function() return 1 end })
      for name, call in pairs {
        zeros = function() return tr.zeros(n, 8) end,
        ["zeros of a list"] = function() return tr.zeros(list_of_n) end,
        tensor = function() return tr.tensor(list_of_n) end,
        cat = function() return tr.cat(list_of_n) end,
        reshape = function() return tr.rand(2):reshape(list_of_n) end,
        sum = function() return tr.rand(2):sum(list_of_n) end,
        stride = function() return conv2d { stride = n } end,
        padding = function() return conv2d { padding = n } end,
        dilation = function() return conv2d { dilation = n } end,
        strides = function() return conv2d { stride = list_of_n } end,
        one_hot = function() return tr.one_hot(tr.tensor({ 1, 1, 1, 1 }, { dtype = "i64" }), n) end,
        randperm = function() return tr.randperm(n < 0 and n or n << 10 | 1 << 50) end,
        shuffled = function() return core.shuffled(n, 1, 1) end,
        concat_sources = function() return core.concat_sources(list_of_n) end,
        image_source = function() return core.image_source(list_of_n, {}) end,
        images = function() return source:images(list_of_n) end,
        image = function() return source:images { n } end,
        read = function() return source:read(n) end,
        loader = function() return core.loader(source, list_of_n, list_of_n, labels) end,
        classes = function() return core.loader(source, { 1 }, { 1 }, { classes = n, balanced = true }):order(1) end,
        label = function() return core.loader(source, { 1 }, { n }, labels) end,
        position = function() return core.loader(source, { n }, { 1 }, labels) end,
        first = function() return core.loader(source, { 1 }, { 1 }, labels):start(1, n) end,
        augment = function() return core.augment(list_of_n) end,
        write_file = function() return core.write_file(os.tmpname(), list_of_n) end,
        sgd_step = function() return core.optimizer.sgd_step(list_of_n, list_of_n, {}) end,
        fabric = function() return core.fabric { count = n, classes = { "good" }, weave = "plain" } end,
        ["fabric, size"] = function()
          return core.fabric { count = 1, height = n, width = n, classes = { "good" }, weave = "plain" }
        end,
        read_tensor = function() return core.read_tensor("/bin/sh", 0, "F32", { n, 3 }) end,
        record_function = function() return core.record_function(print, {}, { n = n }, { n = n }) end,
      } do
        local huge = n > 1 << 40 or n < 0
        if huge or not ({ fabric = 1, one_hot = 1, read_tensor = 1 })[name] then -- else a machine may have that memory
          local ok, message = pcall(call)
          assert.is_false(ok, name .. " took " .. n)
          assert.is_nil(tostring(message):find "attempt to", message)
        end
      end
    end
  end)
end)

describe("a C function that is given something else than it takes", function()
  local function says(message, f, ...)
    local ok, got = pcall(f, ...)
    assert.is_false(ok)
    assert.equal(message, (got:gsub("^[^:]*:%d+: ", "")))
  end

  it("says its name, that of the argument and what it got", function()
    says("load_npy: the path must be a string, got nil", tr.load_npy)
    says("load_npy: the path can't hold a zero byte, as the one behind 'a'", tr.load_npy, "a\0b")
    says("load_npz: the name must be a string, got true", tr.load_npz, "x.npz", true)
    says("load_hdf5: the dataset must be a string, got nil", tr.load_hdf5, "x.h5")
    says("write_png: a tensor is expected as argument 2, got 'x'", tr.write_png, "x.png", "x")
    says("make_folder: the path must be a string, got a table", tr.make_folder, {})
    says("read_csv: the path must be a string, got nil", tr.read_csv)
    says("source: stored must be a string, got a table", core.source, tr.zeros(1, 2, 2), nil, {})
    says("loader: the options must be a table, got nil", core.loader, nil, {}, {})
    says("fabric: the options must be a table, got 'x'", core.fabric, "x")
    says("read_tensor: a file is expected as argument 1, got nil", core.read_tensor)
    says("columns: a file is expected as argument 1, got 3.5", core.process.columns, 3.5)
    says("number_text: the value must be a number, got nil", core.number_text)
    says("text_less: b must be a string, got nil", core.text_less, "x")
  end)

  it("says the name it has in the library, however it was called", function()
    local f = tr.zeros_like
    says("zeros_like: a tensor is expected as argument 1, got nil", f)
    says("allclose: a tensor is expected as argument 2, got 'x'", tr.allclose, tr.ones(1), "x")
    says("totable: a tensor is expected as argument 1, got a table", core.methods.totable, {})
    says("allclose: a tensor is expected as argument 1, got 'x'", function() tr.ones(1):allclose "x" end)
  end)

  it("says so also as a finalizer or a metamethod of another kind", function()
    local set = tr.data.tensors { images = tr.zeros(2, 4, 4, 1), labels = { 1, 2 }, classes = { "a", "b" } }
    for _, object in ipairs { tr.ones(1), set.source, set:loader {}.handle } do
      local kind = getmetatable(object)
      for _, name in ipairs { "__gc", "__len", "__tostring", "__index" } do
        local method = kind[name]
        if type(method) == "function" then
          for _, wrong in ipairs { 1, {}, io.stdout, "x" } do
            local _, message = pcall(method, wrong, "dtype")
            assert.is_nil(tostring(message):find "bad argument")
            assert.matches("is expected as argument 1, got", message)
          end
        end
      end
    end
  end)
end)
