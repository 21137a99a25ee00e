--- Writes the reference: Markdown pages, and texres.lua for the Lua language server (LuaLS).
--
--     lua5.4 tools/reference.lua FOLDER
--
-- Both are made of texres.reference, which is what texres.help tells: of the comments in the sources and of what the
-- module has. The file for LuaLS is Lua that defines all names and runs nothing; a workspace finds it by the setting
-- "workspace.library".

local reference = require "texres.reference"
local core = require "texres.core"

local folder = assert(arg[1], "usage: lua5.4 tools/reference.lua FOLDER")

local function write(name, lines)
  local file <close> = assert(io.open(folder .. "/" .. name, "w"))
  file:write(table.concat(lines, "\n"), "\n")
end

local function add(lines, ...) table.move({ ... }, 1, select("#", ...), #lines + 1, lines) end

-- -- Markdown ---------------------------------------------------------------------------------------------------------

--- A line of prose, in which signs of Markdown stand for themselves but for `code`.
local function escaped(line)
  if line:find "^    " then return line end
  local parts, at = {}, 1
  for before, code, after in line:gmatch "([^`]*)(`[^`]*`)()" do
    parts[#parts + 1] = before:gsub("[*_<\\|]", "\\%0")
    parts[#parts + 1], at = code, after
  end
  parts[#parts + 1] = line:sub(at):gsub("[*_<\\|]", "\\%0")
  return table.concat(parts)
end

local function add_text(lines, text)
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = escaped(line) end
  lines[#lines + 1] = ""
end

local function place_of(entry)
  local file = entry.file and entry.file:match "texres/.*$"
  return file and ("<sub>%s, line %d</sub>"):format(file, entry.line or 1) or nil
end

local function add_entry(lines, entry, level)
  add(lines, ("%s `%s`"):format(("#"):rep(level), entry.signature), "")
  add_text(lines, entry.text)
  for _, option in ipairs(entry.options) do
    local told = option.text ~= "" and ": " .. option.text:gsub("%s+", " ") or ""
    lines[#lines + 1] = ("- `%s`%s"):format(option.signature, escaped(told))
  end
  if #entry.options > 0 then lines[#lines + 1] = "" end
  local place = place_of(entry)
  if place then add(lines, place, "") end
end

--- The page of a module: its text, its functions, its classes with their methods.
local function page_of(module)
  local lines = { "# " .. (module.owner and "texres." .. module.name or "texres"), "" }
  add_text(lines, module.text)
  for _, entry in ipairs(module.members) do
    if entry.kind == "module" then
      add(lines, ("[texres.%s](%s.md)"):format(entry.name, entry.name), "")
    else
      add_entry(lines, entry, 2)
      for _, method in ipairs(entry.members) do add_entry(lines, method, 3) end
    end
  end
  return lines
end

local function write_pages(module)
  write(module.name .. ".md", page_of(module))
  for _, entry in ipairs(module.members) do
    if entry.kind == "module" then write_pages(entry) end
  end
end

-- -- LuaLS ------------------------------------------------------------------------------------------------------------

local TYPES = { -- of what a rule wants, by how its words begin
  { "^a whole number", "integer" }, { "^a finite number", "number" }, { "^a number", "number" },
  { "^true or false$", "boolean" }, { "^a text", "string" }, { "^a path", "string" }, { "^a list", "table" },
  { "^a table", "table" }, { "^a function", "function" }, { "^a tensor", "Tensor" },
}

local function type_of(option)
  local wanted = option.rule and option.rule.wanted or ""
  if wanted:find '^"' then return (wanted:gsub('" or "', '"|"')) end
  for _, row in ipairs(TYPES) do
    if wanted:find(row[1]) then return row[2] end
  end
  return "any"
end

local function add_comment(lines, text)
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = "---" .. (line ~= "" and " " .. line or "") end
end

local NAMES = { -- parameters whose names tell their type
  path = "string", name = "string", dtype = "string", dim = "integer", t = "Tensor", x = "Tensor", a = "Tensor|number",
  b = "Tensor|number", image = "Tensor", images = "Tensor", labels = "Tensor",
}

local differentiable = {}
for _, name in ipairs(core.help()) do differentiable[name] = true end

local returned = {
  Set = "data.Set", Loader = "data.loader", Tensor = "Tensor", boolean = "boolean", string = "string",
  Classifier = "Classifier", History = "History", Result = "metrics.Result", Sequential = "nn.Sequential",
}

--- Whether a function takes the options of all that make tensors.
local function makes_tensor(entry)
  for _, option in ipairs(entry.options) do
    if option.short == "requires_grad" then return true end
  end
  return false
end

--- What a function gives, where its text says so: a class, or what all differentiable functions and those that make
--- tensors give. "Returns: Set | nil, message" has a second result.
local function result_of(entry)
  if entry.kind == "class" then return entry.name end
  if differentiable[entry.short] and not entry.file or makes_tensor(entry) then return "Tensor" end
  local class, others = entry.text:match "Returns: (%w+)([^\n]*)"
  if not returned[class] then return "any" end
  return returned[class] .. (others:find "^ | nil, message" and "|nil, string? message" or "")
end

--- Adds the class of an entry's options; its name, or nil where there are none.
local function add_option_class(lines, entry)
  if #entry.options == 0 then return nil end
  local name = entry.name:gsub(":", ".") .. ".Options"
  lines[#lines + 1] = "---@class " .. name
  for _, option in ipairs(entry.options) do
    local told = option.text:gsub("%s+", " ")
    lines[#lines + 1] = ("---@field %s? %s %s"):format(option.short, type_of(option), told)
  end
  lines[#lines + 1] = ""
  return name
end

local function type_of_parameter(entry, name, options)
  if name == "options" then return options and options .. "|table" or "table" end
  if entry.kind == "method" and name == "labels" then return "any" end
  return NAMES[name] or "any"
end

local function add_function(lines, entry, path)
  local options = add_option_class(lines, entry)
  add_comment(lines, entry.text)
  for _, name in ipairs(entry.parameters) do
    lines[#lines + 1] = ("---@param %s%s %s"):format(name, name == "options" and "?" or "",
      type_of_parameter(entry, name, options))
  end
  local names = table.concat(entry.parameters, ", ")
  add(lines, "---@return " .. result_of(entry), ("function %s(%s) end"):format(path, names), "")
end

local FIELDS = { -- of tensors
  'dtype "f32"|"f64"|"u8"|"i64"', "requires_grad boolean", "grad Tensor|nil", "is_leaf boolean", "operation string|nil",
}
local OPERATORS = { "add", "sub", "mul", "div", "mod", "pow", "idiv" }

--- Adds a class under a path: that of a table of the module, or a local one.
local function add_class(lines, entry, path)
  local options = add_option_class(lines, entry)
  add_comment(lines, entry.text)
  local base = reference.base(entry)
  lines[#lines + 1] = "---@class " .. entry.name .. (base and ": " .. base.name or "")
  if entry.name == "Tensor" then
    for _, field in ipairs(FIELDS) do lines[#lines + 1] = "---@field " .. field end
    for _, name in ipairs(OPERATORS) do lines[#lines + 1] = ("---@operator %s(Tensor|number): Tensor"):format(name) end
    lines[#lines + 1] = "---@operator unm: Tensor"
  end
  for _, method in ipairs(entry.members) do
    if not method.value then -- what derived classes may have
      lines[#lines + 1] = ("---@field %s? function %s"):format(method.short, method.text:gsub("%s+", " "))
    end
  end
  if entry.parameters and type(entry.value) == "table" then
    local parts = {}
    for i, name in ipairs(entry.parameters) do
      local optional = name == "..." and "" or "?"
      parts[i] = ("%s%s: %s"):format(name, optional, type_of_parameter(entry, name, options))
    end
    lines[#lines + 1] = ("---@overload fun(%s): %s"):format(table.concat(parts, ", "), entry.name)
  end
  add(lines, path .. " = {}", "")
  for _, method in ipairs(entry.members) do
    local separator = method.kind == "method" and ":" or "."
    if method.value then add_function(lines, method, path:gsub("^local ", "") .. separator .. method.short) end
  end
end

--- Whether a class stands in the table of its module: others are what functions give.
local function is_exported(entry)
  local t = entry.owner.value
  return rawget(t, entry.short) == entry.value
end

local function add_module(lines, module, path)
  if module.owner then
    add_comment(lines, module.text)
    add(lines, "---@class " .. path, path .. " = {}", "")
  end
  for _, entry in ipairs(module.members) do
    local name = path .. "." .. entry.short
    if entry.kind == "module" then
      add_module(lines, entry, name)
    elseif entry.kind == "function" then
      add_function(lines, entry, name)
    elseif is_exported(entry) and type(entry.value) == "table" then
      add_class(lines, entry, name)
    else
      add_class(lines, entry, "local " .. entry.short)
      if is_exported(entry) then add_function(lines, entry, name) end -- it makes objects of the class
    end
  end
end

local function meta_of(root)
  local lines = { "---@meta texres", "", "-- Made by tools/reference.lua.", "" }
  add_comment(lines, root.text)
  add(lines, "---@class texres", "local texres = { _VERSION = \"\" }", "")
  add_module(lines, root, "texres")
  lines[#lines + 1] = "return texres"
  return lines
end

local root = reference.find "texres"
write_pages(root)
write("texres.lua", meta_of(root))
