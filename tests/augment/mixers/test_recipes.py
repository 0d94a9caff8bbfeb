"""The recipes of the mixers: they build, and a training step goes the whole way from bytes to a gradient."""

from __future__ import annotations

import pytest
import torch

from scantling.augment import CMO, CutMix, FineGrained, FromMask, Mixup, RareMixup, SPMix
from scantling.core.batch import as_float
from scantling.core.seams import Inputs
from scantling.run.recipe import resolve

from .batches import COUNTS, TARGET, batch, generator

SMALL = {"task.adapter.backbone": "resnet10t", "task.adapter.weights": "none", "data.image_size": 32}


@pytest.mark.parametrize(
    ("recipe", "changes", "kind"),
    [
        ("spmix", {}, SPMix),
        ("spmix", {"task.mixer.level": "token", "task.adapter.backbone": "test_vit"}, SPMix),
        ("spmix", {"task.mixer": "scantling.augment.RareMixup"}, RareMixup),
        ("mixup", {}, Mixup),
        ("cutmix", {}, CutMix),
        ("cmo", {}, CMO),
    ],
)
def test_a_step_of_every_recipe_gives_a_finite_gradient(recipe, changes, kind):
    task = resolve(recipe, {**SMALL, **changes}).stages[0].build().task
    assert type(task.mixer) is kind
    task.build(TARGET, Inputs((32, 32)), COUNTS)
    rows = as_float(batch(16)) if kind is SPMix else batch(16).exclude("saliency")
    mixed = task.mixer(rows, generator())
    assert len(mixed) == (8 if task.mixer.partners else 16)
    with task.mixer.around(task.adapter, mixed):
        loss = task.objective.loss(task.adapter(mixed), mixed)
    loss.backward()
    gradients = [p.grad for p in task.adapter.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)


def test_the_saliency_of_a_recipe_can_be_another_one():
    found = (
        resolve("spmix", {**SMALL, "task.mixer.saliency": "scantling.augment.FromMask"}).stages[0].build().task.mixer
    )
    assert type(found.saliency) is FromMask and found.derivations() == ()
    plain = resolve("spmix", SMALL).stages[0].build().task.mixer
    assert [type(d) for d in plain.derivations()] == [FineGrained]
