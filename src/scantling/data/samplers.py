"""In which order, and how often, an epoch visits the images.

Sources: Huang et al. 2023, Diagnostics 13(10):1664 (instance-balanced, class-balanced and progressively balanced
sampling); Cui et al. 2019, arXiv 1901.05555 (effective number); Kang et al. 2020, arXiv 1910.09217 (powers of the class
size, the square root among them). Every order is a function of the seed and the epoch alone, the same on every machine
of a run.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal, get_args

import torch
from torch import Tensor

from scantling.core.errors import RecipeError, nearest

Sampler = Literal["sequential", "instance", "class_balanced", "progressive", "square_root", "power", "effective_number"]
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


def power_weights(counts: Tensor, power: float) -> Tensor:
    """Weight of a sample of each class: ``(n_max / n_c) ** power``, so that a class is drawn as ``n_c ** (1 - power)``.

    Args:
        counts: samples a class, ``(K,)``.
        power: 0 for every sample equally often, 0.5 for the square root, 1 for every class equally often; more draws
            rare classes more often than common ones.

    Returns:
        ``(K,)`` float64, at least 1; 0 for classes without samples.

    Raises:
        RecipeError: a negative power.

    >>> power_weights(torch.tensor([400, 4, 0]), 0.5)
    tensor([ 1., 10.,  0.], dtype=torch.float64)
    """
    if power < 0:
        raise RecipeError(f"a power of {power:g}", where="data.sampler_power", do="use 0 (instance) or more")
    number = counts.to(torch.float64)
    return torch.where(counts > 0, (number.max() / number.clamp(min=1)) ** power, 0.0)


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """Weight of a sample of each class: ``(1 - beta) / (1 - beta ** n_c)``, scaled to 1 for the largest class.

    Args:
        counts: samples a class, ``(K,)``.
        beta: 0 for every sample equally often, towards 1 for every class equally often.

    Returns:
        ``(K,)`` float64, at least 1; 0 for classes without samples.

    Raises:
        RecipeError: a beta outside [0, 1).

    >>> effective_number_weights(torch.tensor([2, 1, 0]), 0.5)
    tensor([1.0000, 1.5000, 0.0000], dtype=torch.float64)
    """
    if not 0 <= beta < 1:
        raise RecipeError(f"a beta of {beta:g}", where="data.sampler_beta", do="use 0 up to below 1, such as 0.999")
    number = counts.to(torch.float64).clamp(min=1)
    effective = -torch.expm1(number * math.log(beta)) if beta else torch.ones_like(number)
    return torch.where(counts > 0, effective.max() / effective, 0.0)


def sampler_weights(
    sampler: Sampler, counts: Tensor, epoch: int, decay: float = 0.9, power: float = 0.5, beta: float = 0.9999
) -> Tensor:
    """Weight of a sample of each class, as a sampler that draws with replacement has it.

    Args:
        sampler: ``class_balanced``, ``progressive``, ``square_root``, ``power`` or ``effective_number``.
        counts: samples a class, ``(K,)``.
        epoch: from 1; only ``progressive`` changes over time.
        decay: of ``progressive``.
        power: of ``power``.
        beta: of ``effective_number``.

    Returns:
        ``(K,)`` float64; 0 for classes without samples.
    """
    if sampler == "effective_number":
        return effective_number_weights(counts, beta)
    if sampler in {"square_root", "power"}:
        return power_weights(counts, 0.5 if sampler == "square_root" else power)
    return epoch_weights(counts, epoch, decay if sampler == "progressive" else 1.0)


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


def epoch_order(
    sampler: Sampler,
    labels: Tensor,
    seed: int,
    epoch: int,
    decay: float = 0.9,
    power: float = 0.5,
    beta: float = 0.9999,
) -> Tensor:
    """The positions that an epoch visits, over all ranks of a run.

    Args:
        sampler: ``sequential`` (each once, in order), ``instance`` (each once, shuffled), or N draws with replacement,
            see :func:`sampler_weights`.
        labels: ``(N,)`` int64; only its length matters to the first two.
        seed: of the run.
        epoch: from 0, as trainers count.
        decay: of ``progressive``.
        power: of ``power``.
        beta: of ``effective_number``.

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
    return draw(labels, sampler_weights(sampler, class_counts(labels), epoch + 1, decay, power, beta), generator)


def one_of_each(groups: Tensor, seed: int, epoch: int, rounds: int = 1) -> Tensor:
    """Positions of an epoch in which every index stands for one sample of each group.

    The samples of a group take turns in a random order; those of smaller groups come more often.

    Args:
        groups: ``(N,)`` int64, 0 ... K-1; -1 takes no part.
        seed: of the run.
        epoch: from 0.
        rounds: how often each sample of the largest group comes.

    Returns:
        ``(rounds * size of the largest group, K)`` int64.

    Raises:
        RecipeError: a group without samples.

    >>> one_of_each(torch.tensor([1, 0, 1]), seed=0, epoch=0)[:, 0]
    tensor([1, 1])
    """
    counts = class_counts(groups)
    if not bool(counts.all()):
        raise RecipeError(f"group {int(counts.argmin())} has no sample", where="sampler", do="number groups from 0")
    generator, length = epoch_generator(seed, epoch), rounds * int(counts.max())
    turns = []
    for group, count in enumerate(counts.tolist()):
        members = (groups == group).nonzero()[:, 0]
        orders = [torch.randperm(count, generator=generator) for _ in range(-(-length // count))]
        turns.append(members[torch.cat(orders)[:length]])
    return torch.stack(turns, dim=1)


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
