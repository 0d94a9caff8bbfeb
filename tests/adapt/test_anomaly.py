"""Anomaly detectors: closed forms of their scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from scantling.adapt import AnomalyAutoencoder, AnomalyClassifier, ImageGaussian, PatchGaussian, PatchMemory
from scantling.adapt.anomaly_gaussian import Moments, whitening
from scantling.adapt.anomaly_memory import greedy_coreset
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs

INPUTS = Inputs((32, 32))
DETECTORS = {
    ImageGaussian: {"strides": (8, 16)},
    PatchGaussian: {"strides": (8, 16), "width": 12},
    PatchMemory: {"strides": (8, 16), "size": 40, "candidates": 64, "neighbours": 3},
}


def batch(count: int = 12, seed: int = 0) -> TensorDict:
    image = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return TensorDict({"image": image}, batch_size=[count])


def fitted(kind, **settings):
    torch.manual_seed(0)
    detector = kind(2, INPUTS, "resnet10t", "none", **{**DETECTORS[kind], **settings}).train()
    detector.fit(batch(12).split(5), torch.Generator().manual_seed(0))
    return detector


def test_the_paper_s_network_has_its_number_of_parameters():
    with torch.device("meta"):
        network = AnomalyClassifier(2, Inputs((256, 256)), "vgg16", "none", map_stride=0)
    assert sum(p.numel() for p in network.parameters()) == 134_268_738


def test_the_heat_map_leaves_the_classifier_as_it_is():
    torch.manual_seed(0)
    network = AnomalyClassifier(2, INPUTS, "resnet10t", "none").eval()
    outputs, scores = network.outputs_and_map(batch())
    torch.testing.assert_close(outputs, network.head(network.backbone(batch()["image"])))
    assert scores.shape == (12, 4, 4)
    names = [name for name, _ in network.named_parameters()]
    assert len(names) == len(set(names)) and not any(name.startswith("pyramid") for name in names)


@pytest.mark.parametrize("kind", DETECTORS)
def test_fitting_changes_no_weight_and_no_statistic_of_the_network(kind):
    torch.manual_seed(0)
    detector = kind(2, INPUTS, "resnet10t", "none", **DETECTORS[kind]).train()
    before = {k: v.clone() for k, v in detector.features.state_dict().items()}
    detector.fit(batch().split(5), torch.Generator().manual_seed(0))
    assert all(torch.equal(v, before[k]) for k, v in detector.features.state_dict().items())
    assert not list(detector.learnable())


@pytest.mark.parametrize("kind", DETECTORS)
def test_strange_images_score_higher_and_a_bundle_s_tensors_repeat_the_scores(kind):
    detector = fitted(kind)
    known, strange = batch(), batch()
    strange["image"] = strange["image"].clone()
    strange["image"][:, :, 8:24, 8:24] = 0.0
    score = detector(strange)[:, 1] - detector(known)[:, 1]
    assert (score > 0).all()
    other = kind(2, INPUTS, "resnet10t", "none", **DETECTORS[kind])
    other.load_state_dict(detector.state_dict())
    torch.testing.assert_close(other.eval()(strange), detector(strange))


@pytest.mark.parametrize("kind", [PatchGaussian, PatchMemory])
def test_the_map_points_at_what_is_strange(kind):
    detector = fitted(kind, strides=(2,))
    strange = batch()
    strange["image"] = strange["image"].clone()
    strange["image"][:, :, 16:, 16:] = 0.0
    change = (detector.outputs_and_map(strange)[1] - detector.outputs_and_map(batch())[1]).abs()
    assert change[:, :5, :5].max() < 1e-3 < change[:, 9:, 9:].mean()


def test_moments_are_those_of_numpy():
    rows = torch.randn(50, 2, 4, generator=torch.Generator().manual_seed(0))
    moments = Moments(2, 4)
    for part in rows.split(7):
        moments.add(part)
    for place in range(2):
        np.testing.assert_allclose(moments.covariance()[place], np.cov(rows[:, place].numpy().T), atol=1e-6)
    white = whitening(moments.covariance())
    torch.testing.assert_close(white @ white.mT, moments.covariance().inverse())


def test_the_image_gaussian_is_the_mahalanobis_distance():
    detector = fitted(ImageGaussian, shrinkage=0.3)
    rows = detector._pooled(batch()).double()
    covariance = torch.cov(rows.T)
    covariance = 0.7 * covariance + 0.3 * covariance.diagonal().mean() * torch.eye(len(covariance))
    centred = detector._pooled(batch(4, 1)).double() - rows.mean(0)
    expected = torch.einsum("nd,de,ne->n", centred, covariance.inverse(), centred).sqrt()
    torch.testing.assert_close(detector(batch(4, 1))[:, 1].double(), expected, rtol=1e-3, atol=1e-4)


def test_a_patch_in_memory_has_the_distance_zero():
    detector = fitted(PatchMemory, size=12 * 16, candidates=12 * 16)
    scores = detector.outputs_and_map(batch())[1]
    assert scores.max() < 5e-3 * detector.outputs_and_map(batch(4, 9))[1].max() + 5e-3


def test_the_coreset_covers_better_than_chance_and_repeats_where_rows_lack():
    rows = torch.cat([torch.randn(500, 3), torch.randn(5, 3) + 30], 0)
    chosen = greedy_coreset(rows, 10, torch.Generator().manual_seed(0))
    assert (chosen >= 500).any() and len(chosen.unique()) == 10
    farthest = torch.cdist(rows, rows[chosen]).amin(1).max()
    at_random = torch.cdist(rows, rows[torch.randperm(505)[:10]]).amin(1).max()
    assert farthest < at_random
    assert sorted(greedy_coreset(rows[:3], 7, torch.Generator().manual_seed(0)).unique().tolist()) == [0, 1, 2]


def test_the_error_of_an_autoencoder_is_its_map_and_its_worst_part_the_score():
    network = AnomalyAutoencoder(2, INPUTS, levels=2, smooth=1, worst=1 / 1024).eval()
    outputs, error = network.outputs_and_map(batch())
    torch.testing.assert_close(outputs[:, 1], error.flatten(1).amax(1))
    torch.testing.assert_close(network.normal_loss(batch()), error.flatten(1).mean(1))
    with pytest.raises(RecipeError, match="multiple of 16"):
        AnomalyAutoencoder(2, Inputs((30, 32)))
    with pytest.raises(RecipeError, match="stride of 7"):
        ImageGaussian(2, INPUTS, "resnet10t", "none", strides=(7,))
