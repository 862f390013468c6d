"""How numbers were distributed in training, for whoever watches whether they still are."""

from __future__ import annotations

import numpy as np

from tideflow_training.recipe import InputTensor, OutputTensor

BINS_MAX = 10


def distribution(values: np.ndarray) -> dict[str, list[float]]:
    """`values` in up to ten bins: their interior `edges`, and the `shares` of the values in each.

    Edges are quantiles, each one of the values. A value that is equal to an edge lies in the bin
    above it. Where a tenth of the values or more are one and the same, these have a bin to
    themselves: a number that never changed in training shows when it does.
    """
    values = np.ravel(values)
    quantiles = np.quantile(values, np.arange(1, BINS_MAX) / BINS_MAX, method="inverted_cdf")
    found, counts = np.unique(quantiles.astype(values.dtype), return_counts=True)
    repeated = found[counts > 1]
    edges = np.union1d(found, _next(repeated))
    bins = np.searchsorted(edges, values, side="right")
    shares = np.bincount(bins, minlength=len(edges) + 1) / len(values)
    return {"edges": [float(edge) for edge in edges], "shares": shares.tolist()}


def _next(values: np.ndarray) -> np.ndarray:
    """The least numbers above `values`."""
    if values.dtype.kind == "i":
        return values + 1
    return np.nextafter(values, np.array(np.inf, values.dtype))


def reference(
    tensors: tuple[InputTensor | OutputTensor, ...], rows: dict[str, np.ndarray]
) -> dict[str, dict[str, list[float]]]:
    """The distribution of every column of `tensors` by its name, from `rows` of each tensor."""
    found = {}
    for tensor in tensors:
        columns = rows[tensor.tensor].reshape(-1, len(tensor.names)).astype(tensor.dtype)
        found.update(
            (name, distribution(columns[:, index])) for index, name in enumerate(tensor.names)
        )
    return found
