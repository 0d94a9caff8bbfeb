"""Laying pixels over images: the blend of the sheet, and the order of pasting."""

from __future__ import annotations

import torch

from scantling.augment.lesion_paste.paste import Spots, compose, values_at

IMAGES = torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(0))


def square(weight: float, top: int = 2, kind: int = 1) -> Spots:
    """A square of bright pixels on the second image."""
    y, x = (c.flatten() for c in torch.meshgrid(torch.arange(top, top + 5), torch.arange(3, 8), indexing="ij"))
    value = torch.rand(25, 2, generator=torch.Generator().manual_seed(top)) * 0.5 + 0.5
    ones = torch.ones(25)
    return Spots(ones.long(), y, x, value, weight * ones, kind * ones.long())


def joined(*spots: Spots) -> Spots:
    return Spots(*(torch.cat([getattr(s, f) for s in spots]) for f in ("image", "y", "x", "value", "weight", "kind")))


def test_pixels_outside_are_bit_identical_and_weight_one_gives_the_patch():
    spots = square(1.0)
    out, kinds = compose(IMAGES, spots)
    assert torch.equal(out.permute(0, 2, 3, 1)[kinds == 0], IMAGES.permute(0, 2, 3, 1)[kinds == 0])
    assert torch.equal(out[1, :, spots.y, spots.x].T, spots.value)
    assert int((kinds > 0).sum()) == 25


def test_weight_zero_changes_nothing_and_between_it_is_linear():
    none, half, whole = (compose(IMAGES, square(w))[0] for w in (0.0, 0.3, 1.0))
    assert torch.equal(none, IMAGES)
    torch.testing.assert_close(half, 0.7 * none + 0.3 * whole)


def test_the_mean_change_is_the_weight_times_the_difference():
    whole = (compose(IMAGES, square(1.0))[0] - IMAGES).abs().mean()
    changes = [(compose(IMAGES, square(w))[0] - IMAGES).abs().mean() for w in (0.2, 0.5, 0.9)]
    torch.testing.assert_close(torch.stack(changes), whole * torch.tensor([0.2, 0.5, 0.9]))
    assert changes[0] < changes[1] < changes[2] < whole


def test_overlapping_lesions_are_pasted_one_after_the_other():
    layers = [square(0.6, 2, 1), square(0.9, 4, 2), square(0.5, 5, 3), square(0.7, 3, 4)]
    expected = IMAGES
    for layer in layers:
        expected, _ = compose(expected, layer)
    out, kinds = compose(IMAGES, joined(*layers))
    assert torch.equal(out, expected)
    assert kinds[1, 4, 4] == 4 and kinds[1, 9, 4] == 3
    other = compose(IMAGES, joined(*layers[::-1]))[0]
    assert not torch.equal(other, expected)


def test_no_spots_give_the_images_back():
    spots = square(1.0)[torch.empty(0, dtype=torch.int64)]
    out, kinds = compose(IMAGES, spots)
    assert torch.equal(out, IMAGES) and not kinds.any()


def test_values_between_pixels_are_bilinear():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 1
    at = values_at(image, torch.zeros(4).long(), torch.tensor([1, 1.5, 0.5, 9]), torch.tensor([1, 1, 0.75, 9.0]))
    torch.testing.assert_close(at[:, 0], torch.tensor([1, 0.5, 0.375, 0]))
