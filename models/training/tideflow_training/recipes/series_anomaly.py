"""The series model: the shape that the last rows of any one series have without their noise.

A window of 32 values goes through twelve numbers and comes back; the network learns to give the
course that the values are a noisy picture of, and what comes next, so that the twelve numbers hold
where the series is going. It learns from made-up series alone, so it fits one that it has never
seen. Only the cleaned last half of the window is served. Whoever calls it looks for windows whose
cleaned shape is unlike any before.
"""

from __future__ import annotations

import argparse
import hashlib

import keras
import numpy as np
from keras import ops

from tideflow_training import plots
from tideflow_training.deterministic import make_deterministic
from tideflow_training.evaluate import area_under_roc
from tideflow_training.fitting import fit
from tideflow_training.made_up_series import make_series
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

# Values of a window, oldest first: less their mean, divided by their standard deviation.
WINDOW = 32
FEATURES = tuple(f"z[{index}]" for index in range(WINDOW))
# How many of the last of them come back cleaned, oldest first, in the same units.
CLEAN = 16
OUTPUTS = tuple(f"clean[{index}]" for index in range(CLEAN))

# What is learnt from.
SERIES, WINDOWS_OF_EACH = 4_000, 60
# Rows after the window that are guessed too, in training only.
AHEAD = 4
HIDDEN, CODE = 64, 12
EPOCHS, BATCH, RATE = 6, 256, 2e-3
# What the last four values and those ahead count for; the others count 1.
WEIGHTS = np.ones(WINDOW + AHEAD, np.float32)
WEIGHTS[WINDOW - 4 : WINDOW] = 2.0
WEIGHTS[WINDOW:] = WINDOW / AHEAD / 2.0

# Evaluation: rows between a window and those it is compared with, so that they do not overlap
# where they are compared; and the first row in which something unusual may begin.
APART = CLEAN
UNUSUAL_FROM = 350


def scaled(windows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in units of each window. A window that stands still has no unit of its own."""
    mean = windows.mean(axis=1, keepdims=True)
    unit = windows.std(axis=1, keepdims=True) + 1e-3
    features, targets = (windows - mean) / unit, (targets - mean) / unit
    return features.astype(np.float32), np.clip(targets, -8, 8).astype(np.float32)


def training_windows(series: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy windows [rows, 32]; their true course and the next noisy values [rows, 36]."""
    random = np.random.default_rng(seed)
    windows, targets = [], []
    for _ in range(series):
        course, noise = make_series(random)
        values = course + noise
        if random.random() < 0.3:
            # A bump or a shift, so that odd windows are seen too.
            start = random.integers(WINDOW, len(course) - AHEAD)
            there = slice(start, start + random.integers(1, 60))
            height = random.normal(0, 4)
            course[there] += height
            values[there] += height
        for end in random.integers(WINDOW, len(course) - AHEAD, WINDOWS_OF_EACH):
            windows.append(values[end - WINDOW : end])
            target = [course[end - WINDOW : end], values[end : end + AHEAD]]
            targets.append(np.concatenate(target))
    return scaled(np.array(windows), np.array(targets))


def loss(truth, found):
    """The square of an error up to 2, and beyond it twice its size: bursts do not rule."""
    error = truth - found
    return ops.mean(WEIGHTS * ops.minimum(ops.square(error), 2 * ops.abs(error)), axis=-1)


def build() -> tuple[keras.Model, keras.Model]:
    """What is trained, and what is served of it."""
    dense = keras.layers.Dense
    window = keras.Input((WINDOW,), name="features")
    hidden = dense(HIDDEN, "gelu", name="encode_0")(window)
    hidden = dense(HIDDEN, "gelu", name="encode_1")(hidden)
    code = dense(CODE, name="code")(hidden)
    hidden = dense(HIDDEN, "gelu", name="decode_0")(code)
    hidden = dense(HIDDEN, "gelu", name="decode_1")(hidden)
    course = dense(WINDOW + AHEAD, name="course")(hidden)
    clean = course[:, WINDOW - CLEAN : WINDOW]
    return keras.Model(window, course), keras.Model(window, {"clean": clean})


class SeriesAnomaly(Recipe):
    """The recipe; what it does is above."""

    name = "series_anomaly"
    about = (
        "A denoising network for windows of any single series, learnt from made-up series: the "
        "shape of the last values without their noise."
    )
    evaluation_keys = (("series", "seed"),)

    def train(self, options: argparse.Namespace) -> Trained:
        make_deterministic(options.seed)
        windows, targets = training_windows(SERIES, options.seed)
        model, served = build()
        epochs = options.epochs or EPOCHS
        steps = epochs * -(-len(windows) // BATCH)
        rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
        model.compile(keras.optimizers.Adam(rate), loss)
        losses = fit(model, windows, targets, epochs=epochs, batch=BATCH, seed=options.seed)["loss"]
        return Trained(
            model=served,
            inputs=(InputTensor("features", tuple(Feature(name, "1") for name in FEATURES)),),
            outputs=(OutputTensor("clean", OUTPUTS),),
            rows={"features": windows},
            data_digest=hashlib.sha256(windows.tobytes() + targets.tobytes()).hexdigest(),
            parameters={
                "seed": options.seed,
                "epochs": epochs,
                "batch": BATCH,
                "rate": RATE,
                "series": SERIES,
                "code": CODE,
            },
            metrics={"train_rows": float(len(windows)), "train_loss": losses[-1]},
            curves={"train_loss": losses},
            scaling="before the model: a window less its mean, divided by its standard deviation",
        )

    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        count, seed = wanted.definition["series"], wanted.definition["seed"]
        # Of its own stream: training takes the seed alone.
        random = np.random.default_rng((seed, 1))
        judged = [_judge(model, *_unusual_series(random)) for _ in range(count)]
        before, left, clean, raw = (np.array(each) for each in zip(*judged))
        areas = {"clean": clean, "raw": raw}
        return Evaluation(
            f"{count} made-up series with something unusual in each, by the nearest past window",
            {
                "noise_left": float(left.sum() / before.sum()),
                "auc": float(np.mean(clean)),
                "auc_raw": float(np.mean(raw)),
            },
            plots={"auc": plots.histogram(areas, "AUC of a series")},
        )


def _unusual_series(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, slice]:
    """The course of a series, what is measured of it, and the rows in which it is not as usual: a
    bump, a shift, another pace or a stand-still of 8 to 40 rows."""
    course, noise = make_series(random)
    start, length = random.integers(UNUSUAL_FROM, len(course) - 40), random.integers(8, 41)
    there = slice(start, start + length)
    at, spread = np.arange(length), max(float(course[:start].std()), 0.1)
    kind, strength = random.integers(0, 4), random.uniform(0.75, 2.0) * random.choice((-1, 1))
    if kind == 0:
        course[there] += strength * spread * np.sin(np.pi * (at + 0.5) / length)
    elif kind == 1:
        course[there] += strength * spread
    elif kind == 2:
        course[there] += strength * spread * np.sin(2 * np.pi * at / random.uniform(4, 10))
    else:
        course[there] = course[start]
    return course, course + noise, there


def _judge(
    model: Loaded, course: np.ndarray, values: np.ndarray, unusual: slice
) -> tuple[float, float, float, float]:
    """The mean square of the noise in windows, before and after they are cleaned; and how well the
    distance to the nearest past window tells unusual rows from those before, cleaned and raw."""
    windows, courses = (
        np.lib.stride_tricks.sliding_window_view(each, WINDOW) for each in (values, course)
    )
    features, truth = scaled(windows, courses)
    clean = model.predict({"features": features})["clean"]
    raw, truth = features[:, -CLEAN:], truth[:, -CLEAN:]
    noise = [float(np.mean((found - truth) ** 2)) for found in (raw, clean)]
    # Distances are in the units of the series. The window of a row ends with it.
    mean, unit = windows.mean(axis=1, keepdims=True), windows.std(axis=1, keepdims=True)
    first, last = unusual.start - WINDOW + 1, unusual.stop - WINDOW + 1
    areas = []
    for shapes in (mean + unit * clean, windows[:, -CLEAN:]):
        distance = _nearest_past(shapes)
        areas.append(area_under_roc(distance[first // 2 : first], distance[first:last]))
    return noise[0], noise[1], areas[0], areas[1]


def _nearest_past(shapes: np.ndarray) -> np.ndarray:
    """The distance of each window to the nearest that is more than `APART` rows older; 0 where
    there is none."""
    square = np.sum(shapes**2, axis=1)
    between = square[:, None] + square[None, :] - 2.0 * shapes @ shapes.T
    age = np.arange(len(shapes))[:, None] - np.arange(len(shapes))[None, :]
    between[age <= APART] = np.inf
    nearest = np.sqrt(np.maximum(between.min(axis=1), 0.0))
    return np.where(np.isfinite(nearest), nearest, 0.0)


RECIPE = SeriesAnomaly()
