"""Lesions lie where they may: inside the field or the organ, uniformly, clear of the border."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from scantling.augment.lesion_paste.placement import (
    allowed,
    distance_inside,
    draw_centres,
    lit_field,
    scaled_margins,
)
from scantling.core.errors import DataError
from scantling.core.numbers import keys_of, uniform

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("donors.py"))))
SIZE, normals, paster = shared.SIZE, shared.normals, shared.paster


def disc(size: int, radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return (y - size / 2) ** 2 + (x - size / 2) ** 2 <= radius**2


def photograph(count: int = 2, size: int = 96) -> torch.Tensor:
    image = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    return image * disc(size, size / 2 - 4)


def places(inside: torch.Tensor, margin: float, count: int = 4000, images: int = 1):
    image = np.arange(count) % images
    draws = uniform(keys_of(1, np.arange(count)), 3)
    return image, *draw_centres(inside, image, np.full(count, margin), draws)


@pytest.mark.parametrize(("size", "margin"), [(128, 2.5), (128, 5.0), (300, 8.0)])
def test_every_centre_keeps_its_distance_from_the_circle(size, margin):
    inside = disc(size, size / 2)[None]
    _, y, x = places(inside, margin)
    radius = ((y + 0.5 - size / 2) ** 2 + (x + 0.5 - size / 2) ** 2).sqrt()
    assert radius.max() <= size / 2 - margin + 1e-6
    assert radius.max() > size / 2 - margin - 6


@pytest.mark.parametrize(("margin", "share"), [(10, 0.725), (20, 0.667), (15, 0.696)])
def test_the_allowed_share_of_the_square_is_that_of_a_smaller_circle(margin, share):
    size = 512
    inside = disc(size, size / 2)[None]
    free = (distance_inside(inside, margin + 1) > margin).float().mean()
    assert float(free) == pytest.approx(math.pi * (size / 2 - margin) ** 2 / size**2, abs=0.004)
    assert float(free) == pytest.approx(share, abs=0.004)


def test_centres_are_uniform_over_what_is_allowed():
    inside = torch.zeros(2, 40, 40, dtype=torch.bool)
    inside[0, 4:8, 4:8] = inside[0, 30:38, 20:22] = True
    inside[1, :, :10] = True
    image, y, x = places(inside, 0.0, 32_000, images=2)
    assert inside[torch.from_numpy(image), y, x].all()
    counts = torch.bincount((y * 40 + x)[image == 0], minlength=1600)
    counts = counts[inside[0].flatten()] / (image == 0).sum()
    assert len(counts) == 32 and (counts - 1 / 32).abs().max() < 0.006


def test_distances_are_those_of_scipy():
    inside = torch.rand(3, 30, 41, generator=torch.Generator().manual_seed(0)) > 0.05
    found = distance_inside(inside, 60)
    for one, distance in zip(inside.numpy(), found, strict=True):
        expected = distance_transform_edt(np.pad(one, 1))[1:-1, 1:-1]
        np.testing.assert_allclose(distance.numpy(), expected, atol=1e-4)
    assert distance_inside(inside, 2).max() <= 3


def test_the_lit_field_is_the_disc_with_its_dark_spots():
    image = photograph()
    image[:, :, 40:50, 40:50] = 0.0
    field = lit_field(image)
    assert (field == disc(96, 44)).float().mean() > 0.995 and field[:, 40:50, 40:50].all()


def test_an_image_without_a_dark_border_is_all_field():
    assert lit_field(torch.rand(2, 1, 20, 20) * 0.2 + 0.5).all()
    assert not lit_field(torch.zeros(1, 3, 20, 20)).any()


def test_no_lesion_lies_outside_the_organ_or_the_field():
    batch = normals()
    organ = torch.zeros(6, SIZE, SIZE, dtype=torch.int64)
    organ[:, 20:45, 10:40] = 1
    batch["mask"] = organ
    out = paster(region="mask", margin=[30.0])(batch, torch.Generator().manual_seed(0))
    assert (out["label"] == 1).all()
    assert not (out["mask"] > 0)[organ == 0].any()
    changed = (out["image"] != batch["image"]).any(1)
    assert not changed[organ == 0].any()
    field = disc(96, 44)
    batch = normals(2, 96)
    batch["image"] = photograph()
    out = paster(region="field", margin=[0.0])(batch, torch.Generator().manual_seed(0))
    assert not (out["mask"] > 0)[:, ~field].any() and (out["mask"] > 0).any()


def test_a_margin_too_large_puts_lesions_as_deep_as_possible():
    _, y, x = places(disc(31, 8)[None], 20.0, 50)
    assert (y == 15).all() and (x == 15).all()


def test_where_nothing_is_allowed_there_is_no_place():
    assert all((c == -1).all() for c in places(torch.zeros(1, 10, 10, dtype=torch.bool), 0.0, 5)[1:])


def test_an_organ_that_is_not_there_is_an_error():
    with pytest.raises(DataError, match="organ"):
        allowed(torch.zeros(1, 1, 4, 4), None, "mask")


def test_margins_grow_with_the_image():
    assert scaled_margins([10, 20], (1024, 2048)).tolist() == [20, 40]


def test_by_itself_the_organ_is_taken_where_there_is_one_and_else_the_field():
    images, masks = photograph(2), torch.zeros(2, 96, 96, dtype=torch.int64)
    masks[0, 40:60, 30:50] = 1
    found = allowed(images, masks, "auto")
    assert torch.equal(found[0], masks[0] > 0)
    assert torch.equal(found[1], allowed(images, None, "field")[1])
    assert torch.equal(allowed(images, None, "auto"), allowed(images, None, "field"))
