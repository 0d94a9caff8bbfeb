"""Decoding the images of a manifest into records, by threads here or by processes that this module is the program of.

Run as ``python -m scantling.data.build`` it reads one JSON object from standard input and fills the records it names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scantling.core.errors import DataError
from scantling.data.masks import read_masks
from scantling.data.preprocess import UNKNOWN, Preprocess
from scantling.data.readers import read_picture
from scantling.data.records import Filler, Progress, Records, load_records
from scantling.data.references import Reference, Source, has_masks, mask_classes, references, stamp

if TYPE_CHECKING:
    from scantling.data.manifest import Manifest

_PROCESSES_FROM = 3
"""Workers from which processes are worth their start. Pillow lets go of Python's lock while it decodes, resizes and
filters, so two threads are as fast as two processes; the lock shows with more."""

_WORTH_SECONDS = 8.0
"""Remaining seconds from which processes are started; one starts in about 0.4 s."""

_NAMED = 5


class Decoder:
    """Gives the preprocessed pixels of any row of a manifest.

    Args:
        rows: the files of every row.
        preprocess: what is done to them.
        num_classes: values of the masks, see :func:`scantling.data.references.mask_classes`.
        masks: whether every row gets a mask; rows without a mask file get one that is unknown everywhere.
    """

    def __init__(self, rows: Sequence[Reference], preprocess: Preprocess, num_classes: int, masks: bool) -> None:
        self.rows, self.preprocess, self.num_classes, self.masks = rows, preprocess, num_classes, masks

    def __call__(self, row: int) -> dict[str, np.ndarray]:
        """``image`` uint8 ``(C, H, W)`` and, with masks, ``mask`` uint8 ``(H, W)``.

        Raises:
            DataError: a file that cannot be read, or that has changed since the manifest was looked at.
        """
        image, masks, roi = self.rows[row]
        picture = read_picture(Path(image.path), image.part, image.frame)
        classes = read_masks(self.rows[row], self.num_classes) if self.masks else None
        try:
            pixels, classes = self.preprocess.apply(picture, classes)
        except DataError as error:
            raise DataError(error.what, where=image.path, do=error.do) from None
        for source in (image, *masks, roi):
            if source is not None and stamp(source.path) != source.stamp:
                raise DataError("the file changes while it is read", where=source.path, do="run again")
        if not self.masks:
            return {"image": pixels}
        return {"image": pixels, "mask": np.full(pixels.shape[1:], UNKNOWN, np.uint8) if classes is None else classes}

    def many(
        self, rows: Sequence[int], pool: ThreadPoolExecutor, put: Callable[[int, str, np.ndarray], None]
    ) -> Failures:
        """Decode rows in threads and hand every field to ``put(row, name, array)``; the rows that failed, and why."""

        def one(row: int) -> tuple[int, DataError] | None:
            try:
                fields = self(row)
            except DataError as error:
                return row, error
            for name, array in fields.items():
                put(row, name, array)
            return None

        return dict(failure for failure in pool.map(one, rows) if failure is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain content for another process."""
        return {
            "rows": self.rows,
            "preprocess": self.preprocess.to_json(),
            "num_classes": self.num_classes,
            "masks": self.masks,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Decoder:
        """The inverse of :meth:`to_json`."""

        def source(cells: list[Any]) -> Source:
            path, part, frame, times = cells
            return Source(path, part, frame, times and (times[0], times[1]))

        rows = [
            Reference(source(image), tuple(mask and source(mask) for mask in masks), roi and source(roi))
            for image, masks, roi in content["rows"]
        ]
        preprocess = Preprocess.from_json(content["preprocess"])
        return cls(rows, preprocess, content["num_classes"], content["masks"])


def decoder_of(manifest: Manifest, preprocess: Preprocess) -> Decoder:
    """The decoder of a manifest's images and, where it names any, masks.

    Raises:
        DataError: a manifest without rows.
    """
    if not len(manifest):
        raise DataError("the manifest has no rows", where=manifest.source, do="give a manifest with images")
    masks = has_masks(manifest)
    return Decoder(references(manifest), preprocess, mask_classes(manifest) if masks else 0, masks)


Failures = dict[int, DataError]
"""Rows that cannot be read, and why."""


def build(
    records: Records,
    decoder: Decoder,
    workers: int = 1,
    progress: Progress | None = None,
    processes: bool | None = None,
) -> Failures:
    """Fill records with decoded images, together with any other process that does the same.

    Args:
        records: with fields ``image`` and, with masks, ``mask``.
        decoder: gives the rows.
        workers: threads, or processes where they are worth their start.
        progress: called after every chunk.
        processes: whether to start processes; None to decide by the time that the first chunk takes.

    Returns:
        The rows that cannot be read; all others are whole.

    Raises:
        ScantlingError: the disk is full or cannot be written; rows already whole stay.
    """
    failures: Failures = {}
    with records.filling() as filler:
        if processes is None and workers >= _PROCESSES_FROM:
            started, before = time.perf_counter(), int(records.done().sum())
            _fill(filler, decoder, workers, failures, progress, chunks=1)
            rate = (time.perf_counter() - started) / max(int(records.done().sum()) - before, 1)
            processes = rate * float((~records.done()).sum()) > _WORTH_SECONDS
        if processes:
            _in_processes(records, decoder, workers, progress)
        _fill(filler, decoder, workers, failures, progress)
    return failures


def report(failures: Failures, total: int, where: object) -> DataError:
    """One error for all rows that cannot be read: the first five by name, and how many there are."""
    named = [f"{e.where or 'image'} (row {row + 2}: {e.what})" for row, e in sorted(failures.items())[:_NAMED]]
    more = f" and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    return DataError(
        f"{len(failures)} of {total} images cannot be used: {', '.join(named)}{more}",
        where=where,
        do="replace these files or take their rows out of the manifest; the other images stay as they are prepared",
    )


def _fill(
    filler: Filler,
    decoder: Decoder,
    threads: int,
    failures: Failures,
    progress: Progress | None = None,
    keep_going: Callable[[], bool] = lambda: True,
    chunks: int | None = None,
) -> None:
    with ThreadPoolExecutor(max(threads, 1)) as pool:

        def produce(rows: np.ndarray) -> np.ndarray:
            failed = decoder.many(rows.tolist(), pool, lambda row, name, array: filler.write(name, row, array))
            failures.update(failed)
            return np.array([r for r in rows.tolist() if r not in failed], dtype=np.int64)

        filler.fill(produce, progress, keep_going, chunks)


def _in_processes(records: Records, decoder: Decoder, workers: int, progress: Progress | None) -> None:
    """Run this module as a program, ``workers`` times. Nothing depends on its success: what is left is filled here."""
    job = json.dumps({"folder": str(records.folder), **decoder.to_json()}).encode()
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "scantling.data.build"]
    children = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        for _ in range(workers)
    ]
    try:
        for child in children:
            _send(child, job)
        while any(child.poll() is None for child in children):
            time.sleep(0.05)
            if progress is not None:
                progress(int(records.done().sum()), records.count)
    finally:
        for child in children:
            child.kill()
            child.wait()


def _send(child: subprocess.Popen[bytes], job: bytes) -> None:
    if child.stdin is not None:
        try:
            child.stdin.write(job)
            child.stdin.close()
        except BrokenPipeError:
            child.wait()


def main() -> None:
    """Fill the records named on standard input, until they are full or the process that asked for it ends."""
    parent = os.getppid()
    job = json.load(sys.stdin)
    records = load_records(Path(job["folder"]))
    if records is not None:
        with records.filling() as filler:
            _fill(filler, Decoder.from_json(job), 1, {}, keep_going=lambda: os.getppid() == parent)


if __name__ == "__main__":
    main()
