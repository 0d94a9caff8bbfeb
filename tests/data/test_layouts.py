"""Layouts: each known form of a data set becomes the manifest it means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.core.errors import DataError
from scantling.data.layouts import describe, import_layout, names
from scantling.data.manifest import Manifest
from scantling.data.readers import read_picture


def picture(path: Path, size: tuple[int, int] = (8, 6), value: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def test_every_layout_is_described_with_its_options() -> None:
    assert {"folder", "csv", "medmnist", "eyepacs", "isic", "nih_cxr14", "hc18", "biometry", "vessels"} <= set(names())
    assert all(f"\n{n} " in f"\n{describe()}" for n in names())
    for name in names():
        assert "Args:" in describe(name)
    with pytest.raises(DataError, match=r"unknown layout 'foldr' .*'folder'"):
        describe("foldr")


def test_a_folder_a_class(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/deep/1.jpg", "a/x.png", ".hidden/y.png", "a/notes.txt", "a/.z.png"):
        picture(tmp_path / "d" / name) if not name.endswith("txt") else (tmp_path / "d" / name).write_text("x")
    manifest = import_layout("folder", tmp_path / "d", tmp_path / "m.csv")
    assert list(zip(manifest.table["image"], manifest.table["label"])) == [
        ("d/a/x.png", "a"), ("d/b/2.png", "b"), ("d/b/deep/1.jpg", "b"),
    ]  # fmt: skip
    assert manifest.target.spec == "class:a|b"
    assert not manifest.has_splits


def test_a_folder_a_split_and_a_class(tmp_path: Path) -> None:
    for split in ("Training", "valid", "test"):
        for grade in range(3):
            picture(tmp_path / split / str(grade) / f"{split}{grade}.png")
    manifest = import_layout("folder", tmp_path, tmp_path / "m.csv", target="grade", site="here")
    assert manifest.table["target"].unique().tolist() == ["grade:3"]
    assert [len(manifest.split(s)) for s in ("train", "val", "test")] == [3, 3, 3]
    assert set(manifest.table["site"]) == {"here"}


def test_loose_images_and_a_single_folder_are_unlabelled(tmp_path: Path) -> None:
    picture(tmp_path / "loose" / "a.png")
    picture(tmp_path / "one" / "images" / "a.png")
    for folder in ("loose", "one"):
        manifest = import_layout("folder", tmp_path / folder, tmp_path / "m.csv")
        assert len(manifest) == 1
        assert manifest.target.kind == "none"
        assert "label" not in manifest.table
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images found"):
        import_layout("folder", tmp_path / "empty", tmp_path / "m.csv")


def test_a_table_with_its_columns_named(tmp_path: Path) -> None:
    for n in "abc":
        picture(tmp_path / "d" / "img" / f"{n}.png")
    (tmp_path / "d" / "t.csv").write_text(
        "id,dx,who,part,eye,vis,x\na,2,007,training,OS,PA,1\nb,0,8,validation,OD,AP,2\nc,,,test,,,3\n"
    )
    manifest = import_layout(
        "csv", tmp_path / "d" / "t.csv", tmp_path / "d" / "m.csv", image="id", label="dx", patient="who", split="part",
        laterality="eye", view="vis", target="grade:5", image_folder="img", suffix=".png", pixel_spacing="0.25",
        keep="x",
    )  # fmt: skip
    table = manifest.table
    assert table["image"].tolist() == ["img/a.png", "img/b.png", "img/c.png"]
    assert table["patient"].tolist()[:2] == ["007", "8"]
    assert table["split"].tolist() == ["train", "val", "test"]
    assert table["laterality"].tolist()[:2] == ["left", "right"]
    assert manifest.spacing(2) == (0.25, 0.25)
    assert manifest.target.encode(table).tolist() == [2, 0, -1]
    assert table["x"].tolist() == [1, 2, 3]
    assert "dx" not in table


def test_findings_of_a_table(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "t.csv").write_text("image,Edema,Mass,Other\na.png,1,0,1\nb.png,,-1,1\n")
    manifest = import_layout("csv", tmp_path, tmp_path / "m.parquet", findings=["Edema", "Mass"])
    np.testing.assert_array_equal(manifest.target.encode(manifest.table), [[1, 0], [np.nan, np.nan]])
    assert manifest.table["target"].iloc[0] == "findings:Edema|Mass"
    assert manifest.table["image"].tolist() == ["images/a.png", "images/b.png"]


def test_what_a_table_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label,split\na,1,trian\n")
    with pytest.raises(DataError, match=r"no column 'lable' \(did you mean 'label'\?\); columns: image, label, split"):
        import_layout("csv", tmp_path / "t.csv", tmp_path / "m.csv", label="lable")
    with pytest.raises(DataError, match=r"layout 'csv' has no option 'lable' \(did you mean 'label'"):
        import_layout("csv", tmp_path / "t.csv", tmp_path / "m.csv", lable="label")
    with pytest.raises(DataError, match=r"unknown split 'trian' \(did you mean 'train'"):
        import_layout("csv", tmp_path / "t.csv", tmp_path / "m.csv")
    (tmp_path / "u.csv").write_text("image,label\na,1\n")
    with pytest.raises(DataError, match=r"not just one table \(t.csv, u.csv\)"):
        import_layout("csv", tmp_path, tmp_path / "m.csv")
    with pytest.raises(DataError, match="no such file or folder"):
        import_layout("csv", tmp_path / "v.csv", tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def test_some_missing_images_are_kept_but_none_at_all_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\na.png,1\nb.png,2\n")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"pictures: none of the 2 images is there \(the first is a.png\)"):
        import_layout("csv", tmp_path / "t.csv", tmp_path / "m.csv", image_folder="pictures")
    picture(tmp_path / "pictures" / "b.png")
    manifest = import_layout("csv", tmp_path / "t.csv", tmp_path / "m.csv", image_folder="pictures")
    assert manifest.table["image"].tolist() == ["pictures/a.png", "pictures/b.png"]


def test_medmnist_rows_point_into_the_archive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 6), ("val", 2), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 3, (n, 1)).astype(np.uint8)
    np.savez(tmp_path / "retinamnist.npz", **arrays)
    manifest = import_layout("medmnist", tmp_path / "retinamnist.npz", tmp_path / "m.csv")
    assert [len(manifest.split(s)) for s in ("train", "val", "test")] == [6, 2, 4]
    assert manifest.target.kind == "grade"
    row = int(manifest.split("test")[2])
    path, part = manifest.path(row)
    np.testing.assert_array_equal(read_picture(path, part, manifest.frame(row)).pixels, arrays["test_images"][2])
    assert manifest.target.encode(manifest.table)[row] == arrays["test_labels"][2, 0]


def test_medmnist_with_names_and_with_several_labels(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.array([[0], [1], [1]]))
    np.savez(tmp_path / "y.npz", train_images=images, train_labels=np.eye(3, 2, dtype=np.uint8))
    named = import_layout("medmnist", tmp_path / "x.npz", tmp_path / "m.csv", classes="malignant,benign")
    assert named.target.names == ("malignant", "benign")
    assert named.target.encode(named.table).tolist() == [0, 1, 1]
    several = import_layout("medmnist", tmp_path / "y.npz", tmp_path / "m.csv")
    np.testing.assert_array_equal(several.target.encode(several.table), np.eye(3, 2))
    with pytest.raises(DataError, match="label 1, but 1 class names"):
        import_layout("medmnist", tmp_path / "x.npz", tmp_path / "m.csv", classes="malignant")


def test_eyepacs_takes_patient_side_and_official_split(tmp_path: Path) -> None:
    for name in ("train/10_left.jpeg", "train/10_right.jpeg", "test/1_left.jpeg", "test/1_right.jpeg"):
        picture(tmp_path / name)
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_right,4\n")
    manifest = import_layout("eyepacs", tmp_path, tmp_path / "m.csv")
    assert not manifest.has_splits
    (tmp_path / "retinopathy_solution.csv").write_text("image,level,Usage\n1_left,2,Public\n2_right,1,Private\n")
    manifest = import_layout("eyepacs", tmp_path, tmp_path / "m.csv")
    table = manifest.table
    assert table["image"].tolist()[:3] == ["train/10_left.jpeg", "train/10_right.jpeg", "test/1_left.jpeg"]
    assert table["patient"].tolist() == ["10", "10", "1", "2"]
    assert table["laterality"].tolist() == ["left", "right", "left", "right"]
    assert table["split"].tolist() == ["train", "train", "val", "test"]
    assert manifest.target.encode(table).tolist() == [0, 4, 2, 1]
    assert table["target"].iloc[0] == "grade:5"


def test_isic_one_hot_columns_become_a_class_and_lesions_patients(tmp_path: Path) -> None:
    picture(tmp_path / "ISIC2018_Task3_Training_Input" / "ISIC_1.jpg")
    (tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(
        "image,MEL,NV,UNK\nISIC_1,1.0,0.0,0.0\nISIC_2,0.0,1.0,0.0\nISIC_3,0.0,0.0,0.0\n"
    )
    (tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text(
        "image,lesion_id,diagnosis_confirm_type\nISIC_1,HAM_7,x\nISIC_2,HAM_7,x\n"
    )
    manifest = import_layout("isic", tmp_path, tmp_path / "m.csv")
    assert manifest.target.names == ("MEL", "NV")
    assert manifest.target.encode(manifest.table).tolist() == [0, 1, -1]
    assert manifest.table["patient"].tolist()[:2] == ["HAM_7", "HAM_7"]
    assert manifest.table["image"].iloc[0] == "ISIC2018_Task3_Training_Input/ISIC_1.jpg"
    (tmp_path / "bad_GroundTruth.csv").write_text("image,MEL,NV\nISIC_1,1,1\n")
    with pytest.raises(DataError, match="row 2: two diagnoses"):
        import_layout("isic", tmp_path / "bad_GroundTruth.csv", tmp_path / "m.csv")


def test_nih_findings_view_spacing_and_lists(tmp_path: Path) -> None:
    picture(tmp_path / "images_001" / "images" / "00000001_000.png")
    (tmp_path / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
        "00000001_000.png,Cardiomegaly|Edema,0,1,58,M,PA,2048,3072,0.2,0.3,\n"
        "00000002_000.png,No Finding,0,2,60,F,AP,1024,1024,0.1,0.1,\n"
    )
    (tmp_path / "train_val_list.txt").write_text("00000001_000.png\n")
    (tmp_path / "test_list.txt").write_text("00000002_000.png\n")
    manifest = import_layout("nih_cxr14", tmp_path, tmp_path / "m.csv")
    truth = manifest.target.encode(manifest.table)
    assert manifest.target.size == 14
    assert [manifest.target.names[k] for k in np.flatnonzero(truth[0])] == ["Cardiomegaly", "Edema"]
    assert truth[1].sum() == 0
    assert manifest.spacing(0) == pytest.approx((0.9, 0.4))
    assert manifest.table["split"].tolist() == ["train", "test"]
    assert manifest.table["view"].tolist() == ["PA", "AP"]
    assert manifest.table["image"].iloc[0] == "images_001/images/00000001_000.png"


def test_hc18_spacing_circumference_and_subject(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "training_set" / "010_2HC.png")
    (tmp_path / "a" / "training_set_pixel_size_and_HC.csv").write_text(
        "filename,pixel size(mm),head circumference (mm)\n010_2HC.png,0.0691,44.3\n"
    )
    manifest = import_layout("hc18", tmp_path / "a", tmp_path / "m.csv")
    assert manifest.spacing(0) == (0.0691, 0.0691)
    assert manifest.table[["patient", "hc_mm"]].iloc[0].tolist() == ["010", 44.3]
    picture(tmp_path / "b" / "images" / "1_HC.jpg", (400, 270))
    (tmp_path / "b" / "labels.csv").write_text(
        "image,subject,orig_w,orig_h,pixel_mm,hc_mm,cx,cy,semi_a,semi_b,angle_deg\n"
        "1_HC.jpg,1,800,540,0.07,44.3,410,378,110,92,-66.2\n"
    )
    manifest = import_layout("hc18", tmp_path / "b", tmp_path / "m.csv")
    assert manifest.spacing(0) == (0.14, 0.14)
    assert manifest.table[["cx", "cy", "semi_a", "semi_b", "angle_deg"]].iloc[0].tolist() == [205, 189, 55, 46, -66.2]


def test_vessel_masks_find_their_images(tmp_path: Path) -> None:
    for name in ("images/Image_01L.jpg", "images/Image_01R.jpg", "masks/Image_01L_1stHO.png", "masks/Image_01R.png"):
        picture(tmp_path / "set" / name)
    manifest = import_layout("vessels", tmp_path / "set", tmp_path / "m.csv")
    assert manifest.table["mask"].tolist() == ["set/masks/Image_01L_1stHO.png", "set/masks/Image_01R.png"]
    assert manifest.table["patient"].tolist() == ["Image_01"] * 2
    assert manifest.table["laterality"].tolist() == ["left", "right"]
    assert manifest.table["site"].tolist() == ["set"] * 2
    assert manifest.target.names == ("background", "vessel")


@pytest.mark.parametrize(
    ("layout", "folder", "options", "rows", "patients", "target"),
    [
        ("csv", "idrid_grading", {"label": "dr_grade", "target": "grade"}, 455, None, "grade"),
        ("csv", "covid_mhh", {"image": "image_id", "suffix": ".jpg", "patient": "patient_id"}, 243, 71, "none"),
        ("csv", "nih1000_64", {"findings": "Edema,Mass"}, 1000, 264, "findings"),
        ("medmnist", "retinamnist/retinamnist.npz", {}, 1600, None, "grade"),
        ("hc18", "hc18_half", {}, 999, 785, "biometry"),
        ("vessels", "vessels_chase", {"site": "CHASE"}, 14, 7, "mask"),
        ("vessels", "vessels_hrf", {"site": "HRF"}, 20, 20, "mask"),
    ],
)
def test_real_sets(shared_data, tmp_path, layout, folder, options, rows, patients, target) -> None:
    name, _, file = folder.partition("/")
    import_layout(layout, shared_data(name) / file, tmp_path / "m.csv", **options)
    manifest = Manifest.read(tmp_path / "m.csv")
    assert len(manifest) == rows
    assert manifest.target.kind == target
    assert patients is None or manifest.table["patient"].nunique() == patients
    path, part = manifest.path(rows - 1)
    assert read_picture(path, part, manifest.frame(rows - 1)).pixels.size
    assert isinstance(manifest.table, pd.DataFrame)
