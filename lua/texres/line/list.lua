--- A list of files: see texres.line.files.

local core = require "texres.core"
local predict = require "texres.predict"
local read_picture = require "texres.line.picture"

local Files = {}
Files.__index = Files

--- paths: a list, in which "-" stands for the paths of standard input; options: channels, scale, null
local function open(paths, o)
  return setmetatable({ paths = paths, at = 1, text = "", channels = o.channels, scale = o.scale, read = 0,
    tell = function() end, found = function() end,
    pattern = o.null and "^([^\0]*)\0(.*)$" or "^([^\n]*)\n(.*)$" }, Files)
end

-- The next path of standard input; nil and whether more may come.
local function next_line(self, seconds)
  while true do
    local path, rest = self.text:match(self.pattern)
    if path then
      self.text, path = rest, path:gsub("\r$", "")
      if path ~= "" then return path, true end
    else
      local text, message = core.input_text(seconds)
      if text == "" then return nil, true end
      if message then self.tell("%s", message) end
      if not text then -- the last line may lack its end
        path, self.text = self.text, ""
        return path ~= "" and path or nil, false
      end
      self.text = self.text .. text
    end
  end
end

local function next_path(self, seconds)
  while not self.stopped do
    local path = self.paths[self.at]
    if path ~= "-" then
      self.at = self.at + 1
      return path, false
    end
    local line, more = next_line(self, seconds)
    if line or more then return line, more end
    self.at = self.at + 1
  end
  return nil, false
end

--- The next file, for whose path it waits `seconds`; nil and whether more may come.
function Files:next(seconds)
  local file = not self.stopped and self.found() or nil
  while not file do
    local path, more = next_path(self, seconds)
    if not path then return nil, more end
    self.found = predict.each_file { path } -- a folder's pictures
    file = self.found()
  end
  self.read = self.read + 1
  local image, message = nil, file.message
  if not message then image, message = read_picture(file.path, self.channels, self.scale) end
  return { name = file.path, below = file.name, number = self.read, image = image, arrived = core.clock(),
    message = message }
end

function Files:stop() self.stopped = true end
function Files.close() end
Files.__close = Files.close

function Files:counts() return { read = self.read, dropped = 0, delayed = 0, waited = 0, longest = 0, short = 0 } end

return open
