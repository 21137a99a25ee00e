"""The protocol of `make bench`, between bench/run.lua and a process that does one thing over and over.

A worker makes its network and one batch, works twice to warm up and writes `ready SECONDS` after the first time: since the
process began, that batch included. Then, for every line `measure SECONDS` on standard input, it works for about that
long and writes `step SECONDS`, the median time of a batch (with `measure SECONDS processor` of the processor's time, all
threads together); `memory` is answered by `memory MIB`, the largest resident memory of the process, and `stop` ends it.

texres_worker.lua speaks the same.
"""
import os
import statistics
import sys
import time


def seconds_since_start():
    """Since this process was started, from the kernel's record of it (field 22 of /proc/self/stat)."""
    ticks = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
    uptime = float(open("/proc/uptime").read().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


def peak_memory():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def measure(step, budget, clock):
    """The median time of a step, of those that fit in so many seconds, three at least."""
    times, began = [], clock()
    while len(times) < 3 or clock() - began < budget:
        before = clock()
        step()
        times.append(clock() - before)
    return statistics.median(times)


def serve(step, answers=sys.stdout):
    """Warms up, and answers requests until one says stop. step(): the work on one batch."""
    def answer(text):
        print(text, file=answers, flush=True)

    step()
    answer(f"ready {seconds_since_start():.3f}")
    step()
    for line in sys.stdin:
        if line.startswith("stop"):
            break
        if line.startswith("memory"):
            answer(f"memory {peak_memory():.1f}")
            continue
        clock = time.process_time if "processor" in line else time.perf_counter
        answer(f"step {measure(step, float(line.split()[1]), clock):.6f}")
