"""The cost of a training step as a record, and several of them as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Metering:
    """What one training step costs. Bytes are those of tensors; FLOPs are two per multiply-accumulate (MAC).

    Args:
        learnable: parameters that learn; shared ones count once.
        total: all parameters.
        buffers: values in buffers, such as running statistics.
        images: images in the batch.
        weights_bytes: parameters and buffers.
        gradient_bytes: gradients, after the backward pass.
        optimizer_bytes: state of the optimiser.
        copies_bytes: further copies of the weights, such as an exponential moving average.
        input_bytes: the batch.
        activation_bytes: alive after the forward pass beyond all of the above: what the backward pass will need.
        peak_step_bytes: most that forward, backward and optimiser step held at once beyond weights, optimiser state,
            copies and inputs: activations, gradients and temporaries.
        peak_bytes: most that was alive at any moment of the step, all included.
        forward_flops: FLOPs of the forward pass of the batch: matrix products, convolutions, attention.
        training_flops: FLOPs of forward and backward pass, with whatever gradient checkpointing computes again.
        precision: ``fp32``, or the type of mixed precision.
        attention: ``fused`` or ``unfused``.
        method: ``fake``, ``cpu`` or ``cuda``: what the step was run on.
        seconds: how long metering took; not the time of a training step.
        allocator_peak_bytes: on a GPU, the peak that its allocator reports for a real step; it includes rounding and
            the working memory of kernels.
    """

    learnable: int
    total: int
    buffers: int
    images: int
    weights_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    copies_bytes: int
    input_bytes: int
    activation_bytes: int
    peak_step_bytes: int
    peak_bytes: int
    forward_flops: int
    training_flops: int
    precision: str
    attention: str
    method: str
    seconds: float
    allocator_peak_bytes: int | None = None

    @property
    def share(self) -> float:
        """Share of the parameters that learn, in [0, 1]."""
        return self.learnable / max(self.total, 1)

    @property
    def forward_flops_per_image(self) -> float:
        """FLOPs of the forward pass of one image: two per MAC."""
        return self.forward_flops / self.images

    @property
    def training_flops_per_image(self) -> float:
        """FLOPs of the forward and backward pass of one image: two per MAC."""
        return self.training_flops / self.images

    def to_json(self) -> dict[str, Any]:
        """Plain content for ``bundle.json`` and reports: all fields, the share and the FLOPs of one image."""
        return asdict(self) | {
            "share": self.share,
            "forward_flops_per_image": self.forward_flops_per_image,
            "training_flops_per_image": self.training_flops_per_image,
        }


def render_table(meterings: Mapping[str, Metering]) -> str:
    """A plain-text table, one row a recipe: parameters, memory in MiB, GFLOP of training on one image (two per MAC).

    Args:
        meterings: the cost of each recipe by its name.

    Returns:
        Lines without a newline at the end. The column ``allocator MiB`` is there if any row was metered on a GPU.
    """
    on_gpu = any(m.allocator_peak_bytes is not None for m in meterings.values())
    head = ["recipe", "learnable", "total", "share %", "activations MiB", "optimiser MiB", "inputs MiB", "peak MiB"]
    rows = [[*head, *(["allocator MiB"] if on_gpu else []), "GFLOP/image"]]
    for name, m in meterings.items():
        sizes = [m.activation_bytes, m.optimizer_bytes, m.input_bytes, m.peak_bytes]
        cells = [name, f"{m.learnable:,}", f"{m.total:,}", f"{100 * m.share:.3g}", *map(_mib, sizes)]
        allocator = [] if not on_gpu else ["-" if m.allocator_peak_bytes is None else _mib(m.allocator_peak_bytes)]
        rows.append([*cells, *allocator, f"{m.training_flops_per_image / 1e9:,.4g}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(cells: Iterable[str], widths: list[int]) -> str:
    first, *rest = [f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)]
    return "  ".join([first.strip().ljust(widths[0]), *rest])


def _mib(count: int) -> str:
    return f"{count / MIB:,.1f}" if count < 100 * MIB else f"{count / MIB:,.0f}"
