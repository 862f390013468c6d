"""Scores windows with Keras itself, and raises alarms on the scores again:
`rescore.py MODEL WINDOWS SCORES ALARMS RAISE_ABOVE CLEAR_BELOW WINDOWS_MIN`.

MODEL is the `.keras` file of the model; the next three hold records a line, `{"partition", "key",
"value"}`, the value as text. Ends with 0 and a line of figures where every window has one score, it
is Keras' within 1e-5, and the alarms are those that follow from the scores.
"""

import collections
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


def alarms_of(scores, raise_above, clear_below, windows_min):
    """The alarms that follow from a device's scores in order of time."""
    expected = {}
    above, raised, since = 0, False, None
    for key in sorted(scores, key=lambda key: key[1]):
        score = np.float32(scores[key]["score"])
        state = None
        if score > raise_above:
            if above == 0 and not raised:
                since = key[1]
            above += 1
            if not raised and above >= windows_min:
                raised, state = True, "raised"
        else:
            above = 0
            if raised and score < clear_below:
                raised, state = False, "cleared"
        if state:
            expected[key] = {"state": state, "since": since, "score": scores[key]["score"]}
    return expected


def compare_alarms(scores, alarms, raise_above, clear_below, windows_min):
    devices = collections.defaultdict(dict)
    for key, score in scores.items():
        devices[key[0]][key] = score
    expected = {}
    for of_device in devices.values():
        limits = np.float32(raise_above), np.float32(clear_below), int(windows_min)
        expected.update(alarms_of(of_device, *limits))
    fields = ("state", "since", "score")
    found = {key: {field: alarm[field] for field in fields} for key, alarm in alarms.items()}
    apart = [(key, expected.get(key), found.get(key)) for key in expected.keys() | found.keys()]
    apart = [each for each in apart if each[1] != each[2]]
    assert not apart, f"{len(apart)} alarms, such as {apart[:3]}"
    states = collections.Counter(alarm["state"] for alarm in found.values())
    assert states["raised"] > 10 and states["cleared"] > 10, states
    return dict(states)


def main(model, windows, scores, alarms, *limits):
    windows, scores, alarms = records(windows), records(scores), records(alarms)
    assert set(windows) == set(scores), f"{len(windows)} windows, {len(scores)} scores"
    keys = list(windows)
    rows = np.array(
        [[windows[key][f][s] for f in FIELDS for s in STATISTICS] for key in keys], np.float32
    )
    theirs = keras.models.load_model(model).predict(rows, batch_size=4096, verbose=0)["score"][:, 0]
    ours = np.array([scores[key]["score"] for key in keys])
    apart = float(np.max(np.abs(ours - theirs)))
    spread = float(np.ptp(theirs))
    alarms = compare_alarms(scores, alarms, *limits)
    print(json.dumps({"scores": len(keys), "apart_max": apart, "spread": spread, **alarms}))
    # A model that says the same of everything would prove nothing.
    assert spread > 0.5, spread
    assert apart <= 1e-5, apart


main(*sys.argv[1:])
