"""OpenVINO's side of `make bench`: a network that texres has exported, measured by the protocol of worker.py.

    python openvino_worker.py FILE WORK BATCH THREADS

reads the ONNX file FILE, compiles it for one size of batch with the hint LATENCY (WORK is f32, or int8: quantized by
nncf.quantize, calibrated on random images, which does for speed), and answers the same requests.
"""
import sys

import numpy
import nncf
import openvino

from worker import serve


def shape_of_batch(model, batch):
    return [batch] + [size.get_length() for size in list(model.input(0).partial_shape)[1:]]


def quantized(model):
    """The model in 8 bits."""
    random, shape = numpy.random.default_rng(1), shape_of_batch(model, 1)
    images = [random.random(shape, dtype=numpy.float32) for _ in range(32)]
    return nncf.quantize(model, nncf.Dataset(images), subset_size=len(images))


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

    serve(step, answers)


main()
