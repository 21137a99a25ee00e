--- Class names, compared as a model and a set list them. Labels are positions in such a list, so two lists agree only
-- where their names do.

local lists = require "texres.data.lists"

local classes = {}

local function quoted(names)
  for i, name in ipairs(names) do names[i] = "'" .. name .. "'" end
  return table.concat(names, ", ")
end

local function missing(from, names)
  local found, out = lists.set_of(from), {}
  for _, name in ipairs(names) do
    if not found[name] then out[#out + 1] = name end
  end
  return out
end

--- Whether two lists are the same, in the same order.
function classes.same(a, b) return table.concat(a or {}, "\0") == table.concat(b or {}, "\0") end

--- The class that means no defect, where none is named.
classes.GOOD = "good"

--- The number of the class of that name; nil where there is none, or no list of names.
function classes.find(names, name)
  for c, other in ipairs(names or {}) do
    if other == name then return c end
  end
end

--- Where the names of `own` stand in `wanted`, a list of positions: they may come in another order, or only some of
-- them. Nil and a message that names the strangers where a name is not in `wanted`.
function classes.positions(wanted, own)
  local strangers = missing(wanted, own)
  if #strangers > 0 then
    local lacking = missing(own, wanted)
    return nil, ("the classes differ: only this set has %s%s"):format(quoted(strangers),
      #lacking > 0 and ("; it lacks " .. quoted(lacking)) or "")
  end
  local at = {}
  for i, name in ipairs(wanted) do at[name] = i end
  return lists.pick(at, own)
end

--- The set with the classes `wanted`, its labels numbered by them; the set itself where its list is the same. Nil and a
-- message where it has other names.
function classes.arrange(set, wanted)
  local positions, message = classes.positions(wanted, set.classes)
  if not positions then return nil, message end
  local same = #wanted == #set.classes
  for i, position in ipairs(positions) do same = same and position == i end
  if same then return set end
  return set:with_labels(lists.pick(positions, set.label), wanted)
end

return classes
