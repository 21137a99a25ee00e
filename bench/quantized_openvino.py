"""The accuracy of OpenVINO's f32 and 8 bits on the sets that texres' 8 bits are judged by.

    python quantized_openvino.py FOLDER NETWORK.onnx

NETWORK.onnx is what texres exports, logits. FOLDER holds calibrate_x.npy, images {N,H,W,C} of the training part, as
the file takes them, by which nncf.quantize calibrates, and test_x.npy with test_y.npy, labels from 0, of photographs
that the network was not trained on; bench/quantized.lua writes them. Prints `f32 ACCURACY` and `int8 ACCURACY`,
shares of 1, and `same SHARE`, of the images that both name alike.
"""
import pathlib
import sys

import nncf
import numpy
import openvino


def classes_of(model, images):
    """The class that a model names of each image, from 0."""
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    batches = numpy.array_split(images, range(64, len(images), 64))
    return numpy.concatenate([compiled({0: batch})[0].argmax(1) for batch in batches])


def main():
    folder, path = pathlib.Path(sys.argv[1]), sys.argv[2]
    calibrate, images = numpy.load(folder / "calibrate_x.npy"), numpy.load(folder / "test_x.npy")
    labels = numpy.load(folder / "test_y.npy")
    answers, sys.stdout = sys.stdout, sys.stderr  # nncf tells its progress on standard output
    model = openvino.Core().read_model(path)
    f32 = classes_of(model, images)
    data = nncf.Dataset([image[None] for image in calibrate])
    int8 = classes_of(nncf.quantize(model, data, subset_size=len(calibrate)), images)
    print(f"f32 {(f32 == labels).mean():.6f}", file=answers)
    print(f"int8 {(int8 == labels).mean():.6f}", file=answers)
    print(f"same {(f32 == int8).mean():.6f}", file=answers)


main()
