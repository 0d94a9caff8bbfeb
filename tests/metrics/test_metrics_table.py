"""All metrics against scikit-learn, and what weights mean."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from scantling.core.errors import DataError
from scantling.metrics import METRICS
from scantling.metrics.ranking import areas, binary_areas, roc_curve

CLASS_METRICS = [n for n in METRICS if n not in {"dice", "hd95"}]
FINDING_METRICS = [n for n in CLASS_METRICS if n != "quadratic_weighted_kappa"]


def classes(n: int = 200, k: int = 5, seed: int = 0, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=np.array([0.4, 0.2, 0.2, 0.15, 0.05])[:k] / sum([0.4, 0.2, 0.2, 0.15, 0.05][:k]))
    logits = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, np.round(probabilities, 2) if ties else probabilities


def findings(n: int = 200, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, k)) < [0.5, 0.2, 0.1, 0.05]).astype(float)
    probabilities = np.round(np.clip(0.3 * labels + rng.random((n, k)) * 0.7, 0, 1), 2)
    labels[rng.random((n, k)) < 0.15] = np.nan
    return labels, probabilities


def test_class_metrics_agree_with_scikit_learn():
    for seed in range(5):
        y, p = classes(seed=seed)
        c = p.argmax(1)
        onehot = np.eye(5)[y]
        expected = {
            "accuracy": sk.accuracy_score(y, c),
            "balanced_accuracy": sk.balanced_accuracy_score(y, c),
            "macro_recall": sk.recall_score(y, c, average="macro"),
            "macro_f1": sk.f1_score(y, c, average="macro"),
            "kappa": sk.cohen_kappa_score(y, c),
            "quadratic_weighted_kappa": sk.cohen_kappa_score(y, c, weights="quadratic"),
            "auroc": np.mean([sk.roc_auc_score(onehot[:, k], p[:, k]) for k in range(5)]),
            "auprc": sk.average_precision_score(onehot, p, average="macro"),
        }
        assert set(expected) == set(CLASS_METRICS)
        for name, value in expected.items():
            assert abs(float(METRICS[name](y, p)) - value) < 1e-12, name


def test_finding_metrics_agree_with_scikit_learn_where_a_label_is_known():
    y, p = findings()
    per_finding = {name: [] for name in FINDING_METRICS}
    for k in range(y.shape[1]):
        known = ~np.isnan(y[:, k])
        t, s = y[known, k].astype(int), p[known, k]
        c = (s >= 0.5).astype(int)
        for name, value in {
            "accuracy": sk.accuracy_score(t, c),
            "balanced_accuracy": sk.balanced_accuracy_score(t, c),
            "macro_recall": sk.recall_score(t, c),
            "macro_f1": sk.f1_score(t, c),
            "kappa": sk.cohen_kappa_score(t, c),
            "auroc": sk.roc_auc_score(t, s),
            "auprc": sk.average_precision_score(t, s),
        }.items():
            per_finding[name].append(value)
    for name, values in per_finding.items():
        assert abs(float(METRICS[name](y, p)) - np.mean(values)) < 1e-12, name


@given(
    scores=st.lists(st.integers(0, 6), min_size=2, max_size=40),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_areas_agree_with_scikit_learn_for_any_ties_and_weights(scores, data):
    n = len(scores)
    labels = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    auroc, auprc = binary_areas(labels, np.array(scores), weights)
    if not weights[labels].any():
        assert np.isnan(auroc)
        assert np.isnan(auprc)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert abs(auprc - sk.average_precision_score(labels, scores, sample_weight=weights)) < 1e-12
        if weights[~labels].any():
            assert abs(auroc - sk.roc_auc_score(labels, scores, sample_weight=weights)) < 1e-12
        else:
            assert np.isnan(auroc)


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_whole_weights_equal_repeated_rows_for_classes(name):
    y, p = classes()
    y[::17] = -1
    weights = np.random.default_rng(1).integers(0, 4, (6, len(y)))
    together = METRICS[name](y, p, weights)
    assert together.shape == (6,)
    for row, value in zip(weights, together, strict=True):
        repeated = METRICS[name](np.repeat(y, row), np.repeat(p, row, axis=0))
        assert abs(float(repeated) - value) < 1e-12
        assert abs(float(METRICS[name](y, p, row)) - value) < 1e-12


@pytest.mark.parametrize("name", FINDING_METRICS)
def test_whole_weights_equal_repeated_rows_for_findings(name):
    y, p = findings()
    weights = np.random.default_rng(2).integers(0, 4, (6, len(y)))
    together = METRICS[name](y, p, weights)
    for row, value in zip(weights, together, strict=True):
        assert abs(float(METRICS[name](np.repeat(y, row, axis=0), np.repeat(p, row, axis=0))) - value) < 1e-12


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_missing_labels_are_left_out_and_equal_weights_change_nothing(name):
    y, p = classes()
    value = float(METRICS[name](y, p))
    more = float(METRICS[name](np.append(y, [-1, -1]), np.concatenate([p, p[:2]])))
    assert abs(more - value) < 1e-12
    assert abs(float(METRICS[name](y, p, np.full(len(y), 7.0))) - value) < 1e-12


def test_the_area_under_the_roc_curve_ignores_the_scale_of_the_scores():
    y, p = classes(ties=False)
    score = p[:, 0]
    value, _ = binary_areas(y == 0, score)
    for monotone in (np.log(score), 1e6 * score - 3, np.exp(5 * score), score**3):
        assert abs(binary_areas(y == 0, monotone)[0] - value) < 1e-12
    assert abs(binary_areas(y == 0, -score)[0] - (1 - value)) < 1e-12
    assert binary_areas(y == 0, np.ones(len(y)))[0] == 0.5
    assert binary_areas(y == 0, y == 0) == (1.0, 1.0)


def test_the_area_equals_the_trapezoids_under_the_roc_curve():
    y, p = classes()
    false, true, thresholds = roc_curve(y == 1, p[:, 1])
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    assert (np.diff(thresholds) < 0).all()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert abs(np.trapezoid(true, false) - binary_areas(y == 1, p[:, 1])[0]) < 1e-12


def test_two_classes_have_the_second_as_the_positive_one():
    y, p = classes(k=2)
    assert abs(float(METRICS["auroc"](y, p)) - sk.roc_auc_score(y, p[:, 1])) < 1e-12
    assert abs(float(METRICS["auprc"](y, p)) - sk.average_precision_score(y, p[:, 1])) < 1e-12


def test_a_class_without_samples_is_left_out_of_means_and_no_class_at_all_is_undefined():
    y, p = classes()
    kept = y != 4
    per_class = areas(y[kept], p[kept])["auroc"]
    assert np.isnan(per_class[4])
    assert not np.isnan(per_class[:4]).any()
    assert abs(float(METRICS["auroc"](y[kept], p[kept])) - per_class[:4].mean()) < 1e-12
    for name in CLASS_METRICS:
        assert np.isnan(METRICS[name](np.full(3, -1), p[:3])), name
    assert np.isnan(METRICS["auroc"](np.zeros((3, 2)), p[:3, :2]))


def test_weights_of_the_wrong_length_are_refused():
    y, p = classes()
    with pytest.raises(DataError, match="weights of shape"):
        METRICS["accuracy"](y, p, np.ones(3))
