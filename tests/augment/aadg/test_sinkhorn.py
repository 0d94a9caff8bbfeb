"""The Sinkhorn divergence on the sphere: closed forms, invariances, and an exact solver."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from torch.nn import functional as F

from scantling.augment.aadg.sinkhorn import cosine_cost, sinkhorn_divergence, transport


def clouds(number: int, size: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, number, size, width, generator=generator))


def assigned(cost: torch.Tensor) -> float:
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost.numpy()[rows, columns].mean())


def test_equal_clouds_are_not_apart():
    x, _ = clouds(10, 8, 128)
    assert (sinkhorn_divergence(x, x) == 0).all()


def test_antipodal_clouds_are_two_apart():
    point = torch.randn(1, 128, generator=torch.Generator().manual_seed(0)).expand(8, -1)
    torch.testing.assert_close(sinkhorn_divergence(point, -point), torch.tensor(2.0), atol=1e-6, rtol=0)


def test_it_is_symmetric_and_not_negative():
    x, y = clouds(50, 8, 128)
    there, back = sinkhorn_divergence(x, y), sinkhorn_divergence(y, x)
    torch.testing.assert_close(there, back, atol=1e-4, rtol=0)
    assert (there > 0).all()


def test_order_rotation_and_lengths_of_vectors_do_not_matter():
    generator = torch.Generator().manual_seed(1)
    x, y = clouds(20, 8, 16)
    expected = sinkhorn_divergence(x, y)
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=generator))
    lengths = torch.rand(20, 8, 1, generator=generator) * 100 + 0.01
    order = torch.randperm(8, generator=generator)
    for changed in (x[:, order], x * lengths):
        torch.testing.assert_close(sinkhorn_divergence(changed, y), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(sinkhorn_divergence(x @ rotation, y @ rotation), expected, atol=1e-4, rtol=0)


def test_gaussian_clouds_lie_as_far_apart_as_known():
    x, y = clouds(200, 8, 128)
    assert sinkhorn_divergence(x, y).mean().item() == pytest.approx(0.88, abs=0.02)
    folded = sinkhorn_divergence(F.leaky_relu(x, 0.2), F.leaky_relu(y, 0.2))
    assert folded.mean().item() == pytest.approx(0.71, abs=0.02)


@pytest.mark.parametrize("width", [2, 3, 128])
def test_it_matches_the_best_assignment(width):
    x, y = clouds(30, 8, width)
    exact = torch.tensor([assigned(cost) for cost in cosine_cost(x, y)])
    assert (sinkhorn_divergence(x, y) - exact).abs().max() < 0.005
    assert (transport(cosine_cost(x, y), blur=0.02) - exact).abs().max() < 0.005


def test_clouds_of_different_sizes_match_a_linear_program():
    x, y = clouds(1, 6, 3)
    cost = cosine_cost(x[0], y[0, :4])
    leaving = torch.eye(6).repeat_interleave(4, 1)
    arriving = torch.eye(4).repeat(1, 6)
    marginals = torch.cat([torch.full((6,), 1 / 6), torch.full((4,), 1 / 4)])
    exact = linprog(cost.flatten(), A_eq=torch.cat([leaving, arriving]), b_eq=marginals).fun
    assert transport(cost, blur=0.01).item() == pytest.approx(exact, abs=2e-3)


def test_moving_a_cloud_away_raises_it():
    x, y = clouds(1, 8, 2, seed=2)
    x, y = torch.tensor([1.0, 0.0]) + 0.05 * x[0], torch.tensor([1.0, 0.0]) + 0.05 * y[0]
    angles = torch.linspace(0.2, 3.0, 15)
    turns = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1).view(-1, 2, 2)
    apart = sinkhorn_divergence(x.expand(15, -1, -1), y @ turns.mT)
    assert (apart.diff() > 0).all() and apart[-1] > 1.8


def test_a_batch_gives_what_its_pairs_give_alone():
    x, y = clouds(6, 5, 8)
    alone = torch.stack([sinkhorn_divergence(a, b) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(sinkhorn_divergence(x.view(2, 3, 5, 8), y.view(2, 3, 5, 8)).flatten(), alone)
