"""Running a derivation over stored images, and putting what it gives into records."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import torch
from torch import Tensor

from scantling.core.batch import IMAGE, INDEX, LABEL, MASK
from scantling.core.errors import DataError
from scantling.core.seams import Derivation
from scantling.data.records import ITEM_SIZES, Field, Filler

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_RESERVED = {IMAGE, MASK, LABEL, INDEX, "done"}


class Compute:
    """A derivation over rows of a tensor of images.

    Args:
        derivation: what to compute.
        images: ``(N, C, H, W)`` uint8.
        device: where the images are put for it.
    """

    def __init__(self, derivation: Derivation, images: Tensor, device: torch.device) -> None:
        self.derivation, self.images, self.device = derivation, images, device

    def __call__(self, rows: Tensor) -> dict[str, Tensor]:
        """The fields of ``rows (B,)`` int64, each ``(B, ...)``, on the CPU.

        Raises:
            DataError: results that are not one row an image, or that cannot be kept.
        """
        return derive(self.derivation, self.images.index_select(0, rows), self.device)

    def describe(self) -> list[Field]:
        """Names, dtypes and shapes of the fields, from the first image."""
        first = self(torch.zeros(1, dtype=torch.int64))
        return [Field(name, _dtype(value), tuple(value.shape[1:])) for name, value in first.items()]

    def keep(self, rows: np.ndarray, filler: Filler, batch_size: int) -> np.ndarray:
        """Compute rows, ``batch_size`` at a time, and write them; returns them all."""
        for part in torch.from_numpy(rows).split(batch_size):
            for name, values in self(part).items():
                data = values.reshape(len(part), -1).view(torch.uint8).numpy()
                for row, value in zip(part.tolist(), data):
                    filler.write(name, row, value)
        return rows


def derive(derivation: Derivation, images: Tensor, device: torch.device) -> dict[str, Tensor]:
    """The fields of a derivation for ``images (B, C, H, W)`` uint8, on the CPU, checked.

    Raises:
        DataError: results that are not one row an image, or that cannot be kept.
    """
    with torch.no_grad():
        results = {str(k): v.detach().cpu().contiguous() for k, v in derivation(images.to(device)).items()}
    for name, value in results.items():
        if value.ndim < 1 or len(value) != len(images):
            raise DataError(
                f"the derived field '{name}' has the shape {tuple(value.shape)} for {len(images)} images",
                do="return one row an image",
            )
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise DataError(f"a derived field cannot be called '{name}'", do="rename it")
        if _dtype(value) not in ITEM_SIZES:
            raise DataError(f"the derived field '{name}' is {value.dtype}", do=f"use {', '.join(ITEM_SIZES)}")
    return results


def derivation_key(derivation: Derivation) -> str:
    """A hash of the derivation's class and settings.

    Raises:
        DataError: settings that JSON cannot hold.
    """
    kind = type(derivation)
    try:
        text = json.dumps([f"{kind.__module__}.{kind.__qualname__}", derivation.settings], sort_keys=True)
    except TypeError as error:
        raise DataError(f"the settings of {kind.__qualname__} are not plain ({error})", do="use JSON values") from error
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
