"""A test split with equally many images of every class, whole lesions only."""

import numpy as np
import pandas as pd
import pytest

from scantling.core.errors import DataError
from scantling.data.manifest import Manifest
from scantling.data.split import split

ISIC = {"MEL": 1134, "NV": 6828, "BCC": 529, "AKIEC": 335, "BKL": 1121, "DF": 116, "VASC": 145}


def skin(counts=ISIC, a_lesion=1, seed=0):
    """Images of lesions, each of up to ``a_lesion`` images of one class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(list(counts), list(counts.values()))
    first = rng.random(len(labels)) < 2 / (a_lesion + 1)
    first[np.flatnonzero(labels != np.roll(labels, 1))] = True
    number = first.cumsum()
    place = np.arange(len(labels)) - np.flatnonzero(first)[number - 1]
    lesion = [f"L{n}-{p // a_lesion}" for n, p in zip(number, place)]
    table = pd.DataFrame({"image": [f"{i}.jpg" for i in range(len(labels))], "label": labels, "lesion": lesion})
    return Manifest(table.assign(target=f"class:{'|'.join(counts)}"))


def test_the_split_of_the_sheet():
    table = split(skin(), by=None, fractions=(1.0, 0.0, 0.0), balanced_test=0.4, notify=print).table
    assert table["split"].value_counts().to_dict() == {"train": 9886, "test": 322}
    assert table[table["split"] == "test"]["label"].value_counts().to_dict() == dict.fromkeys(ISIC, 46)
    train = table[table["split"] == "train"]["label"].value_counts()
    assert train[list(ISIC)].tolist() == [1088, 6782, 483, 289, 1075, 70, 99]


def test_no_lesion_is_divided_and_classes_stay_even():
    told = []
    manifest = skin({"a": 300, "b": 90, "c": 40}, a_lesion=4)
    table = split(manifest, "lesion", fractions=(0.8, 0.2, 0.0), balanced_test=0.5, notify=told.append).table
    assert (table.groupby("lesion")["split"].nunique() == 1).all()
    assert table[table["split"] == "test"]["label"].value_counts().to_dict() == {"a": 20, "b": 20, "c": 20}
    assert set(table["split"]) == {"train", "val", "test"}
    assert told == []


def test_the_seed_decides_and_rows_without_a_label_are_never_tested():
    manifest = skin({"a": 50, "b": 30})
    table = manifest.table.copy()
    table.loc[::7, "label"] = None
    manifest = Manifest(table)
    one, again, other = (split(manifest, None, seed=s, balanced_test=0.3).table["split"] for s in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)
    assert table["label"][one == "test"].notna().all()


def test_groups_that_do_not_add_up_are_told():
    table = pd.DataFrame({"image": [f"{i}" for i in range(12)], "label": ["a"] * 6 + ["b"] * 6, "target": "class:a|b"})
    table["lesion"] = [0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7]
    told = []
    out = split(Manifest(table), "lesion", None, (0.5, 0.5, 0.0), balanced_test=0.7, notify=told.append).table
    assert any("'a' leave its test images at 3 of 4" in t for t in told)
    assert out[out["split"] == "test"]["label"].value_counts().to_dict() == {"a": 3, "b": 4}


def test_what_cannot_be_drawn_is_refused():
    manifest = skin({"a": 20, "b": 3})
    for share in (0.0, 1.0, 0.2):
        with pytest.raises(DataError, match="share of"):
            split(manifest, None, balanced_test=share)
    with pytest.raises(DataError, match="both kept and drawn"):
        split(manifest, None, keep_test=True, balanced_test=0.5)
    findings = Manifest(pd.DataFrame({"image": ["a", "b"], "label:x": [0, 1], "target": "findings:x"}))
    with pytest.raises(DataError, match="one class or grade"):
        split(findings, None, balanced_test=0.5)
