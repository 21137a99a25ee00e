--- The rules that hold everywhere, one block each, tried along every route that leads through them. Where two places
-- answer the same question, this is where their answers are compared.
local tr = require "texres"
local core = require "texres.core"
local json = require "texres.json"
local support = require "spec.support"

local fixtures = "spec/fixtures/data/"

describe("what an integer image is worth", function()
  local folder, labels = support.folder(), { 1, 1 }

  --- What the files hold (spec/fixtures/make_data.py): integers 0..125, the pixels of two images.
  local stored = {}
  for n = 0, 1 do
    stored[n + 1] = {}
    for y = 0, 4 do
      stored[n + 1][y + 1] = {}
      for x = 0, 3 do stored[n + 1][y + 1][x + 1] = (37 * n + 11 * y + 5 * x) % 251 // 2 end
    end
  end
  stored = tr.tensor(stored)

  --- By type: how a file packs it, and what it is multiplied by.
  local types = {
    u1 = { "<I1", 1 / 255 }, u2 = { "<I2", 1 / 65535 }, u4 = { "<I4", 1 / 255 }, u8 = { "<I8", 1 / 255 },
    i1 = { "<i1", 1 / 255 }, i2 = { "<i2", 1 / 255 }, i4 = { "<i4", 1 / 255 }, i8 = { "<i8", 1 / 255 },
    f4 = { "<f", 1 }, f8 = { "<d", 1 },
  }

  --- An .npy file of integers {1,1,n} or, without values, of the stored images.
  local function npy(type, values)
    local data, format = {}, types[type][1]
    for i, value in ipairs(values or stored:flatten():totable()) do
      data[i] = string.pack(format, format:find "[IiJj]" and math.tointeger(value) or value)
    end
    local header = ("{'descr': '%s%s', 'fortran_order': False, 'shape': %s, }\n"):format(type:find "1" and "|" or "<",
      type, values and ("(1, 1, %d)"):format(#values) or "(2, 5, 4)")
    local path = folder .. "/" .. type .. ".npy"
    return support.write_file(path, "\x93NUMPY\1\0" .. string.pack("<s2", header) .. table.concat(data))
  end

  --- The sets that every reader makes of one type.
  local function sets_of(type, scale)
    local sets = {
      npy = assert(tr.data.npy { images = npy(type), labels = labels, scale = scale }),
      npz = assert(tr.data.npz { file = fixtures .. "types.npz", dataset = type, labels = labels, scale = scale }),
    }
    if tr.hdf5_datasets(fixtures .. "types.h5") then
      for name, cache in pairs { cached = true, streamed = false } do
        sets["hdf5, " .. name] = assert(tr.data.hdf5 {
          file = fixtures .. "types.h5", dataset = type, labels = labels, scale = scale, cache = cache,
        })
      end
    end
    local dtype = ({ u1 = "u8", i8 = "i64", f4 = "f32", f8 = "f64" })[type]
    if dtype then
      sets.tensors = assert(tr.data.tensors { images = stored:to(dtype), labels = labels, scale = scale })
    end
    return sets
  end

  --- The sets that are made of a set and must hold the same pixels.
  local function derived(set)
    local X, masked = folder .. "/saved.npy", tr.data.tensors { images = set:images(), labels = labels,
      classes = set.classes }
    assert(set:save_npy(X))
    local twice = set:concat(set)
    assert(twice:save_npy(folder .. "/twice.npy"))
    return {
      cached = assert(set:cache()), joined = twice:subset { 3, 4 }, ["joined, cached"] = twice:cache():subset { 1, 4 },
      ["joined with floats"] = masked:concat(set):subset { 3, 4 },
      ["joined with floats, cached"] = masked:concat(set):cache():subset { 1, 4 },
      ["cached twice"] = set:cache():cache(), subset = set:subset { 2, 1 }:subset { 2, 1 },
      mapped = set:map(function(image) return image end),
      saved = assert(tr.data.npy { images = X, labels = labels }),
      ["joined, saved"] = assert(tr.data.npy { images = folder .. "/twice.npy", labels = { 1, 1, 1, 1 } })
        :subset { 1, 2 },
    }
  end

  local function check(set, factor, what)
    local wanted = stored:unsqueeze(4) * factor
    local tolerance = 1e-6 * math.max(1, wanted:max():item())
    assert(tr.allclose(set:images(), wanted, 1e-6, tolerance), what)
    assert.near(wanted:mean():item(), set:statistics().mean[1], tolerance, what)
    local image = set:get(2)
    assert(tr.allclose(image, wanted[2], 1e-6, tolerance), what)
    assert(tr.allclose((set:loader { batch = 2 }:batches()()), wanted, 1e-6, tolerance), what)
  end

  it("is the same by every reader, and in every set made of it", function()
    for type, pair in pairs(types) do
      for _, scale in ipairs { false, 1, 0.01, 1 / 255 } do
        for reader, set in pairs(sets_of(type, scale or nil)) do
          local what = ("%s by %s, scale %s"):format(type, reader, scale)
          check(set, scale or pair[2], what)
          for route, other in pairs(derived(set)) do check(other, scale or pair[2], what .. ", " .. route) end
        end
      end
    end
  end)

  it("is 0 and 1 for bool, as NumPy writes it", function()
    local wanted = stored:ne(0):to("f32"):unsqueeze(4)
    local sets = { assert(tr.data.npz { file = fixtures .. "types.npz", dataset = "b1", labels = labels }) }
    local file = fixtures .. "types.h5"
    for i, cache in ipairs(tr.hdf5_datasets(file) and { true, false } or {}) do
      sets[i + 1] = assert(tr.data.hdf5 { file = file, dataset = "b1", labels = labels, cache = cache })
    end
    for _, set in ipairs(sets) do
      for _, one in ipairs { set, set:cache(), set:concat(set):subset { 3, 4 }, derived(set).saved } do
        assert.is_true(tr.allclose(one:images(), wanted, 0))
      end
    end
  end)

  it("does not change when sets of different scales are joined", function()
    local whole = tr.data.npy { images = npy "u1", labels = labels }
    local plain = tr.data.npy { images = npy "u1", labels = labels, scale = 1 }
    for _, pair in ipairs { { whole, plain, 1 / 255, 1 }, { plain, whole, 1, 1 / 255 } } do
      local both = pair[1]:concat(pair[2])
      for _, set in ipairs { both, both:cache() } do
        check(set:subset { 1, 2 }, pair[3], "first")
        check(set:subset { 3, 4 }, pair[4], "second")
      end
    end
  end)

  it("is not joined with floats of another range, which would be the same pixels in other numbers", function()
    local bytes = tr.data.npy { images = npy "u1", labels = labels }
    local floats = tr.data.tensors { images = stored:to "f32" * 4, labels = labels, classes = bytes.classes }
    local unit = tr.data.tensors { images = stored:to "f32" * 4, scale = 1 / 255, labels = labels,
      classes = bytes.classes }
    assert.error_matches(function() bytes:concat(unit, floats) end, "concat: the pixels of set 1 are bytes, taken for "
      .. "0..1, those of set 3 have the range 0..255: open it with scale = 1 / 255")
    assert.error_matches(function() floats:concat(bytes) end, "concat: the pixels of set 2 are bytes, .* of set 1")
    check(unit:concat(bytes):subset { 3, 4 }, 1 / 255, "joined with 0..1")
    local function same(image) return image end
    local short = tr.data.npz { file = fixtures .. "types.npz", dataset = "u2", labels = labels }
    local signed = tr.data.npz { file = fixtures .. "types.npz", dataset = "i4", labels = labels }
    for name, set in pairs {
      mapped = bytes:map(same), joined = bytes:concat(unit), short = short, cached = short:cache(), signed = signed,
      both = signed:concat(unit):cache(), again = bytes:map(same):cache():concat(unit),
    } do
      local ok, message = pcall(set.concat, set, floats)
      assert.is_false(ok, name)
      assert.matches("set 1 come from integers, taken for 0..1, those of set 2 have the range 0..255", message, 1, true)
    end
    local wide = bytes:map(function(image) return image * 255 * 4 end)
    check(wide:concat(floats):subset { 1, 2 }, 4, "brought to that range by a script")
    check(floats:concat(floats):subset { 3, 4 }, 4, "floats")
  end)

  it("is that of the type for pictures of 8 and 16 bits, cached or not", function()
    local pictures = support.folder()
    assert(os.execute(("mkdir %s/a && cp %su2.png %s/a/2.png"):format(pictures, fixtures, pictures)))
    assert(tr.write_png(pictures .. "/a/1.png", stored[1]:to "u8"))
    for _, cache in ipairs { true, false } do
      local set = assert(tr.data.folder { path = pictures, cache = cache })
      for _, one in ipairs { set, set:cache(), set:concat(set) } do
        assert(tr.allclose(one:get(1), stored[1]:unsqueeze(3) / 255, 1e-6, 1e-7))
        assert(tr.allclose(one:get(2), stored[1]:unsqueeze(3) / 65535, 1e-6, 1e-9))
      end
    end
  end)

  it("follows from the values where integers have a sign or more than 16 bits, or is asked for", function()
    for type, cases in pairs {
      i2 = { { 0, 255, 1 / 255 }, { 0, 256, 1 / 65535 }, { -1, 3 } }, i1 = { { 0, 127, 1 / 255 }, { -128, 127 } },
      i4 = { { 0, 65535, 1 / 65535 }, { 0, 65536 } }, u8 = { { 0, 200, 1 / 255 }, { 0, -1 } }, u4 = { { 1, 70000 } },
    } do
      for _, case in ipairs(cases) do
        local path = npy(type, { case[1], case[2] == -1 and type == "u8" and math.maxinteger or case[2] })
        local set, message = tr.data.npy { images = path, labels = { 1 } }
        if case[3] then
          assert.near(case[2] * case[3], set:get(1):max():item(), 1e-6)
        else
          assert.is_nil(set)
          assert.matches(path .. ": pixels are integers within ", message, 1, true)
          assert.matches("say with `scale` what to multiply them by", message, 1, true)
          assert.near(case[1], tr.data.npy({ images = path, labels = { 1 }, scale = 1 }):get(1):min():item(), 1e-6)
        end
      end
    end
    local set, message = tr.data.tensors { images = tr.tensor({ { { -3, 5 } } }, { dtype = "i64" }), labels = { 1 } }
    assert.is_nil(set)
    assert.matches("data.tensors: pixels are integers within -3..5", message, 1, true)
  end)

  it("is the same in all parts of a file, and in sets that are joined", function()
    local pattern = tr.data.npz { file = fixtures .. "stored.npz" }:images()
    local wanted = tr.cat({ pattern:slice(1, 5, 6), pattern:slice(1, 1, 4) * 16 }, 1) * (255 / 65535)
    local file = fixtures .. "parts_i4.h5"
    for _, cache in ipairs(tr.hdf5_datasets(file) and { true, false } or {}) do
      local set = assert(tr.data.hdf5 { file = file, cache = cache })
      assert.is_true(tr.allclose(set:images(), wanted, 1e-5))
      assert.is_true(tr.allclose(set:concat(set:cache()):subset({ 7, 8, 9, 10, 11, 12 }):images(), wanted, 1e-5))
    end
    local function i64(high)
      return tr.data.tensors { images = tr.full({ 1, 5, 4 }, high, { dtype = "i64" }), labels = { 1 } }
    end
    local bytes = tr.data.tensors { images = tr.zeros({ 1, 5, 4 }, { dtype = "u8" }), labels = { 1 } }
    for _, light in ipairs { i64(4000), i64(4000):cache() } do
      assert.error_matches(function() i64(200):concat(i64(100), light) end, "concat: the integers of set 3 were "
        .. "divided by 65535 and those of a set before it by 255, as their largest values tell: open all with one")
      assert.equal(3, #light:concat(i64(300), bytes))
    end
  end)

  it("is only that of a type that the tensor can come from", function()
    assert.error_matches(function() core.source(tr.rand(2, 3, 3), nil, "i4") end,
      "source: a tensor f32 does not hold pixels stored as i4")
    for _, stored_as in ipairs { "z", "u", "u9", "u22", "4" } do
      assert.error_matches(function() core.source(tr.rand(2, 3, 3), nil, stored_as) end, "source: stored is")
    end
  end)

  it("is a positive number when it is given", function()
    for _, scale in ipairs { 0, -1, 0 / 0, math.huge, 1e300, 1e-300, "1", true } do
      assert.error_matches(function() tr.data.npy { images = npy "u1", labels = labels, scale = scale } end,
        "scale is .+, wanted a finite number above 0")
    end
  end)

  it("says when an image is saturated", function()
    local X = npy("u1", { 0, 1, 2, 3, 254, 255, 4, 5 })
    for _, scale in ipairs { 1 / 255, 1, 300 } do
      local set = tr.data.npy { images = X, labels = { 1 }, scale = scale }
      assert.equal(0, #set:audit({ saturated = 0.5 }).saturated, scale)
      assert.equal(1, #set:audit({ saturated = 0.25 }).saturated, scale)
    end
  end)

  it("is written to pictures only where they can hold it", function()
    local target = support.folder()
    local set = tr.data.npy { images = npy "u1", labels = labels }
    assert(set:save_folder(target))
    check(assert(tr.data.folder { path = target }), 1 / 255, "saved as pictures")
    local ok, message = tr.data.npy({ images = npy "u1", labels = labels, scale = 1 }):save_folder(target)
    assert.is_nil(ok)
    assert.matches("sample 1: its pixels lie within 0..29, pictures hold 0..1", message, 1, true)
  end)
end)

describe("class names", function()
  --- Images of one brightness per class; the classes as they are listed, the labels by name.
  local function set_of(names, listed)
    local values, images, labels = { dark = 0, light = 1, grey = 0.5 }, {}, {}
    for i, name in ipairs(names) do
      images[i] = { { values[name], values[name] }, { values[name], values[name] } }
      for position, class in ipairs(listed) do
        if class == name then labels[i] = position end
      end
    end
    return assert(tr.data.tensors { images = tr.tensor(images), labels = labels, classes = listed })
  end

  local function trained(val)
    tr.manual_seed(1)
    local trainer = tr.Trainer {
      model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(4, 2) }, epochs = 20, batch = 2, quiet = true,
      optimizer = { "sgd", lr = 0.5 },
    }
    trainer:fit(set_of({ "dark", "light" }, { "dark", "light" }), val)
    return trainer
  end

  it("decide what a label means, in any order and where some do not occur", function()
    for _, listed in ipairs { { "dark", "light" }, { "light", "dark" }, { "light" } } do
      local set = set_of(#listed == 2 and { "dark", "light", "light" } or { "light", "light" }, listed)
      local trainer = trained(set)
      assert.equal(1, trainer.best.val_accuracy)
      local result = trainer:evaluate(set)
      assert.equal(1, result.accuracy)
      assert.equal(1, result.macro.f1)
      assert.same({ "dark", "light" }, result.classes)
    end
  end)

  it("stay the model's when it is trained further on some of them, but for one with a new last layer", function()
    local trainer = trained()
    local light = set_of({ "light", "light" }, { "light" })
    local further = tr.Trainer { model = trainer.model, epochs = 1, quiet = true }
    further:fit(light)
    assert.same({ "dark", "light" }, further.classes)
    assert.equal(1, further:evaluate(set_of({ "dark", "light" }, { "light", "dark" })).accuracy)
    trainer.model[2] = tr.nn.Linear(4, 1)
    further = tr.Trainer { model = trainer.model, epochs = 1, quiet = true, normalize = false }
    further:fit(light)
    assert.same({ "light" }, further.classes)
  end)

  it("stay the model's when it can't be trained on others, as it gives too many numbers", function()
    local model = trained().model
    local third = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(4, 2) }
    local three = set_of({ "dark", "light", "grey" }, { "dark", "light", "grey" })
    for _, case in ipairs { { model, { "dark", "light" } }, { third } } do
      local weights = case[1][2].weight:clone()
      local further = tr.Trainer { model = case[1], epochs = 1, batch = 3, quiet = true }
      assert.error_matches(function() further:fit(three) end,
        "Trainer: for 3 images the model gives {3,2}, wanted {3,3}: a score for each of the 3 classes")
      assert.is_true(tr.allclose(weights, case[1][2].weight, 0, 0))
      if case[2] then
        assert.same(case[2], further:evaluate(set_of({ "light" }, { "light" })).classes)
      else
        assert.error_matches(function() further:evaluate(three) end, "the model has no classes")
      end
      further:fit(set_of({ "dark", "light" }, { "dark", "light" })) -- no resume of what had not begun
    end
  end)

  it("are refused where the model does not know one, and so is a set without images", function()
    local other, some = set_of({ "grey" }, { "dark", "grey" }), set_of({ "dark" }, { "dark", "light" })
    for route, measure in pairs {
      evaluated = function(set) trained():evaluate(set) end, validation = function(set) trained(set) end,
    } do
      assert.error_matches(function() measure(other) end,
        "the " .. route .. " set: the classes differ: only this set has 'grey'; it lacks 'light'")
      assert.error_matches(function() measure(some:subset {}) end, "the " .. route .. " set is empty")
    end
  end)
end)

describe("class names of another number than a model's answers", function()
  it("are no answer", function()
    local path = support.folder() .. "/model.safetensors"
    local model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(16, 2) }
    for _, names in ipairs { { "a" }, { "a", "b", "c" }, {} } do
      assert(tr.save(path, { model = model, classes = names, input = { 4, 4, 1 } }))
      local loaded = assert(tr.load(path))
      assert.error_matches(function() loaded:predict(tr.rand(4, 4, 1)) end,
        ("predict: the model gives 2 numbers, but there are %d class names"):format(#names))
    end
  end)
end)

describe("what a model answers", function()
  local nn = tr.nn

  -- Parallel neighbours, a layer used twice, a tied weight, a forward of its own, a bias less.
  local Skip = nn.register("InvariantSkip", nn.Module "InvariantSkip")
  function Skip:init(c) self.body = nn.Sequential { nn.Conv2d(c, c, 1), nn.BatchNorm(c) } end
  function Skip:forward(x) return self.body(x) + self.body[1](x) end
  local function build()
    local shared = nn.Conv2d(2, 2, 3, { padding = "same" })
    local tied = nn.Conv2d(2, 2, 3, { padding = "same", bias = false })
    tied.weight = shared.weight
    return nn.Sequential {
      nn.Concat { nn.Conv2d(2, 1, 1), nn.BatchNorm(2) }, nn.Conv2d(3, 2, 1, { bias = false }), nn.BatchNorm(2),
      nn.ReLU(), shared, nn.BatchNorm(2), nn.Residual { shared, nn.BatchNorm(2), tied, activation = nn.ReLU() },
      Skip(2), nn.GlobalAvgPool(), nn.Linear(2, 3), nn.Dropout(1),
    }
  end

  local routes = {
    ["recording gradients"] = function(net, x) return net(x):detach() end,
    ["a copy"] = function(net, x) return tr.no_grad(net:clone(), x) end,
    ["fused"] = function(net, x) return tr.no_grad(net:clone():fuse(), x) end,
    ["a coroutine"] = function(net, x)
      return coroutine.wrap(function() return (tr.no_grad(net, x)) end)()
    end,
    ["its description and state"] = function(net, x)
      local twin = nn.from_config(json.decode(json.encode(net:config()))):to(x.dtype)
      return tr.no_grad(twin:load_state_dict(net:state_dict()):eval(), x)
    end,
    ["a checkpoint"] = function(net, x)
      local path = support.folder() .. "/net.safetensors"
      assert(tr.save(path, { model = net }))
      return tr.no_grad(assert(require("texres.checkpoint").load(path)).model, x)
    end,
    ["a fused classifier"] = function(net, x)
      local path = support.folder() .. "/net.safetensors"
      assert(tr.save(path, { model = net }))
      return tr.no_grad(assert(tr.load(path)).model, x)
    end,
    ["parameters in a file"] = function(net, x)
      local path = support.folder() .. "/net.safetensors"
      assert(net:save(path))
      local twin = build():to(x.dtype):eval()
      assert(twin:load(path))
      return tr.no_grad(twin, x)
    end,
  }

  for _, dtype in ipairs { "f32", "f64" } do
    it("is the same by every way to it, " .. dtype, function()
      tr.manual_seed(4)
      local net, x = build():to(dtype), tr.randn({ 3, 6, 6, 2 }, { dtype = dtype })
      for _ = 1, 3 do tr.no_grad(net, x) end -- moves the running statistics
      local want = tr.no_grad(net:eval(), x)
      local close = dtype == "f64" and 1e-10 or 1e-4
      for name, route in pairs(routes) do
        local got = route(net, x)
        assert.equal(dtype, got.dtype, name)
        assert.is_true(tr.allclose(got, want, close, close), name)
      end
    end)
  end
end)

it("an f64 model is trained and measured in f64, on the f32 images of a set", function()
  local images = tr.cat({ tr.rand(6, 4, 4), tr.rand(6, 4, 4) + 0.5 }, 1)
  local set = tr.data.tensors { images = images, labels = { 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2 } }
  local model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(16, 2) }:to "f64"
  local trainer = tr.Trainer { model = model, epochs = 2, batch = 5, quiet = true }
  trainer:fit(set, set)
  local file = support.folder() .. "/m.safetensors"
  assert(tr.save(file, { model = model }))
  local loaded = assert(tr.load(file))
  assert.equal(trainer:evaluate(set).loss, loaded:evaluate(set, { batch = 5 }).loss) -- in the trainer's batches
  assert.equal("f64", loaded.model[2].weight.dtype)
end)

describe("a model's normalization", function()
  --- Images of cloth with and without a bright spot, as bytes; `darker` takes that from every pixel.
  local function cloth(seed, darker)
    tr.manual_seed(seed)
    local images, labels = tr.randint(40, 80, { 40, 8, 8, 1 }, { dtype = "i64" }), {}
    for i = 1, 40 do
      labels[i] = i % 2 + 1
      if labels[i] == 2 then images[i]:slice(1, 3, 5):slice(2, 3, 5):fill(120) end
    end
    return (images - (darker or 0)):to "u8", labels
  end

  local names = { "good", "spot" }
  local function set_of(images, labels, options)
    local o = { images = images, labels = labels, classes = names }
    for name, value in pairs(options or {}) do o[name] = value end
    return assert(tr.data.tensors(o))
  end

  --- Bytes as users have them: the same pixels, told in other numbers.
  local forms = {
    bytes = function(images) return images end,
    unit = function(images) return images:to "f32" / 255 end,
    floats = function(images) return images:to "f32" end,
    wide = function(images) return images:to "f32" * 257 end,
    double = function(images) return images:to "f64" / 255 end,
    integers = function(images) return images:to "i64" end,
  }

  local function train(set, options)
    tr.manual_seed(2)
    local net = tr.nn.Sequential { tr.nn.Conv2d(1, 4, 3), tr.nn.ReLU(), tr.nn.GlobalAvgPool(), tr.nn.Linear(4, 2) }
    local o = { model = net, epochs = 12, batch = 8, quiet = true, optimizer = { "adam", lr = 0.03 } }
    for name, value in pairs(options or {}) do o[name] = value end
    local trainer = tr.Trainer(o)
    trainer:fit(set)
    return trainer
  end

  local function predicted(classifier, images)
    local labels = {}
    for i, answer in ipairs(classifier:predict(images)) do labels[i] = answer.label end
    return labels
  end

  it("goes along every way to an answer, whatever the set that is measured looks like", function()
    local folder = support.folder()
    local trainer = train(set_of(cloth(1)), { dir = folder })
    local images, labels = cloth(3, 25)
    local set, file = set_of(images, labels), folder .. "/best.safetensors"
    local wanted, right = trainer:evaluate(set), 0
    local classifier = assert(tr.load(file))
    local answers = predicted(classifier, images)
    for i, label in ipairs(labels) do right = right + (answers[i] == label and 1 or 0) end
    assert.near(wanted.accuracy, right / #labels, 1e-9)
    local fresh = tr.nn.Sequential { tr.nn.Conv2d(1, 4, 3), tr.nn.ReLU(), tr.nn.GlobalAvgPool(), tr.nn.Linear(4, 2) }
    assert(fresh:load(file))
    local again = folder .. "/again.safetensors"
    assert(tr.save(again, { model = fresh }))
    for way, measure in pairs {
      classifier = function() return classifier:evaluate(set) end,
      trainer = function() return tr.Trainer({ model = classifier, quiet = true }):evaluate(set) end,
      module = function() return tr.Trainer({ model = classifier.model, quiet = true }):evaluate(set) end,
      loaded = function() return tr.Trainer({ model = fresh, quiet = true }):evaluate(set) end,
      clone = function() return tr.Trainer({ model = fresh:clone(), quiet = true }):evaluate(set) end,
      saved = function() return assert(tr.load(again)):evaluate(set) end,
    } do
      local result = measure()
      assert.equal(wanted.accuracy, result.accuracy, way)
      assert.near(wanted.loss, result.loss, 1e-4, way)
      assert.same(names, result.classes)
    end
  end)

  it("is that of the training also with a scale of one's own, for which floats are refused", function()
    local images, labels = cloth(1)
    for _, scale in ipairs { 1 / 100, 2 / 255, 1 / 512, 100 / 255, 1 / 256, 1 } do
      local set = set_of(images, labels, { scale = scale })
      local trainer = train(set)
      local path = support.folder() .. "/m.safetensors"
      assert(tr.save(path, { model = trainer.model }))
      local classifier, wanted = assert(tr.load(path)), trainer:evaluate(set)
      assert.near(wanted.loss, classifier:evaluate(set_of(images, labels)).loss, 1e-3)
      assert.same(labels, predicted(classifier, images))
      local same = set:map(function(image) return image end)
      if scale == 1 or scale == 1 / 256 then
        assert.near(wanted.loss, classifier:evaluate(same).loss, 1e-3)
        assert.same(labels, predicted(classifier, set:images()))
      else
        local problem = "its pixels are floats, which don't tell whether they have the range of the training, 0..%d"
        assert.error_matches(function() classifier:evaluate(same) end, "evaluate: the set: " .. problem)
        assert.error_matches(function() trainer:evaluate(same) end, "the evaluated set: " .. problem)
        assert.error_matches(function() classifier:loader(same) end, "loader: the set: " .. problem)
        assert.error_matches(function() classifier:predict((set:get(1))) end, "predict: " .. problem)
      end
    end
  end)

  it("is that of the training, in whatever numbers the pixels come", function()
    for kind, form in pairs(forms) do
      local images, labels = cloth(1)
      local trainer = train(set_of(form(images), labels))
      local folder = support.folder()
      assert(tr.save(folder .. "/m.safetensors", { model = trainer.model }))
      local classifier = assert(tr.load(folder .. "/m.safetensors"))
      local wanted = trainer:evaluate(set_of(form(images), labels))
      assert.equal(1, wanted.accuracy, kind)
      for other, change in pairs(forms) do
        local set, name = set_of(change(images), labels), kind .. " measured with " .. other
        assert.near(wanted.loss, trainer:evaluate(set).loss, 1e-3, name)
        assert.near(wanted.loss, classifier:evaluate(set).loss, 1e-3, name)
        assert.same(labels, predicted(classifier, change(images)), name)
      end
    end
  end)

  --- A classifier of a trainer's model.
  local function in_use(trainer)
    local file = support.folder() .. "/m.safetensors"
    assert(tr.save(file, { model = trainer.model }))
    return assert(tr.load(file))
  end

  it("comes after augmentation, which does the same to pixels of any range", function()
    local images, labels = cloth(1)
    for _, augment in ipairs { { "noise", 0.5 }, { "gamma", 0.8 }, { "cutout", size = 4, fill = 0.5 } } do
      local wanted
      for kind, form in pairs(forms) do
        local set = set_of(form(images), labels)
        local batch = in_use(train(set, { epochs = 1 })):loader(set, { batch = 40, augment = { augment } }):batches(1)()
        wanted = wanted or batch
        assert.is_true(tr.allclose(wanted, batch, 1e-3, 1e-3), kind .. " " .. augment[1])
      end
    end
  end)

  it("is not given once more to a model's loader", function()
    local images, labels = cloth(1)
    local set = set_of(images, labels)
    local trained = in_use(train(set, { epochs = 1 }))
    for _, name in ipairs { "mean", "std", "scale" } do
      assert.error_matches(function() trained:loader(set, { [name] = 1 }) end,
        "loader: the set: " .. name .. " is the model's own: it can't be given")
    end
    assert.error_matches(function() trained:loader(set, 5) end, "loader: options come as a table")
  end)

  it("may be one number for all channels, whatever white is", function()
    local images, labels = cloth(1)
    local rgb = images:to("f32"):expand(40, 8, 8, 3):contiguous()
    for _, normalize in ipairs { { mean = 51, std = 127.5 }, false } do
      local trainer = tr.Trainer {
        model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(192, 2) }, epochs = 1, quiet = true,
        normalize = normalize,
      }
      trainer:fit(set_of(rgb, labels))
      local batch = in_use(trainer):loader(set_of(rgb, labels), { batch = 40 }):batches(1)()
      local wanted = normalize and (rgb - 51) / 127.5 or rgb
      assert.is_true(tr.allclose(wanted, batch, 1e-4, 1e-4))
    end
  end)

  it("is that of the training for dark images, which show no white themselves", function()
    local images, labels = cloth(1)
    for i = 1, 40, 2 do images[i]:fill(i % 3) end -- of class "spot", nearly black
    local function integers(bytes) return bytes:to "i64" * 257 end
    for kind, form in pairs { floats = forms.floats, wide = forms.wide, integers = integers } do
      local set = set_of(form(images), labels)
      local trainer = train(set)
      local file = support.folder() .. "/m.safetensors"
      assert(tr.save(file, { model = trainer.model }))
      local loaded = assert(tr.load(file))
      local dark, wanted = set:filter(function(_, _, i) return i % 2 == 1 end), nil
      for _, measured in ipairs { dark, dark:cache(), dark:cache():cache(), set:concat(set):subset(dark.index) } do
        for _, who in ipairs { trainer, loaded } do
          local result = who:evaluate(measured)
          wanted = wanted or result.loss
          assert.near(wanted, result.loss, 1e-6, kind)
          assert.equal(1, result.accuracy, kind)
        end
      end
      local white = kind == "floats" and 255 or 65535
      for i = 1, 40 do
        assert.equal(labels[i], loaded:predict(form(images)[i], { white = white }).label, kind)
        if kind == "integers" then assert.equal(labels[i], loaded:predict(form(images)[i]).label) end
      end
      if kind == "integers" then -- a file of its own
        local own = set_of(tr.zeros({ 1, 8, 8, 1 }, { dtype = "i64" }) + 2 * 257 // 3, { 2 })
        assert.near(1 / 255, own.source.scale, 1e-8)
        assert.near(171 / 65535, (loaded:loader(own):batches()()):max():item() * loaded.normalization.std[1]
          + loaded.normalization.mean[1], 1e-5)
      end
    end
    local trained = train(set_of(forms.bytes(images), labels))
    local file = support.folder() .. "/m.safetensors"
    assert(tr.save(file, { model = trained.model }))
    assert.error_matches(function() tr.load(file):predict(images[1], { white = 0 }) end, "predict: .*white")
  end)

  it("is that of the training for dark images that were cached and joined", function()
    local images, labels = cloth(1)
    local floats = images:to "f32"
    for i = 1, 8 do floats[i]:copy_from(floats[i] / 100) end
    local all = set_of(floats, labels)
    local trainer = train(all, { epochs = 1 })
    local wanted = trainer:evaluate(all:subset { 1, 2, 3, 4, 5, 6, 7, 8 }).loss
    local first, second = all:subset { 1, 2, 3, 4 }, all:subset { 5, 6, 7, 8 }
    for _, set in ipairs {
      first:concat(second), first:cache():concat(second:cache()), first:cache():concat(second):cache(),
      first:concat(second):cache():concat(second:subset {}),
    } do
      assert.near(wanted, trainer:evaluate(set).loss, 1e-6)
    end
  end)

  it("is what was asked for, and refused where it makes no sense", function()
    local images, labels = cloth(1)
    local set = set_of(images, labels)
    assert.same({ mean = 0.25, std = 0.5 }, train(set, { normalize = { mean = 0.25, std = 0.5 } }).normalization)
    assert.same({ mean = { 0.25 }, std = { 0.5 } },
      train(set, { normalize = { mean = { 0.25 }, std = tr.tensor { 0.5 } } }).normalization)
    assert.is_nil(train(set, { normalize = false }).normalization)
    for _, bad in ipairs {
      { mean = 0.2 }, { std = 1 }, { mean = 0, std = 0 }, { mean = 0 / 0, std = 1 }, { mean = { 1, 2 }, std = 1 },
      { mean = 0, std = -1 }, { mean = 0, std = "x" }, { mean = 0, std = 1, max = 2 }, 3, "yes",
    } do
      assert.error_matches(function() train(set, { normalize = bad }) end, "Trainer: .*normalize")
    end
  end)

  it("takes images of 0 and 1 for what they are, which files of bool hold", function()
    tr.manual_seed(5)
    local images, names_of = tr.rand(8, 8, 8):gt(0.5), { 1, 2, 1, 2, 1, 2, 1, 2 }
    local path = support.folder() .. "/X.npy"
    local data = {}
    for i, value in ipairs(images:flatten():totable()) do data[i] = string.char(value) end
    local header = "{'descr': '|b1', 'fortran_order': False, 'shape': (8, 8, 8), }"
    support.write_file(path, "\x93NUMPY\1\0" .. string.pack("<s2", header) .. table.concat(data))
    local set = assert(tr.data.npy { images = path, labels = names_of, classes = names, meta = {} })
    assert.equal("u8", set.source.dtype)
    local trainer = train(set)
    local file = support.folder() .. "/m.safetensors"
    assert(tr.save(file, { model = trainer.model }))
    local loaded = assert(tr.load(file))
    local wanted = loaded.model(loaded:loader(set, { batch = 8 }):batches()()):softmax(-1):totable()
    for i, answer in ipairs(loaded:predict(set:images())) do
      assert.near(wanted[i][1], answer.probabilities[1], 1e-6)
    end
  end)

  it("is not invented for a model without one, nor for images that can't be converted", function()
    local images, labels = cloth(1)
    local set = set_of(images, labels)
    local trainer = tr.Trainer { model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(64, 2) }, quiet = true }
    assert.error_matches(function() trainer:evaluate(set) end, "the model has no classes and normalization yet")
    local standard = set_of((images:to "f32" - 60) / 12, labels)
    local trained, other = train(set), train(standard)
    assert.error_matches(function() trained:evaluate(standard) end, "its pixels have no range that begins at 0")
    assert.error_matches(function() other:evaluate(set) end, "its pixels have the range 0..1, those of the training")
    local large = set_of(tr.zeros({ 2, 9, 8, 1 }, { dtype = "u8" }), { 1, 2 })
    assert.error_matches(function() trained:evaluate(large) end, "the images are {9,8,1}, the model takes {8,8,1}")
    assert.error_matches(function() trained:fit(set, large) end, "the images are {9,8,1}, the model takes {8,8,1}")
  end)

  it("stays the model's when it is trained further", function()
    local images, labels = cloth(1)
    local first = train(set_of(images, labels))
    local darker, same = cloth(4, 30)
    local other = {}
    for i, label in ipairs(same) do other[i] = 3 - label end
    local second = tr.Trainer { model = first.model, epochs = 1, batch = 8, quiet = true }
    second:fit(set_of(darker, other, { classes = { "spot", "good" } }))
    assert.same(first.normalization, second.normalization)
    assert.same(names, second.classes)
    assert.equal(1, second:evaluate(set_of(images, labels)).accuracy)
  end)

  it("stays the model's when it is trained further on integers, which say what these are worth", function()
    local images, labels = cloth(1)
    local wide, dark = set_of(images:to "i64" * 257, labels), set_of(images:to "i64", labels)
    local wanted = set_of(images:to "i64", labels, { scale = 1 / 65535 })
    local first = train(set_of(images, labels), { epochs = 1 })
    for _, set in ipairs { wide, dark, wide:cache() } do -- darker ones of a later training change nothing
      local second = tr.Trainer { model = first.model, epochs = 1, batch = 8, quiet = true }
      second:fit(set)
      assert.same(first.normalization, second.normalization)
      assert.equal(second:evaluate(wanted).loss, second:evaluate(dark).loss)
    end
  end)

  it("stays the model's, and so do its classes, when it is trained further on images of another size", function()
    local images, labels = cloth(1)
    local first = train(set_of(images, labels))
    local other = {}
    for i, label in ipairs(labels) do other[i] = 3 - label end
    local set = set_of(tr.cat({ images, images }, 2), other, { classes = { "spot", "good" } })
    local second = tr.Trainer {
      model = first.model, epochs = 1, batch = 8, quiet = true, optimizer = { "sgd", lr = 1e-6 },
    }
    second:fit(set)
    assert.same(names, second.classes)
    assert.same({ 16, 8, 1 }, second.input)
    assert.same(first.normalization, second.normalization)
    assert.is_true(second:evaluate(set).accuracy > 0.9)
  end)
end)

describe("column types", function()
  --- A column as it is read, by every reader that reads tables.
  local function columns_of(cells)
    local folder = support.folder()
    local rows, images = { "label,path,value" }, folder .. "/X.npy"
    os.execute("mkdir " .. folder .. "/class")
    for i, cell in ipairs(cells) do
      rows[i + 1] = ("a,%d.png,%s"):format(i, cell)
      assert(tr.write_png(("%s/class/%d.png"):format(folder, i), tr.zeros(2, 2)))
      assert(tr.write_png(("%s/%d.png"):format(folder, i), tr.zeros(2, 2)))
    end
    local path = support.write_file(folder .. "/table.csv", table.concat(rows, "\n") .. "\n")
    local inside = support.write_file(folder .. "/class/table.csv", table.concat(rows, "\n") .. "\n")
    assert(tr.zeros({ #cells, 2, 2 }, { dtype = "u8" }):save_npy(images))
    local labels = {}
    for i = 1, #cells do labels[i] = 1 end
    local values = {
      labels = assert(tr.data.npy { images = images, labels = path }).meta.value,
      meta = assert(tr.data.npy { images = images, labels = labels, meta = path }).meta.value,
      list = assert(tr.data.csv { file = path }).meta.value,
      folder = assert(tr.data.folder { path = folder, classes = { "class" }, meta = inside }).meta.value,
    }
    for _, cell in ipairs(cells) do
      if cell == "" then return values end -- a group must have a value
    end
    values.groups = assert(tr.data.npy { images = images, labels = labels, groups = path .. ":value" }).meta.value
    return values
  end

  local function check(cells, expected)
    for route, values in pairs(columns_of(cells)) do
      for i, value in ipairs(expected) do
        assert.equal(value, values[i], route)
        assert.equal(math.type(value), math.type(values[i]), route)
      end
    end
  end

  it("are numbers where each cell prints back as it stood", function()
    check({ "0", "-3", "9007199254740993" }, { 0, -3, 9007199254740993 })
    check({ "0.5", "12.1", "-0.25", "1.0", "1e-05", "0.30000000000000004" },
      { 0.5, 12.1, -0.25, 1.0, 1e-05, 0.1 + 0.2 })
    check({ "1", "0.5", "inf" }, { 1, 0.5, math.huge })
    check({ "1", "", "3" }, { 1, false, 3 })
  end)

  it("are text, all of it, where one does not", function()
    for _, cell in ipairs {
      "12.10", "1.50", "007", "-0", "+5", " 5", "5 ", "1e5", "1E-05", "0x10", "1_000", "1.", ".5", "true",
      "99999999999999999999", "TRUE", "1/2", "2026-01-02", "0x1p4", "Inf", "infinity", "5,5", "1.0.0", "--1", "1e", "x",
    } do
      local quoted = cell:find "," and '"' .. cell .. '"' or cell
      check({ "1", quoted, "2.5" }, { "1", cell, "2.5" })
    end
    check({ "1", "1.0" }, { "1", "1.0" }) -- one number, written in two ways
    check({ "a", "", "1" }, { "a", "", "1" })
  end)

  it("keep roll numbers apart", function()
    for _, values in pairs(columns_of { "12.1", "12.10", "12.2", "12.20" }) do
      local images = tr.zeros({ 4, 2, 2 }, { dtype = "u8" })
      local set = assert(tr.data.tensors { images = images, labels = { 1, 1, 1, 1 }, meta = { roll = values } })
      assert.equal(4, #set:leave_one_out "roll")
    end
  end)

  it("keep one roll together where sets are joined whose columns differ in type", function()
    local function set(...)
      local images = tr.zeros({ 4, 2, 2 }, { dtype = "u8" })
      local lines = "roll,label\n" .. table.concat({ ... }, ",0\n") .. ",0\n"
      local path = support.write_file(support.folder() .. "/t.csv", lines)
      return assert(tr.data.tensors { images = images, labels = path, groups = "roll" })
    end
    local numbers, text, empty = set(12.1, 12.1, "12.0", 7.5), set("12.1", "12.10", "12.0", "7.5"), set(1, 2, 3, 4)
    assert.equal("number", type(numbers.meta.roll[1]))
    for _, both in ipairs { numbers:concat(text), text:concat(numbers), numbers:concat(empty, text) } do
      local rolls = {}
      for i = 1, #both do rolls[type(both.meta.roll[i]) .. both.meta.roll[i]] = true end
      assert.is_true(rolls["string12.1"] and rolls["string12.10"] and rolls["string12.0"] and rolls["string7.5"])
      assert.equal(#both == 8 and 4 or 8, #both:leave_one_out "roll")
    end
    assert.same({ 12.1, 12.1, 12.0, 7.5, 1, 2, 3, 4 }, numbers:concat(empty).meta.roll)
  end)

  it("leave paths as they stand", function()
    local folder = support.folder()
    for _, name in ipairs { "1.10", "1.1", "007", "1e5" } do
      assert(tr.write_png(folder .. "/" .. name, tr.full({ 2, 2 }, #name / 10)))
    end
    local path = support.write_file(folder .. "/paths.csv", "path,label\n1.10,0\n1.1,1\n1e5,1\n007,0\n")
    local set = assert(tr.data.csv { file = path })
    assert.same({ "1.10", "1.1", "1e5", "007" }, set.meta.path)
    assert.near(0.4, set:get(1):mean():item(), 2e-3)
    path = support.write_file(folder .. "/paths.csv", "path,label\n1.1,0\n")
    assert.near(0.3, assert(tr.data.csv { file = path }):get(1):mean():item(), 2e-3)
  end)
end)

--- Whatever writes a number into a tensor: with a number and a dtype, the element that results.
local writers = {
  tensor = function(v, dtype) return tr.tensor({ v }, { dtype = dtype })[1] end,
  ["tensor of a number"] = function(v, dtype) return tr.tensor(v, { dtype = dtype }) end,
  full = function(v, dtype) return tr.full({ 2 }, v, { dtype = dtype })[2] end,
  full_like = function(v, dtype) return tr.full_like(tr.zeros(2), v, { dtype = dtype })[2] end,
  fill = function(v, dtype) return tr.zeros(2, { dtype = dtype }):fill(v)[2] end,
  assignment = function(v, dtype)
    local t = tr.zeros(2, { dtype = dtype })
    t[2] = v
    return t[2]
  end,
  masked_fill = function(v, dtype) return tr.zeros(2, { dtype = dtype }):masked_fill(tr.ones(2), v)[2] end,
  clamp = function(v, dtype) return tr.zeros(2, { dtype = dtype }):clamp(v, v)[2] end,
  arange = function(v, dtype) return tr.arange(v, v, { dtype = dtype })[1] end,
}
--- Numbers that meet the dtype of another operand: only where that stays the dtype of the result.
local operands = {
  add = function(v, dtype) return (tr.zeros(2, { dtype = dtype }) + v)[2] end,
  ["add from the left"] = function(v, dtype) return (v + tr.zeros(2, { dtype = dtype }))[2] end,
  where = function(v, dtype) return tr.where(tr.ones(2), v, tr.zeros(2, { dtype = dtype }))[2] end,
  maximum = function(v, dtype) return tr.maximum(tr.full({ 2 }, 0, { dtype = dtype }), v)[2] end,
  mod = function(v, dtype) return (v % tr.full({ 2 }, v, { dtype = dtype }))[2] + v end,
}
--- Whole tensors that are converted.
local conversions = {
  to = function(t, dtype) return t:to(dtype) end,
  ["tensor of a tensor"] = function(t, dtype) return tr.tensor(t, { dtype = dtype }) end,
  copy_from = function(t, dtype) return tr.zeros(t:shape(), { dtype = dtype }):copy_from(t) end,
  ["assignment of a tensor"] = function(t, dtype)
    local to = tr.zeros(1, #t, { dtype = dtype })
    to[1] = t
    return to[1]
  end,
}

describe("what a dtype can hold", function()
  local big <const> = (1 << 53) + 1 -- the first integer that a double cannot hold
  local inf <const>, nan <const> = math.huge, 0 / 0

  local function refuses(name, f, v, dtype)
    local ok, text = pcall(f, v, dtype)
    assert.is_false(ok, ("%s took %s as %s"):format(name, v, dtype))
    return text
  end

  it("is written exactly, by every writer", function()
    for name, write in pairs(writers) do
      for dtype, values in pairs {
        u8 = { 0, 255, 7.0 }, i64 = { big, -big, math.maxinteger, math.mininteger, 2.0 ^ 40 },
        f32 = { 0.5, -3, 16777216 }, f64 = { 0.1, 1e300, 1 << 53 },
      } do
        for _, v in ipairs(values) do assert.equal(v, write(v, dtype):item(), name .. " " .. dtype) end
      end
    end
    for _, infinite in ipairs { inf, -inf } do
      for _, dtype in ipairs { "f32", "f64" } do
        for name, write in pairs(writers) do
          if name ~= "arange" then assert.equal(infinite, write(infinite, dtype):item(), name) end
        end
      end
    end
  end)

  it("is all that writers take", function()
    for name, write in pairs(writers) do
      for dtype, values in pairs {
        u8 = { 256, 300, -1, 1 << 53, math.mininteger, 0.5, 255.5, -0.5, 1e300 },
        i64 = { 0.5, -1.5, 2.0 ^ 63, -2.0 ^ 64, 1e300 }, f32 = { 1e300, -1e300, 2.0 ^ 128, 3.4028236e38 },
      } do
        for _, v in ipairs(values) do
          local text = refuses(name, write, v, dtype)
          assert.matches("^spec/invariants_spec.lua:%d+: [%w_]+: .* does not fit " .. dtype, text)
          assert.is_truthy(text:find(math.type(v) == "integer" and tostring(v) or ("%.14g"):format(v), 1, true), text)
        end
      end
      for _, dtype in ipairs { "u8", "i64" } do
        for _, v in ipairs { nan, inf, -inf } do
          if not (name == "clamp" and v ~= v) then refuses(name, write, v, dtype) end
        end
      end
    end
  end)

  it("holds for numbers that meet a tensor in arithmetic", function()
    for name, calculate in pairs(operands) do
      assert.equal(255, calculate(255, "u8"):item(), name)
      assert.equal(big, calculate(big, "i64"):item(), name)
      for dtype, values in pairs { u8 = { 256, -1 }, f32 = { 1e300, -1e300 } } do
        for _, v in ipairs(values) do
          assert.matches("%d does not fit " .. dtype, refuses(name, calculate, v, dtype))
        end
      end
    end
  end)

  it("is no bound for comparisons, which are of values", function()
    local function row(t, v)
      return { t:eq(v):item(), t:ne(v):item(), t:lt(v):item(), t:le(v):item(), t:gt(v):item(), t:ge(v):item() }
    end
    local function expected(a, b)
      local function bit(x) return x and 1 or 0 end
      return { bit(a == b), bit(a ~= b), bit(a < b), bit(a <= b), bit(a > b), bit(a >= b) }
    end
    for dtype, elements in pairs {
      u8 = { 0, 44, 255 }, i64 = { big, -big, 0, 16777217, math.maxinteger, math.mininteger },
      f32 = { 16777216, 0.5, inf, -inf, nan }, f64 = { 2.0 ^ 53, 1e300, inf, nan },
    } do
      for _, a in ipairs(elements) do
        for _, b in ipairs { 300, -1, 0.5, big, big - 1, 2.0 ^ 53, 16777217, 16777216.0, 1e300, inf, -inf, nan,
          2.0 ^ 63, -2.0 ^ 63, math.maxinteger, math.mininteger } do
          local t = tr.tensor(a, { dtype = dtype })
          assert.same(expected(a, b), row(t, b), ("%s %s with %s"):format(dtype, a, b))
        end
      end
    end
    local i, f = tr.tensor({ 16777217 }, { dtype = "i64" }), tr.tensor { 16777216 }
    assert.same({ 0 }, i:eq(f):totable())
    assert.is_false(tr.allclose(tr.tensor({ big }, { dtype = "i64" }), tr.tensor({ big - 1 }, { dtype = "i64" }), 0))
  end)

  it("is asked of every element of a tensor, whose fractions are dropped first", function()
    local function f64(...) return tr.tensor({ ... }, { dtype = "f64" }) end
    for name, convert in pairs(conversions) do
      assert.same({ 0, 3, 255, 0 }, convert(f64(-0.9, 3.9, 255.9, 0), "u8"):totable(), name)
      assert.same({ -2, 1 << 62 }, convert(f64(-2.9, 2.0 ^ 62), "i64"):totable(), name)
      assert.same({ big }, convert(tr.tensor({ big }, { dtype = "i64" }), "i64"):totable(), name)
      for dtype, values in pairs {
        u8 = { 256, -1, nan, inf, -inf, 1e30 }, i64 = { 2.0 ^ 63, -1e19, nan, inf, -inf }, f32 = { 1e39, -1e300 },
      } do
        for _, v in ipairs(values) do
          assert.matches("element 3 of {4}.* does not fit " .. dtype, refuses(name, convert, f64(0, 1, v, 2), dtype))
          if dtype ~= "f32" then refuses(name, convert, f64(0, 1, v, 2):to "f32", dtype) end
        end
      end
      for _, v in ipairs { 256, -1, big } do
        refuses(name, convert, tr.tensor({ 0, v }, { dtype = "i64" }), "u8")
      end
      assert.same({ inf, -inf }, convert(f64(inf, -inf), "f32"):totable())
    end
    local long = tr.zeros(3, 100000)
    long[3][99999] = 256
    assert.error_matches(function() long:to "u8" end, "256 %(element 299999 of {3,100000}%) does not fit u8")
    assert.error_matches(function() long:transpose(1, 2):to "u8" end, "element 299997 of {100000,3}")
    local kept = tr.ones(3, { dtype = "u8" })
    assert.error_matches(function() kept:copy_from(tr.tensor { 2, 3, 400 }) end, "400")
    assert.same({ 1, 1, 1 }, kept:totable()) -- nothing was written
  end)

  it("is asked of the pixels of every reader, which are f32, and of the integers of a file", function()
    local images = tr.tensor({ { { 0.5, 1e300 } }, { { -1e300, 0 } } }, { dtype = "f64" })
    local folder = support.folder()
    local path = folder .. "/X.npy"
    assert(tr.save_npy(path, images))
    local bytes = support.read_file(path)
    local data = bytes:sub(-32)
    local swapped = data:gsub("........", string.reverse)
    local big_endian = support.write_file(folder .. "/big.npy", bytes:sub(1, -33):gsub("<f8", ">f8") .. swapped)
    local labels = { "a", "b" }
    local from = { tensors = tr.data.tensors { images = images, labels = labels } }
    for name, file in pairs { npy = path, big_endian = big_endian } do
      from[name] = assert(tr.data.npy { images = file, labels = labels })
    end
    for name, set in pairs(from) do
      for _, read in ipairs { set.cache, set.images, set.statistics } do
        local none, message = read(set)
        assert.is_nil(none, name)
        assert.matches("a pixel is 1e%+300, which is beyond f32", message)
      end
    end
    local beyond = "spec/fixtures/data/beyond.h5"
    if not tr.hdf5_datasets(beyond) then return end -- built without HDF5
    local none, message = tr.data.hdf5 { file = beyond, dataset = "large", labels = labels }
    assert.is_nil(none)
    assert.matches("large: it holds a number beyond i64 or f32", message, 1, true)
    none, message = tr.load_hdf5(beyond, "huge")
    assert.is_nil(none)
    assert.matches("beyond.h5: huge: it holds a number beyond i64 or f32", message, 1, true)
    assert.same({ 0.5, 1e300 }, tr.load_hdf5(beyond, "large")[1][1]:totable())
    local infinite = assert(tr.data.hdf5 { file = beyond, dataset = "infinite", labels = labels })
    assert.same({ 0.5, inf, -inf, 0 }, infinite:images():reshape(4):totable())
  end)

  it("holds for ranges and random numbers", function()
    assert.same({ big, big + 1, big + 2 }, tr.arange(big, big + 2):totable())
    assert.same({ big, big - 2 }, tr.arange(big, big - 2, -2):totable())
    assert.same({ math.maxinteger - 1, math.maxinteger }, tr.arange(math.maxinteger - 1, math.maxinteger):totable())
    assert.same({ math.mininteger, -1 << 62, 0, 1 << 62 },
      tr.arange(math.mininteger, math.maxinteger, 1 << 62):totable())
    assert.error_matches(function() tr.arange(math.mininteger, math.maxinteger) end, "memory")
    assert.error_matches(function() tr.arange(250, 260, { dtype = "u8" }) end, "arange: 256 does not fit u8")
    assert.error_matches(function() tr.arange(0, 1, 0.25, { dtype = "i64" }) end, "arange: 0.25 does not fit i64")
    for _, range in ipairs { { 250, 300 }, { -1, 5 } } do
      assert.error_matches(function() tr.randint(range[1], range[2], { 4 }, { dtype = "u8" }) end, "does not fit u8")
    end
    assert.same({ 1 << 24 }, tr.randint(1 << 24, 1 << 24, { 1 }, { dtype = "f32" }):to("i64"):totable())
    assert.error_matches(function() tr.randint(0, (1 << 24) + 1, { 4 }, { dtype = "f32" }) end, "f32 does not have")
    assert.error_matches(function() tr.randint(-big, 0, { 4 }, { dtype = "f64" }) end, "f64 does not have every")
    assert.error_matches(function() tr.zeros(2):uniform(0, 1e300) end, "uniform: 1e%+300 does not fit f32")
    assert.error_matches(function() tr.zeros(2):normal(1e300, 1) end, "normal: 1e%+300 does not fit f32")
    for _, bad in ipairs { { nan, 1 }, { 0, -1 }, { 0, inf } } do
      assert.error_matches(function() tr.zeros(2):normal(bad[1], bad[2]) end, "normal: no distribution")
    end
    assert.same({ 3, 4 }, tr.tensor({ 3, 4 }, { dtype = "i64" }):clamp { min = -inf, max = inf }:totable())
  end)
end)

describe("any locale", function()
  -- A locale of our own with a decimal comma, in which b comes before a: the machine need not have any.
  local source = [[
LC_NUMERIC
decimal_point ","
thousands_sep ""
grouping -1
END LC_NUMERIC
LC_COLLATE
order_start forward
<U0062>
<U0061>
<U0042>
<U0041>
UNDEFINED
order_end
END LC_COLLATE
]]
  local folder = support.folder()

  local function make_locale()
    support.write_file(folder .. "/comma.src", source)
    support.run { "localedef", "-c", "-i", folder .. "/comma.src", folder .. "/comma" } -- warns of what is left out
    return support.run_lua([[local half = assert(os.setlocale "comma") and 0.5
      assert(tostring(half) == "0,5" and "b" < "a")]], { env = { LOCPATH = folder } })
  end

  local function run(locale)
    local out = support.folder()
    local ok, text = support.run({ support.lua, "spec/locale_case.lua", locale, out }, { env = { LOCPATH = folder } })
    assert.is_true(ok, text)
    return out, text
  end

  it("gives the same files and the same text", function()
    if not make_locale() then pending "localedef cannot make a locale on this machine" end
    local plain_out, plain_text = run "C"
    local comma_out, comma_text = run "comma"
    assert.equal(plain_text, comma_text)
    for _, name in ipairs { "model.safetensors", "model.onnx", "set.csv", "pictures/index.csv" } do
      assert.equal(support.read_file(plain_out .. "/" .. name), support.read_file(comma_out .. "/" .. name), name)
    end
    local _, same = support.run { "diff", "-rq", plain_out .. "/pictures", comma_out .. "/pictures" }
    assert.equal("", same)
    for line in support.read_file(comma_out .. "/run/metrics.jsonl"):gmatch "[^\n]+" do
      assert.is_number(assert(json.decode(line)).val_loss)
    end
    local report = support.read_file(comma_out .. "/run/report.html")
    for points in report:gmatch 'points="([^"]*)"' do
      for point in points:gmatch "%S+" do assert.matches("^%d+%.%d,%d+%.%d$", point) end
    end
    assert.is_nil(report:find "%d,%d+ %%")
  end)

  it("leaves the host's locale alone", function()
    if not make_locale() then pending "localedef cannot make a locale on this machine" end
    local ok, text = support.run_lua([[os.setlocale "comma"
      local plain = require "texres.plain"
      assert(not pcall(plain.format, "%d", 0.5)) -- an error puts it back too
      print(plain.text(0.5), 0.5, tostring(0.5), plain.number "0,5", plain.number "0.5")]],
      { env = { LOCPATH = folder } })
    assert.is_true(ok)
    assert.matches("^0%.5\t0,5\t0,5\tnil\t0,5", text)
  end)
end)
