--- What several specs need: the shared real data, temporary folders, child processes.
local support = {}

--- The interpreter that child processes run.
support.lua = os.getenv "TEXRES_LUA" or "lua5.4"

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end
support.exists = exists

--- Where a file of the shared folder (real fabric, contract scripts) is; nil where the folder is absent. The folder is
-- $TEXRES_SHARED, or `shared` beside the checkout.
function support.shared(path)
  local full = (os.getenv "TEXRES_SHARED" or "../shared") .. "/" .. path
  return exists(full) and full or nil
end

--- The same inside `it`: a test that needs an absent file is skipped, with a message. `pending` is busted's function of
-- that name, which only the spec file sees.
function support.need_shared(path, pending)
  return support.shared(path) or pending("shared/" .. path .. " is not on this machine")
end

--- A new empty folder; removed with everything in it at the end of the process.
local folders = setmetatable({}, {
  __gc = function(list)
    for _, path in ipairs(list) do os.execute("rm -rf " .. path) end
  end,
})
function support.folder()
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkdir " .. path))
  folders[#folders + 1] = path
  return path
end

function support.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

function support.read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Runs a program and waits for it: run({"lua5.4", "examples/x.lua"}, {env = {TEXRES_NUM_THREADS = 1}}).
-- Returns whether it ended with status 0, what it wrote to stdout and stderr together, and the status.
function support.run(words, options)
  local parts = { "env" }
  for name, value in pairs(options and options.env or {}) do parts[#parts + 1] = quote(name .. "=" .. value) end
  for _, word in ipairs(words) do parts[#parts + 1] = quote(word) end
  local pipe = io.popen(table.concat(parts, " ") .. " 2>&1 </dev/null")
  local output = pipe:read "a"
  local ok, _, status = pipe:close()
  return ok == true, output, status
end

--- Runs Lua source text in a fresh interpreter that finds this checkout's texres.
function support.run_lua(source, options) return support.run({ support.lua, "-e", source }, options) end

--- Runs bin/texres with an environment that knows nothing of this checkout: its exit status, what it wrote to standard
-- output, and to standard error. Options: input, a text for its standard input; script, a shell's words around "$@",
-- such as 'timeout 5 "$@"'.
function support.texres_in(options, ...)
  local input, errors = os.tmpname(), os.tmpname()
  support.write_file(input, options.input or "")
  local _, output, status = support.run({ "sh", "-c", ("exec <%s 2>%s; %s"):format(input, errors,
    options.script or 'exec "$@"'), "sh", support.lua, "bin/texres", ... },
    { env = { LUA_PATH = ";;", LUA_CPATH = ";;" } })
  local told = support.read_file(errors)
  os.remove(input)
  os.remove(errors)
  return status, output, told
end

--- The same without options.
function support.texres(...) return support.texres_in({}, ...) end

return support
