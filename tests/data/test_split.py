"""Splits and folds: no group divided, shares and classes kept, the same answer for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scantling.core.errors import DataError
from scantling.data.layouts import import_layout
from scantling.data.manifest import SPLITS, Manifest
from scantling.data.split import folds, split

FRACTIONS = st.sampled_from([(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.8, 0.2, 0.0), (0.6, 0.2, 0.2), (1.0, 0.0, 0.0)])


def random_manifest(rows: int, patients: int, classes: int, seed: int) -> Manifest:
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, rows)
    return Manifest(
        pd.DataFrame(
            {
                "image": [f"{i}.png" for i in range(rows)],
                "patient": [f"p{p}" if rng.random() > 0.05 else None for p in patient],
                "label": rng.choice(classes, rows, p=rng.dirichlet(np.ones(classes))),
                "target": f"class:{classes}",
            }
        )
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 60), st.integers(1, 5), FRACTIONS, st.integers(0, 1000))
def test_no_patient_is_divided_and_shares_are_kept_to_a_group(rows, patients, classes, fractions, seed) -> None:
    manifest = random_manifest(rows, patients, classes, seed)
    table = split(manifest, fractions=fractions, seed=seed, notify=lambda _: None).table
    assert table["split"].isin(SPLITS).all()
    assert (table.groupby("patient")["split"].nunique() <= 1).all()
    largest = max([1, *table["patient"].value_counts()])
    for name, share in zip(SPLITS, fractions):
        count = int((table["split"] == name).sum())
        assert share > 0 or count == 0
        assert abs(count - share * rows) <= largest


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 400), st.integers(1, 6), FRACTIONS, st.integers(0, 1000))
def test_single_images_are_divided_exactly_and_every_class_as_the_whole(rows, classes, fractions, seed) -> None:
    manifest = random_manifest(rows, rows, classes, seed)
    table = split(manifest, by=None, fractions=fractions, seed=seed, notify=lambda _: None).table
    for name, share in zip(SPLITS, fractions):
        part = table[table["split"] == name]
        assert abs(len(part) - share * rows) < 1
        for label, total in table["label"].value_counts().items():
            assert abs((part["label"] == label).sum() - share * total) < 2


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 100), st.integers(2, 5), st.integers(0, 1000))
def test_folds_cover_all_rows_and_divide_no_patient(rows, k, seed) -> None:
    table = folds(random_manifest(rows, rows, 3, seed), k, seed=seed).table
    assert sorted(table["fold"].unique()) == list(range(k))
    assert (table.groupby("patient")["fold"].nunique() <= 1).all()
    largest = max([1, *table["patient"].value_counts()])
    assert table["fold"].value_counts().max() - table["fold"].value_counts().min() <= 2 * largest


def test_the_seed_decides_and_nothing_else() -> None:
    manifest = random_manifest(200, 80, 3, 0)
    one, same, other = (split(manifest, seed=s).table["split"].tolist() for s in (1, 1, 2))
    assert one == same
    assert one != other


def test_eyes_of_eyepacs_size_in_seconds_and_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(5, 35126, p=[0.735, 0.07, 0.15, 0.025, 0.02])
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(35126)], "label": label, "target": "grade:5"})
    table["patient"] = (np.arange(35126) // 2).astype(str)
    out = split(Manifest(table), fractions=(0.8, 0.1, 0.1)).table
    counts = pd.crosstab(out["label"], out["split"])
    expected = counts.sum(axis=1).to_numpy()[:, None] * np.array([0.1, 0.1, 0.8])
    assert np.abs(counts[["test", "val", "train"]].to_numpy() - expected).max() <= 3


def test_findings_are_balanced_patient_by_patient(shared_data, tmp_path: Path) -> None:
    names = "Atelectasis,Cardiomegaly,Effusion,Infiltration,Mass,Nodule,Emphysema,Fibrosis,Pleural_Thickening"
    manifest = import_layout("csv", shared_data("nih1000_64"), tmp_path / "m.csv", findings=names)
    out = split(manifest, fractions=(0.7, 0.1, 0.2))
    assert (out.table.groupby("patient")["split"].nunique() == 1).all()
    truth = out.target.encode(out.table)
    for name, share in zip(SPLITS, (0.7, 0.1, 0.2)):
        rows = out.split(name)
        assert abs(len(rows) - share * 1000) <= 3
        assert np.abs(truth[rows].sum(axis=0) - share * truth.sum(axis=0)).max() <= 3.5


def test_test_rows_stay_where_they_are() -> None:
    manifest = random_manifest(100, 100, 2, 0)
    manifest.table["split"] = ["test" if i % 4 == 0 else "train" for i in range(100)]
    manifest.table["patient"] = [str(i) for i in range(100)]
    out = split(manifest, fractions=(0.8, 0.2, 0.0), keep_test=True)
    assert out.split("test").tolist() == list(range(0, 100, 4))
    assert [len(out.split(s)) for s in ("train", "val")] == [60, 15]
    manifest.table["patient"] = [str(i // 2) for i in range(100)]
    with pytest.raises(DataError, match="groups of column 'patient' are in the test split and outside"):
        split(manifest, keep_test=True)


def test_any_column_can_group_or_balance_and_unknown_ones_are_named() -> None:
    manifest = random_manifest(120, 120, 2, 0)
    manifest.table["site"] = [f"s{i % 12}" for i in range(120)]
    manifest.table["camera"] = ["a" if i % 3 else "b" for i in range(120)]
    out = split(manifest, by="site", stratify=None, fractions=(0.5, 0.25, 0.25)).table
    assert (out.groupby("site")["split"].nunique() == 1).all()
    assert out["split"].value_counts().to_dict() == {"train": 60, "val": 30, "test": 30}
    out = split(manifest, by=None, stratify="camera", fractions=(0.5, 0.25, 0.25)).table
    assert pd.crosstab(out["camera"], out["split"]).loc["b"].to_dict() == {"train": 20, "val": 10, "test": 10}
    with pytest.raises(DataError, match=r"no column 'sit' \(did you mean 'site'"):
        split(manifest, by="sit")
    with pytest.raises(DataError, match=r"no column 'camra' \(did you mean 'camera'"):
        split(manifest, stratify="camra")


def test_without_patients_every_image_is_its_own_group_and_this_is_said() -> None:
    manifest = Manifest(random_manifest(30, 30, 2, 0).table.drop(columns="patient"))
    told: list[str] = []
    out = split(manifest, fractions=(0.8, 0.1, 0.1), notify=told.append)
    assert told == ["no column patient: every image is its own group"]
    assert [len(out.split(s)) for s in SPLITS] == [24, 3, 3]
    with pytest.warns(UserWarning, match="no column patient"):
        split(manifest)


def test_impossible_wishes_are_refused_or_told() -> None:
    manifest = random_manifest(10, 1, 2, 0)
    manifest.table["patient"] = "one"
    told: list[str] = []
    split(manifest, notify=told.append)
    assert [t.split(":")[-1] for t in told] == [" val is empty", " test is empty"]
    with pytest.raises(DataError, match="5 folds of 1 groups"):
        folds(manifest, 5)
    for fractions in ((0.7, 0.1, 0.1), (1.2, -0.2, 0.0)):
        with pytest.raises(DataError, match="do not add up to 1"):
            split(manifest, fractions=fractions)
    with pytest.raises(DataError, match="no row is in the test split"):
        split(manifest, keep_test=True)
