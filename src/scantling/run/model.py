"""A trained model, ready for use: what a bundle becomes when it is loaded. Needs no recipe and no trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from scantling.core.batch import FELLOW_IMAGE, IMAGE, as_float
from scantling.core.build import construct
from scantling.core.bundle import find_bundle, read_bundle
from scantling.core.errors import BundleError
from scantling.core.seams import Adapter, Inputs, Objective
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
    """

    def __init__(
        self, adapter: Adapter, objective: Objective, target: Target, preprocess: Preprocess, meta: dict[str, Any]
    ) -> None:
        super().__init__()
        self.adapter, self.objective = adapter, objective
        self.target, self.preprocess, self.meta = target, preprocess, meta
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
        """Raw outputs ``(B, outputs)`` of a batch of uint8 or float images, averaged over test-time augmentations."""
        batch = as_float(batch.to(self.device))
        views = [self._outputs(view(batch)) for view in VIEWS[augmentation]]
        if self.target.kind == "mask":
            views = [back(v) for back, v in zip(BACK[augmentation], views, strict=True)]
        return torch.stack(views).mean(0)

    def decide(self, outputs: Tensor) -> Result:
        """Probabilities, severities and names from raw outputs."""
        probabilities = self.objective.decode(outputs)
        return Result(probabilities, self.objective.score(outputs), self.target.decode(probabilities.cpu().numpy()))

    def predict(self, images: Tensor | np.ndarray | Sequence[str | Path], augmentation: Augmentation = "none") -> Result:
        """Predictions for images that were preprocessed, or for files.

        Args:
            images: ``(B, C, H, W)`` uint8 or float in [0, 1], of any size the network takes; or paths of image files.
            augmentation: average over flips, or over flips and quarter turns.

        Raises:
            DataError: a file that cannot be read.
        """
        from tensordict import TensorDict

        if not isinstance(images, Tensor):
            images = self.read(images) if isinstance(images, Sequence) else torch.as_tensor(images)
        return self.decide(self.outputs(TensorDict({IMAGE: images}, batch_size=[len(images)]), augmentation))

    def read(self, paths: Sequence[str | Path]) -> Tensor:
        """Image files as uint8 ``(B, C, H, W)``, preprocessed as in training.

        Raises:
            DataError: a file that cannot be read.
        """
        from scantling.data.readers import read_picture

        return torch.stack([torch.from_numpy(self.preprocess.apply(read_picture(Path(p)))[0]) for p in paths])

    def _outputs(self, batch: TensorDict) -> Tensor:
        if self.target.kind != "mask":
            return self.adapter(batch)
        from scantling.tasks.windows import slide

        window = self.meta.get("window") or {}
        return slide(self.adapter, batch, window.get("size"), window.get("overlap", 0.25))


def load(path: str | Path, device: str | torch.device = "cpu") -> Model:
    """A trained model from a bundle, or from a run folder (its last finished stage).

    Args:
        path: folder.
        device: where to put the weights.

    Raises:
        BundleError: no bundle there, a damaged one, or one whose tensors do not fit.
        RecipeError: the bundle names a class outside this package.
    """
    files = read_bundle(find_bundle(path))
    meta = files.meta
    try:
        target = make_target(meta["target"]["kind"], meta["target"]["names"])
        sizes = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["inputs"].items()}
        objective = construct(meta["objective"], Objective)
        objective.configure(target)
        adapter = construct(meta["adapter"], Adapter, objective.outputs_for(target), Inputs(**sizes))
        preprocess = Preprocess.from_json(meta["preprocess"])
    except (KeyError, TypeError) as error:
        raise BundleError(f"its description is incomplete ({error})", where=files.path, do="train it again") from error
    objective.temperature = float(meta.get("temperature", 1.0))
    for name, module in (("adapter", adapter), ("objective", objective)):
        own = {k.removeprefix(f"{name}."): v for k, v in files.state.items() if k.startswith(f"{name}.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            first = str(error).strip().splitlines()[1 if "\n" in str(error) else 0].strip()
            raise BundleError(f"its tensors do not fit ({first})", where=files.path, do="train it again") from error
    return Model(adapter, objective, target, preprocess, meta).to(device)


def _turned(turns: int, mirror: bool) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    def there(x: Tensor) -> Tensor:
        return torch.rot90(x.flip(-1) if mirror else x, turns, (-2, -1))

    def back(x: Tensor) -> Tensor:
        x = torch.rot90(x, -turns, (-2, -1))
        return x.flip(-1) if mirror else x

    return there, back


def _of_batch(there: Callable[[Tensor], Tensor]) -> Callable[[TensorDict], TensorDict]:
    def view(batch: TensorDict) -> TensorDict:
        batch = batch.clone(recurse=False)
        for field in (IMAGE, FELLOW_IMAGE):
            if field in batch.keys():
                batch[field] = there(batch[field])
        return batch

    return view


def _pairs(names: Augmentation) -> Iterator[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    turns = {"none": [(0, False)], "flips": [(0, False), (0, True), (2, False), (2, True)]}
    yield from (_turned(t, m) for t, m in turns.get(names, [(t, m) for t in range(4) for m in (False, True)]))


_NAMES: tuple[Augmentation, ...] = ("none", "flips", "rotations")
VIEWS = {name: [_of_batch(there) for there, _ in _pairs(name)] for name in _NAMES}
BACK = {name: [back for _, back in _pairs(name)] for name in _NAMES}
