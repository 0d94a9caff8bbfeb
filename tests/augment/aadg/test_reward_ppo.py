"""Rewards and the update of the controller: what changes it, and what must not."""

from __future__ import annotations

import pytest
import torch

from scantling.augment.aadg.controller import Controller, shares
from scantling.augment.aadg.ppo import ppo_loss, reinforce_loss, update
from scantling.augment.aadg.reward import advantages, by_domain, diversity
from scantling.augment.aadg.settings import SearchSettings
from scantling.augment.aadg.sinkhorn import sinkhorn_divergence
from scantling.core.errors import RecipeError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_advantages_have_mean_0_and_deviation_1_and_forget_scale_and_offset():
    rewards = torch.rand(6, generator=generator(), dtype=torch.float64)
    found = advantages(rewards)
    assert found.sum().abs() < 1e-5 and found.std().item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(advantages(rewards + 100), found, atol=1e-5, rtol=0)
    torch.testing.assert_close(advantages(rewards * 7), found, atol=2e-4, rtol=0)
    assert (advantages(torch.full((6,), 0.1234567)) == 0).all()


def test_diversity_is_the_mean_over_all_pairs_of_domains():
    features = torch.randn(2, 4, 5, 8, generator=generator())
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    single = torch.stack([torch.stack([sinkhorn_divergence(f[a], f[b]) for a, b in pairs]).mean() for f in features])
    torch.testing.assert_close(diversity(features), single)
    same = features[:, :1].expand(-1, 4, -1, -1)
    assert (diversity(same) == 0).all()


def test_rows_are_put_in_order_of_their_domains():
    domains = torch.tensor([2, 0, 1, 1, 2, 0])
    rows = torch.arange(6.0)[:, None]
    assert by_domain(rows, domains, 3)[..., 0].tolist() == [[1, 5], [2, 3], [0, 4]]


def test_ppo_begins_as_reinforce():
    torch.manual_seed(0)
    controller = Controller()
    tokens, old = controller.sample(6, 5, generator())
    advantage = advantages(torch.rand(6, generator=generator(1)))
    log_p = controller.evaluate(tokens)[0]
    both = (ppo_loss(log_p, old, advantage), reinforce_loss(log_p, advantage))
    gradients = [torch.autograd.grad(loss, list(controller.parameters()), retain_graph=True) for loss in both]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [
        (1.21, 1.0, False),
        (1.19, 1.0, True),
        (0.5, 1.0, True),
        (0.79, -1.0, False),
        (0.81, -1.0, True),
        (2.0, -1.0, True),
    ],
)
def test_a_ratio_that_went_too_far_gives_no_gradient(ratio, advantage, moves):
    log_p = torch.tensor([ratio]).log().requires_grad_()
    ppo_loss(log_p, torch.zeros(1), torch.tensor([advantage])).backward()
    assert bool(log_p.grad.abs() > 0) == moves
    if moves:
        assert torch.sign(-log_p.grad) == advantage


@pytest.mark.parametrize("kind", ["ppo", "reinforce"])
def test_equal_rewards_change_nothing_and_others_favour_the_better(kind):
    torch.manual_seed(0)
    controller, settings = Controller(), SearchSettings(update=kind, entropy_weight=0.1)
    optimizer = torch.optim.Adam(controller.parameters(), lr=1e-3)
    tokens, before = controller.sample(6, 5, generator())
    update(controller, optimizer, tokens, torch.full((6,), 0.3), settings)
    assert torch.equal(controller.evaluate(tokens)[0], before)
    update(controller, optimizer, tokens, torch.tensor([1.0, 0, 0, 0, 0, 0]), settings)
    after = controller.evaluate(tokens)[0] - before
    assert after[0] > after[1:].mean() + 0.05


def test_a_frozen_controller_stays():
    controller = Controller()
    optimizer = torch.optim.Adam(controller.parameters(), lr=1e-3)
    tokens, before = controller.sample(6, 5, generator())
    update(controller, optimizer, tokens, torch.arange(6.0), SearchSettings(update="none"))
    assert torch.equal(controller.evaluate(tokens)[0], before)


def test_ppo_finds_a_rewarded_operation_and_is_ahead_of_reinforce():
    found = {}
    for kind in ("ppo", "reinforce"):
        torch.manual_seed(0)
        controller, draws, settings = Controller(), generator(), SearchSettings(update=kind)
        optimizer = torch.optim.Adam(controller.parameters(), lr=settings.lr)
        for _ in range(240):
            tokens, _ = controller.sample(6, 5, draws)
            update(controller, optimizer, tokens, (tokens[..., 0] == 3).double().mean((1, 2)), settings)
        found[kind] = float(shares(controller.probabilities())[0][3])
    assert found["ppo"] > 0.4
    assert found["ppo"] > found["reinforce"] > 0.2


@pytest.mark.parametrize(
    "settings",
    [{"policies": 1}, {"at_once": 4}, {"blur": 0.0}, {"momentum": 1.5}, {"space": ["invert", "inverted"]},
     {"space": ["invert"]}, {"safety": -1.0}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(RecipeError):
        SearchSettings(**settings).check()
