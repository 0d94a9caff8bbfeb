"""FPT and FPT+: a small network on a small image that asks stored features of the large image.

Source: FPT, Huang et al. 2024, "Fine-grained Prompt Tuning" (MICCAI, arXiv 2403.07576); FPT+, Huang et al. 2025,
"Boosting Memory Efficiency in Transfer Learning for High-Resolution Medical Image Classification" (IEEE TNNLS 36(9),
arXiv 2408.02426). Built from the papers.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from scantling.adapt.fpt.features import SCALES, Blocks, Compute, FrozenFeatures, StoredType, chosen_blocks
from scantling.adapt.fpt.fusion import FinePrompts, Residual, Width
from scantling.adapt.fpt.selection import Rule
from scantling.adapt.fpt.side import SideNetwork
from scantling.adapt.fpt.words import check_word
from scantling.core.batch import FROZEN_IMAGE, FROZEN_KEYS, FROZEN_VALUES, IMAGE
from scantling.core.errors import DataError, RecipeError
from scantling.core.seams import Adapter, Inputs, View
from scantling.nets.attention_taps import architecture
from scantling.nets.backbone import Standardise

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.frozen import Frozen

Normalize = Literal["data", "backbone"]


class FPT(Adapter):
    """A side network on a small image, with prompts that ask a frozen transformer's features of the large image.

    The defaults are FPT+. FPT is ``blocks="all"``, ``prompt_width="side"``, ``residual="after"`` on 224 pixels. The
    frozen network never gets a gradient and is no part of this module; where its features are stored, training never
    loads it. Without prompts this is the side network alone.

    Args:
        outputs: values per image.
        inputs: the images of the side network.
        backbone: timm vision transformer to freeze; it attends once a block over all its tokens.
        weights: ``hub``, ``none`` (random), the path of a bundle or run with this backbone, or ``frozen:<hash>``.
        frozen_size: height and width, or side, in pixels of the images that it sees.
        blocks: which of its blocks are asked, one for each block of the side network: ``last_half``, ``all`` or
            numbers from 0.
        reduction: width of the frozen network over that of the side network.
        prompts: learnable prompts a block; 0 leaves the side network alone.
        prompt_width: ``frozen`` (FPT+) or ``side`` (FPT).
        residual: prompts are added ``before`` (FPT+) or ``after`` (FPT) the output map, or not at all (``none``).
        ratio: share of the tokens that every head keeps, in (0, 1].
        rule: which tokens: ``global``, ``class_token``; ``least`` and ``random`` for comparison.
        dropout: of what the prompts found, in [0, 1).
        patch_size: of the side network, in pixels.
        preload: store the features of all images before training, or compute them anew for every batch.
        stored_dtype: float32, float16, bfloat16 or int8.
        stored_views: mirrored forms that are stored, so that both looks at an image can be mirrored alike: identity,
            horizontal, vertical, both.
        normalize: the frozen network's images by the mean and deviation of the ``data``, as published, or of the
            ``backbone``.
        compute: precision of the frozen network: fp32 or bf16.

    Raises:
        RecipeError: settings that do not fit each other or the backbone.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        frozen_size: int | Sequence[int] = 512,
        blocks: Blocks = "last_half",
        reduction: int = 8,
        prompts: int = 16,
        prompt_width: Width = "frozen",
        residual: Residual = "before",
        ratio: float = 0.2,
        rule: Rule = "global",
        dropout: float = 0.5,
        patch_size: int = 16,
        preload: bool = True,
        stored_dtype: StoredType = "float16",
        stored_views: Sequence[str] = ("identity",),
        normalize: Normalize = "data",
        compute: Compute = "fp32",
    ) -> None:
        super().__init__(outputs, inputs)
        self.backbone_name = backbone
        size = _pair(frozen_size)
        geometry = architecture(backbone, size, inputs.channels)
        depth = len(chosen_blocks(blocks, geometry.blocks))
        if reduction < 1 or geometry.width % (reduction * geometry.heads):
            raise RecipeError(
                f"a width of {geometry.width} over {reduction} does not split into {geometry.heads} heads",
                where="reduction",
                do=f"use a divisor of {geometry.width // geometry.heads}",
            )
        width = geometry.width // reduction
        self.standardise = Standardise(inputs)
        self.side = SideNetwork(outputs, inputs.size, inputs.channels, width, depth, geometry.heads, patch_size)
        self.fusion: FinePrompts | None = None
        self.features: FrozenFeatures | None = None
        if prompts:
            self.fusion = FinePrompts(
                depth, geometry.heads, geometry.head_dim, width, prompts, prompt_width, residual, dropout
            )
            seen = _seen(inputs, size, backbone, normalize)
            self.features = FrozenFeatures(
                backbone, weights, seen, blocks, ratio, rule, stored_dtype, stored_views, compute
            )

    @classmethod
    def views(cls, settings: Mapping[str, Any], inputs: Inputs) -> tuple[View, ...]:
        """The large image, and with ``preload`` what is derived from it; nothing without prompts.

        Raises:
            RecipeError: settings that do not fit each other or the backbone.
        """
        bound = inspect.signature(cls).bind(0, inputs, **settings)
        bound.apply_defaults()
        given = bound.arguments
        if not given["prompts"]:
            return ()
        size = _pair(given["frozen_size"])
        if not given["preload"]:
            return (View(FROZEN_IMAGE, size),)
        seen = _seen(inputs, size, given["backbone"], given["normalize"])
        derivation = FrozenFeatures(
            given["backbone"], given["weights"], seen, given["blocks"], given["ratio"], given["rule"],
            given["stored_dtype"], given["stored_views"], given["compute"],
        )  # fmt: skip
        return (View(FROZEN_IMAGE, size, derivation, derivation.codes),)

    @property
    def frozen(self) -> Frozen | None:  # type: ignore[override]
        """The frozen network, found when it is asked for; None without prompts."""
        return None if self.features is None else self.features.frozen(self.side.head.weight.device)

    def learned_state(self) -> dict[str, Tensor]:
        """All tensors: the frozen network is no part of this module."""
        return self.state_dict()

    def share(self) -> float:
        """Learnable parameters over these and the frozen network with its published classifier, as in the papers."""
        from scantling.nets.frozen import published_parameters

        if self.features is None:
            return super().share()
        learnable = sum(p.numel() for _, p in self.learnable())
        return learnable / (learnable + published_parameters(self.backbone_name)[0])

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs)``, with stored features where the batch has them, else from ``frozen_image``.

        Raises:
            DataError: images or features of another shape, or neither features nor large images.
        """
        return self.side(self.standardise(batch[IMAGE]), self.fine_prompts(batch))

    def fine_prompts(self, batch: TensorDict) -> Tensor | None:
        """What the prompts found, ``(B, L, P, d)``; None without prompts."""
        if self.fusion is None or self.features is None:
            return None
        if FROZEN_KEYS in batch.keys():
            found = self._stored(batch, self.features)
        elif FROZEN_IMAGE in batch.keys():
            found = self.features.look(_floating(batch[FROZEN_IMAGE], self.features.inputs))
        else:
            raise DataError(
                f"the batch has neither '{FROZEN_KEYS}' nor '{FROZEN_IMAGE}'",
                do="give files, which are read at both sizes, or both fields",
            )
        return self.fusion(*(found.get(name) for name in (FROZEN_KEYS, FROZEN_VALUES, *SCALES.values())))

    def saliency_map(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """The side network's patches ``(B, d, h, w)`` in front of its last block, and the outputs that follow."""
        last = len(self.side.blocks) - 1
        with torch.no_grad():
            prompts = self.fine_prompts(batch)
            tokens = self.side.run(self.side.embed(self.standardise(batch[IMAGE])), prompts, 0, last)
        with torch.enable_grad():
            patches = tokens[:, 1:].transpose(1, 2).unflatten(2, self.side.grid).detach().requires_grad_()
            tokens = torch.cat([tokens[:, :1], patches.flatten(2).transpose(1, 2)], 1)
            return patches, self.side.classify(self.side.run(tokens, prompts, last, last + 1))

    def _stored(self, batch: TensorDict, features: FrozenFeatures) -> dict[str, Tensor]:
        """The stored features of a batch, of the shapes that this network was built for."""
        names = (FROZEN_KEYS, FROZEN_VALUES, *SCALES.values())
        found = {name: batch[name] for name in names if name in batch.keys()}
        wanted = dict.fromkeys((FROZEN_KEYS, FROZEN_VALUES), (len(batch), *features.row))
        if found[FROZEN_KEYS].dtype == torch.int8:
            wanted |= dict.fromkeys(SCALES.values(), (len(batch), *features.row[:2]))
        for name, shape in wanted.items():
            given = tuple(found[name].shape) if name in found else None
            if given != shape:
                raise DataError(
                    f"'{name}' is {'missing' if given is None else f'of shape {given}'}; {shape} is needed",
                    do="store features with the adapter's own blocks, ratio and size",
                )
        return found


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, int):
        return (size, size)
    height, width = size
    return (int(height), int(width))


def _seen(inputs: Inputs, size: tuple[int, int], backbone: str, normalize: str) -> Inputs:
    """The images that the frozen network sees."""
    check_word("normalize", normalize, Normalize)
    if normalize == "data":
        return replace(inputs, size=size)
    import timm

    known = timm.get_pretrained_cfg(backbone)
    mean, std = (known.mean, known.std) if known is not None else (Inputs.mean, Inputs.std)
    if inputs.channels == 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    return replace(inputs, size=size, mean=tuple(mean), std=tuple(std))


def _floating(images: Tensor, inputs: Inputs) -> Tensor:
    """Images in [0, 1] of the size that the frozen network takes."""
    if tuple(images.shape[-2:]) != inputs.size:
        raise DataError(
            f"'{FROZEN_IMAGE}' is {images.shape[-2]} x {images.shape[-1]} pixels; the frozen network takes "
            f"{inputs.size[0]} x {inputs.size[1]}",
            do="read it at that size",
        )
    return images if images.is_floating_point() else images.float().div_(255.0)
