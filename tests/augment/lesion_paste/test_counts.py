"""How many lesions of which types: the laws of the sheet in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from scantling.augment.lesion_paste.counts import check_severity, count_range, draw_counts, number_of_types
from scantling.core.errors import RecipeError
from scantling.core.numbers import children, keys_of, uniform

N = 100_000


def draws(columns: int) -> np.ndarray:
    return uniform(keys_of(7, np.arange(N)), columns)


def test_the_severity_law():
    found = np.bincount(number_of_types(draws(1)[:, 0], 4), minlength=5)[1:] / N
    np.testing.assert_allclose(found, [81 / 101, 10 / 101, 5 / 101, 5 / 101], atol=0.005)


def test_with_fewer_types_the_lowest_thresholds_decide():
    found = np.bincount(number_of_types(draws(1)[:, 0], 2), minlength=3)[1:] / N
    np.testing.assert_allclose(found, [81 / 101, 20 / 101], atol=0.005)
    assert (number_of_types(draws(1)[:, 0], 1) == 1).all()


def test_counts_are_uniform_between_their_bounds():
    counts = draw_counts(draws(5), [12, 6, 4, 3])
    first = counts[:, 0]
    assert (first.min(), first.max()) == (3, 18)
    assert first.mean() == pytest.approx((3 + 18) / 2, abs=0.05)
    shares = np.bincount(first, minlength=19)[3:] / N
    np.testing.assert_allclose(shares, 1 / 16, atol=0.004)
    second = counts[counts[:, 1] > 0, 1]
    assert (second.min(), second.max()) == (1, 9)
    assert (counts[:, 1] > 0).mean() == pytest.approx(20 / 101, abs=0.005)
    assert ((counts[:, 2] > 0) <= (counts[:, 1] > 0)).all()


@pytest.mark.parametrize(("in_donor", "expected"), [(1, (1, 1)), (2, (3, 3)), (3, (3, 4)), (10, (3, 15))])
def test_few_lesions_leave_no_empty_range(in_donor, expected):
    assert count_range(in_donor, 3) == expected


def test_a_single_type_follows_the_count_law_alone():
    counts = draw_counts(draws(2), [4])
    assert counts.shape == (N, 1) and (counts.min(), counts.max()) == (3, 6)


def test_thresholds_that_cannot_be_are_refused():
    with pytest.raises(RecipeError, match="does not fall"):
        check_severity([80, 90], 2)
    with pytest.raises(RecipeError, match="3 thresholds for 5 types"):
        check_severity([95, 90, 80], 5)


def test_numbers_of_a_key_do_not_depend_on_its_company():
    keys = keys_of(3, np.arange(50))
    np.testing.assert_array_equal(uniform(keys[[7]], 5)[0], uniform(keys, 9)[7, :5])
    many = uniform(keys_of(0, np.arange(20_000)), 10)
    assert abs(many.mean() - 0.5) < 0.002 and abs(np.corrcoef(many.T) - np.eye(10)).max() < 0.03
    assert len(np.unique(children(np.repeat(keys, 40), np.tile(np.arange(40), 50)))) == 2000
