--- What is public of texres, and what its comments tell: the index behind texres.help, the reference and the file for
-- LuaLS.
--
--     for _, entry in ipairs(reference.entries()) do print(entry.name, entry.kind, entry.signature) end
--     local entry = reference.find "nn.Conv2d"           -- or a value: a function, a class, an object, a module
--
-- An entry is { name = "Trainer:fit", kind =, signature = "Trainer:fit(train, val, options)", text =, file =, line = },
-- `kind` one of "module", "function", "class", "method" and "option"; besides, `short` is the last part of its name,
-- `owner` the entry that it belongs to, `members` and `options` lists of those that belong to it, `parameters` a list
-- of texts, `value` what it tells of, and `rule` that of an option (texres.options).
--
-- The index is made when it is first asked for: of the tables that the module has, where a function says in which line
-- of which file it begins, and of the comments there (texres.reference.source); of the functions of the core, of what
-- they tell themselves. So what is missing in it is missing in the sources.

local core = require "texres.core"
local plain = require "texres.plain"
local rules = require "texres.reference.rules"
local source = require "texres.reference.source"

local reference = {}

--- Classes whose objects the library hands out and which stand in none of its tables: the name, the module that they
-- are found in, and their name there.
local OBJECTS = {
  { "Classifier", "texres.classifier" },
  { "Novelty", "texres.novelty" },
  { "optim.Optimizer", "texres.optim.optimizer" },
  { "optim.Schedule", "texres.optim.schedule" },
  { "data.Audit", "texres.data.audit" },
  { "data.Leaks", "texres.data.leaks" },
  { "metrics.Result", "texres.metrics" },
  { "metrics.Counter", "texres.metrics" },
  { "metrics.Curve", "texres.metrics.curve" },
  { "metrics.Comparison", "texres.metrics.compare" },
  { "explain.Neighbours", "texres.explain.neighbours" },
  { "CrossValidation", "texres.cross_validate", "Validation" },
  { "Sweep", "texres.sweep" },
  { "Training", "texres.train", "Done" },
  { "History", "texres.trainer.history" },
  { "FunctionContext", "texres.function", "Context" },
  { "nn.Container", "texres.nn.container" },
  { "nn.Hook", "texres.nn.watch" },
  { "nn.Plan", "texres.nn.plan" },
  { "nn.Profile", "texres.nn.profile" },
  { "nn.Findings", "texres.nn.check" },
  { "onnx.Graph", "texres.onnx" },
}

--- What classes of layers bring, and nn.Module tells of all of them.
local PROTOCOL = {
  "forward", "init", "constructor_arguments", "describe", "to_onnx", "weight_count", "multiply_adds",
  "algorithm", "window", "trace", "accept",
}

-- -- what is there ----------------------------------------------------------------------------------------------------

local function is_public(name) return type(name) == "string" and name:byte() ~= 95 end -- "_"

--- The public names of a table, sorted; those too that it loads when they are first read.
local function names_of(t)
  local names, meta = {}, getmetatable(t)
  local index = type(meta) == "table" and rawget(meta, "__index")
  local lazy = type(index) == "function" and source.upvalue(index, "lazy") or {}
  for name in pairs(lazy) do
    if is_public(name) then names[name] = true end
  end
  for name in pairs(t) do
    if is_public(name) then names[name] = true end
  end
  return plain.names(names)
end

local function is_class(value) return type(value) == "table" and rawget(value, "__index") ~= nil end

local function of_file(f, file) return debug.getinfo(f, "S").source:sub(-#file) == file end

--- The function that a public one is wrapped in: plain.telling, and what texres.nn puts around to_onnx.
local function unwrapped(f)
  local inner
  if of_file(f, "/plain.lua") then inner = source.upvalue(f, "f") end
  if of_file(f, "/nn/init.lua") then inner = source.upvalue(f, "write") end
  return type(inner) == "function" and inner or f
end

-- -- entries ----------------------------------------------------------------------------------------------------------

local index -- { entries =, by_name =, by_value =, by_short =, modules = }: made once

-- What is read from a source when it is first asked for.
local LAZY = { text = true, signature = true, parameters = true, options = true, file = true, line = true }

local Entry = {}

function Entry.__index(entry, key)
  if not LAZY[key] then return nil end
  setmetatable(entry, nil)
  entry.options, entry.signature = {}, entry.name
  entry:tell()
  entry.text, entry.tell = entry.text or "", nil
  return entry[key]
end

--- Adds an entry; tell(entry) fills in what its source says.
local function add(entry, tell)
  entry.short, entry.members, entry.tell = entry.name:match "[%w_]+$", {}, tell
  index.entries[#index.entries + 1] = entry
  index.by_name[entry.name:gsub(":", ".")] = entry
  local same = index.by_short[entry.short] or {}
  index.by_short[entry.short] = same
  same[#same + 1] = entry
  if entry.value ~= nil and index.by_value[entry.value] == nil then index.by_value[entry.value] = entry end
  if entry.owner then table.insert(entry.owner.members, entry) end
  return setmetatable(entry, Entry)
end

--- The arguments, the text and the place of a block.
local function told_by(from, block)
  if not block then return nil, nil, from and from.path end
  local text = source.text(block)
  local arguments, rest = source.signature(text)
  return arguments, arguments and rest or text, from.path, block.line
end

--- Which parameters stand in "(x, {p=0.5})" or "{lr=}": { "x", "options" }, and the options as { name, default }.
local function read_arguments(arguments)
  local parameters, options = {}, {}
  local parts = arguments:byte() == 123 and { arguments } or source.parts(arguments:sub(2, -2)) -- "{"
  for _, part in ipairs(parts) do
    local inner = part:match "^{(.*)}$"
    local name = not inner and part:match "^[%a_][%w_]*"
    parameters[#parameters + 1] = name or (inner and (inner:find "=" or inner:find "^options") and "options") or "list"
    if part:find "%.%.%.$" then parameters[#parameters] = "..." end
    for _, row in ipairs(inner and source.parts(inner) or {}) do
      local key, default = row:match "^([%a_][%w_]*)%s*=%s*(.*)$"
      if key then options[#options + 1] = { name = key, default = default } end
    end
  end
  return parameters, options
end

--- What is told of an option of that name by another function to which a text refers: "as for grad_cam", "those of
-- models.build".
local function borrowed(owner, name)
  for other in owner.text:gmatch "%s[ofri][fon]r?%s+([%a_][%w_.:]*)" do
    other = other:gsub(":", "."):gsub("%.$", "")
    local entry = index.by_name[other] or index.by_name[owner.owner.name .. "." .. other]
    for _, option in ipairs(entry and entry ~= owner and entry.options or {}) do
      if option.short == name and option.text ~= "" then return option.text end
    end
  end
end

local function add_option(owner, name, words, told, rule)
  for _, option in ipairs(owner.options) do
    if option.short == name then return end
  end
  told = told or rules.row(owner.text, name) or borrowed(owner, name) or rules.mention(owner.owner.text, name) or ""
  table.insert(owner.options, {
    name = owner.name .. "." .. name, short = name, kind = "option", owner = owner, rule = rule, members = {},
    options = {}, signature = name .. (words ~= "" and ": " .. words or ""), file = owner.file, line = owner.line,
    text = told,
  })
end

--- Adds the options of an entry: those that the function f reads, and those of its signature.
local function add_options(owner, f, given)
  if f then
    rules.each(f, function(known, text)
      local told, names = source.option_comments(text)
      local all = plain.names(known)
      for _, name in ipairs(table.move(all, 1, #all, #names + 1, names)) do
        if known[name] then add_option(owner, name, rules.words(known[name]), told[name], known[name]) end
      end
    end)
  end
  for _, row in ipairs(given) do
    add_option(owner, row.name, row.default ~= "" and "by default " .. row.default or "")
  end
end

--- The file of a module, where a value is what `require` gave.
local function file_of_module(value) return index.modules[value] and source.of(index.modules[value]) end

--- Of a function that is made of others, the source that tells of its name: that of one of them.
local function source_of_parts(f, short)
  for _, value in source.upvalues(f) do
    local from = type(value) == "function" and debug.getinfo(value, "S").what == "Lua" and source.of(value)
    if from and from.named[short] then return from end
  end
end

--- What is told of a function under a name: arguments, text, file, line.
local function told_of(f, short)
  local doc = core.help(f)
  if doc then
    local arguments, text = source.signature(doc)
    return arguments, text
  end
  local from = source.of(f)
  local block = from and from.below[debug.getinfo(f, "S").linedefined]
  local begun = from and source.definition(from, f)
  if from and not block and not from.named[short] then from = source_of_parts(f, short) or from end
  if from and from.named[short] and (not begun or begun.name ~= short or not block) then block = from.named[short] end
  if not block then
    local file = file_of_module(f)
    if file then from, block = file, file.head end
  end
  local arguments, text, path, line = told_by(from, block)
  if begun and not (block and block == from.named[short]) then arguments, text = nil, block and source.text(block) end
  return arguments or begun and ("(%s)"):format(begun.parameters), text, path, line
end

--- The source that is all about one function: its module is this function, or has its name.
local function own_file(entry)
  local from = source.of(entry.inner)
  return file_of_module(entry.value) or from and from.path:match "([%w_]+)%.lua$" == entry.short and from or nil
end

local function tell_function(entry)
  local arguments, text, file, line = told_of(entry.inner, entry.short)
  local from = own_file(entry)
  if from and from.head and from.head.line ~= line then text = (text or "") .. "\n\n" .. source.text(from.head) end
  local parameters, options = read_arguments(arguments or "(...)")
  if entry.kind == "method" and debug.getlocal(entry.inner, 1) ~= "self" then -- t:sum(dim) of sum(x, dim)
    local own = table.remove(parameters, 1)
    local unsaid = text and own ~= "t" and entry.owner.name == "Tensor"
    if unsaid then text = ("%s\n\n%s is the tensor itself."):format(text, own) end
    arguments = arguments and arguments:gsub("^%([^,)]*,?%s*", "(")
  end
  entry.signature, entry.parameters = entry.name .. (arguments or "(...)"), parameters
  entry.text, entry.file, entry.line = text or "", file, line
  add_options(entry, entry.inner, options)
end

--- Adds a function as `prefix` .. `short`; of a class, as its method where it is called so.
local function add_function(owner, prefix, short, f, is_method)
  local inner = unwrapped(f)
  local first = debug.getlocal(inner, 1)
  is_method = is_method or owner.kind == "class" and (first == "self" or first == owner.short:lower())
  add({
    name = prefix == "" and short or prefix .. (is_method and ":" or ".") .. short,
    kind = is_method and "method" or "function", owner = owner, value = f, inner = inner,
  }, tell_function)
end

local PROTOCOL_SET = {}
for _, name in ipairs(PROTOCOL) do PROTOCOL_SET[name] = true end

--- The block of a class: that of its name, else the one above the line that makes it, else the head of its file.
local function class_block(from, known)
  local made = not from.named[known] and source.line_of(from, "local " .. known .. " = ")
  return from.named[known] or made and from.below[made] or from.head
end

local function tell_class(entry)
  local class, constructor, known = entry.value, entry.constructor, entry.known
  local from = entry.from and source.of(entry.from) or file_of_module(class)
    or source.of(constructor or rawget(class, "forward") or rawget(class, "trace"))
  if not from then return end
  local block = class_block(from, known)
  local arguments, text, file, line = told_by(from, block)
  if block ~= from.named[known] then arguments, text = nil, block and source.text(block) end
  local begun = constructor and source.definition(source.of(constructor), constructor)
  if not arguments and begun then arguments = "(" .. begun.parameters:gsub("^_,?%s*", "") .. ")" end
  local parameters, options = read_arguments(arguments or "()")
  entry.signature, entry.parameters = entry.name .. (arguments or ""), arguments and parameters
  entry.text, entry.file, entry.line = text or "", file, line
  add_options(entry, constructor, options)
end

--- Adds a class and its methods. `from`: the module of its file, where it is none itself; `known`: its name there.
local function add_class(owner, name, class, from, known)
  local meta = getmetatable(class)
  local layer = rawget(class, "_module") == true
  local constructor = meta and rawget(meta, "__call")
  if layer and name ~= "nn.Module" then constructor = rawget(class, "init") end
  local entry = index.by_name[name] -- a function that makes objects of the class, and is exported by its name
  if entry then
    entry.kind, index.by_value[class] = "class", entry
  else
    entry = add({
      name = name, kind = "class", owner = owner, value = class, constructor = constructor, from = from, known = known,
    }, tell_class)
  end
  for _, short in ipairs(names_of(class)) do
    local value = rawget(class, short)
    local inherited = layer and name ~= "nn.Module" and PROTOCOL_SET[short]
    if type(value) == "function" and not inherited then add_function(entry, name, short, value) end
  end
end

local add_table

--- Adds what a table of the module has: functions, classes, other such tables.
local function add_members(owner, prefix, t)
  for _, short in ipairs(names_of(t)) do
    local value, name = t[short], prefix == "" and short or prefix .. "." .. short
    if type(value) == "function" then
      add_function(owner, prefix, short, value)
    elseif is_class(value) then
      add_class(owner, name, value, nil, short)
    elseif type(value) == "table" then
      add_table(owner, name, value)
    end
  end
end

local function tell_table(entry)
  local from = file_of_module(entry.value)
  entry.text = from and from.head and source.text(from.head)
  entry.file, entry.line = from and from.path, 1
end

function add_table(owner, name, t)
  add_members(add({ name = name, kind = "module", owner = owner, value = t }, tell_table), owner and name or "", t)
end

--- What nn.Module tells of the methods that a class of layers brings, and that it has not itself.
local function tell_protocol(entry)
  local from = source.of "texres.nn.module"
  local arguments, text, file, line = told_by(from, from and from.named[entry.short])
  entry.text, entry.file, entry.line = text, file, line
  entry.signature, entry.parameters = entry.name .. (arguments or "()"), read_arguments(arguments or "()")
end

local function add_protocol()
  for _, short in ipairs(PROTOCOL) do
    if not index.by_name["nn.Module." .. short] then
      add({ name = "nn.Module:" .. short, kind = "method", owner = index.by_name["nn.Module"] }, tell_protocol)
    end
  end
end

local function add_tensor(owner)
  local entry = add({ name = "Tensor", kind = "class", owner = owner, value = core.methods }, function(told)
    local from = source.of "texres.tensor"
    if from and from.head then told.text, told.file, told.line = source.text(from.head), from.path, 1 end
  end)
  for _, short in ipairs(names_of(core.methods)) do add_function(entry, "Tensor", short, core.methods[short], true) end
end

--- A local table of a file, "/nn/plan.lua", by its name, from what its module is: some function there works with it, or
-- a method of a local table does.
local function local_table(found, wanted, file, seen)
  if seen[found] then return nil end
  seen[found] = true
  if type(found) == "table" then
    for _, value in next, found do
      local inner = type(value) == "function" and local_table(value, wanted, file, seen)
      if inner then return inner end
    end
    return nil
  end
  found = unwrapped(found)
  if not of_file(found, file) then return nil end
  for name, value in source.upvalues(found) do
    local kind = type(value)
    if name == wanted and kind == "table" then return value end
    local of_here = kind == "function" or kind == "table" and name ~= "_ENV" and not index.modules[value]
    local inner = of_here and local_table(value, wanted, file, seen)
    if inner then return inner end
  end
end

local function add_objects()
  for _, row in ipairs(OBJECTS) do
    local name, file, known = row[1], row[2], row[3] or row[1]:match "[%w_]+$"
    local loaded, path = require(file), file:gsub("^texres", ""):gsub("%.", "/")
    if loaded == true then loaded = index.by_name["nn.Module"].value end -- a file that adds methods
    local class = local_table(loaded, known, path .. ".lua", {}) or local_table(loaded, known, path .. "/init.lua", {})
    local owner = index.by_name[name:match "^(.*)%." or "texres"]
    if class then add_class(owner, name, class, file, known) end
  end
end

--- Loads what is loaded at its first use.
local function load_parts(t)
  for _, name in ipairs(names_of(t)) do
    local value = t[name]
    if type(value) == "table" and not is_class(value) then load_parts(value) end
  end
end

-- Where files that add methods to a class give the class, too, it is that of the shortest name: texres.data.set.
local function modules_by_value()
  local modules = {}
  for _, name in ipairs(plain.names(package.loaded)) do
    local value = package.loaded[name]
    if name:find "^texres" and (not modules[value] or #name < #modules[value]) then modules[value] = name end
  end
  return modules
end

local function make()
  local texres = require "texres"
  load_parts(texres)
  index = { entries = {}, by_name = {}, by_value = {}, by_short = {}, modules = modules_by_value() }
  add_table(nil, "texres", texres)
  add_tensor(index.by_name.texres)
  add_objects()
  add_protocol()
end

local function ready()
  if not index then make() end
  return index
end

--- All entries, a list.
function reference.entries()
  local all = {}
  for _, entry in ipairs(ready().entries) do
    all[#all + 1] = entry
    table.move(entry.options, 1, #entry.options, #all + 1, all)
  end
  return all
end

-- -- finding ----------------------------------------------------------------------------------------------------------

--- The entry of a class, or of the nearest of its base classes that has one.
local function of_class(class)
  while type(class) == "table" do
    if index.by_value[class] then return index.by_value[class] end
    local meta = getmetatable(class)
    class = meta and rawget(meta, "__index")
  end
end

--- The entry of the class that a class of layers is derived from; nil where there is none.
function reference.base(entry)
  local meta = type(entry.value) == "table" and rawget(entry.value, "_module") and getmetatable(entry.value)
  return meta and of_class(rawget(meta, "__index")) or nil
end

local function of_value(value)
  if core.is_tensor(value) then return index.by_name.Tensor end
  if index.by_value[value] then return index.by_value[value] end
  return type(value) == "table" and of_class(getmetatable(value)) or nil
end

local ALIASES = {
  F = "nn.functional", functional = "nn.functional", schedule = "optim.schedule",
  -- what objects are called in texts and scripts
  set = "data.Set", train = "data.Set", val = "data.Set", test = "data.Set", loader = "data.loader", net = "nn.Module",
  model = "nn.Module", trainer = "Trainer", optimizer = "optim.Optimizer", classifier = "Classifier",
  result = "metrics.Result", x = "Tensor", t = "Tensor",
}

--- The entry of a whole name, "nn.Conv2d", "Trainer.fit", "Trainer.epochs".
local function of_name(name)
  local found = index.by_name[name]
  if found then return found end
  local owner, short = name:match "^(.*)%.([%w_]+)$"
  found = owner and of_name(owner)
  for _, option in ipairs(found and found.options or {}) do
    if option.short == short then return option end
  end
end

--- Entries whose names differ from `name` by upper and lower case alone.
local function of_case(name)
  local found = {}
  for _, entry in ipairs(index.entries) do
    if entry.name:lower() == name:lower() or entry.short:lower() == name:lower() then found[#found + 1] = entry end
  end
  return found
end

--- Options of that name, of whatever has them.
local function options_named(name)
  local found = {}
  for _, entry in ipairs(index.entries) do
    for _, option in ipairs(entry.options) do
      if option.short == name then found[#found + 1] = option end
    end
  end
  return found
end

--- A row of a list in the text of an entry, such as "    dtype    what it is", its further lines joined; nil for none.
local function row_of(entry, short)
  local indent, told
  for line in (entry.text .. "\n"):gmatch "(.-)\n" do
    if told then
      local margin, further = line:match "^(%s+)(%S.*)$"
      if not margin or #margin < indent then break end
      told = told .. " " .. further
    else
      local before, rest = line:match("^(    " .. short .. "%s%s+)(%S.*)$")
      if before then
        indent, told = #before, rest
      end
    end
  end
  if not told then return nil end
  return { name = entry.name .. "." .. short, short = short, kind = "row", signature = entry.name .. "." .. short,
    text = told, owner = entry, options = {}, members = {} }
end

--- Rows of that name, in the text of the owner that is named with it or in any.
local function rows_named(name)
  local owner, short = name:match "^(.*)%.([%a_][%w_]*)$"
  if owner then
    local entry = of_name(owner)
    return { entry and row_of(entry, short) }
  end
  local found = {}
  if name:find "^[%a_][%w_]*$" then
    for _, entry in ipairs(index.entries) do found[#found + 1] = row_of(entry, name) end
  end
  return found
end

--- A file of the library that texts refer to, "models.heads", by what it begins with; nil where there is none.
local function of_file_named(name)
  local from = name:find "^[%l_]+%.[%l_.]*[%l_]$" and source.of("texres." .. name)
  if not (from and from.head) then return nil end
  return { name = name, short = name:match "[%l_]+$", kind = "file", signature = name, text = source.text(from.head),
    options = {}, members = {} }
end

--- The entry that a text or a value stands for; nil where there is none. Of a text also a list of others that it may
-- mean: "load" is texres.load, and that of a module.
function reference.find(what)
  ready()
  if type(what) ~= "string" then return of_value(what), {} end
  local name = what:gsub(":", "."):gsub("%(.*$", ""):gsub("^texres%.", ""):gsub("^tr%.", "")
  local found, others, given = of_name(name), {}, name
  if not found then
    name = name:gsub("^([%w_]+)%.", function(first) return ALIASES[first] and ALIASES[first] .. "." end)
    found = of_name(name)
  end
  local same = index.by_short[name] or not found and of_case(name) or {}
  if not found and #same == 0 then same = options_named(name) end
  if not found and #same == 0 then same = rows_named(name) end
  for _, entry in ipairs(same) do
    if not found then
      found = entry
    elseif entry ~= found then
      others[#others + 1] = entry
    end
  end
  return found or of_file_named(given), others
end

--- Names that `name` is nearly, sorted.
function reference.near(name)
  local shorts = {}
  for short in pairs(ready().by_short) do shorts[short] = true end
  return require("texres.strict").near(name:match "[%w_]*$", shorts)
end

return reference
