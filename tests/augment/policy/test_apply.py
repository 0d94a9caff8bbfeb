"""Every image its own operations, whatever else is in the batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scantling.augment import parallel
from scantling.augment.geometry import identity_maps
from scantling.augment.operations import ALL, MAGNITUDES
from scantling.augment.operations.geometric import resample
from scantling.augment.policy import OPERATIONS, Drawn, Frame, Framing, apply_codes, apply_drawn
from scantling.core.errors import RecipeError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images_of(n: int, size: tuple[int, int] = (20, 26), channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, channels, *size), generator=seeded()).to(torch.uint8)


def drawn_for(n: int, space: tuple[str, ...] = OPERATIONS, length: int = 3, seed: int = 1) -> Drawn:
    codes = torch.randint(-1, len(space), (n, length), generator=seeded(seed))
    magnitudes = torch.randint(MAGNITUDES, (n, length), generator=seeded(seed + 1))
    return Drawn.from_magnitudes(codes, magnitudes, seeded(seed + 2), space)


def part_of(drawn: Drawn, rows: slice) -> Drawn:
    return Drawn(drawn.space, drawn.operations[rows], drawn.values[rows], drawn.uniform[rows])


WITHOUT_NOISE = tuple(n for n in ALL if n != "noise")


@pytest.mark.parametrize("space", [OPERATIONS, WITHOUT_NOISE], ids=["ten", "all"])
def test_an_image_in_a_batch_is_what_it_is_alone(space):
    images, masks = images_of(48), torch.randint(-1, 3, (48, 20, 26), generator=seeded())
    drawn = drawn_for(48, space)
    found, fields = apply_drawn(images, {"mask": masks}, drawn)
    alone = [
        apply_drawn(images[i : i + 1], {"mask": masks[i : i + 1]}, part_of(drawn, slice(i, i + 1))) for i in range(48)
    ]
    torch.testing.assert_close(found, torch.cat([a[0] for a in alone]), atol=1.01 / 255, rtol=0)
    assert (found != torch.cat([a[0] for a in alone])).float().mean() < 1e-3
    assert (fields["mask"] == torch.cat([a[1]["mask"] for a in alone])).float().mean() > 0.999


def test_the_order_of_operations_counts():
    images = images_of(1)
    posterize, brightness = OPERATIONS.index("posterize"), OPERATIONS.index("brightness")
    one = apply_codes(images, torch.tensor([[posterize, brightness]]), torch.tensor([[0, 2]]), seeded())
    other = apply_codes(images, torch.tensor([[brightness, posterize]]), torch.tensor([[2, 0]]), seeded())
    assert not torch.equal(one, other)


@pytest.mark.parametrize("first", ["invert", "posterize", "equalize", "contrast"])
@pytest.mark.parametrize("second", ["auto_contrast", "equalize", "contrast", "sharpness", "brightness"])
def test_tables_that_wait_are_looked_up_when_they_must(first, second):
    images = images_of(3)
    codes = torch.tensor([[OPERATIONS.index(first), OPERATIONS.index(second)]]).expand(3, -1)
    magnitudes = torch.tensor([[1, 7]]).expand(3, -1)
    together = apply_codes(images, codes, magnitudes, seeded())
    apart = apply_codes(images, codes[:, :1], magnitudes[:, :1], seeded())
    assert torch.equal(together, apply_codes(apart, codes[:, 1:], magnitudes[:, 1:], seeded()))


def test_nothing_changes_nothing_and_given_images_stay():
    images = images_of(5)
    before = images.clone()
    nothing = torch.full((5, 2), -1)
    assert torch.equal(apply_codes(images, nothing, nothing * 0, seeded()), images.float() / 255)
    apply_codes(images, torch.randint(10, (5, 2), generator=seeded()), nothing * 0 + 9, seeded())
    assert torch.equal(images, before)


def test_float_images_are_the_same_as_bytes():
    images, drawn = images_of(20), drawn_for(20)
    assert torch.equal(apply_drawn(images, {}, drawn)[0], apply_drawn(images.float() / 255, {}, drawn)[0])


def test_results_are_8_bit_numbers_in_0_to_1():
    found = apply_drawn(images_of(40), {}, drawn_for(40, WITHOUT_NOISE))[0]
    assert found.min() >= 0
    assert found.max() <= 1
    torch.testing.assert_close(found * 255, (found * 255).round(), atol=1e-4, rtol=0)


def test_parts_of_a_batch_on_threads_are_the_batch(monkeypatch):
    images, drawn, masks = images_of(9), drawn_for(9), torch.randint(0, 2, (9, 20, 26))
    frame = Framing((0.5, 2.0), 12).draw(9, (20, 26), seeded())
    whole, fields = apply_drawn(images, {"mask": masks}, drawn, frame)
    monkeypatch.setattr(parallel.in_parts, "__defaults__", (images[0].numel() * 2,))
    parts, more = apply_drawn(images, {"mask": masks}, drawn, frame)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)
    assert (fields["mask"] == more["mask"]).float().mean() > 0.999


def test_apply_codes_refuses_to_move_pixels():
    with pytest.raises(RecipeError, match="rotate"):
        apply_codes(images_of(1), torch.zeros(1, 1).long(), torch.zeros(1, 1).long(), seeded(), ("rotate",))


def test_a_frame_of_the_whole_image_is_the_image():
    images = images_of(4)
    nothing = drawn_for(4)
    whole = Frame(identity_maps(4), (20, 26))
    torch.testing.assert_close(apply_drawn(images, {}, nothing, whole)[0], apply_drawn(images, {}, nothing)[0])


def test_a_crop_without_resizing_is_a_piece_of_the_image():
    images = images_of(30)
    masks = images[:, 0].long()
    nothing = Drawn(OPERATIONS, torch.full((30, 1), -1), torch.zeros(30, 1), torch.zeros(30, 1, 4))
    frame = Framing((1.0, 1.0), 9).draw(30, (20, 26), seeded())
    found, fields = apply_drawn(images, {"mask": masks}, nothing, frame)
    corners = frame.maps[:, :2, 2].astype(int)
    for i, (left, top) in enumerate(corners):
        piece = images[i, :, top : top + 9, left : left + 9]
        torch.testing.assert_close(found[i] * 255, piece.float(), atol=1e-2, rtol=0)
        assert torch.equal(fields["mask"][i], masks[i, top : top + 9, left : left + 9])
    assert len(set(map(tuple, corners))) > 15


def test_what_lies_outside_of_a_reduced_image_is_black_and_unknown():
    images = torch.full((20, 1, 16, 16), 200, dtype=torch.uint8)
    nothing = Drawn(OPERATIONS, torch.full((20, 1), -1), torch.zeros(20, 1), torch.zeros(20, 1, 4))
    frame = Framing((0.5, 0.5), None, 1.0).draw(20, (16, 16), seeded())
    found, fields = apply_drawn(images, {"mask": images[:, 0].long()}, nothing, frame)
    shown = fields["mask"] != -1
    assert torch.equal(shown, found[:, 0] > 0)
    assert ((shown.sum((1, 2)) >= 49) & (shown.sum((1, 2)) <= 81)).all()


def test_factors_of_the_two_axes_are_independent_and_in_range():
    frame = Framing((0.5, 2.0), 8, 0.8).draw(4000, (32, 32), seeded())
    factors = torch.from_numpy(1 / frame.maps[:, [0, 1], [0, 1]])
    assert factors.min() >= 0.5
    assert factors.max() <= 2.0
    resized = (factors != 1).all(1)
    assert resized.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert torch.corrcoef(factors[resized].T)[0, 1].abs() < 0.05
    assert factors[resized].mean().item() == pytest.approx(1.25, abs=0.03)


@pytest.mark.parametrize("wrong", [{"scale_range": (0, 1)}, {"scale_range": (2, 1)}, {"crop": 0}, {"probability": 2}])
def test_framing_refuses_what_cannot_be(wrong):
    with pytest.raises(RecipeError):
        Framing(**wrong)


def test_given_masks_and_maps_stay():
    masks, maps = torch.randint(0, 3, (8, 20, 26), generator=seeded()), torch.rand(8, 1, 20, 26)
    before = masks.clone(), maps.clone()
    _, fields = apply_drawn(images_of(8), {"mask": masks, "saliency": maps}, drawn_for(8, ("rotate", "shear_x")))
    assert torch.equal(masks, before[0])
    assert torch.equal(maps, before[1])
    assert not torch.equal(fields["mask"], masks)


@pytest.mark.parametrize("alone", [True, False], ids=["one by one", "together"])
def test_a_frame_shows_what_the_whole_augmented_image_shows(alone):
    images, masks = images_of(60, (40, 46)), torch.randint(-1, 3, (60, 40, 46), generator=seeded())
    drawn = drawn_for(60)
    frame = Framing((0.5, 2.5), 14).draw(60, (40, 46), seeded(5))
    wanted, fields = resample(apply_drawn(images, {}, drawn)[0], {"mask": masks}, frame.maps, frame.size)
    parts = [slice(i, i + 1) for i in range(60)] if alone else [slice(0, 60)]
    found = [apply_drawn(images[p], {"mask": masks[p]}, part_of(drawn, p), frame[p]) for p in parts]
    torch.testing.assert_close(torch.cat([f[0] for f in found]), wanted, atol=2e-4, rtol=0)
    assert (torch.cat([f[1]["mask"] for f in found]) == fields["mask"]).float().mean() > 0.999


@pytest.mark.parametrize("name", ALL)
def test_a_single_image_stays_too(name):
    images = images_of(1)
    before = images.clone()
    magnitudes = torch.full((1, 1), 2)
    apply_drawn(images, {}, Drawn.from_magnitudes(torch.zeros(1, 1).long(), magnitudes, seeded(), (name,)))
    assert torch.equal(images, before)
