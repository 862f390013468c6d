"""What is there, what is the same, and what the report says of it."""

import pytest

from quality import data, nab, plots, program, report, skab


def test_parts_that_are_missing_are_named_and_left_out(tmp_path):
    (tmp_path / "skab/other").mkdir(parents=True)
    (tmp_path / "skab/other/1.csv").touch()
    (tmp_path / "nab/data/kind").mkdir(parents=True)
    (tmp_path / "nab/data/kind/a.csv").touch()
    there, left_out = data.find(tmp_path)
    assert [part.name for part in there] == ["skab"]
    assert left_out == [
        "NAB: no `nab/labels/combined_windows.json`, no `nab/config/profiles.json`",
        "C-MAPSS FD001: no `cmapss-fd001/train_FD001.txt`",
    ]


def test_a_folder_with_nothing_to_judge_is_refused(tmp_path):
    with pytest.raises(data.DataError, match="nothing to judge"):
        data.find(tmp_path)


def test_files_that_differ_or_are_in_one_folder_only_are_named(tmp_path):
    both = {"one": {"a": "1", "b": "1", "c": "1"}, "two": {"a": "1", "b": "2", "d": "1"}}
    for folder, files in both.items():
        (tmp_path / folder / "in").mkdir(parents=True)
        for name, text in files.items():
            (tmp_path / folder / "in" / name).write_text(text)
    assert program.differences(tmp_path / "one", tmp_path / "two") == ["in/b", "in/c", "in/d"]
    assert program.differences(tmp_path / "one", tmp_path / "one") == []


def pumps(alarms):
    rows = skab.CALIBRATION + 4
    truth = [False] * (rows - 2) + [True] * 2
    return [skab.Judged("1.csv", truth, [0.0] * rows, [False] * (rows - 4) + alarms)]


def written(alarms, differ):
    files = pumps(alarms)
    runs = {"skab": ("1 recordings", 2.0)}
    results = report.Results(skab=files, skab_alone=files, runs=runs, differ={"SKAB": differ})
    return report.report("Quality", ["commit: abc"], results, "plots")


def test_goals_that_are_met_and_missed_are_told_apart():
    text = written([False, False, True, True], [])
    assert "| SKAB, each file alone: F1 | at least 0.80 | 1.000 | yes |" in text
    assert "- SKAB: the same files byte for byte" in text
    text = written([True, False, False, False], ["1.csv (2 workers)"])
    assert "| SKAB, each file alone: F1 | at least 0.80 | 0.000 | **no** |" in text
    assert "| SKAB, each file alone: false alarms (FAR) | at most 15.0 % | 50.0 % | **no** |" in text
    assert "- SKAB: **not the same**: 1.csv (2 workers)" in text


def test_plots_are_pictures_of_every_file(tmp_path):
    plots.draw_pumps(pumps([False, False, True, True]) * 3, tmp_path / "skab.png")
    calm = nab.Judged("kind/calm.csv", [1.0] * 200, [], [0.0] * 200)
    plots.draw_series([calm], tmp_path / "nab.png")
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in tmp_path.iterdir())
