--- The loader: what the batches hold, in which order, for any number of workers; how it stops.
local tr = require "texres"
local core = require "texres.core"
local support = require "spec.support"

local Set = tr.data.Set

--- n images 4x3x2 whose pixels say which sample they belong to; labels 1 2 3 1 2 3 ...
local function numbered(n)
  local images, labels = tr.zeros(n, 4, 3, 2), {}
  for i = 1, n do
    images[i]:fill(i)
    labels[i] = (i - 1) % 3 + 1
  end
  return Set.new { source = core.source(images), labels = labels, classes = { "a", "b", "c" } }
end

--- Runs an epoch; returns the samples' numbers in order and the sizes of the batches, after checking the labels.
local function run(loader, epoch, first)
  local numbers, sizes = {}, {}
  for images, labels in loader:batches(epoch, first) do
    sizes[#sizes + 1] = images:size(1)
    for i = 1, images:size(1) do
      local number = math.tointeger(images[i]:min():item())
      assert.are.equal(number, images[i]:max():item())
      assert.are.equal((number - 1) % 3 + 1, labels[i]:item())
      numbers[#numbers + 1] = number
    end
  end
  return numbers, sizes
end

local function sorted(list)
  local copy = table.move(list, 1, #list, 1, {})
  table.sort(copy)
  return copy
end

local function count_up(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

local function cleared_threads()
  collectgarbage()
  collectgarbage()
  return core.loader_threads()
end

describe("loader", function()
  it("hands out every sample once, in order, the last batch short", function()
    local loader = numbered(50):loader { batch = 16 }
    assert.are.equal(4, #loader)
    local numbers, sizes = run(loader, 1)
    assert.are.same(count_up(50), numbers)
    assert.are.same({ 16, 16, 16, 2 }, sizes)
  end)

  it("leaves out the short batch when asked to", function()
    local loader = numbered(50):loader { batch = 16, drop_last = true }
    assert.are.equal(3, #loader)
    assert.are.same({ 16, 16, 16 }, select(2, run(loader, 1)))
    assert.are.equal(0, #numbered(5):loader { batch = 16, drop_last = true })
  end)

  it("makes a batch of the whole set when the set is smaller", function()
    assert.are.same({ 5 }, select(2, run(numbered(5):loader { batch = 16 }, 1)))
  end)

  it("runs over an empty set", function()
    local empty = numbered(5):subset {}
    assert.are.same({}, run(empty:loader { batch = 4 }, 1))
  end)

  it("gives images and labels of the documented types and shapes", function()
    for images, labels, mix in numbered(5):loader { batch = 3 }:batches() do
      assert.are.equal("f32", images.dtype)
      assert.are.equal("i64", labels.dtype)
      assert.are.same({ 4, 3, 2 }, { images:size(2), images:size(3), images:size(4) })
      assert.are.equal(images:size(1), labels:size(1))
      assert.is_nil(mix)
    end
  end)

  it("shuffles by seed and epoch", function()
    local set = numbered(100)
    local a = run(set:loader { shuffle = true, seed = 1 }, 1)
    assert.are.same(count_up(100), sorted(a))
    assert.are_not.same(count_up(100), a)
    assert.are.same(a, run(set:loader { shuffle = true, seed = 1, batch = 7, workers = 0 }, 1))
    assert.are_not.same(a, run(set:loader { shuffle = true, seed = 1 }, 2))
    assert.are_not.same(a, run(set:loader { shuffle = true, seed = 2 }, 1))
    assert.are.same(a, set:loader { shuffle = true, seed = 1 }:order(1))
  end)

  it("reads the samples of a subset", function()
    local half = numbered(20):filter(function(_, _, i) return i % 2 == 0 end)
    assert.are.same({ 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 }, run(half:loader { batch = 4 }, 1))
  end)

  it("balances the classes", function()
    local set = numbered(60):filter(function(label, _, i) return label ~= 2 or i <= 12 end) -- 20 a, 4 b, 20 c
    local numbers = run(set:loader { balanced = true, seed = 3 }, 1)
    assert.are.equal(#set, #numbers)
    local counts, times = { 0, 0, 0 }, {}
    for _, number in ipairs(numbers) do
      local class = (number - 1) % 3 + 1
      counts[class] = counts[class] + 1
      times[number] = (times[number] or 0) + 1
    end
    for class = 1, 3 do assert.is_true(math.abs(counts[class] - #set / 3) <= 1, counts[class]) end
    for number, n in pairs(times) do -- b is used up and begun again, a and c are not used twice
      if (number - 1) % 3 + 1 == 2 then assert.is_true(n >= 3) else assert.are.equal(1, n) end
    end
  end)

  it("draws by weight, per sample or per class", function()
    local set, weights = numbered(900), {}
    for i = 1, 900 do weights[i] = i <= 450 and 0 or i % 2 == 0 and 3 or 1 end
    local even, odd = 0, 0
    for _, number in ipairs(run(set:loader { weights = weights, seed = 1 }, 1)) do
      assert.is_true(number > 450)
      if number % 2 == 0 then even = even + 1 else odd = odd + 1 end
    end
    assert.are.equal(900, even + odd)
    assert.is_true(even / odd > 2.3 and even / odd < 3.9, even / odd)
    for _, number in ipairs(run(set:loader { weights = { 0, 1, 0 } }, 1)) do
      assert.are.equal(2, (number - 1) % 3 + 1)
    end
  end)

  it("augments the repeated draws of a sample differently", function()
    local set = numbered(8)
    local seen = {}
    for images in set:loader { weights = { 1, 0, 0 }, augment = { { "brightness", 0.9 } }, batch = 8 }:batches(1) do
      for i = 1, 8 do seen[images[i]:mean():item()] = true end
    end
    local n = 0
    for _ in pairs(seen) do n = n + 1 end
    assert.are.equal(8, n)
  end)

  it("normalizes per channel", function()
    local set = numbered(6)
    for images in set:loader { batch = 6, mean = { 1, 2 }, std = { 2, 4 } }:batches() do
      assert.near((5 - 1) / 2, images[5][1][1][1]:item(), 1e-6)
      assert.near((5 - 2) / 4, images[5][1][1][2]:item(), 1e-6)
    end
    for images in set:loader { batch = 6, mean = 3 }:batches() do assert.are.equal(2, images[5][1][1][2]:item()) end
  end)

  it("reads u8, f64 and strided images as f32", function()
    local bytes = tr.tensor({ { { 0, 51 }, { 102, 255 } } }, { dtype = "u8" })
    local doubles = tr.tensor({ { { 0.1, 0.2, 0.3 }, { 0.4, 0.5, 0.6 } } }, { dtype = "f64" })
    local function first(source)
      local loader = Set.new({ source = source, labels = { 1 }, classes = { "a" } }):loader { batch = 1, workers = 0 }
      return (loader:batches())()
    end
    local wanted = tr.tensor { { { { 0 }, { 0.2 } }, { { 0.4 }, { 1 } } } }
    assert.is_true(tr.allclose(first(core.source(bytes)), wanted, 1e-6))
    local turned = first(core.source(doubles:transpose(2, 3)))
    assert.is_true(tr.allclose(turned:reshape(3, 2), tr.tensor { { 0.1, 0.4 }, { 0.2, 0.5 }, { 0.3, 0.6 } }, 1e-6))
  end)

  it("reads images of every dtype out of a mapped file", function()
    local path, set = support.folder() .. "/X.npy", tr.data.fabric { count = 30, size = 16, seed = 2 }
    local images = set:images()
    for _, dtype in ipairs { "f32", "f64", "u8" } do
      assert(tr.save_npy(path, dtype == "u8" and (images * 255):round():to "u8" or images:to(dtype)))
      local labels = {}
      for i = 1, 30 do labels[i] = 0 end
      assert(tr.save_npy(path .. ".labels.npy", tr.tensor(labels, { dtype = "i64" })))
      local mapped = assert(tr.data.npy { images = path, labels = path .. ".labels.npy", classes = { "a" } })
      for batch in mapped:loader { batch = 30, workers = 2 }:batches() do
        assert.is_true(tr.allclose(batch, images, 1e-6), dtype)
      end
    end
  end)

  it("raises, with the reason, when an image can't be read, and leaves no threads", function()
    local folder = support.folder()
    local path = folder .. "/X.npy"
    assert(tr.save_npy(path, tr.rand(64, 32, 32, 1)))
    assert(tr.save_npy(folder .. "/Y.npy", tr.zeros({ 64 }, { dtype = "i64" })))
    local set = assert(tr.data.npy { images = path, labels = folder .. "/Y.npy", classes = { "a" } })
    support.write_file(path, support.read_file(path):sub(1, 100000))
    for workers = 0, 2 do
      local batches = 0
      local ok, message = pcall(function()
        for _ in set:loader { batch = 8, workers = workers }:batches() do batches = batches + 1 end
      end)
      assert.is_false(ok)
      assert.matches("the file ends at byte", message)
      assert.is_true(batches <= 3)
    end
    assert.are.equal(0, cleared_threads())
  end)

  it("makes the same batches with 0, 1, 2 and 8 workers", function()
    local set = tr.data.fabric { count = 150, size = 24, seed = 9 }
    local augment = {
      "flip", "rotate90", { "rotate", 20 }, { "shift", 2 }, { "scale", 0.2 }, { "crop", 3 }, { "brightness", 0.2 },
      { "contrast", 0.2 }, { "gamma", 0.2 }, "noise", "blur", { "cutout", 6, p = 0.5 }, { "mixup", p = 0.7 }, "cutmix",
    }
    local function batches(workers)
      local loader = set:loader { batch = 40, shuffle = true, seed = 4, augment = augment, mean = 0.35, std = 0.14,
        workers = workers }
      local list = {}
      for images, labels, mix in loader:batches(3) do list[#list + 1] = { images, labels, mix } end
      return list
    end
    local reference, mixed = batches(0), 0
    for _, workers in ipairs { 1, 2, 8 } do
      for i, batch in ipairs(batches(workers)) do
        local images, labels, mix = table.unpack(reference[i], 1, 3)
        assert.is_true(tr.allclose(images, batch[1], 0))
        assert.is_true(tr.allclose(labels, batch[2], 0))
        assert.are.equal(mix and mix.lambda, batch[3] and batch[3].lambda)
        if mix then
          assert.is_true(tr.allclose(mix.labels, batch[3].labels, 0))
          mixed = mixed + 1
        end
      end
    end
    assert.is_true(mixed > 0)
  end)

  it("keeps a batch that the loop has gone past", function()
    local kept = {}
    for images in numbered(40):loader { batch = 4, workers = 2 }:batches() do kept[#kept + 1] = images end
    for i, images in ipairs(kept) do assert.are.equal(4 * i, images[4]:max():item()) end
  end)

  it("goes on in the middle of an epoch", function()
    local set = numbered(50)
    local function make() return set:loader { batch = 8, shuffle = true, seed = 6, augment = { { "crop", 1 } } } end
    local whole = run(make(), 2)
    local rest = run(make(), 2, 4)
    assert.are.same({ table.unpack(whole, 25) }, rest)

    local stopped, taken = make(), 0
    for _ in stopped:batches(2) do
      taken = taken + 1
      if taken == 3 then break end
    end
    assert.are.same({ epoch = 2, batch = 3 }, stopped:state_dict())
    local resumed = make()
    resumed:load_state_dict(stopped:state_dict())
    assert.are.same(rest, run(resumed))
    assert.are.same({ epoch = 2, batch = 7 }, resumed:state_dict())
    assert.are.same(run(make(), 3), run(resumed)) -- then comes the next epoch
  end)

  it("stops its threads after the loop, a break, an error, a return, and when it is collected", function()
    assert.are.equal(0, cleared_threads())
    local loader = numbered(200):loader { batch = 4, workers = 5 }
    for _ in loader:batches() do assert.is_true(core.loader_threads() > 0) end
    assert.are.equal(0, core.loader_threads())
    for _, labels in loader:batches(1) do
      if labels then break end
    end
    assert.are.equal(0, core.loader_threads())
    pcall(function() for _ in loader:batches(1) do error "stop" end end)
    assert.are.equal(0, core.loader_threads())
    local function leave()
      for images in loader:batches(1) do
        if images:size(1) == 4 then return images end
      end
    end
    assert.are.equal(4, leave():size(1))
    assert.are.equal(0, core.loader_threads())
    local step = loader:batches(1)
    step()
    assert.are.equal(5, core.loader_threads())
    step = nil -- luacheck: ignore
    assert.are.equal(0, cleared_threads())
  end)

  it("holds memory that doesn't grow", function()
    local set = tr.data.fabric { count = 256, size = 64, seed = 1 }
    local loader = set:loader { batch = 64, shuffle = true, workers = 2 }
    local function epochs(n)
      for epoch = 1, n do
        for images in loader:batches(epoch) do images:free() end
      end
      collectgarbage()
      return (tr.live_bytes())
    end
    local before = epochs(1)
    assert.are.equal(before, epochs(20))
  end)

  it("hands out the batches before a damaged picture, names it, and goes on there when it is mended", function()
    local folder = support.folder()
    assert(tr.data.fabric({ count = 40, size = 8, seed = 2, classes = { "good" } }):save_folder(folder))
    local set = assert(tr.data.folder { path = folder, cache = false })
    local bad = set.meta.path[23]
    local whole = support.read_file(bad)
    for _, workers in ipairs { 0, 1, 3 } do
      local loader = set:loader { batch = 8, workers = workers, epoch = 4 }
      support.write_file(bad, whole:sub(1, -20))
      for _, wanted in ipairs { 2, 0 } do
        local seen = 0
        local ok, message = pcall(function() for _ in loader:batches() do seen = seen + 1 end end)
        assert.is_false(ok)
        assert.matches(bad .. ": the PNG image is truncated", message, 1, true)
        assert.are.equal(wanted, seen)
        assert.are.same({ epoch = 4, batch = 2 }, loader:state_dict())
      end
      support.write_file(bad, whole)
      local seen = 0
      for _ in loader:batches() do seen = seen + 1 end
      assert.are.equal(3, seen)
    end
  end)

  it("loses no batch when memory runs out", function()
    if os.getenv "ASAN_OPTIONS" or os.getenv "TSAN_OPTIONS" then
      return pending "the sanitizer needs all of the address space"
    end
    local file = support.write_file(support.folder() .. "/memory.lua", [[
      local tr = require "texres"
      local n, labels = 1200, {}
      for i = 1, n do labels[i] = 1 end
      local images = tr.arange(n):reshape(n, 1, 1, 1):to("f32"):expand(n, 512, 512, 1)
      local set = tr.data.tensors { images = images, labels = labels }
      for workers = 0, 2, 2 do
        local augment = workers == 2 and { { "cutmix", p = 1 } } or nil
        local loader = set:loader { batch = 30, workers = workers, augment = augment }
        local step, _, _, pass <close> = loader:batches(1)
        local kept, seen, failures = {}, 0, 0
        while true do
          local ok, batch = pcall(step)
          if not ok then
            assert(batch:find "not enough memory", batch)
            assert(#kept > 0, batch)
            for _, t in ipairs(kept) do t:free() end
            collectgarbage() -- the views of them
            kept, failures = {}, failures + 1
          elseif batch then
            kept[#kept + 1], seen = batch, seen + 1
            assert(augment or batch[30]:max():item() == 30 * seen, "a batch was lost")
          else
            break
          end
        end
        for _, t in ipairs(kept) do t:free() end
        assert(seen == 40 and failures > 0, ("%d batches, %d failures"):format(seen, failures))
      end
    ]])
    local ok, output = support.run { "sh", "-c", "ulimit -v 1040000 && exec " .. support.lua .. " " .. file }
    assert.is_true(ok, output)
  end)

  it("says what is wrong with the options", function()
    local set = numbered(6)
    local function message(options) return select(2, pcall(set.loader, set, options)) end
    assert.matches("loader_spec.lua:%d+: loader: unknown option 'bacth'; did you mean batch%? There are augment",
      message { bacth = 3 })
    assert.matches("batch is 0", message { batch = 0 })
    assert.matches("workers is 65: 0..64 are possible", message { workers = 65 })
    assert.matches("std of channel 1 is 0, it must be positive: are all of its pixels the same?", message { std = 0 })
    assert.matches("mean of channel 2 is %-?nan", message { mean = { 0, 0 / 0 } })
    assert.matches("std of channel 2 is inf", message { std = { 1, math.huge } })
    assert.matches("mean must be a list of 2 numbers", message { mean = { 1, 2, 3 } })
    assert.matches("4 weights for 6 samples of 3 classes", message { weights = { 1, 1, 1, 1 } })
    assert.matches("all weights are 0", message { weights = { 0, 0, 0 } })
    assert.matches("weight of sample 1 is %-1", message { weights = { -1, 1, 1 } })
    assert.matches("batch 9: an epoch has 2", select(2, pcall(function()
      return set:loader { batch = 3 }:batches(1, 9)
    end)))
    for _, state in ipairs { { epoch = 1, batch = 50 }, { epoch = -1, batch = 0 }, { epoch = 1, batch = -1 }, {} } do
      assert.error_matches(function() set:loader {}:load_state_dict(state) end, "loader: the state is epoch .*, batch ")
    end
    assert.error_matches(function() set:loader {}:load_state_dict() end, "loader: the state is nil")
    for _, epoch in ipairs { -1, 1.5, 0 / 0, "1" } do
      assert.error_matches(function() set:loader {}:batches(epoch) end, "loader: epoch is .*, wanted a whole number")
      assert.error_matches(function() set:loader {}:order(epoch) end, "loader: epoch is .*, wanted a whole number")
    end
    assert.matches("loader: weights is 1, wanted a list", message { weights = 1 })
    assert.matches("give `weights` or `balanced`, not both", message { weights = { 1, 0, 1 }, balanced = true })
  end)

  it("refuses numbers that are infinite or zero where they are used, instead of wrong draws and pixels", function()
    local set = numbered(6)
    local function message(options) return select(2, pcall(set.loader, set, options)) end
    assert.matches("the weights add up to more than a number can hold", message { weights = { 1e308, 1e308, 1e308 } })
    assert.matches("weight of sample 2 is inf, it must be a finite number", message { weights = { 1, math.huge, 1 } })
    assert.matches("mean of channel 1 is 1e%+39, .* f32 can hold", message { mean = 1e39 })
    for _, std in ipairs { 1e-46, 1e50 } do
      assert.matches("std of channel 1 is 1e.*: f32 can't hold 1 / std", message { std = std })
    end
    local drawn = run(set:loader { weights = { 1e307, 0, 1e307 }, seed = 1 }, 1)
    for _, number in ipairs(drawn) do assert.not_equal(2, (number - 1) % 3 + 1) end
  end)

  it("hands out windows, and a model trained through them looks at the middle of larger images", function()
    local set = tr.data.fabric { count = 24, seed = 1, size = 40 }
    local list, batches = { { "rotate", 20 }, { "window", 32 }, "noise" }, {}
    for workers = 0, 2 do
      for images in set:loader({ batch = 24, augment = list, workers = workers, shuffle = true }):batches(1) do
        batches[#batches + 1] = images
      end
    end
    assert.same({ 24, 32, 32, 1 }, batches[1]:shape())
    for i = 2, 3 do assert.is_true(tr.allclose(batches[1], batches[i], 0)) end

    local trainer = tr.Trainer { model = tr.models.textile { width = 8 }, epochs = 1, batch = 24, augment = list,
      quiet = true }
    trainer:fit(set, set)
    local path = os.tmpname()
    assert(require("texres.checkpoint").save(path, { model = trainer.model }))
    local classifier = assert(tr.load(path))
    os.remove(path)
    assert.same({ 32, 32, 1 }, classifier.input)
    local middle = set:map(function(image) return image:slice(1, 5, 36):slice(2, 5, 36):contiguous() end)
    assert.same(classifier:evaluate(middle).scores:totable(), classifier:evaluate(set).scores:totable())
    assert.same(classifier:predict(middle:images()), classifier:predict(set:images()))
    assert.error_matches(function() classifier:predict(tr.zeros(48, 48)) end, "the model was trained on {32,32,1}")
    assert.error_matches(function() classifier:loader(set, { augment = { { "window", 24 } } }) end,
      "the window of 24 pixels is not the model's size, {32,32,1}")
    assert.error_matches(function() set:loader { augment = { { "window", 48 } } } end,
      "augment: a window of 48x48 pixels can't be taken out of images of 40x40")
  end)

  it("hands out masks that are moved and mixed as their images are", function()
    local masks = tr.rand(40, 12, 12):gt(0.7)
    local set = tr.data.tensors { images = masks:to "f32", labels = tr.ones(40, { dtype = "i64" }), classes = { "a" },
      masks = masks }
    for _, list in ipairs { {}, { "flip", "rotate90", { "crop", 2 } }, { "rotate90", { "window", 9 }, "cutmix" },
      { { "rotate", 30 }, { "window", 8 }, "noise", "mixup" } } do
      local smooth, first = list[4] ~= nil, nil
      for workers = 0, 2 do
        local options = { batch = 16, shuffle = true, augment = list, masks = true, workers = workers }
        local all = {}
        for images, labels, mix, moved in set:loader(options):batches(1) do
          assert.are.equal(labels:size(1), moved:size(1))
          assert.are.equal(list[#list] == "cutmix" or list[#list] == "mixup", mix ~= nil)
          if not smooth then assert.is_true(tr.allclose(images, moved, 0)) end
          assert.is_true((moved * (1 - moved)):max():item() == 0)
          all[#all + 1] = moved
        end
        all = tr.cat(all, 1)
        first = first or all
        assert.is_true(tr.allclose(first, all, 0))
      end
    end
    for _, _, mix, none in set:loader({ batch = 40 }):batches(1) do assert.same({}, { mix, none }) end
    assert.error_matches(function() numbered(4):loader { masks = true } end,
      "loader: the set has no masks: open it with `masks`, or leave the option out")
  end)

  it("shows both masks where two images are mixed", function()
    local masks = tr.rand(12, 6, 6):gt(0.5)
    local set = tr.data.tensors { images = tr.rand(12, 6, 6), labels = tr.ones(12, { dtype = "i64" }),
      classes = { "a" }, masks = masks }
    local plain_masks, mixed
    for _, _, _, moved in set:loader({ batch = 12, masks = true }):batches(1) do plain_masks = moved end
    local images
    for pixels, _, mix, moved in set:loader({ batch = 12, masks = true, augment = { "mixup" } }):batches(1) do
      images, mixed = pixels, moved
      assert.is_true(mix.lambda > 0)
    end
    assert.is_true((mixed - plain_masks):min():item() == 0) -- what was seen still is
    assert.is_true(mixed:sum():item() > plain_masks:sum():item())
    assert.same({ 12, 6, 6, 1 }, images:shape())
  end)

  --- n images 16x16, of which the odd ones are plain good cloth of 0.4, the others cloth of 0.8 with a spot of 0.2;
  --- the mask is smaller by `inset` on all sides.
  local function spotted(n, inset)
    local images, masks, labels = tr.zeros(n, 16, 16), tr.zeros(n, 16, 16), {}
    for i = 1, n do
      labels[i] = i % 2 == 1 and 1 or 2
      images[i]:fill(labels[i] == 1 and 0.4 or 0.8)
      if labels[i] == 2 then
        images[i]:slice(1, 2, 4):slice(2, 11, 15):fill(0.2)
        masks[i]:slice(1, 2 + inset, 4 - inset):slice(2, 11 + inset, 15 - inset):fill(1)
      end
    end
    return tr.data.tensors { images = images, labels = tr.tensor(labels, { dtype = "i64" }),
      classes = { "good", "spot" }, masks = masks }
  end

  local function whole(set, options)
    options.batch, options.masks = #set, true
    local images, labels, masks
    for i, l, _, m in set:loader(options):batches(1) do images, labels, masks = i, l, m end
    return images, labels, masks
  end

  it("pastes the defects of other samples on good ones, with their labels and masks, as bright as the cloth", function()
    local set, places = spotted(60, 0), {}
    local images, labels, masks = whole(set, { augment = { { "paste", p = 0.6, feather = 0 } }, workers = 0 })
    local pasted = 0
    for i = 1, 60 do
      local mask = masks[i]
      assert.are.equal(labels[i]:item() == 2 and 15 or 0, mask:sum():item())
      if i % 2 == 1 and labels[i]:item() == 2 then
        pasted, places[mask:argmax():item()] = pasted + 1, true
        assert.is_true(tr.allclose(images[i], 0.4 * (1 - mask) + 0.1 * mask, 1e-5, 1e-6)) -- 0.2, half as bright
      elseif i % 2 == 1 then
        assert.is_true(tr.allclose(images[i], tr.full({ 16, 16, 1 }, 0.4), 0))
      else
        assert.is_true(tr.allclose(images[i], set:images(i)[1], 0))
      end
    end
    local number = 0
    for _ in pairs(places) do number = number + 1 end
    assert.is_true(pasted >= 10 and pasted <= 26 and number > 7, pasted .. " at " .. number)
    local none = select(2, whole(set, { augment = { { "paste", p = 0 } } }))
    assert.same(set:labels():totable(), none:totable())
  end)

  it("fades what it pastes, moves it with the image, and gives the same for any number of workers", function()
    local set, first = spotted(48, 1)
    for workers = 0, 2 do
      local images, labels, masks = whole(set, { workers = workers, shuffle = true,
        augment = { { "paste", p = 1 }, "flip", { "rotate", 30 }, { "window", 12 } } })
      assert.same({ 48, 12, 12, 1 }, images:shape())
      assert.are.equal(2, labels:min():item())
      local all = tr.cat({ images, masks }, 4)
      first = first or all
      assert.is_true(tr.allclose(first, all, 0))
    end
    local images, _, masks = whole(set, { augment = { { "paste", p = 1, feather = 4 } } })
    local between = images[1]:lt(0.39):to "f32" - masks[1] -- the spot's edge is not in the mask
    assert.is_true(between:sum():item() >= 8 and between:min():item() == 0)
  end)

  it("says what pasting needs", function()
    local set = spotted(4, 0)
    local renamed = set:relabel { good = "fine" }
    local function load(of, options) return function() of:loader(options) end end
    assert.error_matches(load(renamed, { augment = { "paste" } }),
      "loader: paste puts defects on good cloth: the set has no class 'good', say with `good` which it is")
    assert(renamed:loader { augment = { "paste" }, good = "fine" })
    set.masks = nil
    assert.error_matches(load(set, { augment = { "paste" } }), "the set has no masks that show them")
    assert.error_matches(function() tr.data.augment({ "paste" }):apply(tr.zeros(1, 4, 4, 1)) end,
      "augment: paste takes defects out of a set: only a loader of one can do it")
  end)
end)
