"""Properties of what FPT stores of every image (sheets: fpt, fpt_plus)."""

import copy
import json
import math
import pickle

import pytest
import torch
from torch.nn import functional as F

from scantling.adapt.fpt.features import KEY_SCALES, VALUE_SCALES, FrozenFeatures, chosen_blocks, stored
from scantling.core.batch import FROZEN_KEYS, FROZEN_VALUES
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.attention_taps import tap
from scantling.nets.frozen import find_frozen, frozen_body

SEEN = Inputs(size=(64, 64))
DTYPES = ["float32", "float16", "bfloat16", "int8"]


def photographs(count: int = 3, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def features(inputs: Inputs = SEEN, backbone: str = "test_vit", **settings) -> FrozenFeatures:
    return FrozenFeatures(backbone, "none", inputs, **{"ratio": 0.5, "dtype": "float32", **settings})


def mebibytes(derivation: FrozenFeatures) -> float:
    """Of one stored image."""
    rows = derivation.fields(3).values()
    return sum(math.prod(shape) * getattr(torch, dtype).itemsize for dtype, shape in rows) / 2**20


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("views", [("identity",), ("identity", "both", "vertical")])
def test_fields_are_foretold(dtype, views):
    derivation = features(dtype=dtype, views=views)
    found = derivation(photographs())
    assert {n: (str(t.dtype)[6:], tuple(t.shape[1:])) for n, t in found.items()} == derivation.fields(3)
    assert found[FROZEN_KEYS].shape == (3, len(views), 3, 2, 8, 32)


def test_sizes_of_the_sheets():
    large = Inputs(size=(512, 512))

    def size(**settings):
        return mebibytes(FrozenFeatures("vit_base_patch16_384", "none", large, **settings))

    plus = FrozenFeatures("vit_base_patch16_384", "none", large, dtype="float32")
    assert plus.row == (6, 12, 205, 64) and plus.blocks == (6, 7, 8, 9, 10, 11)
    assert mebibytes(plus) * 2**20 == 7_557_120
    assert size(dtype="float32", blocks="all") * 2**20 == 15_114_240
    assert size() == mebibytes(plus) / 2
    assert size(dtype="int8") == pytest.approx(1.8, abs=0.01)


def test_they_are_the_taps_of_the_standardised_image():
    derivation = features(blocks=[1, 4])
    body = frozen_body(find_frozen("test_vit", "none"), SEEN)
    images = photographs().float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SEEN.mean, SEEN.std))
    taps = tap(body, (images - mean) / std, [1, 4], lambda i, b: i.topk(8).indices.sort().values)
    found = derivation(photographs())
    torch.testing.assert_close(found[FROZEN_KEYS][:, 0], taps.keys, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[FROZEN_VALUES][:, 0], taps.values, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("view", "axes"), [("horizontal", [-1]), ("vertical", [-2]), ("both", [-1, -2])])
def test_a_stored_mirrored_form_is_that_of_the_mirrored_image(view, axes):
    inputs = Inputs(size=(64, 96))
    pixels = photographs(size=(64, 96))
    found = features(inputs, views=("identity", view))(pixels)
    mirrored = features(inputs)(pixels.flip(axes))
    for name in (FROZEN_KEYS, FROZEN_VALUES):
        assert torch.equal(found[name][:, 1], mirrored[name][:, 0])
        assert not torch.equal(found[name][:, 1], found[name][:, 0])


def test_eight_bits_are_within_half_a_step_of_each_head():
    tensor = torch.randn(2, 3, 4, 9, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 9, 0.1, 0])[
        :, None, None]  # fmt: skip
    kept, scales = stored(tensor, "int8")
    assert kept.dtype == torch.int8 and scales.shape == (2, 3, 4)
    assert ((kept * scales[..., None, None] - tensor).abs() <= scales[..., None, None] * 0.5001).all()
    assert (kept.abs().amax((-1, -2))[..., :3] == 127).all() and not kept[..., 3, :, :].any()
    found = features(dtype="int8")(photographs())
    exact = features()(photographs())
    for name, scale in ((FROZEN_KEYS, KEY_SCALES), (FROZEN_VALUES, VALUE_SCALES)):
        close = found[name] * found[scale][..., None, None]
        assert (close - exact[name]).abs().max() <= 0.51 * found[scale].max()


def test_settings_are_plain_and_change_with_whatever_changes_the_result():
    variants = [
        features(), features(blocks="all"), features(ratio=0.4), features(rule="class_token"), features(dtype="int8"),
        features(views=("identity", "horizontal")), features(compute="bf16"), features(Inputs(size=(96, 64))),
        features(Inputs(size=(64, 64), mean=(0.5,) * 3)), features(Inputs(size=(64, 64), std=(0.5,) * 3)),
        features(backbone="test_vit3"),
    ]  # fmt: skip
    texts = [json.dumps(v.settings, sort_keys=True) for v in variants]
    assert len(set(texts)) == len(variants)
    assert json.dumps(features().settings, sort_keys=True) == texts[0]
    assert variants[0].settings["weights"] == find_frozen("test_vit", "none").hash


def test_detail_that_a_smaller_image_loses_changes_the_features():
    pixels = photographs()
    degraded = F.interpolate(pixels.float(), scale_factor=0.25, mode="area")
    degraded = F.interpolate(degraded, size=(64, 64), mode="bilinear").round().to(torch.uint8)
    sharp, dull = (features()(images)[FROZEN_KEYS] for images in (pixels, degraded))
    assert (sharp - dull).abs().mean() > 0.1 * sharp.abs().mean()


def test_mixed_precision_stays_close_and_ignores_an_outer_autocast():
    exact = features()
    close = features(compute="bf16", ratio=1.0)(photographs())
    whole = features(ratio=1.0)(photographs())
    assert (close[FROZEN_KEYS] - whole[FROZEN_KEYS]).abs().mean() < 0.02 * whole[FROZEN_KEYS].abs().mean()
    assert not torch.equal(close[FROZEN_KEYS], whole[FROZEN_KEYS])
    found = exact(photographs())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(exact(photographs())[FROZEN_KEYS], found[FROZEN_KEYS])


def test_nothing_is_loaded_before_it_is_needed_and_copies_do_not_carry_the_network():
    derivation = features(backbone="test_vit3", ratio=0.2)
    assert derivation._network is None
    derivation(photographs(1))
    assert derivation._network is not None
    for other in (copy.deepcopy(derivation), pickle.loads(pickle.dumps(derivation))):  # noqa: S301 (our own bytes)
        assert other._network is None
        assert torch.equal(other(photographs(1))[FROZEN_KEYS], derivation(photographs(1))[FROZEN_KEYS])


def test_features_need_no_gradient_and_the_frozen_network_has_none():
    derivation = features()
    found = derivation(photographs())
    assert not any(t.requires_grad for t in found.values())
    assert not any(p.requires_grad for p in derivation._network[2].parameters())


def test_words_for_blocks():
    assert chosen_blocks("all", 5) == (0, 1, 2, 3, 4)
    assert chosen_blocks("last_half", 5) == (3, 4)
    assert chosen_blocks("last_half", 1) == (0,)
    assert chosen_blocks([0, 3], 5) == (0, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"blocks": "half"}, {"blocks": [6]}, {"blocks": [2, 1]}, {"blocks": []}, {"blocks": [-1]}, {"ratio": 0.0},
        {"ratio": 1.5}, {"rule": "best"}, {"dtype": "float64"}, {"views": ("horizontal",)},
        {"views": ("identity", "identity")}, {"views": ("identity", "mirror")}, {"compute": "fp16"},
        {"backbone": "resnet10t"}, {"backbone": "vit_none"},
        {"backbone": "vit_relpos_small_patch16_224", "rule": "class_token"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_at_once(wrong):
    with pytest.raises(RecipeError):
        features(**wrong)
