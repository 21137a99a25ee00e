--- Splits: parts of a set for training, validation and test; k folds; saved and loaded.
--
--     local train, val, test = set:split { 0.7, 0.2, 0.1, seed = 1, stratify = true }
--     local train, test = set:split { 0.7, 0.3, seed = 1, group = "source" }        -- whole photographs are held out
--     local train, test = set:split { column = "split" }                            -- as the authors of the set did it
--     for _, fold in ipairs(set:folds { 5, group = "source", seed = 1 }) do train(fold.train, fold.test) end
--     for _, fold in ipairs(set:leave_one_out "source") do print(fold.group, evaluate(fold)) end
--
-- Patches of one photograph look alike. A split that deals them out one by one measures how well a network remembers
-- photographs; a split by group measures what it will do on the next one. Where a set knows its groups and a split
-- does not respect them, texres.warn says so.
-- @module texres.data.split

local core = require "texres.core"
local json = require "texres.json"
local files = require "texres.files"
local listing = require "texres.listing"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local columns = require "texres.data.columns"
local grouping = require "texres.data.grouping"
local lists = require "texres.data.lists"
local names = require "texres.data.names"
local Set = require "texres.data.set"

-- -- sizes ----------------------------------------------------------------------------------------------------------

local SHARE = option.number(nil, "[0, inf)") -- or a count

--- The shares at the front of the options as fractions of `total`; whole numbers that add up to more than 1 are counts.
local function read_shares(options, total)
  local shares, sum, counts = {}, 0, #options > 0
  for i, value in ipairs(options) do
    shares[i] = option.check("split", ("part %d"):format(i), value, SHARE)
    if math.type(value) == "integer" and value > math.max(total, 1) then
      raise("split: part %d wants %d samples, the set has %d", i, value, total)
    end
    sum = sum + value
    counts = counts and math.type(value) == "integer"
  end
  if #shares == 0 then raise "split: give the shares of the parts, as in split { 0.7, 0.2, 0.1 }" end
  if counts and sum > 1 then
    if sum > total then raise("split: the parts want %d samples, the set has %d", sum, total) end
    for i = 1, #shares do shares[i] = total > 0 and shares[i] / total or 0 end
  elseif sum > 1 + 1e-9 then
    raise("split: the shares add up to %g, which is more than 1", sum)
  end
  return shares
end

--- Whole numbers close to shares[p] * total, which add up to the rounded sum of these. `behind[p]` says how much
-- part p is short of its share from earlier calls; who is furthest behind gets what is left over.
local function deal(shares, total, behind)
  local sizes, given, sum = {}, 0, 0
  for p, share in ipairs(shares) do
    sizes[p] = math.floor(share * total + 1e-9)
    behind[p] = (behind[p] or 0) + share * total - sizes[p]
    given, sum = given + sizes[p], sum + share
  end
  for _ = given + 1, math.floor(sum * total + 0.5) do
    local most = 1
    for p = 2, #shares do
      if behind[p] > behind[most] + 1e-9 then most = p end
    end
    sizes[most], behind[most] = sizes[most] + 1, behind[most] - 1
  end
  return sizes
end

-- -- which part each sample goes to: a list of lists of samples ------------------------------------------------------

local function empty_parts(n)
  local parts = {}
  for p = 1, n do parts[p] = {} end
  return parts
end

--- Deals out `samples` in a random order; stream keeps the orders of several calls apart.
local function deal_samples(samples, sizes, seed, stream, parts)
  local order, at = core.shuffled(#samples, seed, stream), 0
  for p, size in ipairs(sizes) do
    for i = at + 1, at + size do table.insert(parts[p], samples[order[i]]) end
    at = at + size
  end
end

local function random_parts(set, shares, options)
  local parts = empty_parts(#shares)
  deal_samples(lists.count_up(#set), deal(shares, #set, {}), options.seed, 0, parts)
  return parts
end

--- Each class in the same proportion. What no part wants is dealt out too, so that all parts together lack nothing of
-- what they want.
local function stratified_parts(set, shares, options)
  local parts, of_class, behind, rest = empty_parts(#shares), empty_parts(#set.classes), {}, 1
  for _, share in ipairs(shares) do rest = rest - share end
  if rest > 1e-9 then
    shares = table.move(shares, 1, #shares, 1, {})
    shares[#shares + 1], parts[#shares + 1] = rest, {}
  end
  for i, label in ipairs(set.label) do table.insert(of_class[label], i) end
  for c, samples in ipairs(of_class) do
    deal_samples(samples, deal(shares, #samples, behind), options.seed, c, parts)
  end
  if rest > 1e-9 then parts[#parts] = nil end
  return parts
end

--- The parts that a column names: train, val, test first, others as they come.
local function official_parts(set, options)
  local groups, by_value, parts = grouping.list(set, options.column, "split"), {}, {}
  for _, group in ipairs(groups) do
    local name = tostring(group.value):lower()
    if by_value[name] then
      raise("split: '%s' and '%s' in column '%s' differ in case alone", by_value[name].value, group.value,
        options.column)
    end
    by_value[name] = group
  end
  local function take(group)
    if group and not group.taken then
      group.taken = true
      parts[#parts + 1] = group.samples
    end
  end
  if options.parts then
    for _, name in ipairs(options.parts) do
      if not by_value[name:lower()] then raise("split: no sample has '%s' in column '%s'", name, options.column) end
      take(by_value[name:lower()])
    end
    return parts
  end
  for _, name in ipairs(names.parts) do take(by_value[name]) end
  for _, group in ipairs(groups) do take(group) end
  return parts
end

-- -- methods of Set -------------------------------------------------------------------------------------------------

local KNOWN = {
  seed = option.integer(0, "(-inf, inf)"), stratify = option.switch(), group = option.text(), column = option.text(),
  parts = option.table(),
}

--- The column that tells which samples belong together, whether the set names it or it has one of the usual names.
local function known_group(set) return set.group or columns.find_all(set.meta, names.groups)[1] end

--- Says so when samples of one group are about to stand in several parts.
local function warn_of_leak(set, parts, operation)
  local name = known_group(set)
  if not name then return end
  local part_of, shared, groups = {}, {}, 0
  for p, samples in ipairs(parts) do
    for _, i in ipairs(samples) do
      local value = set.meta[name][i]
      if columns.is_missing(value) then -- a group of its own, for all that is known
        groups = groups + 1
      elseif part_of[value] == nil then
        part_of[value], groups = p, groups + 1
      elseif part_of[value] ~= p then
        shared[value] = true
      end
    end
  end
  local count = 0
  for _ in pairs(shared) do count = count + 1 end
  if count == 0 then return end
  require("texres").warn(("%s: %d of %d groups in column '%s' stand in more than one part: figures on the other parts "
    .. "will be too good. Use group = \"%s\""):format(operation, count, groups, name, name))
end

--- A part of a set. Who splits by a column says that it tells which images belong together: the part knows it, too.
local function part_of(set, samples, group)
  local part = set:subset(samples)
  part.group = part.group or group or nil
  return part
end

local function subsets(set, parts, group)
  local sets = {}
  for p, samples in ipairs(parts) do sets[p] = part_of(set, samples, group) end
  return sets
end

local function make_parts(set, shares, options)
  if options.group then return grouping.deal(set, shares, options) end
  if options.stratify then return stratified_parts(set, shares, options) end
  return random_parts(set, shares, options)
end

--- Splits the set: shares (or counts) of the parts, in order; options seed, stratify (each class in the same
-- proportion), group (a column whose groups stay whole; classes are balanced as far as whole groups allow, unless
-- stratify = false), or column (the parts it names; parts = list of names in the order wanted). Returns one set per
-- part; every sample of the set stands in one part when the shares add up to 1.
function Set:split(options)
  options = option.read("split", options, KNOWN, true)
  local parts
  if options.column then
    parts = official_parts(self, options)
  else
    parts = make_parts(self, read_shares(options, #self), options)
  end
  warn_of_leak(self, parts, "split")
  return table.unpack(subsets(self, parts, options.group))
end

local function join_others(parts, without)
  local rest = {}
  for p, samples in ipairs(parts) do
    if p ~= without then table.move(samples, 1, #samples, #rest + 1, rest) end
  end
  table.sort(rest)
  return rest
end

-- A list of folds that shows itself.
local Folds = {
  __tostring = function(folds)
    local rows = listing(#folds, function(i)
      local fold = folds[i]
      local name = fold.group == nil and "" or "  " .. plain.visible_name(plain.text(fold.group))
      return ("%4d  train %d images, test %d%s"):format(i, #fold.train, #fold.test, name)
    end, " ...")
    table.insert(rows, 1, ("%d folds"):format(#folds))
    return table.concat(rows, "\n")
  end,
}

local FOLDS = option.integer(nil, "[2, inf)")

--- k-fold cross-validation: `folds { k, seed=, stratify=, group= }` returns a list of { train = set, test = set };
-- every sample stands in one test part. The options are those of split; column and parts have no meaning here.
function Set:folds(options)
  options = option.read("folds", options, KNOWN, true)
  local k = option.check("folds", "the number of folds", options[1], FOLDS)
  if k > #self then raise("folds: %d folds are wanted, the set has %d samples", k, #self) end
  local shares = {}
  for p = 1, k do shares[p] = 1 / k end
  local parts = make_parts(self, shares, options)
  warn_of_leak(self, parts, "folds")
  local folds = {}
  for p, samples in ipairs(parts) do
    folds[p] = { train = part_of(self, join_others(parts, p), options.group),
      test = part_of(self, samples, options.group) }
  end
  return setmetatable(folds, Folds)
end

--- Leaves each group of a column out in turn: a list of { group = value, train = set, test = set }.
function Set:leave_one_out(name)
  name = name or known_group(self)
  if not name then raise "leave_one_out: name the column that says which samples belong together" end
  local groups, parts, folds = grouping.list(self, name, "leave_one_out"), {}, {}
  for g, group in ipairs(groups) do parts[g] = group.samples end
  warn_of_leak(self, parts, "leave_one_out")
  for g, group in ipairs(groups) do
    folds[g] = { group = group.value, train = part_of(self, join_others(parts, g), name),
      test = part_of(self, group.samples, name) }
  end
  return setmetatable(folds, Folds)
end

-- -- files ----------------------------------------------------------------------------------------------------------

--- The last two names of each picture's path, class and file as a rule; nil where samples are no pictures.
local function picture_names(set)
  local list = {}
  for i, path in ipairs(set.meta.path or {}) do list[i] = path:match "[^/]+/+[^/]+$" or path end
  return set.meta.path and list
end

--- Writes which samples of this set stand in which part, as JSON: `set:save_split(path, { train = train, test = test
-- })`; true, or nil and a message. The parts must have been made from this set.
function Set:save_split(path, parts)
  local place = {}
  for i, position in ipairs(self.index) do place[position] = i end
  local saved = {
    format = "texres split 1", count = #self, classes = self.classes, counts = self:counts(), labels = self.label,
    pictures = picture_names(self), parts = {},
  }
  for name, part in pairs(parts) do
    if part.source ~= self.source then raise("save_split: part '%s' was not made from this set", name) end
    local samples = {}
    for i, position in ipairs(part.index) do
      samples[i] = place[position]
      if not samples[i] then raise("save_split: part '%s' was not made from this set", name) end
    end
    saved.parts[name] = samples
  end
  local text, message = json.encode(saved)
  if not text then return nil, message end
  return files.write(path, text .. "\n")
end

local function check_saved(set, saved)
  if type(saved) ~= "table" or saved.format ~= "texres split 1" or type(saved.parts) ~= "table" then
    return "not a split that texres saved"
  end
  if saved.count ~= #set then return ("the split is one of %s samples, the set has %d"):format(saved.count, #set) end
  local counts = set:counts()
  for c, count in ipairs(counts) do
    if type(saved.counts) ~= "table" or saved.counts[c] ~= count then
      return "the split was made from another set: its classes have other counts"
    end
  end
  if type(saved.labels) ~= "table" or type(saved.classes) ~= "table" then
    return "it does not hold the labels of its set"
  end
  for i, label in ipairs(set.label) do
    local class = saved.classes[saved.labels[i]]
    if class ~= set.classes[label] then
      return ("sample %d is of class '%s' there, '%s' in this set: the split was made from another set, or one in "
        .. "another order"):format(i, class, set.classes[label])
    end
  end
  for i, name in ipairs(type(saved.pictures) == "table" and picture_names(set) or {}) do
    if saved.pictures[i] ~= name then
      return ("sample %d is picture '%s' there, '%s' in this set: the split was made from a set in another order")
        :format(i, saved.pictures[i], name)
    end
  end
  for name, samples in pairs(saved.parts) do
    if type(samples) ~= "table" then return ("part '%s' is not a list"):format(name) end
    for _, i in ipairs(samples) do
      if math.type(i) ~= "integer" or i < 1 or i > #set then
        return ("part '%s' holds sample %s, the set has 1..%d"):format(name, i, #set)
      end
    end
  end
end

--- Reads a split of this set: a table of sets by name; or nil and a message.
function Set:load_split(path)
  local text, message = files.read(path)
  if not text then return nil, "load_split: " .. message end
  local saved
  saved, message = json.decode(text)
  message = saved == nil and message or check_saved(self, saved)
  if message then return nil, ("load_split: %s: %s"):format(path, message) end
  local parts = {}
  for name, samples in pairs(saved.parts) do parts[name] = self:subset(samples) end
  return parts
end

return Set
