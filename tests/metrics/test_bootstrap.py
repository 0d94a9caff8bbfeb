"""The bootstrap: coverage, clusters, undefined replicates, reproducibility."""

import time

import numpy as np

from scantling.core.target import make_target
from scantling.metrics import METRICS, Predictions, evaluate_predictions
from scantling.metrics.bootstrap import bootstrap, cluster_codes, resampled_weights
from scantling.metrics.weights import as_given, by_sample, ratio


def mean_of(values: np.ndarray):
    def statistic(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        columns = by_sample(weights, len(values))
        return {"mean": as_given(ratio(columns.T @ values, columns.sum(0)), weights)}

    return statistic


def test_each_replicate_draws_as_many_clusters_as_there_are_and_whole_ones():
    groups = np.array([7, 7, 7, 2, -1, -1, 2, 9])
    codes = cluster_codes(groups, 8)
    assert len(set(codes.tolist())) == 5
    weights = np.concatenate(list(resampled_weights(codes, 500, np.random.default_rng(0))))
    assert weights.shape == (500, 8)
    assert (weights[:, :3] == weights[:, :1]).all()
    assert (weights[:, 3] == weights[:, 6]).all()
    first_of_each = weights[:, [0, 3, 4, 5, 7]]
    assert (first_of_each.sum(1) == 5).all()
    assert abs(first_of_each.mean() - 1) < 1e-12
    assert (first_of_each.std(0) > 0.7).all()


def test_draws_do_not_depend_on_the_size_of_blocks():
    codes = np.arange(50)
    small = np.concatenate(list(resampled_weights(codes, 100, np.random.default_rng(3), block=1)))
    large = np.concatenate(list(resampled_weights(codes, 100, np.random.default_rng(3), block=10**9)))
    assert (small == large).all()


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).normal(10, 2, 400)
    found = bootstrap(mean_of(values), 400, np.random.default_rng(1), replicates=4000)["mean"]
    error = 1.96 * values.std() / 20
    assert found.value == values.mean()
    assert abs((found.high - found.low) / 2 - error) < 0.08 * error
    assert found.replicates_used == 4000


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        values = rng.normal(0, 1, 60)
        found = bootstrap(mean_of(values), 60, rng, replicates=400)["mean"]
        hits += bool(found.low <= 0 <= found.high)
    assert 180 <= hits <= 199


def test_duplicated_images_narrow_the_interval_by_image_but_not_by_patient():
    values = np.random.default_rng(3).normal(0, 1, 200)
    fourfold, patients = np.repeat(values, 4), np.repeat(np.arange(200), 4)

    def width(groups: np.ndarray | None, data: np.ndarray) -> float:
        found = bootstrap(mean_of(data), len(data), np.random.default_rng(4), groups, replicates=3000)["mean"]
        return float(found.high - found.low)

    honest = width(None, values)
    assert abs(width(patients, fourfold) / honest - 1) < 0.02
    assert abs(width(None, fourfold) / honest - 0.5) < 0.05


def test_undefined_replicates_are_left_out_and_counted():
    labels = np.zeros((20, 1))
    labels[0] = 1
    scores = np.linspace(1, 0, 20)[:, None]
    statistic = {"auroc": METRICS["auroc"]}
    found = bootstrap(lambda w: {n: f(labels, scores, w) for n, f in statistic.items()}, 20, np.random.default_rng(0))[
        "auroc"
    ]
    assert found.value == found.low == found.high == 1
    assert abs(found.replicates_used / 2000 - (1 - (19 / 20) ** 20)) < 0.04


def test_the_seed_decides_and_one_patient_gives_no_interval():
    values = np.random.default_rng(5).normal(size=30)
    one, two, other = (
        bootstrap(mean_of(values), 30, np.random.default_rng(s), replicates=200)["mean"].low for s in (0, 0, 1)
    )
    assert one == two != other
    alone = bootstrap(mean_of(values), 30, np.random.default_rng(0), np.zeros(30, int))["mean"]
    assert np.isnan(alone.low)
    assert alone.replicates_used == 0
    assert alone.value == values.mean()
    assert alone.to_json() == {"value": float(values.mean()), "low": None, "high": None, "replicates_used": 0}


def test_two_thousand_replicates_of_all_metrics_take_seconds():
    rng = np.random.default_rng(6)
    labels = rng.choice(5, 5000, p=[0.73, 0.07, 0.15, 0.03, 0.02])
    probabilities = rng.dirichlet(np.ones(5), 5000)
    predictions = Predictions(
        make_target("grade", "01234"), labels, probabilities, rng.random(5000), np.arange(5000) // 2
    )
    start = time.process_time()
    evaluate_predictions(predictions)
    assert time.process_time() - start < 20
