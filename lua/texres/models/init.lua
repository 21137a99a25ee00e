--- Networks ready to train: textile, and residual networks, which are rows of one table (texres.models.families) or
-- built from a table of your own (texres.models.build). texres.models.torchvision is the map for module:load that
-- brings names and layouts of torchvision's ResNets to those here.

local models = {
  textile = require "texres.models.textile", build = require("texres.models.build").build,
  torchvision = require("texres.models.torchvision").map,
}
for name, make in pairs(require "texres.models.families") do models[name] = make end

return require("texres.strict").table("texres.models", models)
