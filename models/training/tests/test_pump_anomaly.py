"""The pump model: what it learns from, and what it says of a fault."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_up_features import pump_columns, write_columns

from tideflow_training.recipe import EvaluationSet, RecipeError
from tideflow_training.recipes.pump_anomaly import FEATURES, RECIPE
from tideflow_training.saved_model import export

WANTED = {"rows_from": 400, "above": 1.9}


def train(data, seed=1):
    return RECIPE.train(SimpleNamespace(seed=seed, epochs=None, data=data))


@pytest.fixture(scope="module")
def pump(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pump")
    data = write_columns(folder / "rows.parquet", pump_columns())
    trained = train(data)
    model = export(trained, folder / "model", name="pump", version="1")
    return SimpleNamespace(data=data, trained=trained, model=model)


def test_a_fault_is_far_and_its_sensor_is_named(pump):
    columns = pump_columns(seed=2)
    rows = np.stack([columns[name] for name in FEATURES], axis=1)
    found = pump.model.predict({"features": rows})
    distance, errors, faulty = found["distance"][:, 0], found["errors"], columns["time"] >= 450
    assert np.median(distance[faulty]) > 1.9 > np.median(distance[~faulty])
    unit = pump.trained.metrics["unit"]
    assert np.allclose(distance, np.sqrt(errors.sum(axis=1)) / unit, rtol=1e-4)
    blamed = [name for tensor in pump.trained.outputs[1:] for name in tensor.names]
    assert blamed[np.argmax(errors[faulty].mean(axis=0))] == "volume_flow_rate_rms.error"


def test_it_learns_from_the_settled_calibration_rows_alone_and_never_from_labels(pump, tmp_path):
    columns = pump_columns()
    assert pump.trained.metrics["train_rows"] == 4 * 380
    assert pump.trained.metrics["train_distance_q0.9"] == pytest.approx(1.0)
    ignored = (columns["time"] < 20) | (columns["time"] >= 400)
    for name in FEATURES:
        columns[name] = np.where(ignored, 100.0, columns[name])
    columns["label"] = 1.0 - columns["label"]
    again = train(write_columns(tmp_path / "rows.parquet", columns))
    assert again.data_digest == pump.trained.data_digest
    weights = zip(again.model.get_weights(), pump.trained.model.get_weights())
    assert all(np.array_equal(*pair) for pair in weights)


def test_it_is_judged_on_later_rows_by_labels_where_there_are_any(pump, tmp_path):
    judged = RECIPE.evaluate(pump.model, EvaluationSet(WANTED, tmp_path, pump.data))
    assert judged.about == "400 rows of 4 recordings, each from row 400 on, labelled"
    assert judged.metrics["auc"] > 0.9
    assert judged.metrics["usual_share_above"] < 0.1 < 0.8 < judged.metrics["faulty_share_above"]

    columns = pump_columns()
    del columns["label"]
    plain = write_columns(tmp_path / "plain.parquet", columns)
    unlabelled = RECIPE.evaluate(pump.model, EvaluationSet(WANTED, tmp_path, plain))
    assert "without labels of both kinds" in unlabelled.about
    assert set(unlabelled.metrics) == {"rows", "share_above"}
    none = RECIPE.evaluate(
        pump.model, EvaluationSet({**WANTED, "rows_from": 500}, tmp_path, pump.data)
    )
    assert none.metrics == {"rows": 0.0}
    with pytest.raises(RecipeError, match="is evaluated on recordings: give --data"):
        RECIPE.evaluate(pump.model, EvaluationSet(WANTED, tmp_path, None))


def test_sensors_that_never_moved_give_a_model_that_is_finite(tmp_path):
    columns = {**pump_columns(1), **{name: np.zeros(500) for name in FEATURES}}
    trained = train(write_columns(tmp_path / "rows.parquet", columns))
    model = export(trained, tmp_path / "model", name="still", version="1")
    assert np.all(np.isfinite(model.score(np.ones((3, 7)))))
