"""Fits of ellipses: biases in pixels, invariances, sub-pixel maps, and structures that are cut, bitten or pierced."""

from __future__ import annotations

import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.data.shapes import fill_ellipses
from scantling.measure import Ellipses, fit_ellipses, fit_outline
from scantling.measure.agreement import overlap, touches_edge
from scantling.measure.ellipse import METHODS, _distance, by_contour, fit_single
from scantling.measure.outline import coverage, isolate

RNG = np.random.default_rng(0)
N, SHAPE = 60, (480, 500)
LONG = RNG.uniform(100, 220, N)
TRUE = Ellipses(
    RNG.uniform(235, 250, (N, 2)), np.stack([LONG, LONG * RNG.uniform(0.7, 0.98, N)], 1), RNG.uniform(-1.5, 1.5, N)
)
MASKS = TRUE.masks(SHAPE)
AROUND = TRUE.circumference()
ONES = np.ones((N, 2))


def errors(found: Ellipses, true: np.ndarray = AROUND) -> np.ndarray:
    return found.circumference() - true


def test_moments_have_no_bias_and_contours_need_their_half_pixel():
    moments = errors(fit_ellipses(MASKS, method="moments"))
    assert abs(moments.mean()) < 0.03 and moments.std() < 0.1
    edges = errors(fit_ellipses(MASKS, method="contour"))
    assert abs(edges.mean()) < 0.02 and edges.std() < 0.1
    alone, structure = isolate(MASKS)
    centres = errors(by_contour(alone, structure, ONES, "centres", half_pixel=False))
    assert centres.mean() == pytest.approx(-2.86, abs=0.03) and centres.std() < 0.1
    corrected = errors(by_contour(alone, structure, ONES, "centres"))
    assert corrected.mean() == pytest.approx(0.27, abs=0.03)


def test_the_bias_of_pixel_centres_does_not_depend_on_the_size():
    small = Ellipses(TRUE.centre / 4, TRUE.semi_axes / 4, TRUE.angle)
    alone, structure = isolate(small.masks((120, 125)))
    bias = errors(by_contour(alone, structure, ONES, "centres", half_pixel=False), small.circumference())
    assert bias.mean() == pytest.approx(-2.86, abs=0.06)


@pytest.mark.parametrize("method", METHODS)
def test_centre_axes_and_angle(method):
    found = fit_ellipses(MASKS[:30], method=method)
    np.testing.assert_allclose(found.centre, TRUE.centre[:30], atol=0.05)
    np.testing.assert_allclose(found.semi_axes, TRUE.semi_axes[:30], atol=0.08)
    off = np.sin(found.angle - TRUE.angle[:30])
    assert np.abs(off[TRUE.semi_axes[:30, 1] < 0.9 * LONG[:30]]).max() < 0.003
    assert (found.semi_axes[:, 0] >= found.semi_axes[:, 1]).all()


@pytest.mark.parametrize("method", METHODS)
def test_turning_mirroring_shifting_and_units(method):
    masks, spacing = MASKS[:8], np.array([0.31, 0.17])
    plain = fit_ellipses(masks, spacing, method)

    def same(other, axes=plain.semi_axes):
        np.testing.assert_allclose(other.semi_axes, axes, rtol=1e-6)

    same(fit_ellipses(masks[:, ::-1], spacing, method))
    same(fit_ellipses(masks[:, :, ::-1], spacing, method))
    same(fit_ellipses(masks.transpose(0, 2, 1), spacing[::-1], method))
    same(fit_ellipses(np.roll(masks, (3, -5), (1, 2)), spacing, method))
    same(fit_ellipses(masks, 3 * spacing, method), 3 * plain.semi_axes)
    mirrored = fit_ellipses(masks[:, :, ::-1], spacing, method)
    np.testing.assert_allclose(mirrored.angle, -plain.angle, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_any_grid_gives_the_same_millimetres(method):
    """The anisotropy rule: points become millimetres before they are fitted."""
    for rows, columns in ((540, 800), (256, 256), (200, 640)):
        spacing = np.array([160 / rows, 240 / columns])
        truth = Ellipses(np.array([[120.0, 80.0]]), np.array([[70.0, 54.6]]), np.array([np.pi / 6]))
        mask = truth.in_pixels(spacing).masks((rows, columns))
        found = fit_ellipses(mask, spacing, method)
        np.testing.assert_allclose(found.circumference(), truth.circumference(), rtol=0.005)
        np.testing.assert_allclose(found.semi_axes, truth.semi_axes, rtol=0.005)


def soft(tau: float, rows: slice = slice(0, 20), shape: tuple[int, int] = (260, 260)) -> tuple[np.ndarray, Ellipses]:
    small = Ellipses(TRUE.centre[rows] / 2 + 5, TRUE.semi_axes[rows] / 2, TRUE.angle[rows])
    y, x = np.indices(shape)
    grid = np.broadcast_to(np.stack([x, y], -1).reshape(1, -1, 2).astype(float), (len(small), shape[0] * shape[1], 2))
    distance = _distance(small, grid).reshape(-1, *shape)
    return 1 / (1 + np.exp(np.clip(distance / tau, -40, 40))), small


@pytest.mark.parametrize("tau", [0.4, 1.0, 3.0])
def test_probability_maps_are_measured_below_a_pixel_whatever_their_steepness(tau):
    maps, small = soft(tau)
    true = small.circumference()
    hard = errors(fit_ellipses(maps >= 0.5, method="moments"), true)
    for method, bias, spread in (("moments", 0.06, 0.04), ("contour", 0.02, 0.02), ("robust", 0.02, 0.02)):
        found = errors(fit_ellipses(maps, method=method), true)
        assert abs(found.mean()) < bias
        assert found.std() < min(spread, 0.6 * hard.std())


def test_coverage_is_the_covered_share_of_a_pixel():
    for normal in (0.0, 0.3, np.pi / 4, 1.2):
        y, x = np.indices((20, 20)) - 9.63
        distance = x * np.cos(normal) + y * np.sin(normal)
        maps = np.clip(0.5 - distance / 8, 0, 1)[None].astype(np.float32)
        fine_y, fine_x = (np.indices((400, 400)) + 0.5) / 20 - 0.5 - 9.63
        share = (fine_x * np.cos(normal) + fine_y * np.sin(normal) < 0).reshape(20, 20, 20, 20).mean((1, 3))
        found = coverage(maps, maps >= 0.5)[0]
        assert np.abs(found - share)[1:-1, 1:-1].max() < 0.14
        assert abs((found - share)[1:-1, 1:-1].mean()) < 0.003
    mask = MASKS[:1].astype(np.float32)
    np.testing.assert_array_equal(coverage(mask, MASKS[:1]), mask)


def bitten(masks: np.ndarray, share: float, depth: float) -> np.ndarray:
    """Without a wedge over a share of the outline, from a depth (share of the shorter semi-axis) on outwards."""
    y, x = np.indices(masks.shape[1:])
    out = masks.copy()
    for i, turn in enumerate(np.random.default_rng(1).uniform(0, 2 * np.pi, len(masks))):
        dx, dy = x - TRUE.centre[i, 0], y - TRUE.centre[i, 1]
        gap = np.abs((np.arctan2(dy, dx) - turn + np.pi) % (2 * np.pi) - np.pi)
        out[i] &= ~((gap < share * np.pi) & (np.hypot(dx, dy) > depth * TRUE.semi_axes[i, 1]))
    return out


@pytest.mark.parametrize("depth", [0.4, 0.75])
def test_a_bite_of_a_fifth_of_the_outline_misleads_moments_and_not_the_robust_fit(depth):
    masks = bitten(MASKS[:15], 0.2, depth)
    moments = np.abs(errors(fit_ellipses(masks, method="moments"), AROUND[:15]))
    contour = np.abs(errors(fit_ellipses(masks, method="contour"), AROUND[:15]))
    assert min(np.median(moments), np.median(contour)) > 8
    for method in ("robust", "auto"):
        assert np.abs(errors(fit_ellipses(masks, method=method), AROUND[:15])).max() < 1.0
    used = fit_single(*isolate(masks), ONES[:15])[1]
    assert (used == "robust").all()
    assert (fit_single(*isolate(MASKS[:5]), ONES[:5])[1] == "moments").all()


def test_a_bite_and_a_slit():
    masks = bitten(MASKS[:20], 0.12, 0.6)
    y, x = np.indices(SHAPE)
    for i in range(20):
        masks[i] &= ~((np.abs(x - TRUE.centre[i, 0]) < 20) & (y > TRUE.centre[i, 1]))
    found = errors(fit_ellipses(masks, method="robust"), AROUND[:20])
    assert np.abs(found).max() < 2.0


def test_heads_cut_by_the_edge_of_the_picture_are_completed():
    for top in (60, 100):
        cut = MASKS[:20, top + 60 :]
        reach = (TRUE.centre[:20, 1] - TRUE.semi_axes[:20, 1] < top + 60) & touches_edge(cut)
        assert reach.sum() > 5
        found = fit_ellipses(cut[reach])
        np.testing.assert_allclose(found.circumference(), AROUND[:20][reach], rtol=0.004)
        moments = fit_ellipses(cut[reach], method="moments")
        assert np.abs(errors(moments, AROUND[:20][reach])).mean() > 5 * np.abs(errors(found, AROUND[:20][reach])).mean()


def test_holes_and_other_pieces_do_not_count():
    dirty = MASKS[:10].copy()
    dirty[:, 230:260, 230:250] = False
    dirty[:, 3:30, 3:20] = True
    for method in METHODS:
        np.testing.assert_allclose(
            fit_ellipses(dirty, method=method).semi_axes, fit_ellipses(MASKS[:10], method=method).semi_axes, rtol=1e-6
        )
    maps, small = soft(1.0, slice(0, 5))
    maps[:, 2:9, 2:9] = 0.9
    maps[:, 128:134, 120:130] = 0.2
    found = fit_ellipses(maps, method="moments")
    np.testing.assert_allclose(found.circumference(), small.circumference(), atol=0.1)


def test_true_outlines_are_fitted_exactly():
    found = fit_outline(TRUE.points(90))
    np.testing.assert_allclose(found.semi_axes, TRUE.semi_axes, rtol=1e-9)
    rounded = fit_outline(np.round(TRUE.points(600)))
    assert np.abs(errors(rounded)).max() < 0.35


@pytest.mark.parametrize("method", METHODS)
def test_nothing_and_next_to_nothing(method):
    masks = np.zeros((4, 30, 30), dtype=bool)
    masks[1, 5, 5] = True
    masks[2, 4:6, 4:6] = True
    masks[3] = True
    with np.errstate(all="raise"):
        found = fit_ellipses(masks, method=method)
    assert np.isnan(found.semi_axes[0]).all()
    assert len(fit_ellipses(np.zeros((0, 5, 5), dtype=bool), method=method)) == 0


def test_ends_points_and_masks_belong_to_the_ellipse():
    ends = TRUE.ends()
    np.testing.assert_allclose(np.hypot(*(ends[:, :, 1] - ends[:, :, 0]).transpose(2, 0, 1)), TRUE.diameters)
    np.testing.assert_allclose(ends.mean((1, 2)), TRUE.centre)
    np.testing.assert_allclose(_distance(TRUE, ends.reshape(N, 4, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(_distance(TRUE, TRUE.points(50)), 0, atol=1e-9)
    np.testing.assert_array_equal(MASKS, fill_ellipses(SHAPE, TRUE.centre, TRUE.semi_axes, TRUE.angle))
    assert (overlap(MASKS, MASKS) == 1).all()
    assert overlap(MASKS[:1], ~MASKS[:1]) == 0


def test_wrong_use_is_named():
    with pytest.raises(DataError, match=r"unknown fit 'moment' \(did you mean 'moments'"):
        fit_ellipses(MASKS[:1], method="moment")
    with pytest.raises(DataError, match="shape"):
        fit_ellipses(MASKS[0])
    with pytest.raises(DataError, match="spacing"):
        fit_ellipses(MASKS[:3], np.ones((2, 2)))
    with pytest.raises(DataError, match="not positive"):
        fit_ellipses(MASKS[:1], (0.1, np.nan))
