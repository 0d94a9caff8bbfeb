"""SPMix: mix a rare-class image with a common-class image, patch by patch, so that the rare lesion stays on top.

Source: Wei et al. 2024, arXiv 2406.10801; in the journal extension TailBoost, Sensors 26(11):3343, 2026, the same step.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from scantling.augment.mixers.patch_ratios import patch_ratios, patch_scores
from scantling.augment.mixers.rare_side import LabelSide, RareSideMixer
from scantling.augment.mixers.tokens import mixed_tokens
from scantling.augment.saliency import FineGrained, SaliencyDetector
from scantling.core.batch import IMAGE, SALIENCY
from scantling.core.errors import DataError, RecipeError, nearest
from scantling.data.samplers import Sampler

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.seams import Adapter, Derivation, Inputs
    from scantling.core.target import Target

Level = Literal["pixel", "token"]
When = Literal["store", "batch"]

BACKGROUND, RATIO = "background_image", "token_ratio"
"""Fields of a batch whose tokens will be mixed: the images below ``(B, C, H, W)``, and the weights ``(B, 1, h, w)``."""


class SPMix(RareSideMixer):
    """Saliency-guided patch-wise mixup of a rare image with a common one, under the rare label.

    Every patch shows the labelled image with a weight in [0.5, cap]: most on its own lesion, which must stay visible,
    and on the other one's, which must not; on the background of both, half and half.

    Which side is labelled: with ``partners`` the row that the partners' sampler drew, as in the paper, whose samplers
    are ``instance`` and ``class_balanced``; without, the row of the rarer class. ``label_side: common`` puts the other
    one on top and gives its label. With partners that is what the released code does: the label and the larger weight
    go to the row drawn as it comes, and the rare images are never more than background.

    Args:
        patch_size: side of a patch in pixels; the images' sides must be multiples of it. With ``level: token`` that of
            the network.
        cap: largest weight of the labelled image, in [0.5, 1].
        level: mix the ``pixel`` values, for any network, or the ``token`` embeddings of a vision transformer. For a
            plain patch embedding the two are the same; for a convolutional stem they differ.
        saliency: what finds lesions; left out, :class:`scantling.augment.FineGrained`.
        when: ``store`` keeps the maps with the images and moves them along; ``batch`` computes them of the augmented
            images, in every step and without space on the disk. Corners that a rotation leaves empty then stand out.
        label_side: ``rare`` as in the paper, or ``common``, for comparison.
        same_class: mix pairs of one class, too.
        probability: share of the rows that are mixed, in [0, 1]; mixing all of them costs recall on common classes.
        partners: sampler that draws the rare side; none: rows of the same batch, which a class-balanced
            ``data.sampler`` should then draw.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range, or an unknown word.
    """

    def __init__(
        self,
        patch_size: int = 16,
        cap: float = 0.8,
        level: Level = "pixel",
        saliency: SaliencyDetector | None = None,
        when: When = "store",
        label_side: LabelSide = "rare",
        same_class: bool = True,
        probability: float = 0.5,
        partners: Sampler | None = None,
        warmup_epochs: int = 0,
        last_epochs: int = 0,
    ) -> None:
        super().__init__(label_side, same_class, probability, partners, warmup_epochs, last_epochs)
        for name, value, words in (("level", level, get_args(Level)), ("when", when, get_args(When))):
            if value not in words:
                what = f"unknown {name} '{value}'{nearest(value, words)}"
                raise RecipeError(what, where=f"task.mixer.{name}", do=f"use {' or '.join(words)}")
        if patch_size < 1 or not 0.5 <= cap <= 1:
            what = f"patches of {patch_size} pixels and weights up to {cap:g}"
            raise RecipeError(what, where="task.mixer", do="give a patch_size from 1 and a cap from 0.5 to 1")
        self.patch_size, self.cap, self.level, self.when = patch_size, cap, level, when
        self.saliency = FineGrained() if saliency is None else saliency

    def configure(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None) -> None:
        """Hear of the task once, before the first batch; ``class_counts (K,)`` are those of the training images.

        Raises:
            RecipeError: a target that it cannot serve, or images that do not divide into its patches.
        """
        super().configure(target, inputs, class_counts)
        if any(side % self.patch_size for side in inputs.size):
            raise RecipeError(
                f"images of {inputs.size[0]} x {inputs.size[1]} pixels do not divide into patches of {self.patch_size}",
                where="task.mixer.patch_size",
                do="change it, or data.image_size",
            )

    def derivations(self) -> tuple[Derivation, ...]:
        """The saliency, unless it is computed of the augmented images."""
        return (self.saliency,) if self.when == "store" and self.saliency.from_images else ()

    def ratios(self, batch: TensorDict, labelled: Tensor, background: Tensor, generator: torch.Generator) -> Tensor:
        """Weights ``(B, 1, H / patch_size, W / patch_size)`` float32, from the saliency of all rows.

        Raises:
            DataError: maps were to come with the batch, and did not.
        """
        with torch.no_grad(), torch.autocast(batch[IMAGE].device.type, enabled=False):
            scores = patch_scores(self.maps(batch), self.patch_size)
        return patch_ratios(scores[labelled], scores[background], self.cap)

    def maps(self, batch: TensorDict) -> Tensor:
        """Saliency ``(B, 1, H, W)`` in [0, 1] of all rows.

        Raises:
            DataError: maps were to come with the batch, and did not.
        """
        if not self.derivations():
            return self.saliency.detect(batch)
        maps: Tensor | None = batch.get(SALIENCY, None)
        if maps is None:
            raise DataError(
                f"the batch has no field '{SALIENCY}'",
                where="task.mixer",
                do="put it into the store, or use when: batch",
            )
        return maps

    def blended(self, labelled: TensorDict, background: Tensor, ratio: Tensor) -> TensorDict:
        """The mixed batch; on the token level what :meth:`around` will mix."""
        if self.level == "pixel":
            return super().blended(labelled, background, ratio)
        labelled[BACKGROUND], labelled[RATIO] = background, ratio
        return labelled

    def around(self, adapter: Adapter, batch: TensorDict) -> AbstractContextManager[None]:
        """Entered while the adapter sees a mixed batch: mixes its tokens, on that level."""
        if RATIO not in batch.keys():
            return nullcontext()
        return mixed_tokens(adapter, batch[BACKGROUND], batch[RATIO])
