"""The plain U-Net: the published numbers of parameters, maps as large as images, no look beyond its levels."""

import pytest
import torch

from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.plain_unet import PlainUNet

GREY = Inputs((32, 32), 1, (0.0,), (1.0,))


@pytest.mark.parametrize(
    ("inputs", "base", "norm", "parameters"),
    [
        (GREY, 64, "none", 31_030_593),
        (Inputs((32, 32)), 64, "none", 31_031_745),
        (GREY, 64, "batch", 31_036_481),
        (GREY, 16, "none", 1_940_817),
        (GREY, 8, "none", 485_673),
    ],
)
def test_it_has_the_published_numbers_of_parameters(inputs, base, norm, parameters):
    with torch.device("meta"):
        net = PlainUNet(1, inputs, base, 4, norm)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_a_map_is_as_large_as_its_image_whatever_the_sides(norm):
    net = PlainUNet(2, GREY, 2, 3, norm).eval()
    assert net(torch.rand(2, 1, 27, 41)).shape == (2, 2, 27, 41)
    assert net.encoded(torch.rand(2, 1, 27, 41)).shape == (2, 16)


def test_both_is_the_map_and_the_average_of_the_deepest_level():
    net, images = PlainUNet(1, GREY, 2, 2).eval(), torch.rand(3, 1, 16, 16)
    outputs, features = net.both(images)
    torch.testing.assert_close(outputs, net(images))
    torch.testing.assert_close(features, net.encode(images)[-1].mean((2, 3)))


def test_a_shift_by_whole_cells_of_the_deepest_level_shifts_the_map():
    net = PlainUNet(1, GREY, 4, 2, "none").eval()
    image = torch.zeros(1, 1, 128, 128)
    image[..., 60:68, 56:64] = torch.rand(8, 8)
    moved = net(torch.roll(image, 4, -1))
    torch.testing.assert_close(moved[..., 32:96, 36:96], net(image)[..., 32:96, 32:92], atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", [{"base": 0}, {"depth": 0}, {"norm": "layer"}])
def test_settings_that_cannot_be_are_refused_in_one_line(settings):
    with pytest.raises(RecipeError, match="PlainUNet"):
        PlainUNet(1, GREY, **settings)
