"""Moments of all pairs without the pairs (sheet: sdice, section "Exact linear-time moments")."""

import numpy as np
import pytest
import torch

from scantling.assess import moments
from scantling.assess.embedded import Embedded
from scantling.assess.histogram import BINS, bin_of, pair_histograms, row_histograms
from scantling.assess.index import weights_of
from scantling.assess.moments import PairAccumulator, pair_sums, row_sums
from scantling.core.errors import DataError

from .simulated import all_pairs, uneven


def embedded(features, labels, groups=5, centre=None):
    return Embedded(torch.as_tensor(features), torch.as_tensor(labels), groups, centre)


@pytest.fixture(params=["grams", "slabs of grams", "pairs"])
def route(request, monkeypatch):
    """Each way in which the sums can be had."""
    monkeypatch.setattr(moments, "_fewer_pairs", lambda data: request.param == "pairs")
    if request.param == "slabs of grams":
        monkeypatch.setattr(moments, "_BUDGET", 5 * 6 * 2)
    if request.param == "pairs":
        monkeypatch.setattr(moments, "_SIDE", 7)


@pytest.mark.usefixtures("route")
def test_moments_are_those_of_brute_force():
    features, labels = uneven()
    sums = pair_sums(embedded(features, labels))
    for weight, pairs in zip(weights_of(np.eye(5), False)(None), all_pairs(features, labels), strict=True):
        found = sums.pooled(weight)
        assert found.count == len(pairs)
        assert found.mean == pytest.approx(pairs.mean(), abs=1e-10)
        assert found.variance == pytest.approx(pairs.var(), abs=1e-10)


@pytest.mark.usefixtures("route")
def test_every_two_classes_are_those_of_brute_force():
    features, labels = uneven()
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = pair_sums(embedded(features, labels)).each()
    for a in range(5):
        for b in range(5):
            block = units[labels == a] @ units[labels == b].T
            pairs = block[np.triu_indices(len(block), 1)] if a == b else block.ravel()
            assert found.count[a, b] == len(pairs)
            if len(pairs):
                assert found.mean[a, b] == pytest.approx(pairs.mean(), abs=1e-10)
                assert found.variance[a, b] == pytest.approx(pairs.var(), abs=1e-10)
            else:
                assert np.isnan(found.mean[a, b])


@pytest.mark.usefixtures("route")
def test_sums_of_every_image_are_those_of_brute_force():
    features, labels = uneven()
    weights = np.random.default_rng(3).uniform(size=(2, 5, 5))
    weights += weights.transpose(0, 2, 1)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = row_sums(embedded(features, labels), weights)
    similarity = units @ units.T
    for w in range(2):
        each = weights[w][labels][:, labels] * (1 - np.eye(len(labels)))
        np.testing.assert_allclose(found.degree[:, w], each.sum(1), atol=1e-10)
        np.testing.assert_allclose(found.first[:, w], (each * similarity).sum(1), atol=1e-10)
        np.testing.assert_allclose(found.second[:, w], (each * similarity**2).sum(1), atol=1e-10)


def test_a_stream_and_merged_workers_give_what_one_batch_gives():
    features, labels = uneven(counts=(20, 33, 1, 13, 30))
    whole = pair_sums(embedded(features, labels))
    rows, codes = torch.as_tensor(features), torch.as_tensor(labels)
    workers = [PairAccumulator(5, 6), PairAccumulator(5, 6)]
    for i, part in enumerate(torch.arange(len(rows)).split(10)):
        workers[i % 2].update(rows[part], codes[part])
    merged = workers[0].merge(workers[1]).pair_sums()
    for name in ("pairs", "first", "second"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), atol=1e-10)


def test_copies_have_no_variance_at_all():
    copies = torch.tensor([[0.3, 0.1, -2.0]]).expand(50, 3)
    found = pair_sums(embedded(copies, torch.zeros(50, dtype=torch.int64), 1)).pooled(np.eye(1))
    assert found.variance == 0
    assert found.mean == pytest.approx(1.0, abs=1e-14)


def test_centring_is_a_subtraction_before_the_rows_are_scaled():
    features, labels = uneven()
    mean = torch.as_tensor(features).mean(0)
    one = pair_sums(embedded(features, labels, centre=mean))
    two = pair_sums(embedded(features - mean.numpy(), labels))
    np.testing.assert_allclose(one.second, two.second, atol=1e-12)


def test_histograms_count_every_pair_once_in_its_bin():
    features, labels = uneven()
    found = pair_histograms(embedded(features, labels), np.stack([np.eye(5), 1 - np.eye(5)]))
    for k, pairs in enumerate(all_pairs(features, labels)):
        exact = np.histogram(pairs, BINS, (-1, 1))[0]
        assert found.pooled[k].sum() == len(pairs)
        # A value on an edge may fall on either side of it in single precision.
        assert np.abs(np.cumsum(found.pooled[k] - exact)).max() <= 1
    assert found.between is not None
    np.testing.assert_array_equal(found.between, found.between.transpose(1, 0, 2))
    np.testing.assert_array_equal(found.between.diagonal().T, found.own)
    np.testing.assert_array_equal(np.tensordot(np.triu(np.ones((5, 5)), 1), found.between, 2), found.pooled[1])


def test_histograms_of_images_sum_to_twice_those_of_the_set():
    features, labels = uneven()
    weights = np.stack([np.eye(5), 0.5 * (1 - np.eye(5))])
    data = embedded(features, labels)
    total = sum(part.sum(0) for _, part in row_histograms(data, weights))
    np.testing.assert_allclose(total / 2, pair_histograms(data, weights).pooled, atol=2)
    np.testing.assert_allclose(total.sum(1) / 2, pair_histograms(data, weights).pooled.sum(1))


def test_bins_take_both_ends():
    assert bin_of(torch.tensor([-1.0000001, -1.0, 0.0, 1.0, 1.0000001])).tolist() == [
        0,
        0,
        BINS // 2,
        BINS - 1,
        BINS - 1,
    ]


@pytest.mark.parametrize(
    ("features", "what"),
    [
        (torch.zeros(2, 3), "zero"),
        (torch.tensor([[1.0, 0.0], [float("nan"), 1.0]]), "row 1: an embedding is not finite"),
        (torch.ones(3, 2), "shapes"),
    ],
)
def test_embeddings_that_cannot_be_used_are_named(features, what):
    with pytest.raises(DataError, match=what):
        embedded(features, torch.zeros(2, dtype=torch.int64), 1)


@pytest.mark.parametrize("strip", [1, 2, 3, 5, 7, 100])
def test_half_of_a_gram_matrix_gives_all_of_it(strip, monkeypatch):
    monkeypatch.setattr(moments, "_STRIP", strip)
    rows = torch.randn(11, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(strip))
    codes = torch.zeros(11, dtype=torch.int64)
    counts, sums, grams = torch.zeros(1), torch.zeros(1, 7).double(), torch.ones(1, 7, 7).double()
    moments.accumulate(rows, codes, counts, sums, grams)
    units = torch.nn.functional.normalize(rows, dim=1)
    torch.testing.assert_close(grams[0], 1 + units.T @ units, rtol=0, atol=1e-14)
