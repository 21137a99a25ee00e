--- Batch norm by mean and variance of a whole batch that is cut into shards, wherever they are: the Trainer's option
-- sync_batch_norm. Peng et al., "MegDet: a large mini-batch object detector", 2018.
--
-- The shards of a rank go forward side by side, each in a coroutine of its own, from one batch norm to the next. There
-- the ranks exchange mean and variance of all shards, and each of them goes on with those of the whole:
--
--     shard 1    images ... convolution | batch norm ... convolution | batch norm ... loss 1
--     shard 2    images ... convolution | batch norm ... convolution | batch norm ... loss 2
--     ranks                          exchange                     exchange
--
-- Backward is one walk from the sum of these losses. Where it comes by an exchange it makes another one, of what mean
-- and variance of the whole do to the losses of each shard. What is exchanged is added up in f64, in the order of the
-- shards. A rank that has none takes part: it has the same running statistics as the others.

local F = require "texres.nn.functional"
local Function = require "texres.function"
local core = require "texres.core"
local distributed = require "texres.distributed"
local module = require "texres.nn.module"
local norm = require "texres.nn.norm"
local protect = require "texres.protect"
local raise = require "texres.raise"

local synchronized = {}

--- Raises where a model has what would normalize by itself.
function synchronized.check(model)
  for name, m in model:named_modules() do
    if rawget(m, "checkpoint") then
      raise("Trainer: sync_batch_norm: %s has checkpoint = %s: what backward computes again can't be synchronized",
        name == "" and "the model" or name, tostring(m.checkpoint))
    end
  end
end

--- The buffers of a model that are not running statistics of a batch norm: shards have them one by one.
function synchronized.other_buffers(model)
  local running, others = {}, {}
  for _, m in ipairs(model:modules()) do
    if rawget(m, "running_mean") and rawget(m, "running_var") and m.momentum then
      running[m.running_mean], running[m.running_var] = true, true
    end
  end
  for _, buffer in ipairs(model:buffers()) do
    if not running[buffer] then others[#others + 1] = buffer end
  end
  return others
end

-- -- what ranks say to each other -------------------------------------------------------------------------------------

local IDLE, FORWARD, BACKWARD, END = 0, 1, 2, 3 -- what a rank is at; idle: it has no shards
local DOING = { [FORWARD] = "at forward of %s", [BACKWARD] = "at backward of %s", [END] = "at the end of its pass" }

--- What a row, { doing, layer, channels, shards }, says, in words.
local function words(layers, row)
  local name = layers.name[row[2]] or "?"
  return DOING[row[1]]:format(("%s, of %d channels"):format(name == "" and "the model" or name, row[3]))
end

--- Tells the other ranks what this one is at, and raises where they are not at the same. Returns that, and how many
-- shards each rank has.
local function agree(layers, own)
  local rows, first, shards = distributed._rows(own), nil, {}
  for rank, row in ipairs(rows) do
    for k, value in ipairs(row) do row[k] = math.tointeger(value) end
    shards[rank] = row[4]
    if row[1] ~= IDLE then
      first = first or rank
      for k = 1, 3 do
        if row[k] ~= rows[first][k] then
          raise("Trainer: sync_batch_norm: rank %d is %s, rank %d %s", rank - 1, words(layers, row), first - 1,
            words(layers, rows[first]))
        end
      end
    end
  end
  return rows[first] or { END }, shards
end

--- A row from each shard of all ranks, {shards, width} f64; `own` are those of this rank, or nil.
local function gather(shards, width, own)
  local sent = core.zeros({ math.max(table.unpack(shards)), width }, { dtype = "f64" })
  if own then sent:slice(1, 1, own:size(1)):copy_from(own) end
  local all, rows = distributed.all_gather(sent), {}
  for rank, count in ipairs(shards) do
    if count > 0 then rows[#rows + 1] = all[rank]:slice(1, 1, count) end
  end
  return core.cat(rows, 1)
end

-- -- statistics -------------------------------------------------------------------------------------------------------

--- moments(x): mean and variance of each channel, {2,C} f64.
local moments = Function {
  forward = function(ctx, x)
    local rows = x:reshape(-1, x:size(-1))
    local mean = rows:mean(1)
    ctx:save(x:detach(), mean) -- a plan frees what it called this with
    return core.stack { mean:to "f64", rows:var(1, { correction = 0 }):to "f64" }
  end,
  backward = function(ctx, d)
    local x, mean = ctx:saved()
    local each = (d / (x:numel() // x:size(-1))):to(x.dtype) -- dx = d_mean / n + 2 d_var (x - mean) / n
    return F.batch_norm(x, each[2] * 2, each[1], {
      running_mean = mean, running_var = core.ones_like(mean), training = false, eps = 0,
    })
  end,
}

--- Mean and variance of the whole, of rows {mean, variance, values} of its shards.
local function of_whole(rows, channels)
  local mean, var = rows:slice(2, 1, channels), rows:slice(2, channels + 1, 2 * channels)
  local counts = rows:slice(2, 2 * channels + 1, 2 * channels + 1)
  local values = counts:sum():item()
  local share = counts / values
  local all = (share * mean):sum(1)
  local apart = mean - all
  return all, (share * (var + apart * apart)):sum(1), values, share, apart
end

--- Moves running statistics by those of a batch; all ranks come by.
local function follow(layer, mean, var, values)
  local m = layer.momentum
  local unbiased = var * (values / math.max(values - 1, 1))
  for buffer, value in pairs { [layer.running_mean] = mean, [layer.running_var] = unbiased } do
    buffer:copy_from(buffer:to "f64" * (1 - m) + value * m)
  end
end

local function forward_of(layers, number, shards, channels, own)
  local rows = gather(shards, 2 * channels + 1, own)
  local mean, var, values, share, apart = of_whole(rows, channels)
  follow(layers.list[number], mean, var, values)
  return mean, var, share, apart
end

local function backward_of(shards, channels, own)
  return (gather(shards, 2 * channels, own) + 0.0):sum(1) -- no -0.0, which a sum of several never is
end

--- whole(layers, number, own, values): {shards, 2, C}, for each shard of this rank mean and variance of the whole; own:
-- those of the shards, in the same way; values: how many they are of.
local whole = Function {
  forward = function(ctx, layers, number, own, values)
    local count, channels = own:size(1), own:size(3)
    local _, shards = agree(layers, { FORWARD, number, channels, count })
    local mean, var, share, apart = forward_of(layers, number, shards, channels,
      core.cat({ own:reshape(count, 2 * channels), values:reshape(count, 1) }, 2))
    local first = 1
    for rank = 1, distributed.rank() do first = first + shards[rank] end
    ctx.layers, ctx.number = layers, number
    ctx:save(share:slice(1, first, first + count - 1), apart:slice(1, first, first + count - 1))
    return core.stack({ mean, var }):reshape(1, 2, channels):expand(count, 2, channels):contiguous()
  end,
  backward = function(ctx, d)
    local share, apart = ctx:saved()
    local count, channels = d:size(1), d:size(3)
    local _, shards = agree(ctx.layers, { BACKWARD, ctx.number, channels, count })
    local sum = backward_of(shards, channels, d:reshape(count, 2 * channels))
    local of_mean, of_var = sum:slice(1, 1, channels), sum:slice(1, channels + 1, 2 * channels)
    return nil, nil, core.stack({ share * (of_mean + apart * of_var * 2), share * of_var }, 2), nil
  end,
}

--- A rank without shards takes part in the exchanges of a pass.
local function stand_by(layers)
  while true do
    local row, shards = agree(layers, { IDLE, 0, 0, 0 })
    local doing, number, channels = row[1], row[2], row[3]
    if doing == END then return end
    if doing == FORWARD then
      forward_of(layers, number, shards, channels)
    else
      backward_of(shards, channels)
    end
  end
end

-- -- side by side -----------------------------------------------------------------------------------------------------

--- The modules of a model by numbers, which all ranks have in common: `list`, `name` (of number), `number` (of module).
function synchronized.layers_of(model)
  local layers = { list = {}, name = {}, number = {} }
  for name, m in model:named_modules() do
    layers.list[#layers.list + 1] = m
    layers.name[#layers.list], layers.number[m] = name, #layers.list
  end
  return layers
end

--- Takes a shard on to its next batch norm, or to its end; whether it is there.
local function go_on(shard)
  module.set_watching(table.unpack(shard.watching, 1, 2))
  shard.enter()
  local results = table.pack(coroutine.resume(shard.coroutine, shard.statistics))
  shard.leave()
  shard.watching = { module.watching() }
  if not results[1] then error(results[2], 0) end
  shard.layer, shard.moments, shard.values, shard.statistics = table.unpack(results, 2, 4)
  return coroutine.status(shard.coroutine) == "dead"
end

--- Takes all shards on. Whether they have come to their ends.
local function go_on_all(layers, list)
  local ended = 0
  for _, shard in ipairs(list) do ended = ended + (go_on(shard) and 1 or 0) end
  if ended == #list then return true end
  if ended > 0 then raise "Trainer: sync_batch_norm: not all shards go through as many batch norms" end
  local own, values, number = {}, {}, layers.number[list[1].layer]
  for k, shard in ipairs(list) do
    own[k], values[k] = shard.moments, shard.values
    if layers.number[shard.layer] ~= number then
      raise "Trainer: sync_batch_norm: not all shards go through the same batch norms"
    end
  end
  local statistics = whole(layers, number, core.stack(own), core.tensor(values, { dtype = "f64" }))
  for k, shard in ipairs(list) do shard.statistics = statistics[k] end
  return false
end

--- What a batch norm of a shard asks: mean and variance {C}, like x, of all shards.
local function ask(layers, layer, x)
  if not layers.number[layer] then raise "Trainer: sync_batch_norm: a batch norm is no layer of the model" end
  if not layers.shard_of[coroutine.running()] then
    raise "Trainer: sync_batch_norm: the model runs a batch norm in a coroutine of its own"
  end
  local statistics = coroutine.yield(layer, moments(x), x:numel() // x:size(-1))
  return statistics[1]:to(x.dtype), statistics[2]:to(x.dtype)
end

--- Goes forward with the shards of this rank, { work = function, enter =, leave = }: enter() and leave() are called
-- whenever its work goes on and stops. Every rank calls this, and `finish` after the walk back.
function synchronized.forward(layers, list)
  if #list == 0 then return stand_by(layers) end
  local watchers, quiet = module.watching()
  layers.shard_of = {}
  for _, shard in ipairs(list) do
    shard.coroutine, shard.watching = coroutine.create(shard.work), { watchers, quiet }
    layers.shard_of[shard.coroutine] = shard
  end
  protect.finally(function()
    for _, shard in ipairs(list) do coroutine.close(shard.coroutine) end
    module.set_watching(watchers, quiet)
  end, norm.with_statistics, function(layer, x) return ask(layers, layer, x) end, function()
    while not go_on_all(layers, list) do end -- luacheck: ignore
  end)
  agree(layers, { END, 0, 0, #list })
end

--- The walk back: backward() of this rank, which may have no shards.
function synchronized.backward(layers, list, backward)
  if #list == 0 then return stand_by(layers) end
  backward()
  agree(layers, { END, 0, 0, #list })
end

return synchronized
