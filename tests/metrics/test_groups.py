"""Head, middle and tail: which classes they are, closed forms of their figures, and what an evaluation tells."""

import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.core.target import parse_target
from scantling.metrics.evaluation import evaluate_predictions
from scantling.metrics.groups import frequency_groups, group_accuracy, group_recall, recall_of_group
from scantling.metrics.kappa import confusion_matrix
from scantling.metrics.predictions import Predictions
from scantling.run.report import write_report
from scantling.run.report_content import ReportContent
from scantling.run.report_text import render_text

SKIN = np.array([1088, 6782, 483, 289, 1075, 70, 99])
NAMES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
RNG = np.random.default_rng(0)


def predictions(labels, seed=0, kind="class"):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), 7))
    logits[np.arange(len(labels)), labels] += rng.random(len(labels)) * 3
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Predictions(parse_target(f"{kind}:{'|'.join(NAMES)}"), labels, probabilities)


def test_groups_of_the_sheet():
    groups = frequency_groups(SKIN, "1000,200")
    assert [(g.name, [NAMES[k] for k in g.classes]) for g in groups] == [
        ("head", ["MEL", "NV", "BKL"]), ("medium", ["BCC", "AKIEC"]), ("tail", ["DF", "VASC"]),
    ]  # fmt: skip
    assert [g.rule for g in groups] == ["more than 1000 training images", "200 to 1000", "fewer than 200"]
    default = frequency_groups(SKIN)
    assert [(g.name, len(g.classes)) for g in default] == [("head", 5), ("medium", 2)]


@pytest.mark.parametrize("rule", [(100, 20), (20, 20), (0, 0), "1000,200", "tertiles"])
def test_every_class_is_in_exactly_one_group_and_groups_follow_the_counts(rule):
    for size in (3, 4, 5, 7, 13):
        counts = RNG.integers(0, 300, size)
        groups = frequency_groups(counts, rule)
        assert sorted(k for g in groups for k in g.classes) == list(range(size))
        lowest = [counts[list(g.classes)].min() for g in groups]
        highest = [counts[list(g.classes)].max() for g in groups]
        assert all(low >= high for low, high in zip(lowest[:-1], highest[1:]))
        if rule == "tertiles":
            sizes = [len(g.classes) for g in groups]
            assert max(sizes) - min(sizes) <= 1
            assert len(sizes) == 3


def test_limits_count_as_written():
    groups = {g.name: g.classes for g in frequency_groups(np.array([101, 100, 20, 19]))}
    assert groups == {"head": (0,), "medium": (1, 2), "tail": (3,)}


def test_figures_of_a_group_are_those_of_its_classes_alone():
    labels = RNG.integers(0, 7, 500)
    found = predictions(labels)
    groups = frequency_groups(SKIN, "1000,200")
    matrix = confusion_matrix(found.labels, found.predicted, 7)
    recall, accuracy = group_recall(matrix, groups), group_accuracy(matrix, groups)
    for g, group in enumerate(groups):
        mine = np.isin(labels, group.classes)
        right = found.predicted == labels
        assert accuracy[g] == pytest.approx(right[mine].mean())
        assert recall[g] == pytest.approx(np.mean([right[labels == k].mean() for k in group.classes]))
    one = frequency_groups(np.full(7, 500))
    assert group_accuracy(matrix, one)[0] == pytest.approx((found.predicted == labels).mean())


def test_on_a_balanced_test_set_accuracy_is_recall():
    labels = np.arange(7).repeat(46)
    matrix = confusion_matrix(labels, predictions(labels).predicted, 7)
    groups = frequency_groups(SKIN, "1000,200")
    np.testing.assert_allclose(group_recall(matrix, groups), group_accuracy(matrix, groups))


def test_a_group_without_images_has_no_figure():
    matrix = confusion_matrix(np.zeros(5, int), np.zeros(5, int), 7)
    assert np.isnan(group_recall(matrix, frequency_groups(SKIN, "1000,200"))).tolist() == [False, True, True]
    stacked = np.stack([matrix, matrix])
    assert group_accuracy(stacked, frequency_groups(SKIN)).shape == (2, 2)


def test_an_evaluation_tells_groups_and_classes_with_intervals():
    found = predictions(RNG.integers(0, 7, 600))
    told = evaluate_predictions(found, replicates=200, training_counts=SKIN.tolist(), groups="1000,200")
    assert [row["name"] for row in told["frequency"]] == ["head", "medium", "tail"]
    assert [row["n_training"] for row in told["frequency"]] == [8945, 772, 169]
    assert sum(row["n"] for row in told["frequency"]) == 600
    for row in told["frequency"]:
        assert row["recall"]["low"] < row["recall"]["value"] < row["recall"]["high"]
        assert row["accuracy"]["replicates_used"] == 200
    assert [row["n_training"] for row in told["per_class"]] == SKIN.tolist()
    assert all(row["recall"]["low"] < row["recall"]["high"] for row in told["per_class"])
    plain = evaluate_predictions(found, replicates=200)
    assert plain["frequency"] == []
    assert plain["metrics"] == told["metrics"]


def test_nothing_is_grouped_without_counts_for_two_classes_or_by_a_wrong_rule():
    labels = RNG.integers(0, 2, 50)
    two = Predictions(parse_target("class:a|b"), labels, np.stack([labels, 1 - labels], 1).astype(float))
    assert evaluate_predictions(two, replicates=0, training_counts=[500, 3])["frequency"] == []
    found = predictions(RNG.integers(0, 7, 50))
    with pytest.raises(DataError, match="3 training counts for 7 classes"):
        evaluate_predictions(found, replicates=0, training_counts=[1, 2, 3])
    for rule in ("thirds", "100", "20,100", (5, 9)):
        with pytest.raises(DataError):
            frequency_groups(SKIN, rule)


def test_the_report_and_the_terminal_tell_them(tmp_path):
    found = predictions(RNG.integers(0, 7, 100))
    told = evaluate_predictions(found, replicates=50, training_counts=SKIN.tolist(), groups="1000,200")
    assert "tail    " in render_text(told)
    assert "2 classes, fewer than 200" in render_text(told)
    page = write_report(tmp_path / "r.html", ReportContent("x", evaluation=told)).read_text()
    assert "By frequency in training" in page
    assert "DF, VASC" in page
    without = evaluate_predictions(found, replicates=0)
    assert "By frequency" not in write_report(tmp_path / "s.html", ReportContent("x", evaluation=without)).read_text()


def test_the_recall_of_a_group_as_a_metric_takes_weights_and_follows_the_training_counts():
    labels = np.array([0, 0, 1, 1, 2, 2])
    sure = np.eye(3)[[0, 0, 1, 0, 0, 2]]
    counts = np.array([5, 20, 50])
    values = [float(recall_of_group(f"{n}_recall", counts)(labels, sure, None)) for n in ("head", "medium", "tail")]
    assert values == [0.5, 0.5, 1.0]
    weights = np.array([[1, 1, 1, 1, 1, 3.0], [1, 1, 1, 1, 0, 1]])
    assert recall_of_group("head_recall", counts)(labels, sure, weights).tolist() == [0.75, 1.0]
    with pytest.raises(DataError, match="no class belongs"):
        recall_of_group("medium_recall", np.array([500, 400, 5]), (100, 20))
