#!/usr/bin/env python3
"""Cuts larger windows, and their masks, around the patches of a set, from the photographs that it was cut from.

    python3 bench/windows.py shared/data/textile shared/data/sources OUT [--size 96]

The set's index.csv says which photograph (source), turn (angle) and place (row, col) a patch has; its 64x64 pixels are
in the middle of the window. OUT gets windows.npy and masks.npy, uint8 [N,size,size,1]; the photograph is mirrored at
its border, as the loader does. Needs numpy and Pillow.
"""
import argparse
import csv
import os

import numpy as np
from PIL import Image


def photograph(folder, source):
    """The grey picture and its mask (255: defect; of good cloth, nothing)."""
    stem = os.path.join(folder, source.removesuffix("_input.jpg").replace("/", "_"))
    path = stem + (".jpg" if os.path.exists(stem + ".jpg") else ".png")
    picture = Image.open(path).convert("L")
    mask = Image.open(stem + "_mask.png").convert("L") if os.path.exists(stem + "_mask.png") else None
    return picture, mask or Image.new("L", picture.size)


def turned(picture, angle, border, how):
    """Turned by an angle as the patches were, with a mirrored border around the photograph."""
    wide = Image.fromarray(np.pad(np.asarray(picture), border, mode="symmetric"))
    plain, whole = picture.rotate(angle, resample=how, expand=True), wide.rotate(angle, resample=how, expand=True)
    return np.asarray(whole), (whole.size[1] - plain.size[1]) // 2, (whole.size[0] - plain.size[0]) // 2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patches")
    parser.add_argument("sources")
    parser.add_argument("out")
    parser.add_argument("--size", type=int, default=96)
    told = parser.parse_args()
    patches = np.load(os.path.join(told.patches, "X.npy"), mmap_mode="r")
    with open(os.path.join(told.patches, "index.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    side, size = patches.shape[1], told.size
    edge = (size - side) // 2
    windows = np.zeros((len(rows), size, size, 1), np.uint8)
    masks = np.zeros_like(windows)
    kept = {}
    for i, row in enumerate(rows):
        key = row["source"], int(row["angle"])
        if key not in kept:
            picture, mask = photograph(told.sources, key[0])
            border = 2 * edge + 32
            kept[key] = turned(picture, key[1], border, Image.BICUBIC), turned(mask, key[1], border, Image.NEAREST)
        for target, (canvas, down, right) in zip((windows, masks), kept[key]):
            top, left = int(row["row"]) - edge + down, int(row["col"]) - edge + right
            target[i, :, :, 0] = canvas[top:top + size, left:left + size]
    middle = windows[:, edge:edge + side, edge:edge + side]
    print("mean difference of the middles to the patches:", np.abs(middle.astype(float) - patches).mean(axis=(1, 2, 3)).max())
    os.makedirs(told.out, exist_ok=True)
    np.save(os.path.join(told.out, "windows.npy"), windows)
    np.save(os.path.join(told.out, "masks.npy"), (masks > 127).astype(np.uint8))


main()
