"""The health model: one autoencoder for a whole fleet, judged on devices it has never seen."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np

from tideflow_training.alarms import CLEAR_BELOW, RAISE_ABOVE
from tideflow_training.detector import Detector, Settings, calibrate, run, train_member
from tideflow_training.evaluate import (
    FILES,
    area_under_roc,
    evaluate_alarms,
    evaluate_files,
    made_up_fleet,
)
from tideflow_training.recipe import Evaluation, EvaluationSet, Recipe, Trained
from tideflow_training.saved_model import Loaded
from tideflow_training.windows import STATISTICS, Windows, read_windows_or_rows

FIELDS = ("temperature", "vibration", "current")
UNITS = {"temperature": "degC", "vibration": "mm/s", "current": "A"}

# Shares of the devices that train, choose the epoch, calibrate the score and test the outcome.
SPLIT = {"train": 0.6, "validation": 0.1, "calibration": 0.2, "test": 0.1}
DEVICES_MIN = 10

# A fleet has thousands of windows a minute: one healthy window in 10,000 may exceed 0.9.
KNOTS = ((0.5, 0.2), (0.995, CLEAR_BELOW), (0.9999, RAISE_ABOVE))

# The fleet that is learnt from where no windows are given.
MADE_UP = {"devices": 500, "minutes": 30, "seed": 1}


class TooFewWindowsError(ValueError):
    """Not enough windows or devices to train on."""


@dataclass(frozen=True)
class Split:
    """Windows by what they are for; no device is in two parts."""

    train: Windows
    validation: Windows
    calibration: Windows
    test: Windows


def split_by_device(windows: Windows, seed: int) -> Split:
    """Deals the devices out by `SPLIT`, in an order that the seed decides."""
    devices = np.unique(windows.device)
    if len(devices) < DEVICES_MIN:
        raise TooFewWindowsError(
            f"windows of {len(devices)} devices, expected at least {DEVICES_MIN} to split"
        )
    dealt = np.random.default_rng(seed).permutation(devices)
    ends = np.round(np.cumsum(list(SPLIT.values())) * len(devices)).astype(int)
    parts = np.split(dealt, ends[:-1])
    chosen = [windows.where(np.isin(windows.device, part)) for part in parts]
    return Split(**dict(zip(SPLIT, chosen)))


def train_health(windows: Windows, settings: Settings) -> Detector:
    """Trains on healthy windows of the three fields; a fault among them becomes a usual thing."""
    split = split_by_device(windows, settings.seed)
    member = train_member(split.train.features, settings, split.validation.features)
    calibration = run(member.distance, split.calibration.features)[:, 0]
    detector = calibrate([member], calibration, KNOTS)
    metrics = {
        "train_windows": float(len(split.train)),
        "test_windows": float(len(split.test)),
        "test_devices": float(len(np.unique(split.test.device))),
        **member.metrics,
        **detector.metrics,
        **_judge(detector, split.test, settings.seed),
    }
    return replace(detector, metrics=metrics, curves=member.curves)


def _judge(detector: Detector, test: Windows, seed: int) -> dict[str, float]:
    """False positives on healthy windows of unseen devices, and what three faults would score."""
    healthy = detector.score(test.features)
    distance = run(detector.distance, test.features)
    metrics = {
        "healthy_false_positive_rate": float(np.mean(healthy > RAISE_ABOVE)),
        "healthy_share_above_clear": float(np.mean(healthy >= CLEAR_BELOW)),
    }
    for share in (0.5, 0.9, 0.99, 0.999):
        metrics[f"healthy_distance_q{share}"] = float(np.quantile(distance, share))
    scores = []
    for kind, features in with_faults(test.features, seed).items():
        score = detector.score(features)
        metrics[f"found_{kind}"] = float(np.mean(score > RAISE_ABOVE))
        scores.append(score)
    metrics["synthetic_auc"] = area_under_roc(healthy, np.concatenate(scores))
    return metrics


def with_faults(features: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Copies of healthy features as three faults would change them, in the order of `FIELDS`.

    `drift`: 2 °C within the window, after 1 to 5 °C before it. `spikes`: a few readings with
    twice to four times the vibration. `stuck`: one field stands at its mean.
    """
    random = np.random.default_rng(seed)
    count = len(features)
    healthy = features.reshape(count, len(FIELDS), len(STATISTICS))

    drift = healthy.copy()
    risen = random.uniform(1.0, 5.0, count)
    # A ramp of 2 °C has mean 1 and variance 4/12.
    drift[:, 0, 0] += risen + 1.0
    drift[:, 0, 1] = np.sqrt(drift[:, 0, 1] ** 2 + 1.0 / 3.0)
    drift[:, 0, 2] += risen
    drift[:, 0, 3] += risen + 2.0

    spikes = healthy.copy()
    share = random.uniform(0.2, 0.6, count)
    extra = random.uniform(1.0, 3.0, count) * spikes[:, 1, 0]
    spikes[:, 1, 0] += share * extra
    spikes[:, 1, 1] = np.sqrt(spikes[:, 1, 1] ** 2 + share * (1.0 - share) * extra**2)
    spikes[:, 1, 3] += extra

    stuck = healthy.copy()
    field = random.integers(len(FIELDS), size=count)
    rows = np.arange(count)
    stuck[rows, field, 1] = 0.0
    stuck[rows, field, 2] = stuck[rows, field, 0]
    stuck[rows, field, 3] = stuck[rows, field, 0]

    faulty = {"drift": drift, "spikes": spikes, "stuck": stuck}
    return {kind: changed.reshape(features.shape) for kind, changed in faulty.items()}


class Health(Recipe):
    """The recipe; what it does is above."""

    name = "health"
    about = "One denoising autoencoder for a fleet of like devices: how unusual is a window?"
    reads = "healthy windows, JSON lines or Parquet; without, those of a made-up fleet"
    # A made-up fleet, or one's own.
    evaluation_keys = (("devices", "minutes", "faults", "seed"), FILES)

    def train(self, options: argparse.Namespace) -> Trained:
        if options.data is None:
            windows, _ = made_up_fleet(**MADE_UP)
        else:
            windows = read_windows_or_rows(options.data, FIELDS)
        settings = Settings(seed=options.seed, epochs=options.epochs)
        detector = train_health(windows, settings)
        learnt = split_by_device(windows, settings.seed).train
        return detector.trained(learnt, UNITS, windows.digest, settings)

    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        if "windows" in wanted.definition:
            return evaluate_files(model, wanted)
        windows, labels = made_up_fleet(**wanted.definition)
        about = (
            "a made-up fleet: {devices} devices, {faults} of them with a fault, {minutes} minutes"
        )
        return evaluate_alarms(model, windows, labels, about.format(**wanted.definition))


RECIPE = Health()
