"""Filled shapes and conics: areas, changes of units, and fits through points."""

from __future__ import annotations

import numpy as np

from scantling.data.conic import axes_of, fit_outline, matrix_of, rescale
from scantling.data.shapes import fill_ellipses, fill_rectangles

RNG = np.random.default_rng(3)
N = 20
CENTRE = RNG.uniform(90, 110, (N, 2))
LONG = RNG.uniform(40, 70, N)
AXES = np.stack([LONG, LONG * RNG.uniform(0.5, 0.95, N)], 1)
ANGLE = RNG.uniform(-1.5, 1.5, N)


def points(count: int = 60) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    x, y = AXES[:, :1] * np.cos(turn), AXES[:, 1:] * np.sin(turn)
    cos, sin = np.cos(ANGLE)[:, None], np.sin(ANGLE)[:, None]
    return CENTRE[:, None] + np.stack([x * cos - y * sin, x * sin + y * cos], -1)


def test_areas_of_filled_shapes():
    ellipses = fill_ellipses((200, 210), CENTRE, AXES, ANGLE).sum((1, 2))
    np.testing.assert_allclose(ellipses, np.pi * AXES.prod(1), rtol=0.003)
    bars = fill_rectangles((200, 210), CENTRE, AXES, ANGLE).sum((1, 2))
    np.testing.assert_allclose(bars, AXES.prod(1), rtol=0.02)
    wide = fill_rectangles((200, 420), CENTRE, AXES, ANGLE, (1.0, 0.5)).sum((1, 2))
    np.testing.assert_allclose(wide, 2 * AXES.prod(1), rtol=0.02)
    nothing = fill_ellipses((10, 10), np.full((1, 2), np.nan), np.ones((1, 2)), np.zeros(1))
    assert not nothing.any()


def test_a_filled_ellipse_covers_half_of_its_border_pixels():
    fine = fill_ellipses((2000, 2100), 10 * CENTRE[:2] + 4.5, 10 * AXES[:2], ANGLE[:2])
    share = fine.reshape(2, 200, 10, 210, 10).mean((2, 4))
    drawn = fill_ellipses((200, 210), CENTRE[:2], AXES[:2], ANGLE[:2])
    # Curvature and rounding touch pixels that are covered by almost exactly one half.
    assert (drawn != (share > 0.5)).sum() < 10
    assert (np.abs(share - 0.5)[drawn != (share > 0.5)] < 0.02).all()


def test_matrices_and_axes_are_inverse():
    axes, angle = axes_of(*matrix_of(AXES, ANGLE))
    np.testing.assert_allclose(axes, AXES)
    np.testing.assert_allclose(angle, ANGLE)
    assert np.isnan(axes_of(np.array(1.0), np.array(2.0), np.array(1.0))[0][1])


def test_rescaled_ellipses_go_through_rescaled_points():
    factor = np.array([0.3, 0.7])
    centre, axes, angle = rescale(CENTRE, AXES, ANGLE, np.broadcast_to(factor, (N, 2)))
    found = fit_outline(points() * factor)
    for one, other in zip((centre, axes, angle), found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    back = rescale(centre, axes, angle, np.broadcast_to(1 / factor, (N, 2)))
    np.testing.assert_allclose(back[1], AXES)


def test_fits_are_exact_and_take_weights_gaps_and_arcs():
    whole = points()
    whole[3, 10:] = np.nan
    whole[4, 5:] = np.nan
    whole[5, 4:] = np.nan
    arcs = points(240)[:, :110]
    for given in (whole, arcs):
        centre, axes, angle = fit_outline(given)
        enough = np.isfinite(given[..., 0]).sum(1) >= 5
        np.testing.assert_allclose(centre[enough], CENTRE[enough], atol=1e-6)
        np.testing.assert_allclose(axes[enough], AXES[enough], atol=1e-6)
        np.testing.assert_allclose(angle[enough], ANGLE[enough], atol=1e-6)
        assert np.isnan(axes[~enough]).all() and np.isnan(centre[~enough]).all()
    spoilt = points()
    spoilt[:, 7] += 500
    weights = np.ones((N, 60))
    weights[:, 7] = 0
    np.testing.assert_allclose(fit_outline(spoilt, weights)[1], AXES, atol=1e-6)


def test_points_without_an_ellipse_give_nothing():
    line = np.stack([np.arange(9.0), 2 * np.arange(9.0)], -1)
    same = np.ones((9, 2))
    assert np.isnan(fit_outline(np.stack([line, same]))[1]).all()
