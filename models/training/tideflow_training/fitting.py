"""Fitting a compiled Keras model to arrays, in an order that the seed decides."""

from __future__ import annotations

import keras
import numpy as np


def fit(
    model: keras.Model,
    features: np.ndarray,
    truth: np.ndarray,
    *,
    epochs: int,
    batch: int,
    seed: int,
) -> dict[str, list[float]]:
    """The loss and the compiled metrics of each epoch, by name: `loss`, `accuracy`, ...

    A loop of our own: Keras' `fit` brings tf.data, which takes longer to start and talks.
    """
    random = np.random.default_rng(seed)
    curves: dict[str, list[float]] = {}
    for _ in range(epochs):
        order = random.permutation(len(features))
        batches = [order[start : start + batch] for start in range(0, len(order), batch)]
        found = [
            model.train_on_batch(features[rows], truth[rows], return_dict=True) for rows in batches
        ]
        sizes = [len(rows) for rows in batches]
        for name in found[0]:
            mean = np.average([each[name] for each in found], weights=sizes)
            curves.setdefault(name, []).append(float(mean))
    return curves
