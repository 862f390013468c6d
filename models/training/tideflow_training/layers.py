"""The fixed parts of a model: everything between raw statistics and score that is not trained.

Each layer holds what it was fitted to as constants, so they are part of the SavedModel's graph.
Constants multiply and never divide, and none is added to a sum: TensorFlow rearranges both when it
optimises a graph, and a saved model would then round other than the model it was saved from.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import keras
import numpy as np
from keras import ops

# The share of the usual spread of a window below which differences of spread mean nothing.
SPREAD_FLOOR_SHARE = 0.2
# An autoencoder leaves some directions almost no residual where it was trained; the ridge keeps a
# little more elsewhere from counting as an anomaly.
CODE_RIDGE = 1e-3
RESIDUAL_RIDGE = 0.05


class Shape(keras.layers.Layer):
    """Turns each field's mean, std, min, max into mean, log spread and skewness.

    Spread counts by its ratio, so that a sensor that stands still (std 0) is as far from usual as
    one that jumps; `floor` (one number a field) keeps the logarithm finite. Skewness is how far
    the mean lies from the middle of min and max, within ±1, and tells single spikes from noise.
    Input [batch, 4 * fields], output [batch, 3 * fields].
    """

    def __init__(self, floor: np.ndarray, **kwargs):
        super().__init__(**kwargs)
        self.floor = np.asarray(floor, np.float32)

    def call(self, features):
        fields = len(self.floor)
        mean, std, low, high = ops.unstack(ops.reshape(features, (-1, fields, 4)), axis=2)
        spread = ops.log(ops.maximum(std, 0.0) + self.floor)
        skew = ((high - mean) - (mean - low)) / ops.maximum(high - low, self.floor)
        return ops.concatenate([mean, spread, ops.clip(skew, -1.0, 1.0)], axis=1)

    @staticmethod
    def floor_of(features: np.ndarray) -> np.ndarray:
        """The floor of each field, from features [windows, 4 * fields]."""
        statistics = features.reshape(len(features), -1, 4)
        usual = np.median(statistics[:, :, 1], axis=0)
        # Windows of one reading have no spread; then what the means do sets the unit.
        between = np.std(statistics[:, :, 0], axis=0)
        floor = np.where(usual > 0, SPREAD_FLOOR_SHARE * usual, SPREAD_FLOOR_SHARE * between)
        return np.maximum(floor, 1e-6)


class Standardize(keras.layers.Layer):
    """Subtracts each column's mean and divides by its standard deviation."""

    def __init__(self, mean: np.ndarray, scale: np.ndarray, **kwargs):
        super().__init__(**kwargs)
        self.mean = np.asarray(mean, np.float32)
        self.factor = np.asarray(1.0 / scale, np.float32)

    def call(self, columns):
        return (columns - self.mean) * self.factor

    @classmethod
    def of(cls, columns: np.ndarray) -> Standardize:
        """Fitted to `columns`, [windows, columns]; a column that never changes keeps its unit."""
        scale = np.std(columns, axis=0)
        return cls(np.mean(columns, axis=0), np.where(scale > 1e-6, scale, 1.0))


class Distance(keras.layers.Layer):
    """How far a window is from healthy: Hotelling's T² of the code plus Q of the residual.

    Both are Mahalanobis distances, so each direction counts by how much it varies in healthy
    windows. T² sees a machine beyond its usual range, which an autoencoder may well reconstruct;
    Q sees values that do not go together. Output [batch, 1]: the cube root of the mean square,
    which is close to normally distributed for healthy windows (Wilson, Hilferty 1931).
    """

    def __init__(self, code_mean, code_white, residual_white, **kwargs):
        super().__init__(**kwargs)
        self.code_mean = np.asarray(code_mean, np.float32)
        self.code_white = np.asarray(code_white, np.float32)
        self.residual_white = np.asarray(residual_white, np.float32)

    def call(self, columns, code, reconstruction):
        code = ops.matmul(code - self.code_mean, self.code_white)
        residual = ops.matmul(columns - reconstruction, self.residual_white)
        square = ops.sum(ops.square(code), axis=1) + ops.sum(ops.square(residual), axis=1)
        degrees = self.code_white.shape[1] + self.residual_white.shape[1]
        return ops.expand_dims(ops.power(square * (1.0 / degrees) + 1e-9, 1.0 / 3.0), axis=1)

    @classmethod
    def of(cls, columns: np.ndarray, code: np.ndarray, reconstruction: np.ndarray) -> Distance:
        """Fitted to healthy windows that the autoencoder was trained on."""
        return cls(
            np.mean(code, axis=0),
            _whitening(code - np.mean(code, axis=0), ridge=CODE_RIDGE),
            _whitening(columns - reconstruction, ridge=RESIDUAL_RIDGE),
        )


def _whitening(rows: np.ndarray, ridge: float) -> np.ndarray:
    """A matrix W for which rows @ W has about unit covariance.

    `ridge`, a share of the mean variance, is added to the variance of every direction, and more
    the fewer rows there are for each column.
    """
    rows = rows.astype(np.float64)
    ridge += rows.shape[1] / len(rows)
    covariance = rows.T @ rows / len(rows)
    mean_variance = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    values, vectors = np.linalg.eigh(covariance + ridge * mean_variance * np.eye(len(covariance)))
    return vectors / np.sqrt(values)


class Score(keras.layers.Layer):
    """A monotone map from distance to score: straight between knots, then towards 1.

    Beyond the last knot (distance d, score s) it is 1 - (1 - s) * exp(1 - distance / d).
    """

    def __init__(self, distances, scores, **kwargs):
        super().__init__(**kwargs)
        self.distances = np.asarray(distances, np.float32)
        self.scores = np.asarray(scores, np.float32)

    def call(self, distance):
        score = ops.zeros_like(distance) + self.scores[0]
        for i in range(1, len(self.distances)):
            low, high = float(self.distances[i - 1]), float(self.distances[i])
            slope = float(self.scores[i] - self.scores[i - 1]) / (high - low)
            score = score + slope * (ops.clip(distance, low, high) - low)
        last, room = float(self.distances[-1]), 1.0 - float(self.scores[-1])
        beyond = ops.maximum(distance - last, 0.0) * (1.0 / last)
        return ops.clip(score + room * (1.0 - ops.exp(-beyond)), 0.0, 1.0)

    @classmethod
    def of(cls, distance: np.ndarray, knots: tuple[tuple[float, float], ...]) -> Score:
        """Calibrated on the distances of healthy windows that trained nothing.

        `knots` are pairs of a share of healthy windows and the score that this share stays below.
        """
        distances, scores = [0.0], [0.0]
        for share, score in knots:
            # Strictly rising, also where every distance is the same.
            distances.append(max(healthy_quantile(distance, share), distances[-1] * 1.001 + 1e-6))
            scores.append(score)
        return cls(distances, scores)


# Where the tail begins, and the windows it takes to say anything about it.
TAIL_SHARE = 0.99
TAIL_WINDOWS_MIN = 1_000


def healthy_quantile(distance: np.ndarray, share: float) -> float:
    """The distance that `share` of healthy windows stay below, also for shares too rare to count.

    That of a normal distribution with the same mean and standard deviation or, where there are
    enough windows and it lies farther out, that of an exponential tail beyond the 99 % quantile.
    """
    normal = float(np.mean(distance) + NormalDist().inv_cdf(share) * np.std(distance))
    if share <= TAIL_SHARE or len(distance) < TAIL_WINDOWS_MIN:
        return normal
    start = float(np.quantile(distance, TAIL_SHARE))
    excess = float(np.mean(distance[distance > start] - start)) if start < distance.max() else 0.0
    return max(normal, start + excess * math.log((1.0 - TAIL_SHARE) / (1.0 - share)))
