--- The guides of docs/ run as they stand there, in an installed tree that knows nothing of this checkout. The blocks of
-- a page are one script, in one folder: Lua keeps its locals from block to block, shell commands stand in between.
--
--     ```lua, ```sh        is run; a line that ends in `--> text` prints this text ("..." in it: anything)
--     ```text              what the block before printed, word for word; a line "..." stands for any lines
--     ```text like         the same but for the numbers, which differ from machine to machine
--     ```c PATH            a new file of a copy of the sources, which is the folder of the blocks that follow
local support = require "spec.support"

local LANGUAGES = { lua = true, sh = true, text = true, c = true }

local tree = support.folder()

--- The blocks of a page: { language =, info = what follows it, text =, line = }.
local function blocks_of(page)
  local list, block, number = {}, nil, 0
  for line in (support.read_file(page) .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local language, info = line:match "^```(%l+) ?(.*)$"
    if line == "```" and block then
      block = nil
    elseif not block and line:find "^```" then
      assert(LANGUAGES[language], ("%s:%d: a block of no language that is run"):format(page, number))
      block = { language = language, info = info, text = "", line = number + 1 }
      list[#list + 1] = block
    elseif block then
      block.text = block.text .. line .. "\n"
    end
  end
  assert(not block, page .. " ends within a block")
  return list
end

-- -- running ----------------------------------------------------------------------------------------------------------

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Makes `folder` a copy of the sources, and of what was built of them, with one more function in autograd/list.h. Only
-- what lists all functions is built anew: what knows the list for the sake of one row is as new as before.
local function copy_sources(folder, path, text)
  local name = path:match "^csrc/autograd/([%w_]+)%.c$"
  assert(os.execute(("cp -a Makefile csrc lua build tools bin examples %s"):format(quote(folder))))
  local list = folder .. "/csrc/autograd/list.h"
  local rows, count = support.read_file(list):gsub("TX_OP%(relu%)", "%0 TX_OP(" .. name .. ")", 1)
  assert.equal(1, count)
  support.write_file(list, rows)
  support.write_file(folder .. "/" .. path, text)
  assert(os.execute(("touch -r csrc/autograd/list.h %s && touch %s/csrc/lua/op.c"):format(quote(list), quote(folder))))
end

--- The page as one Lua script, which writes a mark before what each block prints.
local function script_of(blocks, folder)
  local parts, at = {}, folder
  for b, block in ipairs(blocks) do
    parts[#parts + 1] = ("io.stdout:write('\\n@@%d\\n') io.stdout:flush() "):format(b)
    if block.language == "c" then
      at = folder .. "/texres"
      assert(os.execute("mkdir -p " .. quote(at)))
      copy_sources(at, block.info, block.text)
    elseif block.language == "sh" then
      local file = support.write_file(("%s/.block-%d.sh"):format(folder, b), block.text)
      parts[#parts + 1] = ("assert(os.execute %q)"):format(("cd %s && exec sh -e %s"):format(quote(at), quote(file)))
    elseif block.language == "lua" and at ~= folder then -- another library: a script of its own
      local file = support.write_file(("%s/.block-%d.lua"):format(folder, b), block.text)
      parts[#parts + 1] = ("assert(os.execute %q)"):format(("cd %s && LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' "
        .. "LUA_CPATH='./lua/?.so;;' exec %s %s"):format(quote(at), support.lua, quote(file)))
    elseif block.language == "lua" then
      parts[#parts + 1] = "\n" .. block.text
    end
  end
  return table.concat(parts, "\n")
end

--- What the blocks printed, a text for each.
local function run(page, blocks, folder)
  local file = support.write_file(folder .. "/.page.lua", script_of(blocks, folder))
  local share, lib = tree .. "/share/lua/5.4", tree .. "/lib/lua/5.4"
  local ok, output = support.run({ "sh", "-c", ("cd %s && exec %s %s 2>.errors"):format(quote(folder), support.lua,
    quote(file)) }, { env = {
      PATH = ("%s/bin:%s"):format(tree, os.getenv "PATH"), LUA_PATH = ("%s/?.lua;%s/?/init.lua;;"):format(share, share),
      LUA_CPATH = lib .. "/?.so;;", OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1,
      OMPI_MCA_rmaps_base_oversubscribe = 1,
    } })
  assert.is_true(ok, ("%s:\n%s\n%s"):format(page, output, support.read_file(folder .. "/.errors")))
  local printed, block = {}, nil
  for line in output:gmatch "([^\n]*)\n" do
    local mark = line:match "^@@(%d+)$"
    if mark then
      block = {}
      printed[math.tointeger(mark)] = block
    elseif block then
      block[#block + 1] = (line:gsub("%s+$", ""))
    end
  end
  for _, lines in pairs(printed) do
    while lines[#lines] == "" do lines[#lines] = nil end
  end
  return printed
end

-- -- comparing --------------------------------------------------------------------------------------------------------

--- A text as a pattern: "..." is anything; with `like`, so are numbers, and how wide a column is.
local function pattern_of(text, like)
  local pattern = text:gsub("%p", "%%%0"):gsub("%%%.%%%.%%%.", ".*")
  if like then pattern = pattern:gsub("%d+", "%%d+"):gsub("%%d%+%%%.%%d%+", "[%%d.]+"):gsub(" +", " +") end
  return "^" .. pattern .. "$"
end

--- Whether lines from `l` on are what a page shows from line `s` on.
local function fits(lines, l, shown, s, like)
  while shown[s] do
    if shown[s] == "..." then
      for from = l, #lines + 1 do
        if fits(lines, from, shown, s + 1, like) then return true end
      end
      return false
    end
    if not lines[l] or not lines[l]:find(pattern_of(shown[s], like)) then return false end
    l, s = l + 1, s + 1
  end
  return lines[l] == nil
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "([^\n]*)\n" do list[#list + 1] = (line:gsub("%s+$", "")) end
  return list
end

--- Holds what a block printed against the comments `--> text` in it, which stand in the order of their lines.
local function compare_comments(where, block, lines)
  local l = 1
  for text in block.text:gmatch "%-%-> ([^\n]*)" do
    local pattern = pattern_of(text)
    while lines[l] and not lines[l]:find(pattern) do l = l + 1 end
    assert(lines[l], ("%s: '%s' was not printed, but:\n%s"):format(where, text, table.concat(lines, "\n")))
    l = l + 1
  end
end

local function compare(page, blocks, printed)
  for b, block in ipairs(blocks) do
    local where = ("%s:%d"):format(page, block.line)
    if block.language == "lua" then
      compare_comments(where, block, printed[b])
    elseif block.language == "text" then
      local before = printed[b - 1]
      assert(before and blocks[b - 1].language ~= "text", where .. ": no block stands before it")
      assert(fits(before, 1, lines_of(block.text), 1, block.info == "like"),
        ("%s: what is printed there is\n%s"):format(where, table.concat(before, "\n")))
    end
  end
end

-- -- the pages --------------------------------------------------------------------------------------------------------

--- Whether MPI was there to be built with, and is there to start processes.
local function has_mpi() return support.exists "lua/texres/mpi.so" and os.execute "command -v mpirun >/dev/null" end

local pages = {}
for page in io.popen("ls docs/*.md"):lines() do pages[#pages + 1] = page end

describe("the guide", function()
  setup(function()
    local ok, output = support.run { "make", "install", "PREFIX=" .. tree }
    assert.is_true(ok, output)
  end)

  for _, page in ipairs(pages) do
    it(page .. " runs as it stands, and prints what it shows", function()
      local blocks, folder = blocks_of(page), support.folder()
      if page == "docs/clusters.md" and not has_mpi() then pending "MPI, or its mpirun, is not on this machine" end
      compare(page, blocks, run(page, blocks, folder))
    end)
  end
end)

--- What the tables of a page name as ours, in the second column: tr.tensor, nn.Conv2d, x:sum.
local function names_of(page)
  local list = {}
  for line in support.read_file(page):gmatch "[^\n]+" do
    local ours = line:match "^|[^|]*|([^|]*)|"
    for span in (ours or ""):gmatch "`([^`]*)`" do
      list[#list + 1] = span:match "^[%a_][%w_]*[.:][%w_.]+"
    end
  end
  return list
end

describe("the guides", function()
  it("name what there is as ours", function()
    local tr = require "texres"
    local set = tr.data.tensors { images = tr.zeros(1, 2, 2, 1), labels = { 1 } }
    local net = tr.nn.Sequential { { conv = tr.nn.Conv2d(1, 1, 1) } }
    local known = { tr = tr, nn = tr.nn, F = tr.nn.functional, net = net, set = set }
    known.trainer = tr.Trainer { model = net }
    for _, name in ipairs { "x", "y", "loss" } do known[name] = tr.zeros(1) end
    local count = 0
    for _, page in ipairs(pages) do
      for _, name in ipairs(names_of(page)) do
        local found = known
        for part in name:gmatch "[%w_]+" do
          local ok, value = pcall(function() return found[part] end)
          assert(ok and value ~= nil, ("%s: there is no %s"):format(page, name))
          found = value
        end
        count = count + 1
      end
    end
    assert.is_true(count > 100)
  end)

  it("stand in the index, and their links lead somewhere", function()
    local index = support.read_file "docs/README.md"
    for _, page in ipairs(pages) do
      local name = page:match "[^/]*$"
      assert(name == "README.md" or index:find("](" .. name .. ")", 1, true), name .. " is not in docs/README.md")
      for path in support.read_file(page):gsub("```.-```", ""):gmatch "%]%(([^)#]+)[^)]*%)" do
        assert(path:find "^https?:" or support.exists("docs/" .. path), page .. " leads to " .. path)
      end
    end
  end)
end)
