--- Checks what the compiler can't: that every floor of csrc/ uses only the floors below it, and the house's few
-- other rules.
--
--     lua5.4 tools/floors.lua [lua/texres/core.so [lua/texres/mpi.so]]
--
-- With built modules, also that each exports no symbol but its luaopen_*, that the core needs none of MPI, and that
-- mpi.so needs none of the core. Prints one line per fault.

local FLOORS = {
  base = 0, kernels = 1, passes = 2, tensor = 3, quantized = 3, autograd = 4, data = 5, fabric = 6, fingerprint = 6,
  lua = 7, mpi = 8,
}
-- what stands in one file, or one folder, only
local ALONE = {
  { "#%s*include%s*[<\"][%w./]*lua%w*%.h", "^csrc/[lm]%l%l/", "lua.h belongs to csrc/lua/ and csrc/mpi/" },
  { "#%s*include%s*[<\"][%w./]*lauxlib%.h", "^csrc/[lm]%l%l/", "lauxlib.h belongs to csrc/lua/ and csrc/mpi/" },
  { "#%s*include%s*[<\"]mpi%.h", "^csrc/mpi/wire%.c$", "mpi.h belongs to csrc/mpi/wire.c" },
  { "#%s*include%s*[<\"][%w./]*cblas%.h", "^csrc/passes/gemm%.c$", "cblas.h belongs to csrc/passes/gemm.c" },
  { "snprintf%(.*%%[%d%.*]*[efg]", "^csrc/base/text%.c$", "a number becomes text by tx_format (base/text.h)" },
  { "strto[df]%(", "^csrc/base/text%.c$", "text is read as a number by tx_text_value (base/text.h)" },
  { "#define STB_[%w_]*IMPLEMENTATION", "^csrc/data/stb%.c$", "stb's implementation belongs to csrc/data/stb.c" },
}
for _, bare in ipairs { "luaL_check[^s]", "luaL_checkstr", "luaL_opt", "luaL_arg" } do -- their "bad argument #2 to '?'"
  ALONE[#ALONE + 1] = { bare, "^csrc/lua/binding%.c$", "arguments are read by tx_check_* of csrc/lua/binding.h" }
end
-- what a floor leaves to another one; no header that it includes may bring it in either
local LEAVES = {
  kernels = {
    ["base/threads.h"] = "kernels run on one thread", ["pthread.h"] = "kernels run on one thread",
    ["base/memory.h"] = "kernels allocate nothing", ["stdlib.h"] = "kernels allocate nothing",
  },
  autograd = {
    ["base/threads.h"] = "threads belong to csrc/passes/", ["kernels/kernels.h"] = "kernels belong to csrc/passes/",
    ["kernels/plain.h"] = "kernels belong to csrc/passes/",
  },
}
-- While Ctrl-C is watched for, nothing of Lua may be called: it could run a finalizer that ends the watch unseen, or
-- raise and leave it open. What ends it, or raises with it ended:
local ENDS_WATCH = {
  "tx_check_interrupt", "tx_end_watch", "tx_return_%w+", "tx_raise", "tx_error", "raise_%w+", "fail_%w+",
}
local CALLS_LUA = { "lua_%w+", "luaL_%w+", "tx_new_%w+", "tx_pace_collector" }
-- no floor prints or ends the process
local FORBIDDEN = { "printf", "fprintf", "puts", "putchar", "exit", "abort", "perror" }

local faults = 0
local function fault(path, line, message)
  faults = faults + 1
  print(("%s:%d: %s"):format(path, line, message))
end

--- The text without comments, line breaks kept.
local function without_comments(text)
  local function blank(s) return (s:gsub("[^\n]", " ")) end
  return (text:gsub("/%*.-%*/", blank):gsub("//[^\n]*", blank))
end

local function calls_one_of(code, names)
  for _, name in ipairs(names) do
    if code:find("%f[%w_]" .. name .. "%s*%(") then return true end
  end
  return false
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

--- The header that a line includes, else nil.
local function included(line) return line:match '^%s*#%s*include%s*[<"]([^>"]+)[>"]' end

local reached = {} -- header of csrc/ -> set of the headers that it includes, itself or by another one

local function reached_by(header)
  if reached[header] then return reached[header] end
  local set = { [header] = true }
  reached[header] = set
  if FLOORS[header:match "^(%w+)/"] then
    for line in without_comments(read("csrc/" .. header)):gmatch "[^\n]+" do
      for further in pairs(included(line) and reached_by(included(line)) or {}) do set[further] = true end
    end
  end
  return set
end

local function check(path)
  local text = read(path)
  if not text:find "^/%*" then fault(path, 1, "a file opens with a comment that says what it is") end
  local floor = path:match "^csrc/(%w+)/"
  local rank = FLOORS[floor] or fault(path, 1, "unknown floor " .. tostring(floor))
  local guard = "TX_" .. path:match("^csrc/(.*)$"):upper():gsub("[/.]", "_")
  local is_header = path:find "%.h$" and not path:find "_body%.h$" -- a body is included once for each dtype
  if is_header and not text:find("#ifndef " .. guard, 1, true) then
    fault(path, 1, "include guard " .. guard .. " is missing")
  end
  local number, watching = 0, false
  for line in (without_comments(text) .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local header = included(line)
    local used = header and header:match "^(%w+)/"
    if header and header:find("..", 1, true) then fault(path, number, "headers are named from csrc/ on") end
    if rank and FLOORS[used] and FLOORS[used] > rank then
      fault(path, number, ("%s includes %s, which stands above it"):format(floor, used))
    end
    for left, reason in pairs(header and LEAVES[floor] or {}) do
      if reached_by(header)[left] then
        fault(path, number, left == header and reason or ("%s (%s includes %s)"):format(reason, header, left))
      end
    end
    for _, rule in ipairs(ALONE) do
      if line:find(rule[1]) and not path:find(rule[2]) then fault(path, number, rule[3]) end
    end
    local code = line:gsub('"[^"]*"', '""')
    if line:find "^}" or calls_one_of(code, ENDS_WATCH) then watching = false end
    if watching and calls_one_of(code, CALLS_LUA) then
      fault(path, number, "Lua is called while Ctrl-C is watched for (csrc/lua/binding.h)")
    end
    if code:find "^%s+tx_watch_interrupt[_later]*%(" then watching = true end
    for _, name in ipairs(FORBIDDEN) do
      if code:find("%f[%w_]" .. name .. "%s*%(") then
        fault(path, number, name .. ": the core neither prints nor ends the process")
      end
    end
  end
end

for path in io.popen("find csrc -name '*.[ch]' | LC_ALL=C sort"):lines() do check(path) end

--- Checks a module: its one symbol, and that it needs none of those that a pattern tells.
local function check_module(path, own, foreign)
  for line in io.popen(("nm -D '%s'"):format(path)):lines() do
    local kind, symbol = line:match "(%a) (%S+)$"
    if kind == "U" then
      if symbol:find(foreign) then fault(path, 0, "needs " .. symbol) end
    elseif kind ~= "w" and symbol ~= own then
      fault(path, 0, "exports " .. symbol)
    end
  end
end

if arg[1] then check_module(arg[1], "luaopen_texres_core", "^P?MPI_") end
if arg[2] then check_module(arg[2], "luaopen_texres_mpi", "^tx_") end
os.exit(faults == 0)
