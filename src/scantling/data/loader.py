"""The loader: rows in, batches out, one read a field and batch, the next batch prepared while one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE, INDEX, LABEL, MASK, WEIGHT
from scantling.core.errors import RecipeError
from scantling.core.target import MISSING_INDEX
from scantling.data.images import Held, ImageSource
from scantling.data.joined import Joined, mirrored
from scantling.data.preprocess import UNKNOWN
from scantling.data.samplers import Even, Sampler, class_counts, epoch_order, one_of_each, rank_share

T = TypeVar("T")

PARTNERS = 0x5EED
"""Added to the seed of a run for the order of the partners, which has nothing in common with the first order."""


class Loader:
    """Batches of some rows of a data set, epoch after epoch.

    A batch is a ``TensorDict`` of batch size ``[B]`` with ``index`` (row of the manifest), ``label`` where labels are
    given, and the fields of the data: ``image`` uint8 ``(B, C, H, W)``, ``mask`` int64 ``(B, H, W)`` with -1 where
    unknown, derived fields as they are; where these were derived from mirrored forms of the images, too, a training
    batch shows each image in one of its forms, drawn anew in every epoch. With ``fellows`` it has ``fellow_image`` and
    ``fellow_present``; an eye without a fellow is its own, marked False. With ``weights`` it has ``weight``.

    Which rows a batch holds depends on the seed, the epoch and the step alone: a run goes on at any step with
    :meth:`start_at`, and with several ranks each takes its share of the same order. In training (every sampler but
    ``sequential``) all ranks give the same number of batches; in evaluation no row comes twice.

    Args:
        data: images of all rows of a manifest: a :class:`Store`, a :class:`Direct` or a ``TensorDict``.
        rows: the rows to visit, ``(n,)`` int64: a split.
        batch_size: images a batch, on each rank.
        sampler: see :func:`scantling.data.samplers.epoch_order`.
        seed: of the order.
        labels: of all rows of the manifest, ``(N,)`` int64 or ``(N, K)`` float.
        fellows: row of the other eye of every row of the manifest, ``(N,)`` int64, -1 where there is none.
        weights: of every row of the manifest in the loss, ``(N,)`` float.
        fields: fields of the data to give; None for all.
        decay: of the sampler ``progressive``.
        power: of the sampler ``power``.
        beta: of the sampler ``effective_number``.
        rank: number of this process.
        world_size: number of processes.
        drop_last: leave out the last batch when it is smaller than the others.
        prefetch: batches prepared ahead in a thread; 0 for none.
        pin_memory: put batches into page-locked memory, for a faster way to a GPU; ignored without one.
        partners: a second sampler, whose rows follow those of the first in a batch of twice as many rows; for mixers.
        groups: of all rows of the manifest, ``(N,)`` int64, 0 ... K-1: every index of a batch then stands for K rows,
            one of each group, whatever the sampler, and an epoch is as long as the largest group; see
            :func:`scantling.data.samplers.one_of_each`.
        rounds: how often such an epoch shows the rows of the largest group.

    Raises:
        RecipeError: a batch size below 1, a rank outside the world, or fewer rows than one batch with ``drop_last``.
    """

    def __init__(
        self,
        data: ImageSource | TensorDict,
        rows: Tensor,
        batch_size: int,
        sampler: Sampler = "instance",
        seed: int = 0,
        labels: Tensor | None = None,
        fellows: Tensor | None = None,
        weights: Tensor | None = None,
        fields: Sequence[str] | None = None,
        decay: float = 0.9,
        power: float = 0.5,
        beta: float = 0.9999,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        prefetch: int = 1,
        pin_memory: bool = False,
        partners: Sampler | None = None,
        groups: Tensor | None = None,
        rounds: int = 1,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise RecipeError(f"batch size {batch_size}, rank {rank} of {world_size}", do="give a batch size from 1")
        self._source: ImageSource = Held(data) if isinstance(data, TensorDict) else data
        forms = isinstance(data, Joined) and len(data.codes) > 1 and sampler != "sequential"
        self._codes = torch.tensor(data.codes) if forms and isinstance(data, Joined) else None
        self.rows, self.batch_size, self.sampler, self.seed = rows, batch_size, sampler, seed
        self.labels, self.fellows, self.weights, self.fields = labels, fellows, weights, fields
        self.decay, self.power, self.beta = decay, power, beta
        self.rank, self.world_size, self.drop_last = rank, world_size, drop_last
        self.prefetch, self.pin_memory = prefetch, pin_memory and torch.cuda.is_available()
        self.partners = partners
        self.groups, self.rounds = None if groups is None else groups[rows], rounds
        self.epoch, self._start = 0, 0
        if drop_last and len(rows) and not len(self):
            raise RecipeError(
                f"{len(rows)} images do not fill one batch of {batch_size} on each of {world_size} devices",
                where="data.batch_size",
                do="lower it",
            )

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        full, rest = divmod(self._share_size(), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """The epoch, from 0, that the next iteration gives."""
        self.epoch = epoch

    def start_at(self, step: int) -> None:
        """Begin the next iteration, and only that one, at a step: it gives the last ``len(self) - step`` batches."""
        self._start = step

    def order(self) -> Tensor:
        """Rows of the manifest that this rank visits in this epoch, in their order ``(n,)``; ``(n, K)`` with groups."""
        return self._order(self.sampler, self.seed)

    def _order(self, sampler: Sampler, seed: int) -> Tensor:
        labels = torch.full_like(self.rows, MISSING_INDEX) if self.labels is None else self.labels[self.rows]
        if self.groups is None:
            positions = epoch_order(sampler, labels, seed, self.epoch, self.decay, self.power, self.beta)
        else:
            positions = one_of_each(self.groups, seed, self.epoch, self.rounds)
        even: Even = "no" if self.sampler == "sequential" else "drop" if self.drop_last else "wrap"
        return self.rows[rank_share(positions, self.rank, self.world_size, even)]

    def batch(self, rows: Tensor) -> TensorDict:
        """The batch of ``rows (B,)`` of the manifest."""
        out = self._gather(rows)
        out[INDEX] = rows
        mask = out.get(MASK, None)
        if mask is not None:
            out[MASK] = mask.to(torch.int64).masked_fill_(mask == UNKNOWN, MISSING_INDEX)
        if self.labels is not None:
            out[LABEL] = self.labels[rows]
        if self.weights is not None:
            out[WEIGHT] = self.weights[rows].to(torch.float32)
        if self.fellows is not None:
            fellow = self.fellows[rows]
            out[FELLOW_PRESENT] = fellow >= 0
            out[FELLOW_IMAGE] = self._source.gather(torch.where(fellow >= 0, fellow, rows), [IMAGE])[IMAGE]
        return out.pin_memory() if self.pin_memory else out

    def _gather(self, rows: Tensor) -> TensorDict:
        if self._codes is None or not isinstance(self._source, Joined):
            return self._source.gather(rows, self.fields)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        forms = torch.randint(len(self._codes), (len(self._source),), generator=generator)[rows]
        out = self._source.gather(rows, self.fields, forms)
        for name in (IMAGE, MASK):
            if name in out.keys():
                out[name] = mirrored(out[name], self._codes[forms])
        return out

    def __iter__(self) -> Iterator[TensorDict]:
        start, self._start = self._start, 0
        batches = self.order().split(self.batch_size)
        if self.partners is not None:
            others = self._order(self.partners, self.seed + PARTNERS).split(self.batch_size)
            batches = tuple(torch.cat(pair) for pair in zip(batches, others, strict=True))
        batches = tuple(rows.flatten() for rows in batches[start : len(self)])
        return ahead(self.batch, batches, self.prefetch) if self.prefetch else map(self.batch, batches)

    def _share_size(self) -> int:
        number, ranks = len(self.rows), self.world_size
        if self.groups is not None:
            number = self.rounds * int(class_counts(self.groups).max())
        if self.sampler == "sequential":
            return len(range(self.rank, number, ranks))
        return number // ranks if self.drop_last else -(-number // ranks)


def ahead(make: Callable[[Tensor], T], items: Sequence[Tensor], depth: int) -> Iterator[T]:
    """``make(item)`` for every item, in order, each made in a thread while up to ``depth`` earlier ones are used.

    An exception comes out where its result would have; leaving the loop early ends the thread.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as thread:
        try:
            for item in items:
                waiting.append(thread.submit(make, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
