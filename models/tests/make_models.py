"""Makes the SavedModels of the tests: `make_models.py FOLDER`.

Each model is a folder with a manifest; `NAME.json` beside those of Keras holds rows
and the scores that Keras itself gives them.
"""

import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

WIDTH = 12
ROWS = 300


def manifest(
    name,
    width=WIDTH,
    signature="serving_default",
    tensors=("x", "y"),
    outputs=("score",),
    dtype="float32",
):
    """A manifest for a model with one input and one output of these shapes and names."""
    features = [f"f{i}" for i in range(width)]
    return {
        "format_version": 2,
        "name": name,
        "version": "7",
        "features": [{"name": feature, "unit": "1"} for feature in features],
        "signature": signature,
        "inputs": [
            {"tensor": tensors[0], "dtype": dtype, "shape": [width], "features": features}
        ],
        "outputs": [
            {
                "tensor": tensors[1],
                "dtype": dtype,
                "shape": [len(outputs)],
                "names": list(outputs),
            }
        ],
        "batch_rows": 256,
        "scaling": "inside the SavedModel",
        "metrics": {"auc": 0.5},
        "alarm": {"raise_above": 0.9, "clear_below": 0.6},
        "data_digest": "none",
        "libraries": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "created": "2026-01-01T00:00:00Z",
    }


def write_manifest(folder, **values):
    (folder / "manifest.json").write_text(json.dumps(manifest(folder.name, **values), indent=2))


def export_keras(folder, model, output, **values):
    """Exports a Keras model with the names that the export chose, and its scores of random rows."""
    model.export(folder, verbose=False)
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    (input_name,) = signature.structured_input_signature[1]
    write_manifest(folder, tensors=(input_name, output), **values)
    size = (ROWS, values.get("width", WIDTH))
    rows = np.random.default_rng(3).normal(scale=2.0, size=size).astype(np.float32)
    scores = model(rows)
    scores = scores[output] if isinstance(scores, dict) else scores
    (folder.parent / f"{folder.name}.json").write_text(
        json.dumps({"rows": rows.tolist(), "scores": scores.numpy().tolist()})
    )


def net(folder):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            layers.Dense(8, activation="tanh"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    export_keras(folder, model, "output_0")


def two(folder):
    """Two outputs; the one with two columns is read."""
    row = keras.Input((WIDTH,))
    hidden = keras.layers.Dense(8, activation="tanh")(row)
    score = keras.layers.Dense(1, activation="sigmoid")(hidden)
    parts = keras.layers.Dense(2, activation="sigmoid")(hidden)
    model = keras.Model(row, {"score": score, "parts": parts})
    export_keras(folder, model, "parts", outputs=["heat", "wear"])


def wide(folder):
    """784-32-32-32-32-10, as the workload `score` has it."""
    layers = keras.layers
    hidden = [layers.Dense(32, activation="relu") for _ in range(4)]
    last = layers.Dense(10, activation="softmax")
    model = keras.Sequential([keras.Input((784,)), *hidden, last])
    export_keras(folder, model, "output_0", width=784, outputs=[f"c{i}" for i in range(10)])


class Members(keras.layers.Layer):
    """The mean of five networks that are computed side by side, as those that are trained are."""

    def build(self, shape):
        sizes = [(shape[-1], 32), (32, 1)]
        self.kernels = [self.add_weight(shape=(5, *size), name=f"k{size[0]}") for size in sizes]

    def call(self, rows):
        hidden = tf.tanh(tf.matmul(tf.tile(rows[None], [5, 1, 1]), self.kernels[0]))
        return tf.reduce_mean(tf.sigmoid(tf.matmul(hidden, self.kernels[1])), axis=0)


def members(folder):
    model = keras.Sequential([keras.Input((WIDTH,)), Members()])
    export_keras(folder, model, "output_0")


class Sum(tf.Module):
    """The weighted sum of a row, in a type of choice."""

    def __init__(self, width, dtype):
        super().__init__()
        self.weights = tf.Variable(tf.ones((width, 1), dtype))

    def __call__(self, x):
        return {"y": tf.matmul(x, self.weights)}


def save_sum(folder, rows=None, width=WIDTH, dtype=tf.float32, extra=False, **values):
    """Saves a `Sum`; with `extra` it takes a second input."""
    module = Sum(width, dtype)
    specs = [tf.TensorSpec((rows, width), dtype, "x")]
    function = lambda x: module(x)
    if extra:
        specs.append(tf.TensorSpec((), dtype, "gain"))
        function = lambda x, gain: {"y": module(x)["y"] * gain}
    concrete = tf.function(function).get_concrete_function(*specs)
    name = values.get("signature", "serving_default")
    tf.saved_model.save(module, folder, signatures={name: concrete})
    write_manifest(folder, **values)


def mixed(folder):
    """Two inputs, three types, a window of rows among them; two outputs of other types."""

    class Mixed(tf.Module):
        def __init__(self):
            super().__init__()
            self.gain = tf.Variable(2.0)

    module = Mixed()
    specs = [
        tf.TensorSpec((None, 3, 2), tf.float32, "window"),
        tf.TensorSpec((None,), tf.int64, "site"),
        tf.TensorSpec((None, 1), tf.float64, "exact"),
    ]

    def call(window, site, exact):
        last = window[:, -1, :] * module.gain
        return {"last": last, "next_site": site + 1, "exact": exact * 3.0, "unused": exact}

    concrete = tf.function(call).get_concrete_function(*specs)
    tf.saved_model.save(module, folder, signatures={"serving_default": concrete})
    window = [f"{name}[{row}]" for row in range(3) for name in ("a", "b")]
    features = ["site", *window, "exact"]
    values = manifest(folder.name)
    values.update(
        features=[{"name": feature, "unit": "1"} for feature in features],
        inputs=[
            {"tensor": "site", "dtype": "int64", "shape": [], "features": ["site"]},
            {"tensor": "window", "dtype": "float32", "shape": [3, 2], "features": window},
            {"tensor": "exact", "dtype": "float64", "shape": [1], "features": ["exact"]},
        ],
        outputs=[
            {"tensor": "next_site", "dtype": "int64", "shape": [], "names": ["next"]},
            {"tensor": "last", "dtype": "float32", "shape": [2], "names": ["a", "b"]},
            {"tensor": "exact", "dtype": "float64", "shape": [1], "names": ["exact"]},
        ],
    )
    (folder / "manifest.json").write_text(json.dumps(values, indent=2))


def main(target):
    keras.utils.set_random_seed(7)
    net(target / "net")
    two(target / "two")
    wide(target / "wide")
    members(target / "members")
    save_sum(target / "narrow", width=9)
    save_sum(target / "other_signature", signature="predict")
    save_sum(target / "double", dtype=tf.float64)
    save_sum(target / "fixed_rows", rows=32)
    save_sum(target / "two_inputs", extra=True)
    mixed(target / "mixed")


main(pathlib.Path(sys.argv[1]))
