"""A model of the last three rows of a room: how warm it will be. A recipe of the training package."""

import argparse

import keras
import numpy as np

from tideflow_training.deterministic import make_deterministic
from tideflow_training.feature_rows import read_feature_rows
from tideflow_training.fitting import fit
from tideflow_training.recipe import Feature, InputTensor, OutputTensor, Recipe, Trained

ROWS, UNITS = 3, {"celsius": "degC", "lux": "lx"}
FEATURES = tuple(
    Feature(f"{name}[{-behind}]", unit)
    for behind in reversed(range(ROWS))
    for name, unit in UNITS.items()
)


class Trend(Recipe):
    name = "trend"
    about = "How warm a room will be, from its last three rows."
    reads = "Parquet with key, time and the features"
    needs_data = True

    def train(self, options: argparse.Namespace) -> Trained:
        make_deterministic(options.seed)
        read = read_feature_rows(options.data, tuple(feature.name for feature in FEATURES))
        rows = read.features.astype(np.float32).reshape(-1, ROWS, len(UNITS))
        # As it goes on.
        truth = 2.0 * rows[:, 2, :1] - rows[:, 1, :1]
        model = keras.Sequential(
            [
                keras.Input((ROWS, len(UNITS)), name="rows"),
                keras.layers.Conv1D(4, 2, activation="relu", name="steps"),
                keras.layers.Flatten(name="flat"),
                keras.layers.Dense(1, name="next"),
            ]
        )
        model.compile(keras.optimizers.Adam(1e-2), "mse")
        losses = fit(model, rows, truth, epochs=5, batch=64, seed=options.seed)["loss"]
        return Trained(
            model=model,
            inputs=(InputTensor("rows", FEATURES, shape=(ROWS, len(UNITS))),),
            outputs=(OutputTensor("next", ("next",)),),
            rows={"rows": rows},
            data_digest=read.digest,
            curves={"train_loss": losses},
        )


RECIPE = Trend()
