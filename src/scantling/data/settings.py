"""How a recipe handles data: the section ``data``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs, Policy

NORMALISATIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "eyepacs": ((0.425753653, 0.297374517, 0.212937579), (0.276703030, 0.202405274, 0.168624178)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation per channel of images in [0, 1]. Source of eyepacs: Huang et al. 2023, released code."""


@dataclass
class DataSettings:
    """Data handling.

    Args:
        manifest: table of images, CSV or Parquet; the option `--data FILE` is short for it.
        target: what to predict: grade, class, findings or mask, with names where wanted (grade:5); left out, as the
            manifest says.
        image_size: height and width in pixels after the crop; one number for a square.
        crop: none, fundus (the lit disc of a fundus photograph) or center_square.
        fit: stretch to the size, or pad and keep the aspect ratio.
        channels: 1 (grey) or 3 (colour).
        normalize: imagenet, eyepacs, half, none, or auto (measured on the training images).
        store: where decoded images live: disk (memory-mapped), memory, or none (decoded anew for every batch).
        cache: folder of the disk store; left out, $SCANTLING_CACHE or ~/.cache/scantling.
        workers: processes or threads that decode; 0 for one a core.
        sampler: instance (every image once an epoch), class_balanced, square_root, power, effective_number, or
            progressive (from balanced to instance).
        sampler_decay: of the progressive sampler, in (0, 1).
        sampler_power: of the sampler power: 0 is instance, 0.5 square_root, 1 class_balanced.
        sampler_beta: of the sampler effective_number, in [0, 1).
        batch_size: images a step and process.
        eval_batch_size: images a step in evaluation; left out, twice the batch size.
        policy: augmentation of training batches, on the device: a class, fixed, random, randaugment, trivialaugment,
            bigaug, or the folder of a searched policy; left out, none.
        val_fraction: share of patients held out for validation when the manifest has no split.
    """

    manifest: str | None = None
    target: str | None = None
    image_size: int | tuple[int, int] = 224
    crop: Literal["none", "fundus", "center_square"] = "none"
    fit: Literal["stretch", "pad"] = "stretch"
    channels: Literal[1, 3] = 3
    normalize: Literal["imagenet", "eyepacs", "half", "none", "auto"] = "imagenet"
    store: Literal["disk", "memory", "none"] = "disk"
    cache: str | None = None
    workers: int = 0
    sampler: Literal["instance", "class_balanced", "progressive", "square_root", "power", "effective_number"] = (
        "instance"
    )
    sampler_decay: float = 0.9
    sampler_power: float = 0.5
    sampler_beta: float = 0.9999
    batch_size: int = 16
    eval_batch_size: int | None = None
    policy: Policy | None = None
    val_fraction: float = 0.2

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RecipeError(f"a batch of {self.batch_size}", where="data.batch_size", do="use 1 or more")
        if not 0.0 < self.val_fraction < 1.0:
            raise RecipeError(f"a share of {self.val_fraction:g}", where="data.val_fraction", do="use 0 < share < 1")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = (self.image_size,) * 2 if isinstance(self.image_size, int) else self.image_size
        return height, width


def fixed_inputs(settings: DataSettings) -> Inputs:
    """Inputs with a normalisation that needs no measuring; ``auto`` counts as none yet."""
    mean, std = NORMALISATIONS["none" if settings.normalize == "auto" else settings.normalize]
    if settings.channels == 1:
        return Inputs(settings.size, 1, (sum(mean) / 3,), (sum(std) / 3,))
    return Inputs(settings.size, 3, mean, std)
