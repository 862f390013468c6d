"""The network of the workload `score` as a SavedModel with a manifest: `ffnn.py OUT [WEIGHTS]`.

784-32-32-32-32-10, relu, softmax. WEIGHTS is little-endian float32: for each layer its kernel, a row an
input, then its bias; without it they are random, and the same each time.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

SIZES = (784, 32, 32, 32, 32, 10)


def layers(weights):
    shapes = list(zip(SIZES, SIZES[1:]))
    expected = sum(a * b + b for a, b in shapes)
    if weights is None:
        flat = np.random.default_rng(1).normal(0, 0.1, expected).astype("<f4")
    else:
        flat = np.fromfile(weights, "<f4")
    if len(flat) != expected:
        sys.exit(f"{weights}: expected {expected} numbers of 4 bytes, found {len(flat)}")
    for a, b in shapes:
        kernel, bias, flat = flat[: a * b], flat[a * b : a * b + b], flat[a * b + b :]
        yield kernel.reshape(a, b), bias


class Network(tf.Module):
    def __init__(self, weights):
        super().__init__()
        self.layers = [(tf.Variable(kernel), tf.Variable(bias)) for kernel, bias in layers(weights)]

    @tf.function(input_signature=[tf.TensorSpec((None, SIZES[0]), tf.float32, "pixels")])
    def score(self, pixels):
        for kernel, bias in self.layers[:-1]:
            pixels = tf.nn.relu(pixels @ kernel + bias)
        kernel, bias = self.layers[-1]
        return {"classes": tf.nn.softmax(pixels @ kernel + bias)}


def main(out, weights=None):
    out = pathlib.Path(out)
    network = Network(weights)
    tf.saved_model.save(network, str(out), signatures={"serving_default": network.score})
    features = [f"p{i:03}" for i in range(SIZES[0])]
    classes = [f"class{i}" for i in range(SIZES[-1])]
    tensor = lambda name, size: {"tensor": name, "dtype": "float32", "shape": [size]}
    manifest = {
        "format_version": 2,
        "name": "ffnn",
        "version": "1",
        "features": [{"name": feature, "unit": "1"} for feature in features],
        "signature": "serving_default",
        "inputs": [{**tensor("pixels", SIZES[0]), "features": features}],
        "outputs": [{**tensor("classes", SIZES[-1]), "names": classes}],
        "batch_rows": 256,
        "scaling": "none",
        "metrics": {},
        "data_digest": "none",
        "libraries": {"tensorflow": tf.__version__},
        "created": "2026-01-01T00:00:00Z",
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1))


main(*sys.argv[1:])
