--- Every function of texres.help() with arguments that it was not made for: it may work or raise a message that begins
-- with its name; it may not crash, nor leak, nor raise anything else.
local tr = require "texres"

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
  for _, name in ipairs(tr.help()) do functions[#functions + 1] = name end
  table.sort(functions)
  return functions
end

local function find(name)
  return tr[name] or tr.nn.functional[name] or tr.methods[name]
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
    assert.is_true(went_through > 0.7 * #tr.help(), went_through)
  end)
end)

describe("a method or creation given anything", function()
  local functions = {}
  for _, name in ipairs(tr.help()) do functions[name] = true end
  local names = {}
  for name in pairs(tr.methods) do
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
