"""Recipes metered side by side: what their batches hold, what they are compared with, what the table says."""

from __future__ import annotations

import json
import re
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from scantling.cli import main
from scantling.core.batch import FROZEN_IMAGE, FROZEN_KEYS, IMAGE
from scantling.core.errors import RecipeError
from scantling.core.seams import Adapter, Derivation, Inputs, View
from scantling.core.target import make_target
from scantling.metrics.efficiency import pme, ppe
from scantling.run import meter_recipe as module
from scantling.run.meter import FEWEST_STEPS, MOST_STEPS, measure_training
from scantling.run.meter_recipe import meter_recipe, meter_recipes, meter_task
from scantling.run.metering import render_table
from scantling.run.recipe import resolve

SCALES = "frozen_key_scales"
ROW = {FROZEN_KEYS: ("int8", (2, 3, 4, 5)), SCALES: ("float16", (2, 3))}
"""Of each image two mirrored forms are kept; a batch holds one of them."""

SHARE = 0.25
seen: list[dict[str, tuple[torch.dtype, tuple[int, ...]]]] = []


class Kept(Derivation):
    settings = {}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        raise AssertionError("nothing is derived to know a cost")

    def fields(self, channels: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        return dict(ROW)


class LooksTwice(Adapter):
    """A head on the mean of a low view and of what is kept of a high one.

    Args:
        outputs: values per image.
        inputs: the images.
        backbone: a timm architecture, which it does not hold.
        weights: of it.
        frozen_size: side of the high view.
        preload: whether something is kept of the high view.
        checkpointing: of the layers.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet10t",
        weights: str = "hub",
        frozen_size: int = 64,
        preload: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs)
        self.high = FROZEN_KEYS if preload else FROZEN_IMAGE
        self.checkpointing = checkpointing
        self.layers = nn.Sequential(nn.Linear(2, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU())
        self.head = nn.Linear(50, outputs)

    @classmethod
    def views(cls, settings, inputs):
        size = settings["frozen_size"]
        return (View(FROZEN_IMAGE, (size, size), Kept() if settings["preload"] else None, codes=(0, 1)),)

    def share(self) -> float:
        return SHARE

    def forward(self, batch) -> Tensor:
        seen.append({name: (value.dtype, tuple(value.shape)) for name, value in batch.items()})
        low, high = batch[IMAGE].flatten(1).mean(1), batch[self.high].float().flatten(1).mean(1)
        both = torch.stack([low, high], dim=1)
        if self.checkpointing:
            return self.head(torch.utils.checkpoint.checkpoint(self.layers, both, use_reentrant=False))
        return self.head(self.layers(both))


@pytest.fixture
def twice(tmp_path, monkeypatch) -> str:
    """A recipe of the adapter above, as if the adapter were part of the package."""
    name = "scantling.adapt.looks_twice"
    home = types.ModuleType(name)
    home.LooksTwice = LooksTwice
    monkeypatch.setitem(sys.modules, name, home)
    monkeypatch.setattr(LooksTwice, "__module__", name)
    path = tmp_path / "twice.yaml"
    path.write_text(
        "task:\n  class_path: scantling.tasks.Classify\n  init_args:\n    adapter:\n"
        f"      class_path: {name}.LooksTwice\ndata: {{image_size: 32, batch_size: 4}}\n"
    )
    seen.clear()
    return str(path)


def table(text: str) -> list[dict[str, str]]:
    """Rows of a printed table, by the heads of its columns."""
    head, *rows = (re.split(r"\s{2,}", line) for line in text.splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


SMALL = {"size": 64, "batch": 2, "backbone": "resnet10t"}
BATCH = 8 + 8
"""Bytes of index and label of an image."""


# --- what a batch holds -----------------------------------------------------------------------------------------------


def test_of_kept_fields_a_batch_holds_one_mirrored_form(twice):
    metering = meter_recipe(twice)
    assert seen[0][FROZEN_KEYS] == (torch.int8, (4, 3, 4, 5))
    assert seen[0][SCALES] == (torch.float16, (4, 3))
    assert FROZEN_IMAGE not in seen[0]
    assert metering.input_bytes == 4 * (3 * 32**2 * 4 + BATCH + 3 * 4 * 5 + 3 * 2)


@pytest.mark.parametrize("device", ["fake", "cpu"])
def test_a_view_of_which_nothing_is_kept_is_in_the_batch_as_pixels(twice, device):
    metering = meter_recipe(twice, {"task.adapter.preload": False}, batch=3, device=device)
    assert seen[0][FROZEN_IMAGE] == (torch.float32, (3, 3, 64, 64))
    assert FROZEN_KEYS not in seen[0]
    assert metering.input_bytes == 3 * (3 * (32**2 + 64**2) * 4 + BATCH)


def test_a_size_is_that_of_the_frozen_view_where_there_is_one(twice):
    meter_recipe(twice, {"task.adapter.preload": False}, size=96)
    assert (seen[0][FROZEN_IMAGE][1], seen[0][IMAGE][1]) == ((4, 3, 96, 96), (4, 3, 32, 32))
    small, large = (meter_recipe("linear_probe", size=size, batch=2, backbone="resnet10t") for size in (32, 64))
    assert large.input_bytes - small.input_bytes == 2 * 3 * (64**2 - 32**2) * 4


def test_the_cost_of_kept_features_does_not_depend_on_the_size_they_were_made_at(twice):
    small, large = (meter_recipe(twice, size=size) for size in (64, 512))
    assert small.peak_bytes == large.peak_bytes
    assert small.training_flops == large.training_flops


def test_a_task_that_was_built_costs_what_its_recipe_costs(twice):
    built = resolve(twice).stages[0].build()
    target, inputs = make_target("class", list("abcde")), Inputs((32, 32))
    built.task.build(target, inputs)
    views = LooksTwice.views({"frozen_size": 64, "preload": True}, inputs)
    found, expected = meter_task(built.task, target, inputs, 4, "32", views), meter_recipe(twice)
    assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)


# --- what it is compared with -----------------------------------------------------------------------------------------


class Call(NamedTuple):
    """A step that was asked for."""

    adapter: str
    size: tuple[int, int]
    batch: int
    precision: str
    device: str
    attention: str


@pytest.fixture
def asked(monkeypatch) -> list[Call]:
    """Every step that is metered; the first costs 1000 bytes, each further one 1000 more."""
    calls: list[Call] = []
    some = measure_training(lambda: nn.Linear(2, 2), lambda: torch.zeros(3, 2), lambda m, x: m(x).sum())

    def stand_in(factory, wants, objective, target, inputs, batch, task, precision, device, attention, views):
        with torch.device("meta"):
            calls.append(Call(type(factory(5, inputs)).__name__, inputs.size, batch, precision, device, attention))
        return replace(some, peak_bytes=1000 * len(calls))

    monkeypatch.setattr(module, "meter_parts", stand_in)
    return calls


def test_full_fine_tuning_is_metered_once_for_all_that_share_it(twice, asked):
    figures = meter_recipes([twice, "linear_probe", "classify"], **SMALL)
    assert [call.adapter for call in asked] == ["LooksTwice", "LinearProbe", "FullFineTuning", "FullFineTuning"]
    assert [m.peak_bytes for m in figures.values()] == [1000, 2000, 3000]
    assert {m.reference_peak_bytes for m in figures.values()} == {4000}
    assert [m.memory_share for m in figures.values()] == [0.25, 0.5, 0.75]


def test_full_fine_tuning_that_is_named_is_the_reference(asked):
    figures = meter_recipes(["linear_probe", "full_finetune"], **SMALL)
    assert [call.adapter for call in asked] == ["LinearProbe", "FullFineTuning"]
    assert figures["full_finetune"].memory_share == 1.0
    assert figures["linear_probe"].memory_share == 0.5


@pytest.mark.parametrize("attention", ["fused", "unfused"])
def test_the_reference_is_metered_as_the_recipe_is_but_always_fake(twice, asked, attention):
    meter_recipes([twice], {"trainer.precision": "bf16-mixed"}, size=96, device="cpu", attention=attention)
    assert asked == [
        Call("LooksTwice", (32, 32), 4, "bf16-mixed", "cpu", attention),
        Call("FullFineTuning", (96, 96), 4, "bf16-mixed", "fake", attention),
    ]


def test_each_backbone_and_each_size_has_a_reference_of_its_own(twice, tmp_path, asked):
    other, larger = tmp_path / "other.yaml", tmp_path / "larger.yaml"
    text = Path(twice).read_text()
    other.write_text(text.replace("LooksTwice\n", "LooksTwice\n      init_args: {backbone: resnet18}\n"))
    larger.write_text(text.replace("LooksTwice\n", "LooksTwice\n      init_args: {frozen_size: 96}\n"))
    figures = meter_recipes([twice, str(other), str(larger), twice])
    assert [m.reference_peak_bytes for m in figures.values()] == [4000, 5000, 6000]
    assert [call.size for call in asked[3:]] == [(64, 64), (64, 64), (96, 96)]


def test_masks_have_no_full_fine_tuning_to_be_compared_with(asked):
    figures = meter_recipes(["segment"], {"task.adapter.backbone": "resnet10t"}, size=32, batch=2)
    (cells,) = table(render_table(figures))
    assert cells["memory %"] == cells["PME"] == "-"
    assert cells["PPE"] == "74.01"
    assert len(asked) == 1


def test_the_memory_share_is_that_of_two_peaks():
    probe, whole = (meter_recipe(name, **SMALL).peak_bytes for name in ("linear_probe", "full_finetune"))
    assert meter_recipes(["linear_probe"], **SMALL)["linear_probe"].memory_share == probe / whole < 0.6


# --- checkpointing by name --------------------------------------------------------------------------------------------


def test_a_name_may_ask_for_checkpointing(twice):
    plain, ended, told = (
        meter_recipe(twice),
        meter_recipe(f"{twice}+checkpointing"),
        meter_recipe(twice, {"task.adapter.checkpointing": True}),
    )
    assert ended.activation_bytes == told.activation_bytes < plain.activation_bytes
    assert ended.training_flops > plain.training_flops
    assert ended.learnable == plain.learnable


def test_a_recipe_with_and_without_checkpointing_has_two_rows_and_one_reference(asked):
    figures = meter_recipes(["full_finetune+checkpointing", "full_finetune"], **SMALL)
    assert list(figures) == ["full_finetune+checkpointing", "full_finetune"]
    assert [m.reference_peak_bytes for m in figures.values()] == [2000, 2000]
    overridden = meter_recipes(["full_finetune"], {"task.adapter.checkpointing": True}, **SMALL)["full_finetune"]
    assert (overridden.peak_bytes, overridden.reference_peak_bytes) == (3000, 4000)


def test_a_recipe_that_cannot_checkpoint_says_so():
    with pytest.raises(RecipeError, match="linear_probe: its adapter has no setting 'checkpointing'"):
        meter_recipe("linear_probe+checkpointing", **SMALL)


# --- shares, scores, seconds ------------------------------------------------------------------------------------------


def test_the_share_is_the_papers_and_ppe_is_of_it(twice):
    figures = meter_recipes([twice, "linear_probe"], **SMALL)
    assert figures[twice].share == 1.0
    assert figures[twice].published_share == figures[twice].counted_share == SHARE
    first, second = table(render_table(figures, {twice: 80.0}))
    assert (first["recipe"], first["share %"]) == (twice, "25")
    assert (first["PPE"], first["PME"]) == (f"{ppe(80, SHARE):.2f}", f"{pme(80, figures[twice].memory_share):.2f}")
    assert second["PPE"] == f"{ppe(100, figures['linear_probe'].counted_share):.2f}"


def test_seconds_of_a_step_are_the_median_of_real_ones(monkeypatch):
    clock = [0.0]
    waits = [0.0, 0.0, 5.0, 1.0, 1.0, 1.0, 100.0]

    class Slow(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            clock[0] += waits[min(len(calls), len(waits) - 1)]
            calls.append(None)
            return super().forward(x)

    calls: list[None] = []
    monkeypatch.setattr("scantling.run.meter.time.perf_counter", lambda: clock[0])
    arguments = {"build": lambda: Slow(2, 2), "batch": lambda: torch.zeros(3, 2)}
    metering = measure_training(**arguments, loss=lambda m, x: m(x).sum(), device="cpu")
    assert metering.step_seconds == 1.0
    assert len(calls) == 2 + FEWEST_STEPS
    calls.clear()
    waits[:] = [0.0]
    assert measure_training(**arguments, loss=lambda m, x: m(x).sum(), device="cpu").step_seconds == 0.0
    assert len(calls) == 2 + MOST_STEPS
    assert measure_training(**arguments, loss=lambda m, x: m(x).sum()).step_seconds is None


def test_the_command_line_prints_one_table(capsys):
    words = ["meter", "linear_probe", "full_finetune", "--backbone", "resnet10t", "--size", "32", "--batch", "2"]
    assert main([*words, "--score", "full_finetune=88.82"]) == 0
    probe, full = table(capsys.readouterr().out)
    assert not {"s/step", "allocator MiB"} & probe.keys()
    assert (full["recipe"], full["memory %"], full["PPE"], full["PME"]) == ("full_finetune", "100", "65.73", "65.73")
    assert main([*words, "--json", "--score", "full_finetune=88.82"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["full_finetune"]["ppe"] == pytest.approx(65.73, abs=0.005)
    assert content["linear_probe"]["pme"] == pytest.approx(pme(100, content["linear_probe"]["memory_share"]))
    assert content["linear_probe"]["score"] == 100
    assert main([*words, "--device", "cpu"]) == 0
    rows = table(capsys.readouterr().out)
    assert all(float(row["s/step"]) > 0 and "allocator MiB" not in row for row in rows)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("full_finetun=1", "did you mean 'full_finetune'"),
        ("full_finetune=good", "no score"),
        ("87.1", "not metered"),
    ],
)
def test_scores_that_cannot_be_used(capsys, score, message):
    assert main(["meter", "full_finetune", "--score", score]) == 2
    assert message in capsys.readouterr().err
