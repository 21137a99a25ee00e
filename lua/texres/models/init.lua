--- Networks ready to train: textile, resnet18, resnet34, resnet50, cifar_resnet.

local models = { textile = require "texres.models.textile" }
for name, make in pairs(require "texres.models.resnet") do models[name] = make end

return require("texres.strict").table("texres.models", models)
