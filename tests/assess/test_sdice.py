"""Properties of SDICE (sheet: sdice, section "Properties a right implementation has")."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from scantling.assess import DISTANCES, SDICEResult, sdice
from scantling.assess.bootstrap import replicates
from scantling.assess.distances import Similarities
from scantling.assess.embedded import Embedded
from scantling.assess.floor import copied, split_half
from scantling.assess.histogram import BINS
from scantling.assess.index import weights_of
from scantling.assess.moments import Moments, pair_sums
from scantling.assess.normalisation import exponential
from scantling.core.errors import DataError, RecipeError

from .simulated import all_pairs, at, clusters, uneven

REAL = clusters()
OTHER = clusters(seed=1)


def index(real=REAL, synthetic=OTHER, **options) -> SDICEResult:
    return sdice(real[0], real[1], synthetic[0], synthetic[1], **options)


def moments(mean, sd) -> Similarities:
    return Similarities(Moments(1, mean, sd**2))


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_set_against_itself_is_one_and_one(distance):
    found = index(synthetic=REAL, distance=distance)
    assert found.pair == (1.0, 1.0)
    assert found.gamma == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("distance", DISTANCES)
def test_scores_are_bounded_and_symmetric_where_the_distance_is(distance):
    near, far = clusters(60, 0.8, 5), clusters(50, 1.3, 6)
    one, two = index(near, far, distance=distance), index(far, near, distance=distance)
    assert all(0 < g < 1 for g in one.pair)
    same = np.allclose(one.pair, two.pair, rtol=1e-9)
    assert same == DISTANCES[distance].symmetric
    assert one.intra.sign == -two.intra.sign == -1


def test_the_worked_miniature():
    found = sdice(at(0, 60, 90, 150), list("AABB"), at(0, 0, 90, 90), list("AABB"), histograms=True)
    assert (found.intra.real.mean, found.intra.synthetic.mean) == pytest.approx((0.5, 1.0))
    assert found.intra.distance == math.inf and found.intra.gamma == 0.0 and found.intra.sign == 1
    assert found.inter.real.variance == pytest.approx(0.375)
    assert found.inter.distance == 0.0 and found.inter.gamma == 1.0
    assert found.inter.distances["wasserstein"] == pytest.approx(math.sqrt(3) / 4, abs=1e-3)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["sdice"]["intra"]["distance"] == "inf"


def test_closed_forms_of_the_ratios():
    real, synthetic = moments(0.7, 0.1), moments(0.9, 0.05)
    fisher, biometric = (DISTANCES[n](real, synthetic) for n in ("fisher", "biometric"))
    assert fisher == pytest.approx(3.2) and exponential(fisher) == pytest.approx(0.0408, abs=1e-4)
    assert biometric == pytest.approx(4 / 3) and exponential(biometric) == pytest.approx(0.2636, abs=1e-4)
    assert DISTANCES["variance"](real, synthetic) == pytest.approx(3.0)
    assert exponential(fisher, beta=2.0) == pytest.approx(float(exponential(fisher)) ** 2)


def test_classes_of_copies_give_the_closed_form():
    real, labels = clusters(30)
    found = sdice(real, labels, real[labels * 30], labels)
    assert found.intra.synthetic.mean == pytest.approx(1.0) and found.intra.synthetic.variance == 0
    expected = (1 - found.intra.real.mean) ** 2 / found.intra.real.variance
    assert found.intra.distance == pytest.approx(expected, rel=1e-9)


def test_nothing_depends_on_order_names_lengths_or_rotation():
    real, synthetic = clusters(40), clusters(30, 0.8, 3)
    expected = index(real, synthetic, distance="fisher")
    draw = np.random.default_rng(0)
    turn = np.linalg.qr(draw.normal(size=(64, 64)))[0]
    order, other = draw.permutation(200), draw.permutation(150)
    names = np.array(list("vwxyz"))[draw.permutation(5)]
    found = sdice(
        (real[0] * draw.uniform(0.1, 10, (200, 1)) @ turn)[order],
        names[real[1]][order],
        (synthetic[0] * draw.uniform(0.1, 10, (150, 1)) @ turn)[other],
        names[synthetic[1]][other],
    )
    assert found.pair == pytest.approx(expected.pair, abs=1e-10)
    assert sorted(found.classes.gamma) == pytest.approx(sorted(expected.classes.gamma), abs=1e-10)


def test_shrinking_classes_lowers_intra_and_leaves_inter():
    spreads = (1.0, 0.9, 0.7, 0.5, 0.2)
    found = [index(synthetic=clusters(spread=a, seed=1)) for a in spreads]
    distances = [f.intra.distance for f in found]
    assert distances == sorted(distances) and distances[-1] > 10
    assert all(f.inter.gamma >= 0.99 for f in found)
    assert all(f.intra.sign == 1 for f in found[1:])
    assert "mode collapse" in found[-1].reading


def test_dealing_labels_out_anew_lowers_intra_more_and_inter_too():
    draw = np.random.default_rng(0)
    found = []
    for share in (0.0, 0.3, 1.0):
        labels = OTHER[1].copy()
        rows = draw.permutation(len(labels))[: int(share * len(labels))]
        labels[rows] = draw.permutation(labels[rows])
        found.append(index(synthetic=(OTHER[0], labels)))
    assert found[0].intra.gamma > found[1].intra.gamma > found[2].intra.gamma
    assert found[0].inter.gamma > found[1].inter.gamma > found[2].inter.gamma
    assert found[2].intra.sign == -1 and found[2].inter.sign == 1
    assert found[2].intra.one_sided == 1.0 and found[2].inter.one_sided == found[2].inter.gamma


def test_moving_class_centres_alone_moves_inter_and_leaves_intra():
    def placed(degrees, seed):
        """Classes of one shape, each turned to its place in a plane of its own."""
        label = np.repeat(np.arange(4), 80)
        shape = np.random.default_rng(seed).normal(size=(320, 10)) * 0.3
        turned = np.radians(np.array(degrees))[label]
        return np.concatenate([np.stack([np.cos(turned), np.sin(turned)], 1), shape], 1), label

    found = index(placed([0, 90, 180, 270], 0), placed([0, 10, 20, 30], 1))
    assert found.intra.gamma > 0.99 > 0.5 > found.inter.gamma
    assert found.inter.sign == 1


def test_one_class_leaves_inter_undefined_and_says_so():
    with pytest.warns(UserWarning, match="gamma_inter is undefined"):
        found = sdice(at(0, 20, 50), [0, 0, 0], at(0, 30), [0, 0])
    assert math.isnan(found.inter.gamma) and math.isnan(found.gamma) and 0 < found.intra.gamma <= 1
    assert any("gamma_inter" in note for note in found.notes)


def test_emd_is_the_distance_of_point_masses_and_within_a_bin_of_quantiles():
    def one_hot(at_):
        out = np.zeros(BINS)
        out[int((at_ + 1) * BINS / 2)] = 7
        return Similarities(Moments(1, at_, 0.0), out)

    assert DISTANCES["wasserstein"](one_hot(0.25), one_hot(-0.5)) == pytest.approx(0.75)
    assert DISTANCES["ks"](one_hot(0.25), one_hot(-0.5)) == pytest.approx(1.0)
    assert DISTANCES["js"](one_hot(0.25), one_hot(-0.5)) == pytest.approx(math.log(2), abs=0.05)
    real, synthetic = clusters(20), clusters(15, 0.7, 3)
    found = index(real, synthetic, histograms=True)
    for k, score in enumerate((found.intra, found.inter)):
        pairs = all_pairs(*real)[k], all_pairs(*synthetic)[k]
        assert score.distances["wasserstein"] == pytest.approx(stats.wasserstein_distance(*pairs), abs=2 / BINS)
        assert score.distances["energy"] == pytest.approx(stats.energy_distance(*pairs), abs=0.01)
        assert score.distances["ks"] == pytest.approx(stats.ks_2samp(*pairs).statistic, abs=0.01)


def test_emd_sees_a_collapse_that_the_ratio_does_not():
    """Ten prototypes a class keep mean and variance (sheet, pitfall 3)."""
    prototypes = OTHER[0].reshape(5, 120, 64)[:, np.arange(120) % 10].reshape(600, 64)
    found = index(synthetic=(prototypes, OTHER[1]), histograms=True)
    untouched = index(histograms=True)
    assert found.intra.gamma > 0.7
    assert found.intra.distances["wasserstein"] > 3 * untouched.intra.distances["wasserstein"]


def test_replicates_agree_with_images_drawn_again_one_by_one():
    features, labels = clusters(60, seed=4)
    data = Embedded(torch.as_tensor(features), torch.as_tensor(labels), 5)
    weights = weights_of(np.eye(5), False)(None)
    found = replicates(data, weights, 600, np.random.default_rng(0), histograms=True)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = units @ units.T
    draw = np.random.default_rng(1)
    for k, kind in enumerate((labels[:, None] == labels, labels[:, None] != labels)):
        means, deviations = [], []
        kept = np.where(kind, 1.0, 0.0) * (1 - np.eye(len(labels)))
        for _ in range(300):
            drawn = np.bincount(draw.integers(0, 300, 300), minlength=300).astype(float)
            pairs = kept * np.outer(drawn, drawn)
            mean = (pairs * similarity).sum() / pairs.sum()
            means.append(mean)
            deviations.append(math.sqrt((pairs * similarity**2).sum() / pairs.sum() - mean**2))
        assert found[k].moments.mean.std() == pytest.approx(np.std(means), rel=0.2)
        assert found[k].moments.sd.std() == pytest.approx(np.std(deviations), rel=0.25)
        assert found[k].moments.mean.mean() == pytest.approx(np.mean(means), abs=3 * np.std(means))
        middles = (np.arange(BINS) + 0.5) / (BINS / 2) - 1
        of_histograms = found[k].histogram @ middles / found[k].histogram.sum(1)
        np.testing.assert_allclose(of_histograms, found[k].moments.mean, atol=2e-3)


def test_images_of_one_patient_widen_the_interval():
    features = np.repeat(clusters(20, seed=2)[0], 4, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(400, 64))
    labels, patients = np.repeat(np.arange(5), 80), np.repeat(np.arange(100), 4)
    real = (features, labels)

    def width(groups):
        low, high = index(real, clusters(seed=3), bootstrap=300, patients=(groups, None)).intra.distance_interval
        return high - low

    assert width(patients) > 1.4 * width(None)


def test_the_interval_of_two_halves_reaches_one_up_to_the_floor():
    found = index(bootstrap=200, floor=20, seed=3)
    for score in (found.intra, found.inter):
        assert score.floor is not None and score.interval is not None
        assert score.interval[1] >= math.exp(-score.floor[1])
        assert score.interval[0] > 0.95


def test_the_floor_falls_with_the_number_of_images():
    means = []
    for each in (10, 40, 160):
        features, labels = clusters(each)
        data = Embedded(torch.as_tensor(features), torch.as_tensor(labels), 5)
        weights = weights_of(np.eye(5), False)
        means.append(split_half(data, DISTANCES["fisher"], weights, 20, np.random.default_rng(0)).mean[0])
    assert means[0] > 2 * means[1] > 4 * means[2]


def test_a_calibrated_score_is_half_at_the_stated_collapse_and_one_at_the_floor():
    halves = clusters(240)
    one = (halves[0][::2], halves[1][::2])
    data = Embedded(torch.as_tensor(halves[0][1::2]), torch.as_tensor(halves[1][1::2]), 5)
    worse = copied(data)
    found = index(one, (worse.features, worse.codes), normalisation="calibrated", floor=20)
    assert found.intra.gamma == pytest.approx(0.5, abs=0.15)
    assert index(one, (data.features, data.codes), normalisation="calibrated", floor=20).intra.gamma > 0.95
    assert found.normalisation == "calibrated"


def test_balanced_classes_have_equal_weight():
    features, labels = uneven(counts=(40, 8, 5, 13, 30))
    data = Embedded(torch.as_tensor(features), torch.as_tensor(labels), 5)
    sums = pair_sums(data)
    weights = weights_of(np.eye(5), True)(data.counts.numpy())
    each = sums.each()
    assert sums.pooled(weights[0]).mean == pytest.approx(each.mean.diagonal().mean(), abs=1e-12)
    upper = np.triu_indices(5, 1)
    assert sums.pooled(weights[1]).mean == pytest.approx(each.mean[upper].mean(), abs=1e-12)
    square = each.variance.diagonal() + each.mean.diagonal() ** 2
    assert sums.pooled(weights[0]).variance == pytest.approx(
        square.mean() - each.mean.diagonal().mean() ** 2, abs=1e-12
    )


def test_findings_weigh_pairs_by_their_jaccard_index():
    draw = np.random.default_rng(0)
    features, findings = draw.normal(size=(40, 6)) + 0.5, draw.integers(0, 2, (40, 3))
    found = sdice(features, findings, features[:30] * [1, 2, 1, 1, 1, 1], findings[:30], names=["a", "b", "c"])
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    weight = similarity = square = 0.0
    for i in range(40):
        for j in range(i):
            union = (findings[i] | findings[j]).sum()
            jaccard = (findings[i] & findings[j]).sum() / union if union else 1.0
            s = units[i] @ units[j]
            weight, similarity, square = weight + jaccard, similarity + jaccard * s, square + jaccard * s * s
    assert found.intra.real.mean == pytest.approx(similarity / weight, abs=1e-10)
    assert found.intra.real.variance == pytest.approx(square / weight - (similarity / weight) ** 2, abs=1e-10)
    alone = np.eye(3, dtype=int)[draw.integers(0, 3, 40)]
    one = sdice(features, alone, features[:30] * 2 + 1, alone[:30])
    two = sdice(features, alone.argmax(1), features[:30] * 2 + 1, alone[:30].argmax(1))
    assert one.pair == pytest.approx(two.pair, abs=1e-12)


def test_tables_of_classes_are_the_index_of_each_class_alone():
    real, synthetic = clusters(20), clusters(15, 0.7, 3)
    for distance in ("fisher", "wasserstein"):
        found = index(real, synthetic, distance=distance)
        with pytest.warns(UserWarning, match="gamma_inter"):
            alone = sdice(real[0][real[1] == 2], real[1][real[1] == 2], synthetic[0][synthetic[1] == 2],
                          synthetic[1][synthetic[1] == 2], distance=distance)  # fmt: skip
        assert found.classes.gamma[2] == pytest.approx(alone.intra.gamma, rel=1e-6)
        two = [(f[np.isin(y, (1, 3))], y[np.isin(y, (1, 3))]) for f, y in (real, synthetic)]
        row = next(r for r in found.class_pairs.records() if (r["class"], r["other"]) == ("1", "3"))
        assert row["gamma"] == pytest.approx(index(*two, distance=distance).inter.gamma, rel=1e-6)
        assert len(found.class_pairs.records()) == 10


def test_a_reading_says_when_the_sample_cannot_carry_it():
    assert "below 100" in index(clusters(20), clusters(20, seed=1)).reading
    assert "below 100" not in index().reading


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"distance": "fischer"}, "did you mean 'fisher'"),
        ({"beta": 0.0}, "beta"),
        ({"normalisation": "calibrated"}, "floor"),
        ({"floor": 5}, "20"),
    ],
)
def test_settings_that_cannot_be_used_are_named(change, error):
    with pytest.raises(RecipeError, match=error):
        index(**change)


@pytest.mark.parametrize(
    ("labels", "error"), [(np.array([0.0, np.nan]), "missing"), (np.array([0, -1]), "missing"), (np.zeros(3), "shapes")]
)
def test_labels_that_cannot_be_used_are_named(labels, error):
    with pytest.raises(DataError, match=error):
        sdice(np.eye(2), labels, np.eye(2), np.array([0, 1]))
