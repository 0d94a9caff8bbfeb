"""PPE and PME: fixed points, order, and the table of the paper's repository."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scantling.core.errors import DataError
from scantling.metrics.efficiency import pme, ppe

MEMORY_OF_FULL = 23_128
PUBLISHED = {
    "full fine-tuning": (1.0, 23_128, 88.82, 65.73, 65.73),
    "prompt-tuning": (0.0017, 20_582, 83.68, 83.62, 63.47),
    "adapter": (0.0203, 19_360, 84.14, 83.41, 64.61),
    "LoRA": (0.0068, 20_970, 85.94, 85.69, 64.93),
    "FPT": (0.0181, 1_824, 86.40, 85.73, 83.60),
    "FPT+": (0.0103, 736, 87.12, 86.73, 85.94),
}
"""Learnable share, memory in MB, average AUC over eight data sets, PPE, PME."""

scores = st.floats(0.01, 100.0)
shares = st.floats(0.0, 2.0)


@pytest.mark.parametrize("method", PUBLISHED)
def test_the_published_rows_come_out(method):
    share, memory, auc, of_parameters, of_memory = PUBLISHED[method]
    assert ppe(auc, share) == pytest.approx(of_parameters, abs=0.0051)
    assert pme(auc, memory / MEMORY_OF_FULL) == pytest.approx(of_memory, abs=0.0051)


@pytest.mark.parametrize("metric", [ppe, pme])
@given(score=scores)
def test_what_costs_nothing_keeps_its_score_and_the_whole_costs_a_quarter(metric, score):
    assert metric(score, 0.0) == score
    assert metric(score, 1.0) == pytest.approx(0.74005 * score, rel=1e-5)


@pytest.mark.parametrize("metric", [ppe, pme])
@given(score=scores, share=shares, step=st.floats(1e-6, 1.0))
def test_more_cost_is_worth_less_and_a_better_score_more(metric, score, share, step):
    assert metric(score, share + step) < metric(score, share)
    assert metric(score + step, share) > metric(score, share)


@pytest.mark.parametrize("metric", [ppe, pme])
@given(score=scores, a=shares, b=shares)
def test_costs_compound(metric, score, a, b):
    """``1 + share`` is a factor inside a logarithm: two discounts in turn are that of the product."""
    assert metric(metric(score, a), b) == pytest.approx(metric(score, (1 + a) * (1 + b) - 1), rel=1e-9)


@pytest.mark.parametrize("metric", [ppe, pme])
@pytest.mark.parametrize("share", [-0.01, math.nan, math.inf])
def test_shares_that_are_none(metric, share):
    with pytest.raises(DataError, match="fraction"):
        metric(80.0, share)
