"""Properties of the paired-eye head (sheet: dr_grading)."""

import pytest
import torch
from torch import nn

from scantling.core.errors import RecipeError
from scantling.nets.paired_eyes import PairedEyeHead, pair_max


def test_parameter_count_and_widths_of_the_sheet():
    head = PairedEyeHead(2048)
    linear = [m for m in head.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(4096, 2048), (1024, 512), (256, 1)]
    assert [sum(p.numel() for p in m.parameters()) for m in linear] == [8_390_656, 524_800, 256]
    assert sum(p.numel() for p in head.parameters()) == 8_915_712


def test_pair_max_takes_neighbours_not_halves():
    assert pair_max(torch.tensor([[1.0, 2, 8, 3, -5, -4]])).tolist() == [[2, 8, -4]]


@pytest.mark.parametrize("features", [1, 7, 20, 384, 512])
@pytest.mark.parametrize("outputs", [1, 4])
def test_any_width_and_a_batch_of_one(features, outputs):
    head = PairedEyeHead(features, outputs)
    eye = torch.randn(1, features)
    assert head(eye, eye).shape == (1, outputs)


def test_the_forward_pass_is_the_sheets_formula():
    head = PairedEyeHead(16).double()
    graded, fellow = torch.randn(2, 5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.cat([graded, fellow], 1) @ head.first.weight.T + head.first.bias
    x = torch.maximum(x[:, 0::2], x[:, 1::2]).clamp(min=0) @ head.second.weight.T + head.second.bias
    x = torch.maximum(x[:, 0::2], x[:, 1::2]).clamp(min=0) @ head.last.weight.T
    torch.testing.assert_close(head(graded, fellow), x)


def test_the_two_eyes_are_not_exchangeable_and_rows_are_independent():
    torch.manual_seed(0)
    head = PairedEyeHead(64)
    graded, fellow = torch.randn(2, 8, 64)
    out = head(graded, fellow)
    assert not torch.isclose(out, head(fellow, graded)).any()
    torch.testing.assert_close(head(graded[3:4], fellow[3:4]), out[3:4])
    assert head.last.bias is None


def test_both_eyes_receive_a_gradient():
    torch.manual_seed(0)
    graded, fellow = torch.randn(2, 8, 64).requires_grad_().unbind(0)
    graded.retain_grad()
    fellow.retain_grad()
    PairedEyeHead(64)(graded, fellow).sum().backward()
    assert graded.grad.abs().sum() > 0
    assert fellow.grad.abs().sum() > 0


def test_a_width_below_one_is_refused():
    with pytest.raises(RecipeError):
        PairedEyeHead(0)
