"""The head that grades one eye with a look at its fellow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.errors import RecipeError


def pair_max(values: Tensor) -> Tensor:
    """Maximum of adjacent pairs (maxout): ``(B, 2 n)`` to ``(B, n)``.

    >>> pair_max(torch.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """
    return values.unflatten(-1, (-1, 2)).amax(-1)


class PairedEyeHead(nn.Module):
    """Grade of the first eye from the features of both; not symmetric in the two.

    With ``features`` F, and H = F rounded up to a multiple of 8: ``Linear(2F, H)``, maximum of adjacent pairs (H/2),
    ReLU, ``Linear(H/2, H/4)``, maximum of pairs (H/8), ReLU, ``Linear(H/8, outputs)`` without bias. For the 2,048
    features of a ResNet-50: 8,915,712 parameters.

    Args:
        features: width of one eye's pooled features, at least 1.
        outputs: values per eye, 1 for a regressed grade.

    Raises:
        RecipeError: a width below 1.

    Source: Huang et al. 2023, arXiv 2110.14160 (F = 2048); the rule for other widths is ours.
    """

    def __init__(self, features: int, outputs: int = 1) -> None:
        super().__init__()
        if features < 1 or outputs < 1:
            raise RecipeError(
                f"{features} features and {outputs} outputs; both must be at least 1", where="PairedEyeHead"
            )
        hidden = -(-features // 8) * 8
        self.first = nn.Linear(2 * features, hidden)
        self.second = nn.Linear(hidden // 2, hidden // 4)
        self.last = nn.Linear(hidden // 8, outputs, bias=False)

    def forward(self, graded: Tensor, fellow: Tensor) -> Tensor:
        """Outputs ``(B, outputs)`` for the graded eyes.

        Args:
            graded: features of the eyes to grade, ``(B, F)``.
            fellow: features of the other eyes, ``(B, F)``; the same eye again is legal where the other is missing.
        """
        hidden = F.relu(pair_max(self.first(torch.cat([graded, fellow], dim=-1))))
        return self.last(F.relu(pair_max(self.second(hidden))))
