--- Pictures of files, for texres.line.files and texres.line.folder.

local core = require "texres.core"

--- A picture of a file, so many times as large; nil and a message, without the name of the function, where it can't be
-- read.
return function(path, channels, scale)
  local image, message = core.load_image(path, { channels = channels })
  if image and scale ~= 1 then
    local function scaled(size) return math.max(1, math.floor(size * scale + 0.5)) end
    image, message = core.load_image(path, { channels = channels,
      size = { scaled(image:size(1)), scaled(image:size(2)) } })
  end
  return image, not image and message:gsub("^load_image: ", "") or nil
end
