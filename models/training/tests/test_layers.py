"""The fixed parts of a model, each against what it promises."""

import numpy as np
import pytest

from tideflow_training.layers import Distance, Score, Shape, Standardize, healthy_quantile

KNOTS = ((0.5, 0.2), (0.995, 0.6), (0.9999, 0.9))


def test_shape_keeps_the_mean_and_turns_spread_into_its_logarithm():
    features = np.array([[5.0, 0.9, 4.0, 6.0, 10.0, 0.0, 10.0, 10.0]], np.float32)
    columns = np.asarray(Shape(np.array([0.1, 1.0]))(features))
    assert columns[0] == pytest.approx([5.0, 10.0, 0.0, 0.0, 0.0, 0.0], abs=1e-6)


def test_shape_tells_a_spike_from_noise_by_its_skewness():
    # Nine readings of 1 and one of 3, and ten spread evenly over the same range.
    spike, even = [1.2, 0.6, 1.0, 3.0], [2.0, 0.6, 1.0, 3.0]
    columns = np.asarray(Shape(np.array([0.01]))(np.array([spike, even], np.float32)))
    assert columns[0, 2] > 0.7
    assert abs(columns[1, 2]) < 1e-6


def test_the_floor_is_a_fifth_of_the_usual_spread_or_of_the_means_where_there_is_none():
    spread = np.array([[1.0, 0.5, 0.0, 2.0], [3.0, 0.7, 2.0, 4.0]])
    assert Shape.floor_of(spread) == pytest.approx([0.12])
    single = np.array([[1.0, 0.0, 1.0, 1.0], [3.0, 0.0, 3.0, 3.0]])
    assert Shape.floor_of(single) == pytest.approx([0.2])
    assert Shape.floor_of(np.zeros((2, 4))) == pytest.approx([1e-6])


def test_a_column_that_never_changes_is_not_divided_by_zero():
    columns = np.array([[1.0, 7.0], [3.0, 7.0]])
    scaled = np.asarray(Standardize.of(columns)(columns.astype(np.float32)))
    assert scaled.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_distance_counts_the_code_and_the_residual():
    random = np.random.default_rng(1)
    columns = random.normal(size=(5_000, 4)).astype(np.float32)
    code, rebuilt = columns[:, :2], columns * np.array([1, 1, 0, 0], np.float32)
    distance = Distance.of(columns, code, rebuilt)
    usual = np.asarray(distance(columns, code, rebuilt))
    assert np.median(usual) == pytest.approx(0.9, abs=0.1)
    far_code = np.asarray(distance(columns, code + 8.0, rebuilt))
    far_residual = np.asarray(distance(columns, code, rebuilt + 8.0))
    assert far_code.min() > usual.max() * 1.1
    assert far_residual.min() > usual.max() * 1.1


def test_score_is_monotone_within_0_to_1_and_meets_its_knots():
    distance = np.random.default_rng(1).normal(1.0, 0.15, 20_000)
    score = Score.of(distance, KNOTS)
    assert np.all(np.diff(score.distances) > 0)
    at_knots = np.asarray(score(score.distances[:, None]))[:, 0]
    assert at_knots == pytest.approx([0.0, 0.2, 0.6, 0.9], abs=1e-5)
    rising = np.asarray(score(np.linspace(0.0, 50.0, 5_000, dtype=np.float32)[:, None]))[:, 0]
    assert np.all(np.diff(rising) >= 0)
    assert rising[0] == 0.0 and 0.999 < rising[-1] <= 1.0
    share = np.mean(np.asarray(score(distance[:, None].astype(np.float32))) >= 0.6)
    assert share == pytest.approx(0.005, abs=0.002)


def test_distances_without_any_spread_still_make_a_score():
    score = Score.of(np.ones(100), KNOTS)
    assert np.all(np.diff(score.distances) > 0)
    assert np.asarray(score(np.array([[5.0]], np.float32)))[0, 0] > 0.9


def test_a_rare_quantile_is_extrapolated_and_never_below_the_normal_one():
    random = np.random.default_rng(1)
    few = healthy_quantile(random.normal(size=100), 0.9999)
    assert 3.0 < few < 4.6
    # Of an exponential distribution, where a normal one would be far too near: ln 10,000 = 9.2.
    heavy = healthy_quantile(random.exponential(size=20_000), 0.9999)
    assert heavy == pytest.approx(9.2, abs=1.0)
