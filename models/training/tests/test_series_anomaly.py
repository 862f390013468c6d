"""The series model: made-up series, and what is left of their noise."""

from types import SimpleNamespace

import numpy as np
import pytest

from tideflow_training.made_up_series import ROWS, make_series
from tideflow_training.recipe import EvaluationSet
from tideflow_training.recipes import series_anomaly
from tideflow_training.recipes.series_anomaly import RECIPE, training_windows
from tideflow_training.saved_model import export


def test_made_up_series_are_finite_of_all_kinds_and_the_same_for_a_seed():
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    levels = []
    for _ in range(200):
        course, noise = make_series(one)
        again = make_series(two)
        assert np.array_equal(course, again[0]) and np.array_equal(noise, again[1])
        assert course.shape == noise.shape == (ROWS,)
        assert np.all(np.isfinite(course)) and np.all(np.isfinite(noise))
        levels.append(noise.std() / max(course.std(), 1e-2))
    assert min(levels) < 0.1 and max(levels) > 0.5


def test_windows_are_scaled_and_their_targets_are_in_the_same_units():
    windows, targets = training_windows(30, seed=1)
    assert windows.shape == (30 * 60, 32) and targets.shape == (30 * 60, 36)
    assert windows.dtype == targets.dtype == np.float32
    assert np.allclose(windows.mean(axis=1), 0.0, atol=1e-4)
    assert np.median(windows.std(axis=1)) == pytest.approx(1.0, abs=0.01)
    assert np.abs(targets).max() <= 8.0
    # The course is what the window is a noisy picture of.
    assert np.corrcoef(windows.ravel(), targets[:, :32].ravel())[0, 1] > 0.7


def test_a_short_training_takes_away_a_good_part_of_the_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(series_anomaly, "SERIES", 200)
    wanted = EvaluationSet({"series": 20, "seed": 11}, tmp_path, None)
    left = {}
    for epochs in (1, 8):
        trained = RECIPE.train(SimpleNamespace(seed=1, epochs=epochs))
        model = export(trained, tmp_path / str(epochs), name="series", version="1")
        left[epochs] = RECIPE.evaluate(model, wanted).metrics["noise_left"]
    assert left[8] < 0.8 and left[8] < left[1]
    # A window that stands still, and the rows that fill a call.
    clean = model.predict({"features": np.zeros((2, 32))})["clean"]
    assert clean.shape == (2, 16) and np.all(np.isfinite(clean))
