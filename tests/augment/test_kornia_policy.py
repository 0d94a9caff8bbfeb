"""Kornia's operations as a policy."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from scantling.augment import KorniaPolicy
from scantling.core.errors import RecipeError

MOVES = [{"RandomAffine": {"degrees": 40.0, "translate": [0.1, 0.1], "p": 1.0}}, {"RandomHorizontalFlip": {"p": 0.5}}]


def batch(size: int = 48) -> TensorDict:
    """Images that encode their mask: a bright disc on black."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    disc = (((y - 18) ** 2 + (x - 28) ** 2) < 100).long().expand(4, size, size).clone()
    return TensorDict({"image": disc[:, None].float().expand(-1, 3, -1, -1).clone(), "mask": disc}, batch_size=[4])


def run(seed: int, operations=MOVES) -> TensorDict:
    return KorniaPolicy(operations)(batch(), torch.Generator().manual_seed(seed))


def test_the_mask_moves_with_its_image_and_unknown_lies_outside():
    out = run(0)
    inside = out["mask"] >= 0
    agree = ((out["image"][:, 0] > 0.5) == (out["mask"] == 1))[inside].float().mean()
    assert agree > 0.99
    assert (out["mask"] == -1).any()
    assert not torch.equal(out["mask"], batch()["mask"])


def test_the_generator_decides_and_the_global_one_stays():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert torch.equal(run(3)["image"], run(3)["image"])
    assert not torch.equal(run(3)["image"], run(4)["image"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_operation_or_setting_is_named():
    with pytest.raises(RecipeError, match="did you mean 'RandomHorizontalFlip'"):
        KorniaPolicy([{"RandomHorizontalFlp": None}])
    with pytest.raises(RecipeError, match="RandomHorizontalFlip"):
        KorniaPolicy([{"RandomHorizontalFlip": {"chance": 1.0}}])
    with pytest.raises(RecipeError, match="no operation"):
        KorniaPolicy([])


def test_a_map_moves_like_the_mask():
    given = batch()
    given["saliency"] = given["mask"][:, None].float()
    out = KorniaPolicy(MOVES)(given, torch.Generator().manual_seed(0))
    assert torch.equal(out["saliency"][:, 0] > 0.5, out["mask"] == 1)
