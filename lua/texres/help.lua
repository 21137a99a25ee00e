--- help(what): what there is and how it is used, as a text for print().
--
--     print(tr.help())                     -- what the module has
--     print(tr.help "nn.Conv2d")           -- a class, a function, a method "Trainer:fit", an option "Trainer.epochs"
--     print(tr.help(net))                  -- the class of an object; a function, a module, a tensor
--
-- The last part of a name is enough where it is the only one: "Conv2d", "grad_cam". Where several things have it, the
-- first is told of and the others are named. An option without a text of its own is told of by that of what has it; and
-- rows of a list in a text are found, too: "Tensor.dtype", "cutout". For what there is not, nil and a message that
-- tells names like it. The text is that of the comments in the sources: see texres.reference. Its lines fit the
-- terminal, where standard output is one.

local core = require "texres.core"
local plain = require "texres.plain"
local reference = require "texres.reference"

local MOST, LEAST = 100, 40 -- columns

-- What lines are broken at, and how much longer they may be where no terminal breaks them; of the help that is made.
local width, slack = MOST, 20

local function fit_terminal()
  local columns = core.process.columns(io.stdout)
  width = math.max(LEAST, math.min(MOST, columns or MOST))
  slack = columns and columns < MOST + 20 and 0 or 20
end

--- A line broken at blanks, the further ones set in by `indent`.
local function wrapped(line, indent)
  if #line <= width + slack then return line end
  local lines, current = {}, line:match "^%s*%S*"
  for part in line:sub(#current + 1):gmatch "%s+%S+" do -- a word and the blanks before it
    if #current + #part > width then
      lines[#lines + 1], current = current, indent .. part:match "%S+"
    else
      current = current .. part
    end
  end
  lines[#lines + 1] = current
  return table.concat(lines, "\n")
end

--- A text with the lines of each paragraph made one, so that they are broken anew; what is set in stays as it is.
local function joined(text)
  local lines, flows = {}, false
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local goes_on = line:find "^%w" ~= nil or line:find '^[("`\']' ~= nil
    if goes_on and flows then
      lines[#lines] = lines[#lines] .. " " .. line
    else
      lines[#lines + 1] = line
    end
    flows = line:find "^%S" ~= nil
  end
  return table.concat(lines, "\n")
end

--- The first sentence of a text on one line, cut to a length.
local function sentence(text, most)
  local first = (text:match "^(.-)\n%s*\n" or text):gsub("%s+", " ")
  first = first:match "^(.-[^.]%.) %u" or first
  first = first:gsub("[.:]$", "")
  if #first <= most then return first end
  return (first:sub(1, most - 4):gsub("%s+%S*$", "") .. " ...")
end

local function rows_of(list, shown)
  local widest, rows = 0, {}
  for _, entry in ipairs(list) do widest = math.max(widest, math.min(#shown(entry), width * 44 // MOST)) end
  for i, entry in ipairs(list) do
    local name = shown(entry)
    local told = sentence(entry.text, math.max(width - widest - 4, 20))
    local is_narrow = width < MOST and #name > widest
    local row = is_narrow and "  %s\n    %s" or "  %-" .. widest .. "s  %s"
    rows[i] = told ~= "" and row:format(name, told) or "  " .. name
  end
  return rows
end

--- The members of a module or class as rows: what each is called, and the first sentence about it.
local function add_members(lines, entry)
  if #entry.members == 0 then return end
  lines[#lines + 1] = entry.kind == "class" and "\nMethods:" or "\nThere are:"
  local function shown(member) return member.signature:sub(#entry.name + 2) end
  if entry.name == "texres" then shown = function(member) return member.signature end end
  table.move(rows_of(entry.members, shown), 1, #entry.members, #lines + 1, lines)
end

--- The options that more is known of than their names in the signature.
local function add_options(lines, entry)
  local head = "\nOptions:"
  for _, option in ipairs(entry.options) do
    local told = option.text:gsub("%s+", " ")
    if option.rule or told ~= "" then
      lines[#lines + 1], head = head, nil
      lines[#lines + 1] = wrapped("  " .. option.signature .. (told ~= "" and ": " .. told or ""), "    ")
    end
  end
end

--- The beginning of a text: the name with arguments, and where an option belongs.
local function title(entry)
  if entry.kind ~= "option" then return wrapped(entry.signature, "  ") end
  local option = wrapped(entry.owner.name .. "." .. entry.signature, "  ")
  return option .. "\n\n" .. wrapped("An option of " .. entry.owner.signature, "  ")
end

local function text_of(entry, others)
  local lines = { title(entry) }
  local text = entry.text == "" and entry.kind == "option" and entry.owner.text or entry.text
  if text ~= "" then
    lines[2] = ""
    if slack == 0 then text = joined(text) end
    for line in (text .. "\n"):gmatch "(.-)\n" do
      local blanks = line:match "^%s*"
      lines[#lines + 1] = wrapped(line, blanks ~= "" and blanks .. "  " or "")
    end
  end
  add_options(lines, entry)
  add_members(lines, entry)
  local bases, base = {}, reference.base(entry)
  while base do
    bases[#bases + 1], base = base.name, reference.base(base)
  end
  if bases[1] then lines[#lines + 1] = "\nBesides, it has what these have: " .. table.concat(bases, ", ") end
  local names = {}
  for _, other in ipairs(others) do
    if other.text ~= entry.text or other.kind == "option" then names[#names + 1] = other.name end
  end
  if #names > 0 then lines[#lines + 1] = wrapped("\nAlso: " .. table.concat(names, ", "), "  ") end
  return table.concat(lines, "\n")
end

--- All modules and classes in a row each, and the functions that stand in none of them.
local function overview()
  local rows = { module = {}, class = {}, ["function"] = {} }
  local function collect(owner)
    for _, entry in ipairs(owner.members) do
      if entry.kind == "module" or owner.name == "texres" then table.insert(rows[entry.kind], entry) end
      if entry.kind == "module" then collect(entry) end
    end
  end
  collect(reference.find "texres")
  local lines = { require "texres"._VERSION .. ": help \"name\" or help(value) tells more of each." }
  local function name(entry) return entry.name end
  for _, part in ipairs { { "\nModules:", "module" }, { "\nClasses:", "class" } } do
    lines[#lines + 1] = part[1]
    local more = rows_of(rows[part[2]], name)
    table.move(more, 1, #more, #lines + 1, lines)
  end
  local names = {}
  for i, entry in ipairs(rows["function"]) do names[i] = entry.name end
  lines[#lines + 1] = "\nFunctions:"
  lines[#lines + 1] = wrapped("  " .. table.concat(names, " "), "  ")
  return table.concat(lines, "\n")
end

--- help(what): what there is of this name, or to this value, as a text; without it a list of all. Nil and a message
-- where there is nothing.
return function(what)
  fit_terminal()
  if what == nil then return overview() end
  local entry, others = reference.find(what)
  if entry then return text_of(entry, others) end
  if type(what) ~= "string" then return nil, ("there is no help for a %s"):format(type(what)) end
  local near = reference.near(what)
  return nil, plain.visible(("there is no '%s' in texres%s; help() lists what there is"):format(what,
    #near > 0 and ("; did you mean %s?"):format(table.concat(near, " or ")) or ""))
end
