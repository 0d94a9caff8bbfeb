"""Labels of a real and a synthetic set as groups, and how alike two groups are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scantling.core.errors import DataError


@dataclass(frozen=True)
class Groups:
    """The groups of both sets: classes, or sets of findings that occur.

    Args:
        names: of the K groups.
        real: group of every real image, ``(N,)`` int64.
        synthetic: group of every synthetic image, ``(M,)`` int64.
        affinity: ``(K, K)`` float64 in [0, 1]: how much two groups are the same, 1 on the diagonal. The identity for
            classes, the Jaccard index of the sets of findings otherwise.
    """

    names: tuple[str, ...]
    real: Tensor
    synthetic: Tensor
    affinity: np.ndarray


def group(real: Any, synthetic: Any, names: Sequence[str] | None = None) -> Groups:
    """Groups from one label an image, or from several findings an image.

    Args:
        real: ``(N,)`` of whole numbers or texts, or findings ``(N, F)`` of 0 and 1.
        synthetic: the same for the synthetic images.
        names: of the classes 0, 1, ... or of the F findings.

    Raises:
        DataError: unknown labels, other values than 0 and 1, or sets of different shapes.

    >>> group(["a", "b"], ["b", "b"]).names
    ('a', 'b')
    >>> group([[1, 0], [1, 1]], [[1, 1]], ["mass", "nodule"]).affinity
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    first, second = _array(real), _array(synthetic)
    if first.ndim != second.ndim or first.shape[1:] != second.shape[1:] or first.ndim not in (1, 2):
        raise DataError(
            f"labels of the shapes {first.shape} and {second.shape}", do="give (N,) labels or (N, F) findings of both"
        )
    if first.ndim == 2:
        return _of_findings(first, second, names)
    both = np.concatenate([first, second])
    if both.dtype.kind == "f":
        if not np.isfinite(both).all() or (both % 1 != 0).any():
            raise DataError("a label is missing or no whole number", do="leave images without a label out")
        both = both.astype(np.int64)
    if both.dtype.kind in "iub":
        both = both.astype(np.int64)
        if both.min(initial=0) < 0:
            raise DataError("a label is missing (-1)", do="leave images without a label out")
        if names is not None and both.max(initial=-1) >= len(names):
            raise DataError(f"label {both.max()} of {len(names)} classes", do="give a name for every class")
    kinds, codes = np.unique(both, return_inverse=True)
    told = tuple(str(k) if names is None or kinds.dtype.kind not in "iu" else str(names[int(k)]) for k in kinds)
    return _parted(told, codes, len(first), np.eye(len(told)))


def _of_findings(first: np.ndarray, second: np.ndarray, names: Sequence[str] | None) -> Groups:
    both = np.concatenate([first, second]).astype(np.float64)
    if not np.isin(both, (0.0, 1.0)).all():
        raise DataError("a finding is neither 0 nor 1", do="leave images with unknown findings out")
    names = [str(i) for i in range(both.shape[1])] if names is None else list(names)
    sets, codes = np.unique(both, axis=0, return_inverse=True)
    shared = sets @ sets.T
    size = sets.sum(1)
    union = size[:, None] + size - shared
    # Two images without any finding are alike.
    affinity = np.where(union == 0, 1.0, shared / np.maximum(union, 1))
    told = tuple("|".join(n for n, x in zip(names, row, strict=True) if x) or "none" for row in sets)
    return _parted(told, codes, len(first), affinity)


def _parted(names: tuple[str, ...], codes: np.ndarray, count: int, affinity: np.ndarray) -> Groups:
    numbers = torch.from_numpy(np.asarray(codes, dtype=np.int64).reshape(-1))
    return Groups(names, numbers[:count], numbers[count:], affinity)


def _array(labels: Any) -> np.ndarray:
    return labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
