"""Sliding windows: a network looks at a large image piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from scantling.core.batch import IMAGE

if TYPE_CHECKING:
    from tensordict import TensorDict


def slide(network: nn.Module, batch: TensorDict, size: int | None, overlap: float) -> Tensor:
    """Outputs ``(B, K, H, W)``, computed in overlapping windows with Gaussian weights where ``size`` is given."""
    if size is None or (size >= batch[IMAGE].shape[-2] and size >= batch[IMAGE].shape[-1]):
        return network(batch)
    from monai.inferers import sliding_window_inference
    from tensordict import TensorDict

    def window(images: Tensor) -> Tensor:
        return network(TensorDict({IMAGE: images}, batch_size=[len(images)]))

    found = sliding_window_inference(batch[IMAGE], (size, size), 8, window, overlap=overlap, mode="gaussian")
    return cast("Tensor", found)
