"""A model of your own: copy this file into `tideflow_training/recipes/`, the table in its
`gates.toml` into that of the package, and change the name and the five places with a number.

As it is, it learns how fast a made-up bearing wears from its load and its temperature.
"""

import argparse
import hashlib

import keras
import numpy as np

from tideflow_training import plots
from tideflow_training.deterministic import make_deterministic
from tideflow_training.fitting import fit
from tideflow_training.recipe import (
    Evaluation,
    EvaluationSet,
    Feature,
    InputTensor,
    OutputTensor,
    Recipe,
    Trained,
)
from tideflow_training.saved_model import Loaded

# 1. What a row holds, in this order, in the units that your devices send.
FEATURES = (Feature("load", "kN"), Feature("temperature", "degC"))
# 2. What the model says of it.
OUTPUT = "wear"


# 3. Where rows come from. A model on files reads them from `options.data`: say so in `reads`.
def made_up(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features [rows, 2] and what is true of each row [rows, 1]."""
    random = np.random.default_rng(seed)
    load, temperature = random.uniform(1.0, 9.0, rows), random.uniform(20.0, 90.0, rows)
    wear = 0.1 * load**2 * (1.0 + 0.01 * temperature) + random.normal(0.0, 0.2, rows)
    return np.stack([load, temperature], axis=1), wear[:, None]


class Model(Recipe):
    """How it is made and judged."""

    name = "bearing_wear"
    about = "How fast a made-up bearing wears, from its load and temperature: the template."
    # The keys of `evaluation` in the gates file.
    evaluation_keys = (("rows", "seed"),)

    # 4. The network and how it is trained. Scaling is a layer, so that whoever calls the model
    # gives numbers as they come.
    def train(self, options: argparse.Namespace) -> Trained:
        make_deterministic(options.seed)
        features, truth = made_up(2_000, options.seed)
        scale = keras.layers.Normalization(
            mean=features.mean(axis=0), variance=features.var(axis=0), name="scale"
        )
        model = keras.Sequential(
            [
                keras.Input((len(FEATURES),), name="features"),
                scale,
                keras.layers.Dense(16, "relu", name="hidden"),
                keras.layers.Dense(1, name=OUTPUT),
            ]
        )
        model.compile(keras.optimizers.Adam(1e-2), "mse")
        epochs = options.epochs or 30
        losses = fit(model, features, truth, epochs=epochs, batch=64, seed=options.seed)["loss"]
        return Trained(
            model=model,
            inputs=(InputTensor("features", FEATURES),),
            outputs=(OutputTensor(OUTPUT, (OUTPUT,)),),
            rows={"features": features},
            data_digest=hashlib.sha256(features.tobytes() + truth.tobytes()).hexdigest(),
            parameters={"seed": options.seed, "epochs": epochs, "rows": len(features)},
            metrics={"train_loss": losses[-1]},
            curves={"train_loss": losses},
        )

    # 5. What it is worth, on rows that stay the same. The gates file names figures from here.
    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        features, truth = made_up(**wanted.definition)
        found = model.predict({"features": features})[OUTPUT]
        errors = found - truth
        return Evaluation(
            "{rows} made-up rows".format(**wanted.definition),
            {
                "rmse": float(np.sqrt(np.mean(errors**2))),
                "mean_error": float(np.mean(errors)),
            },
            plots={"residuals": plots.residuals(truth, found, OUTPUT)},
        )


RECIPE = Model()
