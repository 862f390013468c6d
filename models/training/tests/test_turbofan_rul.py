"""The turbofan model: which engines it learns from, and what it says of one that wears."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_up_features import engine_columns, write_columns

from tideflow_training.recipe import EvaluationSet, RecipeError
from tideflow_training.recipes.turbofan_rul import CAP, NAMES, RECIPE
from tideflow_training.saved_model import export

WANTED = {"rul_min": 7, "rul_max": 145, "cycles_min": 31}


def train(data, **options):
    wanted = {"seed": 1, "epochs": 25, "data": data, "all_engines": False, **options}
    return RECIPE.train(SimpleNamespace(**wanted))


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    data = write_columns(folder / "rows.parquet", engine_columns())
    trained = train(data)
    model = export(trained, folder / "model", name="engines", version="1")
    return SimpleNamespace(data=data, trained=trained, model=model)


def test_the_features_are_levels_then_slopes_of_each_span_then_the_cycle():
    assert len(NAMES) == 57
    assert NAMES[:3] == ("s2.level30", "s3.level30", "s4.level30")
    assert (NAMES[13], NAMES[14], NAMES[28]) == ("s21.level30", "s2.slope30", "s2.level100")
    assert NAMES[-2:] == ("s21.slope100", "ln_cycle")


def test_lives_are_told_up_to_the_cap_for_engines_that_were_kept_back(engines, tmp_path):
    judged = RECIPE.evaluate(engines.model, EvaluationSet(WANTED, tmp_path, engines.data))
    assert judged.about.startswith("2 engines that were kept back, 7 to 145 cycles before the end")
    assert judged.metrics["engines_kept_back"] == 2.0
    # Always saying the mean is off by about 40.
    assert judged.metrics["rmse"] < 30.0
    columns = engine_columns(seed=2)
    rows = np.stack([columns[name] for name in NAMES], axis=1)
    found = engines.model.predict({"features": rows})["rul"]
    assert found.shape == (len(rows), 1)
    assert 0.0 <= found.min() and found.max() <= CAP
    assert np.corrcoef(found[:, 0], np.minimum(columns["label"], CAP))[0, 1] > 0.8
    with pytest.raises(RecipeError, match="is evaluated on engines: give --data"):
        RECIPE.evaluate(engines.model, EvaluationSet(WANTED, tmp_path, None))


def test_every_fifth_engine_teaches_nothing(engines, tmp_path):
    metrics = engines.trained.metrics
    assert (metrics["train_engines"], metrics["engines_kept_back"]) == (8.0, 2.0)
    columns = engine_columns()
    back = np.isin(columns["key"], ["5", "10"])
    for name in NAMES:
        columns[name] = np.where(back, 0.0, columns[name])
    again = train(write_columns(tmp_path / "rows.parquet", columns))
    weights = zip(again.model.get_weights(), engines.trained.model.get_weights())
    assert all(np.array_equal(*pair) for pair in weights)
    # It is used for the metrics, so it is in the digest.
    assert again.data_digest != engines.trained.data_digest


def test_a_model_of_all_engines_is_not_judged(engines, tmp_path):
    trained = train(engines.data, all_engines=True, epochs=1)
    assert trained.metrics["engines_kept_back"] == 0.0
    assert "kept_back_capped_rmse" not in trained.metrics
    model = export(trained, tmp_path / "model", name="engines", version="1")
    judged = RECIPE.evaluate(model, EvaluationSet(WANTED, tmp_path, engines.data))
    assert judged.metrics == {"engines_kept_back": 0.0}
    assert "nothing to judge by" in judged.about
