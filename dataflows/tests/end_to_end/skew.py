"""Scores a file of features with a model of the training package, in Python: `skew.py MODEL FILE OUT`.

OUT gets one JSON object: for each row its key, its time, its features and its score, of the exported
SavedModel in batches of the size that the manifest says.
"""

import json
import os
import pathlib
import sys

# As in graphs, which the last bits of a score may depend on.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"

import numpy as np  # noqa: E402

from tideflow_training.feature_rows import read_feature_rows  # noqa: E402
from tideflow_training.saved_model import load  # noqa: E402


def main(model, file, out):
    model = load(model)
    names = tuple(feature["name"] for feature in model.manifest["features"])
    rows = read_feature_rows(file, names)
    features, shape = rows.features.astype(np.float32), model.manifest["inputs"][0]["shape"]
    said = {
        "keys": rows.key.tolist(),
        "times": rows.time.tolist(),
        "rows": rows.features.tolist(),
        "scores": model.score(features.reshape(len(rows), *shape)).tolist(),
    }
    pathlib.Path(out).write_text(json.dumps(said), encoding="utf-8")


main(*sys.argv[1:])
