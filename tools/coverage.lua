--- Lines of csrc/ that ran, by floor and in all, of a build with --coverage: what `make coverage` prints.
--
--     lua5.4 tools/coverage.lua build-coverage
--
-- A line ran when it did in one of the objects that it is compiled into. Below the list, the files with the lowest
-- shares.

local folder, LOWEST = arg[1], 10

local lines = {} -- file -> line -> whether it ran
local gcov = ("find %s -name '*.gcda' -exec gcov --stdout {} + 2>/dev/null"):format(folder)
local here
for line in io.popen(gcov):lines() do
  local count, number, text = line:match "^%s*([^:]+):%s*(%d+):(.*)$"
  local source = number == "0" and text:match "^Source:(.*)$"
  if source then
    here = source:find "^csrc/" and source or nil
    if here then lines[here] = lines[here] or {} end
  elseif here and number and number ~= "0" and count ~= "-" then
    lines[here][number] = lines[here][number] or not count:find "[#=]"
  end
end

local function add(sum, ran) return { all = sum.all + 1, ran = sum.ran + (ran and 1 or 0) } end
local NONE = { all = 0, ran = 0 }
local files, floors, total = {}, {}, NONE
for file, ran_of in pairs(lines) do
  local floor = file:match "^csrc/(%w+)/"
  for _, ran in pairs(ran_of) do
    files[file], floors[floor], total = add(files[file] or NONE, ran), add(floors[floor] or NONE, ran), add(total, ran)
  end
end

local function share(sum) return 100 * sum.ran / sum.all end
local function row(name, sum) print(("%-36s %6d lines  %5.1f %%"):format(name, sum.all, share(sum))) end
--- The names of a table of sums, the lowest shares first.
local function sorted(sums)
  local names = {}
  for name in pairs(sums) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    if share(sums[a]) ~= share(sums[b]) then return share(sums[a]) < share(sums[b]) end
    return a < b
  end)
  return names
end

for _, name in ipairs(sorted(floors)) do row(name, floors[name]) end
row("all", total)
print "the lowest:"
for i, name in ipairs(sorted(files)) do
  if i <= LOWEST then row("  " .. name:gsub("^csrc/", ""), files[name]) end
end
