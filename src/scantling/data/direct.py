"""Images read from their files whenever a batch asks for them: for data too large for any store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.core.batch import IMAGE, MASK
from scantling.core.errors import DataError
from scantling.data.build import decoder_of, report
from scantling.data.derived import derive
from scantling.data.images import check_fields

if TYPE_CHECKING:
    from scantling.core.seams import Derivation
    from scantling.data.manifest import Manifest
    from scantling.data.preprocess import Preprocess


class Direct:
    """Decodes the rows of a batch with threads when they are asked for; the same interface as a :class:`Store`.

    Args:
        manifest: the images.
        preprocess: what is done to them.
        workers: threads.

    Raises:
        DataError: a manifest without rows.
    """

    def __init__(self, manifest: Manifest, preprocess: Preprocess, workers: int = 1) -> None:
        self._decoder = decoder_of(manifest, preprocess)
        self._where = manifest.source
        self._pool = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="decode")
        self._derivations: list[tuple[Derivation, torch.device, tuple[str, ...]]] = []

    def __len__(self) -> int:
        return len(self._decoder.rows)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, derived ones included."""
        own = (IMAGE, MASK) if self._decoder.masks else (IMAGE,)
        return (*own, *(name for _, _, names in self._derivations for name in names))

    def gather(self, rows: Tensor, fields: Sequence[str] | None = None) -> TensorDict:
        """The fields of ``rows (B,)`` int64, in that order; all of them, or those named.

        Raises:
            DataError: images that cannot be used, named; a field that is not there.
        """
        names = check_fields(fields, self.fields)
        unique, back = np.unique(rows.numpy(), return_inverse=True)
        position = {row: i for i, row in enumerate(unique.tolist())}
        shape = self._decoder.preprocess.shape
        shapes = {IMAGE: shape, MASK: shape[1:]} if self._decoder.masks else {IMAGE: shape}
        arrays = {name: np.empty((len(unique), *s), dtype=np.uint8) for name, s in shapes.items()}

        def put(row: int, name: str, array: np.ndarray) -> None:
            arrays[name][position[row]] = array

        failures = self._decoder.many(unique.tolist(), self._pool, put)
        if failures:
            raise report(failures, len(self), self._where)
        found = {name: torch.from_numpy(array) for name, array in arrays.items()}
        for derivation, device, given in self._derivations:
            if set(given) & set(names):
                found.update(derive(derivation, found[IMAGE], device))
        order = torch.from_numpy(back)
        return TensorDict({name: found[name].index_select(0, order) for name in names}, batch_size=[len(rows)])

    def derive(self, derivation: Derivation, batch_size: int = 32, device: str | torch.device = "cpu") -> Direct:
        """Add the fields of a derivation, computed anew with every batch that asks for them (``batch_size`` is unused).

        Raises:
            DataError: a field that is there already, or results that are not one row an image.
        """
        place = torch.device(device)
        first = self.gather(torch.zeros(1, dtype=torch.int64), [IMAGE])
        names = tuple(derive(derivation, first[IMAGE], place))
        clash = set(names) & set(self.fields)
        if clash:
            raise DataError(f"there already is a field '{min(clash)}'", do="rename the derived field")
        self._derivations.append((derivation, place, names))
        return self
