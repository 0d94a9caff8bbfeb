"""In which order, and how often, an epoch visits the images.

Source: Huang et al. 2023, Diagnostics 13(10):1664 (instance-balanced, class-balanced and progressively balanced
sampling). Every order is a function of the seed and the epoch alone, the same on every machine of a run.
"""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

import torch
from torch import Tensor

from scantling.core.errors import RecipeError, nearest

Sampler = Literal["sequential", "instance", "class_balanced", "progressive"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
Even = Literal["no", "drop", "wrap"]


def class_counts(labels: Tensor, num_classes: int | None = None) -> Tensor:
    """How many samples each class has.

    Args:
        labels: ``(N,)`` int64; -1 is a missing label and counts for nothing.
        num_classes: length of the result; None for the largest label plus one, at least 1.

    Returns:
        ``(num_classes,)`` int64.

    >>> class_counts(torch.tensor([0, 2, 2, -1]), 4)
    tensor([1, 0, 2, 0])
    """
    return torch.bincount(labels[labels >= 0], minlength=num_classes or 1)


def epoch_weights(counts: Tensor, epoch: int, decay: float = 1.0) -> Tensor:
    """Weight of a sample of each class: ``f n_max / n_c + (1 - f)`` with ``f = decay ** (epoch - 1)``.

    It starts with every class equally often and falls to 1, every sample equally often; with ``decay`` 1 it stays.

    Args:
        counts: samples a class, ``(K,)``.
        epoch: from 1.
        decay: in [0, 1]; the paper's progressive sampling has 0.9.

    Returns:
        ``(K,)`` float64, at least 1; 0 for classes without samples.

    Raises:
        RecipeError: an epoch below 1 or a decay outside [0, 1].

    >>> epoch_weights(torch.tensor([80, 20, 0]), epoch=1)
    tensor([1., 4., 0.], dtype=torch.float64)
    """
    if epoch < 1 or not 0 <= decay <= 1:
        raise RecipeError(
            f"epoch {epoch} with decay {decay}", where="sampler", do="epochs count from 1, decay is 0 to 1"
        )
    share = decay ** (epoch - 1)
    number = counts.to(torch.float64)
    balanced = number.max() / number.clamp(min=1)
    return torch.where(counts > 0, 1 + share * (balanced - 1), 0.0)


def expected_frequencies(counts: Tensor, weights: Tensor) -> Tensor:
    """Share of each class among samples drawn in proportion to their weights, ``(K,)`` float64, summing to 1."""
    mass = counts.to(torch.float64) * weights
    return mass / mass.sum()


def draw(labels: Tensor, weights: Tensor, generator: torch.Generator, number: int | None = None) -> Tensor:
    """Positions drawn with replacement, in proportion to the weight of their class.

    Args:
        labels: ``(N,)`` int64; samples without a label (-1) are not drawn.
        weights: of each class, ``(K,)``, above all labels.
        generator: on the CPU.
        number: how many; None for N.

    Returns:
        ``(number,)`` int64, each below N.

    Raises:
        RecipeError: no sample has a label.
    """
    each = torch.where(labels >= 0, weights.to(torch.float64)[labels.clamp(min=0)], 0.0)
    edges = each.cumsum(0)
    if not len(edges) or edges[-1] <= 0:
        raise RecipeError("no image has a label", where="sampler", do="use the sampler 'instance'")
    points = torch.rand(len(labels) if number is None else number, generator=generator, dtype=torch.float64)
    last = int(each.nonzero()[-1])
    return torch.searchsorted(edges, points * edges[-1], right=True).clamp_(max=last)


def epoch_order(sampler: Sampler, labels: Tensor, seed: int, epoch: int, decay: float = 0.9) -> Tensor:
    """The positions that an epoch visits, over all ranks of a run.

    Args:
        sampler: ``sequential`` (each once, in order), ``instance`` (each once, shuffled), ``class_balanced`` or
            ``progressive`` (N draws with replacement, see :func:`epoch_weights`).
        labels: ``(N,)`` int64; only its length matters to the first two.
        seed: of the run.
        epoch: from 0, as trainers count.
        decay: of ``progressive``.

    Returns:
        ``(N,)`` int64.

    Raises:
        RecipeError: an unknown sampler, or labels that are not one class an image where classes are balanced.
    """
    if sampler not in SAMPLERS:
        raise RecipeError(
            f"unknown sampler '{sampler}'{nearest(sampler, SAMPLERS)}",
            where="data.sampler",
            do=f"use one of {', '.join(SAMPLERS)}",
        )
    if sampler == "sequential":
        return torch.arange(len(labels))
    generator = epoch_generator(seed, epoch)
    if sampler == "instance":
        return torch.randperm(len(labels), generator=generator)
    if labels.ndim != 1 or labels.is_floating_point():
        raise RecipeError(
            f"the sampler '{sampler}' needs one class an image", where="data.sampler", do="use the sampler 'instance'"
        )
    weights = epoch_weights(class_counts(labels), epoch + 1, decay if sampler == "progressive" else 1.0)
    return draw(labels, weights, generator)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """A generator of its own for every seed and epoch; neighbouring seeds and epochs have nothing in common."""
    digest = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def rank_share(order: Tensor, rank: int, world_size: int, even: Even = "no") -> Tensor:
    """What one rank takes of a global order: every ``world_size``-th position, from ``rank`` on.

    So the batches of all ranks at one step are together one stretch of the global order, however many ranks there are.

    Args:
        order: ``(N,)``.
        rank: from 0.
        world_size: ranks in all.
        even: ``no`` (evaluation: each position exactly once, shares differ by one at most), ``drop`` (shares of equal
            length, up to ``world_size - 1`` positions are left out) or ``wrap`` (of equal length, the first positions
            come again).

    >>> [rank_share(torch.arange(5), r, 2, "wrap").tolist() for r in range(2)]
    [[0, 2, 4], [1, 3, 0]]
    """
    if even == "drop":
        order = order[: len(order) // world_size * world_size]
    elif even == "wrap" and len(order):
        order = order[torch.arange(-(-len(order) // world_size) * world_size) % len(order)]
    return order[rank::world_size]
