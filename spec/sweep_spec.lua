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

  local function three(changes)
    changes.variants = { { name = "small", width = 1 }, { name = "large", width = 8 }, { name = "middle", width = 4 } }
    return options(changes)
  end

  it("keeps the first and the best of the others, and tests them as they are, where the budget is used up", function()
    local dir = support.folder()
    local sweep = tr.sweep(three { dir = dir, test = test, budget = "1 ms" })
    local first, left, dropped = table.unpack(sweep.rows)
    if left.dropped then left, dropped = dropped, left end
    assert.same({ "out of time", 1, false }, { first.state, first.done, first.ended })
    assert.same({ "out of time", 1, false }, { left.state, left.done, left.ended })
    assert.same({ "dropped", 1, 1, false }, { dropped.state, dropped.dropped, dropped.done, dropped.ended })
    assert.is_true(left.validation >= dropped.validation)
    assert.is_nil(dropped.mean)
    local kept = assert(tr.load(("%s/%s-seed-2/best.safetensors"):format(dir, left.name)))
    assert.near(kept:evaluate(test).accuracy, left.values[2], 1e-12)
    assert.near(left.mean - first.mean, left.difference.mean, 1e-12)
    assert.matches("out of time", tostring(sweep))
    for _, text in ipairs { "dropped after 1", "out of time" } do
      assert.matches(text, support.read_file(dir .. "/report.html"))
    end
    steps = 0
    local again = tr.sweep(three { dir = dir, test = test, budget = "1 ms" })
    assert.equal(0, steps)
    assert.equal(tostring(sweep), tostring(again))
    sweep = tr.sweep(three { dir = dir, test = test, budget = "1 h" }) -- more time: what is left goes on
    local whole = tr.sweep(three { dir = support.folder(), test = test })
    for i, row in ipairs(sweep.rows) do
      assert.equal(row.name == dropped.name and "dropped" or "ended", row.state)
      if row.ended then assert.same(whole.rows[i].values, row.values) end
    end
  end)

  it("drops nothing that has ended, and goes by the budget that it has now", function()
    local function once(changes)
      local made = three(changes)
      local make = made.trainer
      made.trainer = function(variant)
        local trainer = make(variant)
        trainer.epochs = 1
        return trainer
      end
      return made
    end
    local sweep = tr.sweep(once { dir = support.folder(), budget = "1 ms" })
    for _, row in ipairs(sweep.rows) do assert.equal("ended", row.state) end
    local dir = support.folder()
    write_note(dir, { target = 1e9, dropped = {} }) -- as one without a budget, killed at its beginning, has left it
    sweep = tr.sweep(three { dir = dir, budget = "1 ms" })
    assert.same({ "out of time", 1 }, { sweep.rows[1].state, sweep.rows[1].done })
  end)

  --- Four variants after an epoch of each, as if it had taken ten seconds; better ones have higher numbers.
  local function four(dir, changes)
    changes.dir, changes.variants, changes.seeds, changes.budget = dir, {}, { 1 }, "1 ms"
    for i = 1, 4 do changes.variants[i] = { name = "v" .. i, width = i } end
    tr.sweep(options(changes))
    write_note(dir, { target = 1, dropped = {} })
    for i = 1, 4 do
      local run = ("%s/v%d-seed-1"):format(dir, i)
      local note = note_of(run)
      note.seconds, note.epoch_seconds, note.accuracy = 10, 10, i / 10
      write_note(run, note)
    end
    return changes
  end

  it("halves the variants but the first, round after round, as long as the time is short", function()
    local dir = support.folder()
    local changes = four(dir, {})
    changes.budget = "79 s" -- 40 are spent, 40 are wanted
    local sweep = tr.sweep(options(changes))
    assert.same({ v2 = 1 }, sweep.dropped)
    local done, states = {}, {}
    for i, row in ipairs(sweep.rows) do done[i], states[i] = row.done, row.state end
    assert.same({ 2, 1, 2, 2 }, done)
    assert.same({ "ended", "dropped", "ended", "ended" }, states)
    changes.budget = nil
    sweep = tr.sweep(options(changes))
    assert.equal("ended", sweep.rows[2].state)
    assert.is_nil(sweep.rows[2].dropped)
  end)

  it("drops nobody where the time turns out to be enough after a round", function()
    local dir = support.folder()
    local changes = four(dir, { trainer = function(variant)
      return { model = nn.Sequential { nn.Flatten(), nn.Linear(64, variant.width), nn.Linear(variant.width, 6) },
        epochs = 9, batch = 16, watch = false }
    end })
    changes.budget = "240 s" -- of 320 that seem to be wanted, at 40 for an epoch: a round of one epoch is taken
    local sweep = tr.sweep(options(changes))
    assert.same({}, sweep.dropped)
    for _, row in ipairs(sweep.rows) do assert.same({ 9, "ended" }, { row.done, row.state }) end
    local note = note_of(dir .. "/v1-seed-1")
    assert.is_true(note.epoch_seconds < note.seconds - 10)
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
    assert.matches("seed 1: the loss is nan in epoch 1", sweep.rows[1].failed)
    assert.is_nil(sweep.rows[1].mean)
    assert.is_true(sweep.rows[2].ended)
    assert.matches("small .* failed\n", tostring(sweep))
    assert.matches("test of a single seed, in %%: nothing is known", tostring(sweep))
    assert.matches("small: seed 1: the loss is nan", support.read_file(dir .. "/report.html"))
    assert.matches("A single seed: how far off", support.read_file(dir .. "/report.html"))
    steps = 0
    assert.equal(sweep.rows[2].mean, tr.sweep(changes).rows[2].mean)
    assert.equal(0, steps)
    changes.dir = support.folder()
    changes.trainer = function(variant)
      local made = make(variant)
      made.callbacks = { function() error "a fault of the script" end }
      return made
    end
    assert.error_matches(function() tr.sweep(changes) end, "sweep: small, seed 1: .*a fault of the script")
  end)

  it("leaves pictures out that can't be read, where its trainers do", function()
    local root = support.folder()
    assert(tr.data.fabric({ count = 24, size = 8, seed = 2, classes = { "good", "hole" } }):save_folder(root))
    local pictures = assert(tr.data.folder { path = root, cache = false })
    local parts = { pictures:split { 0.5, 0.25, 0.25, seed = 1 } }
    for _, part in ipairs(parts) do support.write_file(part.meta.path[1], "no picture") end
    local bad = "skip"
    local changes = options { dir = support.folder(), train = parts[1], val = parts[2], test = parts[3], seeds = { 1 },
      trainer = function()
        return { model = nn.Sequential { nn.Flatten(), nn.Linear(64, 2) }, epochs = 1, batch = 4, watch = false,
          bad = bad }
      end }
    assert.is_true(tr.sweep(changes).rows[2].ended)
    bad, changes.dir = "error", support.folder()
    assert.error_matches(function() tr.sweep(changes) end, "sweep: small, seed 1: .*not a PNG")
  end)

  it("takes a run for failed whose validation loss is no number, and drops it first", function()
    local changes = three { dir = support.folder(), test = test, budget = "1 ms" }
    local make = changes.trainer
    changes.trainer = function(variant)
      local made = make(variant)
      made.batch, made.epochs = 60, variant.name == "large" and 1 or 3 -- a step for each epoch
      made.optimizer = { "sgd", lr = variant.name == "large" and 1e30 or 0.01 }
      return made
    end
    local sweep = tr.sweep(changes)
    assert.same({ "out of time", "failed", "out of time" },
      { sweep.rows[1].state, sweep.rows[2].state, sweep.rows[3].state })
    assert.matches("seed 1: the validation loss is nan", sweep.rows[2].failed)
    assert.is_nil(sweep.rows[2].mean)
  end)

  it("stops at Ctrl-C, whatever it is at, and lets no second one into its folder", function()
    local dir, stop = support.folder(), nil
    local function stopping(changes)
      local made = three(changes)
      local make = made.trainer
      made.trainer = function(variant)
        local trainer = make(variant)
        trainer.callbacks = { function(event)
          if event.kind ~= stop then return end
          stop = nil -- the second press would end the program
          io.popen("kill -INT $PPID"):close()
        end }
        return trainer
      end
      return made
    end
    local whole = tr.sweep(stopping { dir = support.folder(), test = test })
    for _, kind in ipairs { "step", "epoch", "end" } do
      stop = kind
      local sweep = tr.sweep(stopping { dir = dir, test = test })
      assert.is_true(sweep.stopped)
      assert.equal("under way", sweep.rows[3].state)
      assert.matches("stopped: another call", tostring(sweep))
    end
    local done = tr.sweep(stopping { dir = dir, test = test })
    for i, row in ipairs(whole.rows) do assert.same(row.values, done.rows[i].values) end
    local lock <close> = assert(require("texres.core").process.lock(dir .. "/.lock")) -- luacheck: ignore
    assert.error_matches(function() tr.sweep(stopping { dir = dir, test = test }) end, "give each sweep a folder")
  end)

  it("shows no minus before a zero", function()
    local plain = require "texres.plain"
    assert.same({ "+0.0", "-0.1", "+0.1" }, { plain.points(-0.0004), plain.points(-0.0006), plain.points(0.001) })
    assert.same({ "    0.00", "   -0.01", "0" }, { plain.rounded("%8.2f", -0.004), plain.rounded("%8.2f", -0.006),
      plain.rounded("%.4g", -0.0) })
  end)

  it("refuses what it can't train, and to go on with something else", function()
    local dir = support.folder()
    for _, case in ipairs {
      { { variants = {} }, "variants is .* wanted a list such as" },
      { { variants = { { name = "a/b" } } }, 'variants%[1%]: name is "a/b"' },
      { { variants = { { name = "a" }, { name = "a" } } }, "variants has a twice" },
      { { seeds = { 1, 1 } }, "seeds has 1 twice" },
      { { budget = "soon" }, 'budget is "soon", wanted a duration' },
      { { trainer = function() return 3 end }, "small, seed 1: trainer gave 3, wanted the options" },
      { { trainer = function(v) return v.name == "large" and { modle = 1 } or options().trainer(v) end },
        "large, seed 1: Trainer: unknown option 'modle'" },
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
    assert.error_matches(function() tr.sweep(options { dir = dir, test = val }) end,
      "test images: none .* test labels: none ")
    assert.error_matches(function()
      tr.sweep(options { dir = dir, variants = { { name = "small", width = 1, smoothing = 0.1 } } })
    end, "variant: .*smoothing = 0.1")
    support.write_file(dir .. "/sweep.json", "[]")
    assert.error_matches(function() tr.sweep(options { dir = dir }) end, "not what a sweep leaves there")
  end)
end)
