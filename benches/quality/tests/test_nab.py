"""NAB's score, on cases that are computed by hand."""

import json
import math

import pytest

from quality import nab
from quality.data import DataError

STANDARD = nab.Costs(found=1.0, missed=1.0, false=0.11)
LOW_FALSE = nab.Costs(found=1.0, missed=1.0, false=0.22)
LOW_MISSED = nab.Costs(found=1.0, missed=2.0, false=0.11)
# Of 1000 rows the first 150 are never scored.
ROWS = 1000
WINDOWS = [(300, 399), (700, 799)]


def series(detections, windows=WINDOWS, rows=ROWS):
    scores = [1.0 if row in set(detections) else 0.5 for row in range(rows)]
    return nab.Judged("a/b.csv", [0.0] * rows, windows, scores)


@pytest.mark.parametrize("costs", [STANDARD, LOW_FALSE, LOW_MISSED])
def test_to_detect_nothing_is_worth_0(costs):
    assert nab.score([series([]), series([])], costs) == 0.0


@pytest.mark.parametrize("costs", [STANDARD, LOW_FALSE, LOW_MISSED])
def test_the_first_row_of_each_window_is_worth_100(costs):
    assert nab.score([series([300, 700]), series([300, 700])], costs) == pytest.approx(100.0)


def test_one_window_of_two_is_worth_50_and_more_where_missing_one_costs_more():
    assert nab.score([series([300])], STANDARD) == pytest.approx(50.0)
    # (1 - 2 + 2 * 2) / (2 * 1 + 2 * 2)
    assert nab.score([series([300])], LOW_MISSED) == pytest.approx(50.0)
    # A miss costs 2 of 6, so one window at its middle: (s - 2 + 4) / 6.
    middle = (2 / (1 + math.exp(-2.5)) - 1) / (2 / (1 + math.exp(-5)) - 1)
    assert nab.score([series([350])], LOW_MISSED) == pytest.approx(100 * (middle + 2) / 6)


def test_a_false_detection_before_any_window_costs_all_that_one_can():
    assert series([200, 300, 700]).raw(STANDARD) == pytest.approx(2 - 0.11)
    assert nab.score([series([200, 300, 700])], STANDARD) == pytest.approx(100 * (4 - 0.11) / 4)
    assert nab.score([series([200, 300, 700])], LOW_FALSE) == pytest.approx(100 * (4 - 0.22) / 4)


def test_a_false_detection_soon_behind_a_window_costs_less():
    # 11 rows behind the last, of a window of 100 rows: 11 / 99.
    cost = 0.11 * (1 - 2 / (1 + math.exp(5 / 9)))
    assert series([300, 410, 700]).raw(STANDARD) == pytest.approx(2 - cost)


def test_far_behind_a_window_it_costs_all_again():
    # More than three times the window behind it.
    assert series([700, 999], [(700, 750)]).raw(STANDARD) == pytest.approx(1 - 0.11)


def test_only_the_best_row_of_a_window_counts():
    assert series([300, 350, 399, 700]).raw(STANDARD) == pytest.approx(2.0)


def test_the_last_row_of_a_window_is_worth_almost_nothing_but_no_miss():
    last = (2 / (1 + math.exp(-0.05)) - 1) / (2 / (1 + math.exp(-5)) - 1)
    assert 0 < last < 0.03
    assert series([399, 700]).raw(STANDARD) == pytest.approx(1 + last)


def test_the_first_rows_are_never_scored():
    assert series([]).probation == 150
    assert series([], rows=10_000).probation == 750
    assert series([0, 149, 300, 700]).raw(STANDARD) == pytest.approx(2.0)
    assert series([150, 300, 700]).raw(STANDARD) == pytest.approx(2 - 0.11)


def test_a_series_without_windows_can_only_cost():
    calm = series([500], windows=[])
    assert calm.false == [500]
    assert nab.score([series([300, 700]), calm], STANDARD) == pytest.approx(100 * (4 - 0.11) / 4)


def test_found_and_false_are_told_apart():
    each = series([200, 310, 320, 500])
    assert (each.found, each.false) == (1, [200, 500])


def corpus(folder, windows, result_rows=3):
    for name in ("data/kind", "labels", "config", "results/kind"):
        (folder / name).mkdir(parents=True)
    times = [f"2014-01-01 00:0{minute}:00" for minute in range(3)]
    (folder / "data/kind/a.csv").write_text("timestamp,value\n" + "".join(f"{t},1.5\n" for t in times))
    said = "".join(f"{row},{time},0.25\n" for row, time in enumerate(times[:result_rows]))
    (folder / "results/kind/a.csv").write_text("row,timestamp,score\n" + said)
    (folder / "labels/combined_windows.json").write_text(json.dumps({"kind/a.csv": windows}))


def test_windows_are_read_as_rows(tmp_path):
    corpus(tmp_path, [["2014-01-01 00:01:00.000000", "2014-01-01 00:02:00.000000"]])
    expected = nab.Judged("kind/a.csv", [1.5] * 3, [(1, 2)], [0.25] * 3)
    assert nab.read(tmp_path, tmp_path / "results") == [expected]


def test_series_without_any_window_are_refused(tmp_path):
    corpus(tmp_path, [])
    with pytest.raises(DataError, match="no windows of anomalies"):
        nab.read(tmp_path, tmp_path / "results")


def test_a_window_that_begins_at_no_row_is_refused(tmp_path):
    corpus(tmp_path, [["2014-01-01 00:01:30.000000", "2014-01-01 00:02:00.000000"]])
    with pytest.raises(DataError, match="begins or ends at 2014-01-01 00:01:30"):
        nab.read(tmp_path, tmp_path / "results")


def test_results_of_other_rows_are_refused(tmp_path):
    corpus(tmp_path, [], result_rows=2)
    with pytest.raises(DataError, match="expected the 3 times of .*, found 2 rows"):
        nab.read(tmp_path, tmp_path / "results")


def test_profiles_are_read_from_the_file_of_the_benchmark(tmp_path):
    costs = {"tpWeight": 1.0, "fnWeight": 2.0, "fpWeight": 0.11, "tnWeight": 1.0}
    (tmp_path / "p.json").write_text(json.dumps({"reward_low_FN_rate": {"CostMatrix": costs}}))
    assert nab.profiles(tmp_path / "p.json") == {"reward_low_FN_rate": LOW_MISSED}
