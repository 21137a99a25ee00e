"""PyTorch's side of bench/distributed.lua: the textile network with DistributedDataParallel over gloo.

    python torch_distributed.py RANK SIZE [BATCH [STEPS [WIDTH]]]

is one of SIZE processes of one thread each on this machine, which meet at port 29511; rank 0 tells the images per second of
the median step.
"""
import os
import statistics
import sys
import time

import torch
import torch.distributed
import torch.nn.functional as F

import torch_worker
import worker


def main():
    rank, size = int(sys.argv[1]), int(sys.argv[2])
    batch, steps, width = (int(word) for word in (sys.argv[3:] + ["256", "20", "64"][len(sys.argv) - 3:]))
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(1 + rank)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29511")
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    model, shape = torch_worker.textile(width)
    model = torch.nn.parallel.DistributedDataParallel(model.to(memory_format=torch.channels_last))
    images = torch.rand(batch // size, *shape).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 6, (batch // size,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    times = []
    for _ in range(steps):
        before = time.perf_counter()
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        times.append(time.perf_counter() - before)
    if rank == 0:
        print(f"PyTorch: {size} processes of 1 thread: {batch / statistics.median(times[1:]):.0f} images/s, "
              f"{worker.peak_memory():.0f} MB")
    torch.distributed.destroy_process_group()


main()
