--- What two ways to split a set leak: by chance, and by whole groups.
--
--     local leaks = assert(set:leaks { test = 0.3, seed = 1 })
--     print(leaks)                       -- the audits of both, and a table
--     leaks[1].train, leaks[1].test, leaks[1].audit, leaks[1].leak     -- by chance; leaks[2]: by group
--
-- Where images that were cut from one photograph overlap, a random split measures how well a network remembers
-- photographs; one by group what it will do on the next photograph. A script that trains both writes `accuracy` into
-- leaks[1] and leaks[2], and the table shows it.
-- @module texres.data.leaks

local columns = require "texres.data.columns"
local lists = require "texres.data.lists"
local names = require "texres.data.names"
local option = require "texres.options"
local plain = require "texres.plain"
local Set = require "texres.data.set"
local strict = require "texres.strict"
local table_text = require "texres.nn.table_text"

local Leaks = strict.class("a comparison of splits", {}, { "group" })

local KNOWN = {
  test = option.number(0.3, "(0, 1)"), -- share of the images that are held out
  seed = option.integer(1, "[0, inf)"), -- of the split
  group = option.text(), -- the column that says which images belong together; by default that of the set, else one of
  -- the usual names
}

--- The parts of a random split, made without the set's columns, as its leak is wanted here and no warning of it.
local function random_parts(set, shares)
  shares.stratify = true
  local bare = Set.new { source = set.source, index = set.index, labels = set.label, classes = set.classes,
    meta = { place = lists.count_up(#set) } }
  local train, test = bare:split(shares)
  return set:subset(train.meta.place), set:subset(test.meta.place)
end

--- Splits the set by chance and, where it knows its groups, by whole groups, and audits both (set:audit). A list of
-- { name =, train =, test =, audit =, leak = } that print() shows. Nil and a message when an image can't be read.
function Set:leaks(options)
  local o = option.read("leaks", options, KNOWN)
  local group = o.group or self.group or columns.find_all(self.meta, names.groups)[1]
  local ways = { { name = "by chance" } }
  local function shares() return { 1 - o.test, o.test, seed = o.seed } end
  ways[1].train, ways[1].test = random_parts(self, shares())
  if group then
    local by_group = shares()
    by_group.group = group
    ways[2] = { name = "by " .. group }
    ways[2].train, ways[2].test = self:split(by_group)
  end
  for _, way in ipairs(ways) do
    local audit, message = self:audit { splits = { train = way.train, test = way.test }, group = group }
    if not audit then return nil, message end
    way.audit, way.leak = audit, audit.leaks[1]
  end
  ways.group = group
  return setmetatable(ways, Leaks)
end

--- The audits, and a row for each way.
function Leaks:__tostring()
  local parts, rows, trained = {}, {}, false
  for _, way in ipairs(self) do trained = trained or way.accuracy ~= nil end
  rows[1] = { "split", "train", "test", "equal", "alike", self.group and "same " .. self.group or "same group",
    "leaked", trained and "accuracy" or nil }
  rows[2] = "-"
  for i, way in ipairs(self) do
    local leak = way.leak
    parts[i] = ("split %s: %s\n"):format(way.name, tostring(way.audit))
    rows[#rows + 1] = { way.name, tostring(#way.train), tostring(#way.test), tostring(leak.equal),
      tostring(leak.alike), self.group and tostring(leak.grouped) or "-", plain.percent(leak.share),
      trained and (way.accuracy and plain.percent(way.accuracy) or "-") or nil }
  end
  parts[#parts + 1] = table_text(rows, { true })
  return plain.visible(table.concat(parts, "\n"))
end

return Set
