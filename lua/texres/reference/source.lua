--- What the comments of a Lua source tell.
--
-- A comment that begins with three dashes is told of what stands below it, in the next line. One that begins with a
-- name and brackets, `Conv2d(c_in, c_out, k): ...` or `cosine{lr=, min=0}: ...`, is told of what has that name,
-- wherever it stands: for functions that are made in a loop, and for classes, whose arguments it shows.

local source = {}

-- -- reading ----------------------------------------------------------------------------------------------------------

local function content_of(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

--- A function's name and parameters from the line in which it begins: "Trainer", ":", "fit", "train, val, options".
local function definition(line)
  local parameters = line:match "function%s*[%w_.:]*%s*%((.-)%)"
  if not parameters then return nil end
  local owner, separator, name = line:match "function%s+([%w_.]-)([.:]?)([%w_]+)%s*%("
  if not name then owner, separator, name = line:match "([%w_.]-)(%.?)([%w_]+)%s*=%s*function" end
  return { owner = owner, separator = separator, name = name, parameters = parameters }
end

local BLANK, DASH = (" -"):byte(1, 2)

--- Comments as blocks of lines: by the line of code below each, by the name that each begins with, and the first one.
local function blocks_of(lines)
  local below, named, first, block = {}, {}, nil, nil
  for i, line in ipairs(lines) do
    if line:byte() == BLANK then line = line:match "^ +(%-%-.*)$" or line end
    local one, two, three = line:byte(1, 3)
    if one ~= DASH or two ~= DASH then
      if block and line ~= "" then below[i] = block end
      block = nil
    elseif three == DASH then
      block = { line = i, line:match "^%-%-%-%s?(.*)$" }
      first = first or block
      local name = block[1]:match "^texres%.([%a_][%w_]*)[%({]" or block[1]:match "^([%a_][%w_]*)[%({]"
      if name then named[name] = block end
    elseif block then
      block[#block + 1] = line:match "^%-%-%s?(.*)$"
    end
  end
  return below, named, first
end

local read = {} -- path -> what was read there

--- A source: { path =, text =, lines =, below =, named =, head = }.
function source.read(path)
  if not read[path] then
    local text, lines = content_of(path), {}
    for line in text:gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
    local below, named, head = blocks_of(lines)
    read[path] = { path = path, text = text, lines = lines, below = below, named = named, head = head }
  end
  return read[path]
end

--- The number of the line that has these words; nil where none has.
function source.line_of(from, words)
  local at = from.text:find(words, 1, true)
  if not at then return nil end
  local _, breaks = from.text:sub(1, at):gsub("\n", "")
  return breaks + 1
end

--- The source that a Lua function, or the module of that name, comes from; nil for those of C.
function source.of(f)
  if f == nil then return nil end
  if type(f) == "string" then
    local path = package.searchpath(f, package.path)
    return path and source.read(path)
  end
  local info = debug.getinfo(f, "S")
  return info.source:byte() == 64 and source.read(info.source:sub(2)) or nil -- "@"
end

--- How a function begins, as definition tells it.
function source.definition(from, f)
  local line = from.lines[debug.getinfo(f, "S").linedefined]
  return line and definition(line)
end

--- The text of a function, from its first line to its last.
function source.body(from, f)
  local info = debug.getinfo(f, "S")
  return table.concat(from.lines, "\n", info.linedefined, math.min(info.lastlinedefined, #from.lines))
end

--- `for name, value in source.upvalues(f) do`: what a function uses of what surrounds it.
function source.upvalues(f)
  local i = 0
  return function()
    i = i + 1
    return debug.getupvalue(f, i)
  end
end

--- One of them by its name.
function source.upvalue(f, wanted)
  for name, value in source.upvalues(f) do
    if name == wanted then return value end
  end
end

-- -- comments ---------------------------------------------------------------------------------------------------------

-- LDoc's tags as words: "@tparam[opt=1] integer dim" -> "dim (integer, by default 1)".
local function untagged(line)
  local option, kind, rest = line:match "^@tparam(%b[])%s+(%S+)%s+(.*)$"
  if option then
    local default = option:match "=(.*)%]"
    local name, told = rest:match "^(%S+)%s*(.*)$"
    return ("%s (%s, %s): %s"):format(name, kind, default and "by default " .. default or "optional", told)
  end
  kind, rest = line:match "^@tparam%s+(%S+)%s+(.*)$"
  if kind then
    local name, told = rest:match "^(%S+)%s*(.*)$"
    return ("%s (%s)%s"):format(name, kind, told ~= "" and ": " .. told or "")
  end
  rest = line:match "^@param%s+(.*)$"
  if rest then return (rest:gsub("^(%S+)%s+", "%1: ")) end
  kind, rest = line:match "^@treturn%s+(%S+)%s*(.*)$"
  if kind then return ("Returns: %s %s"):format(kind, rest) end
  rest = line:match "^@return%s+(.*)$"
  return rest and "Returns: " .. rest or line
end

--- A block as text. `from` (optional): the line of the block to begin with.
function source.text(block, from)
  local lines, tagged = {}, false
  for i = from or 1, #block do
    local line = block[i]
    if line:match "^@module" then goto continue end
    if line:match "^@" and not tagged then
      tagged, lines[#lines + 1] = true, ""
    end
    lines[#lines + 1] = (untagged(line):gsub(": $", ""))
    ::continue::
  end
  return (table.concat(lines, "\n"):gsub("^%s*\n", ""):gsub("%s+$", ""))
end

--- The arguments "(x, {p=0.5})" or "{lr=}" that a text begins with, behind a name, and what comes after them; nil where
-- it begins otherwise.
function source.signature(text)
  local name, at = text:match "^([%a_][%w_.]*)()"
  local arguments = name and text:match("^%b()", at) or name and text:match("^%b{}", at)
  if not arguments then return nil end
  local rest = text:sub(at + #arguments)
  local told = rest:match "^[:.]%s+(.*)$"
  if not told then return arguments, text end
  local first, further = told:match "^(.-)(\n%s.*)$" -- whose lines were broken behind the arguments
  told = (first or told):gsub("\n", " ") .. (further or "")
  local is_word = told:find "^%l%l+[%s,]" or told:find "^a %l%l+%s"
  return arguments, is_word and told:sub(1, 1):upper() .. told:sub(2) or told
end

--- Parts of a text between commas that stand in no brackets.
function source.parts(text)
  local parts, depth, from = {}, 0, 1
  for at, sign in text:gmatch "()([%[%]{}%(%),])" do
    if sign:find "[%[{%(]" then
      depth = depth + 1
    elseif sign ~= "," then
      depth = depth - 1
    elseif depth == 0 then
      parts[#parts + 1] = text:sub(from, at - 1)
      from = at + 1
    end
  end
  parts[#parts + 1] = text:sub(from)
  for i, part in ipairs(parts) do parts[i] = part:match "^%s*(.-)%s*$" end
  if #parts == 1 and parts[1] == "" then return {} end
  return parts
end

-- -- options ----------------------------------------------------------------------------------------------------------

--- The comments beside the options of a table, of which this is the text: `epochs = option.integer(10), -- passes`; and
-- the names of all options in their order.
-- What stands in lines of its own belongs to the option before it that has begun a comment, else to the one below.
function source.option_comments(text)
  local told, names, name, begun, above = {}, {}, nil, false, nil
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local alone = line:match "^%s*%-%-%s?(.*)$"
    if alone and begun and name then
      told[name] = told[name] .. " " .. alone
    elseif alone then
      above = above and above .. " " .. alone or alone
    else
      local code, beside = line:match "^(.-)%s*%-%-%s?(.*)$"
      code = code or line
      for found in code:gmatch "([%a_][%w_]*)%s*=%s*[%w_]+[.,%s]" do
        name, names[#names + 1] = found, found
        if above then told[name], above = above, nil end
      end
      if beside and name then told[name] = told[name] and told[name] .. " " .. beside or beside end
      begun = beside ~= nil
    end
  end
  return told, names
end

--- The table that a source has under a name, "KNOWN = {", from its brace to the one that closes it; "" where none is.
function source.table_text(from, name)
  local _, at = from.text:find("[^%w_]" .. name .. " = {")
  return at and from.text:match("^%b{}", at) or ""
end

return source
