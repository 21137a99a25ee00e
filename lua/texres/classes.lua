--- Class names, compared as a model and a set list them. Labels are positions in such a list, so two lists agree only
-- where their names do.

local core = require "texres.core"

local classes = {}

local function quoted(names)
  for i, name in ipairs(names) do names[i] = ("%q"):format(name) end
  return table.concat(names, ", ")
end

local function missing(from, names)
  local found, out = {}, {}
  for _, name in ipairs(from) do found[name] = true end
  for _, name in ipairs(names) do
    if not found[name] then out[#out + 1] = name end
  end
  return out
end

--- Where the names of `own` stand in `wanted`, a list of positions: a set may list the model's classes in another
-- order, or only some of them. Nil and a message that names the strangers where a name is not in `wanted`.
function classes.positions(wanted, own)
  local strangers = missing(wanted, own)
  if #strangers > 0 then
    local lacking = missing(own, wanted)
    return nil, ("the classes differ: %s unknown to the model%s"):format(quoted(strangers),
      #lacking > 0 and ("; only the model has " .. quoted(lacking)) or "")
  end
  local at, positions = {}, {}
  for i, name in ipairs(wanted) do at[name] = i end
  for i, name in ipairs(own) do positions[i] = at[name] end
  return positions
end

--- Labels {N} of a set as the model counts them, by the list that classes.positions gave.
function classes.mapped(labels, positions)
  local out = labels:totable()
  for i, label in ipairs(out) do out[i] = positions[label] end
  return core.tensor(out, { dtype = "i64" })
end

return classes
