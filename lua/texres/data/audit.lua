--- Audit: what is wrong with a data set, and what a split of it leaks.
--
--     local audit = assert(set:audit { splits = { train = train, test = test }, group = "source" })
--     print(audit)
--     audit:contact_sheet "alike.png"                -- the most similar pairs side by side
--
-- Looks for equal images, images that look alike (also after quarter turns), equal or alike images with different
-- labels, constant and saturated images, classes that are absent or rare; and, between parts of a split, for images
-- of a part that have an equal, an alike, or one of the same group in another. The result holds, with samples given
-- as { part = "train", index = 17 }:
--
--     count, classes
--     parts        list of { name =, count =, counts = {per class}, mean =, std =, groups = number of groups or nil }
--     equal        list of lists of samples that are the same picture
--     alike        list of { first = sample, second = sample, similarity =, turn = 0..3 }, the most similar first; of
--                  each sample with those before it the 16 most similar pairs in each part
--     conflicts    list of { first =, second =, similarity = }: equal or alike, with different labels
--     constant     list of samples; saturated: list of samples with most of their pixel values black or white, none
--                  where pixels have no range (texres.input says what is white)
--     warnings     list of text
--     leaks        list of { from =, into =, equal =, alike =, grouped =, any =, share =, groups = }: how many of
--                  part `into` have such a partner in part `from`; share is any / samples; groups stand in both
-- @module texres.data.audit

local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"
local arrange = require("texres.classes").arrange
local input = require "texres.input"
local Set = require "texres.data.set"
local columns = require "texres.data.columns"
local usual = require "texres.data.names"
local lists = require "texres.data.lists"
local option = require "texres.options"
local table_text = require "texres.nn.table_text"

local Audit = strict.class("an audit", {})

local KNOWN = {
  splits = option.table(), -- parts by name; false: the set as one part
  group = option.text(), -- the column that says which samples belong together; false: the one of the set
  similarity = option.number(0.9, "[-1, 1]"), -- from which correlation on two pictures look alike
  saturated = option.number(0.5, "[0, 1]"), -- from which share of black or white pixels on a picture is saturated
  rare = option.number(0.1, "[0, 1]"), -- below which share of the mean count a class is rare
}

local BITS = 12 -- by which the signs of two pictures may differ to be compared at all

-- -- samples of several sets as one list -----------------------------------------------------------------------------

local place = {} -- of the usual names of parts
for i, name in ipairs(usual.parts) do place[name] = i end

--- Names of parts in order: train first, then as a person would say it, then others.
local function part_names(splits)
  local names = {}
  for name in pairs(splits) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    local x, y = place[a] or math.huge, place[b] or math.huge
    if x ~= y then return x < y end
    return plain.less(tostring(a), tostring(b))
  end)
  return names
end

--- The parts with the classes of the first, in its order: labels and counts of all are compared.
local function same_classes(splits, names)
  local sets = {}
  for p, name in ipairs(names) do
    local set, message = arrange(splits[name], splits[names[1]].classes)
    if not set then raise("audit: part '%s': %s", name, message) end
    sets[p] = set
  end
  return sets
end

--- All samples of all parts: the joined set; for each of its samples { part =, index = }, and the number of its part.
local function join(sets, names)
  local samples, parts = {}, {}
  for p, set in ipairs(sets) do
    for i = 1, #set do samples[#samples + 1], parts[#parts + 1] = { part = names[p], index = i }, p end
  end
  return sets[1]:concat(table.unpack(sets, 2)), samples, parts
end

--- The column to group by, or nil: that which was asked for, which every part must have, else the set's own, where
-- every part has it.
local function group_of(set, asked, sets, names)
  local group = asked or set.group
  for p, part in ipairs(group and sets or {}) do
    if not part.meta[group] then
      if asked then
        raise("audit: there is no column '%s' to group by%s", group,
          part ~= set and (" in part '%s'"):format(names[p]) or "")
      end
      require("texres").warn(("audit: part '%s' has no column '%s': groups are not compared"):format(names[p], group))
      return nil
    end
  end
  return group or nil
end

-- -- findings --------------------------------------------------------------------------------------------------------

--- Lists of positions with the same hash, of two at least.
local function find_equal(fingerprints)
  local of_hash, order, groups = {}, {}, {}
  for i, hash in ipairs(fingerprints.exact) do
    if not of_hash[hash] then
      of_hash[hash] = {}
      order[#order + 1] = hash
    end
    table.insert(of_hash[hash], i)
  end
  for _, hash in ipairs(order) do
    if #of_hash[hash] > 1 then groups[#groups + 1] = of_hash[hash] end
  end
  return groups
end

--- Sorts pairs that look alike without being equal, the most similar first.
local function sort_alike(alike)
  table.sort(alike, function(a, b)
    if a.similarity ~= b.similarity then return a.similarity > b.similarity end
    if a.first ~= b.first then return a.first < b.first end
    return a.second < b.second
  end)
  return alike
end

--- Pairs with different labels; of n equal images the first with the others.
local function find_conflicts(set, equal, alike)
  local conflicts = {}
  local function check(pair)
    if set.label[pair.first] ~= set.label[pair.second] then conflicts[#conflicts + 1] = pair end
  end
  for _, group in ipairs(equal) do
    for k = 2, #group do check { first = group[1], second = group[k], similarity = 1 } end
  end
  for _, pair in ipairs(alike) do check(pair) end
  return conflicts
end

local function positions_where(n, wanted)
  local list = {}
  for i = 1, n do
    if wanted(i) then list[#list + 1] = i end
  end
  return list
end

--- Which groups stand in which parts: groups[value][part] = number of samples.
local function place_groups(samples, column)
  local groups = {}
  for i, sample in ipairs(samples) do
    if not columns.is_missing(column[i]) then
      local parts = groups[column[i]] or {}
      groups[column[i]] = parts
      parts[sample.part] = (parts[sample.part] or 0) + 1
    end
  end
  return groups
end

--- How many samples of part `into` have a partner in part `from`.
local function find_leak(from, into, samples, equal, alike, column, groups)
  local leak = { from = from, into = into, equal = 0, alike = 0, grouped = 0, any = 0, groups = 0 }
  local kinds = {} -- of each sample of `into`
  local function note(i, kind)
    kinds[i] = kinds[i] or {}
    kinds[i][kind] = true
  end
  local function note_alike(one, other)
    if samples[one].part == from and samples[other].part == into then note(other, "alike") end
  end
  for _, group in ipairs(equal) do -- every member against every other: parts matter, not the first one alone
    local has = {}
    for _, i in ipairs(group) do has[samples[i].part] = true end
    for _, i in ipairs(group) do
      if has[from] and samples[i].part == into then note(i, "equal") end
    end
  end
  for _, pair in ipairs(alike) do
    note_alike(pair.first, pair.second)
    note_alike(pair.second, pair.first)
  end
  for _, parts in pairs(groups or {}) do
    if parts[from] and parts[into] then leak.groups = leak.groups + 1 end
  end
  local total = 0
  for i, sample in ipairs(samples) do
    if sample.part == into then
      total = total + 1
      local parts = groups and not columns.is_missing(column[i]) and groups[column[i]]
      if parts and parts[from] then note(i, "grouped") end
    end
  end
  for _, found in pairs(kinds) do
    leak.any = leak.any + 1
    for kind in pairs(found) do leak[kind] = leak[kind] + 1 end
  end
  leak.share = total > 0 and leak.any / total or 0
  return leak
end

local function describe_part(name, set, group)
  local part = { name = name, count = #set, counts = set:counts() }
  if #set > 0 then
    local statistics, message = set:statistics()
    if not statistics then return nil, message end
    part.mean, part.std = statistics.mean, statistics.std
  end
  if group then part.groups = lists.different(set.meta[group], columns.is_missing) end
  return part
end

local function warn_of_classes(parts, classes, rare)
  local warnings = {}
  for _, part in ipairs(parts) do
    for c, count in ipairs(part.counts) do
      if count == 0 then
        warnings[#warnings + 1] = ("%s has no %s"):format(part.name, classes[c])
      elseif count < rare * part.count / #classes then
        warnings[#warnings + 1] = ("%s has only %d of %s"):format(part.name, count, classes[c])
      end
    end
  end
  return warnings
end

--- Positions in the joined set as samples, in whatever nesting of lists they stand.
local function as_samples(value, samples)
  if math.type(value) == "integer" then return samples[value] end
  local list = {}
  for i, position in ipairs(value) do list[i] = as_samples(position, samples) end
  return list
end

local function name_pairs(list, samples)
  local named = {}
  for i, pair in ipairs(list) do
    named[i] = {
      first = samples[pair.first], second = samples[pair.second], similarity = pair.similarity, turn = pair.turn,
    }
  end
  return named
end

--- Audits this set, or the parts of a split of it. Options: splits (parts by name), group (a column), similarity
-- (0.9), saturated (0.5), rare (0.1). Returns the audit, or nil and a message when an image can't be read.
function Set:audit(options)
  local o = option.read("audit", options, KNOWN)
  local splits = o.splits or { all = self }
  local names = part_names(splits)
  if #names == 0 then raise "audit: splits holds no parts" end
  local sets = same_classes(splits, names)
  local group = group_of(self, o.group, sets, names)
  local set, samples, parts = join(sets, names)
  local white, message = false, nil
  if #set > 0 then white, message = input.white_of_set(set) end
  if white == nil then return nil, message end
  local fingerprints, found = set.source:fingerprints(set.index, parts, BITS, o.similarity, white or math.huge)
  if not fingerprints then return nil, found end

  local low, high = fingerprints.low, fingerprints.high
  local equal, alike = find_equal(fingerprints), sort_alike(found)
  local audit = setmetatable({
    count = #set, classes = set.classes, group = group, splits = splits, parts = {}, leaks = {},
    equal = as_samples(equal, samples), alike = name_pairs(alike, samples),
    conflicts = name_pairs(find_conflicts(set, equal, alike), samples),
    constant = as_samples(positions_where(#set, function(i) return low[i] == high[i] end), samples),
    saturated = as_samples(positions_where(#set, function(i)
      return white and low[i] < high[i] and fingerprints.dark[i] + fingerprints.bright[i] >= o.saturated
    end), samples),
  }, Audit)
  for p, name in ipairs(names) do
    audit.parts[p], message = describe_part(name, sets[p], group)
    if not audit.parts[p] then return nil, message end
  end
  audit.warnings = warn_of_classes(audit.parts, set.classes, o.rare)
  local column = group and set.meta[group]
  local groups = column and place_groups(samples, column)
  for p = 1, #names do
    for q = p + 1, #names do
      audit.leaks[#audit.leaks + 1] = find_leak(names[p], names[q], samples, equal, alike, column, groups)
    end
  end
  return audit
end

-- -- for people ------------------------------------------------------------------------------------------------------

--- Rows of cells as text: the first column to the left, the others to the right.
local function layout(rows) return "  " .. table_text(rows, { true }):gsub("\n", "\n  ") end

local function average(values)
  if not values then return "-" end
  local sum = 0
  for _, value in ipairs(values) do sum = sum + value end
  return plain.format("%.4f", sum / #values)
end

local function parts_table(audit)
  local head = { "part", "images" }
  for _, class in ipairs(audit.classes) do head[#head + 1] = class end
  head[#head + 1], head[#head + 2] = "mean", "std"
  if audit.group then head[#head + 1] = audit.group .. "s" end
  local rows = { head }
  for _, part in ipairs(audit.parts) do
    local row = { part.name, tostring(part.count) }
    for _, count in ipairs(part.counts) do row[#row + 1] = tostring(count) end
    row[#row + 1], row[#row + 2] = average(part.mean), average(part.std)
    if audit.group then row[#row + 1] = tostring(part.groups) end
    rows[#rows + 1] = row
  end
  return layout(rows)
end

local function leaks_table(audit)
  local rows = { { "leak", "equal", "alike", "same group", "any", "share", "groups in both" } }
  for _, leak in ipairs(audit.leaks) do
    rows[#rows + 1] = {
      leak.from .. " -> " .. leak.into, tostring(leak.equal), tostring(leak.alike),
      audit.group and tostring(leak.grouped) or "-", tostring(leak.any), plain.percent(leak.share),
      audit.group and tostring(leak.groups) or "-",
    }
  end
  return layout(rows)
end

local function name_sample(sample) return ("%s:%d"):format(sample.part, sample.index) end

--- The first few of a list, as text.
local function some(list, name)
  local shown = {}
  for i = 1, math.min(#list, 5) do shown[i] = name(list[i]) end
  return #list == 0 and "" or "  " .. lists.some(shown, 4)
end

local function name_pair(pair)
  local turned = pair.turn and pair.turn > 0 and (", turned by %d"):format(90 * pair.turn) or ""
  return plain.format("%s ~ %s (%.2f%s)", name_sample(pair.first), name_sample(pair.second), pair.similarity, turned)
end

local function name_equals(samples)
  local names = {}
  for i = 1, math.min(#samples, 3) do names[i] = name_sample(samples[i]) end
  return table.concat(names, " = ") .. (#samples > 3 and " = ..." or "")
end

function Audit:__tostring()
  local lines = { ("audit of %d images"):format(self.count), parts_table(self), "" }
  local function finding(list, text, name)
    lines[#lines + 1] = ("  %6d  %s%s"):format(#list, text, some(list, name))
  end
  finding(self.equal, "groups of equal images", name_equals)
  finding(self.alike, "pairs of images that look alike", name_pair)
  finding(self.conflicts, "pairs, equal or alike, with different labels", name_pair)
  finding(self.constant, "constant images", name_sample)
  finding(self.saturated, "saturated images", name_sample)
  finding(self.warnings, "classes that are absent or rare", tostring)
  if #self.leaks > 0 then
    lines[#lines + 1] = ""
    lines[#lines + 1] = leaks_table(self)
  end
  return plain.visible(table.concat(lines, "\n"))
end

--- Writes the most similar pairs as a PNG, a pair per row: equal images first, then those that look alike.
-- @tparam string path file to write
-- @tparam[opt] table options count (of pairs, 24), scale
-- @return true, or nil and a message; nil and a message too when there are no such pairs
function Audit:contact_sheet(path, options)
  local o = option.read("contact_sheet", options, {
    count = option.integer(24, "[1, inf)"), scale = option.integer(2, "[1, inf)"),
  })
  local rows = {}
  local function add(first, second)
    if #rows == o.count then return true end
    local row = {}
    for i, sample in ipairs { first, second } do
      local image, message = self.splits[sample.part]:get(sample.index)
      if not image then return nil, message end
      row[i] = image
    end
    rows[#rows + 1] = row
    return true
  end
  for _, samples in ipairs(self.equal) do
    local ok, message = add(samples[1], samples[2])
    if not ok then return nil, message end
  end
  for _, pair in ipairs(self.alike) do
    local ok, message = add(pair.first, pair.second)
    if not ok then return nil, message end
  end
  if #rows == 0 then return nil, "contact_sheet: no images are equal or look alike" end
  return require("texres.data.sheet").write(path, rows, { scale = o.scale, gap = 2 })
end

return Set
