"""MixStyle changes styles and nothing else, in training and never else."""

from __future__ import annotations

import copy

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.adapt.full import FullFineTuning
from scantling.adapt.mix_style import MixStyleFineTuning, MixStyleUNet, StyleMixing, mix_styles
from scantling.adapt.segmentation import UNet
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.run.recipe import resolve

INPUTS = Inputs(size=(32, 32))


def features_of(n: int = 6) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(n, 5, 9, 7) * torch.rand(n, 5, 1, 1) * 3 + torch.randn(n, 5, 1, 1)


def style(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean((2, 3)), features.std((2, 3), unbiased=False)


def test_weight_one_keeps_everything_and_weight_zero_takes_the_partners_style():
    features, partners = features_of(), torch.tensor([1, 2, 3, 4, 5, 0])
    torch.testing.assert_close(mix_styles(features, torch.ones(6), partners), features, atol=1e-5, rtol=0)
    torch.testing.assert_close(mix_styles(features, torch.rand(6), torch.arange(6)), features, atol=1e-5, rtol=0)
    swapped = style(mix_styles(features, torch.zeros(6), partners))
    for found, wanted in zip(swapped, style(features[partners]), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_the_normalised_content_stays():
    features = features_of()
    mixed = mix_styles(features, torch.rand(6), torch.randperm(6))

    def content(x: Tensor) -> Tensor:
        return (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)

    torch.testing.assert_close(content(mixed), content(features), atol=1e-3, rtol=1e-3)


def test_no_gradient_passes_from_one_image_to_another():
    features = features_of().requires_grad_()
    mix_styles(features, torch.full((6,), 0.5), torch.tensor([1, 2, 3, 4, 5, 0]))[0].square().sum().backward()
    assert features.grad is not None
    assert (features.grad[1:] == 0).all()
    assert (features.grad[0] != 0).any()


def test_it_mixes_in_training_as_often_as_it_should():
    features, mixing = features_of(), StyleMixing(0.3).train()
    changed = sum(not torch.equal(mixing(features), features) for _ in range(400))
    assert 80 < changed < 160
    assert mixing.eval()(features) is features
    assert StyleMixing(1.0).train()(features[:1]) is not None
    assert torch.equal(StyleMixing(1.0).train()(features[:1]), features[:1])


@pytest.mark.parametrize(
    ("mixed", "plain"),
    [
        (lambda: MixStyleUNet(2, INPUTS, width=4, mix_probability=1.0), lambda: UNet(2, INPUTS, width=4)),
        (
            lambda: MixStyleUNet(2, INPUTS, "resnet18", mix_probability=1.0),
            lambda: UNet(2, INPUTS, "resnet18"),
        ),
        (
            lambda: MixStyleFineTuning(2, INPUTS, "resnet18", "none", mix_probability=1.0),
            lambda: FullFineTuning(2, INPUTS, "resnet18", "none"),
        ),
    ],
    ids=["unet", "encoder", "classifier"],
)
def test_a_network_with_it_is_the_plain_one_in_evaluation(mixed, plain):
    torch.manual_seed(1)
    ours, theirs = mixed(), plain()
    theirs.load_state_dict(ours.state_dict())
    batch = TensorDict({"image": torch.rand(4, 3, 32, 32)}, batch_size=[4])
    reference = theirs.eval()(batch)
    assert torch.equal(ours.eval()(batch), reference)
    copied = copy.deepcopy(ours)
    assert copied.mixing is not ours.mixing
    ours.train()
    theirs.train()
    assert not torch.allclose(ours(batch), theirs(batch), atol=1e-4)
    assert torch.equal(copied(batch), reference)


def test_networks_without_known_stages_are_refused():
    with pytest.raises(RecipeError, match="not known"):
        MixStyleFineTuning(2, INPUTS, "vit_tiny_patch16_224", "none")
    with pytest.raises(RecipeError, match="stages"):
        MixStyleUNet(2, INPUTS, width=4, mix_stages=9)
    with pytest.raises(RecipeError):
        StyleMixing(1.2)
    with pytest.raises(RecipeError):
        StyleMixing(alpha=0.0)


def test_words_of_a_recipe_stay_words():
    # Its module imports one type for type checkers alone; the types of its other settings are known all the same.
    stage = resolve("segment", {"task.adapter": "scantling.adapt.MixStyleUNet", "task.adapter.weights": "none"}).stages[
        0
    ]
    assert stage.plain["task"]["init_args"]["adapter"]["init_args"]["weights"] == "none"
