"""Properties of the learning-rate schedules (sheet: dr_grading)."""

import itertools
import math

import pytest
import torch

from scantling.core.errors import RecipeError
from scantling.tasks.schedules import schedule

NAMES = ["constant", "multi_step", "exponential", "cosine", "clipped_cosine", "polynomial"]


def test_cosine_is_the_formula_and_ends_at_zero():
    rate = schedule("cosine", epochs=25)
    for e in range(26):
        assert 1e-3 * rate(e) == pytest.approx(1e-3 * (1 + math.cos(math.pi * e / 25)) / 2, abs=1e-15)
    assert rate(25) == 0
    assert rate(40) == 0


def test_clipped_cosine_never_falls_below_its_floor_and_never_rises():
    rate, plain = (schedule(n, epochs=25, lr=1e-3, min_lr=1e-4) for n in ("clipped_cosine", "cosine"))
    rates = [1e-3 * rate(e) for e in range(30)]
    assert min(rates) == pytest.approx(1e-4)
    assert all(a >= b for a, b in itertools.pairwise(rates))
    held = [e for e in range(30) if 1e-3 * plain(e) < 1e-4]
    assert held == list(range(held[0], 30))
    assert all(rates[e] == pytest.approx(1e-4) for e in held)
    assert all(rates[e] == pytest.approx(1e-3 * plain(e)) for e in range(held[0]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("per", ["epoch", "step"])
def test_every_schedule_starts_full_never_rises_and_waits_for_the_warm_up(name, per):
    steps, warmup, epochs = 7, 3, 12
    settings = {"milestones": [4, 8], "steps_per_epoch": steps, "per": per}
    bare = schedule(name, epochs=epochs - warmup, **settings)
    rates = [bare(s) for s in range((epochs - warmup) * steps + 1)]
    assert rates[0] == 1
    assert all(a >= b >= 0 for a, b in itertools.pairwise(rates))
    warm = schedule(name, epochs=epochs, warmup=warmup, **settings)
    rising = [warm(s) for s in range(warmup * steps)]
    assert rising[0] > 0
    assert rising[-1] == pytest.approx(1)
    assert all(a <= b for a, b in itertools.pairwise(rising))
    assert [warm(s + warmup * steps) for s in range(len(rates))] == pytest.approx(rates)


def test_warm_up_is_a_line():
    per_epoch = schedule("constant", epochs=10, warmup=5, steps_per_epoch=2)
    assert [per_epoch(s) for s in range(0, 12, 2)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert per_epoch(3) == per_epoch(2)
    per_step = schedule("constant", epochs=10, warmup=5, steps_per_epoch=2, per="step")
    assert [per_step(s) for s in range(11)] == pytest.approx([0.1 * (s + 1) for s in range(10)] + [1])


def test_per_epoch_is_flat_within_an_epoch_and_per_step_meets_it_at_its_start():
    flat, smooth = (schedule("cosine", epochs=5, steps_per_epoch=10, per=p) for p in ("epoch", "step"))
    for e in range(5):
        assert len({flat(10 * e + s) for s in range(10)}) == 1
        assert smooth(10 * e) == flat(10 * e)
        assert smooth(10 * e + 9) < flat(10 * e + 9)


def test_multi_step_exponential_and_polynomial():
    steps = schedule("multi_step", epochs=10, milestones=[6, 3], gamma=0.1)
    assert [steps(e) for e in (0, 2, 3, 5, 6, 9)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert schedule("exponential", epochs=10, gamma=0.6)(3) == pytest.approx(0.216)
    line = schedule("polynomial", epochs=10, power=1.0)
    assert [line(e) for e in (0, 5, 10, 11)] == pytest.approx([1, 0.5, 0, 0])


def test_it_drives_an_optimiser():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule("clipped_cosine", epochs=4, lr=1e-3, min_lr=2e-4))
    seen = []
    for _ in range(5):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([1e-3, 8.536e-4, 5e-4, 2e-4, 2e-4], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cosin", {"epochs": 5}, "did you mean 'cosine'"),
        ("cosine", {"epochs": 0}, "0 epochs"),
        ("cosine", {"epochs": 3, "warmup": 4}, "warm-up"),
        ("clipped_cosine", {"epochs": 3, "lr": 1e-5}, "min_lr"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, settings, message):
    with pytest.raises(RecipeError, match=message):
        schedule(name, **settings)
