--- The reference: whatever the module exports has a text, which help() shows; what is told is so.
local core = require "texres.core"
local options = require "texres.options"
local reference = require "texres.reference"
local source = require "texres.reference.source"
local support = require "spec.support"
local tr = require "texres"

local entries = reference.entries() -- which loads all parts

local function is_class(value) return rawget(value, "__index") ~= nil end

-- Calls visit(name, value, class it belongs to) for all that is public in the tables of the module, as they are.
local function each_export(visit, t, prefix, class)
  for key, value in pairs(t) do
    local kind = type(value)
    if type(key) == "string" and key:byte() ~= 95 and (kind == "function" or kind == "table") then
      local name = prefix .. key
      visit(name, value, class)
      if kind == "table" then each_export(visit, value, name .. ".", is_class(value) and value or nil) end
    end
  end
end

-- Names by which an entry can be found.
local names = {}
for _, entry in ipairs(entries) do names[entry.name:gsub(":", ".")] = entry end

-- The entry of a public name: its own, or that of all modules for what each layer may bring.
local function entry_of(name, class)
  local layer = class and rawget(class, "_module")
  return names[name] or layer and names["nn.Module." .. name:match "[%w_]+$"]
end

local function words(text) return select(2, text:gsub("%S+", "")) end

local function says(what, text) return text:find("%f[%w_]" .. what .. "%f[^%w_]") ~= nil end

describe("the reference", function()
  it("has an entry for each public name of the module", function()
    local missing, count = {}, 0
    each_export(function(name, _, class)
      count = count + 1
      if not entry_of(name, class) then missing[#missing + 1] = name end
    end, tr, "")
    each_export(function(name) if not names[name] then missing[#missing + 1] = name end end, core.methods, "Tensor.")
    assert.same({}, missing)
    assert.is_true(count > 300)
  end)

  it("has an entry for each class of objects that the library gives, and for each of their methods", function()
    local ok, output = support.run_lua [[
      require "texres"
      local strict, classes = require "texres.strict", {}
      local make = strict.class
      function strict.class(what, ...)
        local class = make(what, ...)
        classes[class] = what
        return class
      end
      local reference = require "texres.reference"
      local names = {}
      for _, entry in ipairs(reference.entries()) do names[entry.name:gsub(":", ".")] = true end
      for class, what in pairs(classes) do
        local entry = reference.find(class)
        for name, value in pairs(class) do
          local public = type(name) == "string" and name:byte() ~= 95 and type(value) == "function"
          if public and not (entry and names[entry.name .. "." .. name]) then print(what .. ": " .. name) end
        end
      end
    ]]
    assert.is_true(ok, output)
    assert.equal("", output)
    for name, object in pairs {
      ["metrics.Counter"] = tr.metrics.Counter { "a", "b" }, ["nn.Plan"] = tr.nn.Sequential { tr.nn.ReLU() }:plan(),
    } do
      assert.equal(name, reference.find(object).name)
      for key, value in pairs(getmetatable(object)) do
        if key:byte() ~= 95 and type(value) == "function" then assert.is_truthy(names[name .. "." .. key]) end
      end
    end
  end)

  it("has an entry for each method that a layer takes over from a class which is not exported", function()
    local missing = {}
    for name, class in pairs(tr.nn) do
      while type(class) == "table" and rawget(class, "_module") do
        local entry = reference.find(class)
        for key, value in pairs(class) do
          local public = type(key) == "string" and key:byte() ~= 95 and type(value) == "function"
          local told = entry and entry_of(entry.name .. "." .. key, class)
          if public and not told then missing[#missing + 1] = name .. ":" .. key end
        end
        class = getmetatable(class).__index
      end
    end
    assert.same({}, missing)
    assert.equal("nn.Container", reference.base(reference.find "nn.Sequential").name)
    assert.equal("nn.Module", reference.base(reference.find "nn.Container").name)
    assert.is_nil(reference.base(reference.find "nn.Module"))
  end)

  it("tells of each what it takes and gives", function()
    local untold = {}
    for _, entry in ipairs(entries) do
      local told
      if entry.kind == "option" then
        local owner = entry.owner
        told = entry.text ~= "" or says(entry.short, owner.text) or says(entry.short, owner.signature)
          or says(entry.short, owner.owner.text)
      else
        told = words(entry.text) >= 1
      end
      if not told then untold[#untold + 1] = entry.name end
    end
    assert.same({}, untold)
  end)

  it("shows as many parameters as a function has", function()
    local wrong = {}
    for _, entry in ipairs(entries) do
      local f = entry.constructor or entry.inner
      local info = f and entry.parameters and debug.getinfo(f, "Su")
      if info and info.what == "Lua" then
        local first = debug.getlocal(f, 1)
        local own = (entry.kind == "method" or first == "self" or first == "_") and 1 or 0
        local count, last = #entry.parameters, entry.parameters[#entry.parameters]
        if last == "..." then count = count - 1 end
        if count ~= info.nparams - own and last ~= "..." then
          wrong[#wrong + 1] = ("%s: %d, has %d"):format(entry.signature, count, info.nparams - own)
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("shows the options and defaults that a function has", function()
    local wrong, count = {}, 0
    for _, entry in ipairs(entries) do
      local list = entry.kind ~= "option" and entry.signature:match "{(.*)}"
      local told = {}
      for _, row in ipairs(list and list:find "=" and source.parts(list) or {}) do
        local name, default = row:match "^([%w_]+)%s*=%s*(.*)$"
        if name then told[name] = default end
      end
      for _, option in ipairs(next(told) and entry.options or {}) do
        local default, shown = option.rule and option.rule.default, told[option.short]
        local same = shown == "" or tonumber(shown) == default or shown == options.shown(default) or default == nil
        if option.rule then count = count + 1 end
        if option.rule and (not shown or not same) then wrong[#wrong + 1] = option.name end
      end
    end
    assert.same({}, wrong)
    assert.is_true(count > 40, count)
  end)

  it("names each option of a function of the core", function()
    local t, lacking, with_options = tr.ones(2), {}, 0
    for _, name in ipairs(core.help()) do
      local f = core.functional[name] or core[name] or core.methods[name]
      local told, known = core.help(f), nil
      for _, inputs in ipairs { { t }, { t, t }, { t, t, t }, { t, t, t, t }, { { t } } } do
        inputs[#inputs + 1] = { no_such = 1 }
        local _, message = pcall(f, table.unpack(inputs))
        known = known or tostring(message):match "unknown option 'no_such'.- there are (.*)$"
      end
      if known then with_options = with_options + 1 end
      for option in (known or ""):gmatch "[%w_]+" do
        local found = says(option, told) or name == "conv2d_batch_norm" and told:find "options of conv2d and batch_norm"
        if not found then lacking[#lacking + 1] = name .. ": " .. option end
      end
    end
    assert.same({}, lacking)
    assert.is_true(with_options > 40, with_options)
  end)

  it("names files and lines", function()
    local fit = reference.find "Trainer:fit"
    local lines = 0
    for line in io.lines(fit.file) do
      lines = lines + 1
      if lines == fit.line then assert.matches("^%-%-%- Trains on a set", line) end
    end
    assert.is_true(lines > fit.line)
  end)

  it("has the rules of options, where a table or a function has them", function()
    assert.equal(10, reference.find "Trainer.epochs".rule.default)
    assert.equal("epochs: a whole number of at least 1, by default 10", reference.find "Trainer.epochs".signature)
    assert.equal(100, reference.find "Trainer:find_lr.steps".rule.default) -- which hands its options on
    assert.is_truthy(reference.find "explain.grad_cam.layer".rule)
    assert.is_truthy(reference.find "data.npz.dataset".rule)
    assert.is_nil(reference.find "data.npz.channels")
    assert.equal(0.001, reference.find "optim.Adam.lr".rule.default)
  end)
end)

describe("the files of the reference", function()
  local folder = support.folder()
  local ok, output = support.run { support.lua, "tools/reference.lua", folder }

  it("are made", function()
    assert.is_true(ok, output)
    assert.matches("## `Trainer%(options%)`", support.read_file(folder .. "/texres.md"))
    assert.matches("## `nn.Conv2d%(c_in, c_out", support.read_file(folder .. "/nn.md"))
    assert.matches("### `data.Set:split%(options%)`", support.read_file(folder .. "/data.md"))
  end)

  it("name for LuaLS what the module exports, and nothing else", function()
    local meta = assert(loadfile(folder .. "/texres.lua", "t", {}))()
    local exported, defined = {}, {}
    each_export(function(name, _, class)
      if entry_of(name, class) == names[name] then exported[name] = true end
    end, tr, "")
    local function collect(t, prefix)
      for key, value in pairs(t) do
        if key ~= "_VERSION" then defined[prefix .. key] = true end
        if type(value) == "table" then collect(value, prefix .. key .. ".") end
      end
    end
    collect(meta, "")
    local differences = {}
    for name in pairs(exported) do
      if not defined[name] then differences[#differences + 1] = name .. " is missing" end
    end
    for name in pairs(defined) do
      if not exported[name] then differences[#differences + 1] = name .. " is not exported" end
    end
    assert.same({}, differences)
  end)

  it("name for LuaLS what functions give", function()
    local meta = support.read_file(folder .. "/texres.lua")
    for name, result in pairs {
      ["texres.zeros"] = "Tensor", ["texres.tensor"] = "Tensor", ["texres.load"] = "Classifier|nil, string? message",
      ["texres.data.open"] = "data.Set|nil, string? message", ["texres.Trainer:fit"] = "History",
      ["texres.Trainer:evaluate"] = "metrics.Result",
    } do
      local before = assert(meta:find("\nfunction " .. name .. "(", 1, true), name)
      assert.equal(result, meta:sub(1, before - 1):match "%-%-%-@return ([^\n]*)$", name)
    end
  end)
end)

describe("help", function()
  it("lists modules, classes and functions", function()
    local text = tr.help()
    assert.matches("\n  nn%.functional +%S", text)
    assert.matches("\n  Trainer +Trains a classifier", text)
    assert.matches("%f[%w]zeros_like%f[%W]", text)
  end)

  it("knows names in full, their last part, and with a prefix", function()
    for _, name in ipairs { "nn.Conv2d", "Conv2d", "texres.nn.Conv2d", "tr.nn.Conv2d", "nn.conv2D" } do
      assert.matches("^nn%.Conv2d%(c_in, c_out, kernel, {stride=1", tr.help(name))
    end
    assert.matches("^relu%(x%)\n\nmax%(x, 0%)", tr.help "relu")
    for _, name in ipairs { "conv2d", "F.conv2d", "nn.functional.conv2d" } do
      assert.matches("^nn%.functional%.conv2d%(x", tr.help(name))
    end
    assert.matches("^Trainer:fit%(train, val, options%)", tr.help "Trainer:fit")
    assert.matches("^Trainer:fit%(train, val, options%)", tr.help "Trainer.fit")
    for name, of in pairs {
      ["set:split"] = "data%.Set:split", ["net:summary"] = "nn%.Module:summary", ["trainer:fit"] = "Trainer:fit",
      ["optimizer:set_lr"] = "optim%.Optimizer:set_lr", ["result:roc"] = "metrics%.Result:roc",
      ["x:sum"] = "Tensor:sum", ["classifier:predict"] = "Classifier:predict", ["train:loader"] = "data%.Set:loader",
    } do
      assert.matches("^" .. of .. "%(", tr.help(name)) -- as texts call objects
    end
    assert.matches("^train%.epochs", tr.help "train.epochs")
    assert.matches("^Trainer%.patience: .*Also: .*train%.patience", tr.help "patience")
    assert.matches("^load%(path, model, options%).*Also: nn%.Module:load", tr.help "load")
    assert.matches("^Trainer%.epochs: a whole number of at least 1, by default 10\n\nAn option of Trainer%(options%)",
      tr.help "Trainer.epochs")
    assert.matches("^nn%.Conv2d%.padding: by default 0\n\nAn option of nn%.Conv2d%(c_in.*\n\n.*padding: a number, {top",
      tr.help "nn.Conv2d.padding") -- it has no text of its own
    local text = tr.help "Trainer"
    assert.matches("\nOptions:\n.*\n  epochs: .*\nMethods:\n.*\n  fit%(train, val, options%) +Trains", text)
    assert.matches("^data\n.*There are:\n.*\n  open%(what, options%) +Opens a data set", tr.help "data")
  end)

  it("knows whatever texts refer to", function()
    local unknown = {}
    local none = { core = true, mpi = true, sofmax = true, reference = true } -- their texts say what they are
    for _, entry in ipairs(entries) do
      for name in entry.text:gmatch "texres%.([%w_.]*[%w_])" do
        if not none[name] and not tr.help(name) then unknown[#unknown + 1] = entry.name .. ": " .. name end
      end
    end
    assert.same({}, unknown)
    assert.matches("^models%.heads\n\n.*\n    gmp  ", tr.help "models.heads")
    assert.is_nil(tr.help "models.nothing")
  end)

  it("knows the rows of lists in texts: properties, transforms", function()
    assert.matches('^Tensor%.dtype\n\n"f32", "f64"', tr.help "Tensor.dtype")
    assert.matches("^Tensor%.is_leaf\n\nwhether no recorded", tr.help "is_leaf")
    assert.matches("^data%.augment%.cutout\n\nsize = 16", tr.help "cutout")
    assert.is_nil(tr.help "Tensor.nothing")
    assert.is_nil(tr.help "Tensor.%a+")
  end)

  it("knows values: functions, methods, classes, objects, modules, tensors", function()
    assert.matches("^zeros%(shape", tr.help(tr.zeros))
    assert.matches("^Tensor:sum%(dim, keepdim=false%)", tr.help(tr.ones(2).sum))
    assert.matches("^nn%.Linear%(n_in, n_out", tr.help(tr.nn.Linear))
    assert.matches("^nn%.Linear%(n_in, n_out", tr.help(tr.nn.Linear(2, 3)))
    local Own = tr.nn.Module("Own", tr.nn.Linear)
    assert.matches("^nn%.Linear%(n_in, n_out", tr.help(Own(2, 3)))
    assert.matches("^optim%.schedule\n", tr.help(tr.optim.schedule))
    assert.matches("^Tensor\n\nTensors: ", tr.help(tr.ones(2)))
    assert.matches("^data%.Set\n\nA data set: images", tr.help "data.Set") -- four files give this class
    assert.matches("^data%.Set\n", tr.help(tr.data.tensors { images = tr.zeros(2, 4, 4), labels = { 1, 2 } }))
    assert.matches("^data%.open%(what, options%)", tr.help(tr.data.open))
  end)

  it("gives nil and names that are near for what there is not", function()
    local text, message = tr.help "sofmax"
    assert.is_nil(text)
    assert.equal("there is no 'sofmax' in texres; did you mean softmax?; help() lists what there is", message)
    text, message = tr.help "\27[31m"
    assert.is_nil(text)
    assert.matches("no '\\x1b%[31m' in texres; help%(%) lists", message)
    for value, kind in pairs { [7] = "number", [print] = "function", [io.stdout] = "userdata", [{}] = "table" } do
      assert.same({ n = 2, nil, "there is no help for a " .. kind }, table.pack(tr.help(value)))
    end
    assert.is_nil((tr.help ""))
  end)

  it("knows names and arguments where the sources can't be read", function()
    local ok, output = support.run_lua [[
      local tr = require "texres"
      local open, searchpath = io.open, package.searchpath
      io.open = function() end
      print(tr.help "Trainer")
      print(tr.help "nn.Linear")
      package.searchpath = function() end
      for _, entry in ipairs(require("texres.reference").entries()) do assert(entry.signature and entry.text) end
      io.open, package.searchpath = open, searchpath
    ]]
    assert.is_true(ok, output)
    assert.matches("^Trainer\n", output)
    assert.matches("\nnn%.Linear\n", output)
  end)

  it("is quick at its first use, and costs nothing before", function()
    local ok, output = support.run_lua [[
      local tr = require "texres"
      assert(not package.loaded["texres.reference"])
      local start = os.clock()
      tr.help "Conv2d"
      print(os.clock() - start)
    ]]
    assert.is_true(ok, output)
    assert.is_true(tonumber(output) < 0.25, output) -- 0.04 s on a machine that does nothing else
  end)
end)
