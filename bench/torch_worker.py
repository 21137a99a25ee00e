"""PyTorch's side of `make bench`: the same networks, measured by the protocol of worker.py.

    python torch_worker.py MODEL WORK BATCH THREADS

builds MODEL (textile64, cifar20, resnet18, ...), makes one batch of random images, and does the work: train, infer, or
checkpoint, which is train with less memory, computing blocks again in backward.
"""
import math
import sys

import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from worker import serve


def conv_bn(c, k, size, stride):
    return [nn.Conv2d(c, k, size, stride, size // 2, bias=False), nn.BatchNorm2d(k)]


class Block(nn.Module):
    """relu(body(x) + shortcut(x)), or body(x) + x without the last ReLU where plain is set (the textile network)."""

    def __init__(self, body, shortcut=None, plain=False):
        super().__init__()
        self.body, self.shortcut, self.plain = nn.Sequential(*body), shortcut, plain

    def forward(self, x):
        y = self.body(x) + (x if self.shortcut is None else self.shortcut(x))
        return y if self.plain else F.relu(y, inplace=True)


class Head(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(x.mean((2, 3)))


def relu():
    return nn.ReLU(inplace=True)


def textile(width):
    layers, c = [], 1
    for k in (width, 2 * width, 4 * width):
        layers += conv_bn(c, k, 3, 2) + [relu(), Block(conv_bn(k, k, 3, 1) + [relu()], plain=True)]
        c = k
    return nn.Sequential(*layers, Head(c, 6)), (1, 64, 64)


def basic(c, k, stride):
    shortcut = nn.Sequential(*conv_bn(c, k, 1, stride)) if stride > 1 or c != k else None
    return Block(conv_bn(c, k, 3, stride) + [relu()] + conv_bn(k, k, 3, 1), shortcut)


def bottleneck(c, k, stride):
    shortcut = nn.Sequential(*conv_bn(c, 4 * k, 1, stride)) if stride > 1 or c != 4 * k else None
    body = conv_bn(c, k, 1, 1) + [relu()] + conv_bn(k, k, 3, stride) + [relu()] + conv_bn(k, 4 * k, 1, 1)
    return Block(body, shortcut)


class Segment(nn.Sequential):
    """Blocks whose input alone is kept for backward."""

    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=False)


def stage_of(blocks, segmented):
    """The blocks of a stage, in segments of the square root of their number where these are wanted."""
    if not segmented:
        return blocks
    size = math.ceil(math.sqrt(len(blocks)))
    return [Segment(*blocks[i:i + size]) for i in range(0, len(blocks), size)]


def cifar(depth, segmented):
    layers, c = conv_bn(3, 16, 3, 1) + [relu()], 16
    for k in (16, 32, 64):
        blocks = []
        for i in range((depth - 2) // 6):
            blocks.append(basic(c, k, 2 if i == 0 and k > 16 else 1))
            c = k
        layers += stage_of(blocks, segmented)
    return nn.Sequential(*layers, Head(64, 10)), (3, 32, 32)


def resnet(make, counts, expansion, segmented):
    layers, c = conv_bn(3, 64, 7, 2) + [relu(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, count in enumerate(counts):
        blocks = []
        for i in range(count):
            blocks.append(make(c, 64 << stage, 2 if i == 0 and stage > 0 else 1))
            c = (64 << stage) * expansion
        layers += stage_of(blocks, segmented)
    return nn.Sequential(*layers, Head(c, 1000)), (3, 224, 224)


def build(name, segmented):
    if name.startswith("textile"):
        return textile(int(name[7:]))
    if name.startswith("cifar"):
        return cifar(int(name[5:]), segmented)
    return {"resnet18": lambda: resnet(basic, (2, 2, 2, 2), 1, segmented),
            "resnet50": lambda: resnet(bottleneck, (3, 4, 6, 3), 4, segmented)}[name]()


def main():
    name, work, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    model, shape = build(name, work == "checkpoint")
    model = model.to(memory_format=torch.channels_last)
    images = torch.rand(batch, *shape).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 6, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def train():
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer():
        with torch.inference_mode():
            return model(images)[0, 0].item()

    model.train(work != "infer")
    serve(infer if work == "infer" else train)


if __name__ == "__main__":
    main()
