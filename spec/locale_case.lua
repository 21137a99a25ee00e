--- Run by the specs in a process of its own: texres under the locale arg[1] ("C" or one of the host) writes all that it
-- has into the folder arg[2]. What it prints and writes must be the same under every locale.
local locale, folder = arg[1], arg[2]
for _, category in ipairs { "numeric", "collate" } do
  assert(os.setlocale(locale, category), "no such locale")
end
local tr = require "texres" -- loaded under the locale: the defaults of functions are read from text then
local json = require "texres.json"
local nn = tr.nn

-- what a model is saved as, and what comes back
tr.manual_seed(1)
local net = nn.Sequential {
  { a = nn.Conv2d(1, 4, 3, { padding = 1 }) }, { b = nn.LeakyReLU(0.1) }, nn.Dropout(0.25), nn.GlobalAvgPool(),
  nn.Linear(4, 2),
}
local checkpoint = { model = net, classes = { "a", "b" }, normalization = { mean = { 0.5 }, std = { 0.25 } },
  input = { 8, 8, 1 }, extra = { rate = 1 / 3, tiny = 5e-324 } }
local path = folder .. "/model.safetensors"
assert(require("texres.checkpoint").save(path, checkpoint))
local loaded = assert(require("texres.checkpoint").load(path))
assert(loaded.normalization.mean[1] == 0.5 and loaded.extra.rate == 1 / 3 and loaded.extra.tiny == 5e-324)
local x = tr.randn(2, 8, 8, 1)
assert(tr.allclose(net:eval()(x), loaded.model(x), 0))
assert(tr.onnx.export(folder .. "/model.onnx", net, { input = { 8, 8, 1 } }))
print(loaded.model, net:summary { 1, 8, 8, 1 })
print(tr.randn(3) * 1e9, tr.tensor { 0.5, 1.5 }, tr.nn.functional.leaky_relu(tr.tensor { -1 }))

-- text that is read: a point is one, a comma is none
print(json.encode { 0.5, -1e-300, 12, "1,5" }, json.decode "[0.5]"[1] == 0.5, json.decode "[0,5]"[2], json.decode "0,5")

-- a set with its metadata, as tables and as pictures; classes in the order of their bytes
local set = tr.data.fabric { count = 24, size = 16, seed = 3 }
set.meta.angle = {}
for i = 1, #set do set.meta.angle[i] = i / 8 end
assert(set:save_folder(folder .. "/pictures"))
assert(set:save_csv(folder .. "/set.csv"))
local dark = tr.data.tensors { images = tr.full({ 1, 4, 4 }, -0.5), labels = { 1 } }
print(dark:save_folder(folder .. "/dark"))
local again = assert(tr.data.open(folder .. "/pictures"))
print(set:describe(), table.concat(again.classes, " "), again.classes[again.label[1]])
local file = assert(io.open(folder .. "/names.csv", "w"))
file:write "path,class,weight\n"
for i, name in ipairs { "b", "a", "B", "A" } do
  file:write(("pictures/%s/01.png,%s,0.%d\n"):format(again.classes[1], name, i))
end
file:close()
for _, call in ipairs { { tr.ones, 0.5 }, { nn.Dropout, -0.5 }, { tr.clamp, tr.zeros(2), 1.5, 0.5 } } do
  print(pcall(table.unpack(call)))
end

-- a training: its record is read by other programs
local trainer = tr.Trainer { model = tr.models.textile { width = 4, classes = #set.classes }, epochs = 2,
  batch = 8, dir = folder .. "/run", seed = 1, quiet = true, optimizer = { "adamw", lr = 0.0125 } }
trainer:fit(set, set)
print(trainer:evaluate(set))
