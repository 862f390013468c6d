"""Alarms and what they are worth, on scores made by hand."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_lines

from tideflow_training import alarms
from tideflow_training.alarms import Alarm, raise_alarms
from tideflow_training.evaluate import Label, area_under_roc, judge, read_labels
from tideflow_training.windows import Windows, WindowsFileError


def windows_of(devices: list[str], minutes: int) -> Windows:
    start = np.tile(np.arange(minutes) * 60_000, len(devices))
    device = np.repeat(np.array(devices), minutes)
    features, lines = np.zeros((len(start), 4)), np.full(len(start), b"", object)
    return Windows(("a",), device, start, start + 60_000, features, lines)


def minutes_of(score: np.ndarray) -> np.ndarray:
    return (1 + np.arange(len(score))) * 60_000


def test_alarms_are_raised_by_the_defaults_of_the_graph():
    # Python 3.10 comes without it; pytest brings the same by another name.
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    graph = Path(__file__).parents[3] / "dataflows/src/device_health/default.toml"
    assert tomllib.loads(graph.read_text(encoding="utf-8"))["alarm"] == {
        "raise_above": alarms.RAISE_ABOVE,
        "clear_below": alarms.CLEAR_BELOW,
        "windows_min": alarms.WINDOWS_MIN,
        "forget_after_ms": alarms.FORGET_AFTER_MS,
    }


def test_an_alarm_needs_windows_in_a_row_and_holds_until_well_below():
    score = np.array([0.95, 0.5, 0.91, 0.91, 0.7, 0.95, 0.59, 0.95, 0.95])
    end = minutes_of(score)
    assert raise_alarms(score, end) == [Alarm(3, 6), Alarm(8, None)]
    assert raise_alarms(score, end, for_at_least=1) == [Alarm(0, 1), Alarm(2, 6), Alarm(7, None)]
    assert raise_alarms(np.array([]), np.array([])) == []


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_score_at_a_threshold_neither_raises_nor_clears(kind):
    score = np.array([0.9, 0.9, 0.91, 0.6, 0.9, 0.59, 0.91], kind)
    assert raise_alarms(score, minutes_of(score), for_at_least=1) == [Alarm(2, 5), Alarm(6, None)]
    verdict = judge(windows_of(["x"], 7), score, [])
    assert verdict.false_positive_rate == pytest.approx(2 / 7)


def test_silence_breaks_no_row_until_it_is_longer_than_the_graph_remembers():
    score = np.full(4, 0.95)
    end = np.array([0, 10, 110, 211])
    assert raise_alarms(score, end, forget_after_ms=101) == [Alarm(1, None)]
    # Forgotten before the last window: the alarm has expired, and one window raises no other.
    assert raise_alarms(score, end, forget_after_ms=100) == [Alarm(1, 3)]
    assert raise_alarms(score, end, for_at_least=1, forget_after_ms=100)[1:] == [Alarm(3, None)]
    # Nor do windows on both sides of it make a row.
    assert raise_alarms(score[2:], end[2:], forget_after_ms=100) == []


def test_an_alarm_on_the_faulty_device_counts_as_found_and_elsewhere_as_false():
    windows = windows_of(["x", "y"], 10)
    score = np.zeros(20)
    score[[4, 5, 6]] = 0.95
    score[[12, 13]] = 0.95
    labels = [Label("x", 3 * 60_000 + 1, 7 * 60_000, "drift"), Label("z", 0, 1, "stuck")]
    verdict = judge(windows, score, labels)
    assert verdict.windows_to_alarm == [2, None]
    assert (verdict.alarms, verdict.false_alarms, verdict.found) == (2, 1, 1)
    # Of 16 windows without a fault, 2 score high.
    assert verdict.false_positive_rate == pytest.approx(2 / 16)


def test_an_alarm_shortly_after_a_fault_is_not_false_and_long_before_it_is():
    windows = windows_of(["x"], 20)
    labels = [Label("x", 5 * 60_000, 8 * 60_000, "drift")]
    after = np.zeros(20)
    after[[8, 9]] = 0.95
    assert judge(windows, after, labels).false_alarms == 0
    before = np.zeros(20)
    before[[1, 2]] = 0.95
    verdict = judge(windows, before, labels)
    assert (verdict.false_alarms, verdict.found) == (1, 0)


def test_an_alarm_that_was_on_before_a_fault_is_false_and_did_not_find_it():
    windows = windows_of(["x"], 20)
    labels = [Label("x", 9 * 60_000, 14 * 60_000, "drift")]
    score = np.zeros(20)
    score[2:13] = 0.95
    verdict = judge(windows, score, labels)
    assert (verdict.alarms, verdict.false_alarms, verdict.found) == (1, 1, 0)
    # Another one, raised while the fault lasts, finds it.
    score[10] = 0.1
    verdict = judge(windows, score, labels)
    assert (verdict.alarms, verdict.false_alarms, verdict.windows_to_alarm) == (2, 1, [3])


def test_windows_may_come_in_any_order():
    windows = windows_of(["x", "y"], 6)
    score = np.array([0, 0.95, 0.95, 0, 0, 0, 0, 0, 0, 0.95, 0.95, 0.95])
    shuffled = np.random.default_rng(1).permutation(12)
    mixed = windows.where(shuffled)
    labels = [Label("y", 180_000, 360_000, "drift")]
    assert judge(mixed, score[shuffled], labels) == judge(windows, score, labels)


def test_the_area_under_the_roc_counts_ties_half():
    assert area_under_roc(np.array([0.1, 0.2]), np.array([0.3, 0.4])) == 1.0
    assert area_under_roc(np.array([0.5]), np.array([0.5])) == 0.5
    assert area_under_roc(np.array([0.1, 0.5]), np.array([0.3])) == 0.5


def test_labels_are_read_and_a_bad_one_is_named(tmp_path):
    good = '{"device": "d", "from": 1, "to": 2, "kind": "drift"}'
    path = write_lines(tmp_path / "l.jsonl", [good, '{"device": "d", "from": 1, "to": 2}'])
    assert read_labels(path) == [Label("d", 1, 2, "drift"), Label("d", 1, 2, "fault")]
    write_lines(path, [good, '{"device": "d", "from": 1}'])
    with pytest.raises(WindowsFileError, match=r"l\.jsonl:2: `to` is missing"):
        read_labels(path)
    write_lines(path, [good, "[]"])
    with pytest.raises(WindowsFileError, match=r"l\.jsonl:2: not a label"):
        read_labels(path)
