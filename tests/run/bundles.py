"""Bundles made without any training; test files take ``save`` from here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scantling.adapt import BiometryUNet, FullFineTuning, UNet
from scantling.core.bundle import write_bundle
from scantling.core.files import writing_folder
from scantling.core.seams import Adapter, Inputs
from scantling.core.target import Biometry, Classes, Findings, Grade, Mask, Masks, Target
from scantling.data.preprocess import Preprocess
from scantling.tasks.objectives import (
    Coral,
    CrossEntropy,
    CumulativeLink,
    DiceBinaryCrossEntropy,
    DiceCrossEntropy,
    MSEGrade,
    MultiLabel,
    PlaneAndMask,
)

TARGETS: dict[str, tuple[type, Target]] = {
    "grade": (MSEGrade, Grade(("none", "mild", "severe"))),
    "cumulative": (CumulativeLink, Grade(("none", "mild", "severe"))),
    "coral": (Coral, Grade(("none", "mild", "severe"))),
    "class": (CrossEntropy, Classes(("cat", "dog", "owl"))),
    "findings": (MultiLabel, Findings(("nodule", "mass"))),
    "mask": (DiceCrossEntropy, Mask(("background", "vessel"))),
    "mask3": (DiceCrossEntropy, Mask(("background", "disc", "cup"))),
    "biometry": (PlaneAndMask, Biometry(("head", "abdomen", "femur"))),
    "masks": (DiceBinaryCrossEntropy, Masks(("disc", "cup"))),
}


def save(
    folder: Path,
    kind: str = "grade",
    adapter: type[Adapter] | None = None,
    size: int | tuple[int, int] = 32,
    preprocess: dict[str, Any] | None = None,
    edit: Callable[[Adapter], None] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Path:
    """A bundle with random weights of some size, so that outputs differ from image to image."""
    loss, target = TARGETS[kind]
    pair = (size, size) if isinstance(size, int) else size
    own = BiometryUNet if kind == "biometry" else UNet if target.dense else FullFineTuning
    adapter = adapter or own
    if not settings:
        settings = {UNet: {"width": 2}, BiometryUNet: {"base": 2}}.get(adapter, {"backbone": "resnet18"})
    if adapter is FullFineTuning:
        settings["weights"] = "none"
    objective = loss()
    objective.configure(target)
    inputs = Inputs(pair)
    torch.manual_seed(seed)
    network = adapter(objective.outputs_for(target), inputs, **settings)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("head") and parameter.ndim == 2:
                parameter.normal_(0, 0.5)
    if edit is not None:
        edit(network)
    meta = {
        "scantling": "0.1.0",
        "task": "scantling.tasks.Classify",
        "adapter": {"class_path": f"scantling.adapt.{adapter.__name__}", "init_args": network.portable(settings)},
        "objective": {"class_path": f"scantling.tasks.objectives.{loss.__name__}", "init_args": {}},
        "target": target.to_json(),
        "inputs": inputs.to_json(),
        "preprocess": {**Preprocess(pair).to_json(), **(preprocess or {})},
        "temperature": 1.5,
        "provenance": {},
        "metrics": {},
        "meter": {},
    }
    state = {f"adapter.{k}": v for k, v in network.state_dict().items()}
    state |= {f"objective.{k}": v for k, v in objective.state_dict().items()}
    with writing_folder(folder) as part:
        write_bundle(part, meta, state, "a model of the tests")
    return folder
