"""The side network of FPT: a narrow vision transformer on a small image, into each block of which prompts are put.

Source: FPT, Huang et al. 2024 (arXiv 2403.07576), and FPT+, Huang et al. 2025 (arXiv 2408.02426).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scantling.core.errors import DataError, RecipeError
from scantling.nets import torchvision_ops  # noqa: F401  (must run before timm imports torchvision)

EPS = 1e-12
INITIAL_STD = 0.02


class SideNetwork(nn.Module):
    """A vision transformer with a class token, positions of its own and a linear head, randomly initialised.

    Block ``i`` attends over its tokens and the prompts ``i``; what becomes of the prompts is dropped.

    Args:
        outputs: values per image.
        size: height and width of the images in pixels, multiples of ``patch``.
        channels: of the images.
        width: of a token, ``d``.
        depth: blocks, ``L``.
        heads: of every block.
        patch: side of a patch in pixels.

    Raises:
        RecipeError: a size that is no multiple of the patch, or a width that is no multiple of the heads.
    """

    def __init__(
        self, outputs: int, size: tuple[int, int], channels: int, width: int, depth: int, heads: int, patch: int = 16
    ) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        if size[0] % patch or size[1] % patch:
            raise RecipeError(
                f"images of {size[0]} x {size[1]} pixels do not split into patches of {patch}",
                where="data.image_size",
                do=f"use multiples of {patch}, or change patch_size",
            )
        if width % heads:
            raise RecipeError(
                f"a side network of width {width} does not split into {heads} heads", where="reduction", do="change it"
            )
        self.size, self.grid = tuple(size), (size[0] // patch, size[1] // patch)
        self.patches = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], width))
        norm = partial(nn.LayerNorm, eps=EPS)
        make: Any = Block
        self.blocks = nn.ModuleList(make(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        self.norm = norm(width)
        self.head = nn.Linear(width, outputs)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        attention: list[Any] = [block.attn for block in self.blocks]
        for module in attention:
            module.fused_attn = True
        nn.init.trunc_normal_(self.class_token, std=INITIAL_STD)
        nn.init.trunc_normal_(self.positions, std=INITIAL_STD)

    def forward(self, images: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Outputs ``(B, outputs)`` of standardised images ``(B, C, H, W)`` and prompts ``(B, L, P, d)``."""
        return self.classify(self.run(self.embed(images), prompts, 0, len(self.blocks)))

    def embed(self, images: Tensor) -> Tensor:
        """Tokens ``(B, 1 + h*w, d)``, the class token first.

        Raises:
            DataError: images of another size.
        """
        if tuple(images.shape[-2:]) != self.size:
            raise DataError(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels; the side network takes "
                f"{self.size[0]} x {self.size[1]}",
                do="give images of the size it was built for",
            )
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], 1) + self.positions

    def run(self, tokens: Tensor, prompts: Tensor | None, first: int, last: int) -> Tensor:
        """Tokens ``(B, 1 + h*w, d)`` behind the blocks from ``first`` to before ``last``."""
        count = tokens.shape[1]
        for block in range(first, last):
            if prompts is None:
                tokens = self.blocks[block](tokens)
            else:
                tokens = self.blocks[block](torch.cat([tokens, prompts[:, block]], 1))[:, :count]
        return tokens

    def classify(self, tokens: Tensor) -> Tensor:
        """Outputs ``(B, outputs)`` from the class token."""
        return self.head(self.norm(tokens[:, 0]))
