--- Why a piece was rejected: heat maps, the training images most like it, pictures, and how well maps agree with masks.
--
--     local explain = tr.explain
--     local clf = assert(tr.load "run/best.safetensors")
--     local map = explain.hires_cam(clf, image, { class = "defect" })         -- f32 {H,W}
--     tr.write_png("why.png", explain.overlay(image, map))
--     explain.grad_cam(clf, image); explain.occlusion(clf, image); explain.integrated_gradients(clf, image)
--     explain.neighbours(clf, train):nearest(image, 5)                        -- { { index =, distance =, class = } }
--     explain.sheet(clf, test, { 3, 14, 15 }, "why.png")
--     explain.pointing_game(map, mask); explain.aupro(maps, masks)
--
-- Models are copied: weights, gradients and modes of those that are explained stay as they are, so that a run can be
-- looked at while it trains. A map tells what this network looks at, not what is there: judge it by masks.
-- @module texres.explain

local heat = require "texres.explain.heat"
local masks = require "texres.metrics.masks"
local picture = require "texres.explain.picture"
local strict = require "texres.strict"

return strict.table("texres.explain", {
  hires_cam = heat.hires_cam, grad_cam = heat.grad_cam, occlusion = heat.occlusion,
  integrated_gradients = heat.integrated_gradients, neighbours = require "texres.explain.neighbours",
  overlay = picture.overlay, sheet = picture.sheet, pointing_game = masks.pointing_game, aupro = masks.aupro,
})
