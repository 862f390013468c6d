"""Scores windows with a model of the training package, in Python: `trained.py MODEL WINDOWS OUT`.

WINDOWS holds windows as they are published, one JSON object a line. OUT gets one JSON object: the
names of the features, and for each window its device, its row and its score.
"""

import json
import pathlib
import sys

import numpy as np

from tideflow_training.manifest import fields_of, read_manifest
from tideflow_training.saved_model import load_score
from tideflow_training.windows import feature_names, read_windows


def main(model, windows, out):
    fields = fields_of(read_manifest(model))
    windows = read_windows(windows, fields)
    rows = windows.features.astype(np.float32)
    said = {
        "features": feature_names(fields),
        "devices": windows.device.tolist(),
        "rows": rows.tolist(),
        "scores": load_score(model)(rows).tolist(),
    }
    pathlib.Path(out).write_text(json.dumps(said), encoding="utf-8")


main(*sys.argv[1:])
