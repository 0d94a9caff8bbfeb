"""Properties of partial fine-tuning."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scantling.adapt.last_blocks import LastBlocks
from scantling.core.errors import RecipeError

check = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("frozen_properties.py"))))


def in_last_two(name: str) -> bool:
    return name.startswith(("backbone.body.blocks.4.", "backbone.body.blocks.5.", "backbone.body.norm."))


def test_it_is_the_probe_at_the_start():
    check.is_the_probe_at_the_start(LastBlocks, blocks=2)


def test_the_last_blocks_and_the_final_norm_learn_and_nothing_else():
    check.learns_exactly(LastBlocks, in_last_two, blocks=2)


def test_the_frozen_network_is_shared_and_never_changes():
    check.leaves_the_frozen_network_alone(LastBlocks)


def test_what_learned_is_enough():
    check.is_kept_by_what_learned(LastBlocks)


def test_checkpointing_changes_no_gradient():
    check.has_equal_gradients_when_checkpointed(LastBlocks, blocks=6)


def test_no_gradient_is_computed_below_the_blocks_that_learn():
    assert check.blocks_with_gradient(check.build(LastBlocks, blocks=2)) == [False] * 4 + [True] * 2


def test_share_of_one_block_of_vit_b():
    adapter = check.on_meta(LastBlocks)
    block = 12 * 768**2 + 13 * 768
    assert check.added(adapter) == block + 2 * 768
    assert adapter.share() == pytest.approx((block + 2 * 768) / 86_090_496)


@pytest.mark.parametrize("blocks", [0, 7])
def test_a_number_of_blocks_that_are_not_there_is_refused(blocks):
    with pytest.raises(RecipeError, match="of 6 blocks"):
        check.build(LastBlocks, blocks=blocks)


@pytest.mark.parametrize("backbone", ["resnet10t", "swin_tiny_patch4_window7_224", "samvit_base_patch16"])
def test_a_network_without_plain_transformer_blocks_is_refused(backbone):
    with torch.device("meta"), pytest.raises(RecipeError, match="vision transformer"):
        check.build(LastBlocks, backbone)
