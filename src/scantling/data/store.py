"""The store: images decoded once, memory-mapped for ever after; and what was derived from them, beside them.

A store lies in ``<cache>/stores/<key>/``. The key is a hash of every file's path, size and time of change, of the
preprocessing and of the layout: a changed file means another store, never old pixels. Labels are not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.core.batch import IMAGE, MASK
from scantling.core.errors import DataError, RecipeError, nearest
from scantling.core.files import cache_folder
from scantling.data.build import Decoder, Failures, build, decoder_of, report
from scantling.data.cache import Summary, folder_bytes, store_folders
from scantling.data.derived import Compute, derivation_key
from scantling.data.direct import Direct
from scantling.data.images import Held
from scantling.data.records import FORMAT, ITEM_SIZES, Field, Progress, Records, load_records, open_records
from scantling.data.references import fingerprints, has_masks

if TYPE_CHECKING:
    from scantling.core.seams import Derivation
    from scantling.data.manifest import Manifest
    from scantling.data.preprocess import Preprocess

Keep = Literal["disk", "memory", "none"]
"""Where preprocessed images are kept: mapped files, memory, or nowhere (decoded again for every batch)."""

_FINGERPRINTS = "fingerprints.bin"
_STEP = 64


class Store(Held):
    """All preprocessed images of a manifest, and fields derived from them, as one ``TensorDict``.

    ``data`` has batch size ``[N]``, rows in manifest order: ``image`` uint8 ``(N, C, H, W)``; with masks ``mask`` uint8
    ``(N, H, W)``, 255 where unknown. On disk it is mapped copy on write: changing it in place changes no file.
    Made by :meth:`open` or :meth:`in_memory`.
    """

    def __init__(self, data: TensorDict, key: str, folder: Path | None, seconds: float) -> None:
        super().__init__(data)
        self.key, self.folder, self._seconds = key, folder, seconds

    @classmethod
    def open(
        cls,
        manifest: Manifest,
        preprocess: Preprocess,
        folder: str | os.PathLike[str] | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Store:
        """The store of a manifest on disk: reused, completed after a kill, or built.

        Several processes may open the same store at once; they share the work. Rows that another store with the same
        preprocessing already holds are copied.

        Args:
            manifest: the images.
            preprocess: what is done to them.
            folder: the cache; default ``$SCANTLING_CACHE``, else ``~/.cache/scantling``.
            workers: threads or processes that decode.
            progress: called with rows done and rows in all.

        Raises:
            DataError: images that cannot be used, named; the others stay built. A manifest without rows.
            ScantlingError: the disk is full or cannot be written; what is built stays.
        """
        started = time.perf_counter()
        decoder = decoder_of(manifest, preprocess)
        prints = fingerprints(decoder.rows, decoder.num_classes)
        key, place = _key(decoder, prints), cache_folder(folder) / "stores"
        extra = {_FINGERPRINTS: prints.tobytes()}
        info = {"preprocess": preprocess.key}
        records = open_records(place / key, lambda: _fields(decoder), len(manifest), info, extra)
        if not records.complete:
            _copy_known_rows(records, place, prints)
            failures = build(records, decoder, workers, progress)
            if failures:
                raise report(failures, len(manifest), manifest.source)
        return cls(_mapped(records), key, place / key, time.perf_counter() - started)

    @classmethod
    def in_memory(
        cls, manifest: Manifest, preprocess: Preprocess, workers: int = 1, progress: Progress | None = None
    ) -> Store:
        """The same, decoded into memory by threads, without files.

        Raises:
            DataError: images that cannot be used, named; more pixels than there is memory; a manifest without rows.
        """
        started = time.perf_counter()
        decoder = decoder_of(manifest, preprocess)
        needed, free = cls.size_bytes(manifest, preprocess), _free_memory()
        if needed > free:
            raise DataError(
                f"the images need {needed / 1e9:.2f} GB of memory and {free / 1e9:.2f} GB are free",
                where=manifest.source,
                do="keep them on disk (data.store: disk)",
            )
        tensors = {f.name: torch.empty(len(manifest), *f.shape, dtype=torch.uint8) for f in _fields(decoder)}
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}

        def put(row: int, name: str, array: np.ndarray) -> None:
            arrays[name][row] = array

        failures: Failures = {}
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            for start in range(0, len(manifest), _STEP):
                stop = min(start + _STEP, len(manifest))
                failures.update(decoder.many(range(start, stop), pool, put))
                if progress is not None:
                    progress(stop, len(manifest))
        if failures:
            raise report(failures, len(manifest), manifest.source)
        key = _key(decoder, fingerprints(decoder.rows, decoder.num_classes))
        return cls(TensorDict(tensors, batch_size=[len(manifest)]), key, None, time.perf_counter() - started)

    @staticmethod
    def size_bytes(manifest: Manifest, preprocess: Preprocess) -> int:
        """Bytes that a store of this manifest takes, without derived fields."""
        channels, height, width = preprocess.shape
        return len(manifest) * height * width * (channels + has_masks(manifest))

    def derive(
        self,
        derivation: Derivation,
        batch_size: int = 32,
        device: str | torch.device = "cpu",
        progress: Progress | None = None,
    ) -> Store:
        """Add the fields of a derivation, computed once for all rows and kept beside the images.

        Kept by a hash of the derivation's class and ``settings``. A killed computation goes on where it stopped, and
        several processes share it, as in :meth:`open`.

        Args:
            derivation: what to compute.
            batch_size: images at a time.
            device: where the images are put for it.
            progress: called with rows done and rows in all.

        Returns:
            This store.

        Raises:
            DataError: a field that the store already has, a name or dtype that cannot be kept, settings that JSON
                cannot hold, results that are not one row an image, or kept results of other settings.
            ScantlingError: the disk is full or cannot be written.
        """
        compute = Compute(derivation, self.data[IMAGE], torch.device(device))
        if self.folder is None:
            parts = [compute(rows) for rows in torch.arange(len(self)).split(batch_size)]
            return self._add({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
        folder = self.folder / "derived" / derivation_key(derivation)
        info = {"derivation": type(derivation).__qualname__, "settings": derivation.settings}
        records = open_records(folder, compute.describe, len(self), info)
        _refuse_other(records, derivation)
        if not records.complete:
            with records.filling() as filler:
                filler.fill(lambda rows: compute.keep(rows, filler, batch_size), progress)
        mapped = _mapped(records)
        return self._add({name: mapped[name] for name in records.fields})

    def summary(self) -> Summary:
        """Rows, bytes and the seconds that opening took."""
        size = folder_bytes(self.folder) if self.folder is not None else self.data.bytes()
        return Summary(self.key, len(self), size, self._seconds, True)

    def _add(self, fields: dict[str, Tensor]) -> Store:
        for name in fields:
            if name in self.fields:
                raise DataError(f"the store already has a field '{name}'", do="rename the derived field")
        self.data.update(fields)
        return self


def open_images(
    manifest: Manifest,
    preprocess: Preprocess,
    keep: Keep = "disk",
    folder: str | os.PathLike[str] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Store | Direct:
    """The images of a manifest as a recipe's ``data.store`` says: ``disk``, ``memory`` or ``none``.

    Args:
        manifest: the images.
        preprocess: what is done to them.
        keep: where the results are kept.
        folder: the cache, for ``disk``.
        workers: threads or processes that decode.
        progress: called with rows done and rows in all.

    Raises:
        RecipeError: another word.
        DataError: see :meth:`Store.open`.
    """
    if keep == "disk":
        return Store.open(manifest, preprocess, folder, workers, progress)
    if keep == "memory":
        return Store.in_memory(manifest, preprocess, workers, progress)
    if keep == "none":
        return Direct(manifest, preprocess, workers)
    words = get_args(Keep)
    raise RecipeError(f"unknown store '{keep}'{nearest(keep, words)}", where="data.store", do=f"use {', '.join(words)}")


def _refuse_other(records: Records, derivation: Derivation) -> None:
    """Stop before results of other settings are served, as when a folder was copied under another name."""
    kept = records.info.get("settings")
    own = json.loads(json.dumps(derivation.settings))
    if kept == own:
        return
    known = kept if isinstance(kept, dict) else {}
    other = next((k for k in own if known.get(k) != own[k]), "settings")
    raise DataError(
        f"was computed with {other} = {known.get(other)!r} and not {own.get(other)!r}",
        where=records.folder,
        do="remove the folder, and it is computed again",
    )


def _key(decoder: Decoder, prints: np.ndarray) -> str:
    digest = hashlib.blake2b(prints.tobytes(), digest_size=16)
    digest.update(f"{decoder.preprocess.key}|{FORMAT}|{decoder.masks}".encode())
    return digest.hexdigest()


def _fields(decoder: Decoder) -> list[Field]:
    shape = decoder.preprocess.shape
    return [Field(IMAGE, "uint8", shape), *([Field(MASK, "uint8", shape[1:])] if decoder.masks else [])]


def _copy_known_rows(records: Records, place: Path, prints: np.ndarray) -> None:
    """Copy the rows that other stores with the same preprocessing and fields hold."""
    wanted = {int(row): prints[row].tobytes() for row in np.flatnonzero(~records.done())}
    for folder in store_folders(place):
        donor = load_records(folder) if folder != records.folder else None
        if donor is None or donor.info != records.info or donor.fields != records.fields:
            continue
        known = np.fromfile(folder / _FINGERPRINTS, dtype=np.uint8).reshape(-1, 16)
        kept = {known[i].tobytes(): int(i) for i in np.flatnonzero(donor.done())}
        origin = {row: kept[print_] for row, print_ in wanted.items() if print_ in kept}
        if origin:
            _copy(records, origin, _mapped(donor))


def _copy(records: Records, origin: dict[int, int], data: TensorDict) -> None:
    """Write row ``origin[row]`` of ``data`` as ``row``, for those that are still missing."""

    def produce(rows: np.ndarray) -> np.ndarray:
        known = [row for row in rows.tolist() if row in origin]
        for row in known:
            for name in records.fields:
                filler.write(name, row, data.get(name)[origin[row]].numpy())
        return np.array(known, dtype=np.int64)

    with records.filling() as filler:
        filler.fill(produce)


def _mapped(records: Records) -> TensorDict:
    """The fields of records, mapped copy on write."""
    fields = {}
    for field in records.fields.values():
        dtype = getattr(torch, field.dtype)
        size = records.count * field.row_bytes // ITEM_SIZES[field.dtype]
        file = str(records.path(field.name))
        flat = torch.from_file(file, shared=False, size=size, dtype=dtype) if size else torch.empty(0, dtype=dtype)
        fields[field.name] = flat.view(records.count, *field.shape)
    return TensorDict(fields, batch_size=[records.count])


def _free_memory() -> int:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(text.split("MemAvailable:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return 1 << 62
