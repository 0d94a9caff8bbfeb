"""Temperature scaling finds the temperature that made the labels."""

import pytest
import torch

from scantling.core.target import parse_target
from scantling.tasks.objectives import CrossEntropy, DiceCrossEntropy, MSEGrade, MultiLabel
from scantling.tasks.temperature import fit_temperature, negative_log_likelihood


def draw(probabilities, seed=0):
    return torch.multinomial(probabilities, 1, generator=torch.Generator().manual_seed(seed)).squeeze(1)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_true_temperature_is_found_and_is_the_optimum(true):
    logits = 4 * torch.randn(20000, 5, generator=torch.Generator().manual_seed(1))
    labels = draw((logits / true).softmax(1))
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(true, rel=0.06)
    best = negative_log_likelihood(logits, labels, fitted)
    assert best <= negative_log_likelihood(logits, labels, fitted * 1.01)
    assert best <= negative_log_likelihood(logits, labels, fitted / 1.01)


def test_findings_and_missing_labels():
    g = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(8000, 3, generator=g)
    labels = (torch.rand(8000, 3, generator=g) < (logits / 2).sigmoid()).float()
    labels[::2, 0] = float("nan")
    assert fit_temperature(logits, labels) == pytest.approx(2, rel=0.06)


def test_unlabelled_and_separable_sets_do_no_harm():
    logits = torch.randn(10, 3)
    assert fit_temperature(logits, torch.full((10,), -1)) == 1.0
    assert fit_temperature(torch.zeros(10, 3), torch.zeros(10, dtype=torch.int64)) == 1.0
    assert 0.01 <= fit_temperature(logits, logits.argmax(1)) < 0.1


def test_the_temperature_of_a_grade_regression_is_its_error_variance():
    g = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 9, (20000,), generator=g)
    severity = labels + 0.6 * torch.randn(20000, generator=g)
    inner = (labels > 1) & (labels < 7)
    objective = MSEGrade()
    objective.configure(parse_target("grade:9"))
    assert objective.fit_temperature(severity[inner, None], labels[inner]) == pytest.approx(0.36, rel=0.06)
    assert objective.temperature == pytest.approx(0.36, rel=0.06)


@pytest.mark.parametrize("objective", [CrossEntropy(), MultiLabel(), DiceCrossEntropy()])
def test_fitted_objectives_are_better_calibrated_on_new_samples(objective):
    kind = type(objective)
    g = torch.Generator().manual_seed(4)
    if kind is MultiLabel:
        target, outputs = parse_target("findings:a|b|c"), 9 * torch.randn(4000, 3, generator=g)
        labels = (torch.rand(4000, 3, generator=g) < (outputs / 3).sigmoid()).float()
    elif kind is DiceCrossEntropy:
        target, outputs = parse_target("mask"), 9 * torch.randn(40, 2, 10, 10, generator=g)
        labels = draw((outputs / 3).softmax(1).movedim(1, -1).reshape(-1, 2)).reshape(40, 10, 10)
    else:
        target, outputs = parse_target("class:a|b|c"), 9 * torch.randn(4000, 3, generator=g)
        labels = draw((outputs / 3).softmax(1))
    half = len(outputs) // 2
    objective.configure(target)
    fitted = objective.fit_temperature(outputs[:half], labels[:half])
    assert fitted == pytest.approx(3, rel=0.15)
    before, after = (negative_log_likelihood(outputs[half:], labels[half:], t) for t in (1.0, fitted))
    assert after < before - 0.1
