"""The features that a classification head reads, of any network that ends in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from scantling.core.errors import RecipeError
from scantling.nets.cosine_head import CosineHead

if TYPE_CHECKING:
    from scantling.core.seams import Adapter


def classification_head(adapter: Adapter) -> nn.Linear | CosineHead:
    """The last layer of a network: the module ``head`` with as many outputs as the network has.

    Raises:
        RecipeError: the network has none, or several.
    """
    found = [
        module
        for name, module in adapter.named_modules()
        if name.rpartition(".")[2] == "head" and isinstance(module, (nn.Linear, CosineHead))
    ]
    found = [module for module in found if module.out_features == adapter.outputs]
    if len(found) != 1:
        raise RecipeError(
            f"{type(adapter).__name__} has no single linear head whose features could be read",
            where="task.adapter",
            do="use scantling.adapt.FullFineTuning or another adapter with one",
        )
    return found[0]


@contextmanager
def features_read(head: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer is given while the context is open: one tensor ``(B, F)``, inside the graph, a call."""
    taken: list[Tensor] = []

    def take(module: nn.Module, given: tuple[Any, ...]) -> None:
        taken.append(given[0])

    handle = head.register_forward_pre_hook(take)
    try:
        yield taken
    finally:
        handle.remove()
