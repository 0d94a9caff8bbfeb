"""Which images a prediction is asked for: those of a folder, of files, or of a manifest, frame by frame."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scantling.core.errors import DataError
from scantling.data.eyes import eye_of
from scantling.data.fellows import fellow_rows
from scantling.data.manifest import Manifest, split_part
from scantling.data.readers import count_frames, is_image
from scantling.data.references import Source, references, stamp
from scantling.data.volumes import expanded

RESULTS = ("saliency", "masks", "overlays", "uncertainty", "deviation")
"""Folders of pictures that a prediction writes: never read as its input."""

_SINGLE = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm")
"""Formats of one image a file; a second image in a JPEG is a preview or another view of the same."""

Images = str | Path | Sequence[str | Path] | Manifest


@dataclass(frozen=True)
class Listed:
    """One image to predict.

    Args:
        name: the image in the table of results: relative to the folder given, or as the manifest says.
        source: file, part and frame.
        picture: a name that no other image of the list has, for the pictures of results; a relative path.
        fellow: the other eye of the same patient, where known and asked for.
    """

    name: str
    source: Source
    picture: str
    fellow: Source | None = None


def list_images(images: Images, out: Path | None = None, split: str | None = None, pairs: bool = False) -> list[Listed]:
    """The images meant by ``images``, in the order of the files' names or of the manifest.

    Args:
        images: a folder, with all images in its subfolders; a file, or several (``retina.npz#test_images`` names a part
            of one); a manifest, or its CSV or Parquet file. Every frame of a file is an image of its own; in a manifest
            every row is.
        out: folder of the results; pictures in it are no input.
        split: rows of a manifest; left out, all.
        pairs: look for the fellow eye of every image, in the manifest or by the files' names (``10_left.jpeg``).

    Raises:
        DataError: nothing there, no image, a split without images, or an image that the results would overwrite.
    """
    if not isinstance(images, (Manifest, str, Path)) and len(images) == 1:
        images = images[0]
    if isinstance(images, (str, Path)) and Path(images).suffix.lower() in {".csv", ".parquet"}:
        images = Manifest.read(images)
    if isinstance(images, Manifest):
        found = _of_manifest(images, split, pairs)
    elif split is not None:
        raise DataError(f"only a manifest has a split '{split}'", where=images, do="give a CSV or Parquet file")
    elif isinstance(images, (str, Path)) and Path(images).is_dir():
        folder = Path(images)
        found = _of_files([(path, None) for path in _below(folder, out)], folder, pairs)
        if not found:
            raise DataError("no image in this folder", where=folder, do="give a folder with images, or a manifest")
    else:
        found = _of_named([images] if isinstance(images, (str, Path)) else images, pairs)
    if out is not None:
        places = tuple(Path(os.path.abspath(out / name)) for name in RESULTS)
        for one in found:
            if any(Path(os.path.abspath(one.source.path)).is_relative_to(place) for place in places):
                raise DataError("lies among the results", where=one.source.path, do="choose another folder for them")
    return found


def with_slices(images: Images) -> Images:
    """A manifest whose rows of whole volumes are rows of their slices; anything else as it is."""
    if isinstance(images, (str, Path)) and Path(images).suffix.lower() in {".csv", ".parquet"}:
        images = Manifest.read(images)
    return expanded(images) if isinstance(images, Manifest) else images


def _below(folder: Path, out: Path | None) -> Iterable[Path]:
    """Image files in a folder and below, sorted; hidden ones and results are left out."""
    base, skipped = Path(os.path.abspath(folder)), set[Path]()
    if out is not None:
        place = Path(os.path.abspath(out))
        inside = place.is_relative_to(base) and place != base
        skipped = {place} if inside else {place / name for name in RESULTS}
    paths = []
    for place_, folders, files in os.walk(base):
        folders[:] = [f for f in folders if not f.startswith(".") and Path(place_, f) not in skipped]
        paths += [Path(place_, f) for f in files if not f.startswith(".") and is_image(Path(f))]
    return (folder / p.relative_to(base) for p in sorted(paths, key=lambda p: p.relative_to(base).as_posix()))


def _of_named(names: Sequence[str | Path], pairs: bool) -> list[Listed]:
    files = [split_part(str(name)) for name in names]
    for file, _ in files:
        if not Path(file).is_file():
            what = "a folder among files" if Path(file).is_dir() else "no such file or folder"
            raise DataError(what, where=file, do="give one folder, files, or a manifest")
    if not files:
        raise DataError("no images given", do="give a folder, files, or a manifest")
    base = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file, _ in files])
    return _of_files([(Path(file), part) for file, part in files], Path(base), pairs)


def _of_files(files: Sequence[tuple[Path, str | None]], base: Path, pairs: bool) -> list[Listed]:
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(_frames, files))
    found, sources, eyes = list[tuple[str, Source]](), list[Source](), list[tuple[Path, str, str | None]]()
    for (path, part), numbers in zip(files, frames, strict=True):
        name = Path(os.path.relpath(path, base)).as_posix() + (f"#{part}" if part else "")
        seen = stamp(str(path))
        sources += [Source(str(path), part, number, seen) for number in numbers]
        found += [(name, source) for source in sources[len(found) :]]
        patient, side = eye_of(path.stem)
        eyes += [(path.parent, patient, side if len(numbers) == 1 else None)] * len(numbers)
    fellows: list[Source | None] = [None] * len(found)
    if pairs:
        first = {eye: source for eye, source in reversed(list(zip(eyes, sources, strict=True))) if eye[2]}
        other_side = {"left": "right", "right": "left", None: None}
        fellows = [first.get((folder, patient, other_side[side])) for folder, patient, side in eyes]
    return _listed(found, fellows)


def _frames(file: tuple[Path, str | None]) -> Sequence[int | None]:
    """Numbers of a file's frames; None for the only one. A file that cannot be counted is found out when it is read."""
    if file[0].suffix.lower() in _SINGLE:
        return [None]
    try:
        count = count_frames(*file)
    except DataError:
        return [None]
    return range(count) if count > 1 else [None]


def _of_manifest(manifest: Manifest, split: str | None, pairs: bool) -> list[Listed]:
    rows = range(len(manifest)) if split is None else manifest.split(split).tolist()
    if not len(rows):
        where = "in the manifest" if split is None else f"in the split '{split}'"
        raise DataError(f"no image {where}", where=manifest.source, do="choose another split or manifest")
    sources = [reference.image for reference in references(manifest)]
    names = manifest.table["image"].tolist()
    others = fellow_rows(manifest).tolist() if pairs else [-1] * len(sources)
    fellows = [sources[others[row]] if others[row] >= 0 else None for row in rows]
    return _listed([(names[row], sources[row]) for row in rows], fellows)


def _listed(found: Sequence[tuple[str, Source]], fellows: Sequence[Source | None]) -> list[Listed]:
    seen, out = Counter[str](), list[Listed]()
    absolute = [os.path.dirname(name) for name, _ in found if PurePosixPath(name).is_absolute()]
    base = os.path.commonpath(absolute) if absolute else ""
    for (name, source), fellow in zip(found, fellows, strict=True):
        shown = os.path.relpath(name, base) if PurePosixPath(name).is_absolute() else name
        parts = [p for p in PurePosixPath(shown).parts if p != ".."]
        picture = "/".join(parts) + ("" if source.frame is None else f".{source.frame:04}")
        seen[picture] += 1
        out.append(Listed(name, source, picture if seen[picture] == 1 else f"{picture}~{seen[picture]}", fellow))
    return out
