"""Degradations: nothing at severity 0, more with more, each image for itself."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from scantling.assess.quality.degradations import DEGRADATIONS, DRAWS, gaussian
from scantling.assess.quality.degrade import Degrade
from scantling.core.errors import RecipeError

KINDS = sorted(DEGRADATIONS)


def images(count: int = 4, size: int = 40) -> torch.Tensor:
    smooth = torch.rand(count, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(smooth, size=(size, size), mode="bilinear") * 0.6 + 0.1


def draws(count: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(seed))


def batch(count: int = 6) -> TensorDict:
    return TensorDict({"image": images(count), "index": torch.arange(count)}, batch_size=[count])


@pytest.mark.parametrize("kind", KINDS)
def test_severity_zero_changes_no_bit_and_full_severity_changes_every_image(kind):
    x = images()
    assert torch.equal(DEGRADATIONS[kind](x, torch.zeros(4), draws()), x)
    worse = DEGRADATIONS[kind](x, torch.ones(4), draws())
    assert ((worse - x).abs().flatten(1).mean(1) > 1e-3).all()
    assert worse.shape == x.shape and worse.min() >= 0 and worse.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_fault_grows_with_its_severity(kind):
    x = images(8)
    steps = [0.05, 0.25, 0.5, 1.0]
    change = [float((DEGRADATIONS[kind](x, torch.full((8,), t), draws(8)) - x).abs().mean()) for t in steps]
    assert change == sorted(change) and change[0] < 0.5 * change[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_its_own_draws_alone(kind):
    x, t, d = images(), torch.tensor([0.0, 0.3, 0.6, 1.0]), draws()
    alone = torch.cat([DEGRADATIONS[kind](x[i : i + 1], t[i : i + 1], d[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(DEGRADATIONS[kind](x, t, d), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["low_signal", "motion", "noise", "saturation", "uneven_light"])
def test_black_borders_stay_black(kind):
    x = images(4, 64)
    x[..., :24] = 0
    worse = DEGRADATIONS[kind](x, torch.ones(4), draws())
    assert worse[..., :16].abs().max() == 0 < worse[..., 40:].max()


def test_the_blur_is_a_gaussian_of_the_width_asked_for():
    point = torch.zeros(2, 1, 41, 41)
    point[:, :, 20, 20] = 1
    place = torch.arange(41.0) - 20
    spread = (gaussian(point, torch.tensor([1.5, 3.0]))[:, 0].sum(1) * place.square()).sum(1).sqrt()
    torch.testing.assert_close(spread, torch.tensor([1.5, 3.0]), rtol=0.02, atol=0)
    flat = torch.full((1, 1, 20, 20), 0.4)
    torch.testing.assert_close(gaussian(flat, torch.tensor([2.0])), flat)


def test_a_row_s_fault_does_not_depend_on_its_batch():
    whole = Degrade().by_row(batch(), seed=7)
    parts = torch.cat([Degrade().by_row(part, seed=7) for part in batch().split(2)])
    torch.testing.assert_close(whole["image"], parts["image"], atol=1e-5, rtol=0)
    assert not torch.equal(whole["image"], Degrade().by_row(batch(), seed=8)["image"])
    assert whole["label"].tolist() == [1] * 6 and whole["synthetic"].all()


def test_a_ladder_is_one_fault_at_rising_severities():
    worse, severity = Degrade(kinds=["low_signal"], second=0.0).ladder(images(), torch.Generator().manual_seed(0), 3)
    assert worse.shape == (3, 4, 3, 40, 40) and (severity.diff(dim=0) >= 0).all()
    light = worse.flatten(2).mean(2)
    assert (light.diff(dim=0) < 0).all() and (light[0] < images().flatten(1).mean(1)).all()


def test_all_kinds_are_drawn_and_unknown_ones_refused():
    seen = {float(v) for v in torch.linspace(0, 0.999, 70)}
    kinds = Degrade().kinds
    assert {int(v * len(kinds)) for v in seen} == set(range(len(kinds))) and set(kinds) == set(KINDS)
    with pytest.raises(RecipeError, match="no degradation 'blurr'.*did you mean 'blur'"):
        Degrade(kinds=["blurr"])
    with pytest.raises(RecipeError, match="severity lies in"):
        Degrade(severity=(0.0, 0.5))
