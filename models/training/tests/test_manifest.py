"""What an exported folder says of its model: manifest, golden rows, digest."""

import json
from pathlib import Path

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf

from tideflow_training.digest import folder_digest
from tideflow_training.golden import TYPICAL
from tideflow_training.manifest import ModelFolderError, read_manifest
from tideflow_training.recipe import Feature, InputTensor, OutputTensor, RecipeError, Trained
from tideflow_training.reference import distribution
from tideflow_training.saved_model import export, load

SCHEMA = Path(__file__).parents[2] / "schemas/manifest.schema.json"


def expect_valid(manifest: dict) -> None:
    """Holds a manifest against the schema, and against what a schema cannot say."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(manifest)
    features = [name for tensor in manifest["inputs"] for name in tensor["features"]]
    outputs = [name for tensor in manifest["outputs"] for name in tensor["names"]]
    assert [feature["name"] for feature in manifest["features"]] == features
    assert list(manifest["reference"]) == features + outputs
    for said in manifest["reference"].values():
        assert np.all(np.diff(said["edges"]) > 0)
        assert len(said["shares"]) == len(said["edges"]) + 1
        assert sum(said["shares"]) == pytest.approx(1.0, abs=1e-9)


def two_tensors(rows: int = 1_000) -> Trained:
    """A model with a sequence and a category for inputs, and two outputs."""
    random = np.random.default_rng(1)
    series = keras.Input((3, 2), name="series")
    kind = keras.Input((1,), name="kind", dtype="int64")
    known = keras.layers.Embedding(4, 2, name="known")(kind)
    columns = keras.layers.Concatenate()(
        [keras.layers.Flatten()(series), keras.layers.Flatten()(known)]
    )
    outputs = {
        "level": keras.layers.Dense(1, name="level")(columns),
        "parts": keras.layers.Dense(2, name="parts")(columns),
    }
    steps = [Feature(f"{name}[{step}]", "A") for step in range(3) for name in ("x", "y")]
    return Trained(
        model=keras.Model({"series": series, "kind": kind}, outputs),
        inputs=(
            InputTensor("series", tuple(steps), (3, 2)),
            InputTensor("kind", (Feature("kind", "1"),), dtype="int64"),
        ),
        outputs=(OutputTensor("level", ("level",)), OutputTensor("parts", ("a", "b"))),
        rows={
            "series": random.normal(size=(rows, 3, 2)),
            "kind": random.integers(0, 4, (rows, 1)),
        },
        data_digest="none",
    )


def test_the_manifest_of_a_trained_model_is_valid(trained):
    expect_valid(read_manifest(trained.folder))


def test_a_model_may_have_several_tensors_of_any_shape(tmp_path):
    trained = two_tensors()
    export(trained, tmp_path / "model", name="two", version="1")
    manifest = read_manifest(tmp_path / "model")
    expect_valid(manifest)
    assert "alarm" not in manifest
    assert [(each["tensor"], each["dtype"], each["shape"]) for each in manifest["inputs"]] == [
        ("series", "float32", [3, 2]),
        ("kind", "int64", [1]),
    ]
    rows = {name: each[:300] for name, each in trained.rows.items()}
    found = load(tmp_path / "model").predict(rows)
    expected = trained.model({"series": rows["series"].astype("float32"), "kind": rows["kind"]})
    for name, values in expected.items():
        assert np.allclose(found[name], values, atol=1e-5)
    with pytest.raises(
        ModelFolderError, match=r"rows of `kind` of `\w+`: expected shape \[1\], found \[2\]"
    ):
        load(tmp_path / "model").predict({**rows, "kind": np.zeros((300, 2))})
    with pytest.raises(ModelFolderError, match="one input tensor, found 2"):
        load(tmp_path / "model").score(rows["series"])


@pytest.mark.parametrize("make", ["health", "two"])
def test_golden_rows_give_the_same_bits_in_one_padded_call(trained, tmp_path, make):
    folder = trained.folder
    if make == "two":
        folder = tmp_path / "model"
        export(two_tensors(), folder, name="two", version="1")
    golden = json.loads((folder / "golden.json").read_text())
    manifest = read_manifest(folder)
    assert golden["rows"] >= TYPICAL == 32
    given = {}
    for tensor in manifest["inputs"]:
        rows = np.array(golden["inputs"][tensor["tensor"]], tensor["dtype"])
        padded = np.zeros((manifest["batch_rows"], *tensor["shape"]), tensor["dtype"])
        padded[: len(rows)] = rows.reshape(-1, *tensor["shape"])
        given[tensor["tensor"]] = tf.constant(padded)
    loaded = tf.saved_model.load(str(folder))
    found = loaded.signatures[manifest["signature"]](**given)
    for tensor in manifest["outputs"]:
        expected = np.array(golden["outputs"][tensor["tensor"]], np.float64)
        exact = found[tensor["tensor"]].numpy()[: golden["rows"]].astype(np.float64)
        assert np.array_equal(exact, expected)
        assert np.all(np.isfinite(expected))


def test_golden_rows_are_of_the_training_and_beyond_it(trained):
    golden = np.array(
        json.loads((trained.folder / "golden.json").read_text())["inputs"]["features"]
    )
    seen = trained.trained.rows["features"].astype(np.float32)
    assert all((seen == row).all(axis=1).any() for row in golden[:TYPICAL])
    assert len(np.unique(golden[:TYPICAL], axis=0)) == TYPICAL
    assert np.array_equal(golden[TYPICAL], seen.min(axis=0))
    assert np.all(golden[-1] > seen.max(axis=0)) and np.all(golden[-2] < seen.min(axis=0))


def test_what_a_model_overflows_on_is_no_golden_row(tmp_path):
    inputs = keras.Input((1,), name="x")
    # Finite for what it was trained on, infinite ten times the range beyond.
    model = keras.Model(inputs, keras.layers.Rescaling(1e38)(inputs))
    trained = Trained(
        model=model,
        inputs=(InputTensor("x", (Feature("x", "1"),)),),
        outputs=(OutputTensor("y", ("y",)),),
        rows={"x": np.linspace(0.0, 1.0, 50)[:, None]},
        data_digest="none",
    )
    export(trained, tmp_path / "model", name="steep", version="1")
    golden = json.loads((tmp_path / "model/golden.json").read_text())
    assert golden["rows"] == TYPICAL + 2
    trained.rows["x"][7] = 9.0
    with pytest.raises(ModelFolderError, match="`steep` gives outputs that are not finite"):
        export(trained, tmp_path / "model", name="steep", version="1")


def test_names_and_shapes_must_fit():
    x = InputTensor("x", (Feature("x", "1"),))
    y = OutputTensor("y", ("y",))
    good = {"model": None, "inputs": (x,), "outputs": (y,), "data_digest": ""}
    Trained(**good, rows={"x": np.zeros((5, 1))})
    with pytest.raises(RecipeError, match=r"rows of `x`: expected shape \[1\] each, found \[2\]"):
        Trained(**good, rows={"x": np.zeros((5, 2))})
    with pytest.raises(RecipeError, match="names of features and outputs: expected each once"):
        Trained(**{**good, "outputs": (OutputTensor("y", ("x",)),)}, rows={"x": np.zeros((5, 1))})
    wide = InputTensor("x", (Feature("x", "1"),), (2, 2))
    with pytest.raises(RecipeError, match=r"of shape \[2, 2\] holds 4 numbers, found 1 features"):
        Trained(**{**good, "inputs": (wide,)}, rows={"x": np.zeros((5, 2, 2))})


def test_a_distribution_has_ten_bins_of_about_a_tenth_each():
    values = np.random.default_rng(1).normal(size=10_000).astype(np.float32)
    said = distribution(values)
    assert len(said["edges"]) == 9
    assert said["shares"] == pytest.approx([0.1] * 10, abs=1e-3)
    assert np.all(np.isin(np.array(said["edges"], np.float32), values))


def test_a_number_that_never_changed_has_a_bin_to_itself():
    said = distribution(np.full(50, 7.0, np.float32))
    assert said["shares"] == [0.0, 1.0, 0.0]
    assert said["edges"] == [7.0, float(np.nextafter(np.float32(7.0), np.float32(np.inf)))]
    mixed = distribution(np.repeat([0, 5], [900, 100]))
    assert (mixed["edges"], mixed["shares"]) == ([0.0, 1.0], [0.0, 0.9, 0.1])


def test_a_manifest_of_version_1_reads_as_one_of_version_2(tmp_path):
    old = {
        "format_version": 1,
        "name": "old",
        "features": [{"name": "a", "unit": "1"}, {"name": "b", "unit": "1"}],
        "signature": {"name": "serve", "input": "x", "output": "y"},
        "outputs": ["score"],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    manifest = read_manifest(tmp_path)
    assert manifest["signature"] == "serve"
    assert manifest["inputs"] == [
        {"tensor": "x", "dtype": "float32", "shape": [2], "features": ["a", "b"]}
    ]
    assert manifest["outputs"] == [
        {"tensor": "y", "dtype": "float32", "shape": [1], "names": ["score"]}
    ]
    assert manifest["batch_rows"] == 256


def test_golden_the_digest_of_a_folder_is_that_of_the_graphs(tmp_path):
    # As in models/src/folder.rs.
    (tmp_path / "variables").mkdir()
    for name, text in (("variables/b", "2"), ("a", "1"), ("variables.index", "")):
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    assert folder_digest(tmp_path) == (
        "ade196770b30f382e0683f4fa2bd5a4f571dc92bac222ae65c4aa00cca4875c7"
    )
