--- What Tab offers at the prompt: variables and words of Lua, fields and methods of the values at hand, names of
-- options inside the braces of a call and what they may be (texres.reference), names of the library for help(), paths
-- inside of any other text. Nothing is called: `a.b[1].c` is looked up, `f(x).c` is not.

local core = require "texres.core"
local plain = require "texres.plain"

local KEYWORDS = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil", "not",
  "or", "repeat", "return", "then", "true", "until", "while",
}

-- -- the text before the cursor ---------------------------------------------------------------------------------------

-- Behind the end of a long bracket or a comment that begins at `at`, nil where it goes on; false where none begins.
local function behind_long(text, at)
  local level = text:match("^%-%-%[(=*)%[", at) or text:match("^%[(=*)%[", at)
  if level then
    local _, last = text:find("]" .. level .. "]", at, true)
    return last and last + 1
  end
  if text:sub(at, at + 1) == "--" then
    return (text:find("\n", at, true))
  end
  return false
end

-- Where a text of Lua stands at its end: the brackets that are open, a list of positions from the outermost on; and
-- the position of the quote of a text that is open. Nil inside of a comment or a long text.
local function scan(text)
  local open, at = {}, 1
  while at <= #text do
    local behind, char = behind_long(text, at), text:sub(at, at)
    if behind == nil then return nil end
    if behind then
      at = behind
    elseif char == '"' or char == "'" then
      local start = at
      repeat
        at = text:find("[\\" .. char .. "]", at + 1)
        if not at then return open, start end
        local escaped = text:sub(at, at) == "\\"
        if escaped then at = at + 1 end
      until not escaped
      at = at + 1
    else
      if char:find "[%(%[{]" then open[#open + 1] = at end
      if char:find "[%)%]}]" then open[#open] = nil end
      at = at + 1
    end
  end
  return open
end

-- -- values -----------------------------------------------------------------------------------------------------------

-- value[key]; nil where it can't be read, or a strict table refuses the name.
local function field(value, key)
  if type(value) ~= "table" and type(value) ~= "userdata" and type(value) ~= "string" then return nil end
  local ok, found = pcall(function() return value[key] end)
  return ok and found or nil
end

-- The names that a value can be asked for, as the keys of `names`.
local function gather(value, names, depth)
  if type(value) == "table" then
    for key in next, value do
      if type(key) == "string" then names[key] = true end
    end
  end
  local meta = debug.getmetatable(value)
  if type(meta) ~= "table" or depth > 10 then return names end
  local index, lazy = rawget(meta, "__index"), rawget(meta, "lazy")
  if type(index) == "table" then
    gather(index, names, depth + 1)
  elseif type(index) == "function" then -- of texres.strict: a table with members that are made later, or a class
    gather(setmetatable({}, { __index = lazy or meta }), names, depth + 1)
  end
  if core.is_tensor(value) then
    for name in pairs(core.methods) do names[name] = true end
    for _, name in ipairs { "dtype", "requires_grad", "grad", "is_leaf", "operation" } do names[name] = true end
  end
  return names
end

-- What the end of a text names: the value before its last part, what joins them ("." or ":", "" for a variable), the
-- last part; nil for what is no such chain.
local function chain(text, environment)
  local start, rest = text:match "()([%a_][%w_%.:%[%]]*)$"
  while start do
    local before = text:sub(start - 1, start - 1)
    if before:find "[%.:%w%)\"'%]]" then return nil end
    local value, joint, name = environment, "", rest:match "^[%a_][%w_]*"
    local left = rest:sub(#name + 1)
    while left ~= "" do
      local index, behind = left:match "^%[(%d+)%]()"
      local mark, key, after = left:match "^([%.:])([%w_]*)()"
      if not index and not mark then break end
      if name then value = field(value, name) end
      if index then
        value, name, joint, left = field(value, math.tointeger(index)), nil, nil, left:sub(behind)
      else
        joint, name, left = mark, key, left:sub(after)
      end
    end
    if left == "" then return value, joint, name end
    start, rest = text:match("%[()([%a_][%w_%.:%[%]]*)$", start)
  end
  return nil
end

-- -- options ----------------------------------------------------------------------------------------------------------

-- The reference of the library; an empty one where it was left out.
local function reference()
  local found, module = pcall(require, "texres.reference")
  return found and module or { find = function() end, entries = function() return {} end }
end

-- The options of what is called: name -> its rule, or true where no rule is known.
local function options_of(called)
  local entry, rules = called ~= nil and reference().find(called), {}
  for _, option in ipairs(entry and entry.options or {}) do rules[option.short] = option.rule or true end
  return rules
end

-- The options of the call in whose braces the text ends, nil where it ends in none.
local function options_at(text, open, environment)
  local brace = open[#open]
  if not brace or text:sub(brace, brace) ~= "{" then return nil end
  local before = text:sub(1, brace - 1):gsub("%s+$", "")
  local outer = open[#open - 1]
  if outer and text:sub(outer, outer) == "(" and before:find "[,(]$" then
    before = text:sub(1, outer - 1):gsub("%s+$", "")
  end
  local holder, _, name = chain(before, environment)
  return name and options_of(field(holder, name))
end

-- What an option may be, where its rule lists texts.
local function choices_of(rule)
  local choices = {}
  if type(rule) ~= "table" then return choices end
  for choice in rule.wanted:gmatch '"([^"]+)"' do choices[#choices + 1] = choice end
  return choices
end

-- -- paths ------------------------------------------------------------------------------------------------------------

local function paths(start)
  local folder, name = start:match "^(.*/)([^/]*)$"
  folder, name = folder or "", name or start
  local files, folders = core.list_folder(folder == "" and "." or folder)
  local found = {}
  local function offer(entries, ending)
    for _, entry in ipairs(entries or {}) do
      if entry:sub(1, #name) == name then found[#found + 1] = folder .. entry .. ending end
    end
  end
  offer(files, "")
  offer(files and folders, "/")
  return found
end

-- -- what is offered --------------------------------------------------------------------------------------------------

-- The names that help() tells of.
local function documented()
  local names = {}
  for i, entry in ipairs(reference().entries()) do names[i] = entry.name end
  return #names > 0 and names or core.help()
end

-- Those of the words that begin with `start`, sorted.
local function matching(words, start)
  local found = {}
  for _, word in ipairs(words) do
    if word:sub(1, #start) == start then found[#found + 1] = word end
  end
  return plain.sort(found)
end

local function names_of(value, start, methods)
  local words = {}
  for name in pairs(gather(value, {}, 1)) do
    local wanted = name:sub(1, 1) ~= "_" or start:sub(1, 1) == "_"
    if wanted and name:find "^[%a_][%w_]*$" and name:sub(1, #start) == start then
      if not methods or type(field(value, name)) == "function" then words[#words + 1] = name end
    end
  end
  return plain.sort(words)
end

local function in_text(text, open, quote, environment)
  local start = text:sub(quote + 1)
  local option = text:sub(1, quote - 1):match "([%a_][%w_]*)%s*=%s*$"
  local rules = option and options_at(text:sub(1, quote - 1), open, environment)
  local choices = rules and choices_of(rules[option]) or {}
  if #choices > 0 then return #start, matching(choices, start) end
  if text:sub(1, quote - 1):find "%f[%w_]help%s*%(?%s*$" then return #start, matching(documented(), start) end
  return #start, plain.sort(paths(start))
end

--- What may stand at the end of a text of Lua, whose variables are those of `environment`.
-- @return how many bytes at its end it replaces; a list of words; a list of what is shown for each
return function(text, environment)
  local open, quote = scan(text)
  if not open then return 0, {}, {} end
  if quote then
    local length, words = in_text(text, open, quote, environment)
    return length, words, words
  end
  local holder, joint, start = chain(text, environment)
  if joint and joint ~= "" then
    local words = names_of(holder, start, joint == ":")
    return #start, words, words
  end
  start = start or ""
  if start == "" and text:find "[%w%.:]$" then return 0, {}, {} end
  local rules = text:sub(1, #text - #start):find "[{,]%s*$" and options_at(text, open, environment)
  if rules and next(rules) then
    local shown, words = matching(plain.names(rules), start), {}
    for i, name in ipairs(shown) do words[i] = name .. " = " end
    if #words > 0 then return #start, words, shown end
  end
  if start == "" then return 0, {}, {} end
  local words = names_of(environment, start)
  for _, word in ipairs(KEYWORDS) do words[#words + 1] = word end
  words = matching(words, start)
  return #start, words, words
end
