"""Policies draw what they say, image for image, and treat a batch's fields alike."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.augment.operations import ALL
from scantling.augment.policy import (
    OPERATIONS,
    BigAug,
    PolicySpec,
    RandAugment,
    RandomPolicy,
    SearchedPolicy,
    TrivialAugment,
    apply_codes,
)
from scantling.augment.policy.base import OperationPolicy
from scantling.augment.policy.rand_augment import STANDARD
from scantling.core.errors import RecipeError

SPEC = PolicySpec(((("invert", 0),), (("brightness", 0), ("posterize", 3))))
POLICIES = [SearchedPolicy(SPEC), RandomPolicy(), RandAugment(), TrivialAugment(), BigAug()]
IDS = [type(p).__name__ for p in POLICIES]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(n: int = 16, size: tuple[int, int] = (32, 32), **fields: Tensor) -> TensorDict:
    images = torch.randint(0, 256, (n, 3, *size), generator=seeded()).to(torch.uint8)
    return TensorDict({"image": images, "index": torch.arange(n), **fields}, batch_size=[n])


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
def test_the_generator_alone_decides(policy):
    batch = batch_of(mask=torch.randint(0, 2, (16, 32, 32)))
    one, same, other = (policy(batch, seeded(s)) for s in (3, 3, 4))
    assert all(torch.equal(one[k], same[k]) for k in batch.keys())
    assert not torch.equal(one["image"], other["image"])
    assert one["image"].dtype == torch.float32
    assert batch["image"].dtype == torch.uint8
    assert torch.equal(one["index"], batch["index"])


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
def test_masks_and_maps_move_with_the_image_and_fellows_alone(policy):
    blocks = torch.zeros(24, 32, 32, dtype=torch.int64)
    blocks[:, 8:24, 6:20] = 1
    maps = (blocks * 255).to(torch.uint8)[:, None]
    batch = batch_of(24, mask=blocks, saliency=maps, fellow_image=batch_of(24)["image"])
    out = policy(batch, seeded())
    seen = out["mask"] >= 0
    assert out["saliency"].dtype == torch.float32
    assert ((out["saliency"][:, 0] > 0.5) == (out["mask"] == 1))[seen].float().mean() > 0.97
    assert (out["saliency"][:, 0][~seen] == 0).all()
    assert not torch.equal(out["fellow_image"], out["image"])
    assert torch.equal(batch["mask"], blocks)


@pytest.mark.parametrize("policy", [SearchedPolicy(SPEC, (1.0, 1.0)), RandomPolicy(scale_range=(1.0, 1.0))])
def test_without_a_crop_masks_are_untouched_bit_by_bit(policy):
    masks = torch.randint(-1, 3, (16, 32, 32), generator=seeded())
    assert torch.equal(policy(batch_of(mask=masks), seeded())["mask"], masks)


def test_each_image_gets_exactly_one_sub_policy_as_often_as_its_weight_says():
    batch = batch_of(2000, (4, 4))
    policy = SearchedPolicy(PolicySpec(SPEC.subpolicies, (3.0, 1.0)), (1.0, 1.0))
    out = policy(batch, seeded())["image"]
    inverted = apply_codes(batch["image"], torch.full((2000, 1), 1), torch.zeros(2000, 1).long(), seeded())
    dark = torch.tensor([[OPERATIONS.index("brightness"), OPERATIONS.index("posterize")]]).expand(2000, -1)
    darkened = apply_codes(batch["image"], dark, torch.tensor([[0, 3]]).expand(2000, -1), seeded())
    first, second = ((out == x).flatten(1).all(1) for x in (inverted, darkened))
    assert (first ^ second).all()
    assert first.float().mean().item() == pytest.approx(0.75, abs=0.04)


def test_a_weight_of_zero_is_never_drawn():
    policy = SearchedPolicy(PolicySpec(SPEC.subpolicies, (0.0, 1.0)), (1.0, 1.0))
    drawn, _ = policy.draw(5000, (4, 4), seeded())
    assert (drawn.operations[:, 0] == drawn.space.index("brightness")).all()


def test_a_crop_gives_images_and_masks_of_its_size():
    batch = batch_of(mask=torch.zeros(16, 32, 32, dtype=torch.int64), fellow_image=batch_of()["image"])
    out = SearchedPolicy(SPEC, (0.5, 2.0), 20)(batch, seeded())
    assert (out["image"].shape[-2:], out["mask"].shape[-2:], out["fellow_image"].shape[-2:]) == ((20, 20),) * 3


def test_a_random_policy_draws_operations_and_magnitudes_uniformly():
    drawn, _ = RandomPolicy(3).draw(4000, (4, 4), seeded())
    shares = torch.bincount(drawn.operations.flatten(), minlength=10) / drawn.operations.numel()
    torch.testing.assert_close(shares, torch.full((10,), 0.1), atol=0.015, rtol=0)
    factors = drawn.values[drawn.operations == OPERATIONS.index("contrast")]
    assert factors.unique().numel() == 10


def test_rand_augment_has_one_strength_and_the_identity():
    drawn, frame = RandAugment(2, 9).draw(4000, (4, 4), seeded())
    assert frame is None
    assert drawn.space == STANDARD
    assert (drawn.operations == -1).float().mean().item() == pytest.approx(1 / 14, abs=0.01)
    bright = drawn.values[drawn.operations == STANDARD.index("brightness")]
    assert sorted(set(bright.round(decimals=6).tolist())) == [0.1, 1.9]
    assert set(drawn.values[drawn.operations == STANDARD.index("solarize")].tolist()) == {0.0}
    assert set(drawn.values[drawn.operations == STANDARD.index("posterize")].tolist()) == {4.0}


def test_rand_augment_of_strength_zero_leaves_only_operations_without_strength():
    batch = batch_of(200, (40, 40))
    drawn, _ = RandAugment(1, 0).draw(200, (40, 40), seeded())
    out = RandAugment(1, 0)(batch, seeded())["image"]
    same = (out == batch["image"].float() / 255).flatten(1).all(1)
    without = torch.isin(
        drawn.operations[:, 0], torch.tensor([STANDARD.index(n) for n in ("auto_contrast", "equalize")])
    )
    assert same[~without].all()
    assert not same[drawn.operations[:, 0] == STANDARD.index("equalize")].any()


def test_trivial_augment_has_one_operation_and_every_strength():
    drawn, _ = TrivialAugment().draw(6000, (4, 4), seeded())
    assert drawn.operations.shape == (6000, 1)
    degrees = drawn.values[drawn.operations == STANDARD.index("rotate")]
    torch.testing.assert_close(degrees.unique(), torch.arange(10) * 30 / 9, check_dtype=False)


def test_the_deep_stack_is_nothing_with_probability_zero_and_keeps_its_ranges():
    batch = batch_of(mask=torch.randint(-1, 3, (16, 32, 32)))
    out = BigAug(probability=0.0)(batch, seeded())
    torch.testing.assert_close(out["image"], batch["image"].float() / 255, atol=1e-5, rtol=0)
    assert torch.equal(out["mask"], batch["mask"])
    drawn, frame = BigAug(probability=1.0).draw(500, (32, 32), seeded())
    assert (drawn.operations == torch.arange(6)).all()
    assert drawn.values[:, drawn.space.index("gamma")].min() >= 0.5
    assert drawn.values[:, drawn.space.index("gamma")].max() <= 2.0
    assert frame.shifts is not None
    assert frame.shifts.abs().max() < 0.05


def test_values_that_are_added_keep_their_sign_in_the_deep_stack():
    policy = BigAug(1.0, (1, 1), (0.001, 0.001), (0, 0), (0.1, 0.1), (1, 1), (1, 1), (0, 0), (1, 1), 0.0)
    grey = TensorDict({"image": torch.full((30, 3, 8, 8), 100, dtype=torch.uint8)}, batch_size=[30])
    torch.testing.assert_close(
        policy(grey, seeded())["image"] * 255, torch.full((30, 3, 8, 8), 126.0), atol=0.6, rtol=0
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RandAugment(magnitude=10),
        lambda: RandAugment(num_ops=0),
        lambda: RandomPolicy(operations=()),
        lambda: TrivialAugment(operations=("rotat",)),
        lambda: BigAug(probability=1.5),
        lambda: BigAug(zoom=(0.0, 1.0)),
        lambda: BigAug(gamma=(2.0, 1.0)),
        lambda: SearchedPolicy("/nowhere"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(RecipeError):
        wrong()


def test_every_policy_is_one_of_operations():
    assert all(isinstance(p, OperationPolicy) for p in POLICIES)
    assert set(STANDARD) < set(ALL)
