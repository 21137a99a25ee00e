--- Calls the public Lua interface with random arguments of every type.
--
--     lua5.4 fuzz/interface.lua [--calls N] [--seed N] [--from N] [--seconds N] [--trace]
--
-- A call takes a function of the library, or a method of an object that an earlier call made, and arguments from all
-- that Lua has: sizes from nothing to beyond 2^63, NaN, freed tensors, tables whose metamethods free, collect, raise or
-- yield, callbacks that call the library again, coroutines that are left alone, hooks as debuggers set them. A call may
-- succeed, return nil and a message, or raise. It must not
--
--   - crash, or let a sanitizer report (`make fuzz` runs this file with AddressSanitizer and UBSan);
--   - raise an error that blames a line of the library: that is a slip of ours, not a caller's mistake;
--   - say that it was interrupted when nobody pressed anything;
--   - take longer than SECONDS_PER_CALL.
--
-- Every call has a generator of its own, seeded by the run's seed and the call's number, so that `--from N --calls 50
-- --trace` shows what stood around a finding. Objects of earlier calls may be missing then; start earlier if so.

local SECONDS_PER_CALL = 20
local POOL = 48 -- objects that are kept for later calls
local MAX_ELEMENTS = 1 << 16 -- of a tensor that is kept

local options = { calls = 1000000, seed = 1, from = 1, seconds = math.huge, trace = false }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match "^%-%-(%a+)$"
    if name == "trace" then
      options.trace = true
    elseif name and options[name] ~= nil then
      i = i + 1
      options[name] = tonumber(arg[i]) or error("--" .. name .. " wants a number")
    else
      error("unknown argument " .. arg[i])
    end
    i = i + 1
  end
end

local texres = require "texres"
local core = require "texres.core"
local nn = texres.nn

local random = math.random
local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

-- -- what can be called ----------------------------------------------------------------------------------------------

-- Left out: what measures the machine, waits for signals, or changes the process as it is meant to.
-- multiply_adds is asked by summary and profile, with what went through the layer.
local LEFT_OUT = {
  multiply_adds = true, process = true, fma_peak = true, dot_peak = true, set_num_threads = true, loader_threads = true,
}

local functions = {} -- list of { name =, call = }
local known = {} -- table -> true

local function is_callable(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(value) == "function" or (type(meta) == "table" and meta.__call ~= nil)
end

local function collect(name, members, depth)
  if known[members] or depth > 4 then return end
  known[members] = true
  local names = {}
  for key in pairs(members) do
    if type(key) == "string" and key:sub(1, 1) ~= "_" and not LEFT_OUT[key] then names[#names + 1] = key end
  end
  table.sort(names)
  for _, key in ipairs(names) do
    local value = members[key]
    if is_callable(value) then functions[#functions + 1] = { name = name .. "." .. key, call = value } end
    local is_class = type(value) == "table" and rawget(value, "__index") ~= nil -- its methods are called on its objects
    if type(value) == "table" and not is_class then collect(name .. "." .. key, value, depth + 1) end
  end
end

for _, part in ipairs { "nn", "optim", "models", "onnx", "data", "gradcheck", "Function", "Trainer", "load", "save" } do
  local value = texres[part] -- loads it
  if is_callable(value) then functions[#functions + 1] = { name = part, call = value } end
end
collect("texres", texres, 1)
collect("texres.core", core, 1)
collect("tensor", getmetatable(texres.ones(1)), 1)
table.sort(functions, function(a, b) return a.name < b.name end)

--- The names of an object's methods, also those of its classes.
local vocabulary = setmetatable({}, { __mode = "k" })
local function methods_of(object)
  local meta = getmetatable(object)
  if type(meta) ~= "table" then return {} end
  if vocabulary[meta] then return vocabulary[meta] end
  local names, seen = {}, {}
  local class = meta
  for _ = 1, 8 do
    if type(class) ~= "table" then break end
    for key, value in next, class do
      -- __newindex of a Lua object would only spoil what is the object's own
      local private = LEFT_OUT[key] or type(object) == "table" and (key == "__newindex" or key == "__index")
      if type(key) == "string" and is_callable(value) and not seen[key] and not private then
        seen[key] = true
        names[#names + 1] = key
      end
    end
    local index = rawget(class, "__index")
    if type(index) == "table" and index ~= class then class = index else class = getmetatable(class) end
  end
  if texres.is_tensor(object) then
    for key in pairs(core.methods or {}) do names[#names + 1] = key end
  end
  table.sort(names)
  vocabulary[meta] = names
  return names
end

-- -- arguments -------------------------------------------------------------------------------------------------------

local SENTINEL = setmetatable({}, { __tostring = function() return "an error of the fuzzer" end })
local pool = {}

local INTEGERS = {
  0, 1, 2, 3, 4, 5, 8, 16, 64, 100, 4097, -1, -2, -3, -100, 255, 256, 300, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31,
  1 << 32, (1 << 53) + 1, 1 << 58, 1 << 61, 1 << 62, math.maxinteger, math.mininteger, math.mininteger + 1,
}
local FLOATS = {
  0.0, -0.0, 0.5, 1.0, 2.0, 1.5, -1.5, 0.1, 1e-45, 1e300, -1e300, 2.0 ^ 53, 2.0 ^ 63, 1 / 0, -1 / 0, 0 / 0,
}
local STRINGS = {
  "", "f32", "f64", "u8", "i64", "f16", "x", "y", "mean", "sum", "none", "max", "label", "source", "weight", "bias",
  "adamw", "sgd", "cross_entropy", "focal_loss", "one_cycle", "cosine", "flip", "rotate90", "mixup", "balanced",
  "file.npy", "file.npz", "file.png", "file.csv", "file.safetensors", "file.onnx", "folder", "folder/file", ".", "..",
  "\0", "\27[31m", "\255\254", "%s%d%n", ("long"):rep(300), "nan", "1", "0x10", "1,5",
}
local NAMES = {
  "dtype", "requires_grad", "seed", "stride", "padding", "dilation", "groups", "bias", "batch", "shuffle", "balanced",
  "weights", "classes", "mean", "std", "workers", "augment", "epochs", "optimizer", "schedule", "lr", "momentum",
  "beta1", "eps", "weight_decay", "images", "labels", "file", "path", "size", "channels", "cache", "scale", "count",
  "group", "column", "keepdim", "weight", "gamma", "smoothing", "epoch", "params", "model", "input", "dir", "patience",
  "loss", "normalize", "stratify", "meta", "dataset", "width", "columns", "samples", "step", "start", "every", "quiet",
  "name", "parts", "drop_last", "decoupled", "first", "nesterov", "ceil_mode", "reduction", "cloths", "forward",
}
local SHAPES = {
  {}, { 1 }, { 3 }, { 6 }, { 2, 3 }, { 3, 2 }, { 4, 4 }, { 0 }, { 0, 3 }, { 2, 0, 4 }, { 2, 8, 8, 3 }, { 1, 8, 8, 1 },
  { 3, 3, 3, 4 }, { 3, 3, 1, 4 }, { 1, 1, 3, 2 }, { 2, 9, 7, 4 }, { 8, 8, 1 }, { 5, 6 }, { 33, 17 },
  { 1, 1, 1, 1, 1, 2 },
}
local DTYPES = { "f32", "f32", "f32", "f64", "u8", "i64" }

local function new_tensor()
  local shape, dtype = pick(SHAPES), pick(DTYPES)
  local t = texres.randint(0, 6, shape, { dtype = "i64" }):to(dtype)
  if (dtype == "f32" or dtype == "f64") and chance(0.3) then t.requires_grad = true end
  if chance(0.1) and t:dim() > 1 then return t:transpose(1, 2) end
  if chance(0.05) then return t:unsqueeze(1):expand(3, table.unpack(shape)) end
  if chance(0.01) then return texres.rand(1):expand(1 << pick { 10, 40, 58 }) end
  return t
end

local value -- function(depth)
local call_something -- function(depth)

--- Does what a callback or a metamethod can do to the library while it waits.
local function mischief(depth)
  local what = random(8)
  if what == 1 then
    collectgarbage()
  elseif what == 2 then
    local object = pool[random(POOL)]
    if texres.is_tensor(object) then object:free() end
  elseif what == 3 then
    error(pick { SENTINEL, "an error of the fuzzer", 7, setmetatable({}, {
      __tostring = function() error(SENTINEL) end,
    }) }, 0)
  elseif what == 4 and coroutine.isyieldable() then
    coroutine.yield(value(depth + 1))
  elseif what == 5 and depth < 3 then
    call_something(depth + 1)
  end
end

local function new_callback(depth)
  return function(...)
    if chance(0.4) then mischief(depth + 1) end
    if chance(0.4) then return ... end
    return value(depth + 1)
  end
end

local function hostile_table(depth)
  local length = pick(INTEGERS)
  return setmetatable({}, {
    __index = function(_, key)
      if chance(0.3) then mischief(depth + 1) end
      if math.type(key) == "integer" and key > 64 then return nil end
      if chance(0.6) then return random(4) end
      return value(depth + 1)
    end,
    __len = function()
      if chance(0.3) then mischief(depth + 1) end
      return chance(0.7) and random(0, 4) or length
    end,
    __pairs = chance(0.1) and function() return new_callback(depth) end or nil,
    __close = function() end,
    __name = chance(0.5) and "texres.tensor" or nil,
  })
end

local function new_table(depth)
  local t = {}
  if chance(0.3) then
    for d, n in ipairs(pick(SHAPES)) do t[d] = n end
  elseif chance(0.5) then
    for i = 1, random(0, 4) do t[i] = value(depth + 1) end
  end
  if chance(0.6) then
    for _ = 1, random(3) do t[pick(NAMES)] = value(depth + 1) end
  end
  if chance(0.02) then t[1] = t end
  return t
end

local function new_module()
  return pick {
    function() return nn.Linear(3, 2) end, function() return nn.Conv2d(3, 4, 3, { padding = 1 }) end,
    function() return nn.Sequential { nn.Conv2d(3, 4, 3), nn.BatchNorm(4), nn.ReLU() } end,
    function() return nn.Residual { nn.Linear(3, 3), nn.ReLU() } end, function() return nn.Dropout(0.5) end,
    function() return nn.Sequential { nn.GlobalAvgPool(), nn.Linear(3, 6) } end, function() return nn.BatchNorm(3) end,
    function() return nn.Concat { nn.Linear(3, 2), nn.Linear(3, 1) } end, function() return nn.MaxPool2d(2) end,
  }()
end

local function new_set()
  return texres.data.tensors {
    images = texres.rand(12, 8, 8, 3), labels = { 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3 },
    classes = { "good", "cut", "hole" }, meta = { source = { 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3 } }, groups = "source",
  }
end

local KINDS = {
  { 30, function() return new_tensor() end },
  { 25, function() return pool[random(POOL)] end },
  { 20, function() return pick(INTEGERS) end },
  { 10, function() return random(4) end },
  { 10, function() return pick(FLOATS) end },
  { 12, function() return pick(STRINGS) end },
  { 18, new_table },
  { 6, hostile_table },
  { 5, new_callback },
  { 4, function() return new_module() end },
  { 2, function() return new_set() end },
  { 3, function() return chance(0.5) end },
  { 3, function() return nil end },
  { 1, function() return coroutine.create(function() end) end },
  { 1, function() return io.stdout end },
  { 1, function() return pick(functions).call end },
}
local TOTAL = 0
for _, kind in ipairs(KINDS) do TOTAL = TOTAL + kind[1] end

function value(depth)
  if depth > 4 then return pick(INTEGERS) end
  local left = random(TOTAL)
  for _, kind in ipairs(KINDS) do
    left = left - kind[1]
    if left <= 0 then return kind[2](depth) end
  end
end

-- -- calls -----------------------------------------------------------------------------------------------------------

local function keep(object)
  local kind = type(object)
  if kind ~= "userdata" and kind ~= "table" then return end
  if texres.is_tensor(object) and not chance(0.02) then
    local ok, count = pcall(function() return object:numel() end)
    if not ok or count > MAX_ELEMENTS then return end
  end
  pool[random(POOL)] = object
end

local function text_of(object)
  if texres.is_tensor(object) then
    local ok, text = pcall(function() return ("%s{%s}"):format(object.dtype, table.concat(object:shape(), ",")) end)
    return ok and text or "freed tensor"
  end
  if type(object) == "string" then return ("%q"):format(object:sub(1, 40)) end
  if type(object) == "number" then return tostring(object) end
  if type(object) ~= "table" or getmetatable(object) then return type(object) end
  local parts = {}
  for key, item in pairs(object) do
    if item ~= object and #parts < 8 then
      parts[#parts + 1] = tostring(key) .. "=" .. (type(item) == "table" and "{..}" or text_of(item))
    end
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local current -- the call under way, as text
local slips = {} -- errors of ours -> how often

local function check_error(name, message)
  if type(message) ~= "string" then return end
  local ours = message:match "texres/[%w_/]+%.lua:%d+: .*" or message:match "^interrupted.*"
  if not ours then return end
  local key = ours:gsub("%-?%d[%d%.e+]*", "#"):gsub("0x%x+", "#"):sub(1, 100)
  slips[key] = (slips[key] or 0) + 1
  if slips[key] == 1 then io.stderr:write(("slip: %s\n  %s\n"):format(current or name, ours:sub(1, 300))) end
end

local function choose()
  if chance(0.35) then
    local object = pool[random(POOL)]
    local names = object ~= nil and methods_of(object) or {}
    if #names > 0 then
      local name = pick(names)
      return name, function(...)
        local meta = getmetatable(object)
        if name:sub(1, 2) == "__" then return meta[name](object, ...) end
        return object[name](object, ...)
      end
    end
  end
  local entry = pick(functions)
  return entry.name, entry.call
end

local function arguments(depth)
  local list = { n = random(0, 5) }
  for i = 1, list.n do list[i] = value(depth) end
  return list
end

function call_something(depth)
  local name, fn = choose()
  local list = arguments(depth)
  if depth == 1 then
    local parts = {}
    if options.trace then
      for i = 1, list.n do parts[i] = text_of(list[i]) end
    end
    current = ("%d: %s(%s)"):format(options.call, name, table.concat(parts, ", "))
    if options.trace then io.stderr:write(current, "\n") end
  end
  local results
  if chance(0.1) then
    local thread = coroutine.create(function(...) return fn(...) end)
    results = table.pack(coroutine.resume(thread, table.unpack(list, 1, list.n)))
    for _ = 1, 3 do
      if coroutine.status(thread) ~= "suspended" or chance(0.3) then break end
      coroutine.resume(thread, value(depth))
    end
    if chance(0.5) then coroutine.close(thread) end
  else
    results = table.pack(pcall(fn, table.unpack(list, 1, list.n)))
  end
  if not results[1] then
    check_error(name, results[2])
  else
    for i = 2, math.min(results.n, 4) do keep(results[i]) end
  end
end

local started, deadline = os.time(), nil
local function on_count()
  if os.clock() > deadline then
    deadline = math.huge
    error("the fuzzer's time limit: " .. current, 0)
  end
end

local slow = 0
for call = options.from, options.from + options.calls - 1 do
  math.randomseed(options.seed, call)
  options.call = call
  local before = os.clock()
  deadline = before + SECONDS_PER_CALL
  debug.sethook(on_count, "", pick { 10, 100, 1000, 10000 })
  call_something(1)
  debug.sethook()
  local taken = os.clock() - before
  if taken > SECONDS_PER_CALL then
    slow = slow + 1
    io.stderr:write(("slow: %.1f s: %s\n"):format(taken, current))
  end
  if call % 64 == 0 then
    if not texres.grad_enabled() then
      io.stderr:write("recording is off after " .. current .. "\n")
      os.exit(1, true)
    end
    for i = 1, POOL do
      if chance(0.1) then pool[i] = nil end
    end
  end
  if call % 10000 == 0 then
    collectgarbage()
    io.stderr:write(("%d calls, %d s, %d MB of tensors\n"):format(call, os.time() - started, texres.live_bytes() >> 20))
    if os.time() - started > options.seconds then break end
  end
end

local count = slow
for _ in pairs(slips) do count = count + 1 end
print(("%d findings"):format(count))
os.exit(count == 0, true)
