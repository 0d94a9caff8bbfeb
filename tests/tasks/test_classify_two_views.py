"""Two views of every image: what is compared, what learns, and what a bundle and a resumed run hold of it."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensordict import TensorDict

from scantling import evaluate, load, train
from scantling.adapt import FullFineTuning, LoRA, PairedEyes
from scantling.augment.mixers import SPMix
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs, Mixer, Policy
from scantling.core.target import parse_target
from scantling.nets.pooled import classification_head, features_read
from scantling.tasks import ClassifyTwoViews
from scantling.tasks.objectives import BalancedSoftmax, GPaCo, MSEGrade, SupervisedContrast
from scantling.tasks.task import Task

INPUTS = Inputs((32, 32), 3)
TARGET = parse_target("class:a|b|c")
COUNTS = torch.tensor([40.0, 6, 2])


class Shift(Policy):
    """Adds a number that tells its calls apart."""

    def __init__(self, step: float) -> None:
        self.step, self.calls = step, 0

    def __call__(self, batch, generator):
        self.calls += 1
        out = batch.clone()
        out[IMAGE] = (batch[IMAGE].float() / 255 + self.step * self.calls).clamp(0, 1)
        return out


class Halves(Mixer):
    """Keeps the rows of the first sampler, and says what it did."""

    partners = "class_balanced"

    def __call__(self, batch, generator):
        rows = len(batch) // 2
        self.seen = [*getattr(self, "seen", []), len(batch)]
        return batch[:rows]


def batch_of(n=6):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 120, (n, 3, 32, 32), generator=g, dtype=torch.uint8)
    return TensorDict({IMAGE: images, "label": torch.arange(n) % 3, "index": torch.arange(n)}, batch_size=[n])


def network(outputs, inputs, **settings):
    return FullFineTuning(outputs, inputs, "resnet10t", "none", **settings)


def task_of(contrast=None, adapter=network, objective=None, **settings):
    contrast = contrast or GPaCo(size=8, hidden=16, queue=32)
    made = ClassifyTwoViews(adapter, contrast, objective=objective or BalancedSoftmax(), **settings)
    made.build(TARGET, INPUTS, COUNTS, seed=3)
    made.policy = Shift(0.02)
    return made


def test_the_loss_is_that_of_both_views_put_together():
    made, batch = task_of(second_policy=Shift(0.3)), batch_of()
    loss = made.eval().step_loss(batch, torch.Generator())
    views = torch.cat([Shift(0.02)(batch, None), Shift(0.3)(batch, None)])
    with features_read(classification_head(made.adapter)) as taken:
        outputs = made.adapter(views)
    torch.testing.assert_close(taken[0], made.adapter.backbone(views[IMAGE]))
    torch.testing.assert_close(loss, made.contrast(made.objective, outputs, taken[0], views))


def test_without_a_second_policy_the_first_is_drawn_anew():
    made = task_of()
    made.step_loss(batch_of(), torch.Generator())
    assert made.policy.calls == 2


def test_a_mixer_mixes_both_views_and_its_partners_are_gone():
    made = task_of(mixer=Halves())
    loss = made.step_loss(batch_of(8), torch.Generator())
    assert made.mixer.seen == [8, 8]
    assert loss.isfinite()
    assert (made.contrast.queue.labels >= 0).sum() == 4


def test_tokens_are_mixed_in_both_views():
    """SPMix inside a vision transformer, where hooks of the mixer and of the features meet."""
    mixer = SPMix(probability=1.0, level="token", when="batch", same_class=True)
    made = task_of(adapter=lambda o, i: FullFineTuning(o, i, "vit_tiny_patch16_224", "none"), mixer=mixer).eval()
    batch = batch_of()
    mixed = made.step_loss(batch, torch.Generator().manual_seed(0))
    made.mixer, made.policy = None, Shift(0.02)
    assert abs(made.step_loss(batch, torch.Generator().manual_seed(0)) - mixed) > 1e-6


def test_network_and_heads_learn_and_a_bundle_holds_the_network_alone():
    made = task_of()
    names = {name for name, _ in made.learnable()}
    assert {f"contrast.{name}" for name, _ in made.contrast.named_parameters()} < names
    assert {name for name, _ in made.adapter.learnable()} < names
    made.step_loss(batch_of(), torch.Generator()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in made.learnable() if n.startswith("contrast."))
    assert not any("contrast" in name or "queue" in name for name in made.kept_state())
    assert {"contrast.queue.features", "contrast.queue.labels", "contrast.queue.start"} <= made.state_dict().keys()


def test_any_network_with_one_linear_head_serves():
    for head in ("linear", "cosine"):
        made = task_of(adapter=lambda o, i, head=head: network(o, i, head=head))
        assert made.step_loss(batch_of(), torch.Generator()).isfinite()
    vit = task_of(SupervisedContrast(size=8, hidden=16), lambda o, i: LoRA(o, i, "vit_tiny_patch16_224", "none"))
    assert vit.step_loss(batch_of(), torch.Generator()).isfinite()
    with pytest.raises(RecipeError, match="PairedEyes has no single linear head"):
        task_of(adapter=lambda o, i: PairedEyes(o, i, backbone="resnet10t"))


def test_what_cannot_work_is_refused():
    graded = ClassifyTwoViews(network, GPaCo(), objective=MSEGrade())
    with pytest.raises(RecipeError, match="GPaCo cannot be joined with MSEGrade"):
        graded.build(parse_target("grade:3"), INPUTS)
    made = task_of()
    made.policy = None
    with pytest.raises(RecipeError, match="need an augmentation"):
        made.on_fit_start()


def test_the_same_seed_gives_the_same_heads():
    one, two = task_of(), task_of()
    pairs = zip(one.contrast.parameters(), two.contrast.parameters())
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(p.std() > 0 for p in one.contrast.parameters())


CLASSES = {"data.target": "class:0|1|2|3|4"}
SMALL_CONTRAST = {
    **CLASSES,
    "task.contrast.hidden": 16,
    "task.contrast.size": 8,
    "task.contrast.queue": 21,
}


class Killed(RuntimeError):
    pass


def stop_before(monkeypatch, step):
    """Training stops before the step with this number, from 0."""
    original, done = Task.training_step, []

    def training_step(self, batch, batch_idx):
        if len(done) == step:
            raise Killed
        done.append(batch_idx)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Task, "training_step", training_step)


@pytest.mark.parametrize(
    ("recipe", "settings"), [("gpaco", SMALL_CONTRAST), ("ldam_drw", {**CLASSES, "task.objective.reweight_after": 0.3})]
)
def test_a_run_killed_inside_an_epoch_ends_as_if_it_was_not(recipe, settings, phantoms, small, tmp_path, monkeypatch):
    """The queue and the epoch of a deferred loss are those of the moment."""
    short = {"trainer.checkpoint_steps": 1, "trainer.max_epochs": 2, "trainer.limit_train_batches": 5}
    settings = {**small, **short, **settings}
    monkeypatch.setattr("scantling.run.train.finish", lambda *given: None)
    train(recipe, phantoms, tmp_path / "whole", overrides=settings, progress=False)
    with monkeypatch.context() as patch:
        stop_before(patch, 7)
        with pytest.raises(Killed):
            train(recipe, phantoms, tmp_path / "killed", overrides=settings, progress=False)
    train(recipe, phantoms, tmp_path / "killed", resume=True, overrides=settings, progress=False)
    one, two = (
        torch.load(tmp_path / n / "train/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for n in ("whole", "killed")
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert ("contrast.queue.labels" in one) == (recipe == "gpaco")


def test_a_run_leaves_a_bundle_without_queue_and_heads_and_an_evaluation_by_frequency(phantoms, small, tmp_path):
    settings = {**small, **SMALL_CONTRAST, "trainer.max_epochs": 1}
    bundle = train("gpaco", phantoms, tmp_path / "run", overrides=settings, progress=False).bundle
    names = load_file(bundle / "model.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"adapter", "objective"}
    assert load(bundle).predict(torch.zeros(2, 3, 32, 32)).probabilities.shape == (2, 5)
    assert json.loads((bundle / "bundle.json").read_text())["objective"]["class_path"].endswith("BalancedSoftmax")
    content = evaluate(tmp_path / "run", phantoms, "test", replicates=20, groups="20,10").content
    table = pd.read_csv(phantoms)
    counts = table[table["split"] == "train"]["label"].value_counts().reindex(range(5), fill_value=0)
    assert [row["n_training"] for row in content["per_class"]] == counts.tolist()
    assert sum(row["n_training"] for row in content["frequency"]) == counts.sum()
    tail = next(row for row in content["frequency"] if row["name"] == "tail")
    assert tail["classes"] == [str(k) for k in range(5) if counts[k] < 10]
    told = json.loads((tmp_path / "run" / "evaluation_test.json").read_text())
    assert told["frequency"] == content["frequency"]
