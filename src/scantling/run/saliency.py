"""Where a network looked: Grad-CAM maps, and images with such a map laid over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from scantling.core.anomaly import AnomalyAdapter
from scantling.core.batch import IMAGE, as_float
from scantling.core.errors import ScantlingError
from scantling.nets.grad_cam import evidence, grad_cam_map

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.run.model import Model

INFERNO = np.array(
    [
        (0, 0, 4), (10, 7, 34), (30, 12, 69), (56, 9, 98), (81, 14, 108), (105, 22, 110), (128, 31, 108),
        (152, 39, 102), (176, 49, 91), (198, 61, 77), (217, 77, 61), (233, 97, 43), (244, 121, 24), (250, 148, 7),
        (252, 176, 20), (248, 205, 55), (242, 234, 105), (252, 255, 164),
    ],
    dtype=np.float32,
)  # fmt: skip
"""Every fifteenth colour of the map "inferno", whose lightness rises evenly. Source: van der Walt and Smith, CC0."""

OPACITY = 0.65
"""Share of the heat colour where the saliency is 1."""


def grad_cam(model: Model, batch: TensorDict, outputs_index: Literal["predicted"] | int = "predicted") -> Tensor | None:
    """Where the evidence for a prediction lies.

    The feature map's channels are weighted with their mean gradient, summed, and cut below zero; each map is divided by
    its own maximum. For a network with one output a grade is read from, the evidence is that for a higher severity.

    Args:
        model: a trained model.
        batch: ``image (B, C, H, W)``, uint8 or float in [0, 1], and whatever else the network reads.
        outputs_index: the output to explain; ``predicted``: the predicted class or grade, or the most probable finding.

    Returns:
        ``(B, H, W)`` float32 in [0, 1] on the model's device, all zeros where nothing speaks for the prediction; None
        for networks without a map to explain.

    Raises:
        ScantlingError: no such output.

    Source: Selvaraju et al. 2017, arXiv 1610.02391, eq. 1-2. Departure: for a transformer whose class token does the
    pooling the map is taken in front of the last block, as the outputs do not depend on the last tokens of the image.
    """
    found = explained(model, batch, outputs_index)
    return None if found is None else found[0]


def explained(
    model: Model, batch: TensorDict, outputs_index: Literal["predicted"] | int = "predicted"
) -> tuple[Tensor, Tensor] | None:
    """Like :func:`grad_cam`, and the outputs ``(B, outputs)`` of the same pass through the network.

    A network that detects anomalies says itself where they are.
    """
    if isinstance(model.adapter, AnomalyAdapter):
        with torch.inference_mode():
            shown = model.adapter.heat_map(as_float(batch.to(model.device)))
        if shown is not None:
            return shown
    with torch.inference_mode(False), torch.enable_grad():
        batch = as_float(batch.to(model.device))
        found = model.adapter.saliency_map(batch)
        if found is None:
            return None
        features, outputs = found
        height, width = batch[IMAGE].shape[-2:]
        heat = grad_cam_map(features, _evidence(model, outputs, outputs_index), (height, width))
    return heat, outputs.detach()


def overlay(image: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """The image with a heat map over it; where the saliency is 0 it is unchanged.

    Args:
        image: ``(H, W, 3)`` or ``(H, W, 1)`` uint8.
        saliency: ``(H, W)`` in [0, 1].

    Returns:
        ``(H, W, 3)`` uint8.
    """
    heat = np.clip(np.nan_to_num(np.asarray(saliency, dtype=np.float32)), 0, 1)
    position = heat * (len(INFERNO) - 1)
    low = np.minimum(position.astype(np.intp), len(INFERNO) - 2)
    share = (position - low)[..., None]
    colours = (1 - share) * INFERNO[low] + share * INFERNO[low + 1]
    opacity = OPACITY * heat[..., None]
    return np.round((1 - opacity) * image + opacity * colours).astype(np.uint8)


def _evidence(model: Model, outputs: Tensor, index: Literal["predicted"] | int) -> Tensor:
    """The value ``(B,)`` of every image that is explained."""
    if index != "predicted":
        if not 0 <= index < outputs.shape[1]:
            raise ScantlingError(f"no output {index}", where="saliency", do=f"outputs are 0 to {outputs.shape[1] - 1}")
        return outputs[:, index]
    return evidence(model.objective, model.target, outputs)
