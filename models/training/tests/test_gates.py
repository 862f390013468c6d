"""The gates file, and when a figure is good enough."""

import math

import pytest

from tideflow_training.cli import GATES, main
from tideflow_training.gates import Figure, GatesError, read_gates
from tideflow_training.recipe import Evaluation, find_recipe, recipe_names

GOOD = """
[x]
evaluation = { rows = 5, seed = 1 }
[x.figures.auc]
better = "higher"
limit = 0.9
at_most_worse = 0.01
"""


def test_every_gate_of_the_package_fits_its_recipe():
    gates = read_gates(GATES)
    assert set(gates) <= set(recipe_names())
    for gate in gates.values():
        gate.expect_known(find_recipe(gate.recipe))


def test_a_figure_that_is_better_when_higher():
    auc = Figure("auc", higher=True, limit=0.9, at_most_worse=0.01)
    assert auc.reached(0.9, None) and not auc.reached(0.899, None)
    assert auc.reached(0.96, 0.97) and not auc.reached(0.959, 0.97)
    # The limit holds however little the champion is worth.
    assert not auc.reached(0.85, 0.8)
    assert not auc.reached(math.nan, None)


def test_a_figure_that_is_better_when_lower():
    rmse = Figure("rmse", higher=False, limit=2.0, at_most_worse=0.0)
    assert rmse.reached(2.0, None) and not rmse.reached(2.1, None)
    assert rmse.reached(1.0, 1.0) and not rmse.reached(1.1, 1.0)
    assert not rmse.reached(2.5, 3.0)
    assert not rmse.reached(math.inf, None)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("limit = 0.9", "", "[x.figures.auc]: `limit` is missing"),
        ("limit = 0.9", 'limit = "0.9"', "`limit`: '0.9' is of the wrong type"),
        ("limit = 0.9", "limit = true", "`limit`: True is of the wrong type"),
        ('"higher"', '"more"', '`better`: expected "higher" or "lower", found "more"'),
        ("0.01", "-0.01", "`at_most_worse`: expected 0 or more, found -0.01"),
        ("better", "bettr", "[x.figures.auc]: `better` is missing"),
        (
            "limit = 0.9",
            "limit = 0.9\nfloor = 1",
            "unknown key `floor`; expected `better`, `limit`",
        ),
        ("figures.auc", "figures.auc.y", "[x.figures.auc]: `better` is missing"),
        ("evaluation = { rows = 5, seed = 1 }", "", "[x]: `evaluation` is missing"),
        ("[x]", "[x", "cannot be read"),
    ],
)
def test_fault_a_gates_file_that_is_wrong_says_where(tmp_path, before, after, message):
    path = tmp_path / "gates.toml"
    path.write_text(GOOD)
    assert read_gates(path)["x"].figures == (Figure("auc", True, 0.9, 0.01),)
    path.write_text(GOOD.replace(before, after))
    with pytest.raises(GatesError) as refused:
        read_gates(path)
    assert message in str(refused.value)
    assert "gates.toml" in str(refused.value)


def test_an_evaluation_must_be_on_the_set_that_the_file_fixes_and_have_its_figures(tmp_path):
    path = tmp_path / "gates.toml"
    path.write_text(GOOD.replace("seed = 1", 'seed = 1, digest = "a1"'))
    gate = read_gates(path)["x"]
    assert gate.definition == {"rows": 5, "seed": 1}
    gate.expect_fixed(Evaluation("", {"auc": 1.0}, digest="a1"))
    with pytest.raises(GatesError, match="a set with digest `a1`, found one with `b2`"):
        gate.expect_fixed(Evaluation("", {"auc": 1.0}, digest="b2"))
    with pytest.raises(GatesError, match=r"\[x.figures.auc\]: the evaluation gives only `loss`"):
        gate.expect_fixed(Evaluation("", {"loss": 1.0}, digest="a1"))


def test_a_set_that_the_recipe_cannot_read_is_refused_before_training(tmp_path, capsys):
    path = tmp_path / "gates.toml"
    path.write_text(GOOD.replace("x", "mock_iot_model").replace("rows = 5, ", ""))
    command = ["train", "mock_iot_model", "--gates", str(path), "--out", str(tmp_path / "m")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "[mock_iot_model] `evaluation`: expected rows, seed; found seed" in said
    assert not (tmp_path / "m").exists()
