"""Training of a quality scorer: truth changes nothing, thresholds come from held-out images, directions are checked."""

from __future__ import annotations

import json
from functools import partial

import pandas as pd
import pytest
import torch
from tensordict import TensorDict

from scantling.adapt import ImageGaussian, QualityContrast, QualityEmbedding
from scantling.assess.quality import AssessQuality, ClusterModel, Degrade
from scantling.core.errors import RecipeError
from scantling.core.quality import Measured, QualityScorer
from scantling.core.seams import Inputs
from scantling.core.target import parse_target
from scantling.data.manifest import Manifest

TARGET = parse_target("class:normal|abnormal")
INPUTS = Inputs((32, 32))
EMBEDDING = partial(QualityEmbedding, backbone="test_resnet", weights="none")
CONTRAST = partial(QualityContrast, backbone="test_resnet", weights="none")


def pictures(count: int, seed: int = 0) -> TensorDict:
    """Smooth blotches with fine stripes."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic") * 0.4 + 0.3
    phase = torch.rand(count, 1, 1, 1, generator=generator) * 6
    image = (image + 0.2 * torch.sin(2.0 * torch.arange(32.0) + phase)).clamp(0, 1)
    fields = {"image": image, "index": torch.arange(count), "label": torch.zeros(count, dtype=torch.int64)}
    return TensorDict(fields, batch_size=[count])


def built(adapter=EMBEDDING, **settings) -> AssessQuality:
    task = AssessQuality(adapter, **settings)
    task.build(TARGET, INPUTS)
    return task.eval()


class Upside(QualityScorer):
    """A score that falls with blur: the sharpness of an image."""

    fitted_at_once = True

    def __init__(self, outputs: int, inputs: Inputs) -> None:
        super().__init__(outputs, inputs)
        self.anything = torch.nn.Parameter(torch.zeros(1))

    def fit(self, batches, generator) -> None:
        self.middle.copy_(torch.cat([self.raw(b).score for b in batches]).median())

    def raw(self, batch: TensorDict) -> Measured:
        score = batch["image"].diff(dim=3).abs().flatten(1).mean(1)
        return Measured(score, torch.stack([score, score.square()], 1))


def fitted(task: AssessQuality, count: int = 60) -> AssessQuality:
    task.adapter.fit([pictures(count)], torch.Generator().manual_seed(0))
    return task


def test_all_that_is_said_of_images_is_dropped_and_all_of_them_are_used():
    table = pd.DataFrame(
        {"image": ["a.png", "b.png"], "label": ["2", "0"], "target": "grade:3", "grade": [1, 2], "severity": [0.1, 0.9],
         "label:x": [1, 0], "mask": ["m", "n"], "patient": ["p", "q"], "split": ["train", "val"]}
    )  # fmt: skip
    assert list(built().manifest_to_use(Manifest(table)).table) == ["image", "patient", "split"]
    assert built().rows_to_use(torch.tensor([0, 1, -1])).all()


def test_the_threshold_is_that_of_held_out_images_and_calls_few_good_ones_bad():
    task = fitted(built())
    held, fresh = pictures(120, seed=1), pictures(120, seed=2)
    task.conclude(held.split(50))
    threshold = float(task.objective.threshold)
    false_alarms = float((task.scorer.measured(fresh).score > threshold).float().mean())
    assert false_alarms <= 0.10
    # In-sample the same quantile would call far more good images bad.
    inside = float(task.scorer.measured(pictures(60)).score.quantile(0.95))
    assert float((task.scorer.measured(fresh).score > inside).float().mean()) > false_alarms + 0.3


def test_a_score_that_rises_with_blur_stays_and_one_that_falls_is_taken_on_both_sides():
    task = fitted(built())
    task.conclude([pictures(40, seed=1)])
    record = json.loads(task.attachments()["quality.json"])
    assert record["direction"]["auroc"] > 0.5 and not record["direction"]["two_sided"] and not task.scorer.two_sided
    upside = fitted(built(Upside))
    upside.conclude([pictures(40, seed=1)])
    record = json.loads(upside.attachments()["quality.json"])
    assert record["direction"]["auroc"] < 0.5 < 0.9 < record["direction"]["auroc_two_sided"]
    assert upside.scorer.two_sided and "both sides" in upside.remarks()[0]
    blurred = pictures(10, seed=3)
    blurred["image"] = torch.nn.functional.avg_pool2d(blurred["image"], 5, 1, 2)
    assert (upside.scorer.measured(blurred).score > upside.objective.threshold).all()


def test_the_bundle_s_groups_come_from_degraded_copies_and_repeat_themselves():
    records = []
    for parts in (40, 7):
        task = fitted(built())
        outputs, labels = task.conclude(pictures(40, seed=1).split(parts))
        assert outputs.shape == (80, 2) and labels.sum() == 40
        records.append(json.loads(task.attachments()["quality.json"]))
    assert records[0]["held_out"] == 40 and "40 held-out" in records[0]["clusters"]["origin"]
    assert ClusterModel.from_json(records[0]["clusters"]).kind == records[1]["clusters"]["kind"]
    assert records[0]["threshold"] == pytest.approx(records[1]["threshold"], rel=1e-4)


def test_only_scorers_that_learn_severity_see_degraded_copies():
    task = fitted(built(CONTRAST))
    task.train()
    one, two = (float(task.step_loss(pictures(8), torch.Generator().manual_seed(seed))) for seed in (0, 0))
    assert one == two != float(task.step_loss(pictures(8), torch.Generator().manual_seed(1)))
    assert built().training_step(pictures(4), 0) is None


def test_other_networks_are_refused():
    with pytest.raises(RecipeError, match="scores no quality"):
        built(partial(ImageGaussian, backbone="test_resnet", weights="none"))
    assert built(synthesizer=Degrade(kinds=["blur"])).degrade.kinds == ("blur",)
