"""What holds for every model on features: pumps, series and engines, trained in a few steps."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_features import engine_columns, pump_columns, write_columns
from test_manifest import expect_valid

from tideflow_training import plots
from tideflow_training.cli import GATES, main
from tideflow_training.gates import read_gates
from tideflow_training.golden import TYPICAL
from tideflow_training.manifest import read_manifest
from tideflow_training.recipe import find_recipe
from tideflow_training.recipes import series_anomaly
from tideflow_training.saved_model import export, load

COLUMNS = {"pump_anomaly": pump_columns, "turbofan_rul": engine_columns, "series_anomaly": None}
ON_FILES = ("pump_anomaly", "turbofan_rul")


@pytest.fixture(scope="module", params=list(COLUMNS))
def model(request, tmp_path_factory):
    """A recipe, the data it reads, and how to train it for two epochs."""
    folder = tmp_path_factory.mktemp(request.param)
    make = COLUMNS[request.param]
    data = None if make is None else write_columns(folder / "rows.parquet", make())
    recipe = find_recipe(request.param)

    def train(seed=1):
        options = SimpleNamespace(seed=seed, epochs=2, data=data, all_engines=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(series_anomaly, "SERIES", 40)
            return recipe.train(options)

    trained = train()
    export(trained, folder / "model", name=recipe.name, version="1")
    return SimpleNamespace(
        recipe=recipe, data=data, train=train, trained=trained, folder=folder / "model"
    )


def test_the_saved_model_gives_what_was_trained(model):
    rows = model.trained.rows["features"][:300].astype(np.float32)
    expected = model.trained.model(rows)
    found = load(model.folder).predict({"features": rows})
    assert list(found) == [tensor.tensor for tensor in model.trained.outputs]
    for name, values in found.items():
        assert np.allclose(values, expected[name], rtol=1e-5, atol=1e-5)
        assert np.std(values) > 0


def test_the_manifest_is_valid_and_the_golden_rows_are_right(model):
    manifest = read_manifest(model.folder)
    expect_valid(manifest)
    assert manifest["data_digest"] == model.trained.data_digest
    golden = json.loads((model.folder / "golden.json").read_text())
    assert golden["rows"] == TYPICAL + 4
    found = load(model.folder).predict(
        {name: np.array(rows) for name, rows in golden["inputs"].items()}
    )
    for name, values in golden["outputs"].items():
        assert np.array_equal(found[name], np.array(values, np.float32))


def test_the_same_data_and_seed_give_the_same_bytes(model, tmp_path):
    names = [f"variables/{path.name}" for path in (model.folder / "variables").iterdir()]
    assert len(names) == 2
    for seed, same in ((1, True), (2, False)):
        again = tmp_path / str(seed)
        export(model.train(seed), again, name=model.recipe.name, version="1")
        for name in [*names, "golden.json"]:
            equal = (again / name).read_bytes() == (model.folder / name).read_bytes()
            assert equal == same or name.endswith(".index"), name


def test_it_is_judged_by_the_gate_of_the_package_with_plots(model, tmp_path):
    gate = read_gates(GATES)[model.recipe.name]
    gate.definition.update({"series": 20} if "series" in gate.definition else {})
    evaluation = gate.evaluate(model.recipe, load(model.folder), model.data)
    assert {figure.name for figure in gate.figures} <= set(evaluation.metrics)
    assert all(np.isfinite(value) for value in evaluation.metrics.values())
    again = gate.evaluate(model.recipe, load(model.folder), model.data)
    assert (again.metrics, again.digest) == (evaluation.metrics, evaluation.digest)
    # A file's digest is in the gates file; a made-up set has none.
    assert bool(evaluation.digest) == (model.data is not None) == bool(gate.digest)
    plots.save(evaluation.plots, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(evaluation.plots) != set()


@pytest.mark.parametrize("name", ON_FILES)
def test_fault_a_wrong_file_ends_with_2_and_one_line_that_says_why(tmp_path, capsys, name):
    recipe, columns = find_recipe(name), COLUMNS[name](2)
    last = list(columns)[-2]
    wrong = {
        f"no column `{last}`": {**columns, last: None},
        "expected rows, found none": {name: values[:0] for name, values in columns.items()},
        f"column `{last}`, row 3": {**columns, last: np.where(columns["time"] == 3, np.nan, 0.0)},
    }
    if name == "turbofan_rul":
        wrong["no column `label`"] = {**columns, "label": None}
        wrong["expected at least 5 engines"] = columns
        wrong[f"column `{last}`, row 2"] = wrong.pop(f"column `{last}`, row 3")
    else:
        wrong["expected rows of time 20 to 399"] = {**columns, "time": columns["time"] + 1_000}
    for message, changed in wrong.items():
        kept = {column: values for column, values in changed.items() if values is not None}
        path = write_columns(tmp_path / "rows.parquet", kept)
        command = ["train", recipe.name, "--data", str(path), "--out", str(tmp_path / "model")]
        assert main(command) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("error: ") and "\n" not in error
        assert message in error
        assert not (tmp_path / "model").exists()
