"""AADG's controller: its size, its bounds, its exact distribution."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from scantling.augment.aadg.controller import Controller, shares, typical
from scantling.core.errors import RecipeError


def made(seed: int = 0, length: int = 2) -> Controller:
    torch.manual_seed(seed)
    return Controller(length=length)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_has_56260_parameters():
    assert sum(p.numel() for p in made().parameters()) == 56260


def test_at_first_it_is_nearly_undecided():
    controller = made()
    _, entropy = controller.evaluate(controller.sample(64, 5, generator())[0])
    assert entropy.mean().item() == pytest.approx(2.3023, abs=2e-4)
    for share in shares(controller.probabilities()):
        assert ((share - 0.1).abs() < 0.01).all()


def test_evaluating_samples_gives_the_log_probabilities_they_were_drawn_with():
    controller = made()
    tokens, log_p = controller.sample(6, 5, generator())
    found, _ = controller.evaluate(tokens)
    assert tokens.shape == (6, 5, 2, 2)
    torch.testing.assert_close(found, log_p, atol=1e-5, rtol=0)


def test_the_listed_distribution_is_that_of_the_samples():
    controller = made()
    with torch.no_grad():
        controller.operation.weight.mul_(40)
        controller.magnitude.weight.mul_(40)
    probabilities = controller.probabilities()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-12)
    tokens, log_p = controller.sample(200, 1, generator())
    listed = probabilities[tuple(tokens.flatten(1).T)]
    torch.testing.assert_close(listed.log().float(), log_p, atol=1e-4, rtol=0)
    many, _ = controller.sample(1, 40_000, generator(1))
    seen = torch.bincount(many[0, :, :, 0].flatten(), minlength=10) / 80_000
    assert (shares(probabilities)[0].std() > 0.02) and (seen - shares(probabilities)[0]).abs().max() < 0.01


@pytest.mark.parametrize("sign", [1, -1])
def test_no_choice_is_ever_more_or_less_probable_than_the_bound_allows(sign):
    controller = made()
    with torch.no_grad():
        for head in (controller.operation, controller.magnitude):
            head.weight.zero_()
            head.bias.fill_(-1e6 * sign)
            head.bias[0] = 1e6 * sign
    e = math.exp(1.25)
    extreme = e / (e + 9 / e) if sign > 0 else 1 / e / (1 / e + 9 * e)
    assert shares(controller.probabilities())[0][0].item() == pytest.approx(extreme, abs=1e-6)
    assert extreme == pytest.approx(0.5751 if sign > 0 else 0.00904, abs=1e-4)


def test_sub_policies_are_independent_and_alike():
    controller = made()
    tokens, _ = controller.sample(1, 5, generator())
    alone = torch.stack([controller.evaluate(tokens[:, i : i + 1])[0] for i in range(5)]).sum()
    torch.testing.assert_close(controller.evaluate(tokens)[0][0], alone)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(controller.evaluate(tokens[:, order])[0], controller.evaluate(tokens)[0])


def test_typical_sub_policies_have_the_frequencies_of_the_distribution():
    controller = made(1, length=1)
    with torch.no_grad():
        controller.operation.weight.mul_(60)
    probabilities = controller.probabilities()
    chosen = typical(probabilities, 50)
    counts = torch.bincount(chosen[:, 0, 0], minlength=10) / 50
    assert ((counts - probabilities.sum(1)).abs() <= 1 / 50 + 1e-9).all()
    certain = torch.zeros(3, 2)
    certain[1, 1] = 1
    assert typical(certain, 4).tolist() == [[[1, 1]]] * 4


@pytest.mark.parametrize("length", [1, 3])
def test_other_lengths_are_listed_too(length):
    controller = Controller(operations=3, magnitudes=2, length=length)
    probabilities = controller.probabilities()
    assert probabilities.shape == (3, 2) * length
    places = [range(n) for n in probabilities.shape]
    tokens = torch.tensor(list(itertools.product(*places))).view(-1, 1, length, 2)
    torch.testing.assert_close(
        controller.evaluate(tokens)[0].exp().double(), probabilities.flatten(), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("settings", [{"length": 0}, {"length": 4}, {"temperature": 0.0}, {"bound": -1.0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(RecipeError):
        Controller(**settings)
