"""What the parameter-efficient recipes cost, against figures that were counted apart from this meter.

The figures are for a ViT-B/16 at 512 pixels and batches of 16: bytes saved for the backward pass, with attention
matrices and with keys and values in float32; and the published shares of parameters.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from scantling.run.meter_recipe import meter_recipe, meter_recipes
from scantling.run.metering import Metering, render_table

MIB = 2**20
BASE = {"backbone": "vit_base_patch16_384", "size": 512, "batch": 16}
STORED = 6 * 12 * 205 * 64
"""Values in the keys that FPT+ keeps of an image: blocks, heads, tokens, head width. The values are as many."""


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def counted(attention: str) -> dict[str, Metering]:
    others = ["fpt", "full_finetune"] if attention == "unfused" else []
    return meter_recipes(["fpt_plus", *others], attention=attention, **BASE)


def saved(metering: Metering, features: int) -> float:
    """MiB for the backward pass, with the features in float32."""
    return (metering.activation_bytes + 4 * features) / MIB


def test_what_is_kept_for_the_backward_pass_is_what_was_counted_by_hand():
    figures = counted("unfused")
    assert saved(figures["full_finetune"], 0) == pytest.approx(18_606, rel=0.002)
    assert saved(figures["fpt_plus"], 16 * 2 * STORED) == pytest.approx(213, rel=0.01)
    assert saved(figures["fpt"], 16 * 2 * 2 * STORED) == pytest.approx(921, rel=0.01)


@pytest.mark.parametrize(("attention", "most"), [("unfused", 0.012), ("fused", 0.02)])
def test_fpt_plus_needs_a_hundredth_of_the_memory_of_full_fine_tuning(attention, most):
    assert counted(attention)["fpt_plus"].memory_share < most


def test_fpt_plus_costs_a_fraction_of_fpt_and_a_thousandth_of_the_operations_of_full_fine_tuning():
    figures = counted("unfused")
    assert figures["fpt_plus"].activation_bytes < 0.3 * figures["fpt"].activation_bytes
    assert figures["fpt_plus"].training_flops < 0.001 * figures["full_finetune"].training_flops


@pytest.mark.parametrize("attention", ["fused", "unfused"])
def test_the_tables_in_the_documentation_are_those_that_are_printed(attention):
    """Within two percent: another version of PyTorch may hold a temporary more or less."""
    page = (Path(__file__).parents[2] / "docs" / "meter.md").read_text(encoding="utf-8")
    tables = [rows_of(block) for block in re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]
    written = tables[["fused", "unfused"].index(attention)]
    assert list(written) == ["fpt_plus", "full_finetune", "lora", "adapter", "vpt", "fpt"]
    printed = rows_of(render_table(counted(attention)))
    for name, cells in printed.items():
        assert written[name].keys() == cells.keys()
        for head, cell in cells.items():
            assert number(written[name][head]) == pytest.approx(number(cell), rel=0.02), (name, head)


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """Rows of a printed table by recipe, and in them what stands under each head."""
    head, *rows = (re.split(r"\s{2,}", line) for line in text.splitlines())
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


@pytest.mark.parametrize(
    ("recipe", "share", "learnable"),
    [
        ("fpt_plus", 0.010266, 900_965),
        ("fpt", 0.018113, 1_602_341),
        ("lora", 0.0068, 589_824 + 5 * 769),
        ("adapter", 0.0203, 1_779_840 + 5 * 769),
        ("vpt", 0.00171, 147_456 + 5 * 769),
    ],
)
def test_parameters_that_learn_and_their_published_share(recipe, share, learnable):
    metering = counted("unfused").get(recipe) or meter_recipe(recipe, **BASE)
    assert metering.counted_share == pytest.approx(share, rel=0.003)
    assert metering.learnable == learnable


def test_what_fpt_plus_keeps_at_another_size_of_the_side_view():
    metering = meter_recipe("fpt_plus", {"data.image_size": 224}, attention="unfused", **BASE)
    assert saved(metering, 16 * 2 * STORED) == pytest.approx(466, rel=0.01)


def test_stored_features_are_inputs_of_their_type_and_cost_no_more_at_a_higher_resolution():
    half = counted("fused")["fpt_plus"]
    eighth = meter_recipe("fpt_plus", {"task.adapter.stored_dtype": "int8"}, **BASE)
    rest = 16 * (3 * 128**2 * 4 + 16)
    assert half.input_bytes == 16 * 2 * STORED * 2 + rest
    assert eighth.input_bytes == 16 * 2 * (STORED + 6 * 12 * 4) + rest
    high = meter_recipe("fpt_plus", {"task.adapter.ratio": 205 / 4097}, **{**BASE, "size": 1024})
    assert (high.peak_bytes, high.training_flops) == (half.peak_bytes, half.training_flops)


def test_a_frozen_network_that_looks_at_every_batch_is_in_memory_and_in_the_flops():
    settings = {"backbone": "vit_tiny_patch16_224", "size": 224, "batch": 2}
    kept = meter_recipe("fpt_plus", **settings)
    looking = meter_recipe("fpt_plus", {"task.adapter.preload": False}, **settings)
    assert looking.peak_bytes - kept.peak_bytes > 4 * 5_500_000
    assert looking.forward_flops_per_image - kept.forward_flops_per_image > 2e9
    assert looking.learnable == kept.learnable
    assert looking.published_share == kept.published_share < 0.2


@pytest.mark.parametrize("recipe", ["fpt_plus", "lora"])
def test_a_fake_step_of_a_recipe_costs_what_a_real_one_costs(recipe):
    settings = {"backbone": "vit_tiny_patch16_224", "size": 64, "batch": 2}
    small = {"data.image_size": 32} if recipe == "fpt_plus" else {}
    fake, real = (meter_recipe(recipe, small, device=device, **settings) for device in ("fake", "cpu"))
    assert real.step_seconds > 0
    assert replace(real, method="fake", seconds=0, step_seconds=None) == replace(fake, seconds=0)
