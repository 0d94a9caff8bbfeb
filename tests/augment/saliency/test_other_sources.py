"""Saliency from masks and from a trained network, and how derivations are told apart."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tensordict import TensorDict

from scantling.adapt import FullFineTuning
from scantling.augment import FixedPolicy
from scantling.augment.saliency import ClassActivation, FineGrained, FromMask, SpectralResidual
from scantling.core.bundle import write_bundle
from scantling.core.errors import BundleError, DataError
from scantling.core.seams import Inputs
from scantling.core.target import parse_target
from scantling.data.derived import derivation_key
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.data.store import Store
from scantling.nets.trained import load_network

INPUTS = Inputs((32, 32), 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A small network with a head that looks at one channel alone."""
    torch.manual_seed(0)
    adapter = FullFineTuning(3, INPUTS, "resnet10t", "none").eval()
    folder = tmp_path_factory.mktemp("cam") / "bundle"
    folder.mkdir()
    meta = {
        "target": parse_target("class:a|b|c").to_json(),
        "inputs": INPUTS.to_json(),
        "objective": {"class_path": "scantling.tasks.objectives.CrossEntropy", "init_args": {}},
        "adapter": {
            "class_path": "scantling.adapt.FullFineTuning",
            "init_args": {"backbone": "resnet10t", "weights": "hub"},
        },
    }
    write_bundle(folder, meta, {f"adapter.{k}": v for k, v in adapter.state_dict().items()}, "")
    return folder


def images(count: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()


def test_masks_are_1_inside_and_0_where_nothing_is_known():
    mask = torch.tensor([[[0, 1], [2, -1]]])
    batch = TensorDict({"image": torch.rand(1, 3, 2, 2), "mask": mask}, batch_size=[1])
    assert FromMask().detect(batch).tolist() == [[[[0.0, 1.0], [1.0, 0.0]]]]
    with pytest.raises(DataError, match="column 'mask'"):
        FromMask().detect(batch.exclude("mask"))


def test_class_activation_is_the_network_s_own_gradient_at_its_prediction(bundle):
    network = load_network(bundle)
    network.adapter.eval().requires_grad_(False)
    pixels = images().float() / 255
    maps = ClassActivation(str(bundle)).detect(TensorDict({"image": pixels}, batch_size=[3]))
    features = network.adapter.backbone.feature_map(pixels).detach().requires_grad_()
    outputs = network.adapter.head(network.adapter.backbone.body.forward_head(features))
    outputs.max(1).values.sum().backward()
    heat = (features.grad.mean((2, 3), keepdim=True) * features.detach()).sum(1, keepdim=True).relu()
    heat = torch.nn.functional.interpolate(heat, (32, 32), mode="bilinear")
    expected = heat / heat.amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-4)
    assert maps.max() == 1


def test_class_activation_works_without_gradients_at_other_sizes_and_after_a_copy(bundle):
    detector = ClassActivation(str(bundle))
    with torch.no_grad():
        first = detector(images(2, 48))["saliency"]
    assert first.shape == (2, 1, 48, 48) and first.dtype == torch.uint8 and first.max() == 255
    with torch.inference_mode():
        again = copy.deepcopy(detector)(images(2, 48))["saliency"]
    assert torch.equal(first, again)


def test_a_folder_without_a_bundle_is_refused_when_the_recipe_is_built(tmp_path):
    with pytest.raises(BundleError, match="no such folder"):
        ClassActivation(str(tmp_path / "nothing"))


def test_another_network_or_setting_is_another_derivation(bundle, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "other")
    same = shutil.copytree(bundle, tmp_path / "same")
    state = load_file(other / "model.safetensors")
    save_file({k: v + 1 for k, v in state.items()}, other / "model.safetensors")
    key = derivation_key(ClassActivation(str(bundle)))
    assert key == derivation_key(ClassActivation(str(same)))
    assert key != derivation_key(ClassActivation(str(other)))
    keys = {derivation_key(d) for d in (FineGrained(), FineGrained(224), SpectralResidual(), SpectralResidual(32))}
    assert len(keys) == 4
    assert json.loads(json.dumps(ClassActivation(str(bundle)).settings))


def test_maps_are_kept_in_the_store_and_move_with_their_images(tmp_path):
    for number, pixels in enumerate(images(4).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    manifest = Manifest(pd.DataFrame({"image": [f"{n}.png" for n in range(4)], "label": list("abab")}), tmp_path)
    store = Store.open(manifest, Preprocess(32), tmp_path / "cache").derive(FineGrained())
    batch = store.gather(torch.arange(4))
    assert torch.equal(batch["saliency"], FineGrained()(batch["image"])["saliency"])
    # A flip and colours: the map of the flipped image is the flipped map, and colours leave it.
    policy = FixedPolicy(
        horizontal_flip=1.0, vertical_flip=0.0, crop_probability=0.0, rotation=0.0, translation_probability=0.0
    )
    moved = policy(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved["saliency"], batch["saliency"].flip(-1).float() / 255)
