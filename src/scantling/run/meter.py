"""What a training step costs: parameters, memory, floating-point operations; without a GPU and without real weights.

The step is run on *fake* tensors, which know their shape, type and device but hold no numbers, while every operation's
memory and FLOPs are added up. So a ViT-B/16 at 512 pixels is metered in seconds on a laptop.
"""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    unset_fake_temporarily,
)
from torch.nn.attention import SDPBackend, sdpa_kernel

from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError, TrainingError
from scantling.run.flops import FlopCount
from scantling.run.memory_mode import LiveBytes, storage_bytes, tensors_in
from scantling.run.metering import Metering, render_table
from scantling.run.optimizer_state import OptimizerFactory, state_bytes

__all__ = ["Metering", "measure_training", "render_table"]

Device = Literal["fake", "cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]
Attention = Literal["fused", "unfused"]

FEWEST_STEPS, MOST_STEPS, ENOUGH_SECONDS = 3, 11, 2.0
"""Real steps that are timed: at least the first, at most the second, and no more once so many seconds are over."""

_NEEDS_NUMBERS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)


def measure_training(
    build: Callable[[], nn.Module],
    batch: Callable[[], Any],
    loss: Callable[[nn.Module, Any], Tensor],
    optimizer: Literal["sgd", "adamw"] | OptimizerFactory = "adamw",
    *,
    precision: Precision = "fp32",
    attention: Attention = "fused",
    checkpointing: Callable[[nn.Module], object] | None = None,
    device: Device = "fake",
    extra_copies: int = 0,
    zero_grad: Literal["before_forward", "before_backward"] = "before_forward",
) -> Metering:
    """Run two training steps, one to create the optimiser's state and one that is measured.

    On ``fake`` and ``cpu`` the kernels of a CPU are followed. A GPU picks other attention kernels, and casts other
    operations to float32 under mixed precision, so its figures differ somewhat: ``cuda`` measures there. On real
    devices a few more steps are run and timed.

    Args:
        build: makes the network, with what is frozen already frozen; a network that exists is copied, not touched. For
            ``fake`` it runs under ``torch.device("meta")``, or for real where it needs the values of its tensors.
        batch: makes the batch: a tensor, a dict or a ``TensorDict``, of the shapes that the loop would see.
        loss: scalar loss from the network, in training mode, and the batch. It is called under autocast. Tensors that
            it takes from elsewhere are not counted, and must be on the device.
        optimizer: ``adamw`` (fused), ``sgd`` (Nesterov momentum 0.9, fused), or a function of the learnable parameters.
            The state of one that cannot step on fake tensors is computed; its temporaries then miss from the peak.
        precision: ``fp32``, or mixed precision with ``bf16`` or ``fp16``; a CPU refuses ``fp16``.
        attention: ``unfused`` computes scaled dot-product attention by its formula, keeping the attention matrices.
        checkpointing: turns gradient checkpointing on, such as ``lambda m: m.set_grad_checkpointing()``.
        device: ``fake`` computes nothing, ``cpu`` and ``cuda`` run real steps.
        extra_copies: copies of the weights kept beside the network, such as 1 for a moving average.
        zero_grad: when a step drops the gradients of the step before. A plain loop does it before the forward pass;
            Lightning does it after, so that old gradients and activations are alive together.

    Returns:
        The cost of a step. Random states and global switches are as before.

    Raises:
        RecipeError: nothing learns, an unknown option, or ``fp16`` on a CPU.
        TrainingError: the loss is no scalar with a gradient, the network needs numbers where there are none, or there
            is no GPU.

    >>> metering = measure_training(
    ...     build=lambda: nn.Linear(8, 2), batch=lambda: torch.zeros(4, 8), loss=lambda m, x: m(x).square().mean()
    ... )
    >>> metering.learnable, metering.weights_bytes, metering.gradient_bytes, metering.optimizer_bytes
    (18, 72, 72, 152)
    >>> metering.forward_flops_per_image
    32.0
    """
    _check(device, precision, attention, optimizer, zero_grad)
    started = time.perf_counter()
    with ExitStack() as stack:
        enter = stack.enter_context
        enter(torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else []))
        enter(torch.inference_mode(False))
        enter(torch.enable_grad())
        if attention == "unfused":
            enter(sdpa_kernel(SDPBackend.MATH))
        base = _allocated() if device == "cuda" else 0
        try:
            if device == "fake":
                blueprint = _build_without_memory(build)
                fake = enter(FakeTensorMode(allow_non_fake_inputs=True))
                module = _renew(blueprint, _empty_like)
                data = _map_tensors(batch(), lambda t: t if isinstance(t, FakeTensor) else fake.from_tensor(t))
            else:
                module = _renew(build(), lambda t: t.to(device, copy=True))
                data = _map_tensors(batch(), lambda t: t.to(device))
            if checkpointing is not None:
                checkpointing(module)
            loop = _Loop(module.train(), data, loss, optimizer, precision, device, extra_copies, zero_grad)
            cost = loop.measure()
            peak = loop.allocator_peak() - base if device == "cuda" else None
            step = None if device == "fake" else loop.seconds()
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                "a step does not fit the memory of the GPU", where="meter", do="see its cost on the device 'fake'"
            ) from error
        except _NEEDS_NUMBERS as error:
            raise TrainingError(
                f"the step needs the values of its tensors, and fake tensors have none ({_first_line(error)})",
                where="meter",
                do="meter it on a real device: 'cpu' or 'cuda'",
            ) from error
    return Metering(
        **cost,
        precision=precision,
        attention=attention,
        method=device,
        seconds=time.perf_counter() - started,
        allocator_peak_bytes=peak,
        step_seconds=step,
    )


class _Loop:
    """A training loop of one batch, and what stays allocated round its steps."""

    def __init__(
        self,
        module: nn.Module,
        data: Any,
        loss: Callable[[nn.Module, Any], Tensor],
        optimizer: str | OptimizerFactory,
        precision: Precision,
        device: Device,
        extra_copies: int,
        zero_grad: str,
    ) -> None:
        self.module, self.data, self.loss, self.zero_grad = module, data, loss, zero_grad
        self.device = "cpu" if device == "fake" else device
        self.dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self.parameters = list(module.parameters())
        self.learnable = [p for p in self.parameters if p.requires_grad]
        if not self.learnable:
            raise RecipeError("no parameter learns", where="meter", do="unfreeze some of the network")
        self.weights = [*self.parameters, *module.buffers()]
        self.copies = [t.detach().clone() for _ in range(extra_copies) for t in self.weights]
        self.make_optimizer = _optimizer_factory(optimizer)
        self.optimizer = self.make_optimizer(self.learnable)
        self.optimizer_steps = True

    def step(self, after: Callable[[str], None] = lambda _: None) -> None:
        """One step of training; ``after`` hears of the end of ``forward`` and of ``backward``."""
        if self.zero_grad == "before_forward":
            self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None):
            value = self.loss(self.module, self.data)
        if not (isinstance(value, Tensor) and value.ndim == 0 and value.requires_grad):
            raise TrainingError("the loss is not a scalar with a gradient", where="meter", do="check the loss")
        after("forward")
        if self.zero_grad == "before_backward":
            self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        after("backward")
        if self.optimizer_steps:
            self._optimizer_step()

    def _optimizer_step(self) -> None:
        try:
            self.optimizer.step()
        except _NEEDS_NUMBERS:
            self.optimizer.state.clear()
            self.optimizer_steps = False

    def measure(self) -> dict[str, int]:
        """Bytes and FLOPs of a step, once the optimiser has its state."""
        inputs = tensors_in(self.data)
        memory, flops = LiveBytes(self.device), FlopCount()
        memory.ignore([*self.weights, *self.copies, *inputs])
        with memory:
            self.step()
            gradients = storage_bytes(p.grad for p in self.learnable if p.grad is not None)
            if self.zero_grad == "before_forward":
                self.optimizer.zero_grad(set_to_none=True)
            gc.collect()
            before = memory.live
            outside = before - (gradients if self.zero_grad == "before_backward" else 0)
            memory.restart_peak()
            seen: dict[str, tuple[int, int]] = {}
            with flops:
                self.step(lambda stage: seen.update({stage: (memory.live, flops.total)}))
        if self.optimizer_steps:
            state, apart = storage_bytes(tensors_in(list(self.optimizer.state.values()))), 0
        else:
            state = apart = state_bytes(self.make_optimizer, self.learnable)
        weights, copies, batch = storage_bytes(self.weights), storage_bytes(self.copies), storage_bytes(inputs)
        return {
            "learnable": sum(p.numel() for p in self.learnable),
            "total": sum(p.numel() for p in self.parameters),
            "buffers": sum(b.numel() for b in self.module.buffers()),
            "images": _images(self.data),
            "weights_bytes": weights,
            "gradient_bytes": gradients,
            "optimizer_bytes": state,
            "copies_bytes": copies,
            "input_bytes": batch,
            "activation_bytes": seen["forward"][0] - before,
            "peak_step_bytes": memory.peak - outside,
            "peak_bytes": weights + copies + batch + apart + memory.peak,
            "forward_flops": seen["forward"][1],
            "training_flops": seen["backward"][1],
        }

    def allocator_peak(self) -> int:
        """Bytes that the GPU's allocator held at most in one more step, after one without the meter's own hooks."""
        self.step()
        if self.zero_grad == "before_forward":
            self.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        self.step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()

    def seconds(self) -> float:
        """Median time of a few more steps, without the meter's own hooks."""
        times: list[float] = []
        while len(times) < FEWEST_STEPS or (len(times) < MOST_STEPS and sum(times) < ENOUGH_SECONDS):
            self._wait()
            started = time.perf_counter()
            self.step()
            self._wait()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def _wait(self) -> None:
        """Until the device has done all that it was told to do."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def _check(device: str, precision: str, attention: str, optimizer: object, zero_grad: str) -> None:
    allowed: dict[str, tuple[object, tuple[str, ...]]] = {
        "device": (device, ("fake", "cpu", "cuda")),
        "precision": (precision, ("fp32", "bf16", "fp16")),
        "attention": (attention, ("fused", "unfused")),
        "zero_grad": (zero_grad, ("before_forward", "before_backward")),
    }
    if not callable(optimizer):
        allowed["optimizer"] = (optimizer, ("adamw", "sgd"))
    for name, (value, choices) in allowed.items():
        if value not in choices:
            raise RecipeError(f"unknown {name} '{value}'", where="meter", do=f"use one of {', '.join(choices)}")
    if device == "cpu" and precision == "fp16":
        raise RecipeError("fp16 does not train on a CPU", where="meter", do="use bf16, or the device 'fake'")
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("there is no usable GPU", where="meter", do="use the device 'fake'")


def _allocated() -> int:
    """Bytes that the process holds on the GPU already."""
    gc.collect()
    return torch.cuda.memory_allocated()


def _build_without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    """The network on the meta device, or a real one where building it needs the values of its tensors."""
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError):
        return build()


def _renew(module: nn.Module, make: Callable[[Tensor], Tensor]) -> nn.Module:
    """The module with all its tensors made anew; shared ones stay shared. The caller's own tensors are left alone.

    ``Module.to_empty`` would part tied weights, and leave out tensors that are plain attributes.
    """
    homes = [group for part in module.modules() for group in (part._parameters, part._buffers, vars(part))]
    old = {id(t): t for group in homes for t in group.values() if isinstance(t, Tensor)}
    new: dict[int, Any] = {}
    for key, tensor in old.items():
        made = make(tensor.detach())
        new[key] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    if not any(t.is_meta for t in old.values()):
        # What else the module holds, such as the frozen network that it stands on, is real and stays so.
        with unset_fake_temporarily():
            return copy.deepcopy(module, new)
    for group in homes:
        group.update({name: new[id(value)] for name, value in group.items() if isinstance(value, Tensor)})
    return module


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")


def _map_tensors(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return function(tree)
    if hasattr(tree, "batch_size") and callable(getattr(tree, "apply", None)):
        return tree.apply(function)
    if isinstance(tree, Mapping):
        return {name: _map_tensors(value, function) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_map_tensors(value, function) for value in tree)
    return tree


def _images(data: Any) -> int:
    """Images in a batch: the length of its field ``image``, else of its first tensor."""
    if not isinstance(data, Tensor) and IMAGE in getattr(data, "keys", list)():
        return len(data[IMAGE])
    return len(tensors_in(data)[0])


def _optimizer_factory(choice: str | OptimizerFactory) -> OptimizerFactory:
    if callable(choice):
        return choice
    if choice == "sgd":
        return lambda parameters: torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, nesterov=True, fused=True)
    return lambda parameters: torch.optim.AdamW(parameters, lr=1e-6, fused=True)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
