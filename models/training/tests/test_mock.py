"""The mock models: the shapes they were specified with, and that they have learnt nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from tideflow_training.cli import GATES, main
from tideflow_training.gates import read_gates
from tideflow_training.manifest import read_manifest
from tideflow_training.mock import random_rows
from tideflow_training.recipe import find_recipe
from tideflow_training.saved_model import export

MODELS = ("mock_iot_model", "complex_iot_model")


@pytest.fixture(scope="module", params=MODELS)
def mock(request):
    recipe = find_recipe(request.param)
    return recipe, recipe.train(SimpleNamespace(seed=1, epochs=None))


def test_a_mock_model_has_learnt_nothing(mock, tmp_path):
    recipe, trained = mock
    model = export(trained, tmp_path / "model", name=recipe.name, version="1")
    evaluation = read_gates(GATES)[recipe.name].evaluate(recipe, model, None)
    assert evaluation.about.startswith("20000 random rows with random labels: nothing to learn")
    assert evaluation.metrics["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert evaluation.metrics["auc"] == pytest.approx(0.5, abs=0.05)
    # Worse than a coin, log 2, by what it has learnt by heart.
    assert 0.69 < evaluation.metrics["loss"] < 0.8
    names = [feature["name"] for feature in read_manifest(tmp_path / "model")["features"]]
    assert names == [f"f{index}" for index in range(recipe.width)]


def test_the_mock_models_are_of_the_shapes_they_were_specified_with():
    small, wide = (find_recipe(name) for name in MODELS)
    options = SimpleNamespace(seed=1, epochs=1)
    layers = [[type(layer).__name__, *_shape(layer)] for layer in small.train(options).model.layers]
    dense = "Dense"
    assert layers == [[dense, 64, "relu"], [dense, 64, "relu"], [dense, 1, "sigmoid"]]
    layers = [[type(layer).__name__, *_shape(layer)] for layer in wide.train(options).model.layers]
    assert layers == [
        [dense, 128, "relu"],
        ["Dropout", 0.3],
        [dense, 64, "relu"],
        ["Dropout", 0.2],
        [dense, 1, "sigmoid"],
    ]
    assert (small.width, small.epochs, small.batch) == (10, 10, 32)
    assert (wide.width, wide.epochs, wide.batch) == (20, 20, 64)


def _shape(layer):
    if hasattr(layer, "rate"):
        return (layer.rate,)
    return layer.units, layer.activation.__name__


@pytest.mark.parametrize("name", MODELS)
def test_a_mock_model_is_the_same_for_the_same_seed_and_another_for_another(name):
    one, same, other = (
        find_recipe(name).train(SimpleNamespace(seed=seed, epochs=2)).model.get_weights()
        for seed in (1, 1, 2)
    )
    assert all(map(np.array_equal, one, same))
    assert not np.array_equal(one[0], other[0])


def test_mock_rows_are_uniform_and_their_labels_know_nothing_of_them():
    features, labels = random_rows(50_000, 4, seed=3)
    assert features.dtype == np.float32 and 0 <= features.min() and features.max() < 1
    assert np.mean(features, axis=0) == pytest.approx([0.5] * 4, abs=0.01)
    assert np.mean(labels) == pytest.approx(0.5, abs=0.01)
    both = np.corrcoef(features.T, labels)[-1, :-1]
    assert np.all(np.abs(both) < 0.02)


def test_training_a_mock_model_says_that_there_is_nothing_to_learn(tmp_path, capsys):
    assert main(["train", "mock_iot_model", "--out", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert "evaluation: 20000 random rows with random labels: nothing to learn" in said
    assert "accuracy near 0.5 is right" in said
