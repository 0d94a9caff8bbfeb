"""Every operation of AADG's space gives what Pillow's operation of that name gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from scantling.augment.operations import ALL, MAGNITUDES
from scantling.augment.policy import OPERATIONS, apply_codes

PILLOW = {
    "auto_contrast": lambda image, _: ImageOps.autocontrast(image),
    "invert": lambda image, _: ImageOps.invert(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "solarize": lambda image, value: ImageOps.solarize(image, value),
    "posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    "color": lambda image, value: ImageEnhance.Color(image).enhance(value),
    "brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    "sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
}
CHANGED_BY_ROUNDING = 0.01
"""Share of the values that may differ by one step of 255: Pillow computes in other precisions."""


def pictures(size: tuple[int, int], channels: int, n: int = 6) -> Tensor:
    """Smooth dark and bright images with a black frame, such as photographs of a fundus, and noise; uint8."""
    generator = torch.Generator().manual_seed(channels)
    coarse = torch.rand(n, channels, 5, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    smooth = smooth * torch.linspace(0.2, 1, n).view(-1, 1, 1, 1)
    smooth[:, :, : size[0] // 5] = 0
    smooth[-1] = torch.rand(channels, *size, generator=generator)
    return smooth.mul(255).round().to(torch.uint8)


def by_pillow(image: Tensor, name: str, value: float) -> Tensor:
    planes = image.permute(1, 2, 0).numpy()
    found = np.asarray(PILLOW[name](Image.fromarray(planes.squeeze(2) if planes.shape[2] == 1 else planes), value))
    return torch.from_numpy(np.atleast_3d(found).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(33, 47), (368, 360)], ids=["small", "in pairs"])
@pytest.mark.parametrize("name", PILLOW)
def test_operations_are_those_of_pillow(name, size, channels):
    images = pictures(size, channels)[: None if size[0] < 100 else 3]
    magnitudes = [0, 3, 9] if size[0] > 100 else range(MAGNITUDES)
    for magnitude in magnitudes:
        value = ALL[name].value(torch.tensor(magnitude)).item()
        codes = torch.full((len(images), 1), OPERATIONS.index(name))
        found = apply_codes(images, codes, torch.full_like(codes, magnitude), torch.Generator()) * 255
        wanted = torch.stack([by_pillow(image, name, value) for image in images])
        difference = (found.round().long() - wanted.long()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() <= CHANGED_BY_ROUNDING


@pytest.mark.parametrize(("first", "second"), [("equalize", "sharpness"), ("brightness", "equalize"),
                                               ("solarize", "auto_contrast"), ("contrast", "posterize"),
                                               ("posterize", "contrast"), ("color", "invert")])  # fmt: skip
def test_a_chain_is_that_of_pillow(first, second):
    images = pictures((33, 47), 3)
    codes = torch.tensor([[OPERATIONS.index(first), OPERATIONS.index(second)]]).expand(len(images), -1)
    found = apply_codes(images, codes, torch.tensor([[7, 2]]).expand_as(codes), torch.Generator()) * 255
    values = [ALL[n].value(torch.tensor(m)).item() for n, m in ((first, 7), (second, 2))]
    wanted = torch.stack([by_pillow(by_pillow(i, first, values[0]), second, values[1]) for i in images])
    difference = (found.round() - wanted).abs()
    assert (difference > 1).float().mean() <= CHANGED_BY_ROUNDING


@pytest.mark.parametrize("value", [0, 93, 255])
def test_channels_of_one_value_are_what_pillow_makes_of_them(value):
    images = torch.full((1, 3, 8, 9), value, dtype=torch.uint8)
    for name in ("auto_contrast", "equalize"):
        found = apply_codes(images, torch.tensor([[OPERATIONS.index(name)]]), torch.zeros(1, 1), torch.Generator())
        assert torch.equal((found[0] * 255).round().to(torch.uint8), by_pillow(images[0], name, 0))
