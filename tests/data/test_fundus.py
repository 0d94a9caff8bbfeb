"""The field of view of a fundus photograph (sheet: dr_grading, preprocessing steps 1-3 and properties)."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from scantling.data.fundus import field_of_view_box


def disc(width: int, height: int, x: float, y: float, radius: float, channels: int = 3) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    return np.where(inside[..., None], 150, 3).astype(np.uint8).repeat(channels, axis=2)


def by_definition(image: np.ndarray) -> tuple[int, int, int, int]:
    """The sheet's rule on the whole blurred image."""
    height, width = image.shape[:2]
    if width > 1.2 * height:
        blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.BLUR)).astype(int).reshape(height, width, -1)
        outer = np.concatenate([blurred[:, : width // 32], blurred[:, width - -(-width // 32) :]], axis=1)
        foreground = (blurred > outer.max(axis=(0, 1)) + 10).any(axis=2)
        if foreground.any():
            rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
            box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            if min(box[2] - box[0], box[3] - box[1]) >= 0.8 * height:
                return tuple(int(v) for v in box)
    left = max((width - height) // 2, 0)
    return left, 0, min(left + height, width), height


@pytest.mark.parametrize(("x", "y", "radius"), [(500, 350, 330), (450, 350, 340), (520, 340, 300)])
def test_a_bright_disc_on_black_is_found_within_three_pixels(x: int, y: int, radius: int) -> None:
    box = field_of_view_box(disc(1000, 700, x, y, radius))
    np.testing.assert_allclose(box, (x - radius, y - radius, x + radius, y + radius), atol=3)


def test_a_cropped_image_is_left_alone() -> None:
    image = disc(1000, 700, 500, 350, 320)
    left, top, right, bottom = field_of_view_box(image)
    again = field_of_view_box(image[top:bottom, left:right])
    np.testing.assert_allclose(again, (0, 0, right - left, bottom - top), atol=2)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((700, 1000, 3), dtype=np.uint8),
        np.full((700, 1000, 3), 90, dtype=np.uint8),
        disc(1000, 700, 500, 350, 200),
    ],
    ids=["black", "without a border", "a disc that is too small"],
)
def test_without_a_disc_the_centre_square_is_kept(image: np.ndarray) -> None:
    assert field_of_view_box(image) == (150, 0, 850, 700)


def test_portrait_and_square_images_are_only_cut_to_a_square() -> None:
    assert field_of_view_box(disc(700, 1000, 350, 500, 300)) == (0, 0, 700, 1000)
    assert field_of_view_box(disc(800, 700, 400, 350, 300)) == (50, 0, 750, 700)


def test_grey_images_give_the_same_box() -> None:
    image = disc(1000, 700, 480, 350, 330)
    assert field_of_view_box(image) == field_of_view_box(image[..., 0]) == field_of_view_box(image[..., :1])


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 170), st.integers(1, 300), st.integers(0, 4), st.booleans(), st.integers(0, 2**32 - 1))
def test_looking_only_at_strips_changes_nothing(height: int, width: int, boxes: int, grey: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 8, (height, width, 3), dtype=np.uint8)
    for _ in range(boxes):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = top + rng.integers(1, height + 1), left + rng.integers(1, width + 1)
        image[top:bottom, left:right] += rng.integers(0, 40, 3, dtype=np.uint8)
    image = image[..., 0] if grey else image
    assert field_of_view_box(image) == by_definition(image)


def test_a_full_camera_image_is_as_defined_and_faster_than_blurring_it_all() -> None:
    image = disc(4288, 2848, 2100, 1424, 1700)
    start = time.perf_counter()
    box = field_of_view_box(image)
    middle = time.perf_counter()
    assert box == by_definition(image)
    assert middle - start < time.perf_counter() - middle


def test_real_photographs_lose_their_black_sides(shared_data) -> None:
    for number in ("001", "100", "200"):
        image = np.asarray(Image.open(shared_data("idrid_grading") / "images" / f"IDRiD_{number}.jpg"))
        left, top, right, bottom = field_of_view_box(image)
        assert (left, top, right, bottom) == by_definition(image)
        assert image[:, :left].mean() < 15
        assert image[:, right:].mean() < 15
        assert image[top:bottom, left:right].mean() > image.mean()
