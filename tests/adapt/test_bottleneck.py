"""Properties of BottleneckAdapter."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.bottleneck import BottleneckAdapter
from scantling.core.errors import RecipeError

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def test_it_is_the_probe_at_the_start():
    check.is_the_probe_at_the_start(BottleneckAdapter)


def test_the_bottlenecks_learn_and_nothing_else_the_way_down_from_the_second_step_on():
    check.learns_exactly(BottleneckAdapter, lambda name: ".bottleneck." in name, late=lambda name: ".down." in name)


def test_the_frozen_network_is_shared_and_never_changes():
    check.leaves_the_frozen_network_alone(BottleneckAdapter)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(BottleneckAdapter)


def test_checkpointing_changes_no_gradient():
    check.has_equal_gradients_when_checkpointed(BottleneckAdapter)


def test_a_width_below_one_is_refused():
    with pytest.raises(RecipeError, match="a width of 0"):
        check.build(BottleneckAdapter, bottleneck=0)


def test_it_follows_the_mlp_inside_the_residual_branch():
    adapter = check.stir(check.build(BottleneckAdapter, bottleneck=8))
    block = adapter.backbone.body.blocks[0]
    tokens = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        middle = tokens + block.attn(block.norm1(tokens))
        hidden = block.mlp.mlp(block.norm2(middle))
        down, up = block.mlp.bottleneck.down, block.mlp.bottleneck.up
        small = torch.nn.functional.gelu(hidden @ down.weight.T + down.bias)
        expected = middle + hidden + small @ up.weight.T + up.bias
        torch.testing.assert_close(block(tokens), expected)


def test_counts_and_share_of_vit_b():
    adapter = check.on_meta(BottleneckAdapter)
    assert check.added(adapter) == 12 * (2 * 768 * 96 + 96 + 768) == 1_779_840
    assert adapter.share() == pytest.approx(1_779_840 / (86_090_496 + 1_779_840))
    assert round(100 * adapter.share(), 2) == 2.03
