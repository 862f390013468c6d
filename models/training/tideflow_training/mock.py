"""The mock models: dense networks on uniform random features with random labels.

There is nothing to learn: an accuracy near 0.5 on rows that were not trained on is the right
answer, and any other would be an error. They show that a network of their shape is trained,
exported, registered and served.
"""

from __future__ import annotations

import argparse
import hashlib

import keras
import numpy as np

from tideflow_training import plots
from tideflow_training.deterministic import make_deterministic
from tideflow_training.evaluate import area_under_roc
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

ROWS = 1_000


def random_rows(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features [count, width] uniform in 0 to 1, and labels 0 or 1 [count] that have nothing to do
    with them."""
    random = np.random.default_rng(seed)
    features = random.random((count, width), np.float32)
    return features, random.integers(0, 2, count).astype(np.float32)


class MockModel(Recipe):
    """Dense layers with relu and dropout, a sigmoid at the end; adam, binary cross-entropy."""

    evaluation_keys = (("rows", "seed"),)

    def __init__(
        self, name: str, width: int, layers: tuple[tuple[int, float], ...], epochs: int, batch: int
    ):
        """`layers` are pairs of units and the share that is dropped after them."""
        hidden = "-".join(
            f"{units}-dropout {drop}" if drop else f"{units}" for units, drop in layers
        )
        self.name = name
        self.about = (
            f"A network {width}-{hidden}-1 on random features with random labels: there is nothing "
            "to learn, and an accuracy near 0.5 is the right answer."
        )
        self.width, self.layers, self.epochs, self.batch = width, layers, epochs, batch

    def train(self, options: argparse.Namespace) -> Trained:
        make_deterministic(options.seed)
        features, labels = random_rows(ROWS, self.width, options.seed)
        model = self._build()
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        epochs = options.epochs or self.epochs
        curves = fit(model, features, labels, epochs=epochs, batch=self.batch, seed=options.seed)
        names = (Feature(f"f{index}", "1") for index in range(self.width))
        return Trained(
            model=model,
            inputs=(InputTensor("features", tuple(names)),),
            outputs=(OutputTensor("score", ("score",)),),
            rows={"features": features},
            data_digest=hashlib.sha256(features.tobytes() + labels.tobytes()).hexdigest(),
            parameters={"seed": options.seed, "epochs": epochs, "batch": self.batch, "rows": ROWS},
            metrics={f"train_{name}": values[-1] for name, values in curves.items()},
            curves={"train_loss": curves["loss"]},
            scaling="none: features are uniform in 0 to 1",
        )

    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        rows, seed = wanted.definition["rows"], wanted.definition["seed"]
        features, labels = random_rows(rows, self.width, seed)
        score = model.score(features).astype(np.float64)
        of_one, of_zero = score[labels == 1], score[labels == 0]
        chosen = np.clip(np.where(labels == 1, score, 1.0 - score), 1e-7, 1.0)
        return Evaluation(
            f"{rows} random rows with random labels: nothing to learn, accuracy near 0.5 is right",
            {
                "accuracy": float(np.mean((score > 0.5) == (labels == 1))),
                "loss": float(-np.mean(np.log(chosen))),
                "auc": area_under_roc(of_zero, of_one),
            },
            plots={
                "scores": plots.histogram({"label 0": of_zero, "label 1": of_one}, "score"),
                "roc": plots.roc(of_zero, of_one),
            },
        )

    def _build(self) -> keras.Model:
        model = keras.Sequential(name=self.name)
        model.add(keras.Input((self.width,), name="features"))
        for index, (units, drop) in enumerate(self.layers):
            model.add(keras.layers.Dense(units, "relu", name=f"hidden_{index}"))
            if drop:
                model.add(keras.layers.Dropout(drop, name=f"dropout_{index}"))
        model.add(keras.layers.Dense(1, "sigmoid", name="score"))
        return model
