"""U-Nets: one pass gives masks and features, sides of any length, encoders from bundles."""

import pytest
import torch
from tensordict import TensorDict

from scantling.adapt import UNet
from scantling.core.seams import Inputs

NETS = {"monai": {"width": 4}, "resnet": {"backbone": "resnet10t"}, "vit": {"backbone": "test_vit"}}


def batch(*size, n=2, seed=0):
    images = torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))
    return TensorDict({"image": images}, batch_size=[n])


def net(name, outputs=2, size=(64, 64)):
    torch.manual_seed(0)
    return UNet(outputs, Inputs(size), **NETS[name]).eval()


@pytest.mark.parametrize("name", NETS)
def test_one_pass_gives_what_two_give(name):
    unet, given = net(name), batch(64, 64)
    outputs, features = unet.outputs_and_encoded(given)
    torch.testing.assert_close(outputs, unet(given))
    torch.testing.assert_close(features, unet.encoded(given))
    assert features.shape == (2, unet.features) and outputs.shape == (2, 2, 64, 64)


@pytest.mark.parametrize("name", ["monai", "resnet"])
def test_features_are_of_the_encoder_alone(name):
    unet = net(name)
    unet.encoded(batch(64, 64)).sum().backward()
    learns = {n for n, p in unet.named_parameters() if p.grad is not None and p.grad.abs().any()}
    decoder = ("net.head", "net.last", "net.levels", "net.body.upcat", "net.body.final")
    assert learns and not any(n.startswith(decoder) for n in learns)


@pytest.mark.parametrize("name", ["monai", "resnet"])
def test_sides_of_any_length_and_padding_changes_nothing_where_it_is_not_needed(name):
    unet = net(name)
    assert unet(batch(50, 37)).shape == (2, 2, 50, 37)
    whole = batch(64, 64)
    assert unet.net._padded(whole["image"]).shape == (2, 3, 64, 64)


def test_monai_s_own_forward_gives_the_same():
    unet, given = net("monai"), batch(32, 48)
    torch.testing.assert_close(unet(given), unet.net.body(unet.net.standardise(given["image"])))


@pytest.mark.parametrize("backbone", ["resnet10t", "convnext_atto", "test_vit"])
def test_the_encoder_takes_the_backbone_of_a_bundle(backbone, tmp_path):
    from scantling.adapt import DenseTokens
    from scantling.core.bundle import write_bundle
    from scantling.core.files import writing_folder

    torch.manual_seed(1)
    taught = DenseTokens(2, Inputs((64, 64)), backbone)
    state = {f"adapter.{k}": v for k, v in taught.state_dict().items()}
    with writing_folder(tmp_path / "bundle") as part:
        write_bundle(part, {"scantling": "0.1.0"}, state, "a model of the tests")
    torch.manual_seed(2)
    unet = UNet(2, Inputs((64, 64)), backbone=backbone, weights=str(tmp_path / "bundle"))
    own = dict(unet.net.encoder.named_parameters())
    theirs = dict(taught.backbone.body.named_parameters())
    assert all(any(torch.equal(mine, w) for w in theirs.values()) for mine in own.values())
    assert unet.portable({"weights": "somewhere"})["weights"] == "none"
