--- Learning rates over a run: objects with lr(step, total), steps counting from 1 to total.
--
--     local s = schedule.one_cycle { lr = 3e-3 }
--     optimizer:set_lr(s:lr(step, total))
--
-- Every schedule takes `lr`, the base rate, and `warmup`, a number of steps over which the rate first rises linearly;
-- the schedule then runs over the steps that are left.

local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"
local option = require "texres.options"
local RATE = require("texres.optim.optimizer").RATE

local schedule = {}

local Schedule = strict.class("a schedule", {})

local STEP = option.number(nil, "[1, inf)")

--- The rate of step number `step` (1 .. total); `history`, which plateau asks, is that of the epochs before.
function Schedule:lr(step, total, history)
  local o = self.options
  option.check(self.name, "step", step, STEP)
  option.check(self.name, "total", total, STEP)
  if step > total then raise("%s: step is %g of %g", self.name, step, total) end
  if step <= o.warmup then return o.lr * step / (o.warmup + 1) end
  return self.curve(o, step - o.warmup, math.max(1, total - o.warmup), history)
end

local RATE_NEEDED = option.number(nil, RATE)

--- The same with another base rate.
function Schedule:with_lr(rate)
  local options = option.without(self.options, "lr")
  options.lr = option.check(self.name, "lr", rate, RATE_NEEDED)
  return schedule[self.name](options)
end

--- Its kind and options.
function Schedule:__tostring() return ("%s, %s"):format(self.name, option.listed(self.options, "lr")) end

local function define(name, known, curve)
  known.lr, known.warmup = option.number(1e-3, RATE), option.number(0, "[0, inf)")
  schedule[name] = function(options)
    options = option.read(name, options, known)
    if options.every and options.at then raise("%s: give `every` or `at`, not both", name) end
    if options.min and options.min > options.lr then
      raise("%s: min is %s, more than lr, which is %s", name, option.shown(options.min), option.shown(options.lr))
    end
    return setmetatable({ name = name, options = options, curve = curve }, Schedule)
  end
end

-- From a to b along half a cosine, t in 0..1.
local function anneal(a, b, t) return b + (a - b) * (1 + math.cos(math.pi * t)) / 2 end

--- constant{lr=1e-3, warmup=0}: always the base rate; with `warmup`, after it.
define("constant", {}, function(o) return o.lr end)

--- step{lr=1e-3, warmup=0, every=, at={0.5, 0.75}, gamma=0.1}: the rate times gamma after `every` so many steps, or at
-- these shares of the run.
define("step", {
  every = option.COUNT, at = option.numbers(nil, "[0, 1]"), gamma = option.number(0.1, "[0, inf)"),
}, function(o, step, total)
  if o.every then return o.lr * o.gamma ^ ((step - 1) // o.every) end
  local rate = o.lr
  for _, share in ipairs(o.at or { 0.5, 0.75 }) do
    if step - 1 >= share * total then rate = rate * o.gamma end
  end
  return rate
end)

--- cosine{lr=1e-3, warmup=0, min=0}: from the base rate down to `min` along half a cosine; `min` is at most the base
-- rate. Loshchilov, Hutter, 2017.
define("cosine", { min = option.number(0, RATE) }, function(o, step, total)
  return anneal(o.lr, o.min, (step - 1) / math.max(1, total - 1))
end)

--- exponential{lr=1e-3, warmup=0, final=0.01}: falls by the same factor in every step, from the base rate to `final` of
-- it.
define("exponential", { final = option.number(0.01, "(0, inf)") }, function(o, step, total)
  return o.lr * o.final ^ ((step - 1) / math.max(1, total - 1))
end)

--- polynomial{lr=1e-3, warmup=0, power=1, min=0}: from the base rate to `min` as (1 - share of the run) ^ power; 1: a
-- straight line.
define("polynomial", { power = option.number(1, "(0, inf)"), min = option.number(0, RATE) }, function(o, step, total)
  return o.min + (o.lr - o.min) * (1 - (step - 1) / math.max(1, total - 1)) ^ o.power
end)

--- plateau{lr=1e-3, warmup=0, factor=0.1, patience=5, threshold=1e-4, min=0}: the rate times `factor` after more than
-- `patience` epochs in which the validation loss (without a validation, the loss) did not fall by the share
-- `threshold`. The rule is that of PyTorch's ReduceLROnPlateau; it follows from the history alone, so a resumed run
-- goes on as before.
define("plateau", {
  factor = option.number(0.1, "(0, 1)"), patience = option.integer(5, "[0, inf)"),
  threshold = option.number(1e-4, "[0, 1)"), min = option.number(0, RATE),
}, function(o, _, _, history)
  local rate, best, bad = o.lr, math.huge, 0
  for _, entry in ipairs(history or {}) do
    local loss = entry.val_loss or entry.loss
    if loss < best * (1 - o.threshold) then best, bad = loss, 0 else bad = bad + 1 end
    if bad > o.patience then rate, bad = math.max(rate * o.factor, o.min), 0 end
  end
  return rate
end)

--- one_cycle{lr=1e-3, warmup=0, start=0.3, divide=25, final_divide=1e4}: `lr` is the peak; up from lr/divide during the
-- first `start` of the run, then down to lr/divide/final_divide, along cosines. Smith, Topin, 2019; the values are
-- those of PyTorch's OneCycleLR.
define("one_cycle", {
  start = option.number(0.3, "[0, 1]"), divide = option.number(25, "[1, inf)"),
  final_divide = option.number(1e4, "(0, inf)"),
}, function(o, step, total)
  local low, last = o.lr / o.divide, total - 1
  local peak = o.start * total - 1
  if step - 1 <= peak then return anneal(low, o.lr, peak > 0 and (step - 1) / peak or 1) end
  return anneal(o.lr, low / o.final_divide, last > peak and (step - 1 - peak) / (last - peak) or 1)
end)

local NAME = option.choice("constant", plain.names(schedule))

--- Makes a schedule from {"one_cycle", start = 0.2, ...}, a name, or a schedule; `lr` is used where none is given.
function schedule.make(what, lr)
  if type(what) == "table" and type(what.lr) == "function" then return what end
  local name, options = option.named(what == nil and NAME.default or what)
  option.check("schedule", "name", name, NAME)
  if options.lr == nil then options.lr = lr end
  return schedule[name](options)
end

return schedule
