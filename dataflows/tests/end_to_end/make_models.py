"""Makes the models of the tests: `make_models.py FOLDER`.

`health` takes the features of `device_health`, and so does `retrained`, with other weights; beside each
lies its `.keras` file, the same model for Keras itself. `narrow` takes three features fewer than its manifest and the graph say, `other` takes
other features than the graph's, `overflow` cannot score a device that is hot.
"""

import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

FEATURES = [
    f"{quantity}.{statistic}"
    for quantity in ("temperature", "vibration", "current")
    for statistic in ("mean", "std", "min", "max")
]


def network(width):
    """A small network with its scaling inside, on `width` features; weights by the seed."""
    row = keras.Input((width,), name="features")
    scaled = keras.layers.Normalization(
        mean=np.linspace(0.5, 40.0, width), variance=np.linspace(1.0, 400.0, width)
    )(row)
    hidden = keras.layers.Dense(16, activation="tanh")(scaled)
    score = keras.layers.Dense(1, activation="sigmoid")(hidden)
    return keras.Model(row, {"score": score})


def save(model, folder, features):
    """Exports a model with a manifest that names these features."""
    model.export(folder, verbose=False)
    write_manifest(folder, features)


def save_overflow(folder):
    """Saves a model whose scores are infinite above a mean of 34 degrees."""
    module = tf.Module()
    module.score = tf.function(
        lambda features: {"score": features[:, :1] * 1e37},
        input_signature=[tf.TensorSpec((None, len(FEATURES)), tf.float32, name="features")],
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.score})
    write_manifest(folder, FEATURES)


def write_manifest(folder, features):
    manifest = {
        "format_version": 2,
        "name": folder.name,
        "version": "3",
        "features": [{"name": name, "unit": "1"} for name in features],
        "signature": "serving_default",
        "inputs": [
            {
                "tensor": "features",
                "dtype": "float32",
                "shape": [len(features)],
                "features": list(features),
            }
        ],
        "outputs": [{"tensor": "score", "dtype": "float32", "shape": [1], "names": ["score"]}],
        "batch_rows": 256,
        "scaling": "inside the SavedModel",
        "metrics": {},
        "data_digest": "none",
        "libraries": {"keras": keras.__version__},
        "created": "2026-01-01T00:00:00Z",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))


def main(target):
    keras.utils.set_random_seed(7)
    health = network(len(FEATURES))
    save(health, target / "health", FEATURES)
    health.save(target / "health.keras")
    save(network(9), target / "narrow", FEATURES)
    save(network(9), target / "other", FEATURES[:9])
    save_overflow(target / "overflow")
    retrained = network(len(FEATURES))
    save(retrained, target / "retrained", FEATURES)
    retrained.save(target / "retrained.keras")


main(pathlib.Path(sys.argv[1]))
