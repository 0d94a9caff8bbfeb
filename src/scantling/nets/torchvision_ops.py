"""Makes ``import torchvision`` possible where its compiled extension does not match the installed torch.

torchvision registers fake kernels for two operators of its extension while it is being imported. Where the extension
cannot be loaded (a CUDA build beside a CPU build of torch) the operators do not exist and the import fails. This module
declares them, so that everything of torchvision that is written in Python works; calling the two operators does not.
Import it before torchvision, or before anything that imports torchvision (timm, lightning, torchmetrics).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

MISSING_OPERATORS = ("nms", "qnms")

_declared: torch.library.Library | None = None


def declare_missing_operators() -> bool:
    """Declare the operators that torchvision's own registration needs, unless its extension loads.

    Safe to call again. Does nothing without torchvision, with a working extension, or where the operators exist.

    Returns:
        Whether this process runs on declared stand-ins, so that ``torchvision.ops.nms`` cannot be used.
    """
    global _declared
    if _declared is not None:
        return True
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return False
    folder = Path(found.submodule_search_locations[0])
    extension = next((p for name in ("_C.so", "_C.pyd") if (p := folder / name).exists()), None)
    if extension is not None:
        try:
            torch.ops.load_library(str(extension))
        except OSError:
            pass
        else:
            return False
    missing = [name for name in MISSING_OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if not missing:
        return False
    _declared = torch.library.Library("torchvision", "DEF")
    for name in missing:
        _declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return True


declare_missing_operators()
