--- Sweeps whose runs are handed to several processes, one of which may be lost.
local support = require "spec.support"

local SCRIPT = [[
  local tr = require "texres"
  local nn, core, steps = tr.nn, require "texres.core", 0
  tr.set_num_threads(1)
  local set = tr.data.fabric { count = 60, size = 8, seed = 1, sources = 12 }
  local train, val, test = set:split { 0.5, 0.25, 0.25, seed = 1, group = "source" }
  local sweep = tr.sweep { train = train, val = val, test = test, seeds = { 1, 2 }, quiet = true, dir = DIR,
    budget = BUDGET,
    variants = { { name = "a", width = 2 }, { name = "b", width = 4 }, { name = "c", width = 8 } },
    trainer = function(variant)
      return { model = nn.Sequential { nn.Flatten(), nn.Linear(64, variant.width), nn.ReLU(),
        nn.Linear(variant.width, 6) }, epochs = 4, batch = 8, watch = false, callbacks = { function(event)
          if event.kind ~= "step" then return end
          steps = steps + 1
          core.pause(0.01)
          if LOST and LOST == os.getenv "OMPI_COMM_WORLD_RANK" and steps == 5 then
            io.popen("kill -9 $PPID"):close()
          end
        end } }
    end }
  local lines = { ("steps %d"):format(steps), ("rank %d"):format(sweep.rank) }
  for _, row in ipairs(sweep.rows) do
    lines[#lines + 1] = ("%s %s %s"):format(row.name, row.state, table.concat(row.values or {}, " "))
  end
  io.stdout:write(table.concat(lines, "\n"), "\n\n")]]

local function script(dir, lost, budget)
  return ("local DIR, LOST, BUDGET = %q, %s, %s\n%s"):format(dir, lost and ("%q"):format(lost) or "nil",
    budget and ("%q"):format(budget) or "nil", SCRIPT)
end

--- Starts ranks as mpirun would, but that none of them ends with another; what they print.
local function ranks(count, text)
  local file = support.write_file(os.tmpname(), text)
  local parts = {}
  for rank = 0, count - 1 do
    parts[#parts + 1] = ("OMPI_COMM_WORLD_RANK=%d %s %s &"):format(rank, support.lua, file)
  end
  local _, output = support.run { "sh", "-c", table.concat(parts, " ") .. " wait" }
  os.remove(file)
  return output
end

--- Of what each rank printed: the rows, which are the same for all, how many came to their end, and all their steps.
local function read(output)
  local rows, ended, steps = nil, 0, 0
  for own, text in output:gmatch "steps (%d+)\nrank %d+\n(.-)\n\n" do
    assert.equal(rows or text, text)
    rows, ended, steps = text, ended + 1, steps + math.tointeger(own)
  end
  return rows, ended, steps
end

describe("a sweep on several ranks", function()
  local whole, one_steps

  setup(function()
    local ok, output = support.run_lua(script(support.folder()))
    assert.is_true(ok, output)
    local ended
    whole, ended, one_steps = read(output)
    assert.equal(1, ended)
    assert.matches("a ended [%d.]+ [%d.]+\nb ended .*\nc ended", whole)
  end)

  it("trains each run once, and every rank knows all rows", function()
    local dir = support.folder()
    local output = ranks(3, script(dir))
    local rows, ended, steps = read(output)
    assert.equal(whole, rows, output)
    assert.same({ 3, one_steps }, { ended, steps })
    for rank = 0, 2 do assert.matches("rank " .. rank, output) end
    for own in output:gmatch "steps (%d+)" do assert.is_true(math.tointeger(own) < one_steps) end
    assert.matches("Variants", support.read_file(dir .. "/report.html"))
  end)

  it("goes on with the run of a rank that is lost", function()
    for _, lost in ipairs { "0", "1" } do
      local rows, ended = read(ranks(2, script(support.folder(), lost)))
      assert.same({ whole, 1 }, { rows, ended })
    end
  end)

  it("decides about rounds once for all ranks", function()
    local dir = support.folder()
    local output = ranks(3, script(dir, nil, "1 ms"))
    local rows, ended = read(output)
    assert.equal(3, ended, output)
    assert.matches("a out of time [%d.]+ [%d.]+\n", rows)
    local _, dropped = rows:gsub("dropped", "")
    assert.equal(1, dropped)
    local ok, alone = support.run_lua(script(dir, nil, "1 ms"))
    assert.is_true(ok, alone)
    assert.same({ rows, 1, 0 }, { read(alone) })
  end)

  it("is handed out by mpirun, and goes on in the next job where that was ended", function()
    if not os.execute "command -v mpirun >/dev/null" then pending "mpirun is not on this machine" end
    local dir = support.folder()
    local function job(lost)
      local file = support.write_file(os.tmpname(), script(dir, lost))
      local ok, output = support.run({ "timeout", "60", "mpirun", "-n", "2", support.lua, file }, { env = {
        OMPI_ALLOW_RUN_AS_ROOT = "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1", OMPI_MCA_rmaps_base_oversubscribe = "1",
      } })
      os.remove(file)
      return ok, output
    end
    assert.is_false((job "1"))
    local ok, output = job()
    assert.is_true(ok, output)
    local rows, ended, steps = read(output)
    assert.same({ whole, 2 }, { rows, ended })
    assert.is_true(steps < one_steps)
  end)
end)
