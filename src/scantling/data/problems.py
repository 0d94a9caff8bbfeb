"""The questions that ``check`` asks of a manifest and of the facts about its files; each yields what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from scantling.core.errors import DataError
from scantling.core.target import label_text
from scantling.data.facts import Facts
from scantling.data.manifest import SPLITS, Manifest
from scantling.data.references import mask_columns
from scantling.data.typos import likely_typos

Severity = Literal["error", "warning"]

_SMALL = 16
"""An image is unusually small below this share (one to this) of the median area."""
_ASPECT = 2.0
_FEW = 0.05
_ENOUGH = 10
"""Images from which on it makes sense to call one unusual."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a manifest.

    Args:
        severity: ``error`` (training would fail or the result be false) or ``warning``.
        kind: a short name, such as ``missing`` or ``patient-in-two-splits``.
        message: what is wrong; names no patient.
        rows: positions of the rows concerned, from 0.
        do: what to do about it.
    """

    severity: Severity
    kind: str
    message: str
    rows: tuple[int, ...]
    do: str

    def to_json(self) -> dict[str, Any]:
        """Plain content."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "message": self.message,
            "rows": list(self.rows),
            "do": self.do,
        }


Question = Callable[[Manifest, Sequence[Facts]], Iterator[Problem]]


def class_counts(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Images of each class in each split (``all`` where there are no splits); positives of each finding."""
    table = manifest.table
    groups = {"all": np.arange(len(table))} if not manifest.has_splits else {s: manifest.split(s) for s in SPLITS}
    findings = [str(c) for c in table if str(c).startswith("label:")]
    out: dict[str, dict[str, int]] = {}
    for split, rows in groups.items():
        part = table.iloc[rows]
        if findings:
            present = {f: pd.to_numeric(part[f], errors="coerce") > 0 for f in findings}
            out[split] = {f.removeprefix("label:"): int(p.sum()) for f, p in present.items()}
        elif "label" in table:
            counts = part["label"].map(label_text).dropna().value_counts().sort_index()
            named = {name: int(counts[name]) for name in _names(manifest) if name in counts}
            out[split] = named | {str(k): int(n) for k, n in counts.items() if k not in named}
        else:
            out[split] = {}
    return {split: counts for split, counts in out.items() if len(groups[split])}


def _names(manifest: Manifest) -> tuple[str, ...]:
    try:
        return manifest.target.names
    except DataError:
        return ()


def missing(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Images that the table names and the disk lacks."""
    rows = _rows(f.missing for f in facts)
    if rows:
        first = manifest.table["image"].iloc[rows[0]]
        yield Problem(
            "error", "missing", f"{_images(rows)} not there, first {first}", rows, "restore them or drop the rows"
        )


def corrupt(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Images that cannot be decoded to their end."""
    rows = _rows(f.error is not None and not f.missing for f in facts)
    if rows:
        first = f"{manifest.table['image'].iloc[rows[0]]}: {facts[rows[0]].error}"
        yield Problem(
            "error", "corrupt", f"{_images(rows)} unusable, first {first}", rows, "replace them or drop the rows"
        )


def blank(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Images of one colour."""
    rows = _rows(f.blank for f in facts)
    if rows:
        yield Problem(
            "warning", "blank", f"{_images(rows)} of one colour", rows, "look at them; drop them if they are empty"
        )


def masks(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Masks that cannot be read, or have another size than their image."""
    bad = _rows(f.mask_error is not None for f in facts)
    if bad:
        named = manifest.table[mask_columns(manifest)].iloc[bad[0]].dropna()
        first = f"{', '.join(named.astype(str))}: {facts[bad[0]].mask_error}"
        yield Problem(
            "error", "mask", f"{_count(bad, 'mask')} unusable, first {first}", bad, "replace them or empty the cells"
        )
    other = _rows(f.mask_size is not None and f.error is None and f.mask_size != f.size for f in facts)
    if other:
        f = facts[other[0]]
        sizes = f"{_times(f.mask_size or (0, 0))} for an image of {_times(f.size)}"
        message = f"{_count(other, 'mask')} of another size than the image, first {sizes}"
        yield Problem("error", "mask-size", message, other, "export masks at the size of their images")


def sizes(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Images far smaller or of another shape than most, and a few grey ones among colour ones or the reverse."""
    good = np.array([i for i, f in enumerate(facts) if f.error is None], dtype=np.int64)
    if len(good) < _ENOUGH:
        return
    height, width = np.array([facts[i].size for i in good], dtype=float).T
    area, aspect = height * width, np.log(width / height)
    odd = (area < np.median(area) / _SMALL) | (np.abs(aspect - np.median(aspect)) > np.log(_ASPECT))
    if odd.any():
        rows = tuple(good[odd].tolist())
        usual = _times((int(np.median(height)), int(np.median(width))))
        message = f"{_images(rows)} unusually small or long, first {_times(facts[rows[0]].size)} (median {usual})"
        yield Problem("warning", "size", message, rows, "look at them: thumbnails, screenshots or other views?")
    colour = np.array([facts[i].channels == 3 for i in good])
    share = colour.mean()
    if 0 < min(share, 1 - share) < _FEW:
        rows = tuple(good[colour == (share < 0.5)].tolist())
        kind = "colour" if share < 0.5 else "grey"
        yield Problem(
            "warning", "channels", f"{_images(rows)} {kind}, unlike the rest", rows, "make sure that they belong"
        )


def duplicates(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Images with the same pixels: in two splits, with different labels, or merely twice."""
    table = pd.DataFrame({"digest": [f.digest for f in facts]})
    table["split"] = manifest.table["split"].fillna("") if "split" in manifest.table else ""
    table["label"] = _labels(manifest)
    table = table[[f.error is None and not f.blank for f in facts]]
    table = table[table.duplicated("digest", keep=False)]
    groups = table.groupby("digest")
    across, torn = groups["split"].transform("nunique") > 1, groups["label"].transform("nunique") > 1
    for kind, severity, flags, say, do in (
        ("duplicate-in-two-splits", "error", across, "with the same pixels in two splits", "keep each in one split"),
        (
            "duplicate-labels",
            "error",
            torn,
            "with the same pixels and different labels",
            "correct the labels or drop the rows",
        ),
        ("duplicate", "warning", ~across & ~torn, "with the same pixels as another", "drop the copies"),
    ):
        part = table[flags]
        if len(part):
            rows = tuple(int(i) for i in part.index)
            pair = [int(i) for i in part.index[part["digest"] == part["digest"].iloc[0]][:2]]
            first = " and ".join(str(manifest.table["image"].iloc[i]) for i in pair)
            yield Problem(severity, kind, f"{_images(rows)} {say}, first {first}", rows, do)  # type: ignore[arg-type]


def patients(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Patients in two splits, and rows without a patient among rows with one."""
    if "patient" not in manifest.table or not manifest.table["patient"].notna().any():
        return
    table = manifest.table
    if manifest.has_splits:
        known = table[table["patient"].notna() & table["split"].notna()]
        torn = known[known.groupby("patient")["split"].transform("nunique") > 1]
        if len(torn):
            rows = tuple(int(i) for i in torn.index)
            count = torn["patient"].nunique()
            message = f"{count} patient{'s' if count > 1 else ''} in two splits ({_images(rows)})"
            yield Problem("error", "patient-in-two-splits", message, rows, "split again by patient")
    empty = _rows(table["patient"].isna())
    if empty:
        message = f"{_images(empty)} without a patient, taken as patients of their own"
        yield Problem("warning", "patient", message, empty, "fill in the column 'patient'")


def labels(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Labels that the target does not know, likely slips of the pen, rows without a label."""
    try:
        target = manifest.target
        target.encode(manifest.table)
    except DataError as error:
        yield Problem(
            "error", "label", f"{error.where}: {error.what}" if error.where else error.what, (), error.do or ""
        )
        target = None
    if "label" not in manifest.table or any(str(c).startswith("label:") for c in manifest.table):
        return
    texts = manifest.table["label"].map(label_text)
    counts = {str(k): int(n) for k, n in texts.value_counts().items()}
    for name, meant in likely_typos(counts):
        rows = _rows(texts == name)
        message = f"class '{name}' ({_images(rows)}) may be a slip for '{meant}' ({counts[meant]})"
        yield Problem("warning", "label-typo", message, rows, f"write '{meant}', if so, and import again")
    empty = _rows(texts.isna())
    if empty and (target is None or target.kind in {"grade", "class"}):
        yield Problem(
            "warning", "unlabelled", f"{_images(empty)} without a label", empty, "they take no part in training"
        )


def classes(manifest: Manifest, facts: Sequence[Facts]) -> Iterator[Problem]:
    """Classes or findings that a split does not have."""
    try:
        target = manifest.target
    except DataError:
        return
    if target.kind not in {"grade", "class", "findings"}:
        return
    for split, counts in class_counts(manifest).items():
        absent = [name for name in target.names if not counts.get(name)]
        if absent:
            place = "the manifest" if split == "all" else split
            names = ", ".join(f"'{n}'" for n in absent)
            yield Problem(
                "warning", "absent-class", f"{place} has no image of {names}", (), "split again, or merge classes"
            )


QUESTIONS: tuple[Question, ...] = (missing, corrupt, masks, patients, duplicates, labels, classes, blank, sizes)


def _labels(manifest: Manifest) -> list[str]:
    """Everything that a row's labels say, as one text; empty where there is none."""
    table = manifest.table
    columns = [c for c in table if c == "label" or str(c).startswith("label:")]
    return ["|".join(label_text(v) or "" for v in row) for row in table[columns].itertuples(index=False)]


def _rows(flags: Iterable[bool]) -> tuple[int, ...]:
    return tuple(i for i, flag in enumerate(flags) if flag)


def _images(rows: Sequence[int]) -> str:
    return _count(rows, "image")


def _count(rows: Sequence[int], noun: str) -> str:
    return f"{len(rows)} {noun}{'s' if len(rows) != 1 else ''}"


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
