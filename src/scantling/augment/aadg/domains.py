"""The source domains of a search: sites of the training images, or groups of images that look alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.augment.aadg.clusters import clusters, image_statistics
from scantling.core.batch import IMAGE
from scantling.core.errors import DataError, nearest
from scantling.core.target import label_text

if TYPE_CHECKING:
    from scantling.data.images import ImageSource
    from scantling.data.manifest import Manifest

CLUSTERS = "clusters"
READ_AT_ONCE = 64


@dataclass(frozen=True)
class Domains:
    """Which training image is from which domain.

    Args:
        names: of the K domains.
        codes: domain of every row of the manifest ``(N,)`` int64, -1 for rows that are not trained on.
    """

    names: tuple[str, ...]
    codes: Tensor


def source_domains(manifest: Manifest, images: ImageSource, rows: Tensor, domain: str, seed: int = 0) -> Domains:
    """The domains of the training images.

    Args:
        manifest: of all images.
        images: of all rows; looked at only for clusters.
        rows: the training rows ``(n,)``.
        domain: a column of the manifest, or ``clusters:K`` for K groups by the images' statistics.
        seed: of the clusters.

    Raises:
        DataError: no such column, an empty cell in it, or fewer than two domains.
    """
    found = re.fullmatch(rf"{CLUSTERS}:(\d+)", domain)
    codes = torch.full((len(manifest),), -1)
    if found:
        number = int(found.group(1))
        if not 2 <= number <= len(rows):
            raise DataError(
                f"{number} clusters of {len(rows)} training images", where="task.domain", do="use 2 or more, and fewer"
            )
        parts = rows.split(READ_AT_ONCE)
        looks = torch.cat([image_statistics(images.gather(part, [IMAGE])[IMAGE]) for part in parts])
        codes[rows] = clusters(looks, number, torch.Generator().manual_seed(seed))
        if len(codes[rows].unique()) < number:
            raise DataError(f"the images do not make {number} groups", where="task.domain", do="ask for fewer clusters")
        return Domains(tuple(f"cluster {i + 1}" for i in range(number)), codes)
    table = manifest.table
    if domain not in table:
        raise DataError(
            f"no column '{domain}'{nearest(domain, table.columns)}",
            where=manifest.source,
            do=f"name the column of the sites with --domain, or use --domain {CLUSTERS}:3",
        )
    column = table[domain].iloc[rows.numpy()]
    if column.isna().any():
        row = int(rows[int(column.isna().to_numpy().argmax())])
        raise DataError(f"no {domain}", where=f"{manifest.source}, row {row + 2}", do=f"fill in the column '{domain}'")
    texts = column.map(label_text)
    names = tuple(sorted(texts.unique()))
    if len(names) < 2:
        raise DataError(
            f"all training images have the same {domain}, '{names[0]}'",
            where=manifest.source,
            do=f"a search needs two domains or more: add a site, or use --domain {CLUSTERS}:3",
        )
    codes[rows] = torch.tensor([names.index(text) for text in texts])
    return Domains(names, codes)
