"""Properties of the spectral residual: the paper's equations, scale of grey values, the odd one out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, uniform_filter

from scantling.augment.saliency import SpectralResidual
from scantling.augment.saliency.spectral_residual import spectral_residual
from scantling.core.errors import RecipeError


def reference(image: np.ndarray, sigma: float) -> np.ndarray:
    spectrum = np.fft.fft2(image)
    logarithm = np.log(np.abs(spectrum))
    residual = logarithm - uniform_filter(logarithm, 3, mode="wrap")
    energy = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = gaussian_filter(energy, sigma, mode="nearest", radius=round(3 * sigma))
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def random_images(count: int, size: int = 48) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sigma", [1.0, 2.5])
def test_it_is_the_definition(sigma):
    images = random_images(2)
    found = spectral_residual(images, sigma)[:, 0].numpy()
    for image, saliency in zip(images[:, 0].double().numpy(), found, strict=True):
        np.testing.assert_allclose(saliency, reference(image, sigma), atol=2e-4)


def test_the_scale_of_grey_values_does_not_matter():
    images = random_images(2)
    torch.testing.assert_close(spectral_residual(0.3 * images), spectral_residual(images), atol=1e-4, rtol=1e-4)


def test_the_odd_one_out_is_the_most_salient():
    """A grid of upright bars, one of which lies."""
    image = torch.zeros(64, 64)
    image[4::8, 4::8] = image[5::8, 4::8] = 1
    image[36:38, 36] = 0
    image[36, 35:38] = 1
    found = spectral_residual(image.view(1, 1, 64, 64))[0, 0]
    y, x = divmod(int(found.argmax()), 64)
    assert abs(y - 36) <= 2 and abs(x - 36) <= 2


def test_a_constant_image_has_no_salient_place():
    assert spectral_residual(torch.full((1, 1, 32, 32), 0.7)).count_nonzero() == 0


def test_the_derivation_gives_bytes_of_the_image_s_size():
    found = SpectralResidual()(random_images(2, 96).mul(255).byte())["saliency"]
    assert found.dtype == torch.uint8 and found.shape == (2, 1, 96, 96)
    assert found.max() > 240 and found.min() == 0


def test_values_out_of_range_are_refused():
    with pytest.raises(RecipeError, match="sigma"):
        SpectralResidual(sigma=0.0)
