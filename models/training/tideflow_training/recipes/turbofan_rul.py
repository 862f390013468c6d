"""The turbofan model: how many cycles an engine has left, from where its sensors are and how fast
they move.

Five small networks are trained on engines that ran until they failed, and averaged. A new engine
says little about when it will fail, so lives beyond `CAP` cycles all count as `CAP`, and no more is
ever said. Every fifth engine is kept back to judge the model by, always the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tideflow_training import plots
from tideflow_training.deterministic import make_deterministic
from tideflow_training.ensemble import Ensemble, fit_ensemble
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

# The sensors that say something, as C-MAPSS numbers them, with their units.
SENSORS = {
    2: "degR",
    3: "degR",
    4: "degR",
    7: "psia",
    8: "rpm",
    9: "rpm",
    11: "psia",
    12: "pps/psi",
    13: "rpm",
    14: "rpm",
    15: "1",
    17: "1",
    20: "lbm/s",
    21: "lbm/s",
}
# Cycles over which a line is fitted to each sensor, the older the less they count.
SPANS = (30, 100)


def _features() -> Iterator[Feature]:
    for span in SPANS:
        for sensor, unit in SENSORS.items():
            yield Feature(f"s{sensor}.level{span}", unit)
        for sensor, unit in SENSORS.items():
            yield Feature(f"s{sensor}.slope{span}", f"{unit}/cycle")
    yield Feature("ln_cycle", "1")


# In this order: for each span the line's value at the present cycle, of every sensor, then its rise
# a cycle, of every sensor; last the logarithm of the number of cycles, the first being 1.
FEATURES = tuple(_features())
NAMES = tuple(feature.name for feature in FEATURES)

CAP = 125.0
MEMBERS, HIDDEN = 5, (64, 32)
STEPS, BATCH = 2_000, 256
RATE, WARM_UP_STEPS, DECAY = 5e-3, 50, 0.1
# About the mean of what is to be learnt, so that the first steps are not spent on it.
START = 0.6
# One engine in so many is kept back.
KEPT_BACK_EVERY = 5


class Scale(keras.layers.Layer):
    """Less the mean of each column, divided by its standard deviation."""

    def __init__(self, rows: np.ndarray):
        super().__init__(name="scale")
        shape = rows.shape[1:]
        self.mean = self.add_weight(shape=shape, trainable=False, name="mean")
        self.spread = self.add_weight(shape=shape, trainable=False, name="spread")
        self.mean.assign(rows.mean(axis=0))
        self.spread.assign(rows.std(axis=0) + 1e-9)

    def call(self, rows):
        return (rows - self.mean) / self.spread


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """Rises for the first steps, because Adam's first estimates are poor, and falls as a cosine."""

    def __init__(self, steps: int):
        self.steps = steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        risen = ops.minimum(1.0, (step + 1.0) / WARM_UP_STEPS)
        return RATE * 0.5 * (1.0 + ops.cos(np.pi * step / self.steps)) * risen


def build(scale: Scale, ensemble: Ensemble) -> keras.Model:
    """The mean of what the networks say, each held between 0 and `CAP`."""
    rows = keras.Input((len(FEATURES),), name="features")
    share = ops.mean(ops.clip(ensemble(scale(rows)), 0.0, 1.0), axis=0)
    return keras.Model(rows, {"rul": share * CAP})


def kept_back(rows: FeatureRows) -> np.ndarray:
    """For each row, whether its engine is not learnt from."""
    return np.isin(rows.key, rows.keys()[KEPT_BACK_EVERY - 1 :: KEPT_BACK_EVERY])


class TurbofanRul(Recipe):
    """The recipe; what it does is above."""

    name = "turbofan_rul"
    about = (
        "Five small networks, averaged: how many cycles a turbofan has left, at most "
        f"{CAP:.0f}, from levels and slopes of its sensors."
    )
    reads = (
        "Parquet of engines that ran until they failed, with key (engine), time (cycle), the "
        f"{len(FEATURES)} features and label (cycles left)"
    )
    needs_data = True
    # Rows with so many cycles left, after so many cycles.
    evaluation_keys = (("rul_min", "rul_max", "cycles_min"),)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--all-engines",
            action="store_true",
            help="learn from every engine and keep none back; what the model is worth is then not "
            "known, and it is never promoted",
        )

    def train(self, options: argparse.Namespace) -> Trained:
        make_deterministic(options.seed)
        rows = read_feature_rows(options.data, NAMES, labelled=True)
        learnt, judged = rows, None
        if not options.all_engines:
            back = kept_back(rows)
            learnt, judged = rows.where(~back), rows.where(back)
            if len(judged) == 0:
                raise FeatureRowsError(
                    f"`{options.data}`: expected at least {KEPT_BACK_EVERY} engines, one to be "
                    f"kept back, found {len(rows.keys())}"
                )
        scale = Scale(learnt.features)
        ensemble = Ensemble(MEMBERS, (len(FEATURES), *HIDDEN, 1), seed=options.seed, start=START)
        passes = -(-len(learnt) // BATCH)
        steps = options.epochs * passes if options.epochs else STEPS
        losses = _fit(ensemble, scale, learnt, steps, options.seed)
        model = build(scale, ensemble)
        metrics = {
            "train_engines": float(len(learnt.keys())),
            "train_rows": float(len(learnt)),
            "train_capped_rmse": _rmse(model, learnt),
            "engines_kept_back": 0.0,
        }
        if judged is not None:
            metrics["engines_kept_back"] = float(len(judged.keys()))
            metrics["kept_back_capped_rmse"] = _rmse(model, judged)
        return Trained(
            model=model,
            inputs=(InputTensor("features", FEATURES),),
            outputs=(OutputTensor("rul", ("rul",)),),
            rows={"features": learnt.features},
            data_digest=rows.digest,
            parameters={
                "seed": options.seed,
                "steps": steps,
                "batch": BATCH,
                "members": MEMBERS,
                "rate": RATE,
                "decay": DECAY,
            },
            metrics=metrics,
            curves={"train_loss": [float(np.mean(part)) for part in _passes(losses, passes)]},
        )

    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        if wanted.data is None:
            raise RecipeError(f"`{self.name}` is evaluated on engines: give --data")
        of = wanted.definition
        rows = read_feature_rows(wanted.data, NAMES, labelled=True)
        usable = (rows.label >= of["rul_min"]) & (rows.label <= of["rul_max"])
        rows = rows.where(kept_back(rows) & usable & (rows.time >= of["cycles_min"]))
        if not model.manifest["metrics"].get("engines_kept_back") or len(rows) == 0:
            about = "no engine was kept back, or none has such rows: nothing to judge by"
            return Evaluation(about, {"engines_kept_back": 0.0}, rows.digest)
        found = model.predict({"features": rows.features})["rul"][:, 0].astype(np.float64)
        errors = found - rows.label
        engines = [rows.key == key for key in rows.keys()]
        return Evaluation(
            "{engines} engines that were kept back, {rul_min} to {rul_max} cycles before the end "
            "and after at least {cycles_min}".format(engines=len(engines), **of),
            {
                "engines_kept_back": float(len(engines)),
                "rows": float(len(rows)),
                # Of every engine the same weight, however long it ran.
                "rmse": float(np.sqrt(np.mean([np.mean(errors[mine] ** 2) for mine in engines]))),
                "mean_error": float(np.mean([np.mean(errors[mine]) for mine in engines])),
            },
            rows.digest,
            {"residuals": plots.residuals(rows.label, found, "rul")},
        )


def _fit(
    ensemble: Ensemble, scale: Scale, learnt: FeatureRows, steps: int, seed: int
) -> list[float]:
    rows = np.asarray(scale(learnt.features.astype(np.float32)))
    optimizer = keras.optimizers.AdamW(Rate(steps), weight_decay=DECAY, beta_2=0.99)
    optimizer.exclude_from_weight_decay(var_list=ensemble.biases)
    # Another stream than the first weights are drawn from.
    random = np.random.default_rng((seed, 1))
    return fit_ensemble(
        ensemble,
        rows,
        np.minimum(learnt.label, CAP)[:, None] / CAP,
        loss=tf.square,
        optimizer=optimizer,
        draws=(random.integers(0, len(rows), (MEMBERS, BATCH)) for _ in range(steps)),
    )


def _passes(losses: list[float], steps: int) -> list[list[float]]:
    """The losses of each pass over the rows."""
    return [losses[start : start + steps] for start in range(0, len(losses), steps)]


def _rmse(model: keras.Model, rows: FeatureRows) -> float:
    """Of all rows, against lives that end at `CAP`, which is what was learnt."""
    found = np.ravel(model(rows.features.astype(np.float32))["rul"])
    return float(np.sqrt(np.mean((found - np.minimum(rows.label, CAP)) ** 2)))


RECIPE = TurbofanRul()
