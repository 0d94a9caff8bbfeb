"""Operations with values on whole batches: every image its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scantling.augment.operations import (
    ALL,
    DRAWS,
    GEOMETRIC,
    OPERATIONS,
    Geometric,
    Operation,
    Pointwise,
    Spatial,
    Statistical,
)
from scantling.augment.operations.geometric import resample
from scantling.augment.operations.tables import identity_tables, look_up
from scantling.augment.parallel import in_parts
from scantling.augment.policy.framing import Frame
from scantling.core.errors import RecipeError

NOTHING = -1
"""In place of an operation: the image is left as it is."""


@dataclass(frozen=True)
class Drawn:
    """What is done to each image of a batch, on the CPU.

    Args:
        space: names of operations.
        operations: indices into ``space``, ``(B, L)`` int64, -1 for none; applied in order of the second dimension.
        values: of the operations, ``(B, L)`` float64.
        uniform: random numbers in [0, 1) for the operations that need them, ``(B, L, DRAWS)`` float64.
    """

    space: tuple[str, ...]
    operations: Tensor
    values: Tensor
    uniform: Tensor

    @classmethod
    def from_magnitudes(
        cls, operations: Tensor, magnitudes: Tensor, generator: torch.Generator, space: Sequence[str] = OPERATIONS
    ) -> Drawn:
        """Of operations and magnitudes, ``(B, L)`` int64 each; magnitudes are from 0 to 9."""
        operations, magnitudes = operations.cpu(), magnitudes.cpu()
        uniform = uniform_numbers((*operations.shape, DRAWS), generator)
        values = _by_operation(space, operations, lambda kind, chosen: kind.value(magnitudes[chosen]))
        return cls(tuple(space), operations, values, uniform)

    @classmethod
    def from_levels(cls, operations: Tensor, levels: Tensor, generator: torch.Generator, space: Sequence[str]) -> Drawn:
        """Of operations and how strong they are, ``(B, L)`` in [0, 1]; 0 changes nothing."""
        uniform = uniform_numbers((*operations.shape, DRAWS + 1), generator)
        sides = uniform[..., DRAWS]
        values = _by_operation(space, operations, lambda kind, chosen: kind.stronger(levels[chosen], sides[chosen]))
        return cls(tuple(space), operations, values, uniform[..., :DRAWS])


def apply_codes(
    images: Tensor,
    operations: Tensor,
    magnitudes: Tensor,
    generator: torch.Generator,
    space: Sequence[str] = OPERATIONS,
) -> Tensor:
    """Images after their operations, each image its own; no mask is needed, as none of these moves a pixel.

    Args:
        images: ``(B, C, H, W)``, float in [0, 1] or uint8, of 1 or 3 channels.
        operations: indices into ``space``, ``(B, L)`` int64; applied in order of the second dimension.
        magnitudes: ``(B, L)`` int64, from 0 to 9.
        generator: on the CPU.
        space: names of the operations; none that moves pixels.

    Returns:
        ``(B, C, H, W)`` float32 in [0, 1], multiples of 1/255.

    Raises:
        RecipeError: the space has operations that move pixels.

    >>> images = torch.tensor([[[[0.2, 1.0]]]]).expand(2, 1, 1, 2)
    >>> codes = torch.tensor([[OPERATIONS.index("invert")], [OPERATIONS.index("auto_contrast")]])
    >>> found = apply_codes(images, codes, torch.zeros_like(codes), torch.Generator())
    >>> [[round(v, 2) for v in row] for row in found.flatten(1).tolist()]
    [[0.8, 0.0], [0.0, 1.0]]
    """
    moving = sorted(GEOMETRIC.intersection(space))
    if moving:
        raise RecipeError(f"{', '.join(moving)} would move masks", where="space", do="use apply_drawn")
    return apply_drawn(images, {}, Drawn.from_magnitudes(operations, magnitudes, generator, space))[0]


def apply_drawn(
    images: Tensor, moved: Mapping[str, Tensor], drawn: Drawn, frame: Frame | None = None, out: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Images after their operations, with masks and maps, seen through a frame.

    Operations work on 8-bit values. Those that give each value a new one are composed to tables, and a table is looked
    up only when an operation needs the pixels.

    Args:
        images: ``(B, C, H, W)``, float in [0, 1] or uint8.
        moved: classes ``(B, H, W)`` int64, and maps ``(B, 1, H, W)`` uint8 or float, by name.
        drawn: the operations.
        frame: what is cut out afterwards; left out, all of it.
        out: the result's memory, ``(B, C, H', W')`` float32.

    Returns:
        Images ``(B, C, H', W')`` float32 in [0, 1], and the fields, which are the given tensors where nothing moves.
    """
    size = images.shape[-2:] if frame is None else frame.size
    pixels = torch.empty((*images.shape[:2], *size), device=images.device) if out is None else out
    steps = drawn.operations.numpy()
    moving = bool(np.isin(steps, [i for i, n in enumerate(drawn.space) if n in GEOMETRIC]).any())
    moves = moving or frame is not None
    fields = dict(moved)
    if moves:
        fields = {k: torch.empty((*v.shape[:-2], *size), dtype=v.dtype, device=v.device) for k, v in moved.items()}

    def work(part: slice) -> None:
        mine = {k: v[part].clone() if moving else v[part] for k, v in moved.items()} if moves else {}
        some = _Some(_bytes(images[part]), mine, None if frame is None else frame[part])
        for place in range(steps.shape[1]):
            ahead = [ALL[drawn.space[code]] for code in np.unique(steps[part, place:]) if code != NOTHING]
            some.narrow(ahead, steps.shape[1] - place)
            for code in np.unique(steps[part, place]):
                if code != NOTHING:
                    rows = (steps[part, place] == code).nonzero()[0]
                    values, uniform = drawn.values[part, place], drawn.uniform[part, place]
                    some.apply(ALL[drawn.space[code]], rows, values[rows], uniform[rows])
        some.narrow([], 0)
        some.settle()
        if some.frame is None:
            pixels[part].copy_(some.pixels).div_(255)
        else:
            pixels[part], some.fields = some.seen(some.frame)
        for name, field in some.fields.items():
            fields[name][part] = field

    in_parts(images, work)
    return pixels, fields


class _Some:
    """A few images on their way, with tables that are still to be looked up.

    Args:
        pixels: ``(n, C, H, W)`` uint8, to be changed.
        fields: what moves with them.
        frame: what is cut out at the end.
    """

    def __init__(self, pixels: Tensor, fields: dict[str, Tensor], frame: Frame | None) -> None:
        self.pixels, self.fields, self.frame = pixels, fields, frame
        self.tables = identity_tables(len(pixels), pixels.shape[1], pixels.device)
        self.waiting = np.zeros(len(pixels), dtype=bool)

    def apply(self, operation: Operation, rows: np.ndarray, values: Tensor, uniform: Tensor) -> None:
        """Do one operation to some images, ``rows (n,)``, with their values ``(n,)`` and numbers ``(n, DRAWS)``."""
        if operation.mirrored:
            values = torch.where(uniform[:, -1] < 0.5, -values, values)
        at = None if len(rows) == len(self.pixels) else torch.from_numpy(rows).to(self.pixels.device)
        if isinstance(operation, Pointwise):
            self.tables = _put(self.tables, at, operation.compute(_take(self.tables, at), values, uniform))
            self.waiting[rows] = True
            return
        self.settle(rows)
        some = _take(self.pixels, at)
        if isinstance(operation, Statistical):
            self.tables = _put(self.tables, at, operation.compute(some, values))
            self.waiting[rows] = True
        elif isinstance(operation, Spatial):
            self.pixels = _put(self.pixels, at, operation(some, values, uniform))
        elif isinstance(operation, Geometric):
            maps = operation.compute(values.numpy(), (some.shape[-2], some.shape[-1]))
            found, moved = resample(some, {k: _take(v, at) for k, v in self.fields.items()}, maps)
            self.pixels = _put(self.pixels, at, found)
            self.fields = {k: _put(v, at, moved[k]) for k, v in self.fields.items()}

    def settle(self, rows: np.ndarray | None = None) -> None:
        """Look up the tables that wait, of some images or of all."""
        asked = np.ones_like(self.waiting) if rows is None else np.isin(np.arange(len(self.waiting)), rows)
        due = (self.waiting & asked).nonzero()[0]
        if not len(due):
            return
        at = None if len(due) == len(self.pixels) else torch.from_numpy(due).to(self.pixels.device)
        tables = _take(self.tables, at)
        self.pixels = _put(self.pixels, at, look_up(_take(self.pixels, at), tables))
        self.tables = _put(self.tables, at, identity_tables(len(due), tables.shape[1], tables.device))
        self.waiting[due] = False

    def narrow(self, ahead: Sequence[Operation], steps: int) -> None:
        """Keep only the window that the frame shows, when the operations ahead need no more than their surroundings."""
        reaches = [o.reach if isinstance(o, Spatial) else 0 for o in ahead if not isinstance(o, Pointwise)]
        alone = all(isinstance(o, (Pointwise, Spatial)) for o in ahead)
        if self.frame is None or not alone or any(r is None for r in reaches):
            return
        margin = steps * max((r for r in reaches if r is not None), default=0)
        rows, columns = self.frame.window((self.pixels.shape[-2], self.pixels.shape[-1]), margin)
        self.pixels = self.pixels[..., rows, columns]
        self.fields = {name: field[..., rows, columns] for name, field in self.fields.items()}
        self.frame = self.frame.within(rows, columns)

    def seen(self, frame: Frame) -> tuple[Tensor, dict[str, Tensor]]:
        """Images as float32 in [0, 1] and fields, ``(n, ..., *frame.size)``, through a frame."""
        found, fields = resample(self.pixels.float(), self.fields, frame.maps, frame.size, frame.shifts)
        return found.div_(255), fields


def uniform_numbers(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Numbers in [0, 1), float64, on the CPU, whatever the generator's device."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device, dtype=torch.float64).cpu()


def _by_operation(space: Sequence[str], operations: Tensor, value: Callable[[Operation, Tensor], Tensor]) -> Tensor:
    """``value(operation, chosen)`` for every operation of the space, where it was chosen; elsewhere 0."""
    values = torch.zeros(operations.shape, dtype=torch.float64)
    for code, name in enumerate(space):
        chosen = operations == code
        values[chosen] = value(ALL[name], chosen)
    return values


def _bytes(images: Tensor) -> Tensor:
    """As uint8; a copy, but for a single image, which is only ever replaced as a whole."""
    if images.dtype == torch.uint8:
        return images.clone() if len(images) > 1 else images
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _take(tensor: Tensor, at: Tensor | None) -> Tensor:
    return tensor if at is None else tensor[at]


def _put(tensor: Tensor, at: Tensor | None, new: Tensor) -> Tensor:
    """``tensor`` with new rows; the new ones themselves where they are all."""
    if at is None:
        return new
    tensor[at] = new
    return tensor
