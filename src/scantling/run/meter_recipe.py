"""What a training step of a recipe costs, before there is any data, GPU or pretrained weight."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE, INDEX, LABEL, MASK
from scantling.core.build import import_object
from scantling.core.seams import Inputs, Objective
from scantling.core.target import Target, make_target, parse_target
from scantling.data.settings import fixed_inputs
from scantling.run.meter import measure_training
from scantling.run.recipe import resolve

if TYPE_CHECKING:
    from scantling.run.metering import Metering
    from scantling.tasks.task import AdapterFactory, Task

PRECISIONS: dict[str, Any] = {"32": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}


def meter_recipe(
    recipe: str | Path,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    size: int | None = None,
    batch: int | None = None,
    classes: int = 5,
    backbone: str | None = None,
    device: Literal["fake", "cpu", "cuda"] = "fake",
    attention: Literal["fused", "unfused"] = "fused",
) -> Metering:
    """Parameters, FLOPs and peak memory of one training step of a recipe's last stage.

    Args:
        recipe: name of a recipe or a YAML file.
        overrides: settings by dotted key.
        size: height and width in pixels; left out, the recipe's.
        batch: images a step; left out, the recipe's.
        classes: grades, classes or findings.
        backbone: timm architecture; left out, the recipe's.
        device: ``fake`` needs neither time nor memory; ``cuda`` reads the allocator's own peak too.
        attention: fused, or unfused to count attention matrices as older code kept them.

    Raises:
        RecipeError: an unknown recipe or option.
    """
    checked = resolve(recipe, overrides)
    stage = checked.stages[-1]
    plain = copy.deepcopy(stage.plain["task"]["init_args"]["adapter"])
    settings = plain.setdefault("init_args", {})
    if "encoder" in settings:
        first = checked.stages[0].plain["task"]["init_args"]["adapter"]["init_args"]
        settings.update(encoder="none", backbone=first.get("backbone"))
    if "weights" in settings:
        settings["weights"] = "none"
    if backbone is not None:
        settings["backbone"] = backbone
    kind = import_object(plain["class_path"])

    def factory(outputs: int, inputs: Inputs) -> Any:
        return kind(outputs, inputs, **settings)

    built = stage.build()
    if size is not None:
        built.data.image_size = size
    target = _target(built.data.target, classes)
    built.task.target = target
    images = batch or built.data.batch_size
    inputs = fixed_inputs(built.data)
    objective, precision = built.task.given_objective, built.trainer.precision
    return meter_parts(factory, kind.wants, objective, target, inputs, images, built.task, precision, device, attention)


def meter_task(task: Task, target: Target, inputs: Inputs, batch: int, precision: str) -> Metering:
    """The same for a task that was built."""
    return meter_parts(
        lambda o, i: copy.deepcopy(task.adapter), task.wants, task.objective, target, inputs, batch, task, precision
    )


def meter_parts(
    factory: AdapterFactory,
    wants: Sequence[str],
    objective: Objective | None,
    target: Target,
    inputs: Inputs,
    batch: int,
    task: Task,
    precision: str,
    device: Literal["fake", "cpu", "cuda"] = "fake",
    attention: Literal["fused", "unfused"] = "fused",
) -> Metering:
    """The same for an adapter's factory, the batch fields that it wants, and an objective."""
    if objective is None:
        objective = import_object(target.objective, Objective)()
    objective.configure(target)
    outputs = objective.outputs_for(target)
    side = getattr(task, "patch_size", None)
    size = inputs.size if side is None else (min(side, inputs.size[0]), min(side, inputs.size[1]))
    images = batch * getattr(task, "patches", 1)

    def build() -> nn.Module:
        return Step(factory(outputs, inputs), copy.deepcopy(objective))

    def make() -> dict[str, Tensor]:
        return example(target, images, inputs.channels, size, wants)

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return task.optimizer_settings.build([("adapter", p) for p in parameters])

    return measure_training(
        build,
        make,
        lambda step, fields: step(TensorDict(fields, batch_size=[images])),
        optimizer,
        precision=PRECISIONS.get(precision, "fp32"),
        attention=attention,
        device=device,
        extra_copies=int(task.ema_decay > 0),
        zero_grad="before_backward",
    )


class Step(nn.Module):
    """A network and its objective as one module from batch to loss."""

    def __init__(self, adapter: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.adapter = adapter
        self.objective: Objective = objective

    def forward(self, batch: TensorDict) -> Tensor:
        """Scalar loss."""
        return self.objective.loss(self.adapter(batch), batch)


def example(
    target: Target, images: int, channels: int, size: tuple[int, int], wants: Sequence[str] = ()
) -> dict[str, Tensor]:
    """A batch of the right shapes, all zeros."""
    fields = {IMAGE: torch.zeros(images, channels, *size), INDEX: torch.zeros(images, dtype=torch.int64)}
    if target.kind == "mask":
        fields[MASK] = torch.zeros(images, *size, dtype=torch.int64)
    elif target.kind == "findings":
        fields[LABEL] = torch.zeros(images, target.size)
    else:
        fields[LABEL] = torch.zeros(images, dtype=torch.int64)
    if FELLOW_IMAGE in wants:
        fields[FELLOW_IMAGE] = torch.zeros(images, channels, *size)
        fields[FELLOW_PRESENT] = torch.ones(images, dtype=torch.bool)
    return fields


def _target(spec: str | None, classes: int) -> Target:
    kind, _, names = (spec or "class").partition(":")
    if names:
        return parse_target(spec or "class")
    return make_target(kind, [str(i) for i in range(2 if kind == "mask" else classes)])
