"""Calibration against closed forms and scikit-learn; operating points against a search over all thresholds."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from scantling.metrics import calibration, thresholds


def test_probabilities_drawn_as_told_are_calibrated_and_sharper_ones_are_not():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 100_000)
    outcome = rng.random(100_000) < p
    assert calibration.binary_calibration_error(p, outcome) < 0.01
    sharper = p**3 / (p**3 + (1 - p) ** 3)
    assert calibration.binary_calibration_error(sharper, outcome) > 0.1


def test_the_error_of_one_bin_is_the_gap_in_it():
    p, outcome = np.full(10, 0.9), np.arange(10) < 6
    assert abs(calibration.binary_calibration_error(p, outcome) - 0.3) < 1e-12
    probabilities = np.stack([p, 1 - p], axis=1)
    labels = np.where(outcome, 0, 1)
    assert abs(calibration.expected_calibration_error(labels, probabilities) - 0.3) < 1e-12


def test_edges_of_bins_and_certainty_are_counted_once():
    curve = calibration.reliability_curve(np.array([0.0, 0.5, 1.0]), np.array([0, 1, 1]), bins=2)
    np.testing.assert_allclose(curve["weight"], [1, 2])
    np.testing.assert_allclose(curve["probability"], [0, 0.75])


def test_brier_scores_agree_with_scikit_learn_and_their_closed_forms():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 50)
    p = rng.dirichlet(np.ones(3), 50)
    for k in range(3):
        assert abs(calibration.per_class_brier_score(y, p)[k] - brier_score_loss(y == k, p[:, k])) < 1e-12
    assert calibration.brier_score(y, np.eye(3)[y]) == 0
    assert abs(calibration.brier_score(y, np.full((50, 3), 1 / 3)) - 2 / 3) < 1e-12


@pytest.mark.parametrize(
    "metric",
    [calibration.brier_score, calibration.expected_calibration_error, calibration.per_class_calibration_error],
)
@pytest.mark.parametrize("kind", ["classes", "findings"])
def test_whole_weights_equal_repeated_rows(metric, kind):
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(3), 60)
    y = rng.integers(0, 3, 60) if kind == "classes" else rng.choice([0.0, 1.0, np.nan], (60, 3))
    weights = rng.integers(0, 4, (5, 60))
    for row, value in zip(weights, metric(y, p, weights), strict=True):
        np.testing.assert_allclose(metric(np.repeat(y, row, axis=0), np.repeat(p, row, axis=0)), value, atol=1e-12)


def rates(labels: np.ndarray, scores: np.ndarray) -> list[tuple[float, float, float]]:
    """Sensitivity, specificity and threshold of every threshold there is, with plain counts."""
    cuts = [np.inf, *sorted(set(scores.tolist()), reverse=True)]
    return [(np.mean(scores[labels] >= t), np.mean(scores[~labels] < t), t) for t in cuts]


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.8, 0.9, 0.95, 1.0])
def test_operating_points_are_the_best_of_all_thresholds(rate):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels = rng.random(40) < 0.4
        scores = np.round(rng.normal(size=40) + labels, 1)
        every = rates(labels, scores)
        sensitivity, threshold = thresholds.sensitivity_at_specificity(labels, scores, rate)
        assert abs(sensitivity - max(s for s, c, _ in every if c >= rate - 1e-12)) < 1e-12
        assert np.mean(scores[~labels] < threshold) >= rate - 1e-12
        specificity, threshold = thresholds.specificity_at_sensitivity(labels, scores, rate)
        assert abs(specificity - max(c for s, c, _ in every if s >= rate - 1e-12)) < 1e-12
        assert np.mean(scores[labels] >= threshold) >= rate - 1e-12


def test_operating_points_take_several_rates_and_replicates_at_once():
    rng = np.random.default_rng(3)
    labels, scores = rng.random(60) < 0.4, np.round(rng.normal(size=60), 1)
    weights = rng.integers(0, 3, (4, 60))
    for point in (thresholds.sensitivity_at_specificity, thresholds.specificity_at_sensitivity):
        values, _ = point(labels, scores, (0.8, 0.9), weights)
        assert values.shape == (4, 2)
        for row, value in zip(weights, values, strict=True):
            repeated, _ = point(np.repeat(labels, row), np.repeat(scores, row), (0.8, 0.9))
            np.testing.assert_allclose(repeated, value, atol=1e-12)
    value, _ = thresholds.sensitivity_at_specificity(np.zeros(3, bool), np.arange(3.0), 0.9)
    assert np.isnan(value)


def test_referable_starts_at_grade_two_and_prefers_the_severity():
    p = np.array([[0.1, 0.2, 0.3, 0.2, 0.2], [0.9, 0.1, 0, 0, 0]])
    assert thresholds.referable(np.arange(5)).tolist() == [False, False, True, True, True]
    np.testing.assert_allclose(thresholds.referable_score(p), [0.7, 0.0])
    assert thresholds.referable_score(p, np.array([1.9, 0.1])).tolist() == [1.9, 0.1]
