"""Dermoscopy phantoms: photographs of skin lesions that never were, with exact masks, classes and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scantling.core.errors import DataError
from scantling.data.phantoms import optics
from scantling.data.phantoms.folder import check_fractions, check_least
from scantling.data.phantoms.lattice import generator, split_of
from scantling.data.phantoms.patterns import CELLS, clouds, honeycomb, read, step
from scantling.data.phantoms.skin import dermatoscope as ds
from scantling.data.phantoms.skin.lesions import (
    CLASSES,
    TRAITS,
    Balanced,
    Lesion,
    draw_lesion,
    labels_of,
    lesion_of,
    patient_of,
)
from scantling.data.phantoms.skin.paint import View, paint_lesion
from scantling.data.phantoms.textures import cut, texture_bank

SMALLEST = 32
"""Smallest side of an image, in pixels."""

_VIEW, _SKIN, _LIGHT, _ARTEFACTS, _NOISE = range(40, 45)
_FAIR, _DARK = np.log([0.97, 0.77, 0.72]), np.log([0.56, 0.38, 0.30])
_FLUSH = np.array([0.02, 0.13, 0.08])


@dataclass(frozen=True)
class SkinBatch:
    """``N`` phantoms with their truth.

    Args:
        images: ``(N, H, W, 3)`` uint8.
        label: class, a position in :data:`CLASSES`, ``(N,)`` int64.
        mask: the lesion, as far as the frame shows it, ``(N, H, W)`` bool.
        field_of_view: what the frame shows, likewise.
        index: number of the image in the set, ``(N,)`` int64.
        lesion: number of the lesion, ``(N,)`` int64.
        patient: number of the patient, ``(N,)`` int64.
        site: number of the site, ``(N,)`` int64.
        split: ``train``, ``val`` or ``test``, ``(N,)`` str.
        attributes: dermoscopic patterns of the lesion, names joined by ``+``, ``(N,)`` str.
        artefacts: what else the picture shows, likewise.
    """

    images: np.ndarray
    label: np.ndarray
    mask: np.ndarray
    field_of_view: np.ndarray
    index: np.ndarray
    lesion: np.ndarray
    patient: np.ndarray
    site: np.ndarray
    split: np.ndarray
    attributes: np.ndarray
    artefacts: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def draw_skin(
    count: int,
    size: int = 256,
    seed: int = 0,
    classes: int = len(CLASSES),
    imbalance: float = 100.0,
    sites: int = 1,
    balanced: Balanced = "both",
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    start: int = 0,
    lesions: bool = True,
) -> SkinBatch:
    """Draw the phantoms ``start`` to ``start + count - 1`` of the set ``seed``.

    An image depends on its number, the seed and the settings, and not on which others are drawn with it. Every 12
    images show 8 lesions of 6 patients; lesions of a patient share skin, site and split.

    Args:
        count: number of images.
        size: side in pixels, at least 32.
        seed: number of the set, not negative.
        classes: number of classes, the first of :data:`CLASSES`, 2 to 7.
        imbalance: how many times as frequent the first class is as the last; the others lie between on an exponential.
        sites: number of sites, each with its own dermatoscope.
        balanced: splits whose classes are equally frequent whatever ``imbalance``: the ``test`` split, ``both`` val and
            test, or ``none``.
        fractions: shares of train, val and test, by patient.
        start: number of the first image.
        lesions: whether to draw the lesions; without them, the same skin under the same light.

    Raises:
        DataError: an option outside its range.

    >>> batch = draw_skin(4, size=64)
    >>> batch.images.shape, batch.lesion.tolist(), batch.patient.tolist()
    ((4, 64, 64, 3), [0, 1, 1, 2], [0, 1, 1, 2])
    """
    check_options(count, size, seed, classes, imbalance, sites, balanced, start)
    check_fractions(fractions)
    places = [lesion_of(i) for i in range(start, start + count)]
    labels = labels_of(seed, places[-1] + 1 if places else 0, classes, imbalance, balanced, fractions)
    drawn = {
        n: draw_lesion(seed, n, int(labels[n]), split_of(seed, patient_of(n), fractions), sites) for n in set(places)
    }
    found = [drawn[n] for n in places]
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    masks = np.empty((2, count, size, size), dtype=bool)
    artefacts = [_draw(lesion, seed, start + i, lesions, images[i], masks[:, i]) for i, lesion in enumerate(found)]
    return SkinBatch(
        images, np.array([x.label for x in found], dtype=np.int64), masks[0], masks[1],
        np.arange(start, start + count), np.array([x.number for x in found], dtype=np.int64),
        np.array([x.patient for x in found], dtype=np.int64), np.array([x.site for x in found], dtype=np.int64),
        np.array([x.split for x in found], dtype=str), np.array([x.attributes for x in found], dtype=str),
        np.array(artefacts, dtype=str),
    )  # fmt: skip


def check_options(
    count: int, size: int, seed: int, classes: int, imbalance: float, sites: int, balanced: str, start: int = 0
) -> None:
    """Refuse options outside their range.

    Raises:
        DataError: names the option and its range.
    """
    check_least(
        count=(count, 0), size=(size, SMALLEST), seed=(seed, 0), classes=(classes, 2), imbalance=(imbalance, 1),
        sites=(sites, 1), start=(start, 0),
    )  # fmt: skip
    if classes > len(CLASSES):
        raise DataError(f"classes is {classes}", do=f"give 2 to {len(CLASSES)}")
    if balanced not in ("none", "test", "both"):
        raise DataError(f"balanced is '{balanced}'", do="use none, test or both")


def _draw(lesion: Lesion, seed: int, index: int, drawn: bool, image: np.ndarray, masks: np.ndarray) -> str:
    """Fill ``image (H, W, 3)`` and ``masks (2, H, W)``; return the names of the artefacts."""
    size, device = image.shape[0], ds.device_of(lesion.site)
    light = _skin(lesion, size, device.zoom, generator(seed, _SKIN, index))
    view = _view(lesion, device, size, generator(seed, _VIEW, index))
    mask = paint_lesion(light, lesion, seed, view) if drawn else np.zeros((size, size), dtype=bool)
    rng = generator(seed, _ARTEFACTS, index)
    artefacts = ds.choose_artefacts(device, lesion.hair, rng)
    ds.paint_artefacts(light, artefacts, lesion.hair, rng)
    _light_up(light, device, generator(seed, _LIGHT, index))
    cover = ds.frame_cover(size, "frame" in artefacts, rng)
    masks[1] = cover >= 0.5
    masks[0] = mask & masks[1]
    _expose(image, np.exp(light, out=light), cover, device, generator(seed, _NOISE, index))
    return "+".join(artefacts)


def _view(lesion: Lesion, device: ds.Dermatoscope, size: int, rng: np.random.Generator) -> View:
    """Where a picture shows the lesion: nearly in the middle, turned any way."""
    scale = lesion.traits[TRAITS.index("radius")] * device.zoom * float(rng.uniform(0.88, 1.14)) * size
    x, y = size / 2 + rng.normal(0, 0.055, 2) * size
    return View(float(x), float(y), float(min(scale, 0.85 * size) / 1.35), float(rng.uniform(0, 2 * np.pi)))


def _skin(lesion: Lesion, size: int, zoom: float, rng: np.random.Generator) -> np.ndarray:
    """Logarithm of the light ``(3, size, size)`` that bare skin sends back: tone, blotches, furrows, pores."""
    bank = texture_bank(size)
    tone = _FAIR + lesion.pigment * (_DARK - _FAIR) - lesion.flush * _FLUSH + rng.normal(0, (0.01, 0.02, 0.025))
    cloud, mottle = cut(bank["cloud"], size, rng), cut(bank["mottle"], size, rng)
    axis = (np.arange(size, dtype=np.float32) - size / 2) * np.float32(1 / size)
    cells = float(rng.uniform(15, 22)) / zoom
    x, y = np.broadcast_to(axis[None, :], (size, size)), np.broadcast_to(axis[:, None], (size, size))
    wall, middle, own = read(
        honeycomb(), x * np.float32(cells / CELLS), y * np.float32(cells / CELLS), rng.uniform(0, 6.3), rng.random(2)
    )
    furrows = step(wall, 0.16, 0.02) * np.float32(rng.uniform(0.02, 0.07))
    pores = step(middle, 0.30, 0.08) * (own < 0.25) * np.float32(rng.uniform(0.0, 0.10))
    light = np.empty((3, size, size), dtype=np.float32)
    for c, (red, depth) in enumerate(zip(_FLUSH, (0.6, 1.0, 1.1), strict=True)):
        light[c] = np.float32(tone[c]) + np.float32(2.2 * red / 3) * mottle * np.float32(0.18 + 0.25 * lesion.flush)
        light[c] += np.float32(0.020) * cloud - np.float32(depth) * (furrows + pores)
    return light


def _light_up(light: np.ndarray, device: ds.Dermatoscope, rng: np.random.Generator) -> None:
    """The device's colours, the fall-off of its light, reflections, and what varies from one picture to the next."""
    size = light.shape[-1]
    axis = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(2 / size)
    x, y = axis[None, :], axis[:, None]
    lean = rng.normal(0, 0.05, 2)
    shade = (x * x + y * y) * np.float32(0.5 * np.log(1 - device.vignette)) + np.float32(lean[0]) * x
    shade = shade + np.float32(lean[1]) * y + np.float32(0.04)
    if device.shine:
        spots = read(clouds(), x * np.float32(0.5), y * np.float32(0.5), 0.0, rng.random(2))[1]
        shade = shade + np.float32(0.25 * device.shine) * step(spots, 1.6, 3.2)
    flash = rng.normal(0, (0.02, 0.03, 0.04)) + rng.normal(0, 0.07)
    for c in range(3):
        light[c] += shade + np.float32(np.log(device.gain[c]) + flash[c])


def _expose(
    image: np.ndarray, light: np.ndarray, cover: np.ndarray, device: ds.Dermatoscope, rng: np.random.Generator
) -> None:
    """Write ``light (3, H, W)`` as 8-bit ``image (H, W, 3)``: sensor range, blur, noise, black frame."""
    size = image.shape[0]
    np.minimum(light, 1.0, out=light)
    light *= 255
    sharp = np.ascontiguousarray(light.astype(np.uint8).transpose(1, 2, 0))
    soft = optics.blurred(sharp, device.blur * size * float(rng.uniform(0.8, 1.6))).astype(np.float32)
    soft += np.float32(255 * device.noise) * cut(texture_bank(size)["grain"], size, rng)
    soft *= cover[..., None]
    soft += 4 * (1 - cover[..., None])
    np.clip(soft, 0, 255, out=soft)
    image[:] = soft
