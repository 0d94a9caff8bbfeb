"""Masks from the tokens of a backbone: coarse, in place, and a backbone that others can begin with."""

import pytest
import torch
from tensordict import TensorDict

from scantling.adapt import DenseTokens
from scantling.core.seams import Inputs


def batch(height, width):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    return TensorDict({"image": images}, batch_size=[2])


@pytest.mark.parametrize(("backbone", "size"), [("test_vit", (64, 96)), ("test_resnet", (64, 96))])
def test_masks_are_as_large_as_the_image(backbone, size):
    net = DenseTokens(4, Inputs(size), backbone).eval()
    assert net(batch(*size)).shape == (2, 4, *size)


def test_a_cell_of_the_map_decides_over_its_part_of_the_mask():
    net = DenseTokens(2, Inputs((64, 64)), "test_vit").eval()
    cells = torch.zeros(2, 64, 4, 4)
    cells[:, :, 1, 2] = 1.0
    net.backbone.feature_map = lambda images: cells
    with torch.no_grad():
        net.head.weight.fill_(0.0)
        net.head.weight[1].fill_(1.0)
    drawn = net(batch(64, 64))[:, 1]
    assert drawn[:, 16:32, 32:48].min() > 64 * 0.25 and drawn[:, :, :8].abs().max() == 0


def test_every_part_of_the_backbone_that_is_used_learns():
    net = DenseTokens(2, Inputs((32, 32)), "test_vit")
    net.head.weight.data.normal_()
    net(batch(32, 32)).square().sum().backward()
    still = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().any()}
    assert still <= {"backbone.body.cls_token"}


def test_a_bundle_of_it_is_a_backbone_for_others(phantoms, tmp_path):
    from scantling import train

    common = {"trainer.max_epochs": 1, "trainer.accelerator": "cpu", "data.image_size": 32, "data.batch_size": 8}
    dense = {"task.adapter": "scantling.adapt.DenseTokens", "task.adapter.backbone": "test_vit"}
    whole = {"task.patch_size": None, "task.patches": 1, "data.target": "mask:background|vessel", "data.policy": None}
    taught = train("segment", phantoms, tmp_path / "a", overrides={**common, **dense, **whole}, progress=False).bundle
    probe = {"task.adapter.backbone": "test_vit", "task.adapter.weights": str(taught), "data.target": "class"}
    result = train("linear_probe", phantoms, tmp_path / "b", overrides={**common, **probe}, progress=False)
    assert (result.bundle / "bundle.json").is_file()
