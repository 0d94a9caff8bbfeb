"""The manifest: what it refuses, what it mends, and that paths survive a move."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from scantling.core.errors import DataError
from scantling.data.manifest import Manifest, parse_spacing


def table(**columns: list) -> pd.DataFrame:
    return pd.DataFrame({"image": ["a.png", "b.png", "c.png"], **columns})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_written_manifest_reads_back_the_same(tmp_path: Path, suffix: str) -> None:
    manifest = Manifest(
        table(
            label=["0", "1", None], patient=["007", None, "8"], frame=[0, 3, None], split=["train", "val", None],
            pixel_spacing=["0.2\\0.3", None, "0.5"], camera=["x", "y", "z"],
        ),
        tmp_path,
    )  # fmt: skip
    manifest.write(tmp_path / f"m{suffix}")
    again = Manifest.read(tmp_path / f"m{suffix}")
    assert again.table["patient"].tolist()[::2] == ["007", "8"]
    assert [again.frame(i) for i in range(3)] == [0, 3, None]
    assert [again.spacing(i) for i in range(3)] == [(0.2, 0.3), None, (0.5, 0.5)]
    assert again.split("train").tolist() == [0]
    assert again.split("test").tolist() == []
    assert again.has_splits
    assert again.table["camera"].tolist() == ["x", "y", "z"]
    assert again.table["label"].tolist()[:2] == ["0", "1"]


def test_relative_paths_still_point_at_their_files_after_writing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    manifest = Manifest(table(mask=["m/a.png", None, "m/c.npz#x"]), tmp_path / "data")
    up = manifest.write(tmp_path / "m.csv")
    assert up.table["image"].tolist() == ["data/a.png", "data/b.png", "data/c.png"]
    away = up.write(tmp_path / "else" / "m.csv")
    assert away.path(2, "mask") == (tmp_path / "data" / "m" / "c.npz", "x")
    assert all(Path(p).is_absolute() for p in away.table["image"])
    back = Manifest.read(tmp_path / "else" / "m.csv").write(tmp_path / "n.csv")
    assert back.table["image"].tolist() == up.table["image"].tolist()


def test_lateralities_become_words_and_unknown_ones_are_refused() -> None:
    manifest = Manifest(table(laterality=["L", "od", " Right "]))
    assert manifest.table["laterality"].tolist() == ["left", "right", "right"]
    with pytest.raises(DataError, match=r"row 3: unknown laterality 'rigth' .*'right'"):
        Manifest(table(laterality=["L", "rigth", "R"]))


def test_an_unknown_split_is_refused_with_its_row_and_the_nearest() -> None:
    with pytest.raises(DataError, match=r"row 4: unknown split 'tset' .*did you mean 'test'"):
        Manifest(table(split=["train", None, "tset"]))


@pytest.mark.parametrize("frame", ["x", -1, 1.5])
def test_a_frame_that_is_no_whole_number_is_refused(frame: object) -> None:
    with pytest.raises(DataError, match="row 3: frame"):
        Manifest(table(frame=[0, frame, 1]))


def test_missing_image_column_and_empty_image_cells_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("images,label\na.png,1\n")
    with pytest.raises(DataError, match=r"m\.csv: no column 'image' \(did you mean 'images'"):
        Manifest.read(tmp_path / "m.csv")
    with pytest.raises(DataError, match="row 3: no image"):
        Manifest(pd.DataFrame({"image": ["a", " ", "b"]}))
    with pytest.raises(DataError, match="row 3: no mask"):
        Manifest(table(mask=["x.png", None, "y.png"])).path(1, "mask")


def test_whole_numbers_with_gaps_stay_whole_as_patients() -> None:
    assert Manifest(table(patient=[3.0, float("nan"), 4.0])).table["patient"].tolist()[::2] == ["3", "4"]


@pytest.mark.parametrize("content", ["", "\n", 'a,b\n"unclosed', "image,image\na,b\n"])
def test_files_that_are_no_tables_give_one_line_errors(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(DataError, match=r"m\.csv"):
        Manifest.read(tmp_path / "m.csv")


def test_binary_foreign_and_absent_files_give_one_line_errors(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"image\n\xff\xfe\x00.png\n")
    (tmp_path / "m.parquet").write_bytes(b"not parquet")
    (tmp_path / "m.xlsx").write_bytes(b"")
    for name in ("m.csv", "m.parquet", "m.xlsx", "absent.csv"):
        with pytest.raises(DataError, match=name):
            Manifest.read(tmp_path / name)


def test_semicolons_tabs_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    for name, text in (("a.csv", "\ufeffimage;label\nx.png;1\n"), ("b.tsv", "image\tlabel\nx.png\t1\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert Manifest.read(tmp_path / name).table["label"].tolist() == ["1"]


def test_a_failed_write_leaves_the_old_manifest(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    Manifest(table(), tmp_path).write(file)
    before = file.read_bytes()
    with pytest.raises(DataError, match="CSV or Parquet"):
        Manifest(table(), tmp_path).write(tmp_path / "m.txt")
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.csv"]


@pytest.mark.parametrize("value", ["0", "-1", "x", "1\\2\\3", "inf"])
def test_spacings_that_are_no_lengths_are_refused(value: str) -> None:
    with pytest.raises(DataError, match="pixel spacing"):
        parse_spacing(value)


def test_select_keeps_order_and_renumbers() -> None:
    part = Manifest(table(label=["0", "1", "2"])).select([2, 0])
    assert part.table["label"].tolist() == ["2", "0"]
    assert part.table.index.tolist() == [0, 1]
