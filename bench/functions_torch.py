"""PyTorch's side of bench/functions.lua: the same cases by the same names.

    python functions_torch.py THREADS [WORD ...]

prints, for every case whose name holds one of the words, its name and the shortest time of one call in microseconds.
"""
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
turned, mask = a.t(), a > 0.5
row, column = torch.rand(1024), torch.rand(1024, 1)
images = torch.rand(64, 32, 32, 64)
index, places = torch.randint(0, 1024, (1024,)), torch.randint(0, 1024, (1024, 1024))
small, small2 = torch.rand(8, 8), torch.rand(8, 8)
w, w2 = torch.rand(1024, 1024, requires_grad=True), torch.rand(8, 8, requires_grad=True)


def gradient(f):
    def work():
        w.grad = None
        f().sum().backward()
    return work


def small_gradient():
    w2.grad = None
    (w2 * small).sum().backward()


CASES = {
    "a + b": lambda: a + b,
    "a + row": lambda: a + row,
    "a + column": lambda: a + column,
    "a + 1": lambda: a + 1,
    "a transposed + b": lambda: turned + b,
    "a / b": lambda: a / b,
    "a ^ 2": lambda: a ** 2,
    "a ^ 1.5": lambda: a ** 1.5,
    "exp": a.exp, "log": a.log, "sqrt": a.sqrt, "tanh": a.tanh, "sigmoid": a.sigmoid, "erf": a.erf,
    "gt": lambda: a > b,
    "where": lambda: torch.where(mask, a, b),
    "masked_fill": lambda: a.masked_fill(mask, 0),
    "clamp": lambda: a.clamp(0.2, 0.8),
    "sum": a.sum,
    "sum 1": lambda: a.sum(0),
    "sum 2": lambda: a.sum(1),
    "sum of channels": lambda: images.sum((0, 1, 2)),
    "mean of pixels": lambda: images.mean((1, 2)),
    "var 2": lambda: a.var(1),
    "max": a.max,
    "max 2": lambda: a.max(1),
    "argmax 1": lambda: a.argmax(0),
    "logsumexp 2": lambda: a.logsumexp(1),
    "norm": a.norm,
    "cumsum 2": lambda: a.cumsum(1),
    "matmul": lambda: a @ b,
    "matmul transposed": lambda: turned @ b,
    "copy transposed": turned.contiguous,
    "channels first": lambda: images.permute(0, 3, 1, 2).contiguous(),
    "to f64": a.double,
    "cat 1": lambda: torch.cat([a, b], 0),
    "cat 2": lambda: torch.cat([a, b], 1),
    "index_select 1": lambda: a.index_select(0, index),
    "gather 2": lambda: a.gather(1, places),
    "sort 2": lambda: a.sort(1),
    "topk 5": lambda: a.topk(5, 1),
    "8x8 + 8x8": lambda: small + small2,
    "8x8 view": lambda: small[2],
    "gradient w * a": gradient(lambda: w * a),
    "gradient w + row": gradient(lambda: w + row),
    "gradient w ^ 2": gradient(lambda: w ** 2),
    "gradient exp": gradient(lambda: w.exp()),
    "gradient tanh": gradient(lambda: w.tanh()),
    "gradient clamp": gradient(lambda: w.clamp(0.2, 0.8)),
    "gradient where": gradient(lambda: torch.where(mask, w, b)),
    "gradient max 2": gradient(lambda: w.max(1)[0]),
    "gradient std 2": gradient(lambda: w.std(1)),
    "gradient prod 2": gradient(lambda: w.prod(1)),
    "gradient matmul": gradient(lambda: w @ a),
    "gradient select": gradient(lambda: w[2]),
    "gradient index_select": gradient(lambda: w.index_select(0, index)),
    "gradient gather": gradient(lambda: w.gather(1, places)),
    "gradient cat": gradient(lambda: torch.cat([w, a], 1)),
    "gradient normalize": gradient(lambda: (w - w.mean(1, keepdim=True)) / (w.std(1, keepdim=True) + 1e-5)),
    "gradient 8x8": small_gradient,
}


def layer(name, x, f):
    leaf = x.clone().requires_grad_(True)

    def work():
        leaf.grad = None
        f(leaf).sum().backward()
    CASES[name] = lambda: f(x)
    CASES["gradient " + name] = work


def focal_loss(x):
    lp = F.log_softmax(x, 1).gather(1, classes[:, None])
    return (-((1 - lp.exp()) ** 2) * lp).mean()


pixels = images.permute(0, 3, 1, 2)  # channels last in memory
gamma, beta = torch.rand(64, requires_grad=True), torch.rand(64, requires_grad=True)
scores, classes = torch.rand(65536, 6), torch.randint(0, 6, (65536,))
many, labels = torch.rand(1024, 1000), torch.randint(0, 1000, (1024,))
turned_w = w.detach().t().contiguous().requires_grad_(True)
layer("batch_norm", pixels, lambda x: F.batch_norm(x, None, None, gamma, beta, training=True))
layer("relu", pixels, F.relu)
layer("silu", pixels, F.silu)
layer("gelu", pixels, F.gelu)
layer("dropout", pixels, lambda x: F.dropout(x, 0.5))
layer("max_pool2d 2", pixels, lambda x: F.max_pool2d(x, 2))
layer("max_pool2d 3/2", pixels, lambda x: F.max_pool2d(x, 3, 2, 1))
layer("avg_pool2d 2", pixels, lambda x: F.avg_pool2d(x, 2))
layer("global_avg_pool", pixels, lambda x: x.mean((2, 3)))
layer("softmax", many, lambda x: F.softmax(x, 1))
layer("log_softmax", many, lambda x: F.log_softmax(x, 1))
layer("cross_entropy", scores, lambda x: F.cross_entropy(x, classes))
layer("cross_entropy of 1000", many, lambda x: F.cross_entropy(x, labels))
layer("cross_entropy smoothed", many, lambda x: F.cross_entropy(x, labels, label_smoothing=0.1))
layer("focal_loss", scores, focal_loss)
layer("mse_loss", a, lambda x: F.mse_loss(x, b))
layer("linear", a, lambda x: F.linear(x, turned_w, row))


def shortest(f, calls):
    f()
    best, start = float("inf"), time.perf_counter()
    while True:
        before = time.perf_counter()
        for _ in range(calls):
            f()
        after = time.perf_counter()
        best = min(best, (after - before) / calls)
        if after - start > 0.5:
            return best * 1e6


words = sys.argv[2:]
for name, work in CASES.items():
    if not words or any(word in name for word in words):
        print("%s\t%.2f" % (name, shortest(work, 200 if "8x8" in name else 1)))
