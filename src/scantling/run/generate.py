"""The verb ``generate``: synthetic images with their masks, from images and a recipe that has a synthesizer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scantling.core.batch import IMAGE, INDEX, LABEL, MASK, as_float
from scantling.core.errors import DataError, RecipeError
from scantling.core.files import writing
from scantling.core.seams import Synthesizer
from scantling.core.target import parse_target
from scantling.data.settings import fixed_inputs
from scantling.run.journal import Journal
from scantling.run.model import pick_device
from scantling.run.prepare import Prepared, prepare, read_manifest
from scantling.run.recipe import resolve

if TYPE_CHECKING:
    from tensordict import TensorDict

Progress = Callable[[int, int], None]
TABLE = "manifest.csv"


@dataclass(frozen=True)
class Generated:
    """What :func:`generate` leaves.

    Args:
        manifest: of the synthetic images.
        images: how many there are.
        empty: those that got nothing, because nothing may be pasted there; they are labelled normal.
    """

    manifest: Path
    images: int
    empty: int


def generate(
    recipe: str | Path,
    data: str | Path | None = None,
    out: str | Path = "synthetic",
    *,
    n: int | None = None,
    seed: int = 0,
    normals: bool = False,
    device: str = "auto",
    batch_size: int = 32,
    workers: int = 0,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    progress: Progress | None = None,
) -> Generated:
    """Write synthetic abnormal images, with a mask of what was put in, and their manifest.

    In ``out`` come ``images/``, ``masks/`` (0 and 255, or type numbers where there are several types) and, last,
    ``manifest.csv``, which every verb reads. Image k is the same whatever ``n``, the batch size and the number of
    workers. A generation that was stopped goes on where it was when it is asked for again.

    Args:
        recipe: name of a recipe with a synthesizer, such as ``lesion_paste``, or a YAML file.
        data: manifest of normal images, CSV or Parquet; abnormal ones in it are passed over.
        out: folder of the results.
        n: synthetic images; left out, one for every normal image. The normal images are used in turn.
        seed: of the set.
        normals: write the normal images, too, by the same way, so that files do not tell which are synthetic.
        device: ``auto``, ``cpu``, ``cuda`` ...
        batch_size: images at once.
        workers: threads that write files; 0 for one a core.
        overrides: settings of the recipe by dotted key.
        progress: called with images written and images in all.

    Raises:
        RecipeError: a recipe without a synthesizer, or settings that it does not know.
        DataError: no normal images, files that cannot be read, or a folder that has a manifest already.
        ScantlingError: the folder cannot be written or the disk is full.
    """
    if batch_size < 1 or (n is not None and n < 1):
        raise RecipeError(f"{n} images in batches of {batch_size}", where="generate", do="use 1 or more")
    folder = Path(out)
    if (folder / TABLE).exists():
        raise DataError("there is a manifest already", where=folder / TABLE, do="choose another --out or delete it")
    checked = resolve(recipe, overrides)
    stage = checked.stages[-1]
    built = stage.build()
    synthesizer = getattr(built.task, "synthesizer", None)
    if not isinstance(synthesizer, Synthesizer):
        raise RecipeError("its task has no synthesizer", where=checked.name, do="use lesion_paste or cut_paste")
    manifest = read_manifest(data if data is not None else built.data.manifest)
    target = parse_target("class:normal|abnormal")
    prepared = prepare(built.data, manifest, target=target, split=False)
    rows = (prepared.labels == 0).nonzero()[:, 0]
    if not len(rows):
        raise DataError("no normal image", where=manifest.source, do="leave the label empty, or name it normal or 0")
    synthesizer.configure(fixed_inputs(built.data), prepared.preprocess)
    wanted = len(rows) if n is None else n
    words = [checked.to_yaml(), str(seed), str(wanted), str(normals), str(len(rows)), *manifest.table["image"]]
    journal = Journal(folder / f".{TABLE}.part", hashlib.sha256("\n".join(words).encode()).hexdigest())
    job = _Job(synthesizer, prepared, rows, folder, seed, pick_device(device), workers or os.cpu_count() or 1)
    total = wanted + (len(rows) if normals else 0)
    left = [number for number in range(total) if number not in journal.rows]
    for start in range(0, len(left), batch_size):
        journal.add(job.write(left[start : start + batch_size], wanted))
        if progress is not None:
            progress(len(journal.rows), total)
    table = _table(prepared, [journal.rows[number] for number in range(total)])
    with writing(folder / TABLE) as part:
        table.to_csv(part, index=False, lineterminator="\n")
    journal.remove()
    return Generated(folder / TABLE, total, int((table["label"][:wanted] == "normal").sum()))


@dataclass
class _Job:
    """A synthesizer at work on the normal images of a manifest."""

    synthesizer: Synthesizer
    prepared: Prepared
    rows: Tensor
    folder: Path
    seed: int
    device: torch.device
    threads: int

    def write(self, numbers: Sequence[int], synthetic: int) -> dict[int, dict[str, Any]]:
        """Make and write the images of these numbers, the first ``synthetic`` ones with lesions; give their rows."""
        made = [number for number in numbers if number < synthetic]
        plain = [number - synthetic for number in numbers if number >= synthetic]
        found: dict[int, dict[str, Any]] = {}
        if made:
            batch = self.batch([number % len(self.rows) for number in made])
            batch[INDEX] = torch.tensor(made, device=self.device)
            batch = self.synthesizer.by_row(batch, self.seed)
            sources = [int(self.rows[number % len(self.rows)]) for number in made]
            found |= self._files([f"{number:06d}" for number in made], made, sources, batch)
        if plain:
            batch = self.batch(plain)
            batch[LABEL] = torch.zeros(len(plain), dtype=torch.int64)
            batch[MASK] = torch.zeros(len(plain), *batch[IMAGE].shape[-2:], dtype=torch.int64)
            sources = [int(self.rows[number]) for number in plain]
            names = [f"normal_{number:06d}" for number in plain]
            found |= self._files(names, [number + synthetic for number in plain], sources, batch)
        return found

    def batch(self, places: Sequence[int]) -> TensorDict:
        """Normal images by their places among the normal ones, float in [0, 1], on the device."""
        rows = self.rows[torch.tensor(places)]
        loader = self.prepared.loader(rows, len(rows), sampler="sequential", prefetch=0)
        return as_float(loader.batch(rows).to(self.device))

    def _files(
        self, names: Sequence[str], numbers: Sequence[int], sources: Sequence[int], batch: TensorDict
    ) -> dict[int, dict[str, Any]]:
        pixels = batch[IMAGE].mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        classes = batch[MASK].to(torch.uint8).cpu().numpy()
        several = len(getattr(getattr(self.synthesizer, "bank", None), "types", ())) > 1
        masks = classes if several else classes * np.uint8(255)
        labels = batch[LABEL].cpu().tolist()

        def one(k: int) -> dict[str, Any]:
            image, mask = f"images/{names[k]}.png", f"masks/{names[k]}.png"
            for place, array in ((image, pixels[k]), (mask, masks[k])):
                with writing(self.folder / place) as part:
                    Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array).save(
                        part, "PNG", compress_level=1
                    )
            return {"image": image, "mask": mask, "label": int(labels[k]), "source": sources[k]}

        with ThreadPoolExecutor(self.threads) as pool:
            return dict(zip(numbers, pool.map(one, range(len(names))), strict=True))


def _table(prepared: Prepared, rows: Sequence[dict[str, Any]]) -> Any:
    """The manifest: synthetic images stay in the split of the image that they were made from."""
    import pandas as pd

    table = pd.DataFrame(rows)
    table["label"] = table["label"].map({0: "normal", 1: "abnormal"})
    table["target"] = "class:normal|abnormal"
    source = table.pop("source")
    table["source"] = source + 2
    known = prepared.manifest.table
    if "split" in known:
        table["split"] = known["split"].iloc[source].to_numpy()
    return table
