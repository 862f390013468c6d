"""The pump model: how far the sensors of a pump are from what they did while it was calibrated.

It learns from the first rows of every recording, which are taken for usual, without any label.
Eight small autoencoders squeeze seven standardised, smoothed channels through four numbers; the
farther the channels are from anything usual, the worse they come back. Training stops early, and
the loss grows only linearly beyond 1: a recording that begins with a fault does not rule the rest.

Distances are in units of the one that nine of ten training rows stay below.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tideflow_training import plots
from tideflow_training.deterministic import make_deterministic
from tideflow_training.ensemble import Ensemble, fit_ensemble
from tideflow_training.evaluate import area_under_roc
from tideflow_training.feature_rows import FeatureRows, FeatureRowsError, read_feature_rows
from tideflow_training.recipe import (
    Evaluation,
    EvaluationSet,
    Feature,
    InputTensor,
    OutputTensor,
    Recipe,
    RecipeError,
    Trained,
)
from tideflow_training.saved_model import Loaded

CHANNELS = (
    "accelerometer1_rms",
    "accelerometer2_rms",
    "current",
    "pressure",
    "thermocouple",
    "voltage",
    "volume_flow_rate_rms",
)
# Each channel standardised by its calibration rows and smoothed, in this order.
FEATURES = tuple(f"{channel}.z" for channel in CHANNELS)

# Every recording is calibrated on its rows before this one, and is scored from it on.
CALIBRATION_ROWS = 400
# The first rows, in which the smoothing has not yet settled, teach nothing.
WARM_UP_ROWS = 20

MEMBERS = 8
WIDTHS = (7, 8, 4, 8, 7)
# Full-batch steps; more make the model no better at faults, and stricter with ordinary drift.
EPOCHS = 60
RATE = 3e-3
# The share of training rows whose distance is below 1.
UNIT_SHARE = 0.9


class Unit(keras.layers.Layer):
    """Divides by a number that is set once training is over."""

    def __init__(self):
        super().__init__(name="unit")
        self.unit = self.add_weight(shape=(), initializer="ones", trainable=False, name="unit")

    def call(self, values):
        return values / self.unit


def build(ensemble: Ensemble, unit: Unit) -> keras.Model:
    """`distance` of a row, and the mean square error of each channel that it is made of."""
    rows = keras.Input((len(FEATURES),), name="features")
    errors = ops.mean(ops.square(ensemble(rows) - rows), axis=0)
    distance = unit(ops.sqrt(ops.sum(errors, axis=1, keepdims=True)))
    return keras.Model(rows, {"distance": distance, "errors": errors})


def huber(errors: tf.Tensor) -> tf.Tensor:
    """Half the square of each error, and beyond 1 its size less one half."""
    size = tf.abs(errors)
    return tf.where(size < 1.0, 0.5 * size * size, size - 0.5)


def calibration_rows(rows: FeatureRows) -> FeatureRows:
    """The rows that are learnt from, without their labels."""
    chosen = rows.where((rows.time >= WARM_UP_ROWS) & (rows.time < CALIBRATION_ROWS))
    if len(chosen) == 0:
        raise FeatureRowsError(
            f"expected rows of time {WARM_UP_ROWS} to {CALIBRATION_ROWS - 1} to learn from, "
            f"found {len(rows)} rows of time {rows.time.min()} to {rows.time.max()}"
        )
    return replace(chosen, label=None)


class PumpAnomaly(Recipe):
    """The recipe; what it does is above."""

    name = "pump_anomaly"
    about = (
        "Eight small autoencoders of a pump's seven sensors, learnt without labels from the first "
        f"{CALIBRATION_ROWS} rows of recordings: how unusual is a row, and by which sensor?"
    )
    reads = "Parquet with key, time (row of the recording, from 0) and the seven features"
    needs_data = True
    # Rows from `rows_from` on, and the distance whose shares above are told.
    evaluation_keys = (("rows_from", "above"),)

    def train(self, options: argparse.Namespace) -> Trained:
        make_deterministic(options.seed)
        learnt = calibration_rows(read_feature_rows(options.data, FEATURES))
        rows = learnt.features.astype(np.float32)
        ensemble, unit = Ensemble(MEMBERS, WIDTHS, seed=options.seed), Unit()
        epochs = options.epochs or EPOCHS
        every = np.tile(np.arange(len(rows)), (MEMBERS, 1))
        losses = fit_ensemble(
            ensemble,
            rows,
            rows,
            loss=huber,
            optimizer=keras.optimizers.Adam(RATE),
            draws=(every for _ in range(epochs)),
        )
        model = build(ensemble, unit)
        distance = np.ravel(model(rows)["distance"])
        # Where nothing ever moved, every distance may be 0.
        unit.unit.assign(max(float(np.quantile(distance, UNIT_SHARE)), 1e-6))
        features = tuple(Feature(name, "1") for name in FEATURES)
        errors = tuple(f"{channel}.error" for channel in CHANNELS)
        return Trained(
            model=model,
            inputs=(InputTensor("features", features),),
            outputs=(OutputTensor("distance", ("distance",)), OutputTensor("errors", errors)),
            rows={"features": rows},
            data_digest=learnt.digest,
            parameters={"seed": options.seed, "epochs": epochs, "members": MEMBERS, "rate": RATE},
            metrics=_metrics(learnt, np.ravel(model(rows)["distance"]), float(unit.unit), losses),
            curves={"train_loss": losses},
            scaling="before the model: features are standardised by each recording's first rows",
        )

    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        if wanted.data is None:
            raise RecipeError(f"`{self.name}` is evaluated on recordings: give --data")
        rows = read_feature_rows(wanted.data, FEATURES)
        first, above = wanted.definition["rows_from"], wanted.definition["above"]
        rows = rows.where(rows.time >= first)
        about = f"{len(rows)} rows of {len(rows.keys())} recordings, each from row {first} on"
        if len(rows) == 0:
            return Evaluation(f"{about}: nothing to judge by", {"rows": 0.0}, rows.digest)
        distance = model.score(rows.features).astype(np.float64)
        metrics = {"rows": float(len(rows)), "share_above": float(np.mean(distance > above))}
        if rows.label is None or len(np.unique(rows.label > 0.5)) < 2:
            drawn = {"distance": plots.histogram({"rows": distance}, "distance")}
            return Evaluation(f"{about}, without labels of both kinds", metrics, rows.digest, drawn)
        usual, faulty = distance[rows.label <= 0.5], distance[rows.label > 0.5]
        metrics |= {
            "auc": area_under_roc(usual, faulty),
            "faulty_share_above": float(np.mean(faulty > above)),
            "usual_share_above": float(np.mean(usual > above)),
        }
        drawn = {
            "distance": plots.histogram({"usual": usual, "faulty": faulty}, "distance"),
            "roc": plots.roc(usual, faulty),
        }
        return Evaluation(f"{about}, labelled", metrics, rows.digest, drawn)


def _metrics(
    learnt: FeatureRows, distance: np.ndarray, unit: float, losses: list[float]
) -> dict[str, float]:
    """There are no labels and nothing is kept back: all of them are of the rows learnt from."""
    metrics = {
        "train_rows": float(len(learnt)),
        "train_keys": float(len(learnt.keys())),
        "train_loss": losses[-1],
        "unit": unit,
    }
    for share in (0.5, 0.9, 0.99, 0.999):
        metrics[f"train_distance_q{share}"] = float(np.quantile(distance, share))
    return metrics


RECIPE = PumpAnomaly()
