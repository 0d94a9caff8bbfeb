"""Putting lesions into images one over the other: all pixels of all lesions of all images at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import IMAGE, LABEL, MASK, SYNTHETIC
from scantling.core.recycling import Recycler

if TYPE_CHECKING:
    from tensordict import TensorDict


@dataclass(frozen=True)
class Spots:
    """Pixels to be laid over images, in the order in which they are laid.

    Args:
        image: which image, ``(P,)`` int64.
        y: its row, ``(P,)`` int64.
        x: its column, ``(P,)`` int64.
        value: what is laid there, ``(P, C)`` float in [0, 1].
        weight: of the value against what lies there already, ``(P,)`` in [0, 1].
        kind: what it is, from 1, ``(P,)`` int64.
    """

    image: Tensor
    y: Tensor
    x: Tensor
    value: Tensor
    weight: Tensor
    kind: Tensor

    def __getitem__(self, at: Tensor) -> Spots:
        return Spots(self.image[at], self.y[at], self.x[at], self.value[at], self.weight[at], self.kind[at])


def compose(images: Tensor, spots: Spots, memory: Recycler | None = None) -> tuple[Tensor, Tensor]:
    """Lay spots over images: ``I <- weight * value + (1 - weight) * I``, later ones over earlier ones.

    Pixels are laid in layers: first the lowest of every pixel, then the next one there, and so on. So the result is
    that of pasting lesion after lesion, with as many steps as there are lesions over the busiest pixel.

    Args:
        images: ``(B, C, H, W)`` float.
        spots: pixels inside the images.
        memory: for the results on a CPU, where many batches follow each other.

    Returns:
        Images of the same shape; pixels without a spot keep their exact values. And ``(B, H, W)`` int64: the kind of
        the uppermost spot, 0 without one.

    Source: Huang et al. 2022, arXiv 2203.06354 (mixing of patch and image under the lesion's mask).
    """
    count, _, height, width = images.shape
    if memory is None or images.device.type != "cpu":
        out = images.clone()
        kinds = torch.zeros(count, height, width, dtype=torch.int64, device=images.device)
    else:
        out = memory.empty(images.shape, images.dtype).copy_(images)
        kinds = memory.empty((count, height, width), torch.int64).zero_()
    if not len(spots.image):
        return out, kinds
    place = (spots.image * height + spots.y) * width + spots.x
    ordered, order = place.sort(stable=True)
    number = torch.arange(len(place), device=place.device)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    layer = number - torch.where(new, number, 0).cummax(0).values
    for depth in range(int(layer.max()) + 1):
        top = spots[order[layer == depth]]
        there = out[top.image, :, top.y, top.x]
        out[top.image, :, top.y, top.x] = torch.lerp(there, top.value.to(out), top.weight[:, None].to(out))
        kinds[top.image, top.y, top.x] = top.kind
    return out, kinds


def values_at(images: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values ``(P, C)`` of ``images (B, C, H, W)`` at rows ``y`` and columns ``x`` ``(P,)``, bilinear.

    Places between the centres of pixels; beyond the border its pixels are repeated.
    """
    height, width = images.shape[-2:]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = (y - top)[:, None].to(images), (x - left)[:, None].to(images)
    upper = torch.lerp(images[image, :, top, left], images[image, :, top, right], across)
    lower = torch.lerp(images[image, :, bottom, left], images[image, :, bottom, right], across)
    return torch.lerp(upper, lower, down)


def as_abnormal(batch: TensorDict, spots: Spots, memory: Recycler | None = None) -> TensorDict:
    """The batch with the spots: ``label`` 1 where anything was laid, ``mask`` what, ``synthetic`` True."""
    out = batch.clone(recurse=False)
    out[IMAGE], out[MASK] = compose(batch[IMAGE], spots, memory)
    device = out[IMAGE].device
    out[LABEL] = torch.zeros(len(batch), dtype=torch.int64, device=device).index_fill_(0, spots.image, 1)
    out[SYNTHETIC] = torch.ones(len(batch), dtype=torch.bool, device=device)
    return out
