"""What a prediction does with fetal biometry: lengths, ages and weights, masks, and callipers over the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from scantling.core.errors import RecipeError
from scantling.core.files import writing
from scantling.data.readers import read_picture
from scantling.measure.clean import clean
from scantling.measure.examination import spread
from scantling.measure.perimeter import Formula
from scantling.measure.planes import LENGTHS, callipers, measure_planes, outline
from scantling.run.biometry_overlay import draw_callipers
from scantling.run.examinations import examine
from scantling.run.listing import Listed
from scantling.run.mask_files import MaskFormat, write_png
from scantling.run.model import Model, Segmented
from scantling.run.pixel_sizes import Origin
from scantling.run.predict_masks import write_uncertainty
from scantling.run.reading import Seen

EXAMINATIONS = "examinations.csv"
LARGEST_SPREAD = 0.03
"""Standard deviation over the views, as a share of the length, above which a person should look."""

_AGE = "gestational_age_weeks"
_TOLD = (_AGE, "gestational_age_formula", "overlap", "fit", "circumference_formula")


@dataclass
class BiometryWriter:
    """Measurements of the images of a list.

    Args:
        model: predicts planes and outlines.
        folder: of the results; None to write nothing.
        listed: the images.
        origins: of the same images.
        unit: of all lengths: millimetres, or pixels of the originals.
        form: of mask files; only PNG.
        overlays: draw callipers over the originals.
        uncertainty: write maps of the entropy and, with test-time augmentation, of the deviation.
        formula: of circumferences.
        threads: that measure and write.

    Raises:
        RecipeError: masks are asked for in another form.
    """

    model: Model
    folder: Path | None
    listed: Sequence[Listed]
    origins: Sequence[Origin]
    unit: Literal["mm", "px"]
    form: MaskFormat
    overlays: bool
    uncertainty: bool
    formula: Formula
    threads: int

    def __post_init__(self) -> None:
        if self.form == "dicom":
            raise RecipeError("outlines of biometry are written as PNG", where="mask_format", do="use auto or png")

    def columns(self, known: set[str]) -> list[str]:
        """Columns of the table between the image and the error; of those that may be left out, the known ones."""
        names = ["examination"] if any(o.examination is not None for o in self.origins) else []
        names += ["prediction", "quality", "reason", *(f"p_{plane}" for plane in self.model.target.names)]
        for plane in self.model.target.names:
            for length in LENGTHS[plane]:
                names += [f"{length}_{self.unit}", f"{length}_{self.unit}_sd"]
            names += ["cephalic_index", "cephalic_index_sd"] if plane == "head" else []
        ages = [_AGE, f"{_AGE}_sd", "gestational_age_formula"] if self.unit == "mm" else []
        names += [*ages, "overlap", "fit", "circumference_formula", "uncertainty"]
        names += ["mask"] if self.folder is not None else []
        return [name for name in names if not name.endswith("_sd") or name in known]

    def rows(self, seen: Sequence[Seen], found: Segmented) -> list[dict[str, Any]]:
        """Measure a batch, write what belongs to it, and give its rows of the table."""
        planes = found.probabilities[:, 1:].mean((2, 3)).double().cpu().numpy()

        def one(i: int) -> dict[str, Any]:
            views = None if found.views is None or len(found.views) < 2 else found.views[:, i, 0]
            deviation = None if found.deviation is None else found.deviation[i]
            return self._row(seen[i], found.probabilities[i, 0], planes[i], views, found.entropy[i], deviation)

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(one, range(len(seen))))

    def finish(self, done: Mapping[int, Mapping[str, Any]]) -> Path | None:
        """Put the images of every examination together; a table without any examination is not written.

        Args:
            done: rows of the images that were predicted, by their number.

        Returns:
            The table's path, where one was written.
        """
        table = self.examinations(done)
        if self.folder is None or table is None:
            return None
        path = self.folder / EXAMINATIONS
        with writing(path) as part:
            table.to_csv(part, index=False, lineterminator="\n", float_format="%.6g")
        return path

    def examinations(self, done: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame | None:
        """One row an examination: mean lengths, age and weight; None where no examination is known, or in pixels."""
        if self.unit == "px" or all(origin.examination is None for origin in self.origins):
            return None
        groups: dict[int, list[Mapping[str, Any]]] = {}
        for number, row in sorted(done.items()):
            examination = self.origins[number].examination
            if examination is not None:
                groups.setdefault(examination, []).append(row)
        weeks = {o.examination: o.weeks for o in self.origins if o.weeks is not None}
        return pd.DataFrame([{"examination": n, **examine(rows, weeks.get(n))} for n, rows in sorted(groups.items())])

    def clear(self) -> None:
        """Nothing is left to remove."""

    def _row(
        self,
        seen: Seen,
        mask: Tensor,
        planes: np.ndarray,
        views: Tensor | None,
        entropy: Tensor,
        deviation: Tensor | None,
    ) -> dict[str, Any]:
        assert seen.placement is not None
        placement, origin, names = seen.placement, self.origins[seen.number], self.model.target.names
        best = int(planes.argmax())
        enlarged = placement.enlarged(mask)
        spacing = None if self.unit == "px" else origin.spacing
        # A single plane is no choice: its probability of 1 says nothing.
        sure = None if len(names) == 1 else planes[best : best + 1]
        measured = measure_planes(enlarged[None], [names[best]], spacing, sure, formula=self.formula)[0]
        deviations = {} if views is None else self._spread(views, placement, names[best], spacing)
        row: dict[str, Any] = {
            **({} if origin.examination is None else {"examination": origin.examination}),
            "prediction": names[best],
            **{f"p_{name}": float(p) for name, p in zip(names, planes, strict=True)},
            **self._named(measured, deviations),
            **quality_of(measured, deviations),
        }
        top, left, height, width = placement.place
        row["uncertainty"] = float(entropy[top : top + height, left : left + width].mean())
        if self.folder is None:
            return row
        picture = self.listed[seen.number].picture
        row["mask"] = f"masks/{picture}.png"
        drawn = clean((enlarged >= 0.5)[None])[0]
        write_png(self.folder / row["mask"], drawn.astype(np.uint8) * np.uint8(255))
        if self.overlays:
            write_png(self.folder / f"overlays/{picture}.png", self._overlay(seen.number, measured, row))
        if self.uncertainty:
            write_uncertainty(self.folder, picture, placement, entropy, deviation)
        return row

    def _spread(
        self, views: Tensor, placement: Any, plane: str, spacing: tuple[float, float] | None
    ) -> dict[str, float]:
        """Standard deviation over the views of everything that was measured in at least two of them."""
        maps = np.stack([placement.enlarged(view) for view in views])
        return spread(measure_planes(maps, [plane] * len(maps), spacing, formula=self.formula, keep_doubtful=True))

    def _named(self, measured: Mapping[str, Any], deviations: Mapping[str, float]) -> dict[str, Any]:
        """Lengths with their unit in the name; None for what could not be measured, and for its deviation."""
        plane = measured["plane"]
        names = {length: f"{length}_{self.unit}" for length in LENGTHS[plane]}
        names |= {"cephalic_index": "cephalic_index"} if plane == "head" else {}
        out: dict[str, Any] = {}
        for name, column in (names | {told: told for told in _TOLD}).items():
            value = measured.get(name)
            out[column] = None if isinstance(value, float) and not np.isfinite(value) else value
            if name in deviations:
                out[f"{column}_sd"] = None if out[column] is None else deviations[name]
        return out

    def _overlay(self, number: int, measured: dict[str, Any], row: Mapping[str, Any]) -> np.ndarray:
        source = self.listed[number].source
        pixels = read_picture(Path(source.path), source.part, source.frame).to_uint8()
        # Doubtful lengths are not told, but what was fitted is shown beside the reason.
        return draw_callipers(pixels, outline(measured), callipers(measured), lines_of(row, self.unit), warning_of(row))


def quality_of(measured: Mapping[str, Any], deviations: Mapping[str, float]) -> dict[str, str]:
    """``quality``: ``good``; ``check``, measured but with a reason to look; ``rejected``, not measured; ``reason``.

    Args:
        measured: of one picture, as ``measure_planes`` gives it.
        deviations: standard deviations over views, by the names of the lengths.
    """
    main = LENGTHS[measured["plane"]][0]
    reasons = [measured["reason"]] if measured["reason"] else []
    rejected = not np.isfinite(measured[main])
    share = deviations.get(main, 0.0) / measured[main] if not rejected else 0.0
    if share > LARGEST_SPREAD:
        reasons.append(f"the views disagree (standard deviation {100 * share:.0f} %)")
    return {"quality": "rejected" if rejected else "check" if reasons else "good", "reason": "; ".join(reasons)}


def lines_of(row: Mapping[str, Any], unit: str) -> list[str]:
    """What is written on an overlay: the lengths of a row of the table, its plane, its age."""
    plane = str(row["prediction"])
    parts = []
    for length in LENGTHS[plane]:
        value, deviation = row.get(f"{length}_{unit}"), row.get(f"{length}_{unit}_sd")
        if value is not None and not length.startswith("abdomen"):
            parts.append(f"{length.upper()} {value:.1f}" + (f" ± {deviation:.1f}" if deviation else "") + f" {unit}")
    age = row.get(_AGE)
    seen = f"{plane} ({row[f'p_{plane}']:.2f})"
    if age is not None:
        seen += f", {int(age)} weeks {int(age % 1 * 7)} days"
    return ["   ".join(parts), seen] if parts else [seen]


def warning_of(row: Mapping[str, Any]) -> str:
    """Why a person should look."""
    return "" if row["quality"] == "good" else f"{row['quality']}: {row['reason']}"
