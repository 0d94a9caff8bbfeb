"""From a trained task to a bundle: tensors, description and model card."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scantling import __version__
from scantling.core.bundle import write_bundle
from scantling.core.files import write_text, writing_folder

if TYPE_CHECKING:
    from torch import Tensor

DISCLAIMER = "This model is a research result. It is not a medical device and must not decide on the care of patients."


def save_bundle(
    folder: Path,
    state: Mapping[str, Tensor],
    description: Mapping[str, Any],
    about: Mapping[str, str],
    attachments: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write a bundle, whole or not at all.

    Args:
        folder: of the bundle.
        state: tensors ``adapter.*`` and ``objective.*``.
        description: adapter, objective, target, inputs, preprocess, temperature, provenance, metrics, meter.
        about: recipe's name, summary and paper.
        attachments: further text files, by name.

    Returns:
        The folder.
    """
    meta = {"scantling": __version__, **description}
    with writing_folder(folder) as part:
        write_bundle(part, meta, state, model_card(meta, about))
        for name, text in attachments.items():
            write_text(part / name, text)
    return folder


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"scantling": __version__, "python": platform.python_version()}
    for package in ("torch", "lightning", "timm", "kornia", "tensordict", "monai", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def model_card(meta: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """The bundle's README: intended use, data, metrics, limits."""
    target, data = meta["target"], meta["provenance"]["data"]
    names = ", ".join(target["names"]) or "-"
    lines = [
        f"# {about.get('name', 'model')}",
        "",
        about.get("summary", ""),
        "",
        f"> **{DISCLAIMER}**",
        "",
        "## Intended use",
        "",
        f"Research on images like those it was trained on (see Data). It predicts: {target['kind']} ({names}).",
        "It knows nothing of images of another kind, camera or population, and does not notice them.",
        "",
        "## Data",
        "",
        "| split | images | patients |",
        "|---|---|---|",
        *(f"| {s} | {d['images']} | {_shown(d.get('patients'))} |" for s, d in data["splits"].items()),
        "",
    ]
    counts = data.get("classes") or {}
    if counts:
        splits = list(counts)
        lines += [f"| {target['kind']} | {' | '.join(splits)} |", "|---" * (len(splits) + 1) + "|"]
        lines += [f"| {n} | {' | '.join(str(counts[s].get(n, 0)) for s in splits)} |" for n in target["names"]]
        lines.append("")
    size = "x".join(map(str, meta["inputs"]["size"]))
    lines += [
        f"Images are cropped ({meta['preprocess']['crop']}) and resized to {size} pixels.",
        "",
        "## Figures",
        "",
        f"Measured on the {meta['metrics'].get('split', 'validation')} split, on which the weights were chosen.",
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name, figure in meta["metrics"].get("values", {}).items():
        value, low, high = (figure.get(k) for k in ("value", "low", "high"))
        interval = f"{low:.3f} - {high:.3f}" if low is not None and high is not None else "-"
        lines.append(f"| {name} | {_shown(value, 3)} | {interval} |")
    below = meta.get("frozen")
    if below:
        lines += [
            "",
            "## Frozen network",
            "",
            f"This folder holds only what learned. It stands on `{below['backbone']}`, unchanged, with the SHA-256",
            f"`{below['hash']}`, which is looked for in the cache and where it came from.",
        ]
    meter = meta.get("meter") or {}
    lines += [
        "",
        "## Training",
        "",
        f"Recipe `{about.get('name', '-')}`" + (f", after {about['paper']}." if about.get("paper") else "."),
        f"Learnable parameters {meter.get('learnable', 0):,} of {meter.get('total', 0):,}. "
        f"Made {meta['provenance']['created']} with scantling {meta['scantling']}.",
        "",
        "## Use",
        "",
        "```python",
        "from scantling import load",
        'model = load("path/of/this/folder")',
        'result = model.predict(["image.jpg"])',
        "```",
        "",
    ]
    return "\n".join(lines)


def _shown(value: Any, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)
