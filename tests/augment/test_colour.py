"""Colour operations against torchvision's, and their identities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as T

from scantling.augment import colour


def images(batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, 20, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("brightness", [0.0, 0.8, 1.0, 1.5])
@pytest.mark.parametrize("contrast", [0.0, 0.7, 1.0, 1.6])
def test_brightness_and_contrast_are_torchvision_s_one_after_the_other(brightness, contrast):
    ours = colour.adjust_brightness_and_contrast(images(), torch.full((3,), brightness), torch.full((3,), contrast))
    theirs = T.adjust_contrast(T.adjust_brightness(images(), brightness), contrast)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert ours.min() >= 0
    assert ours.max() <= 1


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.4])
def test_saturation_is_torchvision_s(factor):
    ours = colour.adjust_saturation(images(), torch.full((3,), factor))
    torch.testing.assert_close(ours, T.adjust_saturation(images(), factor), atol=1e-3, rtol=0)


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.0, 0.3])
def test_hue_is_torchvision_s(turn):
    ours = colour.shift_hue(images(), torch.full((3,), turn))
    torch.testing.assert_close(ours, T.adjust_hue(images(), turn), atol=1e-4, rtol=0)


def test_every_sample_takes_its_own_factors():
    factors = torch.tensor([0.6, 1.0, 1.3])
    together = colour.adjust_brightness_and_contrast(images(), factors, factors.flip(0))
    for i in range(3):
        alone = colour.adjust_brightness_and_contrast(
            images()[i : i + 1], factors[i : i + 1], factors.flip(0)[i : i + 1]
        )
        torch.testing.assert_close(together[i : i + 1], alone)


def test_the_mean_can_be_taken_inside_a_box():
    boxes = torch.tensor([[0, 0, 20, 24], [3, 5, 7, 9], [19, 23, 1, 1]])
    found = colour.mean_grey(images(), boxes)
    for i, (top, left, high, wide) in enumerate(boxes.tolist()):
        part = images()[i : i + 1, :, top : top + high, left : left + wide]
        torch.testing.assert_close(found[i : i + 1], colour.grey(part).mean((2, 3), keepdim=True))


def test_a_blur_is_torchvision_s_and_keeps_a_flat_image():
    ours = colour.blur(images(1), torch.tensor([1.3]))
    torch.testing.assert_close(ours, T.gaussian_blur(images(1), [9, 9], [1.3, 1.3]), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        colour.blur(torch.full((1, 1, 9, 9), 0.4), torch.tensor([2.0])), torch.full((1, 1, 9, 9), 0.4)
    )
