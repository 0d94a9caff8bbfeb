"""The evaluation: its figures, its intervals, its tables, and what it refuses."""

import json

import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.core.target import make_target
from scantling.metrics import METRICS, Predictions, evaluate_masks, evaluate_predictions
from scantling.metrics.ranking import binary_areas

GRADE = make_target("grade", "01234")


def grades(n: int = 300, seed: int = 0, **more) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.choice(5, n, p=[0.5, 0.1, 0.2, 0.1, 0.1])
    scores = labels + rng.normal(0, 0.7, n)
    probabilities = np.exp(-((scores[:, None] - np.arange(5)) ** 2))
    probabilities /= probabilities.sum(1, keepdims=True)
    given = {
        "scores": scores,
        "groups": np.arange(n) // 2,
        "columns": {"site": rng.choice(["north", "south", ""], n)},
        "names": [f"{i}.jpg" for i in range(n)],
    }
    return Predictions(GRADE, labels, probabilities, **{**given, **more})


def test_values_are_those_of_the_metrics_and_lie_in_their_intervals():
    p = grades()
    found = evaluate_predictions(p, replicates=500)
    assert list(found["metrics"]) == list(GRADE.metrics)
    assert found["headline"] == "quadratic_weighted_kappa"
    for name, figure in found["metrics"].items():
        assert abs(figure["value"] - float(METRICS[name](p.labels, p.probabilities))) < 1e-12
        assert figure["low"] < figure["value"] < figure["high"]
        assert figure["replicates_used"] == 500
    assert (found["n"], found["n_groups"], found["interval"]) == (300, 150, "95 % bootstrap by patient")
    assert np.sum(found["confusion"]) == 300
    assert [c["n"] for c in found["per_class"]] == np.sum(found["confusion"], axis=1).tolist()
    assert sum(b["n"] for b in found["calibration"]["reliability"]) == 300


def test_the_dictionary_is_strict_json_without_names_and_patients():
    text = json.dumps(evaluate_predictions(grades(), replicates=50), allow_nan=False)
    assert ".jpg" not in text


def test_referable_is_read_off_the_severity():
    p = grades()
    block = evaluate_predictions(p, replicates=300)["thresholds"]["referable"]
    assert block["score"] == "severity"
    assert abs(block["auroc"]["value"] - binary_areas(p.labels >= 2, p.scores)[0]) < 1e-12
    at = block["sensitivity_at_specificity"]
    assert list(at) == ["0.80", "0.90", "0.95"]
    for rate, point in at.items():
        called = p.scores >= point["threshold"]
        assert np.mean(~called[p.labels < 2]) >= float(rate)
        assert abs(np.mean(called[p.labels >= 2]) - point["value"]) < 1e-12
    assert at["0.80"]["value"] >= at["0.95"]["value"]
    roc = np.array(block["roc"])
    assert len(roc) <= 203
    assert (np.diff(roc, axis=0) >= 0).all()
    assert abs(np.trapezoid(roc[:, 1], roc[:, 0]) - block["auroc"]["value"]) < 0.005
    assert evaluate_predictions(grades(scores=None), replicates=0)["thresholds"]["referable"]["score"] == "probability"


def test_tables_by_site_are_evaluations_of_their_rows():
    p = grades()
    table = evaluate_predictions(p, by=("site", "camera"), replicates=100)["by"]
    assert list(table) == ["site"]
    assert list(table["site"]) == ["north", "not given", "south"]
    assert sum(row["n"] for row in table["site"].values()) == 300
    north = p.select(p.columns["site"] == "north")
    alone = evaluate_predictions(north, replicates=0)["metrics"]
    for name, figure in table["site"]["north"]["metrics"].items():
        assert figure["value"] == alone[name]["value"]
        assert figure["low"] < figure["high"]


def test_patients_widen_the_interval_of_duplicated_images():
    p = grades(150, groups=None, columns={})
    twice = p.select(np.repeat(np.arange(150), 3))

    def width(groups: np.ndarray | None) -> float:
        again = Predictions(GRADE, twice.labels, twice.probabilities, groups=groups)
        figure = evaluate_predictions(again, replicates=1000)["metrics"]["quadratic_weighted_kappa"]
        return figure["high"] - figure["low"]

    assert width(np.repeat(np.arange(150), 3)) > 1.5 * width(None)


def test_the_seed_decides():
    one, two, other = (evaluate_predictions(grades(), replicates=100, seed=s) for s in (0, 0, 1))
    assert one == two
    assert one["metrics"] != other["metrics"]


def test_a_constant_predictor_is_named_and_has_kappa_zero():
    p = grades()
    constant = Predictions(GRADE, p.labels, np.tile(np.eye(5)[0], (300, 1)))
    found = evaluate_predictions(constant, replicates=50)
    assert any("'0' for every image" in note for note in found["notes"])
    assert found["metrics"]["quadratic_weighted_kappa"]["value"] == 0
    assert found["metrics"]["auroc"]["value"] == 0.5


def test_unlabelled_rows_are_left_out_and_counted():
    p = grades()
    labels = p.labels.copy()
    labels[:10] = -1
    found = evaluate_predictions(Predictions(GRADE, labels, p.probabilities), replicates=0)
    assert (found["n"], found["n_unlabelled"]) == (290, 10)


def test_findings_have_a_row_each_and_ignore_what_is_not_known():
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 3)) < [0.5, 0.2, 0.0]).astype(float)
    probabilities = np.clip(labels * 0.4 + rng.random((200, 3)) * 0.6, 0, 1)
    labels[:50, 0] = np.nan
    labels[199] = np.nan
    target = make_target("findings", ["effusion", "nodule", "hernia"])
    found = evaluate_predictions(Predictions(target, labels, probabilities), replicates=100)
    assert (found["n"], found["n_unlabelled"], found["confusion"]) == (199, 1, None)
    effusion, _, hernia = found["per_class"]
    assert effusion["n_known"] == 149
    assert effusion["n"] == int(np.nansum(labels[:, 0]))
    assert hernia["auroc"]["value"] is None
    assert hernia["auroc"]["replicates_used"] == 0
    assert any("'hernia'" in note for note in found["notes"])
    assert [c["roc"] is None for c in found["thresholds"]["curves"]] == [False, False, True]
    json.dumps(found, allow_nan=False)


def test_two_classes_ask_for_the_second():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    positive = np.clip(labels * 0.3 + rng.random(80) * 0.7, 0, 1)
    target = make_target("class", ["normal", "pneumonia"])
    found = evaluate_predictions(Predictions(target, labels, np.stack([1 - positive, positive], 1)), replicates=50)
    assert found["thresholds"]["positive"]["definition"] == "pneumonia"
    assert found["thresholds"]["positive"]["auroc"]["value"] == found["metrics"]["auroc"]["value"]
    assert "curves" not in found["thresholds"]


def test_masks_are_averaged_over_images_then_classes():
    rng = np.random.default_rng(0)
    target = make_target("mask", ["background", "disc", "cup"])
    dice = rng.uniform(0.5, 1, (60, 2))
    dice[:20, 1] = np.nan
    hd95 = rng.uniform(0, 9, (60, 2))
    site = np.repeat(["a", "b"], 30)
    found = evaluate_masks(target, {"dice": dice, "hd95": hd95}, np.arange(60) // 2, {"site": site}, replicates=300)
    expected = np.nanmean(dice, axis=0)
    assert abs(found["metrics"]["dice"]["value"] - expected.mean()) < 1e-12
    assert [c["name"] for c in found["per_class"]] == ["disc", "cup"]
    assert [c["n"] for c in found["per_class"]] == [60, 40]
    assert abs(found["per_class"][1]["dice"]["value"] - expected[1]) < 1e-12
    assert found["by"]["site"]["a"]["n"] == 30
    assert sum(found["distribution"]["dice"]["counts"]) == 60
    assert found["distribution"]["hd95"]["edges"][-1] > 1
    assert found["metrics"]["hd95"]["low"] < found["metrics"]["hd95"]["value"] < found["metrics"]["hd95"]["high"]
    json.dumps(found, allow_nan=False)


def test_what_cannot_be_evaluated_is_refused_with_a_reason():
    p = grades()
    with pytest.raises(DataError, match="no image has a label"):
        evaluate_predictions(Predictions(GRADE, np.full(3, -1), p.probabilities[:3]))
    with pytest.raises(DataError, match="would name patients"):
        evaluate_predictions(grades(columns={"patient": np.arange(300).astype(str)}), by=("patient",))
    with pytest.raises(DataError, match="probabilities of shape"):
        Predictions(GRADE, p.labels, p.probabilities[:, :3])
    broken = p.probabilities.copy()
    broken[7] = np.nan
    with pytest.raises(DataError, match=r"7\.jpg: a probability is not finite"):
        Predictions(GRADE, p.labels, broken, names=p.names)
    with pytest.raises(DataError, match="'dice' has the shape"):
        evaluate_masks(make_target("mask", ["background", "disc"]), {"dice": np.ones((4, 3))})
