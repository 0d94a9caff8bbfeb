"""Properties of the tuning of normalisation layers."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from scantling.adapt.layer_norm import LayerNormTuning

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def test_it_is_the_probe_at_the_start():
    check.is_the_probe_at_the_start(LayerNormTuning)


def test_the_norms_learn_and_nothing_else():
    check.learns_exactly(LayerNormTuning, lambda name: ".norm" in name)


def test_the_frozen_network_is_shared_and_never_changes():
    check.leaves_the_frozen_network_alone(LayerNormTuning)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(LayerNormTuning)


def test_checkpointing_changes_no_gradient():
    check.has_equal_gradients_when_checkpointed(LayerNormTuning)


def test_share_of_vit_b():
    adapter = check.on_meta(LayerNormTuning)
    assert check.added(adapter) == (12 * 4 + 2) * 768
    assert adapter.share() == pytest.approx(38_400 / 86_090_496)


def test_norms_of_other_kinds_are_found():
    root = {n for n, _ in check.build(LayerNormTuning, backbone="test_vit4").learnable()}
    assert "backbone.body.blocks.0.norm1.weight" in root and "backbone.body.fc_norm.weight" in root
    batch = {n for n, _ in check.build(LayerNormTuning, backbone="resnet10t").learnable()}
    assert "backbone.body.layer1.0.bn1.weight" in batch and "backbone.body.layer1.0.conv1.weight" not in batch
