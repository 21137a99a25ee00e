--- Every instruction set gives the reference's bits for networks in 8 bits, with and without its instructions for sums
-- of products, around the sizes of its tiles: rows, vectors and panels, and depths of a few numbers.
local support = require "spec.support"

-- Runs in a process of its own; prints the floats of each convolution in a line.
local script = [[
  local core, tr = require "texres.core", require "texres"

  local state = 1
  local function random(low, high)
    state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return low + (state >> 33) % (high - low + 1)
  end
  local function tensor(dtype, n, f, ...)
    local all = {}
    for i = 1, n do all[i] = f() end
    return tr.tensor(all, { dtype = dtype }):reshape(...)
  end

  -- Images {h,w,c} to {p,q,k}, with a residual where p, q, k are h, w, c.
  local function conv(h, w, c, k, kernel, padding, winograd)
    local r, s = kernel[1], kernel[2]
    local p, q = h + 2 * padding[1] - r + 1, w + 2 * padding[2] - s + 1
    local weights = winograd and 36 * c * k * 2 or r * s * c * k
    local description = {
      input = { h, w, c }, output = 4,
      values = {
        { shape = { h, w, c } }, { scale = 0.02, zero = 120, shape = { h, w, c } },
        { scale = 0.05, zero = 31, shape = { p, q, k } }, { shape = { p, q, k } },
      },
      steps = {
        { op = "quantize", input = 1, output = 2 },
        { op = "conv", input = 2, output = 3, kernel = kernel, channels = { c, k }, stride = { 1, 1 },
          padding = { padding[1], padding[1], padding[2], padding[2] }, dilation = { 1, 1 }, groups = 1,
          relu = w % 2 == 0,
          residual = p == h and q == w and k == c and 2 or nil, residual_last = w % 3 == 0,
          method = winograd and "winograd" or "direct" },
        { op = "dequantize", input = 3, output = 4 },
      },
    }
    local spread = (winograd and c or r * s * c) ^ 0.5
    local word, high = 0, true
    local function byte() -- of 16 bits the low one first
      high = not high
      if not winograd then return random(0, 255) end
      if high then return word >> 8 & 255 end
      word = random(-1500, 1500)
      return word & 255
    end
    local factors = winograd and 36 * k or k
    local program = core.quantized_program(description, {
      ["step.2.weight"] = tensor("u8", weights, byte, table.unpack(
        winograd and { 36, c, k, 2 } or { r, s, c, k })),
      ["step.2.factor"] = tensor("f32", factors, function()
        return random(30, 100) / (spread * (winograd and 2e7 or 2e5))
      end, table.unpack(winograd and { 36, k } or { k })),
      ["step.2.shift"] = tensor("f32", k, function() return random(-300, 300) / 10 end, k),
    })
    local x = tensor("f32", 2 * h * w * c, function() return random(-3000, 3000) / 1000 end, 2, h, w, c)
    print(("%dx%dx%d to %d by %dx%d %s: %s"):format(h, w, c, k, r, s, winograd and "winograd" or "direct",
      table.concat(program:run(x):reshape(-1):totable(), " ")))
  end

  print(tr.isa())
  for w = 1, 30 do conv(2, w, 5, 17 + w, { 3, 3 }, { 1, 1 }) end
  for c = 1, 20 do conv(3, 4, c, c, { 1, 1 }, { 0, 0 }) end -- with a residual
  for k = 2, 70, 3 do conv(3, 3, 6, k, { 3, 3 }, { 0, 0 }) end -- to one pixel: images are the rows
  for w = 1, 61, 4 do conv(4, w, 4, 20, { 3, 3 }, { 1, 1 }, true) end -- of 1 to 16 tiles
  for c = 2, 70, 4 do conv(5, 6, c, c, { 3, 3 }, { 1, 1 }, true) end
]]

local function run(isa, dot)
  local ok, output = support.run_lua(script, { env = { TEXRES_ISA = isa, TEXRES_DOT = dot } })
  if not ok then return nil, output end
  local lines = {}
  for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
  assert.equal(isa, table.remove(lines, 1))
  return lines
end

describe("a convolution in 8 bits", function()
  local reference

  for _, isa in ipairs { "avx2", "avx512", "neon" } do
    for _, dot in ipairs { "1", "0" } do
      it(("has the bits of ref with %s, TEXRES_DOT=%s"):format(isa, dot), function()
        local lines, output = run(isa, dot)
        if lines == nil then
          assert.matches("TEXRES_ISA", output)
          return pending(isa .. " is not on this machine")
        end
        reference = reference or assert(run("ref", dot))
        assert.equal(107, #lines)
        for i, line in ipairs(lines) do assert(line == reference[i], line:match "^[^:]*") end
      end)
    end
  end

  it("makes more than two different values of each", function()
    reference = reference or assert(run("ref", "1"))
    for _, line in ipairs(reference) do
      local different = {}
      for v in line:gsub("^.*:", ""):gmatch "%S+" do different[v] = true end
      assert(next(different, next(different, (next(different)))), line)
    end
  end)

  it("can be measured by its peak on any instruction set", function()
    for _, isa in ipairs { "ref", "avx2", "avx512", "neon" } do
      for _, dot in ipairs { "1", "0" } do
        local ok, output = support.run_lua([[
          local tr = require "texres"
          local bytes, shorts = tr.dot_peak()
          assert(bytes > 1e6 and shorts > 1e6 and bytes < 1e15, bytes)
        ]], { env = { TEXRES_ISA = isa, TEXRES_DOT = dot } })
        assert(ok or output:find "TEXRES_ISA", output)
      end
    end
  end)
end)
