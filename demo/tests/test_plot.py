"""The plots of `demo real`: a picture for each recording, with all that it is to show."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "plot.py"
MINUTE = 60_000
# As in the script, in parts of 1.
ALARM = (1.0, 0x95 / 255, 0.0)


def recording(name, fields=1, alarms=True):
    """Four hours, an anomaly in the third, no rows for a while in the fourth."""
    minutes = [*range(0, 200), *range(225, 240)]
    rows = [[minute * MINUTE, [20.0 + minute % 7] * fields] for minute in minutes]
    starts = [start for start in range(0, 240, 10) if start != 210]
    score = {start: 0.95 if 130 <= start < 160 else 0.1 for start in starts}
    alarm = {"from": 130 * MINUTE, "known": 140 * MINUTE, "to": 160 * MINUTE}
    return {
        "name": name,
        "fields": [[f"field_{index}", "degC"] for index in range(fields)],
        "rows": rows,
        "probation_end": 60 * MINUTE,
        "labels": [[125 * MINUTE, 150 * MINUTE]],
        "scores": [[at * MINUTE, (at + 10) * MINUTE, score[at]] for at in starts],
        "alarms": [alarm] if alarms else [],
        "raise_above": 0.9,
        "clear_below": 0.6,
    }


def plot(folder):
    command = [sys.executable, str(SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def pixels_of(image, color):
    return int(np.sum(np.all(np.abs(image[:, :, :3] - color) < 0.02, axis=2)))


@pytest.fixture(scope="module")
def plots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    boiler, calm = recording("boiler-7"), recording("calm", alarms=False)
    for each in (boiler, calm, recording("pump", fields=8)):
        (folder / f"{each['name']}.json").write_text(json.dumps(each), encoding="utf-8")
    return folder, plot(folder)


def test_each_recording_has_a_picture_and_a_line_that_names_it(plots):
    folder, said = plots
    names = ["boiler-7.png", "calm.png", "pump.png"]
    assert sorted(path.name for path in folder.glob("*.png")) == names
    assert said.splitlines() == [f"plot        {folder / name}" for name in names]


@pytest.mark.parametrize(("name", "height"), [("boiler-7", 660), ("pump", 1540)])
def test_a_picture_is_not_empty_and_as_high_as_its_fields_need(plots, name, height):
    image = matplotlib.image.imread(plots[0] / f"{name}.png")
    assert image.shape[:2] == (height, 1540)
    white = np.mean(np.all(image[:, :, :3] > 0.99, axis=2))
    assert 0.2 < white < 0.95
    assert len(np.unique((image[:, :, :3] * 255).astype(int).reshape(-1, 3), axis=0)) > 20


def test_an_alarm_is_shown_where_there_is_one(plots):
    counts = [
        pixels_of(matplotlib.image.imread(plots[0] / f"{name}.png"), ALARM)
        for name in ("boiler-7", "calm")
    ]
    # The legend names its colour in both.
    assert counts[0] > counts[1] + 1_000
