"""Properties of SPMix and of the uniform rare-side mixup (sheet: spmix, section "Properties")."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from scantling.augment import FineGrained, FromMask, RareMixup, SPMix
from scantling.augment.mixers.pairing import paired_rows
from scantling.augment.mixers.patch_ratios import patch_ratios, patch_scores
from scantling.augment.mixers.rare_side import blend
from scantling.core.errors import DataError
from scantling.tasks.objectives import CrossEntropy

from .batches import COUNTS, TARGET, batch, configured, generator


def maps(rows: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draws = generator(seed)
    return torch.rand(rows, 1, 32, 32, generator=draws), torch.rand(rows, 1, 32, 32, generator=draws)


def ratios(one: torch.Tensor, two: torch.Tensor, cap: float = 0.8) -> torch.Tensor:
    return patch_ratios(patch_scores(one, 8), patch_scores(two, 8), cap)


@pytest.mark.parametrize("cap", [0.5, 0.6, 0.8, 1.0])
def test_ratios_lie_between_one_half_and_the_cap_and_reach_it_at_each_maximum(cap):
    one, two = maps()
    found = ratios(one, two, cap)
    assert found.min() >= 0.5 and found.max() <= cap
    for side in (one, two):
        peak = F.avg_pool2d(side, 8).flatten(1).argmax(1, keepdim=True)
        assert (found.flatten(1).gather(1, peak) == cap).all()


def test_ratios_are_the_formula():
    one, two = maps(2)
    found = ratios(one, two, 0.8)
    for row in range(2):
        squeezed = []
        for side in (one, two):
            mean = side[row, 0].view(4, 8, 4, 8).mean((1, 3))
            squeezed.append(0.5 + 0.5 * (mean - mean.min()) / (mean.max() - mean.min()))
        expected = torch.stack(squeezed).amax(0).clamp(max=0.8)
        torch.testing.assert_close(found[row, 0], expected)


def test_the_two_sides_are_alike_and_scale_and_offset_of_a_map_do_not_matter():
    one, two = maps()
    assert torch.equal(ratios(one, two), ratios(two, one))
    torch.testing.assert_close(ratios(7 * one + 3, two), ratios(one, two), atol=1e-5, rtol=0)
    torch.testing.assert_close(ratios(one, 0.1 * two - 1), ratios(one, two), atol=1e-4, rtol=0)


def test_more_saliency_in_a_patch_never_lowers_its_weight():
    one, two = maps()
    before = ratios(one, two)
    inner = one.clone()
    pooled = F.avg_pool2d(one, 8).flatten(1)
    for row in range(len(one)):
        rank = pooled[row].argsort()
        patch = int(rank[8])
        y, x = divmod(patch, 4)
        room = pooled[row, rank[-1]] - pooled[row, patch]
        inner[row, 0, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += room / 2
    after = ratios(inner, two)
    assert (after >= before - 1e-6).all() and (after > before + 1e-3).any()


@pytest.mark.parametrize("level", [0.0, 1e-12, 0.3, 1.0])
def test_a_constant_map_weighs_all_patches_alike_even_where_rounding_blurs_it(level):
    noise = 1 + 1e-7 * torch.randn(4, 1, 32, 32, generator=generator())
    found = patch_scores(level * noise, 8)
    torch.testing.assert_close(found, torch.full_like(found, 0.5), atol=0.03, rtol=0)
    assert torch.equal(patch_scores(torch.full((1, 1, 32, 32), level), 8), torch.full((1, 1, 4, 4), 0.5))


def test_an_image_mixed_with_itself_is_itself_exactly():
    image = torch.rand(3, 3, 32, 32, generator=generator())
    weights = 0.5 + 0.5 * torch.rand(3, 1, 4, 4, generator=generator(1))
    assert torch.equal(blend(image, image, weights), image)


def test_spmix_is_blending_by_the_ratios_of_the_pair():
    rows = batch(12)
    mixer = configured(SPMix(patch_size=8, probability=1.0, partners="class_balanced"))
    out = mixer(rows, generator())
    ratio = ratios(rows["saliency"][6:], rows["saliency"][:6]).repeat_interleave(8, 2).repeat_interleave(8, 3)
    expected = ratio * rows["image"][6:] + (1 - ratio) * rows["image"][:6]
    torch.testing.assert_close(out["image"], expected)
    assert torch.equal(out["label"], rows["label"][6:])
    assert torch.equal(out["index"], rows["index"][6:])


def test_the_lesion_of_the_labelled_image_shows_and_that_of_the_other_is_suppressed():
    rows = batch(2)
    rows["saliency"] = torch.zeros(2, 1, 32, 32)
    rows["saliency"][0, 0, :8, :8] = 1
    rows["saliency"][1, 0, 8:16, 8:16] = 1
    rows["image"] = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    out = configured(SPMix(patch_size=8, probability=1.0, partners="class_balanced"))(rows, generator())
    weight = out["image"][0, 0, ::8, ::8]
    expected = torch.full((4, 4), 0.5)
    expected[0, 0] = expected[1, 1] = 0.8
    torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize("make", [lambda **s: SPMix(patch_size=8, **s), RareMixup])
def test_inside_a_batch_the_rarer_class_gives_the_label_and_the_larger_weight(make):
    rows = batch(200)
    rows["image"] = rows["label"].float().view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    _, other = paired_rows(200, None, generator())
    pair = torch.stack([rows["label"], rows["label"][other]])
    for side, labels in (("rare", pair.amax(0)), ("common", pair.amin(0))):
        out = configured(make(probability=1.0, label_side=side))(rows, generator())
        assert torch.equal(out["label"], labels)
        other_label = pair.sum(0) - labels
        apart = labels != other_label
        weight = (out["image"].mean((1, 2, 3)) - other_label) / (labels - other_label)
        assert (weight[apart] >= 0.5 - 1e-5).all() and (weight[apart] <= 0.8 + 1e-5).all()


def test_with_a_second_sampler_its_rows_are_the_rare_side_and_the_released_code_takes_the_others():
    rows = batch(24)
    paper = configured(SPMix(patch_size=8, probability=1.0, partners="class_balanced"))(rows, generator())
    code = configured(SPMix(patch_size=8, probability=1.0, partners="class_balanced", label_side="common"))
    released = code(rows, generator())
    assert torch.equal(paper["label"], rows["label"][12:])
    assert torch.equal(released["label"], rows["label"][:12])
    # The weights are the same, and go to the other image: the two mixes add up to the two images.
    torch.testing.assert_close(paper["image"] + released["image"], rows["image"][:12] + rows["image"][12:])


def test_the_loss_does_not_depend_on_the_label_below():
    rows = batch(24)
    mixer = configured(SPMix(patch_size=8, probability=1.0, partners="class_balanced"))
    objective = CrossEntropy()
    objective.configure(TARGET, COUNTS)
    logits = torch.randn(12, 3, generator=generator(2))
    before = objective.loss(logits, mixer(rows, generator()))
    rows["label"][:12] = (rows["label"][:12] + 1) % 3
    assert torch.equal(objective.loss(logits, mixer(rows, generator())), before)


def test_images_without_a_label_serve_as_background_only():
    rows = batch(40)
    rows["label"][::2] = -1
    out = configured(SPMix(patch_size=8, probability=1.0))(rows, generator())
    _, other = paired_rows(40, None, generator())
    labelled = (rows["label"] >= 0) | (rows["label"][other] >= 0)
    assert (out["label"][labelled] >= 0).all() and (out["label"][~labelled] == -1).all()


def test_pairs_of_one_class_can_be_left_alone():
    rows = batch(60)
    out = configured(SPMix(patch_size=8, probability=1.0, same_class=False))(rows, generator())
    _, other = paired_rows(60, None, generator())
    alike = rows["label"] == rows["label"][other]
    unchanged = (out["image"] == rows["image"]).flatten(1).all(1)
    assert alike.any() and unchanged[alike].all() and not unchanged[~alike].any()


def test_uniform_weights_fill_their_range_evenly():
    mixer = configured(RareMixup(probability=1.0, partners="class_balanced"))
    rows = batch(4000, size=2)
    rows["image"] = torch.cat([torch.zeros(2000, 3, 2, 2), torch.ones(2000, 3, 2, 2)])
    weight = mixer(rows, generator())["image"][:, 0, 0, 0]
    assert weight.min() >= 0.5 and weight.max() <= 0.8
    assert weight.mean().item() == pytest.approx(0.65, abs=0.01)
    assert weight.var().item() == pytest.approx(0.3**2 / 12, abs=0.001)


def test_saliency_of_the_augmented_batch_is_that_of_its_images():
    rows = batch(12, size=64).exclude("saliency")
    direct = SPMix(patch_size=16, probability=1.0, when="batch")
    stored = SPMix(patch_size=16, probability=1.0)
    assert direct.derivations() == () and [type(d) for d in stored.derivations()] == [FineGrained]
    with pytest.raises(DataError, match="saliency"):
        configured(stored)(rows, generator())
    found = configured(direct)(rows, generator())
    rows["saliency"] = FineGrained().detect(rows)
    assert torch.equal(found["image"], configured(stored)(rows, generator())["image"])


def test_masks_move_with_the_batch_and_need_no_store():
    rows = batch(8)
    rows["mask"] = (rows["saliency"][:, 0] > 0.9).long()
    mixer = SPMix(patch_size=8, probability=1.0, saliency=FromMask())
    assert mixer.derivations() == ()
    found = configured(mixer)(rows, generator())
    rows["saliency"] = (rows["mask"] > 0).float().unsqueeze(1)
    assert torch.equal(found["image"], configured(SPMix(patch_size=8, probability=1.0))(rows, generator())["image"])


def test_half_precision_changes_no_ratio():
    rows = batch(8)
    mixer = configured(SPMix(patch_size=8, probability=1.0))
    plain = mixer(rows, generator())["image"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixer(rows, generator())["image"], plain)
