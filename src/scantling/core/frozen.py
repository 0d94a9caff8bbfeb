"""What is known of a frozen network: pretrained weights that many adapted models stand on, in memory once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scantling.core.files import cache_folder, writing

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Frozen:
    """A pretrained network whose weights never change.

    Args:
        name: timm architecture.
        source: ``hub``, ``none`` (random weights, always the same), or the path of the bundle it came from.
        hash: SHA-256 of its tensors, in hexadecimal; empty where there are no numbers (meta device).
        channels: of its images.
        state: its tensors by name, without a classifier, at the size it was trained for. Shared: never write to them.
    """

    name: str
    source: str
    hash: str
    channels: int
    state: Mapping[str, Tensor]

    def __deepcopy__(self, memo: dict[int, object]) -> Frozen:
        """Itself: a copied model stands on the same network."""
        return self

    def to_json(self) -> dict[str, str]:
        """What a bundle says about the network that its model stands on."""
        return {"backbone": self.name, "source": self.source, "hash": self.hash}

    def keep(self, cache: str | Path | None = None) -> Path:
        """Put the network into the cache, so that bundles which name its hash find it.

        Raises:
            ScantlingError: the disk is full or cannot be written.
        """
        from safetensors.torch import save_file

        path = kept_place(self.hash, cache)
        if not path.is_file():
            with writing(path) as part:
                save_file({k: v.detach().cpu().contiguous() for k, v in self.state.items()}, part)
        return path


def kept_place(digest: str, cache: str | Path | None = None) -> Path:
    """The file in the cache that holds the network with this hash, whether it is there or not."""
    return cache_folder(cache) / "frozen" / f"{digest}.safetensors"


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names, types and shapes."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
