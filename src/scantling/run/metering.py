"""The cost of a training step as a record, and several of them as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MIB = 2**20

CHECKPOINTING = "+checkpointing"
"""Ends the name of a recipe that is metered with gradient checkpointing."""

SCORE = 100.0
"""Score of a recipe that none is given for: PPE and PME then say what the cost leaves of it, in percent."""


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
        step_seconds: median time of real steps of this batch, on ``cpu`` and ``cuda``.
        published_share: share of the parameters that learn as the method's paper counts it, in [0, 1]: with frozen
            networks that training itself does not hold.
        reference_peak_bytes: ``peak_bytes`` of full fine-tuning on the same backbone, size, batch, precision and
            attention, where recipes were compared.
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
    step_seconds: float | None = None
    published_share: float | None = None
    reference_peak_bytes: int | None = None

    @property
    def share(self) -> float:
        """Share of the parameters that learn, in [0, 1]."""
        return self.learnable / max(self.total, 1)

    @property
    def counted_share(self) -> float:
        """Share of the parameters that learn, in [0, 1], as the paper counts it where that is known."""
        return self.share if self.published_share is None else self.published_share

    @property
    def memory_share(self) -> float | None:
        """Peak memory over that of full fine-tuning, where that is known."""
        return None if self.reference_peak_bytes is None else self.peak_bytes / self.reference_peak_bytes

    @property
    def forward_flops_per_image(self) -> float:
        """FLOPs of the forward pass of one image: two per MAC."""
        return self.forward_flops / self.images

    @property
    def training_flops_per_image(self) -> float:
        """FLOPs of the forward and backward pass of one image: two per MAC."""
        return self.training_flops / self.images

    def to_json(self) -> dict[str, Any]:
        """Plain content for ``bundle.json`` and reports: all fields, the shares and the FLOPs of one image."""
        return asdict(self) | {
            "share": self.share,
            "memory_share": self.memory_share,
            "forward_flops_per_image": self.forward_flops_per_image,
            "training_flops_per_image": self.training_flops_per_image,
        }


def efficiency(metering: Metering, score: float = SCORE) -> dict[str, float | None]:
    """``score``, ``ppe`` and ``pme``: what a score is worth once parameters and memory are counted.

    Args:
        metering: the cost; ``pme`` is None where the memory of full fine-tuning is not known.
        score: a figure where more is better.
    """
    from scantling.metrics.efficiency import pme, ppe

    share = metering.memory_share
    return {
        "score": score,
        "ppe": ppe(score, metering.counted_share),
        "pme": None if share is None else pme(score, share),
    }


def render_table(meterings: Mapping[str, Metering], scores: Mapping[str, float] | None = None) -> str:
    """A plain-text table, one row a recipe: parameters, memory in MiB, GFLOP of training on one image (two per MAC).

    Args:
        meterings: the cost of each recipe by its name.
        scores: of some of them, for PPE and PME; :data:`SCORE` for the others.

    Returns:
        Lines without a newline at the end. The columns ``allocator MiB`` and ``s/step`` are there if any row was
        metered on a device that tells them.
    """
    rows = [_cells(name, m, (scores or {}).get(name, SCORE)) for name, m in meterings.items()]
    heads = [head for head in rows[0] if head not in _TOLD_BY_DEVICES or any(row[head] != _UNKNOWN for row in rows)]
    lines = [heads, *([row[head] for head in heads] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths) for line in lines)


_UNKNOWN = "-"
_TOLD_BY_DEVICES = ("allocator MiB", "s/step")


def _cells(name: str, m: Metering, score: float) -> dict[str, str]:
    """What a row says, by the head of its column."""
    worth = efficiency(m, score)
    return {
        "recipe": name,
        "learnable": f"{m.learnable:,}",
        "total": f"{m.total:,}",
        "share %": f"{100 * m.counted_share:.3g}",
        "activations MiB": _mib(m.activation_bytes),
        "optimiser MiB": _mib(m.optimizer_bytes),
        "inputs MiB": _mib(m.input_bytes),
        "peak MiB": _mib(m.peak_bytes),
        "memory %": _known(m.memory_share, lambda share: f"{100 * share:.3g}"),
        "allocator MiB": _known(m.allocator_peak_bytes, _mib),
        "s/step": _known(m.step_seconds, "{:.3g}".format),
        "GFLOP/image": f"{m.training_flops_per_image / 1e9:,.4g}",
        "PPE": _known(worth["ppe"], "{:.2f}".format),
        "PME": _known(worth["pme"], "{:.2f}".format),
    }


def _known(value: T | None, show: Callable[[T], str]) -> str:
    return _UNKNOWN if value is None else show(value)


def _line(cells: Iterable[str], widths: list[int]) -> str:
    first, *rest = [f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)]
    return "  ".join([first.strip().ljust(widths[0]), *rest])


def _mib(count: int) -> str:
    return f"{count / MIB:,.1f}" if count < 100 * MIB else f"{count / MIB:,.0f}"
