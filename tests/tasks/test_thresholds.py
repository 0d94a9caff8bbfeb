"""Cutting severities into grades, and the optimal cuts."""

import itertools

import pytest
import torch

from scantling.metrics.kappa import confusion_matrix, quadratic_weighted_kappa
from scantling.tasks.thresholds import default_thresholds, fit_thresholds, grades_from_scores, guarded_thresholds


def kappa(scores, labels, cuts, k):
    return float(
        quadratic_weighted_kappa(confusion_matrix(labels.numpy(), grades_from_scores(scores, cuts).numpy(), k))
    )


def sample(n, seed, k=5, slope=0.7):
    """Grades with severities shrunk towards their mean, as a regression gives them."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor([0.726, 0.068, 0.155, 0.027, 0.024])[:k], n, True, generator=g)
    return slope * labels + 0.1 + 0.5 * torch.randn(n, generator=g), labels


def test_threshold_map_of_the_sheet():
    scores = torch.tensor([-3, -0.5, 0.4999, 0.5, 2.5, 3.5, 99])
    assert grades_from_scores(scores, default_thresholds(5)).tolist() == [0, 0, 0, 1, 3, 4, 4]
    line = grades_from_scores(torch.linspace(-5, 9, 1001), default_thresholds(5))
    assert (line.diff() >= 0).all()
    assert line.unique().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(12))
def test_fitted_cuts_are_the_global_optimum(seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (12,), generator=g)
    scores = (labels + torch.randn(12, generator=g)).mul(4).round() / 4  # with ties
    fitted = kappa(scores, labels, fit_thresholds(scores, labels, 4), 4)
    places = torch.cat([scores.unique(), scores.max()[None] + 1])
    best = max(kappa(scores, labels, torch.stack(c), 4) for c in itertools.combinations_with_replacement(places, 3))
    assert fitted == pytest.approx(best, abs=1e-9)


def test_fitted_cuts_rise_and_beat_the_default_ones_on_new_data():
    scores, labels = sample(3000, seed=0)
    cuts = fit_thresholds(scores, labels, 5)
    assert (cuts.diff() >= 0).all()
    new_scores, new_labels = sample(3000, seed=1)
    assert kappa(new_scores, new_labels, cuts, 5) > kappa(new_scores, new_labels, default_thresholds(5), 5) + 0.01


def test_missing_labels_are_left_out_and_order_does_not_matter():
    scores, labels = sample(200, seed=0)
    mixed = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    more_scores, more_labels = torch.cat([scores, scores + 9]), torch.cat([labels, torch.full_like(labels, -1)])
    want = fit_thresholds(scores, labels, 5)
    assert torch.equal(fit_thresholds(scores[mixed], labels[mixed], 5), want)
    assert torch.equal(fit_thresholds(more_scores, more_labels, 5), want)


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([], []), ([1.0], [2]), ([0.7, 0.7, 0.7], [0, 1, 2]), ([0.1, 0.2], [3, 3]), ([0.1, 0.2], [-1, -1])],
)
def test_scores_that_tell_nothing_give_the_default_cuts(scores, labels):
    cuts = fit_thresholds(torch.tensor(scores), torch.tensor(labels, dtype=torch.int64), 5)
    assert torch.equal(cuts, default_thresholds(5))


def test_the_guard_keeps_the_default_cuts_when_fitted_ones_do_not_hold():
    scores, labels = sample(300, seed=0)
    new_scores, new_labels = sample(300, seed=1)
    kept = guarded_thresholds(scores, labels, new_scores, new_labels, 5)
    assert torch.equal(kept, fit_thresholds(scores, labels, 5))
    noise = torch.randn(30, generator=torch.Generator().manual_seed(0))
    exact = new_labels.float()
    assert torch.equal(guarded_thresholds(noise, labels[:30], exact, new_labels, 5), default_thresholds(5))
