"""Planes: which lengths, in which unit, with which reasons against them, and where the callipers lie."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.data.phantoms import draw_ultrasound
from scantling.data.phantoms.ultrasound.draw import LENGTHS as TOLD
from scantling.data.shapes import fill_ellipses, fill_rectangles
from scantling.measure import callipers, measure_planes, outline
from scantling.measure.planes import LENGTHS, PLANES

SHAPE = (200, 300)
CENTRE, ANGLE = np.array([[150.0, 100.0]]), np.array([0.4])
HEAD = fill_ellipses(SHAPE, CENTRE, np.array([[90.0, 70.2]]), ANGLE)[0]
FEMUR = fill_rectangles(SHAPE, CENTRE, np.array([[140.0, 18.0]]), ANGLE)[0]
MASKS, NAMES = np.stack([HEAD, HEAD, FEMUR]), ["head", "abdomen", "femur"]


def test_lengths_of_each_plane_in_millimetres():
    head, abdomen, femur = measure_planes(MASKS, NAMES, (0.3, 0.3))
    assert head["ofd"] == pytest.approx(54, abs=0.05) and head["bpd"] == pytest.approx(42.12, abs=0.05)
    assert head["cephalic_index"] == pytest.approx(78, abs=0.1)
    assert np.pi * head["bpd"] < head["hc"] < np.pi * head["ofd"]
    assert abdomen["ac"] == head["hc"]
    assert femur["fl"] == pytest.approx(42, abs=0.1)
    for found in (head, abdomen, femur):
        assert set(LENGTHS[found["plane"]]) <= found.keys()
        assert found["unit"] == "mm" and found["reason"] == ""
        assert 15 < found["gestational_age_weeks"] < 26
        json.dumps(found)
    assert [r["gestational_age_formula"][-1] for r in (head, abdomen, femur)] == ["H", "A", "F"]


def test_without_a_spacing_pixels_and_no_age():
    rows = measure_planes(MASKS, NAMES, None)
    assert rows[0]["ofd"] == pytest.approx(180, abs=0.2)
    assert rows[0]["unit"] == "px"
    assert not any("gestational_age_weeks" in row for row in rows)
    with pytest.raises(DataError, match=r"picture 1: no pixel spacing, so no millimetres"):
        measure_planes(MASKS, NAMES, [(0.3, 0.3), (np.nan, 0.3), (0.3, 0.3)])


def test_rows_are_the_same_alone_and_together():
    spacing = np.array([(0.3, 0.3), (0.25, 0.4), (0.3, 0.2)])
    together = measure_planes(MASKS, NAMES, spacing, [0.99, 0.98, 0.97])
    for i, row in enumerate(together):
        assert measure_planes(MASKS[i : i + 1], NAMES[i : i + 1], spacing[i], [row["plane_probability"]])[0] == row


def test_a_doubtful_plane_and_a_wrong_shape_are_not_measured():
    wrong = measure_planes(MASKS, ["femur", "abdomen", "head"], (0.3, 0.3), [0.95, 0.6, 0.95])
    assert np.isnan(wrong[1]["ac"]) and wrong[1]["reason"] == "the plane is uncertain (0.60)"
    assert np.isnan(wrong[2]["hc"]) and "is not an ellipse (overlap 0." in wrong[2]["reason"]
    assert np.isnan(wrong[2]["cephalic_index"]) and np.isnan(wrong[2]["gestational_age_weeks"])
    # A filled ellipse fills pi / 4 of a rectangle round it.
    assert wrong[0]["overlap"] == pytest.approx(np.pi / 4, abs=0.02)
    assert np.isnan(wrong[0]["fl"]) and "too wide for a femur (0." in wrong[0]["reason"]
    kept = measure_planes(MASKS, NAMES, (0.3, 0.3), [0.6] * 3, keep_doubtful=True)
    assert kept[0]["hc"] > 0 and kept[0]["reason"] == "the plane is uncertain (0.60)"
    strict = measure_planes(MASKS[:1], ["head"], (0.3, 0.3), [0.99], least_overlap={"head": 0.99999})
    assert np.isnan(strict[0]["hc"])
    assert measure_planes(MASKS[:1], ["head"], (0.3, 0.3), [0.5], least_probability=0.4)[0]["reason"] == ""


def test_nothing_found_is_told():
    head, femur = measure_planes(np.zeros((2, 40, 50)), ["head", "femur"], (0.3, 0.3))
    for row, length in ((head, "hc"), (femur, "fl")):
        assert np.isnan(row[length]) and row["reason"] == "nothing was found"
        assert callipers(row) == {} and outline(row) is None
        assert np.isnan(row["gestational_age_weeks"])
    assert measure_planes(np.zeros((0, 4, 4)), [], None) == []


def test_what_is_rare_or_out_of_range_is_told_and_kept():
    round_head = fill_ellipses(SHAPE, CENTRE, np.array([[80.0, 76.0]]), ANGLE)
    found = measure_planes(round_head, ["head"], (0.3, 0.3))[0]
    assert found["reason"] == "cephalic index 95 outside 74-83" and found["hc"] > 0
    early = measure_planes(MASKS[:1], ["head"], (0.08, 0.08))[0]
    assert "outside the range of hadlock_1984_H" in early["reason"] and early["hc"] == pytest.approx(40.4, abs=0.2)


@pytest.mark.parametrize("spacing", [(0.3, 0.3), (0.2, 0.5)])
def test_callipers_measure_the_length_that_is_told(spacing):
    for row in measure_planes(MASKS, NAMES, spacing):
        lines = callipers(row)
        told = {"head": {"OFD": "ofd", "BPD": "bpd"}, "abdomen": {"AD1": "abdomen_long", "AD2": "abdomen_short"},
                "femur": {"FL": "fl"}}[row["plane"]]  # fmt: skip
        assert lines.keys() == told.keys()
        for name, ends in lines.items():
            length = np.hypot(*((ends[1] - ends[0]) * spacing[::-1]))
            assert length == pytest.approx(row[told[name]])
            np.testing.assert_allclose(ends.mean(0), CENTRE[0], atol=0.3)
        around = outline(row)
        if row["plane"] == "femur":
            assert around is None
            continue
        # Ends lie on the ellipse; in millimetres the two diameters are at right angles.
        for ends in lines.values():
            assert np.abs(np.hypot(*(around[:, None] - ends).T)).min() < 4
        one, other = ((e[1] - e[0]) * spacing[::-1] for e in lines.values())
        assert one @ other == pytest.approx(0, abs=1e-6)


def test_formula_and_fit_are_recorded():
    exact = measure_planes(MASKS[:1], ["head"], (0.3, 0.3))[0]
    rule = measure_planes(MASKS[:1], ["head"], (0.3, 0.3), formula="two_diameters", fit="contour")[0]
    assert exact["circumference_formula"] == "exact" and exact["fit"] == "moments"
    assert rule["circumference_formula"] == "two_diameters" and rule["fit"] == "contour"
    assert rule["hc"] == pytest.approx(np.pi * (rule["bpd"] + rule["ofd"]) / 2)
    assert 1 - rule["hc"] / exact["hc"] == pytest.approx(0.0038, abs=5e-4)


def test_phantoms_measure_what_they_are():
    batch = draw_ultrasound(24, size=256, sites=4, seed=4)
    spacing = np.repeat(batch.spacing[:, None], 2, 1)
    for row, lengths, pixel in zip(
        measure_planes(batch.mask, batch.plane.tolist(), spacing), batch.lengths, batch.spacing, strict=True
    ):
        for name, value in zip(TOLD, lengths, strict=True):
            if name in row:
                assert row[name] == pytest.approx(value, abs=pixel)


def test_wrong_use_is_named():
    assert PLANES == ("head", "abdomen", "femur")
    with pytest.raises(DataError, match=r"unknown plane 'brain'"):
        measure_planes(MASKS[:1], ["brain"], None)
    with pytest.raises(DataError, match="2 planes for 3 pictures"):
        measure_planes(MASKS, ["head", "femur"], None)
