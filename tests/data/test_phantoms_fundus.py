"""Fundus phantoms: exact truth, determinism, and that the pictures show what the labels say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter, laplace

from scantling.core.errors import DataError
from scantling.core.target import target_of
from scantling.data.phantoms import draw_fundus, write_fundus
from scantling.data.phantoms.eyes import EYE_CORRELATION, PRIORS, draw_eye
from scantling.data.phantoms.lattice import split_of
from scantling.data.phantoms.lesions import KINDS
from scantling.data.phantoms.optics import camera_of

SIZE = 128
PROLIFERATIVE = {"neovascularisation", "preretinal_haemorrhage", "vitreous_haemorrhage"}


@pytest.fixture(scope="module")
def batch():
    return draw_fundus(60, SIZE, seed=4, sites=5, prior="balanced")


def counts(batch, i):
    return Counter(batch.kinds[batch.boxes[:, 0] == i].tolist())


def test_an_image_depends_on_the_seed_and_its_number_only(batch):
    again = draw_fundus(3, SIZE, seed=4, sites=5, prior="balanced", start=10)
    for name in ("images", "grade", "vessel", "disc", "cup", "field_of_view", "site", "laterality", "quality"):
        np.testing.assert_array_equal(getattr(again, name), getattr(batch, name)[10:13])
    mine = (batch.boxes[:, 0] >= 10) & (batch.boxes[:, 0] < 13)
    np.testing.assert_array_equal(again.boxes[:, 1:], batch.boxes[mine, 1:])
    assert not np.array_equal(draw_fundus(3, SIZE, seed=5, sites=5, start=10).images, again.images)


def test_masks_nest_and_nothing_shines_outside_the_field_of_view(batch):
    assert (batch.cup <= batch.disc).all()
    assert (batch.disc <= batch.field_of_view).all()
    assert (batch.vessel <= batch.field_of_view).all()
    assert (batch.cup.sum((1, 2)) > 0).all()
    share = batch.disc.sum((1, 2)) / batch.field_of_view.sum((1, 2))
    assert share.min() > 0.008
    assert share.max() < 0.05
    shares = batch.vessel.sum((1, 2)) / batch.field_of_view.sum((1, 2))
    assert shares.min() > 0.03
    assert shares.max() < 0.30
    for image, inside in zip(batch.images, batch.field_of_view, strict=True):
        assert image[~binary_dilation(inside, iterations=2)].max() < 16
        assert image[inside].mean() > 30


def test_vessels_are_darker_and_the_disc_is_brighter_than_their_surroundings(batch):
    darkness = []
    for i in range(len(batch)):
        green = batch.images[i, :, :, 1].astype(float)
        vessel, disc, inside = batch.vessel[i], batch.disc[i], batch.field_of_view[i]
        off = inside & ~binary_dilation(disc, iterations=3)
        ring = binary_dilation(vessel, iterations=3) & ~binary_dilation(vessel) & off
        darkness.append(green[vessel & off].mean() / green[ring].mean())
        assert green[disc].mean() > 1.2 * green[off].mean()
    assert max(darkness) < 0.98
    assert 0.75 < np.mean(darkness) < 0.90


def test_the_camera_of_a_site_gives_its_own_colour_and_field(batch):
    red, green = (batch.images[..., c].mean((1, 2)) for c in (0, 1))
    assert (green / red)[batch.site == 1].mean() < 0.75 * (green / red)[batch.site == 2].mean()
    area = [batch.field_of_view[batch.site == k].mean() for k in (1, 2)]
    assert area[0] < area[1]
    assert camera_of(7).gain != camera_of(2).gain
    assert camera_of(7) == camera_of(7)


def test_lesions_follow_the_grade(batch):
    assert set(batch.grade.tolist()) == {0, 1, 2, 3, 4}
    for i, grade in enumerate(batch.grade):
        found = counts(batch, i)
        assert set(found) <= set(KINDS)
        if grade == 0:
            assert not found
        elif grade == 1:
            assert set(found) == {"microaneurysm"}
            assert found["microaneurysm"] <= 7
        else:
            assert found["microaneurysm"] >= 1
            assert found["haemorrhage"] >= 2
        assert bool(PROLIFERATIVE & set(found)) == (grade == 4)
        assert bool({"venous_beading", "irma"} & set(found)) == (grade == 3)
        if grade == 2:
            assert found["haemorrhage"] <= 16
        if grade == 3:
            rows, columns = np.nonzero(batch.field_of_view[i])
            boxes = batch.boxes[(batch.boxes[:, 0] == i) & (batch.kinds == "haemorrhage")]
            right = (boxes[:, 1] + boxes[:, 3]) / 2 > columns.mean()
            low = (boxes[:, 2] + boxes[:, 4]) / 2 > rows.mean()
            assert min(np.bincount(2 * right + low, minlength=4)) >= 4


def test_counts_grow_with_severity_inside_a_grade():
    eyes = [draw_eye(0, i, prior="balanced") for i in range(120)]
    many = {i: len(draw_fundus(1, 32, prior="balanced", start=i).boxes) for i, e in enumerate(eyes) if e.grade == 2}
    position = np.array([eyes[i].position for i in many])
    assert np.corrcoef(position, list(many.values()))[0, 1] > 0.3


@pytest.mark.parametrize("size", [64, 256])
def test_boxes_lie_in_the_field_of_view_with_all_corners(size):
    batch = draw_fundus(24, size, seed=2, sites=4, prior="balanced", start=6)
    i, left, top, right, bottom = batch.boxes.T
    assert (right > left).all()
    assert (bottom > top).all()
    for x in (left, right - 1):
        for y in (top, bottom - 1):
            assert batch.field_of_view[i, y, x].all()


def test_haemorrhages_are_dark_and_exudates_bright(batch):
    contrast = {"haemorrhage": [], "hard_exudate": []}
    for (i, left, top, right, bottom), kind in zip(batch.boxes, batch.kinds, strict=True):
        if kind in contrast:
            green = batch.images[i, :, :, 1].astype(float)
            around = green[max(top - 4, 0) : bottom + 4, max(left - 4, 0) : right + 4]
            extreme = np.min if kind == "haemorrhage" else np.max
            contrast[kind].append(extreme(green[top:bottom, left:right]) / np.median(around))
    assert np.mean(contrast["haemorrhage"]) < 0.8
    assert np.mean(contrast["hard_exudate"]) > 1.3


def test_the_eyes_of_a_patient_correlate_and_mirror_each_other(batch):
    latent = np.array([draw_eye(1, i).latent for i in range(3000)]).reshape(-1, 2)
    assert abs(np.corrcoef(latent.T)[0, 1] - EYE_CORRELATION) < 0.04
    assert abs(latent.mean()) < 0.05
    assert abs(latent.std() - 1) < 0.04
    columns = np.arange(SIZE)
    middle = (batch.disc.sum(1) * columns).sum(1) / batch.disc.sum((1, 2))
    assert (middle[batch.laterality == "right"] > SIZE / 2).all()
    assert (middle[batch.laterality == "left"] < SIZE / 2).all()
    assert (batch.patient == np.repeat(np.arange(30), 2)).all()
    assert (batch.site[::2] == batch.site[1::2]).all()


@pytest.mark.parametrize("prior", sorted(PRIORS))
def test_grades_follow_the_prior_and_small_default_sets_hold_every_grade(prior):
    grades = np.array([draw_eye(3, i, prior=prior).grade for i in range(2000)])
    np.testing.assert_allclose(np.bincount(grades, minlength=5) / 2000, PRIORS[prior], atol=0.025)
    if prior == "moderate":
        assert set(grades[:60].tolist()) == {0, 1, 2, 3, 4}


def test_splits_have_the_asked_shares_even_in_small_sets():
    splits = Counter(split_of(0, p, (0.7, 0.1, 0.2)) for p in range(50))
    assert max(abs(splits["train"] - 35), abs(splits["val"] - 5), abs(splits["test"] - 10)) <= 2
    assert {split_of(0, p, (1, 0, 0)) for p in range(50)} == {"train"}


def test_a_degraded_photograph_is_worse_and_shows_the_same_eye():
    clean = draw_fundus(40, SIZE, seed=9, sites=2)
    bad = draw_fundus(40, SIZE, seed=9, sites=2, degraded=1.0)
    for name in ("grade", "vessel", "disc", "cup", "field_of_view", "boxes"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(bad, name))
    assert (clean.quality == "good").all()
    assert set(bad.quality.tolist()) == {"usable", "reject"}

    def sharpness(batch, i):
        green = gaussian_filter(batch.images[i, :, :, 1].astype(float), 0.7)
        return np.abs(laplace(green))[batch.vessel[i] & ~batch.disc[i]].mean()

    def brightness(batch, i):
        return batch.images[i][batch.field_of_view[i]].mean()

    checked = set()
    for i, fault in enumerate(bad.degradation):
        checked.add(fault)
        if fault in {"blur", "haze"}:
            assert sharpness(bad, i) < 0.8 * sharpness(clean, i)
        elif fault in {"underexposed", "uneven"}:
            assert brightness(bad, i) < 0.9 * brightness(clean, i)
        elif fault == "overexposed":
            assert brightness(bad, i) > 1.1 * brightness(clean, i)
        assert not np.array_equal(bad.images[i], clean.images[i])
    assert {"blur", "haze", "underexposed", "overexposed", "uneven", "artefact"} <= checked
    some = draw_fundus(40, 32, seed=9, degraded=0.3)
    assert 3 <= (some.quality != "good").sum() <= 22


def test_written_sets_are_whole_and_do_not_depend_on_workers_or_size_of_the_set(tmp_path):
    seen = []
    one = write_fundus(tmp_path / "one", 20, sites=2, size=64, seed=1, degraded=0.5, progress=lambda *a: seen.append(a))
    two = write_fundus(tmp_path / "two", 18, sites=2, size=64, seed=1, degraded=0.5, workers=2)
    assert one == tmp_path / "one" / "manifest.csv"
    assert seen == [(16, 20), (20, 20)]
    table, other = pd.read_csv(one, dtype=str), pd.read_csv(two, dtype=str)
    pd.testing.assert_frame_equal(table[:18], other)
    for name in other["image"].tolist() + other["mask"].tolist() + other["disc"].tolist() + other["cup"].tolist():
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes()
    needed = {"image", "label", "target", "mask", "patient", "site", "laterality", "split", "quality", "disc", "cup"}
    assert needed <= set(table.columns)
    assert target_of(table).spec == "grade:0|1|2|3|4"
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    assert set(table["site"]) == {"site0", "site1"}
    drawn = draw_fundus(20, 64, seed=1, sites=2, degraded=0.5)
    assert table["label"].tolist() == [str(g) for g in drawn.grade]
    assert table["quality"].tolist() == drawn.quality.tolist()
    for i in (0, 19):
        np.testing.assert_array_equal(np.asarray(Image.open(one.parent / table["mask"][i])) > 127, drawn.vessel[i])
        image = np.asarray(Image.open(one.parent / table["image"][i])).astype(float)
        assert np.abs(image - drawn.images[i]).mean() < 4
    lesions = pd.read_csv(one.parent / "lesions.csv")
    assert list(lesions.columns) == ["image", "kind", "left", "top", "right", "bottom"]
    assert len(lesions) == len(drawn.boxes)
    assert set(lesions["image"]) <= set(table["image"])


def test_bad_options_are_refused_and_a_set_is_never_overwritten(tmp_path):
    write_fundus(tmp_path, 1, size=32)
    with pytest.raises(DataError, match="manifest already"):
        write_fundus(tmp_path, 1, size=32)
    for wrong in ({"size": 8}, {"sites": 0}, {"degraded": 2.0}, {"seed": -1}, {"prior": "ballanced"}):
        with pytest.raises(DataError):
            draw_fundus(1, **wrong)
    with pytest.raises(DataError, match="three shares"):
        write_fundus(tmp_path / "new", 1, fractions=(0.5, 0.5))
    assert not (tmp_path / "new").exists()


def test_the_map_of_structures_says_what_masks_and_boxes_say(tmp_path):
    from scantling.data.phantoms.write import STRUCTURES

    manifest = write_fundus(tmp_path / "ph", n=12, size=128, seed=5, prior="balanced")
    table, boxes = pd.read_csv(manifest), pd.read_csv(manifest.parent / "lesions.csv")
    seen = set()
    for row in table.itertuples():
        classes = np.asarray(Image.open(manifest.parent / row.structures))
        inside = np.zeros(classes.shape, dtype=bool)
        for box in boxes[boxes["image"] == row.image].itertuples():
            inside[box.top : box.bottom, box.left : box.right] = True
            assert (classes[box.top : box.bottom, box.left : box.right] >= 4).any()
        assert (classes[~inside] < 4).all()
        for number, name in ((1, row.mask), (2, row.disc), (3, row.cup)):
            mask = np.asarray(Image.open(manifest.parent / name)) > 127
            assert mask[(classes == number)].all()
        seen |= set(np.unique(classes).tolist())
    assert seen == set(range(len(STRUCTURES)))
