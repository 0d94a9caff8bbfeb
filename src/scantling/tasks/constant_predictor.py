"""Warnings about training that has collapsed, or is about to."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

ADAPTIVE_OPTIMIZERS = ("adam", "adamw", "adamax", "nadam", "radam", "adagrad", "adadelta", "rmsprop", "lamb", "lion")
HIGHEST_ADAPTIVE_RATE = 1e-3


def is_constant(outputs: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether a network gives (nearly) the same outputs for every image.

    Args:
        outputs: ``(N,)`` or ``(N, K)``.
        tolerance: largest range of a column, relative to 1 or to its mean, whichever is larger.

    Returns:
        False for fewer than two images.

    >>> import torch
    >>> is_constant(torch.tensor([[0.52], [0.52], [0.52]])), is_constant(torch.tensor([[0.1], [0.9]]))
    (True, False)
    """
    if len(outputs) < 2:
        return False
    columns = outputs.detach().double().reshape(len(outputs), -1)
    spread = columns.amax(0) - columns.amin(0)
    return bool((spread <= tolerance * columns.mean(0).abs().clamp(min=1)).all())


def constant_predictor_warning(probabilities: Tensor, labels: Tensor, names: Sequence[str]) -> str | None:
    """A warning when one class is predicted for every validation image although the labels differ.

    Args:
        probabilities: ``(N, K)``; the arg-max is the prediction.
        labels: class numbers ``(N,)``, missing is negative.
        names: of the classes.

    Source: Huang et al. 2023, arXiv 2110.14160; users of the released code met it (kappa 0).

    >>> import torch
    >>> constant_predictor_warning(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]), ["0", "1"])
    "every validation image is predicted as '0': quadratic kappa is 0; lower the learning rate or train longer"
    """
    predicted = probabilities.argmax(1)
    if len(labels[labels >= 0].unique()) < 2 or len(predicted.unique()) != 1:
        return None
    return (
        f"every validation image is predicted as '{names[int(predicted[0])]}': quadratic kappa is 0; "
        "lower the learning rate or train longer"
    )


def adaptive_rate_warning(optimizer_name: str, lr: float, pretrained: bool) -> str | None:
    """A warning when an adaptive optimiser meets a pretrained network with a rate that destroys it.

    Args:
        optimizer_name: class name, any case, such as ``AdamW``.
        lr: learning rate.
        pretrained: whether the network starts from pretrained weights that learn.

    Source: Huang et al. 2023, arXiv 2110.14160: Adam at 1e-3 collapses to grade 0, at 3e-5 it learns.

    >>> adaptive_rate_warning("Adam", 1e-3, pretrained=True)
    'Adam at a learning rate of 0.001 often destroys pretrained weights; try 3e-05, or SGD at 0.001'
    >>> adaptive_rate_warning("SGD", 1e-3, pretrained=True) is None
    True
    """
    if not pretrained or lr < HIGHEST_ADAPTIVE_RATE or optimizer_name.lower() not in ADAPTIVE_OPTIMIZERS:
        return None
    return (
        f"{optimizer_name} at a learning rate of {lr:g} often destroys pretrained weights; try 3e-05, or SGD at 0.001"
    )
