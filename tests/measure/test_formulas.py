"""Formulas of age, weight and size: reference values, agreement among each other, ranges, and units."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.measure.examination import FORMULAS, combine, per_examination, propagate, spread
from scantling.measure.formula import polynomial
from scantling.measure.growth import (
    CRL_AGE,
    growth,
    median_weight,
    ratios,
    weight_at,
    weight_centile,
    weight_z_score,
)
from scantling.measure.hadlock import AGE_TERMS, AGES, INPUT_RANGES, WEIGHT_TERMS, WEIGHTS
from scantling.measure.intergrowth import AGE, SIZES, WEIGHT

TWENTY = {"bpd": 50.0, "hc": 185.0, "ac": 160.0, "fl": 35.0}
LATER = ({"bpd": 75.0, "hc": 280.0, "ac": 260.0, "fl": 56.0}, {"bpd": 92.0, "hc": 335.0, "ac": 340.0, "fl": 72.0})
WEEKS = {
    "B": 21.14, "H": 20.85, "A": 21.11, "F": 21.04, "BH": 20.76, "BA": 21.00, "BF": 20.92, "HA": 20.58, "HF": 20.59,
    "AF": 20.87, "BHA": 20.40, "BHF": 20.81, "BAF": 20.91, "HAF": 20.68, "BHAF": 20.77,
}  # fmt: skip


def test_every_age_formula_gives_its_reference_value():
    assert {k: round(float(f.estimate(TWENTY).value), 2) for k, f in AGES.items()} == WEEKS
    assert set(AGES) == set(AGE_TERMS) and len(AGES) == 15


@pytest.mark.parametrize("lengths", [TWENTY, *LATER])
def test_age_formulas_agree_with_each_other(lengths):
    """A typing error in one of them would not: they are fits to the same fetuses."""
    ages = np.array([f.estimate(lengths).value for f in AGES.values()])
    assert np.ptp(ages) < 0.75 if lengths is TWENTY else np.ptp(ages) < 2.2
    intergrowth = AGE.estimate(lengths).value / 7
    assert abs(intergrowth - np.median(ages)) < 1.5


def test_typing_errors_that_circulate_would_be_seen():
    wrong = {"A": {**AGE_TERMS["A"], "AA": -0.0036}, "H": {"": 8.96, "H": 0.540, "HH": 0.0003}}
    at_term = LATER[1]
    for letter, terms in wrong.items():
        value = polynomial(terms)(np.array(at_term["ac" if letter == "A" else "hc"] / 10))
        assert abs(value - AGES[letter].estimate(at_term).value) > 5
    log10 = polynomial({**WEIGHT_TERMS["HAF"], "F": 0.0158})
    assert 10 ** log10(*(np.array(LATER[0][n] / 10) for n in ("hc", "ac", "fl"))) == pytest.approx(239, abs=1)


@pytest.mark.parametrize(
    ("lengths", "grams"),
    [
        (TWENTY, (401.1, 399.8, 393.7, 396.3)),
        (LATER[0], (1513.4, 1492.9, 1494.7, 1487.8)),
        (LATER[1], (3278.7, 3279.1, 3259.9, 3268.0)),
    ],
)
def test_every_weight_formula_gives_its_reference_value(lengths, grams):
    found = [float(WEIGHTS[k].estimate(lengths).value) for k in ("AF", "BAF", "HAF", "BHAF")]
    np.testing.assert_allclose(found, grams, atol=0.05)


def test_weight_and_single_ages_increase_with_every_input():
    grid = {"bpd": np.linspace(40, 100, 40), "hc": np.linspace(150, 350, 40), "ac": np.linspace(120, 370, 40),
            "fl": np.linspace(25, 80, 40)}  # fmt: skip
    for formula in (*WEIGHTS.values(), *(AGES[k] for k in ("B", "H", "A", "F")), AGE):
        for base in (TWENTY, *LATER):
            for name in formula.inputs:
                values = formula.estimate({**base, name: grid[name]}).value
                assert (np.diff(values) > 0).all(), (formula.name, name)
    assert (np.diff(WEIGHT.estimate({"hc": 300.0, "ac": np.linspace(150, 390, 50)}).value) > 0).all()


def test_millimetres_go_in_and_centimetres_are_seen():
    centimetres = {name: value / 10 for name, value in TWENTY.items()}
    for formula in FORMULAS:
        lengths = LATER[0]
        assert formula.estimate(lengths).valid, formula.name
        assert not formula.estimate(centimetres).valid, formula.name
        assert not formula.estimate({n: 10 * v for n, v in lengths.items()}).valid, formula.name
    with pytest.raises(DataError, match=r"hadlock_1984_BH: no head circumference; give bpd, hc in mm"):
        AGES["BH"].estimate({"bpd": 50.0})
    with pytest.raises(DataError, match="negative"):
        AGES["B"].estimate({"bpd": -1.0})


def test_ranges_are_those_of_14_to_42_weeks():
    for letter, name in zip("BHAF", ("bpd", "hc", "ac", "fl"), strict=True):
        low, high = INPUT_RANGES[name]
        ages = AGES[letter].estimate({name: np.array([low, high])}).value
        np.testing.assert_allclose(ages, [14, 42], atol=0.05)
        assert AGES[letter].estimate({name: np.array([low - 1, high + 1, low + 1])}).valid.tolist() == [
            False, False, True,
        ]  # fmt: skip
    assert not AGES["B"].estimate({"bpd": np.nan}).valid


def test_what_a_formula_says_is_written_with_its_source():
    for formula in (*FORMULAS, CRL_AGE):
        assert formula.citation[-4:] and formula.equation and formula.unit in ("weeks", "days", "g")
        assert len(formula.inputs) == len(formula.input_valid)
        assert formula.valid[0] < formula.valid[1]
    assert AGES["HA"].equation == "10.31 + 0.012 H^2 + 0.385 A"
    assert WEIGHTS["AF"].equation == "10 ^ (1.304 + 0.05281 A + 0.1938 F - 0.004 A F)"
    assert len({f.name for f in FORMULAS}) == len(FORMULAS)


def test_the_page_shows_the_formulas_as_they_are():
    docs = Path(__file__).parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("write_formulas", docs / "write_formulas.py")
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    assert written.PAGE.read_text(encoding="utf-8") == written.page(), "run docs/write_formulas.py"


def test_other_references():
    np.testing.assert_allclose(median_weight([20, 28, 32, 40]).value, [331.0, 1210.3, 1952.8, 3619.2], atol=0.05)
    assert float(AGE.estimate({"hc": 185.0, "fl": 35.0}).value) == pytest.approx(147.99, abs=0.005)
    assert float(CRL_AGE.estimate({"crl": 60.0}).value) == pytest.approx(87.2, abs=0.05)
    assert not CRL_AGE.estimate({"crl": 120.0}).valid
    # Median sizes as the published tables print them.
    np.testing.assert_allclose(SIZES["hc"].at([14, 20, 40]).value, [97.9, 172.5, 333.9], atol=0.05)
    np.testing.assert_allclose(SIZES["fl"].at([20, 30]).value, [31.3, 55.5], atol=0.05)


def test_sizes_grow_and_their_circumferences_fit_their_diameters():
    weeks = np.linspace(14, 40, 53)
    means = {name: standard.at(weeks).value for name, standard in SIZES.items()}
    for name, standard in SIZES.items():
        assert (np.diff(means[name]) > 0).all()
        assert (standard.at(weeks, 1).value - means[name] > 0).all()
        np.testing.assert_allclose(standard.centile(standard.at(weeks, -1.2816).value, weeks).value, 10, atol=0.01)
        np.testing.assert_allclose(standard.z_score(standard.at(weeks, 0.7).value, weeks).value, 0.7)
        assert not standard.z_score(100.0, 45.0).valid
    np.testing.assert_allclose(means["hc"], np.pi * (means["bpd"] + means["ofd"]) / 2, rtol=0.025)


def test_centiles_of_weight_are_the_known_factors():
    for centile, factor in ((3, 0.75), (10, 0.83), (50, 1.0), (90, 1.17), (97, 1.25)):
        assert float(weight_at(centile, 32.0).value) / 1952.8 == pytest.approx(factor, abs=0.008)
        assert float(weight_centile(weight_at(centile, 32.0).value, 32.0).value) == pytest.approx(centile)
    assert float(weight_z_score(1952.8 * 1.2, 32.0, deviation=0.1).value) == pytest.approx(2.0, abs=1e-3)
    assert not weight_centile(3000.0, 44.0).valid
    with pytest.raises(DataError, match="deviation"):
        weight_z_score(1000.0, 30.0, deviation=0.0)


def test_growth_between_scans():
    along = growth((float(median_weight(28).value), 28.0), (float(median_weight(32).value), 32.0))
    assert along["z_per_week"] == pytest.approx(0, abs=1e-9)
    assert along["grams_per_day"] == pytest.approx((1952.8 - 1210.3) / 28, abs=0.01)
    assert growth((1210.3, 28.0), (1700.0, 32.0))["z_per_week"] < -0.2
    with pytest.raises(DataError, match="not later"):
        growth((1000.0, 28.0), (900.0, 28.0))


def test_ratios_are_of_what_there_is():
    assert ratios({"bpd": 50.0}) == {}
    found = ratios({**TWENTY, "ofd": 64.0})
    assert found == pytest.approx({"cephalic_index": 78.125, "fl_ac": 21.875, "hc_ac": 1.15625})


def test_an_examination_uses_all_its_lengths():
    found = combine({**TWENTY, "ofd": 64.0})
    assert found["gestational_age_formula"] == "hadlock_1984_BHAF"
    assert found["gestational_age_weeks"] == pytest.approx(20.773)
    assert found["estimated_weight_formula"] == "hadlock_1985_BHAF"
    assert sum(name.startswith("hadlock_1984") for name in found) == 15
    assert found["reason"] == ""
    assert not any(name.endswith(("_z", "_sd")) for name in found)
    # INTERGROWTH's weight is for 22 weeks and more: it is left out, not told silently.
    assert "intergrowth_2017_HA_g" not in combine({"hc": 160.0, "ac": 135.0})
    assert "intergrowth_2017_HA_g" in combine(LATER[0])
    head = combine({"hc": 185.0, "fl": float("nan")})
    assert head["gestational_age_formula"] == "hadlock_1984_H"
    assert "estimated_weight_g" not in head
    assert combine({}) == {"reason": ""}
    early = combine({"hc": 50.0})
    assert "outside the range of hadlock_1984_H" in early["reason"]
    assert "hadlock_1984_H_weeks" not in early
    with pytest.raises(DataError, match="unknown length 'hc_mm'"):
        combine({"hc_mm": 185.0})


def test_centiles_are_told_for_a_known_age_only():
    found = combine(TWENTY, weeks=20.0)
    assert found["hc_centile"] == pytest.approx(float(SIZES["hc"].centile(185.0, 20.0).value))
    assert found["estimated_weight_centile"] > 90
    late = combine(TWENTY, weeks=43.0)
    assert "hc_centile" not in late
    assert "43.0 weeks is outside the range of intergrowth_2014" in late["reason"]


def test_deviations_are_propagated_as_a_simulation_does():
    deviations = {"bpd": 1.0, "hc": 2.5, "ac": 4.0, "fl": 0.8}
    rng = np.random.default_rng(0)
    drawn = {n: v + deviations[n] * rng.standard_normal(40000) for n, v in LATER[0].items()}
    for formula in (AGES["BHAF"], AGES["H"], WEIGHTS["HAF"], AGE):
        simulated = np.std(formula.estimate(drawn).value)
        assert propagate(formula, LATER[0], deviations) == pytest.approx(simulated, rel=0.03)
    assert propagate(AGES["H"], TWENTY, {"bpd": 5.0}) == 0
    assert combine(TWENTY, {"hc": 2.0})["gestational_age_weeks_sd"] == pytest.approx(0.06 * 0.2 * 3.5)


def row(unit="mm", **lengths):
    return {"unit": unit, **lengths}


def test_planes_of_one_examination_come_together_without_its_name():
    rows = [
        row(hc=184.0, bpd=50.0, ofd=64.0),
        row(ac=160.0),
        row(hc=186.0, bpd=50.0, ofd=64.0),
        row(fl=35.0),
        row(fl=np.nan),
    ]
    one, other = per_examination(rows, ["x", "x", "x", "x", "secret"], weeks={"x": 20.0})
    assert one["rows"] == [0, 1, 2, 3] and other["rows"] == [4]
    assert one["hc_mm"] == 185 and one["hc_mm_sd"] == pytest.approx(np.sqrt(2))
    assert one["gestational_age_weeks"] == pytest.approx(20.773)
    assert one["gestational_age_weeks_sd"] > 0
    assert "hc_centile" in one
    assert "secret" not in str(other)
    assert other["reason"] == ""
    with pytest.raises(DataError, match="pixels have no age"):
        per_examination([row("px", hc=3.0)], [1])
    with pytest.raises(DataError, match="2 examinations for 1 rows"):
        per_examination([row(hc=3.0)], [1, 2])


def test_spread_over_views():
    found = spread([row(hc=184.0, bpd=50.0), row(hc=186.0, bpd=np.nan), row(hc=185.0)])
    assert found == {"hc": pytest.approx(1.0)}
