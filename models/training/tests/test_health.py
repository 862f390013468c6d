"""The health model: what it finds, what it leaves alone, and what its folder holds."""

import dataclasses
import json
import platform
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SETTINGS, write_lines
from made_up_features import write_columns

from tideflow_training import fleet
from tideflow_training.deterministic import make_deterministic
from tideflow_training.evaluate import judge
from tideflow_training.manifest import ModelFolderError, read_manifest
from tideflow_training.recipes import health
from tideflow_training.saved_model import export, load_score
from tideflow_training.windows import feature_names, read_windows, read_windows_or_rows


def test_the_exported_model_gives_the_scores_of_the_keras_model(trained, faulty):
    load = load_score(trained.folder)
    for windows in (trained.windows, faulty.windows):
        expected = trained.detector.score(windows.features)
        assert np.max(np.abs(load(windows.features) - expected)) <= 1e-6


def test_a_row_scores_the_same_alone_and_in_company(trained):
    load = load_score(trained.folder)
    features = trained.windows.features[:64]
    together = load(features)
    alone = np.array([load(row[None, :])[0] for row in features])
    assert np.max(np.abs(together - alone)) <= 1e-6


def test_the_folder_has_the_one_documented_signature(trained):
    signatures = tf.saved_model.load(str(trained.folder)).signatures
    assert list(signatures) == ["serving_default"]
    serve = signatures["serving_default"]
    ((_, inputs),) = (serve.structured_input_signature,)
    assert list(inputs) == ["features"]
    assert inputs["features"].shape.as_list() == [None, 12]
    assert inputs["features"].dtype == tf.float32
    assert list(serve.structured_outputs) == ["score"]
    assert serve.structured_outputs["score"].shape.as_list() == [None, 1]
    assert serve.structured_outputs["score"].dtype == tf.float32


def test_healthy_windows_of_another_fleet_stay_below_the_alarm(trained, tmp_path):
    lines = fleet.make_windows(150, 30, seed=3)
    windows = read_windows(write_lines(tmp_path / "w.jsonl", lines), health.FIELDS)
    score = trained.detector.score(windows.features)
    assert np.sum(score > 0.9) <= len(score) * 0.002
    assert np.mean(score >= 0.6) <= 0.02
    verdict = judge(windows, score, [])
    assert verdict.false_alarms <= 1


@pytest.mark.parametrize("kind", fleet.KINDS)
def test_most_windows_of_a_fault_reach_the_alarm(trained, faulty, kind):
    windows = faulty.windows
    shown = np.zeros(len(windows), bool)
    for label in faulty.labels:
        if label.kind == kind:
            # The first minute of a drift is nearly healthy.
            late = windows.start_ms >= label.start_ms + fleet.WINDOW_MS
            shown |= (windows.device == label.device) & late & (windows.end_ms <= label.end_ms)
    score = trained.detector.score(windows.features[shown])
    assert shown.sum() > 40
    assert np.mean(score > 0.9) >= 0.9


def test_every_fault_raises_an_alarm_within_three_windows_and_no_other_device_does(trained, faulty):
    score = trained.detector.score(faulty.windows.features)
    verdict = judge(faulty.windows, score, faulty.labels)
    assert verdict.found == len(faulty.labels) == 30
    assert max(verdict.windows_to_alarm) <= 3
    assert verdict.false_alarms == 0
    assert verdict.auc > 0.95


def test_a_value_beyond_anything_seen_scores_close_to_1(trained):
    load = load_score(trained.folder)
    usual = trained.windows.features[:1].repeat(4, axis=0)
    usual[1, [0, 2, 3]] += 60.0
    usual[2, 4:8] *= 50.0
    usual[3, :] = 0.0
    score = load(usual)
    assert score[0] < 0.9
    assert np.all(score[1:] > 0.95)
    assert np.all(np.isfinite(score))


def test_the_manifest_is_complete(trained):
    manifest = read_manifest(trained.folder)
    assert list(manifest) == [
        "format_version",
        "name",
        "version",
        "features",
        "signature",
        "inputs",
        "outputs",
        "batch_rows",
        "scaling",
        "metrics",
        "reference",
        "data_digest",
        "git_commit",
        "libraries",
        "created",
        "alarm",
    ]
    assert manifest["format_version"] == 2
    assert (manifest["name"], manifest["version"]) == ("health", "1")
    assert [feature["name"] for feature in manifest["features"]] == feature_names(health.FIELDS)
    units = [feature["unit"] for feature in manifest["features"]]
    assert units == ["degC"] * 4 + ["mm/s"] * 4 + ["A"] * 4
    assert manifest["signature"] == "serving_default"
    assert manifest["inputs"] == [
        {
            "tensor": "features",
            "dtype": "float32",
            "shape": [12],
            "features": feature_names(health.FIELDS),
        }
    ]
    assert manifest["outputs"] == [
        {"tensor": "score", "dtype": "float32", "shape": [1], "names": ["score"]}
    ]
    assert manifest["batch_rows"] == 256
    assert manifest["scaling"] == "inside the SavedModel"
    assert manifest["alarm"] == {"raise_above": 0.9, "clear_below": 0.6}
    assert manifest["data_digest"] == trained.windows.digest
    assert len(manifest["data_digest"]) == 64
    assert manifest["libraries"] == {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
    assert datetime.fromisoformat(manifest["created"]).utcoffset() == timedelta(0)
    assert all(isinstance(value, float) for value in manifest["metrics"].values())
    for metric in ("healthy_false_positive_rate", "distance_at_0.9", "synthetic_auc"):
        assert metric in manifest["metrics"]


def test_two_runs_with_one_seed_give_the_same_weights_byte_for_byte(trained, tmp_path):
    command = [sys.executable, "-m", "tideflow_training", "health"]
    command += ["--windows", str(trained.windows_file), "--seed", "1", "--epochs", "20"]
    again, other = tmp_path / "again", tmp_path / "other"
    runs = [
        subprocess.Popen([*command, "--out", str(out)], cwd=Path(__file__).parents[1])
        for out in (again, other)
    ]
    assert [run.wait() for run in runs] == [0, 0]
    names = [f"variables/{path.name}" for path in (trained.folder / "variables").iterdir()]
    assert len(names) == 2
    for name in [*names, "golden.json"]:
        assert (again / name).read_bytes() == (trained.folder / name).read_bytes(), name
    # Keras numbers layers without a name by what a process made before: only in fresh ones are the
    # graphs the same too.
    for name in [*names, "golden.json", "saved_model.pb"]:
        assert (again / name).read_bytes() == (other / name).read_bytes(), name
    features = trained.windows.features
    assert np.array_equal(load_score(again)(features), load_score(trained.folder)(features))
    ours, theirs = read_manifest(trained.folder), read_manifest(again)
    ours.pop("created"), theirs.pop("created")
    assert json.dumps(ours) == json.dumps(theirs)


def test_another_seed_gives_another_model(trained):
    settings = dataclasses.replace(SETTINGS, seed=2, epochs=1)
    other = health.train_health(trained.windows, settings)
    features = trained.windows.features[:100]
    assert not np.array_equal(other.score(features), trained.detector.score(features))


def test_no_device_is_in_two_parts_of_the_split(trained):
    split = health.split_by_device(trained.windows, seed=1)
    parts = [set(part.device) for part in vars(split).values()]
    assert [len(part) for part in parts] == [90, 15, 30, 15]
    assert len(set.union(*parts)) == 150


def test_a_split_needs_ten_devices(trained):
    few = trained.windows.where(np.isin(trained.windows.device, ["d000001", "d000002"]))
    with pytest.raises(health.TooFewWindowsError, match="windows of 2 devices, expected at least"):
        health.train_health(few, SETTINGS)


def export_to(folder, trained, version="1"):
    export(trained.trained, folder, name="health", version=version)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": "mine"}, "no model in"),
        ({"notes.txt": "mine", "manifest.json": "{}"}, "expected 2 or 1, found null"),
        ({"notes.txt": "mine", "manifest.json": "["}, "no model in"),
        (
            {"manifest.json": '{"format_version": 3}', "saved_model.pb": ""},
            "expected 2 or 1, found 3",
        ),
        ({"manifest.json": '{"format_version": 1}'}, "no `saved_model.pb`"),
    ],
)
def test_a_folder_with_anything_but_a_model_is_not_overwritten(trained, tmp_path, files, message):
    out = tmp_path / "out"
    out.mkdir()
    for name, text in files.items():
        (out / name).write_text(text)
    with pytest.raises(ModelFolderError, match="not overwritten: ") as refused:
        export_to(out, trained)
    assert message in str(refused.value)
    assert {path.name: path.read_text() for path in out.iterdir()} == files
    assert list(tmp_path.iterdir()) == [out]


def test_a_model_is_replaced_and_nothing_else_is_left_or_touched(trained, tmp_path):
    kept = tmp_path / "model.partial"
    kept.mkdir()
    (kept / "notes.txt").write_text("mine")
    link = tmp_path / "link"
    link.symlink_to("model")
    for version, folder in (("1", "model"), ("2", "model"), ("3", "link")):
        export_to(tmp_path / folder, trained, version)
        assert read_manifest(tmp_path / "model")["version"] == version
    load_score(tmp_path / "model")
    assert (kept / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model", "model.partial"]


def test_fault_a_model_that_cannot_be_renamed_in_leaves_the_old_one(trained, tmp_path, monkeypatch):
    export_to(tmp_path / "model", trained)
    rename = Path.rename

    def refuse_new(path, target):
        if path.name == "new":
            assert not (tmp_path / "model").exists()
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(OSError, match="no"):
        export_to(tmp_path / "model", trained, "2")
    assert read_manifest(tmp_path / "model")["version"] == "1"
    load_score(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_fault_training_after_tensorflow_took_its_own_threads_says_what_to_do():
    program = (
        "import tensorflow as tf; tf.zeros(1) + 1\n"
        "from tideflow_training.deterministic import make_deterministic\n"
        "make_deterministic(1)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    *_, error = ended.stderr.strip().splitlines()
    assert "ThreadsError: TensorFlow computed something before `tideflow_training" in error


def test_training_follows_anything_else_that_tensorflow_did():
    assert float(tf.zeros(1)[0] + 1) == 1.0
    make_deterministic(1)
    assert tf.config.threading.get_intra_op_parallelism_threads() == 1


def test_rows_that_a_graph_has_written_teach_the_same_as_windows(trained, tmp_path):
    windows = trained.windows
    order = np.lexsort((windows.start_ms, windows.device))
    names = feature_names(health.FIELDS)
    columns = {
        "key": windows.device.tolist(),
        "time": windows.start_ms,
        **{name: windows.features[:, index] for index, name in enumerate(names)},
    }
    path = write_columns(tmp_path / "features.parquet", columns)
    rows = read_windows_or_rows(path, health.FIELDS)
    assert rows.device.tolist() == windows.device[order].tolist()
    assert np.array_equal(rows.features, windows.features[order])
    # In whatever order they lie.
    turned = {name: values[::-1] for name, values in columns.items()}
    turned = read_windows_or_rows(write_columns(tmp_path / "turned", turned), health.FIELDS)
    assert turned.digest == rows.digest
    parts = health.split_by_device(rows, seed=1)
    expected = health.split_by_device(windows, seed=1)
    assert set(parts.train.device) == set(expected.train.device)
    assert json.loads(rows.lines[0])["temperature"]["std"] == rows.features[0, 1]
    # And windows as they were.
    assert read_windows_or_rows(trained.windows_file, health.FIELDS).digest == windows.digest
