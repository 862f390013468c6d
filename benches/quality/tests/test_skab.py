"""SKAB's counts, on cases that are counted by hand."""

import pytest

from quality import skab
from quality.data import DataError

CALIBRATING = [False] * skab.CALIBRATION


def judged(truth, alarms, name="1.csv", calibrating=CALIBRATING):
    """Of 0 and 1, behind the calibration rows."""
    return skab.Judged(
        name, CALIBRATING + [c == "1" for c in truth], [], calibrating + [c == "1" for c in alarms]
    )


def test_each_row_is_counted_by_what_it_is_and_what_was_said():
    found = judged("1110000000", "1100000001").confusion
    assert found == skab.Confusion(tp=2, fp=1, fn=1, tn=6)
    assert found.f1 == pytest.approx(4 / 6)
    assert found.far == pytest.approx(1 / 7)
    assert found.mar == pytest.approx(1 / 3)


def test_files_are_pooled_by_rows_and_not_by_their_figures():
    files = [judged("1110000000", "1100000001"), judged("11", "00", "2.csv")]
    found = skab.pooled(files)
    assert found == skab.Confusion(tp=2, fp=1, fn=3, tn=6)
    # Not the mean of 4/6 and 0.
    assert found.f1 == pytest.approx(4 / 8)


def test_calibration_rows_are_not_counted_whatever_was_said_of_them():
    loud = judged("10", "10", calibrating=[True] * skab.CALIBRATION)
    loud.truth[:200] = [True] * 200
    assert loud.confusion == skab.Confusion(tp=1, fp=0, fn=0, tn=1)


def test_a_neighbour_of_an_alarm_gets_nothing_from_it():
    assert judged("111", "010").confusion == skab.Confusion(tp=1, fn=2)


def test_without_a_row_of_a_kind_there_is_no_figure():
    assert judged("00", "00").confusion.mar is None
    assert judged("00", "00").confusion.f1 is None
    assert judged("11", "11").confusion.far is None


def test_to_flag_everything_misses_nothing_and_is_all_false_alarms():
    everything = judged("1100", "0000").everything_flagged
    assert (everything.f1, everything.far, everything.mar) == (pytest.approx(2 / 3), 1.0, 0.0)


def written(folder, name, lines):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")


def test_files_are_read_with_their_results_in_the_order_of_their_numbers(tmp_path):
    recordings, results = tmp_path / "in", tmp_path / "out"
    for name in ("10.csv", "2.csv"):
        written(recordings, name, ["datetime;Current;anomaly;changepoint", "a;1.0;0.0;0.0", "b;1.0;1.0;0.0"])
        written(results, name, ["row,timestamp,score,alarm", "0,a,0.25,0", "1,b,0.75,1"])
    files = skab.read(recordings, results)
    assert [each.name for each in files] == ["2.csv", "10.csv"]
    assert files[0] == skab.Judged("2.csv", [False, True], [0.25, 0.75], [False, True])


def test_results_of_other_rows_are_refused(tmp_path):
    recordings, results = tmp_path / "in", tmp_path / "out"
    written(recordings, "1.csv", ["datetime;anomaly", "a;0.0", "b;1.0"])
    written(results, "1.csv", ["row,timestamp,score,alarm", "0,a,0,0"])
    with pytest.raises(DataError, match="expected the 2 times of .*, found 1 rows"):
        skab.read(recordings, results)


def test_a_recording_without_labels_is_refused(tmp_path):
    recordings, results = tmp_path / "in", tmp_path / "out"
    written(recordings, "1.csv", ["datetime;Current", "a;0.0"])
    written(results, "1.csv", ["row,timestamp,score,alarm", "0,a,0,0"])
    with pytest.raises(DataError, match="no column `anomaly`"):
        skab.read(recordings, results)
