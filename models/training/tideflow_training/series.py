"""The series model: an autoencoder for one recorded machine, from the start of its recording.

A recording has no other machines to compare with and few windows that are known to be healthy, so
everything is fitted on the same windows, and the calibration leans on the shape of the
distribution of distances rather than on its rarest values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tideflow_training.alarms import CLEAR_BELOW, RAISE_ABOVE
from tideflow_training.detector import Detector, Settings, train_detector
from tideflow_training.health import TooFewWindowsError
from tideflow_training.windows import Windows

WINDOWS_MIN = 20


def train_series(windows: Windows, settings: Settings, until_ms: int | None = None) -> Detector:
    """Trains on the windows that end at or before `until_ms`, or on all of them."""
    if until_ms is not None:
        windows = windows.where(windows.end_ms <= until_ms)
    if len(windows) < WINDOWS_MIN:
        before = "" if until_ms is None else f" that end by {until_ms}"
        raise TooFewWindowsError(
            f"{len(windows)} windows{before}, expected at least {WINDOWS_MIN} to train on"
        )
    detector = train_detector(windows.features, settings)
    score = detector.score(windows.features)
    metrics = {
        "train_windows": float(len(windows)),
        **detector.metrics,
        "train_share_above_raise": float(np.mean(score >= RAISE_ABOVE)),
        "train_share_above_clear": float(np.mean(score >= CLEAR_BELOW)),
    }
    return replace(detector, metrics=metrics)
