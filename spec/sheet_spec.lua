--- Contact sheets: where the images stand in the PNG.
local tr = require "texres"
local core = require "texres.core"
local support = require "spec.support"

local path = support.folder() .. "/sheet.png"

--- Six images 4x6 of three classes; every pixel of image i is i / 10.
local function numbered()
  local images = tr.zeros(6, 4, 6, 1)
  for i = 1, 6 do images[i]:fill(i / 10) end
  return tr.data.Set.new { source = core.source(images), labels = { 1, 1, 2, 2, 2, 3 }, classes = { "a", "b", "c" } }
end

--- The sheet as read back: f32 {H,W}, 0..1.
local function written(set, options)
  assert(set:contact_sheet(path, options))
  local page = assert(tr.load_image(path))
  return page:to "f32":select(3, 1) / 255
end

describe("contact_sheet", function()
  it("shows bytes the same, whatever they are worth", function()
    local bytes = (tr.rand(4, 5, 5, 3) * 255):to "u8"
    local pages = {}
    for i, scale in ipairs { 1 / 255, 1, 1 / 1000 } do
      pages[i] = written(tr.data.tensors { images = bytes, labels = { 1, 1, 1, 1 }, scale = scale })
      assert.is_true(tr.allclose(pages[1], pages[i], 0, 1 / 255))
    end
  end)

  it("shows floats in 0..255 and images of 0 and 1 with the range that they have", function()
    local images, labels, noisy = tr.full({ 2, 4, 4 }, 51), { 1, 1 }, { augment = { { "noise", 0.2 } } }
    images[2]:fill(255)
    local wanted = written(tr.data.tensors { images = images / 255, labels = labels }, noisy)
    local shown = written(tr.data.tensors { images = images, labels = labels }, noisy)
    assert.is_true(tr.allclose(wanted, shown, 0, 1 / 255))
    local bool = tr.data.npz { file = "spec/fixtures/data/types.npz", dataset = "b1", labels = { 1, 1 } }
    assert.equal(1, written(bool):max():item())
  end)

  it("writes a row per class", function()
    local page = written(numbered(), { scale = 2, gap = 1, count = 6 })
    assert.are.same({ 3 * 9 + 1, 2 * 13 + 1 }, page:shape())
    local wanted = { { 0.1, 0.2 }, { 0.3, 0.4 }, { 0.6, 0 } }
    for y, row in ipairs(wanted) do
      for x, value in ipairs(row) do
        local image = page:slice(1, (y - 1) * 9 + 2, y * 9):slice(2, (x - 1) * 13 + 2, x * 13)
        assert.near(value, image:min():item(), 0.003)
        assert.near(value, image:max():item(), 0.003)
      end
    end
    assert.are.equal(0, page[1]:max():item())
  end)

  it("writes chosen samples in their order", function()
    local page = written(numbered(), { scale = 1, gap = 0, samples = { 6, 2, 3 }, columns = 2 })
    assert.are.same({ 8, 12 }, page:shape())
    assert.near(0.6, page[1][1]:item(), 0.003)
    assert.near(0.2, page[1][7]:item(), 0.003)
    assert.near(0.3, page[8][1]:item(), 0.003)
  end)

  it("shows each sample and what augmentation makes of it", function()
    local set, list = numbered(), { { "brightness", 0.5 } }
    local page = written(set, { augment = list, samples = { 2, 4 }, columns = 3, scale = 1, gap = 0, seed = 5 })
    assert.are.same({ 8, 18 }, page:shape())
    local images = set:images { 2, 4 }
    for epoch = 0, 2 do
      local shown = images
      if epoch > 0 then shown = tr.data.augment(list):apply(images, { seed = 5, epoch = epoch }) end
      for i = 1, 2 do
        assert.near(shown[i][1][1][1]:item(), page[i * 4][epoch * 6 + 1]:item(), 0.003)
      end
    end
  end)

  it("says what went wrong", function()
    local ok, message = numbered():contact_sheet "/nowhere/at/all.png"
    assert.is_nil(ok)
    assert.matches("/nowhere/at/all.png", message, 1, true)
    assert.has_error(function() numbered():contact_sheet(path, { colums = 3 }) end)
    assert.has_error(function() numbered():subset({}):contact_sheet(path) end)
  end)
end)
