"""Any of kornia's augmentations as a policy, image and mask together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from scantling.core.batch import FELLOW_IMAGE, IMAGE, MAPS, MASK, as_float
from scantling.core.errors import RecipeError, nearest
from scantling.core.seams import Policy

if TYPE_CHECKING:
    from tensordict import TensorDict

OUTSIDE = -1


class KorniaPolicy(Policy):
    """A list of kornia's random operations, each by its name and settings, applied in order.

    For what :class:`scantling.augment.FixedPolicy` does not have: elastic deformation, CLAHE, motion blur, noise,
    erasing and so on. Geometric operations move the mask along, with the nearest neighbour; pixels from outside become
    -1, unknown. Slower than the fixed policy: every operation resamples.

    Args:
        operations: one mapping an operation, from the name of a class of ``kornia.augmentation`` to its settings, such
            as ``[{"RandomElasticTransform": {"p": 0.5}}, {"RandomHorizontalFlip": {"p": 0.5}}]``.

    Raises:
        RecipeError: no such operation, or settings that it does not know.

    >>> policy = KorniaPolicy([{"RandomHorizontalFlip": {"p": 1.0}}])
    >>> from tensordict import TensorDict
    >>> batch = TensorDict({"image": torch.tensor([[[[0.0, 1.0]]]])}, batch_size=[1])
    >>> policy(batch, torch.Generator().manual_seed(0))["image"].flatten().tolist()
    [1.0, 0.0]
    """

    def __init__(self, operations: Sequence[Mapping[str, Mapping[str, Any] | None]]) -> None:
        import kornia.augmentation as known

        if not operations:
            raise RecipeError("no operation", where="policy.operations", do="name at least one of kornia.augmentation")
        self.kornia: Any = known
        self.operations = [_made(known, *next(iter(operation.items()))) for operation in operations]

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """A batch of the same shapes, images float32 in [0, 1]; kornia's random numbers follow the generator."""
        batch = as_float(batch)
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            moving = [name for name in (MASK, *MAPS) if name in batch.keys()]
            chain: torch.nn.Module = self.kornia.AugmentationSequential(
                *self.operations,
                data_keys=["input", *["mask" for _ in moving]],
                extra_args={"mask": {"resample": "nearest", "padding_mode": "zeros"}},
            )
            planes = [(batch[n] - OUTSIDE).float().unsqueeze(1) if n == MASK else batch[n] for n in moving]
            found = chain(batch[IMAGE], *planes)
            images, *moved = found if moving else [found]
            for name, plane in zip(moving, moved, strict=True):
                batch[name] = plane.squeeze(1).round().long() + OUTSIDE if name == MASK else plane
            batch[IMAGE] = images.clamp(0, 1)
            if FELLOW_IMAGE in batch.keys():
                fellow = self.kornia.AugmentationSequential(*self.operations, data_keys=["input"])
                batch[FELLOW_IMAGE] = fellow(batch[FELLOW_IMAGE]).clamp(0, 1)
        return batch


def _made(known: Any, name: str, settings: Mapping[str, Any] | None) -> torch.nn.Module:
    kind = getattr(known, name, None)
    names = [n for n in dir(known) if n.startswith("Random") or n in {"CenterCrop", "ColorJitter", "ColorJiggle"}]
    if name not in names or kind is None:
        raise RecipeError(f"kornia has no operation '{name}'{nearest(name, names)}", where="policy.operations")
    try:
        return kind(**(settings or {}))
    except TypeError as error:
        raise RecipeError(str(error), where=f"policy.operations: {name}", do="see kornia's documentation") from error
