"""A trained model, ready for use: what a bundle becomes when it is loaded. Needs no recipe and no trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scantling.core.batch import IMAGE, as_float
from scantling.core.errors import BundleError, DataError, RecipeError, TrainingError
from scantling.core.seams import Adapter, Objective
from scantling.core.seams import View as Look
from scantling.core.target import Target
from scantling.data.preprocess import Preprocess
from scantling.nets.trained import load_network
from scantling.run.views import Augmentation, views_of
from scantling.tasks.objectives.masks import MaskObjective

if TYPE_CHECKING:
    import numpy as np
    from tensordict import TensorDict


@dataclass
class Segmented:
    """Probabilities of masks, and how sure the model is of them.

    Args:
        probabilities: ``(B, K, H, W)``, averaged over test-time augmentations.
        entropy: of the averaged probabilities, ``(B, H, W)`` in [0, 1]: 0 certain, 1 as undecided as can be.
        deviation: standard deviation of the probability over the augmentations, largest of all outputs, ``(B, H, W)``
            in [0, 0.5]; None without augmentation.
        views: probabilities of every view, ``(V, B, K, H, W)``, put back in place; None unless asked for.
    """

    probabilities: Tensor
    entropy: Tensor
    deviation: Tensor | None
    views: Tensor | None = None


@dataclass
class Result:
    """Predictions for a batch of images.

    Args:
        probabilities: ``(B, K)``, or ``(B, K, H, W)`` for masks.
        scores: continuous severities ``(B,)``, where the objective has them.
        labels: predicted names, one an image.
    """

    probabilities: Tensor
    scores: Tensor | None
    labels: list[str]


class Model(nn.Module):
    """A network with the way from pixels to probabilities.

    Args:
        adapter: the network.
        objective: configured for the target.
        target: what is predicted.
        preprocess: how files become pixels.
        meta: the bundle's description.
        looks: further looks that the network takes at every image.
    """

    def __init__(
        self,
        adapter: Adapter,
        objective: Objective,
        target: Target,
        preprocess: Preprocess,
        meta: dict[str, Any],
        looks: Sequence[Look] = (),
    ) -> None:
        super().__init__()
        self.adapter, self.objective = adapter, objective
        self.target, self.preprocess, self.meta = target, preprocess, meta
        self.looks = tuple(looks)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.adapter.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities ``(B, K)`` (or ``(B, K, H, W)``) of images ``(B, C, H, W)`` in [0, 1]."""
        from tensordict import TensorDict

        return self.objective.decode(self.adapter(TensorDict({IMAGE: images}, batch_size=[len(images)])))

    @torch.inference_mode()
    def outputs(self, batch: TensorDict, augmentation: Augmentation = "none") -> Tensor:
        """Raw outputs ``(B, outputs)`` of a batch of uint8 or float images, averaged over test-time augmentations.

        Raises:
            RecipeError: an unknown augmentation, or any where masks are predicted (see :meth:`segment`).
        """
        if self.target.dense and augmentation != "none":
            raise RecipeError("outputs of masks are not averaged, their probabilities are", do="call segment()")
        batch = as_float(batch.to(self.device))
        height, width = batch[IMAGE].shape[-2:]
        views = views_of(augmentation, height == width, masks=False)
        total = self._outputs(batch)
        for view in views[1:]:
            total = total + self._outputs(view.of(batch))
        return total / len(views)

    @torch.inference_mode()
    def segment(self, batch: TensorDict, augmentation: Augmentation = "none", each: bool = False) -> Segmented:
        """Probabilities of masks of a batch of uint8 or float images, averaged over test-time augmentations.

        Args:
            batch: the images.
            augmentation: views that are averaged.
            each: keep the probabilities of every view as well.

        Raises:
            RecipeError: an unknown augmentation.
        """
        batch = as_float(batch.to(self.device))
        height, width = batch[IMAGE].shape[-2:]
        views = views_of(augmentation, height == width, masks=True)
        total: Tensor | None = None
        squares: Tensor | None = None
        kept: list[Tensor] = []
        for view in views:
            seen = self.objective.decode(self._outputs(view.of(batch)))
            found = view.undone(seen, (height, width))
            total = found if total is None else total + found
            squares = found**2 if squares is None else squares + found**2
            kept += [found] if each else []
        assert total is not None and squares is not None
        mean = total / len(views)
        spread = (squares / len(views) - mean**2).clamp(min=0).sqrt().amax(1) if len(views) > 1 else None
        return Segmented(mean, self.masks.entropy(mean), spread, torch.stack(kept) if each else None)

    @property
    def masks(self) -> MaskObjective:
        """The objective of a model that predicts masks.

        Raises:
            BundleError: it predicts something else, or its objective does not say which pixels belong to what.
        """
        if not isinstance(self.objective, MaskObjective):
            name = type(self.objective).__name__
            raise BundleError(f"its objective {name} draws no masks", where="objective", do="use a model that does")
        return self.objective

    @torch.inference_mode()
    def decide(self, outputs: Tensor) -> Result:
        """Probabilities, severities and names from raw outputs."""
        probabilities = self.objective.decode(outputs)
        if self.target.dense:
            return self._drawn(probabilities)
        return Result(probabilities, self.objective.score(outputs), self.target.decode(probabilities.cpu().numpy()))

    def predict(
        self, images: Tensor | np.ndarray | str | Path | Sequence[str | Path], augmentation: Augmentation = "none"
    ) -> Result:
        """Predictions for images that were preprocessed, or for files.

        Args:
            images: ``(B, C, H, W)`` uint8 or float in [0, 1], of any size the network takes; or paths of image files.
                A network that takes further looks at every image needs paths.
            augmentation: average over flips, or over flips and quarter turns; images that are not square are only
                flipped.

        Raises:
            DataError: a file that cannot be read, no image at all, or pixels where files are needed.
            RecipeError: an unknown augmentation.
        """
        from tensordict import TensorDict

        if isinstance(images, (str, Path)):
            images = [images]
        if isinstance(images, Sequence):
            return self._decided(self.read(images), augmentation)
        if self.looks:
            sizes = ", ".join(" x ".join(map(str, look.size)) for look in self.looks)
            raise DataError(f"the network looks at every image again at {sizes} pixels", do="give paths of image files")
        pixels = torch.as_tensor(images)
        return self._decided(TensorDict({IMAGE: pixels}, batch_size=[len(pixels)]), augmentation)

    def read(self, paths: Sequence[str | Path]) -> TensorDict:
        """Image files as a batch: ``image`` uint8 ``(B, C, H, W)``, preprocessed as in training, and further looks.

        Raises:
            DataError: a file that cannot be read, or no path at all.
        """
        from tensordict import TensorDict

        from scantling.data.readers import read_picture

        if not paths:
            raise DataError("no images given", do="give at least one path")
        ways = self.ways()
        fields: dict[str, list[Tensor]] = {name: [] for name in ways}
        for path in paths:
            picture = read_picture(Path(path))
            for name, way in ways.items():
                fields[name].append(torch.from_numpy(way.apply(picture)[0]))
        return TensorDict({name: torch.stack(images) for name, images in fields.items()}, batch_size=[len(paths)])

    def ways(self) -> dict[str, Preprocess]:
        """How a file becomes each field of pixels that the network reads."""
        return {IMAGE: self.preprocess} | {k.field: replace(self.preprocess, size=k.size) for k in self.looks}

    def _decided(self, batch: TensorDict, augmentation: Augmentation) -> Result:
        if self.target.dense:
            return self._drawn(self.segment(batch, augmentation).probabilities)
        return self.decide(self.outputs(batch, augmentation))

    def _drawn(self, probabilities: Tensor) -> Result:
        """Masks, named by the structures that are in them, or by the plane."""
        if self.target.kind == "biometry":
            return Result(probabilities, None, self.target.decode(probabilities.cpu().numpy()))
        there = self.masks.called(probabilities).flatten(2).any(2).cpu().tolist()
        names = self.target.structures
        return Result(
            probabilities, None, ["|".join(n for n, is_ in zip(names, row, strict=True) if is_) for row in there]
        )

    def _outputs(self, batch: TensorDict) -> Tensor:
        if not self.target.dense:
            return self.adapter(batch)
        from scantling.tasks.windows import slide

        window = self.meta.get("window") or {}
        return slide(self.adapter, batch, window.get("size"), window.get("overlap", 0.25))


def load(path: str | Path, device: str | torch.device = "cpu") -> Model:
    """A trained model from a bundle, or from a run folder (its last finished stage).

    Nothing is fetched from elsewhere, but for the frozen network that an adapted model stands on: it is looked for in
    this process, in the cache, and where it first came from.

    Args:
        path: folder.
        device: where to put the weights; ``auto`` for a GPU where there is one.

    Raises:
        BundleError: no bundle there, a damaged one, one whose tensors do not fit, or one whose frozen network cannot be
            found or is another one.
        RecipeError: the bundle names a class outside this package, or settings that it does not know.
        TrainingError: no such device.
    """
    place = pick_device(device)
    found = load_network(path, place)
    try:
        preprocess = Preprocess.from_json(found.meta["preprocess"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"its description is incomplete ({error})", where=found.path, do="train it again") from error
    return Model(found.adapter, found.objective, found.target, preprocess, found.meta, found.looks).to(place)


def pick_device(name: str | torch.device) -> torch.device:
    """The device of this name; ``auto`` is a GPU where there is one.

    Raises:
        TrainingError: an unknown device, or one that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"no device '{name}' here", do="use auto or cpu") from error
    return device
