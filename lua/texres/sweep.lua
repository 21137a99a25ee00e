--- Sweeps: a table of variants, each trained with several seeds, under a budget of time where that is wanted; it goes
-- on after a kill; one page about it.
--
--     local sweep = texres.sweep {
--       train = train, val = val, test = test, seeds = { 1, 2, 3 }, budget = "20min", dir = "runs/sweep",
--       variants = { { name = "plain", residual = false }, { name = "residual", residual = true } },
--       trainer = function(variant, seed)
--         return { model = texres.models.cifar_resnet { depth = 20, residual = variant.residual }, epochs = 10 }
--       end,
--     }
--     print(sweep)                    -- a row for each variant: accuracy with limits over seeds, against the first one
--     sweep.rows[2].mean              -- runs/sweep/report.html has the same, and the runs side by side
--
-- `trainer` makes the options of a Trainer; the random numbers begin with the seed before it is called. Each run has a
-- folder of its own. One that has ended is not trained again, and one that was stopped or killed goes on, as long as
-- its variant, options and data are the same; what differs is named, and nothing is overwritten.
--
-- Under a budget that is too short for everything, variants are dropped by successive halving (K. Jamieson, A.
-- Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016): after one epoch of every
-- run, which shows what an epoch takes, the time that is left is cut into equal rounds, all variants that are left are
-- trained for a round, and the worse half of them, by the mean validation accuracy over the seeds, is dropped. The
-- first variant, with which the others are compared, stays. As soon as the time is enough for what is left, that is
-- trained to its end; what is left when the time is used up is tested as it is. The budget is the time of training and
-- validation, over all calls; a round ends with whole epochs. What was dropped depends on the machine's speed, stands
-- in sweep.json, and is the same after a kill. A variant that learns slowly at first may be dropped though it were the
-- best in the end.
--
-- Under `mpirun -n 4 lua5.4 sweep.lua` the runs are handed to the ranks: each is trained by one of them alone, which
-- takes the next one as soon as it is free. They share nothing but the folder, of which all must see the same: who
-- holds the lock on a run's file .rank trains it, and where its process is lost, another one goes on with it. All come
-- out with the same rows, whose numbers do not depend on how many ranks there were; `rank`, from 0, tells them apart.
-- What was trained before stands, so that a job that was ended as a whole is just started again, and several jobs can
-- work in one folder. A budget is the time of all ranks together.
--
-- A row's limits are those of a mean over seeds (Student's t, 95 %): how far off it may be as other seeds would have
-- given others. They say nothing of other images. Where there is no test set, the accuracy is that of the validation
-- images, which flatter what they have chosen: the epoch (not with keep = "last") and, under a budget, the variant.

local binomial = require "texres.metrics.binomial"
local core = require "texres.core"
local distributed = require "texres.distributed"
local files = require "texres.files"
local identity = require "texres.trainer.identity"
local input = require "texres.input"
local json = require "texres.json"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local raise = require "texres.raise"
local strict = require "texres.strict"
local table_text = require "texres.nn.table_text"
local terminal = require "texres.terminal"
local Trainer = require "texres.trainer"

local KNOWN = {
  variants = option.any(), -- a list of tables, each with a `name`; what else they hold is for `trainer`
  trainer = option.any(), -- function(variant, seed): options of a Trainer
  seeds = option.any { 1, 2, 3 }, -- a list
  train = option.any(), val = option.any(), -- sets
  test = option.any(), -- a set, on which runs are measured when they have ended, or the budget has
  budget = option.any(), -- of time: "20min"; without one everything is trained
  dir = option.text(), -- required: a folder for each run, sweep.json, report.html
  quiet = option.switch(false), -- no progress lines
}

local SEED = option.integer(nil, "[0, inf)")
local ALL = 1e9 -- as many epochs as a run has

local PAUSE = 0.1 -- seconds between two looks at what other ranks hold
local PATIENCE = 60 -- seconds after which a lock that ranks hold for moments is that of something else

-- -- options ----------------------------------------------------------------------------------------------------------

local function check_list(name, list, what, check)
  if type(list) ~= "table" or #list == 0 then raise("sweep: %s is %s, wanted %s", name, option.shown(list), what) end
  local seen = {}
  for i, item in ipairs(list) do
    local key = check(("%s[%d]"):format(name, i), item)
    if seen[key] then raise("sweep: %s has %s twice", name, tostring(key)) end
    seen[key] = true
  end
end

local function read_options(options)
  local o = option.read("sweep", options, KNOWN)
  check_list("variants", o.variants, 'a list such as { { name = "plain" }, { name = "residual" } }', function(at, v)
    local name = type(v) == "table" and v.name
    if type(name) ~= "string" or not name:find "^[%w_][%w_.-]*$" then
      raise("sweep: %s: name is %s, wanted letters, digits, _ . -: a folder is named so", at, option.shown(name or nil))
    end
    return name
  end)
  check_list("seeds", o.seeds, "a list such as { 1, 2, 3 }", function(at, seed)
    return option.check("sweep", at, seed, SEED)
  end)
  if type(o.trainer) ~= "function" then
    raise("sweep: trainer is %s, wanted a function(variant, seed)", option.shown(o.trainer))
  end
  for _, name in ipairs { "train", "val" } do
    if type(o[name]) ~= "table" then raise("sweep: %s is %s, wanted a data set", name, option.shown(o[name])) end
  end
  if o.budget and not terminal.seconds(o.budget) then
    raise('sweep: budget is %s, wanted a duration such as "20min" or "90 s"', option.shown(o.budget))
  end
  option.check("sweep", "dir", o.dir, option.PATH)
  return o
end

-- -- several ranks ----------------------------------------------------------------------------------------------------

--- Calls a function while no other rank of the sweep is in such a call.
local function in_turn(self, f, ...)
  if not self.shared then return f(...) end
  local begun, path = core.clock(), self.dir .. "/.lock"
  local held, problem = core.process.lock(path)
  while not held and core.clock() - begun < PATIENCE do
    core.pause(PAUSE)
    held, problem = core.process.lock(path)
  end
  if not held then raise("sweep: %s; give each sweep a folder of its own, or wait for the other to end", problem) end
  local lock <close> = held -- luacheck: ignore
  return f(...)
end

-- -- one run ----------------------------------------------------------------------------------------------------------
--
-- run.json beside it is the trainer's; what a sweep has to know stands in sweep.json of the run's folder:
--
--     { identity =, done = epochs, seconds =, epoch_seconds = of the last whole epoch, accuracy = on the validation
--       images, ended =, test =, failed = why }

local function title_of(run) return ("%s, seed %d"):format(run.variant.name, run.seed) end

--- Raises what is wrong with a run, with its name.
local function raise_of(run, problem) raise("sweep: %s: %s", title_of(run), problem) end

local function trainer_of(o, run)
  core.manual_seed(run.seed)
  local made = o.trainer(run.variant, run.seed)
  if type(made) ~= "table" or getmetatable(made) == Trainer then
    raise("trainer gave %s, wanted the options of a Trainer", option.shown(made))
  end
  local options = {}
  for name, value in pairs(made) do options[name] = value end
  if options.seed == nil then options.seed = run.seed end
  if options.name == nil then options.name = title_of(run) end
  options.quiet, options.dir, options.resume = true, run.dir, true
  return Trainer(options)
end

--- What a run is a function of, with what its trainer may change on its way, the variant, of which functions of the
-- script may make use, and the test set.
local function identity_of(o, run, trainer)
  local rows = trainer:_identity(o.train, o.val)
  rows.epochs, rows.lr, rows.keep = plain.exact(trainer.epochs), plain.exact(trainer.optimizer:lr()), trainer.keep
  rows.patience = trainer.patience and plain.exact(trainer.patience) or "none"
  rows.variant = identity.literal(run.variant)
  identity.add_set(rows, "test", (input.readable(o.test, trainer.bad)))
  return rows
end

local function write(path, data)
  local ok, message = files.write(path, assert(json.encode(data)) .. "\n")
  if not ok then raise("sweep: %s", message) end
end

--- What an earlier call wrote at this path, nil where there is nothing. `holds`: whether it can be that.
local function read(path, holds)
  if not files.exists(path) then return nil end
  local text, message = files.read(path)
  if not text then raise("sweep: %s", message) end
  local data = json.decode(text)
  if type(data) ~= "table" or not holds(data) then raise("sweep: %s: not what a sweep leaves there", path) end
  return data
end

local function note(run) write(run.dir .. "/sweep.json", run.noted) end

local function is_note(data)
  return type(data.identity) == "table" and math.type(data.done) == "integer" and type(data.seconds) == "number"
end

--- What is noted of a run; where nothing is, a note that it begins.
local function open_note(run, path, now)
  run.noted = read(path, is_note)
  if run.noted then return end
  local ok, message = core.process.make_folder(run.dir)
  if not ok then raise("sweep: %s", message) end
  run.noted = { identity = now, done = 0, seconds = 0, ended = false }
  note(run)
end

--- A run as it stands in its folder. Raises where it is one of something else.
local function open_run(self, o, variant, seed)
  local run = { variant = variant, seed = seed, dir = ("%s/%s-seed-%d"):format(o.dir, variant.name, seed) }
  local path, trainer, now = run.dir .. "/sweep.json", nil, nil
  local _, problem = protect.catch(function()
    trainer = trainer_of(o, run)
    now = identity_of(o, run, trainer)
  end)
  if problem then raise_of(run, problem) end
  run.epochs, run.parameters = trainer.epochs, trainer.model:num_parameters()
  in_turn(self, open_note, run, path, now)
  local differences = identity.differences(run.noted.identity, now)
  if differences then
    raise("sweep: %s is of another sweep (then -> now):\n  %s\nGive it a folder of its own", path, differences)
  end
  return run
end

--- Ends a run that cannot go on.
local function fail(run, why)
  run.noted.ended, run.noted.failed, run.noted.accuracy = true, why, nil
  note(run)
end

--- Follows the events of a trainer until a run has done so many epochs, or has ended; not after a Ctrl-C.
local function follow(o, run, trainer, target, tell)
  local noted, before, begun = run.noted, run.noted.seconds, core.clock()
  local events, _, _, handle = trainer:run(o.train, o.val)
  local closing <close> = handle -- luacheck: ignore
  local since = not trainer.pass and core.clock() -- when the epoch began; not known of one in whose middle it goes on
  local function take()
    local last = trainer.history[#trainer.history]
    if #trainer.history > noted.done then noted.test = nil end -- that of other weights
    noted.done, noted.accuracy = #trainer.history, last and last.val_accuracy
    noted.seconds = before + core.clock() - begun
    note(run)
  end
  take()
  -- a kill may have come between what the trainer wrote and this note
  if noted.done >= target and target < run.epochs then return end
  for event in events do
    if event.kind == "step" then
      tell(run, event)
    elseif event.kind == "epoch" then
      noted.epoch_seconds, since = since and core.clock() - since or noted.epoch_seconds, core.clock()
      take()
      if event.epoch >= target and event.epoch < run.epochs then return end
    elseif event.kind == "end" then
      take()
      if event.reason == "interrupted" then return end
      local loss = trainer.best and trainer.best.val_loss or 0 / 0
      if loss - loss ~= 0 then return fail(run, plain.format("the validation loss is %s", loss)) end
      noted.ended, noted.accuracy = true, trainer.validation.accuracy
    end
  end
  if o.test then noted.test = trainer:evaluate(o.test).accuracy end
  note(run)
end

--- Trains a run until it has done so many epochs, or has ended; not after a Ctrl-C. One whose loss is no number any
-- more has failed: the others go on.
local function advance(o, run, target, tell)
  local noted = run.noted
  if noted.ended or noted.done >= target then return end
  local trainer = trainer_of(o, run)
  local _, problem = protect.catch(follow, o, run, trainer, target, tell)
  if not problem then return end
  local last = trainer.findings[#trainer.findings]
  if not last or last.kind ~= "not finite" then raise_of(run, problem) end
  fail(run, last.text)
end

--- Tests a run whose time is used up, with the weights that it would have kept.
local function test_early(o, run)
  local trainer = trainer_of(o, run)
  local events, _, _, handle = trainer:run(o.train, o.val)
  local closing <close> = handle -- luacheck: ignore
  trainer:stop()
  repeat until not events()
  run.noted.test = trainer:evaluate(o.test).accuracy
  note(run)
end

-- -- rounds -----------------------------------------------------------------------------------------------------------

local function mean_of(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + value end
  return sum / #values
end

--- A value of each run of a variant, where all have it.
local function values_of(runs, name)
  local values = {}
  for i, run in ipairs(runs) do
    values[i] = run.noted[name]
    if not values[i] then return nil end
  end
  return values
end

local function is_rounds(data) return type(data.target) == "number" and type(data.dropped) == "table" end

--- Seconds that all runs have taken, and those which an epoch of all that are left takes, and all that they lack.
local function times(self, dropped)
  local spent, epoch, need = 0, 0, 0
  for _, variant in ipairs(self.variants) do
    for _, run in ipairs(self.runs[variant.name]) do
      local noted = run.noted
      spent = spent + noted.seconds
      if not dropped[variant.name] and not noted.ended then
        local each = noted.epoch_seconds or noted.seconds / math.max(noted.done, 1)
        epoch, need = epoch + each, need + (run.epochs - noted.done) * each
      end
    end
  end
  return spent, epoch, need
end

--- The names of the variants that are left besides the first one, best first by validation accuracy.
local function ranking(self, dropped)
  local names, place, mean = {}, {}, {}
  for i = 2, #self.variants do
    local name = self.variants[i].name
    if not dropped[name] then
      names[#names + 1], place[name] = name, i
      mean[name] = mean_of(values_of(self.runs[name], "accuracy") or { 0 })
    end
  end
  table.sort(names, function(a, b)
    if mean[a] ~= mean[b] then return mean[a] > mean[b] end
    return place[a] < place[b]
  end)
  return names
end

--- Whether a run of a variant has failed, and how many epochs all of its runs have done.
local function failed_or_done(runs)
  local failed, done = false, math.huge
  for _, run in ipairs(runs) do failed, done = failed or run.noted.failed ~= nil, math.min(done, run.noted.done) end
  return failed, done
end

--- Drops who has failed, and with `halve` the worse half of the others.
local function drop(self, dropped, halve)
  local gone = {}
  for _, variant in ipairs(self.variants) do
    if failed_or_done(self.runs[variant.name]) then gone[#gone + 1] = variant.name end
  end
  if halve then
    local order = ranking(self, dropped)
    table.move(order, (#order + 1) // 2 + 1, #order, #gone + 1, gone)
  end
  for _, name in ipairs(gone) do
    dropped[name] = dropped[name] or select(2, failed_or_done(self.runs[name]))
  end
end

--- What comes after a round: the next target, and who is dropped before; without a target where the time is used up.
local function next_round(self, budget, rounds)
  local following = { dropped = {}, task = rounds.task }
  local dropped, halve = following.dropped, rounds.judged
  for name, epochs in pairs(rounds.dropped) do dropped[name] = epochs end
  drop(self, dropped, false)
  while true do
    local spent, epoch, need = times(self, dropped)
    local left, others = math.max(budget - spent, 0), #ranking(self, dropped)
    if need <= left then
      following.target = ALL
      return following
    end
    local more = math.floor(left / (math.ceil(math.log(math.max(others, 1), 2)) + 1) / epoch)
    if others <= 1 or (more >= 1 and not halve) then
      following.target, following.judged = more >= 1 and rounds.target + more or nil, others > 1
      return following
    end
    drop(self, dropped, true)
    halve = false
  end
end

--- What the rounds are for: that there is time for all is true of this alone.
local function task_of(o)
  local names = {}
  for i, variant in ipairs(o.variants) do names[i] = variant.name end
  return ("%s: %s; seeds %s"):format(plain.text(o.budget), table.concat(names, ", "), table.concat(o.seeds, ", "))
end

--- Where the rounds stand, by what an earlier call has left.
local function rounds_of(o, path)
  local rounds, task = read(path, is_rounds), task_of(o)
  if not o.budget then return { target = ALL, dropped = {}, task = task } end
  if not rounds then return { target = 1, dropped = {}, task = task } end
  if rounds.target == ALL and rounds.task ~= task then rounds.target = 1 end
  rounds.task = task
  return rounds
end

--- Does its work on a run that wants it, unless another rank is at it: false then.
local function attend(self, run, wants, work)
  if not self.shared then
    work(run)
    return true
  end
  local lock <close> = core.process.lock(run.dir .. "/.rank")
  if not lock then return false end
  run.noted = read(run.dir .. "/sweep.json", is_note) -- others may have gone on with it
  if wants(run) then work(run) end
  return true
end

--- Does its work on all runs that are left and want it, those at which other ranks are being done then, too; false
-- after a Ctrl-C.
local function attend_all(self, o, wants, work)
  while true do
    local waiting = false
    for s = 1, #o.seeds do -- so that all variants have their first seed early
      for _, variant in ipairs(o.variants) do
        local run = self.runs[variant.name][s]
        if not self.dropped[variant.name] and wants(run) then
          waiting = not attend(self, run, wants, work) or waiting
          if core.process.interrupted() then return false end
        end
      end
    end
    if not waiting then return true end
    core.pause(PAUSE)
    if core.process.interrupted() then return false end
  end
end

--- Trains all that is left until it has done so many epochs; false after a Ctrl-C.
local function train_round(self, o, target, tell)
  return attend_all(self, o, function(run) return not run.noted.ended and run.noted.done < target end, function(run)
    advance(o, run, target, tell)
  end)
end

--- Tests what is left when the time is used up; false after a Ctrl-C.
local function test_rest(self, o)
  return attend_all(self, o, function(run) return not run.noted.ended and not run.noted.test end, function(run)
    test_early(o, run)
  end)
end

--- The notes of all runs, as other ranks have left them.
local function look_again(self)
  if not self.shared then return end
  for _, runs in pairs(self.runs) do
    for _, run in ipairs(runs) do run.noted = read(run.dir .. "/sweep.json", is_note) end
  end
end

--- What comes after a round: the rounds as they stand then, and whether that was the last one. `number` tells what
-- another rank has already decided.
local function decide(self, o, path, rounds)
  local now = read(path, is_rounds)
  if now.number ~= rounds.number then return now, false end
  look_again(self)
  local following = next_round(self, terminal.seconds(o.budget), rounds)
  local last = not following.target
  if last then rounds.dropped, rounds.judged, following = following.dropped, nil, rounds end
  following.number = (rounds.number or 0) + 1
  write(path, following)
  return following, last
end

--- Trains round after round; false after a Ctrl-C.
local function train(self, o, tell)
  local path = o.dir .. "/sweep.json"
  local rounds = in_turn(self, function()
    local begun = rounds_of(o, path)
    write(path, begun)
    return begun
  end)
  local last = false
  while true do
    self.dropped = rounds.dropped
    if last then return not o.test or test_rest(self, o) end
    if not train_round(self, o, rounds.target, tell) then return false end
    if rounds.target == ALL then return true end
    rounds, last = in_turn(self, decide, self, o, path, rounds)
  end
end

-- -- what came out ----------------------------------------------------------------------------------------------------

local Sweep = strict.class("a sweep", {}, { "rows", "dropped" })

--- Mean, and limits of it at 95 %, of a few values; no limits of a single one.
local function estimate(values)
  local n, mean, sum = #values, mean_of(values), 0
  for _, value in ipairs(values) do sum = sum + (value - mean) ^ 2 end
  if n < 2 then return { mean = mean, values = values } end
  local half = binomial.t_quantile(0.025, n - 1) * math.sqrt(sum / (n - 1) / n)
  return { mean = mean, low = mean - half, high = mean + half, values = values }
end

--- The same of shares: limits within 0 to 1.
local function estimate_share(values)
  local e = estimate(values)
  e.low, e.high = e.low and math.max(e.low, 0), e.high and math.min(e.high, 1)
  return e
end

--- The difference of a variant to the first one, seed by seed.
local function difference(values, first)
  local differences = {}
  for i, value in ipairs(values) do differences[i] = value - first[i] end
  return estimate(differences)
end

local function row_of(self, variant, measure)
  local runs, name = self.runs[variant.name], variant.name
  local row = { name = name, parameters = runs[1].parameters, dropped = self.dropped[name],
    done = select(2, failed_or_done(runs)), seconds = 0, epochs = runs[1].epochs, ended = true }
  for _, run in ipairs(runs) do
    row.seconds, row.ended = row.seconds + run.noted.seconds, row.ended and run.noted.ended
    row.failed = row.failed or run.noted.failed and ("seed %d: %s"):format(run.seed, run.noted.failed)
  end
  row.state = row.failed and "failed" or row.dropped and "dropped" or row.ended and "ended"
    or self.stopped and "under way" or "out of time"
  local validation, values = values_of(runs, "accuracy"), values_of(runs, measure)
  row.validation = validation and mean_of(validation)
  if values then
    for key, value in pairs(estimate_share(values)) do row[key] = value end
    local first = values_of(self.runs[self.variants[1].name], measure)
    if first and name ~= self.variants[1].name then row.difference = difference(values, first) end
  end
  return row
end

--- A mean with its limits; `text` makes one of a share.
local function limits(e, text)
  if not e then return "-" end
  return e.low and ("%s (%s to %s)"):format(text(e.mean), text(e.low), text(e.high)) or text(e.mean)
end

local function in_percent(share) return plain.format("%.1f", 100 * share) end

--- A row for each variant.
function Sweep:__tostring()
  local rows, tested = {}, self.measured == "test"
  local function add(name, parameters, epochs, validation, measured, against, time, state)
    local cells = { name, parameters, epochs, validation, measured, against, time, state }
    if not tested then table.remove(cells, 4) end
    rows[#rows + 1] = cells
  end
  add("variant", "parameters", "epochs", "validation", self.measured, "against " .. self.variants[1].name, "time",
    "state")
  rows[2] = "-"
  for _, row in ipairs(self.rows) do
    add(row.name, plain.grouped(row.parameters), ("%d/%d"):format(row.done, row.epochs),
      row.validation and plain.percent(row.validation) or "-", limits(row.mean and row, in_percent),
      limits(row.difference, plain.points), terminal.duration(row.seconds), row.state)
  end
  local seeds = #self.seeds == 1 and "of a single seed, in %: nothing is known of its limits"
    or ("over %d seeds, in %%, with limits of 95 %%"):format(#self.seeds)
  return ("%s\n%s %s%s"):format(table_text(rows, { true, [tested and 8 or 7] = true }), self.measured, seeds,
    self.stopped and "\nstopped: another call with the same dir goes on" or "")
end

--- Trains, and measures what came out.
local function run_sweep(self, o)
  for _, variant in ipairs(o.variants) do
    self.runs[variant.name] = {}
    for s, seed in ipairs(o.seeds) do self.runs[variant.name][s] = open_run(self, o, variant, seed) end
  end
  local progress = not o.quiet and self.rank == 0 and terminal.Progress() or nil
  local function tell(run, event)
    if progress then
      progress:show { title_of(run), ("epoch %d/%d"):format(event.epoch, run.epochs),
        plain.format("loss %.4f", event.loss) }
    end
  end
  local interrupts = core.process.interrupts
  self.stopped = not protect.between(function() interrupts(true) end, function() interrupts(false) end, train, self, o,
    tell)
  look_again(self)
  self.rows = {}
  for i, variant in ipairs(o.variants) do self.rows[i] = row_of(self, variant, o.test and "test" or "accuracy") end
  local ok, message = in_turn(self, require("texres.report").sweep, o.dir .. "/report.html", self)
  if not ok then raise("sweep: %s", message) end
  return self
end

--- Runs a sweep. An object with seeds, dir, measured ("test" or "validation"), rank (of several processes, else 0),
-- stopped (by Ctrl-C) and rows, one for each variant:
--
--     name, parameters, epochs, done (of them), seconds, ended
--     state                      "ended", "dropped", "failed", "under way", or "out of time": the budget is used up
--     dropped                    after how many epochs; nil: not dropped
--     failed                     why a run of it could not go on: its loss is no number
--     validation                 mean accuracy on the validation images, of the last epoch, in the end of the kept one
--     mean, low, high, values    accuracy on the test set, of what has ended or is out of time, else nil; where there
--                                is no test set, on the validation images
--     difference                 mean, low, high, values of what it has more than the first variant, seed by seed
return function(options)
  local o = read_options(options)
  local made, message = core.process.make_folder(o.dir)
  if not made then raise("sweep: %s", message) end
  local rank = distributed._launched_rank()
  local self = setmetatable({ variants = o.variants, seeds = o.seeds, dir = o.dir, runs = {}, stopped = false,
    measured = o.test and "test" or "validation", shared = rank ~= nil, rank = rank or 0 }, Sweep)
  if self.shared then return distributed._alone(run_sweep, self, o) end
  local held, problem = core.process.lock(o.dir .. "/.lock")
  if not held then raise("sweep: %s; give each sweep a folder of its own, or wait for the other to end", problem) end
  local lock <close> = held -- luacheck: ignore
  return run_sweep(self, o)
end
