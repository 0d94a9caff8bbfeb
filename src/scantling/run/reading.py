"""Images of a list as a network sees them, in batches, read by threads ahead of the network."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE
from scantling.core.errors import DataError
from scantling.data.readers import read_picture

if TYPE_CHECKING:
    from scantling.data.placement import Placement
    from scantling.data.preprocess import Preprocess
    from scantling.data.references import Source
    from scantling.run.listing import Listed


@dataclass(frozen=True)
class Seen:
    """One image, preprocessed.

    Args:
        number: its position in the list.
        image: ``(C, H, W)`` uint8.
        fellow: the other eye, likewise.
        placement: the way back to the original, where asked for.
        looks: further looks at the image, by batch field, ``(C, h, w)`` uint8 each.
    """

    number: int
    image: Tensor
    fellow: Tensor | None
    placement: Placement | None
    looks: Mapping[str, Tensor] = field(default_factory=dict)


def read_batches(
    listed: Sequence[Listed],
    numbers: Sequence[int],
    preprocess: Preprocess,
    size: int,
    workers: int,
    placements: bool = False,
    looks: Mapping[str, Preprocess] | None = None,
) -> Iterator[tuple[list[Seen], dict[int, str]]]:
    """Batches in the order of ``numbers``, and with each the images that could not be read on the way to it, and why.

    Args:
        listed: all images.
        numbers: positions in the list to read.
        preprocess: what is done to them.
        size: images a batch; the last one may have fewer, or none.
        workers: threads; not many more images than a batch are in memory at a time.
        placements: give the way back to the original.
        looks: how the file becomes further batch fields.
    """

    def see(number: int) -> Seen | str:
        one = listed[number]
        try:
            picture = read_picture(Path(one.source.path), one.source.part, one.source.frame)
            image = torch.from_numpy(preprocess.apply(picture)[0])
            placement = preprocess.placement(picture) if placements else None
            more = {name: torch.from_numpy(way.apply(picture)[0]) for name, way in (looks or {}).items()}
        except DataError as error:
            return _reason(error, one.source, one.name)
        try:
            return Seen(number, image, None if one.fellow is None else fellow(one.fellow), placement, more)
        except DataError as error:
            return "the fellow eye: " + _reason(error, one.fellow or one.source, "file")

    def fellow(source: Source) -> Tensor:
        picture = read_picture(Path(source.path), source.part, source.frame)
        return torch.from_numpy(preprocess.apply(picture)[0])

    batch: list[Seen] = []
    failed: dict[int, str] = {}
    waiting: deque[tuple[int, Future[Seen | str]]] = deque()
    coming = iter(numbers)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            while True:
                while len(waiting) < size + 2 * workers and (number := next(coming, None)) is not None:
                    waiting.append((number, pool.submit(see, number)))
                if not waiting:
                    break
                number, future = waiting.popleft()
                seen = future.result()
                if isinstance(seen, Seen):
                    batch.append(seen)
                else:
                    failed[number] = seen
                if len(batch) == size:
                    yield batch, failed
                    batch, failed = [], {}
        finally:
            for _, future in waiting:
                future.cancel()
    yield batch, failed


def as_batch(seen: Sequence[Seen], pairs: bool) -> TensorDict:
    """What a network reads: ``image``, its further looks and, for pairs, ``fellow_image`` and ``fellow_present``."""
    batch = TensorDict({IMAGE: torch.stack([s.image for s in seen])}, batch_size=[len(seen)])
    for name in seen[0].looks:
        batch[name] = torch.stack([s.looks[name] for s in seen])
    if pairs:
        batch[FELLOW_IMAGE] = torch.stack([s.image if s.fellow is None else s.fellow for s in seen])
        batch[FELLOW_PRESENT] = torch.tensor([s.fellow is not None for s in seen])
    return batch


def _reason(error: DataError, source: Source, name: str) -> str:
    """What is wrong with an image, by its name in the table and not by its place on this machine."""
    text = error.what
    for path in (os.path.realpath(source.path), source.path):
        text = text.replace(path, name)
    return text
