"""Skin lesions in their native forms: HAM10000 and ISIC, with the lesion as a column to split by."""

from pathlib import Path

import pytest
from PIL import Image

from scantling.core.errors import DataError
from scantling.data.layouts import import_layout
from scantling.data.split import split

HEAD = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4)).save(path)


def test_ham10000_classes_lesions_and_its_two_folders(tmp_path: Path) -> None:
    picture(tmp_path / "HAM10000_images_part_1" / "ISIC_1.jpg")
    picture(tmp_path / "HAM10000_images_part_2" / "ISIC_2.jpg")
    (tmp_path / "HAM10000_metadata.csv").write_text(
        f"{HEAD}HAM_7,ISIC_1,nv,histo,45.0,male,back\nHAM_7,ISIC_2,nv,histo,45.0,male,back\nHAM_8,ISIC_3,df,,,,\n"
    )
    manifest = import_layout("ham10000", tmp_path, tmp_path / "m.csv")
    table = manifest.table
    assert manifest.target.names == ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    assert manifest.target.encode(table).tolist() == [1, 1, 5]
    assert table["image"].tolist()[:2] == ["HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_2/ISIC_2.jpg"]
    assert table["lesion"].tolist() == table["patient"].tolist() == ["HAM_7", "HAM_7", "HAM_8"]
    assert table["localization"].tolist()[0] == "back"
    parted = split(manifest, by="lesion", stratify=None, fractions=(0.5, 0.5, 0.0), notify=print).table
    assert parted.groupby("lesion")["split"].nunique().max() == 1


def test_ham10000_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no table HAM10000_metadata\.csv"):
        import_layout("ham10000", tmp_path, tmp_path / "m.csv")
    (tmp_path / "HAM10000_metadata.csv").write_text(f"{HEAD}HAM_7,ISIC_1,wart,histo,45.0,male,back\n")
    with pytest.raises(DataError, match="unknown diagnosis 'wart'"):
        import_layout("ham10000", tmp_path, tmp_path / "m.csv")


def test_isic_names_the_lesion_too(tmp_path: Path) -> None:
    picture(tmp_path / "ISIC2018_Task3_Training_Input" / "ISIC_1.jpg")
    (tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv").write_text("image,MEL,NV\nISIC_1,1,0\nISIC_2,0,1\n")
    (tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text("image,lesion_id\nISIC_1,H1\nISIC_2,H1\n")
    table = import_layout("isic", tmp_path, tmp_path / "m.csv").table
    assert table["lesion"].tolist() == table["patient"].tolist() == ["H1", "H1"]
