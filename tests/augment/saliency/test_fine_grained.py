"""Properties of fine-grained saliency (sheet: spmix, method 1): the definition itself, signs, constants, sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from scantling.augment.saliency.fine_grained import SCALES, FineGrained, _window_sums, fine_grained
from scantling.augment.saliency.grey import grey
from scantling.core.errors import RecipeError


def reference(levels: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel, in whole numbers and double precision; ``levels (H, W)`` in 0 ... 255."""
    g = levels.astype(np.int64)
    for _ in range(2):
        wide = np.pad(g, 1, mode="reflect")
        weights = np.outer([1, 2, 1], [1, 2, 1])
        rows, columns = g.shape
        total = sum(weights[i, j] * wide[i : i + rows, j : j + columns] for i in range(3) for j in range(3))
        g = np.rint(total / 16).astype(np.int64)
    on, off = np.zeros(g.shape), np.zeros(g.shape)
    for k in SCALES:
        for y in range(g.shape[0]):
            for x in range(g.shape[1]):
                box = g[max(0, y - k + 1) : y + k + 1, max(0, x - k + 1) : x + k + 1]
                mean = (int(box.sum()) - g[y, x]) / (box.size - 1)
                on[y, x] += int(max(0.0, g[y, x] - mean))
                off[y, x] += int(max(0.0, mean - g[y, x]))
    parts = [255 * side / side.max() if side.max() else side for side in (on, off)]
    return np.clip(np.round(sum(parts)), 0, 255)


def disc(inside: int, outside: int) -> tuple[Tensor, Tensor]:
    """A disc of radius 20 in the middle of 224 x 224 pixels, and where it is."""
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    within = (y - 112) ** 2 + (x - 112) ** 2 <= 20**2
    return torch.where(within, inside, outside).view(1, 1, 224, 224) / 255, within


@pytest.mark.parametrize(("height", "width"), [(40, 57), (30, 25), (130, 33)])
def test_it_is_exactly_the_definition(height, width):
    rng = np.random.default_rng(height)
    soft = np.kron(rng.integers(0, 256, (5, 4)), np.ones((height // 5 + 1, width // 4 + 1)))[:height, :width]
    levels = np.clip(soft + rng.integers(-20, 21, (height, width)), 0, 255).astype(np.uint8)
    images = torch.from_numpy(levels).float().div(255).expand(2, 1, -1, -1)
    found = fine_grained(images).mul(255).round()
    assert torch.equal(found[1], found[0])
    np.testing.assert_array_equal(found[0, 0].numpy(), reference(levels))


def test_sums_over_windows_stay_right_where_running_sums_overflow_32_bits():
    values = torch.randint(0, 2**27, (1, 1, 1, 500), generator=torch.Generator().manual_seed(0))
    running = torch.nn.functional.pad(values, (1, 0)).cumsum(-1)
    assert running.max() > 2**31
    found = _window_sums(running.to(torch.int32), 3, -1)
    expected = torch.stack([values[..., max(0, p - 2) : p + 4].sum(-1) for p in range(500)], -1)
    assert torch.equal(found.long(), expected)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_image_has_no_salient_place(level):
    assert fine_grained(torch.full((1, 1, 64, 48), level)).count_nonzero() == 0


@pytest.mark.parametrize(("inside", "outside"), [(80, 180), (180, 80)])
def test_a_dark_or_bright_disc_stands_out(inside, outside):
    images, within = disc(inside, outside)
    found = fine_grained(images)[0, 0] * 255
    assert found[within].mean() > 200
    assert found[~within].mean() < 30


def test_an_image_and_its_negative_have_the_same_map():
    images, _ = disc(80, 180)
    assert (fine_grained(images) - fine_grained(1 - images)).abs().max() <= 4 / 255


def test_the_batch_does_not_matter():
    images = torch.rand(9, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([fine_grained(image[None]) for image in images])
    assert torch.equal(fine_grained(images), alone)


def test_grey_values_are_those_of_the_standard():
    colours = torch.eye(3).view(3, 3, 1, 1)
    torch.testing.assert_close(grey(colours).flatten(), torch.tensor([0.299, 0.587, 0.114]))


def test_the_derivation_gives_bytes_of_the_image_s_size_and_large_lesions_stay_salient():
    images, within = disc(80, 180)
    large = torch.nn.functional.interpolate(images, (896, 896), mode="nearest").mul(255).byte().expand(-1, 3, -1, -1)
    found = FineGrained(longest_side=224)(large)["saliency"]
    assert found.dtype == torch.uint8 and found.shape == (1, 1, 896, 896)
    small = FineGrained()(images.mul(255).byte())["saliency"][0, 0].float()
    whole = found[0, 0, ::4, ::4].float()
    assert (whole[within].mean() - small[within].mean()).abs() < 8


def test_a_detection_at_hardly_any_pixels_is_refused():
    with pytest.raises(RecipeError, match="longest_side"):
        FineGrained(longest_side=8)
