--- A scanner of frames that are pieces of one strip: what lies across two of them is one defect. Where a frame was
-- dropped or is bad, the strip ends, and another one begins where the next frame lies.

local Strip = {}
Strip.__index = Strip

--- Scans the next piece: { name =, defects = those that have ended with it, also of a strip before }.
function Strip:frame(image, about)
  local ended = {}
  if about.position ~= self.scanner.at then
    ended = self.scanner:finish()
    self.scanner.at = about.position
  end
  local told = self.scanner:push(image)
  return { name = about.name, defects = table.move(told, 1, #told, #ended + 1, ended) }
end

return function(scanner) return setmetatable({ scanner = scanner }, Strip) end
