"""Agreement of measurements: closed forms, what does not count, weights as repetitions."""

import numpy as np
import pytest

from scantling.metrics.bland_altman import NAMES, agreement

RNG = np.random.default_rng(0)
TRUTH = RNG.uniform(80, 300, 41)
MEASURED = TRUTH + RNG.normal(0.7, 2.0, 41)


def test_closed_forms():
    found, difference = agreement(TRUTH, MEASURED), MEASURED - TRUTH
    assert tuple(found) == NAMES
    np.testing.assert_allclose(found["mae"], np.abs(difference).mean())
    np.testing.assert_allclose(found["median"], np.median(np.abs(difference)))
    np.testing.assert_allclose(found["bias"], difference.mean())
    np.testing.assert_allclose(found["upper_limit"] - found["lower_limit"], 2 * 1.96 * difference.std(ddof=1))
    np.testing.assert_allclose((found["upper_limit"] + found["lower_limit"]) / 2, difference.mean())


def test_a_constant_offset_is_all_bias_and_changes_no_spread():
    moved, first = agreement(TRUTH, MEASURED + 5), agreement(TRUTH, MEASURED)
    np.testing.assert_allclose(moved["bias"], first["bias"] + 5)
    np.testing.assert_allclose(moved["upper_limit"] - moved["bias"], first["upper_limit"] - first["bias"])
    assert agreement(TRUTH, TRUTH)["mae"] == 0


@pytest.mark.parametrize("n", [1, 2, 7, 8, 41])
def test_weights_are_repetitions(n):
    truth, measured = TRUTH[:n].copy(), MEASURED[:n].copy()
    measured[::5] = np.nan
    weights = RNG.integers(0, 4, (6, n)).astype(float)
    weights[0] = 1
    found = agreement(truth, measured, weights)
    for r, row in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(n), row)
        wanted = agreement(truth[rows], measured[rows])
        for name in NAMES:
            np.testing.assert_allclose(found[name][r], wanted[name], err_msg=name)


def test_failures_are_counted_apart_and_rows_without_a_truth_not_at_all():
    truth, measured = TRUTH.copy(), MEASURED.copy()
    truth[:10], measured[5:18] = np.nan, np.nan
    found, kept = agreement(truth, measured), agreement(TRUTH[18:], MEASURED[18:])
    assert found["failure_rate"] == 8 / 31
    assert kept["failure_rate"] == 0
    for name in NAMES[:-1]:
        np.testing.assert_allclose(found[name], kept[name], err_msg=name)


def test_without_anything_all_is_undefined():
    found = agreement(np.array([np.nan]), np.array([1.0]))
    assert all(np.isnan(value) for value in found.values())
    alone = agreement(np.array([3.0]), np.array([4.0]))
    assert alone["mae"] == 1 and np.isnan(alone["lower_limit"])
