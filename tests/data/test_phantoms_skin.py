"""Dermoscopy phantoms: frequencies, groups, determinism, and that the picture shows what mask and attributes say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from scantling.core.errors import DataError
from scantling.core.target import target_of
from scantling.data.phantoms import draw_skin, write_skin
from scantling.data.phantoms.lattice import split_of
from scantling.data.phantoms.patterns import CELLS, honeycomb, read
from scantling.data.phantoms.skin.lesions import (
    CLASSES,
    IMAGES,
    PATTERNS,
    PROFILES,
    TRAITS,
    labels_of,
    lesion_of,
    patient_of,
    shares,
)

SIZE = 96
SETTINGS = {"size": SIZE, "seed": 3, "sites": 4, "imbalance": 1.0}


@pytest.fixture(scope="module")
def batch():
    return draw_skin(84, **SETTINGS)


@pytest.fixture(scope="module")
def bare():
    return draw_skin(84, **SETTINGS, lesions=False)


def image_counts(n, **settings):
    """Images of every class ``(classes,)`` in every split, from the lesions alone."""
    lesions = np.array([lesion_of(i) for i in range(n)])
    labels = labels_of(0, int(lesions[-1]) + 1, **settings)[lesions]
    splits = np.array([split_of(0, patient_of(int(x))) for x in lesions])
    return {s: np.bincount(labels[splits == s], minlength=7) for s in ("train", "val", "test")}


def test_an_image_depends_on_the_seed_and_its_number_only(batch):
    again = draw_skin(5, **SETTINGS, start=31)
    for name in ("images", "label", "mask", "field_of_view", "lesion", "patient", "site", "attributes", "artefacts"):
        np.testing.assert_array_equal(getattr(again, name), getattr(batch, name)[31:36])
    other = draw_skin(5, **{**SETTINGS, "seed": 4}, start=31)
    assert not np.array_equal(other.images, again.images)


@pytest.mark.parametrize("imbalance", [10.0, 100.0])
def test_training_images_have_the_asked_imbalance_to_within_a_few_images(imbalance):
    found = image_counts(3000, imbalance=imbalance)
    train = found["train"]
    np.testing.assert_allclose(train, shares(7, imbalance) * train.sum(), atol=4)
    assert (np.diff(train) < 0).all()
    for split in ("val", "test"):
        assert np.ptp(found[split]) <= 4


def test_only_the_named_splits_are_balanced():
    natural = image_counts(3000, balanced="none")
    for split in ("val", "test"):
        np.testing.assert_allclose(natural[split], shares(7, 100.0) * natural[split].sum(), atol=4)
    test_only = image_counts(3000, balanced="test")
    assert np.ptp(test_only["test"]) <= 4
    np.testing.assert_array_equal(test_only["val"], natural["val"])


def test_the_profile_is_exponential():
    share = shares(7, 100.0)
    np.testing.assert_allclose(share[1:] / share[:-1], 100 ** (-1 / 6))
    assert share[0] / share[-1] == pytest.approx(100)
    assert share.sum() == pytest.approx(1)


def test_a_longer_set_begins_with_the_shorter_one():
    np.testing.assert_array_equal(labels_of(5, 1000)[:300], labels_of(5, 300))


def test_images_of_a_lesion_share_its_truth_and_no_patient_is_in_two_splits(batch):
    counts = np.bincount(batch.lesion)
    np.testing.assert_array_equal(counts, np.resize(IMAGES, len(counts)))
    table = pd.DataFrame({n: getattr(batch, n) for n in ("lesion", "patient", "split", "label", "attributes", "site")})
    assert (table.groupby("lesion")[["label", "attributes", "patient", "split", "site"]].nunique() == 1).all(axis=None)
    assert (table.groupby("patient")[["split", "site"]].nunique() == 1).all(axis=None)
    assert table.groupby("patient")["lesion"].nunique().max() == 2
    same = np.flatnonzero(batch.lesion == batch.lesion[np.flatnonzero(counts[batch.lesion] == 3)[0]])
    assert len(same) == 3
    assert not np.array_equal(batch.images[same[0]], batch.images[same[1]])


def test_without_its_lesion_a_picture_changes_inside_the_mask_only(batch, bare):
    assert not bare.mask.any()
    np.testing.assert_array_equal(bare.artefacts, batch.artefacts)
    inside, outside = [], []
    for i, mask in enumerate(batch.mask):
        change = np.abs(batch.images[i].astype(int) - bare.images[i]).max(-1)
        near = binary_dilation(mask, iterations=4)
        outside.append(change[~near].max(initial=0))
        inside.append(np.median(change[mask]))
    # The border is soft: below the mask's threshold a little of it is left.
    assert np.quantile(outside, 0.9) <= 25
    assert np.mean([(np.abs(batch.images[i].astype(int) - bare.images[i]).max(-1) > 40)[
        ~binary_dilation(batch.mask[i], iterations=3)].mean() for i in range(len(batch))]) < 0.002  # fmt: skip
    assert np.quantile(inside, 0.05) > 12


def test_masks_lie_in_the_field_of_view_and_frames_are_black(batch):
    assert (batch.mask <= batch.field_of_view).all()
    assert batch.mask.any((1, 2)).all()
    framed = np.array(["frame" in a.split("+") for a in batch.artefacts])
    assert 0 < framed.sum() < len(batch)
    assert batch.field_of_view[~framed].all()
    for image, field in zip(batch.images[framed], batch.field_of_view[framed], strict=True):
        assert image[~binary_dilation(field, iterations=3)].max() < 12


def test_lesions_are_in_the_middle_and_of_the_size_of_their_traits(batch):
    rows, columns = np.indices((SIZE, SIZE))
    whole = batch.field_of_view.all((1, 2)) & (batch.mask.mean((1, 2)) < 0.35)
    for mask in batch.mask[whole]:
        centre = np.array([rows[mask].mean(), columns[mask].mean()])
        assert np.abs(centre - SIZE / 2).max() < 0.25 * SIZE


def test_classes_overlap_but_differ():
    assert len({p.name for p in PROFILES}) == 7
    for profile in PROFILES:
        assert len(profile.mean) == len(profile.spread) == len(TRAITS)
        assert len(profile.odds) == len(PATTERNS)
        # No pattern proves a class: each is seen in at least one other one, and none is in all images of a class.
        assert max(profile.odds) < 1
    odds = np.array([p.odds for p in PROFILES])
    assert ((odds > 0).sum(0) >= 2).all()


def test_attributes_follow_the_odds_of_the_class_and_blood_is_red():
    batch = draw_skin(300, size=32, imbalance=1.0, seed=8)
    _, first = np.unique(batch.lesion, return_index=True)
    seen = np.array([[p in a.split("+") for p in PATTERNS] for a in batch.attributes[first]])
    label = batch.label[first]
    odds = np.array([p.odds for p in PROFILES])
    found = np.array([seen[label == c].mean(0) for c in range(7)])
    assert np.abs(found - odds).mean() < 0.06
    ratio = np.array([(im[m][:, 0] / np.maximum(im[m][:, 1], 1.0)).mean() for im, m in
                      zip(batch.images.astype(float), batch.mask, strict=True)])  # fmt: skip
    assert ratio[batch.label == CLASSES.index("vascular")].mean() > 1.25 * ratio[batch.label == 0].mean()


def test_sites_have_their_own_colours(batch):
    skin = [batch.images[i][batch.field_of_view[i] & ~batch.mask[i]].mean(0) for i in range(len(batch))]
    blue = np.array([s[2] / s[0] for s in skin])
    assert blue[batch.site == 3].mean() > 1.25 * blue[batch.site == 2].mean()


def test_a_field_is_read_at_its_own_pixels_and_repeats():
    field = honeycomb()
    axis = (np.arange(field.shape[0], dtype=np.float32) + np.float32(0.5)) / field.shape[0]
    np.testing.assert_array_equal(
        np.moveaxis(read(field, axis[None, :], axis[:, None], 0.0, np.zeros(2)), 0, -1), field
    )
    shifted = read(field, axis[None, :], axis[:, None], 0.0, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(np.moveaxis(shifted, 0, -1), field)
    # As many numbers as cells, and each wall lies where two middles are equally far.
    assert len(np.unique(field[..., 2])) == CELLS**2
    assert field[..., 0].min() >= 0
    assert field[..., 1].max() < 1.2


def test_written_sets_are_whole_and_do_not_depend_on_workers_or_size_of_the_set(tmp_path):
    seen = []
    settings = {"classes": 5, "imbalance": 20.0, "size": 48, "seed": 1, "sites": 2}
    one = write_skin(tmp_path / "one", 40, **settings, progress=lambda *a: seen.append(a))
    two = write_skin(tmp_path / "two", 36, **settings, workers=2)
    assert seen[-1] == (40, 40)
    table, other = (pd.read_csv(p, dtype=str, keep_default_na=False) for p in (one, two))
    pd.testing.assert_frame_equal(table[:36], other)
    for name in other["image"].tolist() + other["mask"].tolist():
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes()
    assert target_of(table).names == CLASSES[:5]
    drawn = draw_skin(40, 48, 1, 5, 20.0, 2)
    assert table["label"].tolist() == [CLASSES[k] for k in drawn.label]
    assert (table.groupby("lesion")["split"].nunique() == 1).all()
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    for i in (0, 39):
        np.testing.assert_array_equal(np.asarray(Image.open(one.parent / table["mask"][i])) > 127, drawn.mask[i])


def test_bad_options_are_refused_and_a_set_is_never_overwritten(tmp_path):
    write_skin(tmp_path, 1, size=32)
    with pytest.raises(DataError, match="manifest already"):
        write_skin(tmp_path, 1, size=32)
    for wrong in ({"size": 8}, {"sites": 0}, {"classes": 8}, {"classes": 1}, {"imbalance": 0.5}, {"balanced": "tests"},
                  {"seed": -1}, {"fractions": (0.5, 0.5)}):  # fmt: skip
        with pytest.raises(DataError):
            write_skin(tmp_path / "new", 1, **wrong)
    assert not (tmp_path / "new").exists()
