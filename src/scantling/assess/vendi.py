"""Vendi score: how many images that have nothing in common a set is worth.

Source: Friedman and Dieng 2023, arXiv 2210.02410, with cosine similarity and order 1.
"""

from __future__ import annotations

import torch

from scantling.assess.embedded import Embedded


def vendi(data: Embedded) -> float:
    """Exponential of the entropy of the eigenvalues of the similarity matrix over N: from 1 (copies) to N (orthogonal).

    The N x N and the D x D matrix have the same eigenvalues but for zeros; the smaller one is taken. It does not look
    at labels.

    >>> round(vendi(Embedded(torch.eye(3), torch.zeros(3, dtype=torch.int64), 1)), 6)
    3.0
    """
    if len(data) < data.width:
        units = data.units(slice(None))
        matrix = units @ units.T
    else:
        matrix = torch.zeros(data.width, data.width, dtype=torch.float64, device=data.features.device)
        for rows in data.blocks():
            units = data.units(rows)
            matrix.addmm_(units.T, units)
    shares = torch.linalg.eigvalsh(matrix / len(data)).clamp(min=0)
    shares = shares[shares > 0]
    return float((-(shares * shares.log()).sum()).exp())
