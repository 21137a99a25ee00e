--- What the system tells of this machine: processor, memory, and what a container allows of both. Of Linux; elsewhere
-- most of it is nil. `root` (optional) is a folder that stands for /, for the specs.

local core = require "texres.core"
local files = require "texres.files"
local plain = require "texres.plain"

local machine = {}

--- What a file says first that fits a pattern; nil where it does not, or is not there.
local function first_match(root, path, pattern)
  local text = core.file_kind((root or "") .. path) and files.read((root or "") .. path)
  return text and text:match(pattern)
end

--- The processor's name, nil where it has none: "AMD EPYC 9B45".
function machine.processor(root) return first_match(root, "/proc/cpuinfo", "model name%s*:%s*([^\n]+)") end

--- The kernel and its version: "Linux version 6.1.0".
function machine.system(root) return first_match(root, "/proc/version", "^(%S+ version %S+)") end

--- How many processors this process may run on: of "0-3,8" five.
function machine.processors(root)
  local list, count = first_match(root, "/proc/self/status", "Cpus_allowed_list:%s*(%S+)"), 0
  for first, last in (list or ""):gmatch "(%d+)%-?(%d*)" do
    count = count + (last == "" and 1 or last - first + 1)
  end
  return count > 0 and count or nil
end

--- How many programs wanted to run at a time in the last minute, on average.
function machine.load(root) return plain.number(first_match(root, "/proc/loadavg", "^%S+") or "") end

--- Bytes of memory, and how many of them are free or can be freed.
function machine.memory(root)
  local function bytes(name)
    local kilobytes = plain.number(first_match(root, "/proc/meminfo", name .. ":%s*(%d+)") or "")
    return kilobytes and kilobytes * 1024
  end
  return bytes "MemTotal", bytes "MemAvailable"
end

--- Which memory the kernel keeps in huge pages: "always", "madvise" (where a program asks, as texres does) or "never".
function machine.huge_pages(root)
  return first_match(root, "/sys/kernel/mm/transparent_hugepage/enabled", "%[(%a+)%]")
end

-- -- control groups ---------------------------------------------------------------------------------------------------

-- The folders of the groups that this process is in, from its own to the outermost, of a controller. A line of
-- /proc/self/cgroup is "4:cpu,cpuacct:/path" in version 1, "0::/path" in version 2. In a container the path may be one
-- that only its host sees: then the outermost folder is that of the container.
local function group_folders(root, controller)
  local folders = {}
  local function add(mount, path)
    while path do
      folders[#folders + 1] = mount .. path
      path = path:match "^(.*)/[^/]*$"
    end
  end
  for id, names, path in (files.read((root or "") .. "/proc/self/cgroup") or ""):gmatch "(%d+):([^:\n]*):([^\n]*)" do
    path = path:gsub("/+$", "")
    if id == "0" and names == "" then
      add("/sys/fs/cgroup", path)
      add("/sys/fs/cgroup/unified", path)
    elseif ("," .. names .. ","):find("," .. controller .. ",", 1, true) then
      add("/sys/fs/cgroup/" .. controller, path)
      add("/sys/fs/cgroup/" .. names, path)
    end
  end
  return folders
end

-- The least of what `limit_of` reads from the groups' folders; nil where none has a limit.
local function least(root, controller, limit_of)
  local found = nil
  for _, folder in ipairs(group_folders(root, controller)) do
    local limit = limit_of(folder)
    if limit and (not found or limit < found) then found = limit end
  end
  return found
end

--- How many processors' time the control groups allow this process, such as 1.5; nil for no limit.
function machine.processor_limit(root)
  return least(root, "cpu", function(folder)
    local quota, period = first_match(root, folder .. "/cpu.max", "^(%d+) "),
      first_match(root, folder .. "/cpu.max", " (%d+)")
    quota = quota or first_match(root, folder .. "/cpu.cfs_quota_us", "^(%d+)")
    period = period or first_match(root, folder .. "/cpu.cfs_period_us", "^(%d+)")
    return quota and period and plain.number(quota) / plain.number(period)
  end)
end

local NO_LIMIT = 1 << 60 -- which version 1 writes as a number near 2^63

--- How many bytes of memory the control groups allow this process and others of the same group; nil for no limit.
function machine.memory_limit(root)
  return least(root, "memory", function(folder)
    local limit = first_match(root, folder .. "/memory.max", "^(%d+)")
      or first_match(root, folder .. "/memory.limit_in_bytes", "^(%d+)")
    limit = limit and plain.number(limit)
    return limit and limit < NO_LIMIT and limit or nil
  end)
end

return machine
