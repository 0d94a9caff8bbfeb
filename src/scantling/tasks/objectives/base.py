"""What all objectives share: the target they are configured for, missing labels, sample weights, the temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.batch import WEIGHT
from scantling.core.errors import RecipeError
from scantling.core.seams import Objective
from scantling.tasks.temperature import fit_temperature

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.target import Target


class TargetObjective(Objective):
    """An objective that is told its target after construction, so that a recipe holds only its settings.

    Some objectives own learnable parameters or fitted thresholds: give ``parameters()`` to the optimiser together with
    those of the network, and keep ``state_dict()`` with it. ``temperature`` (above 0, 1 at first) flattens or sharpens
    the probabilities that ``decode`` gives; it never changes the prediction.
    """

    kinds: ClassVar[tuple[str, ...]] = ("grade", "class")
    class_counts: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.temperature = 1.0
        self._size = 0
        self._ordinal = False
        self.register_buffer("class_counts", None, persistent=False)

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        """Fit the objective to a target; a second call for the same target keeps what was learned or fitted.

        Args:
            target: what the network predicts.
            class_counts: training samples per class ``(K,)``, for findings ``(K, 2)`` absent and present, as
                :func:`count_classes` gives them; wanted by class weights and by the first thresholds of ordinal heads.

        Raises:
            RecipeError: this objective cannot serve such a target, or the counts do not fit it.
        """
        name = type(self).__name__
        if target.kind not in self.kinds:
            raise RecipeError(
                f"{name} cannot train a target of the kind '{target.kind}', only {' or '.join(self.kinds)}",
                where="objective",
                do=f"choose another objective, such as {target.objective.rpartition('.')[2] or 'none'}",
            )
        if target.size < (1 if target.kind in {"findings", "masks", "biometry"} else 2):
            raise RecipeError(f"{name} needs at least two classes, the target has {target.size}", where="target")
        if class_counts is not None:
            if len(class_counts) != target.size:
                raise RecipeError(f"{len(class_counts)} class counts for {target.size} classes", where="objective")
            self.class_counts = class_counts.detach().float()
        self._size, self._ordinal = target.size, target.kind == "grade"

    @property
    def num_classes(self) -> int:
        """Number of grades, classes or findings.

        Raises:
            RecipeError: ``configure`` was not called.
        """
        self.check_configured()
        return self._size

    def check_configured(self) -> None:
        """Raise a RecipeError before ``configure``."""
        if not self._size:
            raise RecipeError(f"{type(self).__name__} does not know its target", do="call configure(target) first")

    def set_epoch(self, epoch: int, epochs: int = 1) -> None:
        """Tell the epoch, counted from 0, and how many there are; only losses that change over time listen."""

    def outputs_for(self, target: Target) -> int:
        return target.size

    def logits(self, outputs: Tensor) -> Tensor:
        """Unnormalised log-probabilities ``(B, K)`` (or ``(B, K, H, W)``), before the temperature."""
        return full_precision(outputs)

    def decode(self, outputs: Tensor) -> Tensor:
        return torch.softmax(self.logits(outputs) / self.temperature, dim=1)

    def score(self, outputs: Tensor) -> Tensor | None:
        """The expected grade ``(B,)`` in ``[0, K - 1]`` of an ordinal target; None for other targets."""
        if not self._ordinal:
            return None
        probabilities = self.decode(outputs)
        return probabilities @ torch.arange(self.num_classes, device=outputs.device, dtype=probabilities.dtype)

    def fit_temperature(self, outputs: Tensor, labels: Tensor) -> float:
        """Set and return the temperature that fits validation outputs best (not the training ones: they overfit).

        Args:
            outputs: of the network, as ``decode`` takes them.
            labels: encoded by the target; missing ones (negative or NaN) are left out.
        """
        self.temperature = fit_temperature(self.logits(outputs.detach()), labels)
        return self.temperature


def full_precision(values: Tensor) -> Tensor:
    """Half-precision values as float32; others unchanged."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def one_value(outputs: Tensor) -> Tensor:
    """The one output of every image, ``(B, 1)`` or ``(B,)`` to ``(B,)``, in full precision; B may be 1."""
    return full_precision(outputs).reshape(outputs.shape[0])


def label_distribution(labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Labels as distributions over classes, and which of them are known.

    Args:
        labels: class numbers ``(B,)``, missing is negative; or mixed labels ``(B, K)``, missing is NaN.

    Returns:
        Distributions ``(B, K)`` float (class 0 where missing) and known ``(B,)`` bool.
    """
    if labels.dim() == 2:
        return labels.nan_to_num(), labels.isfinite().all(1)
    known = labels >= 0
    return F.one_hot(torch.where(known, labels, 0).long(), num_classes).float(), known


def sample_weights(batch: TensorDict, known: Tensor) -> Tensor:
    """Weight ``(B,)`` of every sample, from the batch's ``weight`` where it has one; 0 without a label."""
    weight = batch.get(WEIGHT, None)
    return known.float() if weight is None else torch.where(known, weight.float(), 0)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """``sum(weight * values) / sum(weight)``; zero, still with a gradient, when all weights are zero.

    >>> weighted_mean(torch.tensor([1.0, 5.0, float("nan")]), torch.tensor([3.0, 1.0, 0.0]))
    tensor(2.)
    """
    total = (torch.where(weight > 0, values, 0) * weight).sum()
    return total / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
