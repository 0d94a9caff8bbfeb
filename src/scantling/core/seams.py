"""The seams: the places where a method plugs in. Read this file first.

Each seam is one small abstract class. A method fills one of them, names itself in a recipe by ``class_path``, and needs
nothing else. A batch is a ``TensorDict`` whose fields ``scantling.core.batch`` names; a random generator is always
passed in, never global. ``docs/add-a-method.md`` walks through one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from scantling.core.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from tensordict import TensorDict
    from torch import Tensor

    from scantling.core.frozen import Frozen
    from scantling.core.target import Target


@dataclass(frozen=True)
class Inputs:
    """The images that a network is built for.

    Args:
        size: height and width in pixels.
        channels: 1 (grey) or 3 (colour).
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
    """

    size: tuple[int, int] = (224, 224)
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def to_json(self) -> dict[str, Any]:
        """Plain content for ``bundle.json``."""
        return asdict(self)


class Derivation(ABC):
    """Something computed once over a data set and kept in the store: saliency, frozen features, degraded copies.

    Deterministic. ``settings`` (JSON-able) identifies the result: the store recomputes it when they change.
    """

    settings: dict[str, Any]

    @abstractmethod
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Fields ``{name: (B, ...)}`` from ``images (B, C, H, W)``, uint8."""

    def fields(self, channels: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of one row of every field, ``{name: (dtype, shape)}``, without computing anything."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it gives")


@dataclass(frozen=True)
class View:
    """Each image once more at another size, for adapters that look twice.

    Args:
        field: batch field of its pixels, ``(B, C, height, width)``, cropped like the image.
        size: height and width in pixels.
        derivation: computed from the pixels once and kept; its fields then stand in a batch where the pixels would.
            Where an image is met for the first time, as in prediction, the pixels are given.
        codes: mirrored forms of each image that the fields hold along their first dimension: 0 the image as it is, 1
            mirrored left to right, 2 upside down, 3 both. A training batch holds one of them, and the image likewise.
    """

    field: str
    size: tuple[int, int]
    derivation: Derivation | None = None
    codes: tuple[int, ...] = (0,)


class Adapter(nn.Module, ABC):
    """A network with its head, and which of its parameters learn.

    Constructed as ``Adapter(outputs, inputs, **settings)``: ``outputs`` is how many values the objective asks for per
    image (or pixel). ``wants`` names the batch fields beyond the image that it reads (derivations, ``fellow_image``).
    """

    wants: tuple[str, ...] = ()
    frozen: Frozen | None = None
    """The frozen network that it stands on; None where all of it is its own."""

    def __init__(self, outputs: int, inputs: Inputs) -> None:
        super().__init__()
        self.outputs, self.inputs = outputs, inputs

    @classmethod
    def views(cls, settings: Mapping[str, Any], inputs: Inputs) -> tuple[View, ...]:
        """Further looks at every image that an adapter with these settings takes, known before it is built."""
        return ()

    @abstractmethod
    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs)``, or ``(B, outputs, H, W)``, from a batch whose images are float in [0, 1]."""

    def portable(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings with which a bundle rebuilds this adapter without any outside file: weights come from it."""
        return {**settings, "weights": "none"} if "weights" in settings else dict(settings)

    def saliency_map(self, batch: TensorDict) -> tuple[Tensor, Tensor] | None:
        """A feature map ``(B, F, h, w)`` inside the graph and the outputs that follow from it, for Grad-CAM."""
        return None

    def learnable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that learn; the rest stay frozen and may stay out of a bundle."""
        return ((n, p) for n, p in self.named_parameters() if p.requires_grad)

    def learned_state(self) -> dict[str, Tensor]:
        """The tensors that a bundle keeps: all of them, or, on a frozen network, what does not belong to it.

        That is what learns, and the buffers of modules in which something learns.
        """
        state = self.state_dict()
        if self.frozen is None:
            return state
        learnable = {name for name, _ in self.learnable()}
        homes = {name.rpartition(".")[0] for name in learnable}
        buffers = {name for name, _ in self.named_buffers() if name.rpartition(".")[0] in homes}
        return {name: tensor for name, tensor in state.items() if name in learnable or name in buffers}

    def share(self) -> float:
        """Share of the parameters that learn, in [0, 1], counted as the method's paper counts it."""
        learnable = sum(p.numel() for _, p in self.learnable())
        return learnable / max(1, sum(p.numel() for p in self.parameters()))


class Objective(nn.Module, ABC):
    """A loss together with the way back from outputs to probabilities.

    Constructed with its settings alone; ``configure(target)`` fits it to a target before it is used. ``temperature``
    (above 0, 1 at first) flattens or sharpens the probabilities and never changes the prediction.
    """

    temperature: float = 1.0

    @abstractmethod
    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        """Fit the objective to a target; ``class_counts (K,)`` are those of the training images.

        Raises:
            RecipeError: this objective cannot serve such a target.
        """

    @abstractmethod
    def outputs_for(self, target: Target) -> int:
        """Width of the head that this objective needs."""

    @abstractmethod
    def loss(self, outputs: Tensor, batch: TensorDict) -> Tensor:
        """Scalar loss. Samples without a label do not contribute; a batch without any gives a zero with a gradient."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Probabilities ``(B, K)`` (or ``(B, K, H, W)``) whose arg-max is the prediction."""

    def score(self, outputs: Tensor) -> Tensor | None:
        """A continuous severity ``(B,)``, where the objective has one."""
        return None

    def set_epoch(self, epoch: int, epochs: int = 1) -> None:
        """Hear of a new epoch, from 0, and of how many there are; only losses that change over time listen."""

    def fit_temperature(self, outputs: Tensor, labels: Tensor) -> float:
        """Set and return the temperature that fits held-out outputs best; 1 where there is nothing to fit."""
        return self.temperature


class Mixer(ABC):
    """Mixes the samples of a batch: mixup, CutMix, SPMix.

    ``partners`` names a sampler that draws a second batch beside the first: a training batch then has 2B rows, those of
    ``data.sampler`` before those of ``partners``, and the mixer gives B.
    """

    partners: str | None = None

    def configure(  # noqa: B027 (a hook that few mixers need)
        self, target: Target, inputs: Inputs, class_counts: Tensor | None = None
    ) -> None:
        """Hear of the task once, before the first batch; ``class_counts (K,)`` are those of the training images.

        Raises:
            RecipeError: it cannot mix samples of such a target.
        """

    def derivations(self) -> tuple[Derivation, ...]:
        """Maps that it reads beside the image, computed once over the data set."""
        return ()

    def set_epoch(self, epoch: int, epochs: int) -> None:  # noqa: B027 (a hook that few mixers need)
        """Hear of a new epoch, from 0, and of how many there are."""

    @abstractmethod
    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """A batch of the same shapes, of half as many rows with ``partners``; labels may become distributions (B, K).

        Images and maps are float in [0, 1]. The generator is on the CPU.
        """

    def around(self, adapter: Adapter, batch: TensorDict) -> AbstractContextManager[None]:
        """Entered while the adapter sees a mixed batch, for mixers that reach into the network."""
        return nullcontext()


class Synthesizer(ABC):
    """Makes samples that the data do not have: images with lesions from images without."""

    @abstractmethod
    def configure(self, inputs: Inputs, preprocess: Any = None) -> None:
        """Hear of the images once, before the first batch; ``preprocess`` turns files into such images.

        Raises:
            RecipeError: what it needs is not there.
            DataError: files that cannot be used.
        """

    @abstractmethod
    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The same rows, changed: ``image``, ``label`` 1, ``mask (B, H, W)`` of what was put in, ``synthetic`` True.

        Images are float in [0, 1] before and after. The generator is on the CPU.
        """

    @abstractmethod
    def by_row(self, batch: TensorDict, seed: int) -> TensorDict:
        """The same, but what an image gets follows from the seed and its ``index`` alone."""

    def decoys(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The rows with pieces of normal images, put in just as lesions are; labels unchanged.

        Raises:
            RecipeError: it has no such form.
        """
        raise RecipeError(f"{type(self).__name__} makes no decoys", where="task.decoys", do="use 0")


class Policy(ABC):
    """Augments a batch on its device, every sample on its own, image and mask by the same geometry."""

    @abstractmethod
    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """A batch of the same shapes; images are float in [0, 1] before and after."""
