--- Batches of a data set, made ahead of their use by worker threads.
--
--     local loader = set:loader { batch = 128, shuffle = true, seed = 1, augment = { "flip", "rotate90" } }
--     for epoch = 1, 10 do
--       for images, labels, mix, masks in loader:batches(epoch) do ... end
--     end
--
-- `images` is f32 {n,H,W,C}, `labels` i64 {n} from 1. With mixup or cutmix, `mix` is { labels =, lambda = }: images
-- show `labels` to the share lambda, else `mix.labels`; it is nil for a batch that wasn't mixed. With the option masks,
-- of a set that has them, `masks` is f32 {n,H,W,1}, moved and mixed as the images are. A batch is a
-- function of the options, the epoch and its number, so that the number of workers changes nothing. Leaving the loop
-- in any way stops the workers.
--
-- A picture that is read when it is needed may have been damaged or removed since the set was opened. That is an error
-- that names the file, after the batches before it; once it is mended, the next loop goes on there. With bad = "skip"
-- such samples are left out of their batches, which are shorter then; one of which nothing is left is passed over.
-- `loader.skipped` lists them since the last call of batches(), { sample = (position in the set), place = (in the order
-- of the epoch), message = }, and a warning at the end of the epoch counts them.
-- @module texres.data.loader

local classes = require "texres.classes"
local core = require "texres.core"
local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"
local lists = require "texres.data.lists"
local Set = require "texres.data.set"
local option = require "texres.options"

local KNOWN = {
  batch = option.integer(32, "[1, inf)"), -- images per batch
  shuffle = option.switch(false), -- another order in each epoch
  balanced = option.switch(false), -- every class equally often; those of small ones come several times
  weights = option.any(), -- draw with replacement: a list with a weight per sample, or per class; not with balanced
  drop_last = option.switch(false), -- leave out a short last batch
  bad = option.choice("error", { "error", "skip" }), -- what becomes of samples that can't be read
  seed = option.integer(0, "(-inf, inf)"), -- of the order, the draws and the augmentation
  epoch = option.integer(1, "[0, inf)"), -- of batches() without an argument
  augment = option.table(), -- a list, see texres.data.augment
  scale = option.number(1, "(0, inf)"), -- what pixels are multiplied by, before they are augmented
  mean = option.any(), -- number or list per channel: (pixel - mean) / std
  std = option.any(), -- the same
  masks = option.switch(false), -- hand out the masks of the set, too
  good = option.text(classes.GOOD), -- the class of the cloth that the augmentation `paste` puts defects on
  part = option.table(), -- hand out one rank's shards of each batch: {rank, ranks, shard}, see portions()
  workers = option.integer(2, "[0, inf)"), -- threads; 0: batches are made when they are asked for
}

local READ_AT_ONCE = 16 -- images, where they are only to be seen to be readable

local Loader = strict.class("a loader", {})

--- A list from a number, a list or a tensor {n}.
local function as_list(value, length)
  if core.is_tensor(value) then return value:totable() end
  return type(value) == "number" and lists.filled(length, value) or value
end

--- One weight per sample, from those or from one per class.
local function sample_weights(set, weights)
  if core.is_tensor(weights) then weights = weights:totable() end
  option.check("loader", "weights", weights, option.LIST)
  if #weights == #set then return weights end
  if #weights ~= #set.classes then
    raise("loader: %d weights for %d samples of %d classes", #weights, #set, #set.classes)
  end
  return lists.pick(weights, set.label)
end

--- Makes a loader of this set.
-- @tparam[opt] table options batch, shuffle, balanced, weights, drop_last, bad, seed, epoch, augment, scale, mean, std,
-- masks, good, workers
-- @treturn Loader
function Set:loader(options)
  local o, channels = option.read("loader", options, KNOWN), self.source.channels
  if o.weights and o.balanced then raise "loader: give `weights` or `balanced`, not both" end
  if o.masks and not self.masks then
    raise "loader: the set has no masks: open it with `masks`, or leave the option out"
  end
  local augment = o.augment and core.augment(o.augment) or nil
  local pastes, good = augment and augment:pastes(), classes.find(self.classes, o.good)
  if pastes and not (self.masks and good) then
    raise("loader: paste puts defects on good cloth: the set has no %s", not self.masks
      and "masks that show them" or ("class '%s', say with `good` which it is"):format(plain.visible_name(o.good)))
  end
  local handle = core.loader(self.source, self.index, self.label, {
    classes = #self.classes, batch = o.batch, shuffle = o.shuffle, balanced = o.balanced,
    weights = o.weights and sample_weights(self, o.weights) or nil, drop_last = o.drop_last, seed = o.seed,
    skip_bad = o.bad == "skip", scale = o.scale, augment = augment, workers = o.workers,
    mean = o.mean and as_list(o.mean, channels) or nil, std = o.std and as_list(o.std, channels) or nil,
    masks = (o.masks or pastes) and self.masks or nil, give_masks = o.masks, good = good,
    shard = o.part and o.part.shard, rank = o.part and o.part.rank, ranks = o.part and o.part.ranks,
  })
  local order = o.weights and ", drawn by weight" or o.balanced and ", balanced" or o.shuffle and ", shuffled" or ""
  local what = ("%d images, %d at a time%s%s"):format(#self, o.batch, order, o.augment and ", augmented" or "")
  return setmetatable({ handle = handle, epoch = o.epoch, batch = 0, skipped = {}, _what = what }, Loader)
end

local function check_epoch(epoch) return option.check("loader", "epoch", epoch, KNOWN.epoch) end

--- What it loads and how, and where it stands.
function Loader:__tostring()
  return ("loader of %s: %d batches an epoch, now epoch %d, after batch %d"):format(self._what, #self, self.epoch,
    self.batch)
end

--- Batches per epoch.
function Loader:__len() return #self.handle end

--- The samples of an epoch in their order: a list of positions in the set.
function Loader:order(epoch) return self.handle:order(check_epoch(epoch or self.epoch)) end

--- Says how many samples of how many were left out of an epoch; `message` is that of the first.
local function warn_of_skipped(epoch, skipped, count, message)
  require("texres").warn(("loader: epoch %d: %d of %d images could not be read and were left out; the first: %s")
    :format(epoch, skipped, count, message))
end

--- The same at the end of an epoch whose portions() several processes had.
function Loader:warn_of_skipped(skipped, message) warn_of_skipped(self.epoch, skipped, #self:order(), message) end

--- For a loop over the batches of an epoch, from its batch `first` on (both from 1). Without arguments: goes on from
-- where the last loop stopped, which is the next epoch after one that came to its end.
function Loader:batches(epoch, first)
  if epoch then self.epoch, self.batch = check_epoch(epoch), (first or 1) - 1 end
  if not epoch and self.batch >= #self and #self > 0 then self.epoch, self.batch = self.epoch + 1, 0 end
  local run = self.handle:start(self.epoch, self.batch + 1)
  local at, batch, skipped = self.epoch, self.batch, {}
  self.skipped = skipped
  local function next_batch()
    local images, labels, mix, masks, bad
    repeat
      images, labels, mix, masks, bad = run:next()
      if images then
        batch = batch + 1
        self.epoch, self.batch = at, batch
        table.move(bad or {}, 1, #(bad or {}), #skipped + 1, skipped)
        if batch == #self and #skipped > 0 then
          warn_of_skipped(at, #skipped, #self:order(), skipped[1].message)
        end
      end
    until not images or labels:numel() > 0
    return images, labels, mix, masks
  end
  return next_batch, nil, nil, run
end

--- Into how many shards a batch of an epoch is cut, by its size alone; the first one of this loader's `part` and the
-- one after its last, from 0; and how many images the batch has.
function Loader:shards(batch) return self.handle:shards(batch) end

--- As batches(epoch, first), where the option `part` is given: the shards of that rank, one by one, each as a batch is
-- handed out, but also one of which no image can be read.
function Loader:portions(epoch, first)
  self.epoch, self.batch, self.skipped = check_epoch(epoch), first - 1, {}
  local run, skipped = self.handle:start(epoch, first), self.skipped
  local function next_portion()
    local images, labels, mix, masks, bad = run:next()
    table.move(bad or {}, 1, #(bad or {}), #skipped + 1, skipped)
    return images, labels, mix, masks
  end
  return next_portion, nil, nil, run
end

--- Where the loader stands: the epoch and the number of batches that were handed out.
function Loader:state_dict() return { epoch = self.epoch, batch = self.batch } end

local SKIPPED = "<i8s4" -- position, message

--- The samples first to last of a set that can't be read now, one SKIPPED behind the other.
local function unreadable(set, first, last)
  local positions = table.move(lists.count_up(last), first, last, 1, {})
  local part = #positions < #set and set:subset(positions) or set
  local loader = part:loader { batch = READ_AT_ONCE, bad = "skip", masks = set.masks ~= nil }
  for _ in loader:portions(1, 1) do end -- luacheck: ignore
  local texts = {}
  for i, one in ipairs(loader.skipped) do texts[i] = SKIPPED:pack(one.sample + first - 1, one.message) end
  return table.concat(texts)
end

--- This set without the samples that can't be read now (of a set with masks, also those whose masks can't be), and the
-- positions of the others. `skipped` of the new set lists them; print(set) counts them.
-- @tparam[opt] function share of several processes that read the set together, see texres.trainer.shards
function Set:readable(share)
  local text = assert((share or lists.alone)("what can be read", #self, function(first, last)
    return unreadable(self, first, last)
  end))
  local found, out, kept, at = {}, {}, {}, 1
  while at <= #text do
    local one = {}
    one.sample, one.message, at = SKIPPED:unpack(text, at)
    found[#found + 1], out[one.sample] = one, one.message
  end
  if not next(out) then return self, lists.count_up(#self) end
  warn_of_skipped(1, #found, #self, found[1].message)
  local skipped, paths = table.move(self.skipped, 1, #self.skipped, 1, {}), self.meta.path or {}
  for i = 1, #self do
    if out[i] then skipped[#skipped + 1] = { path = paths[i], message = out[i] } else kept[#kept + 1] = i end
  end
  local set = self:subset(kept)
  set.skipped = skipped
  return set, kept
end

local STATE = option.kind("that of a loader", "table")

--- Takes up that position again: the next `batches()` goes on there.
function Loader:load_state_dict(state)
  option.check("loader", "the state", state, STATE)
  local epoch, batch = KNOWN.epoch.accept(state.epoch), option.INDEX.accept(state.batch)
  if not epoch or not batch or batch > #self then
    raise("loader: the state is epoch %s, batch %s: an epoch has %d batches", state.epoch, state.batch, #self)
  end
  self.epoch, self.batch = epoch, batch
end

return Loader
