--- means(size, out): the matrix {out,size} by which a line of `size` pixels becomes one of `out`, as adaptive average
-- pooling has it. In an ONNX file, which has no such pooling, two products with these stand for it.

local F = require "texres.nn.functional"
local core = require "texres.core"

return function(size, out)
  local lines = core.eye(size):reshape(1, size, 1, size) -- the channels are the lines
  return core.no_grad(F.adaptive_avg_pool2d, lines, { out, 1 }):reshape(out, size)
end
