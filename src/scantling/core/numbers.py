"""Random numbers by key and place: those of one image are the same in whatever batch, order or process it comes.

A hash of the key and the number's place stands in the stead of a generator's state, so that all numbers of a batch are
computed at once. Source: Steele et al. 2014 (SplitMix64); the principle, Salmon et al. 2011 (counter-based generators).
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def keys_of(seed: int, rows: np.ndarray) -> np.ndarray:
    """Keys ``(B,)`` uint64 of the rows ``(B,)`` (whole numbers) of a set with this seed."""
    return _mixed(_mixed(np.asarray([seed], dtype=np.int64).astype(np.uint64)) + np.asarray(rows).astype(np.uint64))


def children(keys: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Keys of what belongs to a key: its lesions, one after the other; both broadcast, uint64."""
    return _mixed(np.asarray(keys, dtype=np.uint64) ^ _mixed(np.asarray(places).astype(np.uint64) + _GOLDEN))


def uniform(keys: np.ndarray, count: int) -> np.ndarray:
    """Uniform numbers ``(N, count)`` float64 in [0, 1) of the keys ``(N,)``.

    >>> keys = keys_of(0, np.arange(5))
    >>> bool((uniform(keys[2:3], 4) == uniform(keys, 9)[2:3, :4]).all())
    True
    """
    places = np.arange(1, count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        words = _mixed(np.asarray(keys, dtype=np.uint64)[:, None] + places * _GOLDEN)
    numbers: np.ndarray = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def _mixed(words: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        words = words + _GOLDEN
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray = words ^ (words >> np.uint64(31))
    return mixed
