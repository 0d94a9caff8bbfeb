"""Readers of common image files and masks: round trips, and one-line errors for damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scantling.core.errors import DataError
from scantling.data.readers import READERS, count_frames, read_mask, read_picture

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_lossless_colour_files_round_trip(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    Image.fromarray(COLOUR).save(file, **({"lossless": True} if suffix == ".webp" else {}))
    picture = read_picture(file)
    np.testing.assert_array_equal(picture.pixels, COLOUR)
    assert picture.to_uint8() is picture.pixels
    assert (picture.low, picture.high) == (0, 255)


def test_jpeg_is_near_and_its_orientation_applied(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)[..., None].repeat(3, 2)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter clockwise to be shown
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95, exif=exif)
    pixels = read_picture(tmp_path / "a.jpg").pixels.astype(int)
    assert pixels.shape == (60, 40, 3)
    assert np.abs(pixels - np.rot90(smooth.astype(int), -1)).max() <= 6


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 1, 257], [32768, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(picture.pixels[..., 0], values)
    assert (picture.low, picture.high) == (0, 65535)
    np.testing.assert_array_equal(picture.to_uint8()[..., 0], np.rint(values / 257))


def test_grey_alpha_palette_and_one_bit_images(tmp_path: Path) -> None:
    grey = COLOUR[..., 0]
    Image.fromarray(grey).convert("LA").save(tmp_path / "la.png")
    Image.fromarray(np.dstack([COLOUR, grey])).save(tmp_path / "rgba.png")
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "p.png")
    Image.fromarray(grey > 128).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "la.png").pixels[..., 0], grey)
    np.testing.assert_array_equal(read_picture(tmp_path / "rgba.png").pixels, COLOUR)
    assert read_picture(tmp_path / "p.png").pixels.shape == (20, 30, 3)
    np.testing.assert_array_equal(read_picture(tmp_path / "bit.png").pixels[..., 0], np.where(grey > 128, 255, 0))


def test_float_tiff_has_its_own_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-2.0, 0.0], [1.0, 6.0]], dtype=np.float32)).save(tmp_path / "f.tif")
    picture = read_picture(tmp_path / "f.tif")
    assert (picture.low, picture.high) == (-2, 6)
    np.testing.assert_array_equal(picture.to_uint8().ravel(), [0, 64, 96, 255])


def test_pages_of_a_tiff_are_frames(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 5), v, dtype=np.uint8)) for v in (1, 2, 3)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    assert count_frames(tmp_path / "s.tif") == 3
    assert [read_picture(tmp_path / "s.tif", frame=i).pixels.max() for i in range(3)] == [1, 2, 3]
    with pytest.raises(DataError, match="no frame 3; frames are 0 to 2"):
        read_picture(tmp_path / "s.tif", frame=3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".gif"])
@pytest.mark.parametrize("keep", [0, 40, 0.5, 0.9])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path: Path, suffix: str, keep: float) -> None:
    file = tmp_path / f"a{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(DataError, match=rf"a\{suffix}"):
        read_picture(file)


def test_missing_and_unknown_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_picture(tmp_path / "absent.png")
    (tmp_path / "a.xyz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"unknown image format '\.xyz'.*\.jpg.*\.npz"):
        read_picture(tmp_path / "a.xyz")
    assert {".jpg", ".png", ".tif", ".webp", ".dcm", ".nii.gz", ".npz"} <= set(READERS)


def test_two_class_masks_are_cut_at_half_of_their_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 127], [128, 255]], dtype=np.uint8)).save(tmp_path / "m.png")
    Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8)).save(tmp_path / "n.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 0], [1, 1]]
    assert read_mask(tmp_path / "n.png").tolist() == [[0, 1], [1, 0]]
    Image.new("L", (2, 2)).save(tmp_path / "o.png")
    assert read_mask(tmp_path / "o.png").max() == 0


def test_masks_of_more_classes_hold_class_numbers_and_keep_the_unknown(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 2], [255, 2, 0]], dtype=np.uint8)
    Image.fromarray(numbers).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", num_classes=3), numbers)
    indexed = Image.frombytes("P", (3, 2), numbers.tobytes())
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [255] * 759)
    indexed.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "p.png", num_classes=3), numbers)
    Image.fromarray(np.full((2, 2), 7, dtype=np.uint8)).save(tmp_path / "bad.png")
    with pytest.raises(DataError, match="mask value 7 is not one of 3 classes"):
        read_mask(tmp_path / "bad.png", num_classes=3)
    Image.fromarray(COLOUR).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="colours"):
        read_mask(tmp_path / "rgb.png", num_classes=3)


def test_real_vessel_masks_are_sparse_and_as_large_as_their_images(shared_data) -> None:
    folder = shared_data("vessels_hrf")
    mask = read_mask(folder / "masks" / "01_h.png")
    assert mask.shape == read_picture(folder / "images" / "01_h.jpg").pixels.shape[:2]
    assert 0.02 < mask.mean() < 0.2
