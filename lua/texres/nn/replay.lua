--- What a container with `checkpoint` does: it lets go of what lies between the input and the output of some of its
-- items, and computes it again when backward comes there. Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear
-- memory cost", 2016.
--
-- What is computed again has the same bits: random numbers are drawn from where the generator stood, modules have the
-- modes that they had, and running statistics are put back afterwards, as they have followed the batch already. The
-- graph that comes of it takes the place of the one that was not kept (tx_record_replay in csrc/autograd/op.h), so that
-- gradients are summed in the same order, too.

local core = require "texres.core"
local module = require "texres.nn.module"
local protect = require "texres.protect"
local raise = require "texres.raise"

local replay = {}

-- What the result depends on besides the input, as it is when the items are first run.
local function remember(modules)
  local before = { training = {}, versions = {}, buffers = {}, wanted = false }
  for _, top in ipairs(modules) do
    for _, m in ipairs(top:modules()) do before.training[m] = m.training end
    for _, p in ipairs(top:parameters()) do
      before.versions[p] = p:version()
      before.wanted = before.wanted or p.requires_grad
    end
    for _, t in top:named_buffers() do before.buffers[#before.buffers + 1] = t end
  end
  before.seed, before.stream = core.rng_state()
  return before
end

local function set_training(training)
  for m, on in pairs(training) do rawset(m, "training", on) end
end

local function check_versions(versions)
  for p, version in pairs(versions) do
    if p:version() ~= version then
      raise("checkpoint: a parameter %s was changed in place before backward computed again what was made with it",
        module.shape_text(p:shape()))
    end
  end
end

-- Calls f() as things were when `before` was made, and puts back what that changes.
local function as_before(before, f)
  check_versions(before.versions)
  local seed, stream = core.rng_state()
  local training, buffers = {}, {}
  for m in pairs(before.training) do training[m] = m.training end
  for _, t in ipairs(before.buffers) do buffers[t] = { version = t:version(), copy = t:detach():clone() } end
  return protect.between(function()
    set_training(before.training)
    core.rng_state(before.seed, before.stream)
  end, function()
    set_training(training)
    core.rng_state(seed, stream)
    for t, own in pairs(buffers) do
      if t:version() ~= own.version then core.no_grad(t.copy_from, t, own.copy) end
      own.copy:free()
    end
  end, module.unseen, f)
end

--- run(plan, x), the steps of a plan, with a graph that is made when backward needs it. `modules`: those that it calls;
-- `holds`: {input=, output=}, whether one of them may keep a reference to what the plan is given or gives.
function replay.run(run, plan, x, modules, holds)
  if not core.grad_enabled() then return run(plan, x) end
  local before = remember(modules)
  if not before.wanted and not x.requires_grad then return run(plan, x) end
  local made = core.without_graph(run, plan, x)
  local y = made:detach() -- the graph hangs on a tensor that no module has seen
  if made ~= x and not holds.output then made:free() end
  core.record_replay(function(input)
    local output = as_before(before, function() return run(plan, input) end)
    if input ~= output and not holds.input then input:free() end
    return output, not holds.output
  end, x, y)
  return y
end

return replay
