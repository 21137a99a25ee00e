"""OpenVINO's side of `make bench`: a network that texres has exported, measured by the protocol of torch_worker.py.

    python openvino_worker.py FILE WORK BATCH THREADS

reads the ONNX file FILE, compiles it for one size of batch with the hint LATENCY (WORK is f32, or int8: quantized by
nncf.quantize, calibrated on random images, which does for speed), and answers the same requests.
"""
import os
import statistics
import sys
import time

import numpy
import nncf
import openvino


def shape_of_batch(model, batch):
    return [batch] + [size.get_length() for size in list(model.input(0).partial_shape)[1:]]


def quantized(model):
    """The model in 8 bits."""
    random, shape = numpy.random.default_rng(1), shape_of_batch(model, 1)
    images = [random.random(shape, dtype=numpy.float32) for _ in range(32)]
    return nncf.quantize(model, nncf.Dataset(images), subset_size=len(images))


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


def main():
    path, work, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    answers, sys.stdout = sys.stdout, sys.stderr  # nncf tells its progress on standard output
    core = openvino.Core()
    model = core.read_model(path)
    if work == "int8":
        model = quantized(model)
    model.reshape(shape_of_batch(model, batch))
    request = core.compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
    }).create_infer_request()
    images = numpy.random.default_rng(1).random(tuple(model.input(0).shape), dtype=numpy.float32)

    def step():
        request.infer({0: images}, share_inputs=True)
        return request.get_output_tensor(0).data[0, 0]

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
        budget, times, began = float(line.split()[1]), [], clock()
        while len(times) < 3 or clock() - began < budget:
            before = clock()
            step()
            times.append(clock() - before)
        answer(f"step {statistics.median(times):.6f}")


main()
