"""Grad-CAM finds evidence that was put there by hand, and maps lie rightly over images."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch.nn import functional as F

from scantling.core.errors import ScantlingError
from scantling.core.seams import Adapter, Inputs
from scantling.core.target import Classes, Grade
from scantling.data.preprocess import Preprocess
from scantling.run.model import Model, load
from scantling.run.saliency import grad_cam, overlay
from scantling.tasks.objectives import CrossEntropy, MSEGrade

save = runpy.run_path(str(Path(__file__).with_name("bundles.py")))["save"]
SIZE = 64


class Colours(Adapter):
    """Output k is the mean brightness of colour k, times a gain."""

    def __init__(self, outputs: int, gain: float = 1.0) -> None:
        super().__init__(outputs, Inputs((SIZE, SIZE)))
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, batch: TensorDict) -> torch.Tensor:
        return self.saliency_map(batch)[1]

    def saliency_map(self, batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor]:
        features = F.avg_pool2d(batch["image"], 8).requires_grad_()
        return features, self.gain * features.mean((2, 3))[:, : self.outputs]


def colours(outputs: int = 3, gain: float = 1.0) -> Model:
    target = Classes(("red", "green", "blue")) if outputs == 3 else Grade(("0", "1", "2"))
    objective = CrossEntropy() if outputs == 3 else MSEGrade()
    objective.configure(target)
    return Model(Colours(outputs, gain), objective, target, Preprocess(SIZE), {})


def quadrants() -> TensorDict:
    """Red in the upper left, faint blue in the lower right, green nowhere."""
    image = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
    image[:, 0, :32, :32] = 200
    image[:, 2, 32:, 32:] = 60
    return TensorDict({"image": image}, batch_size=[2])


def images(n: int = 3, size: tuple[int, int] = (SIZE, SIZE)) -> TensorDict:
    pixels = torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(1))
    return TensorDict({"image": pixels}, batch_size=[n])


@pytest.mark.parametrize(("index", "corner"), [("predicted", (0, 0)), (0, (0, 0)), (2, (1, 1))])
def test_saliency_lies_in_the_quadrant_that_holds_the_evidence(index, corner):
    heat = grad_cam(colours(), quadrants(), index)
    assert heat.shape == (2, SIZE, SIZE) and heat.min() >= 0 and heat.amax((1, 2)).eq(1).all()
    blocks = heat.reshape(2, 2, 32, 2, 32).sum((2, 4))
    assert (blocks[:, corner[0], corner[1]] > 0.9 * blocks.sum((1, 2))).all()


def test_of_one_output_the_severity_is_explained():
    heat = grad_cam(colours(1), quadrants())
    torch.testing.assert_close(heat, grad_cam(colours(1), quadrants(), 0))
    assert heat[:, :28, :28].min() > 0.99 and heat[:, 40:].max() == 0


@pytest.mark.parametrize(("gain", "index"), [(0.0, 0), (1.0, 1), (-1.0, 0)])
def test_without_evidence_the_map_is_zero_and_not_nan(gain, index):
    heat = grad_cam(colours(3, gain), quadrants(), index)
    assert torch.equal(heat, torch.zeros(2, SIZE, SIZE))


def test_outputs_that_do_not_depend_on_the_map_give_zeros():
    model = colours()
    model.adapter.saliency_map = lambda batch: (  # type: ignore[method-assign]
        batch["image"].clone().requires_grad_(),
        model.adapter.gain * torch.ones(len(batch["image"]), 3),
    )
    assert grad_cam(model, quadrants()).abs().max() == 0


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("resnet18", (64, 96)),
        ("vit_tiny_patch16_224", (64, 96)),
        ("deit_tiny_distilled_patch16_224", (64, 64)),
        ("swin_tiny_patch4_window7_224", (64, 64)),
        ("convnext_atto", (64, 64)),
    ],
)
def test_maps_of_every_kind_of_network(tmp_path, backbone, size):
    """Convolutions, tokens with one and two class tokens, and channels last: the map starts the graph that gives the
    very outputs of the network, a batch gives what its images give alone, and nothing is left behind."""
    model = load(save(tmp_path / "b", "class", size=size, backbone=backbone))
    batch = images(3, size)
    features, outputs = model.adapter.saliency_map(batch)
    assert features.ndim == 4 and features.shape[0] == 3
    assert features.shape[2] / features.shape[3] == pytest.approx(size[0] / size[1])
    torch.testing.assert_close(outputs, model.adapter(batch), atol=1e-5, rtol=1e-5)
    heat = grad_cam(model, batch)
    assert heat.shape == (3, *size) and heat.isfinite().all() and heat.min() >= 0 and heat.max() <= 1
    assert heat.amax((1, 2)).gt(0).any()
    alone = torch.cat([grad_cam(model, batch[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(heat, alone, atol=1e-4, rtol=1e-4)
    assert all(p.grad is None for p in model.parameters()) and torch.is_grad_enabled()
    with torch.inference_mode():
        torch.testing.assert_close(grad_cam(model, batch.clone()), heat, atol=1e-4, rtol=1e-4)


def test_of_findings_the_most_probable_is_explained(tmp_path):
    model = load(save(tmp_path / "b", "findings", size=64))
    batch = images(6)
    best = model.decide(model.outputs(batch)).probabilities.argmax(1)
    both = torch.stack([grad_cam(model, batch, k) for k in range(2)])
    torch.testing.assert_close(grad_cam(model, batch), both[best, torch.arange(6)])


def test_an_output_that_is_not_there_is_refused_and_masks_have_no_map(tmp_path):
    with pytest.raises(ScantlingError, match="no output 3"):
        grad_cam(colours(), quadrants(), 3)
    assert grad_cam(load(save(tmp_path / "b", "mask")), images(1, (32, 32))) is None


def test_an_overlay_changes_only_what_is_salient():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    heat = np.zeros((20, 30))
    assert np.array_equal(overlay(image, heat), image)
    heat[3:6, 4:9] = 1.0
    heat[0, 0] = np.nan
    out = overlay(image, heat)
    changed = (out != image).any(2)
    assert changed[3:6, 4:9].all() and changed.sum() == 15 and out.dtype == np.uint8
    assert overlay(image[..., :1], heat).shape == (20, 30, 3)


def test_the_colours_are_those_of_inferno():
    matplotlib = pytest.importorskip("matplotlib")
    ramp = np.linspace(0, 1, 256)[None]
    white, black = (overlay(np.full((1, 256, 3), v, np.uint8), ramp).astype(float) for v in (255, 0))
    opacity = 0.65 * ramp[..., None]
    wanted = 255 * matplotlib.colormaps["inferno"](ramp)[..., :3]
    assert np.abs(black - opacity * wanted).max() < 4.5
    assert np.abs(white - black - 255 * (1 - opacity)).max() <= 1
