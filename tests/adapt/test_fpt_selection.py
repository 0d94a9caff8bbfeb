"""Properties of the selection of important tokens (sheets: fpt, fpt_plus)."""

import pytest
import torch

from scantling.adapt.fpt.selection import important_tokens, kept_tokens


def attention(images: int = 3, heads: int = 4, tokens: int = 50) -> torch.Tensor:
    """Mean attention received, each head's summing to 1."""
    logits = torch.randn(images, heads, tokens, tokens, generator=torch.Generator().manual_seed(0))
    return logits.softmax(-1).mean(-2)


@pytest.mark.parametrize(
    ("ratio", "tokens", "kept"),
    [(0.2, 1025, 205), (0.2, 577, 115), (0.2, 197, 39), (1.0, 7, 7), (0.29, 100, 29), (0.57, 100, 57), (0.01, 5, 1)],
)
def test_the_floor_is_that_of_the_decimal_number(ratio, tokens, kept):
    assert kept_tokens(ratio, tokens) == kept


@pytest.mark.parametrize("rule", ["global", "class_token"])
def test_kept_tokens_are_the_top_of_every_head_on_its_own(rule):
    importance = attention()
    kept = important_tokens(importance, 10, rule)
    assert (kept.diff(dim=-1) > 0).all()
    chosen = importance.gather(2, kept)
    rest = importance.scatter(2, kept, -1.0)
    assert (chosen.amin(-1) >= rest.amax(-1)).all()
    assert (kept[:, 0] != kept[:, 1]).any() and (kept[0] != kept[1]).any()


def test_the_least_important_tokens_are_what_the_most_important_leave():
    importance = attention()
    most, least = important_tokens(importance, 20, "global"), important_tokens(importance, 30, "least")
    assert torch.equal(torch.cat([most, least], -1).sort(-1).values, torch.arange(50).expand(3, 4, 50))


def test_random_tokens_depend_on_block_and_head_and_on_nothing_else():
    importance = attention()
    first = important_tokens(importance, 20, "random", block=3)
    assert torch.equal(first, important_tokens(torch.zeros(3, 4, 50), 20, "random", block=3))
    assert torch.equal(first[:1], important_tokens(importance[:1], 20, "random", block=3))
    assert (first != important_tokens(importance, 20, "random", block=4)).any()
    assert (first[:, 0] != first[:, 1]).any()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    important_tokens(importance, 20, "random")
    assert torch.equal(state, torch.get_rng_state())


def test_random_tokens_are_spread_over_all_places():
    counts = torch.zeros(64)
    for block in range(200):
        counts += torch.bincount(important_tokens(torch.zeros(1, 8, 64), 16, "random", block).flatten(), minlength=64)
    share = counts / (200 * 8)
    assert (share - 0.25).abs().max() < 0.06


def test_all_tokens_are_kept_in_order_at_ratio_one():
    importance = attention()
    for rule in ("global", "least", "random"):
        kept = important_tokens(importance, kept_tokens(1.0, 50), rule)
        assert torch.equal(kept, torch.arange(50).expand(3, 4, 50))
