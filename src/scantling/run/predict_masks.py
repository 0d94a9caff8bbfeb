"""What a prediction does with masks: back to the original's pixels, into files, and how sure the model was."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from scantling.data.placement import Placement
from scantling.run.dicom_seg import write_dicom_seg
from scantling.run.listing import Listed
from scantling.run.mask_files import (
    Assembly,
    MaskFormat,
    assemblies,
    names_of,
    write_mask_png,
    write_nifti,
    write_png,
)
from scantling.run.model import Model, Segmented
from scantling.run.reading import Seen
from scantling.run.report_pictures import stacked, with_mask
from scantling.tasks.objectives.masks import OverlappingMasks

_SLICES = ".slices.part"
"""Folder of single slices until their volume is written."""


def write_uncertainty(
    folder: Path, picture: str, placement: Placement, entropy: Tensor, deviation: Tensor | None
) -> None:
    """Write ``uncertainty/<picture>.png`` and, where there is one, ``deviation/<picture>.png``, of the original's size.

    Args:
        folder: of the results.
        picture: name of the image's pictures.
        placement: the way back to the original.
        entropy: ``(h, w)`` in [0, 1].
        deviation: ``(h, w)`` in [0, 0.5]: a standard deviation of values in [0, 1] is at most one half.
    """
    for kind, values, largest in (("uncertainty", entropy, 1.0), ("deviation", deviation, 0.5)):
        if values is not None:
            levels = np.round(placement.enlarged(values) * (255 / largest)).clip(0, 255)
            write_png(folder / f"{kind}/{picture}.png", levels.astype(np.uint8))


@dataclass
class MaskWriter:
    """Masks of the images of a list.

    Args:
        model: predicts masks.
        folder: of the results; None to write nothing.
        listed: the images.
        form: of the files.
        overlays: lay the masks over what the network saw.
        uncertainty: write maps of the entropy and, with test-time augmentation, of the deviation.
        key: names the prediction.
        threads: that write.

    Raises:
        RecipeError: an unknown form.
        DataError: images that cannot have masks of this form.
    """

    model: Model
    folder: Path | None
    listed: Sequence[Listed]
    form: MaskFormat
    overlays: bool
    uncertainty: bool
    key: str
    threads: int
    _homes: dict[int, Assembly] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is not None:
            self._homes = {n: whole for whole in assemblies(self.listed, self.form) for n in whole.places}

    def rows(self, seen: Sequence[Seen], found: Segmented) -> list[dict[str, Any]]:
        """Write what belongs to a batch, and give its rows of the table."""
        deviations: Iterable[Tensor | None] = [None] * len(seen) if found.deviation is None else found.deviation
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self._row, seen, found.probabilities, found.entropy, deviations))

    def finish(self, done: Iterable[int]) -> Path | None:
        """Put volumes together; slices that were not asked for, or could not be read, have no structure.

        Args:
            done: numbers of the images that were predicted.

        Returns:
            No further table.
        """
        if self.folder is None:
            return None
        known = set(done)
        for whole in {id(home): home for home in self._homes.values()}.values():
            places = {number: place for number, place in whole.places.items() if number in known}
            if places:
                self._assemble(self.folder, whole, places)
        return None

    def clear(self) -> None:
        """Remove single slices whose volumes were written."""
        if self.folder is not None:
            shutil.rmtree(self.folder / _SLICES, ignore_errors=True)

    def _assemble(self, folder: Path, whole: Assembly, places: dict[int, int]) -> None:
        loaded = {place: np.asarray(Image.open(folder / self._slice(n))) for n, place in places.items()}
        coded = np.zeros((whole.slices, *next(iter(loaded.values())).shape), dtype=np.uint8)
        for place, pixels in loaded.items():
            coded[place] = pixels
        if whole.kind == "nifti":
            write_nifti(folder, whole, coded, self.model.target)
        else:
            write_dicom_seg(folder / f"{whole.stem}.dcm", whole.sources, coded, self.model.target, self.key)

    def _row(self, seen: Seen, probabilities: Tensor, entropy: Tensor, deviation: Tensor | None) -> dict[str, Any]:
        assert seen.placement is not None
        target, coded = self.model.target, self._coded(seen.placement, probabilities)
        shares = self._shares(coded)
        top, left, rows, columns = seen.placement.place
        row: dict[str, Any] = {
            "prediction": "|".join(name for name in target.structures if shares[name] > 0),
            **{f"share_{name}": share for name, share in shares.items()},
            "uncertainty": float(entropy[top : top + rows, left : left + columns].mean()),
        }
        if self.folder is None:
            return row
        picture = self.listed[seen.number].picture
        if self.overlays:
            one = self.model.masks.encode(self.model.masks.called(probabilities[None]))[0].cpu().numpy()
            drawn = stacked(one, target.size) if target.kind == "masks" else one
            write_png(self.folder / f"overlays/{picture}.png", with_mask(seen.image.permute(1, 2, 0).numpy(), drawn))
        if self.uncertainty:
            write_uncertainty(self.folder, picture, seen.placement, entropy, deviation)
        home = self._homes.get(seen.number)
        if home is None:
            return {**row, **write_mask_png(self.folder, f"masks/{picture}", coded, target)}
        write_png(self.folder / self._slice(seen.number), coded)
        if home.kind == "dicom":
            return {**row, "mask": f"{home.stem}.dcm"}
        return {**row, **names_of(home.stem, home.suffix, target)}

    def _coded(self, placement: Placement, probabilities: Tensor) -> np.ndarray:
        """``(H, W)`` uint8 at the size of the original: classes, or sums of bits."""
        objective = self.model.masks
        if isinstance(objective, OverlappingMasks):
            return placement.bits(probabilities, objective.thresholds.tolist())
        return placement.classes(probabilities)

    def _shares(self, coded: np.ndarray) -> dict[str, float]:
        """Share of the image's pixels by name; of exclusive classes the background is one."""
        target = self.model.target
        if target.kind == "masks":
            return {n: float(((coded >> np.uint8(k)) & 1).mean()) for k, n in enumerate(target.names)}
        counts = np.bincount(coded.ravel(), minlength=target.size) / coded.size
        return dict(zip(target.names, counts.tolist(), strict=True))

    def _slice(self, number: int) -> str:
        return f"{_SLICES}/{self.key[:16]}/{number}.png"
