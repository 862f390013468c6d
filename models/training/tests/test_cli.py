"""The commands as a person types them."""

import hashlib
import json

import pytest

from tideflow_training.cli import main
from tideflow_training.manifest import read_manifest
from tideflow_training.recipes import health


def test_generate_gives_the_same_windows_for_the_same_seed(tmp_path):
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    labels = tmp_path / "labels"
    size = ["--devices", "12", "--minutes", "20", "--faults", "3"]
    assert main(["generate", "--out", str(one), *size, "--labels", str(labels)]) == 0
    assert main(["generate", "--out", str(two), *size]) == 0
    assert main(["generate", "--out", str(other), *size, "--seed", "2"]) == 0
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert len(one.read_text().splitlines()) == 12 * 20
    kinds = {json.loads(line)["kind"] for line in labels.read_text().splitlines()}
    assert kinds == {"drift", "spikes", "stuck"}


def test_a_generated_window_has_the_documented_shape(tmp_path):
    out = tmp_path / "w.jsonl"
    main(["generate", "--out", str(out), "--devices", "1", "--minutes", "1"])
    window = json.loads(out.read_text())
    assert list(window) == [
        "device",
        "window_start",
        "window_end",
        "count",
        "temperature",
        "vibration",
        "current",
    ]
    assert window["device"] == "d000000"
    assert window["window_end"] - window["window_start"] == 60_000
    assert list(window["current"]) == ["mean", "std", "min", "max"]


def test_evaluate_prints_a_line_a_fault_and_a_summary(trained, faulty, capsys):
    command = ["evaluate", "--model", str(trained.folder), "--windows", str(faulty.windows_file)]
    assert main([*command, "--labels", str(faulty.labels_file)]) == 0
    *faults, summary = capsys.readouterr().out.splitlines()
    assert len(faults) == 30
    assert all("found after" in line for line in faults)
    summary = json.loads(summary)
    assert summary["faults_found"] == summary["faults"] == 30
    assert summary["windows"] == len(faulty.windows)
    assert main(command) == 0
    assert "faults" not in json.loads(capsys.readouterr().out)


def test_series_writes_units_name_and_version_to_the_manifest(tmp_path):
    windows, model = tmp_path / "w.jsonl", tmp_path / "model"
    main(["generate", "--out", str(windows), "--devices", "1", "--minutes", "40"])
    command = ["series", "--windows", str(windows), "--out", str(model), "--epochs", "2"]
    named = ["--name", "pump", "--model-version", "7", "--unit", "current=A"]
    assert main(command) == 0
    assert read_manifest(model)["name"] == "series"
    assert main([*command, *named]) == 0, "a model may be replaced"
    manifest = read_manifest(model)
    assert (manifest["name"], manifest["version"]) == ("pump", "7")
    units = {feature["name"]: feature["unit"] for feature in manifest["features"]}
    assert (units["current.std"], units["temperature.mean"]) == ("A", "unspecified")


def test_the_digest_is_of_the_windows_that_were_used(tmp_path, capsys):
    windows, used, model = (tmp_path / name for name in ("w.jsonl", "used.jsonl", "model"))
    main(["generate", "--out", str(windows), "--devices", "1", "--minutes", "40"])
    lines = windows.read_text().splitlines(keepends=True)
    used.write_text("".join(lines[:25]))
    until = str(json.loads(lines[24])["window_end"])
    command = ["series", "--windows", str(windows), "--out", str(model), "--epochs", "1"]
    assert main([*command, "--until", until]) == 0
    assert "series: 25 rows" in capsys.readouterr().out
    assert read_manifest(model)["data_digest"] == hashlib.sha256(used.read_bytes()).hexdigest()


def test_the_shortest_run_with_faults_holds_them_whole(tmp_path):
    labels = tmp_path / "labels"
    size = ["--devices", "30", "--minutes", "10", "--faults", "30"]
    assert main(["generate", "--out", str(tmp_path / "w"), *size, "--labels", str(labels)]) == 0
    faults = [json.loads(line) for line in labels.read_text().splitlines()]
    assert {fault["to"] - fault["from"] for fault in faults} == {360_000}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["health", "--epochs", "0"], "--epochs: expected 1 or more, found `0`"),
        (["series", "--epochs", "-1"], "--epochs: expected 1 or more, found `-1`"),
        (["series", "--seed", "-1"], "--seed: expected 0 to 4294967295, found `-1`"),
        (["health", "--seed", "4294967296"], "--seed: expected 0 to 4294967295"),
        (["generate", "--seed", "x"], "--seed: expected 0 to 4294967295, found `x`"),
        (["generate", "--devices", "0"], "--devices: expected 1 to 1000000, found `0`"),
        (["generate", "--minutes", "0"], "--minutes: expected 1 or more, found `0`"),
        (["generate", "--faults", "-2"], "--faults: expected 0 or more, found `-2`"),
        (["evaluate", "--for-at-least", "0"], "--for-at-least: expected 1 or more, found `0`"),
    ],
)
def test_a_number_out_of_range_ends_with_2_and_its_range(capsys, option, expected):
    with pytest.raises(SystemExit) as ended:
        main(option)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


def test_the_largest_seed_trains(tmp_path):
    windows = tmp_path / "w.jsonl"
    seed = ["--seed", str(2**32 - 1)]
    main(["generate", "--out", str(windows), "--devices", "1", "--minutes", "20", *seed])
    command = ["series", "--windows", str(windows), "--out", str(tmp_path / "m"), "--epochs", "1"]
    assert main([*command, *seed, "--until", str(10**30)]) == 0


def test_health_without_windows_learns_from_a_made_up_fleet(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(health, "MADE_UP", {"devices": 20, "minutes": 5, "seed": 1})
    monkeypatch.chdir(tmp_path)
    assert main(["train", "health", "--epochs", "1", "--name", "small"]) == 0
    said = capsys.readouterr().out
    assert "small: 60 rows" in said and "evaluation" not in said
    windows = tmp_path / "w.jsonl"
    main(["generate", "--out", str(windows), "--devices", "20", "--minutes", "5"])
    digest = hashlib.sha256(windows.read_bytes()).hexdigest()
    assert read_manifest(tmp_path / ".tideflow/models/small")["data_digest"] == digest
    assert main(["train", "health", "--epochs", "1"]) == 0
    assert "evaluation: a made-up fleet: 200 devices" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["health", "--windows", "{bad}", "--out", "{out}"], "bad.jsonl:2: field `current` is "),
        (["series", "--windows", "{bad}", "--out", "{out}"], "bad.jsonl:2: field `current` is "),
        (["series", "--windows", "{few}", "--out", "{out}"], "5 windows, expected at least 20"),
        (["health", "--windows", "{few}", "--out", "{out}"], "windows of 1 devices"),
        (["series", "--windows", "{few}", "--out", "{out}", "--unit", "x=A"], "no field `x`"),
        (["health", "--windows", "{none}", "--out", "{out}"], "cannot be read"),
        (["evaluate", "--model", "{none}", "--windows", "{few}"], "no model in"),
        (["generate", "--out", "{out}", "--minutes", "9", "--faults", "1"], "9 minutes, expected"),
        (["health", "--windows", "{few}", "--out", "{few}"], "not overwritten: no model in"),
        (["series", "--windows", "{few}", "--out", "{few}"], "not overwritten: no model in"),
    ],
)
def test_bad_input_ends_with_2_and_one_line_that_says_why(tmp_path, capsys, arguments, message):
    few, bad = tmp_path / "few.jsonl", tmp_path / "bad.jsonl"
    main(["generate", "--out", str(few), "--devices", "1", "--minutes", "5"])
    first = few.read_text().splitlines()[0]
    broken = {key: value for key, value in json.loads(first).items() if key != "current"}
    bad.write_text(first + "\n" + json.dumps(broken) + "\n")
    paths = {"few": few, "bad": bad, "none": tmp_path / "none", "out": tmp_path / "out"}
    assert main([argument.format(**paths) for argument in arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error
    assert message in error
    assert not (tmp_path / "out").exists()
