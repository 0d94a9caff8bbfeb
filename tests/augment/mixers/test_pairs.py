"""What all mixers share: pairs, shares of rows, epochs, refusals, and that the batch itself is left alone."""

from __future__ import annotations

import pytest
import torch

from scantling.augment import CMO, CutMix, Mixup, RareMixup, Remix, SPMix
from scantling.augment.mixers.pairing import paired_rows
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.core.target import parse_target

from .batches import COUNTS, INPUTS, batch, configured, generator

MIXERS = {
    "mixup": lambda **s: Mixup(alpha=1.0, **s),
    "remix": lambda **s: Remix(**s),
    "cutmix": lambda **s: CutMix(**s),
    "cmo": lambda **s: CMO(**s),
    "rare_mixup": lambda **s: RareMixup(**s),
    "spmix": lambda **s: SPMix(patch_size=8, **s),
    "spmix_tokens": lambda **s: SPMix(patch_size=8, level="token", **s),
}
every = pytest.mark.parametrize("make", MIXERS.values(), ids=MIXERS.keys())
both = pytest.mark.parametrize("partners", [None, "class_balanced"])


@pytest.mark.parametrize("rows", [2, 3, 8, 33])
def test_pairs_inside_a_batch_use_each_row_once_and_none_with_itself(rows):
    own, other = paired_rows(rows, None, generator())
    assert torch.equal(own, torch.arange(rows))
    assert torch.equal(other.sort().values, own)
    assert (own != other).all()


def test_every_pair_is_as_likely_as_any_other():
    drawn = torch.stack([paired_rows(4, None, generator(seed))[1] for seed in range(6000)])
    for row in range(4):
        shares = torch.bincount(drawn[:, row], minlength=4) / 6000
        expected = torch.full((4,), 1 / 3)
        expected[row] = 0
        torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)


@every
@both
def test_with_probability_0_rows_of_the_first_sampler_stay_as_they_are(make, partners):
    rows = batch()
    out = configured(make(probability=0.0, partners=partners))(rows, generator())
    half = 8 if partners else 16
    assert len(out) == half
    assert torch.equal(out["image"], rows["image"][:half])
    assert torch.equal(out["index"], rows["index"][:half])
    label = out["label"] if out["label"].ndim == 1 else out["label"].argmax(1)
    assert torch.equal(label, rows["label"][:half])


@every
@both
def test_the_seed_alone_decides_and_the_batch_is_not_changed(make, partners):
    rows = batch(64)
    kept = rows.clone()
    mixer = configured(make(probability=0.7, partners=partners))
    one, two, three = (mixer(rows, generator(seed)) for seed in (3, 3, 4))
    for name in one.keys():
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=0)
    assert any(not torch.equal(one[name], three[name]) for name in one.keys())
    assert set(rows.keys()) == set(kept.keys())
    assert all(torch.equal(rows[name], kept[name]) for name in kept.keys())
    assert "saliency" not in one.keys()


@every
def test_the_share_of_mixed_rows_is_the_probability(make):
    rows = batch(2000, size=8)
    mixer = configured(make(probability=0.3))
    if isinstance(mixer, SPMix):
        mixer.patch_size = 4
    out = mixer(rows, generator())
    changed = (out["image"] != rows["image"][: len(out)]).flatten(1).any(1)
    if "token_ratio" in out.keys():
        changed = (out["token_ratio"] < 1).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.05)


@every
def test_nothing_is_mixed_in_the_first_and_last_epochs(make):
    rows = batch()
    mixer = configured(make(probability=1.0, partners="class_balanced", warmup_epochs=2, last_epochs=1))
    plain = []
    for epoch in range(6):
        mixer.set_epoch(epoch, 6)
        out = mixer(rows, generator())
        same = torch.equal(out["image"], rows["image"][:8]) and "token_ratio" not in out.keys()
        assert len(out) == 8
        plain.append(same)
    assert plain == [True, True, False, False, False, True]


def test_a_schedule_that_leaves_no_epoch_is_refused():
    with pytest.raises(RecipeError, match="nothing is mixed"):
        Mixup(warmup_epochs=2, last_epochs=1).set_epoch(0, 3)


@every
def test_targets_without_one_label_an_image_are_refused(make):
    for spec in ("mask", "none"):
        with pytest.raises(RecipeError, match="cannot mix"):
            make().configure(parse_target(spec), INPUTS, None)


@pytest.mark.parametrize("make", [MIXERS["remix"], MIXERS["rare_mixup"], MIXERS["spmix"]])
def test_findings_have_no_rare_class(make):
    with pytest.raises(RecipeError, match="findings"):
        make().configure(parse_target("findings:a|b"), INPUTS, torch.tensor([[9, 1], [5, 5]]))


@every
@pytest.mark.parametrize("field", ["fellow_image", "frozen_image", "frozen_keys"])
def test_a_second_look_that_would_not_be_mixed_is_refused(make, field):
    rows = batch()
    rows[field] = rows["image"]
    with pytest.raises(RecipeError, match=field):
        configured(make())(rows, generator())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Mixup(alpha=0.0), "alpha"),
        (lambda: Mixup(probability=1.5), "probability"),
        (lambda: Mixup(warmup_epochs=-1), "epochs"),
        (lambda: Remix(kappa=0.5), "kappa"),
        (lambda: Remix(tau=2.0), "tau"),
        (lambda: RareMixup(low=0.9, high=0.8), "weights"),
        (lambda: SPMix(cap=0.4), "cap"),
        (lambda: SPMix(level="pixels"), "did you mean 'pixel'"),
        (lambda: SPMix(when="stores"), "did you mean 'store'"),
        (lambda: SPMix(label_side="rarer"), "did you mean 'rare'"),
        (lambda: configured(SPMix(patch_size=16), (224, 250)), "do not divide"),
        (lambda: RareMixup()(batch(), generator()), "how many training images"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(make, match):
    with pytest.raises(RecipeError, match=match) as error:
        make()
    assert "\n" not in str(error.value)


def test_counts_are_told_by_the_task():
    mixer = configured(SPMix(patch_size=8))
    assert torch.equal(mixer.counts(), COUNTS.float())


def test_inputs_of_other_proportions_are_mixed():
    rows = batch(6, size=32)
    rows["image"], rows["saliency"] = rows["image"][..., :16], rows["saliency"][..., :16]
    for make in MIXERS.values():
        mixer = make(probability=1.0)
        mixer.configure(parse_target("class:common|medium|rare"), Inputs((32, 16)), COUNTS)
        assert mixer(rows, generator())["image"].shape == (3 if mixer.partners else 6, 3, 32, 16)
