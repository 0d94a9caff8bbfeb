"""CutPaste: a piece of the image itself, elsewhere."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from scantling.augment import CutPaste
from scantling.augment.lesion_paste.augment import AugmentSettings
from scantling.core.errors import RecipeError

SIZE = 128


def batch(count: int = 8, channels: int = 1) -> TensorDict:
    image = torch.rand(count, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    return TensorDict({"image": image, "index": torch.arange(count)}, batch_size=[count])


def cut(**settings) -> CutPaste:
    return CutPaste(**{"region": "everywhere", **settings})


def test_only_the_mask_changes_and_an_image_does_not_depend_on_its_batch():
    given = batch()
    out = cut().by_row(given, 1)
    changed = (out["image"] != given["image"]).any(1)
    assert not changed[out["mask"] == 0].any() and (out["mask"] == 1).flatten(1).any(1).all()
    assert (out["label"] == 1).all()
    again = torch.cat([cut().by_row(part, 1) for part in given.split(3)])
    assert torch.equal(out["image"], again["image"])
    assert not torch.equal(out["image"], cut().by_row(given, 2)["image"])


def test_an_upright_piece_is_found_unchanged_elsewhere_in_the_image(monkeypatch):
    plain = AugmentSettings(gamma=0.0, brightness=0.0, offset=0.0, hue=0.0, saturation=0.0)
    monkeypatch.setattr("scantling.augment.cut_paste.COLOURS", plain)
    given = batch(4)
    out = cut(scars=0.0).by_row(given, 3)
    for image, pasted, mask in zip(given["image"][:, 0], out["image"][:, 0], out["mask"], strict=True):
        known = set(image.flatten().mul(1e5).round().int().tolist())
        assert set(pasted[mask > 0].mul(1e5).round().int().tolist()) <= known


def test_areas_and_sides_lie_in_their_ranges():
    sides, angle = cut(scars=0.0)._shapes(
        torch.rand(5000, 5, generator=torch.Generator().manual_seed(0)).numpy(), (256, 256)
    )
    area = sides.prod(1) / 256**2
    assert 0.018 < area.min() < 0.03 and 0.14 < area.max() < 0.153 and not angle.any()
    ratio = sides.amin(1) / sides.amax(1)
    assert ratio.min() > 0.28 and ratio.max() <= 1
    sides, angle = cut(scars=1.0)._shapes(
        torch.rand(5000, 5, generator=torch.Generator().manual_seed(0)).numpy(), (256, 256)
    )
    assert (sides[:, 0].min(), sides[:, 0].max(), sides[:, 1].min(), sides[:, 1].max()) == (10, 25, 2, 16)
    assert torch.rad2deg(angle.abs()).max() <= 45


def test_pieces_stay_inside_the_lit_field():
    given = batch(4)
    given["image"][:, :, :20] = 0
    given["image"][:, :, :, :20] = 0
    out = CutPaste().by_row(given, 0)
    assert not out["mask"][:, :20].any() and not out["mask"][:, :, :20].any() and out["mask"].any()


def test_ranges_that_cannot_be_are_refused():
    with pytest.raises(RecipeError, match="area"):
        CutPaste(area=(0.0, 0.1))
    with pytest.raises(RecipeError, match="scars"):
        CutPaste(scars=2.0)
