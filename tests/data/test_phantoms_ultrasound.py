"""Ultrasound phantoms: exact lengths, determinism, and that the picture shows what mask and plane say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.core.errors import DataError
from scantling.core.target import parse_target, target_of
from scantling.data.manifest import Manifest
from scantling.data.phantoms import draw_ultrasound, write_ultrasound
from scantling.data.phantoms.ultrasound.draw import LENGTHS
from scantling.data.phantoms.ultrasound.fetus import PLANES, Shape
from scantling.data.phantoms.ultrasound.scanner import SCANNERS, beams, speckle_bank
from scantling.data.phantoms.ultrasound.tissue import local
from scantling.measure import fit_ellipses, fit_rectangles

SETTINGS = {"size": 160, "seed": 2, "sites": 4}


@pytest.fixture(scope="module")
def batch():
    return draw_ultrasound(48, **SETTINGS)


def test_an_image_depends_on_the_seed_and_its_number_only(batch):
    again = draw_ultrasound(5, **SETTINGS, start=31)
    for name in ("images", "mask", "plane", "lengths", "spacing", "weeks", "patient", "site", "split"):
        np.testing.assert_array_equal(getattr(again, name), getattr(batch, name)[31:36])
    assert not np.array_equal(draw_ultrasound(5, **{**SETTINGS, "seed": 4}, start=31).images, again.images)


def test_planes_of_a_patient_are_of_one_fetus_in_one_split(batch):
    table = pd.DataFrame({n: getattr(batch, n) for n in ("patient", "weeks", "site", "split", "plane")})
    assert (table.groupby("patient")[["weeks", "site", "split"]].nunique() == 1).all(axis=None)
    assert (table.groupby("patient")["plane"].agg(tuple) == PLANES).all()
    assert set(batch.site.tolist()) == {0, 1, 2, 3}


def test_masks_measure_the_lengths_that_are_told(batch):
    spacing = np.repeat(batch.spacing[:, None], 2, 1)
    for plane, column in (("head", "hc"), ("abdomen", "ac")):
        rows = batch.plane == plane
        found = fit_ellipses(batch.mask[rows], spacing[rows])
        told = batch.lengths[rows, LENGTHS.index(column)]
        np.testing.assert_allclose(found.circumference(), told, atol=0.6 * batch.spacing.max())
        np.testing.assert_allclose(found.in_pixels(spacing[rows]).centre, batch.centre[rows], atol=0.1)
        ratio = found.semi_axes[:, 1] / found.semi_axes[:, 0]
        low, high = (0.72, 0.84) if plane == "head" else (0.86, 0.98)
        assert low - 0.01 < ratio.min() < ratio.max() < high + 0.01
    femur = batch.plane == "femur"
    bars = fit_rectangles(batch.mask[femur], spacing[femur], "moments")
    np.testing.assert_allclose(bars.length, batch.lengths[femur, LENGTHS.index("fl")], atol=0.6 * batch.spacing.max())
    heads = batch.lengths[batch.plane == "head"]
    assert (np.pi * heads[:, 1] < heads[:, 0]).all() and (heads[:, 0] < np.pi * heads[:, 2]).all()
    np.testing.assert_array_equal(np.isnan(batch.lengths).sum(1), np.where(batch.plane == "head", 2, 4))


def test_a_circle_has_the_circumference_of_a_circle_and_an_ellipse_a_longer_one_than_its_diameters_say():
    assert Shape("abdomen", (30.0, 30.0), 0, 0, 0).lengths["ac"] == pytest.approx(60 * np.pi)
    assert Shape("head", (40.0, 30.0), 0, 0, 0).lengths["hc"] > 70 * np.pi


def test_fetuses_grow_and_lie_whole_inside_the_sector(batch):
    for column in ("hc", "ac", "fl"):
        lengths = batch.lengths[:, LENGTHS.index(column)]
        rows = ~np.isnan(lengths)
        assert np.corrcoef(batch.weeks[rows], lengths[rows])[0, 1] > 0.97
    edge = np.ones(batch.mask.shape[1:], dtype=bool)
    edge[1:-1, 1:-1] = False
    assert not (batch.mask & edge).any()
    # Outside the sector a picture is black, but for the bar of greys at its left edge.
    lit = batch.images[:, :, 10:] > 0
    assert (lit[batch.mask[:, :, 10:]]).mean() > 0.9


def test_bones_are_bright_fluid_and_shadows_dark():
    batch = draw_ultrasound(60, size=160, seed=5)
    for i in range(len(batch)):
        image, mask = batch.images[i].astype(float), batch.mask[i]
        if batch.plane[i] == "femur":
            ring = np.zeros_like(mask)
            ring[2:-2, 2:-2] = mask[4:, 2:-2] | mask[:-4, 2:-2] | mask[2:-2, 4:] | mask[2:-2, :-4]
            assert image[mask].mean() > image[ring & ~mask].mean() + 30
    heads = np.flatnonzero(batch.plane == "head")
    inner = []
    for i in heads:
        rows, columns = np.indices(batch.mask[i].shape)
        gap = np.hypot(columns - batch.centre[i, 0], rows - batch.centre[i, 1])
        near = batch.mask[i] & (gap < 0.5 * batch.semi_axes[i, 1])
        border = batch.mask[i] & ~np.roll(batch.mask[i], 2, 0)
        inner.append(batch.images[i][border].mean() - batch.images[i][near].mean())
    # The side that the beam meets squarely is brighter than the brain behind it.
    assert np.median(inner) > 40


def test_speckle_is_gamma_distributed_power():
    for looks in (1.0, 3.0):
        power = 10 ** (speckle_bank(looks).astype(float) / 10)
        assert power.mean() == pytest.approx(1, abs=0.01)
        assert 1 / power.var() == pytest.approx(looks, rel=0.1)
    # Its neighbours go together: speckle is correlated, noise is not.
    field = speckle_bank(1.0)
    assert np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1] > 0.5
    assert abs(np.corrcoef(field[:, 20:].ravel(), field[:, :-20].ravel())[0, 1]) < 0.05


def test_pixels_know_where_they_are():
    where = beams(SCANNERS[0], 120.0, (96, 128))
    shape = Shape("head", (40.0, 30.0), 5.0, 60.0, 0.4)
    seen = local(shape, where)
    inside = (seen.along / 40) ** 2 + (seen.across / 30) ** 2 < 1
    np.testing.assert_array_equal(inside, seen.outside < 0)
    assert np.abs(np.hypot(where.x - 5, where.y - 60)[np.abs(seen.outside) < 0.3]).max() < 40.6
    assert where.depth[where.inside > 0.5].max() < 121


def test_written_sets_are_whole_and_do_not_depend_on_workers_or_size_of_the_set(tmp_path):
    seen = []
    settings = {"size": 64, "seed": 1, "sites": 2}
    one = write_ultrasound(tmp_path / "one", 36, **settings, progress=lambda *a: seen.append(a))
    two = write_ultrasound(tmp_path / "two", 33, **settings, workers=2)
    assert seen[-1] == (36, 36)
    table, other = (pd.read_csv(p, dtype=str, keep_default_na=False) for p in (one, two))
    pd.testing.assert_frame_equal(table[:33], other)
    for name in other["image"].tolist() + other["mask"].tolist():
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes()
    assert target_of(table) == parse_target("biometry:head|abdomen|femur")
    manifest, drawn = Manifest.read(one), draw_ultrasound(36, 64, 1, 2)
    assert manifest.spacing(5) == pytest.approx((drawn.spacing[5],) * 2)
    assert manifest.target.encode(manifest.table).tolist() == [0, 1, 2] * 12
    assert float(table["ac_mm"][1]) == pytest.approx(drawn.lengths[1, 3], abs=1e-3)
    assert table["hc_mm"][1] == ""
    for i in (0, 35):
        np.testing.assert_array_equal(np.asarray(Image.open(one.parent / table["mask"][i])) > 127, drawn.mask[i])


def test_bad_options_are_refused_and_a_set_is_never_overwritten(tmp_path):
    write_ultrasound(tmp_path, 1, size=48)
    with pytest.raises(DataError, match="manifest already"):
        write_ultrasound(tmp_path, 1, size=48)
    for wrong in ({"size": 40}, {"sites": 0}, {"seed": -1}, {"fractions": (0.5, 0.5)}):
        with pytest.raises(DataError):
            write_ultrasound(tmp_path / "new", 1, **wrong)
    assert not (tmp_path / "new").exists()
