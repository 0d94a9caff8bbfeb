"""Export: a trained model as an ONNX file that needs neither this package nor PyTorch."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from scantling import __version__
from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE
from scantling.core.errors import BundleError, MissingExtraError, ScantlingError
from scantling.core.files import os_error
from scantling.run.bundle import DISCLAIMER
from scantling.run.model import Model, load

if TYPE_CHECKING:
    import onnx

LARGEST_FILE = 2**31 - 2**24
"""Bytes of weights from which they go into a file of their own: an ONNX file cannot be larger than 2 GiB."""

BATCHES = (1, 3)
"""Images a batch in the check of a file whose batches may have any size."""


@dataclass(frozen=True)
class Export:
    """What :func:`export` gives back.

    Args:
        path: the file.
        max_difference: largest absolute difference from PyTorch in any output of the check.
        bytes: size of the file, and of the file of weights beside it where there is one.
    """

    path: Path
    max_difference: float
    bytes: int


class Exported(nn.Module):
    """What the file computes: probabilities and, where the objective has one, a continuous severity.

    Args:
        model: a trained model.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.adapter, self.objective = model.adapter, model.objective
        self.inputs = (IMAGE, *(name for name in (FELLOW_IMAGE, FELLOW_PRESENT) if name in model.adapter.wants))

    def forward(self, *values: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Probabilities ``(B, K)`` or ``(B, K, H, W)``, and severities ``(B,)``, of ``inputs``."""
        outputs = self.adapter(dict(zip(self.inputs, values, strict=True)))  # reads fields by name, as of a batch
        probabilities, score = self.objective.decode(outputs), self.objective.score(outputs)
        return probabilities if score is None else (probabilities, score)


def export(
    bundle: str | Path,
    out: str | Path,
    *,
    check_images: int = 4,
    tolerance: float = 1e-4,
    opset: int | None = None,
    dynamic_batch: bool = True,
) -> Export:
    """Write a model as ONNX, and keep the file only if it gives what PyTorch gives.

    Inputs of the file: ``image``, float32 ``(B, C, H, W)`` in [0, 1], cropped and resized as the metadata
    ``preprocess`` says; the normalisation is inside. A model of paired eyes also reads ``fellow_image`` and
    ``fellow_present`` (bool; where False, give the eye itself). Outputs: ``probabilities`` and, for grades, ``score``.
    The metadata hold the names of the target, inputs, preprocessing, version, and that this is no medical device. A
    sliding window is not in the file.

    Args:
        bundle: a bundle or a run folder.
        out: the file, ending in ``.onnx``.
        check_images: random images in the check, beside a black, a grey and a white one.
        tolerance: largest absolute difference allowed.
        opset: of ONNX; left out, the exporter's own.
        dynamic_batch: batches of any size; otherwise of one image.

    Raises:
        MissingExtraError: the packages of the extra ``export`` are not installed.
        ScantlingError: the results differ, the network cannot be exported, or the file cannot be written. Nothing is
            left then, and an older file stays.
        BundleError: see :func:`scantling.run.model.load`; also a network that reads derived fields.
    """
    path = Path(out)
    if path.suffix.lower() != ".onnx":
        raise ScantlingError("the name of the file does not end in .onnx", where=path, do="end it in .onnx")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "export")
    model = load(bundle)
    graph = Exported(model).eval().requires_grad_(False)
    strange = sorted((set(model.adapter.wants) | {look.field for look in model.looks}) - set(graph.inputs))
    if strange:
        raise BundleError(
            f"its network reads {', '.join(strange)}", where=bundle, do="export a model that reads images"
        )
    with _beside(path) as folder:
        part = folder / path.name
        _write(graph, model, part, opset, dynamic_batch)
        difference = _difference(graph, model, part, check_images, BATCHES if dynamic_batch else (1,))
        if not difference <= tolerance:
            raise ScantlingError(
                f"the exported network differs from PyTorch by {difference:.2g}, more than {tolerance:.2g}",
                where=path,
                do="raise the tolerance if that is good enough, or try another opset",
            )
        files = sorted(folder.iterdir(), key=lambda file: file == part)
        size = sum(file.stat().st_size for file in files)
        for file in files:
            file.replace(path.parent / file.name)
    return Export(path, difference, size)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary folder beside the file to be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise os_error(error, path) from error
    try:
        yield folder
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(graph: Exported, model: Model, path: Path, opset: int | None, dynamic_batch: bool) -> None:
    import onnx

    example = _inputs(graph, model, torch.full((2 if dynamic_batch else 1, *_shape(model)), 0.5))
    outputs = ["probabilities", "score"]
    with torch.inference_mode():
        single = isinstance(graph(*example.values()), Tensor)
    batch = torch.export.Dim("batch", min=1)
    try:
        with _silence():
            program = torch.onnx.export(
                graph,
                tuple(example.values()),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=list(example),
                output_names=outputs[:1] if single else outputs,
                dynamic_shapes=(tuple({0: batch} for _ in example),) if dynamic_batch else None,
            )
        assert program is not None
        content = program.model_proto
    except Exception as error:  # the exporter raises anything, in words for its own developers
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ScantlingError(
            f"the network cannot be exported ({reason[:200]})", where=path.name, do="try another opset or backbone"
        ) from error
    _forget_machine(content)
    onnx.helper.set_model_props(content, _metadata(model))
    save_onnx(content, path)


def save_onnx(content: onnx.ModelProto, path: Path) -> None:
    """Write a network to one file; where it is too large for that, its weights go to ``<name>.data`` beside it."""
    import onnx

    large = content.ByteSize() > LARGEST_FILE
    onnx.save_model(content, path, save_as_external_data=large, location=f"{path.name}.data" if large else None)


def _metadata(model: Model) -> dict[str, str]:
    meta = model.meta
    described = {name: meta[name] for name in ("target", "inputs", "preprocess")}
    return {
        "scantling": __version__,
        "notice": DISCLAIMER,
        "task": str(meta.get("task", "")),
        "temperature": str(meta.get("temperature", 1.0)),
        **{name: json.dumps(content) for name, content in described.items()},
    }


def _forget_machine(content: onnx.ModelProto) -> None:
    """Drop the exporter's notes on every node: they hold paths of the machine that wrote the file."""
    for part in (content.graph, *content.functions):
        for node in part.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        for value in part.value_info:
            value.ClearField("metadata_props")
    for value in (*content.graph.input, *content.graph.output, *content.graph.initializer):
        value.ClearField("metadata_props")
    content.graph.ClearField("metadata_props")


def _difference(graph: Exported, model: Model, path: Path, count: int, batches: Sequence[int]) -> float:
    """Largest absolute difference between the file and PyTorch on random and on even images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    random = torch.rand(count, *_shape(model), generator=torch.Generator().manual_seed(0))
    even = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(-1, *_shape(model))
    images, largest = torch.cat([random, even]), 0.0
    for size in batches:
        for some in images.split(size):
            given = _inputs(graph, model, torch.cat([some, images])[:size])
            with torch.inference_mode():
                wanted = graph(*given.values())
            found = session.run(None, {name: value.numpy() for name, value in given.items()})
            for a, b in zip([wanted] if isinstance(wanted, Tensor) else wanted, found, strict=True):
                difference = np.abs(a.numpy() - b).max(initial=0.0) if a.shape == b.shape else np.inf
                largest = max(largest, float(difference)) if np.isfinite(difference) else np.inf
    return largest


def _inputs(graph: Exported, model: Model, images: Tensor) -> Mapping[str, Tensor]:
    """What the file reads; fellow eyes are the images mirrored, and every other one is there."""
    every: dict[str, Any] = {
        IMAGE: images.contiguous(),
        FELLOW_IMAGE: images.flip(-1).contiguous(),
        FELLOW_PRESENT: torch.arange(len(images)) % 2 == 0,
    }
    return {name: every[name] for name in graph.inputs}


def _shape(model: Model) -> tuple[int, int, int]:
    inputs = model.adapter.inputs
    return (inputs.channels, *inputs.size)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's chatter from the screen."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
