"""Properties of kappa (sheet: dr_grading, section "Properties")."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from scantling.core.errors import DataError
from scantling.metrics.classification import accuracy
from scantling.metrics.kappa import confusion_matrix, kappa, linear_weighted_kappa, quadratic_weighted_kappa

REFERENCE = np.array(
    [[90, 10, 0, 0, 0], [8, 15, 7, 0, 0], [2, 6, 30, 8, 1], [0, 0, 4, 9, 3], [0, 0, 1, 3, 6]], dtype=float
)


def pairs(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted grades whose confusion matrix is ``matrix``."""
    rows, columns = np.indices(matrix.shape)
    counts = matrix.astype(int).ravel()
    return np.repeat(rows.ravel(), counts), np.repeat(columns.ravel(), counts)


def random_matrices(seed: int, n: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 40, (n, 5, 5)).astype(float)


def test_the_reference_matrix():
    assert abs(float(quadratic_weighted_kappa(REFERENCE)) - 0.893780) < 5e-7
    assert abs(float(accuracy(REFERENCE)) - 0.738916) < 5e-7


def test_one_minus_kappa_is_the_squared_error_over_its_chance_level():
    for matrix in random_matrices(0):
        y, p = (a.astype(float) for a in pairs(matrix))
        identity = np.mean((y - p) ** 2) / (y.var() + p.var() + (y.mean() - p.mean()) ** 2)
        assert abs(1 - quadratic_weighted_kappa(matrix) - identity) < 1e-12


@pytest.mark.parametrize(
    ("ours", "weights"), [(kappa, None), (linear_weighted_kappa, "linear"), (quadratic_weighted_kappa, "quadratic")]
)
def test_kappas_agree_with_scikit_learn(ours, weights):
    for matrix in random_matrices(1, 20):
        y, p = pairs(matrix)
        assert abs(ours(matrix) - cohen_kappa_score(y, p, weights=weights)) < 1e-12


@pytest.mark.parametrize("ours", [kappa, quadratic_weighted_kappa])
def test_a_diagonal_gives_one_and_a_constant_predictor_exactly_zero(ours):
    assert ours(np.diag([5.0, 3, 2, 1, 1])) == 1
    for k in range(5):
        constant = np.zeros((5, 5))
        constant[:, k] = [31403, 3042, 6282, 977, 966]
        assert ours(constant) == 0
        assert ours(constant.T) == 0


def test_both_sides_constant_is_defined_as_zero_and_nothing_at_all_as_nan():
    both = np.zeros((5, 5))
    both[2, 2] = 7
    assert quadratic_weighted_kappa(both) == 0
    assert np.isnan(quadratic_weighted_kappa(np.zeros((5, 5))))


def test_the_reversal_of_a_uniform_scale_gives_minus_one():
    assert abs(quadratic_weighted_kappa(np.fliplr(np.eye(5)) * 3) + 1) < 1e-12


def test_kappa_is_symmetric_and_ignores_the_direction_of_the_scale():
    matrices = random_matrices(2)
    value = quadratic_weighted_kappa(matrices)
    np.testing.assert_allclose(quadratic_weighted_kappa(matrices.swapaxes(-1, -2)), value, atol=1e-13)
    np.testing.assert_allclose(quadratic_weighted_kappa(matrices[:, ::-1, ::-1]), value, atol=1e-13)


def test_confusion_matrix_counts_weights_and_refuses_classes_out_of_range():
    y, p = pairs(REFERENCE)
    assert (confusion_matrix(y, p, 5) == REFERENCE).all()
    weights = np.stack([np.ones(len(y)), np.full(len(y), 2.0), np.zeros(len(y))])
    np.testing.assert_array_equal(
        confusion_matrix(y, p, 5, weights), np.stack([REFERENCE, 2 * REFERENCE, 0 * REFERENCE])
    )
    for wrong in (-1, 5):
        with pytest.raises(DataError, match="outside"):
            confusion_matrix(np.array([wrong]), np.array([0]), 5)
