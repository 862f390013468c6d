"""Rows with the outputs that an exported model gives for them: `golden.json` beside the model.

Whoever has fetched the model scores the rows and sees whether it says the same there.
"""

from __future__ import annotations

import numpy as np

from tideflow_training.recipe import InputTensor, Trained

GOLDEN = "golden.json"
# Rows of the training data. Fewer than these give the same row several times.
TYPICAL = 32
# How many times a column's range the extreme rows lie beyond it.
BEYOND = 10.0


def golden_rows(trained: Trained) -> dict[str, np.ndarray]:
    """Rows of each input tensor: typical ones, then the least and greatest value of each column,
    then values far beyond them (not for whole numbers, which may be the numbers of categories)."""
    return {
        tensor.tensor: _rows(tensor, np.asarray(trained.rows[tensor.tensor]))
        for tensor in trained.inputs
    }


def _rows(tensor: InputTensor, rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(tensor.dtype)
    typical = rows[np.linspace(0, len(rows) - 1, TYPICAL).astype(int)]
    low, high = rows.min(axis=0), rows.max(axis=0)
    far = BEYOND * (high - low) if rows.dtype.kind == "f" else 0
    extreme = np.stack([low, high, low - far, high + far])
    return np.concatenate([typical, extreme]).astype(tensor.dtype)


def as_json(rows: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> dict:
    """What the file holds: each tensor's rows, each in row-major order, decimals that give the
    same bits back."""
    return {
        "rows": len(next(iter(rows.values()))),
        "inputs": {name: _flat(values) for name, values in rows.items()},
        "outputs": {name: _flat(values) for name, values in outputs.items()},
    }


def _flat(values: np.ndarray) -> list[list[float]]:
    return values.reshape(len(values), -1).tolist()
