"""Alarms and what they are worth, on scores made by hand."""

import numpy as np
import pytest
from conftest import write_lines

from tideflow_training.alarms import Alarm, raise_alarms
from tideflow_training.evaluate import Label, area_under_roc, judge, read_labels
from tideflow_training.windows import Windows, WindowsFileError


def windows_of(devices: list[str], minutes: int) -> Windows:
    start = np.tile(np.arange(minutes) * 60_000, len(devices))
    device = np.repeat(np.array(devices), minutes)
    return Windows(("a",), device, start, start + 60_000, np.zeros((len(start), 4)), "")


def test_an_alarm_needs_windows_in_a_row_and_holds_until_well_below():
    score = np.array([0.95, 0.5, 0.9, 0.9, 0.7, 0.95, 0.59, 0.95, 0.95])
    assert raise_alarms(score) == [Alarm(3, 6), Alarm(8, None)]
    assert raise_alarms(score, for_at_least=1) == [Alarm(0, 1), Alarm(2, 6), Alarm(7, None)]
    assert raise_alarms(np.array([])) == []


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
