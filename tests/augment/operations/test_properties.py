"""What each operation leaves alone, and what it undoes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from scantling.augment.operations import ALL, DRAWS, GEOMETRIC, MAGNITUDES, Pointwise, Spatial, Statistical, operation
from scantling.augment.operations.geometric import resample, rotate, zoom
from scantling.augment.operations.tables import PAIRS, histograms, identity_tables, look_up
from scantling.augment.policy import OPERATIONS, Drawn, apply_drawn


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images_of(n: int = 4, channels: int = 3, size: tuple[int, int] = (24, 31), seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, channels, *size), generator=seeded(seed)).to(torch.uint8)


def applied(
    images: Tensor, name: str, value: float, seed: int = 0, **moved: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """One operation with one value for every image; 8-bit numbers."""
    uniform = torch.rand(len(images), 1, DRAWS, generator=seeded(seed), dtype=torch.float64)
    codes = torch.zeros(len(images), 1, dtype=torch.int64)
    found, fields = apply_drawn(
        images, moved, Drawn((name,), codes, torch.full((len(images), 1), float(value)), uniform)
    )
    return (found * 255).round().to(torch.uint8), fields


@pytest.mark.parametrize("height", [1, 16, 17, 33, 50])
@pytest.mark.parametrize("name", ["color", "hue", "sharpness"])
def test_bands_of_rows_give_what_the_whole_image_gives(name: str, height: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operation, "BAND_VALUES", 1)
    images, chosen = images_of(size=(height, 9)), ALL[name]
    assert isinstance(chosen, Spatial) and chosen.reach is not None
    bands: list[int] = []

    def compute(images: Tensor, values: Tensor, draws: Tensor) -> Tensor:
        bands.append(images.shape[-2])
        return chosen.compute(images, values, draws)

    values = torch.tensor([chosen.low, chosen.neutral, chosen.high, chosen.high / 2], dtype=torch.float64)
    draws = torch.rand(4, DRAWS, generator=seeded(), dtype=torch.float64)
    found = replace(chosen, compute=compute)(images, values, draws)
    assert torch.equal(found, chosen.compute(images, values, draws))
    assert len(bands) == -(-height // operation.MIN_ROWS)


def test_the_ten_operations_of_the_paper_come_first_and_in_its_order():
    assert OPERATIONS == (
        "auto_contrast", "invert", "equalize", "solarize", "posterize", "contrast", "color", "brightness", "sharpness",
        "cutout",
    )  # fmt: skip
    assert not GEOMETRIC.intersection(OPERATIONS)
    assert tuple(ALL)[:10] == OPERATIONS


def test_magnitudes_are_the_values_of_the_sheet():
    m = torch.arange(MAGNITUDES)
    assert ALL["posterize"].value(m).int().tolist() == [4, 4, 4, 5, 5, 6, 6, 7, 7, 8]
    torch.testing.assert_close(ALL["contrast"].value(m), 0.1 + 0.2 * m.double())
    torch.testing.assert_close(ALL["solarize"].value(m), 256 * m.double() / 9)
    torch.testing.assert_close(ALL["cutout"].value(m), 0.2 * m.double() / 9)


NEUTRAL = [n for n in ALL if n not in {"auto_contrast", "invert", "equalize"}]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NEUTRAL)
def test_the_neutral_value_changes_nothing(name, channels):
    images = images_of(channels=channels)
    assert torch.equal(applied(images, name, ALL[name].neutral)[0], images)
    assert torch.equal(ALL[name].stronger(torch.zeros(5), torch.rand(5)), torch.full((5,), float(ALL[name].neutral)))


@pytest.mark.parametrize("name", [n for n in NEUTRAL if n not in {"color", "hue"}])
def test_a_strong_value_changes_every_image(name):
    images = images_of(channels=1)
    strong = float(ALL[name].stronger(torch.ones(1), torch.zeros(1)))
    assert (applied(images, name, strong)[0] != images).flatten(1).any(1).all()


def test_inverting_twice_is_nothing_and_solarize_zero_is_inverting():
    images = images_of()
    once = applied(images, "invert", 0)[0]
    assert torch.equal(once, 255 - images)
    assert torch.equal(applied(once, "invert", 0)[0], images)
    assert torch.equal(applied(images, "solarize", 0)[0], once)


def test_grey_images_have_no_colour_to_change():
    images = images_of(1, 1).expand(-1, 3, -1, -1).clone()
    assert torch.equal(applied(images, "color", 0.1)[0], images)
    assert torch.equal(applied(images_of(2, 1), "color", 0.1)[0], images_of(2, 1))
    assert torch.equal(applied(images_of(2, 1), "hue", 0.1)[0], images_of(2, 1))


def test_auto_contrast_forgets_gain_and_offset():
    scene = torch.linspace(0, 1, 24 * 30).view(1, 1, 24, 30)
    weak, strong = (scene * 100 + 40).to(torch.uint8), (scene * 200 + 20).to(torch.uint8)
    one, other = (applied(x, "auto_contrast", 0)[0].int() for x in (weak, strong))
    assert (one - other).abs().max() <= 3
    assert one.amin() == 0
    assert one.amax() == 255
    assert (weak.int() - strong.int()).abs().max() > 50


def test_equalize_makes_values_equally_frequent():
    dark = (torch.rand(1, 1, 64, 64, generator=seeded()) ** 4 * 255).to(torch.uint8)
    shares = torch.cumsum(histograms(applied(dark, "equalize", 0)[0])[0, 0] / 64**2, 0)
    assert (shares - torch.arange(1, 257) / 256).abs().max() < 0.25
    assert (torch.cumsum(histograms(dark)[0, 0] / 64**2, 0) - torch.arange(1, 257) / 256).abs().max() > 0.4


def test_contrast_zero_is_the_mean_and_brightness_zero_is_black():
    images = images_of(3, 1)
    flat = applied(images, "contrast", 0)[0]
    means = (images.double().mean((1, 2, 3)) + 0.5).floor()
    assert torch.equal(flat, means.to(torch.uint8).view(-1, 1, 1, 1).expand_as(flat))
    assert (applied(images, "brightness", 0)[0] == 0).all()


def test_sharpness_keeps_the_border_and_flat_regions():
    images = images_of()
    found = applied(images, "sharpness", 1.9)[0]
    border = torch.ones(images.shape[-2:], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert torch.equal(found[..., border], images[..., border])
    assert not torch.equal(found, images)
    flat = torch.full((1, 3, 9, 9), 77, dtype=torch.uint8)
    assert torch.equal(applied(flat, "sharpness", 0.1)[0], flat)


def test_cutout_is_one_grey_square_of_its_side_cut_by_the_frame():
    images = torch.full((200, 3, 40, 50), 9, dtype=torch.uint8)
    found = applied(images, "cutout", 0.2)[0]
    hidden = (found == 127).all(1)
    assert torch.equal(found[~hidden[:, None].expand_as(found)].unique(), torch.tensor([9], dtype=torch.uint8))
    high, wide = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), high * wide)
    assert high.max() == 10
    assert wide.max() == 10
    assert high.min() < 10
    centres = hidden.any(1).float().argmax(1)
    assert centres.unique().numel() > 20


def test_gamma_keeps_black_and_white_and_orders_values():
    table = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    for exponent in (0.5, 2.0):
        found = applied(table, "gamma", exponent)[0].flatten().int()
        assert (found[0], found[-1]) == (0, 255)
        assert (found.diff() >= 0).all()


def test_noise_has_its_deviation_and_no_bias_and_follows_the_generator():
    images = torch.full((2, 3, 64, 64), 128, dtype=torch.uint8)
    one, same, other = (applied(images, "noise", 0.05, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.double().std().item() == pytest.approx(0.05 * 255, rel=0.05)
    assert one.double().mean().item() == pytest.approx(128, abs=0.5)


def test_blur_keeps_the_mean_and_lowers_the_spread():
    images = images_of(2, 3, (48, 48))
    found = applied(images, "blur", 2.0)[0].double()
    assert found.std() < 0.3 * images.double().std()
    assert found.mean().item() == pytest.approx(images.double().mean().item(), abs=2)


def test_illumination_stays_within_its_strength_and_is_smooth():
    flat = torch.full((40, 1, 32, 32), 100, dtype=torch.uint8)
    found = applied(flat, "illumination", 0.3)[0].double()
    assert found.min() >= 69
    assert found.max() <= 131
    assert found.flatten(1).std(1).min() > 1
    assert found.diff(dim=-1).abs().max() <= 4


def test_geometric_operations_move_masks_and_maps_with_the_image():
    classes = torch.zeros(6, 48, 48, dtype=torch.int64)
    classes[:, 10:30, 14:40] = 1
    images = (classes * 200 + 55).to(torch.uint8)[:, None]
    maps = classes.float()[:, None]
    for name in sorted(GEOMETRIC):
        strong = float(ALL[name].stronger(torch.ones(1), torch.ones(1)))
        found, fields = applied(images, name, strong, mask=classes, saliency=maps)
        mask, saliency = fields["mask"], fields["saliency"][:, 0]
        assert not torch.equal(mask, classes), name
        assert torch.equal(mask == -1, found[:, 0] == 0), name
        assert ((found[:, 0].double() - 55) / 200 - saliency.double())[mask >= 0].abs().max() < 0.01, name
        assert ((saliency > 0.5) == (mask == 1))[mask >= 0].float().mean() > 0.99, name


@pytest.mark.parametrize("name", [n for n in ALL if n not in GEOMETRIC])
def test_other_operations_hand_masks_back_untouched(name):
    masks = torch.randint(-1, 3, (4, 24, 31), generator=seeded())
    strong = float(ALL[name].stronger(torch.ones(1), torch.ones(1)))
    assert applied(images_of(), name, strong, mask=masks)[1]["mask"] is masks


def test_mirrored_operations_go_both_ways():
    images = torch.full((64, 1, 4, 4), 100, dtype=torch.uint8)
    found = applied(images, "offset", 0.2)[0][:, 0, 0, 0]
    assert set(found.tolist()) == {49, 151}
    assert 10 < (found == 49).sum() < 54


def test_turning_by_a_right_angle_keeps_every_value():
    square = images_of(2, 3, (16, 16))
    found, fields = resample(square, {"mask": square[:, 0].long()}, rotate(np.array([90.0, -90.0]), (16, 16)))
    assert torch.equal(found, torch.stack([square[0].rot90(1, (1, 2)), square[1].rot90(-1, (1, 2))]))
    assert torch.equal(fields["mask"], found[:, 0].long())


def test_enlarging_shows_the_centre():
    marked = torch.zeros(1, 1, 21, 21)
    marked[..., 10, 10] = 1.0
    found, _ = resample(marked, {}, zoom(np.array([3.0]), (21, 21)))
    assert found[0, 0, 10, 10] == pytest.approx(1.0, abs=1e-5)
    assert (found > 0.01).sum() > 9


@pytest.mark.parametrize("size", [(15, 17), (368, 360)], ids=["single", "in pairs"])
def test_tables_and_histograms_are_what_single_look_ups_give(size):
    images = images_of(2, 3, size)
    assert (size[0] * size[1] >= 2 * PAIRS) == (size[0] > 100)
    table = torch.stack([torch.randperm(256, generator=seeded(i)) for i in range(6)]).view(2, 3, 256).to(torch.uint8)
    plain = torch.stack([table[i, c][images[i, c].long()] for i in range(2) for c in range(3)]).view(images.shape)
    assert torch.equal(look_up(images, table), plain)
    assert torch.equal(look_up(images, identity_tables(2, 3, images.device)), images)
    counted = torch.stack([torch.bincount(p.flatten().long(), minlength=256) for p in images.flatten(0, 1)])
    assert torch.equal(histograms(images).view(6, 256), counted)


def test_every_operation_is_of_one_kind():
    kinds = (Pointwise, Statistical, Spatial)
    assert all(isinstance(o, kinds) != (n in GEOMETRIC) for n, o in ALL.items())
