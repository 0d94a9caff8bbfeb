"""What all adapters on a frozen network share: the network, the head, and how the parameters that learn are counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn

from scantling.adapt.checkpointing import checkpoint_blocks
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.seams import Adapter, Inputs
from scantling.nets.backbone import Backbone, Standardise
from scantling.nets.frozen import find_frozen, frozen_body, own, published_parameters

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.frozen import Frozen


class FrozenBackbone(Backbone):
    """A backbone that computes with the tensors of a frozen network; see :func:`scantling.nets.frozen.frozen_body`.

    Args:
        frozen: the network.
        inputs: size and channels of the images.
    """

    def __init__(self, frozen: Frozen, inputs: Inputs) -> None:
        nn.Module.__init__(self)
        self.name = frozen.name
        self.body = frozen_body(frozen, inputs)
        self.features = getattr(self.body, "head_hidden_size", None) or self.body.num_features
        self.standardise = Standardise(inputs)


class FrozenAdapter(Adapter):
    """A frozen network and a linear head that learns; a subclass adds what else learns, and calls :meth:`unfreeze`.

    The frozen network is always in evaluation mode. No gradient is computed below the first part that learns.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), ``none`` (random ones, always the same), or the path of a bundle or run
            folder with the same backbone.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: an unknown architecture, or one that the method cannot serve.
        BundleError: the bundle holds another architecture.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs)
        self.backbone = self.stand_on(backbone, weights)
        self._given = frozenset(n for n, _ in self.named_parameters())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.backbone.features, outputs)
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        if checkpointing:
            checkpoint_blocks(self.backbone.body, backbone)

    def stand_on(self, name: str, weights: str) -> Backbone:
        """Set :attr:`frozen` and make the backbone that computes with it."""
        self.frozen = find_frozen(name, weights, self.inputs.channels)
        return FrozenBackbone(self.frozen, self.inputs)

    def unfreeze(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let these parameters learn, each in memory of its own.

        Raises:
            RecipeError: there are none.
        """
        chosen = list(parameters)
        if not chosen:
            raise RecipeError(
                f"'{self.backbone.name}' has nothing that {type(self).__name__} could unfreeze",
                where="task.adapter.backbone",
                do="choose another backbone or adapter",
            )
        for parameter in chosen:
            parameter.requires_grad_(True)
        own(self)

    def train(self, mode: bool = True) -> Self:
        """Only the head follows the mode: no dropout and no moving statistics below it."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs)``."""
        return self.head(self.dropout(self.backbone(batch[IMAGE])))

    def saliency_map(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Last feature map ``(B, F, h, w)`` and the outputs that follow from it."""
        features, pooled = self.backbone.tapped(batch[IMAGE])
        return features, self.head(self.dropout(pooled))

    def share(self) -> float:
        """Parameters that learn, over those of the published network and those that were added; classifiers aside.

        Source: the count that gives the published shares of the baselines in Huang et al. 2024, arXiv 2408.02426.
        """
        learnable = {n: p.numel() for n, p in self.learnable() if not n.startswith("head.")}
        added = sum(count for name, count in learnable.items() if name not in self._given)
        return sum(learnable.values()) / (published_parameters(self.backbone.name)[1] + added)


def transformer_blocks(backbone: Backbone) -> nn.Sequential | nn.ModuleList:
    """The blocks of a vision transformer, each with attention and MLP on tokens of one width; to be changed in place.

    Raises:
        RecipeError: a network of another kind.
    """
    body: Any = backbone.body
    blocks: Any = getattr(body, "blocks", None)
    plain = isinstance(blocks, (nn.Sequential, nn.ModuleList)) and len(blocks) > 0
    plain = plain and hasattr(body, "embed_dim") and hasattr(body, "num_prefix_tokens")
    if not plain or not all(hasattr(b, "attn") and hasattr(b, "mlp") for b in blocks):
        raise RecipeError(
            f"'{backbone.name}' is not a plain sequence of transformer blocks",
            where="task.adapter.backbone",
            do="choose a vision transformer, such as vit_base_patch16_384",
        )
    return blocks
