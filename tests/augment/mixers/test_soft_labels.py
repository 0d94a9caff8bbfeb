"""Mixup, remix, CutMix and CMO: images and labels in the same proportion, or by the published rule."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from scantling.augment import CMO, CutMix, Mixup, Remix
from scantling.augment.mixers.cutmix import boxes
from scantling.augment.mixers.labels import mixed_labels
from scantling.augment.mixers.pairing import paired_rows
from scantling.augment.mixers.remix import remix_share
from scantling.augment.mixers.shares import beta_shares
from scantling.core.seams import Inputs
from scantling.core.target import parse_target
from scantling.tasks.objectives import CrossEntropy

from .batches import TARGET, batch, configured, generator


def flat(labels: list[int], levels: list[float]) -> TensorDict:
    """Images of one grey value each."""
    image = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    return TensorDict({"image": image, "label": torch.tensor(labels)}, batch_size=[len(labels)])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_mean_and_variance_of_their_distribution(alpha):
    drawn = beta_shares(alpha, 20_000, generator()).double()
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.005)


def test_mixup_mixes_labels_as_it_mixes_images():
    rows = flat([0, 1] * 20, [0.0, 1.0] * 20)
    out = configured(Mixup(alpha=1.0))(rows, generator())
    torch.testing.assert_close(out["label"][:, 1], out["image"].mean((1, 2, 3)), atol=1e-6, rtol=0)
    torch.testing.assert_close(out["label"].sum(1), torch.ones(40))
    assert out["image"].std((1, 2, 3)).max() < 1e-6


def test_the_loss_of_a_mixup_is_the_mix_of_both_losses():
    rows = batch()
    out = configured(Mixup(alpha=1.0))(rows, generator())
    _, other = paired_rows(16, None, generator())
    share = beta_shares(1.0, 16, _after(16))
    objective = CrossEntropy()
    objective.configure(TARGET)
    logits = torch.randn(16, 3, generator=generator(5))
    entropy = torch.nn.functional.cross_entropy
    own = entropy(logits, rows["label"], reduction="none")
    theirs = entropy(logits, rows["label"][other], reduction="none")
    expected = (share * own + (1 - share) * theirs).mean()
    torch.testing.assert_close(objective.loss(logits, out), expected)


def _after(rows: int) -> torch.Generator:
    """The generator as it is when shares are drawn: after the pairs and the choice of rows."""
    draws = generator()
    paired_rows(rows, None, draws)
    torch.rand(rows, generator=draws)
    return draws


def test_partners_of_a_second_sampler_are_mixed_by_place():
    rows = flat([0] * 8 + [2] * 8, [0.0] * 8 + [1.0] * 8)
    out = configured(Mixup(alpha=1.0, partners="class_balanced"))(rows, generator())
    assert len(out) == 8
    torch.testing.assert_close(out["label"][:, 2], out["image"].mean((1, 2, 3)), atol=1e-6, rtol=0)


def test_a_mix_with_a_missing_label_is_missing_and_costs_nothing():
    rows = flat([0, -1, 1, -1], [0.0, 0.3, 0.6, 1.0])
    out = configured(Mixup(alpha=1.0, partners="instance"))(rows, generator())
    known = out["label"].isfinite().all(1)
    assert known.tolist() == [True, False]
    objective = CrossEntropy()
    objective.configure(TARGET)
    logits = torch.zeros(2, 3)
    torch.testing.assert_close(objective.loss(logits, out), torch.tensor(3.0).log())
    kept = mixed_labels(torch.eye(2), torch.full((2, 2), torch.nan), torch.tensor([1.0, 0.5]))
    assert kept.isnan().any(1).tolist() == [False, True]


def test_findings_are_mixed_one_by_one():
    rows = batch(4)
    rows["label"] = torch.tensor([[1.0, 0.0], [0.0, torch.nan], [1.0, 1.0], [0.0, 0.0]])
    mixer = Mixup(alpha=1.0, partners="instance")
    mixer.configure(parse_target("findings:a|b"), Inputs((32, 32)), None)
    out = mixer(rows, generator())["label"]
    assert out[0].tolist() == [1.0, pytest.approx(1 - beta_shares(1.0, 2, _after_two())[0].item())]
    assert out[1, 0] == 0 and out[1, 1].isnan()


def _after_two() -> torch.Generator:
    draws = generator()
    torch.rand(2, generator=draws)
    return draws


def test_remix_s_rule():
    share = torch.tensor([0.2, 0.49, 0.5, 0.8, 0.2, 0.51, 0.8, 0.3])
    own = torch.tensor([300.0, 300.0, 300.0, 300.0, 10.0, 10.0, 10.0, 20.0])
    other = torch.tensor([100.0, 100.0, 100.0, 100.0, 30.0, 30.0, 30.0, 10.0])
    expected = torch.tensor([0.0, 0.0, 0.5, 0.8, 0.2, 1.0, 1.0, 0.3])
    torch.testing.assert_close(remix_share(share, own, other, kappa=3.0, tau=0.5), expected)
    # The rule does not depend on which of the two images comes first.
    swapped = remix_share(1 - share, other, own, kappa=3.0, tau=0.5)
    torch.testing.assert_close(swapped, 1 - expected)
    # With tau 0 or a huge kappa it is mixup.
    assert torch.equal(remix_share(share, own, other, 3.0, 0.0), share)
    assert torch.equal(remix_share(share, own, other, 1e9, 0.5), share)


def test_remix_mixes_images_like_mixup_and_never_gives_the_common_class_more_label():
    rows = flat([0, 2] * 50, [0.0, 1.0] * 50)
    plain = configured(Mixup(alpha=1.0))(rows, generator())
    ruled = configured(Remix(alpha=1.0))(rows, generator())
    assert torch.equal(plain["image"], ruled["image"])
    assert (ruled["label"][:, 0] <= plain["label"][:, 0]).all()
    mixed = (plain["label"] > 0.001).sum(1) == 2
    assert mixed.any()
    rare_in_front = mixed & (plain["label"][:, 2] > 0.5)
    assert (ruled["label"][rare_in_front, 2] == 1).all()


def test_cutmix_labels_are_areas_and_pixels_come_from_one_of_the_two():
    rows = flat([0, 1] * 50, [0.0, 1.0] * 50)
    out = configured(CutMix())(rows, generator())
    assert set(out["image"].unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(out["label"][:, 1], out["image"][:, 0].mean((1, 2)), atol=1e-6, rtol=0)


def test_boxes_have_the_drawn_area_where_they_are_not_cut_and_reach_every_edge():
    stays = torch.linspace(0.1, 0.9, 9)
    centred = boxes(stays, torch.full((9, 2), 0.5), (400, 200)).float().mean((1, 2, 3))
    torch.testing.assert_close(centred, 1 - stays, atol=0.02, rtol=0)
    drawn = torch.rand(4000, 2, generator=generator())
    inside = boxes(torch.full((4000,), 0.9), drawn, (24, 24)).float().mean(0)[0]
    assert inside.min() > 0.01
    torch.testing.assert_close(inside[8:16, 8:16], inside[8:16, 8:16].mean().expand(8, 8), atol=0.03, rtol=0)
    assert not boxes(torch.ones(1), torch.tensor([[0.5, 0.5]]), (8, 8)).any()


def test_cmo_puts_class_balanced_foregrounds_into_backgrounds_as_they_come():
    rows = flat([0] * 20 + [2] * 20, [0.0] * 20 + [1.0] * 20)
    mixer = configured(CMO(probability=1.0))
    assert mixer.partners == "class_balanced"
    out = mixer(rows, generator())
    torch.testing.assert_close(out["label"][:, 2], out["image"][:, 0].mean((1, 2)), atol=1e-6, rtol=0)
    # What is put in is one box: its rows and columns are each one stretch.
    for image in out["image"][:, 0]:
        for line in (image.amax(0), image.amax(1)):
            assert (line.diff() != 0).sum() <= 2
