"""Virtual augmentation: geometry and colours stay in their ranges."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scantling.augment.lesion_paste.augment import (
    AugmentSettings,
    draw_colours,
    draw_geometry,
    recolour,
    resample,
    untinted,
)
from scantling.core.errors import RecipeError

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("donors.py"))))
PLAIN = shared.PLAIN


def blob(tall: int, wide: int, side: int = 64) -> torch.Tensor:
    frame = torch.zeros(1, 1, side, side)
    top, left = (side - tall) // 2, (side - wide) // 2
    frame[:, :, top : top + tall, left : left + wide] = 1
    return frame


def uniform(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).random((rows, columns))


def test_areas_lie_between_a_quarter_and_the_whole_and_rotation_cuts_nothing():
    maps = draw_geometry(uniform(400, 5), AugmentSettings())
    areas = (resample(blob(12, 40).expand(400, -1, -1, -1), maps) > 0.5).sum((1, 2, 3)) / 480
    assert 0.25 * 0.85 < areas.min() < 0.35 and 0.85 < areas.max() < 1.06
    turned = draw_geometry(uniform(100, 5), AugmentSettings(scale=(1.0, 1.0)))
    kept = (resample(blob(2, 44).expand(100, -1, -1, -1), turned)).sum((1, 2, 3)) / 88
    assert kept.min() > 0.97 and kept.max() < 1.03


def test_lesions_are_never_enlarged():
    scales = torch.linalg.svdvals(draw_geometry(uniform(1000, 5), AugmentSettings()))
    assert scales.min() >= 1 - 1e-5 and scales.max() <= 2 + 1e-5


def test_flips_come_in_half_of_the_cases_and_no_turn_exceeds_its_bound():
    maps = draw_geometry(uniform(4000, 5), AugmentSettings(scale=(1.0, 1.0)))
    mirrored = (torch.linalg.det(maps) < 0).float().mean()
    assert 0.46 < mirrored < 0.54
    turns = draw_geometry(uniform(4000, 5), AugmentSettings(scale=(1.0, 1.0), flips=False, rotation=30.0))
    angle = torch.rad2deg(torch.atan2(turns[:, 0, 1], turns[:, 0, 0]))
    assert angle.abs().max() <= 30 and angle.abs().max() > 29


def test_without_augmentation_nothing_changes():
    frame = torch.rand(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resample(frame, draw_geometry(uniform(3, 5), PLAIN)), frame)
    values = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    colours = draw_colours(uniform(50, 7), 3, PLAIN)
    torch.testing.assert_close(recolour(values, colours), values, atol=1e-5, rtol=0)


def test_colours_follow_their_closed_forms():
    grey = torch.full((3, 1), 0.25)
    colours = torch.tensor([[2.0, 1, 0, 0, 0], [1, 1.1, 0, 0, 0], [1, 1, 0.5, 0, 0]])
    torch.testing.assert_close(recolour(grey, colours)[:, 0], torch.tensor([0.0625, 0.275, 0.75]))
    red = torch.tensor([[0.8, 0.2, 0.2]])
    third = torch.tensor([[1.0, 1, 1, 1, 0, 1 / 3, 0]])
    torch.testing.assert_close(recolour(red, third), torch.tensor([[0.2, 0.8, 0.2]]), atol=1e-5, rtol=0)
    faded = recolour(red, torch.tensor([[1.0, 1, 1, 1, 0, 0, -0.75]]))
    torch.testing.assert_close(faded, torch.tensor([[0.8, 0.8, 0.8]]), atol=1e-5, rtol=0)


def test_settings_outside_their_range_are_refused():
    with pytest.raises(RecipeError, match="scale"):
        AugmentSettings(scale=(0.0, 1.0))
    with pytest.raises(RecipeError, match="gamma"):
        AugmentSettings(gamma=1.0)


def test_in_a_grey_image_lesions_stay_grey_and_in_a_colour_image_they_do_not():
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1).clone()
    images[1, 0] *= 0.5
    rows = torch.tensor([0, 1, 0])
    drawn = draw_colours(uniform(3, 7), 3, AugmentSettings())
    colours = untinted(drawn, images, rows)
    assert torch.equal(colours[1], drawn[1])
    grey = recolour(torch.tensor([[0.4, 0.4, 0.4], [0.4, 0.4, 0.4]]), colours[[0, 2]])
    torch.testing.assert_close(grey, grey[:, :1].expand(-1, 3))
