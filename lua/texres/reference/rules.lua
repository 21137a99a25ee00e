--- The rules (texres.options) by which a function reads its options, found in what it uses and in its text; and what is
-- told of an option in words.

local option = require "texres.options"
local plain = require "texres.plain"
local source = require "texres.reference.source"

local rules = {}

-- -- finding ----------------------------------------------------------------------------------------------------------

local function is_rules(value)
  if type(value) ~= "table" or getmetatable(value) or next(value) == nil then return false end
  for name, rule in next, value do
    if type(name) ~= "string" or type(rule) ~= "table" or type(rule.accept) ~= "function" then return false end
  end
  return true
end

--- Tables of rules that the function uses as a whole: option.read("fit", options, FIT_OPTIONS).
local function each_named(f, from, body, visit)
  for name, value in source.upvalues(f) do
    local as_whole = is_rules(value) and body:find("%f[%w_]" .. name .. "%f[^%w_.]")
    if as_whole then visit(value, source.table_text(from, name)) end
  end
end

--- The value of an expression as it stands in a function; nil where it needs more than the function's upvalues.
local function value_of(f, expression)
  local known = {}
  for name, value in source.upvalues(f) do known[name] = value end
  local ok, value = pcall(load("return " .. expression, "=options", "t", known))
  return ok and value or nil
end

local EXPRESSIONS = { "option%.read%([^{}\n]-(%b{})", "([%w_]+%.known%s*%b{})", "([%w_]+%.KNOWN)%f[^%w_.]" }

--- Tables that are written in the function: option.read("nearest", options, { white = ... }), target.known { ... }.
local function each_written(f, from, body, visit)
  for _, pattern in ipairs(EXPRESSIONS) do
    for expression in body:gmatch(pattern) do
      local known = value_of(f, expression)
      if is_rules(known) then visit(known, expression:match "%b{}" or source.table_text(from, "KNOWN")) end
    end
  end
end

--- Rules of a reader of data sets, make.options("npy", options, "images labels ..."); whether it is one.
local function each_of_reader(body, visit)
  local names = body:match 'make%.options%(%s*"[%w_]+",%s*[%w_]+,%s*"([^"]*)"'
  if not names then return false end
  local read = require("texres.data.make").options
  local all, known = source.upvalue(read, "KNOWN"), {}
  for name in names:gmatch "%S+" do known[name] = all[name] end
  visit(known, source.table_text(source.of(read), "KNOWN"))
  return true
end

--- The function that a body calls by a name, "begin" or "probe.find_lr", where it is among the upvalues.
local function called(f, name)
  local first, rest = name:match "^([%w_]+)%.?(.*)$"
  local value = source.upvalue(f, first)
  if rest ~= "" then value = type(value) == "table" and rawget(value, rest) or nil end
  return type(value) == "function" and debug.getinfo(value, "S").what == "Lua" and value or nil
end

local function each(f, visit, depth)
  local from = source.of(f)
  if not from then return end
  local body = source.body(from, f)
  each_named(f, from, body, visit)
  each_written(f, from, body, visit)
  if each_of_reader(body, visit) or depth == 0 then return end
  for name, arguments in body:gmatch "([%a_][%w_.]*)%(([^()]*)%)" do
    local next_one = arguments:find "%f[%w_]options%f[^%w_]" and called(f, name)
    if next_one then each(next_one, visit, depth - 1) end
  end
end

--- Calls visit(rules by name, text of the table where they stand) for each table of rules that a function reads its
-- options by, also where it hands them on to another function, two calls down.
function rules.each(f, visit) each(f, visit, 2) end

-- -- words ------------------------------------------------------------------------------------------------------------

--- A rule in words: "a whole number of at least 1, by default 10".
function rules.words(rule)
  local default, words = rule.default, rule.wanted
  if words == "a value" then words = "" end
  if default == nil or default == false and words ~= "true or false" then return words end
  local shown = option.shown(default)
  if shown:find "a table" or type(default) == "table" and #plain.names(default) > 0 then return words end
  return words .. (words ~= "" and ", " or "") .. "by default " .. shown
end

--- What a text tells of an option in a line of its own, "    max_bytes   the largest header that is read", and in the
-- lines below that are set in further; nil where there is none.
function rules.row(text, name)
  local rows, inside
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local blanks, first = line:match("^(%s+)" .. name .. "%s%s+(%S.*)$")
    if first and not rows then
      rows, inside = { first }, #blanks
    elseif rows then
      local more = line:match("^" .. (" "):rep(inside + 2) .. "%s*(%S.*)$")
      if not more then break end
      rows[#rows + 1] = more
    end
  end
  return rows and table.concat(rows, " ")
end

--- The sentence of a text in which a name stands as `name`; nil where none has it.
function rules.mention(text, name)
  for sentence in (text:gsub("%s+", " ") .. " "):gmatch "(.-[.:;]) " do
    if sentence:find("`" .. name .. "`", 1, true) then return (sentence:gsub("[:;]$", "")) end
  end
end

return rules
