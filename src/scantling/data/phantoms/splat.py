"""Drawing thousands of small shapes at once: tubes along polylines and soft blobs, gathered by maximum.

Nothing here loops over shapes: shapes of about the same extent are drawn together, through one array of small windows.
Coordinates are pixels, with the centre of the first pixel at 0; layers are float32 in [0, 1].
"""

from __future__ import annotations

import numpy as np


class Canvas:
    """Layers ``(layers, size, size)`` that shapes are gathered in, with a border for shapes that stick out.

    Args:
        size: side in pixels.
        layers: number of layers.
    """

    def __init__(self, size: int, layers: int) -> None:
        self.size, self.border = size, size // 8 + 8
        side = size + 2 * self.border
        self._cells = np.zeros((layers, side, side), dtype=np.float32)
        self._solid = np.zeros((side, side), dtype=bool)

    @property
    def layers(self) -> np.ndarray:
        """The layers ``(layers, size, size)``, a view."""
        inside = slice(self.border, self.border + self.size)
        return self._cells[:, inside, inside]

    @property
    def solid(self) -> np.ndarray:
        """Pixels inside a tube, ``(size, size)`` bool; a tube thinner than a pixel counts as one pixel wide."""
        inside = slice(self.border, self.border + self.size)
        return self._solid[inside, inside]

    def tubes(
        self, points: np.ndarray, radius: np.ndarray, amplitude: np.ndarray, layer: np.ndarray, reflex: np.ndarray
    ) -> None:
        """Draw tubes along polylines.

        Args:
            points: evenly spaced points ``(B, T, 2)``, x and y.
            radius: of the tube at every point ``(B, T)``; where it is 0 there is none.
            amplitude: value at the axis, ``(B, T)``.
            layer: number of the layer, ``(B,)``.
            reflex: share of the value lost on the axis, the bright streak of a wide artery, ``(B,)``.
        """
        points, radius = points.astype(np.float32), radius.astype(np.float32)
        amplitude, reflex = amplitude.astype(np.float32), reflex.astype(np.float32)
        branch, low, fraction = _along(points)
        high = low + 1
        start, end = points[branch, low], points[branch, high]
        where = start + fraction[:, None] * (end - start)
        r = radius[branch, low] * (1 - fraction) + radius[branch, high] * fraction
        keep = (r > 0) & (radius[branch, high] > 0)
        keep &= ((where > -self.border / 2) & (where < self.size - 1 + self.border / 2)).all(1)
        branch, low, where, r = branch[keep], low[keep], where[keep], r[keep]
        tangent = (end - start)[keep]
        tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-6)[:, None]
        value, shine = amplitude[branch, low], reflex[branch]
        extent = np.minimum(np.ceil(r + 1).astype(np.intp) - 1, self.border // 2)
        for half in np.unique(extent):
            m = extent == half
            dx, dy, flat = self._windows(where[m], np.full(int(m.sum()), half), layer[branch[m]])
            tx, ty = tangent[m, 0, None], tangent[m, 1, None]
            across = np.abs(dx * ty - dy * tx)
            rm = r[m, None]
            cover = np.clip(rm + np.float32(0.5) - across, 0, 1) * value[m, None]
            if half > 1:
                cover *= 1 - shine[m, None] * np.clip(np.float32(1.2) - across / (np.float32(0.5) * rm), 0, 1)
            beside = np.abs(dx * tx + dy * ty) <= np.maximum(rm, np.float32(1))
            cover *= beside
            beside &= across <= np.maximum(rm, np.float32(0.5))
            self._solid.reshape(-1)[flat[beside] % self._solid.size] = True
            np.maximum.at(self._cells.reshape(-1), flat.reshape(-1), cover.reshape(-1))

    def blobs(
        self,
        centre: np.ndarray,
        radii: np.ndarray,
        angle: np.ndarray,
        softness: np.ndarray,
        ruggedness: np.ndarray,
        amplitude: np.ndarray,
        layer: np.ndarray,
    ) -> None:
        """Draw ellipses with soft, uneven edges.

        Args:
            centre: ``(B, 2)``, x and y.
            radii: half axes ``(B, 2)``.
            angle: of the first axis, radians, ``(B,)``.
            softness: width of the edge as a share of the smaller half axis, ``(B,)``; never below a pixel.
            ruggedness: unevenness of the outline, two coefficients ``(B, 2)``.
            amplitude: value in the middle, ``(B,)``.
            layer: number of the layer, ``(B,)``.
        """
        edge = np.maximum(softness * radii.min(1), 1.0)
        reach = radii.max(1) * (1 + np.abs(ruggedness).sum(1)) + 0.5 * edge
        near = ((centre + reach[:, None] > 0) & (centre - reach[:, None] < self.size)).all(1)
        extent = np.clip(np.ceil(reach).astype(np.intp), 1, self.border)
        extent = np.where(extent > 4, -(-extent // 4) * 4, extent)
        near &= ((centre > 0) & (centre < self.size - 1)).all(1)
        for half in np.unique(extent[near]):
            m = near & (extent == half)
            dx, dy, flat = self._windows(centre[m], np.full(int(m.sum()), min(half, self.border)), layer[m])
            cos, sin = np.cos(angle[m])[:, None].astype(np.float32), np.sin(angle[m])[:, None].astype(np.float32)
            rx, ry = radii[m, 0, None].astype(np.float32), radii[m, 1, None].astype(np.float32)
            u, v = (dx * cos + dy * sin) / rx, (dy * cos - dx * sin) / ry
            square = u * u + v * v
            distance = np.sqrt(square)
            safe = np.maximum(square, 1e-6)
            two, three = (u * u - v * v) / safe, u * (u * u - 3 * v * v) / (safe * np.maximum(distance, 1e-3))
            a, b = ruggedness[m, 0, None].astype(np.float32), ruggedness[m, 1, None].astype(np.float32)
            gap = (1 + a * two + b * three - distance) * np.minimum(rx, ry)
            t = np.clip(gap / edge[m, None].astype(np.float32) + 0.5, 0, 1)
            cover = t * t * (3 - 2 * t) * amplitude[m, None].astype(np.float32)
            np.maximum.at(self._cells.reshape(-1), flat.reshape(-1), cover.reshape(-1))

    def _windows(
        self, where: np.ndarray, half: np.ndarray, layer: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from ``where (M, 2)`` of the pixels of its window, and their flat numbers, each ``(M, window)``."""
        side = self._cells.shape[-1]
        steps = np.arange(-int(half[0]), int(half[0]) + 1)
        oy, ox = np.repeat(steps, len(steps)), np.tile(steps, len(steps))
        pixel = np.rint(where).astype(np.intp)
        rest = (pixel - where).astype(np.float32)
        dx = rest[:, 0, None] + ox.astype(np.float32)
        dy = rest[:, 1, None] + oy.astype(np.float32)
        first = (layer * side + pixel[:, 1] + self.border) * side + pixel[:, 0] + self.border
        return dx, dy, first[:, None] + (oy * side + ox)


def _along(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """About one sample a pixel along every polyline: branch, point before, and share of the way to the next one."""
    steps = points.shape[1] - 1
    length = np.hypot(*np.moveaxis(np.diff(points, axis=1), -1, 0)).sum(1)
    count = np.maximum(np.ceil(length).astype(np.intp), 1) + 1
    branch = np.repeat(np.arange(len(points)), count)
    rank = np.arange(len(branch)) - np.repeat(np.cumsum(count) - count, count)
    place = rank * (steps / (count - 1))[branch]
    low = np.minimum(place.astype(np.intp), steps - 1)
    return branch, low, (place - low).astype(np.float32)
