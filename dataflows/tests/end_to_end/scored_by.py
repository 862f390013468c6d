"""Holds each score to the version that it names: `scored_by.py WINDOWS SCORES MODEL...`.

The first two hold records, one a line, the value as text; the models are the `.keras` files of versions 1, 2 and
so on. Ends with 0 where each score is what Keras says of its window with that version's model, within 1e-5, and
the models say different things.
"""

import json
import sys

import keras
import numpy as np

FIELDS = ("temperature", "vibration", "current")
STATISTICS = ("mean", "std", "min", "max")


def records(path):
    """The values of a topic, by device and window."""
    with open(path) as lines:
        values = [json.loads(json.loads(line)["value"]) for line in lines]
    return {(value["device"], value["window_start"]): value for value in values}


def main(windows, scores, *models):
    windows, scores = records(windows), records(scores)
    keys = list(scores)
    rows = [[windows[key][f][s] for f in FIELDS for s in STATISTICS] for key in keys]
    rows = np.array(rows, np.float32)
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
