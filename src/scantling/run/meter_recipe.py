"""What a training step of a recipe costs, before there is any data, GPU or pretrained weight."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE, INDEX, LABEL, MASK
from scantling.core.build import import_object
from scantling.core.errors import RecipeError
from scantling.core.seams import Adapter, Inputs, Objective, View
from scantling.core.target import Target, make_target, parse_target
from scantling.data.settings import fixed_inputs
from scantling.run.meter import Attention, Device, measure_training
from scantling.run.metering import CHECKPOINTING
from scantling.run.recipe import resolve

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from scantling.run.metering import Metering
    from scantling.tasks.task import AdapterFactory, Task

PRECISIONS: dict[str, Any] = {"32": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}

REFERENCE = "full_finetune"
"""The recipe that a share of memory refers to."""


@dataclass(frozen=True)
class Reference:
    """What full fine-tuning is given to be compared with a recipe."""

    backbone: str
    size: tuple[int, int]
    channels: int
    images: int
    precision: str


def meter_recipe(
    recipe: str | Path,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    size: int | None = None,
    batch: int | None = None,
    classes: int = 5,
    backbone: str | None = None,
    device: Device = "fake",
    attention: Attention = "fused",
) -> Metering:
    """Parameters, FLOPs and peak memory of one training step of a recipe's last stage.

    Args: as of :func:`meter_recipes`, of one recipe.

    Raises:
        RecipeError: an unknown recipe or option.
    """
    return _planned(recipe, overrides, size, batch, classes, backbone).meter(device, attention)


def meter_recipes(
    recipes: Sequence[str],
    overrides: Sequence[str] | Mapping[str, Any] = (),
    size: int | None = None,
    batch: int | None = None,
    classes: int = 5,
    backbone: str | None = None,
    device: Literal["fake", "cpu", "cuda"] = "fake",
    attention: Literal["fused", "unfused"] = "fused",
) -> dict[str, Metering]:
    """The cost of several recipes, each beside full fine-tuning of the same backbone.

    Full fine-tuning is that of the recipe ``full_finetune``: the one that was named, or else one on fake tensors, with
    the backbone, size, batch and precision of the recipe that it is compared with. A recipe without a backbone, or
    one that predicts masks, has none.

    Args:
        recipes: name of a recipe or a YAML file; ``lora+checkpointing`` is the recipe ``lora`` with its setting
            ``checkpointing`` turned on.
        overrides: settings by dotted key.
        size: height and width in pixels, of the view that the frozen network sees where a recipe has one of its own
            (``frozen_size``); left out, the recipe's.
        batch: images a step; left out, the recipe's.
        classes: grades, classes or findings.
        backbone: timm architecture; left out, the recipe's.
        device: ``fake`` needs neither time nor memory; ``cpu`` and ``cuda`` time real steps, and ``cuda`` reads the
            allocator's own peak too.
        attention: fused, or unfused to count attention matrices as older code kept them.

    Raises:
        RecipeError: an unknown recipe or option.
    """
    plans = {name: _planned(name, overrides, size, batch, classes, backbone) for name in recipes}
    found = {name: plan.meter(device, attention) for name, plan in plans.items()}
    peaks = {plan.reference: found[name].peak_bytes for name, plan in plans.items() if plan.is_reference}
    for reference in (plan.reference for plan in plans.values()):
        if reference is not None and reference not in peaks:
            peaks[reference] = _full_finetuning(reference, classes).meter("fake", attention).peak_bytes
    return {name: replace(found[name], reference_peak_bytes=peaks.get(plan.reference)) for name, plan in plans.items()}


def meter_task(
    task: Task, target: Target, inputs: Inputs, batch: int, precision: str, views: Sequence[View] = ()
) -> Metering:
    """The same for a task that was built; ``views`` are those of its adapter."""
    return meter_parts(
        lambda o, i: copy.deepcopy(task.adapter), task.wants, task.objective, target, inputs, batch, task, precision,
        views=views,
    )  # fmt: skip


def meter_parts(
    factory: AdapterFactory,
    wants: Sequence[str],
    objective: Objective | None,
    target: Target,
    inputs: Inputs,
    batch: int,
    task: Task,
    precision: str,
    device: Device = "fake",
    attention: Attention = "fused",
    views: Sequence[View] = (),
) -> Metering:
    """The same for an adapter's factory, the batch fields and views that it wants, and an objective."""
    if objective is None:
        objective = import_object(target.objective, Objective)()
    objective.configure(target)
    outputs = objective.outputs_for(target)
    side = getattr(task, "patch_size", None)
    size = inputs.size if side is None else (min(side, inputs.size[0]), min(side, inputs.size[1]))
    images = batch * getattr(task, "patches", 1) * getattr(task, "views_per_image", 1)
    share = 0.0

    def build() -> nn.Module:
        nonlocal share
        adapter = factory(outputs, inputs)
        share = adapter.share()
        return Step(adapter, copy.deepcopy(objective))

    def make() -> dict[str, Tensor]:
        return example(target, images, inputs.channels, size, wants, views)

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return task.optimizer_settings.build([("adapter", p) for p in parameters])

    metering = measure_training(
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
    return replace(metering, published_share=share)


@dataclass(frozen=True)
class _Plan:
    """A recipe's last stage, ready to be metered."""

    recipe: str
    kind: type[Adapter]
    settings: dict[str, Any]
    built: Namespace
    target: Target
    images: int

    @property
    def inputs(self) -> Inputs:
        """The images that the network is built for."""
        return fixed_inputs(self.built.data)

    @property
    def reference(self) -> Reference | None:
        """What full fine-tuning is compared with it, where there is such a thing."""
        backbone = self.settings.get("backbone")
        if backbone is None or self.target.dense:
            return None
        size = self.settings.get("frozen_size") or self.inputs.size
        pair = (size, size) if isinstance(size, int) else (size[0], size[1])
        return Reference(backbone, pair, self.inputs.channels, self.images, self.built.trainer.precision)

    @property
    def is_reference(self) -> bool:
        """Whether it is that full fine-tuning itself."""
        named = self.recipe == REFERENCE and self.reference is not None
        return named and not self.settings.get("checkpointing")

    def meter(self, device: Device, attention: Attention) -> Metering:
        """The cost of its step."""

        def factory(outputs: int, inputs: Inputs) -> Adapter:
            return self.kind(outputs, inputs, **self.settings)

        # A view's derivation stands on a frozen network, which is not needed to know the shapes of what it gives.
        with torch.device("meta"):
            views = self.kind.views(self.settings, self.inputs)
        task, precision = self.built.task, self.built.trainer.precision
        if task.given_objective is not None and self.target.kind in {"grade", "class"}:
            # Losses that follow class counts need some; which ones does not change the cost.
            task.given_objective.configure(self.target, torch.ones(self.target.size))
        return meter_parts(
            factory, self.kind.wants, task.given_objective, self.target, self.inputs, self.images, task, precision,
            device, attention, views,
        )  # fmt: skip


def _planned(
    recipe: str | Path,
    overrides: Sequence[str] | Mapping[str, Any],
    size: int | None,
    batch: int | None,
    classes: int,
    backbone: str | None,
) -> _Plan:
    name = str(recipe).removesuffix(CHECKPOINTING)
    checked = resolve(name, overrides)
    stage = checked.stages[-1]
    plain = stage.plain["task"]["init_args"]["adapter"]
    kind = import_object(plain["class_path"], Adapter)
    settings = dict(plain.get("init_args") or {})
    if "encoder" in settings:
        first = checked.stages[0].plain["task"]["init_args"]["adapter"]["init_args"]
        settings.update(encoder="none", backbone=first.get("backbone"))
    if "weights" in settings:
        settings["weights"] = "none"
    if backbone is not None:
        settings["backbone"] = backbone
    if name != str(recipe):
        if "checkpointing" not in settings:
            raise RecipeError("its adapter has no setting 'checkpointing'", where=name, do=f"leave {CHECKPOINTING} out")
        settings["checkpointing"] = True
    built = stage.build()
    if size is not None and "frozen_size" in settings:
        settings["frozen_size"] = size
    elif size is not None:
        built.data.image_size = size
    target = _target(built.data.target, classes)
    built.task.target = target
    return _Plan(str(recipe), kind, settings, built, target, batch or built.data.batch_size)


def _full_finetuning(reference: Reference, classes: int) -> _Plan:
    overrides = {
        "data.image_size": list(reference.size),
        "data.channels": reference.channels,
        "trainer.precision": reference.precision,
    }
    return _planned(REFERENCE, overrides, None, reference.images, classes, reference.backbone)


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
    target: Target,
    images: int,
    channels: int,
    size: tuple[int, int],
    wants: Sequence[str] = (),
    views: Sequence[View] = (),
) -> dict[str, Tensor]:
    """A batch of the right shapes, all zeros, as an adapter gets it; of stored mirrored forms it gets one."""
    fields = {IMAGE: torch.zeros(images, channels, *size), INDEX: torch.zeros(images, dtype=torch.int64)}
    if target.dense:
        fields[MASK] = torch.zeros(images, *size, dtype=torch.int64)
    elif target.kind == "findings":
        fields[LABEL] = torch.zeros(images, target.size)
    else:
        fields[LABEL] = torch.zeros(images, dtype=torch.int64)
    if FELLOW_IMAGE in wants:
        fields[FELLOW_IMAGE] = torch.zeros(images, channels, *size)
        fields[FELLOW_PRESENT] = torch.ones(images, dtype=torch.bool)
    for view in views:
        if view.derivation is None:
            fields[view.field] = torch.zeros(images, channels, *view.size)
            continue
        for name, (dtype, (_, *row)) in view.derivation.fields(channels).items():
            fields[name] = torch.zeros(images, *row, dtype=getattr(torch, dtype))
    return fields


def _target(spec: str | None, classes: int) -> Target:
    kind, _, names = (spec or "class").partition(":")
    if names or kind == "biometry":
        return parse_target(spec or "class")
    return make_target(kind, [str(i) for i in range(2 if kind == "mask" else classes)])
