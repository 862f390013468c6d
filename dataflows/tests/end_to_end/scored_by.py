"""Holds each score to the version that it names: `scored_by.py WINDOWS SCORES MODEL...`.

The first two hold records, one a line, the value as text; the models are the `.keras` files of versions 1, 2 and
so on. Ends with 0 where each score is what Keras says of its window with that version's model, within 1e-5, and
the models say different things.
"""

import json
import sys

import keras
import numpy as np

from tideflow_training.recipes.health import FIELDS
from tideflow_training.windows import parse_windows


def values(path):
    """The values of a topic."""
    with open(path) as lines:
        return [json.loads(line)["value"] for line in lines]


def main(windows, scores, *models):
    windows = parse_windows((text.encode() for text in values(windows)), windows, FIELDS)
    scores = [json.loads(text) for text in values(scores)]
    scores = {(score["device"], score["window_start"]): score for score in scores}
    keys = list(zip(windows.device.tolist(), windows.start_ms.tolist()))
    rows = windows.features.astype(np.float32)
    said = [keras.models.load_model(model).predict(rows, batch_size=4096, verbose=0) for model in models]
    said = np.array([of["score"][:, 0] for of in said])
    version = np.array([int(scores[key]["version"]) for key in keys])
    found = np.array([scores[key]["score"] for key in keys])
    apart = float(np.max(np.abs(found - said[version - 1, np.arange(len(keys))])))
    between = float(np.median(np.ptp(said, axis=0)))
    print(json.dumps({"scores": len(keys), "apart_max": apart, "between_models": between}))
    assert between > 1e-3, between
    assert apart <= 1e-5, apart


main(*sys.argv[1:])
