--- The networks that are measured, by name: the function gives the module, and {H,W,C} of its images.
--
--     textile64, textile64conv    texres.models.textile of that width; with the head "conv"
--     cifar20, cifar110           texres.models.cifar_resnet of that depth
--     resnet18, resnet50          those of texres.models, for images of 224 pixels
--
-- `checkpoint`: with less memory for training, computing blocks again in backward.

local models = require("texres").models

return function(name, checkpoint)
  local kind, number, head = name:match "^(%a+)(%d+)(%a*)$"
  number = math.tointeger(number)
  if kind == "textile" then
    return models.textile { width = number, head = head ~= "" and head or "gap" }, { 64, 64, 1 }
  end
  if kind == "cifar" then
    return models.cifar_resnet { depth = number, classes = 10, checkpoint = checkpoint }, { 32, 32, 3 }
  end
  return models[name] { in_channels = 3, classes = 1000, checkpoint = checkpoint }, { 224, 224, 3 }
end
