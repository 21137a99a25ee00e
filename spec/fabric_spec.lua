--- Synthetic fabric: reproducible, labelled, masked, and of the brightness of real fabric.
local tr = require "texres"

local defects = { "color", "cut", "hole", "thread", "metal_contamination" }

local function fabric(options) return tr.data.fabric(options) end
local function same(a, b) return tr.allclose(a:images(), b:images(), 0) end

--- A set of one class, and the mean change and the largest change against the same cloth without a defect, inside and
-- outside of the masks.
local function compare(class, options)
  options.masks = true
  options.classes = { class }
  local flawed = fabric(options)
  options.classes = { "good" }
  local good = fabric(options)
  local change = (flawed:images() - good:images()):abs()
  local inside = flawed.masks:images(flawed.index)
  return {
    area = inside:mean():item(),
    change = (change * inside):sum():item() / inside:sum():item(),
    outside = (change * (1 - inside)):max():item(),
    good_area = good.masks:images(good.index):max():item(),
  }
end

describe("fabric", function()
  it("makes a data set of the six classes in turn", function()
    local set = fabric { count = 60, size = 32, seed = 1 }
    assert.are.equal(60, #set)
    assert.are.same({ "good", table.unpack(defects) }, set.classes)
    assert.are.same({ 10, 10, 10, 10, 10, 10 }, set:counts())
    local image, label, row = set:get(8)
    assert.are.same({ 32, 32, 1 }, image:shape())
    assert.are.equal(2, label)
    assert.are.equal(20, row.angle)
    assert.are.equal("plain", row.weave)
    assert.is_true(row.severity >= 0.4 and row.severity <= 1)
    assert.is_true(row.row >= 8 and row.row <= 24 and row.col >= 8 and row.col <= 24)
    assert.is_true(set.meta.severity[1] ~= set.meta.severity[1], "a good image has no severity")
    local angles = {}
    for _, angle in ipairs(set.meta.angle) do angles[angle] = true end
    for angle = 0, 140, 20 do assert.is_true(angles[angle]) end
  end)

  it("gives the same bytes for the same seed and any number of threads", function()
    local options = { count = 48, size = 40, seed = 7, weave = "mixture", masks = true }
    local threads = tr.num_threads()
    finally(function() tr.set_num_threads(threads) end)
    tr.set_num_threads(1)
    local one = fabric(options)
    for _, n in ipairs { 2, 3, 8 } do
      tr.set_num_threads(n)
      local more = fabric(options)
      assert.is_true(same(one, more))
      assert.is_true(tr.allclose(one.masks:images(one.index), more.masks:images(more.index), 0))
    end
    assert.are.equal(one.meta.severity[2], fabric(options).meta.severity[2])
    options.seed = 8
    assert.is_false(same(one, fabric(options)))
  end)

  it("begins a larger set with the same images", function()
    local small, large = fabric { count = 12, seed = 3, sources = 4 }, fabric { count = 24, seed = 3, sources = 4 }
    assert.is_true(tr.allclose(small:images(), large:images(1, 12), 0))
  end)

  it("looks like the real set in brightness and contrast", function()
    local images = fabric { count = 200, seed = 5, classes = { "good" } }:images()
    local mean, std = images:mean():item(), images:std():item()
    assert.is_true(mean > 0.32 and mean < 0.39, "mean " .. mean) -- published: 0.354
    assert.is_true(std > 0.12 and std < 0.155, "std " .. std) -- published: 0.135
    assert.is_true(images:ge(0.999):to("f32"):mean():item() < 0.001, "saturated")
  end)

  for _, weave in ipairs { "plain", "twill", "satin", "knit" } do
    for _, class in ipairs(defects) do
      it(("changes %s cloth by %s within the mask and only there"):format(weave, class), function()
        local c = compare(class, { count = 16, seed = 11, weave = weave })
        assert.are.equal(0, c.good_area)
        assert.are.equal(0, c.outside)
        assert.is_true(c.area > 0.02 and c.area < 0.9, "area " .. c.area)
        assert.is_true(c.change > 0.03, "change " .. c.change)
      end)
    end
  end

  it("makes defects more marked with severity, larger with size", function()
    for _, class in ipairs(defects) do
      local mild = compare(class, { count = 32, seed = 2, severity = 0.1 })
      local severe = compare(class, { count = 32, seed = 2, severity = 1 })
      assert.is_true(severe.change * severe.area > 1.2 * mild.change * mild.area, class)
      local small = compare(class, { count = 32, seed = 2, defect_size = 12, severity = 0.5 })
      local large = compare(class, { count = 32, seed = 2, defect_size = 48, severity = 0.5 })
      assert.is_true(large.area > 1.5 * small.area, class)
    end
  end)

  it("mixes weaves and photographs whole cloths of any size", function()
    local set = fabric { count = 24, size = { 96, 160 }, weave = "mixture", seed = 1 }
    assert.are.same({ 96, 160, 1 }, (set:get(1)):shape())
    local seen = {}
    for _, weave in ipairs(set.meta.weave) do seen[weave] = true end
    assert.are.same({ plain = true, twill = true, satin = true, knit = true }, seen)
    assert.are.equal(2, #fabric { count = 2, size = 512 })
  end)

  it("shows every class on every cloth, weave and angle", function()
    local set, seen = fabric { count = 6 * 8 * 40, size = 8, sources = 8, weave = "mixture", seed = 1 }, {}
    for i = 1, #set do
      local row, class = set:row(i), set.label[i]
      for _, value in ipairs { row.source, row.weave, row.angle, row.source .. row.angle } do
        seen[class .. " " .. value] = (seen[class .. " " .. value] or 0) + 1
      end
    end
    for class = 1, 6 do
      for cloth = 1, 8 do assert.are.equal(40, seen[("%d cloth%d"):format(class, cloth)]) end
      for _, weave in ipairs { "plain", "twill", "satin", "knit" } do
        assert.are.equal(80, seen[class .. " " .. weave])
      end
      for angle = 0, 140, 20 do
        assert.are.equal(40, seen[class .. " " .. angle .. ".0"] or seen[class .. " " .. angle])
        assert.is_truthy(seen[class .. " cloth3" .. angle .. ".0"] or seen[class .. " cloth3" .. angle])
      end
    end
  end)

  it("names the choices when an option is wrong", function()
    local function message(options) return select(2, pcall(fabric, options)) end
    assert.matches("fabric_spec.lua:%d+: fabric: unknown option 'cuont'; did you mean count%? There are classes, count",
      message { cuont = 3 })
    assert.matches("unknown class 'stain'; the choices are good, color", message { classes = { "stain" } })
    assert.matches("unknown weave 'felt'; the choices are plain, twill, satin, knit", message { weave = "felt" })
    assert.matches("severity {0.5,2} is not a range within 0..1", message { severity = { 0.5, 2 } }, 1, true)
    assert.matches("count is 0", message { count = 0 })
    assert.matches("size {4,4}", message { size = 4 }, 1, true)
    assert.matches("count is \"many\", wanted a whole number", message { count = "many" })
  end)
end)
