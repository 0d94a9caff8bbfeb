"""Check: everything that spoils an experiment is found, and nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.data.check import CheckReport, check
from scantling.data.layouts import import_layout
from scantling.data.manifest import Manifest
from scantling.data.typos import likely_typos


def images(folder: Path, count: int, size: tuple[int, int] = (24, 20), start: int = 0) -> list[str]:
    rng = np.random.default_rng(start)
    for i in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{start + i}.png")
    return [f"{start + i}.png" for i in range(count)]


def sound(folder: Path) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": images(folder, 12),
            "label": ["0", "1"] * 6,
            "target": "grade:2",
            "patient": [str(i // 2) for i in range(12)],
            "split": ["train"] * 6 + ["val"] * 2 + ["test"] * 4,
        }
    )


def found(report: CheckReport, kind: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(p.severity, p.rows) for p in report.problems if p.kind == kind]


def test_a_sound_manifest_has_no_problems(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    report = check(Manifest(sound(tmp_path), tmp_path), workers=2, progress=lambda *p: done.append(p))
    assert report.ok
    assert report.problems == ()
    assert report.counts["classes"] == {
        "train": {"0": 3, "1": 3}, "val": {"0": 1, "1": 1}, "test": {"0": 2, "1": 2},
    }  # fmt: skip
    assert report.counts["sizes"] == {"24x20": 12}
    assert report.counts["patients"] == 6
    assert done[-1] == (12, 12)
    assert len(done) == 12
    assert "no problems found" in report.render()


def test_missing_and_damaged_files_are_told_apart(tmp_path: Path) -> None:
    table = sound(tmp_path)
    (tmp_path / "3.png").unlink()
    whole = (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "7.png").write_bytes(b"<html>not found</html>")
    report = check(Manifest(table, tmp_path))
    assert not report.ok
    assert found(report, "missing") == [("error", (3,))]
    assert found(report, "corrupt") == [("error", (5, 7))]
    assert report.counts["readable"] == 9
    assert "rows 7, 9" in report.render()


def test_copies_are_found_by_their_pixels_whatever_the_file(tmp_path: Path) -> None:
    table = sound(tmp_path)
    for one, other, suffix in ((0, 2, "tif"), (1, 10, "png"), (4, 5, "png")):
        Image.open(tmp_path / f"{one}.png").save(tmp_path / f"{other}.{suffix}")
    table.loc[2, "image"] = "2.tif"
    report = check(Manifest(table, tmp_path))
    assert found(report, "duplicate") == [("warning", (0, 2))]
    assert found(report, "duplicate-in-two-splits") == [("error", (1, 10))]
    assert found(report, "duplicate-labels") == [("error", (1, 4, 5, 10))]
    (part,) = (p for p in report.problems if p.kind == "duplicate-in-two-splits")
    assert "1.png and 10.png" in part.message


def test_a_patient_in_two_splits_is_an_error_that_does_not_name_the_patient(tmp_path: Path) -> None:
    table = sound(tmp_path)
    table.loc[[1, 9], "patient"] = "Jane Doe"
    report = check(Manifest(table, tmp_path))
    assert found(report, "patient-in-two-splits") == [("error", (1, 9))]
    assert "Jane" not in report.render()
    assert "Jane" not in json.dumps(report.to_json())


def test_labels_that_the_target_lacks_classes_absent_and_rows_unlabelled(tmp_path: Path) -> None:
    table = sound(tmp_path)
    table.loc[[6, 7], "label"] = ["0", None]
    report = check(Manifest(table, tmp_path))
    assert report.ok
    assert found(report, "absent-class") == [("warning", ())]
    assert "val has no image of '1'" in report.render()
    assert found(report, "unlabelled") == [("warning", (7,))]
    table.loc[3, "label"] = "2"
    report = check(Manifest(table, tmp_path))
    assert not report.ok
    assert "row 5: label '2' is not one of 0, 1" in report.render()


def test_slips_of_the_pen_in_class_names(tmp_path: Path) -> None:
    table = sound(tmp_path).drop(columns=["split", "patient"])
    table["label"] = ["mild"] * 9 + ["Mild", "milld", "severe"]
    table["target"] = "class"
    report = check(Manifest(table, tmp_path))
    assert found(report, "label-typo") == [("warning", (9,)), ("warning", (10,))]
    assert likely_typos({"benign": 100, "malignant": 3, "stage 1": 50, "stage 2": 2, "normal": 9}) == []


def test_blank_odd_and_grey_images(tmp_path: Path) -> None:
    table = pd.DataFrame({"image": images(tmp_path, 40)})
    Image.new("RGB", (24, 20), (9, 9, 9)).save(tmp_path / "1.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (5, 5, 3), dtype=np.uint8)).save(tmp_path / "2.png")
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (10, 60, 3), dtype=np.uint8)).save(tmp_path / "3.png")
    Image.open(tmp_path / "4.png").convert("L").save(tmp_path / "4.png")
    report = check(Manifest(table, tmp_path))
    assert report.ok
    assert found(report, "blank") == [("warning", (1,))]
    assert found(report, "size") == [("warning", (2, 3))]
    assert found(report, "channels") == [("warning", (4,))]


def test_blank_images_are_not_called_copies_of_one_another(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("L", (9, 9)).save(tmp_path / f"{name}.png")
    report = check(Manifest(pd.DataFrame({"image": ["a.png", "b.png"]}), tmp_path))
    assert [p.kind for p in report.problems] == ["blank"]


def test_masks_missing_of_another_size_and_of_unknown_classes(tmp_path: Path) -> None:
    table = pd.DataFrame({"image": images(tmp_path, 4), "target": "mask:background|disc|cup"})
    table["mask"] = [f"m{i}.png" for i in range(4)]
    for i, (size, value) in enumerate([((24, 20), 2), ((24, 21), 1), ((24, 20), 9)]):
        Image.new("L", size, value).save(tmp_path / f"m{i}.png")
    report = check(Manifest(table, tmp_path))
    assert found(report, "mask") == [("error", (2, 3))]
    assert found(report, "mask-size") == [("error", (1,))]
    assert "24x21 for an image of 24x20" in report.render()


def test_the_report_is_plain_json_and_an_empty_manifest_an_error(tmp_path: Path) -> None:
    report = check(Manifest(sound(tmp_path), tmp_path))
    assert json.loads(json.dumps(report.to_json()))["ok"] is True
    empty = check(Manifest(pd.DataFrame({"image": []})))
    assert not empty.ok
    assert "no rows" in empty.render()


def test_threads_do_not_change_the_report(tmp_path: Path) -> None:
    table = sound(tmp_path)
    (tmp_path / "3.png").unlink()
    manifest = Manifest(table, tmp_path)
    assert check(manifest, workers=1).to_json() == check(manifest, workers=4).to_json()


def test_real_photographs_are_checked_in_seconds_and_their_real_copies_found(shared_data, tmp_path: Path) -> None:
    manifest = import_layout(
        "csv", shared_data("idrid_grading"), tmp_path / "m.csv", label="dr_grade", target="grade", split="split"
    )
    start = time.perf_counter()
    report = check(manifest)
    assert time.perf_counter() - start < 20
    assert report.counts["readable"] == 455
    assert report.counts["classes"]["train"] == {"0": 114, "1": 17, "2": 125, "3": 64, "4": 55}
    (across,) = (p for p in report.problems if p.kind == "duplicate-in-two-splits")
    names = {Path(manifest.table["image"].iloc[r]).name for r in across.rows}
    assert names == {"IDRiD_118.jpg", "IDRiD_064test.jpg"}


@pytest.mark.parametrize("folder", ["vessels_hrf", "vessels_chase"])
def test_real_masks_fit_their_images(shared_data, tmp_path: Path, folder: str) -> None:
    assert check(import_layout("vessels", shared_data(folder), tmp_path / "m.csv")).ok
