--- Tables joined to the samples that their rows belong to: by the paths of pictures, else by position.
--
-- samples: count; and for pictures `paths`, one per sample, and `ordered`, whether the user knows their order (from a
-- list of his); `root` is the folder that paths may begin in; `order` names the arrays of a file that the samples come
-- from, one after the other, where there are several, and `told` lists columns that the file itself tells something of;
-- `max_bytes`, how much may be made of a table.

local columns = require "texres.data.columns"
local files = require "texres.files"
local lists = require "texres.data.lists"
local names = require "texres.data.names"

local join = {}

--- "a/./b//../c.png" -> "a/c.png"
local function normalize(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." and #parts > 0 and parts[#parts] ~= ".." then
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return (path:sub(1, 1) == "/" and "/" or "") .. table.concat(parts, "/")
end

local function count_hits(keys, wanted)
  local hits = 0
  for _, key in ipairs(keys) do
    if wanted[key] then hits = hits + 1 end
  end
  return hits
end

--- The paths of a table as those of the pictures are written. They may begin in the table's own folder, in that of the
-- pictures, or where the program runs: what fits most rows is taken.
local function resolve(t, cells, samples, wanted)
  local own = t.where:match "^(.*)/[^/]*$" or "."
  local best, most
  for _, base in ipairs { own, samples.root or ".", "." } do
    local keys = {}
    for i, path in ipairs(cells) do keys[i] = normalize(path:sub(1, 1) == "/" and path or base .. "/" .. path) end
    local hits = count_hits(keys, wanted)
    if not best or hits > most then best, most = keys, hits end
  end
  return best
end

--- What keeps rows and pictures apart, as a message; nil when every row is a picture's and every picture has a row.
local function misfits(t, cells, keys, row_of, samples, wanted)
  local bare, extra = {}, {}
  for i, path in ipairs(samples.paths) do
    if not row_of[normalize(path)] then bare[#bare + 1] = ("'%s'"):format(samples.paths[i]) end
  end
  for i, key in ipairs(keys) do
    if not wanted[key] then extra[#extra + 1] = ("'%s' %s"):format(cells[i], columns.at(t, i)) end
  end
  local found = {}
  if #bare > 0 then
    found[1] = ("%d of %d pictures have no row: %s"):format(#bare, samples.count, lists.some(bare, 3))
  end
  if #extra > 0 then
    found[#found + 1] = ("%d of %d rows are of no picture: %s"):format(#extra, #keys, lists.some(extra, 3))
  end
  return found[1] and ("data: %s: %s"):format(t.where, table.concat(found, "; "))
end

local function is_same_order(keys, paths)
  if #keys ~= #paths then return false end
  for i, path in ipairs(paths) do
    if keys[i] ~= normalize(path) then return false end
  end
  return true
end

--- The row of each sample by its path; or nil and a message.
local function match_paths(t, cells, samples)
  local wanted, row_of, rows = {}, {}, {}
  for _, path in ipairs(samples.paths) do wanted[normalize(path)] = true end
  local keys = resolve(t, cells, samples, wanted)
  if is_same_order(keys, samples.paths) then return lists.count_up(#keys) end -- where a picture may stand twice
  for i, key in ipairs(keys) do
    if row_of[key] then
      return nil, ("data: %s: picture '%s' stands there twice, %s and %s"):format(t.where, cells[i],
        columns.at(t, row_of[key]), columns.at(t, i))
    end
    row_of[key] = i
  end
  local message = misfits(t, cells, keys, row_of, samples, wanted)
  if message then return nil, message end
  for i, path in ipairs(samples.paths) do rows[i] = row_of[normalize(path)] end
  return rows
end

--- Says so when a column `index`, which counts images from 0, is in another order than the rows.
local function warn_of_order(t)
  local index, seen, moved = t.columns.index or {}, {}, nil
  for i, value in ipairs(index) do
    if math.type(value) ~= "integer" or value < 0 or value >= #index or seen[value] then return end
    seen[value], moved = true, moved or value ~= i - 1 and i or nil
  end
  if not moved then return end
  require("texres").warn(("data: %s: column 'index' is not in the order of the rows, first %s; row k is taken to be of "
    .. "image k"):format(t.where, columns.at(t, moved)))
end

--- Says so where samples come from several arrays and `what` another file holds of them is taken by position.
function join.warn_of_arrays(where, what, samples)
  if not samples.order then return end
  require("texres").warn(("data: %s: %s are taken for the images of %s, in this order"):format(where, what,
    samples.order))
end

--- The table with a row per sample in their order: by the column of paths where the samples are pictures, else by
-- position; or nil and a message.
local function to_samples(t, samples)
  local path = columns.find_all(t.text, names.paths)[1]
  if samples.paths and path then
    local rows, message = match_paths(t, t.text[path], samples)
    if not rows then return nil, message end
    for name in pairs(t.text) do
      t.text[name], t.columns[name] = lists.pick(t.text[name], rows), lists.pick(t.columns[name], rows)
    end
    if t.lines then t.lines = lists.pick(t.lines, rows) end
    t.columns[path] = nil -- the samples' own say the same
    return t
  end
  if samples.paths and not samples.ordered and next(t.text) then
    return nil, ("data: %s: no column of paths (%s) says which row belongs to which picture (columns: %s)")
      :format(t.where, table.concat(names.paths, ", "), columns.list(t.text))
  end
  for name, values in pairs(t.columns) do
    if #values ~= samples.count then
      return nil, ("data: %s: column '%s' has %d values, there are %d images"):format(t.where, name, #values,
        samples.count)
    end
  end
  if not samples.paths then
    warn_of_order(t)
    local is_told = columns.find_all(t.columns, samples.told or {})[1] -- rows in another order would be noticed
    if next(t.columns) and not is_told then join.warn_of_arrays(t.where, "its rows", samples) end
  end
  return t
end

--- A path as it stands or, where no such file is, from the samples' folder on.
function join.locate(path, samples)
  local inside = samples.root and samples.root .. "/" .. path
  return not files.exists(path) and inside and files.exists(inside) and inside or path
end

--- The table of an option (the path of a CSV file, columns in Lua) with a row per sample, added to `all` (see
-- columns.add); or nil and a message.
function join.add(all, from, samples)
  local t, message
  if type(from) == "string" then
    t, message = columns.read(join.locate(from, samples), samples.max_bytes)
  else
    t = columns.from_lua(from)
  end
  if t then t, message = to_samples(t, samples) end
  message = message or t and columns.add(all, t)
  return not message and t or nil, message
end

return join
