"""Anomaly detection: both classes equally often, a threshold from normal images, scores that only rank."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tensordict import TensorDict

from scantling.adapt import AnomalyAutoencoder, AnomalyClassifier, FullFineTuning
from scantling.augment import CutPaste
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.core.target import parse_target
from scantling.metrics.ranking import binary_areas
from scantling.tasks.detect_anomaly import DetectAnomaly
from scantling.tasks.objectives.anomaly import AnomalyScore, map_loss, threshold_at

TARGET = parse_target("class:normal|abnormal")
INPUTS = Inputs((32, 32))
CLASSIFIER = partial(AnomalyClassifier, backbone="resnet10t", weights="none")


def built(adapter=CLASSIFIER, **settings) -> DetectAnomaly:
    task = DetectAnomaly(adapter, **{"synthesizer": CutPaste(region="everywhere"), **settings})
    task.build(TARGET, INPUTS)
    return task


def batch(count: int = 8) -> TensorDict:
    image = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fields = {"image": image, "index": torch.arange(count), "label": torch.zeros(count, dtype=torch.int64)}
    return TensorDict(fields, batch_size=[count])


def scores(seed: int, count: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)) + shift


def outputs(values: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros_like(values), values], 1)


def test_every_normal_image_comes_once_clean_and_once_pasted():
    out = built().augment(batch(), torch.Generator().manual_seed(0))
    assert out["label"].tolist() == [0] * 8 + [1] * 8
    assert torch.equal(out["image"][:8], batch()["image"])
    assert out["index"].tolist() == [*range(8), *range(8)]
    assert not (out["mask"][:8] != 0).any() and (out["mask"][8:] > 0).flatten(1).any(1).all()
    assert out["synthetic"].tolist() == [False] * 8 + [True] * 8


def test_validation_sees_the_same_synthetic_images_in_whatever_batches():
    task = built()
    whole = task.held_out(batch())[1]
    parts = torch.cat([task.held_out(part)[1] for part in batch().split(3)])
    assert torch.equal(whole["image"], parts["image"])
    assert not set(whole["index"].tolist()) & set(range(8))


def test_abnormal_images_take_no_part():
    assert built().rows_to_use(torch.tensor([0, 1, -1, 0])).tolist() == [True, False, True, True]


def test_a_network_of_normal_images_gets_no_synthetic_ones():
    task = built(partial(AnomalyAutoencoder, levels=2), synthesizer=None)
    out = task.augment(batch(), torch.Generator().manual_seed(0))
    assert len(out) == 8 and not out["synthetic"].any()
    loss = task.step_loss(batch(), torch.Generator().manual_seed(0))
    assert loss.ndim == 0 and loss > 0


def test_the_heat_map_learns_where_and_its_weight_switches_it_off():
    def gradient(weight: float) -> float:
        task = built(map_weight=weight)
        task.step_loss(batch(), torch.Generator().manual_seed(0)).backward()
        found = task.adapter.where[-1].weight.grad
        return 0.0 if found is None else float(found.abs().max())

    assert gradient(0.0) == 0 < gradient(1.0)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(RecipeError, match="no synthesizer"):
        built(synthesizer=None)
    with pytest.raises(RecipeError, match="detects no anomalies"):
        built(partial(FullFineTuning, backbone="resnet10t", weights="none"))
    with pytest.raises(RecipeError, match="makes no decoys"):
        built(decoys=0.5).augment(batch(), torch.Generator().manual_seed(0))
    with pytest.raises(RecipeError, match="abnormal"):
        DetectAnomaly(CLASSIFIER, synthesizer=CutPaste()).build(parse_target("class:cat|dog"), INPUTS)


def test_the_threshold_leaves_the_wanted_share_of_new_normal_images_below():
    kept = [
        float((scores(100 + seed, 400) <= threshold_at(scores(seed, 60), 0.9)).float().mean()) for seed in range(80)
    ]
    assert 0.89 < np.mean(kept) < 0.93
    assert threshold_at(torch.arange(5.0), 0.95) == 4.0


def calibrated(specificity: float = 0.95) -> AnomalyScore:
    objective = AnomalyScore()
    objective.configure(TARGET)
    objective.calibrate(scores(0, 300), scores(1, 300, 2.0), specificity)
    return objective


def test_abnormal_is_what_lies_above_the_threshold():
    objective, values = calibrated(), scores(2, 500, 1.0)
    called = objective.decode(outputs(values)).argmax(1) == 1
    assert torch.equal(called, values > objective.threshold)
    torch.testing.assert_close(objective.decode(outputs(values)).sum(1), torch.ones(500))


def test_calibration_keeps_the_order_and_the_area():
    objective, values = calibrated(), torch.cat([scores(3, 200), scores(4, 200, 1.0)])
    labels = np.repeat([0, 1], 200)
    area = float(binary_areas(labels, values.numpy())[0])
    assert area == pytest.approx(roc_auc_score(labels, values.numpy()))
    for changed in (objective.decode(outputs(values))[:, 1].numpy(), values.exp().numpy(), 3 * values.numpy() - 7):
        assert float(binary_areas(labels, changed)[0]) == pytest.approx(area, abs=1e-6)
    flipped = float(binary_areas(1 - labels, values.numpy())[0])
    assert flipped == pytest.approx(1 - area)


def test_scores_that_part_the_sets_still_rank():
    objective = AnomalyScore()
    objective.configure(TARGET)
    objective.calibrate(scores(0, 50), scores(1, 50, 30.0))
    probabilities = objective.decode(outputs(torch.linspace(-2, 33, 200)))[:, 1]
    assert (probabilities.diff() > 0).all()


def test_quantiles_say_how_many_normal_images_score_lower():
    objective, normal = calibrated(), scores(0, 300)
    values = torch.linspace(-2.5, 2.5, 50)
    expected = (normal[None] < values[:, None]).float().mean(1)
    assert (objective.normal_quantile(values) - expected).abs().max() < 0.01
    assert objective.normal_quantile(torch.tensor([-99.0, 99.0])).tolist() == [0, 1]
    fresh = AnomalyScore()
    assert fresh.normal_quantile(torch.zeros(2)).isnan().all()


def test_the_map_loss_is_that_of_parts_with_any_lesion_pixel():
    mask = torch.zeros(2, 16, 16, dtype=torch.int64)
    mask[0, 5, 5] = 3
    right = torch.full((2, 4, 4), -20.0)
    right[0, 1, 1] = 20.0
    assert float(map_loss(right, mask)) < 1e-4
    right[0, 1, 1] = -20.0
    assert float(map_loss(right, mask)) == pytest.approx(20 / 32 + 1, abs=1e-3)


def test_concluding_sets_threshold_and_heat_from_held_out_images():
    task = built(partial(AnomalyAutoencoder, levels=2), synthesizer=None, specificity=0.5).eval()
    found, labels = task.conclude([batch(), batch(3)])
    assert found.shape == (11, 2) and not labels.any()
    score = task.score(found)
    assert float(task.objective.threshold) == pytest.approx(float(score.sort().values[5]))
    heat, _ = task.adapter.heat_map(batch())
    assert (heat > 0.5).float().mean() == pytest.approx(0.01, abs=0.01)
