"""Properties of BitFit."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.bitfit import BitFit
from scantling.core.errors import RecipeError

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def test_it_is_the_probe_at_the_start():
    check.is_the_probe_at_the_start(BitFit)


def test_all_biases_learn_and_nothing_else():
    check.learns_exactly(BitFit, lambda name: name.endswith(".bias"))


def test_the_frozen_network_is_shared_and_never_changes():
    check.leaves_the_frozen_network_alone(BitFit)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(BitFit)


def test_checkpointing_changes_no_gradient():
    check.has_equal_gradients_when_checkpointed(BitFit)


def test_attention_does_not_depend_on_the_bias_of_the_keys():
    found = check.gradients(check.stir(check.build(BitFit)))["backbone.body.blocks.3.attn.qkv.bias"].view(3, -1)
    query, key, value = found.abs().amax(1)
    assert key < 1e-6 < 1e-5 < min(query, value)


def test_share_of_vit_b():
    adapter = check.on_meta(BitFit)
    assert check.added(adapter) == 12 * 11 * 768 + 2 * 768
    assert adapter.share() == pytest.approx(102_912 / 86_090_496)


def test_it_serves_convolutional_networks_and_leaves_their_statistics():
    adapter = check.build(BitFit, backbone="resnet10t")
    before = {n: b.clone() for n, b in adapter.backbone.named_buffers()}
    check.step(adapter, 2)
    assert any("running_mean" in n for n in before)
    assert all(torch.equal(b, before[n]) for n, b in adapter.backbone.named_buffers())


def test_a_network_without_anything_to_unfreeze_is_refused():
    adapter = check.build(BitFit)
    with pytest.raises(RecipeError, match="nothing that BitFit could unfreeze"):
        adapter.unfreeze([])
