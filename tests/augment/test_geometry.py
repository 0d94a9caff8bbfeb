"""Properties of the geometry: maps, the crop's rejection rule, what stays visible (sheet: dr_grading, augmentation)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from scantling.augment import geometry
from scantling.augment.warp import warp

SCALE, RATIO = (0.87, 1.15), (0.7, 1.3)


def smooth(height: int, width: int, batch: int = 1, seed: int = 0) -> Tensor:
    """Images without detail, so that one resampling and three give almost the same; all values well above 0."""
    coarse = torch.rand(batch, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.7 * F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def apply(images: Tensor, steps: list[np.ndarray], fill: float = 0.0) -> Tensor:
    frames = geometry.compose(steps)
    shown = geometry.visible(frames, tuple(images.shape[-2:]))
    return warp(images, frames[0], shown, fill)[0]


def random_steps(batch: int, size: tuple[int, int], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    boxes, _ = geometry.crop_boxes(rng.random((batch, 11, 2)), size, SCALE, RATIO)
    return [
        geometry.flip_maps(rng.random(batch) < 0.5, rng.random(batch) < 0.5, size),
        geometry.crop_maps(boxes, size),
        geometry.rotation_maps(rng.uniform(-180, 180, batch), size),
        geometry.translation_maps(*np.rint(rng.uniform(-0.2, 0.2, (2, batch)) * 60)),
    ]


def test_the_nominal_crop_range_gives_a_weak_crop():
    draws = np.random.default_rng(0).random((200_000, 11, 2))
    _, single = geometry.crop_boxes(draws[:, [0, -1]], (512, 512), SCALE, RATIO)
    boxes, fitted = geometry.crop_boxes(draws, (512, 512), SCALE, RATIO)
    area = boxes[fitted, 2] * boxes[fitted, 3] / 512**2
    aspect = boxes[fitted, 3] / boxes[fitted, 2]
    assert single.mean() == pytest.approx(0.105, abs=0.003)
    assert fitted.mean() == pytest.approx(0.669, abs=0.005)
    assert area.mean() == pytest.approx(0.913, abs=0.002)
    assert area.min() >= 0.867 and area.max() <= 1
    assert aspect.min() == pytest.approx(0.87, abs=0.005)
    assert aspect.max() == pytest.approx(1.15, abs=0.005)
    assert (boxes[~fitted] == (0, 0, 512, 512)).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 512).all()


def test_the_place_of_a_crop_reaches_both_ends():
    boxes, fitted = geometry.crop_boxes(np.random.default_rng(1).random((20_000, 11, 2)), (64, 64), (0.5, 0.6), (1, 1))
    room = 64 - boxes[fitted, 2:]
    assert (boxes[fitted, :2] == 0).any(0).all()
    assert (boxes[fitted, :2] == room).any(0).all()


@pytest.mark.parametrize(("size", "box"), [((100, 300), (0, 85, 100, 130)), ((300, 100), (78, 0, 143, 100))])
def test_an_image_of_extreme_shape_falls_back_to_a_centred_box(size, box):
    boxes, fitted = geometry.crop_boxes(np.full((1, 11, 2), 0.999), size, (1.1, 1.2), RATIO)
    assert not fitted[0]
    assert tuple(boxes[0]) == box


def test_the_rejection_rule_is_that_of_torchvision():
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    image = torch.empty(1, 48, 64)
    theirs = np.array([RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(4000)])
    ours, _ = geometry.crop_boxes(np.random.default_rng(0).random((40_000, 11, 2)), (48, 64), SCALE, RATIO)
    for column in range(4):
        assert ours[:, column].mean() == pytest.approx(theirs[:, column].mean(), abs=4 * theirs[:, column].std() / 60)
    assert (ours[:, 2] == 48).mean() == pytest.approx((theirs[:, 2] == 48).mean(), abs=0.03)


def test_a_quarter_turn_is_exact_and_turns_as_pillow_does():
    images = torch.rand(2, 3, 32, 32)
    turned = apply(images, [geometry.rotation_maps(np.array([90.0, -90.0]), (32, 32))])
    torch.testing.assert_close(turned[0], torch.rot90(images[0], 1, (1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned[1], torch.rot90(images[1], -1, (1, 2)), atol=1e-5, rtol=0)
    pillow = Image.fromarray(images[0, 0].numpy()).rotate(90)
    torch.testing.assert_close(turned[0, 0], torch.from_numpy(np.array(pillow)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("degrees", [17.0, -60.0, 133.0])
def test_a_rotation_of_an_oblong_image_is_that_of_pillow(degrees):
    image = smooth(40, 60)[0, 0]
    ours = apply(image[None, None], [geometry.rotation_maps(np.array([degrees]), (40, 60))])[0, 0]
    pillow = torch.from_numpy(np.array(Image.fromarray(image.numpy()).rotate(degrees, Image.Resampling.BILINEAR)))
    both = (ours > 0) & (pillow > 0)
    assert ((ours > 0) == (pillow > 0)).float().mean() > 0.99
    assert (ours - pillow)[both].abs().max() < 0.01


def test_a_crop_is_the_enlarged_box():
    images = torch.rand(1, 3, 40, 40)
    ours = apply(images, [geometry.crop_maps(np.array([[4, 7, 30, 20]]), (40, 40))])
    enlarged = F.interpolate(images[:, :, 4:34, 7:27], (40, 40), mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], enlarged[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


def test_a_translation_moves_whole_pixels():
    images = torch.rand(1, 3, 20, 30)
    moved = apply(images, [geometry.translation_maps(np.array([4.0]), np.array([-3.0]))])
    torch.testing.assert_close(moved[..., :-3, 4:], images[..., 3:, :-4], atol=1e-5, rtol=0)
    assert (moved[..., -3:, :] == 0).all()
    assert (moved[..., :4] == 0).all()


@pytest.mark.parametrize("size", [(48, 48), (40, 64)])
def test_one_resampling_equals_step_by_step(size):
    images = smooth(*size, batch=12)
    steps = random_steps(12, size, seed=3)
    slowly = images
    for step in steps:
        slowly = apply(slowly, [step])
    at_once = apply(images, steps)
    edge = F.max_pool2d((slowly == 0).float(), 5, 1, 2) > 0
    assert ((at_once == 0) == (slowly == 0)).float().mean() > 0.99
    assert (at_once - slowly)[~edge].abs().max() < 0.03


def test_what_a_rotation_pushed_out_does_not_come_back():
    images = torch.ones(1, 1, 64, 64)
    turn = geometry.rotation_maps(np.array([45.0]), (64, 64))
    move = geometry.translation_maps(np.array([16.0]), np.array([0.0]))
    out = apply(images, [turn, move])[0, 0]
    assert out[32, :16].sum() == 0
    assert out[0, 48] == 1
    assert out[0, 16] == 0
    back = apply(images, [turn, geometry.rotation_maps(np.array([-45.0]), (64, 64))])[0, 0]
    assert back[0, 0] == back[63, 63] == 0
    assert back[32, 32] == pytest.approx(1)
    assert back.mean() == pytest.approx(2 * (math.sqrt(2) - 1), abs=0.01)


def test_visible_columns_are_the_pixels_inside_every_frame():
    size = (24, 36)
    frames = geometry.compose(random_steps(200, size, seed=5))
    shown = geometry.visible(frames, size)
    y, x = np.meshgrid(np.arange(24) + 0.5, np.arange(36) + 0.5, indexing="ij")
    points = np.stack([x, y, np.ones_like(x)], -1)
    inside = np.ones((200, *size), dtype=bool)
    for frame in frames:
        at = np.einsum("bij,hwj->bhwi", frame, points)
        inside &= ((at[..., :2] > -1e-6) & (at[..., :2] < np.array([36, 24]) + 1e-6)).all(-1)
    columns = np.arange(36)
    found = (columns >= shown.left[..., None]) & (columns < shown.right[..., None])
    assert (found == inside).all()
    for row, seen in zip(shown.box, inside, strict=True):
        ys, xs = seen.nonzero()
        expected = (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1) if len(ys) else (0, 0, 0, 0)
        assert tuple(row) == expected


def test_an_image_moved_out_of_sight_leaves_only_the_fill():
    out = apply(torch.rand(1, 3, 8, 8), [geometry.translation_maps(np.array([9.0]), np.array([0.0]))], fill=0.25)
    assert (out == 0.25).all()


def test_mirrored_tells_plain_flips_from_everything_else():
    choices = np.array([False, True, False, True]), np.array([False, False, True, True])
    flips = geometry.flip_maps(*choices, (6, 9))
    assert geometry.mirrored(flips, (6, 9)).tolist() == [0, 1, 2, 3]
    moved = geometry.translation_maps(np.full(4, 1.0), np.zeros(4)) @ flips
    assert geometry.mirrored(moved, (6, 9)).tolist() == [-1] * 4
