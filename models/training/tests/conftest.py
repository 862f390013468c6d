"""One small fleet and one model of it, for all tests that need a trained one."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from tideflow_training import fleet
from tideflow_training.detector import Detector, Settings
from tideflow_training.evaluate import Label, read_labels
from tideflow_training.recipe import Trained
from tideflow_training.recipes import health
from tideflow_training.saved_model import export
from tideflow_training.windows import Windows, read_windows

# No test writes to a registry that somebody works with.
os.environ.pop("MLFLOW_TRACKING_URI", None)

DEVICES = 150
MINUTES = 30
SETTINGS = Settings(seed=1, epochs=20)


class Health(NamedTuple):
    """A trained model, where it came from and where it went."""

    detector: Detector
    trained: Trained
    windows: Windows
    windows_file: Path
    folder: Path


class Faulty(NamedTuple):
    """Windows of another fleet, some of its devices with a fault."""

    windows: Windows
    labels: list[Label]
    windows_file: Path
    labels_file: Path


def write_lines(path: Path, lines) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Health:
    folder = tmp_path_factory.mktemp("health")
    path = write_lines(folder / "windows.jsonl", fleet.make_windows(DEVICES, MINUTES, seed=1))
    windows = read_windows(path, health.FIELDS)
    detector = health.train_health(windows, SETTINGS)
    learnt = health.split_by_device(windows, SETTINGS.seed).train
    trained = detector.trained(learnt, health.UNITS, windows.digest, SETTINGS)
    export(trained, folder / "model", name="health", version="1")
    return Health(detector, trained, windows, path, folder / "model")


@pytest.fixture(scope="session")
def faulty(tmp_path_factory) -> Faulty:
    folder = tmp_path_factory.mktemp("faulty")
    faults = fleet.make_faults(30, DEVICES, MINUTES, seed=2)
    lines = fleet.make_windows(DEVICES, MINUTES, seed=2, faults=faults)
    path = write_lines(folder / "windows.jsonl", lines)
    labels = write_lines(folder / "labels.jsonl", [fault.label() for fault in faults])
    return Faulty(read_windows(path, health.FIELDS), read_labels(labels), path, labels)
