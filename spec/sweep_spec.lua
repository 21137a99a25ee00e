--- Sweeps: a table of variants and seeds, halved under a budget; they go on where they were killed; their page.
local tr = require "texres"
local json = require "texres.json"
local support = require "spec.support"

local nn = tr.nn

local set = tr.data.fabric { count = 120, size = 8, seed = 1, sources = 12 }
local train, val, test = set:split { 0.5, 0.25, 0.25, seed = 1, group = "source" }

local steps
local function options(changes)
  local o = {
    train = train, val = val, seeds = { 1, 2 }, quiet = true,
    variants = { { name = "small", width = 1 }, { name = "large", width = 8 } },
    trainer = function(variant)
      return { model = nn.Sequential { nn.Flatten(), nn.Linear(64, variant.width), nn.ReLU(),
        nn.Linear(variant.width, 6) }, epochs = 2, batch = 16, watch = false,
        callbacks = { function(event) if event.kind == "step" then steps = steps + 1 end end } }
    end,
  }
  for name, value in pairs(changes or {}) do o[name] = value end
  return o
end

before_each(function() steps = 0 end)

local function note_of(dir) return json.decode(support.read_file(dir .. "/sweep.json")) end
local function write_note(dir, data) support.write_file(dir .. "/sweep.json", json.encode(data)) end

describe("sweep", function()
  it("trains each variant with each seed, and says how sure the means are", function()
    local dir = support.folder()
    local sweep = tr.sweep(options { dir = dir, test = test, seeds = { 1, 2, 3 } })
    assert.equal(2 * 3 * 2 * 4, steps)
    local small, large = sweep.rows[1], sweep.rows[2]
    assert.same({ "small", "large" }, { small.name, large.name })
    assert.same({ 64 + 1 + 6 + 6, 2, 2, true }, { small.parameters, small.done, small.epochs, small.ended })
    local a, b, c = table.unpack(large.values)
    local mean = (a + b + c) / 3
    assert.near(mean, large.mean, 1e-12)
    local deviation = math.sqrt(((a - mean) ^ 2 + (b - mean) ^ 2 + (c - mean) ^ 2) / 2)
    local half = 4.302652729911275 * deviation / math.sqrt(3) -- of Student's t with two degrees of freedom
    assert.near(math.max(0, mean - half), large.low, 1e-9)
    assert.near(math.min(1, mean + half), large.high, 1e-9)
    assert.near(large.mean - small.mean, large.difference.mean, 1e-12)
    assert.near(b - small.values[2], large.difference.values[2], 1e-12)
    assert.is_nil(small.difference)
    local kept = assert(tr.load(dir .. "/large-seed-2/best.safetensors"))
    assert.near(b, kept:evaluate(test).accuracy, 1e-12)
    assert.matches("variant .* test .* against small", tostring(sweep))
    assert.matches("Variants", support.read_file(dir .. "/report.html"))

    steps = 0
    local again = tr.sweep(options { dir = dir, test = test, seeds = { 1, 2, 3 } })
    assert.equal(0, steps)
    assert.same(large.values, again.rows[2].values)
  end)

  it("goes on after a kill as if there had been none", function()
    local dir = support.folder()
    local script = ([[
      local tr = require "texres"
      local nn, count = tr.nn, 0
      local set = tr.data.fabric { count = 60, size = 8, seed = 1, sources = 12 }
      local train, val = set:split { 0.5, 0.5, seed = 1, group = "source" }
      local sweep = tr.sweep { train = train, val = val, seeds = { 1, 2 }, quiet = true, dir = "%s/" .. FOLDER,
        variants = { { name = "a", width = 2 }, { name = "b", width = 4 } },
        trainer = function(variant)
          return { model = nn.Sequential { nn.Flatten(), nn.Linear(64, variant.width), nn.ReLU(),
            nn.Linear(variant.width, 6) }, epochs = 3, batch = 8, watch = false, callbacks = { function(event)
              count = count + (event.kind == "step" and 1 or 0)
              if count == KILL then os.exit(9) end
            end } }
        end }
      for _, row in ipairs(sweep.rows) do print(row.name, table.concat(row.values, " ")) end]]):format(dir)
    local function run(folder, kill)
      return support.run_lua(("FOLDER, KILL = %q, %d\n%s"):format(folder, kill, script))
    end
    local ok, whole = run("whole", 0)
    assert.is_true(ok, whole)
    for _, kill in ipairs { 6, 12, 15 } do assert.is_false((run("killed", kill))) end
    local text
    ok, text = run("killed", 0)
    assert.is_true(ok, text)
    assert.equal(whole, text)
    for _, run_dir in ipairs { "a-seed-1", "b-seed-2" } do
      local path = ("%s/%%s/%s/best.safetensors"):format(dir, run_dir)
      local one, other = assert(tr.load(path:format "whole")), assert(tr.load(path:format "killed"))
      for i, p in ipairs(one.model:parameters()) do assert.same(p:totable(), other.model:parameters()[i]:totable()) end
    end
  end)

  it("keeps the best one only where the budget is used up after the first epoch", function()
    local sweep = tr.sweep(options { dir = support.folder(), budget = "1 ms" })
    local dropped, left = sweep.rows[1], sweep.rows[2]
    if not dropped.dropped then dropped, left = left, dropped end
    assert.same({ 1, 1, false }, { dropped.dropped, dropped.done, dropped.ended })
    assert.is_nil(left.dropped)
    assert.is_true(left.validation >= dropped.validation)
    assert.matches("dropped", tostring(sweep))
    local all = tr.sweep(options { dir = support.folder(), budget = "1 h" })
    assert.is_true(all.rows[1].ended and all.rows[2].ended)
  end)

  it("halves the variants, round after round, as long as the time is short", function()
    local dir, variants = support.folder(), {}
    for i = 1, 4 do variants[i] = { name = "v" .. i, width = i } end
    local changes = { dir = dir, variants = variants, seeds = { 1 }, budget = "1 ms" }
    tr.sweep(options(changes))
    write_note(dir, { target = 1, dropped = {} })
    for i = 1, 4 do -- as if an epoch had taken ten seconds
      local run = ("%s/v%d-seed-1"):format(dir, i)
      local note = note_of(run)
      note.seconds, note.accuracy = 10, i / 10
      write_note(run, note)
    end
    changes.budget = "79 s" -- 40 are spent, 40 are wanted
    local sweep = tr.sweep(options(changes))
    assert.same({ v1 = 1, v2 = 1 }, sweep.dropped)
    assert.is_true(sweep.rows[3].ended and sweep.rows[4].ended)
    assert.same({ 1, 1, 2, 2 }, { sweep.rows[1].done, sweep.rows[2].done, sweep.rows[3].done, sweep.rows[4].done })
    changes.budget = nil
    sweep = tr.sweep(options(changes))
    assert.is_true(sweep.rows[1].ended)
    assert.is_nil(sweep.rows[1].dropped)
  end)

  it("goes on with the others where the loss of one is no number any more", function()
    local dir = support.folder()
    local changes = options { dir = dir, test = test, seeds = { 1 } }
    local make = changes.trainer
    changes.trainer = function(variant)
      local made = make(variant)
      made.optimizer = { "sgd", lr = variant.name == "small" and 1e30 or 0.01 }
      return made
    end
    local sweep = tr.sweep(changes)
    assert.matches("the loss is nan in epoch 1", sweep.rows[1].failed)
    assert.is_nil(sweep.rows[1].mean)
    assert.is_true(sweep.rows[2].ended)
    assert.matches("small .* failed\n", tostring(sweep))
    assert.matches("small: the loss is nan", support.read_file(dir .. "/report.html"))
    steps = 0
    assert.equal(sweep.rows[2].mean, tr.sweep(changes).rows[2].mean)
    assert.equal(0, steps)
    changes.dir = support.folder()
    changes.trainer = function(variant)
      local made = make(variant)
      made.callbacks = { function() error "a fault of the script" end }
      return made
    end
    assert.error_matches(function() tr.sweep(changes) end, "a fault of the script")
  end)

  it("refuses what it can't train, and to go on with something else", function()
    local dir = support.folder()
    for _, case in ipairs {
      { { variants = {} }, "variants is .* wanted a list such as" },
      { { variants = { { name = "a/b" } } }, 'variants%[1%]: name is "a/b"' },
      { { variants = { { name = "a" }, { name = "a" } } }, "variants has a twice" },
      { { seeds = { 1, 1 } }, "seeds has 1 twice" },
      { { budget = "soon" }, 'budget is "soon", wanted a duration' },
      { { trainer = function() return 3 end }, "trainer gave 3, wanted the options of a Trainer" },
    } do
      case[1].dir = dir
      assert.error_matches(function() tr.sweep(options(case[1])) end, "sweep: " .. case[2])
    end
    assert.error_matches(function() tr.sweep(options()) end, "sweep: dir")
    tr.sweep(options { dir = dir })
    local changed = options { dir = dir }
    local make = changed.trainer
    changed.trainer = function(variant)
      local made = make(variant)
      made.batch = 8
      return made
    end
    assert.error_matches(function() tr.sweep(changed) end, "is of another sweep.*\n  batch: 16 %-> 8")
    support.write_file(dir .. "/sweep.json", "[]")
    assert.error_matches(function() tr.sweep(options { dir = dir }) end, "not what a sweep leaves there")
  end)
end)
