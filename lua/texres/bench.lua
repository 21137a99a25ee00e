--- texres.bench(): how fast this machine trains and runs the textile network, with one thread and with all.
--
--     print(texres.bench())
--     print(texres.bench { width = 16, batch = 64, size = 128, seconds = 2 })
-- @module texres.bench

local core = require "texres.core"
local F = require "texres.nn.functional"
local machine = require "texres.machine"
local option = require "texres.options"
local optim = require "texres.optim"
local plain = require "texres.plain"
local protect = require "texres.protect"
local strict = require "texres.strict"
local table_text = require "texres.nn.table_text"
local textile = require "texres.models.textile"

local KNOWN = {
  width = option.integer(64, "[1, inf)"), -- channels of the first stage: 64 as published
  batch = option.integer(32, "[1, inf)"), -- images in a step
  size = option.integer(64, "[8, inf)"), -- height and width of an image
  seconds = option.number(1, "(0, inf)"), -- for each measurement; at least three steps are taken
  threads = option.COUNT, -- in place of all
}

local CLASSES = 6

local Rates = strict.class("a measurement", {})

--- What was measured, as a table, with what the machine is.
function Rates:__tostring()
  local rows = { { "", "threads", "images/s", "ms a batch" } }
  for i, rate in ipairs(self) do
    rows[i + 1] = { rate.work, ("%d"):format(rate.threads), plain.format("%.0f", rate.images),
      plain.format("%.1f", 1000 * self.batch / rate.images) }
  end
  return ("textile network, width %d, %d images of %dx%d in a batch; %s, %s kernels\n"):format(self.width, self.batch,
    self.size, self.size, self.processor, core.isa()) .. table_text(rows, { true })
end

-- Seconds that f() takes, the middle one of those in which it was called for so long.
local function seconds_of(f, seconds)
  local times, began = {}, core.clock()
  f() -- which makes room in the caches
  repeat
    local before = core.clock()
    f()
    times[#times + 1] = core.clock() - before
  until #times >= 3 and core.clock() - began > seconds
  table.sort(times)
  return times[(#times + 1) // 2]
end

-- What a step of training and one of inference do: a list of { name, function }.
local function steps(o)
  core.manual_seed(1)
  local model = textile { width = o.width, classes = CLASSES }
  local images, labels = core.rand(o.batch, o.size, o.size, 1), core.randint(1, CLASSES, { o.batch })
  local optimizer = optim.AdamW(model:parameters(), { lr = 1e-4 })
  local function train()
    model:train()
    local loss = F.cross_entropy(model(images), labels)
    optimizer:zero_grad()
    loss:backward()
    optimizer:step()
  end
  local function infer()
    model:eval()
    core.no_grad(model, images):free()
  end
  return { { "training", train }, { "inference", infer } }
end

--- Measures images a second of the textile network in training and inference, with one thread and with all: a list of
-- { work = "training" or "inference", threads =, images = } that print() shows. Options: width (64), batch (32), size
-- (64), seconds for each of the four (1), threads (all). Nothing is changed.
local function bench(options)
  local o = option.read("bench", options, KNOWN)
  local all, seed, stream = core.num_threads(), core.rng_state()
  local found = setmetatable({
    width = o.width, batch = o.batch, size = o.size, processor = machine.processor() or "unknown processor",
  }, Rates)
  return protect.finally(function()
    core.set_num_threads(all)
    core.rng_state(seed, stream)
  end, function()
    local most = o.threads or all
    for _, step in ipairs(steps(o)) do
      for _, threads in ipairs { 1, most > 1 and most or nil } do
        core.set_num_threads(threads)
        found[#found + 1] = { work = step[1], threads = threads, images = o.batch / seconds_of(step[2], o.seconds) }
      end
    end
    return found
  end)
end

return { KNOWN = KNOWN, run = bench }
