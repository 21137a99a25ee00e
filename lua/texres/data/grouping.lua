--- Groups of samples that belong together (one photograph, one roll), and how whole groups are dealt out to parts.

local core = require "texres.core"
local plain = require "texres.plain"
local columns = require "texres.data.columns"
local lists = require "texres.data.lists"
local raise = require "texres.raise"

local grouping = {}

local function column(set, name, operation)
  local values = set.meta[name]
  if values then return values end
  local names = plain.names(set.meta)
  raise("%s: there is no column '%s'; the set has %s", operation, name,
    #names > 0 and table.concat(names, ", ") or "no columns")
end

--- The groups of a column, in order of first appearance: { value =, samples = {...}, counts = {per class} }.
function grouping.list(set, name, operation)
  local values, groups, known = column(set, name, operation), {}, {}
  for i = 1, #set do
    local value = values[i]
    if columns.is_missing(value) then
      raise("%s: sample %d has no value in column '%s' (%s)", operation, i, name, tostring(value))
    end
    local group = known[value]
    if not group then
      group = { value = value, samples = {}, counts = lists.filled(#set.classes, 0) }
      known[value] = group
      groups[#groups + 1] = group
    end
    table.insert(group.samples, i)
    group.counts[set.label[i]] = group.counts[set.label[i]] + 1
  end
  return groups
end

--- Large groups first, of about equal ones in a random order.
local function order_groups(groups, seed)
  local rank = {}
  for place, g in ipairs(core.shuffled(#groups, seed, 0)) do rank[groups[g]] = place end
  local function octave(group) return math.floor(math.log(#group.samples, 2)) end
  table.sort(groups, function(a, b)
    if octave(a) ~= octave(b) then return octave(a) > octave(b) end
    return rank[a] < rank[b]
  end)
end

--- How far counts are from what they should be, relative to it.
local function distance(counts, wanted)
  local sum = 0
  for c, want in ipairs(wanted) do sum = sum + (counts[c] - want) ^ 2 / math.max(want, 1e-3) end
  return sum
end

--- Adds (sign 1) a group to a part or takes it away (sign -1).
local function put(part, group, sign)
  for c, count in ipairs(group.counts) do
    part.counts[c] = part.counts[c] + sign * count
    if count > 0 then part.groups[c] = part.groups[c] + sign end
  end
end

--- What adding (or taking) a group does to the part's distance.
local function gain(part, group, sign)
  local before = distance(part.counts, part.wanted)
  put(part, group, sign)
  local after = distance(part.counts, part.wanted)
  put(part, group, -sign)
  return after - before
end

--- Gives part p a group of class c that another part can spare: one that has others of each class in it. The best
-- for the distances; false when there is none.
local function bring_class(groups, parts, p, c)
  local best, best_gain
  for _, group in ipairs(groups) do
    local from = parts[group.part]
    local spare = group.part ~= p and group.counts[c] > 0
    for k, count in ipairs(group.counts) do spare = spare and (count == 0 or from.groups[k] > 1) end
    if spare then
      local change = gain(parts[p], group, 1) + gain(from, group, -1)
      if not best or change < best_gain then best, best_gain = group, change end
    end
  end
  if not best then return false end
  put(parts[best.part], best, -1)
  put(parts[p], best, 1)
  best.part = p
  return true
end

--- Says so when groups are too few or too large for the shares that were asked for.
local function warn_of_sizes(parts, shares, total, name)
  local got, wanted, far = {}, {}, false
  for p, share in ipairs(shares) do
    local have = #parts[p] / math.max(total, 1)
    got[p], wanted[p] = ("%.0f %%"):format(100 * have), ("%.0f %%"):format(100 * share)
    far = far or math.abs(have - share) > 0.1
  end
  if not far then return end
  require("texres").warn(("split: whole groups of '%s' give parts of %s of the samples, not %s: every part "
    .. "gets a group of each class"):format(name, table.concat(got, ", "), table.concat(wanted, ", ")))
end

--- Whole groups to parts: each in turn to the part that it brings closest to its share (of every class unless
-- stratify = false); then every part gets a group of every class, as far as there are enough.
function grouping.deal(set, shares, options)
  local groups, by_class = grouping.list(set, options.group, "split"), options.stratify ~= false
  if #groups < #shares then
    raise("split: column '%s' has %d groups, %d parts are wanted", options.group, #groups, #shares)
  end
  local totals = by_class and set:counts() or { #set }
  local parts = {}
  for p, share in ipairs(shares) do
    local wanted = {}
    for c, total in ipairs(totals) do wanted[c] = share * total end
    parts[p] = { counts = lists.filled(#totals, 0), groups = lists.filled(#totals, 0), wanted = wanted }
  end
  order_groups(groups, options.seed)
  for _, group in ipairs(groups) do
    if not by_class then group.counts = { #group.samples } end
    local best, best_gain
    for p, part in ipairs(parts) do
      local change = gain(part, group, 1)
      if not best or change < best_gain - 1e-12 then best, best_gain = p, change end
    end
    put(parts[best], group, 1)
    group.part = best
  end
  for c = 1, #totals do
    for p, part in ipairs(parts) do
      if part.groups[c] == 0 and shares[p] > 0 then bring_class(groups, parts, p, c) end
    end
  end
  local samples = {}
  for p = 1, #shares do samples[p] = {} end
  for _, group in ipairs(groups) do
    local list = samples[group.part]
    table.move(group.samples, 1, #group.samples, #list + 1, list)
  end
  for _, list in ipairs(samples) do table.sort(list) end
  warn_of_sizes(samples, shares, #set, options.group)
  return samples
end

return grouping
