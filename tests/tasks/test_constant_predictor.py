"""Warnings about collapsed training."""

import pytest
import torch

from scantling.tasks.constant_predictor import adaptive_rate_warning, constant_predictor_warning, is_constant


def test_constant_outputs_are_found_whatever_their_level():
    for level in (0.0, 0.526, -40.0, 1e4):
        same = torch.full((50, 3), level) + 1e-6 * torch.randn(50, 3)
        assert is_constant(same)
    varied = torch.full((50, 3), 0.526)
    varied[7, 2] += 0.1
    assert not is_constant(varied)
    assert is_constant(varied[:, 0])
    assert not is_constant(varied[:1])


def test_one_predicted_class_warns_only_if_labels_differ():
    probabilities = torch.tensor([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert "'none'" in constant_predictor_warning(probabilities, torch.tensor([0, 1, 0]), ["none", "mild"])
    assert constant_predictor_warning(probabilities, torch.tensor([0, 0, -1]), ["none", "mild"]) is None
    varied = torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.6, 0.4]])
    assert constant_predictor_warning(varied, torch.tensor([0, 1, 0]), ["none", "mild"]) is None


@pytest.mark.parametrize(
    ("name", "lr", "pretrained", "warns"),
    [
        ("Adam", 1e-3, True, True),
        ("adamw", 5e-3, True, True),
        ("Adam", 3e-5, True, False),
        ("Adam", 1e-3, False, False),
        ("SGD", 2e-2, True, False),
    ],
)
def test_adaptive_rates(name, lr, pretrained, warns):
    assert (adaptive_rate_warning(name, lr, pretrained) is not None) == warns
