"""Groups: components, k-means, cuts, silhouettes, names, guards, streams, and agreement with truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from scantling.assess.quality.agreement import agreement, compare_groups
from scantling.assess.quality.clusters import best_cut, silhouette, two_means
from scantling.assess.quality.grading import ClusterModel, centre_shift, fit_clusters
from scantling.assess.quality.pca import fit_components
from scantling.assess.quality.stream import QualityStream
from scantling.core.errors import DataError

THRESHOLD = 1.0


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def two_kinds(each: int = 20, width: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and features of gradable images, then of ungradable ones."""
    level = torch.tensor([0.0, 1.0]).repeat_interleave(each)
    features = normal(2 * each, width, seed=seed) + 8 * level[:, None]
    return 2 + 3 * level + 0.1 * normal(2 * each, seed=seed + 1), features


def test_components_keep_distances_when_none_is_left_out():
    rows = normal(9, 30).double()
    found = fit_components(rows, 8)(rows)
    torch.testing.assert_close(torch.pdist(found), torch.pdist(rows))
    variance = fit_components(rows, 8)(rows).var(0)
    assert (variance.diff() <= 1e-9).all()
    assert fit_components(rows, 20).axes.shape == (8, 30)


def test_two_repeated_points_are_their_own_centres():
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([5.0, -1.0])
    found = two_means(torch.stack([a, b, a, a, b]))
    assert found.inertia == 0
    assert {tuple(c) for c in found.centres.tolist()} == {(1.0, 2.0), (5.0, -1.0)}
    assert two_means(torch.ones(4, 2)).inertia == 0


def test_k_means_is_as_good_as_scikit_learn_s_and_repeats_itself():
    from sklearn.cluster import KMeans

    rows = normal(80, 5)
    found = two_means(rows)
    assert found.inertia == pytest.approx(KMeans(2, n_init=10, random_state=0).fit(rows.numpy()).inertia_, rel=1e-3)
    assert torch.equal(found.group, two_means(rows).group)


def test_the_cut_of_a_line_is_the_best_of_all():
    values = torch.cat([normal(15), normal(9, seed=1) + 4])

    def within(cut: float) -> float:
        return sum(
            float((v - v.mean()).square().sum()) for v in (values[values <= cut], values[values > cut]) if len(v)
        )

    order = values.sort().values
    tried = ((order[1:] + order[:-1]) / 2).tolist()
    assert within(best_cut(values)) == pytest.approx(min(map(within, tried)))


def test_silhouettes_are_those_of_scikit_learn():
    rows = normal(50, 3)
    group = (torch.arange(50) % 3 > 0).long()
    assert silhouette(rows, group) == pytest.approx(sk.silhouette_score(rows.numpy(), group.numpy()), abs=1e-6)
    assert silhouette(rows, torch.zeros(50, dtype=torch.int64)) == 0


def test_the_group_with_the_greater_scores_is_ungradable_whatever_its_number():
    scores, features = two_kinds()
    expected = [1] * 20 + [0] * 20
    for seed in range(4):
        assert fit_clusters(scores, features, seed).grade(scores, features, THRESHOLD).grade.tolist() == expected
    model = fit_clusters(scores.flip(0), features.flip(0))
    assert model.grade(scores, features, THRESHOLD).grade.tolist() == expected
    # Turned round, the other half is worse.
    swapped = fit_clusters(scores.flip(0), features).grade(scores.flip(0), features, THRESHOLD)
    assert swapped.grade.tolist() == expected[::-1]


def test_grades_are_a_partition_and_groups_leave_outstanding_images_alone():
    scores, features = two_kinds()
    model = fit_clusters(scores, features)
    mixed = scores.clone()
    mixed[::4] = 0.5
    graded = model.grade(mixed, features, THRESHOLD)
    assert (graded.grade[::4] == 2).all() and graded.sure[::4].all()
    assert torch.bincount(graded.grade, minlength=3).sum() == 40
    higher = model.grade(mixed, features, 2.5)
    assert ((graded.grade == 2) <= (higher.grade == 2)).all()


def test_guards():
    scores, features = two_kinds()
    few = fit_clusters(scores[:9], features[:9])
    assert few.kind == "none" and "too few" in few.guards[0]
    assert not few.grade(scores, features, THRESHOLD).sure.any()
    assert (few.grade(scores, features, THRESHOLD).grade == 1).all()
    cloud = fit_clusters(2 + normal(200).abs(), normal(200, 60))
    assert cloud.kind == "none" and "overlap" in cloud.guards[0] and cloud.silhouette < 0.1
    # Groups that have nothing to do with the score: a kind of fault, not its severity.
    kinds = fit_clusters(2 + torch.linspace(0, 1, 40)[torch.randperm(40, generator=torch.Generator().manual_seed(0))],
                         features)  # fmt: skip
    assert kinds.kind == "score" and "kind of their faults" in kinds.guards[0] and kinds.cut == pytest.approx(2.5, 0.05)


def test_a_model_survives_being_written_down():
    scores, features = two_kinds()
    model = fit_clusters(scores, features, origin="a test")
    again = ClusterModel.from_json(model.to_json())
    one, two = (m.grade(scores, features, THRESHOLD) for m in (model, again))
    assert torch.equal(one.grade, two.grade) and torch.equal(one.sure, two.sure) and again.counts == (20, 20)
    with pytest.raises(DataError, match="no groups of images"):
        ClusterModel.from_json({**model.to_json(), "axes": [[1.0]]}, "x.json")


def names(start: int, count: int) -> list[str]:
    return [f"{number}.png" for number in range(start, start + count)]


def test_a_stream_ends_with_the_groups_of_all_its_images_in_whatever_batches():
    scores, features = two_kinds(30)
    whole = fit_clusters(scores, features)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    every = names(0, 60)
    for size in (60, 7):
        stream = QualityStream(THRESHOLD)
        for part in order.split(size):
            stream.update([every[k] for k in part.tolist()], scores[part], features[part])
        assert stream.exact and stream.seen == 60
        torch.testing.assert_close(stream.model.centres.abs(), whole.centres.abs())
        assert torch.equal(
            stream.model.grade(scores, features, THRESHOLD).grade, whole.grade(scores, features, THRESHOLD).grade
        )


def test_two_streams_merge_into_one_also_beyond_their_capacity():
    scores, features = two_kinds(40)
    every = names(0, 80)
    together, left, right = (QualityStream(THRESHOLD, capacity=30) for _ in range(3))
    together.update(every, scores, features)
    left.update(every[:33], scores[:33], features[:33])
    right.update(every[33:], scores[33:], features[33:])
    left.merge(right)
    assert left.seen == 80 and not left.exact and "random sample of 30 of 80" in left.model.origin
    torch.testing.assert_close(left.model.centres, together.model.centres)


def test_a_stream_begins_with_its_reference_and_measures_how_far_it_drifts():
    scores, features = two_kinds()
    reference = fit_clusters(scores, features)
    stream = QualityStream(THRESHOLD, reference=reference)
    graded = stream.update(names(0, 2), scores[[0, 39]], features[[0, 39]])
    assert graded.grade.tolist() == [1, 0] and stream.model is reference
    stream.update(names(2, 40), scores, features)
    assert max(stream.drift().values()) < 0.1
    moved = fit_clusters(scores, features + 8)
    # Every centre moved by as much as the two lie apart.
    assert centre_shift(reference, moved)["gradable"] == pytest.approx(1.0, abs=0.1)


def test_agreement_of_perfect_and_of_constant_grades():
    truth = np.repeat([0, 1, 2], 10)
    perfect = agreement(truth, 2.0 - truth, truth)
    assert perfect["auroc"] == 1 and perfect["grades"]["quadratic_weighted_kappa"] == 1
    assert perfect["clusters"]["accuracy"] == 1 and perfect["sensitivity"] == perfect["specificity"] == 1
    constant = agreement(truth, np.zeros(30), np.full(30, 1))
    assert constant["grades"]["quadratic_weighted_kappa"] == 0 and constant["auroc"] == 0.5


def test_comparisons_of_groups_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    compared = compare_groups(truth, found)
    assert compared["adjusted_rand"] == pytest.approx(sk.adjusted_rand_score(truth, found))
    assert compared["mutual_information"] == pytest.approx(sk.normalized_mutual_info_score(truth, found))
    assert compared["accuracy"] == max((truth == found).mean(), (truth != found).mean())
    assert compare_groups(truth, 1 - found) == compared
