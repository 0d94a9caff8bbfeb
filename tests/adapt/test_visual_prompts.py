"""Properties of visual prompt tuning."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.visual_prompts import VisualPrompts
from scantling.core.errors import RecipeError

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def test_without_prompts_it_is_the_probe():
    for backbone in ("test_vit", "test_vit2"):
        adapter = check.build(VisualPrompts, backbone, prompts=0)
        assert torch.equal(check.logits(adapter), check.logits(check.probe(adapter)))
        assert {n for n, _ in adapter.learnable()} == {"head.weight", "head.bias"}


@pytest.mark.parametrize(("deep", "blocks"), [(True, range(6)), (False, [0])])
def test_the_prompts_learn_and_nothing_else(deep, blocks):
    names = {f"backbone.body.blocks.{i}.prompts" for i in blocks}
    check.learns_exactly(VisualPrompts, names.__contains__, deep=deep, prompts=4)


@pytest.mark.parametrize("deep", [True, False])
def test_the_frozen_network_is_shared_and_never_changes(deep):
    check.leaves_the_frozen_network_alone(VisualPrompts, deep=deep)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(VisualPrompts)


@pytest.mark.parametrize("deep", [True, False])
def test_checkpointing_changes_no_gradient(deep):
    check.has_equal_gradients_when_checkpointed(VisualPrompts, deep=deep)


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize(("backbone", "depth"), [("test_vit", 6), ("test_vit2", 8)])
def test_every_block_sees_the_prompts_and_pooling_does_not(backbone, depth, deep):
    adapter = check.build(VisualPrompts, backbone, prompts=5, deep=deep)
    seen = []
    for block in adapter.backbone.body.blocks:
        block.block.attn.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    features = adapter.backbone.body.forward_features(adapter.backbone.standardise(check.images()["image"]))
    tokens = 1 + 3 * 2
    assert seen == [tokens + 5] * depth
    assert features.shape[1] == tokens


def test_deep_prompts_are_replaced_and_stand_behind_the_prefix():
    adapter = check.stir(check.loud(check.build(VisualPrompts, "test_vit2", prompts=2)))
    body = adapter.backbone.body
    with torch.no_grad():
        tokens = body._pos_embed(body.patch_embed(adapter.backbone.standardise(check.images()["image"])))
        for prompted in body.blocks:
            given = prompted.prompts.expand(len(tokens), -1, -1)
            result = prompted.block(torch.cat([tokens[:, :1], given, tokens[:, 1:]], dim=1))
            tokens = torch.cat([result[:, :1], result[:, 3:]], dim=1)
        expected = adapter.head(body.forward_head(body.norm(tokens)))
    torch.testing.assert_close(check.logits(adapter), expected)


def test_shallow_prompts_travel_through_all_blocks():
    adapter = check.stir(check.build(VisualPrompts, prompts=2, deep=False))
    body = adapter.backbone.body
    with torch.no_grad():
        tokens = body._pos_embed(body.patch_embed(adapter.backbone.standardise(check.images()["image"])))
        given = body.blocks[0].prompts.expand(len(tokens), -1, -1)
        tokens = torch.cat([tokens[:, :1], given, tokens[:, 1:]], dim=1)
        for prompted in body.blocks:
            tokens = prompted.block(tokens)
        expected = adapter.head(body.forward_head(body.norm(tokens)))
    torch.testing.assert_close(check.logits(adapter), expected)


@pytest.mark.parametrize("backbone", ["test_vit", "test_vit2", "eva02_tiny_patch14_224"])
def test_the_order_of_prompts_does_not_count(backbone):
    adapter = check.stir(check.loud(check.build(VisualPrompts, backbone, prompts=4)))
    before = check.logits(adapter)
    with torch.no_grad():
        for block in adapter.backbone.body.blocks:
            block.prompts.copy_(block.prompts.flip(0))
    torch.testing.assert_close(check.logits(adapter), before, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        adapter.backbone.body.blocks[-1].prompts[0].neg_()
    assert (check.logits(adapter) - before).abs().max() > 1e-4


def test_a_copy_has_prompts_of_its_own():
    import copy

    adapter = check.build(VisualPrompts)
    other = copy.deepcopy(adapter)
    before = check.logits(other)
    check.stir(adapter)
    assert torch.equal(check.logits(other), before)
    assert not torch.equal(check.logits(adapter), before)


def test_counts_and_share_of_vit_b():
    adapter = check.on_meta(VisualPrompts)
    assert check.added(adapter) == 16 * 12 * 768 == 147_456
    assert adapter.share() == pytest.approx(147_456 / (86_090_496 + 147_456))
    assert round(100 * adapter.share(), 3) == 0.171
    assert check.added(check.on_meta(VisualPrompts, deep=False)) == 16 * 768


@pytest.mark.parametrize("backbone", ["test_vit_relpos", "xcit_nano_12_p16_224", "convit_tiny"])
def test_blocks_that_know_the_patches_are_refused(backbone):
    with torch.device("meta"), pytest.raises(RecipeError, match="tied to its patches"):
        check.build(VisualPrompts, backbone)


def test_a_negative_number_of_prompts_is_refused():
    with pytest.raises(RecipeError, match="-1 prompts"):
        check.build(VisualPrompts, prompts=-1)
