"""Mixing two images behind the patch embedding of a transformer, in place of their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scantling.core.errors import RecipeError
from scantling.nets.backbone import Standardise

if TYPE_CHECKING:
    from scantling.core.seams import Adapter

EMBEDDING = "patch_embed"
"""What timm calls the module that makes tokens of an image."""


@contextmanager
def mixed_tokens(adapter: Adapter, background: Tensor, ratio: Tensor) -> Iterator[None]:
    """While entered, the adapter's patch tokens are ``ratio * own + (1 - ratio) * background``.

    Both images go through the embedding as one batch; class token and positions come after it. Gradients flow through
    both, none to the ratio.

    Args:
        adapter: with one timm patch embedding, which sees the image at its own size.
        background: images ``(B, C, H, W)`` in [0, 1], standardised here as the adapter standardises.
        ratio: ``(B, 1, h, w)``, one value a token.

    Raises:
        RecipeError: no patch embedding, or several; tokens in another grid.
    """
    embedding = patch_embedding(adapter)
    standardise = Standardise(adapter.inputs).to(background.device)

    def join(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        images = given[0]
        if images.shape != background.shape:
            raise RecipeError(
                f"the network turns images of {_size(background)} pixels into {_size(images)} before it cuts patches",
                where="task.mixer.level",
                do="mix pixels (level: pixel)",
            )
        return (torch.cat([images, standardise(background).to(images.dtype)]), *given[1:])

    def mix(module: nn.Module, given: Any, tokens: Any) -> Tensor:
        return mix_tokens(*_halves(tokens), _as_tokens(ratio, tokens, getattr(module, "grid_size", None)))

    hooks = [embedding.register_forward_pre_hook(join), embedding.register_forward_hook(mix)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def mix_tokens(labelled: Tensor, background: Tensor, ratio: Tensor) -> Tensor:
    """``ratio * labelled + (1 - ratio) * background``, in single precision at least, in the tokens' type.

    >>> mix_tokens(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.tensor([0.5, 0.8]).view(1, 2, 1))[0, :, 0]
    tensor([0.5000, 0.8000])
    """
    precise = torch.promote_types(labelled.dtype, ratio.dtype)
    return torch.lerp(background.to(precise), labelled.to(precise), ratio.to(precise)).to(labelled.dtype)


def patch_embedding(adapter: nn.Module) -> nn.Module:
    """The one module of a network that makes tokens of the image.

    Raises:
        RecipeError: there is none, or there are several.
    """
    names = [name for name, _ in adapter.named_modules() if name.rpartition(".")[2] == EMBEDDING]
    outermost = [name for name in names if not any(name.startswith(f"{n}.") for n in names)]
    if len(outermost) != 1:
        raise RecipeError(
            f"the network has {len(outermost) or 'no'} patch embedding{'s' if len(outermost) > 1 else ''}",
            where="task.mixer.level",
            do="mix pixels (level: pixel), or take a vision transformer with one",
        )
    return adapter.get_submodule(outermost[0])


def _halves(tokens: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(tokens, Tensor) or tokens.ndim not in (3, 4):
        raise RecipeError(
            "the network's patch embedding gives no plain tokens", where="task.mixer.level", do="use level: pixel"
        )
    own, other = tokens.chunk(2)
    return own, other


def _as_tokens(ratio: Tensor, tokens: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """The ratio in the layout of ``tokens``: (B, N, F), (B, h, w, F) or (B, F, h, w)."""
    height, width = ratio.shape[-2:]
    if tokens.ndim == 3:
        rows, columns = grid or (tokens.shape[1] // width, width)
        if (rows, columns) == (height, width) and tokens.shape[1] == height * width:
            return ratio.flatten(2).transpose(1, 2)
        raise _other_grid((height, width), f"{rows} x {columns}" if grid else f"{tokens.shape[1]} in all")
    if tuple(tokens.shape[1:3]) == (height, width):
        return ratio.permute(0, 2, 3, 1)
    if tuple(tokens.shape[2:]) == (height, width):
        return ratio
    channels_last = tokens.shape[1] == tokens.shape[2] or (grid is not None and tuple(tokens.shape[1:3]) == grid)
    side = tokens.shape[1:3] if channels_last else tokens.shape[2:]
    raise _other_grid((height, width), f"{side[0]} x {side[1]}")


def _other_grid(ratio: tuple[int, int], tokens: str) -> RecipeError:
    return RecipeError(
        f"the mixer makes {ratio[0]} x {ratio[1]} patches of an image, and the network's tokens are {tokens}",
        where="task.mixer.patch_size",
        do="set it to the image's side divided by the tokens of a side",
    )


def _size(images: Tensor) -> str:
    return " x ".join(map(str, images.shape[-2:]))
