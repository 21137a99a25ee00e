--- Runs the specs, each file in a process of its own, and closes with the line `N passed, N failed`.
--
--     lua5.4 tools/test.lua [-j N] [FILE_spec.lua ...]        (default: every spec/**/*_spec.lua)
--
-- A spec file that crashes the interpreter counts as one failure and does not take the others with it. The numbers are
-- the ones that busted reports. BUSTED is the command that runs busted.

local BUSTED = os.getenv "BUSTED" or "lua5.4 /usr/bin/busted --ignore-lua"
local STATUS = "^(%d+) success%a* / (%d+) failure%a* / (%d+) error%a* / (%d+) pending : ([%d.]+) second"

local jobs, files = 1, {}
do
  local i = 1
  while arg[i] do
    if arg[i] == "-j" then
      jobs, i = math.tointeger(arg[i + 1]) or error "-j wants a number", i + 2
    else
      files[#files + 1], i = arg[i], i + 1
    end
  end
end
if #files == 0 then
  for path in io.popen("find spec -name '*_spec.lua' | LC_ALL=C sort"):lines() do files[#files + 1] = path end
end

local function start(path)
  return io.popen(("%s --output=plainTerminal '%s' </dev/null 2>&1"):format(BUSTED, path))
end

--- Reads a spec's output to its end; returns passed, failed, skipped, seconds and the text.
local function finish(pipe)
  local lines, passed, failed, skipped, seconds = {}, 0, 0, 0, 0
  for line in pipe:lines() do
    local successes, failures, errors, pending, time = line:match(STATUS)
    if successes then
      passed, failed = math.tointeger(successes), failures + errors
      skipped, seconds = math.tointeger(pending), tonumber(time)
    end
    lines[#lines + 1] = line
  end
  local ok, how, code = pipe:close()
  if not ok and failed == 0 then
    failed = 1
    lines[#lines + 1] = ("the process ended with %s %d"):format(how, code)
  end
  return passed, math.tointeger(failed), skipped, seconds, table.concat(lines, "\n")
end

local total = { passed = 0, failed = 0, skipped = 0 }
local running = {}
for i = 1, math.min(jobs, #files) do running[i] = start(files[i]) end
for i, path in ipairs(files) do
  local passed, failed, skipped, seconds, text = finish(running[i])
  running[i] = false
  if files[i + jobs] then running[i + jobs] = start(files[i + jobs]) end
  total.passed, total.failed, total.skipped = total.passed + passed, total.failed + failed, total.skipped + skipped
  local note = skipped > 0 and (", %d skipped"):format(skipped) or ""
  print(("%-44s %4d passed, %d failed%s  (%.1f s)"):format(path, passed, failed, note, seconds))
  if failed > 0 or skipped > 0 then print((text:gsub("^[-+.*\n]+", "\n"))) end
  io.stdout:flush()
end

if total.skipped > 0 then print(("%d skipped"):format(total.skipped)) end
print(("%d passed, %d failed"):format(total.passed, total.failed))
os.exit(total.failed == 0 and total.passed > 0)
