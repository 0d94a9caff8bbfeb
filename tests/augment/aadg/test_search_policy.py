"""The search as a training: which gradient goes where, what a run leaves, and that a killed one ends like a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensordict import TensorDict

from scantling import train
from scantling.adapt import UNet
from scantling.augment.aadg import SearchPolicy, SearchSettings
from scantling.augment.aadg.domains import Domains
from scantling.augment.aadg.proposal import Proposal
from scantling.augment.policy import OPERATIONS, Framing, PolicySpec
from scantling.core.errors import DataError, RecipeError
from scantling.core.seams import Inputs
from scantling.core.target import make_target
from scantling.data.phantoms import write_fundus

SMALL = {
    "data.target": "mask:background|vessel",
    "data.image_size": 48,
    "data.batch_size": 2,
    "data.workers": 1,
    "task.adapter.backbone": None,
    "task.adapter.weights": "none",
    "task.adapter.width": 2,
    "task.patch_size": 32,
    "task.warmup_epochs": 1,
    "task.rounds": 1,
    "task.search.policies": 3,
    "trainer.max_epochs": 4,
    "trainer.accelerator": "cpu",
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of phantoms from three sites."""
    return write_fundus(tmp_path_factory.mktemp("sites") / "set", n=18, sites=3, size=48, seed=3)


def task(**settings: object) -> SearchPolicy:
    made = SearchPolicy(
        lambda outputs, inputs: UNet(outputs, inputs, width=2),
        patch_size=32, warmup_epochs=0, search=SearchSettings(policies=2, **settings),
    )  # fmt: skip
    made.sources = Domains(("a", "b", "c"), torch.arange(12) % 3)
    made.build(make_target("mask", ["background", "vessel"]), Inputs((32, 32)))
    return made


def batch(number: int = 12) -> TensorDict:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(number, 3, 32, 32, generator=generator)
    mask = torch.randint(0, 2, (number, 32, 32), generator=generator)
    return TensorDict({"image": image, "mask": mask, "index": torch.arange(number)}, batch_size=[number])


def losses(made: SearchPolicy, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor]:
    monkeypatch.setattr(made, "log", lambda *args, **kwargs: None)
    return made._losses(batch(), 1, slice(0, 1), torch.Generator().manual_seed(0))


def test_domain_losses_never_reach_the_segmenter_and_segmentation_never_the_domains(monkeypatch):
    made = task()
    segmentation, told = losses(made, monkeypatch)
    told.backward()
    assert all(p.grad is None for p in made.adapter.parameters())
    assert all(p.grad.abs().sum() > 0 for p in made.decoder.parameters())
    made.decoder.zero_grad()
    segmentation.sum().backward()
    assert any(p.grad.abs().sum() > 0 for p in made.adapter.parameters())
    assert all(p.grad is None for p in made.decoder.parameters())
    for other in (made.steady, made.controller):
        assert all(p.grad is None for p in other.parameters())


def test_rewards_have_no_gradient_and_safety_takes_the_segmentation_loss_off(monkeypatch):
    plain, careful = task(), task(safety=2.0)
    segmentation, _ = losses(plain, monkeypatch)
    losses(careful, monkeypatch)
    assert not plain.rewards.requires_grad and plain.rewards[0] > 0 and plain.rewards[1] == 0
    expected = plain.rewards[0] - 2 * segmentation[0].detach().double()
    torch.testing.assert_close(careful.rewards[0], expected, atol=1e-6, rtol=0)


def test_the_copy_of_the_domain_classifier_is_a_copy():
    made = task()
    for a, b in zip(made.steady.parameters(), made.decoder.parameters(), strict=True):
        assert torch.equal(a, b) and a.data_ptr() != b.data_ptr() and not a.requires_grad


def test_each_part_of_a_batch_gets_its_own_policy():
    invert, nothing = (OPERATIONS.index("invert"), 0), (OPERATIONS.index("solarize"), 9)
    tokens = torch.tensor([[[invert], [invert]], [[nothing], [nothing]]])
    images = torch.randint(0, 256, (8, 3, 6, 6), generator=torch.Generator().manual_seed(0)) / 255
    mask = torch.randint(0, 2, (8, 6, 6))
    found = Proposal(tokens, OPERATIONS, Framing())(
        TensorDict({"image": images, "mask": mask}, batch_size=[8]), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(found["image"], torch.cat([1 - images[:4], images[4:]]))
    assert torch.equal(found["mask"], mask)


def test_both_sub_policies_of_a_policy_are_used_and_no_operation_leaves_images_alone():
    invert, nothing = (OPERATIONS.index("invert"), 0), (OPERATIONS.index("solarize"), 9)
    tokens = torch.tensor([[[invert], [nothing]]])
    dark = TensorDict({"image": torch.zeros(200, 1, 1, 1)}, batch_size=[200])
    found = Proposal(tokens, OPERATIONS, Framing())(dark, torch.Generator().manual_seed(0))["image"].mean()
    assert 0.4 < found < 0.6
    alone = Proposal(tokens[:, :, :0], OPERATIONS, Framing())(dark, torch.Generator().manual_seed(0))
    assert torch.equal(alone["image"], dark["image"])


def test_auto_contrast_takes_away_what_separates_domains_that_differ_in_gain_and_offset():
    """One set of images under three gains and offsets, seen by a fixed network: no reward where they become alike."""
    from scantling.augment.aadg.reward import diversity
    from scantling.nets.domain import DomainDecoder

    torch.manual_seed(0)
    content = torch.rand(1, 8, 3, 16, 16)
    content[..., 0, 0], content[..., 0, 1] = 0, 1
    gain, offset = torch.tensor([1.0, 0.5, 0.3]), torch.tensor([0.0, 0.4, 0.1])
    images = (gain.view(3, 1, 1, 1, 1) * content + offset.view(3, 1, 1, 1, 1)).flatten(0, 1)
    seen = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    decoder = DomainDecoder(16, 3)
    rewards = {}
    for name, magnitude in (("auto_contrast", 0), ("brightness", 4)):
        tokens = torch.tensor([[[[OPERATIONS.index(name), magnitude]]]])
        found = Proposal(tokens, OPERATIONS, Framing())(
            TensorDict({"image": images}, batch_size=[24]), torch.Generator().manual_seed(0)
        )
        with torch.no_grad():
            features = decoder.features(seen(found["image"])).view(1, 3, 8, -1)
        rewards[name] = float(diversity(features, blur=0.01))
    assert rewards["auto_contrast"] < 0.05 * rewards["brightness"]


def test_a_run_leaves_a_policy_beside_its_network(sites, tmp_path):
    train("aadg", sites, tmp_path / "run", overrides={**SMALL, "domain": "site"}, progress=False)
    spec = PolicySpec.read(tmp_path / "run")
    assert len(spec.subpolicies) == 50 and {len(chain) for chain in spec.subpolicies} == {2}
    assert len(spec.probabilities["operations"]) == 4, "one row before the search and one an epoch of it"
    assert spec.probabilities["operations"][0] != spec.probabilities["operations"][-1]
    for rows in spec.probabilities.values():
        assert all(abs(sum(row) - 1) < 1e-3 for row in rows)
    bundle = json.loads((tmp_path / "run" / "train" / "bundle" / "bundle.json").read_text())
    assert not any(
        "controller" in name or "decoder" in name for name in load_file(tmp_path / "run/train/bundle/model.safetensors")
    )
    assert bundle["adapter"]["class_path"] == "scantling.adapt.UNet"


class Killed(Exception):
    """Stands for a process that ends at once."""


RESUMED = {**SMALL, "trainer.checkpoint_steps": 1, "trainer.max_epochs": 3, "task.ema_decay": 0.5}


@pytest.fixture(scope="module")
def whole(sites: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody killed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train("aadg", sites, out, overrides=RESUMED, progress=False)
    return out


@pytest.mark.parametrize("step", [3, 4], ids=["inside an epoch of the search", "after an update of the controller"])
def test_a_killed_search_ends_with_the_same_weights_and_the_same_policy(sites, whole, tmp_path, monkeypatch, step):
    taken, real = [], SearchPolicy.training_step

    def mortal(self, *args):
        if len(taken) == step:
            raise Killed
        taken.append(step)
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(SearchPolicy, "training_step", mortal)
        with pytest.raises(Killed):
            train("aadg", sites, tmp_path / "killed", overrides=RESUMED, progress=False)
    train("aadg", sites, tmp_path / "killed", resume=True, overrides=RESUMED, progress=False)
    one, two = whole / "train", tmp_path / "killed" / "train"
    assert (one / "bundle" / "policy.json").read_bytes() == (two / "bundle" / "policy.json").read_bytes()
    ends = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (one, two)]
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])
    weights = [load_file(folder / "bundle" / "model.safetensors") for folder in (one, two)]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task.warmup_epochs": 4}, RecipeError, "leaves nothing of 4 for the search"),
        ({"domain": "quality"}, DataError, "same quality, 'good'"),
        ({"trainer.gradient_clip_val": 1.0}, RecipeError, "gradient clipping"),
        ({"task.search.at_once": 2}, RecipeError, "at_once"),
        (
            {"task.adapter": "scantling.adapt.FullFineTuning", "task.adapter.backbone": "resnet10t"},
            RecipeError,
            "no features of its encoder",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_on_one_line(sites, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        train("aadg", sites, tmp_path / "run", overrides={**SMALL, **changes}, progress=False)
