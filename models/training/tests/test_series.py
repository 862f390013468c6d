"""The series model: one machine, one field or several, few windows."""

import json

import numpy as np
import pytest
from conftest import write_lines

from tideflow_training.detector import Settings
from tideflow_training.recipes import series
from tideflow_training.windows import read_windows

HOUR_MS = 3_600_000
SETTINGS = Settings(seed=1, hidden=series.HIDDEN, steps=200)


def recording(path, hours: int, fields: int = 1, seed: int = 1):
    """An AR(1) machine with 12 readings an hour; from hour 200 on its level falls by 12 sigma."""
    random = np.random.default_rng(seed)
    level = np.zeros(fields)
    lines = []
    for hour in range(hours):
        readings = np.empty((12, fields))
        for turn in range(12):
            level = 0.9 * level + random.normal(0.0, 0.4359, fields)
            readings[turn] = 80.0 + 5.0 * level - (60.0 if hour >= 200 else 0.0)
        record = {"device": "m", "window_start": hour * HOUR_MS, "window_end": (hour + 1) * HOUR_MS}
        for field in range(fields):
            values = readings[:, field]
            record["value" if fields == 1 else f"v{field}"] = {
                "mean": values.mean(),
                "std": values.std(),
                "min": values.min(),
                "max": values.max(),
            }
        lines.append(json.dumps({**record, "count": 12}))
    return read_windows(write_lines(path, lines))


@pytest.mark.parametrize("fields", [1, 8])
def test_a_fallen_level_is_found_and_what_came_before_is_not(tmp_path, fields):
    windows = recording(tmp_path / "w.jsonl", 220, fields)
    detector = series.train_series(windows, SETTINGS, until_ms=100 * HOUR_MS)
    score = detector.score(windows.features)
    assert np.all(score[200:] > 0.9)
    assert np.mean(score[100:200] > 0.9) <= 0.05
    assert detector.metrics["train_windows"] == 100.0


def test_windows_after_until_do_not_matter(tmp_path):
    windows = recording(tmp_path / "w.jsonl", 120)
    settings = Settings(seed=1, hidden=series.HIDDEN, steps=50)
    until = series.train_series(windows, settings, until_ms=100 * HOUR_MS)
    alone = series.train_series(windows.where(windows.end_ms <= 100 * HOUR_MS), settings)
    features = windows.features
    assert np.array_equal(until.score(features), alone.score(features))


def test_the_order_of_the_file_does_not_matter(tmp_path):
    windows = recording(tmp_path / "w.jsonl", 60)
    shuffled = windows.where(np.random.default_rng(1).permutation(60))
    settings = Settings(seed=1, hidden=series.HIDDEN, steps=20)
    one, other = (series.train_series(each, settings) for each in (windows, shuffled))
    assert np.array_equal(one.score(windows.features), other.score(windows.features))


def test_windows_of_one_reading_without_spread_are_enough(tmp_path):
    windows = recording(tmp_path / "w.jsonl", 220)
    windows.features[:, 1] = 0.0
    windows.features[:, 2:] = windows.features[:, :1]
    score = series.train_series(windows, SETTINGS, until_ms=100 * HOUR_MS).score(windows.features)
    assert np.all(np.isfinite(score))
    assert np.all(score[200:] > 0.9)


def test_too_few_windows_are_refused_with_their_number(tmp_path):
    windows = recording(tmp_path / "w.jsonl", 40)
    with pytest.raises(ValueError, match="10 windows that end by 36000000, expected at least 20"):
        series.train_series(windows, SETTINGS, until_ms=10 * HOUR_MS)
