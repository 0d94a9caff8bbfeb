"""The network of a bundle with its objective: what a model and methods that look through one are made of."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scantling.core.build import construct, import_object
from scantling.core.bundle import put_learned, read_bundle
from scantling.core.errors import BundleError
from scantling.core.seams import Adapter, Inputs, Objective, View
from scantling.core.target import Target, make_target


@dataclass
class TrainedNetwork:
    """What was learned.

    Args:
        adapter: the network.
        objective: configured for the target, at the bundle's temperature.
        target: what is predicted.
        looks: further looks at every image that the network takes.
        path: of the bundle.
        meta: its description.
    """

    adapter: Adapter
    objective: Objective
    target: Target
    looks: tuple[View, ...]
    path: Path
    meta: dict[str, Any]


def load_network(path: str | Path, device: torch.device | None = None) -> TrainedNetwork:
    """The network of a bundle, or of a run folder's last finished stage.

    Args:
        path: folder.
        device: where tensors are made; a frozen network below is shared by all that stand on it there.

    Raises:
        BundleError: no bundle there, a damaged one, one whose tensors do not fit, or one whose frozen network cannot be
            found or is another one.
        RecipeError: the bundle names a class outside this package, or settings that it does not know.
    """
    files = read_bundle(path)
    meta = files.meta
    try:
        target = make_target(meta["target"]["kind"], meta["target"]["names"])
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["inputs"].items()}
        objective = construct(meta["objective"], Objective)
        objective.configure(target)
        objective.temperature = float(meta.get("temperature") or 1.0)
        inputs = Inputs(**sizes)
        description = _own_weights(meta["adapter"], meta.get("frozen"))
        looks = import_object(description["class_path"], Adapter).views(description["init_args"], inputs)
        with nullcontext() if device is None or device.type == "cpu" else device:
            adapter = construct(description, Adapter, objective.outputs_for(target), inputs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"its description is incomplete ({error})", where=files.path, do="train it again") from error
    try:
        put_learned(adapter, objective, files.state)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1 if "\n" in str(error) else 0].strip()
        raise BundleError(f"its tensors do not fit ({first})", where=files.path, do="train it again") from error
    return TrainedNetwork(adapter, objective, target, tuple(looks), files.path, meta)


def _own_weights(description: dict[str, Any], below: dict[str, str] | None) -> dict[str, Any]:
    """The adapter's description with no other source of weights than the bundle, and the frozen network below it."""
    settings = dict(description.get("init_args") or {})
    weights = "none" if below is None else f"frozen:{below['hash']}:{below['source']}"
    own = {"weights": weights, "encoder": "none"}
    known = inspect.signature(import_object(description["class_path"], Adapter)).parameters
    return {**description, "init_args": settings | {name: own[name] for name in own if name in known}}
