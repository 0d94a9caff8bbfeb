"""Properties of preprocessing: geometry, identity, padding, what goes into the key."""

import numpy as np
import pytest
from PIL import Image

from scantling.core.errors import DataError, RecipeError
from scantling.data.preprocess import Preprocess
from scantling.data.readers import Picture, read_picture


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Picture(pixels, 0, 255)


def disc(height: int = 700, width: int = 1000, radius: int = 330) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    lit = (y - height / 2) ** 2 + (x - width / 2) ** 2 < radius**2
    return np.where(lit[..., None], np.array([180, 90, 40]), 0).astype(np.uint8)


def test_an_image_of_the_right_size_is_unchanged():
    p = picture(40, 30)
    mask = np.random.default_rng(1).integers(0, 4, (40, 30), dtype=np.uint8)
    image, classes = Preprocess((40, 30)).apply(p, mask)
    assert np.array_equal(image, p.pixels.transpose(2, 0, 1))
    assert np.array_equal(classes, mask)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("crop", ["none", "fundus", "center_square"])
@pytest.mark.parametrize("shape", [(700, 1000), (1000, 700), (64, 64), (50, 61)])
def test_mask_and_image_follow_the_same_geometry(crop, fit, shape):
    height, width = shape
    y, x = np.mgrid[:height, :width]
    lit = (((y - 0.55 * height) ** 2 + (x - 0.45 * width) ** 2) < (0.2 * min(shape)) ** 2).astype(np.uint8)
    image, mask = Preprocess((96, 128), crop, fit).apply(Picture(np.repeat(lit[..., None] * 255, 3, 2), 0, 255), lit)
    known = mask != 255
    assert known.any()
    wrong = ((image[0] > 127) != (mask == 1))[known].mean()
    assert wrong < 0.01, wrong
    assert 0 < (mask == 1).sum() < known.sum()


def test_padding_keeps_the_aspect_ratio_is_zero_and_unknown_and_lies_equally_on_both_sides():
    image, mask = Preprocess(100, fit="pad").apply(
        Picture(np.full((50, 200, 3), 255, np.uint8), 0, 255), np.ones((50, 200), np.uint8)
    )
    rows = np.flatnonzero((image == 255).all((0, 2)))
    assert len(rows) in (24, 25, 26)
    assert abs(rows[0] - (99 - rows[-1])) <= 1
    outside = np.setdiff1d(np.arange(100), rows)
    assert (image[:, outside] == 0).all()
    assert (mask[outside] == 255).all()
    assert (mask[rows] == 1).all()


def test_padding_enlarges_a_small_image_to_the_longest_side():
    image, _ = Preprocess(64, fit="pad").apply(Picture(np.full((8, 16, 1), 255, np.uint8), 0, 255))
    assert (image[:, 16:48] == 255).all()
    assert (image[:, :16] == 0).all()


def test_the_fundus_crop_keeps_the_disc_and_crops_again_to_itself():
    once, _ = Preprocess(256, "fundus").apply(Picture(disc(), 0, 255))
    lit = once.max(0) > 60
    assert lit[:, [1, -2]].any(0).all()
    assert lit[[1, -2]].any(1).all()
    twice, _ = Preprocess(256, "fundus").apply(Picture(np.ascontiguousarray(once.transpose(1, 2, 0)), 0, 255))
    assert np.abs(once.astype(int) - twice).mean() < 2


def test_the_centre_square_is_the_middle_of_either_orientation():
    wide = np.zeros((20, 60, 1), np.uint8)
    wide[:, 20:40] = 200
    for pixels in (wide, wide.transpose(1, 0, 2)):
        image, _ = Preprocess(20, "center_square", channels=1).apply(Picture(np.ascontiguousarray(pixels), 0, 255))
        assert (image == 200).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_repeated_or_turned_into_luma(channels):
    grey, colour = picture(16, 16, 1), picture(16, 16, 3)
    image, _ = Preprocess(16, channels=channels).apply(grey)
    assert image.shape == (channels, 16, 16)
    assert (image == grey.pixels[..., 0]).all()
    image, _ = Preprocess(16, channels=channels).apply(colour)
    if channels == 1:
        luma = colour.pixels @ np.array([0.299, 0.587, 0.114])
        assert np.abs(image[0] - luma).max() <= 1


def test_a_wide_number_range_is_mapped_before_resizing():
    pixels = np.linspace(0, 4000, 32 * 32).reshape(32, 32, 1).astype(np.uint16)
    image, _ = Preprocess(32, channels=1).apply(Picture(pixels, 0, 4000))
    assert image.min() == 0
    assert image.max() == 255
    assert np.abs(image[0] - pixels[..., 0] / 4000 * 255).max() <= 1


def test_the_short_cut_for_large_images_stays_near_plain_lanczos():
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (150, 200, 3), dtype=np.uint8)).resize((2000, 1500), Image.BICUBIC)
    noisy = (np.asarray(rough).astype(int) + rng.integers(-8, 9, (1500, 2000, 3))).clip(0, 255).astype(np.uint8)
    image, _ = Preprocess((96, 128)).apply(Picture(noisy, 0, 255))
    plain = np.asarray(Image.fromarray(noisy).resize((128, 96), Image.LANCZOS)).transpose(2, 0, 1)
    error = np.abs(image.astype(int) - plain)
    assert error.max() <= 5
    assert error.mean() < 0.4


def test_key_and_json_tell_settings_apart_and_come_back():
    variants = [Preprocess(), Preprocess(225), Preprocess((224, 223)), Preprocess(crop="fundus"), Preprocess(fit="pad"),
                Preprocess(channels=1)]  # fmt: skip
    assert len({v.key for v in variants}) == len(variants)
    assert all(Preprocess.from_json(v.to_json()) == v for v in variants)
    assert Preprocess(224).key == Preprocess((224, 224)).key == Preprocess([224, 224]).key


@pytest.mark.parametrize(
    "content", [{"size": 0}, {"size": [1, 2, 3]}, {"crop": "fundas"}, {"fit": "x"}, {"channels": 2}, {"sise": 3}]
)
def test_settings_that_cannot_be_are_refused(content):
    with pytest.raises(RecipeError, match="preprocess"):
        Preprocess.from_json(content)


def test_a_mask_of_another_size_and_odd_channels_are_refused():
    with pytest.raises(DataError, match="mask has 4 x 5 pixels and its image 8 x 8"):
        Preprocess(8).apply(picture(8, 8), np.zeros((4, 5), np.uint8))
    with pytest.raises(DataError, match="shape"):
        Preprocess(8).apply(picture(8, 8, 2))


def test_real_photographs_fill_the_square_after_the_crop(shared_data):
    files = sorted((shared_data("idrid_grading") / "images").glob("*.jpg"))[:5]
    for file in files:
        image, _ = Preprocess(128, "fundus").apply(read_picture(file))
        plain, _ = Preprocess(128).apply(read_picture(file))
        assert (image.max(0) > 40).mean() >= (plain.max(0) > 40).mean()
