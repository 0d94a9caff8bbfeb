"""Properties of the samplers (sheet: DR grading, "Sampling")."""

import pytest
import torch

from scantling.core.errors import RecipeError
from scantling.data.samplers import (
    SAMPLERS,
    class_counts,
    draw,
    effective_number_weights,
    epoch_generator,
    epoch_order,
    epoch_weights,
    expected_frequencies,
    power_weights,
    rank_share,
    sampler_weights,
)

SKIN = torch.tensor([1088, 6782, 483, 289, 1075, 70, 99])
"""Training images of the seven classes of ISIC 2018 (sheet: SPMix, "Data")."""
EYEPACS = torch.tensor([25810, 2443, 5292, 873, 708])


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(1, [0.2] * 5), (10, [0.361, 0.161, 0.185, 0.147, 0.146]), (25, [0.606, 0.101, 0.163, 0.067, 0.064])],
)
def test_progressive_frequencies_of_eyepacs_are_those_of_the_sheet(epoch, expected):
    got = expected_frequencies(EYEPACS, epoch_weights(EYEPACS, epoch, 0.9))
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), atol=5.1e-4, rtol=0)


def test_balanced_weights_of_eyepacs_are_those_of_the_sheet():
    expected = torch.tensor([1, 10.565, 4.877, 29.565, 36.455], dtype=torch.float64)
    torch.testing.assert_close(epoch_weights(EYEPACS, 1), expected, atol=5.1e-4, rtol=0)


def test_weights_fall_strictly_to_one_and_frequencies_to_those_of_the_data():
    weights = torch.stack([epoch_weights(EYEPACS, e, 0.9) for e in range(1, 60)])
    assert (weights[1:, 1:] < weights[:-1, 1:]).all()
    assert (weights[:, 0] == 1).all()
    assert (weights[:, 1:] > 1).all()
    data = EYEPACS.double() / EYEPACS.sum()
    for epoch, decay in ((600, 0.9), (2, 0.0)):
        got = expected_frequencies(EYEPACS, epoch_weights(EYEPACS, epoch, decay))
        torch.testing.assert_close(got, data, atol=1e-9, rtol=0)


def test_class_balanced_stays_balanced_and_a_class_without_samples_is_never_drawn():
    counts = torch.tensor([900, 0, 100])
    for epoch in (1, 7, 50):
        got = expected_frequencies(counts, epoch_weights(counts, epoch))
        torch.testing.assert_close(got, torch.tensor([0.5, 0, 0.5], dtype=torch.float64))


def test_draws_follow_the_weights_and_skip_samples_without_a_label():
    labels = torch.tensor([0] * 900 + [-1] * 50 + [1] * 100 + [-1])
    counts = class_counts(labels)
    assert counts.tolist() == [900, 100]
    taken = draw(labels, epoch_weights(counts, 1), torch.Generator().manual_seed(0), number=20_000)
    share = class_counts(labels[taken]) / 20_000
    assert (labels[taken] >= 0).all()
    assert abs(share[0] - 0.5) < 4 * (0.25 / 20_000) ** 0.5
    inside = torch.bincount(taken[labels[taken] == 1] - 950, minlength=100)
    assert inside.min() > 50
    assert inside.max() < 160


def test_the_last_sample_can_be_drawn_and_never_one_beyond():
    labels = torch.tensor([0, 1, 2, -1])
    taken = draw(labels, torch.ones(3, dtype=torch.float64), torch.Generator().manual_seed(0), number=3000)
    assert sorted(taken.unique().tolist()) == [0, 1, 2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_order_is_a_function_of_seed_and_epoch(sampler):
    labels = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(0))
    order = epoch_order(sampler, labels, seed=3, epoch=4)
    torch.rand(5)
    assert torch.equal(order, epoch_order(sampler, labels, seed=3, epoch=4))
    others = [
        epoch_order(sampler, labels, 3, 5),
        epoch_order(sampler, labels, 4, 4),
        epoch_order(sampler, labels, 4, 3),
    ]
    assert all(torch.equal(order, o) == (sampler == "sequential") for o in others)
    assert len(order) == 200
    assert order.min() >= 0
    assert order.max() < 200


def test_sequential_and_instance_visit_each_sample_once():
    labels = torch.zeros(57, dtype=torch.int64)
    assert epoch_order("sequential", labels, 0, 0).tolist() == list(range(57))
    order = epoch_order("instance", labels, 0, 0)
    assert order.tolist() != list(range(57))
    assert sorted(order.tolist()) == list(range(57))


def test_neighbouring_seeds_and_epochs_share_no_random_numbers():
    first = {torch.rand(1, generator=epoch_generator(s, e)).item() for s in range(30) for e in range(30)}
    assert len(first) == 900


@pytest.mark.parametrize("number", [0, 1, 7, 8, 23])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_the_shares_of_all_ranks_are_the_global_order(number, world):
    order = torch.randperm(number, generator=torch.Generator().manual_seed(1)) + 100
    exact = [rank_share(order, r, world) for r in range(world)]
    assert sorted(torch.cat(exact).tolist()) == sorted(order.tolist())
    assert max(map(len, exact)) - min(map(len, exact)) <= 1
    interleaved = torch.full((number,), -1)
    for r in range(world):
        interleaved[r::world] = exact[r]
    assert torch.equal(interleaved, order)
    wrapped = [rank_share(order, r, world, "wrap") for r in range(world)]
    dropped = [rank_share(order, r, world, "drop") for r in range(world)]
    assert {len(w) for w in wrapped} == {-(-number // world)}
    assert {len(d) for d in dropped} == {number // world}
    assert set(torch.cat(wrapped).tolist()) == set(order.tolist())
    assert set(torch.cat(dropped).tolist()) <= set(order.tolist())


@pytest.mark.parametrize(("power", "sampler"), [(0.0, "power"), (0.5, "square_root"), (1.0, "class_balanced")])
def test_a_power_of_the_class_size_gives_its_closed_form(power, sampler):
    expected = SKIN.double() ** (1 - power)
    got = expected_frequencies(SKIN, power_weights(SKIN, power))
    torch.testing.assert_close(got, expected / expected.sum())
    named = sampler_weights(sampler, SKIN, epoch=1, power=power)
    torch.testing.assert_close(expected_frequencies(SKIN, named), got)


def test_power_0_is_the_data_and_power_1_is_balanced():
    data, even = SKIN.double() / SKIN.sum(), torch.full((7,), 1 / 7, dtype=torch.float64)
    torch.testing.assert_close(expected_frequencies(SKIN, power_weights(SKIN, 0)), data)
    torch.testing.assert_close(expected_frequencies(SKIN, power_weights(SKIN, 1)), even)


def test_effective_numbers_lie_between_instance_and_balanced():
    beta = 0.999
    mass = SKIN.double() * (1 - beta) / (1 - beta ** SKIN.double())
    torch.testing.assert_close(expected_frequencies(SKIN, effective_number_weights(SKIN, beta)), mass / mass.sum())
    data = SKIN.double() / SKIN.sum()
    torch.testing.assert_close(expected_frequencies(SKIN, effective_number_weights(SKIN, 0.0)), data)
    almost = expected_frequencies(SKIN, effective_number_weights(SKIN, 1 - 1e-9))
    torch.testing.assert_close(almost, torch.full((7,), 1 / 7, dtype=torch.float64), atol=1e-5, rtol=0)
    absent = effective_number_weights(torch.tensor([5, 0]), beta)
    assert absent.tolist() == [1, 0]


@pytest.mark.parametrize("sampler", ["class_balanced", "square_root", "power", "effective_number", "progressive"])
def test_a_hundred_thousand_draws_have_the_expected_frequencies(sampler):
    labels = torch.arange(7).repeat_interleave(SKIN)
    weights = sampler_weights(sampler, SKIN, epoch=8, power=0.8, beta=0.999)
    taken = draw(labels, weights, torch.Generator().manual_seed(0), number=100_000)
    got = class_counts(labels[taken], 7).double() / 100_000
    torch.testing.assert_close(got, expected_frequencies(SKIN, weights), atol=0.01, rtol=0)
    if sampler == "class_balanced":
        assert (got - 1 / 7).abs().max() < 0.01


def test_settings_of_a_sampler_reach_its_order():
    labels = torch.arange(2).repeat_interleave(torch.tensor([9000, 1000]))
    rare = {power: (labels[epoch_order("power", labels, 0, 0, power=power)] == 1).double().mean() for power in (0, 1)}
    assert abs(rare[0] - 0.1) < 0.02
    assert abs(rare[1] - 0.5) < 0.02
    rare = (labels[epoch_order("effective_number", labels, 0, 0, beta=0.0)] == 1).double().mean()
    assert abs(rare - 0.1) < 0.02


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(RecipeError, match="a power of -1"):
        power_weights(EYEPACS, -1)
    with pytest.raises(RecipeError, match="a beta of 1"):
        effective_number_weights(EYEPACS, 1.0)
    with pytest.raises(RecipeError, match="did you mean 'class_balanced'"):
        epoch_order("class_balance", torch.zeros(3, dtype=torch.int64), 0, 0)
    with pytest.raises(RecipeError, match="one class an image"):
        epoch_order("progressive", torch.zeros(3, 2), 0, 0)
    with pytest.raises(RecipeError, match="no image has a label"):
        epoch_order("class_balanced", torch.full((3,), -1), 0, 0)
    with pytest.raises(RecipeError, match="epochs count from 1"):
        epoch_weights(EYEPACS, 0)
