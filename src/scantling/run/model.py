"""A trained model, ready for use: what a bundle becomes when it is loaded. Needs no recipe and no trainer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from scantling.core.batch import IMAGE, IMAGES, as_float
from scantling.core.build import construct, import_object
from scantling.core.bundle import find_bundle, put_learned, read_bundle
from scantling.core.errors import BundleError, DataError, RecipeError, TrainingError, nearest
from scantling.core.seams import Adapter, Inputs, Objective
from scantling.core.seams import View as Look
from scantling.core.target import Target, make_target
from scantling.data.preprocess import Preprocess

if TYPE_CHECKING:
    import numpy as np
    from tensordict import TensorDict

Augmentation = Literal["none", "flips", "rotations"]


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
            RecipeError: an unknown augmentation.
        """
        check_augmentation(augmentation)
        batch = as_float(batch.to(self.device))
        square = batch[IMAGE].shape[-2] == batch[IMAGE].shape[-1]
        views = [v for v in VIEWS[augmentation] if square or not v.quarter]
        total = self._outputs(batch)
        for view in views[1:]:
            found = self._outputs(view.of(batch))
            total = total + (view.undone(found) if self.target.kind == "mask" else found)
        return total / len(views)

    @torch.inference_mode()
    def decide(self, outputs: Tensor) -> Result:
        """Probabilities, severities and names from raw outputs."""
        probabilities = self.objective.decode(outputs)
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
            return self.decide(self.outputs(self.read(images), augmentation))
        if self.looks:
            sizes = ", ".join(" x ".join(map(str, look.size)) for look in self.looks)
            raise DataError(f"the network looks at every image again at {sizes} pixels", do="give paths of image files")
        pixels = torch.as_tensor(images)
        return self.decide(self.outputs(TensorDict({IMAGE: pixels}, batch_size=[len(pixels)]), augmentation))

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

    def _outputs(self, batch: TensorDict) -> Tensor:
        if self.target.kind != "mask":
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
    files = read_bundle(find_bundle(path))
    meta = files.meta
    try:
        target = make_target(meta["target"]["kind"], meta["target"]["names"])
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["inputs"].items()}
        objective = construct(meta["objective"], Objective)
        objective.configure(target)
        inputs = Inputs(**sizes)
        description = _own_weights(meta["adapter"], meta.get("frozen"))
        looks = import_object(description["class_path"], Adapter).views(description["init_args"], inputs)
        # A frozen network is shared by all models on a device; made there, its tensors need no copy.
        with nullcontext() if place.type == "cpu" else place:
            adapter = construct(description, Adapter, objective.outputs_for(target), inputs)
        preprocess = Preprocess.from_json(meta["preprocess"])
        objective.temperature = float(meta.get("temperature") or 1.0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"its description is incomplete ({error})", where=files.path, do="train it again") from error
    try:
        put_learned(adapter, objective, files.state)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1 if "\n" in str(error) else 0].strip()
        raise BundleError(f"its tensors do not fit ({first})", where=files.path, do="train it again") from error
    return Model(adapter, objective, target, preprocess, meta, looks).to(place)


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


def check_augmentation(name: str) -> None:
    """Raise a RecipeError for a test-time augmentation that does not exist."""
    if name not in VIEWS:
        raise RecipeError(f"no augmentation '{name}'{nearest(name, VIEWS)}", do=f"use one of {', '.join(VIEWS)}")


def _own_weights(description: dict[str, Any], below: dict[str, str] | None) -> dict[str, Any]:
    """The adapter's description with no other source of weights than the bundle, and the frozen network below it."""
    found = import_object(description["class_path"], Adapter)
    settings = dict(description.get("init_args") or {})
    weights = "none" if below is None else f"frozen:{below['hash']}:{below['source']}"
    own = {"weights": weights, "encoder": "none"}
    known = inspect.signature(found).parameters
    return {**description, "init_args": settings | {name: own[name] for name in own if name in known}}


@dataclass(frozen=True)
class View:
    """A turned or mirrored look at a batch: mirrored where wanted, then turned by so many quarters."""

    turns: int
    mirror: bool

    @property
    def quarter(self) -> bool:
        """Whether height and width change places."""
        return self.turns % 2 == 1

    def of(self, batch: TensorDict) -> TensorDict:
        """The batch with all its images seen so."""
        batch = batch.clone(recurse=False)
        for field in IMAGES:
            images = batch.get(field, None)
            if images is not None:
                batch[field] = torch.rot90(images.flip(-1) if self.mirror else images, self.turns, (-2, -1))
        return batch

    def undone(self, maps: Tensor) -> Tensor:
        """Maps ``(B, K, H, W)`` of the view, put back in place."""
        back = torch.rot90(maps, -self.turns, (-2, -1))
        return back.flip(-1) if self.mirror else back


VIEWS: dict[str, list[View]] = {
    "none": [View(0, False)],
    "flips": [View(turns, mirror) for turns in (0, 2) for mirror in (False, True)],
    "rotations": [View(turns, mirror) for turns in range(4) for mirror in (False, True)],
}
"""Test-time augmentations; the first view of each is the image as it is."""
