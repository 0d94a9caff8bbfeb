"""Reading and writing the files of a bundle: ``model.safetensors``, ``bundle.json``, ``README.md``. No pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scantling.core.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from scantling.core.seams import Adapter, Objective

FORMAT = 1
META, WEIGHTS, CARD = "bundle.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class BundleFiles:
    """What a bundle's folder holds: its description and its tensors."""

    path: Path
    meta: dict[str, Any]
    state: dict[str, Tensor]


def find_bundle(path: str | Path) -> Path:
    """The bundle's folder itself, or the last stage's bundle of a run folder.

    Raises:
        BundleError: neither is there.
    """
    folder = Path(path)
    if is_bundle(folder):
        return folder
    finished = sorted(folder.glob("*/bundle/" + META), key=lambda p: p.stat().st_mtime_ns)
    if finished:
        return finished[-1].parent
    if not folder.exists():
        raise BundleError("no such folder", where=folder, do="give a run folder or a bundle")
    raise BundleError(
        "no finished bundle here", where=folder, do="give a run folder or a bundle; finish the run with --resume"
    )


def is_bundle(path: str | Path) -> bool:
    """Whether the folder holds a bundle's description."""
    return (Path(path) / META).is_file()


def read_meta(path: str | Path) -> dict[str, Any]:
    """The description of a bundle.

    Raises:
        BundleError: it is missing, no JSON, or of a newer format.
    """
    file = Path(path) / META
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"no {META}", where=path, do="give the folder of a bundle") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError("is not valid JSON", where=file, do="train or export the bundle again") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("format"), int):
        raise BundleError("is not a bundle's description", where=file, do="train or export the bundle again")
    if meta["format"] > FORMAT:
        raise BundleError(
            f"has format {meta['format']}, this version reads {FORMAT}", where=file, do="update scantling"
        )
    return meta


def read_bundle(path: str | Path) -> BundleFiles:
    """Description and tensors of a bundle.

    Raises:
        BundleError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = find_bundle(path)
    meta = read_meta(folder)
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"damaged or missing ({error})", where=folder / WEIGHTS, do="copy or train it again"
        ) from error
    return BundleFiles(folder, meta, state)


def write_bundle(folder: Path, meta: Mapping[str, Any], state: Mapping[str, Tensor], card: str) -> None:
    """Write the three files into ``folder``, which must be a fresh one (see ``core.files.writing_folder``)."""
    from safetensors.torch import save_file

    from scantling.core.files import write_json, write_text

    tensors, seen = {}, set[int]()
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        tensors[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    save_file(tensors, folder / WEIGHTS)
    write_json(folder / META, {"format": FORMAT, **meta})
    write_text(folder / CARD, card)


def put_learned(adapter: Adapter, objective: Objective, state: Mapping[str, Tensor]) -> None:
    """Put the tensors ``adapter.*`` and ``objective.*`` of a bundle into a network and its objective.

    Raises:
        RuntimeError: one is missing, of another shape, or not known.
    """
    given = {k.removeprefix("adapter."): v for k, v in state.items() if k.startswith("adapter.")}
    missing = sorted(adapter.learned_state().keys() - given.keys())
    if missing:
        raise RuntimeError(f"missing: {', '.join(missing[:3])}")
    unknown = adapter.load_state_dict(given, strict=False).unexpected_keys
    if unknown:
        raise RuntimeError(f"not known: {', '.join(unknown[:3])}")
    objective.load_state_dict({k.removeprefix("objective."): v for k, v in state.items() if k.startswith("objective.")})
