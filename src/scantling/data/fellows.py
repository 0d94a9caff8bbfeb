"""The other eye: which row of a manifest shows the fellow eye of the same patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from scantling.data.manifest import Manifest


def fellow_rows(manifest: Manifest) -> Tensor:
    """The row of the other eye of the same patient, for every row.

    The eyes are matched by ``patient`` and ``laterality`` and, where the manifest has these columns, by ``visit`` and
    ``split``: an image of another split is nobody's fellow. Of several images of the other eye the first is taken.

    Args:
        manifest: the images.

    Returns:
        ``(N,)`` int64; -1 where the patient, the eye or its fellow is not known.
    """
    table, missing = manifest.table, torch.full((len(manifest),), -1, dtype=torch.int64)
    if "patient" not in table or "laterality" not in table:
        return missing
    same = ["patient", *(c for c in ("visit", "split") if c in table)]
    eyes = table.loc[table["patient"].notna() & table["laterality"].notna(), [*same, "laterality"]]
    first = eyes.drop_duplicates().assign(fellow=lambda t: t.index)
    wanted = eyes.assign(laterality=eyes["laterality"].map({"left": "right", "right": "left"}), row=eyes.index)
    pairs = wanted.merge(first, on=[*same, "laterality"])
    missing[torch.from_numpy(pairs["row"].to_numpy(copy=True))] = torch.from_numpy(pairs["fellow"].to_numpy(copy=True))
    return missing
