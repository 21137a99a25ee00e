--- texres.doctor(): is all well with texres on this machine? Versions, the processor and the kernels chosen for it, how
-- it was built, memory, threads and what a container allows, and a test of two seconds: whether the kernels are right,
-- and how fast. With what to do about each problem.
--
--     local found = texres.doctor()
--     print(found)                          -- a line for each check, and advice
--     for _, check in ipairs(found) do print(check.name, check.value, check.state, check.advice) end
--     os.exit(found.problems == 0)
-- @module texres.doctor

local checks = require "texres.doctor.checks"
local core = require "texres.core"
local distributed = require "texres.distributed"
local machine = require "texres.machine"
local plain = require "texres.plain"
local self_test = require "texres.doctor.self_test"
local strict = require "texres.strict"

local SPEED_SECONDS = 1.5

local Report = strict.class("a report of the doctor", {})

--- A line for each check, with what to do below it.
function Report:__tostring()
  local width, lines = 0, {}
  for _, check in ipairs(self) do width = math.max(width, #check.name) end
  for _, check in ipairs(self) do
    local name = check.name .. (" "):rep(width - #check.name)
    lines[#lines + 1] = ("%-7s  %s  %s"):format(check.state, name, plain.visible_name(check.value))
    if check.advice then lines[#lines + 1] = (" "):rep(9) .. check.advice end
  end
  lines[#lines + 1] = ("%d problem%s, %d note%s"):format(self.problems, self.problems == 1 and "" or "s", self.notes,
    self.notes == 1 and "" or "s")
  return table.concat(lines, "\n")
end

local function test(threads)
  local worst, name = self_test.errors(self_test.CASES)
  return {
    functions = #self_test.CASES, error = worst, worst = name, same_bits = self_test.same_bits(math.max(2, threads)),
    speed = self_test.speed(threads, SPEED_SECONDS),
  }
end

-- A path without what it goes into and out of again.
local function straight(path)
  local count
  repeat path, count = path:gsub("[^/.][^/]*/%.%./", "", 1) until count == 0
  return path
end

local function facts()
  local found, argparse = pcall(require, "argparse")
  local memory, available = machine.memory()
  return {
    version = core._VERSION, lua = _VERSION, build = core.build_info(), mpi = distributed._library(),
    mpi_problem = distributed._problem(), isa = core.isa(),
    folder = straight(debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "memory"),
    argparse = found and (argparse.version or "of an unknown version") or nil,
    processor = machine.processor(), processors = machine.processors(), processor_limit = machine.processor_limit(),
    threads = core.num_threads(), asked_threads = os.getenv "TEXRES_NUM_THREADS", load = machine.load(),
    memory = memory, memory_available = available, memory_limit = machine.memory_limit(),
    huge_pages = machine.huge_pages(), test = test(core.num_threads()),
  }
end

--- Looks at this machine: a list of checks { name =, value =, state = "ok", "note" or "problem", advice = }, with the
-- numbers of `problems` and `notes`, which print() shows. Takes two seconds; changes nothing.
return function()
  local report = setmetatable(checks.of(facts()), Report)
  report.problems, report.notes = 0, 0
  for _, check in ipairs(report) do
    if check.state == "problem" then report.problems = report.problems + 1 end
    if check.state == "note" then report.notes = report.notes + 1 end
  end
  return report
end
