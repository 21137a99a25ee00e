--- The gradients of a training on several processes: `mpirun -n 4 lua5.4 train.lua`, with the script unchanged.
--
-- Every process, a rank, runs the whole script. Each batch is cut into shards by its size alone, a batch of 256 into
-- eight of 32 images, and each rank reads and computes its own. Gradients are added along one tree over all shards
-- (csrc/mpi/reduction.h), so that the weights have the same bits for any number of ranks, and of threads; they set out
-- while backward still goes on. All ranks take the same step then, and have the same weights, losses and metrics.
-- Rank 0 writes files and tells of progress.
--
-- Batch norm takes mean and variance of a shard; running statistics, and other buffers that a model moves, are the mean
-- of those of the shards, weighted by their images, and rounded where they are integers. With sync_batch_norm it takes
-- those of the whole batch (texres.trainer.synchronized); then the shards of a rank take memory all at once, and
-- gradients set out after backward. Dropout draws by the numbers of step and shard.

local core = require "texres.core"
local distributed = require "texres.distributed"
local identity = require "texres.trainer.identity"
local input = require "texres.input"
local plain = require "texres.plain"
local raise = require "texres.raise"
local synchronized = require "texres.trainer.synchronized"

local SHARD = 32 -- images of a shard, at least
local COMPARED = 4 -- images of a set that every rank reads, to see that all have the same
local BUCKET = 1 << 18 -- bytes of gradients that set out together
local SLOW = 0.6 -- of the usual speed: a rank that others wait for
local LONG = 1 -- seconds of waiting that are told

local shards = { SHARD = SHARD }

--- The job that this process is part of; nil where it is alone.
function shards.job() return distributed._job() end

--- What the loader of this rank hands out.
function shards.part(job) return { shard = SHARD, rank = job.rank, ranks = job.size } end

-- -- before the first step -------------------------------------------------------------------------------------------

--- A number that tells the weights of a model from others.
local function weights_number(model)
  local sums = {}
  for name, t in pairs(model:state_dict()) do
    sums[#sums + 1] = ("%s %08x"):format(name, core.crc32(t:detach():contiguous()))
  end
  table.sort(sums)
  return core.crc32(table.concat(sums, "\n"))
end

local function rows_of(text)
  local rows, at = {}, 1
  while at <= #text do
    local name, value
    name, value, at = string.unpack("s4s4", text, at)
    rows[name] = value
  end
  return rows
end

--- Calls f(...), which may fail on some ranks only. Then it raises on every rank, so that none waits for one that has
-- gone another way.
function shards.all_or_none(job, f, ...)
  if not job then return f(...) end
  job.apart = false
  local results = table.pack(pcall(f, ...))
  if job.apart then error(results[2], 0) end -- all know it already
  local texts = job.mpi.texts(results[1] and "" or "failed: " .. tostring(results[2]))
  if not results[1] then error(results[2], 0) end
  for i, text in ipairs(texts) do
    if text ~= "" then raise("Trainer: rank %d %s", i - 1, text:match "^[^\0]*") end
  end
  return table.unpack(results, 2, results.n)
end

--- What the ranks say to each other in all_or_none begins with what they are at. Raises, on all of them, where one is
-- at something else: it may have failed before.
local function texts_in_step(job, doing, text)
  local head = doing .. "\0"
  local texts = job.mpi.texts(head .. text)
  for i, other in ipairs(texts) do
    if other:sub(1, #head) ~= head then
      job.apart = true
      local what = other == "" and "is ready" or other:match "^[^\0]*"
      raise("Trainer: rank %d %s, rank %d %s", i - 1, what, job.rank, doing)
    end
    texts[i] = other:sub(#head + 1)
  end
  return texts
end

--- Which of so many things in a row a rank reads: the first and the last one.
local function range_of(job, rank, count) return count * rank // job.size + 1, count * (rank + 1) // job.size end

--- How the ranks read, before the first step, what each needs to know of all images: share(what, count, read) calls
-- read(first, last) for this rank's part of the row, which gives a text, or nil and a message; it returns the texts of
-- all ranks behind each other, or nil and the first message. What one raises all raise.
function shards.reading(job)
  return function(what, count, read)
    local first, last = range_of(job, job.rank, count)
    local done, text, message = true, "", nil
    if first <= last then done, text, message = pcall(read, first, last) end
    local kind = not done and "!" or text and "+" or "-"
    local all = texts_in_step(job, ("is about to read %s (%d)"):format(what, count),
      kind .. tostring(kind == "-" and message or text))
    if not done then error(text, 0) end
    for i, other in ipairs(all) do
      local said = other:sub(2)
      if other:sub(1, 1) == "!" then raise("Trainer: rank %d: %s", i - 1, said) end
      if other:sub(1, 1) == "-" then return nil, said end
      all[i] = said
    end
    return table.concat(all)
  end
end

--- What decides on the bits of a rank, besides what identifies the run.
local function machine_of(job)
  local build = core.build_info()
  return { MPI = job.library, kernels = core.isa(), OpenBLAS = build.blas or "none", compiler = build.compiler }
end

local function packed(rows)
  local parts = {}
  for name, value in pairs(rows) do parts[#parts + 1] = string.pack("s4s4", name, value) end
  return table.concat(parts)
end

--- Raises where the rows of one rank, of all of whom these are the texts, are not those of rank 0.
local function compare(texts)
  local first = rows_of(texts[1])
  for rank = 1, #texts - 1 do
    local differences = identity.differences(first, rows_of(texts[rank + 1]))
    if differences then
      raise("Trainer: rank %d is about to do something else than rank 0 (rank 0 -> rank %d):\n  %s", rank, rank,
        differences)
    end
  end
end

--- A set as each rank has it: how many images, and the checksum of a few of them (COMPARED), some maybe unreadable.
local function looks_of(set, bad)
  if type(set) ~= "table" or not set.get or #set == 0 then return set == nil and "none" or "no data set" end
  local sums, problem = {}, nil
  for k = 1, math.min(COMPARED, #set) do
    local image, message = set:get((k - 1) * #set // math.min(COMPARED, #set) + 1)
    sums[k] = image and ("%08x"):format(core.crc32(image:contiguous())) or "unreadable"
    if not image and bad == "error" then problem = problem or message end
  end
  return ("%d, checksum %08x%s"):format(#set, core.crc32(table.concat(sums)),
    problem and ", " .. problem or "")
end

local function labels_of(set)
  local labels = type(set) == "table" and set.label
  return type(labels) == "table" and ("checksum %08x"):format(core.crc32(table.concat(labels, ","))) or "none"
end

--- Checks, before the ranks read sets together, that all read the same. sets: { training =, validation = }.
function shards.meet(job, trainer, sets)
  local own = input.of(trainer.model) or {}
  local rows = { normalize = identity.literal(trainer.normalize), bad = identity.literal(trainer.bad) }
  for _, name in ipairs { "input", "classes", "normalization", "white" } do
    rows["model's " .. name] = identity.literal(own[name])
  end
  for _, name in ipairs { "training", "validation" } do
    local set = sets[name]
    rows[name .. " images"] = looks_of(set, trainer.bad)
    rows[name .. " labels"] = labels_of(set)
    rows[name .. " classes"] = identity.literal(type(set) == "table" and set.classes or nil)
  end
  compare(texts_in_step(job, "is about to compare sets", packed(rows)))
end

--- Checks that all ranks are about to do the same. Raises, on every rank, where one of them has other data, options,
-- weights or libraries than rank 0.
function shards.agree(job, trainer, plan, saved)
  if not plan.loader.portions then
    raise "Trainer: the set is one of the script, whose loader can't cut a batch: several processes need texres.data"
  end
  if trainer.accumulate > 1 then
    raise("Trainer: accumulate is %d: several processes share a batch by themselves: give the larger batch",
      trainer.accumulate)
  end
  local rows = machine_of(job)
  rows["weights at the start"] = ("checksum %08x"):format(weights_number(trainer.model))
  rows.resumed = tostring(saved ~= nil)
  for name, value in pairs(plan.identity) do rows[name] = tostring(value) end
  compare(job.mpi.texts(packed(rows)))
end

--- A number that tells what is trained now.
local function trained_number(optimizer)
  local marks = {}
  for i, p in ipairs(optimizer:parameters()) do marks[i] = p.requires_grad and "1" or "0" end
  return core.crc32(table.concat(marks))
end

--- Makes one of what the scripts of all ranks want: one that stops, or is interrupted, stops all. Raises where they
-- want what can't be one.
local function heed(run)
  local trainer = run.trainer
  local rate = trainer.schedule.options and trainer.schedule.options.lr or 0
  local rows = distributed._rows {
    trainer.stopped and 1 or 0, trainer.interrupted and 1 or 0, trainer.epochs, rate, trained_number(trainer.optimizer),
  }
  for i, row in ipairs(rows) do
    trainer.stopped = trainer.stopped or row[1] == 1
    trainer.interrupted = trainer.interrupted or row[2] == 1
    for k, name in pairs { [3] = "epochs", [4] = "lr" } do
      if row[k] ~= rows[1][k] then
        raise("Trainer: %s is %.14g on rank %d, %.14g on rank 0: what changes it has to do so on every rank", name,
          row[k], i - 1, rows[1][k])
      end
    end
    if row[5] ~= rows[1][5] then
      raise("Trainer: rank %d trains other parameters than rank 0: what freezes them has to do so on every rank", i - 1)
    end
  end
end

--- How a run synchronizes batch norm, where it is to; and which buffers each shard moves for itself. No image has been
-- left out yet.
local function prepare(run)
  local trainer = run.trainer
  run.left_out = 0
  run.layers = trainer.sync_batch_norm and synchronized.layers_of(trainer.model) or nil
  run.averaged = run.layers and synchronized.other_buffers(trainer.model) or run.buffers
end

local function advance(run)
  if not run.averaged then prepare(run) end
  heed(run)
  run:advance()
end

--- Takes a run to its next event. An error of one rank would leave the others waiting for it: it ends them all.
function shards.together(run)
  local done, message = xpcall(advance, debug.traceback, run)
  if done then return end
  io.stderr:write(("rank %d of %d: %s\n"):format(run.job.rank, run.job.size, message))
  run.job.mpi.abort(1)
end

--- Waits for all ranks at the end of a run: rank 0 has written its files then.
function shards.meet_at_end(job) job.mpi.barrier() end

-- -- a set that is measured ------------------------------------------------------------------------------------------

--- How the ranks measure a set together: range(batches) gives the first and the last batch of this one, all(list, ...)
-- the logits of all batches, in their order.
function shards.share(job)
  return {
    range = function(batches) return range_of(job, job.rank, batches) end,
    all = function(list, images, batch, dtype, classes)
      local batches = (images + batch - 1) // batch
      local own = core.zeros({ (batches + job.size - 1) // job.size * batch, classes }, { dtype = dtype })
      local at = 1
      for _, logits in ipairs(list) do
        own:slice(1, at, at + logits:size(1) - 1):copy_from(logits)
        at = at + batch
      end
      local gathered, every = {}, distributed.all_gather(own)
      for rank = 0, job.size - 1 do
        local first, last = range_of(job, rank, batches)
        for b = first, last do
          local from, n = (b - first) * batch + 1, math.min(batch, images - (b - 1) * batch)
          gathered[b] = every[rank + 1]:slice(1, from, from + n - 1)
        end
      end
      return gathered
    end,
  }
end

-- -- a step ----------------------------------------------------------------------------------------------------------

--- The parameters that are trained now, last layers first, as backward comes by them.
local function trained_by(optimizer)
  local parameters, trained = optimizer:parameters(), {}
  for i = #parameters, 1, -1 do
    if parameters[i].requires_grad then trained[#trained + 1] = parameters[i] end
  end
  return trained
end

local function same_list(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- What is added up over so many shards while these parameters are trained: `terms`, they themselves and then, for each
-- buffer, how far it moves, as the gradient of a tensor that stands for it; and `sums`, which adds them up.
local function terms_of(run, trained, count)
  local terms, statistics = table.move(trained, 1, #trained, 1, {}), {}
  local dtype = trained[1] and trained[1].dtype or run.dtype
  for i, buffer in ipairs(run.averaged) do
    statistics[i] = core.zeros(buffer:shape(), { dtype = dtype, requires_grad = true })
    terms[#terms + 1] = statistics[i]
  end
  return {
    trained = trained, count = count, terms = terms, statistics = statistics,
    sums = run.job.mpi.reduction(terms, count, BUCKET),
  }
end

--- Frees the memory of a run's sums, of which none is under way.
function shards.close(run)
  if run.added then run.added.sums:close() end
  run.added = nil
end

--- What is added up over that many shards: the same from step to step, while the same parameters are trained.
local function added_up(run, count)
  local trained, own = trained_by(run.trainer.optimizer), run.added
  if own and own.count == count and same_list(own.trained, trained) then return own end
  shards.close(run)
  run.added = terms_of(run, trained, count)
  return run.added
end

--- The seed of what a shard of a step draws.
local function seed_of(seed, step, shard)
  local x = seed ~ (step * 0x9e3779b97f4a7c15) ~ ((shard + 1) * 0xc2b2ae3d27d4eb4f)
  x = (x ~ (x >> 31)) * 0xbf58476d1ce4e5b9
  return (x ~ (x >> 29)) & math.maxinteger
end

--- Adds the gradients of the shard that has just been done to those parts of the tree that it completes.
local function keep_part(run, own, parts, first, done)
  local terms = {}
  for i, term in ipairs(own.terms) do
    terms[i] = term.grad or core.zeros_like(term)
    term.grad = nil
  end
  for _ = 1, run.job.mpi.completed(first, done) do
    local left = table.remove(parts)
    for i, term in ipairs(terms) do terms[i] = left[i] + term end
  end
  parts[#parts + 1] = terms
end

local function clones(tensors)
  local list = {}
  for i, t in ipairs(tensors) do list[i] = t:clone() end
  return list
end

local function copy_all(tensors, from)
  core.no_grad(function()
    for i, t in ipairs(tensors) do t:copy_from(from[i]) end
  end)
end

local function is_float(t) return t.dtype == "f32" or t.dtype == "f64" end

--- Notes how far a shard has moved `buffers` from where they were before, for the mean over the whole batch. One that
-- no shard moves stays as it is, to the bit: a mask, a table of constants.
local function weigh_statistics(own, buffers, before, part)
  core.no_grad(function()
    for i, buffer in ipairs(buffers) do
      local term, start = own.statistics[i], before[i]
      if core.crc32(buffer:contiguous()) ~= core.crc32(start:contiguous()) then
        term.grad = (buffer:to "f64" - start:to "f64"):to(term.dtype) * part.labels:numel()
      end
    end
  end)
end

--- Moves the buffers, from where they were before, as far as the shards did in the mean over so many images.
local function move_buffers(run, own, before, images)
  core.no_grad(function()
    for i, buffer in ipairs(run.averaged) do
      local moved = own.statistics[i].grad
      if moved then
        local mean = moved:to "f64" * (1 / images)
        buffer:copy_from(before[i]:to "f64" + (is_float(buffer) and mean or mean:round()))
      end
    end
  end)
end

--- How many shards a rank has at most, and how many images.
local function most_of(job, cut)
  local most = (cut.count + job.size - 1) // job.size
  return most, most * ((cut.images + cut.count - 1) // cut.count)
end

--- What this rank tells of its shards: for each term whether any has a gradient of it; for each shard the sum of its
-- losses, their weight (NaN: none), and how many images (of one that is idle: less than none); the labels. All of it is
-- f64, of one length on all ranks.
local function told(run, own, cut, parts)
  local most, room = most_of(run.job, cut)
  local numbers = {}
  for i in ipairs(own.terms) do numbers[i] = own.had[i] and 1 or 0 end
  for k = 1, most do
    local part, row = parts[k], { 0, 0, 0 }
    if part then
      local images = part.labels:numel()
      row = part.idle and { 0, 0, -images } or { part.sum, part.weight or 0 / 0, images }
    end
    table.move(row, 1, 3, #numbers + 1, numbers)
  end
  for _, part in ipairs(parts) do
    if not part.idle then table.move(part.labels:totable(), 1, part.labels:numel(), #numbers + 1, numbers) end
  end
  for i = #numbers + 1, #own.terms + 3 * most + room do numbers[i] = 0 end
  return numbers
end

--- What a rank has told: its shards of which something comes, and how many images it could read; in `present` the
-- terms that it has gradients of.
local function heard(own, numbers, most, present)
  local parts, read, at = {}, 0, #own.terms + 3 * most + 1
  for i in ipairs(own.terms) do present[i] = present[i] or numbers[i] == 1 end
  for k = #own.terms + 1, #own.terms + 3 * most, 3 do
    local sum, weight, images = numbers[k], numbers[k + 1], math.tointeger(numbers[k + 2])
    read = read + math.abs(images)
    if images > 0 then
      local labels = table.move(numbers, at, at + images - 1, 1, {})
      at = at + images
      parts[#parts + 1] = { sum = sum, weight = weight == weight and weight, images = images,
        labels = core.tensor(labels, { dtype = "i64" }) }
    end
  end
  return parts, read
end

--- What all ranks know of all shards, in their order: losses, weights, logits and labels; which terms have gradients;
-- and how many images could be read.
local function gather(run, own, cut, parts)
  local most, images = most_of(run.job, cut)
  local logits, at = core.zeros({ images, #run.trainer.classes }, { dtype = run.dtype }), 1
  for _, part in ipairs(parts) do
    if not part.idle then
      logits:slice(1, at, at + part.labels:numel() - 1):copy_from(part.logits)
      at = at + part.labels:numel()
    end
  end
  local all, gathered, present, read = distributed.all_gather(logits), {}, {}, 0
  for rank, numbers in ipairs(distributed._rows(told(run, own, cut, parts))) do
    local list, of_rank = heard(own, numbers, most, present)
    at, read = 1, read + of_rank
    for _, part in ipairs(list) do
      part.logits = all[rank]:slice(1, at, at + part.images - 1)
      at, gathered[#gathered + 1] = at + part.images, part
    end
  end
  return gathered, present, read
end

--- The next shard of this rank, which has that number in its batch. `idle`: nothing comes of one that has no images,
-- or a single one, as batch norm may have nothing to normalize that by.
local function next_shard(run, cut, shard)
  local batch, labels, mix = run.batches()
  return { batch = batch, labels = labels, mix = mix, number = cut.number, idle = labels:numel() < cut.least,
    from = cut.images * shard // cut.count + 1, to = cut.images * (shard + 1) // cut.count }
end

local function note_gradients(own)
  for i, term in ipairs(own.terms) do own.had[i] = own.had[i] or term.grad ~= nil end
end

--- The shards of this rank, from cut.first up to, but not with, cut.last, one after the other: what each gave. Their
-- gradients are in `own.sums` then, or on their way.
local function one_by_one(run, own, cut, before, look)
  local before_last, parts = {}, {}
  local seed = core.rng_state()
  for shard = cut.first, cut.last - 1 do
    local part = next_shard(run, cut, shard)
    if shard == cut.last - 1 then own.sums:begin(before_last) end
    core.rng_state(seed_of(seed, run.trainer.steps, shard), 0)
    copy_all(run.averaged, before)
    if not part.idle then
      run:add_gradient(part, false, look)
      weigh_statistics(own, run.averaged, before, part)
    end
    note_gradients(own)
    if shard < cut.last - 1 then keep_part(run, own, before_last, cut.first, shard - cut.first) end
    parts[#parts + 1] = part
  end
  if cut.first == cut.last then own.sums:begin {} end
  return parts
end

--- Tensors over the same memory, whose gradients are apart.
local function twins(parameters)
  local list = {}
  for i, p in ipairs(parameters) do
    list[i] = p:detach()
    list[i].requires_grad = true
  end
  return list
end

--- A shard that goes forward in turn with others: with parameters, random numbers and buffers of its own.
local function side(run, own, part, seed, look)
  local one = { parameters = twins(own.trained), buffers = clones(run.averaged), random = { seed, 0 }, part = part }
  function one.work() one.loss = run:forward(part, look) end
  function one.enter()
    core.stand_in(own.trained, one.parameters)
    core.rng_state(table.unpack(one.random))
    copy_all(run.averaged, one.buffers)
  end
  function one.leave()
    core.stand_in(own.trained)
    one.random = { core.rng_state() }
    one.buffers = clones(run.averaged)
  end
  return one
end

--- The same side by side, where batch norm takes its statistics from all shards: backward is one walk from the sum of
-- their losses.
local function side_by_side(run, own, cut, before, look)
  local parts, sides, side_of, seed = {}, {}, {}, core.rng_state()
  for shard = cut.first, cut.last - 1 do
    local part = next_shard(run, cut, shard)
    parts[#parts + 1] = part
    if not part.idle then
      side_of[part] = side(run, own, part, seed_of(seed, run.trainer.steps, shard), look)
      sides[#sides + 1] = side_of[part]
    end
  end
  synchronized.forward(run.layers, sides)
  synchronized.backward(run.layers, sides, function()
    local sum
    for _, one in ipairs(sides) do
      local loss = run:objective_of(one.part, one.loss, false)
      one.loss, sum = nil, sum and sum + loss or loss
    end
    sum:backward()
  end)
  local before_last = {}
  for k, part in ipairs(parts) do
    local one = side_of[part]
    if one then
      for i, p in ipairs(own.trained) do p.grad, one.parameters[i] = one.parameters[i].grad, nil end
      weigh_statistics(own, one.buffers, before, part)
    end
    note_gradients(own)
    if k < #parts then keep_part(run, own, before_last, cut.first, k - 1) end
  end
  own.sums:begin(before_last)
  return parts
end

--- Notes how long a step of so many own images took this rank since `start`, and how much of that it waited for others.
local function note_pace(run, start, waited, images)
  local pace = run.pace or { busy = 0, waited = 0, images = 0 }
  waited = run.job.mpi.waited() - waited
  pace.busy, pace.waited = pace.busy + core.clock() - start - waited, pace.waited + waited
  pace.images = pace.images + images
  run.pace = pace
end

--- The gradients of a batch, of the sum of its losses, in every rank; what its shards gave, and how many images those
-- have; the shards of this rank; how many images could be read. Of fewer images than cut.least nothing comes.
local function gradients_of(run, cut, look)
  local own = added_up(run, cut.count)
  own.had = {}
  for _, term in ipairs(own.terms) do term.grad = nil end
  local seed, stream = core.rng_state()
  local all_before = clones(run.buffers) -- synchronized batch norm moves its own
  local before = run.layers and clones(run.averaged) or all_before
  local own_parts = (run.layers and side_by_side or one_by_one)(run, own, cut, before, look)
  core.rng_state(seed, stream)
  core.no_grad(function()
    for _, term in ipairs(own.terms) do term.grad = term.grad or core.zeros_like(term) end
    own.sums:finish()
  end)
  local parts, present, read = gather(run, own, cut, own_parts)
  local images = 0
  for _, part in ipairs(parts) do images = images + part.images end
  for i, term in ipairs(own.terms) do
    if not present[i] then term.grad = nil end
  end
  if images < cut.least then
    copy_all(run.buffers, all_before)
    return {}, 0, own_parts, read
  end
  move_buffers(run, own, before, images)
  return parts, images, own_parts, read
end

--- Raises, after the first batch of a run, where the model has assigned a buffer anew: ranks would average a tensor
-- that it uses no more.
local function check_buffers(run)
  if run.buffers_checked then return end
  local i = 0
  for name, buffer in run.trainer.model:named_buffers() do
    i = i + 1
    if not rawequal(buffer, run.buffers[i]) then
      raise("Trainer: forward of the model assigns %s anew: several processes need buffers in their places: write into "
        .. "this one with copy_from()", name)
    end
  end
  run.buffers_checked = true
end

--- The same of the batch that comes next, and its number; the loader's portions are the shards of this rank. Batches of
-- which a single image, or none, could be read are passed over.
function shards.gradients(run, look)
  local start, waited = core.clock(), run.job.mpi.waited()
  local trainer, loader = run.trainer, run.plan.loader
  local cut = { number = trainer.pass.batch, least = (trainer.batch == 1 or #run.plan.train == 1) and 1 or 2 }
  local parts, images, own_parts, read
  repeat
    cut.number = cut.number + 1
    cut.count, cut.first, cut.last, cut.images = loader:shards(cut.number)
    parts, images, own_parts, read = gradients_of(run, cut, look)
    run.left_out = run.left_out + cut.images - read
    check_buffers(run)
  until images > 0 or cut.number == #loader
  local own_images = 0
  for _, part in ipairs(own_parts) do own_images = own_images + part.labels:numel() end
  note_pace(run, start, waited, own_images)
  return parts, images, cut.number
end

-- -- the end of an epoch ----------------------------------------------------------------------------------------------

local LEFT_OUT = "<i8s4" -- place in the order of the epoch, message

--- The message of the first image of an epoch that a rank has left out; nil where none has. All ranks ask together.
function shards.first_skipped(run)
  local own, first, message = run.plan.loader.skipped[1], math.huge, nil
  for _, text in ipairs(run.job.mpi.texts(own and LEFT_OUT:pack(own.place, own.message) or "")) do
    if text ~= "" then
      local place, why = LEFT_OUT:unpack(text)
      if place < first then first, message = place, why end
    end
  end
  return message
end

local function warn_of_skipped(run)
  if run.trainer.pass.skipped == 0 then return end
  local message = shards.first_skipped(run)
  if message then run.plan.loader:warn_of_skipped(run.trainer.pass.skipped, message) end
end

--- Says so, once, where one rank is so slow that others wait for it. rows: { seconds at work and waiting, images }.
local function warn_of_slow(run, epoch, rows)
  local speeds, slowest, waited, work = {}, nil, 0, 0
  for i, row in ipairs(rows) do
    if row[2] > waited then waited, work = row[2], row[1] end
    if row[3] > 0 then
      local one = { rank = i - 1, speed = row[3] / row[1] }
      if not slowest or one.speed < slowest.speed then slowest = one end
      speeds[#speeds + 1] = one.speed
    end
  end
  table.sort(speeds)
  local usual = speeds[#speeds // 2 + 1]
  if not usual or slowest.speed > SLOW * usual or waited < LONG or waited < work / 4 then return end
  if run.slow == slowest.rank then return end
  run.slow = slowest.rank
  require("texres").warn(plain.format("Trainer: rank %d is slow: %.0f images/s, where %.0f are usual; others waited up "
    .. "to %.1f s of epoch %d", slowest.rank, slowest.speed, usual, waited, epoch))
end

--- At the end of an epoch: all ranks have the same weights. What is told: a rank that is much slower than the others,
-- images that were left out.
function shards.end_epoch(run, epoch)
  local pace = run.pace or { busy = 0, waited = 0, images = 0 }
  run.pace = nil
  local rows = distributed._rows { pace.busy, pace.waited, pace.images, weights_number(run.trainer.model) }
  for i, row in ipairs(rows) do
    if row[4] ~= rows[1][4] then
      raise("Trainer: after epoch %d rank %d has other weights than rank 0: what changes them has to do so on every "
        .. "rank", epoch, i - 1)
    end
  end
  if run.job.rank == 0 then warn_of_slow(run, epoch, rows) end
  warn_of_skipped(run)
end

return shards
