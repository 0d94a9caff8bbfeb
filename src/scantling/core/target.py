"""Targets: what a model predicts. A target knows its head size, how labels are encoded and outputs decoded, and its
default objective and metrics; it is written into every bundle, so that a prediction can be read years later.

In a manifest the column ``target`` holds the target's spec, such as ``grade:5`` or ``class:normal|benign|malignant``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from scantling.core.errors import DataError, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MISSING_INDEX = -1
"""Encoded label of a sample without one, for integer targets; float targets use NaN."""


@dataclass(frozen=True)
class Target(ABC):
    """What a model predicts.

    Args:
        names: names of the grades, classes, findings or mask classes, in the order of the outputs.
    """

    names: tuple[str, ...]
    kind: ClassVar[str]
    objective: ClassVar[str]
    """Default objective: a class of ``scantling.tasks.objectives``."""
    metrics: ClassVar[tuple[str, ...]]
    """Default metrics, most important first: the first one selects the best checkpoint."""
    dense: ClassVar[bool] = False
    """Whether it is predicted for every pixel."""

    @property
    def size(self) -> int:
        """Number of grades, classes or findings."""
        return len(self.names)

    @property
    def structures(self) -> tuple[str, ...]:
        """What masks draw and what is scored in them; nothing for targets that are no masks."""
        return ()

    @property
    def spec(self) -> str:
        """One line that :func:`parse_target` reads back."""
        return f"{self.kind}:{'|'.join(self.names)}"

    def to_json(self) -> dict[str, Any]:
        """Plain content for ``bundle.json``."""
        return {"kind": self.kind, "names": list(self.names)}

    @abstractmethod
    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """Labels of a manifest as an array: ``(N,)`` int64, or ``(N, K)`` float32 for findings.

        Raises:
            DataError: a label that the target does not know, with its row.
        """

    @abstractmethod
    def decode(self, probabilities: np.ndarray) -> list[str]:
        """The predicted name of every row of ``probabilities (N, K)``."""


def _encode_column(target: Target, table: pd.DataFrame) -> np.ndarray:
    import numpy as np

    if "label" not in table:
        raise DataError("no column 'label'", do=f"a {target.kind} target needs one label an image")
    positions = {name: i for i, name in enumerate(target.names)}
    out = np.full(len(table), MISSING_INDEX, dtype=np.int64)
    for row, value in enumerate(table["label"].tolist()):
        text = label_text(value)
        if text is None:
            continue
        if text in positions:
            out[row] = positions[text]
        elif target.kind == "grade" and text.isdigit() and int(text) < target.size:
            out[row] = int(text)
        else:
            raise DataError(
                f"label '{text}' is not one of {', '.join(target.names)}{nearest(text, target.names)}",
                where=f"row {row + 2}",
                do="correct the label or name the classes in the target",
            )
    return out


def label_text(value: object) -> str | None:
    """A label cell as text: whole floats lose their ``.0``, empty cells become None.

    >>> label_text(2.0), label_text(" mild "), label_text(float("nan")), label_text("")
    ('2', 'mild', None, None)
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if text.endswith(".0") and text[:-2].isdigit():
        text = text[:-2]
    return text if text and text.lower() not in {"nan", "none", "<na>"} else None


@dataclass(frozen=True)
class OneOf(Target):
    """Exactly one of K names an image, in the manifest's column ``label``."""

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        return _encode_column(self, table)

    def decode(self, probabilities: np.ndarray) -> list[str]:
        return [self.names[i] for i in probabilities.argmax(1)]


@dataclass(frozen=True)
class Grade(OneOf):
    """Ordinal grades 0 ... K-1: neighbouring grades are alike, and a confusion costs its squared distance."""

    kind: ClassVar[str] = "grade"
    objective: ClassVar[str] = "scantling.tasks.objectives.MSEGrade"
    metrics: ClassVar[tuple[str, ...]] = (
        "quadratic_weighted_kappa", "accuracy", "balanced_accuracy", "macro_f1", "auroc", "auprc", "kappa",
    )  # fmt: skip


@dataclass(frozen=True)
class Classes(OneOf):
    """One of K classes without order."""

    kind: ClassVar[str] = "class"
    objective: ClassVar[str] = "scantling.tasks.objectives.CrossEntropy"
    metrics: ClassVar[tuple[str, ...]] = (
        "balanced_accuracy", "accuracy", "macro_f1", "auroc", "auprc", "kappa",
    )  # fmt: skip


@dataclass(frozen=True)
class Findings(Target):
    """Any number of K findings an image, each present (1), absent (0) or unknown (empty). Columns ``label:<name>``."""

    kind: ClassVar[str] = "findings"
    objective: ClassVar[str] = "scantling.tasks.objectives.MultiLabel"
    metrics: ClassVar[tuple[str, ...]] = ("auroc", "auprc", "macro_f1", "accuracy")

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        import numpy as np
        import pandas as pd

        out = np.full((len(table), self.size), np.nan, dtype=np.float32)
        for k, name in enumerate(self.names):
            column = f"label:{name}"
            if column not in table:
                raise DataError(f"no column '{column}'{nearest(column, table.columns)}", do="import the findings again")
            values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float32, na_value=np.nan)
            stray = ~(np.isnan(values) | np.isin(values, (0.0, 1.0)))
            stray |= np.isnan(values) & table[column].map(label_text).notna().to_numpy()
            if stray.any():
                row = int(stray.argmax())
                raise DataError(
                    f"'{table[column].iloc[row]}' in column '{column}' is not 0, 1 or empty",
                    where=f"row {row + 2}",
                    do="correct the label",
                )
            out[:, k] = values
        return out

    def decode(self, probabilities: np.ndarray) -> list[str]:
        return ["|".join(n for n, p in zip(self.names, row, strict=True) if p >= 0.5) for row in probabilities]


@dataclass(frozen=True)
class Mask(Target):
    """A class for every pixel; class 0 is the background. The manifest's column ``mask`` names the mask files, whose
    pixels hold class numbers, or, for two classes, anything above half of the range is class 1."""

    kind: ClassVar[str] = "mask"
    objective: ClassVar[str] = "scantling.tasks.objectives.DiceCrossEntropy"
    metrics: ClassVar[tuple[str, ...]] = ("dice", "hd95")
    dense: ClassVar[bool] = True

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        import numpy as np

        if "mask" not in table:
            raise DataError("no column 'mask'", do="a mask target needs one mask file an image")
        return np.full(len(table), MISSING_INDEX, dtype=np.int64)

    def decode(self, probabilities: np.ndarray) -> list[str]:
        """Names of the classes present in the arg-max of ``probabilities (N, K, H, W)``."""
        import numpy as np

        return ["|".join(self.names[k] for k in np.unique(p.argmax(0)) if k > 0) for p in probabilities]

    @property
    def structures(self) -> tuple[str, ...]:
        """What is drawn and scored: the classes without the background."""
        return self.names[1:]


MAX_STRUCTURES = 7
"""Structures of one target: a pixel's structures are the bits of one byte, of which 255 means unknown."""


@dataclass(frozen=True)
class Masks(Target):
    """Structures that may overlap, such as a cup inside its disc; each pixel belongs to any number of them.

    A manifest has one column of mask files a structure (``mask:disc``, ``mask:cup``), each with anything above half of
    its range inside; an empty cell means that this structure was not drawn in this image. Or its column ``mask`` names
    files whose pixels are sums of bits: 1 for the first structure, 2 for the second, 4 for the third ...

    Raises:
        DataError: more than seven structures.
    """

    kind: ClassVar[str] = "masks"
    objective: ClassVar[str] = "scantling.tasks.objectives.DiceBinaryCrossEntropy"
    metrics: ClassVar[tuple[str, ...]] = ("dice", "hd95")
    dense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.names) > MAX_STRUCTURES:
            what = f"{len(self.names)} structures, and at most {MAX_STRUCTURES} fit into one target"
            raise DataError(what, where="masks", do="train two models, or an exclusive target: mask:background|...")

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """Which structures were drawn, ``(N, K)`` float32: 1, or NaN where a structure has no mask in an image."""
        import numpy as np

        columns = [f"mask:{name}" for name in self.names]
        missing = [c for c in columns if c not in table]
        if missing and "mask" not in table:
            raise DataError(
                f"no column '{missing[0]}'{nearest(missing[0], table.columns)}", do="a column of mask files a structure"
            )
        given = [table["mask" if missing else c].notna().to_numpy(dtype=bool) for c in columns]
        return np.where(np.stack(given, axis=1), np.float32(1), np.float32(np.nan))

    def decode(self, probabilities: np.ndarray) -> list[str]:
        """Names of the structures with any pixel of at least one half in ``probabilities (N, K, H, W)``."""
        return ["|".join(n for n, p in zip(self.names, row, strict=True) if (p >= 0.5).any()) for row in probabilities]

    @property
    def structures(self) -> tuple[str, ...]:
        """What is drawn and scored: all of them."""
        return self.names


PLANES = ("head", "abdomen", "femur")
"""Standard planes of fetal biometry."""


@dataclass(frozen=True)
class Biometry(Target):
    """Which standard plane of a fetus an image shows, and the outline of what is measured in it.

    Names are planes, any of head, abdomen and femur. The plane is in the manifest's column ``plane``, or ``label``; the
    filled outline in ``mask``. Either may be empty in a row, which then teaches the other alone.
    """

    kind: ClassVar[str] = "biometry"
    objective: ClassVar[str] = "scantling.tasks.objectives.PlaneAndMask"
    metrics: ClassVar[tuple[str, ...]] = ("mae", "dice", "plane_accuracy")
    dense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        stray = [name for name in self.names if name not in PLANES]
        if stray:
            raise DataError(
                f"'{stray[0]}' is no plane{nearest(stray[0], PLANES)}",
                where="target",
                do=f"use some of {', '.join(PLANES)}",
            )

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """Number of the plane ``(N,)`` int64; -1 where it is not given, and 0 in all rows where there is one plane."""
        import numpy as np

        if "plane" in table:
            table = table.assign(label=table["plane"])
        if self.size == 1 and "label" not in table:
            return np.zeros(len(table), dtype=np.int64)
        return _encode_column(self, table)

    def decode(self, probabilities: np.ndarray) -> list[str]:
        """The plane of every row of ``probabilities (N, 1 + K, H, W)``: the mask's come first."""
        return [self.names[i] for i in probabilities[:, 1:].mean((2, 3)).argmax(1)]

    @property
    def structures(self) -> tuple[str, ...]:
        """What is drawn and scored: one outline, whatever the plane."""
        return ("outline",)


@dataclass(frozen=True)
class NoTarget(Target):
    """Images without labels: pretraining, generation, prediction."""

    names: tuple[str, ...] = ()
    kind: ClassVar[str] = "none"
    objective: ClassVar[str] = ""
    metrics: ClassVar[tuple[str, ...]] = ()

    @property
    def spec(self) -> str:
        return self.kind

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        import numpy as np

        return np.full(len(table), MISSING_INDEX, dtype=np.int64)

    def decode(self, probabilities: np.ndarray) -> list[str]:
        return [""] * len(probabilities)


TARGETS: dict[str, type[Target]] = {t.kind: t for t in (Grade, Classes, Findings, Mask, Masks, Biometry, NoTarget)}


def make_target(kind: str, names: Sequence[str] = ()) -> Target:
    """A target from its kind and names.

    Raises:
        DataError: an unknown kind, or names that repeat.

    >>> make_target("grade", ["0", "1", "2"]).size
    3
    """
    if kind not in TARGETS:
        raise DataError(f"unknown target '{kind}'{nearest(kind, TARGETS)}", do=f"use one of {', '.join(TARGETS)}")
    names = tuple(str(n) for n in names)
    if len(set(names)) != len(names):
        raise DataError("a target's names must differ", where=", ".join(names), do="rename the classes")
    return TARGETS[kind](names)


def parse_target(spec: str, table: pd.DataFrame | None = None) -> Target:
    """A target from one line: a kind, with an optional count or names; without names they are read from ``table``.

    Raises:
        DataError: the line cannot be understood, or names are missing and there is no table.

    >>> parse_target("grade:5").names
    ('0', '1', '2', '3', '4')
    >>> parse_target("class:cat|dog").names
    ('cat', 'dog')
    """
    kind, _, rest = spec.partition(":")
    kind = kind.strip()
    if rest.strip().isdigit():
        return make_target(kind, [str(i) for i in range(int(rest))])
    if rest:
        return make_target(kind, [n.strip() for n in rest.split("|")])
    if kind in {"none", ""}:
        return NoTarget()
    if kind == "mask":
        return make_target(kind, ["background", "foreground"])
    if kind == "biometry":
        return make_target(kind, _planes_in(table))
    if table is None:
        return make_target(kind, ())
    return make_target(kind, _names_in(kind, table))


def _names_in(kind: str, table: pd.DataFrame) -> list[str]:
    prefix = {"findings": "label:", "masks": "mask:"}.get(kind)
    if prefix is not None:
        return [c.removeprefix(prefix) for c in table.columns if str(c).startswith(prefix)]
    if "label" not in table:
        raise DataError("no column 'label'", do="name the label column when importing")
    found = {t for t in table["label"].map(label_text) if isinstance(t, str)}
    if kind == "grade":
        stray = sorted(t for t in found if not t.isdigit())
        if stray:
            raise DataError(
                f"'{stray[0]}' is not a grade", do="grades are whole numbers from 0, or name them: grade:none|mild|..."
            )
        return [str(i) for i in range(max((int(t) for t in found), default=-1) + 1)]
    return sorted(found, key=lambda t: (not t.isdigit(), int(t) if t.isdigit() else 0, t))


def _planes_in(table: pd.DataFrame | None) -> list[str]:
    """Planes that a table names, in their usual order; all of them where it names none."""
    column = next((c for c in ("plane", "label") if table is not None and c in table), None)
    cells = [] if table is None or column is None else [label_text(cell) for cell in table[column]]
    found = {cell for cell in cells if cell is not None}
    return [p for p in PLANES if p in found] + sorted(f for f in found if f not in PLANES) or list(PLANES)


def target_of(table: pd.DataFrame) -> Target:
    """The target that a manifest carries in its column ``target``, else the one its columns suggest.

    Raises:
        DataError: rows of one manifest name different targets.
    """
    if "target" in table and table["target"].notna().any():
        specs = table["target"].dropna().unique().tolist()
        if len(specs) > 1:
            raise DataError(f"several targets in one manifest: {', '.join(map(str, specs))}", do="split the manifest")
        return parse_target(str(specs[0]), table)
    if any(str(c).startswith("label:") for c in table.columns):
        return parse_target("findings", table)
    if "label" in table and table["label"].notna().any():
        return parse_target("class", table)
    if any(str(c).startswith("mask:") for c in table.columns):
        return parse_target("masks", table)
    if "mask" in table and table["mask"].notna().any():
        return parse_target("mask", table)
    return NoTarget()
