"""A convolutional autoencoder: what it cannot rebuild is abnormal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.anomaly import AnomalyAdapter, two_outputs
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs

if TYPE_CHECKING:
    from tensordict import TensorDict


class AnomalyAutoencoder(AnomalyAdapter):
    """Learns to rebuild normal images through a narrow middle; the score is the error of the worst parts.

    Args:
        outputs: 2.
        inputs: the images; sides must be multiples of two to the power of ``levels``.
        width: channels of the first level, doubled at every level up to eightfold.
        levels: halvings of height and width.
        latent: channels of the middle.
        smooth: side in pixels of the squares over which the error is averaged, odd.
        worst: share of the pixels whose mean error is the score, in (0, 1].

    Raises:
        RecipeError: a size that cannot be halved so often, or a setting outside its range.

    Source: Bergmann et al. 2019, arXiv 1807.02011 (autoencoder with squared error; there the score is the largest one).
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        width: int = 16,
        levels: int = 4,
        latent: int = 16,
        smooth: int = 5,
        worst: float = 0.01,
    ) -> None:
        super().__init__(outputs, inputs)
        if any(side % 2**levels for side in inputs.size):
            raise RecipeError(
                f"{inputs.size[0]} x {inputs.size[1]} pixels cannot be halved {levels} times",
                where="data.image_size",
                do=f"use a multiple of {2**levels}",
            )
        if smooth < 1 or smooth % 2 == 0 or not 0 < worst <= 1:
            raise RecipeError("smooth is odd, worst lies in (0, 1]", where="task.adapter", do="as 5 and 0.01")
        self.smooth, self.worst = smooth, worst
        widths = [width * min(8, 2**level) for level in range(levels)]
        down: list[nn.Module] = []
        up: list[nn.Module] = [nn.Conv2d(latent, widths[-1], 3, padding=1), nn.ReLU()]
        for before, after in zip([inputs.channels, *widths], widths, strict=False):
            down += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        for before, after in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True):
            up += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], latent, 3, padding=1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(widths[0], inputs.channels, 3, padding=1), nn.Sigmoid())

    def rebuilt(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] as the network knows them."""
        rebuilt: Tensor = self.decoder(self.encoder(images))
        return rebuilt

    def normal_loss(self, batch: TensorDict) -> Tensor:
        """Mean squared error of every image ``(B,)``."""
        images = batch[IMAGE]
        error: Tensor = self.rebuilt(images) - images
        return error.square().flatten(1).mean(1)

    def outputs_and_map(self, batch: TensorDict) -> tuple[Tensor, Tensor | None]:
        """Outputs ``(B, 2)`` and the squared error ``(B, H, W)``, averaged over channels and neighbours."""
        images = batch[IMAGE]
        error = (self.rebuilt(images) - images).float().square().mean(1, keepdim=True)
        error = F.avg_pool2d(error, self.smooth, 1, self.smooth // 2, count_include_pad=False)[:, 0]
        flat = error.flatten(1)
        scores = flat.topk(max(1, int(self.worst * flat.shape[1])), dim=1).values.mean(1)
        return two_outputs(scores), error
