"""Properties of AdaptFormer."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.adaptformer import AdaptFormer
from scantling.core.errors import RecipeError

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def test_it_is_the_probe_at_the_start():
    check.is_the_probe_at_the_start(AdaptFormer)


def test_the_bottlenecks_learn_and_nothing_else_the_way_down_from_the_second_step_on():
    check.learns_exactly(AdaptFormer, lambda name: ".bottleneck." in name, late=lambda name: ".down." in name)


def test_the_frozen_network_is_shared_and_never_changes():
    check.leaves_the_frozen_network_alone(AdaptFormer)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(AdaptFormer)


def test_checkpointing_changes_no_gradient():
    check.has_equal_gradients_when_checkpointed(AdaptFormer)


def test_a_width_below_one_is_refused():
    with pytest.raises(RecipeError, match="a width of 0"):
        check.build(AdaptFormer, bottleneck=0)


def test_it_adds_a_scaled_bottleneck_of_the_same_tokens_to_the_mlp():
    adapter = check.stir(check.build(AdaptFormer, bottleneck=8, scale=0.3))
    block = adapter.backbone.body.blocks[0]
    tokens = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        middle = tokens + block.attn(block.norm1(tokens))
        seen = block.norm2(middle)
        down, up = block.mlp.bottleneck.down, block.mlp.bottleneck.up
        small = (seen @ down.weight.T + down.bias).clamp(min=0)
        expected = middle + block.mlp.mlp(seen) + 0.3 * (small @ up.weight.T + up.bias)
        torch.testing.assert_close(block(tokens), expected)


def test_a_scale_of_zero_is_the_probe_whatever_was_learned():
    adapter = check.stir(check.build(AdaptFormer, scale=0.0))
    torch.testing.assert_close(check.logits(adapter), check.logits(check.probe(adapter)))


def test_counts_and_share_of_vit_b():
    adapter = check.on_meta(AdaptFormer)
    count = 12 * (2 * 768 * 64 + 64 + 768)
    assert check.added(adapter) == count
    assert adapter.share() == pytest.approx(count / (86_090_496 + count))
