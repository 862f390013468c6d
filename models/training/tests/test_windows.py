"""Reading windows: what is accepted, and what is refused with which line."""

import hashlib
import json

import numpy as np
import pytest

from tideflow_training.windows import WindowsFileError, feature_names, read_windows

STATISTICS = {"mean": 2.0, "std": 0.5, "min": 1.0, "max": 3.0}


def record(**changes) -> dict:
    window = {"device": "d000001", "window_start": 60_000, "window_end": 120_000, "count": 10}
    return {**window, "a": STATISTICS, "b": STATISTICS, **changes}


def write(path, *records):
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_features_are_mean_std_min_max_of_each_field_in_the_order_asked_for(tmp_path):
    path = write(tmp_path / "w.jsonl", record(b={**STATISTICS, "mean": 9.0}), record())
    windows = read_windows(path, ("b", "a"))
    assert feature_names(windows.fields) == [
        "b.mean",
        "b.std",
        "b.min",
        "b.max",
        "a.mean",
        "a.std",
        "a.min",
        "a.max",
    ]
    assert windows.features[0].tolist() == [9.0, 0.5, 1.0, 3.0, 2.0, 0.5, 1.0, 3.0]
    assert windows.start_ms.tolist() == [60_000, 60_000]


def test_fields_are_found_in_the_first_window(tmp_path):
    path = write(tmp_path / "w.jsonl", record(note={"text": "no statistics"}), record())
    assert read_windows(path).fields == ("a", "b")


def test_empty_lines_are_skipped_and_counted_as_lines(tmp_path):
    path = write(tmp_path / "w.jsonl", "", record(), "", record(b=1))
    with pytest.raises(WindowsFileError, match=r"w\.jsonl:4: field `b` is a number"):
        read_windows(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("[1, 2]", "expected an object, found an array"),
        (record(device=7), "`device` is a number, expected a string"),
        (record(window_start="x"), "`window_start` is a string, expected ms"),
        (record(window_end=None), "`window_end` is missing or null"),
        (record(window_end=2**63), "`window_end` is 9223372036854775808, expected ms"),
        (record(a={**STATISTICS, "max": 10**400}), "int too large to convert to float"),
        ({k: v for k, v in record().items() if k != "b"}, "field `b` is missing"),
        (record(b={"mean": 1.0, "std": 0.0, "min": 1.0}), "`b.max` is missing"),
        (record(b={**STATISTICS, "std": "0.5"}), "`b.std` is a string, expected a number"),
        (record(b={**STATISTICS, "mean": True}), "`b.mean` is a boolean"),
        (record(b={**STATISTICS, "std": -0.1}), "`b.std` is -0.1, expected 0 or more"),
        (record(b={**STATISTICS, "min": 4.0}), "`b.min` is 4.0, above `b.max` 3.0"),
        (json.dumps(record()).replace("0.5", "NaN"), "`NaN` is not a JSON number"),
        (json.dumps(record()).replace("0.5", "1e999"), "`a.std` is not finite"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_reason(tmp_path, line, reason):
    path = write(tmp_path / "w.jsonl", record(), record(), line)
    with pytest.raises(WindowsFileError) as refused:
        read_windows(path)
    assert refused.value.line == 3
    assert f"{path}:3: " in str(refused.value)
    assert reason in str(refused.value)


def test_a_file_without_windows_or_no_file_is_refused(tmp_path):
    with pytest.raises(WindowsFileError, match="holds no window"):
        read_windows(write(tmp_path / "w.jsonl", ""))
    with pytest.raises(WindowsFileError, match="cannot be read: No such file"):
        read_windows(tmp_path / "none.jsonl")
    with pytest.raises(WindowsFileError, match="no field with `mean`"):
        read_windows(write(tmp_path / "w.jsonl", {"device": "d", "a": 1}))


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path):
    path = tmp_path / "w.jsonl"
    path.write_bytes(json.dumps(record()).encode() + b'\n{"device": "\xff"}\n')
    with pytest.raises(WindowsFileError, match=r"w\.jsonl:2: "):
        read_windows(path)


def test_a_part_of_the_windows_keeps_all_columns(tmp_path):
    windows = read_windows(write(tmp_path / "w.jsonl", record(), record(device="d000002")))
    part = windows.where(np.array([False, True]))
    assert len(part) == 1
    assert part.device[0] == "d000002"
    assert part.features.shape == (1, 8)


def test_the_digest_is_that_of_a_file_with_these_windows_alone(tmp_path):
    lines = [json.dumps(record(device=name)) for name in ("x", "y")]
    both = read_windows(write(tmp_path / "both.jsonl", lines[0], "", lines[1]))
    alone = write(tmp_path / "y.jsonl", lines[1])
    of_file = hashlib.sha256(alone.read_bytes()).hexdigest()
    assert both.where(both.device == "y").digest == read_windows(alone).digest == of_file
    assert both.digest == read_windows(write(tmp_path / "xy.jsonl", *lines)).digest != of_file
