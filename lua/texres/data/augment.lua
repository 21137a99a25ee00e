--- Random changes to training images: `texres.data.augment(list)`, or `augment = list` for a loader or trainer.
--
--     augment = { "flip", "rotate90", { "rotate", degrees = 15 }, { "brightness", 0.2 }, { "cutout", size = 16 },
--                 { "mixup", alpha = 0.2 } }
--
-- A transform is a name, or a table with a name, possibly the first parameter's value, and parameters by name. Each
-- takes `p`, the probability with which it is applied (1, flip 0.5). They are applied in order, before normalization,
-- to pixels in 0..1: a trainer brings those of another range there first, set:loader does with its option `scale`.
--
--     flip        horizontal = true, vertical = true   each with probability p
--     rotate90    a quarter turn or several, equally likely (half turns where the image isn't square)
--     rotate      degrees = 15       by an angle within +-degrees
--     shift       pixels = 4         by up to +-pixels along both sides
--     scale       amount = 0.1       by a factor within 1/(1+amount) .. 1+amount
--     crop        padding = 4        a window of the image after padding it on all sides
--     brightness  amount = 0.2       times a factor within 1-amount .. 1+amount
--     contrast    amount = 0.2       the same about each channel's mean
--     gamma       amount = 0.2       to a power within 1/(1+amount) .. 1+amount
--     noise       sigma = 0.02       plus normal noise with a deviation within 0 .. sigma
--     blur        sigma = 1          Gaussian with a deviation within 0 .. sigma pixels
--     cutout      size = 16, count = 1, fill = each channel's mean   squares that are blanked
--     mixup       alpha = 0.2        a batch's images mixed in pairs (Zhang et al. 2018)
--     cutmix      alpha = 1          rectangles pasted between a batch's images (Yun et al. 2019)
--
-- What lies outside of an image is its mirror image. The random numbers belong to (seed, epoch, sample): the same for
-- any number of workers.
--
-- Masks that belong to the images are moved with them and keep their values: brightness, contrast, gamma, noise, blur
-- and cutout leave them alone, cutmix pastes them along, and of two images that mixup mixes both masks are seen.
-- @module texres.data.augment

local core = require "texres.core"

--- Checks a list of transforms and makes an object of it, with
-- `:apply(images, {seed = 0, epoch = 1, masks = none})` -> new images {N,H,W,C}; how they were mixed, if they were; the
-- new masks {N,H,W,C'}, where masks {N,H,W,C'} were given.
-- @tparam table list transforms
-- @treturn Augment
return core.augment
