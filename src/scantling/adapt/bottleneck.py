"""Adapters: small bottlenecks behind the MLPs of a frozen transformer.

Source: Houlsby et al. 2019, arXiv 1902.00751; one adapter a block, behind the MLP, as Pfeiffer et al. 2021, arXiv
2005.00247.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from scantling.adapt.frozen import FrozenAdapter, transformer_blocks
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs


class BottleneckAdapter(FrozenAdapter):
    """One bottleneck behind every MLP, inside its residual branch, and a linear head learn.

    At the start every bottleneck adds zero, so that the network is the linear probe.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm vision transformer.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        bottleneck: width of the bottlenecks, at least 1.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: no vision transformer.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        bottleneck: int = 96,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout, checkpointing)
        put_bottlenecks(self, bottleneck, nn.GELU, Followed)


def put_bottlenecks(
    adapter: FrozenAdapter,
    width: int,
    activation: Callable[[], nn.Module],
    join: Callable[[nn.Module, Bottleneck], nn.Module],
) -> None:
    """Give the MLP of every block a bottleneck that learns; ``join`` says how the two stand together."""
    blocks: Any = transformer_blocks(adapter.backbone)
    added = []
    for block in blocks:
        small = Bottleneck(adapter.backbone.body.embed_dim, width, activation())
        block.mlp = join(block.mlp, small)
        added.append(small)
    adapter.unfreeze(p for module in added for p in module.parameters())


class Bottleneck(nn.Module):
    """Down to a small width, a non-linearity, and up again; the way up starts at zero.

    In the first step only the way up gets a gradient, from the second on both do.

    Args:
        width: of the tokens.
        bottleneck: the small width.
        activation: the non-linearity.

    Raises:
        RecipeError: a width below 1.
    """

    def __init__(self, width: int, bottleneck: int, activation: nn.Module) -> None:
        super().__init__()
        if bottleneck < 1:
            raise RecipeError(f"a width of {bottleneck}", where="task.adapter.bottleneck", do="use 1 or more")
        self.down = nn.Linear(width, bottleneck)
        self.activation = activation
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens: Tensor) -> Tensor:
        """What to add to tokens ``(..., D)``, of the same shape."""
        return self.up(self.activation(self.down(tokens)))


class Followed(nn.Module):
    """An MLP and the bottleneck behind it: ``h + bottleneck(h)`` with ``h = mlp(x)``."""

    def __init__(self, mlp: nn.Module, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.mlp, self.bottleneck = mlp, bottleneck

    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Tokens ``(B, N, D)``."""
        hidden = self.mlp(tokens, *args, **kwargs)
        return hidden + self.bottleneck(hidden)
