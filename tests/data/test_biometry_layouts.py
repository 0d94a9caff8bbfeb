"""Layouts of fetal biometry: masks that are drawn have the size and place that the table gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from scantling.core.errors import DataError
from scantling.data.layouts import import_layout
from scantling.data.readers import read_mask
from scantling.measure import fit_ellipses, fit_rectangles


def blank(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)


def mask_of(manifest, row: int) -> np.ndarray:
    return read_mask(manifest.path(row, "mask")[0], None, None, 2) == 1


def test_ellipses_of_a_table_are_drawn_at_the_stored_size(tmp_path):
    blank(tmp_path / "hc" / "images" / "7_HC.jpg", (400, 270))
    (tmp_path / "hc" / "labels.csv").write_text(
        "image,subject,orig_w,orig_h,pixel_mm,hc_mm,cx,cy,semi_a,semi_b,angle_deg\n"
        "7_HC.jpg,7,800,540,0.1,100,410,260,200,160,30\n8_HC.jpg,8,800,540,0.1,100,410,260,200,160,30\n"
    )
    manifest = import_layout("hc18", tmp_path / "hc", tmp_path / "m.csv")
    assert manifest.target.spec == "biometry:head"
    assert manifest.table["mask"].fillna("").tolist() == ["m_masks/7_HC.png", ""]
    found = fit_ellipses(mask_of(manifest, 0)[None], manifest.spacing(0))
    np.testing.assert_allclose(found.semi_axes, [[20, 16]], atol=0.03)
    np.testing.assert_allclose(found.centre, [[41, 26]], atol=0.02)
    np.testing.assert_allclose(np.degrees(found.angle), [30], atol=0.3)


@pytest.mark.parametrize("nested", ["training_set", "training_set/training_set"])
def test_an_annotated_line_gives_the_ellipse_along_its_middle(tmp_path, nested):
    home = tmp_path / nested
    for name in ("010_HC", "010_2HC"):
        blank(home / f"{name}.png", (400, 300))
    line = Image.new("L", (400, 300))
    # Not closed, and cut by the edge of the picture, as some are.
    ImageDraw.Draw(line).arc((90.0, -30.0, 330.0, 150.0), 20, 340, fill=255, width=4)
    line.save(home / "010_HC_Annotation.png")
    (tmp_path / "training_set_pixel_size_and_HC.csv").write_text(
        "filename,pixel size(mm),head circumference (mm)\n010_HC.png,0.1,66\n010_2HC.png,0.1,66\n"
    )
    manifest = import_layout("hc18", tmp_path, tmp_path / "m.csv", mask_folder=str(tmp_path / "drawn"))
    table = manifest.table
    assert table["patient"].tolist() == ["010", "010"]
    # Pillow draws the line inside the box, four pixels wide.
    np.testing.assert_allclose(table[["cx", "cy"]].iloc[0].tolist(), [210, 60], atol=0.6)
    np.testing.assert_allclose(table[["semi_a", "semi_b"]].iloc[0].tolist(), [118.25, 88.25], atol=0.6)
    assert table["mask"].isna().tolist() == [False, True]
    assert mask_of(manifest, 0)[60, 100:320].all()


def test_without_ellipses_there_is_nothing_to_learn(tmp_path):
    blank(tmp_path / "test_set" / "000_HC.png", (20, 20))
    (tmp_path / "test_set_pixel_size.csv").write_text("filename,pixel size(mm)\n000_HC.png,0.1\n")
    manifest = import_layout("hc18", tmp_path, tmp_path / "m.csv")
    assert manifest.target.kind == "none"
    assert "mask" not in manifest.table
    assert not (tmp_path / "m_masks").exists()


def test_callipers_become_filled_shapes_and_measures_their_columns(tmp_path):
    for name in "abc":
        blank(tmp_path / "images" / f"{name}.png", (300, 240))
    # Pixels are twice as high as wide: both diameters are 60 mm and 40 mm long, at right angles in millimetres.
    head = "70,100,190,110,127.5,101.1,132.5,108.9"
    (tmp_path / "t.csv").write_text(
        "filename,plane,pixel_mm_x,pixel_mm_y,patient,measure_mm,x1,y1,x2,y2,x3,y3,x4,y4\n"
        "a.png,head,0.5,1.0,p1,158.7,70,100,190,100,130,80,130,120\n"
        f"b.png,abdomen,0.5,1.0,p1,,{head}\n"
        "c.png,femur,0.5,1.0,p2,50,60,50,120,90,,,,\n"
    )
    manifest = import_layout("biometry", tmp_path / "t.csv", tmp_path / "m.csv")
    table = manifest.table
    assert manifest.target.spec == "biometry:head|abdomen|femur"
    assert manifest.spacing(0) == (1.0, 0.5)
    assert table["hc_mm"].tolist()[0] == 158.7
    assert table["fl_mm"].tolist()[2] == 50
    assert table["hc_mm"].isna().tolist() == [False, True, True]
    found = fit_ellipses(mask_of(manifest, 0)[None], manifest.spacing(0))
    np.testing.assert_allclose(found.diameters, [[60, 40]], atol=0.2)
    np.testing.assert_allclose(found.centre, [[65, 100]], atol=0.05)
    bar = fit_rectangles(mask_of(manifest, 2)[None], manifest.spacing(2), "moments")
    np.testing.assert_allclose(bar.sides, [[50, 6]], atol=0.3)
    np.testing.assert_allclose(bar.angle, np.arctan2(40, 30), atol=0.01)


def test_masks_that_are_given_are_kept_and_unknown_planes_named(tmp_path):
    for name in ("a.png", "a_mask.png"):
        blank(tmp_path / name, (30, 20))
    (tmp_path / "t.csv").write_text("filename,plane,pixel_mm,mask\na.png,head,0.2,a_mask.png\n")
    manifest = import_layout("biometry", tmp_path, tmp_path / "m.parquet")
    assert manifest.table["mask"].tolist() == ["a_mask.png"]
    assert manifest.spacing(0) == (0.2, 0.2)
    (tmp_path / "t.csv").write_text("filename,plane\na.png,hed\n")
    with pytest.raises(DataError, match=r"row 2: unknown plane 'hed' \(did you mean 'head'"):
        import_layout("biometry", tmp_path, tmp_path / "n.csv")


def test_hc18_masks_measure_what_was_published(shared_data, tmp_path):
    source = shared_data("hc18_half")
    table = pd.read_csv(source / "labels.csv").iloc[::40]
    few = tmp_path / "labels.csv"
    table.to_csv(few, index=False)
    manifest = import_layout("hc18", few, tmp_path / "m.csv", image_folder=str(source / "images"))
    errors = []
    for row in range(len(manifest)):
        found = fit_ellipses(mask_of(manifest, row)[None], manifest.spacing(row))
        errors.append(abs(found.circumference()[0] - manifest.table["hc_mm"].iloc[row]))
    assert np.mean(errors) < 0.05
    assert max(errors) < 0.15
