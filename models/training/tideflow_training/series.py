"""The series model: autoencoders for one recorded machine, from the start of its recording.

A recording has no other machines to compare with and few windows that are known to be healthy.
So several small autoencoders are trained, each without every fifth window; those windows then
calibrate it, and the model takes the mean of all. No window calibrates what it trained.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tideflow_training.alarms import CLEAR_BELOW, RAISE_ABOVE
from tideflow_training.detector import Detector, Settings, calibrate, run, train_member
from tideflow_training.health import TooFewWindowsError
from tideflow_training.windows import Windows

WINDOWS_MIN = 20
FOLDS = 5

# One machine has few windows, so one healthy window in 1,000 may reach 0.9.
KNOTS = ((0.5, 0.2), (0.98, CLEAR_BELOW), (0.999, RAISE_ABOVE))

# Smaller and shorter than for a fleet: some ten windows to a hundred are soon learnt by heart.
HIDDEN = 12
STEPS = 500


def train_series(windows: Windows, settings: Settings, until_ms: int | None = None) -> Detector:
    """Trains on the windows that end at or before `until_ms`, or on all of them."""
    if until_ms is not None:
        windows = windows.where(windows.end_ms <= until_ms)
    if len(windows) < WINDOWS_MIN:
        before = "" if until_ms is None else f" that end by {until_ms}"
        raise TooFewWindowsError(
            f"{len(windows)} windows{before}, expected at least {WINDOWS_MIN} to train on"
        )
    features = windows.features
    members, held_out = [], []
    for fold in range(FOLDS):
        out = np.arange(len(features)) % FOLDS == fold
        seed = settings.seed * FOLDS + fold
        member = train_member(features[~out], replace(settings, seed=seed))
        members.append(member)
        held_out.append(run(member.distance, features[out])[:, 0])
    detector = calibrate(members, np.concatenate(held_out), KNOTS)
    losses = [member.metrics["train_loss"] for member in members]
    score = detector.score(features)
    metrics = {
        "train_windows": float(len(windows)),
        "members": float(FOLDS),
        "epochs": members[0].metrics["epochs"],
        "train_loss": float(np.mean(losses)),
        **detector.metrics,
        "train_share_above_raise": float(np.mean(score >= RAISE_ABOVE)),
        "train_share_above_clear": float(np.mean(score >= CLEAR_BELOW)),
    }
    return replace(detector, metrics=metrics)
