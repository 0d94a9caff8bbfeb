"""Fundus phantoms: photographs of retinas that never were, with exact truth for every pixel, box and grade.

Nothing is learnt from real photographs; shapes, colours and counts follow anatomy and the clinical grades. They serve
to try a pipeline end to end, to test it and to measure it where no data may be shared; they are no evidence that a
method works on patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scantling.core.errors import DataError
from scantling.data.phantoms import optics
from scantling.data.phantoms.eyes import Eye, draw_eye
from scantling.data.phantoms.lattice import generator
from scantling.data.phantoms.lesions import BEFORE_VESSELS, IN_FRONT, KINDS, plan_lesions
from scantling.data.phantoms.paint import lesion_layers, paint_bleedings, paint_layer, pixel_boxes
from scantling.data.phantoms.retina import paint_disc, paint_fundus, to_pixels
from scantling.data.phantoms.splat import Canvas
from scantling.data.phantoms.textures import cut, texture_bank
from scantling.data.phantoms.vessels import Branches, grow_tree

SMALLEST = 32
"""Smallest side of an image, in pixels."""

_VIEW, _VESSELS, _RETINA, _LESIONS, _LIGHT, _QUALITY = range(10, 16)
_LESION_FROM = 0.3
_VEIN, _ARTERY = np.array([0.24, 0.66, 0.42]), np.array([0.10, 0.50, 0.36])


@dataclass(frozen=True)
class FundusBatch:
    """``N`` phantoms with their truth.

    Args:
        images: ``(N, H, W, 3)`` uint8.
        grade: diabetic retinopathy 0-4, ``(N,)`` int64.
        latent: severity as a standard normal variable, ``(N,)`` float64.
        vessel: mask of the vessels inside the field of view (new vessels are lesions, not in it), ``(N, H, W)`` bool.
        disc: mask of the optic disc, likewise.
        cup: mask of its cup, likewise.
        field_of_view: mask of the field of view, likewise.
        lesion: mask of the lesions, likewise; beads of a vein are no lesions of their own.
        boxes: ``(L, 5)`` int64 rows ``(position in the batch, left, top, right, bottom)``, right and bottom excluded.
        kinds: kind of every box, ``(L,)`` str, from :data:`scantling.data.phantoms.lesions.KINDS`.
        index: number of the image in the set, ``(N,)`` int64.
        patient: number of the patient, ``(N,)`` int64.
        laterality: ``left`` or ``right``, ``(N,)`` str.
        site: number of the site, ``(N,)`` int64.
        quality: ``good``, ``usable`` or ``reject``, ``(N,)`` str.
        degradation: what was done to it, names joined by ``+``, empty for good ones, ``(N,)`` str.
    """

    images: np.ndarray
    grade: np.ndarray
    latent: np.ndarray
    vessel: np.ndarray
    disc: np.ndarray
    cup: np.ndarray
    field_of_view: np.ndarray
    lesion: np.ndarray
    boxes: np.ndarray
    kinds: np.ndarray
    index: np.ndarray
    patient: np.ndarray
    laterality: np.ndarray
    site: np.ndarray
    quality: np.ndarray
    degradation: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def draw_fundus(
    count: int,
    size: int = 256,
    seed: int = 0,
    sites: int = 1,
    degraded: float = 0.0,
    start: int = 0,
    prior: str = "moderate",
) -> FundusBatch:
    """Draw the phantoms ``start`` to ``start + count - 1`` of the set ``seed``.

    An image depends on its number, the seed and the settings, and not on which others are drawn with it. Images
    ``2 p`` and ``2 p + 1`` are the right and the left eye of patient ``p``, whose severities correlate by 0.8.

    Args:
        count: number of images.
        size: side in pixels, at least 32.
        seed: number of the set, not negative.
        sites: number of sites, each with its own camera.
        degraded: share of the images with a fault of the photograph, in [0, 1]; the anatomy does not change with it.
        start: number of the first image.
        prior: shares of the grades: ``moderate`` (40/15/23/12/10 %), ``balanced`` or ``eyepacs`` (73/7/15/2/2 %).

    Raises:
        DataError: an option outside its range.

    >>> batch = draw_fundus(2, size=64)
    >>> batch.images.shape, batch.laterality.tolist(), len(set(batch.patient.tolist()))
    ((2, 64, 64, 3), ['right', 'left'], 1)
    """
    check_options(count, size, seed, sites, degraded, start)
    zoom = [optics.camera_of(s).zoom for s in range(sites)]
    return draw_eyes([draw_eye(seed, i, sites, prior, zoom) for i in range(start, start + count)], size, seed, degraded)


def draw_eyes(eyes: Sequence[Eye], size: int, seed: int = 0, degraded: float = 0.0) -> FundusBatch:
    """Photograph these eyes; see :func:`draw_fundus`."""
    count = len(eyes)
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    masks = np.empty((5, count, size, size), dtype=bool)
    boxes, kinds, faults, qualities = [], [], [], []
    for i, eye in enumerate(eyes):
        boxed, spoilt = _draw(eye, seed, degraded, images[i], masks[:, i])
        boxes.append(np.column_stack([np.full(len(boxed), i), boxed[:, 1:]]))
        kinds += [KINDS[k] for k in boxed[:, 0]]
        faults.append("+".join(spoilt))
        qualities.append(optics.quality_of(max(spoilt.values(), default=0.0)))
    vessel, disc, cup, field, lesion = masks
    return FundusBatch(
        images, np.array([e.grade for e in eyes], dtype=np.int64), np.array([e.latent for e in eyes]),
        vessel, disc, cup, field, lesion,
        np.concatenate(boxes).astype(np.int64) if boxes else np.zeros((0, 5), dtype=np.int64),
        np.array(kinds, dtype=str), np.array([e.index for e in eyes], dtype=np.int64),
        np.array([e.patient for e in eyes], dtype=np.int64), np.array([e.laterality for e in eyes], dtype=str),
        np.array([e.site for e in eyes], dtype=np.int64), np.array(qualities, dtype=str), np.array(faults, dtype=str),
    )  # fmt: skip


def check_options(count: int, size: int, seed: int, sites: int, degraded: float, start: int = 0) -> None:
    """Refuse options outside their range.

    Raises:
        DataError: names the option and its range.
    """
    for name, value, least in (
        ("number of images", count, 0), ("size", size, SMALLEST), ("seed", seed, 0), ("sites", sites, 1),
        ("start", start, 0),
    ):  # fmt: skip
        if value < least:
            raise DataError(f"{name} is {value}", do=f"give {least} or more")
    if not 0 <= degraded <= 1:
        raise DataError(f"degraded is {degraded}", do="give a share between 0 and 1")


def _draw(
    eye: Eye, seed: int, degraded: float, image: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Fill ``image (H, W, 3)`` and ``masks (5, H, W)``; return the boxes, and the faults with their strengths."""
    size, camera = image.shape[0], optics.camera_of(eye.site)
    view = optics.place_view(camera, size, generator(seed, _VIEW, eye.index))
    tree = grow_tree(eye, generator(seed, _VESSELS, eye.index))
    plan = plan_lesions(eye, tree, view.cut, generator(seed, _LESIONS, eye.index))
    rng = generator(seed, _RETINA, eye.index)
    light = paint_fundus(eye, view, size, rng)
    masks[1], masks[2] = paint_disc(light, eye, view, rng)
    drawn, layers = lesion_layers(plan, eye, view, size)
    for layer in BEFORE_VESSELS:
        paint_layer(light, layer, drawn, layers)
    masks[0] = _paint_vessels(light, tree, eye, view)
    for layer in IN_FRONT:
        paint_layer(light, layer, drawn, layers)
    masks[4] = paint_bleedings(light, plan, eye, view, rng) > _LESION_FROM
    masks[4] |= (layers[sorted(drawn)] > _LESION_FROM).any(0)
    _light_up(light, camera, view, generator(seed, _LIGHT, eye.index))
    light = np.exp(light, out=light)
    faults = _spoil(light, degraded, view, generator(seed, _QUALITY, eye.index))
    cover = optics.field_of_view(view, size)
    masks[3] = cover >= 0.5
    masks[:3] &= masks[3]
    masks[4] &= masks[3]
    blur = float(np.hypot(camera.blur, optics.blur_of(faults))) * view.radius
    _expose(image, light, cover, camera, blur, generator(seed, _LIGHT, eye.index, 1))
    return pixel_boxes(plan, eye, view), faults


def _paint_vessels(light: np.ndarray, tree: list[Branches], eye: Eye, view: optics.View) -> np.ndarray:
    """Absorb light in the vessels; return their mask ``(H, W)`` bool."""
    canvas = Canvas(light.shape[-1], 2)
    for order in tree:
        radius = order.radius * view.radius
        points = to_pixels(order.points, eye, view)
        strength = np.clip(0.35 + 0.65 * order.radius / (0.013 * eye.span / 0.69), 0, 1.1)
        strength = strength * np.clip(radius / 0.5, 0.25, 1)
        layer = np.where(order.vein, 0, 1)
        canvas.tubes(points, radius, strength, layer, np.where(order.vein, 0.12, 0.45))
    vein, artery = canvas.layers
    for c in range(3):
        light[c] -= np.float32(_VEIN[c]) * vein
        light[c] -= np.float32(_ARTERY[c]) * artery
    return canvas.solid


def _light_up(light: np.ndarray, camera: optics.Camera, view: optics.View, rng: np.random.Generator) -> None:
    """The camera's colours, the fall-off of its light, and what varies from one flash to the next."""
    size = light.shape[-1]
    axis = np.arange(size, dtype=np.float32)
    x, y = (axis - view.x)[None, :] / view.radius, (axis - view.y)[:, None] / view.radius
    lean = rng.normal(0, 0.09, 2)
    square = x * x + y * y
    shade = square * np.float32(0.5 * np.log(1 - camera.vignette)) + square * square * np.float32(
        0.5 * np.log(1 - camera.vignette)
    )
    shade += np.float32(lean[0]) * x + np.float32(lean[1]) * y
    flash = rng.normal(0, (0.03, 0.05, 0.10)) + rng.normal(0, 0.10)
    rim = rng.uniform(0.15, 0.5) if rng.random() < 0.15 else 0.0
    glare = np.exp(np.minimum(np.sqrt(square) - 1, 0) * np.float32(9)) if rim else None
    for c in range(3):
        plane = light[c]
        plane += shade
        plane += np.float32(np.log(camera.gain[c]) + flash[c])
        if camera.contrast != 1:
            plane *= np.float32(camera.contrast)
            plane += np.float32((1 - camera.contrast) * np.log(0.4))
        if glare is not None:
            plane += np.float32(rim * (0.5, 1.0, 1.6)[c]) * glare


def _spoil(light: np.ndarray, degraded: float, view: optics.View, rng: np.random.Generator) -> dict[str, float]:
    """Degrade a share of the photographs; return the faults with their strengths."""
    if rng.random() >= degraded:
        return {}
    faults = optics.choose_faults(rng)
    for name, strength in faults.items():
        cloud = cut(texture_bank(light.shape[-1])["cloud"], light.shape[-1], rng)
        optics.degrade_light(light, name, strength, cloud, view, rng)
    return faults


def _expose(
    image: np.ndarray,
    light: np.ndarray,
    cover: np.ndarray,
    camera: optics.Camera,
    blur: float,
    rng: np.random.Generator,
) -> None:
    """Write ``light (3, H, W)`` as 8-bit ``image (H, W, 3)``: sensor range, blur, noise, black surround."""
    size = image.shape[0]
    np.minimum(light, 1.0, out=light)
    light *= 255
    sharp = np.ascontiguousarray(light.astype(np.uint8).transpose(1, 2, 0))
    soft = optics.blurred(sharp, blur).astype(np.float32)
    soft += np.float32(255 * camera.noise) * cut(texture_bank(size)["grain"], size, rng)
    soft *= cover[..., None]
    soft += np.array([3, 2, 3], dtype=np.float32)
    np.clip(soft, 0, 255, out=soft)
    image[:] = soft
