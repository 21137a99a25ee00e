--- What pages tell beside results: the machine, a set in a sentence, why a picture was taken for what it was.

local columns = require "texres.data.columns"
local core = require "texres.core"
local explain = require "texres.explain"
local lists = require "texres.data.lists"
local machine = require "texres.machine"
local protect = require "texres.protect"

local facts = {}

--- Rows of name and value.
function facts.environment()
  return {
    { "texres", core._VERSION },
    { "Lua", _VERSION },
    { "processor", machine.processor() or "unknown" },
    { "kernels", core.isa() },
    { "threads", core.num_threads() },
    { "system", machine.system() or "unknown" },
  }
end

--- A set in a sentence: how many images, of what, how many of each class, of how many groups.
function facts.set(set)
  local parts, counts = {}, set:counts()
  for c, name in ipairs(set.classes) do parts[c] = ("%s %d"):format(name, counts[c]) end
  local groups = set.group
    and (", %d groups by '%s'"):format(lists.different(set.meta[set.group], columns.is_missing), set.group) or ""
  local origin = set.origin and " of " .. set.origin or ""
  return ("%d images%s%s: %s"):format(#set, origin, groups, table.concat(parts, ", "))
end

local MOST = 20000 -- images that are compared with each other

--- What explains a picture, as far as a network can be explained: heat(image, label), and nearest(image) of a training
-- set, where there is one.
function facts.why(classifier, train)
  local index
  if train and #train <= MOST then index = protect.catch(explain.neighbours, classifier, train) end
  return {
    heat = function(image, label)
      local map = protect.catch(explain.hires_cam, classifier, image, { class = label })
      return map and explain.overlay(image, map)
    end,
    nearest = function(image)
      return index and index:nearest(image, 1)[1]
    end,
  }
end

return facts
