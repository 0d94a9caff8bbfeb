"""Batches of one image of every group."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from scantling.core.errors import RecipeError
from scantling.data.loader import Loader
from scantling.data.samplers import one_of_each

GROUPS = torch.tensor([2, 0, -1, 1, 0, 0, 1, 0, 0, 2, -1])


def loader(**options: object) -> Loader:
    data = TensorDict({"image": torch.arange(11, dtype=torch.uint8)[:, None, None, None]}, batch_size=[11])
    return Loader(data, torch.arange(11), 2, groups=GROUPS, prefetch=0, **options)


def test_every_index_has_one_row_of_each_group_and_the_largest_group_comes_once_a_round():
    for rounds in (1, 3):
        positions = one_of_each(GROUPS, seed=0, epoch=0, rounds=rounds)
        assert positions.shape == (5 * rounds, 3)
        assert (GROUPS[positions] == torch.arange(3)).all()
        counts = torch.bincount(positions.flatten(), minlength=11)
        assert counts[torch.eq(GROUPS, 0)].tolist() == [rounds] * 5 and counts[torch.eq(GROUPS, -1)].tolist() == [0, 0]
        for group in (1, 2):
            own = counts[torch.eq(GROUPS, group)]
            assert own.max() - own.min() <= 1


def test_orders_differ_between_epochs_and_repeat_themselves():
    first, again, next_ = (one_of_each(GROUPS, 0, epoch, 4) for epoch in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, next_)


def test_an_empty_group_is_refused():
    with pytest.raises(RecipeError, match="group 1 has no sample"):
        one_of_each(torch.tensor([0, 2]), 0, 0)


@pytest.mark.parametrize(("drop", "sizes"), [(False, [6, 6, 3]), (True, [6, 6])])
def test_a_batch_has_all_groups_in_equal_numbers(drop, sizes):
    batches = list(loader(drop_last=drop))
    assert [len(b) for b in batches] == sizes and len(loader(drop_last=drop)) == len(sizes)
    for batch in batches:
        assert torch.bincount(GROUPS[batch["index"]]).tolist() == [len(batch) // 3] * 3
        assert torch.equal(batch["image"].flatten().long(), batch["index"])


def test_a_loader_goes_on_at_a_step():
    whole, late = loader(), loader()
    late.start_at(1)
    for a, b in zip(list(whole)[1:], late, strict=True):
        assert torch.equal(a["index"], b["index"])


def test_ranks_share_the_indices():
    parts = [loader(rank=rank, world_size=2, rounds=2) for rank in (0, 1)]
    assert [len(p) for p in parts] == [3, 3]
    assert torch.equal(torch.stack([p.order() for p in parts], 1).flatten(0, 1), loader(rounds=2).order())
