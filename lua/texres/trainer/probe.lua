--- Short looks before a training: which learning rate, and can this network learn anything at all? Both leave the
-- trainer, its model and the random numbers as they were. And running statistics that are measured anew, after it.

local core = require "texres.core"
local module = require "texres.nn.module"
local objective = require "texres.trainer.objective"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local raise = require "texres.raise"
local strict = require "texres.strict"
local table_text = require "texres.nn.table_text"

local probe = {}

--- Calls f() on a model in training; weights, running statistics and random numbers are put back afterwards.
local function undone(trainer, f)
  local seed, stream = core.rng_state()
  local kept, training = {}, trainer.model.training
  for name, t in pairs(trainer.model:state_dict()) do kept[name] = t:clone() end
  return protect.between(function()
    core.manual_seed(trainer.seed)
    trainer.model:train()
  end, function()
    trainer.model:load_state_dict(kept)
    trainer.model:train(training)
    trainer.model:zero_grad()
    core.rng_state(seed, stream)
  end, f)
end

-- -- learning rates ---------------------------------------------------------------------------------------------------

local Rates = strict.class("a search for a learning rate", {}, { "suggestion", "highest" })

--- Rates and losses as a table, with a bar for each.
function Rates:__tostring()
  local rows, low, high = { { "lr", "loss", "" } }, math.huge, -math.huge
  for _, point in ipairs(self) do low, high = math.min(low, point.loss), math.max(high, math.min(point.loss, 1e30)) end
  local every = math.max(1, #self // 25)
  for i = 1, #self, every do
    local point = self[i]
    local share = math.min(1, (point.loss - low) / math.max(high - low, 1e-12))
    rows[#rows + 1] = { plain.format("%.2e", point.lr), plain.format("%.4f", point.loss),
      ("*"):rep(math.floor(1 + 40 * share)) }
  end
  local head = self.suggestion
    and plain.format("learning rate: try %.2e, or up to %.2e in a one_cycle", self.suggestion, self.highest)
    or "learning rate: no rate made the loss fall"
  return head .. "\n" .. table_text(rows, { [3] = true })
end

-- Writes down what to try.
local function suggest(found)
  local steepest, least = 0, found[1]
  for i = 3, #found - 2 do -- the slope over five rates
    local slope = found[i + 2].loss - found[i - 2].loss
    if slope < steepest then steepest, found.suggestion = slope, found[i].lr end
  end
  for _, point in ipairs(found) do
    if point.loss < least.loss then least = point end
  end
  if found.suggestion then found.highest = math.max(found.suggestion, least.lr / 10) end
end

local FIND = {
  low = option.number(1e-6, "(0, inf)"), high = option.number(1, "(0, inf)"), steps = option.integer(100, "[10, inf)"),
}
probe.FIND = FIND

--- A learning-rate range test: the rate grows from step to step by the same factor, from low to high; a list of
-- {lr =, loss = (smoothed)} with `suggestion`, where the loss falls fastest, and `highest`, for the top of a
-- one_cycle: a tenth of the rate of the least loss, or the suggestion where that is higher. Both are nil where no rate
-- made the loss fall. It ends early where the loss has become four times its least. L. Smith, "Cyclical learning
-- rates for training neural networks", 2017.
function probe.find_lr(trainer, loader, loss_of, options)
  local o = option.read("find_lr", options, FIND)
  if o.low >= o.high then
    raise("find_lr: low is %s, not below high, which is %s", option.shown(o.low), option.shown(o.high))
  end
  local found, dtype = setmetatable({}, Rates), module.float_dtype(trainer.model)
  undone(trainer, function()
    local optimizer, smooth, least, step, epoch = objective.again(trainer.optimizer), 0, math.huge, 0, 0
    while step < o.steps do
      epoch = epoch + 1
      for images, labels, mix in loader:batches(epoch) do
        step = step + 1
        local lr = o.low * (o.high / o.low) ^ ((step - 1) / (o.steps - 1))
        optimizer:set_lr(lr)
        optimizer:zero_grad()
        local loss = objective.mixed(loss_of, trainer.model(images:to(dtype)), labels, mix)
        local value = loss:item()
        smooth = 0.9 * smooth + 0.1 * value
        local told = smooth / (1 - 0.9 ^ step)
        if value - value ~= 0 or told > 4 * least then
          step = o.steps
          break
        end
        least = math.min(least, told)
        found[#found + 1] = { lr = lr, loss = told }
        loss:backward()
        optimizer:step()
        if step == o.steps then break end
      end
    end
  end)
  suggest(found)
  return found
end

-- -- one batch --------------------------------------------------------------------------------------------------------

local Overfit = strict.class("a check with one batch", {}, {})

function Overfit:__tostring() return self.verdict end

local OVERFIT = { steps = option.integer(100, "[1, inf)"), lr = option.number(nil, "(0, inf)") }

--- Trains on one batch again and again: { first =, last = (losses), accuracy =, fits =, verdict = }. A network that
-- can't learn one batch by heart has a fault in itself, its loss or its rate; more data won't help it.
function probe.overfit_batch(trainer, loader, loss_of, options)
  local o = option.read("overfit_batch", options, OVERFIT)
  local found, dtype = setmetatable({}, Overfit), module.float_dtype(trainer.model)
  undone(trainer, function()
    local optimizer = objective.again(trainer.optimizer)
    if o.lr then optimizer:set_lr(o.lr) end
    local next_batch, _, _, run <close> = loader:batches(1) -- luacheck: ignore
    local images, labels, mix = next_batch()
    images = images:to(dtype)
    for step = 1, o.steps do
      local logits = trainer.model(images)
      local loss = objective.mixed(loss_of, logits, labels, mix)
      found.last = loss:item()
      found.first = found.first or found.last
      local right = logits:argmax(2):eq(labels):to("f32"):mean():item()
      found.accuracy = right
      if step < o.steps then
        optimizer:zero_grad()
        loss:backward()
        optimizer:step()
      end
    end
  end)
  found.fits = found.accuracy >= 0.99 and found.last < 0.5 * found.first
  found.verdict = plain.format("%s: after %d steps on one batch, loss %.4f -> %.4f, accuracy %s",
    found.fits and "the network can learn" or "the network does not learn even one batch", o.steps, found.first,
    found.last, plain.percent(found.accuracy))
  return found
end

-- -- batch norm -------------------------------------------------------------------------------------------------------

local RECALIBRATE = { batches = option.integer(50, "[1, inf)") }

--- Measures the running statistics of all batch norms anew, as the plain mean over so many batches, with the weights as
-- they are: after averaging or freezing weights, or with small batches. Returns how many batches were taken.
function probe.recalibrate(model, loader, options)
  local o = option.read("recalibrate", options, RECALIBRATE)
  local norms, dtype, training = {}, module.float_dtype(model), model.training
  for _, m in model:named_modules() do
    if m.running_mean and m.momentum then norms[#norms + 1] = { module = m, momentum = m.momentum } end
  end
  if #norms == 0 then return 0 end
  local done, seed, stream = 0, core.rng_state()
  protect.between(function() model:train() end, function()
    for _, norm in ipairs(norms) do norm.module.momentum = norm.momentum end
    model:train(training)
    core.rng_state(seed, stream)
  end, function()
    core.no_grad(function()
      local epoch = 0
      while done < o.batches and #loader > 0 do
        epoch = epoch + 1
        for images in loader:batches(epoch) do
          done = done + 1
          for _, norm in ipairs(norms) do norm.module.momentum = 1 / done end -- the mean of all so far
          model(images:to(dtype))
          if done == o.batches then break end
        end
      end
    end)
  end)
  return done
end

return probe
