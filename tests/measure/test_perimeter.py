"""Circumferences: closed forms, the order of the formulas, and the sizes of their errors."""

from __future__ import annotations

import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.measure.perimeter import FORMULAS, circumference

RATIOS = np.linspace(0.3, 0.99, 24)


@pytest.mark.parametrize("formula", FORMULAS)
def test_circles_scale_and_symmetry(formula):
    np.testing.assert_allclose(circumference(3.7, 3.7, formula), 2 * np.pi * 3.7, rtol=1e-14)
    assert circumference(0.0, 0.0, formula) == 0
    np.testing.assert_array_equal(circumference(RATIOS, 1.0, formula), circumference(1.0, RATIOS, formula))
    np.testing.assert_allclose(circumference(7.0, 7 * RATIOS, formula), 7 * circumference(1.0, RATIOS, formula))
    assert np.isnan(circumference(np.nan, 1.0, formula))


def test_exact_is_the_length_of_the_curve():
    turn = np.linspace(0, 2 * np.pi, 200001)
    for ratio in (0.05, 0.5, 0.78):
        steps = np.hypot(np.diff(np.cos(turn)), ratio * np.diff(np.sin(turn)))
        np.testing.assert_allclose(circumference(1.0, ratio), steps.sum(), rtol=1e-9)
    np.testing.assert_allclose(circumference(1.0, 0.0), 4.0)


def test_the_exact_value_lies_between_its_bounds():
    exact = circumference(1.0, RATIOS)
    assert (circumference(1.0, RATIOS, "two_diameters") < exact).all()
    assert (exact < 2 * np.pi * np.sqrt((1 + RATIOS**2) / 2)).all()
    assert (2 * np.pi * RATIOS < exact).all() and (exact < 2 * np.pi).all()


def test_errors_of_the_approximations():
    for ratio, second in ((0.78, 2e-14), (0.70, 1e-12), (0.5, 5e-10)):
        exact = circumference(1.0, ratio)
        assert abs(circumference(1.0, ratio, "ramanujan_2") / exact - 1) < second
        assert 1e-10 < abs(circumference(1.0, ratio, "ramanujan_1") / exact - 1) < 3e-6
    for ratio, low in ((0.86, 0.0014), (0.78, 0.0038), (0.70, 0.0077)):
        lower = 1 - circumference(1.0, ratio, "two_diameters") / circumference(1.0, ratio)
        assert lower == pytest.approx(low, abs=1e-4)


def test_wrong_use_is_named():
    with pytest.raises(DataError, match=r"'ramanujan' .*did you mean 'ramanujan_2'"):
        circumference(1.0, 2.0, "ramanujan")
    with pytest.raises(DataError, match="negative"):
        circumference(-1.0, 2.0)
