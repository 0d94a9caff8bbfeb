"""Properties of the fixed policies (sheet: dr_grading, augmentation table)."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from scantling.augment import FixedPolicy, NoPolicy, apply
from scantling.augment.fixed import PRESETS
from scantling.augment.plan import OPERATIONS, plan
from scantling.core.errors import RecipeError

OFF = {
    "horizontal_flip": 0.0,
    "vertical_flip": 0.0,
    "colour_probability": 0.0,
    "crop_probability": 0.0,
    "rotation_probability": 0.0,
    "translation_probability": 0.0,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(
    n: int = 8, size: tuple[int, int] = (32, 32), channels: int = 3, seed: int = 0, **fields: Tensor
) -> TensorDict:
    images = torch.rand(n, channels, *size, generator=seeded(seed))
    return TensorDict({"image": images, "index": torch.arange(n), **fields}, batch_size=[n])


def augmented(policy: FixedPolicy, batch: TensorDict, seed: int = 0) -> Tensor:
    return policy(batch, seeded(seed))["image"]


@pytest.mark.parametrize("size", [(32, 32), (20, 36)])
def test_with_every_probability_at_zero_nothing_changes(size):
    batch = batch_of(size=size, mask=torch.randint(-1, 4, (8, *size)))
    out = FixedPolicy(**OFF)(batch, seeded())
    assert all(torch.equal(out[name], batch[name]) for name in batch.keys())


@pytest.mark.parametrize(
    "zero", [{"order": ()}, {"rotation": 0.0, "translation": 0.0, "brightness": 0.0, "contrast": 0.0}]
)
def test_strength_zero_or_no_place_in_the_order_changes_nothing_either(zero):
    on = {**OFF, "colour_probability": 1.0, "rotation_probability": 1.0, "translation_probability": 1.0}
    batch = batch_of()
    assert torch.equal(augmented(FixedPolicy(**{**on, **zero}), batch), batch["image"])


@pytest.mark.parametrize(("flip", "axis"), [("horizontal_flip", -1), ("vertical_flip", -2)])
def test_a_flip_keeps_every_value_exactly(flip, axis):
    batch = batch_of(size=(20, 36), mask=torch.randint(0, 4, (8, 20, 36)))
    out = FixedPolicy(**{**OFF, flip: 1.0})(batch, seeded())
    assert torch.equal(out["image"], batch["image"].flip(axis))
    assert torch.equal(out["mask"], batch["mask"].flip(axis))


def test_flips_are_drawn_for_each_sample_with_their_probability():
    batch = batch_of(4000, size=(2, 2))
    out = augmented(FixedPolicy(**{**OFF, "horizontal_flip": 0.3}), batch)
    flipped = (out == batch["image"].flip(-1)).flatten(1).all(1)
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (flipped | (out == batch["image"]).flatten(1).all(1)).all()


def test_an_empty_batch_stays_empty():
    assert augmented(FixedPolicy(), batch_of()[:0]).shape == (0, 3, 32, 32)


def test_uint8_images_are_converted_in_passing():
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    whole = TensorDict({"image": pixels}, batch_size=[8])
    parts = TensorDict({"image": pixels.float() / 255}, batch_size=[8])
    torch.testing.assert_close(augmented(FixedPolicy(), whole), augmented(FixedPolicy(), parts), atol=2e-6, rtol=0)
    extremes = FixedPolicy(**OFF)(TensorDict({"image": pixels * 0 + 255}, batch_size=[8]), seeded())["image"]
    assert (extremes == 1).all()
    assert torch.equal(NoPolicy()(whole, seeded())["image"], parts["image"])


def test_image_and_mask_move_together():
    blobs = F.interpolate(torch.rand(24, 4, 5, 5, generator=seeded(1)), (96, 96), mode="bicubic").argmax(1)
    mask = torch.where(torch.rand(24, 1, 1, generator=seeded(2)) < 0.2, -1, blobs)
    coded = torch.stack([(blobs == c).float() for c in range(3)], 1) * 0.8 + 0.2
    batch = TensorDict({"image": coded, "mask": blobs, "other": mask}, batch_size=[24])
    out = FixedPolicy(colour_probability=0.0)(batch, seeded())
    pixels, classes = out["image"], out["mask"]
    assert torch.equal(classes == -1, (pixels == 0).all(1))
    assert 0.1 < (classes == -1).float().mean() < 0.5
    present = ((pixels - 0.2) / 0.8).clamp(0, 1)
    decoded = torch.cat([present, 1 - present.sum(1, keepdim=True)], 1).argmax(1)
    seen = classes >= 0
    assert (decoded == classes)[seen].float().mean() > 0.99
    assert classes.dtype == torch.int64
    assert set(classes.unique().tolist()) <= {-1, 0, 1, 2, 3}


def test_unknown_mask_pixels_stay_unknown():
    mask = torch.full((8, 32, 32), -1)
    assert (FixedPolicy()(batch_of(mask=mask), seeded())["mask"] == -1).all()


def test_pixels_that_show_nothing_take_the_fill():
    batch = TensorDict({"image": torch.full((8, 3, 32, 32), 0.9)}, batch_size=[8])
    out = augmented(FixedPolicy(colour_probability=0.0, fill=0.25), batch)
    near = torch.stack([(out - 0.25).abs(), (out - 0.9).abs()]).amin(0)
    assert near.max() < 1e-6
    assert 0.1 < (out == 0.25).float().mean() < 0.5


STRONG = {
    "brightness": 1.0,
    "contrast": 3.0,
    "saturation": 2.0,
    "hue": 0.5,
    "grayscale": 0.3,
    "blur_probability": 0.5,
    "order": OPERATIONS,
}


@pytest.mark.parametrize("strong", [{}, STRONG])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_stay_between_0_and_1(strong, channels):
    batch = batch_of(16, channels=channels)
    out = augmented(FixedPolicy(**strong), batch)
    assert out.min() >= 0
    assert out.max() <= 1
    assert out.shape == batch["image"].shape
    assert out.dtype == torch.float32


def test_brightness_is_a_factor_in_its_range_and_one_for_the_sample():
    batch = TensorDict({"image": torch.full((2000, 3, 2, 2), 0.5)}, batch_size=[2000])
    out = augmented(FixedPolicy(**{**OFF, "colour_probability": 1.0, "contrast": 0.0}), batch) / 0.5
    factor = out[:, 0, 0, 0]
    assert torch.equal(out, factor.view(-1, 1, 1, 1).expand_as(out))
    assert 0.8 <= factor.min() < 0.81
    assert 1.19 < factor.max() <= 1.2
    assert factor.mean().item() == pytest.approx(1.0, abs=0.01)


def test_colour_is_drawn_for_some_samples_only():
    batch = batch_of(400, size=(4, 4))
    policy = FixedPolicy(**{**OFF, "colour_probability": 0.25})
    same = (augmented(policy, batch) == batch["image"]).flatten(1).all(1)
    assert same.float().mean().item() == pytest.approx(0.75, abs=0.07)


def test_colour_before_and_after_a_crop_differ_only_in_the_mean():
    coarse = torch.rand(8, 3, 5, 5, generator=seeded(3))
    smooth = 0.35 + 0.3 * F.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)
    batch = TensorDict({"image": smooth}, batch_size=[8])
    settings = {**OFF, "horizontal_flip": 0.5, "crop_probability": 1.0, "colour_probability": 1.0, "contrast": 0.9}
    settings["crop_scale"] = (0.3, 0.5)
    before = augmented(FixedPolicy(**settings, order=("flip", "colour", "crop")), batch)
    after = augmented(FixedPolicy(**settings, order=("flip", "crop", "colour")), batch)
    slowly = FixedPolicy(**{**settings, "colour_probability": 0.0})(batch, seeded())
    only_colour = FixedPolicy(**{**settings, "horizontal_flip": 0.0, "crop_probability": 0.0}, order=("colour",))
    torch.testing.assert_close(after, augmented(only_colour, slowly), atol=0.004, rtol=0)
    assert (before - after).abs().max() > 0.01
    assert not torch.equal(before, after)


def test_grey_copies_have_three_equal_channels():
    out = augmented(FixedPolicy(**OFF, grayscale=1.0, order=("grayscale",)), batch_of())
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])


def test_the_same_generator_gives_the_same_batch_and_another_one_does_not():
    policy, batch = FixedPolicy(), batch_of()
    assert torch.equal(augmented(policy, batch), augmented(FixedPolicy(), batch))
    assert not torch.equal(augmented(policy, batch), augmented(policy, batch, seed=1))
    generator = seeded()
    assert not torch.equal(policy(batch, generator)["image"], policy(batch, generator)["image"])


@pytest.mark.parametrize("size", [32, 384])
def test_a_sample_does_not_depend_on_what_else_the_batch_holds(size):
    long, policy = batch_of(5, size=(size, size)), FixedPolicy(saturation=0.1)
    short = long[:3].clone()
    torch.testing.assert_close(augmented(policy, long)[:3], augmented(policy, short), atol=1e-5, rtol=0)
    other = long.clone()
    other["image"][3:] = 0
    torch.testing.assert_close(augmented(policy, long)[:3], augmented(policy, other)[:3], atol=1e-5, rtol=0)


def test_the_number_of_threads_and_of_images_at_a_time_changes_nothing(monkeypatch):
    policy, batch = FixedPolicy(saturation=0.1, hue=0.05), batch_of(6, size=(320, 320))
    expected = augmented(policy, batch)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(augmented(policy, batch), expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(apply, "CACHED_VALUES", 2**30)
    torch.testing.assert_close(augmented(policy, batch), expected, atol=1e-5, rtol=0)


def test_switching_one_operation_does_not_move_the_others():
    batch = batch_of(16)
    whole, without = FixedPolicy(), FixedPolicy(colour_probability=0.0)
    shown = [augmented(policy, batch) != 0 for policy in (whole, without)]
    assert (shown[0] == shown[1]).float().mean() > 0.99


def test_a_fellow_image_is_augmented_by_its_own_numbers():
    batch = batch_of()
    both = TensorDict({**batch, "fellow_image": batch["image"].clone()}, batch_size=[8])
    out = FixedPolicy()(both, seeded())
    assert torch.equal(out["image"], augmented(FixedPolicy(), batch))
    differs = (out["image"] != out["fellow_image"]).flatten(1).any(1)
    assert differs.all()
    both["image"].zero_()
    assert torch.equal(FixedPolicy()(both, seeded())["fellow_image"], out["fellow_image"])


def test_the_input_and_other_fields_are_untouched_and_results_stay():
    batch = batch_of(4, size=(512, 512))
    before = batch.clone()
    policy = FixedPolicy()
    first = policy(batch, seeded())
    kept = first["image"].clone()
    policy(batch, seeded(1))
    policy(batch, seeded(2))
    assert torch.equal(first["image"], kept)
    assert all(torch.equal(batch[name], before[name]) for name in ("image", "index"))
    assert torch.equal(first["index"], batch["index"])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_need_one_resampling(name):
    policy = FixedPolicy.preset(name)
    assert [step.name for step in plan(policy.settings.order)].count("warp") == 1
    assert augmented(policy, batch_of()).shape == (8, 3, 32, 32)


def test_presets_are_the_published_ones():
    old, mid, new, fusion = (
        FixedPolicy.preset(f"dr_{n}").settings for n in ("2021_12", "2022_03", "2022_10", "fusion")
    )
    assert (old.crop_probability, old.translation_probability, old.hue) == (0.0, 1.0, 0.0)
    assert (mid.saturation, mid.hue, mid.translation_probability) == (0.1, 0.1, 0.0)
    assert new == FixedPolicy().settings
    assert new.order.index("colour") < new.order.index("crop")
    assert all(s.order.index("crop") < s.order.index("colour") for s in (old, mid, fusion))
    with pytest.raises(RecipeError, match="dr_2022_10"):
        FixedPolicy.preset("dr_2022_1")


def test_colour_between_geometric_operations_works_in_its_place():
    batch = TensorDict({"image": torch.full((4, 3, 32, 32), 0.5)}, batch_size=[4])
    settings = {
        **OFF,
        "rotation_probability": 1.0,
        "translation_probability": 1.0,
        "colour_probability": 1.0,
        "contrast": 0.9,
    }
    turned_first = augmented(FixedPolicy(**settings, order=("rotate", "colour", "translate")), batch)
    assert ((turned_first > 0) & (turned_first < 0.45)).any()
    assert (turned_first == 0).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizontal_flip": 1.5},
        {"brightness": -0.1},
        {"hue": 0.7},
        {"rotation": float("nan")},
        {"crop_scale": (1.1, 0.9)},
        {"crop_ratio": (0.0, 1.0)},
        {"order": ("flip", "flip")},
        {"order": ("color",)},
        {"grayscale": 0.5},
        {"fill": 2.0},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(RecipeError):
        FixedPolicy(**wrong)


def test_an_unknown_operation_is_corrected():
    with pytest.raises(RecipeError, match="did you mean 'colour'"):
        FixedPolicy(order=("flip", "color"))


def test_settings_come_from_a_recipe(tmp_path):
    from jsonargparse import ArgumentParser

    path = tmp_path / "policy.yaml"
    path.write_text("policy: {crop_scale: [0.5, 1.0], order: [crop, colour], rotation: 10}\n")
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(FixedPolicy, "policy")
    policy = parser.instantiate_classes(parser.parse_args(["--config", str(path), "--policy.hue=0.1"])).policy
    assert policy.settings.crop_scale == (0.5, 1.0)
    assert policy.settings.order == ("crop", "colour")
    assert (policy.settings.rotation, policy.settings.hue) == (10, 0.1)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])  # noqa: S301
def test_a_policy_can_be_copied_and_sent(again):
    policy, batch = FixedPolicy(), batch_of(4, size=(512, 512))
    expected = augmented(policy, batch)
    assert torch.equal(augmented(again(policy), batch), expected)


def test_it_works_in_inference_mode_on_several_threads():
    policy, batch = FixedPolicy(), batch_of(4, size=(320, 320))
    expected = augmented(policy, batch)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with torch.inference_mode():
            assert torch.equal(augmented(policy, batch), expected)
        assert torch.equal(augmented(policy, batch), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_augmentation():
    policy, batch = FixedPolicy(saturation=0.1, hue=0.05), batch_of(6, size=(96, 96))
    on_gpu = policy(batch.to("cuda"), seeded())["image"].cpu()
    assert ((on_gpu - augmented(policy, batch)).abs() < 1e-3).float().mean() > 0.999


def test_a_map_moves_with_its_image_keeps_its_values_and_is_empty_outside():
    dots = torch.zeros(8, 1, 32, 32)
    dots[:, :, 10:22, 14:20] = 1.0
    batch = batch_of(image=dots.expand(-1, 3, -1, -1), saliency=dots)
    out = FixedPolicy(colour_probability=0.0)(batch, seeded())
    torch.testing.assert_close(out["saliency"], out["image"][:, :1])
    coloured = FixedPolicy(**{**OFF, "colour_probability": 1.0}, brightness=0.9)(batch, seeded())
    assert torch.equal(coloured["saliency"], dots) and not torch.equal(coloured["image"], batch["image"])
    bright = FixedPolicy(**{**OFF, "translation_probability": 1.0}, translation=0.4, fill=1.0)
    moved = bright(batch_of(saliency=torch.ones(8, 1, 32, 32)), seeded())["saliency"]
    assert set(moved.unique().tolist()) == {0.0, 1.0}


def test_an_8_bit_map_comes_out_as_shares():
    whole = torch.full((8, 1, 32, 32), 255, dtype=torch.uint8)
    assert torch.equal(FixedPolicy(**OFF)(batch_of(saliency=whole), seeded())["saliency"], torch.ones(8, 1, 32, 32))
