--- A value as the prompt shows it. What says of itself what it is (tensors, sets, models, results) is shown so; a plain
-- table item by item, a few levels deep, long ones cut short; a class by its name; a function with its arguments and
-- where it stands.

local core = require "texres.core"
local plain = require "texres.plain"

local value = {}

local WIDTH, DEPTH, MOST = 80, 3, 20 -- columns of a table in one line, levels of tables, items of each

-- -- functions --------------------------------------------------------------------------------------------------------

local function function_text(f)
  local info, names = debug.getinfo(f, "Su"), {}
  if info.what == "C" then return "function, in C" end
  for i = 1, info.nparams do names[i] = debug.getlocal(f, i) end
  if info.isvararg then names[#names + 1] = "..." end
  return ("function(%s)"):format(table.concat(names, ", ")), (", %s:%d"):format(info.short_src, info.linedefined)
end

-- -- tables -----------------------------------------------------------------------------------------------------------

local function says_itself(x)
  local meta = debug.getmetatable(x)
  return type(meta) == "table" and rawget(meta, "__tostring") ~= nil
end

local function is_name(key) return type(key) == "string" and key:find "^[%a_][%w_]*$" ~= nil end

-- The keys of a table beside its list, texts first, both sorted.
local function keys_of(t, length)
  local names, others = {}, {}
  for key in next, t do
    local in_list = math.type(key) == "integer" and key >= 1 and key <= length
    if type(key) == "string" then
      names[#names + 1] = key
    elseif not in_list then
      others[#others + 1] = key
    end
  end
  table.sort(others, function(a, b) return plain.less(plain.text(a), plain.text(b)) end)
  return table.move(others, 1, #others, #plain.sort(names) + 1, names)
end

local inner

local function table_text(t, indent, above)
  if above[t] then return "{ what it is inside of }" end
  if #above >= DEPTH and next(t) ~= nil then return "{...}" end
  above[t], above[#above + 1] = true, t
  local items, length, more = {}, rawlen(t), 0
  local function add(make, ...)
    if #items < MOST then items[#items + 1] = make(...) else more = more + 1 end
  end
  local deeper = indent .. "  "
  for i = 1, length do add(function() return inner(rawget(t, i), deeper, above) end) end
  for _, key in ipairs(keys_of(t, length)) do
    add(function()
      local name = is_name(key) and key or "[" .. inner(key, deeper, above) .. "]"
      return name .. " = " .. inner(rawget(t, key), deeper, above)
    end)
  end
  above[#above], above[t] = nil, nil
  if more > 0 then items[#items + 1] = ("... %d more"):format(more) end
  if #items == 0 then return "{}" end
  local line = "{ " .. table.concat(items, ", ") .. " }"
  if #indent + #line <= WIDTH and not line:find "\n" then return line end
  return "{\n" .. deeper .. table.concat(items, ",\n" .. deeper) .. "\n" .. indent .. "}"
end

-- A class: what its objects look into. Of one without a name nothing can be told but what it holds.
local function class_text(x)
  local name = type(x) == "table" and rawget(x, "__index") == x and rawget(x, "__name")
  return type(name) == "string" and "class " .. name or nil
end

local function first_line(text)
  local line = text:match "^[^\n]*"
  return line == text and line or line .. " ..."
end

-- A value inside of a table. Of a tensor of more than a few numbers, or several rows, only dtype and shape.
function inner(x, indent, above)
  if type(x) == "string" then return ("%q"):format(x):gsub("\\\n", "\\n") end
  if core.is_tensor(x) then
    local is_short = x:dim() <= 1 and x:numel() <= 8
    return is_short and plain.text(x):gsub("\n", " ") or "tensor " .. plain.text(x):match "[^\n]*$"
  end
  if type(x) == "table" and not says_itself(x) then return class_text(x) or table_text(x, indent, above) end
  if type(x) == "function" then return (function_text(x)) end
  return first_line(plain.text(x))
end

-- -- at the prompt ----------------------------------------------------------------------------------------------------

--- A value as text, of one or several lines.
function value.text(x)
  if type(x) == "function" then
    local text, place = function_text(x)
    return text .. (place or "")
  end
  if type(x) == "table" and not says_itself(x) then
    local class = class_text(x)
    return class and class .. ": help(it) tells more" or table_text(x, "", {})
  end
  return plain.text(x)
end

--- Several values, as a function returns them: side by side where each is one line.
function value.all(values)
  local texts, lines = {}, false
  for i = 1, values.n do
    texts[i] = value.text(values[i])
    lines = lines or texts[i]:find "\n" ~= nil
  end
  return table.concat(texts, lines and "\n" or "\t")
end

return value
