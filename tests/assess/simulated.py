"""Simulated embeddings and the slow, plain way to all pairs; test files take them from here."""

from __future__ import annotations

import numpy as np

CLASSES, EACH, WIDTH = 5, 120, 64


def clusters(each: int = EACH, spread: float = 1.0, seed: int = 0, classes: int = CLASSES, width: int = WIDTH):
    """Embeddings round the same class centres, and their labels."""
    centre = np.random.default_rng(99).normal(size=(classes, width))
    label = np.repeat(np.arange(classes), each)
    return centre[label] + spread * np.random.default_rng(seed).normal(size=(len(label), width)), label


def uneven(seed: int = 0, counts: tuple[int, ...] = (7, 2, 1, 13, 30), width: int = 6):
    """Rows of different lengths, in no order, in classes of different sizes, one of them of a single image."""
    draw = np.random.default_rng(seed)
    label = draw.permutation(np.repeat(np.arange(len(counts)), counts))
    return draw.normal(size=(len(label), width)) * draw.uniform(0.1, 9, (len(label), 1)) + 0.3, label


def at(*degrees: float) -> np.ndarray:
    """Points of the unit circle."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1)


def all_pairs(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of the pairs of one class and of two classes, pair by pair."""
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    same, other = [], []
    for i in range(len(units)):
        for j in range(i):
            (same if labels[i] == labels[j] else other).append(float(units[i] @ units[j]))
    return np.array(same), np.array(other)
