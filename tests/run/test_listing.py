"""Names that the images of a list get."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from scantling.data.manifest import Manifest
from scantling.run.listing import list_images


@pytest.fixture
def folder(tmp_path):
    for name in ("a/one.png", "b/one.png", "b/two.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    return tmp_path


def manifest(folder, names) -> Manifest:
    pd.DataFrame({"image": names}).to_csv(folder / "m.csv", index=False)
    return Manifest.read(folder / "m.csv")


def test_pictures_of_absolute_paths_lie_below_what_the_paths_share(folder):
    names = [str(folder / n) for n in ("a/one.png", "b/one.png", "b/two.png")]
    listed = list_images(manifest(folder, names))
    assert [one.picture for one in listed] == ["a/one.png", "b/one.png", "b/two.png"]
    assert [one.name for one in listed] == names
    assert [one.picture for one in list_images(manifest(folder, names[1:]))] == ["one.png", "two.png"]


def test_relative_paths_stay_and_equal_names_are_told_apart(folder):
    listed = list_images(manifest(folder, ["a/one.png", "a/../b/two.png", "a/one.png"]))
    assert [one.picture for one in listed] == ["a/one.png", "a/b/two.png", "a/one.png~2"]
