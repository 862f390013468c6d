"""Alarms against labelled faults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tideflow_training import fleet, plots
from tideflow_training.alarms import CLEAR_BELOW, RAISE_ABOVE, WINDOWS_MIN, raise_alarms
from tideflow_training.manifest import fields_of
from tideflow_training.recipe import Evaluation, EvaluationSet
from tideflow_training.windows import Windows, WindowsFileError, parse_windows, read_windows

if TYPE_CHECKING:
    from tideflow_training.saved_model import Loaded


@dataclass(frozen=True)
class Label:
    """A fault: one device from `start_ms` to `end_ms` (exclusive), event time."""

    device: str
    start_ms: int
    end_ms: int
    kind: str


def read_labels(path: Path | str) -> list[Label]:
    """Reads JSON lines `{"device", "from", "to"}` (ms), with `"kind"` where it is known."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WindowsFileError(path, None, f"cannot be read: {error}") from error
    return parse_labels(lines, path)


def parse_labels(lines: Iterable[str], path: Path | str) -> list[Label]:
    """The labels in these lines; `path` is for errors."""
    labels = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            kind = str(record.get("kind", "fault"))
            label = Label(str(record["device"]), int(record["from"]), int(record["to"]), kind)
        except KeyError as error:
            raise WindowsFileError(path, number, f"`{error.args[0]}` is missing") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise WindowsFileError(path, number, f"not a label: {error}") from error
        labels.append(label)
    return labels


@dataclass(frozen=True)
class Verdict:
    """What the alarms of one model are worth."""

    # One a label: windows from the one with the onset to the first that raised an alarm while it
    # lasted or up to two windows later, or None. An alarm that was on before did not find it.
    windows_to_alarm: list[int | None]
    alarms: int
    # On a device without a fault in that window or the two before it.
    false_alarms: int
    # Share of windows without a fault that score above `raise_above`.
    false_positive_rate: float
    # Of windows, faulty against healthy; NaN without labels.
    auc: float
    # Of each window, whether a labelled fault lies in it.
    faulty: np.ndarray = field(compare=False)

    @property
    def found(self) -> int:
        """Labels with an alarm."""
        return sum(windows is not None for windows in self.windows_to_alarm)


def judge(
    windows: Windows,
    score: np.ndarray,
    labels: list[Label],
    raise_above: float = RAISE_ABOVE,
    clear_below: float = CLEAR_BELOW,
    for_at_least: int = WINDOWS_MIN,
) -> Verdict:
    """Raises the alarms of every device and holds them against the labels."""
    order = np.lexsort((windows.start_ms, windows.device))
    faulty = np.zeros(len(windows), bool)
    waited: list[int | None] = [None] * len(labels)
    by_device: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        by_device.setdefault(label.device, []).append(index)
    alarms = false_alarms = 0
    names, first = np.unique(windows.device[order], return_index=True)
    for name, rows in zip(names, np.split(order, first[1:])):
        start, end = windows.start_ms[rows], windows.end_ms[rows]
        mine = by_device.get(str(name), [])
        shown = {index: _overlap(start, end, labels[index]) for index in mine}
        for mask in shown.values():
            faulty[rows] |= mask
        for alarm in raise_alarms(score[rows], end, raise_above, clear_below, for_at_least):
            alarms += 1
            explained = False
            for index, mask in shown.items():
                if not mask[max(0, alarm.raised - 2) : alarm.raised + 1].any():
                    continue
                explained = True
                if waited[index] is None:
                    waited[index] = alarm.raised - int(np.flatnonzero(mask)[0])
            false_alarms += not explained
    healthy = score[~faulty]
    rate = float(np.mean(healthy > raise_above)) if len(healthy) else float("nan")
    auc = area_under_roc(healthy, score[faulty]) if faulty.any() else float("nan")
    return Verdict(waited, alarms, false_alarms, rate, auc, faulty)


def evaluate_alarms(model: Loaded, windows: Windows, labels: list[Label], about: str) -> Evaluation:
    """What a model's scores and alarms are worth on windows with labelled faults."""
    score = model.score(windows.features)
    verdict = judge(windows, score, labels)
    faulty = verdict.faulty
    metrics = {
        "false_alarms": float(verdict.false_alarms),
        "false_positive_rate": verdict.false_positive_rate,
    }
    if labels:
        metrics.update(auc=verdict.auc, faults_found=verdict.found / len(labels))
    drawn = {
        "scores": plots.histogram({"healthy": score[~faulty], "faulty": score[faulty]}, "score"),
        "roc": plots.roc(score[~faulty], score[faulty]),
    }
    return Evaluation(about, metrics, plots=drawn)


def made_up_fleet(
    devices: int, minutes: int, seed: int, faults: int = 0
) -> tuple[Windows, list[Label]]:
    """Windows of a made-up fleet as if read from a file, and its faults."""
    broken = fleet.make_faults(faults, devices, minutes, seed)
    lines = (line.encode() for line in fleet.make_windows(devices, minutes, seed, broken))
    labels = parse_labels((fault.label() for fault in broken), "a made-up fleet")
    return parse_windows(lines, "a made-up fleet"), labels


# An evaluation set of two files, named by the gates file: windows that nothing was learnt from, and
# the faults in them.
FILES = ("windows", "labels")


def evaluate_files(model: Loaded, wanted: EvaluationSet) -> Evaluation:
    """The same on windows and labels that the gates file names."""
    paths = [wanted.path(key) for key in FILES]
    windows = read_windows(paths[0], fields_of(model.manifest))
    labels = read_labels(paths[1])
    about = f"{len(windows)} windows and {len(labels)} faults from files"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    return replace(evaluate_alarms(model, windows, labels, about), digest=digest)


def _overlap(start: np.ndarray, end: np.ndarray, label: Label) -> np.ndarray:
    return (start < label.end_ms) & (end > label.start_ms)


def area_under_roc(healthy: np.ndarray, faulty: np.ndarray) -> float:
    """The chance that a faulty window scores above a healthy one, ties counted half."""
    both = np.concatenate([healthy, faulty])
    values, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    wins = rank[len(healthy) :].sum() - len(faulty) * (len(faulty) + 1) / 2.0
    return float(wins / (len(healthy) * len(faulty)))
