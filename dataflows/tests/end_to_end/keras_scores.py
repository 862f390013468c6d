"""Trains `health` once more on a file of features, and holds the graph's scores to what that Keras model says, before
it is exported: `keras_scores.py FILE SCORES EPOCHS`.

SCORES holds records of the scores topic, one a line, the value as text. The same data and seed give the same
weights, so the graph's model is this one. Ends with 0 where every row has a score that is Keras' within 1e-5.
"""

import argparse
import json
import pathlib
import sys

from tideflow_training.feature_rows import read_feature_rows
from tideflow_training.recipes.health import RECIPE


def main(file, scores, epochs):
    options = argparse.Namespace(data=pathlib.Path(file), seed=1, epochs=int(epochs))
    trained = RECIPE.train(options)
    rows = read_feature_rows(file, trained.inputs[0].names)
    said = trained.model.predict(rows.features.astype("float32"), batch_size=4096, verbose=0)
    said = (said["score"] if isinstance(said, dict) else said).reshape(-1)
    with open(scores) as lines:
        values = [json.loads(json.loads(line)["value"]) for line in lines]
    found = {(value["device"], value["window_start"]): value["score"] for value in values}
    places = list(zip(rows.key.tolist(), rows.time.tolist()))
    assert len(found) == len(values) and set(found) == set(places), f"{len(found)} scores"
    apart = max(abs(found[place] - score) for place, score in zip(places, said.tolist()))
    print(json.dumps({"scores": len(places), "apart_max": apart}))
    assert apart <= 1e-5, apart


main(*sys.argv[1:])
