"""Properties of ladder side-tuning."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.bitfit import BitFit
from scantling.adapt.ladder import LadderSideTuning
from scantling.core.errors import RecipeError

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def test_the_ladder_learns_and_nothing_else():
    check.learns_exactly(LadderSideTuning, lambda name: name.startswith("ladder."))


def test_the_frozen_network_is_shared_and_never_changes():
    check.leaves_the_frozen_network_alone(LadderSideTuning)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(LadderSideTuning)


def test_checkpointing_changes_no_gradient():
    check.has_equal_gradients_when_checkpointed(LadderSideTuning, reduction=1)


def test_no_gradient_flows_through_the_backbone():
    assert check.blocks_with_gradient(check.build(LadderSideTuning)) == [False] * 6
    check.keeps_gradients_from_the_images(check.build(LadderSideTuning))


def inside_the_backbone(tensors):
    """Those that only the inside of a backbone's block makes: of its MLP, and of its heads."""
    return [t for t in tensors if t.shape[-1:] == (3 * 64,) or (t.ndim == 4 and t.shape[-1] == 32)]


def test_only_outputs_of_the_backbones_blocks_are_kept():
    kept = check.kept_tensors(check.build(LadderSideTuning))
    assert inside_the_backbone(check.kept_tensors(check.build(BitFit)))
    assert not inside_the_backbone(kept)
    wide = {t.data_ptr() for t in kept if t.shape == (3, 7, 64) or t.shape == (21, 64)}
    assert len(wide) == 6 + 1


@pytest.mark.parametrize("backbone", ["test_vit", "test_vit2"])
def test_hidden_states_are_those_of_the_blocks(backbone):
    adapter = check.build(LadderSideTuning, backbone)
    body, batch = adapter.backbone.body, check.images()
    states = adapter.hidden_states(batch["image"])
    assert len(states) == len(body.blocks) + 1
    with torch.no_grad():
        for block, before, after in zip(body.blocks, states, states[1:], strict=False):
            torch.testing.assert_close(block(before), after)
        pooled = body.forward_head(body.norm(states[-1]))
        torch.testing.assert_close(pooled, adapter.backbone(batch["image"]))
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in body.blocks)


def test_gates_start_half_open_and_mix():
    ladder = check.build(LadderSideTuning).ladder
    g = torch.Generator().manual_seed(0)
    tokens, state = torch.randn(2, 5, 8, generator=g), torch.randn(2, 5, 64, generator=g)
    with torch.no_grad():
        torch.testing.assert_close(ladder.mixed(2, tokens, state), (ladder.downs[3](state) + tokens) / 2)
        ladder.gates[2] = 5.0
        torch.testing.assert_close(ladder.mixed(2, tokens, state), ladder.downs[3](state))
        ladder.gates[2] = -5.0
        torch.testing.assert_close(ladder.mixed(2, tokens, state), tokens)
        ladder.gates[2] = 0.1
        share = 1 / (1 + torch.tensor(-1.0).exp())
        torch.testing.assert_close(
            ladder.mixed(2, tokens, state), share * ladder.downs[3](state) + (1 - share) * tokens
        )


def test_a_block_of_the_backbone_reaches_only_its_own_rung_and_those_above():
    adapter = check.stir(check.build(LadderSideTuning))
    with torch.no_grad():
        adapter.ladder.gates.fill_(-100.0)
    before = check.logits(adapter)
    with torch.no_grad():
        adapter.ladder.downs[4].weight.add_(1.0)
    assert torch.equal(check.logits(adapter), before), "a closed gate lets something through"
    with torch.no_grad():
        adapter.ladder.gates[3] = 0.0
    assert not torch.equal(check.logits(adapter), before)


@pytest.mark.parametrize("backbone", ["test_vit", "test_vit2"])
def test_the_saliency_map_leads_to_the_same_outputs(backbone):
    adapter = check.stir(check.build(LadderSideTuning, backbone)).eval()
    features, outputs = adapter.saliency_map(check.images())
    assert features.shape == (3, 8, 3, 2)
    torch.testing.assert_close(outputs, check.logits(adapter))
    (gradient,) = torch.autograd.grad(outputs.sum(), features)
    assert gradient.any()


def test_count_of_vit_b():
    adapter = check.on_meta(LadderSideTuning)
    d, D, L = 96, 768, 12
    count = (L + 1) * (D * d + d) + L + L * (12 * d**2 + 13 * d) + 2 * d + d * D + D
    assert check.added(adapter) == count
    assert adapter.share() == pytest.approx(count / (86_090_496 + count))
    assert adapter.ladder.blocks[0].attn.num_heads == 12


def test_a_reduction_that_does_not_divide_the_width_is_refused():
    with pytest.raises(RecipeError, match="64 divided by 7"):
        check.build(LadderSideTuning, reduction=7)


def test_a_network_whose_tokens_change_in_number_is_refused():
    with torch.device("meta"):
        adapter = check.build(LadderSideTuning, "cait_xxs24_224")
        with pytest.raises(RecipeError, match="change in number"):
            adapter({"image": torch.zeros(1, 3, *check.SIZE)})
