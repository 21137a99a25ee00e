--- A list of files: see texres.line.files.

local core = require "texres.core"

local Files = {}
Files.__index = Files

--- paths: a list, in which "-" stands for the lines of standard input
local function open(paths, channels)
  return setmetatable({ paths = paths, at = 1, text = "", channels = channels, read = 0, tell = function() end }, Files)
end

-- The next line of standard input; nil and whether more may come.
local function next_line(self, seconds)
  while true do
    local line, rest = self.text:match "^([^\n]*)\n(.*)$"
    if line then
      self.text = rest
      line = line:gsub("\r$", "")
      if line ~= "" then return line end
    else
      local text, message = core.input_text(seconds)
      if text == "" then return nil, true end
      if message then self.tell("%s", message) end
      if not text then -- the last line may lack its end
        line, self.text = self.text, ""
        return line ~= "" and line or nil, false
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

--- The next file, for whose name it waits `seconds`; nil and whether more may come.
function Files:next(seconds)
  local path, more = next_path(self, seconds)
  if not path then return nil, more end
  self.read = self.read + 1
  local image, message = core.load_image(path, { channels = self.channels })
  if not image then message = message:gsub("^load_image: ", "") end
  return { name = path, number = self.read, image = image, message = message, arrived = core.clock() }
end

function Files.done() end
function Files:stop() self.stopped = true end
function Files.close() end

function Files:counts() return { read = self.read, dropped = 0, delayed = 0, waited = 0, longest = 0, short = 0 } end

return open
