"""What FPT stores of every image: keys and values of the important tokens of a frozen vision transformer.

Source: FPT, Huang et al. 2024 (arXiv 2403.07576), and FPT+, Huang et al. 2025 (arXiv 2408.02426), on preloading. They
store float32 in one file an image; here any of four types, in one array a data set, beside settings that tell whether
stored features fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from scantling.adapt.fpt.selection import QUERIES, Rule, important_tokens, kept_tokens
from scantling.adapt.fpt.words import check_word
from scantling.core.batch import FROZEN_KEYS, FROZEN_VALUES
from scantling.core.errors import RecipeError, nearest
from scantling.core.mirror import mirror
from scantling.core.seams import Derivation, Inputs
from scantling.nets.attention_taps import architecture, tap

if TYPE_CHECKING:
    from scantling.core.frozen import Frozen

StoredType = Literal["float32", "float16", "bfloat16", "int8"]
Compute = Literal["fp32", "bf16"]
Blocks = str | Sequence[int]
"""``all``, ``last_half`` or numbers of blocks from 0."""

KEY_SCALES = "frozen_key_scales"
VALUE_SCALES = "frozen_value_scales"
SCALES = {FROZEN_KEYS: KEY_SCALES, FROZEN_VALUES: VALUE_SCALES}
"""Fields with the factors ``(B, V, L, H)`` of 8-bit keys and values."""

MIRRORS = {"identity": 0, "horizontal": 1, "vertical": 2, "both": 3}
"""Code of every mirrored form: bit 0 is left to right, bit 1 upside down."""


class FrozenFeatures(Derivation):
    """Keys and values of the important tokens of some blocks of a frozen transformer.

    Fields, for ``V`` mirrored forms, ``L`` blocks, ``H`` heads and ``T`` tokens of width ``dh``: ``frozen_keys`` and
    ``frozen_values (B, V, L, H, T, dh)``; for int8 also ``frozen_key_scales`` and ``frozen_value_scales (B, V, L, H)``
    float32. The network is loaded when it is first needed, and is no part of a module tree.

    Args:
        backbone: timm vision transformer.
        weights: see :func:`scantling.nets.frozen.find_frozen`.
        inputs: the images that it sees, and how they are standardised.
        blocks: ``all``, ``last_half`` or numbers from 0.
        ratio: share of the tokens that every head keeps, in (0, 1].
        rule: which ones; see :data:`scantling.adapt.fpt.selection.Rule`.
        dtype: of the stored keys and values; int8 is symmetric, one factor for each image, block and head.
        views: mirrored forms to store: identity, horizontal, vertical, both.
        compute: ``fp32``, or ``bf16`` for mixed precision.

    Raises:
        RecipeError: an unknown word or architecture, a ratio or block out of range, a network that is no plain vision
            transformer or has no class token to ask.
    """

    def __init__(
        self,
        backbone: str,
        weights: str,
        inputs: Inputs,
        blocks: Blocks = "last_half",
        ratio: float = 0.2,
        rule: Rule = "global",
        dtype: StoredType = "float16",
        views: Sequence[str] = ("identity",),
        compute: Compute = "fp32",
    ) -> None:
        check_word("rule", rule, Rule)
        check_word("stored_dtype", dtype, StoredType)
        check_word("compute", compute, Compute)
        if not 0 < ratio <= 1:
            raise RecipeError(f"a share of {ratio:g} of the tokens", where="ratio", do="give one above 0, at most 1")
        self.backbone, self.weights, self.inputs = backbone, weights, inputs
        self.geometry = architecture(backbone, inputs.size, inputs.channels)
        if rule == "class_token" and not self.geometry.class_token:
            raise RecipeError(f"'{backbone}' has no class token", where="rule", do="use the rule 'global'")
        self.blocks = chosen_blocks(blocks, self.geometry.blocks)
        self.ratio, self.rule, self.dtype, self.compute = ratio, rule, dtype, compute
        self.codes = _codes(views)
        self.kept = kept_tokens(ratio, self.geometry.tokens)
        self._network: tuple[torch.device, Frozen, nn.Module] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the network, which every copy finds again."""
        return {**self.__dict__, "_network": None}

    @property
    def row(self) -> tuple[int, ...]:
        """Shape ``(L, H, T, dh)`` of the keys of one form of one image."""
        return (len(self.blocks), self.geometry.heads, self.kept, self.geometry.head_dim)

    @cached_property
    def settings(self) -> dict[str, Any]:  # type: ignore[override]
        """All that the result depends on. Finds the network, for the hash of its weights, and lets go of it."""
        return {
            "backbone": self.backbone,
            "weights": self.frozen(torch.device("cpu")).hash,
            "size": list(self.inputs.size),
            "channels": self.inputs.channels,
            "mean": list(self.inputs.mean),
            "std": list(self.inputs.std),
            "blocks": list(self.blocks),
            "ratio": self.ratio,
            "rule": self.rule,
            "dtype": self.dtype,
            "views": list(self.codes),
            "compute": self.compute,
        }

    def frozen(self, device: torch.device) -> Frozen:
        """The frozen network on a device."""
        from scantling.nets.frozen import find_frozen

        if self._network is not None and self._network[0] == device:
            return self._network[1]
        with torch.inference_mode(False):  # others may train on the same tensors
            return find_frozen(self.backbone, self.weights, self.inputs.channels, device)

    def fields(self, channels: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of one row of every field, ``{name: (dtype, shape)}``, without computing anything."""
        forms = len(self.codes)
        found: dict[str, tuple[str, tuple[int, ...]]] = dict.fromkeys(SCALES, (self.dtype, (forms, *self.row)))
        if self.dtype == "int8":
            found |= dict.fromkeys(SCALES.values(), ("float32", (forms, *self.row[:2])))
        return found

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The fields of ``images (B, C, H, W)``, uint8."""
        images = images.float().div_(255.0)
        forms = [self.look(mirror(images, code)) for code in self.codes]
        return {name: torch.stack([form[name] for form in forms], 1) for name in forms[0]}

    @torch.no_grad()
    def look(self, images: Tensor) -> dict[str, Tensor]:
        """The fields of one form of ``images (B, C, H, W)``, float in [0, 1]: ``(B, L, H, T, dh)``, ``(B, L, H)``."""
        body = self._body(images)
        mean, std = (images.new_tensor(part).view(-1, 1, 1) for part in (self.inputs.mean, self.inputs.std))
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.compute == "bf16"):
            taps = tap(body, (images - mean).div_(std), self.blocks, self._select, QUERIES[self.rule])
        found = {}
        for name, tensor in ((FROZEN_KEYS, taps.keys), (FROZEN_VALUES, taps.values)):
            found[name], scales = stored(tensor, self.dtype)
            if scales is not None:
                found[SCALES[name]] = scales
        return found

    def _select(self, importance: Tensor, block: int) -> Tensor:
        return important_tokens(importance, self.kept, self.rule, block)

    def _body(self, images: Tensor) -> nn.Module:
        """The network on the device of the images."""
        from torch._subclasses.fake_tensor import FakeTensor

        from scantling.nets.frozen import frozen_body

        if isinstance(images, FakeTensor):
            return _numberless(self.backbone, self.inputs, images.device)
        if self._network is None or self._network[0] != images.device:
            frozen = self.frozen(images.device)
            with torch.inference_mode(False):
                self._network = (images.device, frozen, frozen_body(frozen, self.inputs).to(images.device))
        return self._network[2]


def _numberless(backbone: str, inputs: Inputs, device: torch.device) -> nn.Module:
    """The network for fake tensors, which are for finding out what a step costs."""
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    from scantling.nets.create import create

    with unset_fake_temporarily(), torch.device("meta"):
        body = create(backbone, inputs, pretrained=False, num_classes=0).requires_grad_(False).eval()
    groups: list[dict[str, Any]] = [g for m in body.modules() for g in (m._parameters, m._buffers)]
    for group in groups:
        for name, tensor in group.items():
            if tensor is not None:
                made = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
                group[name] = nn.Parameter(made, False) if isinstance(tensor, nn.Parameter) else made
    return body


def stored(tensor: Tensor, dtype: StoredType) -> tuple[Tensor, Tensor | None]:
    """A tensor ``(..., T, dh)`` as it is stored, and for int8 its factors ``(...)``, the largest magnitude over 127.

    >>> eighths, scales = stored(torch.tensor([[2.54, -1.27], [0.0, 0.01]]), "int8")
    >>> eighths.tolist(), round(scales.item(), 4)
    ([[127, -64], [0, 0]], 0.02)
    """
    if dtype != "int8":
        return tensor.to(getattr(torch, dtype)), None
    tensor = tensor.float()
    scales = tensor.abs().amax((-2, -1)).div_(127.0)
    steps = tensor / scales.clamp(min=torch.finfo(torch.float32).tiny)[..., None, None]
    return steps.round_().clamp_(-127, 127).to(torch.int8), scales


def chosen_blocks(blocks: Blocks, count: int) -> tuple[int, ...]:
    """Numbers of the tapped blocks of a network that has so many.

    Raises:
        RecipeError: an unknown word, or numbers that are not rising blocks of the network.

    >>> chosen_blocks("last_half", 12)
    (6, 7, 8, 9, 10, 11)
    """
    words = {"all": 0, "last_half": count - max(1, count // 2)}
    if isinstance(blocks, str):
        if blocks not in words:
            do = f"use {', '.join(words)}, or a list of numbers"
            raise RecipeError(f"unknown blocks '{blocks}'{nearest(blocks, words)}", where="blocks", do=do)
        return tuple(range(words[blocks], count))
    numbers = tuple(blocks)
    if not numbers or numbers != tuple(sorted(set(numbers))) or numbers[0] < 0 or numbers[-1] >= count:
        raise RecipeError(
            f"blocks {list(numbers)} of a network with {count}", where="blocks", do=f"list rising numbers below {count}"
        )
    return numbers


def _codes(views: Sequence[str]) -> tuple[int, ...]:
    for view in views:
        if view not in MIRRORS:
            hint = nearest(view, MIRRORS)
            raise RecipeError(f"unknown form '{view}'{hint}", where="stored_views", do=f"use {', '.join(MIRRORS)}")
    codes = tuple(MIRRORS[view] for view in views)
    if not codes or codes[0] != 0 or len(set(codes)) != len(codes):
        raise RecipeError(f"stored forms {list(views)}", where="stored_views", do="begin with identity, each form once")
    return codes
