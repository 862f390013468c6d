"""Scores windows with Keras itself: `rescore.py MODEL WINDOWS SCORES`.

MODEL is the `.keras` file of the model; the others hold records a line, `{"partition", "key",
"value"}`, the value as text. Ends with 0 and a line of figures where every window has one score and
it is Keras' within 1e-5.
"""

import json
import sys

import keras
import numpy as np

FIELDS = ("temperature", "vibration", "current")
STATISTICS = ("mean", "std", "min", "max")


def records(path):
    """The values of a topic, by device and window."""
    found = {}
    with open(path) as lines:
        for line in lines:
            value = json.loads(json.loads(line)["value"])
            key = (value["device"], value["window_start"], value["window_end"])
            assert key not in found, f"{path}: {key} twice"
            found[key] = value
    return found


def main(model, windows, scores):
    windows, scores = records(windows), records(scores)
    assert set(windows) == set(scores), f"{len(windows)} windows, {len(scores)} scores"
    keys = list(windows)
    rows = np.array(
        [[windows[key][f][s] for f in FIELDS for s in STATISTICS] for key in keys], np.float32
    )
    theirs = keras.models.load_model(model).predict(rows, batch_size=4096, verbose=0)["score"][:, 0]
    ours = np.array([scores[key]["score"] for key in keys])
    apart = float(np.max(np.abs(ours - theirs)))
    spread = float(np.std(theirs))
    print(json.dumps({"scores": len(keys), "apart_max": apart, "spread": spread}))
    # A model that says the same of everything would prove nothing.
    assert spread > 0.01, spread
    assert apart <= 1e-5, apart


main(*sys.argv[1:])
