"""Properties of full fine-tuning and of the linear probe."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.full import FullFineTuning, LinearProbe
from scantling.core.errors import RecipeError
from scantling.nets.frozen import find_frozen

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def on_frozen(outputs, inputs, backbone, weights, **settings):
    """A linear probe on a network that others stand on too."""
    frozen = find_frozen(backbone, "none")
    return LinearProbe(outputs, inputs, backbone, f"frozen:{frozen.hash}:none", **settings)


@pytest.mark.parametrize("backbone", ["test_vit", "resnet10t"])
def test_only_the_head_learns_and_the_frozen_network_is_shared(backbone):
    one, two = (check.build(on_frozen, backbone, seed=s) for s in (0, 1))
    assert one.frozen is two.frozen is not None
    assert set(one.learned_state()) == {"head.weight", "head.bias"} == set(check.gradients(one))
    buffers = {n: b.clone() for n, b in one.backbone.named_buffers()}
    check.step(one, 2)
    assert all(torch.equal(b, buffers[n]) for n, b in one.backbone.named_buffers())
    two.load_state_dict(one.learned_state(), strict=False)
    assert torch.equal(check.logits(one), check.logits(two))


def test_the_probe_shares_memory_and_keeps_what_learned():
    check.leaves_the_frozen_network_alone(on_frozen)
    check.is_kept_by_what_learned(on_frozen)


def test_nothing_of_the_backbone_is_kept_for_the_backward_pass():
    assert check.blocks_with_gradient(check.build(on_frozen)) == [False] * 6
    check.keeps_gradients_from_the_images(check.build(on_frozen))
    assert {t.shape for t in check.kept_tensors(check.build(on_frozen))} <= {(3, 64), (64, 3), (3, 3)}


def test_a_probe_on_random_weights_stands_alone_and_is_kept_whole():
    one, two = check.build(LinearProbe, seed=0), check.build(LinearProbe, seed=1)
    assert one.frozen is None
    assert set(one.learned_state()) == set(one.state_dict())
    two.load_state_dict(one.learned_state())
    assert torch.equal(check.logits(one), check.logits(two))
    head = sum(p.numel() for p in one.head.parameters())
    assert one.share() == head / sum(p.numel() for p in one.parameters())


def test_names_of_the_tensors_are_those_of_full_fine_tuning():
    names = list(check.build(FullFineTuning).state_dict())
    assert list(check.build(LinearProbe).state_dict()) == names == list(check.build(on_frozen).state_dict())


def test_full_fine_tuning_stands_on_nothing():
    adapter = check.build(FullFineTuning)
    assert adapter.frozen is None and adapter.share() == 1.0
    assert set(check.gradients(adapter)) == {n for n, _ in adapter.named_parameters()}


@pytest.mark.parametrize("backbone", ["test_vit", "resnet10t"])
def test_checkpointing_changes_no_gradient(backbone):
    check.has_equal_gradients_when_checkpointed(FullFineTuning, backbone=backbone)


def test_a_network_without_checkpointing_is_refused():
    with pytest.raises(RecipeError, match="no gradient checkpointing"):
        check.build(FullFineTuning, backbone="dla46_c", checkpointing=True)
