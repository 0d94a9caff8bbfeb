"""The companions of SDICE against closed forms and brute force."""

import math

import numpy as np
import pytest
import torch

from scantling.assess.companions import companions
from scantling.assess.embedded import Embedded
from scantling.assess.frechet import frechet_distance
from scantling.assess.kernel_distance import kernel_distance
from scantling.assess.ms_ssim import WEIGHTS, ms_ssim, random_pairs
from scantling.assess.neighbours import nearest
from scantling.assess.vendi import vendi


def draw(count: int, seed: int, width: int = 8, shift: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, width)) + shift)


def embedded(features: torch.Tensor) -> Embedded:
    return Embedded(features, torch.zeros(len(features), dtype=torch.int64), 1)


def figures(real: torch.Tensor, synthetic: torch.Tensor, **options):
    return companions(embedded(real), embedded(synthetic), np.random.default_rng(0), **options).figures


def test_vendi_of_copies_is_one_and_of_orthogonal_images_their_number():
    assert vendi(embedded(torch.ones(9, 4))) == pytest.approx(1.0)
    assert vendi(embedded(3 * torch.eye(6))) == pytest.approx(6.0)
    assert vendi(embedded(torch.eye(4).repeat(5, 1))) == pytest.approx(4.0)


@pytest.mark.parametrize("count", [5, 30])
def test_vendi_is_the_entropy_of_the_similarity_matrix(count):
    features = draw(count, 0)
    units = (features / features.norm(dim=1, keepdim=True)).numpy()
    shares = np.linalg.eigvalsh(units @ units.T / count).clip(1e-300)
    assert vendi(embedded(features)) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-9)


def test_a_set_has_perfect_shares_against_itself():
    real = draw(60, 0)
    found = figures(real, real)
    assert (found["precision"], found["recall"], found["coverage"]) == (1.0, 1.0, 1.0)
    assert found["density"] >= 1.0
    assert found["frechet_distance"] == pytest.approx(0.0, abs=1e-9)


def test_shares_are_those_of_brute_force():
    real, synthetic = draw(40, 0), draw(30, 1, shift=0.4)
    found = figures(real, synthetic, neighbours=3)
    one, two = (x / x.norm(dim=1, keepdim=True) for x in (real, synthetic))
    radius = [torch.cdist(x, x).sort(1).values[:, 3] for x in (one, two)]
    distance = torch.cdist(one, two)
    inside, recalled = distance <= radius[0][:, None], distance <= radius[1]
    assert found["precision"] == pytest.approx(inside.any(0).double().mean().item())
    assert found["recall"] == pytest.approx(recalled.any(1).double().mean().item())
    assert found["density"] == pytest.approx(inside.double().sum(0).mean().item() / 3)
    assert found["coverage"] == pytest.approx(inside.any(1).double().mean().item())


def test_collapse_costs_recall_and_coverage_and_noise_costs_precision():
    real = draw(200, 0, 3) + torch.tensor([4.0, 0, 0])
    collapsed = figures(real, real[:1] + 0.01 * draw(200, 1, 3))
    assert collapsed["precision"] > 0.9 and collapsed["recall"] < 0.1 and collapsed["coverage"] < 0.1
    assert figures(real, -real)["precision"] == 0.0


def test_frechet_distance_is_that_of_gaussians():
    real, synthetic = draw(400, 0, 3), draw(300, 1, 3) @ torch.diag(torch.tensor([2.0, 1, 0.5])).double() + 1

    def whitened(x):
        x = x - x.mean(0)
        return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (len(x) - 1))).T

    one = whitened(real) @ torch.diag(torch.tensor([1.0, 2, 3])).double()
    two = whitened(synthetic) @ torch.diag(torch.tensor([2.0, 2, 1])).double() + torch.tensor([1.0, 0, 2])
    # Covariances that commute: squared differences of means and of deviations.
    assert frechet_distance(one, two) == pytest.approx((1 + 4) + (1 + 0 + 4), abs=1e-8)


def test_frechet_distance_needs_no_full_rank():
    assert frechet_distance(draw(5, 0, 12), draw(5, 0, 12) + 2.0) == pytest.approx(4.0 * 12, abs=1e-6)


def test_kernel_distance_is_unbiased_and_that_of_brute_force():
    real, synthetic = draw(12, 0, 4), draw(9, 1, 4, shift=0.5)

    def kernel(a, b):
        return (float(a @ b) / 4 + 1) ** 3

    own = [
        np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]) for x in (real, synthetic)
    ]
    across = np.mean([kernel(a, b) for a in real for b in synthetic])
    generator = np.random.default_rng(0)
    assert kernel_distance(real, synthetic, generator)["mean"] == pytest.approx(sum(own) - 2 * across, rel=1e-9)
    same = kernel_distance(draw(900, 2, 4), draw(900, 3, 4), generator, subset=100, subsets=60)
    assert abs(same["mean"]) < 4 * same["sd"] / math.sqrt(60) + 0.02
    assert kernel_distance(draw(900, 2, 4), draw(900, 3, 4, 0.5), generator, subset=100)["mean"] > 5 * abs(same["mean"])


def test_copies_of_real_images_are_found():
    real, fresh = draw(300, 0), draw(300, 1)
    copies = figures(real, real[:100])["memorisation"]
    assert (copies["copies"], copies["share"], copies["authenticity"]) == (1.0, 1.0, 0.0)
    honest = figures(real, fresh)["memorisation"]
    assert honest["copies"] == 0.0 and honest["share"] < 0.05 and 0.35 < honest["authenticity"] < 0.65
    mixed = figures(real, torch.cat([fresh[:150], 2 * real[:50] + 1e-7]))["memorisation"]
    assert mixed["copies"] == pytest.approx(0.25)


def test_twins_in_the_synthetic_set_are_found():
    real, fresh = draw(300, 0), draw(200, 1)
    assert figures(real, fresh)["near_duplicates"]["share"] < 0.05
    twins = figures(real, torch.cat([fresh, fresh[:100] * 3]))["near_duplicates"]
    assert twins["copies"] == pytest.approx(2 / 3)
    assert twins["share"] >= 2 / 3 and twins["copies_real"] == 0.0


def test_the_nearest_in_blocks_are_the_nearest(monkeypatch):
    from scantling.assess import neighbours

    monkeypatch.setattr(neighbours, "_ELEMENTS", 100)
    one = draw(40, 0)
    similarity, index = nearest(one, one, 3, same=True)
    full = (one @ one.T).fill_diagonal_(-torch.inf)
    torch.testing.assert_close(similarity, full.topk(3).values)
    assert not (index == torch.arange(40)[:, None]).any()


def test_a_single_image_gives_no_figures_and_no_error():
    found = figures(draw(1, 0), draw(3, 1))
    assert math.isnan(found["precision"]) and math.isnan(found["memorisation"]["share"])
    assert math.isnan(found["frechet_distance"]) and math.isnan(found["kernel_distance"]["mean"])


def test_pairs_are_of_one_class_and_never_of_one_image():
    codes = np.array([0, 1, 1, 2, 2, 2, 1])
    pairs = random_pairs(codes, 2000, np.random.default_rng(0))
    assert (codes[pairs[:, 0]] == codes[pairs[:, 1]]).all() and (pairs[:, 0] != pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == 12
    assert len(random_pairs(np.array([0, 1, 2]), 5, np.random.default_rng(0))) == 0


@pytest.mark.parametrize(("side", "scales"), [(12, 1), (24, 2), (48, 3), (176, 5)])
def test_ms_ssim_of_an_image_with_itself_is_one_and_falls_with_noise(side, scales):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 1, side, side), generator=generator, dtype=torch.uint8)
    noisy = (images.float() + 60 * torch.randn(images.shape, generator=generator)).clamp(0, 255).to(torch.uint8)
    torch.testing.assert_close(ms_ssim(images, images), torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)
    found = ms_ssim(images, noisy)
    assert ((found > 0) & (found < 0.99)).all()
    assert sum(1 for k in range(len(WEIGHTS)) if side >> k >= 11) == scales
    assert ms_ssim(images[..., :8, :8], images[..., :8, :8]).isnan().all()
