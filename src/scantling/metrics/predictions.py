"""What a model said about labelled images, as arrays: the input of every evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scantling.core.errors import DataError
from scantling.core.target import Target


@dataclass(frozen=True)
class Predictions:
    """Predictions beside the truth.

    Args:
        target: what the model predicts.
        labels: classes ``(N,)`` int, -1 where missing; or findings ``(N, K)`` float, NaN where not known.
        probabilities: ``(N, K)`` in [0, 1]; their arg-max is the predicted class.
        scores: continuous severities ``(N,)``, where the objective has one.
        groups: patient codes ``(N,)`` as ints (negative: not known), or None.
        columns: other columns of the manifest to tabulate by, ``{name: (N,) str}``.
        names: image names, N of them or none.

    Raises:
        DataError: lengths that differ, or probabilities that are not finite.
    """

    target: Target
    labels: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray | None = None
    groups: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        n, size = len(self.labels), self.target.size
        if self.probabilities.shape != (n, size):
            shape = self.probabilities.shape
            raise DataError(f"probabilities of shape {shape} for {n} labels of {size} {self.target.kind} names")
        lengths = {"scores": self.scores, "groups": self.groups, **self.columns}
        wrong = [name for name, values in lengths.items() if values is not None and len(values) != n]
        if self.names and len(self.names) != n:
            wrong.append("names")
        if wrong:
            raise DataError(f"{wrong[0]} has not the length {n} of the labels")
        if not np.isfinite(self.probabilities).all():
            row = int((~np.isfinite(self.probabilities)).any(1).argmax())
            where = self.names[row] if self.names else f"row {row}"
            raise DataError("a probability is not finite", where=where, do="the weights or the image may be broken")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        """Predicted classes ``(N,)`` int; for findings ``(N, K)`` bool, from a probability of 0.5 on."""
        return self.probabilities >= 0.5 if self.target.kind == "findings" else self.probabilities.argmax(1)

    @property
    def labelled(self) -> np.ndarray:
        """Rows that have a label, ``(N,)`` bool."""
        return ~np.isnan(self.labels).all(1) if self.labels.ndim == 2 else self.labels >= 0

    def select(self, rows: np.ndarray) -> Predictions:
        """The predictions of some rows: a boolean ``(N,)`` or positions."""
        at = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return Predictions(
            target=self.target,
            labels=self.labels[at],
            probabilities=self.probabilities[at],
            scores=None if self.scores is None else self.scores[at],
            groups=None if self.groups is None else self.groups[at],
            columns={name: values[at] for name, values in self.columns.items()},
            names=[self.names[i] for i in at] if self.names else [],
        )
