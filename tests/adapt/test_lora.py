"""Properties of LoRA."""

import copy
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.lora import LoRA, split_projection
from scantling.core.errors import MissingExtraError, RecipeError

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def test_it_is_the_probe_at_the_start():
    check.is_the_probe_at_the_start(LoRA, rank=4)


@pytest.mark.parametrize("backbone", ["eva02_tiny_patch14_224", "vit_small_patch16_rope_224"])
def test_it_is_the_probe_at_the_start_with_other_attentions(backbone):
    adapter = check.build(LoRA, backbone)
    torch.testing.assert_close(check.logits(adapter), check.logits(check.probe(adapter)), atol=1e-5, rtol=1e-5)
    assert sum("lora_B" in n for n, _ in adapter.learnable()) == 2 * len(adapter.backbone.body.blocks)


def test_the_low_rank_changes_learn_and_nothing_else_the_inner_ones_from_the_second_step_on():
    check.learns_exactly(LoRA, lambda name: ".lora_" in name, late=lambda name: ".lora_A." in name)


def test_the_frozen_network_is_shared_and_never_changes():
    check.leaves_the_frozen_network_alone(LoRA)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(LoRA)


def test_checkpointing_changes_no_gradient():
    check.has_equal_gradients_when_checkpointed(LoRA)


def test_the_split_projections_are_views_of_the_fused_one():
    adapter = check.build(LoRA)
    fused = adapter.frozen.state["blocks.2.attn.qkv.weight"]
    split = adapter.backbone.body.blocks[2].attn.qkv
    places = [split.query.base_layer.weight, split.key.weight, split.value.base_layer.weight]
    assert [p.data_ptr() for p in places] == [row.data_ptr() for row in fused.chunk(3)]


@pytest.mark.parametrize("kind", ["Attention", "AttentionRope", "EvaAttention"])
def test_splitting_changes_no_attention(kind):
    import timm.layers
    import timm.models.eva

    torch.manual_seed(0)
    settings = {"scale_norm": False} if kind == "EvaAttention" else {}
    attention = getattr(timm.models.eva if kind == "EvaAttention" else timm.layers, kind)(
        32, num_heads=4, qkv_bias=True, **settings
    )
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_()
        tokens = torch.randn(2, 5, 32)
        before = attention(tokens)
        split_projection(attention, "any")
        torch.testing.assert_close(attention(tokens), before, atol=1e-4, rtol=1e-4)
    assert sum(isinstance(m, torch.nn.Linear) for m in attention.modules()) == 4


def test_it_equals_merged_weights():
    adapter = check.stir(check.build(LoRA, rank=4, alpha=6.0))
    merged = copy.deepcopy(check.probe(adapter))
    with torch.no_grad():
        for low, full in zip(adapter.backbone.body.blocks, merged.backbone.body.blocks, strict=True):
            for start, layer in ((0, low.attn.qkv.query), (128, low.attn.qkv.value)):
                change = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
                full.attn.qkv.weight[start : start + 64] += 6.0 / 4 * change
    torch.testing.assert_close(check.logits(adapter), check.logits(merged), atol=1e-5, rtol=1e-5)
    assert (check.logits(adapter) - check.logits(check.probe(adapter))).abs().max() > 1e-3


def test_counts_and_share_of_vit_b():
    adapter = check.on_meta(LoRA)
    assert check.added(adapter) == 12 * 2 * 2 * 768 * 16 == 589_824
    assert adapter.share() == pytest.approx(589_824 / (86_090_496 + 589_824))
    assert round(100 * adapter.share(), 3) == 0.68


def test_attention_that_cannot_be_split_is_refused():
    with torch.device("meta"), pytest.raises(RecipeError, match="cannot be told apart"):
        check.build(LoRA, "beit_base_patch16_224")


def test_a_rank_of_zero_is_refused():
    with pytest.raises(RecipeError, match="a rank of 0"):
        check.build(LoRA, rank=0)


def test_without_peft_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scantling\[lora\]'"):
        check.build(LoRA)
