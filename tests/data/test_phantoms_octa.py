"""OCTA phantoms: determinism, and that the picture shows what masks, grade and faults say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.core.errors import DataError
from scantling.core.target import target_of
from scantling.data.manifest import Manifest
from scantling.data.phantoms import draw_octa, write_octa
from scantling.data.phantoms.octa.anatomy import FIELD, draw_macula
from scantling.data.phantoms.octa.scanner import FAULTS, GRADES, draw_faults, scan

SIZE = 96


@pytest.fixture(scope="module")
def batch():
    return draw_octa(40, SIZE, seed=3)


def test_an_image_depends_on_the_seed_and_its_number_only(batch):
    again = draw_octa(4, SIZE, seed=3, start=20)
    for name in ("images", "grade", "vessel", "zone", "faults", "index"):
        np.testing.assert_array_equal(getattr(again, name), getattr(batch, name)[20:24])
    assert not np.array_equal(draw_octa(4, SIZE, seed=4, start=20).images, again.images)


def test_vessels_are_bright_and_the_zone_without_them_is_dark(batch):
    good = batch.grade == 2
    image = batch.images[good].astype(float)
    vessel, zone = batch.vessel[good], batch.zone[good]
    assert not (vessel & zone).any()
    for x, v, z in zip(image, vessel, zone, strict=True):
        assert x[v].mean() > 1.3 * x[~v & ~z].mean() > 1.3 * x[z].mean()
    area = zone.mean(axis=(1, 2)) * FIELD**2
    assert area.min() > 0.08 and area.max() < 0.8 and 0.15 < area.mean() < 0.45
    assert 0.2 < vessel.mean() < 0.6


def test_grades_follow_from_the_worst_fault(batch):
    worst = batch.faults.max(1)
    assert (worst[batch.grade == 2] <= 0.12).all()
    assert ((worst[batch.grade == 1] >= 0.30) & (worst[batch.grade == 1] <= 0.55)).all()
    assert (worst[batch.grade == 0] >= 0.65).all() and {0, 1, 2} <= set(batch.grade.tolist())
    assert set(draw_octa(12, 32, outstanding=1.0).grade.tolist()) == {2}


def test_every_fault_does_what_it_says():
    macula = draw_macula(0, 0, np.zeros(2), SIZE)

    def seen(**faults: float) -> np.ndarray:
        return scan(macula, faults, np.random.default_rng(0))[0].astype(float)

    def edges(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image, axis=1)).mean())

    plain = seen()
    assert edges(seen(blur=0.9)) < 0.7 * edges(plain)
    assert seen(low_signal=0.9).mean() < 0.7 * plain.mean()
    shaded = seen(defocus=0.9).reshape(2, SIZE // 2, 2, SIZE // 2).mean((1, 3))
    assert shaded.min() < 0.8 * shaded.max()
    rows = np.abs(np.diff(seen(motion=0.9).mean(1)))
    assert rows.max() > 2 * np.abs(np.diff(plain.mean(1))).max()
    aside = draw_macula(0, 0, np.array([0.8, 0.0]), SIZE).zone
    middle = [np.nonzero(zone)[1].mean() for zone in (macula.zone, aside)]
    assert middle[1] - middle[0] == pytest.approx(0.8 / FIELD * SIZE, abs=1)


def test_motion_moves_the_truth_with_the_image():
    macula = draw_macula(0, 0, np.zeros(2), SIZE)
    image, shown = scan(macula, {"motion": 1.0}, np.random.default_rng(2))
    assert (shown.vessel != macula.vessel).any()
    calm = ~(image > 200).all(1)
    inside = image[calm][shown.vessel[calm]].mean()
    assert inside > 1.15 * image[calm][~shown.vessel[calm]].mean()


def test_faults_are_drawn_within_the_bounds_of_their_grade():
    rng = np.random.default_rng(0)
    for grade in range(3):
        drawn = [draw_faults(grade, rng) for _ in range(60)]
        assert {kind for faults in drawn for kind in faults} == set(FAULTS)
        assert max(map(len, drawn)) <= 3 - grade


def test_a_set_on_disk_has_grades_and_a_manifest_of_good_images_without_any(tmp_path):
    manifest = write_octa(tmp_path / "set", n=36, size=48, seed=1)
    table = pd.read_csv(manifest)
    assert len(table) == 36 and target_of(table).names == GRADES
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    good = pd.read_csv(tmp_path / "set" / "good.csv")
    assert list(good) == ["image", "patient", "laterality", "split"] and set(good["split"]) <= {"train", "val"}
    known = table.set_index("image").loc[good["image"]]
    assert (known["label"] == 2).all() and len(good) == ((table["label"] == 2) & (table["split"] != "test")).sum()
    assert Manifest.read(tmp_path / "set" / "good.csv").split("train").size
    row = table.iloc[0]
    image, mask = (np.asarray(Image.open(tmp_path / "set" / row[name])) for name in ("image", "mask"))
    assert image.shape == mask.shape == (48, 48) and set(np.unique(mask)) <= {0, 255}
    strengths = [float(part.partition(":")[2]) for part in str(row["degradation"]).split("+")]
    assert max(strengths) == pytest.approx(row["severity"], abs=0.006)
    with pytest.raises(DataError, match="outstanding is 2"):
        write_octa(tmp_path / "other", n=3, outstanding=2.0)
    with pytest.raises(DataError, match="manifest already"):
        write_octa(tmp_path / "set", n=3)
