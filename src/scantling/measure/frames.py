"""Where the pixels of prepared images lie in their originals, and how large they are in millimetres."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scantling.core.errors import DataError
from scantling.data.placement import Placement
from scantling.data.readers import read_picture

if TYPE_CHECKING:
    from scantling.data.manifest import Manifest
    from scantling.data.preprocess import Preprocess


@dataclass(frozen=True)
class Frame:
    """One image as it was and as it was prepared.

    Args:
        placement: the way from one to the other.
        spacing: millimetres between rows and between columns of the original; None where not known.
    """

    placement: Placement
    spacing: tuple[float, float] | None

    @property
    def prepared_spacing(self) -> tuple[float, float] | None:
        """Millimetres between rows and between columns of the prepared image, each by its own factor."""
        if self.spacing is None:
            return None
        left, top, right, bottom = self.placement.box
        _, _, rows, columns = self.placement.place
        return self.spacing[0] * (bottom - top) / rows, self.spacing[1] * (right - left) / columns


def frames_of(manifest: Manifest, rows: Sequence[int], preprocess: Preprocess) -> list[Frame]:
    """Frames of some rows of a manifest; its column ``pixel_spacing`` comes before what the file says.

    Raises:
        DataError: an image that cannot be read, or a cell that is no spacing.
    """

    def look(row: int) -> Frame:
        path, part = manifest.path(row)
        try:
            picture = read_picture(path, part, manifest.frame(row))
        except DataError as error:
            raise DataError(error.what, where=error.where or path, do=error.do) from None
        return Frame(preprocess.placement(picture), manifest.spacing(row) or picture.spacing)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(look, rows))
