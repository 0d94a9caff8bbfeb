"""Scorers of quality: closed forms, what learns and what does not, and scores that know no batch."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr
from tensordict import TensorDict

from scantling.adapt import QualityContrast, QualityDistill, QualityEmbedding, QualityPatches
from scantling.adapt.anomaly_gaussian import whitening
from scantling.adapt.quality_contrast import compressed, crossed_distances, gaussian, ladder_loss
from scantling.adapt.quality_distill import cosine_distance
from scantling.adapt.shrinkage import ledoit_wolf
from scantling.assess.quality.degradations import DEGRADATIONS, DRAWS
from scantling.assess.quality.degrade import Degrade
from scantling.core.errors import RecipeError, TrainingError
from scantling.core.quality import spread_of
from scantling.core.seams import Inputs
from scantling.data.phantoms import draw_octa
from scantling.metrics.ranking import binary_areas
from scantling.nets.image_statistics import STATISTICS, image_statistics
from scantling.nets.pooled_scales import pooled_scales

SIZE = 32
INPUTS = Inputs((SIZE, SIZE))
SCORERS = {
    "mahalanobis": (QualityEmbedding, {}),
    "nearest": (QualityEmbedding, {"distance": "nearest", "memory": 50}),
    "patches": (QualityPatches, {"width": 12}),
    "distill": (QualityDistill, {}),
    "contrast": (QualityContrast, {}),
}


def as_batch(images: torch.Tensor) -> TensorDict:
    return TensorDict({"image": images}, batch_size=[len(images)])


@pytest.fixture(scope="module")
def octa() -> torch.Tensor:
    images = torch.from_numpy(draw_octa(150, 48, seed=2, outstanding=1.0).images).float() / 255
    return torch.nn.functional.interpolate(images[:, None], (SIZE, SIZE), mode="area").repeat(1, 3, 1, 1)


def fitted(name: str, images: torch.Tensor):
    kind, settings = SCORERS[name]
    torch.manual_seed(0)
    scorer = kind(2, INPUTS, "resnet10t", "none", **settings).eval()
    scorer.fit([as_batch(part) for part in images.split(16)], torch.Generator().manual_seed(0))
    return scorer


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distances(rows: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """Mahalanobis distances of ``of`` from ``rows``, population covariance, no shrinkage."""
    covariance = torch.cov(rows.T, correction=0)
    return ((of - rows.mean(0)) @ whitening(covariance[None])[0]).norm(dim=1)


def test_squared_distances_of_the_rows_themselves_have_their_dimension_as_mean():
    rows = normal(40, 7) @ normal(7, 7, seed=1)
    assert float(distances(rows, rows).square().mean()) == pytest.approx(7)


def test_the_distance_does_not_change_under_an_affine_map():
    rows, of = normal(40, 7), normal(9, 7, seed=2)
    turn, shift = normal(7, 7, seed=3), normal(7, seed=4)
    torch.testing.assert_close(distances(rows @ turn + shift, of @ turn + shift), distances(rows, of))


@pytest.mark.parametrize("shape", [(12, 40), (60, 9), (200, 30)])
def test_shrinkage_is_that_of_scikit_learn(shape):
    from sklearn.covariance import ledoit_wolf as known

    rows = normal(*shape) * torch.linspace(0.2, 3, shape[1])
    covariance, share = ledoit_wolf(rows)
    expected, expected_share = known(rows.numpy())
    assert share == pytest.approx(expected_share)
    torch.testing.assert_close(covariance, torch.from_numpy(expected))


def test_crossed_distances_are_those_of_new_rows():
    mixed = normal(30, 30, seed=2) * torch.linspace(0.1, 4, 30)
    rows, fresh = (normal(120, 30) @ mixed).float(), (normal(4000, 30, seed=1) @ mixed).float()
    halves = torch.randperm(120, generator=torch.Generator().manual_seed(0)).chunk(2)
    expected = torch.stack([length(fresh, rows[half]).mean() for half in halves]).mean()
    crossed = crossed_distances(rows, torch.Generator().manual_seed(0)).mean()
    assert abs(crossed - expected) < 0.06 * expected
    assert length(rows, rows).mean() < 0.93 * expected


def length(of: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    mean, white = gaussian(rows)
    return ((of - mean) @ white).norm(dim=1)


def test_what_never_changes_in_good_images_cannot_drown_the_rest():
    rows = normal(50, 9)
    rows[:, 4] = 0.0
    spread = spread_of(rows)
    assert float(spread[4]) == pytest.approx(0.1 * float(spread.median()))
    assert (spread_of(torch.zeros(5, 3)) == 1).all()


def test_pooling_forgets_places_and_knows_spread():
    maps = [torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)]
    found = pooled_scales(maps)
    assert found.shape == (2, 16)
    torch.testing.assert_close(pooled_scales([m.flip(2) for m in maps]), found)
    torch.testing.assert_close(pooled_scales([2 * m for m in maps]), 2 * found)


def test_statistics_know_blur_from_noise_and_forget_mirrors(octa):
    plain = image_statistics(octa[:8])
    assert plain.shape == (8, STATISTICS) and plain.isfinite().all()
    torch.testing.assert_close(image_statistics(octa[:8].flip(3)), plain, atol=1e-4, rtol=1e-4)
    assert image_statistics(torch.zeros(2, 3, SIZE, SIZE)).isfinite().all()
    laplacian = 8 + 6
    blurred, noisy = (
        Degrade(kinds=[kind], second=0.0).degraded(octa[:8], torch.full((8,), 0.8), torch.rand(8, 60))
        for kind in ("blur", "noise")
    )
    assert (image_statistics(blurred)[:, laplacian] < plain[:, laplacian]).all()
    assert (image_statistics(noisy)[:, laplacian] > plain[:, laplacian]).all()


@pytest.mark.parametrize("name", SCORERS)
def test_scores_know_no_batch_no_order_and_no_mode(name, octa):
    scorer = fitted(name, octa[:64])
    images = octa[64:80]
    whole = scorer.measured(as_batch(images))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(scorer.measured(as_batch(images[order])).score, whole.score[order], atol=1e-4, rtol=1e-4)
    alone = torch.cat([scorer.measured(as_batch(part)).score for part in images.split(3)])
    torch.testing.assert_close(alone, whole.score, atol=1e-4, rtol=1e-4)
    outputs = scorer(as_batch(images))
    torch.testing.assert_close(outputs[:, 1] - outputs[:, 0], whole.score)
    other = SCORERS[name][0](2, INPUTS, "resnet10t", "none", **SCORERS[name][1]).eval()
    other.load_state_dict(scorer.state_dict())
    torch.testing.assert_close(other.measured(as_batch(images)).features, whole.features)


def worse(images: torch.Tensor, t: float) -> torch.Tensor:
    """Blur, loss of light with noise, and streaks, all of the same severity."""
    draws = torch.rand(len(images), DRAWS, generator=torch.Generator().manual_seed(5))
    for kind in ("blur", "low_signal", "motion"):
        images = DEGRADATIONS[kind](images, torch.full((len(images),), t), draws)
    return images


@pytest.mark.parametrize("name", ["mahalanobis", "nearest", "contrast"])
def test_scores_rise_with_severity_and_tell_good_images_from_good_ones_no_better_than_chance(name, octa):
    scorer = fitted(name, octa[:90])
    held, seen = octa[90:120], octa[120:]
    steps = torch.tensor([0.1, 0.3, 0.5, 0.75, 1.0])
    scores = [scorer.measured(as_batch(held)).score]
    scores += [scorer.measured(as_batch(worse(held, float(t)))).score for t in steps]
    severities = torch.cat([torch.zeros(1), steps]).repeat_interleave(30)
    assert spearmanr(severities, torch.cat(scores).detach()).statistic > 0.8
    both = torch.cat([scores[0], scorer.measured(as_batch(seen)).score]).detach().numpy()
    area = float(binary_areas(torch.arange(60).ge(30).long().numpy(), both)[0])
    # 30 + 30 images: a standard error of 0.075.
    assert abs(area - 0.5) < 0.2


def test_taken_on_both_sides_a_score_is_its_distance_from_the_median(octa):
    scorer = fitted("mahalanobis", octa[:40])
    raw = scorer.raw(as_batch(octa[40:60])).score
    scorer.use_both_sides()
    torch.testing.assert_close(scorer.measured(as_batch(octa[40:60])).score, (raw - scorer.middle).abs())


def test_cosine_distances_lie_between_zero_and_two_and_forget_positive_factors():
    maps = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cosine_distance(maps, 3 * maps), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(cosine_distance(maps, -maps), torch.full((4,), 2.0))
    between = cosine_distance(maps, maps.flip(0))
    assert (between > 0).all() and (between < 2).all()


def test_the_student_learns_at_every_scale_and_the_teacher_never(octa):
    torch.manual_seed(0)
    scorer = QualityDistill(2, INPUTS, "resnet10t", "none").train()
    before = {k: v.clone() for k, v in scorer.scales.state_dict().items()}
    losses = scorer.normal_loss(as_batch(octa[:8]))
    assert ((losses >= 0) & (losses <= 2 * 3)).all()
    losses.mean().backward()
    assert all(p.grad is None for p in scorer.scales.parameters())
    for part in (scorer.narrow[0], scorer.narrow[1], scorer.middle_stage, *scorer.decoder):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters() if p.ndim > 1)
    assert all(torch.equal(v, before[k]) for k, v in scorer.scales.state_dict().items())
    teacher, student = scorer.maps(octa[:8])
    assert [m.shape for m in teacher] == [m.shape for m in student]
    assert not any(m.requires_grad for m in teacher)


def test_only_the_head_learns_severity_and_its_loss_falls(octa):
    torch.manual_seed(0)
    scorer = QualityContrast(2, INPUTS, "resnet10t", "none").train()
    scorer.fit([as_batch(octa[:64])], torch.Generator().manual_seed(0))
    names = {name for name, _ in scorer.learnable()}
    assert names and all(name.startswith("head.") for name in names)
    worse, severity = Degrade().ladder(octa[:32], torch.Generator().manual_seed(1))
    stack = torch.cat([octa[:32][None], worse])
    optimizer = torch.optim.Adam([p for _, p in scorer.learnable()], 2e-3)
    losses = []
    for _ in range(25):
        loss = scorer.severity_loss(stack, severity)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.6 * losses[0]


def test_a_ladder_that_climbs_enough_costs_nothing_and_a_flat_one_its_margin():
    severity = torch.tensor([[0.2, 0.4], [0.6, 1.0]])
    climbing = torch.stack([torch.zeros(2), torch.full((2,), 10.0), torch.full((2,), 20.0)])
    assert ladder_loss(climbing, severity, 2.0) == 0
    flat = ladder_loss(torch.ones(3, 2), severity, 2.0)
    steps = torch.tensor([0.2, 0.6, 0.4, 0.4, 1.0, 0.6])
    assert float(flat) == pytest.approx(float(2 * steps.mean() + 2 * severity.mean()))


def test_compression_keeps_order_and_sign():
    x = torch.linspace(-50, 50, 101)
    assert (compressed(x).diff() > 0).all() and torch.equal(compressed(-x), -compressed(x))


def test_settings_that_cannot_be_are_refused(octa):
    with pytest.raises(RecipeError, match="do not double"):
        QualityDistill(2, INPUTS, "resnet10t", "none", strides=(4, 16))
    with pytest.raises(RecipeError, match="evidence"):
        QualityContrast(2, INPUTS, "resnet10t", "none", evidence=("features", "luck"))
    with pytest.raises(RecipeError, match="mahalanobis or nearest"):
        QualityEmbedding(2, INPUTS, "resnet10t", "none", distance="euclid")
    with pytest.raises(TrainingError, match="1 good images"):
        fitted("mahalanobis", octa[:1])
